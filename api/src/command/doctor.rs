//! `doctor`: looks at everything the service depends on, and changes nothing.

use std::{fmt, path::Path, str::FromStr, time::Duration};

use domain::{
    Backlog, Clock, Deviation, Difference, Documents, IndexActivity, Pooler, Store, SystemClock,
    document::{Dangling, collections},
};
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement, TryGetable};
use serde::Serialize;
use sqlx::sqlite::SqliteConnectOptions;

use super::{
    CommandError,
    migrate::{self, Database, Status},
    roles,
};
use crate::{
    adapter::{
        mongo_connection::MongoStatus,
        redis_cache::{RedisCache, RedisOptions, RedisStatus},
        redis_memory::{Eviction, RedisMemory, RedisMemoryOptions},
    },
    config::{CacheUse, Config, Profile},
    schema::{self, Change, Part},
    wiring,
};

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// One by one.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What it is about: `database`, `outbox`, `cache`, `memory`, `mongodb`.
    pub store: &'static str,
    /// What was looked at.
    pub check: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found, and what to do about it.
    pub message: String,
    /// In what the schema is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<schema::Difference>,
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
        for Check { store, check, level, message, difference: _ } in &self.checks {
            let level = match level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "fail",
            };
            writeln!(f, "{level:<4}  {store:<9}  {check:<10}  {message}")?;
        }
        Ok(())
    }
}

/// Looks at everything.
pub async fn examine(config: &Config) -> Diagnosis {
    let mut checks = Checks(Vec::new());
    examine_database(config, &mut checks).await;
    examine_cache(config, &mut checks).await;
    examine_memory(config, &mut checks).await;
    examine_mongodb(config, &mut checks).await;
    Diagnosis { checks: checks.0 }
}

struct Checks(Vec<Check>);

const DATABASE: &str = "database";
const CACHE: &str = "cache";
const MEMORY: &str = "memory";
const DOCUMENTS: &str = "documents";
const OUTBOX: &str = "outbox";
const MONGODB: &str = "mongodb";
/// Longer than the service waits: that it takes too long is worth more than that it was too late.
const CACHE_TIMEOUT: Duration = Duration::from_secs(2);

impl Checks {
    fn add(&mut self, store: &'static str, check: &'static str, level: Level, message: impl Into<String>) {
        self.0.push(Check { store, check, level, message: message.into(), difference: None });
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
    let connected = wiring::store(config).await;
    match wiring::pooler(config).await {
        Ok(pooler) => match (pooler, pooler.remedy()) {
            (_, Some(remedy)) => return checks.fail("pooler", CommandError::Pooler { remedy }),
            (Pooler::None, _) => {}
            (Pooler::Session, _) => checks.ok(DATABASE, "pooler", "there is one, in session mode"),
            (_, None) => checks.ok(DATABASE, "pooler", "there is one, in transaction mode"),
        },
        // The store has more to say.
        Err(error) => tracing::debug!(%error, "it cannot be told whether there is a pooler"),
    }
    let store = match connected {
        Ok(store) => store,
        Err(error) => return checks.fail("reachable", error),
    };
    match store.ping().await {
        Ok(health) => {
            let engine = match store.database() {
                domain::Database::Sqlite => "SQLite",
                domain::Database::Postgres => "PostgreSQL",
            };
            let message = format!("{engine} {} at {} in {}", health.version, config.database.url, ms(health.latency));
            checks.ok(DATABASE, "reachable", message);
        }
        Err(error) => checks.fail("reachable", error),
    }
    match migrate::connect(config.database.url.reveal(), &migrate::Options::of(config)).await {
        Ok(connection) => {
            match store.database() {
                domain::Database::Sqlite => examine_sqlite(&connection, checks).await,
                domain::Database::Postgres => examine_postgres(config, &connection, checks).await,
            }
            examine_migrations(config, &connection, checks).await;
            examine_schema(&connection, checks).await;
            connection.close().await;
        }
        Err(error) => checks.fail("reachable", error),
    }
    examine_outbox(&store, checks).await;
    examine_pool(&store, checks);
    let documents = wiring::documents(config, &store);
    if config.documents.uri.is_none() {
        examine_indexes(DOCUMENTS, &*documents, checks).await;
    }
    examine_documents(&store.clone().with_documents(documents), checks).await;
    store.close().await;
}

/// How long what was committed may wait before that is worth a word.
const LAG: Duration = Duration::from_secs(60);

/// Whatever waits, nothing is lost.
async fn examine_outbox(store: &Store, checks: &mut Checks) {
    let Backlog { rows, oldest, dead } = match store.backlog().await {
        Ok(backlog) => backlog,
        Err(error) => return checks.warn(OUTBOX, "backlog", format!("cannot be told: {error}")),
    };
    let lag = oldest.and_then(|oldest| (SystemClock.now().utc() - oldest.utc()).to_std().ok()).unwrap_or_default();
    let waiting = format!("{rows} wait to be delivered, the oldest for {} s", lag.as_secs());
    match rows {
        0 => checks.ok(OUTBOX, "backlog", "nothing waits to be delivered"),
        _ if lag < LAG => checks.ok(OUTBOX, "backlog", waiting),
        _ => checks.warn(OUTBOX, "backlog", format!("{waiting}: does the service run, and reach the documents?")),
    }
    match dead {
        0 => checks.ok(OUTBOX, "dead", "no document was given up"),
        _ => {
            let message = format!("{dead} documents were refused and given up: `seabed outbox status` says why");
            checks.warn(OUTBOX, "dead", message);
        }
    }
}

/// What belongs to records that are gone harms nobody, and is of no use.
async fn examine_documents(store: &Store, checks: &mut Checks) {
    match store.dangling().await {
        Ok(dangling) if dangling.is_empty() => {
            checks.ok(DOCUMENTS, "records", "all documents belong to records that are there")
        }
        Ok(dangling) => {
            let told = dangling.iter().map(|Dangling { collection, field, documents, records }| {
                let records = records.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                format!("{documents} of {collection} belong by {field} to what is not there: {records}")
            });
            checks.warn(DOCUMENTS, "records", told.collect::<Vec<_>>().join("; "));
        }
        Err(error) => checks.warn(DOCUMENTS, "records", format!("cannot be told: {error}")),
    }
}

/// Whatever is wrong with it, the service serves without it.
async fn examine_cache(config: &Config, checks: &mut Checks) {
    let options = match (config.cache.is_used, wiring::redis_options(config)) {
        (CacheUse::Off, _) => return checks.ok(CACHE, "use", "off: the database is always read"),
        (CacheUse::On, None) => {
            let message = format!("in this process, up to {} MiB", config.cache.max_bytes >> 20);
            return checks.ok(CACHE, "use", message);
        }
        (CacheUse::On, Some(options)) => options,
    };
    let address = config.redis_url.as_ref().map(ToString::to_string).unwrap_or_default();
    let cache = RedisCache::new(&RedisOptions { timeout: CACHE_TIMEOUT, ..options });
    let RedisStatus { version, latency, max_memory, policy, refused } = match cache.status().await {
        Ok(status) => status,
        Err(error) => {
            return checks.warn(
                CACHE,
                "reachable",
                format!("Redis at {address}: {error}; the database is read instead"),
            );
        }
    };
    let found = format!("Redis {version} at {address} in {}", ms(latency));
    match latency > config.cache.timeout {
        true => checks.warn(CACHE, "reachable", format!("{found}, which is longer than REDIS_TIMEOUT")),
        false => checks.ok(CACHE, "reachable", found),
    }
    let memory = max_memory >> 20;
    match (policy.as_str(), max_memory) {
        ("noeviction", 0) => checks.ok(CACHE, "memory", "no limit, nothing is evicted"),
        ("noeviction", _) => {
            let message = format!("{memory} MiB, noeviction: once they are full, nothing new is kept");
            checks.warn(CACHE, "memory", message);
        }
        (_, 0) => checks.ok(CACHE, "memory", format!("no limit, so that {policy} evicts nothing")),
        _ => checks.ok(CACHE, "memory", format!("{memory} MiB, {policy}: copies may be evicted, and are read again")),
    }
    match refused.as_slice() {
        [] => checks.ok(CACHE, "privileges", "all that are needed"),
        refused => checks.warn(CACHE, "privileges", format!("the user may not run {}", refused.join(", "))),
    }
}

/// Sessions and temporary data are nowhere else.
async fn examine_memory(config: &Config, checks: &mut Checks) {
    let Some(options) = wiring::redis_memory_options(config) else {
        let message = "sessions and temporary data are in this process, and end with it";
        return checks.ok(MEMORY, "use", message);
    };
    let address = config.memory.url.as_ref().map(ToString::to_string).unwrap_or_default();
    let redis = RedisMemory::new(&RedisMemoryOptions { timeout: CACHE_TIMEOUT, ..options });
    let Eviction { max_memory, policy } = match redis.eviction().await {
        Ok(eviction) => eviction,
        Err(error) => {
            let message = format!("Redis at {address}: {error}; what needs sessions or temporary data fails");
            return checks.warn(MEMORY, "reachable", message);
        }
    };
    checks.ok(MEMORY, "reachable", format!("Redis at {address}"));
    let memory = max_memory >> 20;
    match (policy.as_str(), max_memory) {
        ("noeviction", 0) => checks.ok(MEMORY, "eviction", "no limit, nothing is evicted"),
        ("noeviction", _) => {
            let message =
                format!("{memory} MiB, noeviction: nothing is lost, and once they are full nothing is taken in");
            checks.ok(MEMORY, "eviction", message);
        }
        (_, 0) => checks.ok(MEMORY, "eviction", format!("no limit, so that {policy} evicts nothing")),
        // All of it has a time to live, so that the policies for what has one do not spare it either.
        _ => {
            let message = format!(
                "{memory} MiB, {policy}: sessions and temporary data may be evicted; \
                 let REDIS_DATA_URL name a server with the policy noeviction"
            );
            checks.warn(MEMORY, "eviction", message);
        }
    }
}

/// The service serves without it, and keeps what is to be logged until it is back.
async fn examine_mongodb(config: &Config, checks: &mut Checks) {
    let Some(documents) = wiring::mongo_documents(config) else {
        return checks.ok(MONGODB, "use", "none: documents are in the database");
    };
    for (name, connection) in documents.connections() {
        let address = name.map_or(config.documents.uri.as_ref(), |name| config.documents.named.get(name));
        let named = name.map(|name| format!("{name:?} ")).unwrap_or_default();
        let server = format!("{named}MongoDB at {}", address.map(ToString::to_string).unwrap_or_default());
        let status = match connection.status().await {
            Ok(status) => status,
            Err(error) => {
                checks.warn(MONGODB, "reachable", format!("{server}: {error}; what needs documents fails"));
                continue;
            }
        };
        let MongoStatus { version, latency, is_replica_set } = status;
        checks.ok(MONGODB, "reachable", format!("{version} at {server} in {}", ms(latency)));
        match is_replica_set {
            true => checks.ok(MONGODB, "server", "a replica set: several documents can be written at once"),
            false => {
                let message = "no replica set: writing several documents at once fails";
                checks.warn(MONGODB, "server", message);
            }
        }
    }
    examine_indexes(MONGODB, &documents, checks).await;
    documents.close().await;
}

/// Whether collections have the indexes that they declare.
async fn examine_indexes(store: &'static str, documents: &dyn Documents, checks: &mut Checks) {
    match documents.drift(&collections()).await {
        Ok(differences) if differences.is_empty() => checks.ok(store, "indexes", "all that are declared"),
        Ok(differences) => {
            let differences = differences.iter().map(|Difference { collection, what, how }| {
                let how = match how {
                    Deviation::Missing => "missing",
                    Deviation::Undeclared => "undeclared",
                    Deviation::Different => "different",
                };
                format!("{collection}.{what} is {how}")
            });
            checks.warn(store, "indexes", differences.collect::<Vec<_>>().join(", "));
        }
        Err(error) => checks.warn(store, "indexes", format!("cannot be told: {error}")),
    }
    // A server that cannot be asked was told of already.
    let activity = documents.index_activity(&collections()).await.unwrap_or_default();
    let unused = activity.iter().filter(|index| index.is_unused());
    let unused = unused.map(|IndexActivity { collection, index, since, .. }| {
        let since = since.map(|since| format!(" (since {since})")).unwrap_or_default();
        format!("{collection}.{index}{since}")
    });
    let unused = unused.collect::<Vec<_>>();
    if !unused.is_empty() {
        checks.ok(store, "use of indexes", format!("never used: {}", unused.join(", ")));
    }
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
    const CONNECTIONS: &str = "SELECT current_setting('max_connections')::bigint \
                               - current_setting('superuser_reserved_connections')::bigint";
    match roles::powers(connection).await {
        Ok(powers) if powers.is_empty() => checks.ok(DATABASE, "privileges", "the role cannot change the schema"),
        Ok(powers) => {
            let production = config.profile == Profile::Production;
            let level = if production { Level::Fail } else { Level::Warn };
            let message = format!(
                "the role can change the schema ({}): in production the service does not start so; `seabed roles create` \
                 makes one that cannot",
                powers.join(", ")
            );
            checks.add(DATABASE, "privileges", level, message);
        }
        Err(error) => checks.warn(DATABASE, "privileges", format!("cannot be told: {error}")),
    }
    match roles::examine(connection, &migrate::Options::of(config).accounts()).await {
        Ok(None) => checks.ok(DATABASE, "roles", "none were made: one does everything"),
        Ok(Some(findings)) if findings.is_empty() => {
            checks.ok(DATABASE, "roles", "each may do what it needs, and nothing else");
        }
        Ok(Some(findings)) => {
            let found = findings.iter().map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; ");
            checks.warn(DATABASE, "roles", format!("{found}: `seabed roles create` puts that right"));
        }
        Err(error) => checks.warn(DATABASE, "roles", format!("cannot be told: {error}")),
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

async fn examine_migrations(config: &Config, connection: &Database, checks: &mut Checks) {
    let standings = match migrate::status(connection).await {
        Ok(standings) => standings,
        Err(error) => return checks.fail("migrations", error),
    };
    for standing in &standings {
        if let Some(problem) = &standing.problem {
            checks.add(DATABASE, "migrations", Level::Fail, format!("{} {problem}", standing.name));
        }
    }
    let pending = standings.iter().filter(|standing| standing.status == Status::Pending).count();
    let found = format!("{} applied, {pending} pending", standings.len() - pending);
    if pending == 0 {
        checks.ok(DATABASE, "migrations", found);
    } else if migrate::may_migrate(config, &standings) {
        checks.warn(DATABASE, "migrations", format!("{found}: they run when the service starts"));
    } else {
        let message = format!("{found}: run `seabed migrate up`, the service does not start without them");
        checks.add(DATABASE, "migrations", Level::Fail, message);
    }
}

/// Whether the schema is what its migrations make, however it came to be otherwise.
async fn examine_schema(connection: &Database, checks: &mut Checks) {
    let drift = match migrate::drift(connection).await {
        Ok(Some(drift)) => drift,
        // What is pending is told of, and there is nothing else.
        Ok(None) => return,
        Err(error) => {
            let reason = CommandError::from(error).lines().join("; ");
            return checks.warn(DATABASE, "schema", reason);
        }
    };
    if drift.differences.is_empty() {
        return checks.ok(DATABASE, "schema", format!("as {} left it", drift.version));
    }
    for difference in drift.differences {
        let level = if is_harmless(&difference) { Level::Warn } else { Level::Fail };
        let (message, difference) = (difference.to_string(), Some(difference));
        checks.0.push(Check { store: DATABASE, check: "schema", level, message, difference });
    }
}

/// Whether it is something of others, which the service takes no notice of.
fn is_harmless(difference: &schema::Difference) -> bool {
    match (&difference.change, &difference.part) {
        (Change::Removed | Change::Changed { .. }, _) => false,
        (Change::Added, part) => match part {
            Part::Table(_)
            | Part::View(_)
            | Part::Enumeration(_)
            | Part::Type(_)
            | Part::Sequence(_)
            | Part::Function(_)
            | Part::Index(..)
            | Part::Grant(..) => true,
            Part::Column(..)
            | Part::PrimaryKey(_)
            | Part::Unique(..)
            | Part::Check(..)
            | Part::Constraint(..)
            | Part::ForeignKey(..)
            | Part::Trigger(..)
            | Part::Policy(..)
            | Part::Option(..) => false,
        },
    }
}
