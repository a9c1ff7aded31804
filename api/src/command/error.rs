//! Why a command was refused or failed, and what the process ends with.

use std::{error::Error as _, io, net::SocketAddr, process::ExitCode};

use super::{
    db::DbError,
    entity::EntityError,
    migrate::{MigrateError, Step, is_forbidden},
    signal::Signal,
};
use crate::config::{ConfigError, ConfigErrors};
use domain::{Error, Unavailable};

/// Why a command was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A verb of `migrate`.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// A verb of `db`.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A verb of `entity`.
    #[error(transparent)]
    Entity(#[from] EntityError),
    /// The data.
    #[error(transparent)]
    Domain(#[from] Error),
    /// The database waits for migrations, and this is not the time to run them.
    #[error("migrations are pending: {count}, the first is {first}")]
    PendingMigrations {
        /// How many there are.
        count: usize,
        /// The one that is next.
        first: String,
    },
    /// The embedded database holds tables of another program.
    #[error("the file of the database holds tables that are not ours")]
    ForeignDatabase,
    /// What stands before the database keeps the service from working.
    #[error("{remedy}")]
    Pooler {
        /// What it has to be instead.
        remedy: &'static str,
    },
    /// Nothing can be listened on there.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's own words.
        source: io::Error,
    },
    /// It would destroy data, and nobody said that this is meant.
    #[error("`{verb}` loses all data")]
    NotConfirmed {
        /// What was to be done.
        verb: &'static str,
    },
    /// It is never done in production.
    #[error("`{verb}` is refused in production")]
    RefusedInProduction {
        /// What was to be done.
        verb: &'static str,
    },
    /// Something cannot be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// What the process ends with: the first three are everybody's, the others those of `sysexits.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was done.
    Done = 0,
    /// It failed, or a check found something.
    Failed = 1,
    /// It was not understood, migrations do not pass the lint, or a schema is not that of a version.
    Usage = 2,
    /// Something that it needs cannot be reached (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// Something cannot be read or written (`EX_IOERR`).
    Io = 74,
    /// It is not permitted (`EX_NOPERM`).
    Permission = 77,
    /// A setting is wrong (`EX_CONFIG`).
    Configuration = 78,
    /// Somebody pressed Ctrl-C: 128 and the number of the signal, as shells have it.
    Interrupted = 130,
    /// It was told to end.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl CommandError {
    /// What the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(errors) if errors.0.iter().all(|error| matches!(error, ConfigError::File { .. })) => Exit::Io,
            Self::Config(_) | Self::PendingMigrations { .. } | Self::ForeignDatabase | Self::Pooler { .. } => {
                Exit::Configuration
            }
            Self::NotConfirmed { .. } | Self::RefusedInProduction { .. } => Exit::Permission,
            Self::Io(_) => Exit::Io,
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::Permission,
            Self::Listen { .. } => Exit::Unavailable,
            Self::Domain(error) => exit_of_domain(error),
            Self::Migrate(error) => exit_of_migrate(error),
            Self::Db(DbError::Migrate(error)) => exit_of_migrate(error),
            Self::Db(error) => error.exit().unwrap_or(Exit::Failed),
            Self::Entity(error) => exit_of_entity(error),
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self.exit() {
            Exit::Done | Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Unavailable => "unavailable",
            Exit::Io => "io",
            Exit::Permission => "not_permitted",
            Exit::Configuration => "configuration",
            Exit::Interrupted | Exit::Terminated => "interrupted",
        }
    }

    /// The migrations that were applied or rolled back before it went wrong, and stay so.
    pub fn completed(&self) -> &[Step] {
        match self {
            Self::Migrate(error) => error.completed(),
            _ => &[],
        }
    }

    /// What is wrong, thing by thing; each on one line. The cause is told along, but for what may hold a secret.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(ConfigErrors(errors)) => errors.iter().map(ToString::to_string).collect(),
            Self::Migrate(MigrateError::Refused { problems }) => {
                problems.iter().map(|(name, problem)| format!("{name} {problem}")).collect()
            }
            Self::Migrate(MigrateError::Drifted(drift)) => drift.differences.iter().map(ToString::to_string).collect(),
            _ => {
                let mut line = self.to_string();
                let mut cause = self.source();
                while let Some(error) = cause {
                    let text = error.to_string();
                    // Some errors repeat their cause, and say more than it does.
                    if !line.contains(&text) {
                        line = format!("{line}: {text}");
                    }
                    cause = error.source();
                }
                vec![line.split_whitespace().collect::<Vec<_>>().join(" ")]
            }
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::Config(_) => "Correct the environment, .env.local or .env; .env.example lists what can be set.",
            Self::PendingMigrations { .. } => "Run `seabed migrate up`, or set MIGRATE_ON_START=always.",
            Self::ForeignDatabase => "Name another file in DATABASE_URL.",
            Self::NotConfirmed { .. } => "Add --yes if that is meant.",
            Self::Migrate(MigrateError::Drifted(_)) => {
                "Nothing was written: correct the schema, or name the version that it is of."
            }
            Self::Migrate(MigrateError::Ended { .. }) => "Run it again to go on from there.",
            Self::RefusedInProduction { .. } => "Made-up data is for development: check PROFILE and DATABASE_URL.",
            Self::Listen { .. } => "Set LISTEN to an address of this machine and a free port.",
            Self::Db(error) => return error.advice(),
            Self::Domain(Error::Unavailable { reason: Unavailable::Authentication, .. }) => {
                "Check the user, the password and the name of the database in DATABASE_URL."
            }
            Self::Domain(Error::Unavailable { .. }) => {
                "Check DATABASE_URL, and whether the server runs; `seabed doctor` tells more."
            }
            _ => return None,
        })
    }
}

fn exit_of_domain(error: &Error) -> Exit {
    match error {
        Error::Unavailable { reason: Unavailable::Authentication, .. } => Exit::Permission,
        Error::Unavailable { reason: Unavailable::ReadOnly | Unavailable::DiskFull, .. } => Exit::Io,
        Error::Unavailable { .. } | Error::MemoryUnavailable(_) | Error::UnknownOutcome(_) => Exit::Unavailable,
        Error::Documents(error) if error.is_passing() => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

fn exit_of_migrate(error: &MigrateError) -> Exit {
    match error {
        MigrateError::Url(_) | MigrateError::UnknownDatabase => Exit::Configuration,
        MigrateError::Connect { .. } => Exit::Unavailable,
        MigrateError::Credentials { .. }
        | MigrateError::NotConfirmed { .. }
        | MigrateError::NotNamed { .. }
        | MigrateError::NeverAllowed { .. }
        | MigrateError::OtherDatabase { .. } => Exit::Permission,
        MigrateError::Ended { signal, .. } | MigrateError::NotCancelled { signal } => match signal {
            Signal::Interrupt => Exit::Interrupted,
            Signal::Terminate => Exit::Terminated,
        },
        MigrateError::Step { source, .. }
        | MigrateError::History(source)
        | MigrateError::Install(source)
        | MigrateError::Lock(source)
        | MigrateError::Empty(source)
            if is_forbidden(source) =>
        {
            Exit::Permission
        }
        MigrateError::Busy { .. } | MigrateError::Contended { .. } | MigrateError::LockLost { .. } => Exit::Unavailable,
        MigrateError::UnknownVersion { .. } | MigrateError::Name { .. } | MigrateError::Drifted(_) => Exit::Usage,
        MigrateError::File { .. } => Exit::Io,
        _ => Exit::Failed,
    }
}

fn exit_of_entity(error: &EntityError) -> Exit {
    match error {
        EntityError::Url(_) | EntityError::UnknownDatabase { .. } => Exit::Configuration,
        EntityError::Connect(_) => Exit::Unavailable,
        EntityError::Create(_) => Exit::Permission,
        EntityError::Interrupted => Exit::Interrupted,
        EntityError::NoFolder { .. } | EntityError::File { .. } => Exit::Io,
        _ => Exit::Failed,
    }
}
