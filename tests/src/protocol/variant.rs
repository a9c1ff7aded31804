//! What the protocol would be without one of its rules.

/// The protocol with one rule broken. Each has a counterexample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Delete after commit, and readers store whatever they read.
    NoTokens,
    /// Invalidation leaves a mark that forbids fills for [`DELTA`](super::DELTA), instead of tokens.
    Tombstones,
    /// Values are served without a lease.
    NoLease,
    /// Values are served under any lease, whatever epoch they were stored in.
    NoEpoch,
    /// Acknowledged right after the commit; the relay alone invalidates.
    OutboxAlone,
    /// A writer that cannot reach Redis acknowledges without waiting the lease out.
    NoWait,
    /// The wait is counted from before the commit.
    WaitFromBegin,
    /// The relay deletes the rows as it reads them, before it invalidates.
    DeleteBeforeInvalidate,
    /// R1: the reader reads, and takes its token after that.
    ReadBeforeAcquire,
    /// R3: a reader joins a load that started before it arrived.
    JoinEarlierLoad,
    /// Epochs and tokens are counters in Redis' memory, so that a flush makes them repeat.
    CountedNames,
    /// A value is stored under the epoch of the moment of the fill, not that of its token.
    EpochOfFill,
    /// `renew` compares the relay's run with the one in Redis' memory only, not with the process that serves it.
    RunFromMemory,
    /// The new deadline is counted from the renewal, not from the observation.
    DeadlineFromRenewal,
    /// Redis' time is asked for after the outbox was read.
    ObserveAfterRead,
    /// Rows are deleted by id on whatever timeline the database is by then.
    DeleteOnAnyTimeline,
    /// `*` mints a new epoch and leaves the old one's lease.
    StarKeepsLease,
    /// A list is stored under the stamp of the moment of the fill, not that of its token.
    StampOfFill,
    /// Stamps are counters in Redis' memory.
    CountedStamps,
    /// Redis' clock alone says whether the lease is alive.
    NoOwnClock,
    /// R5 in its weak form: a reader trusts a lease for [`DELTA`](super::DELTA) after it first saw it.
    FirstSeen,
    /// A relay that was held up between its observation and its renewal renews as if nothing had been.
    RelayWithoutClock,
    /// What a reader saw of the lease before Redis restarted still counts after it.
    SightsOutliveConnection,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::NoTokens,
        Self::Tombstones,
        Self::NoLease,
        Self::NoEpoch,
        Self::OutboxAlone,
        Self::NoWait,
        Self::WaitFromBegin,
        Self::DeleteBeforeInvalidate,
        Self::ReadBeforeAcquire,
        Self::JoinEarlierLoad,
        Self::CountedNames,
        Self::EpochOfFill,
        Self::RunFromMemory,
        Self::DeadlineFromRenewal,
        Self::ObserveAfterRead,
        Self::DeleteOnAnyTimeline,
        Self::StarKeepsLease,
        Self::StampOfFill,
        Self::CountedStamps,
        Self::NoOwnClock,
        Self::FirstSeen,
        Self::RelayWithoutClock,
        Self::SightsOutliveConnection,
    ];
}
