//! Translates what the database engine reports into [`Error`].
//!
//! SeaORM's own classification knows unique and foreign-key violations only; this reads the engines' codes.
//! Sources: PostgreSQL 15 manual, appendix A (SQLSTATE); SQLite, "Result and Error Codes".

use std::sync::Arc;

use sea_orm::{ConnAcquireErr, DbErr, EntityTrait, IdenStatic, Iterable, RuntimeErr, sqlx};

use crate::error::{Error, FieldError, Unavailable};

/// A broken constraint: which kind, and the columns it is about (none where the engine does not say).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) kind: Constraint,
    pub(crate) columns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Constraint {
    Unique,
    ForeignKey,
    Check,
    NotNull,
    /// Too long, out of range, or a character that the engine cannot store.
    Value,
}

impl Violation {
    /// What a client is told: the same whether the validator or the database found it.
    pub(crate) fn into_error(self) -> Error {
        let (code, message) = match self.kind {
            Constraint::Unique => ("unique", "is already taken"),
            Constraint::ForeignKey => ("reference", "does not exist"),
            Constraint::Check => ("check", "is not allowed"),
            Constraint::NotNull => ("required", "is required"),
            Constraint::Value => ("value", "cannot be stored"),
        };
        let fields = if self.columns.is_empty() { vec![String::new()] } else { self.columns };
        let errors = fields.iter().map(|field| FieldError::new(field, code, message)).collect();
        if self.kind == Constraint::Unique { Error::Conflict(errors) } else { Error::Invalid(errors) }
    }
}

/// Translates an error from a statement on the table of `E`.
pub(crate) fn translate<E: EntityTrait>(error: DbErr) -> Error {
    match violation::<E>(&error) {
        Some(violation) => violation.into_error(),
        None => unavailable(error),
    }
}

/// Translates an error from a statement that may be on any table: which one, the name of a violated constraint says.
pub(crate) fn translate_any(error: DbErr) -> Error {
    let named = |name: &str| TABLES.iter().find_map(|table| table.columns_if_named(name));
    match violation_of(&error, |name| named(name).unwrap_or_default()) {
        Some(violation) => violation.into_error(),
        None => unavailable(error),
    }
}

/// A table of the schema, as far as it is needed to read the names of its constraints.
struct Table {
    name: &'static str,
    columns: fn() -> Vec<String>,
}

macro_rules! tables {
    ($($table:ident),+ $(,)?) => {
        const TABLES: &[Table] = &[$(
            Table { name: stringify!($table), columns: columns_of::<entity::$table::Entity> }
        ),+];
    };
}
tables!(
    accounts,
    content_tags,
    contents,
    data_models,
    idempotency_keys,
    profiles,
    relationships,
    settings,
    subscriptions,
    tags,
    transfers,
    users,
);

impl Table {
    /// The columns that the constraint of that name is about, if it is one of this table.
    fn columns_if_named(&self, constraint: &str) -> Option<Vec<String>> {
        let (_kind, rest) = constraint.split_once('_')?;
        let rest = rest.strip_prefix(self.name)?;
        rest.starts_with('_').then(|| columns_of_constraint(rest, &(self.columns)()))
    }
}

fn columns_of<E: EntityTrait>() -> Vec<String> {
    E::Column::iter().map(|column| column.as_str().to_owned()).collect()
}

/// The violated constraint of the table of `E`, if that is what the error is about.
pub(crate) fn violation<E: EntityTrait>(error: &DbErr) -> Option<Violation> {
    violation_of(error, |name| columns_of_constraint(name, &columns_of::<E>()))
}

/// The violated constraint, if that is what the error is about, and its columns, which are read out of its name.
fn violation_of(error: &DbErr, columns_of_name: impl Fn(&str) -> Vec<String>) -> Option<Violation> {
    let database = database_error(error)?;
    let code = database.code()?;
    let kind = match code.as_ref() {
        "23505" | "1555" | "2067" => Constraint::Unique,
        // SQLite reports a restricting foreign key as a trigger's refusal (1811).
        "23503" | "23001" | "787" | "1811" => Constraint::ForeignKey,
        "23514" | "275" => Constraint::Check,
        "23502" | "1299" => Constraint::NotNull,
        "22001" | "22003" | "22021" | "22P05" => Constraint::Value,
        _ => return None,
    };
    let named = if let Some(postgres) = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        match (postgres.constraint(), postgres.column()) {
            (Some(name), _) => columns_of_name(name),
            (None, Some(column)) => vec![column.to_owned()],
            (None, None) => Vec::new(),
        }
    } else {
        columns_of_sqlite_message(database.message(), columns_of_name)
    };
    Some(Violation { kind, columns: named })
}

/// Reads the columns out of a constraint's name, `<kind>_<table>_<columns>`, by finding the columns of the table in it.
fn columns_of_constraint(name: &str, columns: &[String]) -> Vec<String> {
    // The table's name may itself contain underscores, so the columns are matched from the right.
    let mut rest = name;
    let mut found = Vec::new();
    while let Some(column) = columns.iter().filter(|column| ends_with_word(rest, column)).max_by_key(|c| c.len()) {
        found.insert(0, column.clone());
        rest = rest[..rest.len() - column.len()].trim_end_matches('_');
    }
    found
}

fn ends_with_word(text: &str, word: &str) -> bool {
    text.strip_suffix(word).is_some_and(|before| before.ends_with('_'))
}

/// SQLite says `UNIQUE constraint failed: users.email, users.name`, `… failed: index 'uq_users_email'`, or
/// `CHECK constraint failed: ck_users_role`; of a foreign key it says nothing more.
fn columns_of_sqlite_message(message: &str, columns_of_name: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let Some((_, named)) = message.split_once("constraint failed: ") else { return Vec::new() };
    if let Some(index) = named.strip_prefix("index ") {
        return columns_of_name(index.trim_matches('\''));
    }
    if !named.contains('.') {
        return columns_of_name(named);
    }
    named.split(", ").filter_map(|column| column.split_once('.')).map(|(_, column)| column.to_owned()).collect()
}

/// Translates an error that is about no row: connection, time, contention, or something that should not happen.
pub(crate) fn unavailable(error: DbErr) -> Error {
    let reason = match &error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => Some(Unavailable::PoolExhausted),
        DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed) => Some(Unavailable::Closed),
        _ => sqlx_error(&error).and_then(reason),
    };
    match reason {
        Some(reason) => Error::unavailable(reason, error),
        None => Error::internal("the database refused a statement", error),
    }
}

/// An error that `COMMIT` gave: the transaction is gone for sure only if the server said so.
pub(crate) fn at_commit(error: DbErr) -> Error {
    if database_error(&error).is_some() { unavailable(error) } else { Error::UnknownOutcome(Arc::new(error)) }
}

fn reason(error: &sqlx::Error) -> Option<Unavailable> {
    match error {
        sqlx::Error::PoolTimedOut => Some(Unavailable::PoolExhausted),
        sqlx::Error::PoolClosed => Some(Unavailable::Closed),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Some(Unavailable::Network)
        }
        sqlx::Error::Database(database) => reason_by_code(database.code()?.as_ref()),
        _ => None,
    }
}

fn reason_by_code(code: &str) -> Option<Unavailable> {
    Some(match code {
        "40001" | "40P01" | "5" | "6" | "261" | "262" | "517" | "773" => Unavailable::Contention,
        "57014" | "55P03" | "25P03" | "25P04" => Unavailable::Timeout,
        "28000" | "28P01" | "3D000" => Unavailable::Authentication,
        "25006" | "8" | "264" | "520" | "776" | "1032" | "1288" | "1544" => Unavailable::ReadOnly,
        "53100" | "13" => Unavailable::DiskFull,
        "53300" => Unavailable::TooManyConnections,
        "57P01" | "57P02" | "57P03" | "14" => Unavailable::Network,
        code if code.starts_with("08") => Unavailable::Network,
        _ => return None,
    })
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

fn database_error(error: &DbErr) -> Option<&dyn sqlx::error::DatabaseError> {
    match sqlx_error(error)? {
        sqlx::Error::Database(database) => Some(database.as_ref()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_constraint_names_its_columns() {
        let of = columns(&["id", "user_id", "key", "email", "from_model_id", "to_model_id", "kind"]);
        assert_eq!(columns_of_constraint("uq_users_email", &of), ["email"]);
        assert_eq!(columns_of_constraint("uq_settings_user_id_key", &of), ["user_id", "key"]);
        assert_eq!(
            columns_of_constraint("uq_relationships_from_model_id_to_model_id_kind", &of),
            ["from_model_id", "to_model_id", "kind"]
        );
        assert_eq!(columns_of_constraint("unheard_of", &of), Vec::<String>::new());
    }

    #[test]
    fn sqlite_names_columns_an_index_or_a_check() {
        let columns = columns(&["id", "email", "role"]);
        let of = |name: &str| columns_of_constraint(name, &columns);
        assert_eq!(columns_of_sqlite_message("UNIQUE constraint failed: users.id, users.email", of), ["id", "email"]);
        assert_eq!(columns_of_sqlite_message("UNIQUE constraint failed: index 'uq_users_email'", of), ["email"]);
        assert_eq!(columns_of_sqlite_message("CHECK constraint failed: ck_users_role", of), ["role"]);
        assert_eq!(columns_of_sqlite_message("FOREIGN KEY constraint failed", of), Vec::<String>::new());
    }
}
