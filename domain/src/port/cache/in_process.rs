//! The cache that needs no service: copies in the memory of this process.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::{Cache, CacheError, Fill, Key, LookUp, Observation, Slot, TOKEN_LIFE, Token};

/// What an entry costs beside its value: the key, its bookkeeping and its place in the map, roughly.
const OVERHEAD_BYTES: usize = 200;
/// What an entry weighs as a rule, for the plan of how many there will be.
const TYPICAL_BYTES: u64 = 1_024;
/// How many tokens are looked through before dead ones are thrown away.
const MANY_TOKENS: usize = 10_000;
/// The memory of a process is never another one.
const RUN: &str = "in process";

/// Keeps copies in memory, up to a number of bytes; what is used often stays longest (S3-FIFO, by `quick_cache`).
pub struct InProcessCache {
    values: quick_cache::sync::Cache<Key, Value, Weigher>,
    state: RwLock<State>,
    /// All other instants are told in milliseconds since this one.
    began: Instant,
    /// Until when the lease runs. Beside the state, because every hit asks for it.
    lease_ms: AtomicU64,
    /// Values of another epoch are forgotten.
    epoch: AtomicU64,
    last_id: AtomicU64,
}

/// What invalidating has to change at one moment, beside the values.
#[derive(Default)]
struct State {
    tokens: HashMap<Key, (u128, Instant)>,
    stamps: HashMap<Key, u128>,
    timeline: String,
}

#[derive(Clone)]
struct Value {
    epoch: u64,
    stamp: u128,
    bytes: Bytes,
    expires_ms: std::sync::Arc<AtomicU64>,
}

/// Tells what entries cost, in bytes.
#[derive(Clone)]
struct Weigher;

impl quick_cache::Weighter<Key, Value> for Weigher {
    fn weight(&self, _: &Key, value: &Value) -> u64 {
        u64::try_from(value.bytes.len() + OVERHEAD_BYTES).unwrap_or(u64::MAX)
    }
}

impl InProcessCache {
    /// An empty cache that keeps at most so many bytes.
    pub fn new(max_bytes: u64) -> Self {
        let entries = usize::try_from(max_bytes / TYPICAL_BYTES).unwrap_or(usize::MAX);
        Self {
            values: quick_cache::sync::Cache::with_weighter(entries, max_bytes, Weigher),
            state: RwLock::default(),
            began: Instant::now(),
            lease_ms: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            last_id: AtomicU64::new(0),
        }
    }

    /// How many bytes are in use, about.
    pub fn bytes(&self) -> u64 {
        self.values.weight()
    }

    fn now_ms(&self) -> u64 {
        millis(self.began.elapsed())
    }

    fn next_id(&self) -> u128 {
        u128::from(self.last_id.fetch_add(1, Ordering::Relaxed)) + 1
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self, slot: &Slot, now_ms: u64, state: Option<&State>) -> Option<Bytes> {
        let value = self.values.get(&slot.key)?;
        let stamp = slot.stamp.map_or(Some(0), |stamp| state?.stamps.get(&stamp).copied())?;
        let is_kept = value.epoch == self.epoch.load(Ordering::Acquire)
            && value.stamp == stamp
            && now_ms < value.expires_ms.load(Ordering::Relaxed);
        if let (true, Some(life)) = (is_kept, slot.sliding) {
            value.expires_ms.store(now_ms + millis(life), Ordering::Relaxed);
        }
        is_kept.then_some(value.bytes)
    }

    fn forget_all(&self, state: &mut State) {
        state.tokens.clear();
        state.stamps.clear();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.values.clear();
    }
}

#[async_trait]
impl Cache for InProcessCache {
    fn is_shared(&self) -> bool {
        false
    }

    async fn look_up(&self, slots: &[Slot]) -> Result<LookUp, CacheError> {
        let now_ms = self.now_ms();
        if now_ms >= self.lease_ms.load(Ordering::Acquire) {
            return Ok(LookUp::Stale);
        }
        // One slot that depends on itself alone is looked at in one moment anyway.
        if let [slot @ Slot { stamp: None, .. }] = slots {
            return Ok(LookUp::Fresh(vec![self.value(slot, now_ms, None)]));
        }
        let state = self.read();
        Ok(LookUp::Fresh(slots.iter().map(|slot| self.value(slot, now_ms, Some(&state))).collect()))
    }

    async fn acquire(&self, slots: &[Slot]) -> Result<Vec<Option<Token>>, CacheError> {
        let mut state = self.change();
        let now = Instant::now();
        if state.tokens.len() > MANY_TOKENS {
            state.tokens.retain(|_, (_, dies)| *dies > now);
        }
        let acquired = slots.iter().map(|slot| {
            if state.tokens.get(&slot.key).is_some_and(|(_, dies)| *dies > now) {
                return None;
            }
            let id = self.next_id();
            state.tokens.insert(slot.key, (id, now + TOKEN_LIFE));
            let stamp = slot.stamp.map_or(0, |stamp| *state.stamps.entry(stamp).or_insert_with(|| self.next_id()));
            Some(Token { id, epoch: self.epoch.load(Ordering::Acquire), stamp })
        });
        Ok(acquired.collect())
    }

    async fn fill(&self, fills: Vec<Fill>) -> Result<usize, CacheError> {
        let mut state = self.change();
        let now_ms = self.now_ms();
        let mut kept = 0;
        for Fill { slot, token, value, life } in fills {
            let is_held =
                state.tokens.get(&slot.key).is_some_and(|(id, dies)| *id == token.id && *dies > Instant::now());
            let stamp = slot.stamp.map_or(Some(0), |stamp| state.stamps.get(&stamp).copied());
            if !is_held || stamp != Some(token.stamp) {
                continue;
            }
            state.tokens.remove(&slot.key);
            let expires_ms = std::sync::Arc::new(AtomicU64::new(now_ms + millis(life)));
            self.values.insert(slot.key, Value { epoch: token.epoch, stamp: token.stamp, bytes: value, expires_ms });
            kept += 1;
        }
        Ok(kept)
    }

    async fn invalidate(&self, keys: &[Key]) -> Result<(), CacheError> {
        let mut state = self.change();
        for key in keys {
            state.tokens.remove(key);
            state.stamps.remove(key);
            self.values.remove(key);
        }
        Ok(())
    }

    async fn invalidate_all(&self) -> Result<(), CacheError> {
        self.forget_all(&mut self.change());
        Ok(())
    }

    async fn observe(&self) -> Result<Observation, CacheError> {
        let at_ms = self.now_ms();
        let left = Duration::from_millis(self.lease_ms.load(Ordering::Acquire).saturating_sub(at_ms));
        Ok(Observation { at_ms, run: RUN.to_owned(), left, seen: Instant::now() })
    }

    async fn renew(&self, observed: &Observation, timeline: &str, freshness: Duration) -> Result<(), CacheError> {
        let mut state = self.change();
        let until_ms = observed.at_ms + millis(freshness);
        if until_ms <= self.now_ms() {
            return Err(CacheError::Lost);
        }
        if state.timeline != timeline {
            self.forget_all(&mut state);
            timeline.clone_into(&mut state.timeline);
        }
        self.lease_ms.fetch_max(until_ms, Ordering::AcqRel);
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
