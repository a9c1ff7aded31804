//! What can be set from outside: one table of keys, read from the process environment, `.env.local` and `.env`, in that
//! order, over defaults that need no service.
//!
//! To add a setting, add a line to the table in `config/table.rs` and a field here; the help, the suggestions, the
//! example file and `config show` follow from the table. Nothing else in the workspace reads the environment.

mod address;
mod error;
mod file;
mod reader;
mod table;
mod value;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    env, fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

pub use address::Address;
pub use error::{ConfigError, ConfigErrors};
pub use table::{Absent, KEYS, Key, Visibility, env_example, markdown};
pub(crate) use value::duration;
pub use value::{AllowDestructive, CacheUse, LogFormat, MigrateOnStart, OnUnreachable, Profile, Secret};

use reader::Reader;

/// Everything that can be set. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it runs: what is refused in production depends on it.
    pub profile: Profile,
    /// Where the service listens.
    pub listen: SocketAddr,
    /// The folder for what the service keeps in files.
    pub data_dir: PathBuf,
    /// What page tokens are signed with; without one, [`secret_key`](Self::secret_key) makes and keeps one.
    pub secret_key: Option<Secret>,
    /// The relational database.
    pub database: DatabaseConfig,
    /// Where Redis is, if anywhere.
    pub redis_url: Option<Address>,
    /// Copies of records.
    pub cache: CacheConfig,
    /// What is remembered for a while.
    pub memory: MemoryConfig,
    /// Where documents are.
    pub documents: DocumentsConfig,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long requests that are under way may go on after the service was told to stop.
    pub drain_timeout: Duration,
    /// How long a request's body may be.
    pub max_body_bytes: usize,
    /// How many requests are worked on at once.
    pub max_concurrent_requests: usize,
    /// How many streams of changes may be open at once.
    pub max_streams: usize,
    /// How many rows may wait to be delivered to the documents.
    pub outbox_max_rows: usize,
    /// Which events are logged, as a filter of `tracing`.
    pub log: String,
    /// In which form they are logged.
    pub log_format: LogFormat,
    /// Whether the service migrates the database when it starts.
    pub migrate_on_start: MigrateOnStart,
    /// How migrations are run.
    pub migration: MigrationConfig,
    /// What the roles of the database are given.
    pub roles: RolesConfig,
    settings: Vec<Setting>,
}

/// The relational database, and how many connections to keep to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseConfig {
    /// `postgres://…` or `sqlite://…`.
    pub url: Address,
    /// How many connections are kept open.
    pub min_connections: u32,
    /// How many connections are opened at most.
    pub max_connections: u32,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long to wait for a connection when all are in use.
    pub acquire_timeout: Duration,
    /// After how long an unused connection is closed.
    pub idle_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// How long a statement may wait for what another transaction holds.
    pub lock_timeout: Duration,
    /// How long a unit of work may take.
    pub transaction_timeout: Duration,
    /// From how long on a statement is logged as slow.
    pub slow_statement: Duration,
    /// How often a unit of work is tried.
    pub attempts: u32,
}

impl DatabaseConfig {
    /// Whether the database is a file beside the process.
    pub fn is_embedded(&self) -> bool {
        self.url.reveal().starts_with("sqlite:")
    }
}

/// Copies of records, and how far they are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// Whether any are kept.
    pub is_used: CacheUse,
    /// What all keys in Redis begin with.
    pub prefix: String,
    /// How long Redis may take to answer.
    pub timeout: Duration,
    /// How long a copy is kept at most.
    pub ttl: Duration,
    /// How long copies are trusted after it was last known that they are current.
    pub freshness: Duration,
    /// When a write is acknowledged while the cache is out of reach.
    pub on_unreachable: OnUnreachable,
    /// How much memory copies in this process may take.
    pub max_bytes: usize,
}

/// Sessions and temporary data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryConfig {
    /// The Redis that they are in; none keeps them in this process.
    pub url: Option<Address>,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// How much memory they may take in this process.
    pub max_bytes: usize,
}

/// Where documents are, and how many connections to keep to there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentsConfig {
    /// The MongoDB that they are in; none keeps them in the database.
    pub uri: Option<Address>,
    /// The others, by the names that collections give them.
    pub named: BTreeMap<String, Address>,
    /// How many connections are kept open to each.
    pub min_connections: u32,
    /// How many connections are opened to each at most.
    pub max_connections: u32,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long to wait for a server that can be asked.
    pub server_selection_timeout: Duration,
    /// How long an answer may take, with all of that.
    pub timeout: Duration,
}

/// How migrations are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationConfig {
    /// The database, as the role that may change its schema.
    pub database_url: Option<Address>,
    /// What grants are signed with.
    pub grant_key: Option<Secret>,
    /// What was granted.
    pub grant: Option<Secret>,
    /// The table that lists the applied ones.
    pub table: String,
    /// The folder that new ones are written to.
    pub folder: PathBuf,
    /// How long a statement of a migration may wait for what others hold.
    pub lock_timeout: Duration,
    /// How long a statement of a migration may take.
    pub statement_timeout: Duration,
    /// How often a migration is tried that others keep from what it needs.
    pub attempts: u32,
    /// How long the lock of a migrator holds after it was last heard of.
    pub lease: Duration,
    /// How long to wait for another migrator.
    pub wait: Duration,
    /// How many rows a batch of a data migration has; 0 if that is as the migration says.
    pub batch_rows: u32,
    /// How much of the time batches are worked on, in percent.
    pub batch_share: u32,
    /// Whether what loses data may be done.
    pub allow_destructive: AllowDestructive,
}

/// The passwords that the roles of the database are to have, of those that were given any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolesConfig {
    /// Of the role that migrates.
    pub owner: Option<Secret>,
    /// Of the role of the service.
    pub application: Option<Secret>,
    /// Of the role that only reads.
    pub read_only: Option<Secret>,
    /// Of the role that makes backups.
    pub backup: Option<Secret>,
}

/// One line of `config show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The name of the variable.
    pub name: Cow<'static, str>,
    /// What is in force, without secrets; none if nothing is.
    pub value: Option<String>,
    /// Where that was said.
    pub source: Source,
    /// What else there is to know.
    pub note: Option<String>,
}

/// Where a setting was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Source {
    /// In the environment of the process.
    #[serde(rename = "environment")]
    Environment,
    /// In the file `.env.local`.
    #[serde(rename = ".env.local")]
    LocalFile,
    /// In the file `.env`.
    #[serde(rename = ".env")]
    File,
    /// Nowhere.
    #[serde(rename = "default")]
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Environment => "environment",
            Self::LocalFile => ".env.local",
            Self::File => ".env",
            Self::Default => "default",
        })
    }
}

// Two configurations are equal if they mean the same, wherever that was said.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            profile,
            listen,
            data_dir,
            secret_key,
            database,
            redis_url,
            cache,
            memory,
            documents,
            request_timeout,
            drain_timeout,
            max_body_bytes,
            max_concurrent_requests,
            max_streams,
            outbox_max_rows,
            log,
            log_format,
            migrate_on_start,
            migration,
            roles,
            settings: _,
        } = self;
        *profile == other.profile
            && *listen == other.listen
            && *data_dir == other.data_dir
            && *secret_key == other.secret_key
            && *database == other.database
            && *redis_url == other.redis_url
            && *cache == other.cache
            && *memory == other.memory
            && *documents == other.documents
            && *request_timeout == other.request_timeout
            && *drain_timeout == other.drain_timeout
            && *max_body_bytes == other.max_body_bytes
            && *max_concurrent_requests == other.max_concurrent_requests
            && *max_streams == other.max_streams
            && *outbox_max_rows == other.outbox_max_rows
            && *log == other.log
            && *log_format == other.log_format
            && *migrate_on_start == other.migrate_on_start
            && *migration == other.migration
            && *roles == other.roles
    }
}

impl Config {
    /// Reads the environment of this process, and the files in the folder that it was started in.
    ///
    /// # Errors
    /// Everything that is wrong, not only what was found first.
    pub fn from_process() -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut environment = Vec::new();
        for (name, value) in env::vars_os() {
            // What is not text cannot be a name of ours; what is not text is no value of ours.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => environment.push((name, value)),
                Err(_) if table::find(&name).is_some() => errors.push(ConfigError::NotText { name }),
                Err(_) => {}
            }
        }
        match (Self::read(environment.into_iter(), Path::new("")), errors.is_empty()) {
            (Ok(config), true) => Ok(config),
            (Ok(_), false) => Err(ConfigErrors(errors)),
            (Err(ConfigErrors(found)), _) => {
                errors.extend(found);
                Err(ConfigErrors(errors))
            }
        }
    }

    /// Reads an environment, and the files `.env.local` and `.env` of a folder. The process's own environment is neither
    /// read nor changed.
    ///
    /// # Errors
    /// Everything that is wrong, not only what was found first.
    pub fn read(environment: impl Iterator<Item = (String, String)>, folder: &Path) -> Result<Self, ConfigErrors> {
        let mut reader = Reader::gather(environment, folder);

        let profile = reader.take::<Profile>(&table::PROFILE);
        let production = profile == Some(Profile::Production);
        let listen = reader.take(&table::LISTEN);
        let data_dir = reader.take::<PathBuf>(&table::DATA_DIR);
        let secret_key = reader.secret_key(production);
        let url = reader.database_url(production, data_dir.as_deref());
        let min_connections = reader.take::<u32>(&table::DB_MIN_CONNECTIONS);
        let max_connections = reader.take::<u32>(&table::DB_MAX_CONNECTIONS);
        let connect_timeout = reader.take(&table::DB_CONNECT_TIMEOUT);
        let acquire_timeout = reader.take(&table::DB_ACQUIRE_TIMEOUT);
        let idle_timeout = reader.take(&table::DB_IDLE_TIMEOUT);
        let statement_timeout = reader.take::<Duration>(&table::DB_STATEMENT_TIMEOUT);
        let lock_timeout = reader.take(&table::DB_LOCK_TIMEOUT);
        let transaction_timeout = reader.take(&table::DB_TRANSACTION_TIMEOUT);
        let slow_statement = reader.take(&table::DB_SLOW_STATEMENT);
        let attempts = reader.take::<u32>(&table::DB_ATTEMPTS);
        let redis_url = reader.redis_url();
        let cache = reader.take(&table::CACHE);
        let prefix = reader.take(&table::REDIS_PREFIX);
        let timeout = reader.take::<Duration>(&table::REDIS_TIMEOUT);
        let ttl = reader.take(&table::CACHE_TTL);
        let freshness = reader.take::<Duration>(&table::CACHE_FRESHNESS);
        let on_unreachable = reader.take(&table::CACHE_ON_UNREACHABLE);
        let max_bytes = reader.take(&table::CACHE_MAX_BYTES);
        let data_url = match reader.is_set(&table::REDIS_DATA_URL) {
            true => reader.address(&table::REDIS_DATA_URL),
            false => redis_url.clone(),
        };
        let data_timeout = reader.take(&table::REDIS_DATA_TIMEOUT);
        let memory_max_bytes = reader.take(&table::MEMORY_MAX_BYTES);
        let mongodb_uri = reader.mongodb_uri();
        let mongodb_named = reader.mongodb_named();
        let mongodb_min_connections = reader.take::<u32>(&table::MONGODB_MIN_CONNECTIONS);
        let mongodb_max_connections = reader.take::<u32>(&table::MONGODB_MAX_CONNECTIONS);
        let mongodb_connect_timeout = reader.take(&table::MONGODB_CONNECT_TIMEOUT);
        let server_selection_timeout = reader.take::<Duration>(&table::MONGODB_SERVER_SELECTION_TIMEOUT);
        let mongodb_timeout = reader.take::<Duration>(&table::MONGODB_TIMEOUT);
        let request_timeout = reader.take::<Duration>(&table::REQUEST_TIMEOUT);
        let drain_timeout = reader.take(&table::DRAIN_TIMEOUT);
        let max_body_bytes = reader.take(&table::MAX_BODY_BYTES);
        let max_concurrent_requests = reader.take(&table::MAX_CONCURRENT_REQUESTS);
        let max_streams = reader.take(&table::MAX_STREAMS);
        let outbox_max_rows = reader.take(&table::OUTBOX_MAX_ROWS);
        let log = reader.take::<value::Filter>(&table::LOG);
        let log_format = reader.take(&table::LOG_FORMAT);
        let migrate_on_start = reader.take(&table::MIGRATE_ON_START);
        let migration_url = reader.address(&table::MIGRATION_DATABASE_URL);
        let grant_key = reader.take(&table::MIGRATION_GRANT_KEY).map(value::SigningKey::into_secret);
        let grant = reader.take(&table::MIGRATION_GRANT);
        let migration_table = reader.take::<value::Identifier>(&table::MIGRATION_TABLE);
        let migration_dir = reader.take(&table::MIGRATION_DIR);
        let migration_lock_timeout = reader.take(&table::MIGRATION_LOCK_TIMEOUT);
        let migration_statement_timeout = reader.take(&table::MIGRATION_STATEMENT_TIMEOUT);
        let migration_attempts = reader.take(&table::MIGRATION_ATTEMPTS);
        let migration_lease = reader.take::<Duration>(&table::MIGRATION_LEASE);
        let migration_wait = reader.take(&table::MIGRATION_WAIT);
        let migration_batch_rows = reader.take::<value::Rows>(&table::MIGRATION_BATCH_ROWS);
        let migration_batch_share = reader.take::<value::Percent>(&table::MIGRATION_BATCH_SHARE);
        let allow_destructive = reader.take(&table::MIGRATION_ALLOW_DESTRUCTIVE);
        let mut password = |key| reader.take(key).map(value::Password::into_secret);
        let roles = RolesConfig {
            owner: password(&table::ROLE_OWNER_PASSWORD),
            application: password(&table::ROLE_APP_PASSWORD),
            read_only: password(&table::ROLE_READ_PASSWORD),
            backup: password(&table::ROLE_BACKUP_PASSWORD),
        };

        if let (Some(min), Some(max)) = (min_connections, max_connections)
            && max < min
        {
            let must = format!("must be at least DB_MIN_CONNECTIONS, which is {min}");
            reader.refuse(&table::DB_MAX_CONNECTIONS, must);
        }
        if let (Some(min), Some(max)) = (mongodb_min_connections, mongodb_max_connections)
            && max < min
        {
            let must = format!("must be at least MONGODB_MIN_CONNECTIONS, which is {min}");
            reader.refuse(&table::MONGODB_MAX_CONNECTIONS, must);
        }
        if let (Some(selection), Some(timeout)) = (server_selection_timeout, mongodb_timeout)
            && selection >= timeout
        {
            let must = "must be less than MONGODB_TIMEOUT, or it is never reached".to_owned();
            reader.refuse(&table::MONGODB_SERVER_SELECTION_TIMEOUT, must);
        }
        if let (Some(statement), Some(request)) = (statement_timeout, request_timeout)
            && statement >= request
        {
            let must = "must be less than REQUEST_TIMEOUT, or the database works on after nobody waits".to_owned();
            reader.refuse(&table::DB_STATEMENT_TIMEOUT, must);
        }
        if let (Some(timeout), Some(freshness)) = (timeout, freshness)
            && freshness <= timeout * 2
        {
            let must = "must be more than twice REDIS_TIMEOUT, or nothing is known to be fresh in time".to_owned();
            reader.refuse(&table::CACHE_FRESHNESS, must);
        }

        if migration_lease.is_some_and(|lease| lease < Duration::from_secs(1)) {
            let must = "must be at least 1s, or a busy machine loses the lock".to_owned();
            reader.refuse(&table::MIGRATION_LEASE, must);
        }
        if attempts == Some(0) {
            reader.refuse(&table::DB_ATTEMPTS, "must be at least 1".to_owned());
        }

        let settings = reader.settings(data_dir.as_deref(), url.as_ref(), redis_url.as_ref(), mongodb_uri.as_ref());
        let config = (|| {
            Some(Self {
                profile: profile?,
                listen: listen?,
                data_dir: data_dir?,
                secret_key,
                database: DatabaseConfig {
                    url: url?,
                    min_connections: min_connections?,
                    max_connections: max_connections?,
                    connect_timeout: connect_timeout?,
                    acquire_timeout: acquire_timeout?,
                    idle_timeout: idle_timeout?,
                    statement_timeout: statement_timeout?,
                    lock_timeout: lock_timeout?,
                    transaction_timeout: transaction_timeout?,
                    slow_statement: slow_statement?,
                    attempts: attempts?,
                },
                redis_url,
                cache: CacheConfig {
                    is_used: cache?,
                    prefix: prefix?,
                    timeout: timeout?,
                    ttl: ttl?,
                    freshness: freshness?,
                    on_unreachable: on_unreachable?,
                    max_bytes: max_bytes?,
                },
                memory: MemoryConfig { url: data_url, timeout: data_timeout?, max_bytes: memory_max_bytes? },
                documents: DocumentsConfig {
                    uri: mongodb_uri,
                    named: mongodb_named,
                    min_connections: mongodb_min_connections?,
                    max_connections: mongodb_max_connections?,
                    connect_timeout: mongodb_connect_timeout?,
                    server_selection_timeout: server_selection_timeout?,
                    timeout: mongodb_timeout?,
                },
                request_timeout: request_timeout?,
                drain_timeout: drain_timeout?,
                max_body_bytes: max_body_bytes?,
                max_concurrent_requests: max_concurrent_requests?,
                max_streams: max_streams?,
                outbox_max_rows: outbox_max_rows?,
                log: log?.into_text(),
                log_format: log_format?,
                migrate_on_start: migrate_on_start?,
                migration: MigrationConfig {
                    database_url: migration_url,
                    grant_key,
                    grant,
                    table: migration_table?.into_text(),
                    folder: migration_dir?,
                    lock_timeout: migration_lock_timeout?,
                    statement_timeout: migration_statement_timeout?,
                    attempts: migration_attempts?,
                    lease: migration_lease?,
                    wait: migration_wait?,
                    batch_rows: migration_batch_rows?.0,
                    batch_share: migration_batch_share?.0,
                    allow_destructive: allow_destructive?,
                },
                roles,
                settings,
            })
        })();
        match config {
            Some(config) if reader.errors.is_empty() => Ok(config),
            _ => Err(ConfigErrors(reader.errors)),
        }
    }

    /// The same, as the role that may change the schema, where there is one.
    #[must_use]
    pub fn migrating(&self) -> Self {
        let mut migrating = self.clone();
        if let Some(url) = &self.migration.database_url {
            migrating.database.url = url.clone();
        }
        migrating
    }

    /// Every setting, where it was made, and its value unless that is secret.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// What page tokens are signed with: what was set, or else a random key in the data folder, made when it is missing.
    ///
    /// # Errors
    /// If the file cannot be read or written, or holds something else.
    pub fn secret_key(&self) -> Result<Secret, ConfigError> {
        match &self.secret_key {
            Some(key) => Ok(key.clone()),
            None => value::kept_secret(&self.data_dir.join("secret_key")),
        }
    }
}
