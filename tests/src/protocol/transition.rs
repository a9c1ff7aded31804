//! What each step needs and what it does.

use super::{
    Protocol, Variant,
    state::{
        Answer, DELTA, Database, Entry, FOR_EVER, Faults, Lease, MOST, Memory, Meta, Owner, Reader, Redis, Relay,
        Round, Seen, Sight, State, Writer, fresh,
    },
    step::{Delivery, Key, Step},
};

const TICKS: i8 = DELTA.cast_signed();

impl Protocol {
    pub(super) fn start(&self) -> State {
        let seen = Seen { what: Sight::Nothing, ago: 0, moved: DELTA };
        State {
            database: Database { value: 0, next: 1, history: 1, rows: 0, stars: 0, timeline: 0, gone_for: [0; 4] },
            redis: Redis { run: 1, memory: Memory::default(), saved: None },
            writers: [Writer::Idle; 2],
            readers: [Reader::Idle; 2],
            seen: [seen; 2],
            relays: [Relay::Idle; 2],
            faults: self.faults,
            acknowledged: 0,
            answer: Answer::None,
        }
    }

    /// The steps that can be taken now, in a fixed order.
    pub(super) fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        let faults = &state.faults;
        for w in 0..self.writers {
            match state.writers[usize::from(w)] {
                Writer::Idle if state.database.next > self.commits => {}
                Writer::Idle if self.is(Variant::WaitFromBegin) => steps.push(Step::Begin(w)),
                Writer::Idle | Writer::Begun { .. } => steps.push(Step::Commit(w)),
                Writer::Committed { .. } => {
                    if self.is(Variant::OutboxAlone) {
                        steps.push(Step::Acknowledge(w));
                    } else {
                        steps.push(Step::Invalidate(w, Delivery::Answered));
                        if faults.lost > 0 {
                            steps.push(Step::Invalidate(w, Delivery::RequestLost));
                            steps.push(Step::Invalidate(w, Delivery::AnswerLost));
                        }
                    }
                    if faults.crash > 0 {
                        steps.push(Step::Crash(w));
                    }
                }
                Writer::Invalidated { .. } | Writer::Waiting { left: 0, .. } => steps.push(Step::Acknowledge(w)),
                Writer::Waiting { .. } if self.is(Variant::NoWait) => steps.push(Step::Acknowledge(w)),
                Writer::Waiting { .. } | Writer::Ended => {}
            }
        }
        for r in 0..self.readers {
            if self.watches() || self.hit(&state.redis.memory).is_some() {
                steps.push(Step::LookUp(r));
            }
            match state.readers[usize::from(r)] {
                Reader::Idle => {
                    if self.reads_first() {
                        steps.push(Step::Read(r));
                    } else if self.grants(&state.redis.memory) {
                        steps.push(Step::Acquire(r));
                    }
                    if self.is(Variant::JoinEarlierLoad) && self.loaded_by_another(state, r).is_some() {
                        steps.push(Step::Join(r));
                    }
                }
                Reader::Acquired { .. } => steps.extend([Step::Read(r), Step::GiveUp(r)]),
                Reader::Loaded { .. } => steps.extend([Step::Fill(r), Step::GiveUp(r)]),
                Reader::ReadFirst { .. } => {
                    if !self.is(Variant::ReadBeforeAcquire) {
                        steps.push(Step::Fill(r));
                    } else if self.grants(&state.redis.memory) {
                        steps.push(Step::Acquire(r));
                    }
                    steps.push(Step::GiveUp(r));
                }
            }
        }
        if self.is_list && state.redis.memory.stamp == 0 && state.redis.memory.meta.is_some() {
            steps.push(Step::Stamp);
        }
        for i in 0..self.relays {
            let relay = state.relays[usize::from(i)];
            match relay {
                Relay::Idle if self.is(Variant::ObserveAfterRead) => steps.push(Step::ReadOutbox(i)),
                Relay::Idle => steps.push(Step::Observe(i)),
                Relay::Observed(_) if self.is(Variant::ObserveAfterRead) => steps.push(Step::Observe(i)),
                Relay::Observed(_) => steps.push(Step::ReadOutbox(i)),
                Relay::Read(_) => steps.push(Step::InvalidateRows(i)),
                Relay::Invalidated(round) => {
                    if self.may_renew(state, round) {
                        steps.push(Step::Renew(i));
                    }
                }
                Relay::Renewed(_) => steps.push(Step::DeleteRows(i)),
            }
            if relay != Relay::Idle {
                steps.push(Step::Stop(i));
            }
        }
        self.faults(state, steps);
        steps.push(Step::Tick);
    }

    fn faults(&self, state: &State, steps: &mut Vec<Step>) {
        let Faults { crash: _, lost: _, flush, evict, restart, restore, failover, still, back } = state.faults;
        let memory = &state.redis.memory;
        if flush > 0 {
            steps.push(Step::Flush);
        }
        if evict > 0 {
            let keys = [
                (Key::Entry, memory.entry != Entry::Empty),
                (Key::Lease, memory.lease.is_some()),
                (Key::Meta, memory.meta.is_some()),
                (Key::Stamp, memory.stamp != 0),
            ];
            steps.extend(keys.into_iter().filter(|(_, is_there)| *is_there).map(|(key, _)| Step::Evict(key)));
        }
        if restart > 0 {
            steps.push(Step::Restart);
        }
        if restore > 0 {
            steps.push(if state.redis.saved.is_none() { Step::Save } else { Step::Restore });
        }
        if failover > 0 {
            steps.push(Step::Failover { loses: false });
            let newest = state.database.value;
            if state.writers.iter().any(|writer| matches!(writer, Writer::Committed { value, .. } if *value == newest))
            {
                steps.push(Step::Failover { loses: true });
            }
        }
        if still > 0 {
            steps.push(Step::StandStill);
        }
        if back > 0 {
            steps.push(Step::SetBack);
        }
    }

    /// What comes of a step that can be taken.
    pub(super) fn take(&self, before: &State, step: Step) -> State {
        let mut state = before.clone();
        state.answer = Answer::None;
        match step {
            Step::Tick => self.tick(&mut state, true),
            Step::Begin(w) | Step::Commit(w) | Step::Invalidate(w, _) | Step::Acknowledge(w) | Step::Crash(w) => {
                self.write(&mut state, w, step);
            }
            Step::LookUp(r) => self.look_up(&mut state, r),
            Step::Acquire(r) | Step::Read(r) | Step::Fill(r) | Step::GiveUp(r) => self.load(&mut state, r, step),
            Step::Join(r) => {
                if let Some(value) = self.loaded_by_another(&state, r) {
                    state.answer = self.judge(&state, value);
                }
            }
            Step::Stamp => state.redis.memory.stamp = self.new_stamp(&state),
            Step::Observe(i)
            | Step::ReadOutbox(i)
            | Step::InvalidateRows(i)
            | Step::Renew(i)
            | Step::DeleteRows(i)
            | Step::Stop(i) => self.relay(&mut state, i, step),
            Step::Flush => {
                state.faults.flush -= 1;
                state.redis.memory = Memory::default();
            }
            Step::Evict(key) => {
                state.faults.evict -= 1;
                let memory = &mut state.redis.memory;
                match key {
                    Key::Entry => memory.entry = Entry::Empty,
                    Key::Lease => memory.lease = None,
                    Key::Meta => memory.meta = None,
                    Key::Stamp => memory.stamp = 0,
                }
            }
            Step::Save => state.redis.saved = Some(state.redis.memory.clone()),
            Step::Restart => {
                state.faults.restart -= 1;
                self.restart(&mut state, Memory::default());
            }
            Step::Restore => {
                state.faults.restore -= 1;
                let saved = state.redis.saved.take().unwrap_or_default();
                self.restart(&mut state, saved);
            }
            Step::Failover { loses } => {
                state.faults.failover -= 1;
                fail_over(&mut state, loses);
            }
            Step::StandStill => {
                if state.faults.still != FOR_EVER {
                    state.faults.still -= 1;
                }
                self.tick(&mut state, false);
            }
            Step::SetBack => {
                state.faults.back -= 1;
                set_back(&mut state);
            }
        }
        if self.needs_its_token() {
            // A reader without its token will store nothing, whatever it does.
            for r in 0..MOST {
                if state.tokens_of(r) == (false, false) {
                    state.readers[r] = Reader::Idle;
                }
            }
        }
        state
    }

    fn tick(&self, state: &mut State, redis_too: bool) {
        let database = &mut state.database;
        for value in (0..database.next).filter(|value| *value != database.value) {
            let gone = &mut database.gone_for[usize::from(value)];
            *gone = self.limit.min(*gone + 1);
        }
        for writer in &mut state.writers {
            if let Writer::Begun { left } | Writer::Committed { left, .. } | Writer::Waiting { left, .. } = writer {
                *left = left.saturating_sub(1);
            }
        }
        if self.watches() {
            for seen in &mut state.seen {
                seen.ago = DELTA.min(seen.ago + 1);
                seen.moved = DELTA.min(seen.moved + 1);
            }
        }
        for round in state.relays.iter_mut().filter_map(Relay::round) {
            if self.watches() {
                round.ago = DELTA.min(round.ago + 1);
            }
            if redis_too {
                round.left = (round.left - 1).max(-TICKS);
            }
        }
        if !redis_too {
            return;
        }
        // Only a clock that may be set back can bring to life again what has expired.
        let is_final = state.faults.back == 0;
        let Redis { run: _, memory, saved } = &mut state.redis;
        for memory in std::iter::once(memory).chain(saved) {
            if let Some(lease) = &mut memory.lease {
                lease.left = (lease.left - 1).max(-TICKS);
            }
            memory.lease = memory.lease.filter(|lease| lease.left > 0 || !is_final);
            match &mut memory.entry {
                Entry::Tombstone { left: 1 } => memory.entry = Entry::Empty,
                Entry::Tombstone { left } => *left -= 1,
                Entry::Empty | Entry::Token { .. } | Entry::Value { .. } => {}
            }
        }
    }

    fn write(&self, state: &mut State, w: u8, step: Step) {
        let writer = &mut state.writers[usize::from(w)];
        match (step, *writer) {
            (Step::Begin(_), _) => *writer = Writer::Begun { left: DELTA },
            (Step::Commit(_), from) => {
                let left = if let Writer::Begun { left } = from { left } else { DELTA };
                let Database { value, next, history, rows, stars, timeline: _, gone_for } = &mut state.database;
                let id = history.count_ones();
                gone_for[usize::from(*value)] = 0;
                *value = *next;
                *next += 1;
                *history |= 1 << *value;
                *rows |= 1 << id;
                if self.tells_star(w) {
                    *stars |= 1 << id;
                }
                *writer = Writer::Committed { value: *value, left };
            }
            (Step::Invalidate(_, delivery), Writer::Committed { value, left }) => {
                *writer = match delivery {
                    Delivery::Answered => Writer::Invalidated { value },
                    Delivery::RequestLost | Delivery::AnswerLost => Writer::Waiting { value, left },
                };
                if delivery != Delivery::Answered {
                    state.faults.lost -= 1;
                }
                if delivery != Delivery::RequestLost {
                    self.invalidate(state, !self.tells_star(w), self.tells_star(w));
                }
            }
            (
                Step::Acknowledge(_),
                Writer::Committed { value, .. } | Writer::Invalidated { value } | Writer::Waiting { value, .. },
            ) => {
                state.acknowledged = state.acknowledged.max(value);
                *writer = Writer::Idle;
            }
            (Step::Crash(_), _) => {
                state.faults.crash -= 1;
                *writer = Writer::Ended;
            }
            _ => {}
        }
    }

    /// Removes the entry, or the stamp that lists depend on, and everything where a row told `*`.
    fn invalidate(&self, state: &mut State, keys: bool, everything: bool) {
        if keys {
            let memory = &mut state.redis.memory;
            if self.is_list {
                memory.stamp = 0;
            } else if self.is(Variant::Tombstones) {
                memory.entry = Entry::Tombstone { left: DELTA };
            } else {
                memory.entry = Entry::Empty;
            }
        }
        if everything {
            let epoch = self.new_epoch(state);
            let memory = &mut state.redis.memory;
            if let Some(meta) = &mut memory.meta {
                meta.epoch = epoch;
            }
            if !self.is(Variant::StarKeepsLease) {
                memory.lease = None;
            }
        }
    }

    /// The value that a look-up finds, before the reader's own doubts.
    fn hit(&self, memory: &Memory) -> Option<u8> {
        let Entry::Value { value, epoch, stamp } = memory.entry else { return None };
        let lease = memory.lease.filter(|lease| lease.left > 0);
        let is_served = if self.is(Variant::NoLease) {
            memory.meta.is_some_and(|meta| meta.epoch == epoch)
        } else {
            lease.is_some_and(|lease| lease.epoch == epoch || self.is(Variant::NoEpoch))
        };
        (is_served && (!self.is_list || stamp == memory.stamp)).then_some(value)
    }

    fn look_up(&self, state: &mut State, r: u8) {
        let found = self.hit(&state.redis.memory);
        let memory = &mut state.redis.memory;
        // Redis removes what has expired when somebody asks for it.
        memory.lease = memory.lease.filter(|lease| lease.left > 0);
        if self.watches() {
            let sight = match memory.lease {
                None => Sight::NoLease,
                Some(Lease { epoch, counter, left: _ }) => Sight::Lease { epoch, counter },
            };
            let seen = &mut state.seen[usize::from(r)];
            let has_changed = seen.what != sight;
            if self.is(Variant::FirstSeen) {
                if has_changed {
                    *seen = Seen { what: sight, ago: 0, moved: DELTA };
                }
                if seen.ago == DELTA {
                    return;
                }
            } else {
                if has_changed {
                    let is_known = seen.what != Sight::Nothing && sight != Sight::NoLease;
                    seen.moved = if is_known { seen.ago } else { DELTA };
                    seen.what = sight;
                }
                seen.ago = 0;
                if seen.moved == DELTA && !self.is(Variant::NoOwnClock) {
                    return;
                }
            }
        }
        if let Some(value) = found {
            state.answer = self.judge(state, value);
        }
    }

    fn judge(&self, state: &State, value: u8) -> Answer {
        let older = value < state.acknowledged;
        if value == state.database.value {
            Answer::Current
        } else if state.database.gone_for[usize::from(value)] >= self.limit {
            Answer::TooOld { older }
        } else if older {
            Answer::Older
        } else {
            Answer::Recent
        }
    }

    /// Whether a reader that asks for a token is given one: not while another's is there, and not where a value is.
    fn grants(&self, memory: &Memory) -> bool {
        let Some(Meta { epoch: present, .. }) = memory.meta else { return false };
        match memory.entry {
            Entry::Empty => true,
            // A token that nobody can use any more expires.
            Entry::Token { owner: Owner::Nobody, .. } => true,
            Entry::Token { epoch, stamp, .. } | Entry::Value { epoch, stamp, .. } => {
                (epoch != present && !self.is(Variant::NoEpoch)) || (self.is_list && stamp != memory.stamp)
            }
            Entry::Tombstone { .. } => false,
        }
    }

    fn loaded_by_another(&self, state: &State, r: u8) -> Option<u8> {
        let others = (0..self.readers).filter(|other| *other != r).map(|other| state.readers[usize::from(other)]);
        others.into_iter().find_map(|other| if let Reader::Loaded { value, .. } = other { Some(value) } else { None })
    }

    fn load(&self, state: &mut State, r: u8, step: Step) {
        let from = state.readers[usize::from(r)];
        let to = match (step, from) {
            (Step::Read(_), Reader::Acquired { epoch, number }) => {
                Reader::Loaded { value: state.database.value, epoch, number }
            }
            (Step::Read(_), _) => Reader::ReadFirst { value: state.database.value },
            (Step::Acquire(_), _) => {
                let (epoch, number) = self.acquire(state, r);
                match from {
                    Reader::ReadFirst { value } => Reader::Loaded { value, epoch, number },
                    _ => Reader::Acquired { epoch, number },
                }
            }
            (Step::Fill(_), Reader::Loaded { value, epoch, number }) => {
                if let Entry::Token { owner, epoch: of_token, stamp, number: at } = state.redis.memory.entry {
                    let is_ours = if self.is(Variant::CountedNames) {
                        (of_token, at) == (epoch, number)
                    } else {
                        owner == Owner::Reader(r)
                    };
                    if is_ours {
                        self.store(state, value, of_token, stamp);
                    }
                }
                Reader::Idle
            }
            (Step::Fill(_), Reader::ReadFirst { value }) => {
                if let (Some(meta), false) =
                    (state.redis.memory.meta, matches!(state.redis.memory.entry, Entry::Tombstone { .. }))
                {
                    let stamp = state.redis.memory.stamp;
                    self.store(state, value, meta.epoch, stamp);
                }
                Reader::Idle
            }
            _ => Reader::Idle,
        };
        state.readers[usize::from(r)] = to;
        if to == Reader::Idle {
            // Whatever is left of its token, in memory or in a snapshot, is nobody's.
            let Redis { run: _, memory, saved } = &mut state.redis;
            for memory in std::iter::once(memory).chain(saved) {
                if let Entry::Token { owner, .. } = &mut memory.entry
                    && *owner == Owner::Reader(r)
                {
                    *owner = Owner::Nobody;
                }
            }
        }
    }

    /// What the reader must know to fill; its index is enough where tokens are drawn at random.
    fn acquire(&self, state: &mut State, r: u8) -> (u8, u8) {
        let stamp = if !self.is_list {
            0
        } else if state.redis.memory.stamp == 0 {
            self.new_stamp(state)
        } else {
            state.redis.memory.stamp
        };
        let counts = self.is(Variant::CountedNames);
        let memory = &mut state.redis.memory;
        memory.stamp = stamp;
        let Some(meta) = &mut memory.meta else { return (0, 0) };
        if counts {
            meta.tokens += 1;
        }
        let (epoch, number) = (meta.epoch, meta.tokens);
        memory.entry = Entry::Token { owner: Owner::Reader(r), epoch, stamp, number };
        if counts { (epoch, number) } else { (0, 0) }
    }

    fn store(&self, state: &mut State, value: u8, epoch: u8, stamp: u8) {
        let memory = &mut state.redis.memory;
        let epoch = match memory.meta {
            Some(meta) if self.is(Variant::EpochOfFill) => meta.epoch,
            _ => epoch,
        };
        let stamp = if self.is(Variant::StampOfFill) { memory.stamp } else { stamp };
        memory.entry = Entry::Value { value, epoch, stamp };
    }

    fn new_stamp(&self, state: &State) -> u8 {
        if self.is(Variant::CountedStamps) {
            return 1;
        }
        let memories = std::iter::once(&state.redis.memory).chain(&state.redis.saved);
        fresh(memories.flat_map(|memory| {
            let of_entry = match memory.entry {
                Entry::Token { stamp, .. } | Entry::Value { stamp, .. } => stamp,
                Entry::Empty | Entry::Tombstone { .. } => 0,
            };
            [memory.stamp, of_entry]
        }))
    }

    fn new_epoch(&self, state: &State) -> u8 {
        if self.is(Variant::CountedNames) {
            return state.redis.memory.meta.map_or(1, |meta| meta.epoch + 1);
        }
        let memories = std::iter::once(&state.redis.memory).chain(&state.redis.saved);
        let in_memories = memories.flat_map(|memory| {
            let of_entry = match memory.entry {
                Entry::Token { epoch, .. } | Entry::Value { epoch, .. } => epoch,
                Entry::Empty | Entry::Tombstone { .. } => 0,
            };
            [memory.meta.map_or(0, |meta| meta.epoch), memory.lease.map_or(0, |lease| lease.epoch), of_entry]
        });
        let seen = state.seen.iter().map(|seen| if let Sight::Lease { epoch, .. } = seen.what { epoch } else { 0 });
        fresh(in_memories.chain(seen))
    }

    fn may_renew(&self, state: &State, round: Round) -> bool {
        // A relay that was held up for long does not try.
        if self.watches() && round.ago == DELTA && !self.is(Variant::RelayWithoutClock) {
            return false;
        }
        // So that the counter, where it counts, does not count for ever.
        !self.watches() || state.redis.memory.meta.is_none_or(|meta| meta.counter < self.renewals)
    }

    fn relay(&self, state: &mut State, i: u8, step: Step) {
        let i = usize::from(i);
        state.relays[i] = match (step, state.relays[i]) {
            (Step::Observe(_), Relay::Idle) => {
                Relay::Observed(Round { run: state.redis.run, left: TICKS, ..Round::default() })
            }
            // Only of the variant that reads first.
            (Step::Observe(_), Relay::Observed(round)) => {
                after_read(Round { run: state.redis.run, left: TICKS, ago: 0, ..round })
            }
            (Step::ReadOutbox(_), from) => {
                let Database { rows, stars, timeline, .. } = state.database;
                if self.is(Variant::DeleteBeforeInvalidate) {
                    state.database.rows = 0;
                    state.database.stars = 0;
                }
                match from {
                    Relay::Observed(round) => after_read(Round { rows, stars, timeline, ..round }),
                    _ => Relay::Observed(Round { rows, stars, timeline, ..Round::default() }),
                }
            }
            (Step::InvalidateRows(_), Relay::Read(round)) => {
                self.invalidate(state, round.rows & !round.stars != 0, round.stars != 0);
                Relay::Invalidated(round)
            }
            (Step::Renew(_), Relay::Invalidated(round)) => {
                let is_renewed = self.renew(state, round);
                if is_renewed && round.rows != 0 && !self.is(Variant::DeleteBeforeInvalidate) {
                    // What only the renewal needed.
                    Relay::Renewed(Round { run: 0, left: 0, ago: 0, ..round })
                } else {
                    Relay::Idle
                }
            }
            (Step::DeleteRows(_), Relay::Renewed(round)) => {
                if round.timeline == state.database.timeline || self.is(Variant::DeleteOnAnyTimeline) {
                    state.database.rows &= !round.rows;
                    state.database.stars &= !round.rows;
                }
                Relay::Idle
            }
            _ => Relay::Idle,
        };
    }

    fn renew(&self, state: &mut State, round: Round) -> bool {
        let meta = state.redis.memory.meta;
        let run = match meta {
            Some(meta) if self.is(Variant::RunFromMemory) => meta.run,
            _ => state.redis.run,
        };
        if run != round.run {
            return false;
        }
        let mut meta = match meta {
            Some(meta) if meta.run == round.run && meta.timeline == round.timeline => meta,
            _ => Meta {
                run: round.run,
                timeline: round.timeline,
                epoch: self.new_epoch(state),
                counter: meta.map_or(0, |meta| meta.counter),
                tokens: meta.map_or(0, |meta| meta.tokens),
            },
        };
        if self.watches() {
            meta.counter += 1;
        }
        let left = if self.is(Variant::DeadlineFromRenewal) { TICKS } else { round.left };
        let lease = Lease { epoch: meta.epoch, counter: meta.counter, left };
        state.redis.memory.meta = Some(meta);
        state.redis.memory.lease = (left > 0).then_some(lease);
        true
    }

    fn restart(&self, state: &mut State, memory: Memory) {
        let Redis { run, memory: lost, saved } = &state.redis;
        let of_memories = [Some(lost), saved.as_ref(), Some(&memory)].into_iter().flatten();
        let of_memories = of_memories.map(|memory| memory.meta.map_or(0, |meta| meta.run));
        let of_relays = state.relays.iter().map(|relay| match relay {
            Relay::Observed(round) | Relay::Read(round) | Relay::Invalidated(round) => round.run,
            Relay::Idle | Relay::Renewed(_) => 0,
        });
        state.redis.run = fresh(of_memories.chain(of_relays).chain([*run]));
        state.redis.memory = memory;
        // All connections break, and what was seen on them says nothing about this process.
        if self.watches() && !self.is(Variant::SightsOutliveConnection) {
            state.seen = [Seen { what: Sight::Nothing, ago: 0, moved: DELTA }; 2];
        }
    }
}

impl Relay {
    fn round(&mut self) -> Option<&mut Round> {
        match self {
            Self::Observed(round) | Self::Read(round) | Self::Invalidated(round) => Some(round),
            Self::Idle | Self::Renewed(_) => None,
        }
    }
}

/// Without rows there is nothing to invalidate.
fn after_read(round: Round) -> Relay {
    if round.rows == 0 { Relay::Invalidated(round) } else { Relay::Read(round) }
}

fn fail_over(state: &mut State, loses: bool) {
    let database = &mut state.database;
    database.timeline += 1;
    if !loses {
        return;
    }
    let lost = database.value;
    database.history &= !(1 << lost);
    let id = database.history.count_ones();
    database.rows &= !(1 << id);
    database.stars &= !(1 << id);
    database.value = u8::try_from(database.history.ilog2()).unwrap_or_default();
    database.gone_for[usize::from(lost)] = 0;
    database.gone_for[usize::from(database.value)] = 0;
    for writer in &mut state.writers {
        // It is told that the outcome is unknown.
        if matches!(writer, Writer::Committed { value, .. } if *value == lost) {
            *writer = Writer::Ended;
        }
    }
}

fn set_back(state: &mut State) {
    for round in state.relays.iter_mut().filter_map(Relay::round) {
        round.left += TICKS;
    }
    let is_final = state.faults.back == 0;
    let Redis { run: _, memory, saved } = &mut state.redis;
    for memory in std::iter::once(memory).chain(saved) {
        if let Some(lease) = &mut memory.lease {
            lease.left += TICKS;
        }
        memory.lease = memory.lease.filter(|lease| lease.left > 0 || !is_final);
    }
}
