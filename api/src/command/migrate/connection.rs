//! Opens the connection that a migrator works on, and the one beside it that keeps its lock, and cancels what runs.

use std::{
    convert::Infallible,
    io,
    ops::Deref,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use migration::{MigrationTrait, Source};
use sea_orm_migration::sea_orm::{DatabaseConnection, DbBackend, SqlxPostgresConnector, SqlxSqliteConnector};
use sqlx::{
    ConnectOptions, Connection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{MigrateError, Options, tables::Tables};
use crate::command::signal::Signal;

/// A database to be migrated, over one connection.
pub struct Database {
    connection: DatabaseConnection,
    /// For what must go on while the other one is busy.
    beside: DatabaseConnection,
    name: String,
    /// Where its server is, if it has one.
    server: Option<PgConnectOptions>,
    /// What the connection calls itself, as no other does. A pooler passes it on, where the number of a process would be
    /// one that works for others by now.
    called: String,
    asked_to_end: Arc<OnceLock<Signal>>,
    options: Options,
    tables: Tables,
    migrations: Vec<Box<dyn MigrationTrait>>,
}

/// Where a database is.
#[derive(Clone)]
pub(super) enum Place {
    Server(PgConnectOptions),
    File(SqliteConnectOptions),
}

/// Opens a database for migrations: one connection, no statements in the log. A SQLite file is created if it is not
/// there, with the folder that it is in.
///
/// # Errors
///
/// If the URL cannot be read or names another kind of database, or if the database does not answer within the limit. No
/// error shows the password.
pub async fn connect(database_url: &str, options: &Options) -> Result<Database, MigrateError> {
    Place::read(database_url)?.open(options).await
}

/// The name of the database at this address.
///
/// # Errors
/// If the URL cannot be read or names another kind of database.
pub(crate) fn name_of(database_url: &str) -> Result<String, MigrateError> {
    Ok(Place::read(database_url)?.name())
}

/// The file of the database at this address, if it is one.
///
/// # Errors
/// If the URL cannot be read or names another kind of database.
pub(crate) fn file_of(database_url: &str) -> Result<Option<PathBuf>, MigrateError> {
    Ok(match Place::read(database_url)? {
        Place::Server(_) => None,
        Place::File(options) => Some(options.get_filename().to_path_buf()),
    })
}

impl Place {
    pub(super) fn read(database_url: &str) -> Result<Self, MigrateError> {
        match database_url.split_once(':').map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => PgConnectOptions::from_str(database_url).map(Self::Server),
            Some("sqlite") => SqliteConnectOptions::from_str(database_url).map(Self::File),
            _ => return Err(MigrateError::UnknownDatabase),
        }
        .map_err(MigrateError::Url)
    }

    /// Whether it is a file that opening would create.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::File(options) if !options.get_filename().exists())
    }

    /// The name of the database: what stands last in its URL.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Server(options) => options.get_database().unwrap_or(options.get_username()).to_owned(),
            Self::File(options) => {
                options.get_filename().file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
        }
    }

    /// The user that it is opened as, if it has any.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Server(options) => Some(options.get_username()),
            Self::File(_) => None,
        }
    }

    pub(super) fn backend(&self) -> DbBackend {
        match self {
            Self::Server(_) => DbBackend::Postgres,
            Self::File(_) => DbBackend::Sqlite,
        }
    }

    // Not through SeaORM's `Database::connect`: its trace, and one of its errors, would show the whole URL.
    pub(super) async fn open(self, options: &Options) -> Result<Database, MigrateError> {
        let name = self.name();
        let asked_to_end = Arc::new(OnceLock::new());
        let called = format!("seabed migrate {:016x}", rand::random::<u64>());
        let (connection, beside, server) = match self {
            Self::Server(address) => {
                let address = address.disable_statement_logging();
                // What holds in a session, and is said again in every transaction for poolers, which do not hear this.
                let limited = address.clone().application_name(&called).options(limits(options));
                let opened = tokio::time::timeout(options.connect_timeout, open_server(limited)).await;
                let pool = opened.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
                let pool = pool.map_err(|source| refused(&name, &address, source))?;
                let beside = PgPoolOptions::new().max_connections(1).acquire_timeout(options.lease);
                let beside = beside.connect_lazy_with(address.clone().application_name("seabed migrate lock"));
                let [pool, beside] = [pool, beside].map(SqlxPostgresConnector::from_sqlx_postgres_pool);
                (pool, beside, Some(address))
            }
            Self::File(file) => {
                let beside = file.clone().busy_timeout(options.lease / 6).disable_statement_logging();
                let pool = open_file(file.busy_timeout(options.lock_timeout), Arc::clone(&asked_to_end)).await?;
                let beside = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(beside);
                (pool, SqlxSqliteConnector::from_sqlx_sqlite_pool(beside), None)
            }
        };
        let tables = Tables::new(options, connection.get_database_backend());
        let migrations = (options.program.migrations)();
        let options = options.clone();
        Ok(Database { connection, beside, name, server, called, asked_to_end, options, tables, migrations })
    }
}

/// What the server keeps to, in milliseconds.
fn limits(options: &Options) -> [(&'static str, String); 3] {
    let millis = |limit: Duration| limit.as_millis().to_string();
    [
        ("lock_timeout", millis(options.lock_timeout)),
        ("statement_timeout", millis(options.statement_timeout)),
        // Whoever has taken over the lock waits for what this one still holds.
        ("idle_in_transaction_session_timeout", millis(options.lease * 3)),
    ]
}

/// Tries a connection of its own first: a pool would try again and again, and then not say why it could not.
async fn open_server(address: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    address.connect().await?.close().await?;
    PgPoolOptions::new().max_connections(1).connect_with(address).await
}

fn refused(name: &str, address: &PgConnectOptions, source: sqlx::Error) -> MigrateError {
    let database = format!("the database {name} on {}:{}", address.get_host(), address.get_port());
    let code = source.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some("28000" | "28P01" | "3D000") => MigrateError::Credentials { database, source },
        _ => MigrateError::Connect { database, source },
    }
}

async fn open_file(
    options: SqliteConnectOptions,
    asked_to_end: Arc<OnceLock<Signal>>,
) -> Result<DatabaseConnection, MigrateError> {
    /// After how many instructions of its virtual machine SQLite asks: some microseconds.
    const INSTRUCTIONS: i32 = 1_000;

    let file = options.get_filename().to_path_buf();
    if let Some(folder) = file.parent().filter(|folder| *folder != Path::new("")) {
        std::fs::create_dir_all(folder).map_err(|source| MigrateError::File { path: folder.to_path_buf(), source })?;
    }
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        // A database in memory would be gone with its connection.
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(move |connection, _| {
            let asked_to_end = Arc::clone(&asked_to_end);
            Box::pin(async move {
                let goes_on = move || asked_to_end.get().is_none();
                connection.lock_handle().await?.set_progress_handler(INSTRUCTIONS, goes_on);
                Ok(())
            })
        })
        // A row that REPLACE puts another in the place of is deleted also for the triggers, as it is for the store.
        .connect_with(options.create_if_missing(true).pragma("recursive_triggers", "ON").disable_statement_logging())
        .await
        .map_err(|source| MigrateError::Connect { database: format!("the file {}", file.display()), source })?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}

impl Database {
    /// Its name: what stands last in its URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Where its server is, if it has one.
    pub(super) fn server(&self) -> Option<&PgConnectOptions> {
        self.server.as_ref()
    }

    /// The connection that is free while a migration is under way.
    pub(super) fn beside(&self) -> &DatabaseConnection {
        &self.beside
    }

    /// What its connection calls itself.
    pub(super) fn called(&self) -> &str {
        &self.called
    }

    /// The migrations of this program, in their order.
    pub(super) fn migrations(&self) -> &[Box<dyn MigrationTrait>] {
        &self.migrations
    }

    /// What a migration is written as, if that is known.
    pub(super) fn source(&self, name: &str) -> Option<Source> {
        (self.options.program.source)(name, self.get_database_backend())
    }

    /// What the server keeps to.
    pub(super) fn limits(&self) -> [(&'static str, String); 3] {
        limits(&self.options)
    }

    /// Lets no further migration begin.
    pub(super) fn end(&self, signal: Signal) {
        // The first one counts.
        let _asked_already = self.asked_to_end.set(signal);
    }

    /// Who has asked to end, if anybody has.
    pub(super) fn asked_to_end(&self) -> Option<Signal> {
        self.asked_to_end.get().copied()
    }

    /// Whether nobody has asked to end yet.
    ///
    /// # Errors
    ///
    /// If somebody has.
    pub(super) fn go_on(&self) -> Result<(), MigrateError> {
        self.asked_to_end().map_or(Ok(()), |signal| Err(MigrateError::ended(signal)))
    }

    /// Cancels the statement that runs, and again and again those that come after it; to be dropped when none does.
    ///
    /// SQLite itself asks all the time whether to go on. Only while it waits for the lock of another process it does
    /// not: that takes five seconds at most.
    pub(super) async fn cancel(&self) -> Infallible {
        const PAUSE: Duration = Duration::from_millis(100);

        if self.server.is_none() {
            return std::future::pending().await;
        }
        loop {
            self.cancel_now().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Cancels the statement that runs.
    pub(super) async fn cancel_now(&self) {
        let Some(address) = &self.server else { return };
        let cancelled = async {
            let mut connection = address.connect().await?;
            let sql = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = $1";
            sqlx::query(sql).bind(&self.called).execute(&mut connection).await?;
            connection.close().await
        };
        if let Err(error) = cancelled.await {
            tracing::warn!(%error, "the running statement could not be cancelled");
        }
    }

    /// Closes the connections.
    pub async fn close(self) {
        for connection in [self.connection, self.beside] {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "the migrator's connection was not closed cleanly");
            }
        }
    }
}

/// For statements.
impl Deref for Database {
    type Target = DatabaseConnection;

    fn deref(&self) -> &DatabaseConnection {
        &self.connection
    }
}
