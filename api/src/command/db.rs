//! `db`: the database as a whole.

mod dump;
mod postgres;
mod program;
mod restore;
mod sqlite;

use std::{fmt, io, path::PathBuf};

use sea_orm_migration::DbErr;
use serde::Serialize;

use super::{
    Exit,
    migrate::{self, MigrateError},
};

pub use restore::{Compared, Restored, restore};

/// The verbs under `db`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum DbCommand {
    /// Restore a dump into the database, which has to be empty
    Restore {
        /// What `pg_dump` wrote, in plain SQL or in a format of its own; for SQLite, SQL or a database file
        dump: PathBuf,
    },
}

/// What a verb did.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Output {
    /// What was restored.
    Restored(Restored),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored(restored) => restored.fmt(f),
        }
    }
}

/// Why a verb was refused, or failed.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The database cannot be reached or read.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// There is something in it.
    #[error("{database} is not empty: it has {}", found.join(", "))]
    NotEmpty {
        /// Its name.
        database: String,
        /// The first things in it.
        found: Vec<String>,
    },
    /// The dump cannot be read, or the file of the database not be written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// The system's own words.
        #[source]
        source: io::Error,
    },
    /// The dump is not one for this database.
    #[error("{} is no dump that this database takes: {why}", path.display())]
    NoDump {
        /// The dump.
        path: PathBuf,
        /// What it is, or has.
        why: String,
    },
    /// A program that is needed is not there.
    #[error("{name} is not installed: install PostgreSQL's client programs, or put them into the PATH")]
    NoProgram {
        /// Which one.
        name: &'static str,
    },
    /// The dump was refused.
    #[error("the dump was not restored, and the database is as it was: {message}")]
    Refused {
        /// The first of what was said about it.
        message: String,
    },
    /// What is in the database cannot be told.
    #[error("the database cannot be read")]
    Read(#[source] DbErr),
}

impl DbError {
    /// What the process ends with.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self {
            // As of `migrate`.
            Self::Migrate(_) => None,
            Self::NotEmpty { .. } => Some(Exit::Permission),
            Self::File { .. } => Some(Exit::Io),
            Self::NoDump { .. } => Some(Exit::Usage),
            Self::NoProgram { .. } => Some(Exit::Unavailable),
            Self::Refused { .. } | Self::Read(_) => Some(Exit::Failed),
        }
    }

    /// What to do about it.
    pub(super) fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NotEmpty { .. } => Some("Name another database in DATABASE_URL: a dump is never restored over data."),
            Self::Refused { .. } => {
                Some("If it names roles that are not there, dump it with --no-owner --no-privileges.")
            }
            _ => None,
        }
    }
}

/// Runs a verb of `db`.
///
/// # Errors
/// As the function of that verb.
pub async fn run(command: DbCommand, database_url: &str, options: &migrate::Options) -> Result<Output, DbError> {
    match command {
        DbCommand::Restore { dump } => restore(database_url, options, &dump).await.map(Output::Restored),
    }
}
