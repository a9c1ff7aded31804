//! The contract of the memory: what its port says, of each of its adapters, by way of what business code uses.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api::adapter::redis_memory::{RedisMemory, RedisMemoryOptions};
use bytes::Bytes;
use domain::{Error, InProcessMemory, Memory, MemoryError, Rankings, Secret, Sets, Tokens, Values};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tests::{PATIENCE, Redis, TestApp, eventually, or_skip, run::LIMIT, within};

/// Longer than any test takes.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// As long as what ends by itself is there.
const SHORT: Duration = Duration::from_millis(200);

/// A memory, and what it needs.
pub(super) struct Subject {
    pub(super) memory: Arc<dyn Memory>,
    _server: Option<Redis>,
}

impl Subject {
    pub(super) fn in_process() -> Self {
        Self { memory: Arc::new(InProcessMemory::new(16 << 20)), _server: None }
    }

    pub(super) async fn redis() -> Result<Self, tests::Skip> {
        let server = Redis::private().await?;
        Ok(Self { memory: Arc::new(patient(&server)), _server: Some(server) })
    }

    fn values<T: Serialize + serde::de::DeserializeOwned>(&self, name: &str, life: Duration) -> Values<T> {
        Values::new(Arc::clone(&self.memory), name, life)
    }
}

/// So patient that the time that the machine takes fails nothing.
pub(super) fn patient(server: &Redis) -> RedisMemory {
    RedisMemory::new(&RedisMemoryOptions { timeout: PATIENCE, ..RedisMemoryOptions::new(server.url()) })
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Draft {
    title: String,
    words: Option<u32>,
}

on_each!(
    async fn what_is_set_is_found_as_what_it_was(subject: Subject) {
        let drafts = subject.values::<Draft>("drafts", LONG);
        assert_eq!(drafts.look_up("a").await.unwrap(), None);
        let draft = Draft { title: "“Ö”\0\n".to_owned(), words: Some(7) };
        drafts.set("a", &draft).await.unwrap();
        drafts.set("", &Draft { words: None, ..draft.clone() }).await.unwrap();
        assert_eq!(drafts.look_up("a").await.unwrap(), Some(draft.clone()));
        let found = drafts.look_up_all(&["", "b", "a", "a"]).await.unwrap();
        assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, true]);
        assert!(drafts.look_up_all(&[] as &[&str]).await.unwrap().is_empty());
        drafts.set("a", &Draft { words: None, ..draft }).await.unwrap();
        assert_eq!(drafts.look_up("a").await.unwrap().unwrap().words, None);
        assert!(drafts.delete("a").await.unwrap());
        assert!(!drafts.delete("a").await.unwrap());
        assert_eq!(drafts.look_up("a").await.unwrap(), None);
    }

    async fn names_keep_keys_apart(subject: Subject) {
        let all = [subject.values::<u8>("a", LONG), subject.values("a:b", LONG), subject.values("b", LONG)];
        let (one, two, three) = (&all[0], &all[1], &all[2]);
        one.set("b:c", &1).await.unwrap();
        assert_eq!(two.look_up("c").await.unwrap(), None);
        assert_eq!(three.look_up("b:c").await.unwrap(), None);
        assert_eq!(one.look_up("b:c").await.unwrap(), Some(1));
        let sets = Sets::<u8>::new(Arc::clone(&subject.memory), "a", LONG);
        assert!(sets.add("b:c", &1).await.unwrap(), "what is of another kind is elsewhere");
    }

    async fn every_byte_comes_back(subject: Subject) {
        let all: Vec<u8> = (0..=255).collect();
        for value in [Bytes::new(), Bytes::from(all.clone()), Bytes::from(all.repeat(4_096))] {
            subject.memory.set("key", value.clone(), LONG).await.unwrap();
            assert_eq!(subject.memory.look_up(&["key".to_owned()]).await.unwrap(), [Some(value.clone())]);
            assert_eq!(subject.memory.take("key").await.unwrap(), Some(value));
        }
        assert!(subject.memory.add("set", &all, LONG).await.unwrap());
        assert_eq!(subject.memory.members("set").await.unwrap(), [Bytes::from(all)]);
    }

    async fn values_are_deleted_by_their_tag(subject: Subject) {
        let values = subject.values::<u8>("values", LONG);
        let others = subject.values::<u8>("others", LONG);
        for (key, tags) in [("a", &["ada"][..]), ("b", &["ada", "bob"]), ("c", &["bob"]), ("d", &[])] {
            values.set_tagged(key, &1, tags).await.unwrap();
            others.set_tagged(key, &1, tags).await.unwrap();
        }
        assert_eq!(values.delete_tagged("ada").await.unwrap(), 2);
        let left = values.look_up_all(&["a", "b", "c", "d"]).await.unwrap();
        assert_eq!(left, [None, None, Some(1), Some(1)]);
        assert_eq!(others.look_up("a").await.unwrap(), Some(1), "of another name");
        assert_eq!(values.delete_tagged("ada").await.unwrap(), 0);
        values.set_tagged("a", &2, &["ada"]).await.unwrap();
        assert_eq!(values.delete_tagged("ada").await.unwrap(), 1);
        assert_eq!(values.delete_tagged("nobody").await.unwrap(), 0);
    }

    async fn everything_ends_by_itself(subject: Subject) {
        let memory = Arc::clone(&subject.memory);
        let values = subject.values::<u8>("values", SHORT);
        let sets = Sets::<u8>::new(Arc::clone(&memory), "sets", SHORT);
        let rankings = Rankings::<u8>::new(memory, "rankings", SHORT);
        let start = Instant::now();
        values.set("a", &1).await.unwrap();
        values.set_for("b", &1, LONG).await.unwrap();
        sets.add("a", &1).await.unwrap();
        rankings.set("a", &1, 1.0).await.unwrap();
        eventually("they are gone", PATIENCE, async || {
            let is_there = values.look_up("a").await.unwrap().is_some()
                || sets.contains("a", &1).await.unwrap()
                || rankings.rank("a", &1).await.unwrap().is_some();
            (!is_there).then_some(())
        })
        .await;
        // To the millisecond, which is what the clock of a memory tells.
        assert!(start.elapsed() >= SHORT - Duration::from_millis(2), "{:?}", start.elapsed());
        assert_eq!(values.look_up("b").await.unwrap(), Some(1));
    }

    async fn a_life_can_be_prolonged_and_ended(subject: Subject) {
        let values = subject.values::<u8>("values", SHORT);
        assert!(!values.prolong("a").await.unwrap(), "what is not there does not come to life");
        assert_eq!(values.look_up("a").await.unwrap(), None);
        values.set("a", &1).await.unwrap();
        let is_prolonged = values.prolong_for("a", LONG).await.unwrap();
        values.set("witness", &1).await.unwrap();
        eventually("as much time has passed", PATIENCE, async || {
            values.look_up("witness").await.unwrap().is_none().then_some(())
        })
        .await;
        // Unless the machine slept for so long in between.
        assert_eq!(values.look_up("a").await.unwrap().is_some(), is_prolonged);
        assert_eq!(values.prolong("a").await.unwrap(), is_prolonged);
        eventually("it ends", PATIENCE, async || values.look_up("a").await.unwrap().is_none().then_some(())).await;
    }

    async fn lives_of_any_length_are_taken(subject: Subject) {
        let values = subject.values::<u8>("values", Duration::MAX);
        values.set("for ever", &1).await.unwrap();
        values.prolong("for ever").await.unwrap();
        assert_eq!(values.look_up("for ever").await.unwrap(), Some(1));
        values.set_for("not at all", &1, Duration::ZERO).await.unwrap();
        eventually("it is gone", PATIENCE, async || {
            values.look_up("not at all").await.unwrap().is_none().then_some(())
        })
        .await;
    }

    async fn of_a_hundred_who_take_it_one_gets_it(subject: Subject) {
        let values = subject.values::<u32>("values", LONG);
        for round in 0..20 {
            values.set("key", &round).await.unwrap();
            let takers = (0..100).map(|_| {
                let values = values.clone();
                tokio::spawn(async move { values.take("key").await.unwrap() })
            });
            let taken = join_all(takers).await.into_iter().filter_map(Result::unwrap).collect::<Vec<_>>();
            assert_eq!(taken, [round]);
        }
    }

    async fn a_token_is_consumed_once(subject: Subject) {
        let tokens = Tokens::<String>::new(Arc::clone(&subject.memory), "password resets", LONG);
        let token = tokens.issue(&"ada".to_owned()).await.unwrap();
        let other = tokens.issue(&"bob".to_owned()).await.unwrap();
        let text = token.reveal();
        assert_eq!(text.len(), 64);
        assert!(!format!("{token:?}").contains(&text));
        let takers = (0..100).map(|_| {
            let (tokens, token) = (tokens.clone(), text.parse::<Secret>().unwrap());
            tokio::spawn(async move { tokens.consume(&token).await.unwrap() })
        });
        let consumed = join_all(takers).await.into_iter().filter_map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(consumed, ["ada"]);
        assert!(tokens.revoke(&other).await.unwrap());
        assert_eq!(tokens.consume(&other).await.unwrap(), None);
        for wrong in ["", "x", &text[1..], &text.to_uppercase().replace(char::is_numeric, "G")] {
            wrong.parse::<Secret>().unwrap_err();
        }
    }

    async fn a_set_has_its_members(subject: Subject) {
        let online = Sets::<String>::new(Arc::clone(&subject.memory), "online", LONG);
        let (ada, bob) = ("ada".to_owned(), "bob".to_owned());
        assert!(online.members("room").await.unwrap().is_empty());
        assert!(online.add("room", &bob).await.unwrap());
        assert!(online.add("room", &ada).await.unwrap());
        assert!(!online.add("room", &ada).await.unwrap(), "it was one");
        assert_eq!(online.members("room").await.unwrap(), [ada.clone(), bob.clone()]);
        assert!(online.contains("room", &ada).await.unwrap());
        assert!(!online.contains("other room", &ada).await.unwrap());
        assert!(online.remove("room", &ada).await.unwrap());
        assert!(!online.remove("room", &ada).await.unwrap(), "it was none");
        assert_eq!(online.members("room").await.unwrap(), [bob]);
        assert!(online.delete("room").await.unwrap());
        assert!(!online.delete("room").await.unwrap());
    }

    async fn a_leaderboard_has_its_order(subject: Subject) {
        let board = Rankings::<String>::new(Arc::clone(&subject.memory), "points", LONG);
        let names = |range: Vec<(String, f64)>| range.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let scores = [("ada", 3.5), ("bob", -1.0), ("cy", 2.0), ("dee", 2.0), ("eve", 1e15)];
        for (name, score) in scores {
            board.set("week", &name.to_owned(), score).await.unwrap();
        }
        let range = board.range("week", 0, 10).await.unwrap();
        assert_eq!(range[0], ("eve".to_owned(), 1e15));
        // Of equal scores, what sorts last comes first.
        assert_eq!(names(range), ["eve", "ada", "dee", "cy", "bob"]);
        assert_eq!(names(board.range("week", 1, 2).await.unwrap()), ["ada", "dee"]);
        assert_eq!(names(board.range("week", 4, u64::MAX).await.unwrap()), ["bob"]);
        assert!(board.range("week", 5, 1).await.unwrap().is_empty());
        assert!(board.range("week", 0, 0).await.unwrap().is_empty());
        for (rank, name) in ["eve", "ada", "dee", "cy", "bob"].into_iter().enumerate() {
            assert_eq!(board.rank("week", &name.to_owned()).await.unwrap(), Some(rank as u64), "{name}");
        }
        assert_eq!(board.standing("week", &"nobody".to_owned()).await.unwrap(), None);
        assert_eq!(board.increase("week", &"bob".to_owned(), 4.75).await.unwrap(), 3.75);
        assert_eq!(board.increase("week", &"new".to_owned(), 1.0).await.unwrap(), 1.0);
        assert_eq!(board.standing("week", &"bob".to_owned()).await.unwrap(), Some((1, 3.75)));
        assert_eq!(board.trim("week", 4).await.unwrap(), 2);
        assert_eq!(board.trim("week", 4).await.unwrap(), 0);
        assert_eq!(names(board.range("week", 0, 10).await.unwrap()), ["eve", "bob", "ada", "dee"]);
        assert_eq!(board.trim_below("week", 3.5).await.unwrap(), 1);
        assert!(board.remove("week", &"ada".to_owned()).await.unwrap());
        assert!(!board.remove("week", &"ada".to_owned()).await.unwrap());
        assert_eq!(names(board.range("week", 0, 10).await.unwrap()), ["eve", "bob"]);
        assert_eq!(board.trim("week", 0).await.unwrap(), 2);
        assert!(!board.delete("week").await.unwrap());
        for score in [f64::NAN, f64::INFINITY] {
            let refused = board.set("week", &"ada".to_owned(), score).await.unwrap_err();
            assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
        }
    }

    async fn what_many_add_at_once_all_counts(subject: Subject) {
        let board = Rankings::<u8>::new(Arc::clone(&subject.memory), "points", LONG);
        let adding = (0..100).map(|_| {
            let board = board.clone();
            tokio::spawn(async move { board.increase("week", &1, 1.0).await.unwrap() })
        });
        let mut scores = join_all(adding).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        scores.sort_unstable_by(f64::total_cmp);
        assert_eq!(scores, (1..=100).map(f64::from).collect::<Vec<_>>());
    }

    async fn what_is_of_another_kind_is_refused(subject: Subject) {
        let memory = &subject.memory;
        memory.set("value", Bytes::from_static(b"x"), LONG).await.unwrap();
        memory.add("set", b"x", LONG).await.unwrap();
        assert_eq!(memory.add("value", b"x", LONG).await.unwrap_err(), MemoryError::Unexpected);
        assert_eq!(memory.members("value").await.unwrap_err(), MemoryError::Unexpected);
        assert_eq!(memory.rank("set", b"x", 1.0, LONG).await.unwrap_err(), MemoryError::Unexpected);
        assert_eq!(memory.take("set").await.unwrap_err(), MemoryError::Unexpected);
        assert_eq!(memory.look_up(&["set".to_owned(), "value".to_owned()]).await.unwrap()[0], None);
        assert_eq!(memory.members("set").await.unwrap(), [&b"x"[..]]);
        assert!(memory.delete("set").await.unwrap());
        let numbers = subject.values::<u8>("of another form", LONG);
        subject.values::<String>("of another form", LONG).set("key", &"text".to_owned()).await.unwrap();
        assert!(matches!(numbers.look_up("key").await.unwrap_err(), Error::Internal { .. }));
    }
);

#[test]
fn in_process_it_is_full_when_it_is_full_and_not_when_lives_have_ended() {
    within(LIMIT, async {
        const MOST: usize = 64 << 10;
        let memory = InProcessMemory::new(MOST);
        let value = Bytes::from(vec![0; 1_000]);
        let fill = async |life: Duration| {
            let mut kept = 0;
            loop {
                match memory.set(&kept.to_string(), value.clone(), life).await {
                    Ok(()) => kept += 1,
                    Err(error) => break (kept, error),
                }
            }
        };
        let (kept, error) = fill(SHORT).await;
        assert_eq!(error, MemoryError::Full);
        assert!((30..=MOST / value.len()).contains(&kept), "{kept}");
        assert_eq!(memory.add("set", &value, LONG).await, Err(MemoryError::Full));
        assert_eq!(memory.rank("ranking", &value, 1.0, LONG).await, Err(MemoryError::Full));
        eventually("there is room again", PATIENCE, async || memory.add("set", &value, LONG).await.ok()).await;
        assert!(memory.delete("set").await.unwrap());
        for round in 0..3 {
            let (again, _) = fill(LONG).await;
            assert_eq!(again, kept, "in round {round}");
            // What is replaced, removed and trimmed leaves nothing behind.
            for key in 0..kept {
                memory.set(&key.to_string(), Bytes::new(), LONG).await.unwrap();
                memory.delete(&key.to_string()).await.unwrap();
                memory.add("set", b"x", LONG).await.unwrap();
                memory.add("set", b"x", LONG).await.unwrap();
                memory.remove("set", b"x").await.unwrap();
                memory.increase("ranking", b"x", 1.0, LONG).await.unwrap();
                memory.increase("ranking", b"x", 1.0, LONG).await.unwrap();
                memory.trim("ranking", 0).await.unwrap();
            }
        }
    });
}

#[test]
fn a_redis_out_of_reach_is_an_error_and_comes_back() {
    within(LIMIT, async {
        let mut server = or_skip!(Redis::private().await);
        let memory: Arc<dyn Memory> = Arc::new(RedisMemory::new(&RedisMemoryOptions::new(server.url())));
        let values = Values::<u8>::new(memory, "values", LONG);
        eventually("it answers", PATIENCE, async || values.set("a", &1).await.ok()).await;
        server.kill().await;
        let error = values.look_up("a").await.unwrap_err();
        assert!(matches!(error, Error::MemoryUnavailable(MemoryError::Unreachable)), "{error:?}");
        assert!(!error.is_retryable() && error.retry_after().is_some());
        let error = values.take("a").await.unwrap_err();
        assert!(matches!(error, Error::MemoryUnavailable(_)), "{error:?}");
        server.start().await;
        eventually("it answers again", PATIENCE, async || values.set("a", &2).await.ok()).await;
        assert_eq!(eventually("and gives", PATIENCE, async || values.take("a").await.ok()).await, Some(2));
    });
}

#[test]
fn a_full_redis_says_so_and_loses_nothing() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private_with(&["maxmemory 3mb", "maxmemory-policy noeviction"]).await);
        let values = Values::<String>::new(Arc::new(patient(&server)), "values", LONG);
        let value = "x".repeat(10_000);
        let mut kept = 0;
        let error = loop {
            match values.set(&kept.to_string(), &value).await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, Error::MemoryUnavailable(MemoryError::Full)), "{error:?}");
        for key in 0..kept {
            assert_eq!(values.take(&key.to_string()).await.unwrap().as_ref(), Some(&value), "{key} of {kept}");
        }
    });
}

#[test]
fn the_rights_that_are_documented_suffice() {
    within(LIMIT, async {
        let rights = crate::redis::rights_in(include_str!("../../../api/src/adapter/redis_memory.rs"));
        let user = format!("user seabed on >secret {rights}");
        let server = or_skip!(Redis::private_with(&[&user, "user default off"]).await);
        let url = server.url_as("seabed", "secret");
        let redis = RedisMemory::new(&RedisMemoryOptions { timeout: PATIENCE, ..RedisMemoryOptions::new(url) });
        assert_eq!(redis.eviction().await.unwrap().policy, "noeviction");
        let key = "key".to_owned();
        redis.set(&key, Bytes::new(), LONG).await.unwrap();
        redis.look_up(std::slice::from_ref(&key)).await.unwrap();
        redis.prolong(&key, LONG).await.unwrap();
        redis.take(&key).await.unwrap();
        redis.add(&key, b"x", LONG).await.unwrap();
        redis.contains(&key, b"x").await.unwrap();
        redis.members(&key).await.unwrap();
        redis.remove(&key, b"x").await.unwrap();
        redis.rank(&key, b"x", 1.0, LONG).await.unwrap();
        redis.increase(&key, b"x", 1.0, LONG).await.unwrap();
        redis.standing(&key, b"x").await.unwrap();
        redis.range(&key, 0, 1).await.unwrap();
        redis.trim(&key, 1).await.unwrap();
        redis.trim_below(&key, 1.0).await.unwrap();
        redis.unrank(&key, b"x").await.unwrap();
        redis.delete(&key).await.unwrap();
        let url = server.url_as("seabed", "wrong");
        let refused = RedisMemory::new(&RedisMemoryOptions::new(url)).look_up(&[key]).await;
        assert_eq!(refused, Err(MemoryError::Refused));
    });
}

/// What `doctor` says of where sessions are.
async fn doctor(environment: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let json = TestApp::run(&["--json", "doctor"], environment).await.json();
    let checks = json["checks"].as_array().unwrap().iter().filter(|check| check["store"] == "memory");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    checks.map(|check| (text(&check["check"]), text(&check["level"]), text(&check["message"]))).collect()
}

#[test]
fn the_doctor_warns_where_sessions_may_be_evicted() {
    within(LIMIT, async {
        let mut copies = or_skip!(Redis::private_with(&["maxmemory 100mb", "maxmemory-policy allkeys-lru"]).await);
        let data = or_skip!(Redis::private().await);
        let says = async |environment: &[(&str, &str)], check: &str, level: &str, words: &str| {
            let checks = doctor(environment).await;
            let found = checks.iter().find(|(name, _, _)| name == check);
            assert!(found.is_some_and(|(_, found, said)| found == level && said.contains(words)), "{checks:?}");
        };
        let both = [("REDIS_URL", copies.url()), ("REDIS_DATA_URL", data.url())];
        let both = both.each_ref().map(|(name, url)| (*name, url.as_str()));
        says(&[], "use", "ok", "in this process").await;
        for policy in ["allkeys-lru", "volatile-ttl"] {
            copies.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", policy]).await;
            says(&both[..1], "eviction", "warn", "may be evicted; let REDIS_DATA_URL name a server").await;
        }
        says(&both, "eviction", "ok", "nothing is evicted").await;
        copies.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
        says(&both[..1], "eviction", "ok", "noeviction: nothing is lost").await;
        copies.kill().await;
        says(&both[..1], "reachable", "warn", "it cannot be reached").await;
        says(&both, "reachable", "ok", "Redis at").await;
    });
}
