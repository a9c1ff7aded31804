//! Who was refused to migrate: said in the log of the process in any case, and kept in the database where its role may.

use std::{error::Error, fmt, time::Duration};

use sea_orm_migration::{
    DbErr,
    sea_orm::{self, FromQueryResult, Value},
};
use serde::Serialize;

use super::{Database, MigrateError, Options, connection::Place, standing::time, who::who};

const WRITE: &str = "INSERT INTO {refusals} (id, at, verb, reason, database_user, os_user, host, program) \
                     VALUES ($1, {now}, $2, $3, {user}, $4, $5, $6)";
const LATEST: &str =
    "SELECT at, verb, reason, database_user, os_user, host, program FROM {refusals} ORDER BY at DESC LIMIT 100";

/// How long writing it down may take: who is refused does not wait long for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// That somebody was refused to migrate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// When.
    pub at: String,
    /// What was to be done.
    pub verb: String,
    /// Why not.
    pub reason: String,
    /// The user of the database that wrote this down, where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_user: Option<String>,
    /// The user of the process.
    pub os_user: String,
    /// The machine.
    pub host: String,
    /// The program and its version.
    pub program: String,
}

#[derive(FromQueryResult)]
struct Row {
    at: i64,
    verb: String,
    reason: String,
    database_user: Option<String>,
    os_user: String,
    host: String,
    program: String,
}

impl From<Row> for Refusal {
    fn from(row: Row) -> Self {
        let Row { at, verb, reason, database_user, os_user, host, program } = row;
        Self { at: time(at), verb, reason, database_user, os_user, host, program }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, verb, reason, os_user, host, .. } = self;
        write!(f, "refused  {verb}  ({at}, {os_user}@{host}): {reason}")
    }
}

/// The latest, the newest first. A role that may not read them sees none.
pub async fn refusals(database: &Database) -> Result<Vec<Refusal>, MigrateError> {
    let read = async {
        let rows = database.tables().rows(database, "{refusals}", LATEST).await?;
        rows.iter().map(|row| Row::from_query_result(row, "").map(Refusal::from)).collect::<Result<_, DbErr>>()
    };
    match read.await {
        Err(error) if super::is_forbidden(&error) => Ok(Vec::new()),
        read => read.map_err(MigrateError::History),
    }
}

/// Writes down that somebody was refused. By the role that the service has: whoever is refused may have no other.
pub(super) async fn record(service: Place, options: &Options, verb: &'static str, error: &MigrateError) {
    let (reason, who) = (told(error), who());
    tracing::warn!(verb, reason, os_user = who.os_user, host = who.host, "migrating was refused");
    if service.is_missing() {
        return;
    }
    let options = Options { connect_timeout: options.connect_timeout.min(PATIENCE), ..options.clone() };
    let written = async {
        let database = service.open(&options).await?;
        let written = write(&database, verb, &reason).await.map_err(MigrateError::History);
        database.close().await;
        written
    };
    match tokio::time::timeout(PATIENCE, written).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the refusal is written down here only"),
        Err(_) => tracing::warn!("the refusal is written down here only: the database did not answer in time"),
    }
}

/// What is wrong, with its first cause: the server's own words, which name no password.
fn told(error: &MigrateError) -> String {
    let first = std::iter::successors(error.source(), |error| (*error).source()).last();
    match first.map(ToString::to_string) {
        Some(cause) if !error.to_string().contains(&cause) => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

async fn write(database: &Database, verb: &str, reason: &str) -> Result<(), DbErr> {
    let who = who();
    let values: [Value; 6] = [
        format!("{:032x}", rand::random::<u128>()).into(),
        verb.into(),
        reason.into(),
        who.os_user.as_str().into(),
        who.host.as_str().into(),
        who.program.into(),
    ];
    database.tables().install_refusals(database).await?;
    database.tables().execute(&**database, WRITE, values).await.map(drop)
}
