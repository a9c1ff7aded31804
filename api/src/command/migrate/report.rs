//! What the verbs of `migrate` answer, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::{Diff, Generated, Granted, Plan, Refusal, Standing, Status, lint::Report};
use crate::command::Exit;

/// What a command did or found.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Output {
    /// The steps that were taken; none if there was nothing to do.
    Steps(Vec<Step>),
    /// All migrations, in their order.
    Status(Overview),
    /// Who was refused, the latest first.
    Refusals(Refusals),
    /// A grant that was made.
    Granted(Granted),
    /// The migration that was taken for what was applied.
    Accepted {
        /// Its name.
        accepted: String,
    },
    /// The migrations that the database was taken to have.
    Baseline {
        /// Their names.
        baseline: Vec<String>,
    },
    /// What would be done.
    Plan(Plan),
    /// What is dangerous about migrations.
    Lint(Report),
    /// The files that were written.
    Generated(Generated),
    /// The migration that leads to what was asked for.
    Diff(Diff),
}

/// How a database stands. For programs it is the list of migrations alone: `migrate refusals` is the other one.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Overview {
    /// All migrations, in their order.
    pub standings: Vec<Standing>,
    /// Who was refused, the latest first.
    #[serde(skip)]
    pub refusals: Vec<Refusal>,
}

/// Who was refused, the latest first.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Refusals(pub Vec<Refusal>);

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|refusal| writeln!(f, "{refusal}"))?;
        if self.0.is_empty() { f.write_str("nobody was refused") } else { Ok(()) }
    }
}

impl Output {
    /// What the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Lint(report) if !report.is_clean() => Exit::Usage,
            _ => Exit::Done,
        }
    }
}

/// A migration that was applied or rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Which way.
    pub direction: Direction,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What came of it.
    pub status: StepStatus,
}

/// What came of a step that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// The migration was applied.
    Applied,
    /// It was undone.
    RolledBack,
    /// It was taken out of the history, and what it had done stays.
    Forgotten,
}

impl StepStatus {
    fn word(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::RolledBack => "rolled back",
            Self::Forgotten => "forgotten",
        }
    }
}

/// The two ways of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It was applied.
    Up,
    /// It was rolled back.
    Down,
}

impl Direction {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Up => "applied",
            Self::Down => "rolled back",
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => {
                for Step { name, status, duration_ms, direction: _ } in steps {
                    writeln!(f, "{:<11}  {name}  ({duration_ms} ms)", status.word())?;
                }
                match steps.len() {
                    0 => f.write_str("nothing to do"),
                    1 => f.write_str("1 migration"),
                    count => write!(f, "{count} migrations"),
                }
            }
            Self::Status(Overview { standings, refusals }) => {
                /// How many of them are shown beside the migrations.
                const FEW: usize = 3;

                for Standing { name, status, problem, record, begun, irreversible } in standings {
                    let status = if *status == Status::Applied { "applied" } else { "pending" };
                    match record {
                        Some(record) => writeln!(f, "{status}  {name}  ({record})")?,
                        None => writeln!(f, "{status}  {name}")?,
                    }
                    if let Some(begun) = begun {
                        writeln!(f, "         {begun}")?;
                    }
                    if let Some(reason) = irreversible {
                        writeln!(f, "         cannot be rolled back: {reason}")?;
                    }
                    if let Some(problem) = problem {
                        writeln!(f, "         {problem}")?;
                    }
                }
                for refusal in refusals.iter().take(FEW) {
                    writeln!(f, "{refusal}")?;
                }
                let pending = standings.iter().filter(|standing| standing.status == Status::Pending).count();
                write!(f, "{} applied, {pending} pending", standings.len() - pending)
            }
            Self::Accepted { accepted } => write!(f, "{accepted} is taken for what was applied"),
            Self::Refusals(refusals) => refusals.fmt(f),
            Self::Granted(granted) => granted.fmt(f),
            Self::Baseline { baseline } => {
                let version = baseline.last().map(String::as_str).unwrap_or_default();
                write!(f, "the schema is that of {version}: {} migrations are in the history now", baseline.len())
            }
            Self::Plan(plan) => plan.fmt(f),
            Self::Lint(report) => report.fmt(f),
            Self::Generated(generated) => generated.fmt(f),
            Self::Diff(diff) => diff.fmt(f),
        }
    }
}
