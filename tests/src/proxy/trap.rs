//! Faults that strike by themselves, at a point of the conversation; and what is only counted there.

use std::sync::{Arc, Mutex};

use super::{Fault, Toward};
use crate::{PATIENCE, eventually};

/// A fault and where it strikes. [`Fault::Cut`] and [`Fault::Reset`] strike the connection on which the trap springs, all
/// others the whole network from then on.
///
/// ```ignore
/// // The server never hears of the third commit; it hears of the next one, but nobody is told what came of it.
/// let lost = proxy.set(Trap::before("COMMIT", Fault::Cut).skip(2));
/// let unknown = proxy.set(Trap::after("COMMIT", Fault::Reset).skip(3));
/// ```
#[derive(Debug, Clone)]
pub struct Trap {
    place: Place,
    toward: Toward,
    strike: Option<(Moment, Fault)>,
    skip: usize,
    is_lasting: bool,
}

/// What came of a [`Trap`], or of what is only counted.
#[derive(Debug, Clone)]
pub struct Watch {
    watched: Arc<Watched>,
}

/// All traps of a proxy.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watched: Mutex<Vec<Arc<Watched>>>,
}

/// How far one direction of a connection has come in what each trap waits for.
#[derive(Debug, Default)]
pub(super) struct Matchers {
    matchers: Vec<Matcher>,
}

/// What was found in a piece of the conversation.
#[derive(Debug)]
pub(super) struct Found {
    /// How many bytes were looked at: all, or as many as it takes to spring a trap.
    pub(super) end: usize,
    /// How many of them pass before the fault.
    pub(super) struck_at: usize,
    pub(super) strike: Option<Strike>,
    /// What happens when the server answers.
    pub(super) at_answer: Option<Strike>,
}

/// A trap that springs; it has sprung when its fault has struck.
#[derive(Debug)]
pub(super) struct Strike {
    pub(super) fault: Fault,
    watched: Arc<Watched>,
}

#[derive(Debug, Clone)]
enum Place {
    Text {
        text: Vec<u8>,
        /// For every beginning of the text, how long the longest beginning is that it also ends with.
        overlaps: Vec<usize>,
    },
    Length(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

#[derive(Debug)]
struct Watched {
    trap: Trap,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    seen: usize,
    /// How often it was taken to strike.
    taken: usize,
    sprung: usize,
    is_over: bool,
}

#[derive(Debug)]
struct Matcher {
    watched: Arc<Watched>,
    /// How many bytes of the text were seen, or how many of the length.
    progress: usize,
}

impl Trap {
    /// Strikes when this is said, before it is forwarded: what was said before it arrives, and of it at most a part.
    pub fn before(said: impl AsRef<[u8]>, fault: Fault) -> Self {
        Self::new(Place::text(said.as_ref()), Some((Moment::Before, fault)))
    }

    /// Strikes when this was said and forwarded. What a client says is also heard: the fault waits until the server
    /// answers, and strikes instead of the answer.
    pub fn after(said: impl AsRef<[u8]>, fault: Fault) -> Self {
        Self::new(Place::text(said.as_ref()), Some((Moment::After, fault)))
    }

    /// Strikes on a connection by which so many bytes have been forwarded since it was opened, or since the trap was set.
    pub fn at(bytes: u64, fault: Fault) -> Self {
        assert!(bytes > 0, "nothing is forwarded before the first byte");
        Self::new(Place::Length(bytes), Some((Moment::After, fault)))
    }

    /// Only looks.
    pub(super) fn none(said: &[u8]) -> Self {
        Self::new(Place::text(said), None)
    }

    fn new(place: Place, strike: Option<(Moment, Fault)>) -> Self {
        Self { place, toward: Toward::Server, strike, skip: 0, is_lasting: false }
    }

    /// The direction in which it looks; without this, toward the server.
    #[must_use]
    pub fn toward(self, toward: Toward) -> Self {
        Self { toward, ..self }
    }

    /// Lets the first few pass.
    #[must_use]
    pub fn skip(self, count: usize) -> Self {
        Self { skip: count, ..self }
    }

    /// Strikes every time, and not only once.
    #[must_use]
    pub fn every_time(self) -> Self {
        Self { is_lasting: true, ..self }
    }
}

impl Watch {
    /// How often it was said since then, whether or not it got through.
    pub fn seen(&self) -> usize {
        self.watched.tally.lock().unwrap().seen
    }

    /// How often the fault struck.
    pub fn sprung(&self) -> usize {
        self.watched.tally.lock().unwrap().sprung
    }

    /// Waits until the fault has struck.
    pub async fn until_sprung(&self) {
        eventually("the trap springs", PATIENCE, async || (self.sprung() > 0).then_some(())).await;
    }

    /// Takes the trap away, and counts no more.
    pub fn end(&self) {
        self.watched.tally.lock().unwrap().is_over = true;
    }
}

impl Watches {
    pub(super) fn add(&self, trap: Trap) -> Watch {
        let watched = Arc::new(Watched { trap, tally: Mutex::default() });
        self.watched.lock().unwrap().push(Arc::clone(&watched));
        Watch { watched }
    }
}

impl Matchers {
    /// Looks at what comes next in a direction, until a trap springs that strikes there.
    pub(super) fn inspect(&mut self, watches: &Watches, toward: Toward, bytes: &[u8]) -> Found {
        self.renew(watches, toward);
        let mut found = Found { end: bytes.len(), struck_at: bytes.len(), strike: None, at_answer: None };
        if self.matchers.is_empty() {
            return found;
        }
        for (position, &byte) in bytes.iter().enumerate() {
            for matcher in &mut self.matchers {
                let Some(length) = matcher.step(byte) else { continue };
                let end = position + 1;
                let Some((moment, fault)) = matcher.watched.take(found.strike.is_none()) else { continue };
                let strike = Some(Strike { fault, watched: Arc::clone(&matcher.watched) });
                match moment {
                    Moment::Before => found = Found { end, struck_at: end.saturating_sub(length), strike, ..found },
                    Moment::After if matcher.waits_for_answer() => found.at_answer = strike,
                    Moment::After => found = Found { end, struck_at: end, strike, ..found },
                }
            }
            if found.strike.is_some() {
                break;
            }
        }
        found
    }

    fn renew(&mut self, watches: &Watches, toward: Toward) {
        let mut watched = watches.watched.lock().unwrap();
        watched.retain(|watched| !watched.tally.lock().unwrap().is_over);
        let is_there =
            |watched: &Arc<Watched>, all: &[Matcher]| all.iter().any(|one| Arc::ptr_eq(watched, &one.watched));
        self.matchers.retain(|matcher| watched.iter().any(|watched| Arc::ptr_eq(watched, &matcher.watched)));
        for watched in watched.iter().filter(|watched| watched.trap.toward == toward) {
            if !is_there(watched, &self.matchers) {
                self.matchers.push(Matcher { watched: Arc::clone(watched), progress: 0 });
            }
        }
    }
}

impl Matcher {
    /// Takes the next byte; how long what was waited for is, if that is its end.
    fn step(&mut self, byte: u8) -> Option<usize> {
        match &self.watched.trap.place {
            Place::Length(length) => {
                self.progress += 1;
                (self.progress as u64 == *length).then_some(self.progress)
            }
            Place::Text { text, overlaps } => {
                while self.progress > 0 && text[self.progress] != byte {
                    self.progress = overlaps[self.progress - 1];
                }
                if text[self.progress] == byte {
                    self.progress += 1;
                }
                let is_complete = self.progress == text.len();
                if is_complete {
                    self.progress = overlaps[text.len() - 1];
                }
                is_complete.then_some(text.len())
            }
        }
    }

    fn waits_for_answer(&self) -> bool {
        let Trap { place, toward, .. } = &self.watched.trap;
        *toward == Toward::Server && matches!(place, Place::Text { .. })
    }
}

impl Watched {
    /// Counts that it was seen, and tells what is to strike, where it may.
    fn take(&self, may_strike: bool) -> Option<(Moment, Fault)> {
        let mut tally = self.tally.lock().unwrap();
        tally.seen += 1;
        let is_armed = tally.seen > self.trap.skip && (tally.taken == 0 || self.trap.is_lasting);
        let strike = self.trap.strike.filter(|_| is_armed && may_strike && !tally.is_over)?;
        tally.taken += 1;
        Some(strike)
    }
}

impl Strike {
    /// Counts that its fault has struck.
    pub(super) fn has_struck(&self) {
        self.watched.tally.lock().unwrap().sprung += 1;
    }
}

impl Place {
    fn text(text: &[u8]) -> Self {
        assert!(!text.is_empty(), "nothing is said all the time");
        let mut overlaps = vec![0; text.len()];
        for end in 1..text.len() {
            let mut overlap = overlaps[end - 1];
            while overlap > 0 && text[overlap] != text[end] {
                overlap = overlaps[overlap - 1];
            }
            overlaps[end] = if text[overlap] == text[end] { overlap + 1 } else { 0 };
        }
        Self::Text { text: text.to_vec(), overlaps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inspect(trap: Trap, pieces: &[&str]) -> (Vec<Found>, Watch) {
        let watches = Watches::default();
        let watch = watches.add(trap);
        let mut matchers = Matchers::default();
        let found = pieces.iter().map(|piece| matchers.inspect(&watches, Toward::Server, piece.as_bytes()));
        (found.collect(), watch)
    }

    fn fault(strike: &Option<Strike>) -> Option<Fault> {
        strike.as_ref().map(|strike| strike.fault)
    }

    #[test]
    fn what_is_said_is_found_also_in_pieces_and_overlapping() {
        for pieces in [&["aabaabaaab"][..], &["aabaa", "baaab"], &["a", "a", "b", "a", "a", "b", "a", "a", "a", "b"]] {
            assert_eq!(inspect(Trap::none(b"aab"), pieces).1.seen(), 3, "{pieces:?}");
            assert_eq!(inspect(Trap::none(b"aabaa"), pieces).1.seen(), 2, "{pieces:?}");
        }
        assert_eq!(inspect(Trap::none(b"ab"), &["b", "a"]).1.seen(), 0);
    }

    #[test]
    fn a_trap_strikes_where_it_was_set() {
        let (found, watch) = inspect(Trap::before("COMMIT", Fault::Cut).skip(1), &["COMMIT;COMMIT;"]);
        assert_eq!((found[0].struck_at, found[0].end, fault(&found[0].strike)), (7, 13, Some(Fault::Cut)));
        assert_eq!(watch.seen(), 2);

        let (found, _) = inspect(Trap::before("COMMIT", Fault::Cut), &["..COM", "MIT.."]);
        assert_eq!((found[0].end, fault(&found[0].strike)), (5, None));
        assert_eq!((found[1].struck_at, found[1].end, fault(&found[1].strike)), (0, 3, Some(Fault::Cut)));

        let (found, _) = inspect(Trap::after("COMMIT", Fault::Cut), &["COMMIT;", "COMMIT;"]);
        assert_eq!((found[0].end, fault(&found[0].strike)), (7, None));
        assert_eq!((fault(&found[0].at_answer), fault(&found[1].at_answer)), (Some(Fault::Cut), None), "only once");

        let (found, _) = inspect(Trap::at(5, Fault::Reset), &["...", "..."]);
        assert_eq!((found[1].struck_at, found[1].end, fault(&found[1].strike)), (2, 2, Some(Fault::Reset)));
    }
}
