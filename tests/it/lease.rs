//! The lease of the cache in Redis is believed only by those who see it move, by clocks of their own. So whatever becomes
//! of Redis' clock and of its memory, nothing is served for long; and whoever lost sight of it sees it again by itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api::adapter::redis_cache::{RedisCache, RedisOptions};
use bytes::Bytes;
use domain::{Cache, CachePolicy, Fill, Key, LookUp, Slot, Store, SystemClock, User};
use tests::{Backend, PATIENCE, Proxy, Redis, database, eventually, or_skip, run::LIMIT, within};

use crate::fixture::{options, user};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
/// Short enough to be waited out.
const SHORT: Duration = Duration::from_millis(300);
/// How soon it has to be in use again.
const RECOVERY: Duration = Duration::from_secs(5);

const MISS: LookUp = LookUp::Fresh(Vec::new());

/// One process' view of the cache, that believes a lease for so long.
fn view(server: &Redis, freshness: Duration) -> RedisCache {
    RedisCache::new(&RedisOptions { timeout: PATIENCE, freshness, ..RedisOptions::new(server.url()) })
}

fn slot() -> Slot {
    Slot::new(Key::of("a"))
}

/// Renews it, and tells by when it was not made yet.
async fn renew(cache: &RedisCache, freshness: Duration) -> Instant {
    let observed = cache.observe().await.unwrap();
    cache.renew(&observed, "one", freshness).await.unwrap();
    observed.seen.into_std()
}

async fn look(cache: &RedisCache) -> LookUp {
    cache.look_up(&[]).await.unwrap()
}

#[test]
fn a_lease_that_is_seen_first_is_refused_until_it_moves() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let (one, other) = (view(&server, LONG), view(&server, LONG));
        renew(&one, LONG).await;
        assert_eq!(look(&one).await, MISS, "it saw that there was none");
        for _ in 0..3 {
            assert_eq!(look(&other).await, LookUp::Stale, "it may be as old as it likes");
            assert_eq!(other.observe().await.unwrap().left, Duration::ZERO, "this process has to renew it");
        }
        // Within a millisecond it need not move.
        eventually("it moves", PATIENCE, async || {
            renew(&one, LONG).await;
            (look(&other).await == MISS).then_some(())
        })
        .await;
        assert!(other.observe().await.unwrap().left > LONG / 2, "now it need not");
    });
}

#[test]
fn who_renews_it_sees_it_move() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let (one, other) = (view(&server, LONG), view(&server, LONG));
        renew(&one, LONG).await;
        assert_eq!(look(&other).await, LookUp::Stale);
        eventually("it moves", PATIENCE, async || {
            renew(&other, LONG).await;
            (look(&other).await == MISS).then_some(())
        })
        .await;
        assert_eq!(look(&one).await, MISS, "and who looked before sees it, too");
    });
}

/// It may have moved long ago.
#[test]
fn a_move_that_was_not_watched_says_nothing() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let (one, other) = (view(&server, LONG), view(&server, SHORT));
        renew(&one, LONG).await;
        assert_eq!(look(&other).await, LookUp::Stale);
        let seen = Instant::now();
        eventually("it is not looked at for long", PATIENCE, async || (seen.elapsed() > SHORT).then_some(())).await;
        renew(&one, LONG).await;
        for _ in 0..3 {
            assert_eq!(look(&other).await, LookUp::Stale);
        }
        eventually("it is watched", PATIENCE, async || {
            renew(&one, LONG).await;
            (look(&other).await == MISS).then_some(())
        })
        .await;
    });
}

/// To Redis it then runs for ever.
#[test]
fn a_redis_whose_clock_stands_still_soon_serves_nothing() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let (one, other) = (view(&server, SHORT), view(&server, SHORT));
        let unmade = eventually("a value is kept", PATIENCE, async || {
            // Both watch, and only one renews.
            look(&other).await;
            let unmade = renew(&one, SHORT).await;
            server.ask::<()>(&["PERSIST", "seabed:lease"]).await;
            let token = one.acquire(&[slot()]).await.unwrap().remove(0);
            if let Some(token) = token {
                let value = Bytes::from_static(b"value");
                one.fill(vec![Fill { slot: slot(), token, value, life: LONG }]).await.unwrap();
            }
            let kept = LookUp::Fresh(vec![Some(Bytes::from_static(b"value"))]);
            let found = [one.look_up(&[slot()]).await.unwrap(), other.look_up(&[slot()]).await.unwrap()];
            (found == [kept.clone(), kept]).then_some(unmade)
        })
        .await;
        eventually("neither serves it", PATIENCE, async || {
            let asked = Instant::now();
            let found = [look(&one).await, look(&other).await];
            assert!(asked < unmade + 2 * SHORT || found == [LookUp::Stale, LookUp::Stale], "{:?}", unmade.elapsed());
            // Some time after it is over, too.
            (asked > unmade + 4 * SHORT).then_some(())
        })
        .await;
        assert_eq!(server.ask::<i64>(&["PTTL", "seabed:lease"]).await, -1, "Redis itself would have served on");

        // A renewal takes over from a lease that runs for longer than any may.
        eventually("it is believed again", PATIENCE, async || {
            renew(&one, SHORT).await;
            (look(&one).await == MISS).then_some(())
        })
        .await;
        assert!(server.ask::<i64>(&["PTTL", "seabed:lease"]).await <= 300);
    });
}

/// A process that reads through the cache, with a network of its own.
struct Process {
    store: Store,
    network: Proxy,
}

impl Process {
    async fn begin(database: &str, server: &Redis) -> Self {
        let network = Proxy::to(server.address()).await;
        let cache = RedisCache::new(&RedisOptions::new(network.url(&server.url())));
        let store = Store::connect(&options(database), SystemClock).await.unwrap();
        let store = store.cached(Arc::new(cache), CachePolicy::default()).await.unwrap();
        Self { store, network }
    }

    fn hits(&self) -> u64 {
        self.store.cache_status().unwrap().tables.get("users").map_or(0, |counts| counts.hits)
    }

    /// Reads until it is answered by the cache, and tells how long that took.
    async fn hit(&self, user: &User) -> Duration {
        let start = Instant::now();
        let hits = self.hits();
        eventually("the cache answers", PATIENCE, async || {
            assert_eq!(self.store.find(user.id).await.unwrap(), *user);
            (self.hits() > hits).then_some(())
        })
        .await;
        start.elapsed()
    }
}

#[test]
fn who_lost_sight_of_it_sees_it_again_by_itself() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let mut server = or_skip!(Redis::private().await);
        let mut processes = vec![Process::begin(&database.url, &server).await];
        let ada = user(&processes[0].store, "ada").await;
        // Alone, and where another one renews, too.
        for _ in 0..2 {
            for process in &processes {
                process.hit(&ada).await;
            }
            let mut took = Vec::new();
            for fault in ["cut", "restart", "snapshot", "partition"] {
                match fault {
                    "cut" => processes[0].network.cut().await,
                    "restart" => server.restart().await,
                    "snapshot" => {
                        server.snapshot().await;
                        server.restart_from_snapshot().await;
                    }
                    _ => {
                        let Process { store, network } = &processes[0];
                        network.black_hole().await;
                        eventually("it is missed", PATIENCE, async || {
                            (!store.cache_status().unwrap().is_fresh).then_some(())
                        })
                        .await;
                        network.forward().await;
                    }
                }
                for process in &processes {
                    took.push((fault, process.hit(&ada).await));
                }
            }
            println!("{took:?}");
            assert!(took.iter().all(|(_, took)| *took < RECOVERY), "{took:?}");
            processes.push(Process::begin(&database.url, &server).await);
        }
    });
}
