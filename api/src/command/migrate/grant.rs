//! Grants: signed, and soon expired, leave to migrate one database with one program.
//!
//! Who can check a grant could also make one: what is granted is a moment and a purpose, to be handed to a person or to a
//! step of a deployment that does not have the key of the environment for good.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sea_orm_migration::sea_orm::{DbBackend, prelude::ChronoDateTimeUtc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Options, checksum::checksum, who::who};

/// The longest that is granted.
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// What keeps the signature from meaning anything else that is signed with the same key.
const PURPOSE: &[u8] = b"seabed migrate grant 1\0";

/// A grant, as it is handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Granted {
    /// To be given to `migrate` with `--grant` or in `MIGRATION_GRANT`.
    pub grant: String,
    /// What it is known by where it is used.
    pub id: String,
    /// The database that it is for.
    pub database: String,
    /// When it ends.
    pub expires_at: String,
}

/// Nothing but the grant, so that a shell can take it.
impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.grant)
    }
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claims {
    id: String,
    database: String,
    program: String,
    expires: u64,
    by: String,
}

/// Why something is no grant to do this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    #[error("MIGRATION_GRANT_KEY is not set: grants are made and checked with it")]
    NoKey,
    #[error("a grant holds for {} hours at most", LONGEST.as_secs() / 3_600)]
    TooLong,
    #[error("the grant is not one that was made with this MIGRATION_GRANT_KEY: make another with `migrate grant`")]
    Forged,
    #[error("the grant ended {at}: make another with `migrate grant`")]
    Expired { at: String },
    #[error("the grant is for the database {granted}, not for {database}")]
    OtherDatabase { granted: String, database: String },
    #[error("the grant is for a program with other migrations: make one with this program")]
    OtherProgram,
}

/// Grants what leads to the migrations of this program on a database, for a while from now.
///
/// # Errors
/// If there is no key, or it would hold for too long.
pub(super) fn grant(
    key: Option<&str>,
    database: &str,
    program: String,
    now: SystemTime,
    life: Duration,
) -> Result<Granted, GrantError> {
    if life > LONGEST {
        return Err(GrantError::TooLong);
    }
    let expires = seconds(now).saturating_add(life.as_secs());
    let claims = Claims {
        id: format!("{:016x}", rand::random::<u64>()),
        database: database.to_owned(),
        program,
        expires,
        by: format!("{}@{}", who().os_user, who().host),
    };
    let payload = serde_json::to_vec(&claims).map_err(|_| GrantError::Forged)?;
    let tag = signature(key, &payload)?.finalize().into_bytes();
    let grant = [payload.as_slice(), &tag].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
    tracing::info!(grant = claims.id, database, expires_at = time(expires), "a grant to migrate was made");
    Ok(Granted { grant, id: claims.id, database: claims.database, expires_at: time(expires) })
}

/// Whether this is a grant to do that.
///
/// # Errors
/// Why it is not.
pub(super) fn check(
    grant: &str,
    key: Option<&str>,
    database: &str,
    program: &str,
    now: SystemTime,
) -> Result<Claims, GrantError> {
    let part = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| GrantError::Forged);
    let (payload, tag) = grant.trim().split_once('.').ok_or(GrantError::Forged)?;
    let (payload, tag) = (part(payload)?, part(tag)?);
    // In a time that does not depend on where the first difference is.
    signature(key, &payload)?.verify_slice(&tag).map_err(|_| GrantError::Forged)?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| GrantError::Forged)?;
    if claims.expires <= seconds(now) {
        return Err(GrantError::Expired { at: time(claims.expires) });
    }
    if claims.database != database {
        return Err(GrantError::OtherDatabase { granted: claims.database, database: database.to_owned() });
    }
    if claims.program != program {
        return Err(GrantError::OtherProgram);
    }
    tracing::info!(grant = claims.id, by = claims.by, database, "a grant to migrate is used");
    Ok(claims)
}

fn signature(key: Option<&str>, payload: &[u8]) -> Result<Hmac<Sha256>, GrantError> {
    let key = key.ok_or(GrantError::NoKey)?;
    let mut signature = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| GrantError::NoKey)?;
    signature.update(PURPOSE);
    signature.update(payload);
    Ok(signature)
}

/// What tells one history of migrations from another: their names, and what they are written as.
pub(super) fn program(options: &Options, backend: DbBackend) -> String {
    let mut digest = Sha256::new();
    for migration in (options.program.migrations)() {
        let source = (options.program.source)(migration.name(), backend);
        let source = source.as_ref().map(checksum).unwrap_or_default();
        digest.update(format!("{}\0{source}\n", migration.name()));
    }
    hex::encode(digest.finalize())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| ChronoDateTimeUtc::from_timestamp(seconds, 0));
    time.unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Option<&str> = Some("0123456789abcdef0123456789abcdef");

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn granted() -> String {
        grant(KEY, "app", "program".to_owned(), at(1_000), Duration::from_secs(60)).unwrap().grant
    }

    #[test]
    fn a_grant_holds_for_its_time() {
        let granted = granted();
        for (now, is_good) in [(0, true), (1_000, true), (1_059, true), (1_060, false), (1_061, false)] {
            let checked = check(&granted, KEY, "app", "program", at(now));
            assert_eq!(checked.is_ok(), is_good, "{now}");
        }
        let expired = check(&granted, KEY, "app", "program", at(2_000)).unwrap_err();
        assert_eq!(expired, GrantError::Expired { at: "1970-01-01T00:17:40Z".to_owned() });
        let long = grant(KEY, "app", String::new(), at(0), LONGEST + Duration::from_secs(1));
        assert_eq!(long.unwrap_err(), GrantError::TooLong);
    }

    #[test]
    fn a_grant_is_for_one_database_one_program_and_one_key() {
        let granted = granted();
        let refused = |key, database, program| check(&granted, key, database, program, at(1_000)).unwrap_err();
        assert!(matches!(refused(KEY, "other", "program"), GrantError::OtherDatabase { .. }));
        assert_eq!(refused(KEY, "app", "other"), GrantError::OtherProgram);
        assert_eq!(refused(Some("another key of thirty-two letters"), "app", "program"), GrantError::Forged);
        assert_eq!(refused(None, "app", "program"), GrantError::NoKey);
        assert_eq!(grant(None, "app", String::new(), at(0), LONGEST).unwrap_err(), GrantError::NoKey);
    }

    #[test]
    fn no_letter_of_a_grant_can_be_another() {
        let granted = granted();
        for place in 0..granted.len() {
            let mut letters = granted.clone().into_bytes();
            letters[place] = if letters[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(letters).unwrap();
            let checked = check(&altered, KEY, "app", "program", at(1_000));
            assert_eq!(checked.unwrap_err(), GrantError::Forged, "{altered}");
        }
        // A longer life, with the signature of the shorter one.
        let (payload, tag) = granted.split_once('.').unwrap();
        let payload = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let longer = BASE64_URL_SAFE_NO_PAD.encode(payload.replace("1060", "9060"));
        for forged in [format!("{longer}.{tag}"), format!("{longer}."), longer, String::new(), ".".to_owned()] {
            assert_eq!(check(&forged, KEY, "app", "program", at(1_000)).unwrap_err(), GrantError::Forged, "{forged}");
        }
    }
}
