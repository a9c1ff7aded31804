//! What the binary can be told to do: one file per verb.
//!
//! A command takes what it needs as arguments, reads no environment and prints nothing: it returns a value that shows
//! itself to people through `Display` and to programs through `Serialize`. To add a verb, write its file and a line in
//! [`Command`].

pub mod config;
pub mod doctor;
pub mod entity;
pub mod migrate;
pub mod output;
pub mod seed;
pub mod serve;

mod error;

use std::time::SystemTime;

use domain::{Clock, SystemClock};

pub use error::{CommandError, Exit};

use crate::{
    config::{Config, Profile},
    wiring,
};

/// The service and its tools. Without a command, it serves.
#[derive(clap::Parser)]
#[command(name = "seabed", version, max_term_width = 120)]
pub struct Cli {
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Confirm what destroys data
    #[arg(long, global = true)]
    pub yes: bool,
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The verbs.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Answer requests until told to stop
    Serve,
    /// Take the database along the history of the schema
    #[command(subcommand)]
    Migrate(migrate::MigrateCommand),
    /// Generate the entities from the migrations
    #[command(subcommand)]
    Entity(entity::EntityCommand),
    /// Fill the database with made-up data
    Seed(seed::SeedOptions),
    /// Check everything the service depends on
    Doctor,
    /// Show what is set
    #[command(subcommand)]
    Config(config::ConfigCommand),
}

/// Does what was asked for. Whether all is well: a check that found something is no error, and ends with 1.
///
/// # Errors
/// If it is refused or fails.
pub async fn run(cli: Cli, config: &Config) -> Result<bool, CommandError> {
    let Cli { json, yes, command } = cli;
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(config).await.map(|()| true),
        Command::Migrate(command) => {
            if !matches!(command, migrate::MigrateCommand::Generate { .. }) {
                wiring::reach(config).await?;
            }
            let context = migrate::Context {
                database_url: config.database.url.reveal(),
                production: config.profile == Profile::Production,
                now: SystemTime::from(SystemClock.now().utc()),
            };
            output::print(&migrate::run(command, &context).await?, json)?;
            Ok(true)
        }
        Command::Entity(command) => {
            let outcome = entity::run(command).await?;
            output::print(&outcome, json)?;
            Ok(outcome.is_success())
        }
        Command::Seed(options) => {
            output::print(&seed::seed(&options, yes, config).await?, json)?;
            Ok(true)
        }
        Command::Doctor => {
            let diagnosis = doctor::examine(config).await;
            output::print(&diagnosis, json)?;
            Ok(diagnosis.is_healthy())
        }
        Command::Config(command) => {
            output::print(&config::run(&command, config), json)?;
            Ok(true)
        }
    }
}
