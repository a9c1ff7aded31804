//! `db`: the database as a whole.

mod dump;
mod postgres;
mod program;
mod push;
mod restore;
mod sqlite;

use std::{fmt, io, path::PathBuf};

use sea_orm_migration::DbErr;
use serde::Serialize;

use super::{
    Exit,
    change::{Answers, ChangeError},
    migrate::{self, MigrateError},
};

pub use push::{Loss, Pushed, push};
pub use restore::{Compared, Restored, restore};

/// The verbs under `db`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum DbCommand {
    /// Restore a dump into the database, which has to be empty
    Restore {
        /// What `pg_dump` wrote, in plain SQL or in a format of its own; for SQLite, SQL or a database file
        dump: PathBuf,
    },
    /// Bring the database to what the entities say, without a migration: to try things, and never in production
    Push(PushOptions),
}

/// What to bring the database to.
#[derive(Debug, Clone, clap::Args)]
pub struct PushOptions {
    #[command(flatten)]
    pub answers: Answers,
    /// Lose what is in columns and tables that are no more
    #[arg(long)]
    pub lose_data: bool,
    /// Source folder of the entities
    #[arg(long, value_name = "FOLDER", default_value = "entity/src")]
    pub entities: PathBuf,
}

/// What a verb did.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Output {
    /// What was restored.
    Restored(Restored),
    /// What was changed.
    Pushed(Pushed),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored(restored) => restored.fmt(f),
            Self::Pushed(pushed) => pushed.fmt(f),
        }
    }
}

/// Why a verb was refused, or failed.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The database cannot be reached or read.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// What is to be changed is not understood, or not to be changed so.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// It is no place to try things.
    #[error("`db push` is never done in production: write a migration, which `migrate diff NAME` does for you")]
    NotInProduction,
    /// Nothing is in it.
    #[error("there is nothing in the database yet: `migrate up` first")]
    Empty,
    /// It has what would be no more.
    #[error("this loses {}: add --lose-data if that is meant", lost.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    LosesData {
        /// What is lost.
        lost: Vec<Loss>,
    },
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
            Self::Migrate(_) | Self::Change(_) => None,
            Self::NotEmpty { .. } | Self::NotInProduction | Self::LosesData { .. } => Some(Exit::Permission),
            Self::File { .. } => Some(Exit::Io),
            Self::NoDump { .. } => Some(Exit::Usage),
            Self::NoProgram { .. } => Some(Exit::Unavailable),
            Self::Refused { .. } | Self::Empty | Self::Read(_) => Some(Exit::Failed),
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
pub async fn run(
    command: DbCommand,
    database_url: &str,
    options: &migrate::Options,
    production: bool,
) -> Result<Output, DbError> {
    match command {
        DbCommand::Restore { dump } => restore(database_url, options, &dump).await.map(Output::Restored),
        DbCommand::Push(options_of_push) => {
            push(database_url, options, production, &options_of_push).await.map(Output::Pushed)
        }
    }
}
