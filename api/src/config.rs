//! What can be set from outside: one table of keys, read from the process environment, `.env.local` and `.env`, in that
//! order, over defaults that need no service.
//!
//! To add a setting, add a line to the table in `config/table.rs` and a field here; the help, the suggestions, the
//! example file and `config show` follow from the table. Nothing else in the workspace reads the environment.

mod address;
mod error;
mod file;
mod table;
mod value;

use std::{
    collections::{BTreeMap, HashMap},
    env, fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

pub use address::Address;
pub use error::{ConfigError, ConfigErrors};
pub use table::{Absent, KEYS, Key, Visibility, env_example, markdown};
pub use value::{LogFormat, MigrateOnStart, Profile, Secret};

use error::Place;
use value::{Ssl, Value};

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
    /// Where MongoDB is, if anywhere.
    pub mongodb_uri: Option<Address>,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long requests that are under way may go on after the service was told to stop.
    pub drain_timeout: Duration,
    /// How long a request's body may be.
    pub max_body_bytes: usize,
    /// How many requests are worked on at once.
    pub max_concurrent_requests: usize,
    /// Which events are logged, as a filter of `tracing`.
    pub log: String,
    /// In which form they are logged.
    pub log_format: LogFormat,
    /// Whether the service migrates the database when it starts.
    pub migrate_on_start: MigrateOnStart,
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
}

impl DatabaseConfig {
    /// Whether the database is a file beside the process.
    pub fn is_embedded(&self) -> bool {
        self.url.reveal().starts_with("sqlite:")
    }
}

/// One line of `config show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The name of the variable.
    pub name: &'static str,
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
            mongodb_uri,
            request_timeout,
            drain_timeout,
            max_body_bytes,
            max_concurrent_requests,
            log,
            log_format,
            migrate_on_start,
            settings: _,
        } = self;
        *profile == other.profile
            && *listen == other.listen
            && *data_dir == other.data_dir
            && *secret_key == other.secret_key
            && *database == other.database
            && *redis_url == other.redis_url
            && *mongodb_uri == other.mongodb_uri
            && *request_timeout == other.request_timeout
            && *drain_timeout == other.drain_timeout
            && *max_body_bytes == other.max_body_bytes
            && *max_concurrent_requests == other.max_concurrent_requests
            && *log == other.log
            && *log_format == other.log_format
            && *migrate_on_start == other.migrate_on_start
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
        let redis_url = reader.redis_url();
        let mongodb_uri = reader.address(&table::MONGODB_URI);
        let request_timeout = reader.take::<Duration>(&table::REQUEST_TIMEOUT);
        let drain_timeout = reader.take(&table::DRAIN_TIMEOUT);
        let max_body_bytes = reader.take(&table::MAX_BODY_BYTES);
        let max_concurrent_requests = reader.take(&table::MAX_CONCURRENT_REQUESTS);
        let log = reader.take::<value::Filter>(&table::LOG);
        let log_format = reader.take(&table::LOG_FORMAT);
        let migrate_on_start = reader.take(&table::MIGRATE_ON_START);

        if let (Some(min), Some(max)) = (min_connections, max_connections)
            && max < min
        {
            let must = format!("must be at least DB_MIN_CONNECTIONS, which is {min}");
            reader.refuse(&table::DB_MAX_CONNECTIONS, must);
        }
        if let (Some(statement), Some(request)) = (statement_timeout, request_timeout)
            && statement >= request
        {
            let must = "must be less than REQUEST_TIMEOUT, or the database works on after nobody waits".to_owned();
            reader.refuse(&table::DB_STATEMENT_TIMEOUT, must);
        }

        let settings = reader.settings(data_dir.as_deref(), url.as_ref(), redis_url.as_ref());
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
                },
                redis_url,
                mongodb_uri,
                request_timeout: request_timeout?,
                drain_timeout: drain_timeout?,
                max_body_bytes: max_body_bytes?,
                max_concurrent_requests: max_concurrent_requests?,
                log: log?.into_text(),
                log_format: log_format?,
                migrate_on_start: migrate_on_start?,
                settings,
            })
        })();
        match config {
            Some(config) if reader.errors.is_empty() => Ok(config),
            _ => Err(ConfigErrors(reader.errors)),
        }
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

/// A value as it was written, and where.
#[derive(Clone)]
struct Found {
    text: String,
    source: Source,
    /// The name that was used, if it is not the first one.
    alias: Option<&'static str>,
}

struct Reader {
    found: HashMap<&'static str, Found>,
    errors: Vec<ConfigError>,
}

impl Reader {
    /// Collects what was said about the known keys; the first source that says something wins.
    fn gather(environment: impl Iterator<Item = (String, String)>, folder: &Path) -> Self {
        let mut reader = Self { found: HashMap::new(), errors: Vec::new() };
        let mut said = BTreeMap::<&'static str, Found>::new();
        let mut layers = vec![(Source::Environment, Vec::new())];
        for (name, value) in environment {
            match table::find(&name) {
                Some(_) => layers[0].1.push((name, value)),
                None if name.starts_with("DB_") => {
                    reader.errors.push(ConfigError::unknown(name, Place::Environment));
                }
                None => {}
            }
        }
        for (source, name) in [(Source::LocalFile, ".env.local"), (Source::File, ".env")] {
            let file = file::read(&folder.join(name), name);
            reader.errors.extend(file.errors);
            layers.push((source, file.values));
        }
        for (source, values) in layers {
            for (name, text) in values {
                let Some((key, spelling)) = table::find(&name) else { continue };
                // An empty value is as good as none, which is how compose files leave something out.
                if !text.is_empty() {
                    let alias = (spelling != key.name).then_some(spelling);
                    said.entry(spelling).or_insert(Found { text, source, alias });
                }
            }
        }
        for key in KEYS {
            let by_name = said.remove(key.name);
            let by_alias = key.alias.and_then(|alias| said.remove(alias));
            if let (Some(first), Some(second), Some(alias)) = (&by_name, &by_alias, key.alias)
                && first.text != second.text
            {
                reader.errors.push(ConfigError::Conflict { first: key.name, second: alias });
            }
            if let Some(found) = by_name.or(by_alias) {
                reader.found.insert(key.name, found);
            }
        }
        reader
    }

    fn is_set(&self, key: &Key) -> bool {
        self.found.contains_key(key.name)
    }

    /// The value of a key, or its default; none if it is wrong, which is noted, or if there is none.
    fn take<T: Value>(&mut self, key: &Key) -> Option<T> {
        let text = match self.found.get(key.name) {
            Some(found) => found.text.clone(),
            None => key.absent.text()?.to_owned(),
        };
        match T::read(&text) {
            Ok(value) => Some(value),
            Err(must) => {
                self.refuse(key, must);
                None
            }
        }
    }

    fn refuse(&mut self, key: &Key, must: String) {
        let found = self.found.get(key.name);
        let name = found.and_then(|found| found.alias).unwrap_or(key.name);
        let value = match (key.visibility, found) {
            (Visibility::Plain, Some(found)) => Some(found.text.clone()),
            _ => None,
        };
        self.errors.push(ConfigError::Invalid { name, value, must });
    }

    fn address(&mut self, key: &Key) -> Option<Address> {
        let text = self.found.get(key.name)?.text.clone();
        match Address::read(key.name, &text) {
            Ok(address) => Some(address),
            Err(must) => {
                self.refuse(key, must.to_owned());
                None
            }
        }
    }

    fn secret_key(&mut self, production: bool) -> Option<Secret> {
        if production && !self.is_set(&table::SECRET_KEY) {
            let because = "production has no default for it: set at least 32 random characters";
            self.errors.push(ConfigError::Missing { name: table::SECRET_KEY.name, because });
        }
        self.take(&table::SECRET_KEY).map(value::SigningKey::into_secret)
    }

    fn database_url(&mut self, production: bool, data_dir: Option<&Path>) -> Option<Address> {
        // Each part is looked at, so that a wrong one is told even where the URL wins.
        let host = self.take::<String>(&table::DB_HOST);
        let port = self.take::<u16>(&table::DB_PORT);
        let user = self.take::<String>(&table::DB_USER);
        let password = self.take::<Secret>(&table::DB_PASSWORD);
        let name = self.take::<String>(&table::DB_NAME);
        let ssl = self.take::<Ssl>(&table::DB_SSL);
        if self.is_set(&table::DATABASE_URL) {
            return self.address(&table::DATABASE_URL);
        }
        let parts = [&table::DB_HOST, &table::DB_PORT, &table::DB_USER, &table::DB_PASSWORD, &table::DB_SSL];
        let part = parts.into_iter().chain([&table::DB_NAME]).find(|part| self.is_set(part));
        match part {
            Some(_) if !self.is_set(&table::DB_NAME) => {
                let because = "the other DB_ variables need a database to go with";
                self.errors.push(ConfigError::Missing { name: table::DB_NAME.name, because });
                None
            }
            Some(_) if production && !self.is_set(&table::DB_HOST) => {
                let because = "production has no default for it";
                self.errors.push(ConfigError::Missing { name: table::DB_HOST.name, because });
                None
            }
            Some(_) => {
                let address = Address::of_postgres(&address::Parts {
                    host: &host?,
                    port: port?,
                    user: &user?,
                    password: password.as_ref().map(Secret::reveal),
                    name: &name?,
                    ssl,
                });
                if address.is_none() {
                    self.refuse(&table::DB_HOST, "must be the name or the address of a host".to_owned());
                }
                address
            }
            None if production => {
                let because = "production has no default for it: set postgres://user:password@host:5432/name";
                self.errors.push(ConfigError::Missing { name: table::DATABASE_URL.name, because });
                None
            }
            None => Some(Address::of_file(&data_dir?.join("seabed.db"))),
        }
    }

    fn redis_url(&mut self) -> Option<Address> {
        let host = self.take::<String>(&table::REDIS_HOST);
        let port = self.take::<u16>(&table::REDIS_PORT);
        if self.is_set(&table::REDIS_URL) {
            return self.address(&table::REDIS_URL);
        }
        if !self.is_set(&table::REDIS_HOST) && !self.is_set(&table::REDIS_PORT) {
            return None;
        }
        let address = Address::of_redis(&host?, port?);
        if address.is_none() {
            self.refuse(&table::REDIS_HOST, "must be the name or the address of a host".to_owned());
        }
        address
    }

    fn settings(&self, data_dir: Option<&Path>, url: Option<&Address>, redis: Option<&Address>) -> Vec<Setting> {
        let url_wins = self.is_set(&table::DATABASE_URL);
        let composed = !url_wins && url.is_some_and(|url| !url.reveal().starts_with("sqlite:"));
        KEYS.iter()
            .map(|key| {
                let found = self.found.get(key.name);
                let mut notes = Vec::new();
                if let Some(alias) = found.and_then(|found| found.alias) {
                    notes.push(format!("set as {alias}"));
                }
                if !key.used {
                    notes.push("not used yet".to_owned());
                }
                let value = match (found, key.name) {
                    (Some(found), _) => Some(key.visibility.shown(&found.text)),
                    (None, "DATABASE_URL") => url.map(ToString::to_string),
                    (None, "REDIS_URL") => redis.map(ToString::to_string),
                    (None, "SECRET_KEY") => {
                        let file = data_dir.map(|folder| folder.join("secret_key"));
                        notes.extend(file.map(|file| format!("kept in {}", file.display())));
                        None
                    }
                    // A part of an address means nothing where there is no address.
                    (None, _) if key.is_part_of_database_url() && !composed => None,
                    (None, "REDIS_HOST" | "REDIS_PORT") if redis.is_none() || self.is_set(&table::REDIS_URL) => None,
                    (None, _) => key.absent.text().map(str::to_owned),
                };
                match key.name {
                    "DATABASE_URL" if composed => notes.push("made of the DB_ variables".to_owned()),
                    "REDIS_URL" if found.is_none() && redis.is_some() => {
                        notes.push("made of REDIS_HOST and REDIS_PORT".to_owned());
                    }
                    _ if key.is_part_of_database_url() && found.is_some() && url_wins => {
                        notes.push("without effect: DATABASE_URL wins".to_owned());
                    }
                    _ => {}
                }
                let note = (!notes.is_empty()).then(|| notes.join("; "));
                Setting { name: key.name, value, source: found.map_or(Source::Default, |found| found.source), note }
            })
            .collect()
    }
}
