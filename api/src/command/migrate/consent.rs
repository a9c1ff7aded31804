//! Whether what loses data may be done.

use super::MigrateError;

/// What was said about losing data, and how much has to be said.
///
/// One rule for every verb that goes down or empties the database: outside production it must be confirmed; in production
/// the database must be named, so that nobody empties one that they took for another. A wrong name is refused anywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consent<'a> {
    /// Whether it was confirmed, with `--yes`.
    pub yes: bool,
    /// The name of the database that is meant, from `--yes-i-mean`.
    pub meant: Option<&'a str>,
    /// Whether the database is one in production.
    pub production: bool,
    /// Whether it is never permitted here, whatever is said.
    pub never: bool,
}

impl Consent<'_> {
    /// Whether a verb that loses data may run on the database of this name.
    ///
    /// # Errors
    /// If too little was said, or another database is meant.
    pub(crate) fn permit(&self, verb: &'static str, database: &str) -> Result<(), MigrateError> {
        let database = || database.to_owned();
        match self.meant {
            _ if self.never => Err(MigrateError::NeverAllowed { verb }),
            Some(meant) if meant == database() => Ok(()),
            Some(meant) => Err(MigrateError::OtherDatabase { verb, database: database(), meant: meant.to_owned() }),
            None if self.production => Err(MigrateError::NotNamed { verb, database: database() }),
            None if !self.yes => Err(MigrateError::NotConfirmed { verb }),
            None => Ok(()),
        }
    }
}
