//! Why a verb of `migrate` was refused, failed or ended early.

use std::{fmt, io, path::PathBuf};

use sea_orm_migration::DbErr;

use super::{
    Direction, Drift, Problem, Rows, Step, UnknownSchema, fault::is_forbidden, grant::GrantError, lint::Report,
};
use crate::command::{change::ChangeError, signal::Signal};

/// Why a verb was refused, or failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("the database URL cannot be read: it should look like postgres://user:password@host:5432/database")]
    Url(#[source] sqlx::Error),
    #[error("migrations run on postgres:// and sqlite:// only, and the database URL is neither")]
    UnknownDatabase,
    #[error("{database} cannot be opened: check the database URL, and whether the server runs")]
    Connect {
        database: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("{database} is not open to this user: check the user, the password and the name of the database")]
    Credentials {
        database: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("`migrate {verb}` loses data, and MIGRATION_ALLOW_DESTRUCTIVE is `never`")]
    NeverAllowed { verb: &'static str },
    #[error("`migrate {verb}` loses data: add --yes if that is meant")]
    NotConfirmed { verb: &'static str },
    #[error("`migrate {verb}` loses data, in production: add --yes-i-mean {database} if that is meant")]
    NotNamed { verb: &'static str, database: String },
    #[error("`migrate {verb}` loses data, and the database is {database}, not {meant:?}")]
    OtherDatabase { verb: &'static str, database: String, meant: String },
    #[error(
        "`migrate {verb}` in production needs MIGRATION_DATABASE_URL, the database as a role that may change its schema, \
         or a grant: `roles create` makes the roles, `migrate grant` a grant"
    )]
    NotAuthorised { verb: &'static str },
    #[error(
        "`migrate {verb}` in production needs a grant where the database is a file, which has no roles: `migrate grant` makes one"
    )]
    FileHasNoRoles { verb: &'static str },
    #[error(
        "MIGRATION_DATABASE_URL is of {user}, as which the service itself works: `roles create` makes a role that migrates"
    )]
    SameRole { user: String },
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("no single migration is called {version}: {}", suggestion(near))]
    UnknownVersion { version: String, near: Vec<String> },
    #[error("{}", problems.iter().map(|(name, problem)| format!("{name} {problem}")).collect::<Vec<_>>().join("; "))]
    Refused {
        /// What keeps from going on, by the names of migrations.
        problems: Vec<(String, Problem)>,
    },
    #[error("what is pending does not pass the lint, and the database is in use: nothing was run")]
    Unsafe {
        /// What was found.
        report: Box<Report>,
    },
    #[error("`--{flag}` is refused in production")]
    NotInProduction {
        /// What was said.
        flag: &'static str,
    },
    #[error("{}; nothing was rolled back", irreversible.iter().map(|(name, reason)| format!("{name} cannot be rolled back: {reason}")).collect::<Vec<_>>().join("; "))]
    Irreversible {
        /// Why they cannot be rolled back, by the names of migrations.
        irreversible: Vec<(String, String)>,
    },
    #[error("{name} is not edited: there is nothing to accept")]
    NotEdited { name: String },
    #[error("others migrate for too long{}: see `migrate status`, and run again", by.as_ref().map(|by| format!(", {by}")).unwrap_or_default())]
    Busy { by: Option<String> },
    #[error("the tables that migrations are kept account of in cannot be made")]
    Install(#[source] DbErr),
    #[error("the lock of migrators cannot be taken")]
    Lock(#[source] DbErr),
    #[error("{name} was stopped: the lock could not be renewed, and another migrator may go on: see `migrate status`")]
    LockLost { name: String, completed: Vec<Step> },
    #[error(
        "{name} could not be {}: others hold what it needs, and it was tried {attempts} times; nothing of it is left: run \
         again when there is less to do, or end what holds it",
        direction.done()
    )]
    Contended {
        name: String,
        direction: Direction,
        attempts: u32,
        completed: Vec<Step>,
        #[source]
        source: DbErr,
    },
    #[error(
        "{name} could not be {}, after {} others{}: correct it and run again",
        direction.done(),
        completed.len(),
        if *undone { "" } else { ", and what it had done stays" }
    )]
    Step {
        name: String,
        direction: Direction,
        completed: Vec<Step>,
        /// Whether nothing of it is left.
        undone: bool,
        #[source]
        source: DbErr,
    },
    #[error("ended early: {}", Stood { completed, cancelled: cancelled.as_ref() })]
    Ended {
        /// Who asked for it.
        signal: Signal,
        /// What was done, and stays.
        completed: Vec<Step>,
        /// What was under way.
        cancelled: Option<Cancelled>,
    },
    #[error("ended early, and the database does not say how it stands: see `migrate status`")]
    NotCancelled { signal: Signal },
    #[error("the history of the database cannot be read or does not fit: see `migrate status`")]
    History(#[source] DbErr),
    #[error("the database could not be emptied; it is as it was")]
    Empty(#[source] DbErr),
    #[error("the database has a history already, up to {version}: see `migrate status`")]
    HasHistory { version: String },
    #[error("the schema is not that of {}", .0.version)]
    Drifted(Drift),
    #[error("it cannot be told what the schema should be")]
    UnknownSchema(#[from] UnknownSchema),
    #[error("{name:?} cannot name a migration: use a-z, 0-9, space, - and _, and at least one letter")]
    Name { name: String },
    #[error("{} has no place for a new {missing}: add it by hand", path.display())]
    Layout { path: PathBuf, missing: &'static str },
    #[error("{} cannot be read or written", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A migration in whose middle somebody asked for the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancelled {
    /// Its name.
    pub name: String,
    /// Whether nothing of it is left.
    pub undone: bool,
    /// How many rows it has been through, if it changes rows in batches.
    pub rows: Option<Rows>,
}

impl MigrateError {
    /// Somebody asked for the end before anything was done.
    pub(super) fn ended(signal: Signal) -> Self {
        Self::Ended { signal, completed: Vec::new(), cancelled: None }
    }

    /// Whether somebody was not let, who has not the right to.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::NotAuthorised { .. }
            | Self::FileHasNoRoles { .. }
            | Self::SameRole { .. }
            | Self::Grant(_)
            | Self::Credentials { .. } => true,
            _ => self.is_forbidden(),
        }
    }

    /// Whether the database did not let its user.
    pub(crate) fn is_forbidden(&self) -> bool {
        match self {
            Self::Step { source, .. }
            | Self::History(source)
            | Self::Install(source)
            | Self::Lock(source)
            | Self::Empty(source) => is_forbidden(source),
            _ => false,
        }
    }

    /// The migrations that were applied or rolled back before, and stay so.
    pub fn completed(&self) -> &[Step] {
        match self {
            Self::Step { completed, .. }
            | Self::Contended { completed, .. }
            | Self::LockLost { completed, .. }
            | Self::Ended { completed, .. } => completed,
            _ => &[],
        }
    }
}

fn suggestion(near: &[String]) -> String {
    if near.is_empty() {
        "`migrate status` lists them".to_owned()
    } else {
        format!("did you mean {}?", near.join(", "))
    }
}

/// How the database stands.
struct Stood<'a> {
    completed: &'a [Step],
    cancelled: Option<&'a Cancelled>,
}

impl fmt::Display for Stood<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Step { name, direction, .. } in self.completed {
            write!(f, "{name} was {}, ", direction.done())?;
        }
        match self.cancelled {
            Some(Cancelled { name, undone: true, .. }) => write!(f, "{name} was undone"),
            Some(Cancelled { name, rows: Some(rows), .. }) => {
                write!(f, "{name} was cancelled after {rows}, which stay as they are now")
            }
            Some(Cancelled { name, .. }) => write!(f, "{name} was cancelled, and what it had done stays"),
            None => f.write_str("nothing was under way"),
        }
    }
}
