//! What every request can reach.

use std::{sync::Arc, time::Duration};

use domain::Store;
use tokio::sync::Semaphore;

use crate::page_token::TokenKey;

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(10),
            max_body_bytes: 1024 * 1024,
            max_concurrent_requests: 512,
        }
    }
}

/// The state behind the routes. Cheap to clone.
#[derive(Clone)]
pub struct App {
    store: Store,
    shared: Arc<Shared>,
}

struct Shared {
    token_key: TokenKey,
    limits: Limits,
    permits: Arc<Semaphore>,
}

impl App {
    /// An application on this store. Page tokens are signed with the key: instances that share it understand each
    /// other's.
    pub fn new(store: Store, token_key: &[u8], limits: Limits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.max_concurrent_requests));
        Self { store, shared: Arc::new(Shared { token_key: TokenKey::new(token_key), limits, permits }) }
    }

    /// The data.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn token_key(&self) -> &TokenKey {
        &self.shared.token_key
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) fn permits(&self) -> &Semaphore {
        &self.shared.permits
    }
}
