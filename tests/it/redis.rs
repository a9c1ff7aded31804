//! The cache in Redis when Redis is not well: it is down, dies, hangs, forgets, is full, or lets nobody in. Whatever it
//! is, it costs little, never gives a wrong value, and is over soon after its cause.

use std::time::{Duration, Instant};

use api::adapter::redis_cache::{RedisCache, RedisOptions};
use bytes::Bytes;
use domain::{Cache, CacheError, Fill, Key, LookUp, Slot, Token};
use futures_util::future::join_all;
use tests::{Authority, PATIENCE, Proxy, Redis, TestApp, eventually, or_skip, run::LIMIT, within};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
/// How soon it has to be in use again.
const RECOVERY: Duration = Duration::from_secs(5);

/// A cache that is patient, so that the time that the machine takes fails nothing.
fn patient(url: impl Into<String>) -> RedisCache {
    RedisCache::new(&RedisOptions { timeout: PATIENCE, freshness: LONG, ..RedisOptions::new(url) })
}

/// A cache that gives up as early as it does in earnest.
fn hasty(url: impl Into<String>) -> RedisCache {
    RedisCache::new(&RedisOptions { freshness: LONG, ..RedisOptions::new(url) })
}

fn slot(words: &str) -> Slot {
    Slot::new(Key::of(words))
}

fn stamped(words: &str, stamp: &str) -> Slot {
    Slot { stamp: Some(Key::of(stamp)), ..slot(words) }
}

async fn renew(cache: &RedisCache, freshness: Duration) -> Result<(), CacheError> {
    let observed = cache.observe().await?;
    cache.renew(&observed, "one", freshness).await
}

async fn acquire(cache: &RedisCache, slot: Slot) -> Option<Token> {
    cache.acquire(&[slot]).await.unwrap().remove(0)
}

async fn fill(cache: &RedisCache, slot: Slot, token: Token, value: &str) -> Result<bool, CacheError> {
    let value = Bytes::copy_from_slice(value.as_bytes());
    Ok(cache.fill(vec![Fill { slot, token, value, life: LONG }]).await? == 1)
}

async fn keep(cache: &RedisCache, slot: Slot, value: &str) {
    let token = acquire(cache, slot).await.expect("nobody else fills it");
    assert!(fill(cache, slot, token, value).await.unwrap(), "the token is there");
}

fn fresh(value: &'static str) -> LookUp {
    LookUp::Fresh(vec![Some(Bytes::from_static(value.as_bytes()))])
}

const MISS: LookUp = LookUp::Fresh(Vec::new());

async fn look_up(cache: &RedisCache, slot: Slot) -> LookUp {
    match cache.look_up(&[slot]).await.unwrap() {
        LookUp::Fresh(values) if values == [None] => MISS,
        found => found,
    }
}

/// Waits until it is in use again, and tells how long that took.
async fn recovered(cache: &RedisCache) -> Duration {
    let start = Instant::now();
    eventually("it is in use again", PATIENCE, async || cache.look_up(&[slot("any")]).await.ok()).await;
    start.elapsed()
}

/// The same, in the time that it may take.
async fn recovers_in_time(cache: &RedisCache) {
    let took = recovered(cache).await;
    assert!(took < RECOVERY, "{took:?}");
}

#[test]
fn a_restart_is_another_memory() {
    within(LIMIT, async {
        let mut server = or_skip!(Redis::private().await);
        let cache = patient(server.url());
        renew(&cache, LONG).await.unwrap();
        keep(&cache, slot("a"), "old").await;
        let token = acquire(&cache, slot("b")).await.unwrap();
        let observed = cache.observe().await.unwrap();

        server.restart().await;
        recovered(&cache).await;
        assert_eq!(look_up(&cache, slot("a")).await, LookUp::Stale);
        assert!(!fill(&cache, slot("b"), token, "old").await.unwrap(), "the token is lost");
        assert_eq!(acquire(&cache, slot("b")).await, None, "there is no epoch yet");
        assert_ne!(cache.observe().await.unwrap().run, observed.run);
        assert_eq!(cache.renew(&observed, "one", LONG).await, Err(CacheError::Lost));
        assert_eq!(look_up(&cache, slot("a")).await, LookUp::Stale);

        renew(&cache, LONG).await.unwrap();
        assert_eq!(look_up(&cache, slot("a")).await, MISS);
        assert!(!fill(&cache, slot("b"), token, "old").await.unwrap(), "its epoch is over");
        keep(&cache, slot("a"), "new").await;
        assert_eq!(look_up(&cache, slot("a")).await, fresh("new"));
    });
}

#[test]
fn what_an_old_snapshot_brings_back_is_not_served() {
    within(LIMIT, async {
        let mut server = or_skip!(Redis::private().await);
        let cache = patient(server.url());
        renew(&cache, LONG).await.unwrap();
        keep(&cache, slot("a"), "old").await;
        keep(&cache, stamped("list", "table"), "old").await;
        let token = acquire(&cache, slot("b")).await.unwrap();
        server.snapshot().await;
        cache.invalidate(&[Key::of("a"), Key::of("b"), Key::of("table")]).await.unwrap();

        server.restart_from_snapshot().await;
        recovered(&cache).await;
        assert!(server.ask::<i64>(&["PTTL", "seabed:lease"]).await > 500_000, "the lease is back, too");
        for _ in 0..3 {
            assert_eq!(look_up(&cache, slot("a")).await, LookUp::Stale, "and nobody saw it move");
        }
        // The token is back, and fills an epoch that nobody will look at.
        fill(&cache, slot("b"), token, "old").await.unwrap();
        renew(&cache, LONG).await.unwrap();
        for slot in [slot("a"), slot("b"), stamped("list", "table")] {
            assert_eq!(look_up(&cache, slot).await, MISS);
        }
    });
}

/// Redis may lose any of its keys, one at a time or all.
#[test]
fn whatever_is_lost_is_a_miss() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let cache = patient(server.url());
        let (row, list, open) = (slot("row"), stamped("list", "table"), slot("open"));
        let mut connection = server.connect().await;
        let mut names: Vec<Vec<u8>> = Vec::new();
        for lost in 0.. {
            server.flush().await;
            renew(&cache, LONG).await.unwrap();
            keep(&cache, row, "value").await;
            keep(&cache, list, "value").await;
            let token = acquire(&cache, open).await.unwrap();
            if lost == 0 {
                names = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
                // Meta, lease, three entries and a stamp.
                assert_eq!(names.len(), 6, "{names:?}");
            }
            let Some(name) = names.get(lost) else { break };
            redis::cmd("DEL").arg(name).query_async::<()>(&mut connection).await.unwrap();

            let is_entry = name.len() > "seabed:lease".len();
            for slot in [row, list] {
                let found = look_up(&cache, slot).await;
                assert!([fresh("value"), MISS, LookUp::Stale].contains(&found), "{name:?}: {found:?}");
            }
            let is_filled = fill(&cache, open, token, "late").await.unwrap();
            match name.as_slice() {
                b"seabed:lease" => assert_eq!(look_up(&cache, row).await, LookUp::Stale),
                b"seabed:meta" => {
                    assert!(!is_filled);
                    renew(&cache, LONG).await.unwrap();
                    assert_eq!(look_up(&cache, row).await, MISS, "another epoch began");
                }
                _ => {
                    let misses = [look_up(&cache, row).await, look_up(&cache, list).await];
                    let missing = misses.iter().filter(|found| **found == MISS).count();
                    assert!(is_entry && missing + usize::from(!is_filled) == 1, "{name:?}: {misses:?} {is_filled}");
                }
            }
        }
        server.flush().await;
        assert_eq!(look_up(&cache, row).await, LookUp::Stale);
    });
}

#[test]
fn a_hit_is_one_command_and_one_round_trip() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let proxy = Proxy::to(server.address()).await;
        let cache = patient(proxy.url(&server.url()));
        renew(&cache, LONG).await.unwrap();
        let slots: Vec<_> = (0..100).map(|n| stamped(&n.to_string(), &format!("table {}", n % 3))).collect();
        for slot in &slots {
            keep(&cache, *slot, "value").await;
        }
        keep(&cache, slot("row"), "value").await;

        let processed = async || {
            let statistics: String = server.ask(&["INFO", "stats"]).await;
            let line = statistics.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
            line.unwrap().trim().parse::<u64>().unwrap()
        };
        let harness = processed().await;
        let harness = processed().await - harness;
        let (said, mget, before) = (proxy.count("MGET"), server.calls("mget").await, processed().await);
        for _ in 0..10 {
            assert_eq!(look_up(&cache, slot("row")).await, fresh("value"));
            let LookUp::Fresh(values) = cache.look_up(&slots).await.unwrap() else { panic!("it is fresh") };
            assert!(values.iter().all(Option::is_some));
        }
        assert_eq!(processed().await - before - harness, 20, "and nothing beside");
        assert_eq!((said.seen(), server.calls("mget").await - mget), (20, 20));
        assert_eq!(server.calls("ping").await, 0);
    });
}

#[test]
fn many_callers_share_one_connection() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let proxy = Proxy::to(server.address()).await;
        let cache = patient(proxy.url(&server.url()));
        renew(&cache, LONG).await.unwrap();
        keep(&cache, slot("a"), "value").await;
        let found = join_all((0..200).map(|_| look_up(&cache, slot("a")))).await;
        assert!(found.iter().all(|found| *found == fresh("value")));
        assert_eq!(proxy.connections(), 1);
    });
}

#[test]
fn what_one_process_fills_and_invalidates_others_see() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let (one, other) = (patient(server.url()), patient(server.url()));
        assert!(one.is_shared());
        let options = RedisOptions { timeout: PATIENCE, prefix: "else:".to_owned(), ..RedisOptions::new(server.url()) };
        let stranger = RedisCache::new(&options);
        // Who has not seen the lease move does not believe it.
        assert_eq!(look_up(&other, slot("a")).await, LookUp::Stale);
        for cache in [&one, &stranger] {
            renew(cache, LONG).await.unwrap();
        }
        keep(&one, slot("a"), "value").await;
        assert_eq!(look_up(&other, slot("a")).await, fresh("value"));
        assert_eq!(acquire(&other, slot("a")).await, None, "somebody has just filled it");
        assert_eq!(look_up(&stranger, slot("a")).await, MISS);
        let token = acquire(&one, slot("b")).await.unwrap();
        assert_eq!(acquire(&other, slot("b")).await, None);
        stranger.invalidate_all().await.unwrap();
        other.invalidate(&[Key::of("a"), Key::of("b")]).await.unwrap();
        assert_eq!(look_up(&one, slot("a")).await, MISS);
        assert!(!fill(&one, slot("b"), token, "old").await.unwrap());
    });
}

#[test]
fn scripts_that_redis_has_forgotten_are_loaded_again() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let cache = patient(server.url());
        renew(&cache, LONG).await.unwrap();
        let token = acquire(&cache, slot("a")).await.unwrap();
        server.ask::<()>(&["SCRIPT", "FLUSH"]).await;
        assert!(fill(&cache, slot("a"), token, "value").await.unwrap());
        server.ask::<()>(&["SCRIPT", "FLUSH"]).await;
        renew(&cache, LONG).await.unwrap();
        assert_eq!(look_up(&cache, slot("a")).await, fresh("value"));
    });
}

/// Whoever can write to Redis can break the cache, and no more.
#[test]
fn what_was_not_written_by_us_is_a_miss_or_an_error() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let cache = patient(server.url());
        renew(&cache, LONG).await.unwrap();
        keep(&cache, slot("a"), "value").await;
        let mut connection = server.connect().await;
        let entry = [b"seabed:e", Key::of("a").bytes().as_slice()].concat();
        for garbage in
            [&b""[..], b"=", b"?", b"=12345678", b"garbage that is longer than the head of an entry", b"\xff\0"]
        {
            redis::cmd("SET").arg(&entry).arg(garbage).query_async::<()>(&mut connection).await.unwrap();
            assert_eq!(look_up(&cache, slot("a")).await, MISS, "{garbage:?}");
        }
        for garbage in ["", "lease", "12345678", "12345678x", "12345678-1", "1234567899999999999999999999999"] {
            server.ask::<()>(&["SET", "seabed:lease", garbage]).await;
            assert_eq!(look_up(&cache, slot("a")).await, LookUp::Stale, "{garbage:?}");
        }
        server.ask::<()>(&["DEL", "seabed:meta"]).await;
        server.ask::<()>(&["SET", "seabed:meta", "no hash"]).await;
        assert_eq!(renew(&cache, LONG).await, Err(CacheError::Unexpected));
        assert_eq!(cache.acquire(&[slot("b")]).await, Err(CacheError::Unexpected));
    });
}

#[test]
fn down_at_the_start_it_is_used_when_it_is_there() {
    within(LIMIT, async {
        let mut server = or_skip!(Redis::private().await);
        server.kill().await;
        let cache = hasty(server.url());
        for _ in 0..3 {
            assert_eq!(cache.look_up(&[slot("a")]).await, Err(CacheError::Unreachable));
        }
        assert_eq!(cache.look_up(&[slot("a")]).await, Err(CacheError::CircuitOpen));
        assert_eq!(cache.invalidate(&[Key::of("a")]).await, Err(CacheError::CircuitOpen));
        server.start().await;
        recovers_in_time(&cache).await;
        eventually("it is renewed", PATIENCE, async || renew(&cache, LONG).await.ok()).await;
    });
}

#[test]
fn while_it_is_dead_it_costs_nothing() {
    within(LIMIT, async {
        let mut server = or_skip!(Redis::private().await);
        let cache = hasty(server.url());
        eventually("it is renewed", PATIENCE, async || renew(&cache, LONG).await.ok()).await;
        server.kill().await;
        eventually("it is left alone", PATIENCE, async || {
            (cache.look_up(&[slot("a")]).await == Err(CacheError::CircuitOpen)).then_some(())
        })
        .await;
        let mut took = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            let asked = Instant::now();
            assert_eq!(cache.look_up(&[slot("a")]).await, Err(CacheError::CircuitOpen));
            took.push(asked.elapsed());
            tokio::task::yield_now().await;
        }
        // What is usual counts: the machine does other things too.
        took.sort();
        assert!(took[took.len() / 2] < Duration::from_millis(1), "{:?}", took[took.len() / 2]);
        server.start().await;
        recovers_in_time(&cache).await;
    });
}

#[test]
fn while_it_hangs_its_answers_are_not_waited_for() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let cache = hasty(server.url());
        eventually("it is renewed", PATIENCE, async || renew(&cache, LONG).await.ok()).await;
        server.pause();
        let asked = Instant::now();
        assert_eq!(cache.look_up(&[slot("a")]).await, Err(CacheError::Timeout));
        let took = asked.elapsed();
        assert!((Duration::from_millis(49)..Duration::from_secs(2)).contains(&took), "{took:?}");
        eventually("it is left alone", PATIENCE, async || {
            (cache.look_up(&[slot("a")]).await == Err(CacheError::CircuitOpen)).then_some(())
        })
        .await;
        server.resume();
        recovers_in_time(&cache).await;
    });
}

#[test]
fn a_connection_that_was_closed_in_idleness_fails_nobody() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let proxy = Proxy::to(server.address()).await;
        let cache = patient(proxy.url(&server.url()));
        renew(&cache, LONG).await.unwrap();
        keep(&cache, slot("a"), "value").await;
        for _ in 0..5 {
            proxy.cut().await;
            assert_eq!(look_up(&cache, slot("a")).await, fresh("value"));
            proxy.reset().await;
            cache.invalidate(&[Key::of("b")]).await.unwrap();
        }
    });
}

#[test]
fn a_network_that_comes_and_goes_is_used_while_it_is_there() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let proxy = Proxy::to(server.address()).await;
        let cache = hasty(proxy.url(&server.url()));
        eventually("it is renewed", PATIENCE, async || renew(&cache, LONG).await.ok()).await;
        for round in 0..6 {
            match round % 3 {
                0 => proxy.refuse().await,
                1 => proxy.black_hole().await,
                _ => proxy.delay(Duration::from_millis(200)).await,
            }
            eventually("it is left alone", PATIENCE, async || {
                let slots = [slot("a")];
                let found = join_all((0..8).map(|_| cache.look_up(&slots))).await;
                found.contains(&Err(CacheError::CircuitOpen)).then_some(())
            })
            .await;
            proxy.forward().await;
            let took = recovered(&cache).await;
            assert!(took < RECOVERY, "{round}: {took:?}");
        }
        assert!(proxy.open_connections() <= 2, "{}", proxy.open_connections());
    });
}

#[test]
fn full_and_not_allowed_to_evict_it_serves_what_it_has() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private_with(&["maxmemory 3mb", "maxmemory-policy noeviction"]).await);
        let cache = patient(server.url());
        renew(&cache, LONG).await.unwrap();
        keep(&cache, slot("a"), "value").await;
        let value = Bytes::from(vec![7; 10_000]);
        let mut full = None;
        for n in 0..1_000 {
            let slot = slot(&n.to_string());
            let filled = match cache.acquire(&[slot]).await {
                Ok(tokens) => {
                    let fill = Fill { slot, token: tokens[0].unwrap(), value: value.clone(), life: LONG };
                    cache.fill(vec![fill]).await.map(|_| ())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = filled {
                full = Some(error);
                break;
            }
        }
        assert_eq!(full, Some(CacheError::Full));
        assert_eq!(look_up(&cache, slot("a")).await, fresh("value"));
        renew(&cache, LONG).await.unwrap();
        cache.invalidate(&[Key::of("a")]).await.unwrap();
        assert_eq!(look_up(&cache, slot("a")).await, MISS);
        cache.invalidate_all().await.unwrap();
        assert_eq!(look_up(&cache, slot("1")).await, LookUp::Stale);
    });
}

#[test]
fn eviction_makes_misses_and_never_a_wrong_value() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private_with(&["maxmemory 2mb", "maxmemory-policy allkeys-lru"]).await);
        let cache = patient(server.url());
        let (mut hits, mut misses) = (0, 0);
        for n in 0..6_000_u32 {
            // Most of them again, some of them new, all of them known by their value.
            let words = format!("{}", if n % 3 == 0 { n } else { n.wrapping_mul(2_654_435_761) % 1_500 });
            let slot =
                if n % 2 == 0 { stamped(&words, &format!("table {}", n % 8)) } else { slot(&format!("row {words}")) };
            let value = words.repeat(80);
            match cache.look_up(&[slot]).await.unwrap() {
                LookUp::Stale => renew(&cache, LONG).await.unwrap(),
                LookUp::Fresh(values) => match &values[0] {
                    Some(found) => {
                        assert_eq!(*found, value);
                        hits += 1;
                    }
                    None => {
                        misses += 1;
                        if let Some(token) = acquire(&cache, slot).await {
                            fill(&cache, slot, token, &value).await.unwrap();
                        }
                    }
                },
            }
        }
        let statistics: String = server.ask(&["INFO", "stats"]).await;
        assert!(!statistics.contains("evicted_keys:0"), "nothing was evicted");
        assert!(hits > 100 && misses > 100, "{hits} hits, {misses} misses");
    });
}

#[test]
fn a_wrong_password_is_told_from_an_outage() {
    within(LIMIT, async {
        let users = &["user ada on >secret ~seabed:* +@all", "user default off"];
        let server = or_skip!(Redis::private_with(users).await);
        for url in [server.url(), server.url_as("ada", "wrong"), server.url_as("eve", "secret")] {
            assert_eq!(patient(url).look_up(&[slot("a")]).await, Err(CacheError::Refused));
        }
        let cache = patient(server.url_as("ada", "secret"));
        renew(&cache, LONG).await.unwrap();
        // A password that is changed while connections are open.
        server.ask::<()>(&["ACL", "SETUSER", "ada", "resetpass", ">other"]).await;
        server.ask::<i64>(&["CLIENT", "KILL", "USER", "ada"]).await;
        assert_eq!(cache.observe().await.map(|_| ()), Err(CacheError::Refused));
    });
}

fn least_rights() -> String {
    rights_in(include_str!("../../api/src/adapter/redis_cache.rs"))
}

/// The line that an adapter's documentation gives, without the name and the password.
pub(crate) fn rights_in(source: &str) -> String {
    let lines =
        source.lines().skip_while(|line| !line.starts_with("//! user seabed")).take_while(|line| *line != "//! ```");
    let rights = lines.map(|line| line.trim_start_matches("//!").trim()).collect::<Vec<_>>().join(" ");
    rights.split_once(" >password ").unwrap().1.to_owned()
}

#[test]
fn the_rights_that_are_documented_suffice() {
    within(LIMIT, async {
        let user = format!("user seabed on >secret {}", least_rights());
        let fewer = format!("user fewer on >secret {} -set -unlink", least_rights());
        let server = or_skip!(Redis::private_with(&[&user, &fewer, "user default off"]).await);
        let url = server.url_as("seabed", "secret");
        let cache = patient(url.clone());
        renew(&cache, LONG).await.unwrap();
        let sliding = Slot { sliding: Some(LONG), ..stamped("a", "table") };
        keep(&cache, sliding, "value").await;
        for _ in 0..2 {
            assert_eq!(look_up(&cache, sliding).await, fresh("value"));
        }
        cache.invalidate(&[Key::of("a")]).await.unwrap();
        cache.invalidate_all().await.unwrap();
        let status = cache.status().await.unwrap();
        assert_eq!(status.refused, Vec::<String>::new());
        assert!(status.version.starts_with(|first: char| first.is_ascii_digit()), "{status:?}");

        let client = redis::Client::open(url).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        for words in [
            &["FLUSHALL"][..],
            &["KEYS", "*"],
            &["CONFIG", "GET", "*"],
            &["GET", "other:key"],
            &["EVAL", "return 1", "0"],
            &["ACL", "LIST"],
            &["SCRIPT", "FLUSH"],
        ] {
            let mut command = redis::cmd(words[0]);
            let error = command.arg(&words[1..]).query_async::<redis::Value>(&mut connection).await.unwrap_err();
            assert_eq!(error.code(), Some("NOPERM"), "{words:?}: {error}");
        }

        let cache = patient(server.url_as("fewer", "secret"));
        assert_eq!(cache.status().await.unwrap().refused, ["unlink", "set"]);
        assert_eq!(cache.invalidate(&[Key::of("a")]).await, Err(CacheError::Refused));
    });
}

/// What `doctor` says of the cache.
async fn doctor(url: &str, environment: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let output = TestApp::run(&["--json", "doctor"], &[&[("REDIS_URL", url)], environment].concat()).await;
    let json = output.json();
    let checks = json["checks"].as_array().unwrap().iter().filter(|check| check["store"] == "cache");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    checks.map(|check| (text(&check["check"]), text(&check["level"]), text(&check["message"]))).collect()
}

#[track_caller]
fn says(checks: &[(String, String, String)], check: &str, level: &str, words: &str) {
    let found = checks.iter().find(|(name, _, _)| name == check);
    assert!(found.is_some_and(|(_, found, message)| found == level && message.contains(words)), "{check}: {checks:?}");
}

#[test]
fn the_doctor_looks_at_redis() {
    within(LIMIT, async {
        let user = format!("user fewer on >s3cret {} -set", least_rights());
        let mut server =
            or_skip!(Redis::private_with(&["maxmemory 100mb", "maxmemory-policy allkeys-lru", &user]).await);
        let checks = doctor(&server.url(), &[("REDIS_TIMEOUT", "400ms")]).await;
        assert!(
            checks.iter().any(|(check, _, message)| check == "reachable" && message.contains("Redis 7")),
            "{checks:?}"
        );
        says(&checks, "memory", "ok", "100 MiB, allkeys-lru: copies may be evicted");
        says(&checks, "privileges", "ok", "all that are needed");
        let checks = doctor(&server.url_as("fewer", "s3cret"), &[]).await;
        says(&checks, "privileges", "warn", "the user may not run set");
        assert!(!format!("{checks:?}").contains("s3cret"), "{checks:?}");
        says(&doctor(&server.url_as("fewer", "wrong"), &[]).await, "reachable", "warn", "refuses the user");
        server.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
        says(&doctor(&server.url(), &[]).await, "memory", "warn", "nothing new is kept");
        server.kill().await;
        says(&doctor(&server.url(), &[]).await, "reachable", "warn", "it cannot be reached");
        says(&doctor(&server.url(), &[("CACHE", "off")]).await, "use", "ok", "off");
    });
}

#[test]
fn an_encrypted_connection_wants_a_certificate_that_is_trusted() {
    within(LIMIT, async {
        let authority = Authority::new();
        let root = authority.root();
        let trusted = [("SSL_CERT_FILE", root.to_str().unwrap())];
        let server = or_skip!(Redis::private_with_tls(&authority.certify("127.0.0.1")).await);
        let checks = doctor(&server.url(), &trusted).await;
        says(&checks, "privileges", "ok", "all that are needed");
        says(&doctor(&server.url(), &[]).await, "reachable", "warn", "it cannot be reached");
        let plain = server.url().replace("rediss://", "redis://");
        assert!(doctor(&plain, &trusted).await.iter().all(|(_, level, _)| level == "warn"));
        let other = or_skip!(Redis::private_with_tls(&authority.certify("elsewhere.example")).await);
        says(&doctor(&other.url(), &trusted).await, "reachable", "warn", "it cannot be reached");
    });
}

/// What is logged at all, line by line.
#[derive(Debug, Clone, Default)]
struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One for each change, not one for each failure.
#[test]
fn one_line_tells_that_it_is_gone_and_one_that_it_is_back() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // In one thread, so that the subscriber hears of all, and of nobody else's.
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = |words: &str| {
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        (text.lines().filter(|line| line.contains("redis_connection")).count(), text.matches(words).count())
    };
    runtime.block_on(async {
        let mut server = or_skip!(Redis::private().await);
        let cache = hasty(server.url());
        eventually("it is renewed", PATIENCE, async || renew(&cache, LONG).await.ok()).await;
        for round in 1..=2 {
            server.kill().await;
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(1) {
                cache.look_up(&[slot("a")]).await.ok();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let gone = "Redis is left alone, and the database is read instead reason=it cannot be reached";
            assert_eq!(told(gone), (2 * round - 1, round));
            server.start().await;
            recovered(&cache).await;
            assert_eq!(told("Redis answers again"), (2 * round, round));
        }
    });
}
