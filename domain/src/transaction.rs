//! How a transaction is begun: what it may see, how long it may take, and whose it is.

use std::{fmt, panic::Location, time::Duration};

use sea_orm::{
    DbBackend,
    sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr},
};

use crate::context::Context;

/// What a transaction may see of others that run at the same time. SQLite has one writer at a time, so that each of its
/// transactions is serializable, whatever is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Each statement sees what was committed before it began. The usual level: versions and locks keep updates from
    /// being lost.
    #[default]
    ReadCommitted,
    /// All statements see what was committed before the first began.
    RepeatableRead,
    /// As if it had run alone. The transaction may have to run again, which it does by itself.
    Serializable,
}

/// What [`write_with`](crate::Store::write_with) does otherwise than usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// What the transaction may see of others.
    pub isolation: Isolation,
    /// How long it may take, in place of the store's transaction timeout.
    pub timeout: Option<Duration>,
}

impl WriteOptions {
    /// With this isolation level.
    pub fn isolated(isolation: Isolation) -> Self {
        Self { isolation, ..Self::default() }
    }

    /// What begins the transaction: with settings of its own, where a pooler keeps those of the session from the server,
    /// and where more time is asked for than a session has; and with its context, all in one round trip. On SQLite that
    /// is said at the end, see [`crate::outbox::commit`], and the number is asked for after which its rows come.
    pub(crate) fn begin(&self, backend: DbBackend, settings: Option<&str>, context: Option<&Context>) -> SqlStr {
        let begin = match (backend, self.isolation) {
            // The write lock is taken at once: a transaction that reads first and writes then would fail, not wait.
            (DbBackend::Sqlite, _) => "BEGIN IMMEDIATE",
            (_, Isolation::ReadCommitted) => "BEGIN",
            (_, Isolation::RepeatableRead) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            (_, Isolation::Serializable) => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        };
        let more_time = self
            .timeout
            .filter(|_| backend == DbBackend::Postgres)
            .map(|timeout| format!("SET LOCAL idle_in_transaction_session_timeout = {}", timeout.as_millis()));
        let context = context.map(|context| match backend {
            DbBackend::Sqlite => LAST_NUMBER.to_owned(),
            _ => format!("SET LOCAL seabed.context = {}", context.constant(backend)),
        });
        if settings.is_none() && more_time.is_none() && context.is_none() {
            return SqlStr::from_static(begin);
        }
        let script = [Some(begin), settings, more_time.as_deref(), context.as_deref()];
        let script = script.into_iter().flatten().collect::<Vec<_>>();
        AssertSqlSafe(script.join("; ")).into_sql_str()
    }
}

/// The last number that was given in the outbox. It is not given again when its row was deleted.
const LAST_NUMBER: &str = "SELECT coalesce(max(seq), 0) AS number FROM sqlite_sequence WHERE name = 'outbox'";

/// Whose unit of work it is, for the log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner {
    /// The place in the program.
    Caller(&'static Location<'static>),
    /// A verb, and the noun that it was used on.
    Verb(&'static str, &'static str),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller(place) => place.fmt(f),
            Self::Verb(verb, noun) => write!(f, "{verb} {noun}"),
        }
    }
}
