//! What the verbs of `migrate` answer, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::Generated;

/// What a command did or found.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Output {
    /// The steps that were taken; none if there was nothing to do.
    Steps(Vec<Step>),
    /// All migrations, in their order.
    Status(Vec<Standing>),
    /// The files that were written.
    Generated(Generated),
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
    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Up => "applied",
            Self::Down => "rolled back",
        }
    }
}

/// Where a migration stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Whether it is applied.
    pub status: Status,
}

/// Whether a migration is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is.
    Applied,
    /// It is yet to be.
    Pending,
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
                for Standing { name, status } in standings {
                    let status = if *status == Status::Applied { "applied" } else { "pending" };
                    writeln!(f, "{status}  {name}")?;
                }
                let pending = standings.iter().filter(|standing| standing.status == Status::Pending).count();
                write!(f, "{} applied, {pending} pending", standings.len() - pending)
            }
            Self::Generated(generated) => generated.fmt(f),
        }
    }
}
