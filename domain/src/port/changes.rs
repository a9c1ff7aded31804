//! The seam over which processes tell each other which records have changed.
//!
//! Whoever finds that something has changed says so: the writer, and a relay that finds what a writer left. So what is
//! heard may come twice, and what is older after what is newer; who listens sorts that out.

use std::fmt;

use async_trait::async_trait;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};
use uuid::Uuid;

/// Carries announcements to all processes that listen. [`InProcessBus`] needs no service.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Tells everybody who listens at present, in this process too.
    async fn publish(&self, announcement: &Announcement) -> Result<(), BusError>;

    /// Listens, without end and whatever happens. The first thing that is heard, as soon as it is listened, is a
    /// [`Heard::Gap`].
    fn listen(&self) -> BoxStream<'static, Heard>;
}

/// What is heard on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Somebody said so.
    Announced(Announcement),
    /// What was said before this may have been missed. From here on it is listened.
    Gap,
}

/// What has changed, as one transaction or one look into the outbox tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The history of the database that it is about: in another, versions may count anew.
    pub timeline: String,
    /// Which records, each once.
    pub changes: Vec<RowChange>,
    /// More than that has changed, and there is no saying what.
    pub is_gap: bool,
}

/// A row that has another version now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowChange {
    /// Its table.
    pub table: String,
    /// Its id.
    pub id: Uuid,
    /// The version that it has, or would have had if it had not been deleted.
    pub version: i64,
    /// Whether it is no more.
    pub is_deleted: bool,
}

/// Why nobody was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BusError {
    /// The bus cannot be reached, or does not answer in time.
    Unreachable,
    /// It does not let us.
    Refused,
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "it cannot be reached",
            Self::Refused => "it refuses the user, the password or the channel",
        })
    }
}

impl std::error::Error for BusError {}

/// How many announcements wait for a listener who is busy; one who misses some is told so.
const QUEUE: usize = 256;

/// The bus that needs no service: for all stores of this process that have it.
#[derive(Debug)]
pub struct InProcessBus(broadcast::Sender<Announcement>);

impl Default for InProcessBus {
    fn default() -> Self {
        Self(broadcast::Sender::new(QUEUE))
    }
}

#[async_trait]
impl Bus for InProcessBus {
    async fn publish(&self, announcement: &Announcement) -> Result<(), BusError> {
        if self.0.receiver_count() > 0 {
            // That nobody listens any more is no failure.
            self.0.send(announcement.clone()).ok();
        }
        Ok(())
    }

    fn listen(&self) -> BoxStream<'static, Heard> {
        let heard = stream::unfold(self.0.subscribe(), |mut receiver| async {
            match receiver.recv().await {
                Ok(announcement) => Some((Heard::Announced(announcement), receiver)),
                Err(RecvError::Lagged(_)) => Some((Heard::Gap, receiver)),
                Err(RecvError::Closed) => None,
            }
        });
        stream::iter([Heard::Gap]).chain(heard).boxed()
    }
}
