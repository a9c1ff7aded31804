//! The verbs under `migrate`, and what each of them does to a database.

use std::{fmt, path::PathBuf, time::Duration};

use super::DiffOptions;
use crate::config::duration;

/// The verbs under `migrate`.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum MigrateCommand {
    /// Apply pending migrations
    Up {
        /// How many [default: all]
        #[arg(short, long = "num", value_name = "COUNT")]
        number: Option<u32>,
        /// Apply them in spite of what `migrate lint` finds; never in production
        #[arg(long)]
        despite_lint: bool,
    },
    /// Roll back applied migrations, the latest first
    Down {
        /// How many
        #[arg(short, long = "num", value_name = "COUNT", default_value_t = 1)]
        number: u32,
        /// Take what cannot be rolled back out of the history only: what it did stays; never in production
        #[arg(long)]
        forget_irreversible: bool,
    },
    /// Go up or down until exactly the migrations up to a version are applied
    To {
        /// Name of the last migration to be applied, or the start of it
        version: String,
        /// Apply them in spite of what `migrate lint` finds; never in production
        #[arg(long)]
        despite_lint: bool,
        /// Take what cannot be rolled back out of the history only: what it did stays; never in production
        #[arg(long)]
        forget_irreversible: bool,
    },
    /// List all migrations, whether each is applied, by whom, and what keeps from going on
    Status,
    /// List who was refused to migrate, when, from where and why
    Refusals,
    /// Make a grant: leave to migrate this database with this program, for a while
    Grant {
        /// How long it holds
        #[arg(long = "for", value_name = "DURATION", default_value = "15m", value_parser = duration)]
        life: Duration,
    },
    /// Take a database without a history, such as from a dump, for one that has all migrations up to a version
    Baseline {
        /// Name of the last of them, or the start of it
        version: String,
    },
    /// Take the file of a migration that was edited for what was applied
    Accept {
        /// Its name, or the start of it
        version: String,
    },
    /// Drop everything in the database, then apply all migrations
    Fresh,
    /// Roll back all applied migrations, then apply all
    Refresh,
    /// Roll back all applied migrations
    Reset {
        /// Take what cannot be rolled back out of the history only: what it did stays; never in production
        #[arg(long)]
        forget_irreversible: bool,
    },
    /// Show what `up` or `down` would run, lock and lose, without running it
    Plan {
        /// The way down, not up
        #[arg(long)]
        down: bool,
        /// How many [default: all up, one down]
        #[arg(short, long = "num", value_name = "COUNT")]
        number: Option<u32>,
    },
    /// Tell what is dangerous about migrations, and what to do in its place
    Lint {
        /// Files or folders of plain SQL [default: the migrations of this program]
        paths: Vec<PathBuf>,
        /// PostgreSQL server on which the migrations of this program are run in a scratch database, to see what they lock
        /// and write anew that their text does not tell
        #[arg(long, value_name = "URL", conflicts_with = "paths", value_parser = address)]
        trace: Option<Address>,
    },
    /// Write the migration that leads to what the entities say, and enter it in the list
    Diff(Box<DiffOptions>),
    /// Write the start of a new migration, and enter it in the list
    Generate {
        /// What it does, such as "add avatar to users"
        name: String,
        /// Source folder of the migration crate [default: MIGRATION_DIR]
        #[arg(short, long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
}

/// Where a server is, which is shown to nobody.
#[derive(Clone)]
pub struct Address(pub(super) String);

fn address(url: &str) -> Result<Address, String> {
    match url.starts_with("postgres") {
        true => Ok(Address(url.to_owned())),
        false => Err("it should look like postgres://user:password@host:5432/database".to_owned()),
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(***)")
    }
}

/// What a verb does to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing: it reads at most.
    None,
    Writes,
    LosesData,
}

impl MigrateCommand {
    /// Whether the schema is as the program needs it when it is done.
    pub(crate) fn makes_schema(&self) -> bool {
        matches!(self, Self::Up { number: None, .. } | Self::Fresh | Self::Refresh)
    }

    /// What it is called, and what it does to the database.
    fn effect(&self) -> (&'static str, Effect) {
        match self {
            // Whether going there loses data depends on where the database stands.
            Self::To { .. } => ("to", Effect::Writes),
            Self::Up { .. } => ("up", Effect::Writes),
            Self::Accept { .. } => ("accept", Effect::Writes),
            Self::Baseline { .. } => ("baseline", Effect::Writes),
            Self::Down { .. } => ("down", Effect::LosesData),
            Self::Fresh => ("fresh", Effect::LosesData),
            Self::Refresh => ("refresh", Effect::LosesData),
            Self::Reset { .. } => ("reset", Effect::LosesData),
            Self::Status => ("status", Effect::None),
            Self::Refusals => ("refusals", Effect::None),
            Self::Grant { .. } => ("grant", Effect::None),
            Self::Plan { .. } => ("plan", Effect::None),
            Self::Lint { .. } => ("lint", Effect::None),
            Self::Diff(_) => ("diff", Effect::None),
            Self::Generate { .. } => ("generate", Effect::None),
        }
    }

    /// The verb, if what it does loses data.
    pub(super) fn loses_data(&self) -> Option<&'static str> {
        let (verb, effect) = self.effect();
        (effect == Effect::LosesData).then_some(verb)
    }

    /// The verb, if it writes to the database.
    pub(super) fn writes(&self) -> Option<&'static str> {
        let (verb, effect) = self.effect();
        (effect != Effect::None).then_some(verb)
    }

    /// What was said against the runner's caution: to go on in spite of the lint, and to forget what cannot be undone.
    pub(super) fn overrides(&self) -> (bool, bool) {
        match self {
            Self::Up { despite_lint, .. } => (*despite_lint, false),
            Self::To { despite_lint, forget_irreversible, .. } => (*despite_lint, *forget_irreversible),
            Self::Down { forget_irreversible, .. } | Self::Reset { forget_irreversible } => {
                (false, *forget_irreversible)
            }
            _ => (false, false),
        }
    }
}
