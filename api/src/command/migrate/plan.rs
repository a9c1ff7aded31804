//! `migrate plan`: what migrating would run, and what that would do, without doing it.

use std::fmt;

use migration::MigrationTrait;
use sea_orm_migration::sea_orm::DbBackend;
use serde::Serialize;

use super::{
    Direction, MigrateError, UnknownSchema,
    lint::{Effects, Lock, Planned, Recording, Scratch, record},
};

/// The steps that would be taken, in their order.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// The steps; none if there is nothing to do.
    pub steps: Vec<PlannedStep>,
}

/// A migration that would be applied or rolled back.
#[derive(Debug, Serialize)]
pub struct PlannedStep {
    /// Its name.
    pub name: String,
    /// Which way.
    pub direction: Direction,
    /// Whether it is undone as a whole when a part of it fails.
    pub in_transaction: bool,
    /// What it would run.
    pub statements: Vec<Planned>,
    /// Why it would fail.
    pub failure: Option<String>,
    /// Why it cannot be rolled back, so that nothing would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub irreversible: Option<String>,
}

/// Plans to take the named ones of these migrations one way.
///
/// Their statements are those that they would run on an empty database: what a migration makes of the rows that it finds
/// is not foreseen. For SQLite they are run, in memory; for PostgreSQL they are only heard.
///
/// # Errors
/// If SQLite cannot be worked with in memory.
pub async fn plan(
    migrations: &[Box<dyn MigrationTrait>],
    names: &[String],
    direction: Direction,
    backend: DbBackend,
) -> Result<Plan, MigrateError> {
    let mut planner = Planner::new(backend).await?;
    let mut steps = Vec::new();
    // The schema that a step finds is made by those before it, also if they were applied long ago.
    let last = migrations.iter().rposition(|migration| names.iter().any(|name| name == migration.name()));
    for migration in migrations.iter().take(last.map_or(0, |last| last + 1)) {
        let step = planner.step(migration.as_ref(), Direction::Up).await;
        if direction == Direction::Up && names.contains(&step.name) {
            steps.push(step);
        }
    }
    for name in names.iter().filter(|_| direction == Direction::Down) {
        let Some(migration) = migrations.iter().find(|migration| migration.name() == name) else { continue };
        steps.push(planner.step(migration.as_ref(), direction).await);
    }
    Ok(Plan { steps })
}

/// Tells what migrations do, one after the other.
enum Planner {
    /// By the text of what they run.
    Postgres(Box<Effects>),
    /// By what they run in such a database.
    Sqlite(Scratch),
}

impl Planner {
    async fn new(backend: DbBackend) -> Result<Self, MigrateError> {
        Ok(match backend {
            DbBackend::Sqlite => Self::Sqlite(Scratch::open().await.map_err(UnknownSchema::Connect)?),
            _ => Self::Postgres(Box::default()),
        })
    }

    async fn step(&mut self, migration: &dyn MigrationTrait, direction: Direction) -> PlannedStep {
        let (recording, statements) = match self {
            Self::Postgres(effects) => {
                let recording = record(migration, direction, DbBackend::Postgres).await;
                effects.begin();
                let statements = recording.statements.iter().flat_map(|sql| effects.of(sql)).collect();
                (recording, statements)
            }
            Self::Sqlite(scratch) => {
                let recording = scratch.record(migration, direction).await;
                let statements = recording.statements.iter().map(|sql| on_sqlite(sql)).collect();
                (recording, statements)
            }
        };
        let Recording { in_transaction, failure, one_way, .. } = recording;
        let (failure, irreversible) = match one_way {
            Some(one_way) => (None, Some(one_way.reason)),
            None => (failure, None),
        };
        let name = migration.name().to_owned();
        PlannedStep { name, direction, in_transaction, statements, failure, irreversible }
    }
}

/// A statement of SQLite, which locks its whole file: only what it loses is told.
fn on_sqlite(sql: &str) -> Planned {
    // What triggers will do is not done now, and the text of a table holds no rows.
    let is_new = ["CREATE", "UPDATE sqlite_schema"].iter().any(|start| sql.trim_start().starts_with(start));
    let effects = if is_new { Vec::new() } else { Effects::default().of(sql) };
    Planned { loses: effects.into_iter().flat_map(|planned| planned.loses).collect(), ..Planned::plain(sql) }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PlannedStep { name, direction, in_transaction, statements, failure, irreversible } in &self.steps {
            if let Some(reason) = irreversible {
                writeln!(f, "-- {name} CANNOT BE ROLLED BACK: {reason}")?;
                continue;
            }
            let way = if *direction == Direction::Up { "apply" } else { "roll back" };
            let how = if *in_transaction { "in one transaction" } else { "without a transaction" };
            writeln!(f, "-- {way} {name}, {how}")?;
            for Planned { sql, locks, rewrites, loses } in statements {
                writeln!(f, "{};", sql.trim_end_matches(';'))?;
                for Lock { on, mode, keeps_out } in locks {
                    writeln!(
                        f,
                        "--   locks {on}: {mode}, {keeps_out} wait{}",
                        if keeps_out.ends_with('s') { "" } else { "s" }
                    )?;
                }
                for rewritten in rewrites {
                    writeln!(f, "--   rewrites {rewritten}")?;
                }
                for lost in loses {
                    writeln!(f, "--   LOSES {lost}")?;
                }
            }
            if let Some(failure) = failure {
                writeln!(f, "--   FAILS: {failure}")?;
            }
        }
        let count = |one: &str, count: usize| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
        if self.steps.is_empty() {
            return f.write_str("nothing to do");
        }
        let statements = self.steps.iter().map(|step| step.statements.len()).sum();
        let losing =
            self.steps.iter().flat_map(|step| &step.statements).filter(|planned| !planned.loses.is_empty()).count();
        if self.steps.iter().any(|step| step.irreversible.is_some()) {
            writeln!(f, "-- as one of them cannot be, `migrate down` would roll back none of them")?;
        }
        write!(
            f,
            "-- {}, {}, {losing} that lose data; nothing was run",
            count("migration", self.steps.len()),
            count("statement", statements)
        )
    }
}
