//! Where the connections of a pool are when nobody has them, and what is known of the server that they lead to.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sea_orm::sqlx;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{
    breaker::Breaker,
    engine::{Connection, Said},
    fault,
    pool::Limits,
};

/// How long a connection may live, so that changes of the server and of its address arrive everywhere.
const MAX_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// The idle connections of a pool.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// Those of the pool: closed when it is.
    permits: Arc<Semaphore>,
    /// The one that was used last is at the end, and the first to be used again.
    idle: Mutex<Vec<Idle>>,
    open: watch::Sender<u32>,
    breaker: Breaker,
    silence: Duration,
    slow_statement: Duration,
    statements: Statements,
}

/// What was sent since the pool was opened.
#[derive(Debug, Default)]
struct Statements {
    answered: AtomicU64,
    failed: AtomicU64,
    micros: AtomicU64,
}

/// The statements that were sent to a database, since the store was connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatementCounts {
    /// That were answered as they should be, beginnings and ends of transactions among them.
    pub answered: u64,
    /// That were refused, or not answered.
    pub failed: u64,
    /// How long all of them took together.
    pub took: Duration,
}

impl std::ops::Add for StatementCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (answered, failed) = (self.answered + other.answered, self.failed + other.failed);
        Self { answered, failed, took: self.took + other.took }
    }
}

#[derive(Debug)]
struct Idle {
    live: Live,
    since: Instant,
}

/// An open connection, which counts as one.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) connection: Connection,
    opened: Instant,
    counted: Counted,
}

/// One of those that are open, or about to be.
#[derive(Debug)]
pub(crate) struct Counted(watch::Sender<u32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Live {
    pub(crate) fn new(connection: Connection, counted: Counted) -> Self {
        Self { connection, opened: Instant::now(), counted }
    }

    /// Says goodbye to the server; until then it counts.
    pub(crate) async fn close(self) -> Result<(), sqlx::Error> {
        let Self { connection, opened: _, counted } = self;
        let closed = connection.close().await;
        drop(counted);
        closed
    }
}

impl Shelf {
    pub(crate) fn new(permits: Arc<Semaphore>, limits: &Limits) -> Self {
        let Limits { breaker, silence, slow_statement, .. } = *limits;
        let (idle, open) = (Mutex::default(), watch::Sender::new(0));
        let (breaker, statements) = (Breaker::new("the database", breaker), Statements::default());
        Self { permits, idle, open, breaker, silence, slow_statement, statements }
    }

    /// Puts a connection here, unless the pool was closed.
    pub(crate) fn put(&self, live: Live) {
        let mut idle = self.lock();
        // Asked under the lock: whoever closes the pool takes all that is here after that.
        if !self.permits.is_closed() {
            idle.push(Idle { live, since: Instant::now() });
        }
    }

    /// Takes a connection back, if it can be used again.
    pub(crate) fn take_back(&self, live: Live, is_reusable: bool) {
        if is_reusable && live.opened.elapsed() < MAX_LIFETIME {
            self.put(live);
        }
    }

    /// The connection that was used last, and how long it has been idle.
    pub(crate) fn take(&self) -> Option<(Live, Duration)> {
        self.lock().pop().map(|Idle { live, since }| (live, since.elapsed()))
    }

    /// One that nobody has needed for a while although more than the least number are open, or that is too old.
    pub(crate) fn take_unneeded(&self, min: u32, idle_timeout: Duration) -> Option<Live> {
        let is_spare = self.open() > min;
        let mut idle = self.lock();
        let index = idle.iter().position(|Idle { live, since }| {
            is_spare && since.elapsed() >= idle_timeout || live.opened.elapsed() >= MAX_LIFETIME
        });
        index.map(|index| idle.remove(index).live)
    }

    /// Closes all that are here.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Counts a connection that is about to be opened.
    pub(crate) fn count(&self) -> Counted {
        self.open.send_modify(|open| *open += 1);
        Counted(self.open.clone())
    }

    /// How many are open, here and elsewhere.
    pub(crate) fn open(&self) -> u32 {
        *self.open.borrow()
    }

    /// How many are here.
    pub(crate) fn idle(&self) -> u32 {
        u32::try_from(self.lock().len()).unwrap_or(u32::MAX)
    }

    /// Waits until none is open any more.
    pub(crate) async fn until_empty(&self) {
        // The sender is here: there is no other end.
        self.open.subscribe().wait_for(|open| *open == 0).await.map(drop).unwrap_or_default();
    }

    pub(crate) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// After how long without an answer to a statement the server counts as gone.
    pub(crate) fn silence(&self) -> Duration {
        self.silence
    }

    /// Counts a statement, and logs it if it was slow or failed, with the request that it was for.
    pub(crate) fn note(&self, statement: &Said, failure: Option<&str>, took: Duration) {
        let Statements { answered, failed, micros } = &self.statements;
        let counter = if failure.is_none() { answered } else { failed };
        counter.fetch_add(1, Ordering::Relaxed);
        micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(0), Ordering::Relaxed);
        let elapsed_ms = took.as_micros() as f64 / 1_000.0;
        if took >= self.slow_statement {
            tracing::warn!(%statement, elapsed_ms, failure, "a statement was slow");
        } else if let Some(failure) = failure {
            tracing::debug!(%statement, elapsed_ms, failure, "a statement failed");
        }
    }

    /// The statements that were counted.
    pub(crate) fn statements(&self) -> StatementCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Statements { answered, failed, micros } = &self.statements;
        StatementCounts { answered: read(answered), failed: read(failed), took: Duration::from_micros(read(micros)) }
    }

    /// Nothing was heard on a connection in time.
    pub(crate) fn silent(&self) {
        self.clear();
        self.breaker.failed();
    }

    /// A statement ended with an error.
    pub(crate) fn failed(&self, error: &sqlx::Error) {
        if fault::is_lost(error) {
            // Those that were idle meanwhile are no better. Whether the server is there, the next attempt to connect will
            // tell: all connections break at once when it is only restarted.
            self.clear();
        } else if fault::is_timeout(error) {
            self.breaker.failed();
        } else {
            self.breaker.succeeded();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
