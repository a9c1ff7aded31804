//! The indexes that collections declare, as partial indexes of the one table.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement};

use super::narrow::Columns;
use crate::{
    document::{Collection, Direction, FieldPath, Index, IndexUse, Kind, WORDS, is_name},
    error::Result,
    fault,
    port::documents::{Deviation, Difference, DocumentsError, IndexActivity},
    session::Session,
    value::Timestamp,
};

/// How long a name may be: PostgreSQL cuts off what is longer.
const MAX_NAME: usize = 63;

/// An index as it is to be.
#[derive(Debug)]
pub(super) struct Wanted {
    /// As the collection calls it.
    pub(super) name: String,
    /// In the database.
    pub(super) full_name: String,
    /// What makes it.
    pub(super) statement: String,
}

/// The indexes that a collection needs here.
///
/// # Errors
/// [`DocumentsError::Unsupported`] if it declares what SQL cannot do.
pub(super) fn wanted(backend: DbBackend, collection: &Collection) -> Result<Vec<Wanted>, DocumentsError> {
    let unsupported = |what: String| DocumentsError::Unsupported(what.into());
    if !is_name(collection.name()) {
        return Err(unsupported(format!("{:?} as the name of a collection", collection.name())));
    }
    let mut wanted = Vec::new();
    for index in collection.indexes() {
        let full_name = format!("{}{}", prefix(collection), index.name);
        if !is_name(&full_name) || full_name.len() > MAX_NAME {
            return Err(unsupported(format!("{:?} as the name of an index of {}", index.name, collection.name())));
        }
        let Some((unique, on)) = parts(backend, collection, index)? else { continue };
        let statement = format!(
            "CREATE {unique}INDEX \"{full_name}\" ON documents {on} WHERE collection = '{}'",
            collection.name()
        );
        wanted.push(Wanted { name: index.name.clone().into_owned(), full_name, statement });
    }
    Ok(wanted)
}

fn prefix(collection: &Collection) -> String {
    format!("documents_{}_", collection.name())
}

/// Whether it is unique and what it is on; nothing if it would be of no use.
fn parts(
    backend: DbBackend,
    collection: &Collection,
    index: &Index,
) -> Result<Option<(&'static str, String)>, DocumentsError> {
    let columns = Columns { backend };
    let cannot = |why: &str| {
        DocumentsError::Unsupported(format!("the index {} of {}: {why}", index.name, collection.name()).into())
    };
    let find = |path: &str| collection.look_up(path).ok_or_else(|| cannot("there is no such field"));
    Ok(match &index.is {
        IndexUse::Fields { keys, is_unique } => {
            let mut parts = Vec::from_iter(also(backend));
            for key in keys {
                let (kind, through_list) = find(&key.field.path)?;
                match columns.scalar(&key.field).filter(|_| kind.is_scalar() && !through_list) {
                    Some(column) => parts.push(column + columns.direction(key.direction == Direction::Descending)),
                    None if *is_unique => return Err(cannot("what is in a list cannot be unique")),
                    // The items of a list are looked for by the evaluator.
                    None => return Ok(None),
                }
            }
            if *is_unique {
                Some(("UNIQUE ", format!("({})", parts.join(", "))))
            } else {
                // Equals are in the order of their ids.
                parts.push("id".to_owned());
                Some(("", format!("({})", parts.join(", "))))
            }
        }
        IndexUse::Text { .. } => match backend {
            DbBackend::Sqlite => None,
            _ => Some(("", format!("USING gin ((body -> '{WORDS}'))"))),
        },
        IndexUse::Geo { field } => match (find(&field.path)?, columns.latitude(field)) {
            ((Kind::Point, false), Some(latitude)) => Some(("", on(backend, latitude))),
            _ => return Err(cannot("it is on no point")),
        },
        // An index that begins with the same field does as well.
        IndexUse::Ttl { field, .. } if begins_one(collection, field) => None,
        IndexUse::Ttl { field, .. } => match (find(&field.path)?, columns.scalar(field)) {
            ((Kind::Time, false), Some(column)) => Some(("", on(backend, column))),
            _ => return Err(cannot("it is on no instant")),
        },
    })
}

fn begins_one(collection: &Collection, field: &FieldPath) -> bool {
    collection.indexes().iter().any(|index| match &index.is {
        IndexUse::Fields { keys, .. } => keys.first().is_some_and(|key| key.field.path == field.path),
        IndexUse::Text { .. } | IndexUse::Geo { .. } | IndexUse::Ttl { .. } => false,
    })
}

/// What an index begins with. SQLite takes the primary key for better where an index has not the collection in it.
fn also(backend: DbBackend) -> Option<String> {
    (backend == DbBackend::Sqlite).then(|| "collection".to_owned())
}

fn on(backend: DbBackend, column: String) -> String {
    format!("({})", also(backend).into_iter().chain([column]).collect::<Vec<_>>().join(", "))
}

/// What there is of a collection: each index by its full name, and what made it.
pub(super) async fn present<C: ConnectionTrait>(
    connection: &C,
    collection: &Collection,
) -> Result<BTreeMap<String, String>> {
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => {
            "SELECT name, sql AS made_by FROM sqlite_master WHERE type = 'index' AND tbl_name = 'documents' \
             AND substr(name, 1, length($1)) = $1"
        }
        // PostgreSQL writes a definition in its own words, so that ours is kept beside the index.
        _ => {
            "SELECT c.relname::text AS name, \
             CASE WHEN i.indisvalid THEN coalesce(obj_description(c.oid, 'pg_class'), '') ELSE '' END AS made_by \
             FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
             WHERE i.indrelid = 'documents'::regclass AND starts_with(c.relname::text, $1)"
        }
    };
    let statement = Statement::from_sql_and_values(backend, sql, [prefix(collection).into()]);
    let rows = connection.query_all_raw(statement).await.map_err(fault::unavailable)?;
    let read = |row: &QueryResult| Ok((row.try_get("", "name")?, row.try_get("", "made_by")?));
    rows.iter().map(read).collect::<Result<_, sea_orm::DbErr>>().map_err(fault::unavailable)
}

/// How often its indexes were used. SQLite does not count that.
pub(super) async fn activity<C: ConnectionTrait>(
    connection: &C,
    collection: &Collection,
) -> Result<Vec<IndexActivity>> {
    let backend = connection.get_database_backend();
    if backend == DbBackend::Sqlite {
        return Ok(Vec::new());
    }
    let sql = "SELECT indexrelname::text AS name, idx_scan AS uses, \
               (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()) AS since \
               FROM pg_stat_user_indexes WHERE relid = 'documents'::regclass AND starts_with(indexrelname::text, $1) \
               ORDER BY indexrelname";
    let prefix = prefix(collection);
    let statement = Statement::from_sql_and_values(backend, sql, [prefix.as_str().into()]);
    let read = |row: &QueryResult| {
        let (name, since): (String, Option<DateTime<FixedOffset>>) =
            (row.try_get("", "name")?, row.try_get("", "since")?);
        Ok(IndexActivity {
            collection: collection.name().to_owned(),
            index: name.strip_prefix(&prefix).unwrap_or(&name).to_owned(),
            uses: row.try_get::<i64>("", "uses")?.unsigned_abs(),
            since: since.map(Timestamp::from),
        })
    };
    let rows = connection.query_all_raw(statement).await.map_err(fault::unavailable)?;
    rows.iter().map(read).collect::<Result<_, sea_orm::DbErr>>().map_err(fault::unavailable)
}

/// Makes what is missing, and anew what is another.
pub(super) async fn make(session: &Session, collection: &Collection, wanted: &[Wanted]) -> Result<()> {
    let backend = session.get_database_backend();
    if backend == DbBackend::Postgres {
        // Two that start at the same time want the same.
        let lock = "SELECT pg_advisory_xact_lock(hashtext('seabed documents'))";
        session.execute_unprepared(lock).await.map_err(fault::unavailable)?;
    }
    let present = present(session, collection).await?;
    for Wanted { full_name, statement, .. } in wanted {
        match present.get(full_name) {
            Some(made_by) if made_by == statement => continue,
            Some(_) => {
                let drop = format!("DROP INDEX \"{full_name}\"");
                session.execute_unprepared(&drop).await.map_err(fault::unavailable)?;
            }
            None => {}
        }
        let mut script = statement.clone();
        if backend == DbBackend::Postgres {
            script += &format!("; COMMENT ON INDEX \"{full_name}\" IS '{}'", statement.replace('\'', "''"));
        }
        session.execute_unprepared(&script).await.map_err(fault::unavailable)?;
    }
    Ok(())
}

/// Where they differ.
pub(super) fn differences(
    collection: &Collection,
    wanted: &[Wanted],
    mut present: BTreeMap<String, String>,
) -> Vec<Difference> {
    let difference =
        |what: &str, how| Difference { collection: collection.name().to_owned(), what: what.to_owned(), how };
    let mut differences = Vec::new();
    for Wanted { name, full_name, statement } in wanted {
        match present.remove(full_name) {
            None => differences.push(difference(name, Deviation::Missing)),
            Some(made_by) if made_by != *statement => differences.push(difference(name, Deviation::Different)),
            Some(_) => {}
        }
    }
    let prefix = prefix(collection);
    let undeclared = present.keys().map(|name| name.strip_prefix(&prefix).unwrap_or(name));
    differences.extend(undeclared.map(|name| difference(name, Deviation::Undeclared)));
    differences
}
