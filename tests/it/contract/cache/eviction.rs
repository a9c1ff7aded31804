//! What the cache in this process throws away when it has no more space.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

const KEYS: usize = 20_000;
const PAYLOAD: usize = 400;
/// What an entry costs: its payload, and what the cache counts beside it.
const ENTRY: usize = PAYLOAD + 200;
const LOOK_UPS: usize = 200_000;

/// Draws numbers below [`KEYS`], each the rarer the larger it is (Zipf's law with exponent 0.99).
struct Zipf {
    sums: Vec<f64>,
    chance: StdRng,
}

impl Zipf {
    fn seeded(seed: u64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=KEYS).map(|rank| {
            sum += (rank as f64).powf(-0.99);
            sum
        });
        Self { sums: weights.collect(), chance: StdRng::seed_from_u64(seed) }
    }

    fn draw(&mut self) -> usize {
        let drawn = self.chance.random::<f64>() * self.sums[KEYS - 1];
        self.sums.partition_point(|&sum| sum < drawn)
    }
}

/// A cache of so many entries that throws away what was not used for longest.
#[derive(Default)]
struct LeastRecentlyUsed {
    used: std::collections::HashMap<usize, usize>,
    order: std::collections::BTreeMap<usize, usize>,
    now: usize,
}

impl LeastRecentlyUsed {
    fn look_up(&mut self, key: usize, capacity: usize) -> bool {
        self.now += 1;
        let before = self.used.insert(key, self.now);
        self.order.insert(self.now, key);
        match before {
            Some(before) => {
                self.order.remove(&before);
            }
            None if self.used.len() > capacity => {
                if let Some((_, oldest)) = self.order.pop_first() {
                    self.used.remove(&oldest);
                }
            }
            None => {}
        }
        before.is_some()
    }
}

#[test]
fn what_is_used_often_stays() {
    within(LIMIT, async {
        let capacity = KEYS / 10;
        let max_bytes = u64::try_from(capacity * ENTRY).unwrap();
        let cache = InProcessCache::new(max_bytes);
        let observed = cache.observe().await.unwrap();
        cache.renew(&observed, "one", LONG).await.unwrap();

        let value = Bytes::from(vec![7; PAYLOAD]);
        let slots: Vec<_> = (0..KEYS).map(|key| slot(&key.to_string())).collect();
        let (mut zipf, mut other) = (Zipf::seeded(1), LeastRecentlyUsed::default());
        let (mut ours, mut theirs) = (0, 0);
        for n in 0..LOOK_UPS {
            let key = zipf.draw();
            // The first half warms them up.
            let counts = usize::from(n >= LOOK_UPS / 2);
            theirs += counts * usize::from(other.look_up(key, capacity));
            let LookUp::Fresh(found) = cache.look_up(&slots[key..=key]).await.unwrap() else { panic!("it is fresh") };
            if found[0].is_some() {
                ours += counts;
            } else if let Some(token) = cache.acquire(&slots[key..=key]).await.unwrap()[0] {
                cache.fill(vec![Fill { slot: slots[key], token, value: value.clone(), life: LONG }]).await.unwrap();
            }
            if n % 10_000 == 0 {
                assert!(cache.bytes() <= max_bytes, "{} bytes of {max_bytes}", cache.bytes());
            }
        }
        assert!(cache.bytes() <= max_bytes && cache.bytes() > max_bytes * 9 / 10, "{}", cache.bytes());
        let ratio = |hits: usize| hits as f64 / (LOOK_UPS / 2) as f64;
        let (ours, theirs) = (ratio(ours), ratio(theirs));
        assert!(ours >= 0.74, "{ours}, where throwing away what was used least recently has {theirs}");
        assert!((0.62..0.70).contains(&theirs), "{theirs}: this is another load than it was");
    });
}
