//! What the cache did, counted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// What the cache did for the records of one table, since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Look-ups that were answered without the database.
    pub hits: u64,
    /// Look-ups of what was not there.
    pub misses: u64,
    /// Values that were kept.
    pub fills: u64,
    /// Values that were not, because something had changed since they were read, or somebody else was about to.
    pub refused_fills: u64,
    /// Look-ups that the cache could not answer for: it was not fresh, or not there.
    pub bypasses: u64,
    /// Changed rows that were told to the cache.
    pub invalidations: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) fills: AtomicU64,
    pub(crate) refused_fills: AtomicU64,
    pub(crate) bypasses: AtomicU64,
    pub(crate) invalidations: AtomicU64,
}

/// The counters of every table.
#[derive(Debug, Default)]
pub(crate) struct Counts(RwLock<BTreeMap<String, Arc<Counters>>>);

impl Counts {
    pub(crate) fn of(&self, table: &str) -> Arc<Counters> {
        if let Some(counters) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(table) {
            return Arc::clone(counters);
        }
        Arc::clone(self.0.write().unwrap_or_else(PoisonError::into_inner).entry(table.to_owned()).or_default())
    }

    pub(crate) fn all(&self) -> BTreeMap<String, CacheCounts> {
        let counters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        counters.iter().map(|(table, counters)| (table.clone(), counters.now())).collect()
    }
}

impl Counters {
    fn now(&self) -> CacheCounts {
        let Self { hits, misses, fills, refused_fills, bypasses, invalidations } = self;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounts {
            hits: read(hits),
            misses: read(misses),
            fills: read(fills),
            refused_fills: read(refused_fills),
            bypasses: read(bypasses),
            invalidations: read(invalidations),
        }
    }
}

/// Counts so many more.
pub(crate) fn add(counter: &AtomicU64, more: usize) {
    counter.fetch_add(more as u64, Ordering::Relaxed);
}
