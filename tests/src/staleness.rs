//! Whether reads were as fresh as promised, of what processes wrote down while they read and wrote.
//!
//! Every key has versions without gaps, each written once. A read must not be older than a version that was acknowledged
//! before it began; nor, where that may be, older than one that was acknowledged so long before. That is linearizability
//! of a register whose writes are totally ordered, which needs no search.

use std::collections::{BTreeMap, HashMap};

/// What the clock shows that all processes of a machine share, in nanoseconds.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// Something that was done to a key, and when: nanoseconds of a clock that all processes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub key: u32,
    pub began: u64,
    pub ended: u64,
    /// Who did one thing after the other.
    pub session: u64,
    pub what: What,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// This version was read, or that there is nothing.
    Read(Option<i64>),
    /// It was acknowledged that this version was written; whether there is something since.
    Wrote(i64, bool),
    /// The key is about to be deleted. If nothing more is said, nobody knows whether it was.
    MayDelete,
    /// It was not.
    DidNotDelete,
}

/// A time in which more may be stale than usually: what was acknowledged in it, or so long before its begin, may be
/// unseen until that much after.
#[derive(Debug, Clone, Copy)]
pub struct Amnesia {
    pub began: u64,
    pub ended: u64,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub reads: usize,
    pub writes: usize,
    /// Reads that began no later than a tenth of a second after an acknowledgement for their key, or during the write.
    pub racing: usize,
    /// Reads of what was older than an acknowledgement.
    pub stale: Vec<Event>,
    /// Reads of what was older by more than the bound, whatever happened.
    pub older_than_bound: Vec<Event>,
    /// Reads that went back behind what the same session had read: of versions that nobody had acknowledged yet.
    pub went_back: usize,
}

/// How long after an acknowledgement a read is in a race with it.
const RACE: u64 = 100_000_000;

/// How long after it began a deletion may still come about whose writer is gone: longer than any transaction.
const DOUBT: u64 = 10_000_000_000;

/// A write that was acknowledged.
#[derive(Clone, Copy)]
struct Acknowledged {
    ended: u64,
    version: i64,
    began: u64,
}

/// What is known of one key.
#[derive(Default)]
struct Key {
    /// By the end of each write the one with the highest version up to there.
    acknowledged: Vec<Acknowledged>,
    /// When each write began and ended.
    spans: Vec<(u64, u64)>,
    /// The versions at which it was deleted, and when that began.
    deleted: Vec<(i64, u64)>,
    /// When what may have deleted it began, by who did it.
    doubts: HashMap<u64, Vec<u64>>,
}

impl Key {
    /// It is known now whether it was deleted.
    fn settle(&mut self, event: &Event) {
        if let Some(doubts) = self.doubts.get_mut(&event.session) {
            doubts.retain(|began| *began != event.began);
        }
    }

    /// The write of the highest version that was acknowledged before an instant.
    fn before(&self, instant: u64) -> Option<Acknowledged> {
        let count = self.acknowledged.partition_point(|write| write.ended < instant);
        count.checked_sub(1).map(|last| self.acknowledged[last])
    }

    /// Whether a read is of nothing older than what this wrote.
    fn is_as_new_as(&self, read: Option<i64>, write: Acknowledged, until: u64) -> bool {
        match read {
            Some(read) => read >= write.version,
            None => {
                let deleted = |(at, began): &(i64, u64)| *at >= write.version && *began < until;
                // What came about after the write lasts until the next one, however late that is.
                let in_doubt = |began: &u64| *began < until && write.began < began + DOUBT;
                self.deleted.iter().any(deleted) || self.doubts.values().flatten().any(in_doubt)
            }
        }
    }
}

/// Checks all that was written down. `bound` is how old a read may be after an amnesia, in nanoseconds.
pub fn check(events: &[Event], amnesias: &[Amnesia], bound: u64) -> Report {
    let mut keys = BTreeMap::<u32, Key>::new();
    let mut report = Report::default();
    for event in events {
        let key = keys.entry(event.key).or_default();
        match event.what {
            What::Read(_) => report.reads += 1,
            What::Wrote(version, is_there) => {
                report.writes += 1;
                key.acknowledged.push(Acknowledged { ended: event.ended, version, began: event.began });
                key.spans.push((event.began, event.ended));
                if !is_there {
                    key.deleted.push((version, event.began));
                    key.settle(event);
                }
            }
            What::MayDelete => key.doubts.entry(event.session).or_default().push(event.began),
            What::DidNotDelete => key.settle(event),
        }
    }
    for key in keys.values_mut() {
        key.acknowledged.sort_unstable_by_key(|write| (write.ended, write.version));
        let mut highest = None::<Acknowledged>;
        for write in &mut key.acknowledged {
            if let Some(highest) = highest.filter(|highest| highest.version > write.version) {
                (write.version, write.began) = (highest.version, highest.began);
            }
            highest = Some(*write);
        }
        key.spans.sort_unstable();
    }
    let mut seen = HashMap::<(u64, u32), (u64, i64)>::new();
    let mut reads = events.iter().filter(|event| matches!(event.what, What::Read(_))).collect::<Vec<_>>();
    reads.sort_unstable_by_key(|event| event.began);
    for event in reads {
        let What::Read(read) = event.what else { continue };
        let key = &keys[&event.key];
        let last = key.spans.partition_point(|(began, _)| *began < event.ended);
        report.racing += usize::from(
            last > 0 && key.spans[..last].iter().rev().take(8).any(|(_, ended)| ended + RACE > event.began),
        );
        let forgotten =
            amnesias.iter().any(|amnesia| event.ended > amnesia.began && event.began < amnesia.ended + bound);
        if let Some(write) = key.before(event.began)
            && !key.is_as_new_as(read, write, event.ended)
            && !forgotten
        {
            report.stale.push(*event);
        }
        if let Some(write) = key.before(event.began.saturating_sub(bound))
            && !key.is_as_new_as(read, write, event.ended)
        {
            report.older_than_bound.push(*event);
        }
        if let Some(read) = read {
            let before = seen.entry((event.session, event.key)).or_insert((0, read));
            report.went_back += usize::from(read < before.1);
            *before = (event.ended, read.max(before.1));
        }
    }
    report
}

impl Event {
    /// As a line of a file.
    pub fn line(&self) -> String {
        let Self { key, began, ended, session, what } = self;
        let what = match what {
            What::Read(Some(version)) => format!("r {version}"),
            What::Read(None) => "n 0".to_owned(),
            What::Wrote(version, true) => format!("w {version}"),
            What::Wrote(version, false) => format!("d {version}"),
            What::MayDelete => "m 0".to_owned(),
            What::DidNotDelete => "k 0".to_owned(),
        };
        format!("{key} {began} {ended} {session} {what}\n")
    }

    /// Reads such a line; the last of a process that was killed may be cut short.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_suffix('\n')?.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (key, began, ended, session) = (number()?, number()?, number()?, number()?);
        let kind = words.next()?;
        let version = words.next()?.parse().ok()?;
        let what = match kind {
            "r" => What::Read(Some(version)),
            "n" => What::Read(None),
            "w" => What::Wrote(version, true),
            "d" => What::Wrote(version, false),
            "m" => What::MayDelete,
            "k" => What::DidNotDelete,
            _ => return None,
        };
        Some(Self { key: u32::try_from(key).ok()?, began, ended, session, what })
    }
}
