//! What of all that must hold is proven, and by which tests.
//!
//! `rows.txt` has the id of every capability; `capabilities.toml` says which tests prove it, in each profile. A row is
//! proven when the tests of both profiles exist, ran and passed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Deserialize;

const ROWS: &str = include_str!("../rows.txt");
const CAPABILITIES: &str = include_str!("../capabilities.toml");
const NOT_APPLICABLE: &str = "not applicable:";

/// All rows, in their order.
#[derive(Debug, Clone)]
pub struct Scoreboard {
    rows: Vec<(String, Option<Capability>)>,
}

/// What is claimed of a row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capability {
    claim: String,
    /// What the row asks for beyond the claim: while something is missing, it is proven in part only.
    missing: Option<String>,
    embedded: Option<Proof>,
    full: Option<Proof>,
}

/// What proves a claim in one profile.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Proof {
    Tests(Vec<String>),
    NotApplicable(String),
}

/// The tests of a run that passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Passed {
    tests: BTreeSet<String>,
}

impl Scoreboard {
    /// The scoreboard of this workspace.
    pub fn read() -> Result<Self, String> {
        Self::parse(ROWS, CAPABILITIES)
    }

    /// A scoreboard of rows and what is claimed of them; everything that is wrong with it is one error.
    pub fn parse(rows: &str, capabilities: &str) -> Result<Self, String> {
        let mut claimed: BTreeMap<String, Capability> =
            toml::from_str(capabilities).map_err(|error| error.to_string())?;
        let rows: Vec<_> = rows.lines().map(|id| (id.to_owned(), claimed.remove(id))).collect();
        let mut problems: Vec<_> = claimed.keys().map(|id| format!("{id}: there is no such row")).collect();
        for (id, capability) in &rows {
            problems.extend(capability.iter().flat_map(Capability::problems).map(|problem| format!("{id}: {problem}")));
        }
        if problems.is_empty() { Ok(Self { rows }) } else { Err(problems.join("\n")) }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Every test that is named, with the row that names it.
    pub fn named_tests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rows.iter().flat_map(|(id, capability)| {
            let proofs = capability.iter().flat_map(Capability::proofs).flatten();
            proofs.flat_map(Proof::tests).map(move |test| (id.as_str(), test.as_str()))
        })
    }

    /// The named tests that did not run, or did not pass.
    pub fn unproven<'a>(&'a self, passed: &'a Passed) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.named_tests().filter(|(_, test)| !passed.tests.contains(*test))
    }

    /// How many rows are proven: by what they name, or by what of that passed.
    pub fn proven(&self, passed: Option<&Passed>) -> usize {
        self.rows.iter().filter(|(_, row)| row.as_ref().is_some_and(|row| row.standing(passed) == "proven")).count()
    }

    /// The scoreboard as people read it.
    pub fn show<'a>(&'a self, passed: Option<&'a Passed>) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            for (id, capability) in &self.rows {
                match capability {
                    Some(row) => writeln!(f, "{id:<4} {:<14} {}", row.standing(passed), row.claim)?,
                    None => writeln!(f, "{id:<4} not yet")?,
                }
            }
            write!(f, "proven {} of {}", self.proven(passed), self.rows())
        })
    }
}

impl Capability {
    fn proofs(&self) -> [Option<&Proof>; 2] {
        [self.embedded.as_ref(), self.full.as_ref()]
    }

    fn standing(&self, passed: Option<&Passed>) -> &'static str {
        match self.proofs().map(|proof| proof.is_some_and(|proof| proof.holds(passed))) {
            [true, true] if self.missing.is_some() => "in part",
            [true, true] => "proven",
            [true, false] if !self.is_empty_in(&self.embedded) => "embedded only",
            [false, true] if !self.is_empty_in(&self.full) => "full only",
            _ => "not yet",
        }
    }

    /// Whether a profile has no tests of its own, so that it alone is no standing.
    fn is_empty_in(&self, proof: &Option<Proof>) -> bool {
        matches!(proof, None | Some(Proof::NotApplicable(_)))
    }

    fn problems(&self) -> Vec<&'static str> {
        let mut problems = Vec::new();
        if self.claim.trim().is_empty() {
            problems.push("the claim is empty");
        }
        if self.missing.as_ref().is_some_and(|missing| missing.trim().is_empty()) {
            problems.push("leave out what is missing when nothing is");
        }
        if self.proofs().iter().all(|proof| matches!(proof, Some(Proof::NotApplicable(_)))) {
            problems.push("it has a meaning in at least one profile");
        }
        problems.extend(self.proofs().into_iter().flatten().filter_map(Proof::problem));
        problems
    }
}

impl Proof {
    fn tests(&self) -> &[String] {
        match self {
            Self::Tests(tests) => tests,
            Self::NotApplicable(_) => &[],
        }
    }

    fn holds(&self, passed: Option<&Passed>) -> bool {
        self.tests().iter().all(|test| passed.is_none_or(|passed| passed.tests.contains(test)))
    }

    fn problem(&self) -> Option<&'static str> {
        match self {
            Self::Tests(tests) if tests.is_empty() => Some("an empty list proves nothing; leave it out"),
            Self::Tests(_) => None,
            Self::NotApplicable(reason) => match reason.strip_prefix(NOT_APPLICABLE) {
                Some(reason) if !reason.trim().is_empty() => None,
                _ => Some("a text must be \"not applicable: \" and the reason"),
            },
        }
    }
}

impl Passed {
    /// Reads the JUnit report of nextest.
    ///
    /// Not a parser of XML: nextest escapes what tests print and quotes attributes alike, and names of tests need no
    /// escapes.
    pub fn from_junit(report: &str) -> Self {
        let cases = report.split("<testcase ").skip(1);
        let passed = cases.filter(|case| !["<failure", "<error", "<skipped"].iter().any(|mark| case.contains(mark)));
        let names = passed.filter_map(|case| case.strip_prefix("name=\"")?.split('"').next());
        Self { tests: names.map(str::to_owned).collect() }
    }

    /// Reads what `cargo test` prints.
    pub fn from_libtest(output: &str) -> Self {
        let names = output.lines().filter_map(|line| {
            let name = line.strip_prefix("test ")?.strip_suffix(" ... ok")?;
            Some(name.split(" - ").next()?.to_owned())
        });
        Self { tests: names.collect() }
    }

    /// Whether no test is known to have passed, as when the report is of another kind.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }
}
