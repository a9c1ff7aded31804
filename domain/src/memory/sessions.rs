//! Sessions: who is signed in, and for how long.
//!
//! Only hashes of keys are kept. A session belongs to the *era* of its user in which it began, and is good in no other:
//! to revoke all sessions of a user is to begin another era, at one moment, whatever else goes on.

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::{Rankings, Secret, Values};
use crate::{
    error::Result,
    port::{clock::Clock, memory::Memory},
    user::UserId,
    value::Timestamp,
};

/// How long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPolicy {
    /// After how long a session ends that is not used.
    pub idle: Duration,
    /// After how long it ends in any case.
    pub longest: Duration,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60 * 60), longest: Duration::from_secs(14 * 24 * 60 * 60) }
    }
}

/// The sessions of all users, each with data of its own, such as the device it is on. Cheap to clone.
///
/// They outlive the process if the memory does, as Redis does. Who has the key of a session has the session; it is
/// given out when one is created or rotated, and is then known to its owner alone.
///
/// ```no_run
/// # async fn example(sessions: domain::Sessions<String>, ada: domain::UserId) -> domain::Result<()> {
/// let (key, session) = sessions.create(ada, "a telephone".to_owned()).await?;
/// assert!(sessions.touch(&key).await?.is_some()); // with every request
/// let rotated = sessions.rotate(&key).await?; // when its owner may do more than before
/// assert!(sessions.look_up(&key).await?.is_none());
/// sessions.revoke_all(ada).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sessions<T> {
    clock: Arc<dyn Clock>,
    policy: SessionPolicy,
    kept: Values<Kept<T>>,
    /// The sessions of each user, by the milliseconds of their end.
    of_user: Rankings<SessionId>,
    /// The present era of each user who had more than one.
    eras: Values<Uuid>,
}

/// A session as it is kept.
#[derive(Clone, Serialize, Deserialize)]
struct Kept<T> {
    user: UserId,
    began: Timestamp,
    ends: Timestamp,
    era: Option<Uuid>,
    data: T,
}

/// Names a session, and gives no right to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionId(String);

impl SessionId {
    /// The name of the session that has this key.
    pub fn of(key: &Secret) -> Self {
        Self(key.hash())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A session that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session<T> {
    /// Its name; another one after it was rotated.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// When it was created.
    pub began: Timestamp,
    /// When it ends, however much it is used.
    pub ends: Timestamp,
    /// What was kept with it.
    pub data: T,
}

impl<T: Clone + Serialize + DeserializeOwned> Sessions<T> {
    /// Sessions in this memory.
    pub fn new(memory: Arc<dyn Memory>, clock: impl Clock, policy: SessionPolicy) -> Self {
        // Until after the end of all sessions of an earlier era.
        let longest = policy.longest + Duration::from_secs(60);
        Self {
            clock: Arc::new(clock),
            policy,
            kept: Values::new(Arc::clone(&memory), "sessions", policy.idle),
            of_user: Rankings::new(Arc::clone(&memory), "sessions of user", longest),
            eras: Values::new(memory, "era of user", longest),
        }
    }

    /// Begins a session; its key is for its owner alone.
    pub async fn create(&self, user: UserId, data: T) -> Result<(Secret, Session<T>)> {
        let began = self.clock.now();
        let kept = Kept { user, began, ends: later(began, self.policy.longest), era: self.live_era(user).await?, data };
        let (key, session) = self.keep(kept).await?;
        // So that the list of who signs in daily does not grow.
        self.of_user.trim_below(&of(user), millis(began)).await?;
        Ok((key, session))
    }

    /// The session of a key, if it is good.
    pub async fn look_up(&self, key: &Secret) -> Result<Option<Session<T>>> {
        let id = SessionId::of(key);
        let Some(kept) = self.kept.look_up(&id.0).await? else { return Ok(None) };
        Ok(self.is_good(&kept).await?.then(|| session(id, kept)))
    }

    /// The same, and begins anew to count how long it is not used.
    pub async fn touch(&self, key: &Secret) -> Result<Option<Session<T>>> {
        let Some(session) = self.look_up(key).await? else { return Ok(None) };
        // One that has gone meanwhile stays gone.
        let is_there = self.kept.prolong_for(&session.id.0, self.life(session.ends)).await?;
        Ok(is_there.then_some(session))
    }

    /// Gives a session another key, and lets the old one be worth nothing from now on. Of several who do so at once one
    /// succeeds. It ends when it would have ended.
    ///
    /// # Errors
    /// [`Error::MemoryUnavailable`](crate::Error::MemoryUnavailable): then it may be over.
    pub async fn rotate(&self, key: &Secret) -> Result<Option<(Secret, Session<T>)>> {
        let id = SessionId::of(key);
        let Some(kept) = self.kept.take(&id.0).await? else { return Ok(None) };
        self.of_user.remove(&of(kept.user), &id).await?;
        if !self.is_good(&kept).await? {
            return Ok(None);
        }
        // In the era that it was in: if all are revoked just now, so is this one.
        self.keep(kept).await.map(Some)
    }

    /// Ends a session; whether it was there.
    pub async fn revoke(&self, id: &SessionId) -> Result<bool> {
        let Some(kept) = self.kept.take(&id.0).await? else { return Ok(false) };
        self.of_user.remove(&of(kept.user), id).await?;
        self.is_good(&kept).await
    }

    /// Ends all sessions that a user has now.
    pub async fn revoke_all(&self, user: UserId) -> Result<()> {
        // From here on none of them is good. What follows only saves room.
        self.eras.set(&of(user), &Uuid::from_u128(rand::random())).await?;
        for id in self.ids(user).await? {
            let is_earlier = match self.kept.look_up(&id.0).await? {
                Some(kept) => !self.is_good(&kept).await?,
                None => true,
            };
            if is_earlier {
                self.kept.delete(&id.0).await?;
                self.of_user.remove(&of(user), &id).await?;
            }
        }
        Ok(())
    }

    /// The sessions that a user has, the one that ends last first.
    pub async fn list(&self, user: UserId) -> Result<Vec<Session<T>>> {
        let ids = self.ids(user).await?;
        let keys = ids.iter().map(|id| id.0.as_str()).collect::<Vec<_>>();
        let kept = self.kept.look_up_all(&keys).await?;
        let (era, now) = (self.era(user).await?, self.clock.now());
        let good = ids.into_iter().zip(kept).filter_map(|(id, kept)| Some((id, kept?)));
        let good = good.filter(|(_, kept)| kept.era == era && kept.ends > now);
        Ok(good.map(|(id, kept)| session(id, kept)).collect())
    }

    async fn keep(&self, kept: Kept<T>) -> Result<(Secret, Session<T>)> {
        let key = Secret::new();
        let id = SessionId::of(&key);
        // It is in the list before it is good.
        self.of_user.set(&of(kept.user), &id, millis(kept.ends)).await?;
        self.kept.set_for(&id.0, &kept, self.life(kept.ends)).await?;
        Ok((key, session(id, kept)))
    }

    async fn ids(&self, user: UserId) -> Result<Vec<SessionId>> {
        let ranking = self.of_user.range(&of(user), 0, MANY).await?;
        Ok(ranking.into_iter().map(|(id, _)| id).collect())
    }

    async fn era(&self, user: UserId) -> Result<Option<Uuid>> {
        self.eras.look_up(&of(user)).await
    }

    /// The present era, which is known for as long as a session that begins in it now.
    async fn live_era(&self, user: UserId) -> Result<Option<Uuid>> {
        match self.era(user).await? {
            Some(era) if self.eras.prolong(&of(user)).await? => Ok(Some(era)),
            Some(_) | None => Ok(None),
        }
    }

    async fn is_good(&self, kept: &Kept<T>) -> Result<bool> {
        Ok(kept.ends > self.clock.now() && kept.era == self.era(kept.user).await?)
    }

    /// How long a session may be unused that ends then.
    fn life(&self, ends: Timestamp) -> Duration {
        self.policy.idle.min((ends.utc() - self.clock.now().utc()).to_std().unwrap_or_default())
    }
}

/// More sessions than a user has.
const MANY: u64 = 10_000;

fn of(user: UserId) -> String {
    user.to_string()
}

fn session<T>(id: SessionId, kept: Kept<T>) -> Session<T> {
    let Kept { user, began, ends, era: _, data } = kept;
    Session { id, user, began, ends, data }
}

fn later(instant: Timestamp, by: Duration) -> Timestamp {
    let by = TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
    Timestamp::new(instant.utc().checked_add_signed(by).unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// Exact for some hundred thousand years.
fn millis(at: Timestamp) -> f64 {
    at.utc().timestamp_millis() as f64
}
