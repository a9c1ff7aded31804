//! `outbox`: what waits to be delivered to the documents, and what was given up.

use std::fmt;

use domain::{Backlog, DeadLetter, Store};
use sea_orm_migration::sea_orm::prelude::Uuid;
use serde::Serialize;

use super::{
    CommandError,
    migrate::{Consent, name_of},
};
use crate::{config::Config, wiring};

/// How many of what was given up are listed.
const MOST: u64 = 100;

/// The verbs.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub enum OutboxCommand {
    /// Count what waits, and list what was given up
    Status,
    /// Let what was given up be delivered after all
    Retry {
        /// Only this one
        id: Option<Uuid>,
    },
    /// Drop what was given up; what belongs to the audit trail stays
    Drop {
        /// Only this one
        id: Option<Uuid>,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// What is there.
    Status {
        /// How much.
        #[serde(flatten)]
        backlog: Backlog,
        /// What was given up, the oldest first.
        dead_letters: Vec<DeadLetter>,
    },
    /// How many documents will be offered again.
    Retried { retried: u64 },
    /// How many are gone.
    Dropped { dropped: u64 },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { backlog: Backlog { rows, oldest, dead }, dead_letters } => {
                match oldest {
                    Some(oldest) => write!(f, "{rows} wait, the oldest since {oldest}")?,
                    None => write!(f, "nothing waits")?,
                }
                writeln!(f, "; {dead} were given up")?;
                for DeadLetter { id, collection, entity, reason, dead_at } in dead_letters {
                    writeln!(f, "{id}  {dead_at}  {collection}  {entity}  {reason}")?;
                }
                Ok(())
            }
            Self::Retried { retried } => write!(f, "{retried} will be delivered by the service"),
            Self::Dropped { dropped } => write!(f, "{dropped} dropped"),
        }
    }
}

/// Looks at the outbox, or changes what was given up.
///
/// # Errors
/// If the database cannot be reached, or something is to be dropped and too little was said.
pub async fn run(command: OutboxCommand, consent: &Consent<'_>, config: &Config) -> Result<Outcome, CommandError> {
    if let OutboxCommand::Drop { .. } = command {
        consent.permit("outbox drop", &name_of(config.database.url.reveal())?)?;
    }
    let store = wiring::store(config).await?;
    let outcome = act(command, &store).await;
    store.close().await;
    Ok(outcome?)
}

async fn act(command: OutboxCommand, store: &Store) -> domain::Result<Outcome> {
    Ok(match command {
        OutboxCommand::Status => {
            Outcome::Status { backlog: store.backlog().await?, dead_letters: store.dead_letters(MOST).await? }
        }
        OutboxCommand::Retry { id } => Outcome::Retried { retried: store.retry_dead_letters(id).await? },
        OutboxCommand::Drop { id } => Outcome::Dropped { dropped: store.drop_dead_letters(id).await? },
    })
}
