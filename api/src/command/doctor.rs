//! `doctor`: looks at everything the service depends on, and changes nothing.

use std::{fmt, path::Path, str::FromStr, time::Duration};

use domain::{Database, Store};
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement, TryGetable};
use serde::Serialize;
use sqlx::sqlite::SqliteConnectOptions;

use super::{
    CommandError,
    migrate::{self, Status},
};
use crate::{config::Config, wiring};

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// One by one.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about: `database`, `redis`, `mongodb`.
    pub store: &'static str,
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found, and what to do about it.
    pub message: String,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Not as it should be, and no reason not to serve.
    Warn,
    /// The service does not start, or not for long.
    Fail,
}

impl Diagnosis {
    /// Whether nothing failed.
    pub fn is_healthy(&self) -> bool {
        self.checks.iter().all(|check| check.level != Level::Fail)
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { store, check, level, message } in &self.checks {
            let level = match level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "fail",
            };
            writeln!(f, "{level:<4}  {store:<8}  {check:<10}  {message}")?;
        }
        Ok(())
    }
}

/// Looks at everything.
pub async fn examine(config: &Config) -> Diagnosis {
    let mut checks = Checks(Vec::new());
    examine_database(config, &mut checks).await;
    for (store, set) in [("redis", config.redis_url.is_some()), ("mongodb", config.mongodb_uri.is_some())] {
        match set {
            true => checks.warn(store, "use", "set, and not used yet"),
            false => checks.ok(store, "use", "not used yet"),
        }
    }
    Diagnosis { checks: checks.0 }
}

struct Checks(Vec<Check>);

const DATABASE: &str = "database";

impl Checks {
    fn add(&mut self, store: &'static str, check: &'static str, level: Level, message: impl Into<String>) {
        self.0.push(Check { store, check, level, message: message.into() });
    }

    fn ok(&mut self, store: &'static str, check: &'static str, message: impl Into<String>) {
        self.add(store, check, Level::Ok, message);
    }

    fn warn(&mut self, store: &'static str, check: &'static str, message: impl Into<String>) {
        self.add(store, check, Level::Warn, message);
    }

    fn fail(&mut self, check: &'static str, error: impl Into<CommandError>) {
        self.add(DATABASE, check, Level::Fail, error.into().lines().join("; "));
    }
}

async fn examine_database(config: &Config, checks: &mut Checks) {
    if config.database.is_embedded() {
        let Ok(file) = SqliteConnectOptions::from_str(config.database.url.reveal()) else { return };
        let file = file.get_filename();
        if !file.exists() {
            checks.warn(DATABASE, "file", format!("{} is not there yet: `seabed serve` makes it", file.display()));
            return;
        }
        examine_space(file, checks);
    }
    let store = match wiring::store(config).await {
        Ok(store) => store,
        Err(error) => return checks.fail("reachable", error),
    };
    match store.ping().await {
        Ok(health) => {
            let engine = match store.database() {
                Database::Sqlite => "SQLite",
                Database::Postgres => "PostgreSQL",
            };
            let message = format!("{engine} {} at {} in {}", health.version, config.database.url, ms(health.latency));
            checks.ok(DATABASE, "reachable", message);
        }
        Err(error) => checks.fail("reachable", error),
    }
    match migrate::connect(config.database.url.reveal()).await {
        Ok(connection) => {
            match store.database() {
                Database::Sqlite => examine_sqlite(&connection, checks).await,
                Database::Postgres => examine_postgres(config, &connection, checks).await,
            }
            examine_migrations(config, &connection, checks).await;
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "the doctor's connection was not closed cleanly");
            }
        }
        Err(error) => checks.fail("reachable", error),
    }
    examine_pool(&store, checks);
    store.close().await;
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}

fn examine_pool(store: &Store, checks: &mut Checks) {
    let pool = store.pool_status();
    checks.ok(DATABASE, "pool", format!("{} open, {} idle, at most {}", pool.open, pool.idle, pool.max));
}

/// Below this there is not even space for the log of a larger unit of work.
const TOO_LITTLE_SPACE: u64 = 64 << 20;
const LITTLE_SPACE: u64 = 1 << 30;

fn examine_space(file: &Path, checks: &mut Checks) {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    match rustix::fs::statvfs(folder) {
        Ok(space) => {
            let free = space.f_bavail.saturating_mul(space.f_frsize);
            let level = match free {
                0..TOO_LITTLE_SPACE => Level::Fail,
                TOO_LITTLE_SPACE..LITTLE_SPACE => Level::Warn,
                LITTLE_SPACE.. => Level::Ok,
            };
            checks.add(DATABASE, "space", level, format!("{} MiB free for {}", free >> 20, file.display()));
        }
        Err(error) => checks.warn(DATABASE, "space", format!("cannot be told: {error}")),
    }
}

async fn value<T: TryGetable>(connection: &DatabaseConnection, sql: &str) -> Result<Option<T>, DbErr> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(statement).await?;
    row.map(|row| row.try_get_by_index(0)).transpose()
}

async fn examine_sqlite(connection: &DatabaseConnection, checks: &mut Checks) {
    // One command, so that the lock is let go whatever comes in between.
    match connection.execute_unprepared("BEGIN IMMEDIATE; ROLLBACK").await {
        Ok(_) => checks.ok(DATABASE, "privileges", "the file can be written"),
        Err(error) => {
            let message =
                format!("the file cannot be written: check its permissions and those of its folder ({error})");
            checks.add(DATABASE, "privileges", Level::Fail, message);
        }
    }
    match value::<String>(connection, "PRAGMA journal_mode").await {
        Ok(Some(mode)) if mode == "wal" => checks.ok(DATABASE, "journal", "write-ahead log"),
        Ok(mode) => {
            let mode = mode.unwrap_or_default();
            checks.warn(
                DATABASE,
                "journal",
                format!("{mode}: readers wait for the writer; is the folder on a network?"),
            );
        }
        Err(error) => checks.warn(DATABASE, "journal", format!("cannot be told: {error}")),
    }
}

async fn examine_postgres(config: &Config, connection: &DatabaseConnection, checks: &mut Checks) {
    const SUPERUSER: &str = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    const MAY_CREATE: &str = "SELECT has_schema_privilege(current_user, 'public', 'CREATE')";
    const CONNECTIONS: &str = "SELECT current_setting('max_connections')::bigint \
                               - current_setting('superuser_reserved_connections')::bigint";
    match value::<bool>(connection, SUPERUSER).await {
        Ok(Some(false)) => checks.ok(DATABASE, "privileges", "no superuser"),
        Ok(_) => {
            checks.warn(DATABASE, "privileges", "superuser: the service needs a role that owns its schema, no more")
        }
        Err(error) => checks.warn(DATABASE, "privileges", format!("cannot be told: {error}")),
    }
    match value::<bool>(connection, MAY_CREATE).await {
        Ok(Some(true)) => checks.ok(DATABASE, "privileges", "may create in schema public"),
        Ok(_) => {
            let message = "may not create in schema public: `seabed migrate` needs a role that may";
            checks.warn(DATABASE, "privileges", message);
        }
        Err(error) => checks.warn(DATABASE, "privileges", format!("cannot be told: {error}")),
    }
    match value::<i64>(connection, CONNECTIONS).await {
        Ok(Some(limit)) if limit < i64::from(config.database.max_connections) => {
            let message = format!("the server gives {limit} connections, fewer than DB_MAX_CONNECTIONS");
            checks.warn(DATABASE, "server", message);
        }
        Ok(limit) => checks.ok(DATABASE, "server", format!("gives {} connections", limit.unwrap_or_default())),
        Err(error) => checks.warn(DATABASE, "server", format!("cannot be told: {error}")),
    }
}

async fn examine_migrations(config: &Config, connection: &DatabaseConnection, checks: &mut Checks) {
    let standings = match migrate::status(connection).await {
        Ok(standings) => standings,
        Err(error) => return checks.fail("migrations", error),
    };
    let pending = standings.iter().filter(|standing| standing.status == Status::Pending).count();
    let found = format!("{} applied, {pending} pending", standings.len() - pending);
    if pending == 0 {
        checks.ok(DATABASE, "migrations", found);
    } else if wiring::may_migrate(config, &standings) {
        checks.warn(DATABASE, "migrations", format!("{found}: they run when the service starts"));
    } else {
        let message = format!("{found}: run `seabed migrate up`, the service does not start without them");
        checks.add(DATABASE, "migrations", Level::Fail, message);
    }
}
