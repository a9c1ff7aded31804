//! Rows that are changed in batches are changed once and only once: whoever is killed, stopped or cancelled in the middle,
//! and whoever else is at work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use api::command::migrate::{
    MigrateError, Options, Program, Rows, Standing, Status, down,
    lint::{Rule, lint_migrations, lint_sql},
    status, to, up,
};
use futures_util::future::join_all;
use migration::{Backfill, MigrationTrait, SqlMigration, is_in_transaction};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use sea_orm_migration::{
    MigratorTraitSelf,
    prelude::{DbErr, MigrationName, SchemaManager},
};
use tests::{
    PATIENCE, Signal, eventually,
    ladder::{Ladder, ROWS},
    or_skip,
    run::{limit, rounds},
    within,
};

use crate::{
    migration::dump,
    migrator::{Empty, LEASE, Place, Running, SHORT, YES, column, emptied, ladder, on_empty},
};

const MINUTE: Duration = Duration::from_secs(60);

on_empty! {
    within limit(2 * MINUTE), each_row_is_changed_once_whoever_is_killed:
        sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within limit(MINUTE), each_row_is_changed_once_however_many_migrate: sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within MINUTE, who_stands_still_does_not_go_on: sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within 3 * MINUTE, what_is_cancelled_is_explained_and_goes_on: sqlite at Sqlite, postgres at Postgres;
    within 2 * MINUTE, the_bare_library_does_the_same: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, nobody_waits_long_behind_a_batch: postgres at Postgres, pgbouncer at PgBouncer;
    within MINUTE, keys_of_every_kind_are_walked: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, a_batch_that_fails_is_undone_and_those_before_it_stay: sqlite at Sqlite, postgres at Postgres;
}

/// How often each row was changed, in each of the three ways.
async fn counts(database: &DatabaseConnection) -> Vec<String> {
    let sql = "SELECT n || ' ' || m || ' ' || k || ': ' || count(*) FROM items GROUP BY n, m, k ORDER BY 1";
    column(database, sql).await
}

fn once() -> Vec<String> {
    vec![format!("1 1 1: {ROWS}")]
}

/// Others who write into the table meanwhile.
struct Writer {
    ends: Arc<AtomicBool>,
    written: Arc<AtomicI64>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    async fn start(empty: &Empty) -> Self {
        let (ends, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let database = empty.open(&Options::default()).await;
        let task = tokio::spawn({
            let (ends, written) = (Arc::clone(&ends), Arc::clone(&written));
            async move {
                while !ends.load(Ordering::Relaxed) {
                    let id = 3 * rand::random_range(1..=ROWS);
                    let sql = format!("UPDATE items SET w = w + 1 WHERE id = {id}");
                    // Before there are rows, and where SQLite is busy for too long, nothing is written.
                    if let Ok(done) = database.execute_unprepared(&sql).await {
                        written.fetch_add(i64::try_from(done.rows_affected()).unwrap(), Ordering::Relaxed);
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                database.close().await;
            }
        });
        Self { ends, written, task }
    }

    async fn end(self) -> i64 {
        self.ends.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        self.written.load(Ordering::Relaxed)
    }
}

async fn each_row_is_changed_once_whoever_is_killed(empty: &Empty) {
    let database = emptied(empty).await;
    let started = Instant::now();
    let output = ladder("ours", "data", &empty.url, LEASE).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    let duration = started.elapsed();
    let schema = dump(&database).await;
    assert_eq!(counts(&database).await, once());
    database.close().await;
    let (mut in_the_middle, rounds) = (0, rounds(10, 200));
    for round in 0..rounds {
        let database = emptied(empty).await;
        let writer = Writer::start(empty).await;
        // Twice, because who goes on may be killed, too.
        for _ in 0..2 {
            let mut killed = Running::ladder("data", &empty.url, SHORT);
            tokio::time::sleep(duration.mul_f64(rand::random_range(0.0..0.8))).await;
            killed.signal(Signal::KILL);
            killed.end().await;
        }
        let done = "SELECT rows_done FROM _backfills WHERE rows_done > 0 AND NOT is_done";
        let is_there = database.execute_unprepared("SELECT 1 FROM _backfills").await.is_ok();
        in_the_middle += usize::from(is_there && !column::<i64>(&database, done).await.is_empty());
        let output = ladder("ours", "data", &empty.url, LEASE).await;
        assert_eq!(output.code(), Some(0), "{round}: {}", output.stderr);
        let written = writer.end().await;
        assert_eq!(counts(&database).await, once(), "{round}");
        let found = column::<String>(&database, "SELECT CAST(sum(w) AS text) FROM items").await;
        assert_eq!(found, [written.to_string()], "{round}: what others wrote");
        assert!(dump(&database).await == schema, "{round}: another schema");
        let left = column::<String>(&database, "SELECT migration FROM _backfills").await;
        assert_eq!(left, [""; 0], "{round}: how far it was is of no more use");
        database.close().await;
    }
    println!("killed {rounds} times, {in_the_middle} of them in the middle of a backfill");
    assert!(in_the_middle > 0);
}

async fn each_row_is_changed_once_however_many_migrate(empty: &Empty) {
    for _ in 0..rounds(1, 20) {
        let database = emptied(empty).await;
        let outputs = join_all((0..4).map(|_| ladder("ours", "data", &empty.url, LEASE))).await;
        for output in &outputs {
            assert_eq!(output.code(), Some(0), "{}", output.stderr);
        }
        assert_eq!(outputs.iter().map(|output| output.stdout.lines().count()).sum::<usize>(), 6);
        assert_eq!(counts(&database).await, once());
        database.close().await;
    }
}

/// Waits until some of the rows are changed.
async fn in_the_middle(looker: &api::command::migrate::Database) -> Standing {
    eventually("it is in the middle", PATIENCE, async || {
        let standings = status(looker).await.unwrap();
        let rows = |one: &Standing| one.begun.as_ref().and_then(|begun| begun.rows).is_some_and(|rows| rows.done > 0);
        standings.into_iter().find(rows)
    })
    .await
}

async fn who_stands_still_does_not_go_on(empty: &Empty) {
    let database = emptied(empty).await;
    let looker = empty.open(&Ladder::Data.options(PATIENCE)).await;
    let mut still = Running::ladder("paced", &empty.url, SHORT);
    in_the_middle(&looker).await;
    // Where it has a transaction open on SQLite, nobody can write but itself.
    eventually("it stands still between two batches", PATIENCE, async || {
        still.signal(Signal::STOP);
        let is_free = empty.server.is_some() || database.execute_unprepared("BEGIN IMMEDIATE; ROLLBACK").await.is_ok();
        if !is_free {
            still.signal(Signal::CONT);
        }
        is_free.then_some(())
    })
    .await;
    let output = ladder("ours", "data", &empty.url, LEASE).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    assert_eq!(counts(&database).await, once());
    still.signal(Signal::CONT);
    assert_ne!(still.end().await, Some(0));
    assert_eq!(counts(&database).await, once(), "who stood still went on");
    looker.close().await;
    database.close().await;
}

async fn what_is_cancelled_is_explained_and_goes_on(empty: &Empty) {
    for signal in [Signal::INT, Signal::KILL] {
        let database = emptied(empty).await;
        let looker = empty.open(&Ladder::Data.options(PATIENCE)).await;
        let mut ended = Running::ladder("paced", &empty.url, SHORT);
        let running = in_the_middle(&looker).await;
        let begun = running.begun.unwrap();
        assert!(begun.to_string().contains("of about 1,500 rows"), "{begun}");
        ended.signal(signal);
        ended.end().await;
        let interrupted = eventually("that it ended is known", PATIENCE, async || {
            let standings = status(&looker).await.unwrap();
            standings.into_iter().find_map(|one| one.begun.filter(|begun| !begun.is_running))
        })
        .await;
        let Rows { done, about } = interrupted.rows.unwrap();
        assert_eq!(about, Some(ROWS));
        let changed = "SELECT count(*) FROM items WHERE n = 1";
        assert_eq!(column::<i64>(&database, changed).await, [done], "what is said is so");
        let says = interrupted.to_string();
        assert!(says.contains("of about 1,500 rows; running it again goes on from there"), "{says}");
        let output = ladder("ours", "data", &empty.url, LEASE).await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
        assert_eq!(counts(&database).await, once());
        looker.close().await;
        database.close().await;
    }
    // How far it is, for programs; on a terminal it is a bar.
    emptied(empty).await.close().await;
    let output = ladder("ours", "paced", &empty.url, LEASE).await;
    let lines = output.stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let lines: Vec<_> = lines.filter(|line| line["migration"] == "m20260101_000002_count").collect();
    assert!(!lines.is_empty(), "{}", output.stderr);
    for line in &lines {
        assert!(line["rows"].as_i64().unwrap() > 0 && line["rows_per_second"].as_i64().unwrap() > 0, "{line}");
        assert_eq!(line["about"], ROWS, "{line}");
    }
}

async fn the_bare_library_does_the_same(empty: &Empty) {
    let database = emptied(empty).await;
    assert_eq!(ladder("bare", "data", &empty.url, LEASE).await.code(), Some(0));
    assert_eq!(counts(&database).await, once());
    // Back and up again, by either, in turn.
    let ours = empty.open(&Options { forget_irreversible: true, ..Ladder::Data.options(PATIENCE) }).await;
    down(&ours, Some(5), YES).await.unwrap();
    let left = "SELECT DISTINCT n || ' ' || k FROM items";
    assert_eq!(column::<String>(&ours, left).await, ["0 1"]);
    assert_eq!(up(&ours, None).await.unwrap().len(), 5);
    // The one that cannot be rolled back was only forgotten, and so done again.
    assert_eq!(counts(&ours).await, [format!("1 1 2: {ROWS}")]);
    to(&ours, "m20260101_000004", YES).await.unwrap();
    MigratorTraitSelf::down(&Ladder::Data, &*ours, Some(3)).await.unwrap();
    assert_eq!(column::<String>(&ours, left).await, ["0 2"]);
    MigratorTraitSelf::up(&Ladder::Data, &*ours, Some(3)).await.unwrap();
    assert_eq!(column::<String>(&ours, "SELECT DISTINCT n || ' ' || m || ' ' || k FROM items").await, ["1 1 2"]);
    ours.close().await;
    database.close().await;

    // What ours had begun, it goes on with.
    let database = emptied(empty).await;
    let looker = empty.open(&Ladder::Data.options(PATIENCE)).await;
    let mut killed = Running::ladder("paced", &empty.url, SHORT);
    in_the_middle(&looker).await;
    killed.signal(Signal::KILL);
    killed.end().await;
    assert_eq!(ladder("bare", "data", &empty.url, LEASE).await.code(), Some(0));
    assert_eq!(counts(&database).await, once());
    looker.close().await;
    database.close().await;
}

/// Somebody holds one of its rows for long; those who want the others do not wait for both.
async fn nobody_waits_long_behind_a_batch(empty: &Empty) {
    const LIMIT: Duration = Duration::from_millis(200);
    let options = Options { lock_timeout: LIMIT, ..Ladder::Data.options(PATIENCE) };
    let [database, holder, other, looker] = [
        empty.open(&options).await,
        empty.open(&options).await,
        empty.open(&options).await,
        empty.open(&options).await,
    ];
    up(&database, Some(1)).await.unwrap();
    let held = holder.begin().await.unwrap();
    held.execute_unprepared("SELECT * FROM items WHERE id = 60 FOR UPDATE").await.unwrap();
    let (steps, longest) = tokio::join!(up(&database, Some(1)), async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE items%' \
                     AND datname = current_database()";
        let seen = async || (column::<i64>(&looker, waits).await != [0]).then_some(());
        eventually("the batch waits", PATIENCE, seen).await;
        let (mut longest, started) = (Duration::ZERO, Instant::now());
        while started.elapsed() < Duration::from_secs(2) {
            let start = Instant::now();
            // As an application would, which is more patient than that.
            let sql = "SET LOCAL lock_timeout = '30s'; UPDATE items SET w = w + 1 WHERE id = 3";
            let work = other.begin().await.unwrap();
            work.execute_unprepared(sql).await.unwrap();
            work.commit().await.unwrap();
            longest = longest.max(start.elapsed());
        }
        held.rollback().await.unwrap();
        longest
    });
    assert_eq!(steps.unwrap().len(), 1);
    println!("the longest wait behind a lock timeout of {LIMIT:?}: {longest:?}");
    assert!(longest < LIMIT + Duration::from_secs(1), "{longest:?}");
    assert_eq!(column::<i64>(&database, "SELECT DISTINCT n FROM items").await, [1]);
    for one in [database, holder, other, looker] {
        one.close().await;
    }
}

/// Makes migrations.
type Made = fn() -> Vec<Box<dyn MigrationTrait>>;

fn of(migrations: Made) -> Options {
    Options { program: Program { migrations, source: |_, _| None }, ..Options::default() }
}

async fn keys_of_every_kind_are_walked(empty: &Empty) {
    const TEXTS: [&str; 9] = ["", "'", "''", "a'b", "\\", "a\\'b", "$from", "ÄÖ; --", "$$"];
    const SQL: &[SqlMigration] = &[
        SqlMigration::new(
            "20260101_000001_create",
            &[
                (
                    "up.postgres.sql",
                    "CREATE TABLE words (word text PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
                     CREATE TABLE \"Things\" (\"Id\" uuid PRIMARY KEY, n bigint NOT NULL DEFAULT 0)",
                ),
                (
                    "up.sqlite.sql",
                    "CREATE TABLE words (word text PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
                     CREATE TABLE \"Things\" (\"Id\" uuid_text PRIMARY KEY, n bigint NOT NULL DEFAULT 0)",
                ),
                ("down.sql", "DROP TABLE words; DROP TABLE \"Things\""),
            ],
        ),
        SqlMigration::new(
            "20260101_000002_words",
            &[
                (
                    "up.sql",
                    "-- One by one.\n-- batch: words by word, 1\nUPDATE words SET n = n + 1 WHERE word BETWEEN $from AND $to;",
                ),
                ("down.sql", "-- no transaction\nSELECT 1"),
            ],
        ),
        SqlMigration::new(
            "20260101_000003_things",
            &[
                (
                    "up.sql",
                    "-- batch: Things by Id, 2\nUPDATE \"Things\" SET n = n + 1 WHERE \"Id\" BETWEEN $from AND $to;",
                ),
                ("down.sql", "-- no transaction\nSELECT 1"),
            ],
        ),
    ];
    let database = empty.open(&of(|| boxed(SQL))).await;
    up(&database, Some(1)).await.unwrap();
    let backend = database.get_database_backend();
    for text in TEXTS {
        let statement = Statement::from_sql_and_values(backend, "INSERT INTO words (word) VALUES ($1)", [text.into()]);
        database.execute_raw(statement).await.unwrap();
        let id = uuid::Uuid::from_u128(rand::random());
        let sql = "INSERT INTO \"Things\" (\"Id\") VALUES ($1)";
        database.execute_raw(Statement::from_sql_and_values(backend, sql, [id.into()])).await.unwrap();
    }
    // They pass the lint, too, where rows can be lost.
    assert_eq!(up(&database, None).await.unwrap().len(), 2);
    for table in ["words", "\"Things\""] {
        let sql = format!("SELECT n FROM {table}");
        assert_eq!(column::<i64>(&database, &sql).await, [1; TEXTS.len()], "{table}");
    }
    database.close().await;
}

async fn a_batch_that_fails_is_undone_and_those_before_it_stay(empty: &Empty) {
    const SQL: &[SqlMigration] = &[
        SqlMigration::new(
            "20260101_000001_create",
            &[
                (
                    "up.sql",
                    "CREATE TABLE parts (id bigint PRIMARY KEY, n bigint CHECK (n <> 9));
                     INSERT INTO parts VALUES (1, 0), (2, 0), (3, 0), (4, 8), (5, 0)",
                ),
                ("down.sql", "DROP TABLE parts"),
            ],
        ),
        SqlMigration::new(
            "20260101_000002_count",
            &[
                ("up.sql", "-- batch: parts by id, 2\nUPDATE parts SET n = n + 1 WHERE id BETWEEN $from AND $to"),
                ("down.sql", "-- no transaction\nSELECT 1"),
            ],
        ),
    ];
    let database = empty.open(&of(|| boxed(SQL))).await;
    let numbers = async || column::<i64>(&database, "SELECT n FROM parts ORDER BY id").await;
    for _ in 0..2 {
        let error = up(&database, None).await.unwrap_err();
        let MigrateError::Step { name, undone: false, .. } = &error else { panic!("{error}") };
        assert_eq!(name, "20260101_000002_count");
        assert_eq!(numbers().await, [1, 1, 0, 8, 0]);
    }
    let standings = status(&database).await.unwrap();
    assert_eq!(standings[1].begun.as_ref().unwrap().rows, Some(Rows { done: 2, about: Some(5) }));
    database.execute_unprepared("UPDATE parts SET n = 0 WHERE id = 4").await.unwrap();
    assert_eq!(up(&database, None).await.unwrap().len(), 1);
    assert_eq!(numbers().await, [1, 1, 1, 1, 1]);
    assert!(status(&database).await.unwrap().iter().all(|one| one.status == Status::Applied && one.begun.is_none()));
    database.close().await;
}

/// Only on one of the databases it cannot be in a transaction: on the other, who is killed or fails leaves nothing of it.
const INDEXES: &[SqlMigration] = &[SqlMigration::new(
    "20260101_000001_index",
    &[
        ("up.postgres.sql", "-- no transaction\nCREATE INDEX CONCURRENTLY ix_items_n ON items (n)"),
        ("up.sqlite.sql", "CREATE INDEX ix_items_n ON items (n); CREATE INDEX ix_items_m ON items (m)"),
        ("down.sql", "DROP INDEX ix_items_n"),
    ],
)];

#[test]
fn what_one_database_cannot_have_in_a_transaction_the_other_has() {
    let [on_postgres, on_sqlite] =
        [DbBackend::Postgres, DbBackend::Sqlite].map(|backend| is_in_transaction(&INDEXES[0], backend));
    assert!(!on_postgres && on_sqlite);
    within(MINUTE, async {
        let empty = Empty::at(Place::Sqlite).await.unwrap();
        let database = empty.open(&Options { despite_lint: true, ..of(|| boxed(INDEXES)) }).await;
        database.execute_unprepared("CREATE TABLE items (id bigint, n bigint)").await.unwrap();
        let MigrateError::Step { undone: true, .. } = up(&database, None).await.unwrap_err() else { panic!() };
        database.execute_unprepared("ALTER TABLE items ADD COLUMN m bigint").await.unwrap();
        assert_eq!(up(&database, None).await.unwrap().len(), 1);
        database.close().await;
        empty.remove().await;
    });
}

/// In a transaction, what is done in batches would be one.
struct InTransaction;

impl MigrationName for InTransaction {
    fn name(&self) -> &str {
        "m20260101_000002_in_transaction"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for InTransaction {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        Backfill::of(self, "sqlite_master").set("n = 1").run(schema).await
    }
}

#[test]
fn what_cannot_be_done_in_batches_is_refused() {
    within(MINUTE, async {
        let empty = Empty::at(Place::Sqlite).await.unwrap();
        let database = empty.open(&of(|| vec![Box::new(InTransaction)])).await;
        let MigrateError::Step { source, .. } = up(&database, None).await.unwrap_err() else { panic!() };
        assert!(source.to_string().contains("use_transaction"), "{source}");
        database.close().await;
        let wrong: [(Made, &str); 3] = [
            (|| boxed(UNBOUND), "name $from and $to"),
            (|| boxed(HALF_BOUND), "name $from and $to"),
            (|| boxed(TWO), "one migration can change"),
        ];
        for (migrations, says) in wrong {
            let database = emptied(&empty).await;
            database.execute_unprepared("CREATE TABLE items (id bigint, n bigint)").await.unwrap();
            database.execute_unprepared("INSERT INTO items VALUES (1, 1)").await.unwrap();
            database.close().await;
            let database = empty.open(&Options { despite_lint: true, ..of(migrations) }).await;
            let MigrateError::Step { source, .. } = up(&database, None).await.unwrap_err() else { panic!() };
            assert!(source.to_string().contains(says), "{source}");
            database.close().await;
        }
        empty.remove().await;
    });
}

fn boxed(sql: &'static [SqlMigration]) -> Vec<Box<dyn MigrationTrait>> {
    migration::among(Vec::new(), sql)
}

const UNBOUND: &[SqlMigration] =
    &[SqlMigration::new("20260101_000001_a", &[("up.sql", "-- batch: items by id\nUPDATE items SET n = 0")])];
const HALF_BOUND: &[SqlMigration] = &[SqlMigration::new(
    "20260101_000001_a",
    &[("up.sql", "-- batch: items by id\nUPDATE items SET n = 0 WHERE id > $from")],
)];
const TWO: &[SqlMigration] = &[SqlMigration::new(
    "20260101_000001_a",
    &[(
        "up.sql",
        "-- batch: items by id\nUPDATE items SET n = 0 WHERE id BETWEEN $from AND $to;\n\
         -- batch: items by id\nUPDATE items SET n = 1 WHERE id BETWEEN $from AND $to;",
    )],
)];

#[test]
fn the_lint_knows_batches() {
    const TABLE: &str = "CREATE TABLE items (no bigint PRIMARY KEY, n bigint)";
    const UPDATE: &str = "UPDATE items SET n = n + 1 WHERE no BETWEEN $from AND $to";
    within(MINUTE, async {
        let found = |sql: &str| lint_sql(&[TABLE], sql).findings.into_iter().map(|one| one.rule).collect::<Vec<_>>();
        assert_eq!(found(UPDATE), [Rule::M28]);
        assert_eq!(found(&format!("-- batch: items by no, 500\n{UPDATE}")), []);
        // It is about one statement.
        assert_eq!(found(&format!("-- batch: items by no\n{UPDATE}; UPDATE items SET n = 0")), [Rule::M28]);
        let report = lint_migrations(&Ladder::Data.migrations()).await;
        assert!(report.findings.iter().all(|one| one.rule != Rule::M28 && one.rule != Rule::M54), "{report}");
    });
}
