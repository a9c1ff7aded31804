//! When a unit of work is run again, and after how long.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use crate::deadline;

/// How often a unit of work is tried, and how long it waits in between: "full jitter", a random time between nothing
/// and an exponentially growing bound, which spreads competitors best (M. Brooker, "Exponential Backoff And Jitter",
/// AWS Architecture Blog, 2015).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often it is tried altogether.
    pub attempts: u32,
    /// The bound of the first wait; it doubles with each.
    pub base: Duration,
    /// The bound of any wait.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 3, base: Duration::from_millis(10), cap: Duration::from_secs(1) }
    }
}

impl RetryPolicy {
    /// Waits after the attempt of that number, counted from 1; whether there may be another. There may not if it would
    /// begin after the request has to be done.
    pub(crate) async fn pause(&self, attempt: u32) -> bool {
        let wait = self.wait(attempt);
        let is_late = deadline::request().is_some_and(|until| Instant::now() + wait >= until);
        if attempt >= self.attempts || is_late {
            return false;
        }
        tokio::time::sleep(wait).await;
        true
    }

    /// How long to wait after that attempt.
    fn wait(&self, attempt: u32) -> Duration {
        let bound = self.base.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(self.cap);
        bound.mul_f64(rand::rng().random::<f64>())
    }
}
