//! The seam between the application and what it remembers for a while: one-time tokens, sessions, who is online, a
//! leaderboard.
//!
//! Unlike the copies in a [cache](crate::Cache) these are data: they are nowhere else, so that a memory out of reach is an
//! error, and what was kept is there until its life ends or it is deleted. Everything has a life. How long is known to
//! the memory alone, which lets things go by a clock that nobody sets.

mod in_process;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

pub use in_process::InProcessMemory;

/// Remembers for a while. [`InProcessMemory`] needs no service. Business code uses it by way of
/// [`Values`](crate::Values), [`Tokens`](crate::Tokens), [`Sets`](crate::Sets) and [`Rankings`](crate::Rankings).
///
/// A key holds a value, a set or a ranking. What is meant for one of these and finds another is
/// [`MemoryError::Unexpected`].
#[async_trait]
pub trait Memory: Send + Sync + 'static {
    /// Keeps a value, in place of what the key held.
    async fn set(&self, key: &str, value: Bytes, life: Duration) -> Result<(), MemoryError>;

    /// The values of these keys, in their order.
    async fn look_up(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>, MemoryError>;

    /// Deletes a value and gives it: of all who take it, one gets it.
    ///
    /// # Errors
    /// Then it may have been deleted and given to nobody, but not to two.
    async fn take(&self, key: &str) -> Result<Option<Bytes>, MemoryError>;

    /// Lets the life of what a key holds be this long from now on; whether it holds anything.
    async fn prolong(&self, key: &str, life: Duration) -> Result<bool, MemoryError>;

    /// Deletes whatever a key holds; whether it held anything.
    async fn delete(&self, key: &str) -> Result<bool, MemoryError>;

    /// Adds a member to a set, whose life starts anew; whether it was no member before.
    async fn add(&self, key: &str, member: &[u8], life: Duration) -> Result<bool, MemoryError>;

    /// Removes a member from a set; whether it was one.
    async fn remove(&self, key: &str, member: &[u8]) -> Result<bool, MemoryError>;

    /// Whether it is a member of a set.
    async fn contains(&self, key: &str, member: &[u8]) -> Result<bool, MemoryError>;

    /// The members of a set, in no order.
    async fn members(&self, key: &str) -> Result<Vec<Bytes>, MemoryError>;

    /// Gives a member of a ranking this score, and starts the life of the ranking anew.
    async fn rank(&self, key: &str, member: &[u8], score: f64, life: Duration) -> Result<(), MemoryError>;

    /// Adds to the score of a member of a ranking, which is 0 at first, and starts the life of the ranking anew; what
    /// the score is then.
    async fn increase(&self, key: &str, member: &[u8], by: f64, life: Duration) -> Result<f64, MemoryError>;

    /// Removes a member from a ranking; whether it was one.
    async fn unrank(&self, key: &str, member: &[u8]) -> Result<bool, MemoryError>;

    /// How many members of a ranking are before this one, and its score. The highest score is first; of members with
    /// equal scores, the one whose bytes sort last.
    async fn standing(&self, key: &str, member: &[u8]) -> Result<Option<(u64, f64)>, MemoryError>;

    /// Members of a ranking with their scores, in order: `count` of them, after the first `skip`.
    async fn range(&self, key: &str, skip: u64, count: u64) -> Result<Vec<(Bytes, f64)>, MemoryError>;

    /// Removes all members of a ranking but the first `keep`; how many were removed.
    async fn trim(&self, key: &str, keep: u64) -> Result<u64, MemoryError>;

    /// Removes the members of a ranking whose score is less; how many were removed.
    async fn trim_below(&self, key: &str, score: f64) -> Result<u64, MemoryError>;
}

/// Why a memory did not do what it was asked; it may have done it, unless it is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemoryError {
    /// It cannot be reached.
    Unreachable,
    /// It did not answer in time.
    Timeout,
    /// It refuses this user, or this password.
    Refused,
    /// It has no room left, and forgets nothing whose time has not come.
    Full,
    /// It failed so often that it is not asked for a while.
    CircuitOpen,
    /// The key holds something else, or the answer was not understood.
    Unexpected,
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "it cannot be reached",
            Self::Timeout => "it does not answer in time",
            Self::Refused => "it refuses the user or the password",
            Self::Full => "it is full",
            Self::CircuitOpen => "it failed too often and is left alone for a while",
            Self::Unexpected => "it holds something else, or gave an answer that was not understood",
        })
    }
}

impl std::error::Error for MemoryError {}
