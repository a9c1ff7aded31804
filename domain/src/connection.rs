//! Opening and closing connections to the database.

use std::{fmt, str::FromStr, time::Duration};

use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DbBackend,
    sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use crate::{
    error::{Error, Result, Unavailable},
    fault,
};

/// Where the database is, and how many connections to keep to it.
#[derive(Clone)]
pub struct StoreOptions {
    /// `postgres://user:password@host:port/name` or `sqlite://path`.
    pub url: String,
    /// How many connections are kept open.
    pub min_connections: u32,
    /// How many connections are opened at most.
    pub max_connections: u32,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long to wait for a connection when all are in use.
    pub acquire_timeout: Duration,
    /// After how long an unused connection beyond `min_connections` is closed.
    pub idle_timeout: Duration,
    /// How long a statement may take (PostgreSQL), or wait for another process's lock (SQLite).
    pub statement_timeout: Duration,
    /// The seed of ids; without one they cannot be guessed.
    pub seed: Option<u64>,
}

impl StoreOptions {
    /// The usual numbers, for the database at this address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            min_connections: 2,
            max_connections: 10,
            connect_timeout: Duration::from_secs(30),
            acquire_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            statement_timeout: Duration::from_secs(5),
            seed: None,
        }
    }
}

// The address holds a password.
impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, min_connections, max_connections, .. } = self;
        f.debug_struct("StoreOptions")
            .field("min_connections", min_connections)
            .field("max_connections", max_connections)
            .finish_non_exhaustive()
    }
}

/// How long an idle connection is trusted without asking the server, which costs a round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(30);

/// The connections that a store reads and writes by. On PostgreSQL they are one pool; SQLite has one writer beside
/// several readers, so that no transaction that began by reading has to fail when it turns to writing.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) reader: DatabaseConnection,
    pub(crate) writer: DatabaseConnection,
}

impl Connections {
    pub(crate) async fn open(options: &StoreOptions) -> Result<Self> {
        if let Some(path) = options.url.strip_prefix("sqlite:") {
            return Self::open_sqlite(options, path).await;
        }
        let mut connect = common(options, options.url.clone());
        connect
            .min_connections(options.min_connections)
            .max_connections(options.max_connections)
            .statement_timeout(options.statement_timeout)
            .set_application_name("seabed");
        let pool = connect_within(connect, options.connect_timeout).await?;
        Ok(Self { reader: pool.clone(), writer: pool })
    }

    async fn open_sqlite(options: &StoreOptions, path: &str) -> Result<Self> {
        let path = path.trim_start_matches("//");
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        if path.is_empty() || path == ":memory:" {
            let message = "needs a file: in memory, SQLite drops data when connections are recycled";
            return Err(Error::invalid("DATABASE_URL", "sqlite", message));
        }
        let file = SqliteConnectOptions::from_str(&format!("sqlite://{path}"))
            .map_err(|_| Error::invalid("DATABASE_URL", "sqlite", "is not a path as it is written in a URL"))?;
        if let Some(folder) = file.get_filename().parent() {
            tokio::fs::create_dir_all(folder)
                .await
                .map_err(|error| Error::internal("the folder of the database could not be made", error))?;
        }
        let open = async |connections: u32| {
            let mut connect = common(options, format!("sqlite://{path}?mode=rwc"));
            let busy_timeout = options.statement_timeout;
            connect.min_connections(1).max_connections(connections).map_sqlx_sqlite_opts(move |sqlite| {
                sqlite
                    .journal_mode(SqliteJournalMode::Wal)
                    // An acknowledged commit survives a power cut, not only a crash of the process.
                    .synchronous(SqliteSynchronous::Full)
                    .foreign_keys(true)
                    .busy_timeout(busy_timeout)
            });
            connect_within(connect, options.connect_timeout).await
        };
        let writer = open(1).await?;
        let reader = open(options.max_connections.max(1)).await?;
        Ok(Self { reader, writer })
    }

    pub(crate) fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }

    pub(crate) async fn close(&self) {
        for pool in [&self.reader, &self.writer] {
            // Closing what is closed, as when both are one pool, does nothing.
            let _already_closed = pool.close_by_ref().await;
        }
    }
}

fn common(options: &StoreOptions, url: String) -> ConnectOptions {
    let mut connect = ConnectOptions::new(url);
    connect
        .acquire_timeout(options.acquire_timeout)
        .idle_timeout(options.idle_timeout)
        .test_before_acquire_if_idle_for(TRUSTED_IDLE)
        .sqlx_logging(false);
    connect
}

#[expect(clippy::disallowed_methods, reason = "the store's one way to the database")]
async fn connect_within(mut options: ConnectOptions, limit: Duration) -> Result<DatabaseConnection> {
    // The pool tries again and again until its acquire timeout; the first connection gets the time of a connect.
    let acquire_timeout = options.get_acquire_timeout();
    options.acquire_timeout(limit.min(acquire_timeout.unwrap_or(limit)));
    match tokio::time::timeout(limit, Database::connect(options)).await {
        Ok(connected) => connected.map_err(|error| match fault::unavailable(error) {
            // Nothing was borrowed yet: a pool that gives no first connection has no server.
            Error::Unavailable { reason: Unavailable::PoolExhausted, cause } => {
                Error::Unavailable { reason: Unavailable::Network, cause }
            }
            error => error,
        }),
        Err(elapsed) => Err(Error::unavailable(Unavailable::Network, elapsed)),
    }
}
