//! The one table of all settings.

use super::address;

/// A setting that can be made.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name of the variable.
    pub name: &'static str,
    /// A second name that means the same.
    pub alias: Option<&'static str>,
    /// What holds when it is not set.
    pub absent: Absent,
    /// What it is for, in a sentence.
    pub help: &'static str,
    /// How much of its value may be shown.
    pub visibility: Visibility,
}

/// What holds when a setting is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Nothing.
    Nothing,
    /// This value, written as one would set it.
    Value(&'static str),
    /// Something that depends on other settings.
    Described(&'static str),
}

/// How much of a value may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// All of it.
    Plain,
    /// All but the password in it.
    Address,
    /// Nothing.
    Secret,
}

impl Absent {
    /// The value that one could as well set.
    pub const fn text(&self) -> Option<&'static str> {
        match self {
            Self::Value(text) => Some(text),
            Self::Nothing | Self::Described(_) => None,
        }
    }

    const fn description(&self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Value(text) | Self::Described(text) => text,
        }
    }
}

impl Visibility {
    /// What may be shown of a value.
    pub(super) fn shown(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Address => address::masked(text),
            Self::Secret => "***".to_owned(),
        }
    }
}

impl Key {
    const fn new(help: &'static str) -> Self {
        Self { name: "", alias: None, absent: Absent::Nothing, help, visibility: Visibility::Plain }
    }

    const fn alias(self, alias: &'static str) -> Self {
        Self { alias: Some(alias), ..self }
    }

    const fn or(self, default: &'static str) -> Self {
        Self { absent: Absent::Value(default), ..self }
    }

    const fn or_else(self, description: &'static str) -> Self {
        Self { absent: Absent::Described(description), ..self }
    }

    const fn shown_as(self, visibility: Visibility) -> Self {
        Self { visibility, ..self }
    }

    /// Whether it is one of those that `MONGODB_URI` stands for.
    pub(super) fn is_part_of_mongodb_uri(&self) -> bool {
        ["MONGODB_HOST", "MONGODB_PORT", "MONGODB_USER", "MONGODB_PASSWORD", "MONGODB_NAME"].contains(&self.name)
    }

    /// Whether it is one of those that `REDIS_URL` stands for.
    pub(super) fn is_part_of_redis_url(&self) -> bool {
        ["REDIS_HOST", "REDIS_PORT", "REDIS_USER", "REDIS_PASSWORD"].contains(&self.name)
    }

    /// Whether it is one of those that `DATABASE_URL` stands for.
    pub(super) fn is_part_of_database_url(&self) -> bool {
        ["DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME", "DB_SSL"].contains(&self.name)
    }
}

/// What a role gets that is given no password.
const RANDOM: &str = "random, and shown once";

macro_rules! keys {
    ($($name:ident = $key:expr;)+) => {
        $( pub(super) const $name: Key = Key { name: stringify!($name), ..$key }; )+

        /// Every setting there is.
        pub const KEYS: &[Key] = &[$($name),+];
    };
}

keys! {
    PROFILE = Key::new("Where this runs: `development`, or `production`, which has no default for secrets and addresses").or("development");
    LISTEN = Key::new("IP address and port to listen on").or("127.0.0.1:8080");
    DATA_DIR = Key::new("Folder for what is kept in files").or("data");
    SECRET_KEY = Key::new("Signs page tokens: at least 32 characters, the same on every instance")
        .or_else("random, kept in <DATA_DIR>/secret_key")
        .shown_as(Visibility::Secret);
    DATABASE_URL = Key::new("The database: `postgres://user:password@host:5432/name` or `sqlite://path`")
        .alias("POSTGRES_URL")
        .or_else("sqlite://<DATA_DIR>/seabed.db")
        .shown_as(Visibility::Address);
    DB_HOST = Key::new("Host of PostgreSQL, in place of DATABASE_URL").or("localhost");
    DB_PORT = Key::new("Port of PostgreSQL").or("5432");
    DB_USER = Key::new("User of PostgreSQL").or("postgres");
    DB_PASSWORD = Key::new("Password of that user").shown_as(Visibility::Secret);
    DB_NAME = Key::new("Database on that host");
    DB_SSL = Key::new("Encryption: `true`, `false`, or a libpq mode such as `verify-full`").or_else("used if the server offers it");
    DB_MIN_CONNECTIONS = Key::new("Connections that are kept open").or("2");
    DB_MAX_CONNECTIONS = Key::new("Connections at most").or("20");
    DB_CONNECT_TIMEOUT = Key::new("How long opening a connection may take").or("30s");
    DB_ACQUIRE_TIMEOUT = Key::new("How long to wait for a connection when all are in use").or("5s");
    DB_IDLE_TIMEOUT = Key::new("After how long an unused connection is closed").or("30s");
    DB_STATEMENT_TIMEOUT = Key::new("How long a statement may take; less than REQUEST_TIMEOUT").or("5s");
    DB_LOCK_TIMEOUT = Key::new("How long a statement may wait for what another transaction holds").or("3s");
    DB_TRANSACTION_TIMEOUT = Key::new("How long a unit of work may take, from its beginning to its commit").or("8s");
    DB_SLOW_STATEMENT = Key::new("From how long on a statement is logged, without its values and with its request").or("500ms");
    DB_ATTEMPTS = Key::new("How often a unit of work is tried when the database asks for it, or is lost before the commit").or("3");
    REDIS_URL = Key::new("Redis: `redis://user:password@host:6379`, or `rediss://` where it is encrypted; none keeps copies in this process")
        .shown_as(Visibility::Address);
    REDIS_HOST = Key::new("Host of Redis, in place of REDIS_URL").or("localhost");
    REDIS_PORT = Key::new("Port of Redis").or("6379");
    REDIS_USER = Key::new("User of Redis, if it is not the default one");
    REDIS_PASSWORD = Key::new("Password of that user").shown_as(Visibility::Secret);
    REDIS_PREFIX = Key::new("What all keys in Redis begin with").or("seabed:");
    REDIS_TIMEOUT = Key::new("How long Redis may take to answer before the database is read instead").or("50ms");
    REDIS_DATA_URL = Key::new("Redis for sessions and temporary data, which must not evict them: `noeviction`; may be another one than for copies")
        .or_else("REDIS_URL")
        .shown_as(Visibility::Address);
    REDIS_DATA_TIMEOUT = Key::new("How long Redis may take to answer for sessions and temporary data").or("500ms");
    MEMORY_MAX_BYTES = Key::new("Without Redis, how much memory sessions and temporary data in this process may take, in bytes").or("67108864");
    CACHE = Key::new("`on` keeps copies of records, `off` always reads the database").or("on");
    CACHE_TTL = Key::new("How long a copy is kept at most").or("300s");
    CACHE_FRESHNESS = Key::new("How long copies are trusted after it was last known that nothing had changed; more than twice REDIS_TIMEOUT").or("1s");
    CACHE_ON_UNREACHABLE = Key::new("When Redis is out of reach, `wait` acknowledges writes after CACHE_FRESHNESS, `ack` at once").or("wait");
    CACHE_MAX_BYTES = Key::new("How much memory copies in this process may take, in bytes").or("67108864");
    MONGODB_URI = Key::new("MongoDB: `mongodb://user:password@host:27017/name`; none keeps documents in the database. MONGODB_URI_LOGS is another one, for collections whose connection is `logs`, and so with every other name")
        .alias("MONGODB_URL")
        .shown_as(Visibility::Address);
    MONGODB_HOST = Key::new("Host of MongoDB, in place of MONGODB_URI").or("localhost");
    MONGODB_PORT = Key::new("Port of MongoDB").or("27017");
    MONGODB_USER = Key::new("User of MongoDB, if it asks for one");
    MONGODB_PASSWORD = Key::new("Password of that user").shown_as(Visibility::Secret);
    MONGODB_NAME = Key::new("Database on that host").or("seabed");
    MONGODB_MIN_CONNECTIONS = Key::new("Connections to MongoDB that are kept open, once it is used; minPoolSize in a URI wins").or("10");
    MONGODB_MAX_CONNECTIONS = Key::new("Connections to MongoDB at most; maxPoolSize in a URI wins").or("100");
    MONGODB_CONNECT_TIMEOUT = Key::new("How long opening a connection to MongoDB may take; connectTimeoutMS in a URI wins").or("3s");
    MONGODB_SERVER_SELECTION_TIMEOUT = Key::new("How long to wait for a MongoDB server that can be asked; serverSelectionTimeoutMS in a URI wins").or("3s");
    MONGODB_TIMEOUT = Key::new("How long MongoDB may take to answer, with all waiting; socketTimeoutMS in a URI wins").or("5s");
    REQUEST_TIMEOUT = Key::new("How long a request may take").or("10s");
    DRAIN_TIMEOUT = Key::new("How long requests may go on after SIGTERM").or("10s");
    MAX_BODY_BYTES = Key::new("Longest body of a request, in bytes").or("1048576");
    MAX_CONCURRENT_REQUESTS = Key::new("Requests worked on at once; more are answered 503").or("512");
    MAX_STREAMS = Key::new("Streams of changes open at once; more are answered 503").or("1024");
    OUTBOX_MAX_ROWS = Key::new("How much may wait to be delivered to the documents; beyond it analytics events are dropped, and nothing else").or("1000000");
    LOG = Key::new("What is logged, as a tracing filter such as `info,sqlx=warn`").or("info");
    LOG_FORMAT = Key::new("`text` or `json`").or("text");
    MIGRATE_ON_START = Key::new("`auto` migrates an empty SQLite file, `always` any database, `never` none").or("auto");
    MIGRATION_TABLE = Key::new("The table that lists the applied migrations, for `sea-orm-cli migrate` too").or("seaql_migrations");
    MIGRATION_DIR = Key::new("Source folder of the migration crate, where `migrate generate` writes").or("migration/src");
    MIGRATION_DATABASE_URL = Key::new("The database, as the role that may change its schema; in production it migrates nothing without this or a grant")
        .or_else("DATABASE_URL, outside production")
        .shown_as(Visibility::Address);
    MIGRATION_GRANT_KEY = Key::new("Signs what `migrate grant` makes: at least 32 characters, others in each environment").shown_as(Visibility::Secret);
    MIGRATION_GRANT = Key::new("A grant that `migrate grant` made").shown_as(Visibility::Secret);
    MIGRATION_LOCK_TIMEOUT = Key::new("How long a statement of a migration may wait for what others hold; as long, they wait behind it").or("2s");
    MIGRATION_STATEMENT_TIMEOUT = Key::new("How long a statement of a migration may take").or("1h");
    MIGRATION_ATTEMPTS = Key::new("How often a migration is tried that others keep from what it needs").or("10");
    MIGRATION_LEASE = Key::new("How long the lock of a migrator holds after it was last heard of").or("10s");
    MIGRATION_WAIT = Key::new("How long to wait for another migrator").or("10m");
    MIGRATION_BATCH_ROWS = Key::new("How many rows a batch of a data migration has; 0 leaves that to the migration").or("0");
    MIGRATION_BATCH_SHARE = Key::new("How much of the time batches are worked on, in percent; the rest is for others").or("33");
    MIGRATION_ALLOW_DESTRUCTIVE = Key::new("What loses data: `confirmed` wants --yes, `always` does not outside production, `never` refuses").or("confirmed");
    ROLE_OWNER_PASSWORD = Key::new("What `roles create` gives the role that migrates as its password: at least 16 printable characters of ASCII")
        .or_else(RANDOM)
        .shown_as(Visibility::Secret);
    ROLE_APP_PASSWORD = Key::new("The same for the role of the service").or_else(RANDOM).shown_as(Visibility::Secret);
    ROLE_READ_PASSWORD = Key::new("The same for the role that only reads").or_else(RANDOM).shown_as(Visibility::Secret);
    ROLE_BACKUP_PASSWORD = Key::new("The same for the role that makes backups").or_else(RANDOM).shown_as(Visibility::Secret);
}

/// The key of that name or alias, and the spelling that was meant.
pub(super) fn find(name: &str) -> Option<(&'static Key, &'static str)> {
    KEYS.iter().find_map(|key| {
        let spelling = [Some(key.name), key.alias].into_iter().flatten().find(|spelling| *spelling == name)?;
        Some((key, spelling))
    })
}

/// The name of the connection that a variable is about, if it is one of those that the table cannot list:
/// `MONGODB_URI_LOGS` is about `logs`.
pub(super) fn named_connection(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(MONGODB_URI.name)?.strip_prefix('_')?;
    let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.bytes().all(is_name)).then(|| name.to_ascii_lowercase())
}

/// The known name that is most like this one.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    const CUTOFF: f32 = 0.6;
    let names = KEYS.iter().flat_map(|key| [Some(key.name), key.alias]).flatten().collect::<Vec<_>>();
    let upper = name.to_uppercase();
    similar::get_close_matches(upper.as_str(), &names, 1, CUTOFF)
        .first()
        .and_then(|nearest| names.iter().find(|name| *name == nearest).copied())
}

/// The text of `.env.example`: every setting with its default, commented out.
pub fn env_example() -> String {
    let mut text =
        "# Copy to .env and set what should differ; .env.local wins over .env, and the environment over both.\n\
                    # Durations have a unit: 300ms, 5s, 2m. An empty value is as good as none. Nothing after $ is \
                    replaced.\n"
            .to_owned();
    for key in KEYS {
        text.push_str(&format!("\n# {}.", key.help));
        if let Some(alias) = key.alias {
            text.push_str(&format!(" Also called {alias}."));
        }
        if let Absent::Described(description) = key.absent {
            text.push_str(&format!(" Default: {description}."));
        }
        text.push_str(&format!("\n# {}={}\n", key.name, key.absent.text().unwrap_or_default()));
    }
    text
}

/// The table of settings for the README.
pub fn markdown() -> String {
    let mut text = "| variable | default | |\n|---|---|---|\n".to_owned();
    for key in KEYS {
        let alias = key.alias.map(|alias| format!(", or `{alias}`")).unwrap_or_default();
        let default = match key.absent {
            Absent::Nothing => String::new(),
            Absent::Value(_) => format!("`{}`", key.absent.description()),
            Absent::Described(description) => description.to_owned(),
        };
        text.push_str(&format!("| `{}`{alias} | {default} | {} |\n", key.name, key.help));
    }
    text
}
