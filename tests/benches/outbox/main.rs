//! How fast what was committed is delivered, and how fast the audit trail is verified: into documents in the database, on
//! SQLite and on a PostgreSQL server that is started for it. What counts beside the times, which are those of the machine, is
//! how they compare with the same documents written, and read, by statements alone.
//!
//! `cargo bench -p tests --bench outbox`; `SEABED_BENCH_ROWS` sets how many rows there are.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{Documents, OutboxPolicy, SqlDocuments, Store, StoreOptions, SystemClock, document::collections};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use tests::{Backend, TestDatabase, database};

const ROWS: u64 = 50_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let rows = variable("SEABED_BENCH_ROWS").and_then(|rows| rows.parse().ok()).unwrap_or(ROWS);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("{rows} rows, load average {}", load.trim());
        println!();
        println!(
            "| database | delivered, events/s | of what statements alone do | verified, entries/s | of reading alone |"
        );
        println!("|---|---|---|---|---|");
        for backend in [Backend::Sqlite, Backend::Postgres] {
            let database = database(backend).await.map_err(|skip| skip.to_string())?;
            measure(&database, rows).await?;
        }
        Ok(())
    })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is configured by its own variables")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

async fn measure(database: &TestDatabase, rows: u64) -> Outcome<()> {
    let outside = database.connect().await;
    let (id, now) = match database.backend() {
        Backend::Sqlite => ("randomblob(16)", "'2026-01-01T00:00:00+00:00'"),
        Backend::Postgres => ("gen_random_uuid()", "now()"),
    };
    // Each has an entry in the trail and one in the log.
    let fill = format!(
        "INSERT INTO tags (id, version, created_at, updated_at, name) \
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows}) \
         SELECT {id}, 1, {now}, {now}, 'tag ' || n FROM n"
    );
    outside.execute_unprepared(&fill).await?;

    // What statements alone take for as many documents of that size.
    let body = match database.backend() {
        Backend::Sqlite => "body",
        Backend::Postgres => "body::jsonb",
    };
    let id = match database.backend() {
        Backend::Sqlite => "hex(id)",
        Backend::Postgres => "id::text",
    };
    let started = Instant::now();
    for collection in ["one", "other"] {
        for from in (0..rows).step_by(500) {
            let sql = format!(
                "INSERT INTO documents (collection, id, body) SELECT '{collection}', {id}, {body} FROM outbox \
                 WHERE number > {from} AND number <= {from} + 500"
            );
            outside.execute_unprepared(&sql).await?;
        }
    }
    let alone = started.elapsed();
    outside.execute_unprepared("DELETE FROM documents").await?;

    let store = Store::connect(&StoreOptions::new(&database.url), SystemClock).await?;
    let documents = SqlDocuments::new(&store);
    documents.prepare(&collections()).await?;
    let started = Instant::now();
    let store = store.delivering(Arc::new(documents.clone()), Vec::new(), OutboxPolicy::default());
    while number(&outside, "SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 1) AS waiting").await? > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let delivered = started.elapsed();

    let started = Instant::now();
    let all = "SELECT body FROM documents WHERE collection = 'audit'";
    let read = outside.query_all_raw(Statement::from_string(outside.get_database_backend(), all)).await?;
    let reading = started.elapsed();
    let started = Instant::now();
    let verification = store.verify_audit(&documents).await?;
    let verified = started.elapsed();
    assert!(verification.is_whole() && verification.entries == rows && read.len() as u64 == rows, "{verification}");

    let per_second = |time: Duration| rows as f64 / time.as_secs_f64();
    println!(
        "| {:?} | {:.0} | {:.2} | {:.0} | {:.2} |",
        database.backend(),
        per_second(delivered),
        alone.as_secs_f64() / delivered.as_secs_f64(),
        per_second(verified),
        reading.as_secs_f64() / verified.as_secs_f64(),
    );
    store.close().await;
    Ok(())
}

async fn number(outside: &DatabaseConnection, sql: &str) -> Outcome<i64> {
    let row = outside.query_one_raw(Statement::from_string(outside.get_database_backend(), sql)).await?;
    Ok(row.ok_or("no row")?.try_get_by_index(0)?)
}
