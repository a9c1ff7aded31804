//! SQL of your own, with bound parameters: for what the typed calls cannot say.

use sea_orm::{ConnectionTrait, JsonValue, QueryResult, Statement, TryGetable, Value};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    fault,
    id::Id,
    value::Timestamp,
};

/// A statement whose text is fixed in the program, and the values of its parameters `$1`, `$2`, …
///
/// The text cannot be put together from input: only what was compiled in is taken.
///
/// ```
/// # use domain::Sql;
/// Sql::new("UPDATE contents SET status = $1, version = version + 1 WHERE status = $2").bind("archived").bind("draft");
/// ```
///
/// ```compile_fail
/// # use domain::Sql;
/// fn search(name: &str) { Sql::new(&format!("SELECT * FROM users WHERE name = '{name}'")); }
/// ```
#[derive(Debug, Clone)]
pub struct Sql {
    text: &'static str,
    parameters: Vec<Value>,
}

impl Sql {
    /// A statement without parameters as yet.
    pub const fn new(text: &'static str) -> Self {
        Self { text, parameters: Vec::new() }
    }

    /// Gives the next parameter its value.
    #[must_use]
    pub fn bind(mut self, value: impl Parameter) -> Self {
        self.parameters.push(value.into_value());
        self
    }

    pub(crate) fn text(&self) -> &'static str {
        self.text
    }

    /// The statement, for a database.
    ///
    /// # Errors
    /// [`Error::Internal`] if it would change the state of the connection, which others use after this.
    fn statement(self, connection: &impl ConnectionTrait) -> Result<Statement> {
        if self.text.split(';').any(outlasts_the_statement) {
            let cause = sea_orm::DbErr::Custom(self.text.to_owned());
            let context = "a statement of one's own must not begin or end a transaction, nor set anything but locally";
            return Err(Error::internal(context, cause));
        }
        Ok(Statement::from_sql_and_values(connection.get_database_backend(), self.text, self.parameters))
    }

    pub(crate) async fn execute<C: ConnectionTrait>(self, connection: &C) -> Result<u64> {
        let text = self.text;
        let result = connection.execute_raw(self.statement(connection)?).await;
        result.map(|result| result.rows_affected()).map_err(|error| fault::translate_any(error, text))
    }

    pub(crate) async fn query<C: ConnectionTrait>(self, connection: &C) -> Result<Rows> {
        let text = self.text;
        let result = connection.query_all_raw(self.statement(connection)?).await;
        result.map(Rows).map_err(|error| fault::translate_any(error, text))
    }
}

/// Whether a connection would not be the same after it. Units of work have `savepoint`, `lock` and
/// [`WriteOptions`](crate::WriteOptions) for what is meant by such statements.
fn outlasts_the_statement(sql: &str) -> bool {
    let mut words = sql.split_whitespace().map(str::to_ascii_uppercase);
    match (words.next().as_deref(), words.next().as_deref()) {
        (Some("SET"), Some("LOCAL" | "TRANSACTION" | "CONSTRAINTS")) => false,
        (Some(first), _) => [
            "ABORT",
            "BEGIN",
            "COMMIT",
            "DEALLOCATE",
            "DISCARD",
            "END",
            "EXECUTE",
            "LISTEN",
            "PREPARE",
            "RELEASE",
            "RESET",
            "ROLLBACK",
            "SAVEPOINT",
            "SET",
            "START",
        ]
        .contains(&first),
        (None, _) => false,
    }
}

/// What can be bound to a parameter.
pub trait Parameter {
    #[doc(hidden)]
    fn into_value(self) -> Value;
}

/// What can be read from a column.
pub trait Readable: Sized {
    #[doc(hidden)]
    fn read(row: &QueryResult, column: &str) -> Result<Self, sea_orm::DbErr>;
}

macro_rules! plain {
    ($($type:ty),+) => { $(
        impl Parameter for $type {
            fn into_value(self) -> Value {
                self.into()
            }
        }
        impl Parameter for Option<$type> {
            fn into_value(self) -> Value {
                self.into()
            }
        }
        impl Readable for $type {
            fn read(row: &QueryResult, column: &str) -> Result<Self, sea_orm::DbErr> {
                row.try_get("", column)
            }
        }
    )+ };
}
plain!(bool, i64, f64, String, Uuid, JsonValue, chrono::NaiveDate, Vec<u8>);

impl Parameter for &str {
    fn into_value(self) -> Value {
        self.into()
    }
}

impl<R> Parameter for Id<R> {
    fn into_value(self) -> Value {
        self.uuid().into()
    }
}

impl Parameter for Timestamp {
    fn into_value(self) -> Value {
        chrono::DateTime::<chrono::FixedOffset>::from(self).into()
    }
}

impl<R> Readable for Id<R> {
    fn read(row: &QueryResult, column: &str) -> Result<Self, sea_orm::DbErr> {
        row.try_get("", column).map(Self::new)
    }
}

impl Readable for Timestamp {
    fn read(row: &QueryResult, column: &str) -> Result<Self, sea_orm::DbErr> {
        row.try_get::<chrono::DateTime<chrono::FixedOffset>>("", column).map(Self::from)
    }
}

impl<T: Readable + TryGetable> Readable for Option<T> {
    fn read(row: &QueryResult, column: &str) -> Result<Self, sea_orm::DbErr> {
        row.try_get("", column)
    }
}

/// The rows that a query gave.
#[derive(Debug)]
pub struct Rows(Vec<QueryResult>);

impl Rows {
    /// Reads one column of every row.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no such column, or it holds something else.
    pub fn column<T: Readable>(&self, name: &str) -> Result<Vec<T>> {
        let read = |row| T::read(row, name).map_err(|error| Error::internal("a column could not be read", error));
        self.0.iter().map(read).collect()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_would_remember_is_told_from_what_it_forgets() {
        for sql in [
            "COMMIT",
            " begin immediate",
            "set search_path = other",
            "SET SESSION x = 1",
            "PREPARE TRANSACTION 'a'",
            "SELECT 1; execute payers",
            "DEALLOCATE ALL",
        ] {
            assert!(outlasts_the_statement(sql), "{sql}");
        }
        for sql in
            ["SELECT 1", "SET LOCAL lock_timeout = 5", "UPDATE users SET name = $1", "", "SET CONSTRAINTS ALL DEFERRED"]
        {
            assert!(!outlasts_the_statement(sql), "{sql}");
        }
    }
}
