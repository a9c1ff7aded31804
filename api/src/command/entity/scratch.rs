//! A database that lives for one refresh: migrated, read, and gone, whatever happens.

use std::{io, str::FromStr, time::Duration};

use migration::{MigrationTrait, Migrator, MigratorTrait};
use sea_orm_migration::{
    DbErr, SchemaManager,
    sea_orm::{DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector},
};
use sea_query::TableCreateStatement;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{EntityError, schema};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tables that the migrations make, and another one after them, read from a scratch database.
pub(super) async fn discover(
    database_url: Option<&str>,
    last: Option<Box<dyn MigrationTrait>>,
) -> Result<Vec<TableCreateStatement>, EntityError> {
    match database_url {
        None => until_interrupted(discover_sqlite(last)).await,
        Some(url) => match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
            "postgres" | "postgresql" => discover_postgres(url, last).await,
            "sqlite" => until_interrupted(discover_sqlite(last)).await,
            // What stands before the colon may be anything, even a password, unless it is a plain word.
            scheme if url.contains("://") => Err(EntityError::UnknownDatabase { scheme: scheme.to_owned() }),
            _ => Err(EntityError::UnknownDatabase { scheme: "this".to_owned() }),
        },
    }
}

/// Runs the work in a task of its own, so that neither a panic in it nor Ctrl-C keeps the caller from cleaning up.
async fn until_interrupted<T: Send + 'static>(
    work: impl Future<Output = Result<T, EntityError>> + Send + 'static,
) -> Result<T, EntityError> {
    let mut task = tokio::spawn(work);
    tokio::select! {
        outcome = &mut task => outcome.unwrap_or_else(|failure| Err(EntityError::Discover(failure.into()))),
        Ok(()) = tokio::signal::ctrl_c() => {
            task.abort();
            // Its temporary folder and its connections are gone once the task is.
            let _ = task.await;
            Err(EntityError::Interrupted)
        }
    }
}

async fn migrate(database: &DatabaseConnection, last: Option<Box<dyn MigrationTrait>>) -> Result<(), DbErr> {
    Migrator::up(database, None).await?;
    match last {
        Some(last) => last.up(&SchemaManager::new(database)).await,
        None => Ok(()),
    }
}

async fn discover_sqlite(last: Option<Box<dyn MigrationTrait>>) -> Result<Vec<TableCreateStatement>, EntityError> {
    let folder = tempfile::tempdir().map_err(|source| EntityError::File { path: std::env::temp_dir(), source })?;
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("scratch.sqlite"))
        .create_if_missing(true)
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(EntityError::Connect)?;
    let database = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.clone());
    migrate(&database, last).await.map_err(EntityError::Migrate)?;
    let tables = schema::read_sqlite(&pool).await;
    pool.close().await;
    tables
}

async fn discover_postgres(
    url: &str,
    last: Option<Box<dyn MigrationTrait>>,
) -> Result<Vec<TableCreateStatement>, EntityError> {
    let server = PgConnectOptions::from_str(url).map_err(EntityError::Url)?.disable_statement_logging();
    let mut administration = tokio::time::timeout(PATIENCE, connect_to_server(&server))
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        .map_err(EntityError::Connect)?;
    let name = format!("seabed_scratch_{:016x}", rand::random::<u64>());
    // template0 holds nothing that someone added to every new database of this server.
    administration
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0")))
        .await
        .map_err(EntityError::Create)?;
    let outcome = until_interrupted(discover_postgres_database(server.database(&name), last)).await;
    let dropped = administration.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await;
    match (outcome, dropped) {
        (outcome, Ok(_)) => outcome,
        (Ok(_), Err(source)) => Err(EntityError::Drop { name, source }),
        (Err(first), Err(second)) => {
            tracing::warn!(database = name, error = %second, "the scratch database could not be dropped");
            Err(first)
        }
    }
}

/// A connection to create and drop databases with; to `postgres` if the database that the URL names is yet to be made.
async fn connect_to_server(server: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    const INVALID_CATALOG_NAME: &str = "3D000";
    match PgConnection::connect_with(server).await {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(INVALID_CATALOG_NAME) => {
            PgConnection::connect_with(&server.clone().database("postgres")).await
        }
        connection => connection,
    }
}

async fn discover_postgres_database(
    options: PgConnectOptions,
    last: Option<Box<dyn MigrationTrait>>,
) -> Result<Vec<TableCreateStatement>, EntityError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        // A role or a URL may set another path; the generator reads `public`.
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute("SET search_path = public").await.map(|_| ()) })
        })
        .connect_with(options)
        .await
        .map_err(EntityError::Connect)?;
    let database = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
    migrate(&database, last).await.map_err(EntityError::Migrate)?;
    let tables = schema::read_postgres(&pool).await;
    pool.close().await;
    tables
}
