//! The types that a setting can have, and how each is read from text.

use std::{fmt, fs, io, net::SocketAddr, path::Path, path::PathBuf, time::Duration};

use rand::Rng;

use super::error::ConfigError;

/// A type of setting.
pub(super) trait Value: Sized {
    /// Reads it, or says what it must be.
    fn read(text: &str) -> Result<Self, String>;
}

/// Something that is not to be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself: for those who need it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

macro_rules! choice {
    ($(#[$doc:meta])* $visibility:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal $(| $also:literal)*),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility enum $name { $($(#[$variant_doc])* $variant),+ }

        impl Value for $name {
            fn read(text: &str) -> Result<Self, String> {
                match text {
                    $( $text $(| $also)* => Ok(Self::$variant), )+
                    _ => Err(format!("must be one of {}", [$($text $(, $also)*),+].join(", "))),
                }
            }
        }
    };
}

choice! {
    /// Where the service runs.
    pub enum Profile {
        /// On a developer's machine.
        Development = "development",
        /// Where it must not lose anything.
        Production = "production",
    }
}

choice! {
    /// In which form events are logged.
    pub enum LogFormat {
        /// Lines for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

choice! {
    /// Whether the service migrates the database when it starts.
    pub enum MigrateOnStart {
        /// If it is embedded and empty.
        Auto = "auto",
        /// Whenever migrations are pending.
        Always = "always",
        /// Never.
        Never = "never",
    }
}

choice! {
    /// Whether what loses data may be done to the schema.
    pub enum AllowDestructive {
        /// If it is confirmed.
        Confirmed = "confirmed",
        /// Without being asked, but in production.
        Always = "always",
        /// Not at all.
        Never = "never",
    }
}

choice! {
    /// Whether copies of records are kept.
    pub enum CacheUse {
        /// They are.
        On = "on",
        /// The database is always read.
        Off = "off",
    }
}

choice! {
    /// When a write is acknowledged whose copies could not be invalidated, because the cache is out of reach.
    pub enum OnUnreachable {
        /// When they can be fresh no more.
        Wait = "wait",
        /// At once: for a moment, others may read what was before.
        Ack = "ack",
    }
}

choice! {
    /// Whether connections to PostgreSQL are encrypted.
    pub(super) enum Ssl {
        Require = "true" | "require",
        Disable = "false" | "disable",
        Allow = "allow",
        Prefer = "prefer",
        VerifyCa = "verify-ca",
        VerifyFull = "verify-full",
    }
}

impl Ssl {
    /// libpq's word for it.
    pub(super) fn mode(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// A filter of `tracing`.
pub(super) struct Filter(String);

impl Filter {
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Value for Filter {
    fn read(text: &str) -> Result<Self, String> {
        match tracing_subscriber::EnvFilter::try_new(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err("must be a filter such as info or info,sqlx=warn".to_owned()),
        }
    }
}

/// The name of a table.
pub(super) struct Identifier(String);

impl Identifier {
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Value for Identifier {
    fn read(text: &str) -> Result<Self, String> {
        // Names of 63 bytes are cut, and others are made of this one.
        const MAX: usize = 48;
        let is_plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        match text.len() <= MAX && is_plain && !text.starts_with(|first: char| first.is_ascii_digit()) {
            true => Ok(Self(text.to_owned())),
            false => Err(format!("must be the name of a table: up to {MAX} of a-z, 0-9 and _")),
        }
    }
}

impl Value for String {
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Value for PathBuf {
    fn read(text: &str) -> Result<Self, String> {
        if text.contains('\0') { Err("must be a path".to_owned()) } else { Ok(text.into()) }
    }
}

impl Value for Secret {
    fn read(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

impl Value for SocketAddr {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080".to_owned())
    }
}

impl Value for u16 {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().ok().filter(|port| *port > 0).ok_or_else(|| "must be a port, 1 to 65535".to_owned())
    }
}

impl Value for u32 {
    fn read(text: &str) -> Result<Self, String> {
        const MAX: u32 = 10_000;
        let count = text.parse().ok().filter(|count| (1..=MAX).contains(count));
        count.ok_or_else(|| format!("must be a number, 1 to {MAX}"))
    }
}

/// How many rows at once; 0 if that is said elsewhere.
pub(super) struct Rows(pub(super) u32);

impl Value for Rows {
    fn read(text: &str) -> Result<Self, String> {
        const MAX: u32 = 100_000;
        let rows = text.parse().ok().filter(|rows| *rows <= MAX).map(Self);
        rows.ok_or_else(|| format!("must be a number of rows, 0 to {MAX}"))
    }
}

/// A part of a whole.
pub(super) struct Percent(pub(super) u32);

impl Value for Percent {
    fn read(text: &str) -> Result<Self, String> {
        let percent = text.parse().ok().filter(|percent| (1..=100).contains(percent)).map(Self);
        percent.ok_or_else(|| "must be a percentage, 1 to 100".to_owned())
    }
}

impl Value for usize {
    fn read(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| *number > 0);
        number.ok_or_else(|| "must be a number above 0".to_owned())
    }
}

impl Value for Duration {
    fn read(text: &str) -> Result<Self, String> {
        let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let must = || "must be a duration such as 300ms, 5s or 2m".to_owned();
        let number = number.parse::<u64>().map_err(|_| must())?;
        let milliseconds = match unit {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            "" => return Err(format!("needs a unit: write {number}s for seconds or {number}ms for milliseconds")),
            _ => None,
        };
        let length = milliseconds.and_then(|unit| number.checked_mul(unit)).ok_or_else(must)?;
        if length == 0 { Err("must be longer than nothing".to_owned()) } else { Ok(Self::from_millis(length)) }
    }
}

/// How many characters a key must have.
const KEY_LENGTH: usize = 32;

/// A secret to sign with.
pub(super) struct SigningKey(Secret);

impl SigningKey {
    pub(super) fn into_secret(self) -> Secret {
        self.0
    }
}

impl Value for SigningKey {
    fn read(text: &str) -> Result<Self, String> {
        if text.chars().count() < KEY_LENGTH {
            return Err(format!("must have at least {KEY_LENGTH} characters"));
        }
        Ok(Self(Secret(text.to_owned())))
    }
}

/// The password of a role.
pub(super) struct Password(Secret);

impl Password {
    pub(super) fn into_secret(self) -> Secret {
        self.0
    }
}

impl Value for Password {
    // Other letters are written in more than one way, and client and server have to mean the same one.
    fn read(text: &str) -> Result<Self, String> {
        const LENGTH: usize = 16;
        match text.len() >= LENGTH && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            true => Ok(Self(Secret(text.to_owned()))),
            false => Err(format!("must have at least {LENGTH} characters, all of them printable ASCII")),
        }
    }
}

/// A duration as settings have it, such as `15m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    Value::read(text)
}

/// The key in this file, which is made when it is not there.
pub(super) fn kept_secret(path: &Path) -> Result<Secret, ConfigError> {
    match fs::read_to_string(path) {
        Ok(text) => SigningKey::read(text.trim()).map(SigningKey::into_secret).map_err(|_| {
            let cause = io::Error::new(io::ErrorKind::InvalidData, "it holds no key");
            ConfigError::file(path.to_path_buf(), "used as a key", cause)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match new_secret(path) {
                // Somebody else was faster: theirs is the one that stays.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::read_to_string(path)
                    .map(|text| Secret(text.trim().to_owned()))
                    .map_err(|error| ConfigError::file(path.to_path_buf(), "read", error)),
                made => made.map_err(|error| ConfigError::file(path.to_path_buf(), "written", error)),
            }
        }
        Err(error) => Err(ConfigError::file(path.to_path_buf(), "read", error)),
    }
}

/// Writes a new key, whole or not at all, so that nobody reads half of it.
fn new_secret(path: &Path) -> io::Result<Secret> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut random = [0_u8; KEY_LENGTH];
    rand::rng().fill_bytes(&mut random);
    let key = hex::encode(random);
    // Such files can be read by their owner only.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, key.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|refused| refused.error)?;
    Ok(Secret(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(Duration::read("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(Duration::read("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(Duration::read("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(Duration::read("1h"), Ok(Duration::from_secs(3_600)));
        assert!(Duration::read("30").unwrap_err().contains("needs a unit: write 30s"));
        for wrong in ["", "s", "-1s", "1.5s", "5 s", "5S", "0s", "18446744073709551615h", "5s5"] {
            assert!(Duration::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_kept_key_stays_and_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join("secret_key");
        let first = kept_secret(&path).unwrap();
        assert_eq!(first.reveal().len(), 64);
        assert_eq!(kept_secret(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(kept_secret(&path).is_err());
    }
}
