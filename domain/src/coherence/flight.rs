//! Loads of the same thing, once for all who wait for it.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    deadline::Deadline,
    error::{Error, Result, Unavailable},
    port::cache::Key,
};

/// The loads that are under way. Of each key one runs at a time, and whoever arrives meanwhile shares the one after it:
/// a load that had begun before may have read what was older than an acknowledgement that the newcomer knows of.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<Key, Arc<Line>>>);

#[derive(Debug, Default)]
struct Line {
    started: AtomicU64,
    /// The number of the last load that ended, and what came of it. Held by the one who loads.
    last: tokio::sync::Mutex<Option<(u64, Result<Bytes>)>>,
}

/// A place in the line of a key; the last one to leave removes the line.
struct Place<'a> {
    flights: &'a Flights,
    key: Key,
    line: Arc<Line>,
}

impl Flights {
    /// What a load of this key gives that begins from now on: the caller's own, or one that somebody else began later.
    /// `load` is told whether another one ended while it waited.
    pub(crate) async fn join<Fut>(&self, key: Key, load: impl FnOnce(bool) -> Fut) -> Result<Bytes>
    where
        Fut: Future<Output = Result<Bytes>>,
    {
        let place = self.place(key);
        let line = &place.line;
        let arrived = line.started.load(Ordering::SeqCst);
        let (mut last, waited) = match line.last.try_lock() {
            Ok(last) => (last, false),
            Err(_) => (line.last.lock().await, true),
        };
        match &*last {
            Some((number, result)) if *number > arrived && !is_about_its_caller(result) => return result.clone(),
            _ => {}
        }
        let number = line.started.fetch_add(1, Ordering::SeqCst) + 1;
        let result = load(waited).await;
        *last = Some((number, result.clone()));
        result
    }

    fn place(&self, key: Key) -> Place<'_> {
        let line = Arc::clone(self.lines().entry(key).or_default());
        Place { flights: self, key, line }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it says only that one caller had no more time.
fn is_about_its_caller(result: &Result<Bytes>) -> bool {
    matches!(result, Err(Error::Unavailable { reason: Unavailable::Timeout(Deadline::Request), .. }))
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut lines = self.flights.lines();
        // The line itself, and this place.
        if Arc::strong_count(&self.line) == 2 {
            lines.remove(&self.key);
        }
    }
}
