//! What has changed, told to who wants to know: after the commit, and of each record in order.
//!
//! The outbox of the cache says which record has which version now. Whoever applies it, a writer or a relay, publishes
//! that over a [`Bus`]; the hub of each process hears it, drops what is not newer than what it has passed on, and passes
//! the rest on to its subscribers.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use schemars::JsonSchema;
use sea_orm::EntityName;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    task::AbortHandle,
    time::timeout,
};
use uuid::Uuid;

use crate::{
    id::Id,
    port::changes::{Announcement, Bus, Heard, RowChange},
    record::Record,
};

/// How many changes wait for a subscriber who is busy; one who misses some is told of a gap.
const QUEUE: usize = 1_024;
/// Of how many records it is remembered for certain which version was passed on last. What is late is late by seconds.
const REMEMBERED: usize = 50_000;
/// How long a new subscriber waits until it is listened. After that, a gap tells when it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often is tried again to say that something was not said.
const AGAIN: Duration = Duration::from_millis(250);

/// What a subscriber is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A record has changed.
    Changed(Changed),
    /// Something may have changed of which nothing is told: read again what you have. From here on all is told.
    Gap,
}

/// A record that has changed. Versions between this one and the last that was told may have been left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Changed {
    /// What kind of record it is.
    pub noun: &'static str,
    /// Its id.
    pub id: Uuid,
    /// Its version now; of a deleted one, what would have been its next.
    pub version: i64,
    /// What happened to it.
    pub change: ChangeKind,
}

impl Changed {
    /// The id, if it is a record of this kind.
    pub fn id_of<R: Record>(&self) -> Option<Id<R>> {
        (self.noun == R::NOUN).then(|| Id::new(self.id))
    }
}

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was made or changed.
    Written,
    /// It is no more.
    Deleted,
}

/// A kind of record that one can be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Noun {
    name: &'static str,
    table: &'static str,
}

impl Noun {
    /// That of these records.
    pub fn of<R: Record>() -> Self {
        Self { name: R::NOUN, table: R::Entity::default().table_name() }
    }

    /// The noun itself, in the singular.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn table(&self) -> &'static str {
        self.table
    }
}

/// A stream of changes, from the moment on that it was made. It ends with the store.
pub struct Changes(BoxStream<'static, Notice>);

impl Stream for Changes {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.0.poll_next_unpin(context)
    }
}

/// What is passed on to all subscribers of a process.
#[derive(Debug, Clone)]
enum Passed {
    Changed(Arc<RowChange>),
    Gap,
}

/// Between the bus and the subscribers of a process. It listens once somebody wants to know.
pub(crate) struct Hub {
    bus: Arc<dyn Bus>,
    listening: OnceLock<Listening>,
    /// Whether somebody is trying to say that something was not said.
    is_owing: Arc<AtomicBool>,
    /// The last time, which is logged when it changes.
    has_failed: AtomicBool,
    is_closed: watch::Sender<bool>,
}

struct Listening {
    passed: broadcast::Sender<Passed>,
    has_begun: watch::Receiver<bool>,
    task: AbortHandle,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hub {
    pub(crate) fn new(bus: Arc<dyn Bus>) -> Self {
        Self {
            bus,
            listening: OnceLock::new(),
            is_owing: Arc::default(),
            has_failed: AtomicBool::new(false),
            is_closed: watch::Sender::new(false),
        }
    }

    /// Tells all processes. What cannot be told becomes a gap as soon as it can; nobody waits for that.
    ///
    /// A writer waits for the rest, so that it is told before the outbox forgets it, whenever a process dies. Over Redis
    /// that is 0.1 to 0.2 ms of a write, measured on two cores; over the bus of a process, nothing that can be measured.
    pub(crate) async fn publish(&self, announcement: Announcement) {
        let Err(error) = self.bus.publish(&announcement).await else {
            if self.has_failed.load(Ordering::Relaxed) && self.has_failed.swap(false, Ordering::Relaxed) {
                tracing::info!("subscribers can be told of changes again");
            }
            return;
        };
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "subscribers cannot be told of changes; they will be told to read again");
        }
        if self.is_owing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (bus, is_owing) = (Arc::clone(&self.bus), Arc::clone(&self.is_owing));
        let mut is_closed = self.is_closed.subscribe();
        tokio::spawn(async move {
            let gap = Announcement { is_gap: true, changes: Vec::new(), ..announcement };
            // Whoever fails from now on sees to it that there is another gap, or that there is this one.
            let publish = async {
                loop {
                    tokio::time::sleep(AGAIN).await;
                    is_owing.store(false, Ordering::Release);
                    if bus.publish(&gap).await.is_ok() || is_owing.swap(true, Ordering::AcqRel) {
                        break;
                    }
                }
            };
            tokio::select! {
                () = publish => {}
                _ = is_closed.wait_for(|is_closed| *is_closed) => {}
            }
        });
    }

    /// What changes from now on of records of these kinds.
    pub(crate) async fn subscribe(&self, nouns: &[Noun]) -> Changes {
        let Listening { passed, has_begun, .. } = self.listening.get_or_init(|| self.listen());
        let mut has_begun = has_begun.clone();
        timeout(PATIENCE, has_begun.wait_for(|has_begun| *has_begun)).await.ok();
        let nouns = nouns.iter().map(|noun| (noun.table, noun.name)).collect::<HashMap<_, _>>();
        let notices = stream::unfold((passed.subscribe(), nouns), |(mut passed, nouns)| async {
            loop {
                let notice = match passed.recv().await {
                    Ok(Passed::Changed(change)) => {
                        let RowChange { table, id, version, is_deleted } = &*change;
                        let Some(noun) = nouns.get(table.as_str()) else { continue };
                        let change = if *is_deleted { ChangeKind::Deleted } else { ChangeKind::Written };
                        Notice::Changed(Changed { noun, id: *id, version: *version, change })
                    }
                    Ok(Passed::Gap) | Err(RecvError::Lagged(_)) => Notice::Gap,
                    Err(RecvError::Closed) => return None,
                };
                return Some((notice, (passed, nouns)));
            }
        });
        let mut is_closed = self.is_closed.subscribe();
        let closed = async move { is_closed.wait_for(|is_closed| *is_closed).await.map(drop).ok() };
        Changes(notices.take_until(closed).boxed())
    }

    fn listen(&self) -> Listening {
        let mut heard = self.bus.listen();
        let passed = broadcast::Sender::new(QUEUE);
        let (begun, has_begun) = watch::channel(false);
        let sender = passed.downgrade();
        let task = tokio::spawn(async move {
            let mut newest = Newest::default();
            while let Some(heard) = heard.next().await {
                // None when the hub is gone, which then is about to end this task.
                let Some(sender) = sender.upgrade() else { break };
                let Announcement { timeline, changes, is_gap } = match heard {
                    Heard::Announced(announcement) => announcement,
                    Heard::Gap => {
                        // Before it is said that it is listened: the first of them is for those who did not wait.
                        sender.send(Passed::Gap).ok();
                        begun.send_replace(true);
                        continue;
                    }
                };
                if newest.is_of_another(timeline) || is_gap {
                    sender.send(Passed::Gap).ok();
                }
                for change in changes {
                    if newest.is_news(&change) {
                        sender.send(Passed::Changed(Arc::new(change))).ok();
                    }
                }
            }
        });
        Listening { passed, has_begun, task: task.abort_handle() }
    }

    /// Ends all streams.
    pub(crate) fn close(&self) {
        self.is_closed.send_replace(true);
    }
}

/// The newest version of each record that was passed on. What was so longest ago is forgotten.
#[derive(Debug, Default)]
struct Newest {
    timeline: Option<String>,
    lately: HashMap<(String, Uuid), i64>,
    before: HashMap<(String, Uuid), i64>,
}

impl Newest {
    /// Whether the database has another history now, in which versions may be lower; they are then forgotten.
    fn is_of_another(&mut self, timeline: String) -> bool {
        if self.timeline.as_ref() == Some(&timeline) {
            return false;
        }
        self.lately.clear();
        self.before.clear();
        self.timeline.replace(timeline).is_some()
    }

    fn is_news(&mut self, change: &RowChange) -> bool {
        let key = (change.table.clone(), change.id);
        if self.lately.get(&key).or_else(|| self.before.get(&key)).is_some_and(|newest| change.version <= *newest) {
            return false;
        }
        if self.lately.len() >= REMEMBERED {
            self.before = std::mem::take(&mut self.lately);
        }
        self.lately.insert(key, change.version);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Newest, REMEMBERED, RowChange, Uuid};

    fn change(id: u128, version: i64) -> RowChange {
        RowChange { table: "users".to_owned(), id: Uuid::from_u128(id), version, is_deleted: false }
    }

    #[test]
    fn only_what_is_newer_is_news() {
        let mut newest = Newest::default();
        let news =
            [(1, 1), (1, 1), (1, 3), (1, 2), (2, 1), (1, 4)].map(|(id, version)| newest.is_news(&change(id, version)));
        assert_eq!(news, [true, false, true, false, true, true]);
        assert!(newest.is_news(&RowChange { table: "tags".to_owned(), ..change(1, 1) }));
        assert!(!newest.is_of_another("one".to_owned()), "there was none before");
        assert!(newest.is_news(&change(1, 4)));
        assert!(newest.is_of_another("two".to_owned()) && !newest.is_of_another("two".to_owned()));
        assert!(newest.is_news(&change(1, 1)), "versions may be lower in another history");
    }

    #[test]
    fn what_changed_lately_is_remembered_and_the_rest_is_not() {
        let mut newest = Newest::default();
        for id in 0..3 * REMEMBERED as u128 {
            assert!(newest.is_news(&change(id, 7)));
            let earlier = id.saturating_sub(REMEMBERED as u128 - 1);
            assert!(!newest.is_news(&change(earlier, 7)));
        }
        assert!(newest.lately.len() + newest.before.len() <= 2 * REMEMBERED);
        assert!(newest.is_news(&change(0, 1)));
    }
}
