//! Whether the audit trail is what was written, and where it is not.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::{Map, Value};

use super::{HASH, Head, PREVIOUS, SEQUENCE, Seal, digest};

/// How many findings are listed; more are counted.
const MOST: usize = 1_000;
/// Among how many entries it is looked for which of them were exchanged.
const MOVED: usize = 200;

/// What a look at the whole audit trail found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// How many entries there are.
    pub entries: u64,
    /// How many have a place in the trail and are still on their way to it.
    pub on_their_way: u64,
    /// The number of the last entry.
    pub head: i64,
    /// What is not as it was written, in order.
    pub tampering: Vec<Tampering>,
    /// How many findings there are beside those that are listed.
    pub more: u64,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tampering {
    /// What was done.
    pub finding: Finding,
    /// To which entry, as far as there is one at a place.
    pub sequence: Option<i64>,
    /// Up to which entry, where there are several.
    pub last: Option<i64>,
    /// The id of the document.
    pub id: Option<String>,
}

/// What was done to the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// An entry has another content than was written.
    Edited,
    /// An entry is at this place that was written at another.
    Moved {
        /// At which.
        from: i64,
    },
    /// An entry is there that was never written.
    Inserted,
    /// Entries are gone, and others behind them are there.
    Deleted,
    /// The end of the trail is gone.
    Truncated,
}

impl Verification {
    /// Whether the trail is what was written.
    pub fn is_whole(&self) -> bool {
        self.tampering.is_empty()
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries, on_their_way, head, tampering, more } = self;
        for found in tampering {
            writeln!(f, "{found}")?;
        }
        if *more > 0 {
            writeln!(f, "and {more} more")?;
        }
        let verdict =
            if tampering.is_empty() { "the audit trail is whole" } else { "the audit trail was tampered with" };
        write!(f, "{verdict}: {entries} entries, {on_their_way} on their way, the last is {head}")
    }
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { finding, sequence, last, id } = self;
        match finding {
            Finding::Edited => f.write_str("edited")?,
            Finding::Moved { from } => write!(f, "moved from {from} to")?,
            Finding::Inserted => f.write_str("inserted")?,
            Finding::Deleted => f.write_str("deleted")?,
            Finding::Truncated => f.write_str("truncated")?,
        }
        match (sequence, last) {
            (Some(sequence), Some(last)) => write!(f, " {sequence} to {last}")?,
            (Some(sequence), None) => write!(f, " {sequence}")?,
            (None, _) => {}
        }
        id.as_ref().map_or(Ok(()), |id| write!(f, " ({id})"))
    }
}

/// Looks at the entries one after the other, in the order of their sequence. Each is judged by itself and by what the one
/// after it says of it.
#[derive(Debug)]
pub(crate) struct Verifier {
    head: Head,
    /// What is sealed and not delivered yet.
    outstanding: BTreeMap<i64, Seal>,
    entries: u64,
    /// Waits for what the next one says of it.
    waiting: Option<Place>,
    /// The place that is being read.
    present: Option<Place>,
    /// An entry that is whole, and of which the next one says otherwise: one of the two was edited.
    doubt: Option<(i64, Option<String>)>,
    tampering: Vec<Tampering>,
    more: u64,
    /// What is not what its hash says.
    broken: Vec<(i64, Map<String, Value>)>,
}

/// All that is at one place of the trail: one entry, if all is well.
#[derive(Debug)]
struct Place {
    sequence: i64,
    seen: Vec<Seen>,
    outstanding: Option<Seal>,
}

#[derive(Debug)]
struct Seen {
    id: Option<String>,
    /// Whether it is what its hash says.
    is_whole: bool,
    previous: String,
    hash: String,
}

impl Place {
    /// What it says is the hash of the entry before it, if it can be believed.
    fn previous(&self) -> Option<&str> {
        if let Some(seal) = &self.outstanding {
            return Some(&seal.previous);
        }
        let mut said = self.seen.iter().filter(|seen| seen.is_whole).map(|seen| seen.previous.as_str());
        let first = said.next()?;
        said.all(|other| other == first).then_some(first)
    }
}

impl Verifier {
    /// For a trail that goes up to there, with these of it on their way.
    pub(crate) fn new(head: Head, outstanding: BTreeMap<i64, Seal>) -> Self {
        Self {
            head,
            outstanding,
            entries: 0,
            waiting: None,
            present: None,
            doubt: None,
            tampering: Vec::new(),
            more: 0,
            broken: Vec::new(),
        }
    }

    /// The next entry.
    pub(crate) fn push(&mut self, entry: Map<String, Value>) {
        self.entries += 1;
        let text = |field: &str| entry.get(field).and_then(Value::as_str).map(str::to_owned);
        let id = text("_id");
        let sequence = entry.get(SEQUENCE).and_then(Value::as_i64);
        let Some(sequence) = sequence.filter(|sequence| (1..=self.head.sequence).contains(sequence)) else {
            return self.found(Finding::Inserted, sequence, None, id);
        };
        let hash = text(HASH).unwrap_or_default();
        let seen = Seen { id, is_whole: digest(&entry) == hash, previous: text(PREVIOUS).unwrap_or_default(), hash };
        if !seen.is_whole && self.broken.len() < MOVED {
            self.broken.push((sequence, entry));
        }
        match &mut self.present {
            Some(present) if present.sequence == sequence => present.seen.push(seen),
            _ => {
                let outstanding = self.outstanding.get(&sequence).cloned();
                self.advance(Some(Place { sequence, seen: vec![seen], outstanding }));
            }
        }
    }

    /// After the last entry: what was found.
    pub(crate) fn finish(mut self) -> Verification {
        self.advance(None);
        if let Some(last) = self.waiting.take() {
            self.judge(&last, None);
        }
        self.settle_doubt(true);
        self.name_moves();
        self.tampering.sort_by_key(|found| (found.sequence.is_none(), found.sequence));
        Verification {
            entries: self.entries,
            on_their_way: self.outstanding.len() as u64,
            head: self.head.sequence,
            tampering: self.tampering,
            more: self.more,
        }
    }

    /// Goes on to the next place that something was read at, past those at which nothing was.
    fn advance(&mut self, next: Option<Place>) {
        if let Some(present) = self.present.take() {
            self.step(present);
        }
        let mut missing = self.waiting.as_ref().map_or(1, |waiting| waiting.sequence + 1);
        let until = next.as_ref().map_or(self.head.sequence + 1, |next| next.sequence).max(missing);
        let on_their_way = self.outstanding.range(missing..until).map(|(sequence, seal)| (*sequence, seal.clone()));
        for (sequence, seal) in on_their_way.collect::<Vec<_>>() {
            self.missing(Finding::Deleted, missing, sequence - 1);
            missing = sequence + 1;
            self.step(Place { sequence, seen: Vec::new(), outstanding: Some(seal) });
        }
        self.missing(if next.is_some() { Finding::Deleted } else { Finding::Truncated }, missing, until - 1);
        self.present = next;
    }

    fn missing(&mut self, finding: Finding, first: i64, last: i64) {
        if first <= last {
            self.found(finding, Some(first), (first < last).then_some(last), None);
        }
    }

    /// The next place at which there is something: now it is known what it says of the one before.
    fn step(&mut self, place: Place) {
        if let Some(waiting) = self.waiting.take() {
            self.judge(&waiting, Some(&place));
        }
        self.waiting = Some(place);
    }

    fn judge(&mut self, place: &Place, next: Option<&Place>) {
        let Place { sequence, seen, outstanding } = place;
        let next = next.filter(|next| next.sequence == sequence + 1);
        // What the relational database says is so; what another entry says may be wrong itself.
        let (expected, is_certain) = match (outstanding, next) {
            (Some(seal), _) => (Some(seal.hash.as_str()), true),
            (None, _) if *sequence == self.head.sequence => (Some(self.head.hash.as_str()), true),
            (None, Some(next)) => (next.previous(), next.outstanding.is_some()),
            (None, None) => (None, false),
        };
        let right = seen.iter().position(|seen| seen.is_whole && expected.is_none_or(|expected| expected == seen.hash));
        let whole = seen.iter().position(|seen| seen.is_whole);
        let doubted = whole.filter(|_| right.is_none() && !is_certain);
        let mut found = Vec::new();
        // One of those that are there is what was written here, be it edited; unless that is still on its way.
        let kept = right.or(doubted).or((outstanding.is_none()).then_some(whole.unwrap_or(0)));
        for (n, seen) in seen.iter().enumerate() {
            match Some(n) == kept {
                true if right.is_none() && doubted.is_none() => found.push((Finding::Edited, seen.id.clone())),
                true => {}
                false => found.push((Finding::Inserted, seen.id.clone())),
            }
        }
        let doubt = doubted.and_then(|n| seen.get(n)).map(|seen| (*sequence, seen.id.clone()));
        let sequence = *sequence;
        // Who is in doubt, too, cannot say that another is wrong.
        self.settle_doubt(right.is_some() || outstanding.is_some());
        self.doubt = doubt;
        for (finding, id) in found {
            self.found(finding, Some(sequence), None, id);
        }
    }

    /// The entry that was in doubt was edited, if the one that said so was not.
    fn settle_doubt(&mut self, was_edited: bool) {
        if let Some((sequence, id)) = self.doubt.take()
            && was_edited
        {
            self.found(Finding::Edited, Some(sequence), None, id);
        }
    }

    /// What looks edited may be right at another place.
    fn name_moves(&mut self) {
        let (mut edited, mut gone) = (Vec::new(), Vec::new());
        for found in &self.tampering {
            match (found.finding, found.sequence, found.last) {
                (Finding::Edited | Finding::Inserted, Some(sequence), _) => edited.push(sequence),
                (Finding::Deleted | Finding::Truncated, Some(first), last) => {
                    let last = last.unwrap_or(first);
                    gone.extend((first..=last).take(MOVED));
                }
                _ => {}
            }
        }
        let places = edited.iter().chain(&gone).copied().take(MOVED).collect::<Vec<_>>();
        for (sequence, mut entry) in std::mem::take(&mut self.broken) {
            let hash = entry.get(HASH).and_then(Value::as_str).unwrap_or_default().to_owned();
            let from = places.iter().copied().find(|place| {
                entry.insert(SEQUENCE.to_owned(), (*place).into());
                *place != sequence && digest(&entry) == hash
            });
            let id = entry.get("_id").and_then(Value::as_str);
            let found =
                self.tampering.iter_mut().find(|found| found.sequence == Some(sequence) && found.id.as_deref() == id);
            if let (Some(from), Some(found)) = (from, found) {
                found.finding = Finding::Moved { from };
            }
        }
    }

    fn found(&mut self, finding: Finding, sequence: Option<i64>, last: Option<i64>, id: Option<String>) {
        if self.tampering.len() < MOST {
            self.tampering.push(Tampering { finding, sequence, last, id });
        } else {
            self.more += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};
    use serde_json::json;

    use super::*;

    type Entry = Map<String, Value>;

    const LENGTH: i64 = 60;

    /// A trail as it is written.
    fn trail() -> (Vec<Entry>, Head) {
        let mut head = Head { sequence: 0, hash: String::new() };
        let entries = (1..=LENGTH).map(|n| {
            let entry = json!({"_id": format!("id-{n}"), "sequence": n, "previous": head.hash, "action": "update",
                               "after": {"b": n, "a": [1.5, null, "x"]}});
            let Value::Object(mut entry) = entry else { unreachable!() };
            head = Head { sequence: n, hash: digest(&entry) };
            entry.insert(HASH.to_owned(), head.hash.clone().into());
            entry
        });
        (entries.collect(), head)
    }

    fn look(mut entries: Vec<Entry>, head: &Head, outstanding: BTreeMap<i64, Seal>) -> Verification {
        entries.sort_by_key(|entry| entry[SEQUENCE].as_i64());
        let mut verifier = Verifier::new(head.clone(), outstanding);
        entries.into_iter().for_each(|entry| verifier.push(entry));
        verifier.finish()
    }

    fn places(verification: &Verification) -> Vec<(Finding, i64)> {
        verification.tampering.iter().map(|found| (found.finding, found.sequence.unwrap())).collect()
    }

    #[test]
    fn what_was_written_is_whole_and_whatever_is_done_to_it_is_found_where_it_was_done() {
        let (entries, head) = trail();
        assert!(look(entries.clone(), &head, BTreeMap::new()).is_whole());
        let mut chance = StdRng::seed_from_u64(1);
        for _ in 0..60 {
            let (n, m) = (chance.random_range(1..=LENGTH), chance.random_range(1..=LENGTH));
            let at = |n: i64| usize::try_from(n - 1).unwrap();
            let rehash = |entry: &mut Entry| {
                let hash = digest(entry);
                entry.insert(HASH.to_owned(), hash.into());
            };

            // With and without a hash that fits, which whoever edits can compute, too.
            for fits in [false, true] {
                for field in ["after", "previous", "_id"] {
                    let mut edited = entries.clone();
                    edited[at(n)].insert(field.to_owned(), "another".into());
                    if fits {
                        rehash(&mut edited[at(n)]);
                    }
                    assert_eq!(
                        places(&look(edited, &head, BTreeMap::new())),
                        [(Finding::Edited, n)],
                        "{field}, {fits}"
                    );
                }
                let mut inserted = entries.clone();
                let mut entry = entries[at(n)].clone();
                entry.insert("_id".to_owned(), "zzz".into());
                if fits {
                    rehash(&mut entry);
                }
                inserted.push(entry);
                let found = look(inserted, &head, BTreeMap::new());
                assert_eq!(places(&found), [(Finding::Inserted, n)]);
                assert_eq!(found.tampering[0].id.as_deref(), Some("zzz"));
            }

            let mut deleted = entries.clone();
            deleted.remove(at(n));
            let finding = if n == LENGTH { Finding::Truncated } else { Finding::Deleted };
            assert_eq!(places(&look(deleted, &head, BTreeMap::new())), [(finding, n)]);

            let truncated = entries[..at(n)].to_vec();
            assert_eq!(places(&look(truncated, &head, BTreeMap::new())), [(Finding::Truncated, n)]);

            if n < m {
                let mut moved = entries.clone();
                moved[at(n)].insert(SEQUENCE.to_owned(), m.into());
                moved[at(m)].insert(SEQUENCE.to_owned(), n.into());
                let found = places(&look(moved, &head, BTreeMap::new()));
                assert_eq!(found, [(Finding::Moved { from: m }, n), (Finding::Moved { from: n }, m)]);
            }
        }
        let mut beyond = entries.clone();
        beyond.push(json!({"_id": "x", "sequence": LENGTH + 1}).as_object().unwrap().clone());
        assert_eq!(places(&look(beyond, &head, BTreeMap::new())), [(Finding::Inserted, LENGTH + 1)]);
        assert_eq!(places(&look(Vec::new(), &head, BTreeMap::new())), [(Finding::Truncated, 1)]);
    }

    #[test]
    fn what_is_on_its_way_is_not_missing() {
        let (entries, head) = trail();
        let text = |entry: &Entry, field: &str| entry[field].as_str().unwrap().to_owned();
        let seals = entries.iter().map(|entry| {
            let seal = |sequence| Seal { sequence, hash: text(entry, HASH), previous: text(entry, PREVIOUS) };
            (entry[SEQUENCE].as_i64().unwrap(), seal(entry[SEQUENCE].as_i64().unwrap()))
        });
        let outstanding = seals.filter(|(n, _)| n % 3 == 0 || *n > 50).collect::<BTreeMap<_, _>>();
        let there = |entry: &Entry| !outstanding.contains_key(&entry[SEQUENCE].as_i64().unwrap());
        let delivered = entries.iter().filter(|entry| there(entry)).cloned().collect::<Vec<_>>();
        let found = look(delivered.clone(), &head, outstanding.clone());
        assert!(found.is_whole(), "{found}");
        // Delivered, and not yet taken from the outbox.
        assert!(look(entries, &head, outstanding.clone()).is_whole());
        // What was delivered is missed all the same.
        let less = delivered.iter().filter(|entry| entry[SEQUENCE] != 4).cloned().collect();
        assert_eq!(places(&look(less, &head, outstanding.clone())), [(Finding::Deleted, 4)]);
        let mut edited = delivered;
        edited[0].insert("after".to_owned(), 1.into());
        assert_eq!(places(&look(edited, &head, outstanding)), [(Finding::Edited, 1)]);
    }
}
