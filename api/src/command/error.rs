//! Why a command was refused or failed, and what the process ends with.

use std::{error::Error as _, io, net::SocketAddr, process::ExitCode};

use super::{
    change::ChangeError,
    db::DbError,
    entity::EntityError,
    generate::GenerateError,
    migrate::{GrantError, MigrateError, Step, is_forbidden, lint::Report},
    roles::RolesError,
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
    /// A verb of `generate`.
    #[error(transparent)]
    Generate(#[from] GenerateError),
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
    /// A verb of `roles`.
    #[error(transparent)]
    Roles(#[from] RolesError),
    /// The service could change the schema, which is for who migrates.
    #[error("the service does not work in production as a role that can change the schema: {}", powers.join(", "))]
    TooPowerful {
        /// What it could do.
        powers: Vec<String>,
    },
    /// Nothing can be listened on there.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// How to name another.
        remedy: &'static str,
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
            Self::NotConfirmed { .. } | Self::RefusedInProduction { .. } | Self::TooPowerful { .. } => Exit::Permission,
            Self::Roles(RolesError::Database(error)) if is_forbidden(error) => Exit::Permission,
            Self::Roles(RolesError::Database(_)) => Exit::Failed,
            Self::Roles(_) => Exit::Configuration,
            Self::Io(_) => Exit::Io,
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::Permission,
            Self::Listen { .. } => Exit::Unavailable,
            Self::Domain(error) => exit_of_domain(error),
            Self::Migrate(error) => exit_of_migrate(error),
            Self::Db(DbError::Migrate(error)) => exit_of_migrate(error),
            Self::Db(DbError::Change(error)) => exit_of_change(error),
            Self::Db(error) => error.exit().unwrap_or(Exit::Failed),
            Self::Entity(error) => exit_of_entity(error),
            Self::Generate(error) => exit_of_generate(error),
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

    /// What the lint found, if that is why.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Migrate(MigrateError::Unsafe { report }) => Some(report),
            _ => None,
        }
    }

    /// What is wrong, thing by thing; each on one line. The cause is told along, but for what may hold a secret.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Config(ConfigErrors(errors)) => errors.iter().map(ToString::to_string).collect(),
            Self::Migrate(MigrateError::Refused { problems }) => {
                problems.iter().map(|(name, problem)| format!("{name} {problem}")).collect()
            }
            Self::Migrate(MigrateError::Irreversible { irreversible }) => {
                let lines = irreversible.iter().map(|(name, reason)| format!("{name} cannot be rolled back: {reason}"));
                lines.collect()
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
            Self::TooPowerful { .. } => {
                "Run `seabed roles create`, and let DATABASE_URL be that of the role that it makes for the service."
            }
            Self::Migrate(error) if error.is_forbidden() => {
                "Let MIGRATION_DATABASE_URL be that of the role that owns the schema; `seabed roles create` makes one."
            }
            Self::Migrate(MigrateError::Unsafe { .. }) => {
                "Write it as the findings say, or write `-- lint: allow RULE because ...` over its statement; outside \
                 production, --despite-lint applies it all the same."
            }
            Self::Migrate(MigrateError::NotInProduction { flag: "despite-lint" }) => {
                "Write `-- lint: allow RULE because ...` over the statement, where others read it."
            }
            Self::Migrate(MigrateError::Irreversible { .. } | MigrateError::NotInProduction { .. }) => {
                "Nothing was rolled back. Go on with a new migration that puts right what is wrong, or restore a backup; \
                 outside production, `migrate fresh` starts anew, and --forget-irreversible takes it out of the history \
                 and leaves what it did."
            }
            Self::Migrate(MigrateError::Drifted(_)) => {
                "Nothing was written: correct the schema, or name the version that it is of."
            }
            Self::Migrate(MigrateError::Ended { .. }) => "Run it again to go on from there.",
            Self::RefusedInProduction { .. } => "Made-up data is for development: check PROFILE and DATABASE_URL.",
            Self::Listen { remedy, .. } => remedy,
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
        Error::Unavailable { reason: Unavailable::Authentication, .. } | Error::Forbidden(_) => Exit::Permission,
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
        MigrateError::Grant(GrantError::NoKey) => Exit::Configuration,
        MigrateError::Grant(GrantError::TooLong) => Exit::Usage,
        MigrateError::NotConfirmed { .. }
        | MigrateError::NotNamed { .. }
        | MigrateError::NeverAllowed { .. }
        | MigrateError::NotInProduction { .. }
        | MigrateError::OtherDatabase { .. } => Exit::Permission,
        MigrateError::Ended { signal, .. } | MigrateError::NotCancelled { signal } => match signal {
            Signal::Interrupt => Exit::Interrupted,
            Signal::Terminate => Exit::Terminated,
        },
        error if error.is_refusal() => Exit::Permission,
        MigrateError::Busy { .. } | MigrateError::Contended { .. } | MigrateError::LockLost { .. } => Exit::Unavailable,
        MigrateError::UnknownVersion { .. }
        | MigrateError::Name { .. }
        | MigrateError::Unsafe { .. }
        | MigrateError::Drifted(_) => Exit::Usage,
        MigrateError::Change(error) => exit_of_change(error),
        MigrateError::File { .. } => Exit::Io,
        _ => Exit::Failed,
    }
}

fn exit_of_change(error: &ChangeError) -> Exit {
    match error {
        ChangeError::Entity(error) => exit_of_entity(error),
        _ => Exit::Usage,
    }
}

fn exit_of_generate(error: &GenerateError) -> Exit {
    match error {
        GenerateError::Migrate(error) => exit_of_migrate(error),
        GenerateError::Entity(error) => exit_of_entity(error),
        GenerateError::File { .. } => Exit::Io,
        GenerateError::Exists { .. } | GenerateError::Layout { .. } => Exit::Failed,
        GenerateError::Name { .. }
        | GenerateError::UnknownTable { .. }
        | GenerateError::Field { .. }
        | GenerateError::NothingToChange => Exit::Usage,
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
