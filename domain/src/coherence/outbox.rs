//! The outbox of the cache: in it the database itself tells, in the transaction of every change, what has changed.

use std::collections::{BTreeMap, HashSet};

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, TryGetable,
    sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr},
};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    fault,
    pool::Pool,
    port::{
        cache::Key,
        changes::{Announcement, RowChange},
    },
};

/// How many rows are read at once, and one more to know that there are more: then it is cheaper to forget everything. The
/// texts below say it in numbers.
const MANY: usize = 2_000;
/// The key that stands for all keys.
const EVERYTHING: &str = "*";

/// Which history PostgreSQL is in, as its log's files are called by it.
macro_rules! timeline {
    () => {
        "substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
    };
}

/// What transactions told that have committed.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Which history of the database they are in: another one after a failover, in which ids may have another meaning.
    pub(crate) timeline: String,
    /// The rows of the outbox that say it.
    pub(crate) ids: Vec<i64>,
    pub(crate) keys: HashSet<Key>,
    /// There is no saying what has changed.
    pub(crate) everything: bool,
    /// How many rows of each table.
    pub(crate) rows: BTreeMap<String, usize>,
    /// The newest version of each row that has versions, by table and id, and whether it is gone since.
    pub(crate) versions: BTreeMap<(String, Uuid), (i64, bool)>,
}

/// What a look into the outbox found.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) told: Told,
    /// Every row that was told before this one is in this batch or an earlier one.
    pub(crate) cursor: i64,
}

impl Told {
    /// Reads the column `keys` of a row.
    fn add(&mut self, id: i64, keys: &str) {
        let Ok(keys) = serde_json::from_str::<Vec<String>>(keys) else {
            tracing::error!(id, "a row of cache_outbox cannot be read; everything is taken for changed");
            self.everything = true;
            return;
        };
        for key in &keys {
            self.everything |= key == EVERYTHING;
            let mut words = key.as_str();
            if let [table, "id", id] = key.splitn(3, ':').collect::<Vec<_>>()[..] {
                *self.rows.entry(table.to_owned()).or_default() += 1;
                // Behind the mark is the version of the row.
                if let Some((id, version)) = id.split_once('#') {
                    words = &key[..key.len() - version.len() - 1];
                    self.add_version(table, id, version);
                }
            }
            self.keys.insert(Key::of(words));
        }
    }

    fn add_version(&mut self, table: &str, id: &str, version: &str) {
        let (number, is_gone) = version.strip_suffix('-').map_or((version, false), |number| (number, true));
        let (Ok(id), Ok(number)) = (Uuid::try_parse(id), number.parse()) else { return };
        let newest = self.versions.entry((table.to_owned(), id)).or_insert((number, is_gone));
        *newest = (*newest).max((number, is_gone));
    }

    /// What of it is news to who wants to know of changes, if anything is.
    pub(crate) fn announcement(&self) -> Option<Announcement> {
        let changes = self.versions.iter().map(|((table, id), (version, is_deleted))| RowChange {
            table: table.clone(),
            id: *id,
            version: *version,
            is_deleted: *is_deleted,
        });
        let is_news = self.everything || !self.versions.is_empty();
        is_news.then(|| Announcement {
            timeline: self.timeline.clone(),
            changes: changes.collect(),
            is_gap: self.everything,
        })
    }

    pub(crate) fn from_rows(rows: &[QueryResult], is_known: impl Fn(i64) -> bool) -> Result<Self> {
        let mut told = Self::default();
        for row in rows {
            told.timeline = read(row, "timeline")?;
            // Nothing was told, but there is a row with what else was asked for.
            let Some(id) = read::<Option<i64>>(row, "id")? else { continue };
            told.ids.push(id);
            if !is_known(id) {
                told.add(id, &read::<String>(row, "keys")?);
            }
        }
        told.everything |= told.ids.len() > MANY;
        Ok(told)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty() && !self.everything
    }
}

fn read<T: TryGetable>(row: &QueryResult, column: &str) -> Result<T> {
    row.try_get("", column).map_err(|error| Error::internal("cache_outbox could not be read", error))
}

/// Commits, and gives what the transaction told, in one round trip. On SQLite, where transactions come one after the
/// other, that is all that was told after the cursor.
pub(crate) fn commit(backend: DbBackend, cursor: i64) -> SqlStr {
    match backend {
        DbBackend::Sqlite => {
            let sql = format!(
                "SELECT 'sqlite' AS timeline, id, keys FROM cache_outbox WHERE id > {cursor} LIMIT 2001; COMMIT"
            );
            AssertSqlSafe(sql).into_sql_str()
        }
        // None is assigned to a transaction that wrote nothing, and none shall be because of this.
        _ => SqlStr::from_static(concat!(
            "SELECT ",
            timeline!(),
            " AS timeline, id, keys FROM cache_outbox WHERE tx = txid_current_if_assigned() LIMIT 2001; COMMIT",
        )),
    }
}

/// The tables whose changes are told.
pub(crate) async fn tables(pool: &Pool) -> Result<HashSet<String>> {
    // Insert, update and delete.
    let sql = match pool.backend() {
        DbBackend::Sqlite => {
            "SELECT tbl_name AS name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'cache\\_%' ESCAPE '\\' \
             GROUP BY tbl_name HAVING count(*) >= 3"
        }
        _ => {
            "SELECT c.relname::text AS name FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid \
             WHERE t.tgname LIKE 'cache\\_%' AND t.tgenabled IN ('O', 'A') AND pg_table_is_visible(c.oid) \
             GROUP BY c.relname HAVING count(*) >= 3"
        }
    };
    let rows = pool.query_all_raw(Statement::from_string(pool.backend(), sql)).await.map_err(fault::unavailable)?;
    rows.iter().map(|row| read(row, "name")).collect()
}

/// What was told since the cursor of an earlier batch, or at all if that is 0. Of rows that are known already only the
/// ids are read.
///
/// On PostgreSQL the cursor is a transaction: all before it had ended when that batch was read, so none of them can
/// appear later, as rows with lower ids can. On SQLite transactions come one after the other, and so do ids.
pub(crate) async fn read_after<C: ConnectionTrait>(
    connection: &C,
    cursor: i64,
    is_known: impl Fn(i64) -> bool,
) -> Result<Batch> {
    let backend = connection.get_database_backend();
    let sql = match backend {
        DbBackend::Sqlite => {
            "SELECT coalesce(now.horizon, 0) AS horizon, 'sqlite' AS timeline, told.id, told.keys \
             FROM (SELECT max(seq) AS horizon FROM sqlite_sequence WHERE name = 'cache_outbox') AS now \
             LEFT JOIN cache_outbox AS told ON told.id > $1 ORDER BY told.id LIMIT $2"
        }
        _ => {
            concat!(
                "SELECT now.horizon, now.timeline, told.id, told.keys ",
                "FROM (SELECT txid_snapshot_xmin(txid_current_snapshot()) AS horizon, ",
                timeline!(),
                " AS timeline) AS now LEFT JOIN cache_outbox AS told ON told.tx >= $1 ORDER BY told.id LIMIT $2",
            )
        }
    };
    let limit = i64::try_from(MANY + 1).unwrap_or(i64::MAX);
    let statement = Statement::from_sql_and_values(backend, sql, [cursor.into(), limit.into()]);
    let rows = connection.query_all_raw(statement).await.map_err(fault::unavailable)?;
    let nothing = || Error::internal("cache_outbox could not be read", DbErr::RecordNotFound("no row".to_owned()));
    let first = rows.first().ok_or_else(nothing)?;
    let horizon = read::<i64>(first, "horizon")?;
    let mut told = Told::from_rows(&rows, is_known)?;
    if backend == DbBackend::Sqlite && cursor > 0 {
        // A row that is missing was deleted before it was seen here.
        let expected = usize::try_from(horizon - cursor).unwrap_or(usize::MAX);
        told.everything |= told.ids.len() != expected;
    }
    Ok(Batch { told, cursor: horizon })
}

/// What of the outbox nobody needs any more.
#[derive(Debug)]
pub(crate) enum Applied {
    Rows(Vec<i64>),
    /// All of which [`read_after`] gave that cursor.
    Before(i64),
}

/// Deletes it, if the database still has the history that it was read from: in another, these may be other rows.
pub(crate) async fn delete<C: ConnectionTrait>(connection: &C, applied: &Applied, timeline: &str) -> Result<()> {
    let backend = connection.get_database_backend();
    let (present, order) = match backend {
        DbBackend::Sqlite => ("'sqlite'", "id <="),
        _ => (timeline!(), "tx <"),
    };
    let delete = async |which: String| {
        let sql = format!("DELETE FROM cache_outbox WHERE {which} AND {present} = $1");
        let statement = Statement::from_sql_and_values(backend, sql, [timeline.into()]);
        connection.execute_raw(statement).await.map(drop).map_err(fault::unavailable)
    };
    match applied {
        Applied::Rows(ids) => {
            for ids in ids.chunks(MANY) {
                delete(format!("id IN ({})", ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", "))).await?;
            }
            Ok(())
        }
        Applied::Before(cursor) => delete(format!("{order} {cursor}")).await,
    }
}
