//! What each role needs on each table.
//!
//! Whoever adds a table need say nothing: the service reads and writes its rows, and where a trigger refuses to have them
//! changed, it may not either. What the service must not do to the tables of its machinery is said here.

use super::role::Role;
use crate::command::migrate::Accounts;

/// What is granted on tables, and whether it can be on some of their columns only.
pub(super) const OF_TABLES: [(&str, bool); 7] = [
    ("SELECT", true),
    ("INSERT", true),
    ("UPDATE", true),
    ("DELETE", false),
    ("TRUNCATE", false),
    ("REFERENCES", true),
    ("TRIGGER", false),
];
/// What is granted on sequences.
pub(super) const OF_SEQUENCES: [&str; 3] = ["USAGE", "SELECT", "UPDATE"];

/// Whether a role needs something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It does not.
    None,
    /// On these columns.
    Columns(&'static [&'static str]),
    /// On all of it.
    All,
}

/// A table, view or sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) owner: String,
    /// By a trigger, for whoever it is.
    pub(super) refuses_update: bool,
    pub(super) refuses_delete: bool,
    pub(super) columns: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    View,
    Sequence,
}

/// What the service needs on the tables that are not data. What was told, and what was sealed, stays what it is: of a row
/// that waits to be delivered, only what becomes of it is written.
const MACHINERY: &[(&str, &str, Need)] = &[
    ("outbox", "INSERT", Need::Columns(&["id", "collection", "entity", "body", "context", "at"])),
    ("outbox", "UPDATE", Need::Columns(&["context", "sequence", "previous", "hash", "attempts", "reason", "dead_at"])),
    ("cache_outbox", "INSERT", Need::Columns(&["tx", "keys"])),
    ("cache_outbox", "UPDATE", Need::None),
    ("audit_head", "INSERT", Need::None),
    ("audit_head", "UPDATE", Need::Columns(&["sequence", "hash", "relay", "relay_until"])),
    ("audit_head", "DELETE", Need::None),
    ("idempotency_keys", "UPDATE", Need::None),
    ("idempotency_keys", "DELETE", Need::None),
];

/// Whether a role needs a privilege.
pub(super) fn need(role: Role, object: &Object, accounts: &Accounts, privilege: &str) -> Need {
    let all_if = |needed: bool| if needed { Need::All } else { Need::None };
    match (role, object.kind) {
        (Role::Owner, _) => Need::All,
        (Role::Read, Kind::Sequence) => Need::None,
        (Role::App, Kind::Sequence) => all_if(privilege == "USAGE"),
        (Role::Read | Role::Backup, _) | (Role::App, Kind::View) => all_if(privilege == "SELECT"),
        (Role::App, Kind::Table) => of_application(object, accounts, privilege),
    }
}

fn of_application(object: &Object, accounts: &Accounts, privilege: &str) -> Need {
    let name = object.name.as_str();
    let of_machinery = MACHINERY.iter().find(|(table, what, _)| *table == name && *what == privilege);
    match (of_machinery, privilege) {
        (_, "SELECT") => Need::All,
        _ if accounts.migrators.iter().any(|table| table == name) => Need::None,
        (_, "INSERT") if name == accounts.refusals => Need::All,
        _ if name == accounts.refusals => Need::None,
        (Some((_, _, need)), _) => *need,
        (_, "UPDATE") if object.refuses_update => Need::None,
        (_, "DELETE") if object.refuses_delete => Need::None,
        (_, "INSERT" | "UPDATE" | "DELETE") => Need::All,
        _ => Need::None,
    }
}

/// What a table of a later migration gets by itself: on tables, and on sequences.
pub(super) fn by_default(role: Role) -> (&'static [&'static str], &'static [&'static str]) {
    match role {
        Role::Owner => (&[], &[]),
        Role::App => (&["SELECT", "INSERT", "UPDATE", "DELETE"], &["USAGE"]),
        Role::Read => (&["SELECT"], &[]),
        Role::Backup => (&["SELECT"], &["SELECT"]),
    }
}
