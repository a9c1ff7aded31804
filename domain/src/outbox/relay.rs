//! The relay: delivers what was committed to the documents.
//!
//! There is one in every process. Each round reads the first rows that are there, seals those of the audit trail, delivers
//! all, and then deletes them: in this order, so that whoever dies in between leaves what the next one delivers again. That
//! changes nothing, because a document is known by the id of its row. Only one relay is at work at a time, by a lease; two
//! at once, as when one stood still for longer than that, do no harm.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use rand::RngExt;
use sea_orm::sqlx::SqlStr;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{
    Outbox, OutboxPolicy,
    incident::Noted,
    row::{LOGS, Row},
    table,
};
use crate::{
    connection::Connections,
    document::{Collection, Document, belongings},
    error::{Error, Result},
    fault,
    pool::Pool,
    port::documents::{Documents, DocumentsError, Taken},
    session::Session,
    transaction::WriteOptions,
};

/// How long to wait after a commit for others, which are delivered together with it.
const GATHER: Duration = Duration::from_millis(10);
/// The longest pause after failures.
const MOST_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is counted what waits.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How long a round may take: a relay must not wait for ever for what has no limit of its own.
const ROUND: Duration = Duration::from_secs(60);
/// How long the sealing may take, which is a transaction.
const SEALING: Duration = Duration::from_secs(10);

/// Delivers what was committed.
pub(crate) struct Relay {
    connections: Connections,
    documents: Arc<dyn Documents>,
    collections: HashMap<String, Collection>,
    policy: OutboxPolicy,
    /// Whose the lease is.
    name: String,
    outbox: Arc<Outbox>,
    /// One round at a time.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Documents that were refused, and when they are offered again.
    held: HashMap<Uuid, Instant>,
    /// When it is to be counted again what waits.
    next_count: Option<Instant>,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// There was nothing to deliver, or only what has to wait.
    Idle,
    /// Another relay is at work.
    Elsewhere,
    /// There may be more.
    Delivered,
}

/// Why nothing was delivered.
#[derive(Debug)]
enum Failure {
    Database(Error),
    Documents(DocumentsError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<DocumentsError> for Failure {
    fn from(error: DocumentsError) -> Self {
        Self::Documents(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => error.fmt(f),
            Self::Documents(error) => write!(f, "documents: {error}"),
        }
    }
}

impl Relay {
    /// Starts a relay. It ends when nobody has it any more, or the store is closed.
    pub(crate) fn start(
        connections: &Connections,
        outbox: &Arc<Outbox>,
        documents: Arc<dyn Documents>,
        collections: Vec<Collection>,
        policy: OutboxPolicy,
    ) -> Arc<Self> {
        outbox.max_rows.store(policy.max_rows, Ordering::Relaxed);
        let collections = collections.into_iter().map(|collection| (collection.name().to_owned(), collection));
        let relay = Arc::new(Self {
            connections: connections.clone(),
            documents,
            collections: collections.collect(),
            policy,
            name: format!("{:016x}", rand::rng().random::<u64>()),
            outbox: Arc::clone(outbox),
            state: Mutex::default(),
        });
        tokio::spawn(run(Arc::downgrade(&relay), Arc::clone(outbox), policy.pause));
        relay
    }

    /// Delivers until nothing is left, another relay is at work, or something fails, and lets the next one begin at once.
    pub(crate) async fn flush(&self, limit: Duration) {
        if timeout(limit, self.deliver_all()).await.is_err() {
            tracing::warn!("not all that was committed was delivered in time: the next process will");
        }
        let ended = timeout(limit, table::end_lease(&self.connections.writer, &self.name)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::debug!("the lease of the relay was not ended: it runs out");
        }
    }

    /// Whether it was not stopped by a failure.
    async fn deliver_all(&self) -> bool {
        let mut state = self.state.lock().await;
        loop {
            // Its own limits end each step; this one ends what has none.
            let round = match timeout(ROUND, self.round(&mut state)).await {
                Ok(round) => round,
                Err(_) => Err(Failure::Documents(DocumentsError::Timeout)),
            };
            let is_done = match &round {
                Ok(round) => {
                    self.recovered();
                    *round != Round::Delivered
                }
                Err(failure) => {
                    self.failed(failure);
                    true
                }
            };
            self.count(&mut state).await;
            if is_done {
                return round.is_ok();
            }
        }
    }

    fn recovered(&self) {
        if self.outbox.delivery().failure.take().is_some() {
            tracing::info!("what was committed is delivered again");
        }
    }

    fn failed(&self, failure: &Failure) {
        let mut delivery = self.outbox.delivery();
        let since = delivery.failure.as_ref().map(|(_, since)| *since);
        if since.is_none() && !self.connections.writer.is_closed() {
            tracing::warn!(%failure, "what was committed cannot be delivered now: it waits");
        }
        delivery.failure = Some((failure.to_string(), since.unwrap_or_else(Instant::now)));
    }

    async fn count(&self, state: &mut State) {
        let began = Instant::now();
        if state.next_count.is_some_and(|at| at > began) {
            return;
        }
        if let Ok(backlog) = table::backlog(&self.connections.reader, self.policy.max_rows.saturating_add(1)).await {
            self.outbox.waiting.store(backlog.rows, Ordering::Relaxed);
            self.outbox.delivery().backlog = backlog;
        }
        // Of many rows the count takes long: then it is rare.
        state.next_count = Some(began + COUNT_EVERY + began.elapsed() * 20);
    }

    async fn round(&self, state: &mut State) -> Result<Round, Failure> {
        self.take_down().await?;
        if table::is_empty(&self.connections.reader).await? {
            return Ok(Round::Idle);
        }
        let Some(rows) = self.seal(state).await? else { return Ok(Round::Elsewhere) };
        if rows.is_empty() {
            return Ok(Round::Idle);
        }
        let outcomes = self.deliver(&rows).await?;
        self.settle(&rows, outcomes, state).await?;
        Ok(Round::Delivered)
    }

    /// Writes down what went wrong: in the outbox, or else where it belongs.
    async fn take_down(&self) -> Result<(), Failure> {
        loop {
            let incidents = self.outbox.incidents.first(usize::try_from(self.policy.batch).unwrap_or(usize::MAX));
            if incidents.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.in_transaction(async |session| table::insert(session, &incidents).await).await {
                // Should it be there all the same, it is known by its id.
                let documents = incidents.iter().map(Noted::document).collect::<Result<_>>()?;
                if let Err(failure) = self.documents.insert(&self.collection(LOGS), documents).await {
                    tracing::debug!(%failure, "what went wrong cannot be taken down now");
                    return Err(error.into());
                }
            }
            self.outbox.incidents.taken_down(incidents.len());
        }
    }

    /// The first rows that wait, those of the audit trail with their places in it; none if another relay is at work.
    async fn seal(&self, state: &mut State) -> Result<Option<Vec<Row>>> {
        let now = Instant::now();
        let held = state.held.iter().filter(|(_, until)| **until > now).map(|(id, _)| *id).collect::<HashSet<_>>();
        let limit = u64::from(self.policy.batch) + held.len() as u64;
        let rows = self.in_transaction(async |session| {
            let head = table::take_lease(session, &self.name, self.policy.lease).await?;
            let Some(mut head) = head else { return Ok(None) };
            let mut rows = table::first(session, limit).await?;
            let mut sealed = Vec::new();
            for (n, row) in rows.iter_mut().enumerate() {
                // What cannot be an entry is refused when it is delivered.
                if row.wants_seal() && row.is_change() && head.seal(row).is_ok() {
                    sealed.push(n);
                }
            }
            if !sealed.is_empty() {
                let sealed = sealed.into_iter().map(|n| &rows[n]).collect::<Vec<_>>();
                table::seal_all(session, &sealed, &head).await?;
            }
            Ok(Some(rows))
        });
        let Some(mut rows) = rows.await? else { return Ok(None) };
        // What is about the same as a document that is held comes after it.
        let mut behind = HashSet::new();
        rows.retain(|row| {
            let waits = held.contains(&row.id) || behind.contains(&row.entity);
            if waits {
                behind.insert(row.entity.clone());
            }
            !waits
        });
        Ok(Some(rows))
    }

    /// Offers the documents of all rows; for each row why one of them was refused, if it was.
    async fn deliver(&self, rows: &[Row]) -> Result<Vec<Option<String>>, DocumentsError> {
        let mut refused = vec![None; rows.len()];
        let mut by_collection = BTreeMap::<&str, (Vec<usize>, Vec<Document>)>::new();
        for (n, row) in rows.iter().enumerate() {
            match row.documents() {
                Ok(documents) => {
                    for (collection, document) in documents {
                        let (of, documents) = by_collection.entry(collection).or_default();
                        of.push(n);
                        documents.push(document);
                    }
                }
                Err(why) => refused[n] = Some(why),
            }
        }
        for (name, (of, documents)) in by_collection {
            let outcomes = self.documents.insert(&self.collection(name), documents).await?;
            for (n, outcome) in of.into_iter().zip(outcomes) {
                match outcome {
                    // It was delivered before, by somebody who did not come to delete it.
                    Ok(()) | Err(DocumentsError::Duplicate(Taken::Id)) => {}
                    Err(error) if error.is_passing() => return Err(error),
                    Err(error) => refused[n] = Some(format!("{name}: {error}")),
                }
            }
        }
        self.delete_belongings(rows).await?;
        Ok(refused)
    }

    /// Deletes the documents that belonged to records which are gone. Again, it finds none.
    async fn delete_belongings(&self, rows: &[Row]) -> Result<(), DocumentsError> {
        let deleted = rows.iter().filter_map(Row::deleted).collect::<Vec<_>>();
        if deleted.is_empty() {
            return Ok(());
        }
        for belonging in belongings() {
            let gone =
                deleted.iter().filter(|(table, _)| *table == belonging.table).map(|(_, id)| *id).collect::<Vec<_>>();
            if !gone.is_empty() {
                self.documents.delete(belonging.collection, &belonging.of(gone)).await?;
            }
        }
        Ok(())
    }

    fn collection(&self, name: &str) -> Collection {
        self.collections.get(name).cloned().unwrap_or_else(|| Collection::untyped(name.to_owned()))
    }

    /// After it was delivered, and never before: deletes it, or writes down why it was refused.
    async fn settle(&self, rows: &[Row], outcomes: Vec<Option<String>>, state: &mut State) -> Result<()> {
        let outcomes = rows.iter().zip(outcomes);
        let (mut delivered, mut refused) = (Vec::new(), Vec::new());
        for (row, outcome) in outcomes {
            match outcome {
                None => delivered.push(row),
                Some(reason) => refused.push((row, reason)),
            }
        }
        table::remove(&self.connections.writer, &delivered).await?;
        for row in &delivered {
            state.held.remove(&row.id);
        }
        for (row, reason) in refused {
            let attempts = row.attempts + 1;
            let is_dead = attempts >= i64::from(self.policy.attempts);
            table::refuse(&self.connections.writer, row, &reason, is_dead).await?;
            if is_dead {
                state.held.remove(&row.id);
                tracing::error!(id = %row.id, row.collection, row.entity, reason, "a document was refused and is given up");
            } else {
                let pause = self.policy.pause * u32::try_from(attempts).unwrap_or(u32::MAX);
                state.held.insert(row.id, Instant::now() + pause);
            }
        }
        let mut delivery = self.outbox.delivery();
        delivery.delivered += delivered.len() as u64;
        if !delivered.is_empty() {
            delivery.last = Some(Instant::now());
        }
        Ok(())
    }

    /// Does something in a transaction of its own.
    async fn in_transaction<T>(&self, doing: impl AsyncFnOnce(&Session) -> Result<T>) -> Result<T> {
        let Connections { writer, settings, .. } = &self.connections;
        let session = Pool::acquire(writer).await?;
        let begin = WriteOptions::default().begin(writer.backend(), settings.as_deref(), None);
        session.begin(begin, Instant::now() + SEALING).await.map_err(fault::unavailable)?;
        match doing(&session).await {
            Ok(value) => session.commit(SqlStr::from_static("COMMIT")).await.map(|_| value),
            Err(error) => {
                // The connection is closed if that fails, which undoes it too.
                session.rollback().await.ok();
                Err(error)
            }
        }
    }
}

async fn run(relay: Weak<Relay>, outbox: Arc<Outbox>, pause: Duration) {
    let mut failures = 0;
    loop {
        if failures == 0 {
            if timeout(pause, outbox.wake.notified()).await.is_ok() {
                tokio::time::sleep(GATHER).await;
            }
        } else {
            // However much is committed meanwhile: what does not answer is not asked more often.
            let patience = pause.saturating_mul(1 << (failures - 1).min(8)).min(MOST_PATIENCE);
            let chance = rand::rng().random::<f64>();
            tokio::time::sleep(patience.mul_f64(0.5 + chance / 2.0)).await;
        }
        let Some(relay) = relay.upgrade() else { break };
        if relay.connections.writer.is_closed() {
            break;
        }
        failures = if relay.deliver_all().await { 0 } else { failures + 1 };
    }
}
