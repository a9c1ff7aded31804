//! Drops everything in a database.
//!
//! SeaORM's own `fresh` drops tables and types: it leaves functions and sequences, and fails on a view.

use sea_orm_migration::{
    DbErr,
    sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait},
};

/// Writes the statements that empty the current schema, but for what belongs to extensions. Sequences come after the
/// tables, because one that belongs to a column can only go with it.
const DROPS_POSTGRES: &str = "
WITH mine AS (SELECT current_schema()::regnamespace::oid AS oid),
     foreigners AS (SELECT objid FROM pg_depend WHERE deptype = 'e')
SELECT statement FROM (
    SELECT (c.relkind = 'S')::integer AS turn, c.oid, format('DROP %s IF EXISTS %s CASCADE', CASE c.relkind
               WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
               WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, c.oid::regclass) AS statement
    FROM pg_class c, mine WHERE c.relnamespace = mine.oid AND c.relkind IN ('v', 'm', 'S', 'f', 'r', 'p')
    UNION ALL
    SELECT 2, p.oid, format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure)
    FROM pg_proc p, mine WHERE p.pronamespace = mine.oid
    UNION ALL
    SELECT 3, t.oid, format('DROP TYPE IF EXISTS %s CASCADE', t.oid::regtype)
    FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid, mine
    WHERE t.typnamespace = mine.oid AND (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c')
) drops
WHERE oid NOT IN (SELECT objid FROM foreigners)
  AND oid NOT IN (SELECT oid FROM pg_class WHERE relname IN ($1, $2, $3) AND relnamespace = (SELECT oid FROM mine))
ORDER BY turn, oid";

/// The same for SQLite: views before the tables they read, virtual tables before those that they are stored in.
const DROPS_SQLITE: &str = "
SELECT 'DROP ' || type || ' IF EXISTS \"' || replace(name, '\"', '\"\"') || '\"' AS statement
FROM sqlite_master
WHERE type IN ('view', 'table') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT IN ($1, $2, $3)
ORDER BY type DESC, sql NOT LIKE 'CREATE VIRTUAL %', rowid DESC";

/// Drops everything but the tables of ours, or nothing if anything cannot be dropped, and tells how many objects that
/// were.
pub(super) async fn empty(database: &DatabaseConnection, ours: &[String]) -> Result<usize, DbErr> {
    if database.get_database_backend() != DbBackend::Sqlite {
        return drop_all(database, DROPS_POSTGRES, ours).await;
    }
    // SQLite deletes the rows of a table before dropping it, and there the foreign keys would object. They can only be
    // switched outside a transaction, and the migrator's pool has a single connection.
    database.execute_unprepared("PRAGMA foreign_keys = OFF").await?;
    let outcome = drop_all(database, DROPS_SQLITE, ours).await;
    database.execute_unprepared("PRAGMA foreign_keys = ON").await?;
    outcome
}

async fn drop_all(database: &DatabaseConnection, query: &str, ours: &[String]) -> Result<usize, DbErr> {
    let transaction = database.begin().await?;
    let ours = ours.iter().map(|name| name.as_str().into());
    let statement = Statement::from_sql_and_values(transaction.get_database_backend(), query, ours);
    let drops = transaction.query_all_raw(statement).await?;
    for drop in &drops {
        let statement: String = drop.try_get("", "statement")?;
        transaction.execute_unprepared(&statement).await?;
    }
    transaction.commit().await?;
    Ok(drops.len())
}
