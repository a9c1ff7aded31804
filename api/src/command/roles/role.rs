//! The roles, and what they are called.

use serde::Serialize;

/// A role of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Owns the schema and what is in it, and migrates.
    Owner,
    /// The service: reads and writes the data.
    App,
    /// Reads.
    Read,
    /// Reads everything, as a backup does.
    Backup,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Owner, Self::App, Self::Read, Self::Backup];
    /// Those that own nothing, and have been granted all that they may do.
    pub(super) const GRANTED: [Self; 3] = [Self::App, Self::Read, Self::Backup];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::App => "app",
            Self::Read => "read",
            Self::Backup => "backup",
        }
    }

    /// What it is for.
    pub(super) const fn purpose(self) -> &'static str {
        match self {
            Self::Owner => "migrates: MIGRATION_DATABASE_URL",
            Self::App => "the service: DATABASE_URL",
            Self::Read => "reads",
            Self::Backup => "makes backups",
        }
    }

    /// What it is called: after the database, because roles belong to all databases of a server.
    pub fn name(self, database: &str) -> String {
        format!("{database}_{}", self.word())
    }
}

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
