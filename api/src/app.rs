//! What every request can reach.

use std::{sync::Arc, time::Duration};

use domain::Store;
use tokio::sync::{Semaphore, watch};

use crate::{metrics::Metrics, page_token::TokenKey};

/// How much one request, and all together, may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long reading a body may take, and how long answering may.
    pub request_timeout: Duration,
    /// How long requests under way may take to end when the service stops.
    pub drain_timeout: Duration,
    /// How many bytes a body may have.
    pub max_body_bytes: usize,
    /// How many requests may be under way; more are turned away.
    pub max_concurrent_requests: usize,
    /// How many streams of changes may be open; more are turned away. They are no requests under way: each costs a
    /// connection and little more.
    pub max_streams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            max_body_bytes: 1024 * 1024,
            max_concurrent_requests: 512,
            max_streams: 1_024,
        }
    }
}

/// The state behind the routes. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// All of it is behind one counter, because every layer clones it for every request.
struct Shared {
    store: Store,
    token_key: TokenKey,
    metrics: Metrics,
    limits: Limits,
    permits: Semaphore,
    streams: Arc<Semaphore>,
    is_ending: watch::Sender<bool>,
}

impl App {
    /// An application on this store. Page tokens are signed with the key: instances that share it understand each
    /// other's.
    pub fn new(store: Store, token_key: &[u8], limits: Limits) -> Self {
        Self(Arc::new(Shared {
            metrics: Metrics::new(&store),
            store,
            token_key: TokenKey::new(token_key),
            limits,
            permits: Semaphore::new(limits.max_concurrent_requests),
            streams: Arc::new(Semaphore::new(limits.max_streams)),
            is_ending: watch::Sender::new(false),
        }))
    }

    /// The data.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn token_key(&self) -> &TokenKey {
        &self.0.token_key
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn streams(&self) -> &Arc<Semaphore> {
        &self.0.streams
    }

    /// Ends what would never end by itself.
    pub(crate) fn end(&self) {
        self.0.is_ending.send_replace(true);
    }

    /// Until it is ended.
    pub(crate) fn ending(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut is_ending = self.0.is_ending.subscribe();
        async move {
            // An application that is gone has ended.
            is_ending.wait_for(|is_ending| *is_ending).await.map(drop).unwrap_or_default();
        }
    }

    pub(crate) fn permits(&self) -> &Semaphore {
        &self.0.permits
    }
}
