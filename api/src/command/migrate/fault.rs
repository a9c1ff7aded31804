//! What the database means by an error.

use sea_orm_migration::{DbErr, sea_orm::RuntimeErr};

/// Not allowed to this user.
const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// Made by somebody else at the same moment: the table, its type, or an entry of a catalogue.
const MADE_ALREADY: [&str; 3] = ["42P07", "42710", "23505"];
/// PostgreSQL: a lock that is not to be had in time, a deadlock, a serialization failure. SQLite: busy and locked, with
/// what they are more exactly.
const CONTENDED: [&str; 9] = ["55P03", "40P01", "40001", "5", "6", "261", "262", "517", "773"];

fn code(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))
    | DbErr::Conn(RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    error.as_database_error()?.code().map(|code| code.into_owned())
}

/// Whether the server did not allow a statement to its user.
pub(crate) fn is_forbidden(error: &DbErr) -> bool {
    code(error).is_some_and(|code| code == INSUFFICIENT_PRIVILEGE)
}

/// Whether it may go well the next time, because others hold what was needed.
pub(super) fn is_contended(error: &DbErr) -> bool {
    code(error).is_some_and(|code| CONTENDED.contains(&code.as_str()))
}

/// Whether a table was made by somebody else while this process made it.
pub(super) fn is_made_already(error: &DbErr) -> bool {
    code(error).is_some_and(|code| MADE_ALREADY.contains(&code.as_str()))
}
