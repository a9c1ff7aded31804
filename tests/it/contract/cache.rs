//! The contract of the cache: what its port says, of each of its adapters.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use api::adapter::redis_cache::{RedisCache, RedisOptions};
use bytes::Bytes;
use domain::{Cache, CacheError, Fill, InProcessCache, Key, LookUp, Slot, TOKEN_LIFE, Token};
use tests::{PATIENCE, Redis, eventually, run::LIMIT, within};

mod eviction;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// A cache, and what it needs.
struct Subject {
    cache: Arc<dyn Cache>,
    _server: Option<Redis>,
}

impl Subject {
    fn in_process() -> Self {
        Self { cache: Arc::new(InProcessCache::new(16 << 20)), _server: None }
    }

    async fn redis() -> Result<Self, tests::Skip> {
        let server = Redis::private().await?;
        let options = RedisOptions { timeout: PATIENCE, freshness: LONG, ..RedisOptions::new(server.url()) };
        Ok(Self { cache: Arc::new(RedisCache::new(&options)), _server: Some(server) })
    }

    async fn renew(&self, timeline: &str, freshness: Duration) {
        let observed = self.cache.observe().await.unwrap();
        self.cache.renew(&observed, timeline, freshness).await.unwrap();
    }

    /// With a lease that outlasts the test.
    async fn renewed(self) -> Self {
        self.renew("one", LONG).await;
        self
    }

    async fn acquire(&self, slot: Slot) -> Option<Token> {
        let [token] = self.cache.acquire(&[slot]).await.unwrap().try_into().unwrap();
        token
    }

    async fn fill(&self, slot: Slot, token: Token, value: &str, life: Duration) -> bool {
        let value = Bytes::copy_from_slice(value.as_bytes());
        self.cache.fill(vec![Fill { slot, token, value, life }]).await.unwrap() == 1
    }

    /// What a reader does who misses.
    async fn keep(&self, slot: Slot, value: &str) {
        let token = self.acquire(slot).await.expect("nobody else fills it");
        assert!(self.fill(slot, token, value, LONG).await, "the token is there");
    }

    async fn look_up_all(&self, slots: &[Slot]) -> Vec<Option<String>> {
        match self.cache.look_up(slots).await.unwrap() {
            LookUp::Fresh(values) => {
                assert_eq!(values.len(), slots.len());
                values.into_iter().map(|value| Some(String::from_utf8(value?.to_vec()).unwrap())).collect()
            }
            LookUp::Stale => panic!("the lease runs"),
        }
    }

    async fn look_up(&self, slot: Slot) -> Option<String> {
        self.look_up_all(&[slot]).await.remove(0)
    }

    async fn is_stale(&self) -> bool {
        self.cache.look_up(&[slot("any")]).await.unwrap() == LookUp::Stale
    }
}

fn slot(words: &str) -> Slot {
    Slot::new(Key::of(words))
}

fn stamped(words: &str, stamp: &str) -> Slot {
    Slot { stamp: Some(Key::of(stamp)), ..slot(words) }
}

fn some(value: &str) -> Option<String> {
    Some(value.to_owned())
}

on_each!(
    async fn without_a_lease_it_does_not_answer(subject: Subject) {
        assert!(subject.is_stale().await);
        assert_eq!(subject.cache.look_up(&[]).await.unwrap(), LookUp::Stale);
        subject.renew("one", LONG).await;
        assert_eq!(subject.look_up(slot("a")).await, None);
        assert_eq!(subject.cache.look_up(&[]).await.unwrap(), LookUp::Fresh(Vec::new()));
    }

    async fn a_lease_ends_by_itself_and_forgets_nothing(subject: Subject) {
        const FRESHNESS: Duration = Duration::from_secs(2);
        let start = Instant::now();
        subject.renew("one", FRESHNESS).await;
        // Before the lease ends, unless the machine sleeps for so long.
        let token = subject.acquire(slot("a")).await.unwrap();
        assert!(subject.fill(slot("a"), token, "kept", LONG).await);
        eventually("the lease ends", PATIENCE, async || subject.is_stale().await.then_some(())).await;
        // To the millisecond, which is what the clock of a cache tells.
        assert!(start.elapsed() >= FRESHNESS - Duration::from_millis(2), "{:?}", start.elapsed());
        subject.renew("one", LONG).await;
        assert_eq!(subject.look_up(slot("a")).await, some("kept"));
    }

    async fn what_is_filled_is_found(subject: Subject) {
        let subject = subject.renewed().await;
        assert_eq!(subject.look_up(slot("a")).await, None);
        subject.keep(slot("a"), "value").await;
        assert_eq!(subject.look_up(slot("a")).await, some("value"));
        assert_eq!(subject.look_up(slot("b")).await, None);
    }

    async fn every_byte_comes_back(subject: Subject) {
        let subject = subject.renewed().await;
        let all: Vec<u8> = (0..=255).collect();
        for value in [Bytes::new(), Bytes::from(all.clone()), Bytes::from(all.repeat(4_096))] {
            let slot = slot(&format!("{} bytes", value.len()));
            let token = subject.acquire(slot).await.unwrap();
            let fill = Fill { slot, token, value: value.clone(), life: LONG };
            assert_eq!(subject.cache.fill(vec![fill]).await.unwrap(), 1);
            assert_eq!(subject.cache.look_up(&[slot]).await.unwrap(), LookUp::Fresh(vec![Some(value)]));
        }
    }

    async fn only_one_may_fill_and_only_once(subject: Subject) {
        let subject = subject.renewed().await;
        let token = subject.acquire(slot("a")).await.unwrap();
        assert_eq!(subject.acquire(slot("a")).await, None, "somebody has it");
        assert!(subject.acquire(slot("b")).await.is_some(), "it is about one slot");
        let forged = Token { id: token.id ^ 1, ..token };
        assert!(!subject.fill(slot("a"), forged, "forged", LONG).await);
        assert!(!subject.fill(slot("b"), token, "another's", LONG).await);
        assert!(subject.fill(slot("a"), token, "first", LONG).await);
        assert!(!subject.fill(slot("a"), token, "again", LONG).await, "it was used");
        assert_eq!(subject.look_up_all(&[slot("a"), slot("b")]).await, [some("first"), None]);
    }

    async fn a_token_is_no_value(subject: Subject) {
        let subject = subject.renewed().await;
        subject.acquire(slot("a")).await.unwrap();
        assert_eq!(subject.look_up(slot("a")).await, None);
    }

    async fn the_same_slot_twice_is_filled_once(subject: Subject) {
        let subject = subject.renewed().await;
        let tokens = subject.cache.acquire(&[slot("a"), slot("a")]).await.unwrap();
        assert!(tokens[0].is_some() && tokens[1].is_none(), "{tokens:?}");
    }

    async fn invalidation_forgets_the_value(subject: Subject) {
        let subject = subject.renewed().await;
        subject.keep(slot("a"), "old").await;
        subject.keep(slot("b"), "other").await;
        subject.cache.invalidate(&[Key::of("a"), Key::of("a"), Key::of("unknown")]).await.unwrap();
        assert_eq!(subject.look_up_all(&[slot("a"), slot("b")]).await, [None, some("other")]);
        subject.keep(slot("a"), "new").await;
        assert_eq!(subject.look_up(slot("a")).await, some("new"));
        subject.cache.invalidate(&[]).await.unwrap();
        assert_eq!(subject.look_up(slot("a")).await, some("new"));
    }

    /// Who has read before the commit must not fill after it.
    async fn invalidation_destroys_the_token(subject: Subject) {
        let subject = subject.renewed().await;
        let before = subject.acquire(slot("a")).await.unwrap();
        subject.cache.invalidate(&[Key::of("a")]).await.unwrap();
        assert!(!subject.fill(slot("a"), before, "old", LONG).await);
        let after = subject.acquire(slot("a")).await.expect("the right is free again");
        assert!(!subject.fill(slot("a"), before, "old", LONG).await);
        assert!(subject.fill(slot("a"), after, "new", LONG).await);
        assert_eq!(subject.look_up(slot("a")).await, some("new"));
    }

    async fn thousands_are_invalidated_at_once(subject: Subject) {
        let subject = subject.renewed().await;
        let slots: Vec<_> = (0..2_500).map(|n| slot(&n.to_string())).collect();
        let tokens = subject.cache.acquire(&slots).await.unwrap();
        let fills = slots.iter().zip(tokens).map(|(&slot, token)| Fill {
            slot,
            token: token.unwrap(),
            value: Bytes::from_static(b"x"),
            life: LONG,
        });
        assert_eq!(subject.cache.fill(fills.collect()).await.unwrap(), 2_500);
        let keys: Vec<_> = slots.iter().skip(1).map(|slot| slot.key).collect();
        subject.cache.invalidate(&keys).await.unwrap();
        let found = subject.look_up_all(&slots).await;
        assert_eq!(found.iter().filter(|value| value.is_some()).count(), 1);
        assert!(found[0].is_some());
    }

    async fn everything_can_be_forgotten(subject: Subject) {
        let subject = subject.renewed().await;
        subject.keep(slot("a"), "old").await;
        subject.keep(stamped("b", "table"), "old").await;
        let before = subject.acquire(slot("c")).await.unwrap();
        subject.cache.invalidate_all().await.unwrap();
        assert!(!subject.fill(slot("c"), before, "old", LONG).await, "its token is forgotten too");
        subject.renew("one", LONG).await;
        let slots = [slot("a"), stamped("b", "table"), slot("c")];
        assert_eq!(subject.look_up_all(&slots).await, [None, None, None]);
        for slot in slots {
            subject.keep(slot, "new").await;
        }
        assert_eq!(subject.look_up_all(&slots).await, [some("new"), some("new"), some("new")]);
    }

    async fn a_slot_depends_on_its_stamp(subject: Subject) {
        let subject = subject.renewed().await;
        let (first, second) = (stamped("list 1", "table"), stamped("list 2", "table"));
        let (other, row) = (stamped("list 3", "other table"), slot("row"));
        for slot in [first, second, other, row] {
            subject.keep(slot, "old").await;
        }
        let all = [first, second, other, row];
        assert_eq!(subject.look_up_all(&all).await, [some("old"), some("old"), some("old"), some("old")]);
        subject.cache.invalidate(&[Key::of("table")]).await.unwrap();
        assert_eq!(subject.look_up_all(&all).await, [None, None, some("old"), some("old")]);
        assert_eq!(subject.look_up(first).await, None, "also alone");
        subject.keep(first, "new").await;
        assert_eq!(subject.look_up_all(&all).await, [some("new"), None, some("old"), some("old")]);
        subject.cache.invalidate(&[first.key]).await.unwrap();
        assert_eq!(subject.look_up(first).await, None, "it depends on its own key too");
        let unstamped = Slot { stamp: None, ..other };
        assert_eq!(subject.look_up(unstamped).await, None, "what it depends on is part of what it is");
        assert_eq!(subject.look_up(stamped("list 3", "table")).await, None);
    }

    async fn a_stamp_that_changed_refuses_the_fill(subject: Subject) {
        let subject = subject.renewed().await;
        let list = stamped("list", "table");
        let before = subject.acquire(list).await.unwrap();
        subject.cache.invalidate(&[Key::of("table")]).await.unwrap();
        assert!(!subject.fill(list, before, "old", LONG).await);
        // There is a stamp again, and it is another one.
        subject.keep(stamped("another list", "table"), "new").await;
        assert!(!subject.fill(list, before, "old", LONG).await);
        assert_eq!(subject.look_up(list).await, None);
    }

    /// A key may be what one slot is kept under and what another depends on.
    async fn a_key_can_be_both(subject: Subject) {
        let subject = subject.renewed().await;
        let (row, list) = (slot("users:id:1"), stamped("list", "users:id:1"));
        subject.keep(row, "row").await;
        subject.keep(list, "list").await;
        assert_eq!(subject.look_up_all(&[row, list]).await, [some("row"), some("list")]);
        subject.cache.invalidate(&[row.key]).await.unwrap();
        assert_eq!(subject.look_up_all(&[row, list]).await, [None, None]);
    }

    /// Two slots that always change together are never seen apart.
    async fn many_slots_are_looked_up_at_one_moment(subject: Subject) {
        let subject = subject.renewed().await;
        let slots = [slot("a"), stamped("b", "table")];
        let is_over = AtomicBool::new(false);
        let write = async {
            for n in 0..300 {
                let tokens = subject.cache.acquire(&slots).await.unwrap();
                let value = Bytes::from(n.to_string());
                let fills = slots.iter().zip(tokens).map(|(&slot, token)| Fill {
                    slot,
                    token: token.unwrap(),
                    value: value.clone(),
                    life: LONG,
                });
                assert_eq!(subject.cache.fill(fills.collect()).await.unwrap(), 2);
                tokio::task::yield_now().await;
                subject.cache.invalidate(&[Key::of("a"), Key::of("table")]).await.unwrap();
                tokio::task::yield_now().await;
            }
            is_over.store(true, Ordering::Release);
        };
        let cache = Arc::clone(&subject.cache);
        let read = async {
            let mut seen = 0;
            while !is_over.load(Ordering::Acquire) {
                match cache.look_up(&slots).await.unwrap() {
                    LookUp::Fresh(values) => {
                        assert_eq!(values[0], values[1]);
                        seen += usize::from(values[0].is_some());
                    }
                    LookUp::Stale => panic!("the lease runs"),
                }
                tokio::task::yield_now().await;
            }
            seen
        };
        let ((), seen) = tokio::join!(write, read);
        assert!(seen > 0, "it was never seen whole");
    }

    async fn the_life_of_a_value_ends_by_itself(subject: Subject) {
        const LIFE: Duration = Duration::from_secs(1);
        let subject = subject.renewed().await;
        let slot = slot("a");
        let token = subject.acquire(slot).await.unwrap();
        let start = Instant::now();
        assert!(subject.fill(slot, token, "value", LIFE).await);
        // Looking at it does not prolong it.
        let ended = eventually("it ends", PATIENCE, async || match subject.look_up(slot).await {
            None => Some(start.elapsed()),
            Some(_) => None,
        });
        let ended = ended.await;
        assert!(ended >= LIFE - Duration::from_millis(2), "{ended:?}");
    }

    async fn a_sliding_life_starts_anew_when_it_is_looked_up(subject: Subject) {
        const LIFE: Duration = Duration::from_secs(2);
        let subject = subject.renewed().await;
        let slot = slot("session");
        let sliding = Slot { sliding: Some(LIFE), ..slot };
        let token = subject.acquire(sliding).await.unwrap();
        let start = Instant::now();
        assert!(subject.fill(sliding, token, "value", LIFE).await);
        let mut looked_up = start;
        while start.elapsed() < LIFE * 2 {
            let found = subject.look_up(sliding).await;
            // A machine that sleeps for longer than the life has let it end.
            assert!(found.is_some() || looked_up.elapsed() > LIFE / 2, "ended after {:?}", start.elapsed());
            looked_up = Instant::now();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        eventually("it ends", PATIENCE, async || subject.look_up(slot).await.is_none().then_some(())).await;
        assert!(looked_up.elapsed() >= LIFE - Duration::from_millis(100), "{:?}", looked_up.elapsed());
    }

    async fn a_token_ends_by_itself(subject: Subject) {
        let subject = subject.renewed().await;
        let start = Instant::now();
        let first = subject.acquire(slot("a")).await.unwrap();
        let second = eventually("the right is free", PATIENCE, async || subject.acquire(slot("a")).await).await;
        assert!(start.elapsed() >= TOKEN_LIFE - Duration::from_millis(2), "{:?}", start.elapsed());
        assert!(!subject.fill(slot("a"), first, "late", LONG).await);
        assert!(subject.fill(slot("a"), second, "in time", LONG).await);
    }

    async fn an_observation_tells_the_time_and_what_is_left(subject: Subject) {
        let first = subject.cache.observe().await.unwrap();
        assert_eq!(first.left, Duration::ZERO);
        let second = eventually("time passes", PATIENCE, async || {
            let observed = subject.cache.observe().await.unwrap();
            (observed.at_ms > first.at_ms).then_some(observed)
        })
        .await;
        assert_eq!(first.run, second.run);
        assert!(second.seen > first.seen);
        subject.cache.renew(&second, "one", LONG).await.unwrap();
        let third = subject.cache.observe().await.unwrap();
        assert!(third.left <= LONG && third.left > LONG / 2, "{third:?}");
    }

    async fn a_renewal_that_comes_late_is_refused(subject: Subject) {
        const FRESHNESS: Duration = Duration::from_millis(20);
        let observed = subject.cache.observe().await.unwrap();
        eventually("it is late", PATIENCE, async || (observed.seen.elapsed() > FRESHNESS * 2).then_some(())).await;
        assert_eq!(subject.cache.renew(&observed, "one", FRESHNESS).await, Err(CacheError::Lost));
        assert!(subject.is_stale().await);
    }

    async fn an_older_renewal_does_not_shorten_the_lease(subject: Subject) {
        let older = subject.cache.observe().await.unwrap();
        let newer = eventually("time passes", PATIENCE, async || {
            let observed = subject.cache.observe().await.unwrap();
            (observed.at_ms > older.at_ms + 50).then_some(observed)
        })
        .await;
        let ends = async || {
            let observed = subject.cache.observe().await.unwrap();
            observed.at_ms + u64::try_from(observed.left.as_millis()).unwrap()
        };
        subject.cache.renew(&newer, "one", LONG).await.unwrap();
        let before = ends().await;
        subject.cache.renew(&older, "one", LONG).await.unwrap();
        // Between the two answers of an observation a millisecond may pass.
        assert!(before.abs_diff(ends().await) <= 5);
    }

    async fn another_timeline_forgets_everything(subject: Subject) {
        let subject = subject.renewed().await;
        subject.keep(slot("a"), "of the first").await;
        let before = subject.acquire(slot("b")).await.unwrap();
        subject.renew("one", LONG).await;
        assert_eq!(subject.look_up(slot("a")).await, some("of the first"), "the same one forgets nothing");
        subject.renew("two", LONG).await;
        assert_eq!(subject.look_up(slot("a")).await, None);
        assert!(!subject.fill(slot("b"), before, "of the first", LONG).await);
        subject.keep(slot("a"), "of the second").await;
        assert_eq!(subject.look_up(slot("a")).await, some("of the second"));
        subject.renew("one", LONG).await;
        assert_eq!(subject.look_up(slot("a")).await, None, "nobody goes back to what was");
    }
);
