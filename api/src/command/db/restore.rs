//! `db restore`: a dump into an empty database, all of it or nothing.

use std::{collections::BTreeMap, fmt, path::Path};

use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use serde::Serialize;

use super::{DbError, dump::Dump, postgres, sqlite};
use crate::{
    command::migrate::{self, Database, Drift},
    schema::Schema,
};

/// What was restored.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// The name of the database.
    pub database: String,
    /// How many rows each table has.
    pub rows: BTreeMap<String, u64>,
    /// What the history in it says of the schema.
    pub schema: Compared,
}

/// How a restored schema compares with what its history says.
#[derive(Debug, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Compared {
    /// It has no history of this program.
    WithoutHistory,
    /// It is as it should be, or not.
    Compared(Drift),
    /// It cannot be told.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Restores a dump into a database, if there is nothing in it.
///
/// # Errors
/// If there is something in it, or the dump cannot be read or is refused: then the database is as it was.
pub async fn restore(database_url: &str, options: &migrate::Options, dump: &Path) -> Result<Restored, DbError> {
    let dump = Dump::read(dump)?;
    let name = migrate::name_of(database_url)?;
    match migrate::file_of(database_url)? {
        Some(file) => sqlite::restore(&file, &name, &dump).await?,
        None => {
            let database = migrate::connect(database_url, options).await?;
            let restored = postgres::restore(&database, database_url, &name, &dump).await;
            database.close().await;
            restored?;
        }
    }
    let database = migrate::connect(database_url, options).await?;
    let told = tell(&database).await;
    database.close().await;
    let (rows, schema) = told?;
    Ok(Restored { database: name, rows, schema })
}

async fn tell(database: &Database) -> Result<(BTreeMap<String, u64>, Compared), DbError> {
    let schema = Schema::read(&**database).await.map_err(DbError::Read)?;
    let mut rows = BTreeMap::new();
    for table in schema.tables.keys() {
        rows.insert(table.clone(), count(database, table).await?);
    }
    // A history that this program does not have is nothing against the dump.
    let compared = match migrate::drift(database).await {
        Ok(Some(drift)) => Compared::Compared(drift),
        Ok(None) => Compared::WithoutHistory,
        Err(error) => Compared::Unknown { reason: error.to_string() },
    };
    Ok((rows, compared))
}

async fn count(database: &DatabaseConnection, table: &str) -> Result<u64, DbError> {
    let sql = format!("SELECT CAST(count(*) AS bigint) FROM \"{}\"", table.replace('"', "\"\""));
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let row = database.query_one_raw(statement).await.map_err(DbError::Read)?;
    let count: Option<i64> = row.map(|row| row.try_get_by_index(0)).transpose().map_err(DbError::Read)?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
}

/// The first things in a database that are none of the server's own.
pub(super) async fn contents(database: &DatabaseConnection) -> Result<Vec<String>, DbError> {
    const POSTGRES: &str = "
        SELECT what FROM (
            SELECT format('%s.%s', c.relnamespace::regnamespace, c.relname) AS what, c.oid, 'pg_class'::regclass AS catalog,
                   c.relnamespace AS place FROM pg_class c WHERE c.relkind NOT IN ('i', 'I', 't')
            UNION ALL SELECT p.oid::regprocedure::text, p.oid, 'pg_proc'::regclass, p.pronamespace FROM pg_proc p
            UNION ALL SELECT t.oid::regtype::text, t.oid, 'pg_type'::regclass, t.typnamespace FROM pg_type t
                      WHERE t.typtype IN ('e', 'd')
        ) things
        WHERE place IN (SELECT oid FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = catalog AND d.objid = things.oid AND d.deptype = 'e')
        ORDER BY what LIMIT 3";
    const SQLITE: &str = "SELECT name AS what FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT 3";
    let backend = database.get_database_backend();
    let sql = if backend == DbBackend::Sqlite { SQLITE } else { POSTGRES };
    let rows = database.query_all_raw(Statement::from_string(backend, sql)).await.map_err(DbError::Read)?;
    rows.iter().map(|row| row.try_get("", "what").map_err(DbError::Read)).collect()
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, rows, schema } = self;
        for (table, rows) in rows {
            writeln!(f, "{table}: {rows} rows")?;
        }
        let total: u64 = rows.values().sum();
        writeln!(f, "{database} has {} tables with {total} rows now", rows.len())?;
        match schema {
            Compared::WithoutHistory => f.write_str(
                "it has no history of migrations: `seabed migrate baseline VERSION` gives it one, if its schema is ours",
            ),
            Compared::Compared(Drift { version, differences }) if differences.is_empty() => {
                write!(f, "its schema is as {version} left it")
            }
            Compared::Compared(Drift { version, differences }) => {
                write!(f, "its schema is not as {version} left it:")?;
                differences.iter().try_for_each(|difference| write!(f, "\n{difference}"))
            }
            Compared::Unknown { reason } => write!(f, "its schema was not compared with its history: {reason}"),
        }
    }
}
