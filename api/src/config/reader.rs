//! Collects what was said, and reads the settings out of it; whatever is wrong is noted, and reading goes on.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use super::{
    Setting, Source,
    address::{self, Address},
    error::{ConfigError, Place},
    file,
    table::{self, KEYS, Key, Visibility},
    value::{self, Secret, Ssl, Value},
};

/// A value as it was written, and where.
#[derive(Clone)]
struct Found {
    text: String,
    source: Source,
    /// The name that was used, if it is not the first one.
    alias: Option<&'static str>,
}

/// What was said about the known keys, and what is wrong with it as far as it was looked at.
pub(super) struct Reader {
    found: HashMap<&'static str, Found>,
    /// By the name of the variable: those that the table cannot list.
    named: BTreeMap<String, Found>,
    pub(super) errors: Vec<ConfigError>,
}

impl Reader {
    /// Collects what was said about the known keys; the first source that says something wins.
    pub(super) fn gather(environment: impl Iterator<Item = (String, String)>, folder: &Path) -> Self {
        let mut reader = Self { found: HashMap::new(), named: BTreeMap::new(), errors: Vec::new() };
        let mut said = BTreeMap::<&'static str, Found>::new();
        let mut layers = vec![(Source::Environment, Vec::new())];
        for (name, value) in environment {
            match table::find(&name) {
                Some(_) => layers[0].1.push((name, value)),
                None if table::named_connection(&name).is_some() => layers[0].1.push((name, value)),
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
                let Some((key, spelling)) = table::find(&name) else {
                    if !text.is_empty() {
                        reader.named.entry(name).or_insert(Found { text, source, alias: None });
                    }
                    continue;
                };
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

    pub(super) fn is_set(&self, key: &Key) -> bool {
        self.found.contains_key(key.name)
    }

    /// The value of a key, or its default; none if it is wrong, which is noted, or if there is none.
    pub(super) fn take<T: Value>(&mut self, key: &Key) -> Option<T> {
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

    /// Notes that the value of a key is wrong, and what it must be.
    pub(super) fn refuse(&mut self, key: &Key, must: String) {
        let found = self.found.get(key.name);
        let name = found.and_then(|found| found.alias).unwrap_or(key.name);
        let value = match (key.visibility, found) {
            (Visibility::Plain, Some(found)) => Some(found.text.clone()),
            _ => None,
        };
        self.errors.push(ConfigError::Invalid { name: name.into(), value, must });
    }

    /// The address that a key is set to, if it is.
    pub(super) fn address(&mut self, key: &Key) -> Option<Address> {
        let text = self.found.get(key.name)?.text.clone();
        match Address::read(key.name, &text) {
            Ok(address) => Some(address),
            Err(must) => {
                self.refuse(key, must.to_owned());
                None
            }
        }
    }

    /// The key to sign with, which production has to set.
    pub(super) fn secret_key(&mut self, production: bool) -> Option<Secret> {
        if production && !self.is_set(&table::SECRET_KEY) {
            let because = "production has no default for it: set at least 32 random characters";
            self.errors.push(ConfigError::Missing { name: table::SECRET_KEY.name, because });
        }
        self.take(&table::SECRET_KEY).map(value::SigningKey::into_secret)
    }

    /// Where the database is: its URL, or else the parts of one, or else a file in the data folder.
    pub(super) fn database_url(&mut self, production: bool, data_dir: Option<&Path>) -> Option<Address> {
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

    /// Where Redis is: its URL, or else the parts of one, or nowhere.
    pub(super) fn redis_url(&mut self) -> Option<Address> {
        let host = self.take::<String>(&table::REDIS_HOST);
        let port = self.take::<u16>(&table::REDIS_PORT);
        let user = self.take::<String>(&table::REDIS_USER);
        let password = self.take::<Secret>(&table::REDIS_PASSWORD);
        if self.is_set(&table::REDIS_URL) {
            return self.address(&table::REDIS_URL);
        }
        if !KEYS.iter().any(|key| key.is_part_of_redis_url() && self.is_set(key)) {
            return None;
        }
        if user.is_some() && password.is_none() {
            let because = "REDIS_USER needs one";
            self.errors.push(ConfigError::Missing { name: table::REDIS_PASSWORD.name, because });
            return None;
        }
        let address = Address::of_redis(&host?, port?, user.as_deref(), password.as_ref().map(Secret::reveal));
        if address.is_none() {
            self.refuse(&table::REDIS_HOST, "must be the name or the address of a host".to_owned());
        }
        address
    }

    /// Where MongoDB is: its URI, or else the parts of one, or nowhere.
    pub(super) fn mongodb_uri(&mut self) -> Option<Address> {
        let host = self.take::<String>(&table::MONGODB_HOST);
        let port = self.take::<u16>(&table::MONGODB_PORT);
        let user = self.take::<String>(&table::MONGODB_USER);
        let password = self.take::<Secret>(&table::MONGODB_PASSWORD);
        let name = self.take::<String>(&table::MONGODB_NAME);
        if self.is_set(&table::MONGODB_URI) {
            return self.address(&table::MONGODB_URI);
        }
        if !KEYS.iter().any(|key| key.is_part_of_mongodb_uri() && self.is_set(key)) {
            return None;
        }
        let user = match (user, password.as_ref().map(Secret::reveal)) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            (user, _) => {
                let (missing, because) = match user {
                    Some(_) => (&table::MONGODB_PASSWORD, "MONGODB_USER needs one"),
                    None => (&table::MONGODB_USER, "MONGODB_PASSWORD is that of a user"),
                };
                self.errors.push(ConfigError::Missing { name: missing.name, because });
                return None;
            }
        };
        let user = user.as_ref().map(|(user, password)| (user.as_str(), *password));
        let (host, port, name) = (host?, port?, name?);
        let address = Address::of_mongodb(&host, port, user, &name);
        if address.is_none() {
            let (key, must) = match Address::of_mongodb(&host, port, user, "any") {
                Some(_) => (&table::MONGODB_NAME, "must be the name of a database"),
                None => (&table::MONGODB_HOST, "must be the name or the address of a host"),
            };
            self.refuse(key, must.to_owned());
        }
        address
    }

    /// The other servers of MongoDB, by the names of the connections.
    pub(super) fn mongodb_named(&mut self) -> BTreeMap<String, Address> {
        let mut named = BTreeMap::new();
        for (variable, found) in &self.named {
            let Some(name) = table::named_connection(variable) else { continue };
            match Address::read(table::MONGODB_URI.name, &found.text) {
                Ok(address) => drop(named.insert(name, address)),
                Err(must) => {
                    let name = variable.clone().into();
                    self.errors.push(ConfigError::Invalid { name, value: None, must: must.to_owned() });
                }
            }
        }
        named
    }

    /// Every key with what is in force and where that was said, for people to look at.
    pub(super) fn settings(
        &self,
        data_dir: Option<&Path>,
        url: Option<&Address>,
        redis: Option<&Address>,
        mongodb: Option<&Address>,
    ) -> Vec<Setting> {
        let url_wins = self.is_set(&table::DATABASE_URL);
        let composed = !url_wins && url.is_some_and(|url| !url.reveal().starts_with("sqlite:"));
        KEYS.iter()
            .map(|key| {
                let found = self.found.get(key.name);
                let mut notes = Vec::new();
                if let Some(alias) = found.and_then(|found| found.alias) {
                    notes.push(format!("set as {alias}"));
                }
                let value = match (found, key.name) {
                    (Some(found), _) => Some(key.visibility.shown(&found.text)),
                    (None, "DATABASE_URL") => url.map(ToString::to_string),
                    (None, "REDIS_URL" | "REDIS_DATA_URL") => redis.map(ToString::to_string),
                    (None, "MONGODB_URI") => mongodb.map(ToString::to_string),
                    (None, "SECRET_KEY") => {
                        let file = data_dir.map(|folder| folder.join("secret_key"));
                        notes.extend(file.map(|file| format!("kept in {}", file.display())));
                        None
                    }
                    // A part of an address means nothing where there is no address.
                    (None, _) if key.is_part_of_database_url() && !composed => None,
                    (None, _) if key.is_part_of_redis_url() && (redis.is_none() || self.is_set(&table::REDIS_URL)) => {
                        None
                    }
                    (None, _)
                        if key.is_part_of_mongodb_uri() && (mongodb.is_none() || self.is_set(&table::MONGODB_URI)) =>
                    {
                        None
                    }
                    (None, _) => key.absent.text().map(str::to_owned),
                };
                match key.name {
                    "DATABASE_URL" if composed => notes.push("made of the DB_ variables".to_owned()),
                    "REDIS_URL" if found.is_none() && redis.is_some() => {
                        notes.push("made of the other REDIS_ variables".to_owned());
                    }
                    _ if key.is_part_of_database_url() && found.is_some() && url_wins => {
                        notes.push("without effect: DATABASE_URL wins".to_owned());
                    }
                    _ if key.is_part_of_redis_url() && found.is_some() && self.is_set(&table::REDIS_URL) => {
                        notes.push("without effect: REDIS_URL wins".to_owned());
                    }
                    "MONGODB_URI" if found.is_none() && mongodb.is_some() => {
                        notes.push("made of the other MONGODB_ variables".to_owned());
                    }
                    _ if key.is_part_of_mongodb_uri() && found.is_some() && self.is_set(&table::MONGODB_URI) => {
                        notes.push("without effect: MONGODB_URI wins".to_owned());
                    }
                    _ => {}
                }
                let note = (!notes.is_empty()).then(|| notes.join("; "));
                let source = found.map_or(Source::Default, |found| found.source);
                Setting { name: key.name.into(), value, source, note }
            })
            .chain(self.named.iter().map(|(name, found)| Setting {
                name: name.clone().into(),
                value: Some(Visibility::Address.shown(&found.text)),
                source: found.source,
                note: None,
            }))
            .collect()
    }
}
