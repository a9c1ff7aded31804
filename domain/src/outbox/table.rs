//! What is said to the tables `outbox` and `audit_head`.

use std::{collections::BTreeMap, time::Duration};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement};
use uuid::Uuid;

use super::{
    incident::Noted,
    row::{COLUMNS, LOGS, Row, seal},
    status::{Backlog, DeadLetter},
};
use crate::{
    audit::{Head, Seal},
    document::time_text,
    error::{Error, Result},
    fault,
};

/// How many rows a statement names.
const MANY: usize = 500;

fn read<T>(result: Result<T, DbErr>) -> Result<T> {
    result.map_err(|error| Error::internal("the outbox could not be read", error))
}

async fn query<C: ConnectionTrait>(
    connection: &C,
    sql: impl Into<String>,
    values: impl IntoIterator<Item = sea_orm::Value>,
) -> Result<Vec<QueryResult>> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
    connection.query_all_raw(statement).await.map_err(fault::unavailable)
}

/// The present instant of the database, and one in so many milliseconds.
fn clock(backend: DbBackend, later: Duration) -> (&'static str, String) {
    let seconds = later.as_secs_f64();
    match backend {
        DbBackend::Sqlite => (
            "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')",
            format!("strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '+{seconds} seconds')"),
        ),
        _ => ("clock_timestamp()", format!("clock_timestamp() + interval '{seconds} seconds'")),
    }
}

/// Whether anything waits.
pub(super) async fn is_empty<C: ConnectionTrait>(connection: &C) -> Result<bool> {
    Ok(query(connection, "SELECT 1 FROM outbox WHERE dead_at IS NULL LIMIT 1", []).await?.is_empty())
}

/// Takes the lease, or keeps it; how far the audit trail goes, which nobody else can now carry on. None if another relay
/// is at work.
pub(super) async fn take_lease<C: ConnectionTrait>(
    connection: &C,
    name: &str,
    lease: Duration,
) -> Result<Option<Head>> {
    let (now, until) = clock(connection.get_database_backend(), lease);
    let sql = format!(
        "UPDATE audit_head SET relay = $1, relay_until = {until} \
         WHERE relay IS NULL OR relay = $1 OR relay_until < {now} RETURNING sequence, hash"
    );
    query(connection, sql, [name.into()]).await?.first().map(head).transpose()
}

/// Leaves the work to others.
pub(super) async fn end_lease<C: ConnectionTrait>(connection: &C, name: &str) -> Result<()> {
    query(connection, "UPDATE audit_head SET relay = NULL WHERE relay = $1", [name.into()]).await.map(drop)
}

fn head(row: &QueryResult) -> Result<Head> {
    read((|| Ok(Head { sequence: row.try_get("", "sequence")?, hash: row.try_get("", "hash")? }))())
}

/// How far the audit trail goes.
pub(crate) async fn audit_head<C: ConnectionTrait>(connection: &C) -> Result<Head> {
    let rows = query(connection, "SELECT sequence, hash FROM audit_head", []).await?;
    let gone = || Error::internal("audit_head is empty", DbErr::RecordNotFound("its row".to_owned()));
    rows.first().ok_or_else(gone).and_then(head)
}

/// The entries of the audit trail that are not delivered, or were not when this was read.
pub(crate) async fn outstanding<C: ConnectionTrait>(connection: &C) -> Result<BTreeMap<i64, Seal>> {
    let sql = "SELECT sequence, previous, hash FROM outbox WHERE sequence IS NOT NULL";
    let rows = query(connection, sql, []).await?;
    let seals = rows.iter().filter_map(|row| read(seal(row)).transpose());
    seals.map(|seal| seal.map(|seal| (seal.sequence, seal))).collect()
}

/// The first rows that wait, in the order in which they were written. There is no cursor: what commits late has a lower
/// number than what was there before.
pub(super) async fn first<C: ConnectionTrait>(connection: &C, limit: u64) -> Result<Vec<Row>> {
    let sql = format!("SELECT {COLUMNS} FROM outbox WHERE dead_at IS NULL ORDER BY number LIMIT {limit}");
    let rows = query(connection, sql, []).await?;
    rows.iter().map(|row| read(Row::read(row))).collect()
}

/// Writes down the places that rows have got in the audit trail, and where it ends now.
pub(super) async fn seal_all<C: ConnectionTrait>(connection: &C, rows: &[&Row], head: &Head) -> Result<()> {
    for rows in rows.chunks(MANY) {
        let values = rows.iter().filter_map(|Row { number, seal, .. }| {
            let Seal { sequence, previous, hash } = seal.as_ref()?;
            Some(format!("({number}, {sequence}, '{previous}', '{hash}')"))
        });
        let values = values.collect::<Vec<_>>().join(", ");
        let sql = format!(
            "WITH sealed (number, sequence, previous, hash) AS (VALUES {values}) \
             UPDATE outbox SET sequence = sealed.sequence, previous = sealed.previous, hash = sealed.hash \
             FROM sealed WHERE outbox.number = sealed.number"
        );
        // Not prepared: it is said once.
        connection.execute_unprepared(&sql).await.map_err(fault::unavailable)?;
    }
    let Head { sequence, hash } = head;
    let sql = "UPDATE audit_head SET sequence = $1, hash = $2";
    query(connection, sql, [(*sequence).into(), hash.clone().into()]).await.map(drop)
}

/// Takes away what was delivered. By number and id: after a backup was restored, another row may have the number.
pub(super) async fn remove<C: ConnectionTrait>(connection: &C, delivered: &[&Row]) -> Result<()> {
    for rows in delivered.chunks(MANY) {
        let numbers = rows.iter().map(|row| row.number.to_string()).collect::<Vec<_>>().join(", ");
        let ids = rows.iter().map(|row| constant(connection.get_database_backend(), row.id));
        let ids = ids.collect::<Vec<_>>().join(", ");
        let sql = format!("DELETE FROM outbox WHERE number IN ({numbers}) AND id IN ({ids})");
        connection.execute_unprepared(&sql).await.map_err(fault::unavailable)?;
    }
    Ok(())
}

fn constant(backend: DbBackend, id: Uuid) -> String {
    match backend {
        DbBackend::Sqlite => format!("x'{}'", id.simple()),
        _ => format!("'{id}'"),
    }
}

/// Writes down that a row was refused, and whether it is given up.
pub(super) async fn refuse<C: ConnectionTrait>(connection: &C, row: &Row, reason: &str, is_dead: bool) -> Result<()> {
    let (now, _) = clock(connection.get_database_backend(), Duration::ZERO);
    let dead_at = if is_dead { now } else { "NULL" };
    let sql = format!(
        "UPDATE outbox SET attempts = attempts + 1, reason = $1, dead_at = {dead_at} WHERE number = $2 AND id = $3"
    );
    query(connection, sql, [reason.into(), row.number.into(), row.id.into()]).await.map(drop)
}

/// Writes incidents down as rows of the log.
pub(super) async fn insert<C: ConnectionTrait>(connection: &C, incidents: &[Noted]) -> Result<()> {
    for noted in incidents {
        let body = serde_json::Value::Object(noted.document()?).to_string();
        let at = match connection.get_database_backend() {
            DbBackend::Sqlite => "$4",
            _ => "$4::timestamptz",
        };
        let sql = format!("INSERT INTO outbox (id, collection, entity, body, at) VALUES ($1, '{LOGS}', $2, $3, {at})");
        let entity = format!("incidents:{}", noted.id);
        query(connection, sql, [noted.id.into(), entity.into(), body.into(), time_text(noted.at).into()]).await?;
    }
    Ok(())
}

/// What waits, counted up to a bound.
pub(super) async fn backlog<C: ConnectionTrait>(connection: &C, most: u64) -> Result<Backlog> {
    let most = most.min(i64::MAX as u64);
    let sql = format!(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox WHERE dead_at IS NULL LIMIT {most}) AS waiting) AS waiting, \
         (SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL) AS dead, \
         (SELECT at FROM outbox WHERE dead_at IS NULL ORDER BY number LIMIT 1) AS oldest"
    );
    let rows = query(connection, sql, []).await?;
    let Some(row) = rows.first() else { return Ok(Backlog::default()) };
    read((|| {
        let oldest = row.try_get::<Option<chrono::DateTime<chrono::FixedOffset>>>("", "oldest")?;
        Ok(Backlog {
            rows: u64::try_from(row.try_get::<i64>("", "waiting")?).unwrap_or(0),
            oldest: oldest.map(Into::into),
            dead: u64::try_from(row.try_get::<i64>("", "dead")?).unwrap_or(0),
        })
    })())
}

/// What was given up, the oldest first.
pub(super) async fn dead<C: ConnectionTrait>(connection: &C, limit: u64) -> Result<Vec<DeadLetter>> {
    let sql = format!(
        "SELECT id, collection, entity, coalesce(reason, '') AS reason, dead_at FROM outbox \
         WHERE dead_at IS NOT NULL ORDER BY number LIMIT {limit}"
    );
    let letter = |row: &QueryResult| {
        Ok(DeadLetter {
            id: row.try_get("", "id")?,
            collection: row.try_get("", "collection")?,
            entity: row.try_get("", "entity")?,
            reason: row.try_get("", "reason")?,
            dead_at: row.try_get::<chrono::DateTime<chrono::FixedOffset>>("", "dead_at")?.into(),
        })
    };
    query(connection, sql, []).await?.iter().map(|row| read(letter(row))).collect()
}

/// Lets what was given up be offered again; how many there were.
pub(super) async fn retry<C: ConnectionTrait>(connection: &C, id: Option<Uuid>) -> Result<u64> {
    let set = "UPDATE outbox SET attempts = 0, reason = NULL, dead_at = NULL WHERE dead_at IS NOT NULL";
    change_dead(connection, set, id).await
}

/// Drops what was given up, but for what belongs to the audit trail; how many there were.
pub(super) async fn drop_dead<C: ConnectionTrait>(connection: &C, id: Option<Uuid>) -> Result<u64> {
    change_dead(connection, "DELETE FROM outbox WHERE dead_at IS NOT NULL AND sequence IS NULL", id).await
}

async fn change_dead<C: ConnectionTrait>(connection: &C, sql: &str, id: Option<Uuid>) -> Result<u64> {
    let one = if id.is_some() { " AND id = $1" } else { "" };
    let values = id.map(Into::into);
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), format!("{sql}{one}"), values);
    connection.execute_raw(statement).await.map(|done| done.rows_affected()).map_err(fault::unavailable)
}
