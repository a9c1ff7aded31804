//! What the binary can be told to do: one file per verb.
//!
//! A command takes what it needs as arguments, reads no environment and prints nothing: it returns a value that shows
//! itself to people through `Display` and to programs through `Serialize`. To add a verb, write its file and a line in
//! [`Command`].

pub mod audit;
pub mod change;
pub mod config;
pub mod db;
pub mod doctor;
pub mod entity;
pub mod generate;
pub mod migrate;
pub mod outbox;
pub mod output;
pub mod roles;
pub mod seed;
pub mod serve;
pub mod signal;
pub mod studio;

mod error;
mod scratch;

use std::time::SystemTime;

use domain::{Clock, SystemClock};

pub use error::{CommandError, Exit};

use crate::{
    config::{AllowDestructive, Config, Profile},
    wiring,
};

/// The service and its tools. Without a command, it serves.
#[derive(Default, clap::Parser)]
#[command(name = "seabed", version, max_term_width = 120)]
pub struct Cli {
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Confirm what loses data
    #[arg(long, global = true)]
    pub yes: bool,
    /// Confirm it for the database of this name, as production demands
    #[arg(long, global = true, value_name = "NAME")]
    pub yes_i_mean: Option<String>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The verbs.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Answer requests until told to stop
    Serve,
    /// Take the database along the history of the schema
    Migrate {
        /// What `migrate grant` made [default: MIGRATION_GRANT]
        #[arg(long, global = true, value_name = "GRANT")]
        grant: Option<String>,
        #[command(subcommand)]
        command: migrate::MigrateCommand,
    },
    /// Make the roles of the database, or look at what they may do
    #[command(subcommand)]
    Roles(roles::RolesCommand),
    /// Generate the entities from the migrations
    #[command(subcommand)]
    Entity(entity::EntityCommand),
    /// Write what a new noun needs
    #[command(subcommand)]
    Generate(generate::GenerateCommand),
    /// The database as a whole
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Fill the database with made-up data
    Seed(seed::SeedOptions),
    /// What waits to be delivered to the documents, and what was given up
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// Whether the audit trail is what was written
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Check everything the service depends on
    Doctor,
    /// Show in a browser on this machine what the indexes of documents are used for
    Studio(studio::StudioOptions),
    /// Show what is set
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

/// Does what was asked for. A check that found something is no error, and ends with 1; the lint of migrations, with 2.
///
/// # Errors
/// If it is refused or fails.
pub async fn run(cli: Cli, config: &Config) -> Result<Exit, CommandError> {
    let found = |is_well: bool| if is_well { Exit::Done } else { Exit::Failed };
    let Cli { json, yes, yes_i_mean, command } = cli;
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(config).await.map(|()| Exit::Done),
        Command::Migrate { grant, command } => {
            let production = config.profile == Profile::Production;
            let (never, yes) = match config.migration.allow_destructive {
                AllowDestructive::Never => (true, yes),
                AllowDestructive::Confirmed => (false, yes),
                AllowDestructive::Always => (false, true),
            };
            let context = migrate::Context {
                database_url: config.database.url.reveal(),
                authority: match grant.as_deref() {
                    Some(grant) => migrate::Authority { grant: Some(grant), ..migrate::Authority::of(config) },
                    None => migrate::Authority::of(config),
                },
                options: migrate::Options { shows_progress: true, ..migrate::Options::of(config) },
                folder: config.migration.folder.clone(),
                consent: migrate::Consent { yes, meant: yes_i_mean.as_deref(), production, never },
                now: SystemTime::from(SystemClock.now().utc()),
            };
            let makes_schema = command.makes_schema();
            let outcome = migrate::run(command, &context, signal::heard()?).await?;
            if makes_schema {
                wiring::prepare_documents(&config.migrating()).await;
            }
            output::print(&outcome, json)?;
            Ok(outcome.exit())
        }
        Command::Roles(command) => {
            let outcome = roles::run(command, config).await?;
            output::print(&outcome, json)?;
            Ok(found(outcome.is_well()))
        }
        Command::Entity(command) => {
            let outcome = entity::run(command).await?;
            output::print(&outcome, json)?;
            Ok(found(outcome.is_success()))
        }
        Command::Generate(command) => {
            let now = SystemTime::from(SystemClock.now().utc());
            output::print(&generate::run(command, now).await?, json)?;
            Ok(Exit::Done)
        }
        Command::Db(command) => {
            let (options, production) = (migrate::Options::of(config), config.profile == Profile::Production);
            output::print(&db::run(command, config.database.url.reveal(), &options, production).await?, json)?;
            Ok(Exit::Done)
        }
        Command::Seed(options) => {
            output::print(&seed::seed(&options, yes, config).await?, json)?;
            Ok(Exit::Done)
        }
        Command::Outbox(command) => {
            let production = config.profile == Profile::Production;
            let consent = migrate::Consent { yes, meant: yes_i_mean.as_deref(), production, never: false };
            output::print(&outbox::run(command, &consent, config).await?, json)?;
            Ok(Exit::Done)
        }
        Command::Audit(audit::AuditCommand::Verify) => {
            let verification = audit::verify(config).await?;
            output::print(&verification, json)?;
            Ok(found(verification.is_whole()))
        }
        Command::Doctor => {
            let diagnosis = doctor::examine(config).await;
            output::print(&diagnosis, json)?;
            Ok(found(diagnosis.is_healthy()))
        }
        Command::Studio(options) => studio::serve(&options, config).await.map(|()| Exit::Done),
        Command::Config(command) => {
            output::print(&config::run(&command, config), json)?;
            Ok(Exit::Done)
        }
    }
}
