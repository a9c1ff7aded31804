//! Waiting for a condition, with a limit.

use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once: far longer than it takes, so that a busy machine fails nothing.
pub const PATIENCE: Duration = Duration::from_secs(30);

const BETWEEN_PROBES: Duration = Duration::from_millis(10);

/// Probes until there is a value, and fails the test when there is none within the limit.
///
/// ```ignore
/// eventually("the session is gone", PATIENCE, async || (sessions().await == 0).then_some(())).await;
/// ```
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, probe: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match poll(limit, probe).await {
            Some(value) => value,
            None => panic!("{what}: not within {limit:?} (waited at {caller})"),
        }
    }
}

/// Probes until there is a value or the limit has passed.
pub async fn poll<T>(limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return Some(value);
        }
        if start.elapsed() > limit {
            return None;
        }
        tokio::time::sleep(BETWEEN_PROBES).await;
    }
}

/// [`poll`] for where there is no runtime, as in `drop`.
pub(crate) fn poll_blocking<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if start.elapsed() > limit {
            return None;
        }
        std::thread::sleep(BETWEEN_PROBES);
    }
}
