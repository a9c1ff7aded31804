//! Whether the lease moves, as this process sees it by its own clock.
//!
//! Redis ends the lease by Redis' clock. Where that stands still or is set back, and where an old memory comes back, the
//! lease outlives what it testifies to. So it is believed only for a while after it was certainly not made yet: since
//! this process last saw another one, or none, in the memory of the same server process.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What a lease is known by: it is another one after each renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) epoch: u64,
    /// Never goes back within an epoch.
    pub(super) counter: u64,
}

/// One look at the lease.
#[derive(Debug)]
pub(super) struct Look {
    /// Which server process answered.
    pub(super) run: Arc<str>,
    /// None if there was none.
    pub(super) lease: Option<Lease>,
    pub(super) asked: Instant,
}

/// Remembers what was seen last.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Option<Sight>>);

#[derive(Debug)]
struct Sight {
    run: Arc<str>,
    lease: Option<Lease>,
    /// Of the looks that saw this: the last moment at which one was asked for, and one was known.
    asked: Instant,
    known: Instant,
    /// A moment at which the lease had not been made. None if there is no saying.
    unmade: Option<Instant>,
}

impl Watch {
    /// Takes note of a look; whether the lease that it saw is believed.
    pub(super) fn believes(&self, look: Look, freshness: Duration) -> bool {
        let now = Instant::now();
        let Look { run, lease, asked } = look;
        let mut sight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unmade = match &mut *sight {
            Some(last) if last.run == run && last.lease == lease => {
                last.asked = last.asked.max(asked);
                last.known = now;
                last.unmade
            }
            Some(last) if last.run == run => {
                if !last.is_before(lease, asked) {
                    return false;
                }
                let unmade = lease.map(|_| last.asked);
                *last = Sight { run, lease, asked, known: now, unmade };
                unmade
            }
            _ => {
                *sight = Some(Sight { run, lease, asked, known: now, unmade: None });
                None
            }
        };
        unmade.is_some_and(|unmade| now.duration_since(unmade) < freshness)
    }
}

impl Sight {
    /// Whether the other state certainly came after this one. Answers are not noted in the order in which they were given.
    fn is_before(&self, lease: Option<Lease>, asked: Instant) -> bool {
        match (self.lease, lease) {
            (Some(last), Some(lease)) if last.epoch == lease.epoch => last.counter < lease.counter,
            _ => self.known <= asked,
        }
    }
}
