//! What was done, and by whom: a row for every migration that was applied or rolled back, and that is under way where it
//! has no transaction that would undo it.

use sea_orm_migration::{
    DbErr,
    sea_orm::{self, ConnectionTrait, FromQueryResult, Value},
};

use super::{Database, Direction, tables::Tables, who::who};

const ALL: &str = "SELECT version, action, is_done, checksum, applied_at, started_at, duration_ms, database_user, os_user, \
                   host, program FROM {log} ORDER BY id";
// Numbered by who holds the lock, and so by one at a time.
const WRITE: &str = "
    INSERT INTO {log} (id, version, action, is_done, checksum, applied_at, started_at, duration_ms, database_user,
                       os_user, host, program)
    VALUES ((SELECT coalesce(max(id), 0) + 1 FROM {log}), $1, $2, $3, $4,
            (SELECT applied_at FROM {history} WHERE version = $1), {now} - $5, $5, {user}, $6, $7, $8)";
const BE_APPLIED: &str = "INSERT INTO {history} (version, applied_at) VALUES ($1, {now} / 1000)";
const BE_ROLLED_BACK: &str = "DELETE FROM {history} WHERE version = $1";
const HISTORY: &str = "SELECT version, applied_at FROM {history} ORDER BY version";

/// What was last done about a migration.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub(super) struct Entry {
    pub(super) version: String,
    pub(super) action: String,
    pub(super) is_done: bool,
    pub(super) checksum: Option<String>,
    pub(super) applied_at: Option<i64>,
    pub(super) started_at: i64,
    pub(super) duration_ms: i64,
    pub(super) database_user: Option<String>,
    pub(super) os_user: String,
    pub(super) host: String,
    pub(super) program: String,
}

/// What is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// A migration is applied or rolled back.
    Step(Direction),
    /// Another program had applied it.
    Adopt,
    /// What it is now was said to be what it was.
    Accept,
    /// It was taken out of the history, and what it had done stays.
    Forget,
    /// The schema was what it makes, however that came to be.
    Baseline,
}

impl Action {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Step(direction) => direction.word(),
            Self::Adopt => "adopt",
            Self::Accept => "accept",
            Self::Forget => "forget",
            Self::Baseline => "baseline",
        }
    }
}

/// The applied migrations, each with the second at which it was, and everything that was done.
pub(super) async fn read(database: &Database) -> Result<(Vec<(String, i64)>, Vec<Entry>), DbErr> {
    let tables = database.tables();
    // The history first: what it lists is in the log then, if it was us.
    let history = tables.rows(database, "{history}", HISTORY).await?;
    let history = history.iter().map(|row| Ok((row.try_get("", "version")?, row.try_get("", "applied_at")?)));
    let history = history.collect::<Result<_, DbErr>>()?;
    let log = tables.rows(database, "{log}", ALL).await?;
    let log = log.iter().map(|row| Entry::from_query_result(row, "")).collect::<Result<_, DbErr>>()?;
    Ok((history, log))
}

/// Enters what is done, or under way.
pub(super) async fn write(
    tables: &Tables,
    connection: &impl ConnectionTrait,
    version: &str,
    (action, is_done): (Action, bool),
    checksum: Option<String>,
    duration_ms: u64,
) -> Result<(), DbErr> {
    let who = who();
    let values: [Value; 8] = [
        version.into(),
        action.word().into(),
        is_done.into(),
        checksum.into(),
        i64::try_from(duration_ms).unwrap_or(i64::MAX).into(),
        who.os_user.as_str().into(),
        who.host.as_str().into(),
        who.program.into(),
    ];
    tables.execute(connection, WRITE, values).await.map(|_| ())
}

/// Puts a migration into the history, or takes it out.
pub(super) async fn write_history(
    tables: &Tables,
    connection: &impl ConnectionTrait,
    version: &str,
    direction: Direction,
) -> Result<(), DbErr> {
    let sql = match direction {
        Direction::Up => BE_APPLIED,
        Direction::Down => BE_ROLLED_BACK,
    };
    tables.execute(connection, sql, [version.into()]).await.map(|_| ())
}
