//! Histories of a schema that are made to go wrong: steps whose effect can be counted, and steps that take long.

mod data;

use std::time::Duration;

use api::command::migrate::{Options, Program};
use migration::{MigrationTrait, Source, SqlMigration, among};
use sea_orm_migration::{MigratorTraitSelf, prelude::*, sea_orm::DbBackend};

pub use data::ROWS;

/// Of which there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ladder {
    /// Short steps, each of which counts how often it was taken.
    Race,
    /// Steps in many small parts, so that there are many moments to be killed at.
    Long,
    /// The longest of those, each of which takes more than a second.
    Slow,
    /// Rows are changed in batches, between steps that change the schema.
    Data,
    /// The first of those, with long pauses.
    Paced,
}

/// A step in Rust: its name, its transaction, its ways up and down.
struct Rung {
    name: &'static str,
    transaction: Option<bool>,
    up: Way,
    down: &'static str,
}

enum Way {
    Run(&'static str),
    /// The number of times, in whose statement `{}` is the number, with a pause after each.
    Repeat(u32, &'static str),
}

const CREATE_RUNGS: &str = "CREATE TABLE rungs (id bigint PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO rungs VALUES (1, 0), (2, 0), (3, 0)";

const RACE: &[Rung] = &[
    Rung {
        name: "m20260101_000001_create_rungs",
        transaction: Some(true),
        up: Way::Run(CREATE_RUNGS),
        down: "DROP TABLE rungs",
    },
    // In a transaction on PostgreSQL only, as SeaORM has it where nothing is said.
    Rung {
        name: "m20260101_000002_count",
        transaction: None,
        up: Way::Repeat(1, "UPDATE rungs SET n = n + 1 WHERE id = 1"),
        down: "UPDATE rungs SET n = n - 1 WHERE id = 1",
    },
    Rung {
        name: "m20260101_000003_count_without_a_transaction",
        transaction: Some(false),
        up: Way::Repeat(1, "UPDATE rungs SET n = n + 1 WHERE id = 2"),
        down: "UPDATE rungs SET n = n - 1 WHERE id = 2",
    },
    Rung {
        name: "m20260101_000005_count_again",
        transaction: Some(true),
        up: Way::Run("UPDATE rungs SET n = n + 1 WHERE id = 3"),
        down: "UPDATE rungs SET n = n - 1 WHERE id = 3",
    },
];

const RACE_IN_SQL: &[SqlMigration] = &[SqlMigration::new(
    "20260101_000004_add_label",
    &[
        (
            "up.postgres.sql",
            "ALTER TABLE rungs ADD label text;\nCOMMENT ON COLUMN rungs.label IS 'how it is called';\n",
        ),
        ("up.sqlite.sql", "ALTER TABLE rungs ADD label text;\n"),
        ("down.sql", "ALTER TABLE rungs DROP COLUMN label;\n"),
    ],
)];

const LONG: &[Rung] = &[
    Rung {
        name: "m20260101_000001_create_items",
        transaction: Some(true),
        up: Way::Run(
            "CREATE TABLE items (id bigint PRIMARY KEY, batch bigint NOT NULL, n bigint NOT NULL, moved boolean NOT NULL)",
        ),
        down: "DROP TABLE items",
    },
    Rung {
        name: "m20260101_000002_fill_items",
        transaction: Some(true),
        up: Way::Repeat(30, "INSERT INTO items VALUES (2 * {}, {}, {}, false), (2 * {} + 1, {}, {}, false)"),
        down: "DELETE FROM items",
    },
    // Each part is by itself, and says what it did: so it can be run again.
    Rung {
        name: "m20260101_000003_move_items",
        transaction: Some(false),
        up: Way::Repeat(30, "UPDATE items SET n = n + 1, moved = true WHERE batch = {} AND NOT moved"),
        down: "UPDATE items SET n = n - 1, moved = false WHERE moved",
    },
    Rung {
        name: "m20260101_000005_more_tables",
        transaction: Some(true),
        up: Way::Repeat(10, "CREATE TABLE more_{} (id bigint PRIMARY KEY, item_id bigint REFERENCES items (id))"),
        down: "SELECT 1",
    },
];

const FILL: &str = "INSERT INTO items VALUES ({}, {}, {}, false)";
const MOVE: &str = "UPDATE items SET n = n + 1, moved = true WHERE batch = {} AND NOT moved";

const SLOW: &[Rung] = &[
    Rung { name: "m20260101_000002_fill_items", transaction: Some(true), up: Way::Repeat(250, FILL), down: "" },
    Rung { name: "m20260101_000003_move_items", transaction: Some(false), up: Way::Repeat(250, MOVE), down: "" },
];

const SLOW_IN_SQL: &[SqlMigration] = &[SqlMigration::new(
    "m20260101_000001_create_items",
    &[(
        "up.sql",
        "CREATE TABLE items (id bigint PRIMARY KEY, batch bigint NOT NULL, n bigint, moved boolean NOT NULL)",
    )],
)];

const LONG_IN_SQL: &[SqlMigration] = &[SqlMigration::new(
    "m20260101_000004_index_items",
    &[("up.sql", "CREATE INDEX ix_items_batch ON items (batch);\n"), ("down.sql", "DROP INDEX ix_items_batch;\n")],
)];

impl MigrationName for &'static Rung {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for &'static Rung {
    fn use_transaction(&self) -> Option<bool> {
        self.transaction
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        const PAUSE: Duration = Duration::from_millis(5);
        match self.up {
            Way::Run(sql) => schema.get_connection().execute_unprepared(sql).await.map(|_| ()),
            Way::Repeat(times, sql) => {
                for number in 0..times {
                    tokio::time::sleep(PAUSE).await;
                    schema.get_connection().execute_unprepared(&sql.replace("{}", &number.to_string())).await?;
                }
                Ok(())
            }
        }
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.get_connection().execute_unprepared(self.down).await.map(|_| ())
    }
}

fn boxed(rungs: &'static [Rung], sql: &'static [SqlMigration]) -> Vec<Box<dyn MigrationTrait>> {
    among(rungs.iter().map(|rung| Box::new(rung) as Box<dyn MigrationTrait>).collect(), sql)
}

fn source(name: &str, backend: DbBackend) -> Option<Source> {
    let mut sql = RACE_IN_SQL.iter().chain(LONG_IN_SQL);
    if let Some(sql) = sql.find(|sql| sql.name() == name) {
        return sql.source(backend);
    }
    if let Some(source) = data::source(name, backend) {
        return Some(source);
    }
    let rung = RACE.iter().chain(LONG).find(|rung| rung.name == name)?;
    Some(Source { file: format!("ladder/{name}.rs"), text: rung.name, is_rust: true })
}

impl Ladder {
    /// The one of that name.
    pub fn named(name: &str) -> Self {
        match name {
            "race" => Self::Race,
            "long" => Self::Long,
            "slow" => Self::Slow,
            "data" => Self::Data,
            "paced" => Self::Paced,
            _ => panic!("no ladder is called {name}"),
        }
    }

    /// What is to be run, and how, with a lock that runs out soon.
    pub fn options(self, lease: Duration) -> Options {
        let migrations = match self {
            Self::Race => || boxed(RACE, RACE_IN_SQL),
            Self::Long => || boxed(LONG, LONG_IN_SQL),
            Self::Slow => || boxed(SLOW, SLOW_IN_SQL),
            Self::Data => data::migrations,
            Self::Paced => data::first,
        };
        let batch_share = if self == Self::Paced { 2 } else { 50 };
        // What they do is dangerous on purpose.
        let options = Options { lease, despite_lint: true, batch_share, shows_progress: true, ..Options::default() };
        Options { program: Program { migrations, source }, ..options }
    }
}

impl MigratorTraitSelf for Ladder {
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        match self {
            Self::Race => boxed(RACE, RACE_IN_SQL),
            Self::Long => boxed(LONG, LONG_IN_SQL),
            Self::Slow => boxed(SLOW, SLOW_IN_SQL),
            Self::Data => data::migrations(),
            Self::Paced => data::first(),
        }
    }
}
