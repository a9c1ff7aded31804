//! When a unit of work is run again, and after how long.

use std::time::Duration;

use rand::RngExt;

/// How often a unit of work is tried, and how long it waits in between: "full jitter", a random time between nothing
/// and an exponentially growing bound, which spreads competitors best (M. Brooker, "Exponential Backoff And Jitter",
/// AWS Architecture Blog, 2015).
#[derive(Debug, Clone, Copy)]
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
    /// How long to wait after the attempt of that number, counted from 1.
    pub(crate) fn wait(&self, attempt: u32) -> Duration {
        let bound = self.base.saturating_mul(1 << attempt.saturating_sub(1).min(20)).min(self.cap);
        bound.mul_f64(rand::rng().random::<f64>())
    }
}
