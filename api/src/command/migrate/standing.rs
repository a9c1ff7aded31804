//! Where every migration stands, and what speaks against going on from there.

use std::{collections::HashMap, fmt};

use migration::{MigrationTrait, is_in_transaction};
use sea_orm_migration::{
    DbErr,
    sea_orm::{DatabaseConnection, DbBackend, QueryResult, prelude::ChronoDateTimeUtc},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{
    Database, Direction, MigrateError,
    checksum::checksum,
    fault,
    lock::{self, Holder},
    log::{self, Action, Entry},
};

/// Where a migration stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Whether it is applied.
    pub status: Status,
    /// What keeps from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// How it came to be applied, if that was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// That it is under way, or was when its migrator ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<Begun>,
    /// Why it says that it cannot be rolled back; told by the verb `status` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub irreversible: Option<String>,
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

/// What keeps migrations from being applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It was edited after it was applied.
    Edited {
        /// What it is in.
        file: String,
    },
    /// It is applied, and this program does not have it.
    Missing,
    /// It is to come before one that is applied.
    OutOfOrder {
        /// The last that is applied.
        after: String,
    },
    /// It has the version of another one.
    Duplicate {
        /// That one.
        other: String,
    },
}

/// How a migration came to be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// When that began.
    pub started_at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The user of the database, where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_user: Option<String>,
    /// The user of the process.
    pub os_user: String,
    /// The machine.
    pub host: String,
    /// The program and its version.
    pub program: String,
    /// The checksum of what it was written as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Whether it came to be applied otherwise, and that was only recorded later, as it was then.
    pub is_adopted: bool,
}

/// A migration that has not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Begun {
    /// Which way.
    pub direction: Direction,
    /// Whether its migrator goes on; it was interrupted otherwise.
    pub is_running: bool,
    /// Whether parts of it may be done: it has no transaction that would undo them.
    pub is_partial: bool,
    /// When it began.
    pub started_at: String,
    /// The user of the process.
    pub os_user: String,
    /// The machine.
    pub host: String,
    /// How far it has come, if it changes rows in batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
}

/// How many rows a migration has been through that changes them in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// Those that it will not look at again.
    pub done: i64,
    /// How many there were when it began, as far as the database could tell at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<i64>,
}

impl Problem {
    fn kind(&self) -> &'static str {
        match self {
            Self::Edited { .. } => "edited",
            Self::Missing => "missing",
            Self::OutOfOrder { .. } => "out_of_order",
            Self::Duplicate { .. } => "duplicate",
        }
    }
}

/// What is wrong, and what to do next.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edited { file } => write!(
                f,
                "was edited after it was applied: restore {file} and put the change into a new migration, or run \
                 `migrate accept` with its name if it still does the same"
            ),
            Self::Missing => f.write_str(
                "is applied, and this program does not have it: restore its file, or run the program that has it",
            ),
            Self::OutOfOrder { after } => write!(
                f,
                "is to come before {after}, which is applied: give it a later version, or roll back to before it with \
                 `migrate to`"
            ),
            Self::Duplicate { other } => write!(f, "has the version of {other}: give it a later one"),
        }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shape = serializer.serialize_struct("Problem", 2)?;
        shape.serialize_field("kind", self.kind())?;
        shape.serialize_field("message", &self.to_string())?;
        shape.end()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { started_at, duration_ms, os_user, host, program, .. } = self;
        match self.is_adopted {
            true => write!(f, "by another program, recorded {started_at}"),
            false => write!(f, "{started_at}, {duration_ms} ms, {os_user}@{host}, {program}"),
        }
    }
}

impl fmt::Display for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { direction, is_running, is_partial, started_at, os_user, host, rows } = self;
        let way = direction.word();
        write!(f, "{way} by {os_user}@{host} since {started_at}: ")?;
        match rows {
            Some(rows) if *is_running => return write!(f, "running, {rows} done"),
            Some(rows) => return write!(f, "interrupted after {rows}; running it again goes on from there"),
            None => {}
        }
        f.write_str(match (is_running, is_partial) {
            (true, _) => "running",
            (false, false) => "interrupted, and nothing of it is left; run it again",
            (false, true) => {
                "interrupted, and parts of it may be done; running it again goes through it from its start"
            }
        })
    }
}

/// `12,000 of about 50,000 rows`.
impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grouped = |count: i64| {
            let digits = count.to_string();
            let groups = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned());
            groups.collect::<Vec<_>>().join(",")
        };
        match self.about {
            Some(about) => write!(f, "{} of about {} rows", grouped(self.done), grouped(about.max(self.done))),
            None => write!(f, "{} rows", grouped(self.done)),
        }
    }
}

/// How far migrations have come that change rows in batches, by their names and ways.
async fn all_rows(
    database: &Database,
    connection: &DatabaseConnection,
) -> Result<HashMap<(String, String), Rows>, DbErr> {
    const ALL: &str = "SELECT migration, action, rows_done, rows_about FROM {backfills}";
    let rows = database.tables().rows(connection, "{backfills}", ALL).await?;
    let read = |row: &QueryResult| {
        let rows = Rows { done: row.try_get("", "rows_done")?, about: row.try_get("", "rows_about")? };
        Ok(((row.try_get("", "migration")?, row.try_get("", "action")?), rows))
    };
    rows.iter().map(read).collect()
}

/// How far a migration has come that changes rows in batches; asked beside what it does.
pub(super) async fn rows_of(database: &Database, name: &str, direction: Direction) -> Option<Rows> {
    let mut rows = all_rows(database, database.beside()).await.ok()?;
    rows.remove(&(name.to_owned(), direction.word().to_owned()))
}

/// Lists all migrations, and where each stands; writes nothing, so that a role without rights to may ask.
///
/// # Errors
///
/// If that cannot be read. What is wrong with a migration is no error here.
pub async fn status(database: &Database) -> Result<Vec<Standing>, MigrateError> {
    loop {
        match read(database).await {
            // Others are writing the file.
            Err(error) if fault::is_contended(&error) => database.go_on()?,
            outcome => return outcome.map_err(MigrateError::History),
        }
    }
}

async fn read(database: &Database) -> Result<Vec<Standing>, DbErr> {
    let holder = lock::holder(database).await?;
    let (history, log) = log::read(database).await?;
    let rows = all_rows(database, database).await?;
    let applied: HashMap<&str, i64> = history.iter().map(|(version, at)| (version.as_str(), *at)).collect();
    let last: HashMap<&str, &Entry> = log.iter().map(|entry| (entry.version.as_str(), entry)).collect();
    let migrations = database.migrations();
    let names: Vec<&str> = migrations.iter().map(|migration| migration.name()).collect();
    let last_applied = names.iter().rposition(|name| applied.contains_key(name));

    let mut standings = Vec::with_capacity(names.len());
    for (at, migration) in migrations.iter().enumerate() {
        let name = migration.name();
        let entry = last.get(name).copied();
        let applied_at = applied.get(name).copied();
        // What was done before another program did something else tells nothing.
        let record = entry.filter(|entry| entry.applied_at == applied_at && applied_at.is_some()).filter(is_applied);
        let source = (database.options().program.source)(name, database.get_database_backend());
        let is_other = |record: &Entry| record.checksum != source.as_ref().map(checksum) && record.checksum.is_some();
        let twin = names[..at].iter().find(|other| version(other) == version(name));
        let problem = match (twin, record, last_applied) {
            (Some(other), _, _) => Some(Problem::Duplicate { other: (*other).to_owned() }),
            (_, Some(record), _) if is_other(record) => {
                let file = source.map_or_else(|| "its file".to_owned(), |source| source.file);
                Some(Problem::Edited { file })
            }
            (_, _, Some(last)) if applied_at.is_none() && at < last => {
                Some(Problem::OutOfOrder { after: names[last].to_owned() })
            }
            _ => None,
        };
        let begun = begun(&**migration, applied_at.is_some(), holder.as_ref(), entry, database.get_database_backend());
        standings.push(Standing {
            name: name.to_owned(),
            status: if applied_at.is_some() { Status::Applied } else { Status::Pending },
            problem,
            record: record.map(recorded),
            begun: begun.map(|begun| {
                let key = (name.to_owned(), begun.direction.word().to_owned());
                Begun { rows: rows.get(&key).copied(), ..begun }
            }),
            irreversible: None,
        });
    }
    for (name, _) in history.iter().filter(|(name, _)| !names.contains(&name.as_str())) {
        let record = last.get(name.as_str()).map(|entry| recorded(entry));
        let problem = Some(Problem::Missing);
        let (name, status) = (name.clone(), Status::Applied);
        standings.push(Standing { name, status, problem, record, begun: None, irreversible: None });
    }
    Ok(standings)
}

fn is_applied(entry: &&Entry) -> bool {
    entry.is_done && ![Direction::Down.word(), Action::Forget.word()].contains(&entry.action.as_str())
}

fn recorded(entry: &Entry) -> Record {
    Record {
        started_at: time(entry.started_at),
        duration_ms: entry.duration_ms,
        database_user: entry.database_user.clone(),
        os_user: entry.os_user.clone(),
        host: entry.host.clone(),
        program: entry.program.clone(),
        checksum: entry.checksum.clone(),
        is_adopted: [Action::Adopt, Action::Baseline].iter().any(|action| entry.action == action.word()),
    }
}

/// Whether it has begun and not come to its end, as the lock has it, and the log of what has no transaction.
fn begun(
    migration: &dyn MigrationTrait,
    is_applied: bool,
    holder: Option<&Holder>,
    entry: Option<&Entry>,
    backend: DbBackend,
) -> Option<Begun> {
    let holder = holder.filter(|holder| holder.migration.as_deref() == Some(migration.name()));
    let direction = |word: &str| if word == Direction::Down.word() { Direction::Down } else { Direction::Up };
    let is_open = |direction| is_applied == (direction == Direction::Down);
    if let Some(holder) = holder {
        let direction = direction(holder.action.as_deref().unwrap_or_default());
        return is_open(direction).then(|| Begun {
            direction,
            is_running: holder.is_held,
            is_partial: !is_in_transaction(migration, backend),
            started_at: time(holder.since),
            os_user: holder.os_user.clone(),
            host: holder.host.clone(),
            rows: None,
        });
    }
    let entry = entry.filter(|entry| !entry.is_done)?;
    let direction = direction(&entry.action);
    is_open(direction).then(|| Begun {
        direction,
        is_running: false,
        is_partial: true,
        started_at: time(entry.started_at),
        os_user: entry.os_user.clone(),
        host: entry.host.clone(),
        rows: None,
    })
}

/// An instant as it is shown.
pub(super) fn time(milliseconds: i64) -> String {
    let time = ChronoDateTimeUtc::from_timestamp_millis(milliseconds).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The version in a name: its digits, or all of it if it has none.
fn version(name: &str) -> &str {
    let digits = name.strip_prefix('m').unwrap_or(name);
    let end = digits.find(|letter: char| !letter.is_ascii_digit() && letter != '_').unwrap_or(digits.len());
    match digits[..end].trim_end_matches('_') {
        "" => name,
        version => version,
    }
}
