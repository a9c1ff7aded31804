//! What transactions did to lists of numbers, and which anomalies are in it.
//!
//! A transaction appends numbers that no other uses, and reads whole lists. A list tells in which order its numbers came,
//! and a read tells which of them were there; from both follows which transaction must have come after which, and a
//! circle of those is an anomaly: K. Kingsbury and P. Alvaro, "Elle: Inferring Isolation Anomalies from Experimental
//! Observations", VLDB 2020; the names in brackets are those of A. Adya, "Weak Consistency", 1999.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Put a number at the end of a list.
    Append { list: i64, number: i64 },
    /// Read all that was in a list.
    Read { list: i64, numbers: Vec<i64> },
}

/// What must not happen, the worst first: each isolation level forbids those up to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// Two reads cannot be of one list that only grew.
    Incompatible,
    /// What a transaction appended that committed is not in the list.
    Lost,
    /// A transaction did not see what it had appended itself.
    OwnUnseen,
    /// A number was read that no transaction appended which committed (G1a).
    AbortedRead,
    /// A list was read between two appends of one transaction (G1b).
    IntermediateRead,
    /// Transactions wrote over each other, in a circle (G0).
    DirtyWrite,
    /// Transactions saw of each other what they wrote, in a circle (G1c).
    CircularFlow,
    /// A list was changed by who had not seen its last change (G-single, on one list).
    LostUpdate,
    /// A transaction saw a part of what another wrote, and not the rest (G-single).
    ReadSkew,
    /// Transactions wrote, each, what the other should have read (G2).
    WriteSkew,
}

/// Which anomalies are in what committed transactions did, with an example of each. The last transaction must have read
/// all lists, after all others had ended.
pub fn anomalies(history: &[Vec<Operation>]) -> BTreeMap<Anomaly, String> {
    let mut check = Check::of(history);
    check.order_lists();
    check.look_at_reads();
    check.look_for_circles();
    check.found
}

/// Why one transaction must have come before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It wrote what the other wrote over.
    Overwritten,
    /// It wrote what the other saw.
    Seen,
    /// It did not see what the other wrote.
    NotYetSeen,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    from: usize,
    to: usize,
    reason: Reason,
    list: i64,
}

/// Who appended a number, and whether they appended more to the list after it.
#[derive(Debug, Clone, Copy)]
struct Author {
    transaction: usize,
    is_last: bool,
}

struct Check<'a> {
    history: &'a [Vec<Operation>],
    authors: HashMap<i64, Author>,
    /// For each list its numbers, in their order.
    orders: HashMap<i64, Vec<i64>>,
    found: BTreeMap<Anomaly, String>,
}

impl<'a> Check<'a> {
    fn of(history: &'a [Vec<Operation>]) -> Self {
        let mut authors = HashMap::new();
        for (transaction, operations) in history.iter().enumerate() {
            let mut last = HashMap::new();
            for operation in operations {
                let Operation::Append { list, number } = *operation else { continue };
                if let Some(earlier) = last.insert(list, number) {
                    authors.insert(earlier, Author { transaction, is_last: false });
                }
                let before = authors.insert(number, Author { transaction, is_last: true });
                assert!(before.is_none(), "{number} was appended twice, so that nothing can be told");
            }
        }
        Self { history, authors, orders: HashMap::new(), found: BTreeMap::new() }
    }

    fn report(&mut self, anomaly: Anomaly, example: impl FnOnce() -> String) {
        self.found.entry(anomaly).or_insert_with(example);
    }

    fn reads(&self) -> impl Iterator<Item = (usize, i64, &'a [i64])> + use<'a> {
        self.history.iter().enumerate().flat_map(|(transaction, operations)| {
            operations.iter().filter_map(move |operation| match operation {
                Operation::Read { list, numbers } => Some((transaction, *list, numbers.as_slice())),
                Operation::Append { .. } => None,
            })
        })
    }

    /// The longest read of a list has its order; all others must be the beginning of it.
    fn order_lists(&mut self) {
        for (_, list, numbers) in self.reads() {
            let order = self.orders.entry(list).or_default();
            if numbers.len() > order.len() {
                *order = numbers.to_vec();
            }
        }
        for (transaction, list, numbers) in self.reads() {
            let order = &self.orders[&list];
            if !order.starts_with(numbers) {
                let example = format!("list {list} was {order:?}, and {numbers:?} to transaction {transaction}");
                self.report(Anomaly::Incompatible, || example);
            }
        }
        for (transaction, operations) in self.history.iter().enumerate() {
            for operation in operations {
                let Operation::Append { list, number } = operation else { continue };
                if !self.orders.get(list).is_some_and(|order| order.contains(number)) {
                    self.report(Anomaly::Lost, || {
                        format!("{number} of transaction {transaction} is not in list {list}")
                    });
                }
            }
        }
    }

    fn look_at_reads(&mut self) {
        for (reader, list, numbers) in self.reads() {
            if let Some(number) = numbers.iter().find(|number| !self.authors.contains_key(number)) {
                self.report(Anomaly::AbortedRead, || format!("transaction {reader} saw {number} in list {list}"));
            }
            let last = numbers.last().and_then(|number| Some((number, self.authors.get(number)?)));
            if let Some((number, author)) = last
                && author.transaction != reader
                && !author.is_last
            {
                self.report(Anomaly::IntermediateRead, || {
                    format!("transaction {reader} saw list {list} end with {number}")
                });
            }
        }
        for (transaction, operations) in self.history.iter().enumerate() {
            let mut own = HashMap::new();
            for operation in operations {
                match operation {
                    Operation::Append { list, number } => drop(own.insert(list, number)),
                    Operation::Read { list, numbers }
                        if own.get(list).is_some_and(|&own| numbers.last() != Some(own)) =>
                    {
                        self.report(Anomaly::OwnUnseen, || {
                            format!("transaction {transaction} saw {numbers:?} in list {list} after it had appended")
                        });
                    }
                    Operation::Read { .. } => {}
                }
            }
        }
    }

    fn look_for_circles(&mut self) {
        use Reason::{NotYetSeen, Overwritten, Seen};
        let (edges, history) = (self.edges(), self.history);
        for circle in circles(&edges, Overwritten, &[Overwritten]) {
            self.report(Anomaly::DirtyWrite, || told(history, &circle));
        }
        for circle in circles(&edges, Seen, &[Overwritten, Seen]) {
            self.report(Anomaly::CircularFlow, || told(history, &circle));
        }
        for circle in circles(&edges, NotYetSeen, &[Overwritten, Seen]) {
            let is_of_one_list = circle.iter().all(|edge| edge.list == circle[0].list);
            let is_update = is_of_one_list && circle.iter().any(|edge| edge.reason == Overwritten);
            let anomaly = if is_update { Anomaly::LostUpdate } else { Anomaly::ReadSkew };
            self.report(anomaly, || told(history, &circle));
        }
        for circle in circles(&edges, NotYetSeen, &[Overwritten, Seen, NotYetSeen]) {
            if circle.iter().filter(|edge| edge.reason == NotYetSeen).count() > 1 {
                self.report(Anomaly::WriteSkew, || told(history, &circle));
            }
        }
    }

    fn edges(&self) -> Vec<Edge> {
        // What did not commit has no place in the order.
        let is_known = |number: &i64| self.authors.contains_key(number);
        let author = |number: &i64| self.authors[number].transaction;
        let orders = self.orders.iter().map(|(&list, order)| {
            let order = order.iter().copied().filter(is_known).collect::<Vec<_>>();
            (list, order)
        });
        let orders = orders.collect::<HashMap<_, _>>();
        let mut edges = Vec::new();
        let mut add = |from, to, reason, list| {
            if from != to {
                edges.push(Edge { from, to, reason, list });
            }
        };
        for (&list, order) in &orders {
            for pair in order.windows(2) {
                add(author(&pair[0]), author(&pair[1]), Reason::Overwritten, list);
            }
        }
        for (reader, list, numbers) in self.reads() {
            let last = numbers.iter().rfind(|number| is_known(number));
            let place =
                last.map_or(Some(0), |last| orders[&list].iter().position(|number| number == last).map(|n| n + 1));
            if let Some(last) = last {
                add(author(last), reader, Reason::Seen, list);
            }
            if let Some(next) = place.and_then(|place| orders[&list].get(place)) {
                add(reader, author(next), Reason::NotYetSeen, list);
            }
        }
        edges
    }
}

fn told(history: &[Vec<Operation>], circle: &[Edge]) -> String {
    let steps = circle.iter().map(|Edge { from, to, reason, list }| {
        format!("{from} before {to} ({reason:?}, list {list}); {from} did {:?}", history[*from])
    });
    steps.collect::<Vec<_>>().join("\n")
}

/// For each edge with the first reason the shortest circle that it closes with edges for the other reasons.
fn circles(edges: &[Edge], first: Reason, others: &[Reason]) -> Vec<Vec<Edge>> {
    let is_used = |edge: &&Edge| edge.reason == first || others.contains(&edge.reason);
    let edges = in_circles(edges.iter().filter(is_used).copied().collect());
    let mut leaving = HashMap::<usize, Vec<Edge>>::new();
    for edge in edges.iter().filter(|edge| others.contains(&edge.reason)) {
        leaving.entry(edge.from).or_default().push(*edge);
    }
    let firsts = edges.iter().filter(|edge| edge.reason == first);
    firsts.filter_map(|&edge| Some([vec![edge], path(&leaving, edge.to, edge.from)?].concat())).collect()
}

/// Leaves out what cannot be in a circle: edges from where none leads to, or to where none leads from.
fn in_circles(mut edges: Vec<Edge>) -> Vec<Edge> {
    loop {
        let before = edges.len();
        let sources = edges.iter().map(|edge| edge.from).collect::<HashSet<_>>();
        let targets = edges.iter().map(|edge| edge.to).collect::<HashSet<_>>();
        edges.retain(|edge| sources.contains(&edge.to) && targets.contains(&edge.from));
        if edges.len() == before {
            return edges;
        }
    }
}

fn path(leaving: &HashMap<usize, Vec<Edge>>, from: usize, to: usize) -> Option<Vec<Edge>> {
    let mut came_by = HashMap::<usize, Edge>::new();
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        if at == to {
            let mut path = Vec::new();
            let mut at = to;
            while at != from {
                path.push(came_by[&at]);
                at = came_by[&at].from;
            }
            path.reverse();
            return Some(path);
        }
        for edge in leaving.get(&at).into_iter().flatten() {
            if edge.to != from && !came_by.contains_key(&edge.to) {
                came_by.insert(edge.to, *edge);
                next.push_back(edge.to);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads transactions from a text such as `a1 b? | a?12`: append 1 to list a and read b, which is empty; and see 1 and 2
    /// in a.
    fn found_in(text: &str) -> Vec<Anomaly> {
        let operation = |word: &str| {
            let list = i64::from(word.as_bytes()[0]);
            match word[1..].strip_prefix('?') {
                Some(numbers) => {
                    let numbers = numbers.chars().map(|digit| i64::from(digit.to_digit(36).unwrap())).collect();
                    Operation::Read { list, numbers }
                }
                None => Operation::Append { list, number: i64::from(word[1..].parse::<u8>().unwrap()) },
            }
        };
        let transactions = text.split('|').map(|words| words.split_whitespace().map(operation).collect::<Vec<_>>());
        anomalies(&transactions.collect::<Vec<_>>()).into_keys().collect()
    }

    #[test]
    fn nothing_is_found_where_transactions_came_one_after_another() {
        for history in
            ["a?", "a1 | a2 | a?12", "a1 a2 b3 | a?12 a4 a?124 | b?3 b5 | a?124 b?35", "a? | a1 | b? b2 | a?1 b?2"]
        {
            assert_eq!(found_in(history), [], "{history}");
        }
    }

    #[test]
    fn each_anomaly_is_found_where_it_is() {
        use Anomaly::*;
        for (history, expected) in [
            ("a1 | a2 | a?2 | a?12", vec![Incompatible]),
            ("a1 | a2 | a?1", vec![Lost]),
            ("a1 a? | a?1", vec![OwnUnseen]),
            ("a1 | a?19 | a?19", vec![AbortedRead]),
            ("a1 | a?9 | a?1", vec![Incompatible, AbortedRead]),
            ("a1 a2 | a?1 | a?12", vec![IntermediateRead]),
            ("a1 b2 | a3 b4 | a?13 b?42", vec![DirtyWrite]),
            ("a1 b?2 | b2 a?1 | a?1 b?2", vec![CircularFlow]),
            ("a1 | a?1 a2 | a?1 a3 | a?123", vec![LostUpdate]),
            ("a1 b2 | a?1 b? | a?1 b?2", vec![ReadSkew]),
            // What was read is read again, and is another.
            ("a1 | a? a?1 | a?1", vec![ReadSkew]),
            ("a1 b? | b2 a? | a?1 b?2", vec![WriteSkew]),
            // Only who reads alone sees what could not be (A. Fekete and others, 2004).
            ("a? b? a1 | b2 | a? b?2 | a?1 b?2", vec![WriteSkew]),
            ("a1 b? | b2 c? | c3 a? | a?1 b?2 c?3", vec![WriteSkew]),
        ] {
            let found = found_in(history);
            assert!(expected.iter().all(|anomaly| found.contains(anomaly)), "{history}: {found:?}, not {expected:?}");
            assert_eq!(found.first(), expected.first(), "{history}: {found:?}");
        }
    }
}
