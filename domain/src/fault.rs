//! Translates what the database engine reports into [`Error`].
//!
//! SeaORM's own classification knows unique and foreign-key violations only; this reads the engines' codes.
//! Sources: PostgreSQL 15 manual, appendix A (SQLSTATE); SQLite, "Result and Error Codes".

use std::{borrow::Cow, io::ErrorKind, sync::Arc};

use sea_orm::{
    DbErr, EntityTrait, IdenStatic, Iterable, RuntimeErr,
    sqlx::{self, postgres::PgSeverity},
};

use crate::{
    deadline::Deadline,
    error::{Error, FieldError, Unavailable},
};

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

/// Translates an error from a statement that may be on any table: which one, the engine says, or the statement itself.
pub(crate) fn translate_any(error: DbErr, statement: &str) -> Error {
    let postgres = database_error(&error).and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>());
    let key = postgres.filter(|error| error.code() == UNIQUE_VIOLATION).and_then(|error| error.detail());
    let table = postgres.and_then(|error| error.table()).unwrap_or(statement);
    let named = |name: &str| {
        let key = key.and_then(columns_of_key);
        key.unwrap_or_else(|| column_of_constraint(name, table).into_iter().collect())
    };
    match violation_of(&error, named) {
        Some(violation) => violation.into_error(),
        None => unavailable(error),
    }
}

/// The name of the unique constraint or index that a statement broke; empty if the engine does not say it.
pub(crate) fn unique_constraint(error: &DbErr) -> Option<String> {
    let database = database_error(error)?;
    match database.code()?.as_ref() {
        UNIQUE_VIOLATION => Some(database.constraint().unwrap_or_default().to_owned()),
        "1555" | "2067" => {
            let (_, named) = database.message().split_once("index ").unwrap_or_default();
            Some(named.trim_matches('\'').to_owned())
        }
        _ => None,
    }
}

/// PostgreSQL's code for it. Then its detail names the columns.
const UNIQUE_VIOLATION: &str = "23505";

/// Reads the columns out of `Key (user_id, key)=(…, …) already exists.`, in whatever language that is said; not if they
/// are expressions.
fn columns_of_key(detail: &str) -> Option<Vec<String>> {
    let (columns, _values) = detail.split_once('(')?.1.split_once(")=(")?;
    let columns = columns.split(", ").map(|column| column.trim_matches('"').to_owned());
    columns.map(|column| (!column.contains('(')).then_some(column)).collect()
}

/// Reads the column out of a constraint's name, `<kind>_<table>_<column>`, given a text that names the table.
fn column_of_constraint(name: &str, text: &str) -> Option<String> {
    let (_kind, rest) = name.split_once('_')?;
    let words = text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    let columns = words.filter(|word| !word.is_empty()).filter_map(|word| rest.strip_prefix(word)?.strip_prefix('_'));
    // The name of one table may be the beginning of another's.
    columns.min_by_key(|column| column.len()).map(str::to_owned)
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
        UNIQUE_VIOLATION | "1555" | "2067" => Constraint::Unique,
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
    let reason = match sqlx_error(&error) {
        Some(sqlx::Error::AnyDriverError(own)) if let Some(Carried(own)) = own.downcast_ref() => return own.clone(),
        Some(error) => reason(error),
        None => None,
    };
    match reason {
        Some(reason) => Error::unavailable(reason, error),
        None if is_forbidden(&error) => Error::Forbidden(Arc::new(error)),
        None => Error::internal("the database refused a statement", error),
    }
}

/// Whether the role, or the opener of the file, lacks the privilege.
fn is_forbidden(error: &DbErr) -> bool {
    let code = database_error(error).and_then(|error| error.code());
    code.is_some_and(|code| matches!(code.as_ref(), "42501" | "3" | "23"))
}

/// A row that does not hold what its type says.
pub(crate) fn unreadable(error: DbErr) -> Error {
    Error::internal("a row could not be read", error)
}

/// Translates an error from opening a connection.
pub(crate) fn at_connect(error: sqlx::Error) -> Error {
    match &error {
        // A certificate that is not trusted will not be so the next time either.
        sqlx::Error::Tls(_) => Error::unavailable(Unavailable::Authentication, error),
        // It is found while data is read, and passes for data that are not valid.
        sqlx::Error::Io(io) if io.kind() == ErrorKind::InvalidData => {
            Error::unavailable(Unavailable::Authentication, error)
        }
        _ => Error::unavailable(reason(&error).unwrap_or(Unavailable::Network), error),
    }
}

/// Translates an error that `COMMIT` gave: that nothing was committed is certain only if the server said so and went on.
pub(crate) fn at_commit(error: DbErr) -> Error {
    match sqlx_error(&error) {
        Some(sqlx @ sqlx::Error::Database(_)) if !is_lost(sqlx) || was_idle(sqlx) => translate_any(error, ""),
        _ => Error::UnknownOutcome(Arc::new(error)),
    }
}

/// Whether the server ended the session because nothing was done in its transaction: then no commit had arrived.
fn was_idle(error: &sqlx::Error) -> bool {
    const IDLE_IN_TRANSACTION: &str = "25P03";
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == IDLE_IN_TRANSACTION)
}

/// An error of our own on its way through SeaORM, which knows only its own.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Carried(Error);

/// Sends an error of our own through SeaORM; [`unavailable`] gives it back.
pub(crate) fn carry(error: Error) -> DbErr {
    DbErr::Conn(carried(error))
}

pub(crate) fn carried(error: Error) -> RuntimeErr {
    RuntimeErr::SqlxError(Arc::new(sqlx::Error::AnyDriverError(Box::new(Carried(error)))))
}

/// What the server calls it, for the log: its text may have values in it.
pub(crate) fn name(error: &sqlx::Error) -> Cow<'static, str> {
    let code = error.as_database_error().and_then(|error| error.code());
    match code {
        Some(code) => code.into_owned().into(),
        None if is_lost(error) => "the connection is lost".into(),
        None => "not understood".into(),
    }
}

/// Whether the connection is gone.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(database) => database
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)),
        _ => false,
    }
}

/// Whether the server cannot be reached, or the connection broke.
pub(crate) fn is_network(error: &DbErr) -> bool {
    match sqlx_error(error) {
        Some(sqlx::Error::AnyDriverError(own)) => own
            .downcast_ref()
            .is_some_and(|Carried(own)| matches!(own, Error::Unavailable { reason: Unavailable::Network, .. })),
        Some(error) => reason(error) == Some(Unavailable::Network),
        None => false,
    }
}

/// Whether the server gave a statement up because it took too long.
pub(crate) fn is_timeout(error: &sqlx::Error) -> bool {
    matches!(reason(error), Some(Unavailable::Timeout(Deadline::Statement)))
}

fn reason(error: &sqlx::Error) -> Option<Unavailable> {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Some(Unavailable::Network)
        }
        sqlx::Error::Database(database) => reason_by_code(database.code()?.as_ref()),
        _ => None,
    }
}

fn reason_by_code(code: &str) -> Option<Unavailable> {
    Some(match code {
        "40001" => Unavailable::Serialization,
        "40P01" => Unavailable::Deadlock,
        "5" | "6" | "261" | "262" | "517" | "773" => Unavailable::Busy,
        "57014" | "9" => Unavailable::Timeout(Deadline::Statement),
        "55P03" => Unavailable::Timeout(Deadline::Lock),
        "25P03" | "25P04" => Unavailable::Timeout(Deadline::Transaction),
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
    fn a_constraint_of_any_table_names_its_column_to_who_knows_the_statement() {
        let column = |name, statement| column_of_constraint(name, statement);
        assert_eq!(column("uq_users_email", "INSERT INTO users (id) VALUES ($1)").as_deref(), Some("email"));
        assert_eq!(column("ck_data_models_name", "UPDATE \"data_models\" SET a = 1").as_deref(), Some("name"));
        let both = "INSERT INTO content_tags SELECT id FROM content";
        assert_eq!(column("fk_content_tags_tag_id", both).as_deref(), Some("tag_id"));
        for (name, statement) in [("uq_users_email", "DELETE FROM tags"), ("unheard_of", "of"), ("", "")] {
            assert_eq!(column(name, statement), None, "{name} {statement}");
        }
    }

    #[test]
    fn postgres_names_the_columns_of_a_key() {
        let columns = |detail| columns_of_key(detail).map(|columns| columns.join(" "));
        assert_eq!(columns("Key (user_id, key)=(1, locale) already exists.").as_deref(), Some("user_id key"));
        assert_eq!(columns("Schlüssel »(\"order\")=(a)=(b)« existiert bereits.").as_deref(), Some("order"));
        for detail in ["Key (lower(email))=(ada@example.org) already exists.", "Failing row contains (1).", ""] {
            assert_eq!(columns(detail), None, "{detail}");
        }
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
