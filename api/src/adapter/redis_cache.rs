//! The cache that processes share: copies in Redis.
//!
//! All keys have one prefix. What is behind it:
//!
//! - `meta`: a hash of `run` and `timeline`, which the memory belongs to, its `epoch`, and `seq`, the counter of
//!   renewals.
//! - `lease`: 8 bytes of epoch and the counter in decimals, until the moment up to which everything kept is fresh.
//! - `e` and the 16 bytes of a key: an entry. It is a token, `?`, the epoch, and its id in 16 bytes; or a value, `=`,
//!   the epoch, the 16 bytes of the stamp it depends on (zeros for none), and the payload.
//! - `s` and the 16 bytes of a key: a stamp, 16 random bytes. It lives as long as the longest of what depends on it,
//!   and what depends on another one is a miss.
//!
//! A look-up is one `MGET`; to invalidate is one `UNLINK`; the other steps are scripts, each at one moment. Redis may
//! evict any of these keys, and lose all of them: what is gone is a miss, a token that is gone forbids to fill, and
//! without a lease nothing is served. So `allkeys-lru` is as good a policy as any.
//!
//! A process believes a lease only for as long as it may run after it was seen not to have been made yet, by the clock of
//! the process; and a relay renews it for as long after its observation, by its own. So even where the clock of Redis
//! stands still or is set back, nothing is served that was not current within twice the freshness.
//!
//! The least that a user needs, with the prefix that is set:
//!
//! ```text
//! user seabed on >password resetkeys ~seabed:* resetchannels -@all +mget +unlink +pexpire +pttl +time +info +evalsha
//!   +script|load +get +getrange +set +del +hget +hmget +hset +hincrby
//! ```
//!
//! and `+select` where the URL names another database than 0. It should have a server, or a database, of its own: no
//! other user should be able to write what is kept here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bb8_redis::redis::{Cmd, Pipeline, Value};
use bytes::Bytes;
use domain::{Cache, CacheError, Fill, Key, LookUp, Observation, Slot, TOKEN_LIFE, Token};
use tokio::time::Instant;

use super::redis_connection::{Answer, Connections, Request};

mod script;
mod watch;

use script::Script;
use watch::{Lease, Look, Watch};

/// Where copies are kept, and how to get at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisOptions {
    /// `redis://user:password@host:6379/database`, or `rediss://…` for an encrypted connection.
    pub url: String,
    /// What all keys begin with.
    pub prefix: String,
    /// How long any operation may take.
    pub timeout: Duration,
    /// How long the cache may be trusted after it was renewed. It is what [`Cache::renew`] is given.
    pub freshness: Duration,
    /// How many connections are kept, which all requests share.
    pub connections: u32,
}

impl RedisOptions {
    /// The defaults, for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "seabed:".to_owned(),
            timeout: Duration::from_millis(50),
            freshness: Duration::from_secs(1),
            // Measured with 64 callers on two cores: 4.3 µs of our time for a hit, 5.0 with two, 11.3 with one each.
            connections: 1,
        }
    }
}

/// Keeps copies in Redis.
#[derive(Debug)]
pub struct RedisCache {
    connections: Connections,
    prefix: Vec<u8>,
    freshness: Duration,
    watch: Watch,
    acquire: Script,
    fill: Script,
    invalidate_all: Script,
    renew: Script,
    refused: Script,
}

/// What Redis tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisStatus {
    /// Its version.
    pub version: String,
    /// How long it took to answer.
    pub latency: Duration,
    /// How many bytes it may use; 0 if there is no limit.
    pub max_memory: u64,
    /// What it forgets when it has no more: `noeviction`, `allkeys-lru` and others.
    pub policy: String,
    /// The commands that it does not let us run, though we have to.
    pub refused: Vec<String>,
}

/// How many bytes come before the payload of a value: its kind, its epoch and its stamp. A token has no more than
/// these.
const HEAD: usize = 1 + 8 + 16;
const VALUE: u8 = b'=';
const TOKEN: u8 = b'?';
/// How many keys are invalidated at one moment.
const MANY: usize = 1_000;

impl RedisCache {
    /// Begins to connect, and does not wait for it. Must be called within a runtime.
    pub fn new(options: &RedisOptions) -> Self {
        Self {
            connections: Connections::open(&options.url, options.connections, options.timeout),
            prefix: options.prefix.clone().into_bytes(),
            freshness: options.freshness,
            watch: Watch::default(),
            acquire: Script::new(include_str!("redis_cache/acquire.lua")),
            fill: Script::new(include_str!("redis_cache/fill.lua")),
            invalidate_all: Script::new(include_str!("redis_cache/invalidate_all.lua")),
            renew: Script::new(include_str!("redis_cache/renew.lua")),
            refused: Script::new(include_str!("redis_cache/refused.lua")),
        }
    }

    /// Looks at the server.
    ///
    /// # Errors
    /// If it does not let us.
    pub async fn status(&self) -> Result<RedisStatus, CacheError> {
        let mut info = Cmd::new();
        info.arg("INFO");
        // The first question may have to wait for a connection.
        self.connections.ask(Request::One(&info)).await?;
        let asked = Instant::now();
        let info = text(self.connections.ask(Request::One(&info)).await?)?;
        let latency = asked.elapsed();
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let keys = [self.meta(), self.lease(), self.entry(&Key::of("status"))];
        let refused = match self.refused.run(&self.connections, &keys, &[]).await {
            Err(CacheError::Refused) => vec!["evalsha or script|load".to_owned()],
            refused => array(refused?)?.into_iter().map(text).collect::<Result<_, _>>()?,
        };
        Ok(RedisStatus {
            version: field("redis_version").unwrap_or_default().to_owned(),
            latency,
            max_memory: field("maxmemory").and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
            policy: field("maxmemory_policy").unwrap_or_default().to_owned(),
            refused,
        })
    }

    fn meta(&self) -> Vec<u8> {
        [self.prefix.as_slice(), b"meta"].concat()
    }

    fn lease(&self) -> Vec<u8> {
        [self.prefix.as_slice(), b"lease"].concat()
    }

    fn entry(&self, key: &Key) -> Vec<u8> {
        [self.prefix.as_slice(), b"e", key.bytes()].concat()
    }

    fn stamp(&self, key: &Key) -> Vec<u8> {
        [self.prefix.as_slice(), b"s", key.bytes()].concat()
    }

    /// `meta`, the entries, the stamps.
    fn keys<'a>(&self, slots: impl Iterator<Item = &'a Slot>, stamps: &Stamps) -> Vec<Vec<u8>> {
        let entries = slots.map(|slot| self.entry(&slot.key));
        let stamps = stamps.keys.iter().map(|key| self.stamp(key));
        std::iter::once(self.meta()).chain(entries).chain(stamps).collect()
    }

    /// The epoch that a lease testifies for, if it is believed.
    fn testified(&self, lease: Value, run: Arc<str>, asked: Instant) -> Option<u64> {
        let lease = lease_of(lease);
        self.watch.believes(Look { run, lease, asked }, self.freshness).then_some(lease?.epoch)
    }

    /// Lets the lives of slots that were hit start anew. Nobody waits for it.
    ///
    /// Between the look-up and this, the entry may have become somebody's token. If that one goes away without
    /// filling, its token lives for longer than tokens do, and the slot stays empty for as long; that is all.
    async fn prolong(&self, hits: impl Iterator<Item = (&Slot, Duration)>) -> Result<(), CacheError> {
        for (slot, life) in hits {
            let mut entry = Cmd::new();
            entry.arg("PEXPIRE").arg(self.entry(&slot.key)).arg(millis(life)).set_no_response(true);
            self.connections.ask(Request::One(&entry)).await?;
            if let Some(stamp) = &slot.stamp {
                let mut command = Cmd::new();
                command.arg("PEXPIRE").arg(self.stamp(stamp)).arg(millis(life)).arg("GT").set_no_response(true);
                self.connections.ask(Request::One(&command)).await?;
            }
        }
        Ok(())
    }
}

/// What slots depend on, each once.
#[derive(Debug, Default)]
struct Stamps {
    keys: Vec<Key>,
    places: HashMap<Key, usize>,
}

impl Stamps {
    fn of<'a>(slots: impl Iterator<Item = &'a Slot>) -> Self {
        let mut stamps = Self::default();
        for stamp in slots.filter_map(|slot| slot.stamp) {
            stamps.places.entry(stamp).or_insert_with(|| {
                stamps.keys.push(stamp);
                stamps.keys.len()
            });
        }
        stamps
    }

    /// Which one is the slot's, counted from 1; 0 if it depends on none.
    fn place(&self, slot: &Slot) -> usize {
        slot.stamp.and_then(|stamp| self.places.get(&stamp).copied()).unwrap_or(0)
    }
}

#[async_trait]
impl Cache for RedisCache {
    fn is_shared(&self) -> bool {
        true
    }

    async fn look_up(&self, slots: &[Slot]) -> Result<LookUp, CacheError> {
        let stamps = Stamps::of(slots.iter());
        let count = 2 + slots.len() + stamps.keys.len();
        let mut command = Cmd::with_capacity(count, count * (self.prefix.len() + HEAD));
        command.arg("MGET");
        // One buffer for all names.
        let mut name = self.prefix.clone();
        let kinds = slots.iter().map(|slot| (b'e', &slot.key)).chain(stamps.keys.iter().map(|stamp| (b's', stamp)));
        for (kind, key) in kinds {
            name.truncate(self.prefix.len());
            name.push(kind);
            name.extend_from_slice(key.bytes());
            command.arg(name.as_slice());
        }
        name.truncate(self.prefix.len());
        name.extend_from_slice(b"lease");
        command.arg(name.as_slice());

        let asked = Instant::now();
        let Answer { value, run } = self.connections.ask_one(Request::One(&command)).await?;
        let mut answers = array(value)?;
        if answers.len() + 1 != count {
            return Err(CacheError::Unexpected);
        }
        let Some(epoch) = answers.pop().and_then(|lease| self.testified(lease, run, asked)) else {
            return Ok(LookUp::Stale);
        };
        let held = answers.split_off(slots.len());
        let values: Vec<_> = (slots.iter().zip(answers))
            .map(|(slot, entry)| match stamps.place(slot) {
                0 => payload(entry, epoch, 0),
                place => payload(entry, epoch, number(held.get(place - 1)?)?),
            })
            .collect();
        let hits = slots.iter().zip(&values).filter(|(_, value)| value.is_some());
        // What cannot be prolonged ends earlier.
        self.prolong(hits.filter_map(|(slot, _)| Some((slot, slot.sliding?)))).await.ok();
        Ok(LookUp::Fresh(values))
    }

    async fn acquire(&self, slots: &[Slot]) -> Result<Vec<Option<Token>>, CacheError> {
        let stamps = Stamps::of(slots.iter());
        let ids: Vec<u128> = slots.iter().map(|_| rand::random()).collect();
        let mut arguments = vec![millis(TOKEN_LIFE).into_bytes(), slots.len().to_string().into_bytes()];
        for (slot, id) in slots.iter().zip(&ids) {
            arguments.push(id.to_be_bytes().to_vec());
            arguments.push(stamps.place(slot).to_string().into_bytes());
        }
        arguments.extend(stamps.keys.iter().map(|_| rand::random::<u128>().to_be_bytes().to_vec()));
        let answer = self.acquire.run(&self.connections, &self.keys(slots.iter(), &stamps), &arguments).await?;
        if answer == Value::Nil {
            // It has never been renewed, and has no epoch that could be filled.
            return Ok(vec![None; slots.len()]);
        }
        let [epoch, acquired, held] = array(answer)?.try_into().map_err(|_| CacheError::Unexpected)?;
        let epoch = match epoch {
            Value::BulkString(epoch) => u64::from_be_bytes(epoch.try_into().map_err(|_| CacheError::Unexpected)?),
            _ => return Err(CacheError::Unexpected),
        };
        let (acquired, held) = (array(acquired)?, array(held)?);
        if (acquired.len(), held.len()) != (slots.len(), stamps.keys.len()) {
            return Err(CacheError::Unexpected);
        }
        let tokens = slots.iter().zip(ids).zip(acquired).map(|((slot, id), acquired)| {
            let stamp = match stamps.place(slot) {
                0 => Some(0),
                place => held.get(place - 1).and_then(number),
            };
            let stamp = stamp.ok_or(CacheError::Unexpected)?;
            Ok((acquired == Value::Int(1)).then_some(Token { id, epoch, stamp }))
        });
        tokens.collect()
    }

    async fn fill(&self, fills: Vec<Fill>) -> Result<usize, CacheError> {
        let stamps = Stamps::of(fills.iter().map(|fill| &fill.slot));
        let keys = self.keys(fills.iter().map(|fill| &fill.slot), &stamps);
        let mut arguments = vec![fills.len().to_string().into_bytes()];
        for Fill { slot, token, value, life } in fills {
            arguments.push(head(TOKEN, token.epoch, token.id).to_vec());
            arguments.push([&head(VALUE, token.epoch, token.stamp), value.as_ref()].concat());
            arguments.push(millis(life).into_bytes());
            arguments.push(stamps.place(&slot).to_string().into_bytes());
        }
        match self.fill.run(&self.connections, &keys, &arguments).await? {
            Value::Int(kept) => usize::try_from(kept).map_err(|_| CacheError::Unexpected),
            _ => Err(CacheError::Unexpected),
        }
    }

    async fn invalidate(&self, keys: &[Key]) -> Result<(), CacheError> {
        for keys in keys.chunks(MANY) {
            let mut command = Cmd::with_capacity(1 + 2 * keys.len(), 2 * keys.len() * (self.prefix.len() + HEAD));
            command.arg("UNLINK");
            for key in keys {
                command.arg(self.entry(key)).arg(self.stamp(key));
            }
            self.connections.ask(Request::One(&command)).await?;
        }
        Ok(())
    }

    async fn invalidate_all(&self) -> Result<(), CacheError> {
        let epoch: u64 = rand::random();
        let keys = [self.meta(), self.lease()];
        self.invalidate_all.run(&self.connections, &keys, &[epoch.to_be_bytes().to_vec()]).await?;
        Ok(())
    }

    async fn observe(&self) -> Result<Observation, CacheError> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("TIME").cmd("PTTL").arg(self.lease()).cmd("GET").arg(self.lease());
        let seen = Instant::now();
        let Answer { value, run } = self.connections.ask_one(Request::All(&pipeline)).await?;
        let [time, left, lease] = array(value)?.try_into().map_err(|_| CacheError::Unexpected)?;
        let [seconds, micros] = array(time)?.try_into().map_err(|_| CacheError::Unexpected)?;
        let number = |value| text(value)?.parse::<u64>().map_err(|_| CacheError::Unexpected);
        let at_ms = number(seconds)? * 1_000 + number(micros)? / 1_000;
        let left = match left {
            // Below zero there is none.
            Value::Int(left) => Duration::from_millis(u64::try_from(left).unwrap_or(0)),
            _ => return Err(CacheError::Unexpected),
        };
        // One that is not believed here is none: so this process renews it, and by that sees it move.
        let left = if self.testified(lease, Arc::clone(&run), seen).is_some() { left } else { Duration::ZERO };
        Ok(Observation { at_ms, run: run.to_string(), left, seen })
    }

    async fn renew(&self, observed: &Observation, timeline: &str, freshness: Duration) -> Result<(), CacheError> {
        if observed.seen.elapsed() >= freshness {
            return Err(CacheError::Lost);
        }
        let life = u64::try_from(freshness.as_millis()).unwrap_or(u64::MAX);
        let arguments = [
            observed.run.clone().into_bytes(),
            timeline.to_owned().into_bytes(),
            observed.at_ms.saturating_add(life).to_string().into_bytes(),
            life.to_string().into_bytes(),
            rand::random::<u64>().to_be_bytes().to_vec(),
        ];
        match self.renew.run(&self.connections, &[self.meta(), self.lease()], &arguments).await? {
            Value::Int(1) => Ok(()),
            Value::Int(_) => Err(CacheError::Lost),
            _ => Err(CacheError::Unexpected),
        }
    }
}

/// What a token is, and what a value begins with.
fn head(kind: u8, epoch: u64, id: u128) -> [u8; HEAD] {
    let mut head = [kind; HEAD];
    head[1..9].copy_from_slice(&epoch.to_be_bytes());
    head[9..].copy_from_slice(&id.to_be_bytes());
    head
}

/// What there is of a lease, if it is one.
fn lease_of(lease: Value) -> Option<Lease> {
    let Value::BulkString(lease) = lease else { return None };
    let (epoch, counter) = lease.split_first_chunk()?;
    let counter = std::str::from_utf8(counter).ok()?.parse().ok()?;
    Some(Lease { epoch: u64::from_be_bytes(*epoch), counter })
}

/// What is kept in an entry, if that is a value of this epoch and depends on this stamp. Nothing is copied.
fn payload(entry: Value, epoch: u64, stamp: u128) -> Option<Bytes> {
    let Value::BulkString(entry) = entry else { return None };
    entry.starts_with(&head(VALUE, epoch, stamp)).then(|| Bytes::from(entry).slice(HEAD..))
}

/// The number that a stamp is.
fn number(stamp: &Value) -> Option<u128> {
    match stamp {
        Value::BulkString(stamp) => Some(u128::from_be_bytes(stamp.as_slice().try_into().ok()?)),
        _ => None,
    }
}

fn array(value: Value) -> Result<Vec<Value>, CacheError> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(CacheError::Unexpected),
    }
}

fn text(value: Value) -> Result<String, CacheError> {
    match value {
        Value::BulkString(text) => String::from_utf8(text).map_err(|_| CacheError::Unexpected),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => Ok(text),
        _ => Err(CacheError::Unexpected),
    }
}

/// As Redis is told it, which takes no life of nothing.
fn millis(life: Duration) -> String {
    life.as_millis().max(1).to_string()
}
