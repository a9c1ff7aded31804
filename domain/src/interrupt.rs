//! What PostgreSQL's `statement_timeout` is, for SQLite: a statement is ended from within when its time is over.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sea_orm::sqlx::{self, SqliteConnection};
use tokio::time::Instant;

/// After how many of its instructions SQLite asks; about every 100 microseconds.
const INSTRUCTIONS: i32 = 5_000;

/// When the statement that runs on a connection has to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    origin: Instant,
    /// In microseconds after the origin.
    at: Arc<AtomicU64>,
}

impl Interrupt {
    /// Makes a connection's statements end in time.
    pub(crate) async fn install(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let interrupt = Self { origin: Instant::now(), at: Arc::new(AtomicU64::new(u64::MAX)) };
        let (origin, at) = (interrupt.origin, Arc::clone(&interrupt.at));
        let goes_on = move || u128::from(at.load(Ordering::Relaxed)) > origin.elapsed().as_micros();
        connection.lock_handle().await?.set_progress_handler(INSTRUCTIONS, goes_on);
        Ok(interrupt)
    }

    /// From now on statements end at that time.
    pub(crate) fn at(&self, until: Instant) {
        let micros = until.saturating_duration_since(self.origin).as_micros();
        self.at.store(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Ends what is running.
    pub(crate) fn now(&self) {
        self.at.store(0, Ordering::Relaxed);
    }
}
