//! Faults one after another, in an order that follows from a seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::{Fault, Toward};

/// Faults without an end, the same ones for the same seed: what is played, and not at which moment of the conversation
/// it happens.
///
/// ```ignore
/// tokio::join!(proxy.play(Schedule::seeded(7).take(50)), work);
/// ```
#[derive(Debug)]
pub struct Schedule {
    chance: StdRng,
}

/// One fault of a [`Schedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub fault: Fault,
    /// How long until the network heals.
    pub lasts: Duration,
    /// How long it is well after that.
    pub calm: Duration,
}

/// Long enough that work fails, and short enough that it is worth to wait.
const LONGEST_FAULT_MS: u64 = 200;
const LONGEST_CALM_MS: u64 = 300;
const LONGEST_DELAY_MS: u64 = 50;

impl Schedule {
    /// The schedule of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self { chance: StdRng::seed_from_u64(seed) }
    }

    fn up_to(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.chance.random_range(1..=most))
    }
}

impl Iterator for Schedule {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let delay = self.up_to(LONGEST_DELAY_MS);
        let faults = [
            Fault::Cut,
            Fault::Reset,
            Fault::Refuse,
            Fault::Stall(Toward::Server),
            Fault::Stall(Toward::Client),
            Fault::BlackHole,
            Fault::Delay(Toward::Server, delay),
            Fault::Delay(Toward::Client, delay),
        ];
        let fault = *faults.choose(&mut self.chance)?;
        let lasts = self.up_to(LONGEST_FAULT_MS);
        Some(Step { fault, lasts, calm: self.up_to(LONGEST_CALM_MS) })
    }
}
