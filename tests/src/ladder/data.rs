//! A history that changes rows in batches, in each way that this can be written: what is done twice to a row, or not at
//! all, is seen in it.

use migration::{Backfill, Batch, Changing, MigrationTrait, SqlMigration, among};
use sea_orm_migration::{
    prelude::*,
    sea_orm::{DbBackend, Statement},
};

/// How many rows there are.
pub const ROWS: i64 = 1_500;

const CREATE: SqlMigration = SqlMigration::new(
    "m20260101_000001_create_items",
    &[
        (
            "up.sql",
            "CREATE TABLE items (id bigint PRIMARY KEY, n bigint NOT NULL DEFAULT 0, k bigint NOT NULL DEFAULT 0,
                 w bigint NOT NULL DEFAULT 0);
             INSERT INTO items (id) WITH RECURSIVE ids (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < 1500)
                 SELECT 3 * id FROM ids;",
        ),
        ("down.sql", "DROP TABLE items;"),
    ],
);
const ADD: SqlMigration = SqlMigration::new(
    "m20260101_000003_add_m",
    &[
        ("up.sql", "ALTER TABLE items ADD COLUMN m bigint NOT NULL DEFAULT 0;"),
        ("down.sql", "ALTER TABLE items DROP COLUMN m;"),
    ],
);
const COUNT_IN_SQL: SqlMigration = SqlMigration::new(
    "m20260101_000004_count_in_sql",
    &[
        ("up.sql", "-- batch: items by id, 50\nUPDATE items SET m = m + 1 WHERE id BETWEEN $from AND $to;\n"),
        ("down.sql", "-- batch: items by id\nUPDATE items SET m = m - 1 WHERE id BETWEEN $from AND $to;\n"),
    ],
);
const INDEX: SqlMigration = SqlMigration::new(
    "m20260101_000006_index",
    &[
        (
            "up.postgres.sql",
            "-- no transaction\nDROP INDEX CONCURRENTLY IF EXISTS ix_items_n;\n\
             CREATE INDEX CONCURRENTLY ix_items_n ON items (n);\n",
        ),
        ("up.sqlite.sql", "CREATE INDEX ix_items_n ON items (n);\n"),
        ("down.sql", "DROP INDEX ix_items_n;\n"),
    ],
);
const SQL: &[SqlMigration] = &[CREATE, ADD, COUNT_IN_SQL, INDEX];

/// In Rust, as a statement.
struct Count;

impl MigrationName for Count {
    fn name(&self) -> &str {
        "m20260101_000002_count"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Count {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        Backfill::of(self, "items").batch(50).set("n = n + 1").only("id > 0").run(schema).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        Backfill::back(self, "items").set("n = n - 1").run(schema).await
    }
}

/// In Rust, row by row.
struct CountInRust;

impl MigrationName for CountInRust {
    fn name(&self) -> &str {
        "m20260101_000005_count_in_rust"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CountInRust {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        fn change(batch: &Batch) -> Changing<'_> {
            Box::pin(async move {
                let transaction = batch.transaction();
                let backend = transaction.get_database_backend();
                let sql = batch.bind("SELECT id, k FROM items WHERE id BETWEEN $from AND $to");
                for row in transaction.query_all_raw(Statement::from_string(backend, sql)).await? {
                    let (id, k): (i64, i64) = (row.try_get("", "id")?, row.try_get("", "k")?);
                    let sql = "UPDATE items SET k = $1 WHERE id = $2";
                    let values = [(k + 1).into(), id.into()];
                    transaction.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
                }
                Ok(())
            })
        }
        Backfill::of(self, "items").batch(100).each(change).run(schema).await
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Err(migration::irreversible("what was counted by hand stays counted"))
    }
}

/// All of it.
pub(super) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    among(vec![Box::new(Count), Box::new(CountInRust)], SQL)
}

/// Its first change of rows, and what that is made on.
pub(super) fn first() -> Vec<Box<dyn MigrationTrait>> {
    among(vec![Box::new(Count)], &[CREATE])
}

/// What those in SQL are written as.
pub(super) fn source(name: &str, backend: DbBackend) -> Option<migration::Source> {
    SQL.iter().find(|one| one.name() == name)?.source(backend)
}
