//! The addresses of databases: what can be shown of them, and how they are put together from parts.

use std::{fmt, path::Path, str::FromStr};

use bb8_redis::redis::IntoConnectionInfo;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::value::Ssl;
use crate::adapter::mongo_connection;

/// The address of a database. Shown, it has no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

/// What an address of PostgreSQL is made of.
pub(super) struct Parts<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) user: &'a str,
    pub(super) password: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) ssl: Option<Ssl>,
}

impl Address {
    /// The whole address, with the password: for those who connect.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Checks what was set under this name.
    pub(super) fn read(name: &str, text: &str) -> Result<Self, &'static str> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme).unwrap_or_default();
        let (valid, must) = match name {
            "REDIS_URL" | "REDIS_DATA_URL" => {
                (is_redis(scheme, text), "must look like redis://user:password@host:6379")
            }
            "MONGODB_URI" => (mongo_connection::is_uri(text), "must look like mongodb://user:password@host:27017/name"),
            _ if scheme == "sqlite" => {
                let path = text["sqlite:".len()..].trim_start_matches("//");
                let path = path.split_once('?').map_or(path, |(path, _)| path);
                let file = !path.is_empty() && path != ":memory:" && !text.contains("mode=memory");
                (file, "must name a file: in memory, SQLite drops data when connections are recycled")
            }
            _ => {
                let known = matches!(scheme, "postgres" | "postgresql");
                let valid = known && Url::parse(text).is_ok() && PgConnectOptions::from_str(text).is_ok();
                (valid, "must look like postgres://user:password@host:5432/name or sqlite://path")
            }
        };
        if valid { Ok(Self(text.to_owned())) } else { Err(must) }
    }

    pub(super) fn of_file(path: &Path) -> Self {
        // The three characters that would end the path or be read as an escape.
        let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
        Self(format!("sqlite://{path}"))
    }

    pub(super) fn of_postgres(parts: &Parts<'_>) -> Option<Self> {
        let Parts { host, port, user, password, name, ssl } = parts;
        let mut url = Url::parse("postgres://localhost").ok()?;
        if host.starts_with('/') {
            // A folder with a socket, as libpq writes it.
            url.query_pairs_mut().append_pair("host", host);
        } else {
            url.set_host(Some(&bracketed(host))).ok()?;
        }
        url.set_port(Some(*port)).ok()?;
        url.set_username(&literally(user)).ok()?;
        url.set_password(password.map(literally).as_deref()).ok()?;
        url.path_segments_mut().ok()?.push(name);
        if let Some(ssl) = ssl {
            url.query_pairs_mut().append_pair("sslmode", ssl.mode());
        }
        Some(Self(url.into()))
    }

    pub(super) fn of_mongodb(host: &str, port: u16, user: Option<(&str, &str)>, name: &str) -> Option<Self> {
        let user = user.map(|(user, password)| format!("{}:{}@", escaped(user), escaped(password)));
        let host = bracketed(host);
        // The users of a server are, as a rule, not those of one of its databases.
        let source = if user.is_some() { "?authSource=admin" } else { "" };
        let text = format!("mongodb://{}{host}:{port}/{}{source}", user.unwrap_or_default(), escaped(name));
        mongo_connection::is_uri(&text).then_some(Self(text))
    }

    pub(super) fn of_redis(host: &str, port: u16, user: Option<&str>, password: Option<&str>) -> Option<Self> {
        let mut url = Url::parse("redis://localhost").ok()?;
        url.set_host(Some(&bracketed(host))).ok()?;
        url.set_port(Some(port)).ok()?;
        url.set_username(&literally(user.unwrap_or_default())).ok()?;
        url.set_password(password.map(literally).as_deref()).ok()?;
        let text = String::from(url);
        is_redis("redis", &text).then_some(Self(text))
    }
}

/// An IPv6 address stands in brackets.
fn bracketed(host: &str) -> String {
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    if bare_v6 { format!("[{host}]") } else { host.to_owned() }
}

fn escaped(text: &str) -> String {
    // What a form writes for a blank is a plus sign elsewhere.
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// `Url` takes a percent sign for an escape that was made already.
fn literally(text: &str) -> String {
    text.replace('%', "%25")
}

fn is_redis(scheme: &str, text: &str) -> bool {
    let known = matches!(scheme, "redis" | "rediss");
    known && Url::parse(text).is_ok_and(|url| url.has_host()) && text.into_connection_info().is_ok()
}

/// An address without its password.
pub(super) fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    // A password may hold an unescaped `@` or `/`: everything up to the last `@` is taken for it.
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => format!("{user}@{host}"),
        },
        None => rest.to_owned(),
    };
    let query = query.map(|query| {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}=***"),
            _ => pair.to_owned(),
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{rest}{}", query.unwrap_or_default())
}

fn is_secret(parameter: &str) -> bool {
    let parameter = parameter.to_ascii_lowercase();
    ["pass", "secret", "token"].iter().any(|word| parameter.contains(word))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&masked(&self.0), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (text, shown) in [
            ("postgres://ada:hunter2@db/app", "postgres://ada:***@db/app"),
            ("postgres://ada:hun/te@r2@db:5432/app", "postgres://ada:***@db:5432/app"),
            ("redis://:hunter2@cache:6379", "redis://:***@cache:6379"),
            ("mongodb://ada:hunter2@a:1,b:2/app?w=1", "mongodb://ada:***@a:1,b:2/app?w=1"),
            ("postgres://db/app?user=ada&password=hunter2", "postgres://db/app?user=ada&password=***"),
            ("sqlite://data/app.db", "sqlite://data/app.db"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
