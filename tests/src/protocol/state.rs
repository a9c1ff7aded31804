//! What the model remembers: a database, a Redis, and the processes that use them.
//!
//! Times are kept as what is left or what has passed, never as a date, and names (runs, epochs, stamps) are the smallest
//! that nobody holds, so that the same situation reached at another time or by another way is one state. That makes the
//! number of states finite though readers, relays and time go on for ever; only commits and faults are counted.

use std::hash::{Hash, Hasher};

/// The lease's duration, in ticks.
pub const DELTA: u8 = 2;

/// Writers, readers and relays at most of each.
pub(crate) const MOST: usize = 2;

/// Commits at most, and the value from before them.
const VALUES: usize = 4;

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub(crate) database: Database,
    pub(crate) redis: Redis,
    pub(crate) writers: [Writer; MOST],
    pub(crate) readers: [Reader; MOST],
    pub(crate) seen: [Seen; MOST],
    pub(crate) relays: [Relay; MOST],
    pub(crate) faults: Faults,
    /// The newest acknowledged value.
    pub(crate) acknowledged: u8,
    /// What the last step answered.
    pub(crate) answer: Answer,
}

/// The primary. Values are numbers that count the commits, also those that a failover lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    pub(crate) value: u8,
    pub(crate) next: u8,
    /// One bit per value that is in the history.
    pub(crate) history: u8,
    /// One bit per row of the outbox, by the row's id. Ids count the commits of the history, so that they repeat when
    /// commits were lost.
    pub(crate) rows: u8,
    /// Those of the rows that tell `*`.
    pub(crate) stars: u8,
    pub(crate) timeline: u8,
    /// For how long each value has not been the database's, at most the limit that the model looks for.
    pub(crate) gone_for: [u8; VALUES],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redis {
    pub(crate) run: u8,
    pub(crate) memory: Memory,
    /// What was saved to the disk.
    pub(crate) saved: Option<Memory>,
}

/// What Redis keeps in memory, and what a snapshot of it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) meta: Option<Meta>,
    pub(crate) lease: Option<Lease>,
    pub(crate) entry: Entry,
    /// The table's stamp; 0 is none.
    pub(crate) stamp: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) run: u8,
    pub(crate) timeline: u8,
    pub(crate) epoch: u8,
    /// How often the lease was renewed; counted only where somebody looks at it.
    pub(crate) counter: u8,
    /// How many tokens were made; counted only where tokens are numbers.
    pub(crate) tokens: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) epoch: u8,
    pub(crate) counter: u8,
    /// Ticks of Redis' clock until it expires. One that has expired stays until somebody looks, because a clock that is
    /// set back brings it to life again.
    pub(crate) left: i8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Entry {
    #[default]
    Empty,
    Token {
        owner: Owner,
        epoch: u8,
        stamp: u8,
        number: u8,
    },
    Value {
        value: u8,
        epoch: u8,
        stamp: u8,
    },
    /// Only of the variant with tombstones.
    Tombstone {
        left: u8,
    },
}

/// Who can still fill by a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Reader(u8),
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    Idle,
    /// Only of the variant that counts the wait from here.
    Begun {
        left: u8,
    },
    /// The database has committed and the writer may not know yet. What is left is of the wait.
    Committed {
        value: u8,
        left: u8,
    },
    Invalidated {
        value: u8,
    },
    Waiting {
        value: u8,
        left: u8,
    },
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Idle,
    /// Holds a token.
    Acquired {
        epoch: u8,
        number: u8,
    },
    /// Has read, too.
    Loaded {
        value: u8,
        epoch: u8,
        number: u8,
    },
    /// Only of the variants that read without a token, or before they take one.
    ReadFirst {
        value: u8,
    },
}

/// What a reader knows about the lease's movement, by its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) what: Sight,
    /// How long ago it was seen last, or first by the rule that counts from there.
    pub(crate) ago: u8,
    /// How long ago the lease that is seen now had certainly not been made; [`DELTA`] stands for longer, and for never.
    pub(crate) moved: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    Nothing,
    NoLease,
    Lease { epoch: u8, counter: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relay {
    Idle,
    /// Knows Redis' time and run.
    Observed(Round),
    /// Knows the outbox, too.
    Read(Round),
    Invalidated(Round),
    Renewed(Round),
}

/// What a relay holds during a round. What it does not know yet is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) run: u8,
    /// Ticks of Redis' clock until the deadline that it will set.
    pub(crate) left: i8,
    /// Ticks of its own clock since it observed.
    pub(crate) ago: u8,
    pub(crate) rows: u8,
    pub(crate) stars: u8,
    pub(crate) timeline: u8,
}

/// How many faults of each kind are still to come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// A writer's process ends between commit and invalidation.
    pub crash: u8,
    /// A request to Redis, or its answer, is lost.
    pub lost: u8,
    /// Redis forgets everything and goes on.
    pub flush: u8,
    /// Redis evicts one key.
    pub evict: u8,
    /// Redis ends and starts with nothing.
    pub restart: u8,
    /// Redis ends and starts with what it had saved at some moment before.
    pub restore: u8,
    /// The database fails over to another timeline, which has everything that was answered.
    pub failover: u8,
    /// Redis' clock stands still for a tick; [`FOR_EVER`] is any number of them.
    pub still: u8,
    /// Redis' clock is set back by [`DELTA`].
    pub back: u8,
}

/// A fault that may come again and again.
pub const FOR_EVER: u8 = u8::MAX;

impl Faults {
    /// None are left, but those that never end.
    pub(crate) fn are_over(&self) -> bool {
        let still = if self.still == FOR_EVER { FOR_EVER } else { 0 };
        *self == Self { still, ..Self::default() }
    }
}

/// What a step gave to a reader that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It answered nobody.
    None,
    /// The cache's value, which is the database's.
    Current,
    /// The cache's value, which was the database's a moment ago.
    Recent,
    /// A value older than one that was acknowledged before.
    Older,
    /// A value that ceased to be the database's longer ago than the limit allows; it may be older than one that was
    /// acknowledged, too.
    TooOld { older: bool },
}

impl Memory {
    /// All of it as bytes, different for different memories; who owns a token is left to the readers.
    fn pack(&self, bytes: &mut Bytes) {
        match self.meta {
            None => bytes.push(0),
            Some(Meta { run, timeline, epoch, counter, tokens }) => {
                bytes.extend([1 + run, timeline, epoch, counter, tokens]);
            }
        }
        match self.lease {
            None => bytes.push(0),
            Some(Lease { epoch, counter, left }) => bytes.extend([1 + epoch, counter, left.cast_unsigned()]),
        }
        match self.entry {
            Entry::Empty => bytes.push(0),
            Entry::Token { owner, epoch, stamp, number } => {
                bytes.extend([1 + u8::from(owner == Owner::Nobody), epoch, stamp, number]);
            }
            Entry::Value { value, epoch, stamp } => bytes.extend([3, value, epoch, stamp]),
            Entry::Tombstone { left } => bytes.extend([4, left]),
        }
        bytes.push(self.stamp);
    }

    pub(crate) fn has_token_of(&self, reader: usize) -> bool {
        matches!(self.entry, Entry::Token { owner: Owner::Reader(r), .. } if usize::from(r) == reader)
    }
}

impl State {
    /// Whether a reader's token is in memory, and whether it is in the snapshot.
    pub(crate) fn tokens_of(&self, reader: usize) -> (bool, bool) {
        let Redis { run: _, memory, saved } = &self.redis;
        (memory.has_token_of(reader), saved.as_ref().is_some_and(|saved| saved.has_token_of(reader)))
    }
}

impl Hash for State {
    /// The same for states that differ only in which of two readers, or of two relays, is which: the checker knows
    /// states by their hashes, and looks at one of those. Feeds the hasher once, because a million states are hashed
    /// several times each.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // By full patterns, so that a new field cannot be forgotten.
        let Self { database, redis, writers, readers, seen, relays, faults, acknowledged, answer } = self;
        let mut bytes = Bytes::default();
        let Database { value, next, history, rows, stars, timeline, gone_for } = database;
        bytes.extend([*value, *next, *history, *rows, *stars, *timeline]);
        bytes.extend(*gone_for);
        let Redis { run, memory, saved } = redis;
        bytes.push(*run);
        memory.pack(&mut bytes);
        match saved {
            None => bytes.push(0),
            Some(saved) => {
                bytes.push(1);
                saved.pack(&mut bytes);
            }
        }
        for writer in writers {
            bytes.extend(match *writer {
                Writer::Idle => [0, 0, 0],
                Writer::Begun { left } => [1, left, 0],
                Writer::Committed { value, left } => [2, value, left],
                Writer::Invalidated { value } => [3, value, 0],
                Writer::Waiting { value, left } => [4, value, left],
                Writer::Ended => [5, 0, 0],
            });
        }
        let mut packed = [[0; 11]; MOST];
        for (r, packed) in packed.iter_mut().enumerate() {
            let [step, epoch, number, value] = match readers[r] {
                Reader::Idle => [0, 0, 0, 0],
                Reader::Acquired { epoch, number } => [1, epoch, number, 0],
                Reader::Loaded { value, epoch, number } => [2, epoch, number, value],
                Reader::ReadFirst { value } => [3, value, 0, 0],
            };
            let Seen { what, ago, moved } = seen[r];
            let [sight, of_epoch, counter] = match what {
                Sight::Nothing => [0, 0, 0],
                Sight::NoLease => [1, 0, 0],
                Sight::Lease { epoch, counter } => [2, epoch, counter],
            };
            let (in_memory, in_snapshot) = self.tokens_of(r);
            let tokens = [u8::from(in_memory), u8::from(in_snapshot)];
            *packed = [step, epoch, number, value, sight, of_epoch, counter, ago, moved, tokens[0], tokens[1]];
        }
        packed.sort_unstable();
        packed.into_iter().for_each(|reader| bytes.extend(reader));
        let mut packed = relays.map(|relay| {
            let (step, round) = match relay {
                Relay::Idle => (0, Round::default()),
                Relay::Observed(round) => (1, round),
                Relay::Read(round) => (2, round),
                Relay::Invalidated(round) => (3, round),
                Relay::Renewed(round) => (4, round),
            };
            let Round { run, left, ago, rows, stars, timeline } = round;
            [step, run, left.cast_unsigned(), ago, rows, stars, timeline]
        });
        packed.sort_unstable();
        packed.into_iter().for_each(|relay| bytes.extend(relay));
        let Faults { crash, lost, flush, evict, restart, restore, failover, still, back } = *faults;
        bytes.extend([crash, lost, flush, evict, restart, restore, failover, still, back]);
        bytes.push(*acknowledged);
        bytes.push(match answer {
            Answer::None => 0,
            Answer::Current => 1,
            Answer::Recent => 2,
            Answer::Older => 3,
            Answer::TooOld { older } => 4 + u8::from(*older),
        });
        hasher.write(&bytes.all[..bytes.length]);
    }
}

/// A short row of bytes, without a heap.
struct Bytes {
    all: [u8; 128],
    length: usize,
}

impl Default for Bytes {
    fn default() -> Self {
        Self { all: [0; 128], length: 0 }
    }
}

impl Bytes {
    fn push(&mut self, byte: u8) {
        self.all[self.length] = byte;
        self.length += 1;
    }

    fn extend<const N: usize>(&mut self, bytes: [u8; N]) {
        self.all[self.length..self.length + N].copy_from_slice(&bytes);
        self.length += N;
    }
}

/// The smallest name, from 1, that is not in use.
pub(crate) fn fresh(used: impl IntoIterator<Item = u8>) -> u8 {
    let used = used.into_iter().fold(0_u32, |bits, name| bits | 1 << name);
    (1..32).find(|name| used & 1 << name == 0).unwrap()
}
