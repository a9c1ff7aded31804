//! `config`: what is set, where, and what could be.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::config::{self, Config, Setting};

/// The verbs under `config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
pub enum ConfigCommand {
    /// Show every setting, where it was made, and its value unless that is secret
    Show,
    /// Print the text of `.env.example`
    Example,
}

/// What a verb of `config` prints.
#[derive(Debug)]
pub enum Output {
    /// Every setting.
    Settings(Vec<Setting>),
    /// The text of a file.
    Example(String),
}

/// Runs a verb of `config`.
pub fn run(command: &ConfigCommand, config: &Config) -> Output {
    match command {
        ConfigCommand::Show => Output::Settings(config.settings().to_vec()),
        ConfigCommand::Example => Output::Example(config::env_example()),
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Example(text) => f.write_str(text),
            Self::Settings(settings) => {
                let longest = settings.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
                for Setting { name, value, source, note } in settings {
                    let value = value.as_deref().unwrap_or("-");
                    let note = note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
                    writeln!(f, "{name:longest$}  {value}  ({source}{note})")?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Output {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Settings(settings) => settings.serialize(serializer),
            Self::Example(text) => text.serialize(serializer),
        }
    }
}
