//! The relay: applies what was committed and has not been told to the cache, and then lets the lease run on.
//!
//! There is one in every process, and no leader: every step may be done twice. It asks the database only when less than
//! half of the lease is left, so that with a shared cache one of many relays does it.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use sea_orm::DbBackend;
use tokio::time::{Instant, timeout};

use super::{
    Coherence,
    outbox::{self, Applied, Batch},
};
use crate::{
    connection::Connections,
    error::{Error, Result},
    pool::Pool,
    port::cache::CacheError,
    session::Session,
};

/// Where each process keeps copies of its own, each has to see what was told: it is deleted only so many times the
/// freshness after it was first seen.
const KEPT: u32 = 10;
/// And a process that did not look for so many times the freshness may have missed something.
const MISSED: u32 = 5;

struct Relay {
    writer: Pool,
    /// How far the outbox has been read, where transactions tell.
    cursor: i64,
    looked: Instant,
    /// What has been applied and is still in the outbox: since when, and in which history of the database.
    applied: VecDeque<(Instant, String, Applied)>,
    /// The rows among them.
    seen: HashSet<i64>,
    timeline: String,
}

/// Why the lease was not renewed.
enum Failure {
    Cache(CacheError),
    Database(Error),
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache(error) => error.fmt(f),
            Self::Database(error) => error.fmt(f),
        }
    }
}

/// Starts the relay of a cache. It ends when nobody has the cache any more, or the store is closed.
pub(super) async fn start(coherence: &Arc<Coherence>, connections: &Connections) {
    let mut relay = Relay {
        writer: connections.writer.clone(),
        cursor: 0,
        looked: Instant::now(),
        applied: VecDeque::new(),
        seen: HashSet::new(),
        timeline: String::new(),
    };
    // So that the first reads are kept already.
    relay.round(coherence).await;
    tokio::spawn(relay.run(Arc::downgrade(coherence), coherence.policy.freshness / 4));
}

impl Relay {
    async fn run(mut self, coherence: Weak<Coherence>, pause: Duration) {
        loop {
            let Some(present) = coherence.upgrade() else { break };
            // A reader that finds the lease run out does not wait for the next round.
            let woken = timeout(pause, present.stale.notified()).await;
            if present.reader.is_closed() {
                break;
            }
            if woken.is_ok() && !present.is_fresh() {
                // It is known, and tried at each round: many readers must not make many attempts.
                tokio::time::sleep(pause / 4).await;
            }
            self.round(&present).await;
        }
    }

    async fn round(&mut self, coherence: &Coherence) {
        // Its own limits end each step; this one ends what has none, so that the next round can try anew.
        match timeout(coherence.policy.freshness, self.relay(coherence)).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => coherence.set_stale(&failure),
            Err(_) => coherence.set_stale(&"it could not be kept fresh in time"),
        }
    }

    /// Observe, read what was told, invalidate, renew, delete: in this order.
    async fn relay(&mut self, coherence: &Coherence) -> Result<(), Failure> {
        let Coherence { cache, policy, .. } = coherence;
        let observed = cache.observe().await?;
        if observed.left > policy.freshness / 2 {
            coherence.set_renewed();
            self.tidy(coherence).await;
            return Ok(());
        }
        let is_sqlite = coherence.backend == DbBackend::Sqlite;
        let cursor = match (cache.is_shared(), is_sqlite) {
            // What is still there was not applied by anybody.
            (true, _) => 0,
            (false, true) => coherence.cursor.load(Ordering::Acquire),
            (false, false) => self.cursor,
        };
        let began = Instant::now();
        self.take_applied(coherence);
        let Batch { mut told, cursor } =
            outbox::read_after(&coherence.reader, cursor, |id| self.seen.contains(&id)).await?;
        if told.timeline != self.timeline {
            // What is known is of another history. Renewing forgets everything, which covers what this batch left out.
            self.seen.clear();
            self.timeline.clone_from(&told.timeline);
        }
        told.everything |= !cache.is_shared() && began.duration_since(self.looked) > policy.freshness * MISSED;
        coherence.invalidate(&told).await?;
        self.looked = began;
        self.cursor = cursor;
        if is_sqlite {
            coherence.cursor.fetch_max(cursor, Ordering::AcqRel);
        }
        cache.renew(&observed, &told.timeline, policy.freshness).await?;
        coherence.set_renewed();
        if told.everything {
            self.applied.push_back((began, told.timeline.clone(), Applied::Before(cursor)));
        }
        self.add_applied(told.timeline, told.ids);
        self.tidy(coherence).await;
        Ok(())
    }

    /// Deletes what nobody needs any more, if that can be done at once: there is another round.
    async fn tidy(&mut self, coherence: &Coherence) {
        self.take_applied(coherence);
        let keep = if coherence.cache.is_shared() { Duration::ZERO } else { coherence.policy.freshness * KEPT };
        if self.applied.front().is_none_or(|(since, ..)| since.elapsed() < keep) {
            return;
        }
        let deleted = match timeout(coherence.policy.freshness / 8, self.writer.acquire()).await {
            Ok(Ok(session)) => self.delete(&session, keep).await,
            Ok(Err(error)) => Err(error),
            Err(_) => return,
        };
        if let Err(error) = deleted {
            tracing::debug!(%error, "rows of cache_outbox that nobody needs are still there");
        }
    }

    /// What writers have applied themselves.
    fn take_applied(&mut self, coherence: &Coherence) {
        for (timeline, ids) in coherence.take_applied() {
            self.add_applied(timeline, ids);
        }
    }

    fn add_applied(&mut self, timeline: String, mut ids: Vec<i64>) {
        if timeline == self.timeline {
            ids.retain(|id| self.seen.insert(*id));
        }
        if !ids.is_empty() {
            self.applied.push_back((Instant::now(), timeline, Applied::Rows(ids)));
        }
    }

    /// Deletes what has been applied, when no other process needs it.
    async fn delete(&mut self, session: &Session, keep: Duration) -> Result<()> {
        while let Some((since, timeline, applied)) = self.applied.front() {
            if since.elapsed() < keep {
                break;
            }
            outbox::delete(session, applied, timeline).await?;
            if let Applied::Rows(ids) = applied {
                ids.iter().for_each(|id| _ = self.seen.remove(id));
            }
            self.applied.pop_front();
        }
        Ok(())
    }
}
