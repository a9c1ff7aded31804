//! The composition root: builds from the configuration everything that the commands work with.

use std::io;

use domain::{Store, StoreOptions, SystemClock};
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    app::Limits,
    command::{
        CommandError,
        migrate::{self, MigrateError, Standing, Status},
    },
    config::{Config, LogFormat, MigrateOnStart},
};

/// What says in many lines of every migration what is said here in one; what `LOG` says of it comes later, and wins.
const QUIET: &str = "sea_orm_migration=warn,sqlx::postgres::notice=warn";

/// Lets events be logged to standard error from now on. A second call changes nothing.
pub fn log(config: &Config) {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log)).unwrap_or_default();
    let registry = tracing_subscriber::registry().with(filter);
    let started = match config.log_format {
        LogFormat::Text => {
            use io::IsTerminal;
            let colours = io::stderr().is_terminal();
            registry.with(tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours)).try_init()
        }
        LogFormat::Json => registry.with(tracing_subscriber::fmt::layer().with_writer(io::stderr).json()).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "events are logged already");
    }
}

/// How to reach the database.
pub fn store_options(config: &Config) -> StoreOptions {
    let database = &config.database;
    StoreOptions {
        min_connections: database.min_connections,
        max_connections: database.max_connections,
        connect_timeout: database.connect_timeout,
        acquire_timeout: database.acquire_timeout,
        idle_timeout: database.idle_timeout,
        statement_timeout: database.statement_timeout,
        ..StoreOptions::new(database.url.reveal())
    }
}

/// The application's data, in the database that is configured.
///
/// # Errors
/// If it cannot be reached.
pub async fn store(config: &Config) -> domain::Result<Store> {
    Store::connect(&store_options(config), SystemClock).await
}

/// What the service allows a request.
pub fn limits(config: &Config) -> Limits {
    Limits {
        request_timeout: config.request_timeout,
        drain_timeout: config.drain_timeout,
        max_body_bytes: config.max_body_bytes,
        max_concurrent_requests: config.max_concurrent_requests,
    }
}

/// Fails soon, within the configured time, where a migrator would wait longer for a server that does not answer.
///
/// # Errors
/// If the database cannot be reached.
pub async fn reach(config: &Config) -> domain::Result<()> {
    if !config.database.is_embedded() {
        store(config).await?.close().await;
    }
    Ok(())
}

/// Sees to it that the schema is there: an empty embedded database is migrated, and any other if that is configured.
///
/// # Errors
/// If migrations are pending that must not be run now, or one fails.
pub async fn prepare_schema(config: &Config) -> Result<(), CommandError> {
    let database = migrate::connect(config.database.url.reveal()).await?;
    let prepared = prepare(config, &database).await;
    if let Err(error) = database.close().await {
        tracing::debug!(%error, "the migrator's connection was not closed cleanly");
    }
    prepared
}

async fn prepare(config: &Config, database: &DatabaseConnection) -> Result<(), CommandError> {
    let standings = migrate::status(database).await?;
    let pending = || standings.iter().filter(|standing| standing.status == Status::Pending);
    let Some(Standing { name: first, .. }) = pending().next() else { return Ok(()) };
    let count = pending().count();
    if !may_migrate(config, &standings) {
        return Err(CommandError::PendingMigrations { count, first: first.clone() });
    }
    if config.database.is_embedded() && count == standings.len() && has_tables(database).await? {
        return Err(CommandError::ForeignDatabase);
    }
    let steps = migrate::up(database, None).await?;
    tracing::info!(database = %config.database.url, migrations = steps.len(), "the schema was made");
    Ok(())
}

/// Whether the service may run what is pending when it starts.
pub(crate) fn may_migrate(config: &Config, standings: &[Standing]) -> bool {
    match config.migrate_on_start {
        MigrateOnStart::Always => true,
        MigrateOnStart::Never => false,
        MigrateOnStart::Auto => {
            config.database.is_embedded() && standings.iter().all(|standing| standing.status == Status::Pending)
        }
    }
}

/// Whether an embedded database without a history holds tables all the same.
async fn has_tables(database: &DatabaseConnection) -> Result<bool, CommandError> {
    let sql = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               AND name <> 'seaql_migrations' LIMIT 1";
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let found = database.query_one_raw(statement).await.map_err(MigrateError::History)?;
    Ok(found.is_some())
}
