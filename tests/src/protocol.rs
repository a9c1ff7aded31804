//! A model of the coherent cache's protocol, small enough to be checked exhaustively.
//!
//! One key, because keys share nothing but the lease: the entry of a row, which an invalidation removes, or that of a
//! list, which depends on the stamp of its table. A database with an outbox, Redis, writers, readers and relays take
//! their steps in every order, and faults fall between any two of them. What is atomic in the model is one statement of
//! the database or one script of Redis in the code.
//!
//! What the model takes for granted: a primary that was failed over takes no more reads or writes; clocks of processes
//! run evenly, and so does Redis' clock unless a fault says otherwise; runs, epochs, tokens and stamps are drawn from so
//! many that none is drawn twice.
//!
//! What it leaves out because it can only help: requests of readers and relays that are lost (a reader that gives up and
//! a relay that stops may do so at any moment, which is the same), answers from the database (they are current), tokens
//! and values that expire (an evicted entry is the same). Readers and relays are never done; only commits and faults are
//! counted.
//!
//! Two promises are checked in every state: [`NOT_OLDER`] and [`NOT_TOO_OLD`]. And the model must be alive: in some run
//! the faults are over, the commits are made, and the cache serves the last of them.
//!
//! Each [`Variant`] breaks one rule, and [`counterexample`] says how that is seen.

mod state;
mod step;
mod transition;
mod variant;

use std::{collections::BTreeSet, fmt};

use stateright::{Checker, HasDiscoveries, Model, Property};

pub use state::{DELTA, FOR_EVER, Faults, State};
pub use step::{Delivery, Key, Step};
pub use variant::Variant;

use state::Answer;

/// No read that starts after an acknowledgement is answered an older value.
pub const NOT_OLDER: &str = "no read returns less than what was acknowledged before it";

/// What the cache serves was the database's less than [`DELTA`] ago; if Redis' clock is wrong, less than
/// [`WITHOUT_A_CLOCK`].
pub const NOT_TOO_OLD: &str = "what is served was current a moment ago";

/// What is left without Redis' clock: a reader saw the lease move less than [`DELTA`] ago, and the relay that moved it had
/// observed less than [`DELTA`] before.
pub const WITHOUT_A_CLOCK: u8 = 2 * DELTA;

/// After all faults and commits the last value is served from the cache.
pub const ALIVE: &str = "the cache serves the last value after all faults";

/// The protocol among so many participants, with so many faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocol {
    /// The rule that is broken.
    pub variant: Option<Variant>,
    /// Writers, at most two.
    pub writers: u8,
    /// Readers, at most two, each with a process of its own.
    pub readers: u8,
    /// Relays, at most two.
    pub relays: u8,
    /// Commits of all writers together, at most three.
    pub commits: u8,
    /// The entry is a list's, which depends on its table's stamp; a row's otherwise.
    pub is_list: bool,
    /// The last of the writers changes so much that it tells `*`.
    pub has_star: bool,
    /// Whether readers watch the lease move (R5) and relays give up rounds that took them [`DELTA`]. Where no clock is
    /// wrong and no snapshot is restored, nothing depends on it, and readers that trust more are the harder case.
    pub watches: bool,
    /// How many renewals there are at most until Redis forgets; counts only where readers watch.
    pub renewals: u8,
    /// For how long a value may have been gone when it is served, in ticks.
    pub limit: u8,
    /// The faults.
    pub faults: Faults,
}

/// What came of a check.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How many different states there are.
    pub states: usize,
    /// How many steps the longest of the shortest ways to a state has.
    pub depth: usize,
    /// The broken promises, each with how it comes about.
    pub broken: Vec<(&'static str, Trace)>,
    /// How the last value comes to be served after all faults, if it does.
    pub alive: Option<Trace>,
}

/// The steps from the start to what was looked for; prints one step a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(pub Vec<Step>);

impl Default for Protocol {
    /// One row, two of each, two commits, no fault.
    fn default() -> Self {
        Self {
            variant: None,
            writers: 2,
            readers: 2,
            relays: 2,
            commits: 2,
            is_list: false,
            has_star: false,
            watches: false,
            renewals: 2,
            limit: DELTA,
            faults: Faults::default(),
        }
    }
}

impl Protocol {
    /// Looks at every state that can be reached.
    pub fn check(self) -> Outcome {
        let checker = self.checker().threads(2).spawn_bfs().join();
        let mut outcome =
            Outcome { states: checker.unique_state_count(), depth: checker.max_depth(), broken: vec![], alive: None };
        for (name, path) in checker.discoveries() {
            let trace = Trace(path.into_actions());
            if name == ALIVE { outcome.alive = Some(trace) } else { outcome.broken.push((name, trace)) }
        }
        outcome
    }

    /// The shortest way to break a promise, if there is one.
    pub fn counterexample(self, promise: &'static str) -> Option<Trace> {
        let until = HasDiscoveries::AnyOf(BTreeSet::from([promise]));
        // One thread, for the shortest way and always the same.
        let checker = self.checker().finish_when(until).spawn_bfs().join();
        checker.discovery(promise).map(|path| Trace(self.shorten(path.into_actions(), promise)))
    }

    /// Whether these steps are possible, one after the other, and the last of them breaks the promise.
    pub fn breaks(&self, steps: &[Step], promise: &'static str) -> bool {
        let mut state = self.start();
        let mut possible = Vec::new();
        for step in steps {
            possible.clear();
            self.steps(&state, &mut possible);
            if !possible.contains(step) {
                return false;
            }
            state = self.take(&state, *step);
        }
        !(self.property(promise).condition)(self, &state)
    }

    /// Leaves out what the last step does not need: the checker ends a little after the first way that it finds, and
    /// reports the last.
    fn shorten(&self, mut steps: Vec<Step>, promise: &'static str) -> Vec<Step> {
        loop {
            // Two at a time, too: some steps can only go together.
            let pairs = (0..steps.len()).flat_map(|n| (0..=n).map(move |m| [m, n]));
            let shorter = pairs.map(|gone| {
                let kept = steps.iter().enumerate().filter(|(n, _)| !gone.contains(n));
                kept.map(|(_, step)| *step).collect::<Vec<_>>()
            });
            match shorter.into_iter().find(|steps| self.breaks(steps, promise)) {
                Some(shorter) => steps = shorter,
                None => return steps,
            }
        }
    }

    fn is(&self, variant: Variant) -> bool {
        self.variant == Some(variant)
    }

    fn watches(&self) -> bool {
        self.watches
    }

    /// Readers that have no token to take before they read.
    fn reads_first(&self) -> bool {
        matches!(self.variant, Some(Variant::NoTokens | Variant::Tombstones | Variant::ReadBeforeAcquire))
    }

    /// Whether a reader's load is of no use to anybody without the token that it took.
    fn needs_its_token(&self) -> bool {
        !self.reads_first() && !matches!(self.variant, Some(Variant::JoinEarlierLoad | Variant::CountedNames))
    }

    fn tells_star(&self, writer: u8) -> bool {
        self.has_star && writer + 1 == self.writers
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.steps(state, steps);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        Some(self.take(state, step))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(NOT_TOO_OLD, |_, state: &State| !matches!(state.answer, Answer::TooOld { .. })),
            Property::sometimes(ALIVE, |model: &Self, state: &State| {
                let all_is_over = state.faults.are_over() && state.database.next > model.commits;
                all_is_over && state.answer == Answer::Current
            }),
        ];
        if self.promises_not_older() {
            properties.push(Property::always(NOT_OLDER, |_, state: &State| {
                !matches!(state.answer, Answer::Older | Answer::TooOld { older: true })
            }));
        }
        properties
    }
}

impl Protocol {
    /// A memory that comes back, with a lease that is still alive, is younger than Δ, but may lack an invalidation; only
    /// readers that watch the lease refuse it. And without Redis' clock nobody knows how long to wait for it.
    fn promises_not_older(&self) -> bool {
        let Faults { restore, still, back, .. } = self.faults;
        (restore == 0 || self.watches) && still + back == 0
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            writeln!(f, "{:>3}. {step}", n + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} states, {} steps deep", self.states, self.depth)?;
        for (promise, trace) in &self.broken {
            writeln!(f, "broken: {promise}\n{trace}")?;
        }
        if self.alive.is_none() {
            writeln!(f, "never: {ALIVE}")?;
        }
        Ok(())
    }
}

/// The smallest circumstances in which breaking the variant's rule breaks a promise, and the promise.
pub fn circumstances(variant: Variant) -> (Protocol, &'static str) {
    let one = Protocol { variant: Some(variant), writers: 1, readers: 1, relays: 1, commits: 1, ..Protocol::default() };
    let with = |faults| Protocol { faults, ..one };
    let lost = Faults { lost: 1, ..Faults::default() };
    let flush = Faults { flush: 1, ..Faults::default() };
    let restore = Faults { restore: 1, ..Faults::default() };
    match variant {
        Variant::NoTokens | Variant::Tombstones | Variant::OutboxAlone | Variant::ReadBeforeAcquire => (one, NOT_OLDER),
        Variant::JoinEarlierLoad => (Protocol { readers: 2, ..one }, NOT_OLDER),
        Variant::NoWait | Variant::WaitFromBegin => (with(lost), NOT_OLDER),
        Variant::NoLease => (one, NOT_TOO_OLD),
        Variant::NoEpoch | Variant::EpochOfFill => (with(restore), NOT_TOO_OLD),
        Variant::DeleteBeforeInvalidate => (Protocol { relays: 2, ..one }, NOT_TOO_OLD),
        Variant::CountedNames => (Protocol { readers: 2, ..with(flush) }, NOT_OLDER),
        Variant::RunFromMemory => (with(restore), NOT_TOO_OLD),
        Variant::DeadlineFromRenewal | Variant::ObserveAfterRead => (one, NOT_TOO_OLD),
        Variant::DeleteOnAnyTimeline => {
            let faults = Faults { failover: 1, ..Faults::default() };
            (Protocol { writers: 2, relays: 2, commits: 2, ..with(faults) }, NOT_TOO_OLD)
        }
        Variant::StarKeepsLease => (Protocol { has_star: true, ..one }, NOT_OLDER),
        Variant::StampOfFill => (Protocol { readers: 2, is_list: true, ..one }, NOT_OLDER),
        Variant::CountedStamps => (Protocol { readers: 2, is_list: true, ..one }, NOT_OLDER),
        Variant::NoOwnClock | Variant::FirstSeen | Variant::RelayWithoutClock => {
            let faults = Faults { still: FOR_EVER, ..Faults::default() };
            (Protocol { watches: true, limit: WITHOUT_A_CLOCK, ..with(faults) }, NOT_TOO_OLD)
        }
        Variant::SightsOutliveConnection => (Protocol { watches: true, ..with(restore) }, NOT_OLDER),
    }
}

/// The steps by which the variant breaks a promise; none if its rule is of no use.
pub fn counterexample(variant: Variant) -> Option<Vec<Step>> {
    let (protocol, promise) = circumstances(variant);
    if variant == Variant::DeleteOnAnyTimeline {
        // Too many steps among too many to be searched for each time.
        let steps = AFTER_A_LOST_COMMIT.to_vec();
        return protocol.breaks(&steps, promise).then_some(steps);
    }
    protocol.counterexample(promise).map(|trace| trace.0)
}

/// How a row that nobody has applied is deleted in place of one that a failover lost.
const AFTER_A_LOST_COMMIT: [Step; 20] = [
    Step::Commit(0),
    Step::Observe(0),
    Step::ReadOutbox(0),
    Step::InvalidateRows(0),
    Step::Renew(0),
    Step::Failover { loses: true },
    Step::Observe(1),
    Step::ReadOutbox(1),
    Step::Renew(1),
    Step::Acquire(0),
    Step::Read(0),
    Step::Fill(0),
    Step::Commit(1),
    Step::DeleteRows(0),
    Step::Tick,
    Step::Tick,
    Step::Observe(1),
    Step::ReadOutbox(1),
    Step::Renew(1),
    Step::LookUp(0),
];
