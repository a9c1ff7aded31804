//! What business code remembers for a while: typed values, one-time tokens, sets and rankings over a
//! [`Memory`](crate::Memory), and [sessions](Sessions) made of them.
//!
//! Each of these is about one thing, such as `password resets`: it has a name that tells its keys from those of others,
//! a type, and a life.

mod secret;
mod sessions;

use std::{marker::PhantomData, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    secret::{NotASecret, Secret},
    sessions::{Session, SessionId, SessionPolicy, Sessions},
};
use crate::{
    error::{Error, Result},
    port::memory::Memory,
};

/// A name and a life, and where it is remembered.
#[derive(Clone)]
struct Space {
    memory: Arc<dyn Memory>,
    /// What its keys begin with.
    prefix: String,
    life: Duration,
}

impl Space {
    /// What is of another kind has other keys, and so has another name: a name ends where its length says.
    fn new(memory: Arc<dyn Memory>, kind: char, name: &str, life: Duration) -> Self {
        Self { memory, prefix: format!("{kind}{}:{name}:", name.len()), life }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Of the set of keys that have a tag. No kind begins like this.
    fn tag(&self, tag: &str) -> String {
        format!("#{}{tag}", self.prefix)
    }
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::internal("what was to be remembered has no form in JSON", error))
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|error| Error::internal("what was remembered is of another form", error))
}

/// Values under keys.
///
/// ```no_run
/// # async fn example(memory: std::sync::Arc<dyn domain::Memory>) -> domain::Result<()> {
/// use std::time::Duration;
/// use domain::Values;
///
/// let drafts = Values::<String>::new(memory, "drafts", Duration::from_secs(3_600));
/// drafts.set("letter 7", &"Dear Ada".to_owned()).await?;
/// assert_eq!(drafts.look_up("letter 7").await?.as_deref(), Some("Dear Ada"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Values<T>(Space, PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned> Values<T> {
    /// Values that are remembered for so long.
    pub fn new(memory: Arc<dyn Memory>, name: &str, life: Duration) -> Self {
        Self(Space::new(memory, 'v', name, life), PhantomData)
    }

    /// Keeps a value, in place of another that may have been there.
    pub async fn set(&self, key: &str, value: &T) -> Result<()> {
        self.set_for(key, value, self.0.life).await
    }

    /// The same for another time than usual.
    pub async fn set_for(&self, key: &str, value: &T, life: Duration) -> Result<()> {
        Ok(self.0.memory.set(&self.0.key(key), json(value)?.into(), life).await?)
    }

    /// Keeps a value that is [deleted](Self::delete_tagged) together with others of the same tag. A tag lasts for the usual
    /// life of the values after it was last given: a value that is prolonged beyond that loses it.
    pub async fn set_tagged(&self, key: &str, value: &T, tags: &[&str]) -> Result<()> {
        // Before the value: who deletes what has the tag finds every value that was there by then.
        for tag in tags {
            self.0.memory.add(&self.0.tag(tag), key.as_bytes(), self.0.life).await?;
        }
        self.set(key, value).await
    }

    /// The value of a key.
    pub async fn look_up(&self, key: &str) -> Result<Option<T>> {
        Ok(self.look_up_all(&[key]).await?.pop().flatten())
    }

    /// The values of several keys, in their order.
    pub async fn look_up_all(&self, keys: &[impl AsRef<str>]) -> Result<Vec<Option<T>>> {
        let keys = keys.iter().map(|key| self.0.key(key.as_ref())).collect::<Vec<_>>();
        let found = self.0.memory.look_up(&keys).await?;
        found.into_iter().map(|value| value.map(|value| read(&value)).transpose()).collect()
    }

    /// Deletes a value and gives it: of all who take it, one gets it.
    pub async fn take(&self, key: &str) -> Result<Option<T>> {
        self.0.memory.take(&self.0.key(key)).await?.map(|value| read(&value)).transpose()
    }

    /// Lets the life of a value start anew; whether it is there.
    pub async fn prolong(&self, key: &str) -> Result<bool> {
        self.prolong_for(key, self.0.life).await
    }

    /// Lets the life of a value end in so much time; whether it is there.
    pub async fn prolong_for(&self, key: &str, life: Duration) -> Result<bool> {
        Ok(self.0.memory.prolong(&self.0.key(key), life).await?)
    }

    /// Deletes a value; whether it was there.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.0.memory.delete(&self.0.key(key)).await?)
    }

    /// Deletes the values that were set with this tag; how many were there.
    ///
    /// # Errors
    /// [`Error::MemoryUnavailable`]: then some may be deleted. Those that are not still have the tag.
    pub async fn delete_tagged(&self, tag: &str) -> Result<u64> {
        let mut deleted = 0;
        for key in self.0.memory.members(&self.0.tag(tag)).await? {
            let key = String::from_utf8_lossy(&key);
            deleted += u64::from(self.delete(&key).await?);
        }
        Ok(deleted)
    }
}

/// One-time tokens: what is sent to somebody, to come back once at most.
///
/// Only a hash of each is kept, so that who can read the memory can use none.
#[derive(Clone)]
pub struct Tokens<T>(Values<T>);

impl<T: Serialize + DeserializeOwned> Tokens<T> {
    /// Tokens that are good for so long.
    pub fn new(memory: Arc<dyn Memory>, name: &str, life: Duration) -> Self {
        Self(Values(Space::new(memory, 't', name, life), PhantomData))
    }

    /// A new token, and what it stands for.
    pub async fn issue(&self, meaning: &T) -> Result<Secret> {
        let token = Secret::new();
        self.0.set(&token.hash(), meaning).await?;
        Ok(token)
    }

    /// What a token stands for, if it is good. It is not any more then: of all who come with it, one succeeds.
    ///
    /// # Errors
    /// [`Error::MemoryUnavailable`]: then the token may be used up.
    pub async fn consume(&self, token: &Secret) -> Result<Option<T>> {
        self.0.take(&token.hash()).await
    }

    /// Makes a token worthless; whether it was good.
    pub async fn revoke(&self, token: &Secret) -> Result<bool> {
        self.0.delete(&token.hash()).await
    }
}

/// Sets under keys. A set lives as long after something was last added.
#[derive(Clone)]
pub struct Sets<T>(Space, PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned> Sets<T> {
    /// Sets that are remembered for so long.
    pub fn new(memory: Arc<dyn Memory>, name: &str, life: Duration) -> Self {
        Self(Space::new(memory, 's', name, life), PhantomData)
    }

    /// Adds a member; whether it was none before.
    pub async fn add(&self, key: &str, member: &T) -> Result<bool> {
        Ok(self.0.memory.add(&self.0.key(key), &json(member)?, self.0.life).await?)
    }

    /// Removes a member; whether it was one.
    pub async fn remove(&self, key: &str, member: &T) -> Result<bool> {
        Ok(self.0.memory.remove(&self.0.key(key), &json(member)?).await?)
    }

    /// Whether it is a member.
    pub async fn contains(&self, key: &str, member: &T) -> Result<bool> {
        Ok(self.0.memory.contains(&self.0.key(key), &json(member)?).await?)
    }

    /// All members, in the order of their JSON.
    pub async fn members(&self, key: &str) -> Result<Vec<T>> {
        let mut members = self.0.memory.members(&self.0.key(key)).await?;
        members.sort_unstable();
        members.iter().map(|member| read(member)).collect()
    }

    /// Deletes a set; whether it had members.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.0.memory.delete(&self.0.key(key)).await?)
    }
}

/// Rankings under keys, such as leaderboards: members with scores, the highest first. A ranking lives as long after a
/// score was last given.
///
/// ```no_run
/// # async fn example(memory: std::sync::Arc<dyn domain::Memory>, ada: domain::UserId) -> domain::Result<()> {
/// use std::time::Duration;
/// use domain::{Rankings, UserId};
///
/// let points = Rankings::<UserId>::new(memory, "points", Duration::from_secs(14 * 86_400));
/// points.increase("week 47", &ada, 10.0).await?;
/// let best = points.range("week 47", 0, 10).await?;
/// assert_eq!(points.rank("week 47", &ada).await?, Some(0));
/// points.trim("week 47", 1_000).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Rankings<T>(Space, PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned> Rankings<T> {
    /// Rankings that are remembered for so long.
    pub fn new(memory: Arc<dyn Memory>, name: &str, life: Duration) -> Self {
        Self(Space::new(memory, 'r', name, life), PhantomData)
    }

    /// Gives a member this score, in place of another.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the score is no number.
    pub async fn set(&self, key: &str, member: &T, score: f64) -> Result<()> {
        is_number(score)?;
        Ok(self.0.memory.rank(&self.0.key(key), &json(member)?, score, self.0.life).await?)
    }

    /// Adds to the score of a member, which is 0 at first; what it is then. Whoever else does so meanwhile, all counts.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no number.
    pub async fn increase(&self, key: &str, member: &T, by: f64) -> Result<f64> {
        is_number(by)?;
        Ok(self.0.memory.increase(&self.0.key(key), &json(member)?, by, self.0.life).await?)
    }

    /// Removes a member; whether it was one.
    pub async fn remove(&self, key: &str, member: &T) -> Result<bool> {
        Ok(self.0.memory.unrank(&self.0.key(key), &json(member)?).await?)
    }

    /// The place of a member: 0 for the first.
    pub async fn rank(&self, key: &str, member: &T) -> Result<Option<u64>> {
        Ok(self.standing(key, member).await?.map(|(rank, _)| rank))
    }

    /// The score of a member.
    pub async fn score(&self, key: &str, member: &T) -> Result<Option<f64>> {
        Ok(self.standing(key, member).await?.map(|(_, score)| score))
    }

    /// The place of a member, and its score.
    pub async fn standing(&self, key: &str, member: &T) -> Result<Option<(u64, f64)>> {
        Ok(self.0.memory.standing(&self.0.key(key), &json(member)?).await?)
    }

    /// Members and their scores in order: `count` of them, after the first `skip`.
    pub async fn range(&self, key: &str, skip: u64, count: u64) -> Result<Vec<(T, f64)>> {
        let range: Vec<(Bytes, f64)> = self.0.memory.range(&self.0.key(key), skip, count).await?;
        range.iter().map(|(member, score)| Ok((read(member)?, *score))).collect()
    }

    /// Removes all but the first `keep` members; how many were removed.
    pub async fn trim(&self, key: &str, keep: u64) -> Result<u64> {
        Ok(self.0.memory.trim(&self.0.key(key), keep).await?)
    }

    /// Removes the members whose score is less; how many were removed.
    pub async fn trim_below(&self, key: &str, score: f64) -> Result<u64> {
        is_number(score)?;
        Ok(self.0.memory.trim_below(&self.0.key(key), score).await?)
    }

    /// Deletes a ranking; whether it had members.
    pub async fn delete(&self, key: &str) -> Result<bool> {
        Ok(self.0.memory.delete(&self.0.key(key)).await?)
    }
}

fn is_number(score: f64) -> Result<()> {
    if score.is_finite() { Ok(()) } else { Err(Error::invalid("score", "number", "must be a finite number")) }
}
