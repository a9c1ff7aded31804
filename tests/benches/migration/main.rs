//! What an application notices of a migration of the table that it works on: the time that its statements take, without a
//! migration and during one that adds a column, fills it, has a check validated and makes an index, on a PostgreSQL server
//! that is started for it. What counts is the ratio; the times are those of the machine.
//!
//! `cargo bench -p tests --bench migration`; `SEABED_BENCH_ROWS` sets how many rows there are, `SEABED_BENCH_BATCH` how
//! many of them a batch has, and `SEABED_BENCH_SHARE` how much of the time batches are worked on, in percent.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use api::command::migrate::{Options, Program, connect, up};
use migration::{MigrationTrait, SqlMigration, among};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use tests::{Backend, TestDatabase, database};

const ROWS: u64 = 300_000;
/// As many as work on the table at once.
const SESSIONS: u64 = 4;

type Outcome<T> = Result<T, Box<dyn Error>>;

const SQL: &[SqlMigration] = &[
    SqlMigration::new(
        "20990101_000001_add_column",
        &[("up.sql", "ALTER TABLE parts ADD COLUMN slug text;"), ("down.sql", "ALTER TABLE parts DROP COLUMN slug;")],
    ),
    SqlMigration::new(
        "20990101_000002_fill",
        &[(
            "up.sql",
            "-- irreversible because the column goes with the migration before\n\
             -- batch: parts by id\nUPDATE parts SET slug = lower(name) WHERE id BETWEEN $from AND $to;",
        )],
    ),
    SqlMigration::new(
        "20990101_000003_add_check",
        &[
            ("up.sql", "ALTER TABLE parts ADD CONSTRAINT ck_parts_slug CHECK (slug IS NOT NULL) NOT VALID;"),
            ("down.sql", "ALTER TABLE parts DROP CONSTRAINT ck_parts_slug;"),
        ],
    ),
    SqlMigration::new(
        "20990101_000004_validate",
        &[("up.sql", "ALTER TABLE parts VALIDATE CONSTRAINT ck_parts_slug;"), ("down.sql", "SELECT 1;")],
    ),
    SqlMigration::new(
        "20990101_000005_index",
        &[
            (
                "up.sql",
                "-- no transaction\nDROP INDEX CONCURRENTLY IF EXISTS ix_parts_slug;\n\
                 CREATE INDEX CONCURRENTLY ix_parts_slug ON parts (slug);",
            ),
            ("down.sql", "-- no transaction\nDROP INDEX CONCURRENTLY IF EXISTS ix_parts_slug;"),
        ],
    ),
];

fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    among(Vec::new(), SQL)
}

fn main() -> Outcome<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let rows = variable("SEABED_BENCH_ROWS").and_then(|rows| rows.parse().ok()).unwrap_or(ROWS);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("{rows} rows, {SESSIONS} sessions, load average {}", load.trim());
        println!();
        let database = database(Backend::Postgres).await.map_err(|skip| skip.to_string())?;
        measure(&database, rows).await
    })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is configured by its own variables")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn measure(database: &TestDatabase, rows: u64) -> Outcome<()> {
    let outside = database.connect().await;
    let fill = format!(
        "CREATE TABLE parts (id bigint PRIMARY KEY, name text NOT NULL, n bigint NOT NULL DEFAULT 0); \
         INSERT INTO parts (id, name) SELECT n, 'Part ' || n FROM generate_series(1, {rows}) n; VACUUM ANALYZE parts"
    );
    for sql in fill.split("; ") {
        outside.execute_unprepared(sql).await?;
    }
    let program = Program { migrations, source: |_, _| None };
    let usual = Options::default();
    let number = |name: &str| variable(name).and_then(|number| number.parse().ok());
    let options = Options {
        program,
        table: "online".to_owned(),
        despite_lint: true,
        batch_rows: number("SEABED_BENCH_BATCH").or(usual.batch_rows),
        batch_share: number("SEABED_BENCH_SHARE").unwrap_or(usual.batch_share),
        ..usual
    };
    let migrator = connect(&database.url, &options).await?;

    let (quiet, _) = during(database, rows, async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Ok(())
    })
    .await?;
    let (busy, steps) = during(database, rows, async { Ok(up(&migrator, None).await?) }).await?;
    println!("| | statements | p50, ms | p99, ms | longest, ms |");
    println!("|---|---|---|---|---|");
    for (what, times) in [("without a migration", &quiet), ("during one", &busy)] {
        let [half, most, longest] = [0.5, 0.99, 1.0].map(|share| at(times, share).as_secs_f64() * 1_000.0);
        println!("| {what} | {} | {half:.2} | {most:.2} | {longest:.2} |", times.len());
    }
    println!();
    let ratio = at(&busy, 0.99).as_secs_f64() / at(&quiet, 0.99).as_secs_f64();
    println!("p99 during the migration is {ratio:.2} times what it is without one");
    for step in steps {
        println!("{}: {} ms", step.name, step.duration_ms);
    }
    migrator.close().await;
    Ok(())
}

/// How long each statement of an application took while something went on, shortest first.
async fn during<T>(
    database: &TestDatabase,
    rows: u64,
    something: impl Future<Output = Outcome<T>>,
) -> Outcome<(Vec<Duration>, T)> {
    let ends = Arc::new(AtomicBool::new(false));
    let mut sessions = Vec::new();
    for session in 0..SESSIONS {
        sessions.push(tokio::spawn(work(database.connect().await, session, rows, Arc::clone(&ends))));
    }
    let done = something.await;
    ends.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for session in sessions {
        times.extend(session.await??);
    }
    times.sort();
    Ok((times, done?))
}

/// Reads and writes single rows, with a moment of thought between.
async fn work(
    database: DatabaseConnection,
    session: u64,
    rows: u64,
    ends: Arc<AtomicBool>,
) -> Result<Vec<Duration>, sea_orm::DbErr> {
    const THOUGHT: Duration = Duration::from_millis(4);

    let (mut times, mut number) = (Vec::new(), session);
    while !ends.load(Ordering::Relaxed) {
        // Far from each other, and the same in every run.
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let id = (number >> 33) % rows + 1;
        let sql = match number >> 62 {
            0 => format!("UPDATE parts SET n = n + 1 WHERE id = {id}"),
            _ => format!("SELECT name, n FROM parts WHERE id = {id}"),
        };
        let start = Instant::now();
        database.execute_unprepared(&sql).await?;
        times.push(start.elapsed());
        tokio::time::sleep(THOUGHT).await;
    }
    Ok(times)
}

fn at(times: &[Duration], share: f64) -> Duration {
    let last = times.len().saturating_sub(1);
    times.get((last as f64 * share) as usize).copied().unwrap_or_default()
}
