//! What is to reach the documents: written by the transaction that it is about, and delivered after it, exactly once.
//!
//! A row says which document is to be in which collection. Triggers write one for each change of an audited table (see
//! `migration/src/convention/audited.rs`), and [`UnitOfWork::record`](crate::UnitOfWork::record) writes one for an event.
//! What is rolled back, be it to a savepoint, was never there. [`relay`] delivers it.

mod door;
mod incident;
mod recorded;
mod relay;
mod row;
mod status;
pub(crate) mod table;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sea_orm::{
    DbBackend, QueryResult,
    sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr},
};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    audit::Leads,
    context::Context,
    error::{Error, Result},
    value::Timestamp,
};

use incident::Noted;

pub use incident::Incident;
pub use recorded::Recorded;
pub(crate) use relay::Relay;
pub(crate) use row::Row;
pub use status::{Backlog, DeadLetter, Delivery};

/// How what was committed is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxPolicy {
    /// How often it is looked for what others have written, who cannot wake the relay: other processes, and SQL by hand.
    pub pause: Duration,
    /// How many rows are delivered at once.
    pub batch: u32,
    /// How often a document is offered that is refused, before it is given up.
    pub attempts: u32,
    /// How many rows may wait. Beyond that events are dropped that may be; what belongs to the audit trail never is.
    pub max_rows: u64,
    /// How long other relays leave the work to one that is at it.
    pub lease: Duration,
}

impl Default for OutboxPolicy {
    fn default() -> Self {
        Self {
            pause: Duration::from_millis(500),
            batch: 500,
            attempts: 3,
            max_rows: 1_000_000,
            lease: Duration::from_secs(5),
        }
    }
}

/// What the units of work of a store and its relay share.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Something was committed.
    pub(crate) wake: Notify,
    /// How many rows were waiting when it was last counted, and how many may.
    waiting: AtomicU64,
    max_rows: AtomicU64,
    /// Events that were dropped because too many were waiting.
    dropped: AtomicU64,
    incidents: incident::Queue,
    delivery: Mutex<Delivery>,
    /// What SQL of one's own leads to that is sensitive.
    pub(crate) leads: Leads,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            wake: Notify::new(),
            waiting: AtomicU64::new(0),
            max_rows: AtomicU64::new(u64::MAX),
            dropped: AtomicU64::new(0),
            incidents: incident::Queue::default(),
            delivery: Mutex::default(),
            leads: Leads::default(),
        }
    }
}

impl Outbox {
    /// Whether there is no room for what may be dropped; then it is counted as dropped.
    fn drops(&self) -> bool {
        let is_full = self.waiting.load(Ordering::Relaxed) >= self.max_rows.load(Ordering::Relaxed);
        if is_full && self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("too much waits to be delivered: from now on events are dropped");
        }
        is_full
    }

    /// Takes down something that went wrong.
    pub(crate) fn report(&self, id: Uuid, at: Timestamp, incident: Incident) {
        self.incidents.push(Noted { id, at, incident });
        self.wake.notify_one();
    }

    fn delivery(&self) -> MutexGuard<'_, Delivery> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the relay does at the moment.
    pub(crate) fn status(&self) -> Delivery {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let (incidents, lost_incidents) = self.incidents.counts();
        Delivery { dropped, incidents, lost_incidents, ..self.delivery().clone() }
    }
}

/// What is said at the end of a transaction on SQLite, where there is nothing that triggers could read it from: one writer
/// at a time, so that the rows which it wrote are those behind the last one before it.
#[derive(Debug)]
pub(crate) struct Said {
    number: i64,
    context: Arc<Context>,
}

impl Said {
    /// What the script gave that began the transaction; nothing where the context was said in there.
    pub(crate) fn after(backend: DbBackend, rows: &[QueryResult], context: Arc<Context>) -> Result<Option<Self>> {
        let (DbBackend::Sqlite, Some(row)) = (backend, rows.first()) else { return Ok(None) };
        let number = row.try_get("", "number");
        let number = number.map_err(|error| Error::internal("the outbox could not be read", error))?;
        Ok(Some(Self { number, context }))
    }
}

/// What commits, after the rows of the transaction were given their context.
pub(crate) fn commit(said: Option<&Said>, commit: SqlStr) -> SqlStr {
    let Some(Said { number, context }) = said else { return commit };
    let context = context.constant(DbBackend::Sqlite);
    let script = format!(
        "UPDATE outbox SET context = {context} WHERE number > {number} AND context IS NULL; {}",
        commit.as_str()
    );
    AssertSqlSafe(script).into_sql_str()
}
