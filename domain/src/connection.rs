//! Opening and closing connections to the database.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use sea_orm::{
    ConnectionTrait, DbBackend, Statement, TryGetableMany,
    sqlx::{
        ConnectOptions,
        postgres::PgConnectOptions,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};

use crate::{
    breaker::BreakerPolicy,
    engine::Connector,
    error::{Error, Result},
    fault,
    pool::{Limits, Pool},
    retry::RetryPolicy,
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
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// How long a statement may wait for what another transaction holds.
    pub lock_timeout: Duration,
    /// How long a unit of work may take, from its beginning to its commit.
    pub transaction_timeout: Duration,
    /// From how long on a statement is logged as slow.
    pub slow_statement: Duration,
    /// When a unit of work is run again, and how often.
    pub retry: RetryPolicy,
    /// When a server that fails is left alone.
    pub breaker: BreakerPolicy,
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
            lock_timeout: Duration::from_secs(3),
            transaction_timeout: Duration::from_secs(8),
            slow_statement: Duration::from_millis(500),
            retry: RetryPolicy::default(),
            breaker: BreakerPolicy::default(),
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

/// How much later than the server itself a statement is given up: only a server that does not answer gets that far.
const GRACE: Duration = Duration::from_secs(1);

/// The connections that a store reads and writes by. On PostgreSQL they are one pool; SQLite has one writer beside
/// several readers, so that no transaction that began by reading has to fail when it turns to writing.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    pub(crate) reader: Pool,
    pub(crate) writer: Pool,
    /// What each transaction has to set for itself, because a pooler keeps settings from the server.
    pub(crate) settings: Option<Arc<str>>,
}

impl Connections {
    pub(crate) async fn open(options: &StoreOptions) -> Result<Self> {
        match options.url.strip_prefix("sqlite:") {
            Some(path) => {
                let file = Connector::Sqlite(Box::new(sqlite(options, path).await?));
                let writer = Pool::open(file.clone(), limits(options, 1, 1)).await?;
                let reader =
                    Pool::open(file, limits(options, options.min_connections, options.max_connections)).await?;
                Ok(Self { reader, writer, settings: None })
            }
            None => {
                let settings = settings(options);
                let server = Connector::Postgres(Box::new(postgres(options, &settings)?));
                let limits = limits(options, options.min_connections, options.max_connections);
                let pool = Pool::open(server, limits).await?;
                let settings = (!are_in_force(&pool, &settings).await?).then(|| {
                    let set = |(name, value): &(&str, String)| format!("SET LOCAL {name} = {value}");
                    settings.iter().map(set).collect::<Vec<_>>().join("; ").into()
                });
                Ok(Self { reader: pool.clone(), writer: pool, settings })
            }
        }
    }

    pub(crate) fn backend(&self) -> DbBackend {
        self.writer.backend()
    }

    pub(crate) async fn close(&self) {
        // Closing what is closed, as when both are one pool, does nothing.
        self.reader.close().await;
        self.writer.close().await;
    }
}

fn limits(options: &StoreOptions, min: u32, max: u32) -> Limits {
    let max = max.max(1);
    Limits {
        min: min.min(max),
        max,
        connect_timeout: options.connect_timeout,
        acquire_timeout: options.acquire_timeout,
        idle_timeout: options.idle_timeout,
        silence: options.statement_timeout + GRACE,
        slow_statement: options.slow_statement,
        retry: options.retry,
        breaker: options.breaker,
    }
}

/// What the server is to keep to.
fn settings(options: &StoreOptions) -> [(&'static str, String); 4] {
    let millis = |limit: Duration| limit.as_millis().to_string();
    [
        ("statement_timeout", millis(options.statement_timeout)),
        ("lock_timeout", millis(options.lock_timeout)),
        ("idle_in_transaction_session_timeout", millis(options.transaction_timeout)),
        // A statement whose caller has gone away and closed the connection is not worth finishing.
        ("client_connection_check_interval", millis(CLIENT_CHECK)),
    ]
}

/// Whether the server got the settings that were sent when the connection opened.
async fn are_in_force(pool: &Pool, settings: &[(&str, String)]) -> Result<bool> {
    let names = settings.iter().map(|(name, _)| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT name, setting FROM pg_settings WHERE name IN ({names})");
    let statement = Statement::from_string(DbBackend::Postgres, sql);
    let rows = pool.query_all_raw(statement).await.map_err(fault::unavailable)?;
    let mut in_force = 0;
    for row in rows {
        let (name, value) =
            <(String, String)>::try_get_many_by_index(&row).map_err(|error| fault::unavailable(error.into()))?;
        in_force += settings.iter().filter(|(set, to)| *set == name && *to == value).count();
    }
    Ok(in_force == settings.len())
}

fn postgres(options: &StoreOptions, settings: &[(&'static str, String)]) -> Result<PgConnectOptions> {
    let server = PgConnectOptions::from_str(&options.url)
        // What the parser says may quote the address, with its password.
        .map_err(|_| Error::invalid("DATABASE_URL", "postgres", "is not postgres://user:password@host:port/name"))?;
    let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
    Ok(server.application_name("seabed").options(settings).disable_statement_logging())
}

/// How soon the server notices that a connection was closed while a statement runs.
const CLIENT_CHECK: Duration = Duration::from_millis(500);

async fn sqlite(options: &StoreOptions, path: &str) -> Result<SqliteConnectOptions> {
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
    Ok(file
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // An acknowledged commit survives a power cut, not only a crash of the process.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // A row that REPLACE puts another in the place of is deleted also for the triggers.
        .pragma("recursive_triggers", "ON")
        .busy_timeout(options.lock_timeout)
        .disable_statement_logging())
}
