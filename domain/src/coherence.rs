//! What keeps the cache from ever being behind what was acknowledged.
//!
//! The protocol is told in [`port::cache`](crate::Cache). Its other half is in the database: triggers write into
//! `cache_outbox`, in the transaction of every change, what has changed. A writer reads that with its commit and
//! invalidates before it acknowledges; a relay in every process finds what a writer that died, or another program, left,
//! and only then lets the cache testify that it is fresh for another while.

mod counts;
mod flight;
mod outbox;
mod relay;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sea_orm::{DbBackend, EntityName, QueryResult, sqlx::SqlStr};
use tokio::{sync::Notify, time::Instant};
use uuid::Uuid;

pub use self::counts::CacheCounts;
use self::{
    counts::{Counters, Counts, add},
    flight::Flights,
    outbox::Told,
};
use crate::{
    changes::Hub,
    connection::Connections,
    deadline::uncancelled,
    error::Result,
    pool::Pool,
    port::cache::{Cache, CacheError, Fill, Key, LookUp, Slot},
    record::{Caching, Record},
    wire,
};

/// How the cache is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePolicy {
    /// Whether reads ask it. Where they do not, writes are still told to it, for others that do.
    pub is_read: bool,
    /// Whatever happens, nothing is served that was not current within this time. When the cache cannot be told of a
    /// change, its writer waits as long; so it is also how much slower writes are then.
    pub freshness: Duration,
    /// How long an entry is kept whose record does not say otherwise.
    pub life: Duration,
    /// What a writer does that cannot tell the cache.
    pub on_unreachable: OnUnreachable,
}

/// What a writer does that has committed and cannot tell the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnreachable {
    /// Acknowledges when whatever the cache may still serve has run out: after [`CachePolicy::freshness`].
    Wait,
    /// Acknowledges at once: until then others may still read what was there before.
    Acknowledge,
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self {
            is_read: true,
            freshness: Duration::from_secs(1),
            life: Duration::from_secs(300),
            on_unreachable: OnUnreachable::Wait,
        }
    }
}

/// The state of the cache at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheStatus {
    /// Whether it answers.
    pub is_fresh: bool,
    /// How long ago this process last saw it to be fresh; none if it never did.
    pub lease_age: Option<Duration>,
    /// Writes that were acknowledged later, because the cache could not be told.
    pub waited: u64,
    /// Writes that were acknowledged although the cache could not be told.
    pub untold: u64,
    /// What it did for the records of each table.
    pub tables: BTreeMap<String, CacheCounts>,
}

/// The longest that a reader waits for what another process is loading; it then loads for itself.
const PATIENCE: [u64; 6] = [1, 2, 4, 8, 16, 32];
/// How much longer than the freshness a writer waits: clocks tick in milliseconds.
const TICK: Duration = Duration::from_millis(5);
/// How often a writer that waits tries again.
const AGAIN: Duration = Duration::from_millis(100);
/// How many records are read again that one transaction wrote.
const REFILLED: usize = 100;

/// Reads a record of one table through the cache.
pub(crate) type Refill = Box<dyn Fn(Uuid) -> BoxFuture<'static, ()> + Send + Sync>;

/// A store's cache, and what it takes to keep it fresh.
pub struct Coherence {
    cache: Arc<dyn Cache>,
    policy: CachePolicy,
    backend: DbBackend,
    /// A connection for the relay alone, which must not wait until those who wait for it are done.
    reader: Pool,
    /// The tables whose changes the database tells. Nothing else is cached.
    tables: HashSet<String>,
    flights: Flights,
    counts: Counts,
    /// How to read again what was written, by table.
    refills: RwLock<HashMap<&'static str, Refill>>,
    /// Who else is told, once the cache knows.
    hub: Arc<Hub>,
    /// How far the outbox has been read, where ids tell.
    cursor: AtomicI64,
    /// What writers have invalidated themselves, to be deleted from the outbox; by the history of the database.
    applied: Mutex<BTreeMap<String, Vec<i64>>>,
    /// Wakes the relay: somebody found the lease run out.
    stale: Notify,
    /// None until it is known.
    is_fresh: Mutex<Option<bool>>,
    renewed: Mutex<Option<Instant>>,
    waited: AtomicU64,
    untold: AtomicU64,
}

/// What is looked up: a slot of the cache, and to whom it counts.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub(crate) table: &'static str,
    pub(crate) slot: Slot,
    pub(crate) life: Duration,
    /// What values have to look like to be understood.
    pub(crate) shape: u64,
}

/// What came of a look-up.
enum Looked {
    Hit(Bytes),
    Miss,
    /// What is kept is of another version of the program, and stays: that one still needs it.
    Foreign,
    Bypass,
}

impl Coherence {
    /// Puts a cache before the database, and starts its relay, which ends with it.
    pub(crate) async fn begin(
        cache: Arc<dyn Cache>,
        policy: CachePolicy,
        connections: &Connections,
        hub: Arc<Hub>,
    ) -> Result<Arc<Self>> {
        let tables = outbox::tables(&connections.reader).await?;
        let coherence = Arc::new(Self {
            cache,
            policy,
            backend: connections.backend(),
            reader: if tables.is_empty() { connections.reader.clone() } else { connections.reader.set_aside().await? },
            tables,
            flights: Flights::default(),
            counts: Counts::default(),
            refills: RwLock::default(),
            hub,
            cursor: AtomicI64::new(0),
            applied: Mutex::default(),
            stale: Notify::new(),
            is_fresh: Mutex::default(),
            renewed: Mutex::default(),
            waited: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        });
        if !coherence.tables.is_empty() {
            relay::start(&coherence, connections).await;
        }
        Ok(coherence)
    }

    /// Whether records of this noun are cached, as far as these tables say what they are.
    pub(crate) fn caches<R: Record>(&self, also: Option<&str>) -> bool {
        let is_told = |table: &str| self.tables.contains(table);
        self.policy.is_read
            && R::CACHED != Caching::Never
            && is_told(R::Entity::default().table_name())
            && also.is_none_or(is_told)
    }

    /// Whether changes of this table are told.
    pub(crate) fn tells(&self, table: &str) -> bool {
        self.tables.contains(table)
    }

    /// What to look up for records of this noun: under a key of theirs, and as long as another one lasts.
    pub(crate) fn wanted<R: Record>(&self, key: Key, stamp: Option<Key>) -> Wanted {
        let (life, sliding) = match R::CACHED {
            Caching::For(life) | Caching::Refilled(life) => (life, None),
            Caching::Sliding(life) => (life, Some(life)),
            Caching::Usual | Caching::Never => (self.policy.life, None),
        };
        let table = R::Entity::default().table_name();
        Wanted { table, slot: Slot { key, stamp, sliding }, life, shape: wire::shape::<R>() }
    }

    /// The value of a slot: the one that is kept, or else what `load` reads, which is then kept. It is not called for
    /// what is kept.
    pub(crate) async fn through<F, Fut>(self: &Arc<Self>, wanted: Wanted, load: F) -> Result<Bytes>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes>> + Send + 'static,
    {
        let counters = self.counts.of(wanted.table);
        let looked = self.look_up_one(&wanted).await;
        let counter = match &looked {
            Looked::Hit(_) => &counters.hits,
            Looked::Miss | Looked::Foreign => &counters.misses,
            Looked::Bypass => &counters.bypasses,
        };
        add(counter, 1);
        let can_fill = match looked {
            Looked::Hit(value) => return Ok(value),
            Looked::Miss => true,
            Looked::Foreign | Looked::Bypass => false,
        };
        let (coherence, loading) = (Arc::clone(self), load());
        let load = move |waited| async move {
            if !can_fill {
                return loading.await;
            }
            if waited && let Looked::Hit(value) = coherence.look_up_one(&wanted).await {
                return Ok(value);
            }
            coherence.load(wanted, &counters, loading).await
        };
        // In a task of its own: when the one who began it goes away, it is still what the others wait for, and the token
        // that it holds is used.
        Box::pin(self.flights.join(wanted.slot.key, |waited| uncancelled(load(waited)))).await
    }

    /// The values of several slots, looked up together. `load` reads those that are not kept, given by their places.
    pub(crate) async fn through_all<F, Fut>(&self, wanted: &[Wanted], load: F) -> Result<Vec<Bytes>>
    where
        F: FnOnce(Vec<usize>) -> Fut,
        Fut: Future<Output = Result<Vec<Bytes>>>,
    {
        let slots = wanted.iter().map(|wanted| wanted.slot).collect::<Vec<_>>();
        let kept = self.look_up(&slots).await;
        let can_fill = kept.is_some();
        let mut values = kept.unwrap_or_else(|| vec![None; slots.len()]);
        for (wanted, value) in wanted.iter().zip(&mut values) {
            value.take_if(|value| !wire::has_shape(value, wanted.shape));
            let counters = self.counts.of(wanted.table);
            let counter = match (can_fill, &value) {
                (false, _) => &counters.bypasses,
                (true, Some(_)) => &counters.hits,
                (true, None) => &counters.misses,
            };
            add(counter, 1);
        }
        let missing = values.iter().enumerate().filter(|(_, value)| value.is_none()).map(|(place, _)| place);
        let missing = missing.collect::<Vec<_>>();
        if missing.is_empty() {
            return Ok(values.into_iter().flatten().collect());
        }
        let tokens = if can_fill {
            let slots = missing.iter().map(|place| slots[*place]).collect::<Vec<_>>();
            self.cache.acquire(&slots).await.unwrap_or_default()
        } else {
            Vec::new()
        };
        let loaded = load(missing.clone()).await?;
        let (mut fills, mut of) = (Vec::new(), Vec::new());
        for (nth, (place, value)) in missing.iter().zip(loaded).enumerate() {
            let Wanted { slot, life, table, .. } = wanted[*place];
            match tokens.get(nth).copied().flatten() {
                Some(token) => {
                    fills.push(Fill { slot, token, value: value.clone(), life: jittered(life, slot.key) });
                    of.push(table);
                }
                None if can_fill => add(&self.counts.of(table).refused_fills, 1),
                None => {}
            }
            values[*place] = Some(value);
        }
        let kept = if fills.is_empty() { 0 } else { self.cache.fill(fills).await.unwrap_or(0) };
        // Which of them were refused is not told; nearly always none is.
        for (nth, table) in of.into_iter().enumerate() {
            let counters = self.counts.of(table);
            add(if nth < kept { &counters.fills } else { &counters.refused_fills }, 1);
        }
        Ok(values.into_iter().flatten().collect())
    }

    async fn look_up_one(&self, wanted: &Wanted) -> Looked {
        match self.look_up(std::slice::from_ref(&wanted.slot)).await.map(|values| values.into_iter().next().flatten()) {
            Some(Some(value)) if wire::has_shape(&value, wanted.shape) => Looked::Hit(value),
            Some(Some(_)) => Looked::Foreign,
            Some(None) => Looked::Miss,
            None => Looked::Bypass,
        }
    }

    /// What is kept in these slots, if the cache can testify that it is fresh; if not, the relay is told.
    async fn look_up(&self, slots: &[Slot]) -> Option<Vec<Option<Bytes>>> {
        match self.cache.look_up(slots).await {
            Ok(LookUp::Fresh(values)) => Some(values),
            Ok(LookUp::Stale) | Err(_) => {
                self.stale.notify_one();
                None
            }
        }
    }

    /// Reads a value that nobody else in this process is reading, and keeps it.
    async fn load(
        &self,
        wanted: Wanted,
        counters: &Counters,
        loading: impl Future<Output = Result<Bytes>>,
    ) -> Result<Bytes> {
        let Wanted { slot, life, .. } = wanted;
        let token = self.cache.acquire(&[slot]).await.ok().and_then(|tokens| tokens.into_iter().next().flatten());
        if token.is_none() && self.cache.is_shared() {
            // Another process is loading it: what it keeps is as good as what would be read here.
            for millis in PATIENCE {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                if let Looked::Hit(value) = self.look_up_one(&wanted).await {
                    return Ok(value);
                }
            }
        }
        let value = loading.await?;
        let kept = match token {
            Some(token) => {
                let fill = Fill { slot, token, value: value.clone(), life: jittered(life, slot.key) };
                self.cache.fill(vec![fill]).await.unwrap_or(0)
            }
            None => 0,
        };
        add(&counters.fills, kept);
        add(&counters.refused_fills, 1 - kept.min(1));
        Ok(value)
    }

    /// Has records of this table read again, from now on, when they were written.
    pub(crate) fn refill_with(&self, table: &'static str, refill: impl FnOnce() -> Refill) {
        let is_known = self.refills.read().unwrap_or_else(PoisonError::into_inner).contains_key(table);
        if !is_known {
            self.refills.write().unwrap_or_else(PoisonError::into_inner).entry(table).or_insert_with(refill);
        }
    }

    /// Begins to read again what was written. Nobody waits for it, and it goes the way of every read: what it keeps is as
    /// fresh as what a reader would have kept.
    fn refill(&self, told: &Told) {
        let refills = self.refills.read().unwrap_or_else(PoisonError::into_inner);
        let there = told.versions.iter().filter(|(_, (_, is_gone))| !is_gone).map(|(row, _)| row);
        let refills = there.filter_map(|(table, id)| Some(refills.get(table.as_str())?(*id))).take(REFILLED);
        let refills = refills.collect::<Vec<_>>();
        if !refills.is_empty() {
            tokio::spawn(async move {
                for refill in refills {
                    refill.await;
                }
            });
        }
    }

    /// What commits a transaction and gives what it told.
    pub(crate) fn commit(&self) -> SqlStr {
        outbox::commit(self.backend, self.cursor.load(Ordering::Acquire))
    }

    /// Lets the cache know what a transaction told, which committed just now. Only after this may it be acknowledged.
    pub(crate) async fn committed(&self, rows: &[QueryResult]) {
        let committed = Instant::now();
        let told = Told::from_rows(rows, |_| false).unwrap_or_else(|error| {
            tracing::error!(%error, "what a transaction told cannot be read; everything is taken for changed");
            Told { everything: true, ..Told::default() }
        });
        if !told.is_empty() {
            self.tell(told, committed).await;
        }
    }

    /// Lets the cache forget what it holds under these keys, or everything, as if that had changed.
    pub(crate) async fn forget(&self, keys: Option<Vec<Key>>) {
        let everything = keys.is_none();
        let told = Told { keys: keys.into_iter().flatten().collect(), everything, ..Told::default() };
        self.tell(told, Instant::now()).await;
    }

    /// Invalidates what changed by an instant; when that is not possible, waits until nothing older can be served.
    async fn tell(&self, told: Told, committed: Instant) {
        let Err(error) = self.invalidate(&told).await else {
            self.refill(&told);
            return self.is_applied(told);
        };
        if self.policy.on_unreachable == OnUnreachable::Acknowledge {
            self.untold.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, "a write is acknowledged although the cache does not know of it yet");
            return;
        }
        self.waited.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, "a write is acknowledged later, because the cache cannot be told of it");
        // Whoever renewed the lease before the commit was seen let it run until then at the latest; whoever renews it
        // after has told the cache.
        let until = committed + self.policy.freshness + TICK;
        while Instant::now() < until {
            tokio::time::sleep_until(until.min(Instant::now() + AGAIN)).await;
            if self.invalidate(&told).await.is_ok() {
                return self.is_applied(told);
            }
        }
    }

    async fn invalidate(&self, told: &Told) -> Result<(), CacheError> {
        if told.everything {
            self.cache.invalidate_all().await?;
        } else if !told.keys.is_empty() {
            self.cache.invalidate(&told.keys.iter().copied().collect::<Vec<Key>>()).await?;
        }
        for (table, rows) in &told.rows {
            add(&self.counts.of(table).invalidations, *rows);
        }
        if let Some(announcement) = told.announcement() {
            self.hub.publish(announcement).await;
        }
        Ok(())
    }

    fn is_applied(&self, told: Told) {
        if told.ids.is_empty() {
            return;
        }
        // With ids left out, because there were too many, the relay has to look for itself.
        if self.backend == DbBackend::Sqlite && !told.everything {
            let last = told.ids.iter().copied().max().unwrap_or(0);
            self.cursor.fetch_max(last, Ordering::AcqRel);
        }
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.entry(told.timeline).or_default().extend(told.ids);
    }

    fn take_applied(&self) -> BTreeMap<String, Vec<i64>> {
        std::mem::take(&mut *self.applied.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_renewed(&self) {
        *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if self.set_fresh(true) {
            tracing::info!("the cache answers");
        }
    }

    fn set_stale(&self, why: &dyn std::fmt::Display) {
        if self.set_fresh(false) {
            tracing::warn!(%why, "the cache does not answer: everything is read from the database");
        }
    }

    /// Whether that is another state than before.
    fn set_fresh(&self, is_fresh: bool) -> bool {
        let before = self.is_fresh.lock().unwrap_or_else(PoisonError::into_inner).replace(is_fresh);
        before != Some(is_fresh)
    }

    fn is_fresh(&self) -> bool {
        *self.is_fresh.lock().unwrap_or_else(PoisonError::into_inner) == Some(true)
    }

    /// Ends the relay, and with it the cache.
    pub(crate) async fn close(&self) {
        self.reader.close().await;
    }

    pub(crate) fn status(&self) -> CacheStatus {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        CacheStatus {
            is_fresh: self.is_fresh(),
            lease_age: renewed.map(|at| at.elapsed()),
            waited: self.waited.load(Ordering::Relaxed),
            untold: self.untold.load(Ordering::Relaxed),
            tables: self.counts.all(),
        }
    }
}

/// Up to a tenth shorter, always alike for a key, so that what was filled together does not run out together.
fn jittered(life: Duration, key: Key) -> Duration {
    life.mul_f64(1.0 - f64::from(key.bytes()[0]) / 2_560.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_end_apart_and_never_late() {
        let life = Duration::from_secs(300);
        let lives =
            (0..1_000).map(|n| jittered(life, Key::of(&n.to_string()))).collect::<std::collections::BTreeSet<_>>();
        assert!(lives.len() > 200, "{}", lives.len());
        assert!(lives.iter().all(|one| (life.mul_f64(0.9)..=life).contains(one)));
    }
}
