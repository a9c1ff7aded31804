//! A database that lives for one piece of work, and is gone after it, whatever happens.

use std::{io, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::task::JoinError;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there was no such database.
#[derive(Debug)]
pub(super) enum ScratchError {
    /// The server, or the new database, cannot be reached.
    Connect(sqlx::Error),
    /// The role may not create one.
    Create(sqlx::Error),
    /// It is still there.
    Drop { name: String, source: sqlx::Error },
    /// The work ended in the middle.
    Failed(JoinError),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// Works in an empty SQLite database, in memory.
pub(super) async fn on_sqlite<T, E, F>(work: impl FnOnce(SqlitePool) -> F + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<ScratchError> + Send + 'static,
    F: Future<Output = Result<T, E>> + Send,
{
    let work = async move {
        let options = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
        // It would be gone with its connection.
        let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = pool.connect_with(options).await.map_err(ScratchError::Connect)?;
        let outcome = work(pool.clone()).await;
        pool.close().await;
        outcome
    };
    until_interrupted(work).await
}

/// Works in an empty database on a PostgreSQL server, in a schema of that name.
pub(super) async fn on_postgres<T, E, F>(
    server: PgConnectOptions,
    schema: &str,
    work: impl FnOnce(PgPool) -> F + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<ScratchError> + Send + 'static,
    F: Future<Output = Result<T, E>> + Send,
{
    let server = server.disable_statement_logging();
    let mut administration = tokio::time::timeout(PATIENCE, connect_to_server(&server))
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
        .map_err(ScratchError::Connect)?;
    let name = format!("seabed_scratch_{:016x}", rand::random::<u64>());
    // template0 holds nothing that someone added to every new database of this server.
    administration
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0")))
        .await
        .map_err(ScratchError::Create)?;
    let address = server.database(&name);
    let schema = format!("\"{}\"", schema.replace('"', "\"\""));
    let outcome = until_interrupted(async move {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            // A role or a URL may set another path.
            .after_connect(move |connection, _| {
                let place = format!("CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}");
                Box::pin(async move { connection.execute(AssertSqlSafe(place)).await.map(|_| ()) })
            })
            .acquire_timeout(PATIENCE)
            .connect_with(address)
            .await
            .map_err(ScratchError::Connect)?;
        let outcome = work(pool.clone()).await;
        pool.close().await;
        outcome
    })
    .await;
    let dropped = administration.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))).await;
    match (outcome, dropped) {
        (outcome, Ok(_)) => outcome,
        (Ok(_), Err(source)) => Err(ScratchError::Drop { name, source }.into()),
        (Err(first), Err(second)) => {
            tracing::warn!(database = name, error = %second, "the scratch database could not be dropped");
            Err(first)
        }
    }
}

/// Runs the work in a task of its own, so that neither a panic in it nor Ctrl-C keeps the caller from cleaning up.
async fn until_interrupted<T, E>(work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<ScratchError> + Send + 'static,
{
    let mut task = tokio::spawn(work);
    tokio::select! {
        outcome = &mut task => outcome.unwrap_or_else(|failure| Err(ScratchError::Failed(failure).into())),
        Ok(()) = tokio::signal::ctrl_c() => {
            task.abort();
            // Its connections are gone once the task is.
            let _ = task.await;
            Err(ScratchError::Interrupted.into())
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
