//! Gates around the steps of the protocol, which open when the driver says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use domain::{Cache, CacheError, Fill, Key, LookUp, Observation, Slot, Token};
use tokio::sync::{mpsc, oneshot};

/// A call of the port, or the commit of a transaction that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Begin,
    LookUp,
    Acquire,
    Fill,
    Invalidate,
    Observe,
    Renew,
}

/// Where somebody is held: before a call, or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    Before(Call),
    After(Call),
}

/// What becomes of a request, or of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    IsLost,
}

/// Somebody who is held. Gone when they have given up.
pub(super) struct Held {
    pub(super) point: Point,
    pub(super) open: oneshot::Sender<Fate>,
}

/// Who goes through the gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Reader,
    Writer,
    Relay,
}

/// A cache whose every call is held. Each process has a relay; those of readers and writers never begin a round.
pub(super) struct Gated {
    pub(super) cache: Arc<dyn Cache>,
    pub(super) role: Role,
    pub(super) gate: Gate,
    /// Until then nobody is held, so that a process can begin.
    pub(super) is_shut: AtomicBool,
    /// For how many milliseconds Redis' clock has stood still, as far as relays can see.
    pub(super) stood_still: Arc<AtomicU64>,
}

#[derive(Debug, Clone)]
pub(super) struct Gate(pub(super) mpsc::UnboundedSender<Held>);

impl Gate {
    pub(super) async fn hold(&self, point: Point) -> Fate {
        let (open, opened) = oneshot::channel();
        if self.0.send(Held { point, open }).is_err() {
            return Fate::Arrives;
        }
        // Where the driver has gone, everybody goes on.
        opened.await.unwrap_or(Fate::Arrives)
    }

    async fn around<T>(&self, call: Call, work: impl Future<Output = Result<T, CacheError>>) -> Result<T, CacheError> {
        if self.hold(Point::Before(call)).await == Fate::IsLost {
            return Err(CacheError::Unreachable);
        }
        let answer = work.await;
        match self.hold(Point::After(call)).await {
            Fate::Arrives => answer,
            Fate::IsLost => Err(CacheError::Timeout),
        }
    }
}

#[async_trait]
impl Cache for Gated {
    fn is_shared(&self) -> bool {
        true
    }

    async fn look_up(&self, slots: &[Slot]) -> Result<LookUp, CacheError> {
        if self.role == Role::Relay {
            // Who finds no lease wakes the relay.
            return Ok(LookUp::Stale);
        }
        self.gate.around(Call::LookUp, self.cache.look_up(slots)).await
    }

    async fn acquire(&self, slots: &[Slot]) -> Result<Vec<Option<Token>>, CacheError> {
        self.gate.around(Call::Acquire, self.cache.acquire(slots)).await
    }

    async fn fill(&self, fills: Vec<Fill>) -> Result<usize, CacheError> {
        self.gate.around(Call::Fill, self.cache.fill(fills)).await
    }

    async fn invalidate(&self, keys: &[Key]) -> Result<(), CacheError> {
        self.gate.around(Call::Invalidate, self.cache.invalidate(keys)).await
    }

    async fn invalidate_all(&self) -> Result<(), CacheError> {
        self.gate.around(Call::Invalidate, self.cache.invalidate_all()).await
    }

    async fn observe(&self) -> Result<Observation, CacheError> {
        if self.role != Role::Relay || !self.is_shut.load(Ordering::Acquire) {
            return Err(CacheError::Lost);
        }
        let observed = self.gate.around(Call::Observe, self.cache.observe()).await?;
        // The relays of the model do not mind how much is left, which only saves work.
        let at_ms = observed.at_ms - self.stood_still.load(Ordering::Acquire);
        Ok(Observation { left: Duration::ZERO, at_ms, ..observed })
    }

    async fn renew(&self, observed: &Observation, timeline: &str, freshness: Duration) -> Result<(), CacheError> {
        let renewed = async {
            let at_ms = observed.at_ms + self.stood_still.load(Ordering::Acquire);
            self.cache.renew(&Observation { at_ms, ..observed.clone() }, timeline, freshness).await
        };
        self.gate.around(Call::Renew, renewed).await
    }
}
