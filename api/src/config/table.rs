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
    /// Whether anything follows from it as yet.
    pub used: bool,
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
        Self { name: "", alias: None, absent: Absent::Nothing, help, visibility: Visibility::Plain, used: true }
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

    const fn not_used_yet(self) -> Self {
        Self { used: false, ..self }
    }

    /// Whether it is one of those that `DATABASE_URL` stands for.
    pub(super) fn is_part_of_database_url(&self) -> bool {
        ["DB_HOST", "DB_PORT", "DB_USER", "DB_PASSWORD", "DB_NAME", "DB_SSL"].contains(&self.name)
    }
}

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
    DB_MAX_CONNECTIONS = Key::new("Connections at most").or("10");
    DB_CONNECT_TIMEOUT = Key::new("How long opening a connection may take").or("30s");
    DB_ACQUIRE_TIMEOUT = Key::new("How long to wait for a connection when all are in use").or("5s");
    DB_IDLE_TIMEOUT = Key::new("After how long an unused connection is closed").or("30s");
    DB_STATEMENT_TIMEOUT = Key::new("How long a statement may take; less than REQUEST_TIMEOUT").or("5s");
    REDIS_URL = Key::new("Redis: `redis://host:6379`").shown_as(Visibility::Address).not_used_yet();
    REDIS_HOST = Key::new("Host of Redis, in place of REDIS_URL").or("localhost").not_used_yet();
    REDIS_PORT = Key::new("Port of Redis, in place of REDIS_URL").or("6379").not_used_yet();
    MONGODB_URI = Key::new("MongoDB: `mongodb://host:27017/name`")
        .alias("MONGODB_URL")
        .shown_as(Visibility::Address)
        .not_used_yet();
    REQUEST_TIMEOUT = Key::new("How long a request may take").or("10s");
    DRAIN_TIMEOUT = Key::new("How long requests may go on after SIGTERM").or("10s");
    MAX_BODY_BYTES = Key::new("Longest body of a request, in bytes").or("1048576");
    MAX_CONCURRENT_REQUESTS = Key::new("Requests worked on at once; more are answered 503").or("512");
    LOG = Key::new("What is logged, as a tracing filter such as `info,sqlx=warn`").or("info");
    LOG_FORMAT = Key::new("`text` or `json`").or("text");
    MIGRATE_ON_START = Key::new("`auto` migrates an empty SQLite file, `always` any database, `never` none").or("auto");
}

/// The key of that name or alias, and the spelling that was meant.
pub(super) fn find(name: &str) -> Option<(&'static Key, &'static str)> {
    KEYS.iter().find_map(|key| {
        let spelling = [Some(key.name), key.alias].into_iter().flatten().find(|spelling| *spelling == name)?;
        Some((key, spelling))
    })
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
        if !key.used {
            text.push_str(" Not used yet.");
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
        let later = if key.used { "" } else { " (not used yet)" };
        text.push_str(&format!("| `{}`{alias} | {default} | {}{later} |\n", key.name, key.help));
    }
    text
}
