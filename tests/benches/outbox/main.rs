//! How fast what was committed is delivered, and how fast the audit trail is verified: into documents in the database, on
//! SQLite and on PostgreSQL, and into MongoDB. What counts beside the times, which are those of the machine, is how they
//! compare with the same documents written, and read, by statements alone. Then how long writes take while MongoDB is
//! there, and while it is not.
//!
//! `cargo bench -p tests --bench outbox` starts the servers that it needs; `SEABED_BENCH_ROWS` sets how many rows there
//! are.

#[path = "../shared/measure.rs"]
mod measure;

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use api::adapter::{
    mongo_connection::{MongoConnection, MongoOptions},
    mongo_documents::MongoDocuments,
};
use domain::{
    Documents, NewTag, OutboxPolicy, SqlDocuments, Store, StoreOptions, SystemClock,
    document::{Collection, collections},
};
use measure::{load_average, median};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use tests::{Backend, Mongo, TestDatabase, database};

const ROWS: u64 = 50_000;
/// How often MongoDB is there, and is not.
const TURNS: usize = 5;
/// How many write at once, and how often in a turn.
const WRITERS: usize = 4;
const WRITES: usize = 500;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(async {
        let rows = variable("SEABED_BENCH_ROWS").and_then(|rows| rows.parse().ok()).unwrap_or(ROWS);
        println!("{rows} rows, load average {}", load_average());
        println!();
        println!(
            "| from, to | delivered, events/s | of what statements alone do | verified, entries/s | of reading alone |"
        );
        println!("|---|---|---|---|---|");
        let mut mongo = Mongo::private().await.map_err(|skip| skip.to_string())?;
        for (backend, into) in [(Backend::Sqlite, None), (Backend::Postgres, None), (Backend::Postgres, Some(&mongo))] {
            let database = database(backend).await.map_err(|skip| skip.to_string())?;
            measure(&database, into, rows).await?;
        }
        println!();
        writing(&mut mongo).await
    })
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is configured by its own variables")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn in_mongo(server: &Mongo, name: &str) -> Arc<dyn Documents> {
    Arc::new(MongoDocuments::new(MongoConnection::new(MongoOptions::new(server.uri(name)))))
}

fn declared() -> Vec<Collection> {
    collections().into_iter().cloned().collect()
}

async fn measure(database: &TestDatabase, mongo: Option<&Mongo>, rows: u64) -> Outcome<()> {
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
    let documents = match mongo {
        None => Arc::new(SqlDocuments::new(&store)),
        Some(server) => in_mongo(server, "measured"),
    };
    documents.prepare(&collections()).await?;
    let started = Instant::now();
    let store = store.delivering(documents.clone(), declared(), OutboxPolicy::default());
    while number(&outside, "SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 1) AS waiting").await? > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let delivered = started.elapsed();

    // As the server does by itself, within a minute of that many new rows.
    outside.execute_unprepared("ANALYZE").await?;
    let reading = match mongo {
        None => {
            let started = Instant::now();
            let all = "SELECT body FROM documents WHERE collection = 'audit'";
            let read = outside.query_all_raw(Statement::from_string(outside.get_database_backend(), all)).await?;
            assert_eq!(read.len() as u64, rows);
            Some(started.elapsed())
        }
        Some(_) => None,
    };
    let started = Instant::now();
    let verification = store.verify_audit(&*documents).await?;
    let verified = started.elapsed();
    assert!(verification.is_whole() && verification.entries == rows, "{verification}");

    // A row is two documents: an entry of the audit trail, and one of the log.
    let per_second = |time: Duration| rows as f64 / time.as_secs_f64();
    let ratio = |alone: Duration, ours: Duration| format!("{:.2}", alone.as_secs_f64() / ours.as_secs_f64());
    println!(
        "| {:?}, {} | {:.0} | {} | {:.0} | {} |",
        database.backend(),
        if mongo.is_some() { "MongoDB" } else { "itself" },
        per_second(delivered),
        reading.map_or_else(String::new, |_| ratio(alone, delivered)),
        per_second(verified),
        reading.map_or_else(String::new, |reading| ratio(reading, verified)),
    );
    store.close().await;
    Ok(())
}

async fn number(outside: &DatabaseConnection, sql: &str) -> Outcome<i64> {
    let row = outside.query_one_raw(Statement::from_string(outside.get_database_backend(), sql)).await?;
    Ok(row.ok_or("no row")?.try_get_by_index(0)?)
}

/// How long writes take on PostgreSQL, in turns with MongoDB and without it.
async fn writing(mongo: &mut Mongo) -> Outcome<()> {
    let database = database(Backend::Postgres).await.map_err(|skip| skip.to_string())?;
    let documents = in_mongo(mongo, "writing");
    let store = Store::connect(&StoreOptions::new(&database.url), SystemClock).await?;
    documents.prepare(&collections()).await?;
    let store = store.delivering(documents, declared(), OutboxPolicy::default());
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..=TURNS {
        for (times, is_there) in times.iter_mut().zip([true, false]) {
            if !is_there {
                mongo.stop().await;
            }
            let took = write(&store, &format!("{turn} {is_there}")).await?;
            if !is_there {
                mongo.start().await;
            }
            // The first turn is for warming up.
            if turn > 0 {
                times.push(took);
            }
        }
    }
    println!("| a write, with MongoDB away | times as long as with it |");
    println!("|---|---|");
    for (name, place) in [("p50", 0), ("p99", 1)] {
        let [there, away] = times.each_ref().map(|times| median(times.iter().map(|took| took[place]).collect()));
        println!("| {name} | {:.2} |", away / there);
    }
    store.close().await;
    Ok(())
}

/// Writes from several at once; how long the one in the middle took, and the slowest but for one in a hundred.
async fn write(store: &Store, turn: &str) -> Outcome<[f64; 2]> {
    let next = Arc::new(AtomicUsize::new(0));
    let writers = (0..WRITERS).map(|_| {
        let (store, next, turn) = (store.clone(), Arc::clone(&next), turn.to_owned());
        tokio::spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= WRITERS * WRITES {
                    return Ok::<_, domain::Error>(times);
                }
                let started = Instant::now();
                store.insert(NewTag { name: format!("{turn} {number}") }).await?;
                times.push(started.elapsed().as_secs_f64());
            }
        })
    });
    let mut times = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        times.extend(writer.await??);
    }
    times.sort_by(f64::total_cmp);
    Ok([times[times.len() / 2], times[times.len() * 99 / 100]])
}
