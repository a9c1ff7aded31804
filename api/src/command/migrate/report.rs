//! What the verbs of `migrate` answer, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::{Generated, Plan, Standing, Status, lint::Report};
use crate::command::Exit;

/// What a command did or found.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Output {
    /// The steps that were taken; none if there was nothing to do.
    Steps(Vec<Step>),
    /// All migrations, in their order.
    Status(Vec<Standing>),
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
                for Step { name, direction, duration_ms } in steps {
                    writeln!(f, "{:<11}  {name}  ({duration_ms} ms)", direction.done())?;
                }
                match steps.len() {
                    0 => f.write_str("nothing to do"),
                    1 => f.write_str("1 migration"),
                    count => write!(f, "{count} migrations"),
                }
            }
            Self::Status(standings) => {
                for Standing { name, status, problem, record, begun } in standings {
                    let status = if *status == Status::Applied { "applied" } else { "pending" };
                    match record {
                        Some(record) => writeln!(f, "{status}  {name}  ({record})")?,
                        None => writeln!(f, "{status}  {name}")?,
                    }
                    if let Some(begun) = begun {
                        writeln!(f, "         {begun}")?;
                    }
                    if let Some(problem) = problem {
                        writeln!(f, "         {problem}")?;
                    }
                }
                let pending = standings.iter().filter(|standing| standing.status == Status::Pending).count();
                write!(f, "{} applied, {pending} pending", standings.len() - pending)
            }
            Self::Accepted { accepted } => write!(f, "{accepted} is taken for what was applied"),
            Self::Baseline { baseline } => {
                let version = baseline.last().map(String::as_str).unwrap_or_default();
                write!(f, "the schema is that of {version}: {} migrations are in the history now", baseline.len())
            }
            Self::Plan(plan) => plan.fmt(f),
            Self::Lint(report) => report.fmt(f),
            Self::Generated(generated) => generated.fmt(f),
        }
    }
}
