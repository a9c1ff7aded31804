//! Migrations that cannot be taken back, and say so.

use sea_orm_migration::prelude::DbErr;

const BECAUSE: &str = "irreversible because ";

/// What the `down` of a migration fails with that nothing can undo: `Err(irreversible("the old addresses are not kept"))`.
///
/// `migrate down` then refuses it, and everything before it, by its name and this reason, before it rolls anything back.
pub fn irreversible(reason: &str) -> DbErr {
    DbErr::Migration(format!("{BECAUSE}{reason}"))
}

/// The reason, if an error is [`irreversible`].
pub fn why_irreversible(error: &DbErr) -> Option<&str> {
    let DbErr::Migration(said) = error else { return None };
    said.strip_prefix(BECAUSE)
}

/// The reason that a migration in plain SQL declares: a line `-- irreversible because …`.
pub fn irreversible_because(sql: &str) -> Option<&str> {
    let mut comments = sql.lines().filter_map(|line| line.trim().strip_prefix("--"));
    comments.find_map(|comment| comment.trim().strip_prefix(BECAUSE)).map(str::trim).filter(|reason| !reason.is_empty())
}
