//! What waits to be delivered, and what was given up.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use crate::value::Timestamp;

/// What is in the outbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// How many rows wait to be delivered.
    pub rows: u64,
    /// Since when the oldest of them does.
    pub oldest: Option<Timestamp>,
    /// How many were given up, and wait for somebody to look at them.
    pub dead: u64,
}

/// A document that was refused, and given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its id.
    pub id: Uuid,
    /// The collection that it is for.
    pub collection: String,
    /// What it is about.
    pub entity: String,
    /// Why it was refused.
    pub reason: String,
    /// When it was given up.
    pub dead_at: Timestamp,
}

/// What the relay of this process does.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// What was there when it last looked.
    pub backlog: Backlog,
    /// For how long the oldest of it has been waiting.
    pub lag: Option<Duration>,
    /// How many rows it has delivered.
    pub delivered: u64,
    /// When it last delivered any.
    pub last: Option<Instant>,
    /// Why it does not deliver, since when.
    pub failure: Option<(String, Instant)>,
    /// How many events were dropped because too much was waiting.
    pub dropped: u64,
    /// How many things that went wrong wait to be taken down.
    pub incidents: u64,
    /// How many of those were dropped because too many were waiting.
    pub lost_incidents: u64,
}
