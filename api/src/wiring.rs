//! The composition root: builds from the configuration everything that the commands work with.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
};

use domain::{
    Bus, Cache, CachePolicy, Documents, InProcessBus, InProcessCache, InProcessMemory, Memory, OnUnreachable,
    OutboxPolicy, Pooler, RetryPolicy, SqlDocuments, Store, StoreOptions, SystemClock, document::collections,
};
use tracing_subscriber::{EnvFilter, fmt::format::JsonFields, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{
    adapter::{
        mongo_connection::{MongoConnection, MongoOptions},
        mongo_documents::MongoDocuments,
        redis_bus::{RedisBus, RedisBusOptions},
        redis_cache::{RedisCache, RedisOptions},
        redis_memory::{RedisMemory, RedisMemoryOptions},
    },
    app::Limits,
    config::{self, Address, CacheUse, Config, LogFormat, MigrateOnStart, Profile},
    edge,
    log::{Format, Log},
};

/// What says in many lines of every migration or entity what is said here in one; what `LOG` says of it comes later, and wins.
const QUIET: &str = "sea_orm_migration=warn,sea_orm_codegen=warn,sqlx::postgres::notice=warn";

/// Lets events be logged to standard error from now on. A second call changes nothing.
///
/// # Errors
/// If the system gives no thread that writes.
pub fn log(config: &Config) -> io::Result<Log> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log)).unwrap_or_default();
    let registry = tracing_subscriber::registry().with(filter);
    let (log, writers) = Log::begin(io::stderr(), edge::REQUESTS)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(writers);
    let started = match config.log_format {
        LogFormat::Text => {
            registry.with(layer.with_ansi(io::stderr().is_terminal()).event_format(Format::Text)).try_init()
        }
        LogFormat::Json => registry.with(layer.fmt_fields(JsonFields::new()).event_format(Format::Json)).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "events are logged already");
    }
    Ok(log)
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
        lock_timeout: database.lock_timeout,
        transaction_timeout: database.transaction_timeout,
        slow_statement: database.slow_statement,
        retry: RetryPolicy { attempts: database.attempts, ..RetryPolicy::default() },
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

/// What stands between us and the database.
///
/// # Errors
/// If that cannot be told, because the database cannot be reached.
pub async fn pooler(config: &Config) -> domain::Result<Pooler> {
    let database = &config.database;
    match database.is_embedded() {
        true => Ok(Pooler::None),
        false => Pooler::recognise(database.url.reveal(), database.connect_timeout).await,
    }
}

/// The application's data, read through the cache that is configured. The schema must be there.
///
/// # Errors
/// If the database cannot be reached.
pub async fn cached(store: Store, config: &Config) -> domain::Result<Store> {
    let cache = &config.cache;
    let policy = CachePolicy {
        is_read: cache.is_used == CacheUse::On,
        freshness: cache.freshness,
        life: cache.ttl,
        on_unreachable: match cache.on_unreachable {
            config::OnUnreachable::Wait => OnUnreachable::Wait,
            config::OnUnreachable::Ack => OnUnreachable::Acknowledge,
        },
    };
    store.with_bus(bus(config)).cached(self::cache(config), policy).await
}

/// The same data, of which what is committed is delivered to the documents that are configured.
pub fn delivering(store: Store, config: &Config) -> Store {
    let documents = documents(config, &store);
    let max_rows = u64::try_from(config.outbox_max_rows).unwrap_or(u64::MAX);
    let policy = OutboxPolicy { max_rows, ..OutboxPolicy::default() };
    store.delivering(documents, collections().into_iter().cloned().collect(), policy)
}

/// Whether the service may make what documents need when it starts: not where that is left to somebody else.
pub fn may_prepare_documents(config: &Config) -> bool {
    match config.migrate_on_start {
        MigrateOnStart::Always => true,
        MigrateOnStart::Auto => config.profile == Profile::Development,
        MigrateOnStart::Never => false,
    }
}

/// Makes what documents need, by a role that may. They may be in another server, without which the database is as good: then that is only
/// said.
pub async fn prepare_documents(config: &Config) {
    let prepared = async {
        let store = store(config).await?;
        let documents = documents(config, &store);
        let prepared = documents.prepare(&collections()).await;
        documents.close().await;
        store.close().await;
        Ok::<(), domain::Error>(prepared?)
    };
    if let Err(error) = prepared.await {
        tracing::warn!(%error, "the indexes of the documents were not made: migrate again when they can be reached");
    }
}

/// What keeps documents: MongoDB where there is one, which need not be reachable yet, or else the database.
pub fn documents(config: &Config, store: &Store) -> Arc<dyn Documents> {
    match mongo_documents(config) {
        Some(documents) => Arc::new(documents),
        None => Arc::new(SqlDocuments::new(store)),
    }
}

/// Documents in MongoDB, if that is where they are to be.
pub fn mongo_documents(config: &Config) -> Option<MongoDocuments> {
    let documents = &config.documents;
    let connection = |address: &Address| {
        MongoConnection::new(MongoOptions {
            min_connections: documents.min_connections,
            max_connections: documents.max_connections,
            connect_timeout: documents.connect_timeout,
            server_selection_timeout: documents.server_selection_timeout,
            timeout: documents.timeout,
            ..MongoOptions::new(address.reveal())
        })
    };
    let named = documents.named.iter().map(|(name, address)| (name.clone(), connection(address)));
    Some(MongoDocuments::new(connection(documents.uri.as_ref()?)).with_named(named.collect()))
}

/// What carries the news of changes from process to process: Redis where there is one, which need not be reachable yet.
pub fn bus(config: &Config) -> Arc<dyn Bus> {
    match &config.redis_url {
        Some(url) => Arc::new(RedisBus::new(&RedisBusOptions {
            prefix: config.cache.prefix.clone(),
            timeout: config.cache.timeout,
            ..RedisBusOptions::new(url.reveal())
        })),
        None => Arc::new(InProcessBus::default()),
    }
}

/// What keeps copies of records: Redis where there is one, which need not be reachable yet.
pub fn cache(config: &Config) -> Arc<dyn Cache> {
    match redis_options(config) {
        Some(options) => Arc::new(RedisCache::new(&options)),
        None => Arc::new(InProcessCache::new(u64::try_from(config.cache.max_bytes).unwrap_or(u64::MAX))),
    }
}

/// What remembers sessions and temporary data: Redis where there is one, which need not be reachable yet.
pub fn memory(config: &Config) -> Arc<dyn Memory> {
    match redis_memory_options(config) {
        Some(options) => Arc::new(RedisMemory::new(&options)),
        None => Arc::new(InProcessMemory::new(config.memory.max_bytes)),
    }
}

/// How to reach the Redis for sessions and temporary data, if there is one.
pub fn redis_memory_options(config: &Config) -> Option<RedisMemoryOptions> {
    let url = config.memory.url.as_ref()?;
    Some(RedisMemoryOptions {
        prefix: config.cache.prefix.clone(),
        timeout: config.memory.timeout,
        ..RedisMemoryOptions::new(url.reveal())
    })
}

/// How to reach Redis, if it is to be used.
pub fn redis_options(config: &Config) -> Option<RedisOptions> {
    let url = config.redis_url.as_ref()?;
    Some(RedisOptions {
        prefix: config.cache.prefix.clone(),
        timeout: config.cache.timeout,
        freshness: config.cache.freshness,
        ..RedisOptions::new(url.reveal())
    })
}

/// What the service allows a request.
pub fn limits(config: &Config) -> Limits {
    Limits {
        request_timeout: config.request_timeout,
        drain_timeout: config.drain_timeout,
        max_body_bytes: config.max_body_bytes,
        max_concurrent_requests: config.max_concurrent_requests,
        max_streams: config.max_streams,
    }
}
