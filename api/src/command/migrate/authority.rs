//! Who may migrate: in production only who comes with a role of their own, or with a grant.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::{
    Granted, MigrateError, Options,
    connection::Place,
    grant::{self, GrantError},
};
use crate::config::{Address, Config, Profile, Secret};

/// What this process has to show when it is to migrate.
#[derive(Clone, Copy, Default)]
pub struct Authority<'a> {
    /// Whether it has to show anything: in production.
    pub is_needed: bool,
    /// The database, as a role that may change its schema; without one it is what the service itself uses.
    pub database_url: Option<&'a str>,
    /// What `migrate grant` made.
    pub grant: Option<&'a str>,
    /// What grants are signed with.
    pub key: Option<&'a str>,
}

impl fmt::Debug for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_needed, database_url, grant, key } = self;
        f.debug_struct("Authority")
            .field("is_needed", is_needed)
            .field("database_url", &database_url.map(|_| "***"))
            .field("grant", &grant.map(|_| "***"))
            .field("key", &key.map(|_| "***"))
            .finish()
    }
}

impl<'a> Authority<'a> {
    /// What this process has, as it is configured.
    pub fn of(config: &'a Config) -> Self {
        let migration = &config.migration;
        Self {
            is_needed: config.profile == Profile::Production,
            database_url: migration.database_url.as_ref().map(Address::reveal),
            grant: migration.grant.as_ref().map(Secret::reveal),
            key: migration.grant_key.as_ref().map(Secret::reveal),
        }
    }

    /// Whether a verb may write to a database, which the service itself reaches at another place.
    ///
    /// # Errors
    /// What is missing, or wrong with what was shown.
    pub(super) fn permit(
        &self,
        verb: &'static str,
        (place, service): (&Place, &Place),
        options: &Options,
        now: SystemTime,
    ) -> Result<(), MigrateError> {
        let program = || grant::program(options, place.backend());
        match (self.grant, self.database_url) {
            _ if !self.is_needed => Ok(()),
            // One that is shown has to be good, whatever else is.
            (Some(grant), _) => Ok(grant::check(grant, self.key, &place.name(), &program(), now).map(drop)?),
            (None, None) => Err(MigrateError::NotAuthorised { verb }),
            (None, Some(_)) => match (place.user(), service.user()) {
                (None, _) => Err(MigrateError::FileHasNoRoles { verb }),
                (Some(user), Some(other)) if user == other => Err(MigrateError::SameRole { user: user.to_owned() }),
                (Some(_), _) => Ok(()),
            },
        }
    }

    /// Grants what leads to the migrations of this program on a database.
    ///
    /// # Errors
    /// If there is no key, or it would hold for too long.
    pub(super) fn grant(
        &self,
        place: &Place,
        options: &Options,
        now: SystemTime,
        life: Duration,
    ) -> Result<Granted, GrantError> {
        grant::grant(self.key, &place.name(), grant::program(options, place.backend()), now, life)
    }
}
