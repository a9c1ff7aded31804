//! The cache in Redis without one of the rules.

use std::{sync::Arc, time::Duration};

use api::adapter::redis_cache::RedisCache;
use async_trait::async_trait;
use bytes::Bytes;
use domain::{Cache, CacheError, Fill, Key, LookUp, Observation, Slot, Token};
use redis::{Cmd, FromRedisValue, cmd};
use tests::protocol::Variant;

use super::gate::Role;

const LEASE: &str = "seabed:lease";
const META: &str = "seabed:meta";
/// What is before the payload of a value: its kind, its epoch and its stamp.
const HEAD: usize = 25;

/// What is broken, for which participant.
pub(super) struct Broken {
    pub(super) cache: Arc<RedisCache>,
    pub(super) variant: Variant,
    pub(super) role: Role,
    pub(super) freshness: Duration,
    /// Of a user who may do everything.
    pub(super) client: redis::Client,
}

impl Broken {
    fn is(&self, variants: &[Variant]) -> bool {
        variants.contains(&self.variant)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, CacheError> {
        let answer = async {
            let mut connection = self.client.get_multiplexed_async_connection().await?;
            command.query_async(&mut connection).await
        };
        // The server ends before those who use it.
        answer.await.map_err(|_: redis::RedisError| CacheError::Unreachable)
    }

    async fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, CacheError> {
        self.ask(cmd("GET").arg(name)).await
    }

    async fn epoch(&self) -> Result<Option<Vec<u8>>, CacheError> {
        self.ask(cmd("HGET").arg(META).arg("epoch")).await
    }

    /// Keeps a value under the epoch of this moment, whoever has a token.
    async fn store(&self, fill: &Fill) -> Result<usize, CacheError> {
        let Some(epoch) = self.epoch().await? else { return Ok(0) };
        let value = [b"=", epoch.as_slice(), &[0; 16], &fill.value].concat();
        let life = fill.life.as_millis().to_string();
        self.ask::<()>(cmd("SET").arg(entry(&fill.slot.key)).arg(value).arg("PX").arg(life)).await?;
        Ok(1)
    }
}

fn entry(key: &Key) -> Vec<u8> {
    [b"seabed:e", key.bytes().as_slice()].concat()
}

fn mark(key: &Key) -> Vec<u8> {
    [b"mark:", key.bytes().as_slice()].concat()
}

#[async_trait]
impl Cache for Broken {
    fn is_shared(&self) -> bool {
        true
    }

    async fn look_up(&self, slots: &[Slot]) -> Result<LookUp, CacheError> {
        if !self.is(&[Variant::NoLease, Variant::NoEpoch, Variant::NoOwnClock]) {
            return self.cache.look_up(slots).await;
        }
        let kept = self.get(&entry(&slots[0].key)).await?.filter(|kept| kept.starts_with(b"="));
        let (lease, epoch) = (self.get(LEASE.as_bytes()).await?, self.epoch().await?);
        let is_served = kept.as_ref().is_some_and(|kept| match self.variant {
            Variant::NoLease => epoch.is_some_and(|epoch| kept[1..9] == epoch),
            Variant::NoEpoch => lease.is_some(),
            _ => lease.is_some_and(|lease| kept[1..9] == lease[..8]),
        });
        Ok(LookUp::Fresh(vec![kept.filter(|_| is_served).map(|kept| Bytes::from(kept).slice(HEAD..))]))
    }

    async fn acquire(&self, slots: &[Slot]) -> Result<Vec<Option<Token>>, CacheError> {
        if self.is(&[Variant::NoTokens, Variant::Tombstones, Variant::ReadBeforeAcquire]) {
            return Ok(vec![Some(Token { id: 0, epoch: 0, stamp: 0 }); slots.len()]);
        }
        self.cache.acquire(slots).await
    }

    async fn fill(&self, fills: Vec<Fill>) -> Result<usize, CacheError> {
        let key = fills[0].slot.key;
        match self.variant {
            Variant::NoTokens => self.store(&fills[0]).await,
            Variant::Tombstones if self.get(&mark(&key)).await?.is_some() => Ok(0),
            Variant::Tombstones => self.store(&fills[0]).await,
            Variant::EpochOfFill => {
                let kept = self.get(&entry(&key)).await?.unwrap_or_default();
                let is_ours = kept.starts_with(b"?") && kept[9..HEAD] == fills[0].token.id.to_be_bytes();
                if is_ours { self.store(&fills[0]).await } else { Ok(0) }
            }
            Variant::ReadBeforeAcquire => {
                let token = self.cache.acquire(&[fills[0].slot]).await?.remove(0);
                let fills = fills.into_iter().filter_map(|fill| Some(Fill { token: token?, ..fill }));
                self.cache.fill(fills.collect()).await
            }
            _ => self.cache.fill(fills).await,
        }
    }

    async fn invalidate(&self, keys: &[Key]) -> Result<(), CacheError> {
        if self.variant == Variant::OutboxAlone && self.role == Role::Writer {
            return Ok(());
        }
        if self.variant == Variant::Tombstones {
            let life = self.freshness.as_millis().to_string();
            for key in keys {
                self.ask::<()>(cmd("SET").arg(mark(key)).arg("").arg("PX").arg(&life)).await?;
            }
        }
        self.cache.invalidate(keys).await
    }

    async fn invalidate_all(&self) -> Result<(), CacheError> {
        if self.variant == Variant::StarKeepsLease {
            let epoch = rand::random::<u64>().to_be_bytes();
            self.ask::<()>(cmd("HSET").arg(META).arg("epoch").arg(&epoch)).await?;
            return Ok(());
        }
        self.cache.invalidate_all().await
    }

    async fn observe(&self) -> Result<Observation, CacheError> {
        self.cache.observe().await
    }

    async fn renew(&self, observed: &Observation, timeline: &str, freshness: Duration) -> Result<(), CacheError> {
        let (run, epoch): (Option<String>, Option<Vec<u8>>) =
            self.ask(cmd("HMGET").arg(META).arg("run").arg("epoch")).await?;
        let (Variant::RunFromMemory, Some(epoch)) = (self.variant, epoch) else {
            return self.cache.renew(observed, timeline, freshness).await;
        };
        if run.as_deref() != Some(&observed.run) {
            return Err(CacheError::Lost);
        }
        let counter: u64 = self.ask(cmd("HINCRBY").arg(META).arg("seq").arg(1)).await?;
        let lease = [epoch.as_slice(), counter.to_string().as_bytes()].concat();
        let until = (u128::from(observed.at_ms) + freshness.as_millis()).to_string();
        self.ask::<()>(cmd("SET").arg(LEASE).arg(lease).arg("PXAT").arg(until)).await?;
        Ok(())
    }
}
