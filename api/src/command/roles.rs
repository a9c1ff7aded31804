//! `roles`: the roles of the database, each with what its work needs and nothing else.
//!
//! The owner has the schema and migrates; the service writes rows and changes no schema; one role reads, and one makes
//! backups. `create` makes them, and puts right what is not so; `check` looks. What a migration makes gets its privileges
//! when it is made (see `settle_after_migrating`).

mod catalogue;
mod create;
mod password;
mod privilege;
mod role;

use std::{collections::BTreeMap, fmt};

use sea_orm_migration::{
    DbErr,
    sea_orm::{DatabaseConnection, DbBackend, TransactionTrait},
};
use serde::Serialize;
use url::Url;

pub use catalogue::{Deviation, Finding};
pub use role::Role;

use super::{
    CommandError,
    migrate::{self, Accounts, Database, MigrateError},
};
use crate::config::{Config, Profile, RolesConfig, Secret};

/// The verbs.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub enum RolesCommand {
    /// Make the roles that are missing, and give each what it needs; passwords that are made up are shown this once
    Create {
        /// Give roles that are there new passwords, too
        #[arg(long)]
        new_passwords: bool,
    },
    /// Name what a role may do and need not, or may not do and has to
    Check,
}

/// Why roles were not made or looked at.
#[derive(Debug, thiserror::Error)]
pub enum RolesError {
    #[error(
        "the database is a file, which has no roles: who may read and write it is up to the permissions of the file and its folder"
    )]
    File,
    #[error("{name} is too long for the name of a role: the database needs a shorter name")]
    TooLong { name: String },
    #[error("there is no schema here that this role may use")]
    NoSchema,
    #[error("the password cannot be used")]
    Password,
    #[error("the roles are not made: an administrator of the database has to, in MIGRATION_DATABASE_URL")]
    Database(#[from] DbErr),
}

/// What was done, or found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The roles; none if they were only looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<MadeRole>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// A role that is there now.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct MadeRole {
    /// Which.
    pub role: Role,
    /// What it is called.
    pub name: String,
    /// Whether it was not there before.
    pub is_new: bool,
    /// The database as this role, with its password, if that was made up now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

// A password is shown where it is printed on purpose, and nowhere else.
impl fmt::Debug for MadeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, name, is_new, url } = self;
        f.debug_struct("MadeRole")
            .field("role", role)
            .field("name", name)
            .field("is_new", is_new)
            .field("url", &url.as_ref().map(|_| "***"))
            .finish()
    }
}

impl Outcome {
    /// Whether everything is as it should be.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = self.roles.iter().map(|role| role.name.len()).max().unwrap_or(0);
        for MadeRole { role, name, is_new, url } in &self.roles {
            let (state, purpose) = (if *is_new { "made" } else { "there" }, role.purpose());
            writeln!(f, "{state:<5}  {name:longest$}  {purpose}")?;
            if let Some(url) = url {
                writeln!(f, "       {url}")?;
            }
        }
        if self.roles.iter().any(|role| role.url.is_some()) {
            writeln!(f, "keep the passwords: they are shown this once")?;
        }
        for Finding { message, .. } in &self.findings {
            writeln!(f, "{message}")?;
        }
        match self.findings.len() {
            0 => f.write_str("each role may do what it needs, and nothing else"),
            1 => f.write_str("1 thing is not as it should be"),
            count => write!(f, "{count} things are not as they should be"),
        }
    }
}

/// Makes the roles, or looks at them.
///
/// # Errors
/// If the database is a file, cannot be reached, or does not let this role.
pub async fn run(command: RolesCommand, config: &Config) -> Result<Outcome, CommandError> {
    let url = config.migrating().database.url;
    if url.reveal().starts_with("sqlite:") {
        return Err(RolesError::File.into());
    }
    let options = migrate::Options::of(config);
    let database = migrate::connect(url.reveal(), &options).await?;
    let outcome = match command {
        RolesCommand::Create { new_passwords } => {
            create(&database, &options.accounts(), url.reveal(), &config.roles, new_passwords).await
        }
        RolesCommand::Check => check(&database, &options.accounts()).await,
    };
    database.close().await;
    Ok(outcome?)
}

async fn check(connection: &DatabaseConnection, accounts: &Accounts) -> Result<Outcome, RolesError> {
    let here = catalogue::here(connection).await?;
    if here.schema.is_none() {
        return Err(RolesError::NoSchema);
    }
    let findings = catalogue::findings(connection, &here, accounts).await?;
    Ok(Outcome { roles: Vec::new(), findings })
}

async fn create(
    database: &Database,
    accounts: &Accounts,
    url: &str,
    passwords: &RolesConfig,
    renew: bool,
) -> Result<Outcome, RolesError> {
    let here = catalogue::here(&**database).await?;
    let RolesConfig { owner, application, read_only, backup } = passwords;
    let given = [(Role::Owner, owner), (Role::App, application), (Role::Read, read_only), (Role::Backup, backup)];
    let given = given.into_iter().filter_map(|(role, given)| Some((role, given.as_ref().map(Secret::reveal)?)));
    let passwords: BTreeMap<_, _> = given.collect();
    let transaction = database.begin().await?;
    let creation = create::Creation { connection: &transaction, here: &here, accounts, passwords, renew };
    let made = creation.make().await?;
    transaction.commit().await?;
    let roles = made.into_iter().map(|create::Made { role, is_new, password }| {
        let name = here.name(role);
        let url = password.and_then(|password| address(url, &name, &password));
        MadeRole { role, name, is_new, url }
    });
    let roles = roles.collect();
    Ok(Outcome { roles, ..check(database, accounts).await? })
}

/// The same database, as another user.
fn address(url: &str, user: &str, password: &str) -> Option<String> {
    let mut url = Url::parse(url).ok()?;
    let other = url.query_pairs().filter(|(name, _)| !["user", "password"].contains(&name.as_ref()));
    let other = other.map(|(name, value)| (name.into_owned(), value.into_owned())).collect::<Vec<_>>();
    url.set_query(None);
    if !other.is_empty() {
        url.query_pairs_mut().extend_pairs(other);
    }
    url.set_username(user).ok()?;
    url.set_password(Some(password)).ok()?;
    Some(url.into())
}

/// Gives the roles, if there are any, what they need on what a migration has made: the owner all of it. What cannot be given is said, and
/// `roles check` finds it.
pub(super) async fn settle_after_migrating(connection: &DatabaseConnection, accounts: &Accounts) {
    if connection.get_database_backend() != DbBackend::Postgres {
        return;
    }
    let settled = async {
        let here = catalogue::here(connection).await?;
        if here.schema.is_none() {
            return Ok(0);
        }
        if here.user != here.name(Role::Owner) && here.present(connection).await?.contains(&Role::Owner) {
            // An administrator may migrate as well, and the owner goes on from there.
            let transaction = connection.begin().await?;
            create::transfer(&transaction, &here, here.is_superuser).await?;
            transaction.commit().await?;
        }
        let transaction = connection.begin().await?;
        let settled = create::settle(&transaction, &here, accounts).await?;
        transaction.commit().await?;
        Ok::<_, DbErr>(settled)
    };
    match settled.await {
        Ok(0) => {}
        Ok(statements) => tracing::debug!(statements, "the roles were given what they need"),
        Err(error) => tracing::warn!(%error, "the roles may not have what they need: see `roles check`"),
    }
}

/// What is not as it should be with the roles of a database; nothing if none of them was made.
pub(super) async fn examine(
    connection: &DatabaseConnection,
    accounts: &Accounts,
) -> Result<Option<Vec<Finding>>, DbErr> {
    let here = catalogue::here(connection).await?;
    if here.schema.is_none() || here.present(connection).await?.is_empty() {
        return Ok(None);
    }
    catalogue::findings(connection, &here, accounts).await.map(Some)
}

/// What the user of a connection may do that the service need not.
pub(super) async fn powers(connection: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    catalogue::powers(connection).await
}

/// Keeps the service from working in production as a role that could change the schema.
///
/// # Errors
/// [`CommandError::TooPowerful`] if it could; or if that cannot be found out.
pub async fn keep_from_serving(config: &Config) -> Result<(), CommandError> {
    if config.profile != Profile::Production || config.database.is_embedded() {
        return Ok(());
    }
    let database = migrate::connect(config.database.url.reveal(), &migrate::Options::of(config)).await?;
    let powers = powers(&database).await;
    database.close().await;
    let powers = powers.map_err(MigrateError::History)?;
    if powers.is_empty() { Ok(()) } else { Err(CommandError::TooPowerful { powers }) }
}
