//! The seam between the store and what keeps copies of records.
//!
//! It has the shape of the protocol, not of a map, because a map invites the races that make caches stale:
//!
//! 1. A reader [looks up](Cache::look_up). Only a cache that can testify that it is fresh answers with entries.
//! 2. One that misses [acquires](Cache::acquire) a token *before* it reads the database, and may
//!    [fill](Cache::fill) only while that token is still there: invalidation, eviction, loss of memory destroy it.
//! 3. A writer [invalidates](Cache::invalidate) after the commit and before it acknowledges.
//! 4. A relay [observes](Cache::observe), applies everything that was committed before that, and
//!    [renews](Cache::renew) the lease, which is the testimony of 1.

mod in_process;
mod key;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

pub use in_process::InProcessCache;
pub use key::Key;

/// Keeps copies, and knows whether they are fresh. [`InProcessCache`] needs no service.
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// Whether other processes fill and invalidate the same copies.
    fn is_shared(&self) -> bool;

    /// What is kept under these slots, all at one moment.
    async fn look_up(&self, slots: &[Slot]) -> Result<LookUp, CacheError>;

    /// Takes the right to fill each slot, unless somebody else has it. It ends by itself after [`TOKEN_LIFE`].
    async fn acquire(&self, slots: &[Slot]) -> Result<Vec<Option<Token>>, CacheError>;

    /// Keeps each value whose token is still there; how many were kept.
    async fn fill(&self, fills: Vec<Fill>) -> Result<usize, CacheError>;

    /// Forgets what is kept under these keys, what depends on them, and the tokens of fills that are under way: all at
    /// one moment.
    async fn invalidate(&self, keys: &[Key]) -> Result<(), CacheError>;

    /// Forgets everything.
    async fn invalidate_all(&self) -> Result<(), CacheError>;

    /// Looks at the clock of the cache and at the lease, before the database is asked what was committed.
    async fn observe(&self) -> Result<Observation, CacheError>;

    /// Lets the lease run until `freshness` after the observation, because everything that had been committed when it was
    /// made has been invalidated. Where the memory of the cache, or the timeline of the database, is another than at the
    /// last renewal, everything is forgotten.
    ///
    /// # Errors
    /// [`CacheError::Lost`] if the memory is another than it was at the observation, or it was made too long ago.
    async fn renew(&self, observed: &Observation, timeline: &str, freshness: Duration) -> Result<(), CacheError>;
}

/// How long a token lives whose holder has gone away. A fill that takes longer is refused.
pub const TOKEN_LIFE: Duration = Duration::from_secs(5);

/// Where a value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Invalidating this key forgets it.
    pub key: Key,
    /// Invalidating this one too: what many slots depend on, as lists do on their table.
    pub stamp: Option<Key>,
    /// Its life starts anew whenever it is looked up, and is then this long.
    pub sliding: Option<Duration>,
}

impl Slot {
    /// A slot that depends on its own key alone, and whose life is not prolonged.
    pub fn new(key: Key) -> Self {
        Self { key, stamp: None, sliding: None }
    }
}

/// What a cache says of what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookUp {
    /// These are the values, in the order of the slots.
    Fresh(Vec<Option<Bytes>>),
    /// It cannot testify that what it keeps is fresh.
    Stale,
}

/// The right to fill one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// No other token has it.
    pub id: u128,
    /// Of the cache's memory, when the token was taken.
    pub epoch: u64,
    /// What the slot's stamp was then.
    pub stamp: u128,
}

/// A value to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// Where.
    pub slot: Slot,
    /// The right to do so.
    pub token: Token,
    /// What.
    pub value: Bytes,
    /// For how long at most.
    pub life: Duration,
}

/// The state of a cache at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The cache's own clock, which the lease runs by; milliseconds.
    pub at_ms: u64,
    /// Which memory it is: another one after a restart.
    pub run: String,
    /// How much is left of the lease; nothing if this process does not believe it, and so has to renew it.
    pub left: Duration,
    /// When it was made, by the clock of this process.
    pub seen: Instant,
}

/// Why a cache did not do what it was asked. Then the database is read instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheError {
    /// It cannot be reached.
    Unreachable,
    /// It did not answer in time.
    Timeout,
    /// It refuses this user, or this password.
    Refused,
    /// It has no memory left and may not evict.
    Full,
    /// It failed so often that it is not asked for a while.
    CircuitOpen,
    /// What was observed is no longer so.
    Lost,
    /// It answered with something that has no place in the protocol.
    Unexpected,
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "it cannot be reached",
            Self::Timeout => "it does not answer in time",
            Self::Refused => "it refuses the user or the password",
            Self::Full => "its memory is full",
            Self::CircuitOpen => "it failed too often and is left alone for a while",
            Self::Lost => "it is not the memory that it was",
            Self::Unexpected => "it gave an answer that was not understood",
        })
    }
}

impl std::error::Error for CacheError {}
