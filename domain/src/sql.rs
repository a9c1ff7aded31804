//! SQL of your own, with bound parameters: for what the typed calls cannot say.

pub(crate) mod words;

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use sea_orm::{ConnectionTrait, JsonValue, QueryResult, Statement, TryGetable, Value};
use uuid::Uuid;

use self::words::{Word, names, words};
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

    pub(crate) fn place(&self) -> Place {
        (self.text.as_ptr().addr(), self.text.len())
    }

    /// What it does that has to be known whenever it is used. Its text is looked through once.
    pub(crate) fn nature(&self) -> Nature {
        static KNOWN: LazyLock<RwLock<HashMap<Place, Nature>>> = LazyLock::new(RwLock::default);
        let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&self.place()).copied();
        known.unwrap_or_else(|| {
            let nature = Nature::of(self.text);
            KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(self.place(), nature);
            nature
        })
    }

    /// Refuses what must not be run. Units of work have `savepoint`, `lock`, `record` and
    /// [`WriteOptions`](crate::WriteOptions) for what is meant by such statements.
    ///
    /// # Errors
    /// [`Error::Internal`] if it would change the state of the connection, which others use after this;
    /// [`Error::Forbidden`] if it would change what tells who did what.
    fn check(&self) -> Result<()> {
        let cause = || sea_orm::DbErr::Custom(self.text.to_owned());
        let context = "a statement of one's own must not begin or end a transaction, nor leave anything behind: no setting but \
                       by SET LOCAL, nothing prepared, attached or temporary";
        match self.nature() {
            Nature { outlasts: true, .. } => Err(Error::internal(context, cause())),
            Nature { forges: true, .. } => Err(Error::Forbidden(Arc::new(cause()))),
            Nature { .. } => Ok(()),
        }
    }

    /// The statement, for a database.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    fn statement(self, connection: &impl ConnectionTrait) -> Result<Statement> {
        self.check()?;
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

/// Where a text is, which stays there as long as the program runs, and how long it is.
pub(crate) type Place = (usize, usize);

/// What a text does, as far as its words tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nature {
    outlasts: bool,
    forges: bool,
    /// Whether it changes something itself. A function that it calls may do so all the same.
    pub(crate) writes: bool,
    /// Whether all it does is what may have to be the first of a transaction, before anything is looked up.
    pub(crate) only_prepares: bool,
}

impl Nature {
    /// As either database reads it, whichever of them it is for.
    fn of(text: &str) -> Self {
        let [one, other] = [true, false].map(|comments_nest| Self::read(text, words(text, comments_nest)));
        Self {
            outlasts: one.outlasts || other.outlasts,
            forges: one.forges || other.forges,
            writes: one.writes || other.writes,
            only_prepares: one.only_prepares && other.only_prepares,
        }
    }

    fn read<'a>(text: &str, words: impl Iterator<Item = Word<'a>> + Clone) -> Self {
        let writes = writes(words.clone());
        let mut first = words.clone().filter(|word| word.is_first);
        Self {
            outlasts: outlasts_the_statement(words.clone()),
            forges: forges(text, words, writes),
            writes,
            only_prepares: first.all(|word| word.is_of(&["LOCK", "SET"])),
        }
    }
}

/// Whether a connection would not be the same after it.
fn outlasts_the_statement<'a>(words: impl Iterator<Item = Word<'a>>) -> bool {
    let mut words = words.peekable();
    let mut creates = false;
    while let Some(word) = words.next() {
        let mut next_is = |of: &[&str]| words.peek().is_some_and(|next| !next.is_first && next.is_of(of));
        let outlasts = match word.is_first {
            true if word.is("SET") => !next_is(&["CONSTRAINTS", "LOCAL", "TRANSACTION"]),
            true => word.is_of(&OUTLASTING),
            false if word.is_of(&["TEMP", "TEMPORARY"]) => creates,
            false if word.is("INTO") => next_is(&["TEMP", "TEMPORARY"]),
            false => word.is_of(&["PG_TEMP", "SET_CONFIG"]),
        };
        if outlasts {
            return true;
        }
        if word.is_first {
            creates = word.is("CREATE");
        }
    }
    false
}

/// Whether it would say that somebody else does something, or change what waits to be told.
fn forges<'a>(text: &str, words: impl Iterator<Item = Word<'a>> + Clone, writes: bool) -> bool {
    let mut set = words.clone().filter(|word| word.is_first && word.is("SET"));
    let is_context = text.to_lowercase().contains("seabed.context")
        || set.next().is_some() && words.clone().any(|word| word.is("SEABED"));
    is_context || writes && names(text).any(|name| TOLD_IN.iter().any(|table| name.eq_ignore_ascii_case(table)))
}

fn writes<'a>(mut words: impl Iterator<Item = Word<'a>>) -> bool {
    let mut before = None;
    words.any(|word| {
        // Alone, it is a function.
        let replaces = word.is("INTO") && before.is_some_and(|before: Word<'_>| before.is("REPLACE"));
        before = Some(word);
        replaces || word.is_of(&WRITING)
    })
}

/// Where it waits: triggers, `record` and the relay write there.
const TOLD_IN: [&str; 2] = ["audit_head", "outbox"];

/// What a statement begins with after which a connection would not be the same.
const OUTLASTING: [&str; 18] = [
    "ABORT",
    "ATTACH",
    "BEGIN",
    "COMMIT",
    "DEALLOCATE",
    "DETACH",
    "DISCARD",
    "END",
    "EXECUTE",
    "LISTEN",
    "LOAD",
    "PRAGMA",
    "PREPARE",
    "RELEASE",
    "RESET",
    "ROLLBACK",
    "SAVEPOINT",
    "START",
];

/// What is in a statement that changes something.
const WRITING: [&str; 7] = ["ALTER", "DELETE", "DROP", "INSERT", "MERGE", "TRUNCATE", "UPDATE"];

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
    fn what_a_connection_would_remember_is_refused() {
        for sql in [
            "COMMIT",
            " begin immediate",
            "set search_path = other",
            "SET SESSION x = 1",
            "PREPARE TRANSACTION 'a'",
            "SELECT 1; execute payers",
            "DEALLOCATE ALL",
            "/**/ROLLBACK",
            "/* /* */ ROLLBACK",
            "/* /* */ ' */ ROLLBACK",
            "SELECT 1 -- ;\n; END",
            "PRAGMA recursive_triggers = OFF",
            "ATTACH 'file' AS other",
            "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
            "SELECT * INTO TEMPORARY t FROM users",
            "SELECT set_config('x.y', 'z', false)",
            "SET LOCAL seabed.context = '{}'",
            "SET LOCAL seabed . context = '{}'",
            "DO $$ BEGIN PERFORM pg_catalog.set_config('seabed.context', '{}', true); END $$",
            "DELETE FROM \"outbox\"",
            "WITH gone AS (DELETE FROM outbox RETURNING *) SELECT 1",
        ] {
            assert!(Sql::new(sql).check().is_err(), "{sql}");
        }
        for sql in [
            "SELECT 1",
            "SET LOCAL lock_timeout = 5",
            "UPDATE users SET name = $1",
            "",
            "SET CONSTRAINTS ALL DEFERRED",
            "SELECT 'a; BEGIN', temp, \"begin\" FROM outbox",
            "/* begin */ SELECT 1",
            "CREATE TABLE t (a int)",
        ] {
            assert!(Sql::new(sql).check().is_ok(), "{sql}: {:?}", Sql::new(sql).check());
        }
    }

    #[test]
    fn what_changes_something_is_told_from_what_reads() {
        let is_written = |sql| Sql::new(sql).nature().writes;
        assert!(!Sql::new("/* /* */ SELECT plan FROM subscriptions").nature().only_prepares);
        assert!(is_written("WITH new AS (INSERT INTO a VALUES (1) RETURNING *) SELECT * FROM new"));
        assert!(is_written("update users set name = 'x' returning id"));
        assert!(is_written("REPLACE INTO tags VALUES ('a')"));
        assert!(!is_written("SELECT replace(name, 'a', 'b') FROM users"));
        assert!(!is_written("SELECT 'update' AS \"delete\" FROM users /* insert */"));
    }
}
