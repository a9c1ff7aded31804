//! Where ids come from.

use std::sync::{Mutex, PoisonError};

use rand::{Rng, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use crate::value::Timestamp;

/// Makes UUIDv7 ids (RFC 9562) that grow, also within a millisecond: there the twelve bits after the version count up,
/// as section 6.2, method 1, of the RFC says.
#[derive(Debug)]
pub(crate) struct IdSource(Mutex<State>);

#[derive(Debug)]
struct State {
    chance: StdRng,
    millisecond: u64,
    count: u16,
}

const COUNT_MAX: u16 = 0x0FFF;

impl IdSource {
    /// Ids that cannot be guessed, or, with a seed, the same ids in every run.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        let chance = seed.map_or_else(|| StdRng::from_rng(&mut rand::rng()), StdRng::seed_from_u64);
        Self(Mutex::new(State { chance, millisecond: 0, count: 0 }))
    }

    pub(crate) fn next(&self, now: Timestamp) -> Uuid {
        let now = u64::try_from(now.utc().timestamp_millis()).unwrap_or(0);
        let mut random = [0_u8; 10];
        let (millisecond, count) = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.chance.fill_bytes(&mut random);
            if now > state.millisecond {
                state.millisecond = now;
                state.count = 0;
            } else if state.count < COUNT_MAX {
                state.count += 1;
            } else {
                // More than 4,096 in a millisecond, or a clock that was set back: borrow from the next one.
                state.millisecond += 1;
                state.count = 0;
            }
            (state.millisecond, state.count)
        };
        random[..2].copy_from_slice(&count.to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(millisecond, &random).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone, Utc};

    use super::*;

    #[test]
    fn ids_grow_even_when_the_clock_stands_still_or_goes_back() {
        let source = IdSource::new(Some(1));
        let late = Timestamp::new(Utc.timestamp_millis_opt(2_000).unwrap());
        let early = Timestamp::new(Utc.timestamp_millis_opt(1_000).unwrap());
        let mut last = Uuid::nil();
        for n in 0..10_000 {
            let id = source.next(if n % 3 == 0 { early } else { late });
            assert!(id > last && id.get_version_num() == 7);
            last = id;
        }
    }

    #[test]
    fn a_seed_repeats_the_ids() {
        let now = Timestamp::new(Utc.timestamp_millis_opt(2_000).unwrap());
        let ids =
            |seed| std::iter::repeat_with(move || IdSource::new(Some(seed)).next(now)).take(3).collect::<Vec<_>>();
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7), ids(8));
    }
}
