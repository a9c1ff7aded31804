//! The addresses of databases: what can be shown of them, and how they are put together from parts.

use std::{fmt, path::Path, str::FromStr};

use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::value::Ssl;

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
            "REDIS_URL" => (is_redis(scheme, text), "must look like redis://user:password@host:6379"),
            "MONGODB_URI" => (is_mongodb(text), "must look like mongodb://user:password@host:27017/name"),
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
            let bare_v6 = host.contains(':') && !host.starts_with('[');
            url.set_host(Some(&if bare_v6 { format!("[{host}]") } else { (*host).to_owned() })).ok()?;
        }
        url.set_port(Some(*port)).ok()?;
        // `Url` takes a percent sign for an escape that was made already.
        let literally = |text: &str| text.replace('%', "%25");
        url.set_username(&literally(user)).ok()?;
        url.set_password(password.map(literally).as_deref()).ok()?;
        url.path_segments_mut().ok()?.push(name);
        if let Some(ssl) = ssl {
            url.query_pairs_mut().append_pair("sslmode", ssl.mode());
        }
        Some(Self(url.into()))
    }

    pub(super) fn of_redis(host: &str, port: u16) -> Option<Self> {
        let text = format!("redis://{host}:{port}");
        is_redis("redis", &text).then_some(Self(text))
    }
}

fn is_redis(scheme: &str, text: &str) -> bool {
    matches!(scheme, "redis" | "rediss") && Url::parse(text).is_ok_and(|url| url.has_host())
}

/// MongoDB's addresses name several hosts, which other URLs cannot.
fn is_mongodb(text: &str) -> bool {
    let (rest, with_ports) = match (text.strip_prefix("mongodb://"), text.strip_prefix("mongodb+srv://")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => return false,
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    hosts.split(',').all(|host| match host.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => {
            with_ports && !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        _ => !host.is_empty(),
    })
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
