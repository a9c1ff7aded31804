//! What can happen, by the names that the code uses.

use std::fmt;

/// One atomic step of one participant, or one fault. Participants of a kind count from 0.
///
/// A look-up that misses changes nothing in Redis and is not a step of its own where nobody watches the lease move: it
/// stands before every `Acquire`. A reader that gets no token reads the database and stores nothing, which concerns
/// nobody else, so it is no step either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A tick passes; [`DELTA`](super::DELTA) of them are the lease's duration.
    Tick,
    /// The writer opens its transaction; a step only where the moment matters.
    Begin(u8),
    /// The change and its row of the outbox become visible together. The writer notes the time after it.
    Commit(u8),
    /// One script of Redis removes what the writer changed.
    Invalidate(u8, Delivery),
    /// The writer's caller is told that the change is there.
    Acknowledge(u8),
    /// One `MGET` of the entry, the lease and the stamp.
    LookUp(u8),
    /// After a look-up that missed, the reader is given a token.
    Acquire(u8),
    /// The reader reads the primary, outside of any transaction.
    Read(u8),
    /// The reader stores what it read, if its token is still there.
    Fill(u8),
    /// The reader goes away, or is cut off, in the middle of a load.
    GiveUp(u8),
    /// The reader is answered what another one's load has read already.
    Join(u8),
    /// Somebody takes a token for another list of the same table, and so makes its stamp.
    Stamp,
    /// The relay asks Redis for its time and run.
    Observe(u8),
    /// The relay reads the outbox and the timeline, in one statement on the primary.
    ReadOutbox(u8),
    /// The relay removes from Redis what the rows tell.
    InvalidateRows(u8),
    /// The relay extends the lease to its observation and [`DELTA`](super::DELTA).
    Renew(u8),
    /// The relay deletes the rows that it read.
    DeleteRows(u8),
    /// The relay stops in the middle of a round, or is cut off, and begins anew.
    Stop(u8),
    /// Fault: the writer's process ends.
    Crash(u8),
    /// Fault: Redis loses its memory and goes on as the same process.
    Flush,
    /// Fault: Redis evicts a key.
    Evict(Key),
    /// Fault: Redis ends, and starts with an empty memory.
    Restart,
    /// Redis saves a snapshot of its memory.
    Save,
    /// Fault: Redis ends, and starts with its snapshot.
    Restore,
    /// Fault: the database goes on as another timeline. One that lost something lost the newest commit, which had not
    /// been answered.
    Failover {
        /// Whether the newest commit is gone.
        loses: bool,
    },
    /// Fault: a tick passes, but not on Redis' clock.
    StandStill,
    /// Fault: Redis' clock is set back.
    SetBack,
}

/// What became of a request to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// It was served and answered.
    Answered,
    /// It did not arrive.
    RequestLost,
    /// It was served, and the answer did not arrive.
    AnswerLost,
}

/// What Redis may evict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// The entry, be it a token or a value.
    Entry,
    /// The lease.
    Lease,
    /// The hash of run, timeline and epoch.
    Meta,
    /// The stamp of the table, on which lists depend.
    Stamp,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => f.write_str("a tick passes"),
            Self::Begin(w) => write!(f, "writer {w}: begin"),
            Self::Commit(w) => write!(f, "writer {w}: commit"),
            Self::Invalidate(w, delivery) => write!(f, "writer {w}: invalidate{delivery}"),
            Self::Acknowledge(w) => write!(f, "writer {w}: acknowledge"),
            Self::LookUp(r) => write!(f, "reader {r}: look_up"),
            Self::Acquire(r) => write!(f, "reader {r}: acquire"),
            Self::Read(r) => write!(f, "reader {r}: read"),
            Self::Fill(r) => write!(f, "reader {r}: fill"),
            Self::GiveUp(r) => write!(f, "reader {r}: give up"),
            Self::Join(r) => write!(f, "reader {r}: join the load of another reader"),
            Self::Stamp => f.write_str("another reader: acquire another list of the table"),
            Self::Observe(i) => write!(f, "relay {i}: observe"),
            Self::ReadOutbox(i) => write!(f, "relay {i}: read the outbox"),
            Self::InvalidateRows(i) => write!(f, "relay {i}: invalidate the rows' keys"),
            Self::Renew(i) => write!(f, "relay {i}: renew"),
            Self::DeleteRows(i) => write!(f, "relay {i}: delete the rows"),
            Self::Stop(i) => write!(f, "relay {i}: stop"),
            Self::Crash(w) => write!(f, "writer {w}: CRASH"),
            Self::Flush => f.write_str("redis: FLUSH"),
            Self::Evict(key) => write!(f, "redis: EVICT {key}"),
            Self::Restart => f.write_str("redis: RESTART with nothing"),
            Self::Save => f.write_str("redis: save a snapshot"),
            Self::Restore => f.write_str("redis: RESTART with the snapshot"),
            Self::Failover { loses: false } => f.write_str("database: FAILOVER"),
            Self::Failover { loses: true } => f.write_str("database: FAILOVER that loses the newest commit"),
            Self::StandStill => f.write_str("a tick passes, REDIS' CLOCK STANDS STILL"),
            Self::SetBack => f.write_str("redis: CLOCK SET BACK"),
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "",
            Self::RequestLost => ", REQUEST LOST",
            Self::AnswerLost => ", ANSWER LOST",
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entry => "the entry",
            Self::Lease => "the lease",
            Self::Meta => "the meta hash",
            Self::Stamp => "the stamp",
        })
    }
}
