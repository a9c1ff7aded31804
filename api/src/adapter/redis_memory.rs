//! What processes remember together for a while: in Redis.
//!
//! All keys begin with the prefix and `d:`. A value is a string, a set a set, a ranking a sorted set, each with the time
//! to live that it was given. Unlike copies of records these are nowhere else, and Redis must not evict them: its policy
//! has to be `noeviction`, or it has to have no limit. With any other policy, `volatile-…` too since all of it has a time
//! to live, sessions and tokens go when memory is short. Copies and this can be on servers of their own.
//!
//! The least that a user needs, beside what the cache needs, with the prefix that is set:
//!
//! ```text
//! user seabed on >password resetkeys ~seabed:* resetchannels -@all +info +set +mget +getdel +pexpire +del +multi
//!   +exec +sadd +srem +sismember +smembers +zadd +zincrby +zrem +zrevrank +zscore +zrange +zremrangebyrank
//!   +zremrangebyscore
//! ```

use std::time::Duration;

use async_trait::async_trait;
use bb8_redis::redis::{Cmd, FromRedisValue, Pipeline, Value, from_redis_value};
use bytes::Bytes;
use domain::{CacheError, Memory, MemoryError};

use super::redis_connection::{Connections, Request};

/// Where things are remembered, and how to get at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisMemoryOptions {
    /// `redis://user:password@host:6379/database`, or `rediss://…` for an encrypted connection.
    pub url: String,
    /// What all keys begin with.
    pub prefix: String,
    /// How long any operation may take. There is nothing else that could be asked instead, as there is for a cache.
    pub timeout: Duration,
    /// How many connections are kept, which all requests share.
    pub connections: u32,
}

impl RedisMemoryOptions {
    /// The defaults, for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: "seabed:".to_owned(), timeout: Duration::from_millis(500), connections: 1 }
    }
}

/// Remembers in Redis.
#[derive(Debug)]
pub struct RedisMemory {
    connections: Connections,
    prefix: String,
}

/// What Redis does when it has no more memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// How many bytes it may use; 0 if there is no limit.
    pub max_memory: u64,
    /// What it forgets when it has no more: `noeviction`, `allkeys-lru` and others.
    pub policy: String,
}

impl RedisMemory {
    /// Begins to connect, and does not wait for it. Must be called within a runtime.
    pub fn new(options: &RedisMemoryOptions) -> Self {
        Self {
            connections: Connections::open(&options.url, options.connections, options.timeout),
            prefix: format!("{}d:", options.prefix),
        }
    }

    /// Asks whether Redis may forget what it should remember.
    ///
    /// # Errors
    /// If it does not let us, or cannot be reached.
    pub async fn eviction(&self) -> Result<Eviction, MemoryError> {
        let mut command = Cmd::new();
        command.arg("INFO").arg("memory");
        let info: String = self.ask(&command).await?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(Eviction {
            max_memory: field("maxmemory").and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
            policy: field("maxmemory_policy").unwrap_or_default().to_owned(),
        })
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn command(&self, verb: &str, key: &str) -> Cmd {
        let mut command = Cmd::new();
        command.arg(verb).arg(self.name(key));
        command
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, MemoryError> {
        self.answer(Request::One(command)).await
    }

    async fn answer<T: FromRedisValue>(&self, request: Request<'_>) -> Result<T, MemoryError> {
        let answer = self.connections.ask(request).await.map_err(meaning)?;
        from_redis_value(answer).map_err(|_| MemoryError::Unexpected)
    }

    /// Changes what a key holds and lets its life start anew, at one moment; what the change answers.
    fn living(&self, change: Cmd, key: &str, life: Duration) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.atomic().add_command(change).add_command(self.life(key, life)).ignore();
        pipeline
    }

    fn life(&self, key: &str, life: Duration) -> Cmd {
        let mut command = self.command("PEXPIRE", key);
        command.arg(millis(life));
        command
    }
}

fn meaning(error: CacheError) -> MemoryError {
    match error {
        CacheError::Unreachable => MemoryError::Unreachable,
        CacheError::Timeout => MemoryError::Timeout,
        CacheError::Refused => MemoryError::Refused,
        CacheError::Full => MemoryError::Full,
        CacheError::CircuitOpen => MemoryError::CircuitOpen,
        CacheError::Lost | CacheError::Unexpected => MemoryError::Unexpected,
    }
}

/// As Redis is told it, which takes no life of nothing, and none that ends after its time does.
fn millis(life: Duration) -> u64 {
    const FOR_EVER: u64 = 100 * 365 * 24 * 60 * 60 * 1_000;
    u64::try_from(life.as_millis()).unwrap_or(FOR_EVER).clamp(1, FOR_EVER)
}

fn only<T>((answer,): (T,)) -> T {
    answer
}

#[async_trait]
impl Memory for RedisMemory {
    async fn set(&self, key: &str, value: Bytes, life: Duration) -> Result<(), MemoryError> {
        let mut command = self.command("SET", key);
        command.arg(value.as_ref()).arg("PX").arg(millis(life));
        self.ask(&command).await
    }

    async fn look_up(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>, MemoryError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = Cmd::new();
        command.arg("MGET");
        keys.iter().for_each(|key| _ = command.arg(self.name(key)));
        let values = self.ask::<Vec<Value>>(&command).await?;
        let bytes = |value| match value {
            Value::BulkString(value) => Ok(Some(Bytes::from(value))),
            Value::Nil => Ok(None),
            _ => Err(MemoryError::Unexpected),
        };
        values.into_iter().map(bytes).collect()
    }

    async fn take(&self, key: &str) -> Result<Option<Bytes>, MemoryError> {
        match self.answer(Request::Once(&self.command("GETDEL", key))).await? {
            Value::BulkString(value) => Ok(Some(Bytes::from(value))),
            Value::Nil => Ok(None),
            _ => Err(MemoryError::Unexpected),
        }
    }

    async fn prolong(&self, key: &str, life: Duration) -> Result<bool, MemoryError> {
        self.ask(&self.life(key, life)).await
    }

    async fn delete(&self, key: &str) -> Result<bool, MemoryError> {
        self.answer(Request::Once(&self.command("DEL", key))).await
    }

    async fn add(&self, key: &str, member: &[u8], life: Duration) -> Result<bool, MemoryError> {
        let mut add = self.command("SADD", key);
        add.arg(member);
        self.answer(Request::AllOnce(&self.living(add, key, life))).await.map(only)
    }

    async fn remove(&self, key: &str, member: &[u8]) -> Result<bool, MemoryError> {
        self.answer(Request::Once(self.command("SREM", key).arg(member))).await
    }

    async fn contains(&self, key: &str, member: &[u8]) -> Result<bool, MemoryError> {
        self.ask(self.command("SISMEMBER", key).arg(member)).await
    }

    async fn members(&self, key: &str) -> Result<Vec<Bytes>, MemoryError> {
        let members = self.ask::<Vec<Vec<u8>>>(&self.command("SMEMBERS", key)).await?;
        Ok(members.into_iter().map(Bytes::from).collect())
    }

    async fn rank(&self, key: &str, member: &[u8], score: f64, life: Duration) -> Result<(), MemoryError> {
        let mut rank = self.command("ZADD", key);
        rank.arg(score).arg(member);
        self.answer::<(i64,)>(Request::All(&self.living(rank, key, life))).await.map(drop)
    }

    async fn increase(&self, key: &str, member: &[u8], by: f64, life: Duration) -> Result<f64, MemoryError> {
        let mut increase = self.command("ZINCRBY", key);
        increase.arg(by).arg(member);
        self.answer(Request::AllOnce(&self.living(increase, key, life))).await.map(only)
    }

    async fn unrank(&self, key: &str, member: &[u8]) -> Result<bool, MemoryError> {
        self.answer(Request::Once(self.command("ZREM", key).arg(member))).await
    }

    async fn standing(&self, key: &str, member: &[u8]) -> Result<Option<(u64, f64)>, MemoryError> {
        let mut pipeline = Pipeline::new();
        let (mut rank, mut score) = (self.command("ZREVRANK", key), self.command("ZSCORE", key));
        rank.arg(member);
        score.arg(member);
        pipeline.atomic().add_command(rank).add_command(score);
        let (rank, score) = self.answer::<(Option<u64>, Option<f64>)>(Request::All(&pipeline)).await?;
        Ok(rank.zip(score))
    }

    async fn range(&self, key: &str, skip: u64, count: u64) -> Result<Vec<(Bytes, f64)>, MemoryError> {
        let mut command = self.command("ZRANGE", key);
        let last = skip.saturating_add(count).min(i64::MAX as u64);
        if last <= skip {
            return Ok(Vec::new());
        }
        command.arg(skip).arg(last - 1).arg("REV").arg("WITHSCORES");
        let range = self.ask::<Vec<(Vec<u8>, f64)>>(&command).await?;
        Ok(range.into_iter().map(|(member, score)| (Bytes::from(member), score)).collect())
    }

    async fn trim(&self, key: &str, keep: u64) -> Result<u64, MemoryError> {
        // Counted from the highest score, which is at the end.
        let last = i64::try_from(keep).unwrap_or(i64::MAX - 1);
        let mut command = self.command("ZREMRANGEBYRANK", key);
        command.arg(0).arg(-last - 1);
        self.answer(Request::Once(&command)).await
    }

    async fn trim_below(&self, key: &str, score: f64) -> Result<u64, MemoryError> {
        let mut command = self.command("ZREMRANGEBYSCORE", key);
        command.arg("-inf").arg(format!("({score}"));
        self.answer(Request::Once(&command)).await
    }
}
