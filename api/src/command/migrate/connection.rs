//! Opens the one connection that a migrator needs.

use std::{io, path::Path, str::FromStr, time::Duration};

use sea_orm_migration::sea_orm::{DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector};
use sqlx::{
    ConnectOptions, Connection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::MigrateError;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Opens a database for migrations: one connection, no statements in the log. A SQLite file is created if it is not
/// there, with the folder that it is in.
///
/// # Errors
///
/// If the URL cannot be read or names another kind of database, or if the database does not answer. No error shows the
/// password.
pub async fn connect(database_url: &str) -> Result<DatabaseConnection, MigrateError> {
    // Not through SeaORM's `Database::connect`: its trace, and one of its errors, would show the whole URL.
    match database_url.split_once(':').map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => connect_postgres(database_url).await,
        Some("sqlite") => connect_sqlite(database_url).await,
        _ => Err(MigrateError::UnknownDatabase),
    }
}

async fn connect_postgres(url: &str) -> Result<DatabaseConnection, MigrateError> {
    let options = PgConnectOptions::from_str(url).map_err(MigrateError::Url)?.disable_statement_logging();
    let database = format!(
        "the database {} on {}:{}",
        options.get_database().unwrap_or(options.get_username()),
        options.get_host(),
        options.get_port()
    );
    let pool = open_postgres(options).await.map_err(|source| MigrateError::Connect { database, source })?;
    Ok(SqlxPostgresConnector::from_sqlx_postgres_pool(pool))
}

/// Tries a connection of its own first: a pool would try again and again, and then not say why it could not.
async fn open_postgres(options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    match tokio::time::timeout(PATIENCE, options.connect()).await {
        Ok(connection) => connection?.close().await?,
        Err(_) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
    }
    PgPoolOptions::new().max_connections(1).connect_with(options).await
}

async fn connect_sqlite(url: &str) -> Result<DatabaseConnection, MigrateError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(MigrateError::Url)?
        .create_if_missing(true)
        .disable_statement_logging();
    let file = options.get_filename().to_path_buf();
    if let Some(folder) = file.parent().filter(|folder| *folder != Path::new("")) {
        std::fs::create_dir_all(folder).map_err(|source| MigrateError::File { path: folder.to_path_buf(), source })?;
    }
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        // A database in memory would be gone with its connection.
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(|source| MigrateError::Connect { database: format!("the file {}", file.display()), source })?;
    Ok(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool))
}
