//! What a store lets others do with its outbox.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{Backlog, DeadLetter, Delivery, Incident, OutboxPolicy, Relay, table};
use crate::{
    audit::{self, Verification},
    context,
    document::Collection,
    error::Result,
    port::documents::Documents,
    store::Store,
    value::Timestamp,
};

impl Store {
    /// The same data, of which what is committed is delivered to these documents from now on, whichever store and whatever
    /// means it was written by. The collections are those that somebody knows the fields of; there may be others.
    #[must_use]
    pub fn delivering(self, documents: Arc<dyn Documents>, collections: Vec<Collection>, policy: OutboxPolicy) -> Self {
        let relay = Relay::start(self.connections(), self.outbox(), Arc::clone(&documents), collections, policy);
        self.with_relay(relay).with_documents(documents)
    }

    /// Delivers what waits, as far as that can be done within a time: to be called before the end of the process. What is
    /// left is delivered by another, or the next.
    pub async fn flush(&self, limit: Duration) {
        if let Some(relay) = self.relay() {
            relay.flush(limit).await;
        }
    }

    /// What the relay of this store does; none if it has none.
    pub fn delivery(&self) -> Option<Delivery> {
        self.relay()?;
        let delivery = self.outbox().status();
        let waits = |oldest: Timestamp| (self.clock().now().utc() - oldest.utc()).to_std().unwrap_or_default();
        Some(Delivery { lag: delivery.backlog.oldest.map(waits), ..delivery })
    }

    /// Has something that went wrong written into the log, once, by and by.
    pub fn report(&self, incident: Incident) {
        // Of what nobody delivers none is kept.
        if self.relay().is_some() {
            let now = self.clock().now();
            self.outbox().report(self.ids().next(now), now, incident);
        }
    }

    /// The same, in the present context.
    pub(crate) fn report_here(&self, code: &str, message: String) {
        let context = context::current_context().map(|context| (*context).clone()).unwrap_or_default();
        self.report(Incident { code: code.to_owned(), message, status: None, context });
    }

    /// Counts what is in the outbox.
    pub async fn backlog(&self) -> Result<Backlog> {
        table::backlog(self.reader(), u64::MAX).await
    }

    /// Documents that were given up, the oldest first.
    pub async fn dead_letters(&self, limit: u64) -> Result<Vec<DeadLetter>> {
        table::dead(self.reader(), limit).await
    }

    /// Lets documents that were given up be offered again, one or all; how many there were.
    pub async fn retry_dead_letters(&self, id: Option<Uuid>) -> Result<u64> {
        table::retry(self.writer(), id).await
    }

    /// Drops documents that were given up, one or all; how many there were. What belongs to the audit trail is not dropped.
    pub async fn drop_dead_letters(&self, id: Option<Uuid>) -> Result<u64> {
        table::drop_dead(self.writer(), id).await
    }

    /// Reads the whole audit trail, and finds what is not as it was written.
    ///
    /// # Errors
    /// [`crate::Error::Documents`] if the documents cannot be read. That something was tampered with is no error.
    pub async fn verify_audit(&self, documents: &dyn Documents) -> Result<Verification> {
        audit::verify(self.reader(), documents).await
    }
}
