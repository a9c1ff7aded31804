//! Clients that hang up in the middle of a write, thousands of times: nothing that was acknowledged is lost, and nothing
//! is left behind.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::StoreOptions;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, TransactionTrait};
use tests::{Backend, TestDatabase, eventually, on_both, or_skip, run, run::rounds, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    bare_library::assert_still,
    fixture::{store, tag_names, until_free},
    http::{KEY, Service},
    unit_of_work::give_up_after,
};

const CLIENTS: usize = 16;

/// How long a write takes among so many: about as long do clients wait at most before they hang up.
async fn usual(service: &Arc<Service>) -> Duration {
    let started = Instant::now();
    let writes = (0..CLIENTS).map(|n| {
        let service = Arc::clone(service);
        tokio::spawn(async move {
            let tag = serde_json::json!({ "name": format!("usual {n} {:?}", Instant::now()) });
            service.create("/v1/tags", &tag).await;
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    started.elapsed()
}

/// Sends a request and hangs up after some time; whether it was answered with 201 before.
async fn post_and_hang_up(service: &Service, name: &str, after: Duration) -> bool {
    let body = format!("{{\"name\":\"{name}\"}}");
    let request = format!(
        "POST /v1/tags HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(service.address()).await.unwrap();
    let answered = async {
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.ok()?;
        Some(start == *b"HTTP/1.1 201")
    };
    matches!(tokio::time::timeout(after, answered).await, Ok(Some(true)))
}

on_both!(
    within run::limit(Duration::from_secs(120));

    async fn a_client_that_hangs_up_loses_no_acknowledged_write(database: TestDatabase) {
        let each = rounds(1_200, 10_000) / CLIENTS / 4;
        let outside = database.connect().await;
        let (mut acknowledged, mut abandoned) = (Vec::new(), 0);
        for max_connections in 1..=4 {
            let options = StoreOptions { max_connections, min_connections: 1, ..StoreOptions::new(&database.url) };
            let service = Arc::new(Service::start_on(&options, api::Limits::default(), KEY).await);
            let longest = usual(&service).await * 2;
            let clients = (0..CLIENTS).map(|client| {
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    let mut chance = StdRng::seed_from_u64((client as u64) << 8 | u64::from(max_connections));
                    let mut acknowledged = Vec::new();
                    for n in 0..each {
                        let name = format!("{max_connections} {client} {n}");
                        let after = longest.mul_f64(chance.random());
                        if post_and_hang_up(&service, &name, after).await {
                            acknowledged.push(name);
                        }
                    }
                    acknowledged
                })
            });
            for client in clients.collect::<Vec<_>>() {
                let theirs = client.await.unwrap();
                abandoned += each - theirs.len();
                acknowledged.extend(theirs);
            }

            // The next request works, and every connection is free again and outside of any transaction.
            service.create("/v1/tags", &serde_json::json!({ "name": format!("after {max_connections}") })).await;
            until_free(&service.store).await;
            assert!(service.store.pool_status().open <= max_connections);
            if database.backend() == Backend::Postgres {
                eventually("no session is in a transaction", Duration::from_secs(1), async || {
                    (in_transaction(&outside).await == 0).then_some(())
                })
                .await;
            }
        }
        assert!(acknowledged.len() > CLIENTS && abandoned > CLIENTS, "{} and {abandoned}", acknowledged.len());
        assert_eq!(lost(&database, &acknowledged).await, 0, "of {} acknowledged", acknowledged.len());
        outside.close().await.unwrap();
    }
);

async fn in_transaction(outside: &impl ConnectionTrait) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND state LIKE 'idle in transaction%'";
    let row = outside.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql)).await;
    row.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// The same on SeaORM alone: half of the clients hang up, which drops their handler between two of its first steps, and
/// the other half wait for their answer.
#[test]
fn the_bare_library_loses_acknowledged_writes_when_clients_hang_up() {
    /// One nearly always suffices: which steps are dropped depends on how the machine deals out its time.
    const ATTEMPTS: usize = 10;
    within(run::limit(Duration::from_secs(120)), async {
        let mut attempt = 0;
        while !bare_clients_lose(attempt, or_skip!(tests::database(Backend::Postgres).await)).await
            && attempt < ATTEMPTS
        {
            attempt += 1;
        }
        assert_still(attempt < ATTEMPTS, "acknowledged writes are lost when clients hang up");
    });
}

async fn bare_clients_lose(attempt: usize, database: TestDatabase) -> bool {
    let mut options = sea_orm::ConnectOptions::new(database.url.clone());
    options.max_connections(2).test_before_acquire(false).sqlx_logging(false);
    let pool = connect(options).await;
    let clients = (0..CLIENTS).map(|client| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut chance = StdRng::seed_from_u64((attempt * CLIENTS + client) as u64);
            let mut acknowledged = Vec::new();
            for n in 0..40 {
                let insert = format!(
                    "INSERT INTO tags (id, version, created_at, updated_at, name) \
                     VALUES (gen_random_uuid(), 1, now(), now(), '{client} {n}')"
                );
                if n % 2 == 0 {
                    pool.execute_unprepared(&insert).await.unwrap();
                    acknowledged.push(format!("{client} {n}"));
                    continue;
                }
                let handler = async {
                    let transaction = pool.begin().await?;
                    transaction.execute_unprepared(&insert).await?;
                    transaction.commit().await
                };
                if let Some(Ok(())) = give_up_after(chance.random_range(1..6), handler).await {
                    acknowledged.push(format!("{client} {n}"));
                }
            }
            acknowledged
        })
    });
    let mut acknowledged = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        acknowledged.extend(client.await.unwrap());
    }
    pool.close().await.unwrap();
    lost(&database, &acknowledged).await > 0
}

/// How many of those that were acknowledged are not there.
async fn lost(database: &TestDatabase, acknowledged: &[String]) -> usize {
    let kept = tag_names(&store(database).await).await.into_iter().collect::<HashSet<_>>();
    acknowledged.iter().filter(|name| !kept.contains(*name)).count()
}

#[expect(clippy::disallowed_methods, reason = "the bare library is what is looked at")]
async fn connect(options: sea_orm::ConnectOptions) -> sea_orm::DatabaseConnection {
    sea_orm::Database::connect(options).await.unwrap()
}
