//! Connections: how many there are, what happens when there is none, and when the server is gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use domain::{Deadline, PoolStatus, Sql, Store, StoreOptions, SystemClock, TagFilter, Unavailable};
use tests::{Backend, PATIENCE, Postgres, Proxy, TestDatabase, eventually, on_both, or_skip, run::LIMIT, within};

use crate::fixture::{new_tag, open, options, store, tag, unavailable};

/// How many sessions of the application the server has on a database.
async fn sessions(database: &TestDatabase) -> i64 {
    let (client, connection) = tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.unwrap();
    let session = tokio::spawn(connection);
    let count = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'seabed'";
    let count = client.query_one(count, &[]).await.unwrap().get(0);
    drop(client);
    session.await.unwrap().ok();
    count
}

async fn until_sessions(database: &TestDatabase, expected: i64, limit: Duration) {
    eventually("the server has that many sessions", limit, async || {
        (sessions(database).await == expected).then_some(())
    })
    .await;
}

async fn refused(options: &StoreOptions) -> Unavailable {
    unavailable(Store::connect(options, SystemClock).await)
}

/// What a read and a write are refused with.
async fn both_refused(store: &Store) -> [Unavailable; 2] {
    let read = unavailable(store.count(&TagFilter::default()).await);
    [read, unavailable(store.insert(new_tag("refused")).await)]
}

/// Ten times as many callers as connections, each with work that takes a while.
#[test]
fn there_are_never_more_connections_than_allowed() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let store = open(&StoreOptions { max_connections: 5, ..options(&database.url) }).await;
        let work = |n: usize| {
            let store = store.clone();
            async move {
                if n.is_multiple_of(2) {
                    store.query(Sql::new("SELECT 1 AS one FROM pg_sleep(0.1)")).await.map(|_| ())
                } else {
                    store
                        .write(|work| async move { work.execute(Sql::new("SELECT pg_sleep(0.1)")).await })
                        .await
                        .map(|_| ())
                }
            }
        };
        let load = tokio::spawn(futures_util::future::try_join_all((0..50).map(work)));
        let mut most = 0;
        while !load.is_finished() {
            most = most.max(sessions(&database).await);
        }
        load.await.unwrap().unwrap();
        assert_eq!(most, 5);
        assert_eq!(store.pool_status().max, 5);
    });
}

on_both!(
    async fn an_exhausted_pool_is_named_within_the_acquire_timeout(database: TestDatabase) {
        let acquire_timeout = Duration::from_millis(500);
        let store = open(&StoreOptions { max_connections: 2, acquire_timeout, ..options(&database.url) }).await;
        let mut held = vec![store.begin().await.unwrap()];
        if database.backend() == Backend::Postgres {
            held.push(store.begin().await.unwrap());
        }
        let start = Instant::now();
        assert_eq!(unavailable(store.insert(new_tag("late")).await), Unavailable::PoolExhausted);
        let waited = start.elapsed();
        assert!(waited >= acquire_timeout && waited < acquire_timeout * 2, "{waited:?}");
        if database.backend() == Backend::Postgres {
            assert_eq!(both_refused(&store).await, [Unavailable::PoolExhausted; 2]);
        }
        drop(held);
        tag(&store, "in time").await;
    }

    async fn a_closed_store_says_so(database: TestDatabase) {
        let store = store(&database).await;
        tag(&store, "kept").await;
        assert!(store.is_connected().await);
        let clone = store.clone();
        store.close().await;
        store.close().await;
        assert!(!clone.is_connected().await);
        assert_eq!(both_refused(&clone).await, [Unavailable::Closed; 2]);
        assert_eq!(unavailable(clone.begin().await.map(|_| ())), Unavailable::Closed);
        assert_eq!(unavailable(clone.ping().await), Unavailable::Closed);
        assert_eq!(clone.pool_status().open, 0);
        if database.backend() == Backend::Postgres {
            until_sessions(&database, 0, PATIENCE).await;
        }
    }

    /// To connect again gives a store of its own.
    async fn a_store_is_opened_as_often_as_one_likes(database: TestDatabase) {
        let (first, second) = (store(&database).await, store(&database).await);
        let made = tag(&first, "one").await;
        first.close().await;
        assert_eq!(second.find(made.id).await.unwrap(), made);
    }
);

#[test]
fn unused_connections_are_closed_down_to_the_minimum() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let idle_timeout = Duration::from_secs(1);
        let limits = StoreOptions { min_connections: 2, max_connections: 6, idle_timeout, ..options(&database.url) };
        let store = open(&limits).await;
        until_sessions(&database, 2, PATIENCE).await;
        assert!(store.is_connected().await);

        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(store.begin().await.unwrap());
        }
        assert_eq!(sessions(&database).await, 6);
        held.clear();
        // Those of the minimum are replaced when they are as old, so that for a moment there may be fewer.
        until_sessions(&database, 2, idle_timeout + Duration::from_secs(5)).await;
    });
}

/// SQLite's readers are a pool like any other; its writer is one, and stays.
#[test]
fn unused_readers_are_closed_down_to_the_minimum() {
    within(LIMIT, async {
        let database = tests::database(Backend::Sqlite).await.unwrap();
        let idle_timeout = Duration::from_secs(1);
        let limits = StoreOptions { min_connections: 2, max_connections: 6, idle_timeout, ..options(&database.url) };
        let store = open(&limits).await;
        let until_unused = async |limit: Duration| {
            let is_so = || matches!(store.pool_status(), PoolStatus { open: 2, idle: 2, max: 6, .. });
            eventually("the minimum is left", limit, async || is_so().then_some(())).await;
        };
        until_unused(PATIENCE).await;

        let slow =
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 50000) SELECT count(*) FROM n";
        let read = |_| {
            let store = store.clone();
            async move { store.query(Sql::new(slow)).await.map(|_| ()) }
        };
        let load = tokio::spawn(futures_util::future::try_join_all((0..30).map(read)));
        let mut most = 0;
        while !load.is_finished() {
            most = most.max(store.pool_status().open);
            tokio::task::yield_now().await;
        }
        load.await.unwrap().unwrap();
        assert_eq!(most, 6, "never more than allowed, and all of those");
        until_unused(idle_timeout + Duration::from_secs(5)).await;
        assert!(store.is_connected().await);
    });
}

#[test]
fn a_black_hole_fails_within_the_connect_timeout() {
    within(LIMIT, async {
        let server = or_skip!(tests::database(Backend::Postgres).await);
        let proxy = Proxy::to_url(&server.url).await;
        proxy.black_hole().await;
        for connect_timeout in [Duration::from_millis(800), Duration::from_secs(2)] {
            let start = Instant::now();
            let options = StoreOptions { connect_timeout, ..options(&proxy.url(&server.url)) };
            assert_eq!(refused(&options).await, Unavailable::Timeout(Deadline::Connect));
            let waited = start.elapsed();
            assert!(waited.abs_diff(connect_timeout) <= connect_timeout / 10, "{waited:?}, not {connect_timeout:?}");
        }
    });
}

#[test]
fn a_server_that_falls_silent_is_named_within_the_acquire_timeout() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let proxy = Proxy::to_url(&database.url).await;
        let acquire_timeout = Duration::from_secs(1);
        let store = open(&StoreOptions { acquire_timeout, ..options(&proxy.url(&database.url)) }).await;
        proxy.refuse().await;
        for found in both_refused(&store).await {
            assert_eq!(found, Unavailable::Network);
        }
        proxy.forward().await;
        eventually("it writes again", PATIENCE, async || store.insert(new_tag("again")).await.ok()).await;
    });
}

#[test]
fn a_store_knows_when_its_server_is_gone_and_when_it_is_back() {
    within(LIMIT, async {
        let mut server = or_skip!(Postgres::private().await);
        let acquire_timeout = Duration::from_secs(1);
        let database = server.database().await;
        let store = open(&StoreOptions { acquire_timeout, ..options(&database.url) }).await;
        let made = tag(&store, "before").await;
        assert!(store.is_connected().await);
        assert!(!store.ping().await.unwrap().version.is_empty());

        server.stop().await;
        assert!(!store.is_connected().await);
        assert_eq!(both_refused(&store).await, [Unavailable::Network; 2]);
        assert_eq!(refused(&options(&database.url)).await, Unavailable::Network);

        server.start().await;
        eventually("the store is connected again", PATIENCE, async || store.is_connected().await.then_some(())).await;
        assert_eq!(store.find(made.id).await.unwrap(), made);
        tag(&store, "after").await;
    });
}

/// With `fsync` on, as in production. What was not acknowledged may be there or not.
#[test]
fn what_was_acknowledged_survives_the_server_s_end() {
    within(LIMIT, async {
        let mut server = or_skip!(Postgres::private_with(&["fsync=on"]).await);
        let database = server.database().await;
        let store = open(&options(&database.url)).await;
        // A writer that waited for a connection meanwhile sees no error at all.
        let is_over = Arc::new(AtomicBool::new(false));
        let writers = (0..4).map(|writer| {
            let (store, is_over) = (store.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in (0..).take_while(|_| !is_over.load(Ordering::SeqCst)) {
                    acknowledged.extend(store.insert(new_tag(format!("{writer}-{n}"))).await.ok());
                }
                acknowledged
            })
        });
        let writers = writers.collect::<Vec<_>>();
        eventually("there is something to lose", PATIENCE, async || {
            (store.count(&TagFilter::default()).await.unwrap() > 100).then_some(())
        })
        .await;
        server.kill().await;
        is_over.store(true, Ordering::SeqCst);
        server.start().await;
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.await.unwrap());
        }
        assert!(acknowledged.len() > 100);
        let after = crate::fixture::store(&database).await;
        for tag in acknowledged {
            assert_eq!(after.find(tag.id).await.unwrap(), tag);
        }
    });
}

async fn setting(server: &Postgres, name: &str) -> String {
    let (client, connection) = tokio_postgres::connect(&server.url("postgres"), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one("SELECT current_setting($1)", &[&name]).await.unwrap().get(0)
}

#[test]
fn wrong_credentials_are_named() {
    within(LIMIT, async {
        let server = or_skip!(Postgres::private().await);
        let database = server.database().await;
        server.execute("CREATE ROLE ada LOGIN PASSWORD 'right'; GRANT ALL ON DATABASE postgres TO ada").await;
        let as_ada = |password: &str| database.url.replace("postgres@", &format!("ada:{password}@"));
        // Passwords for all but the server's own user.
        let rules = "CREATE TABLE rules (rule text); INSERT INTO rules VALUES \
                     ('host all postgres 127.0.0.1/32 trust'), ('host all all 127.0.0.1/32 scram-sha-256')";
        server.execute(rules).await;
        server.execute(format!("COPY rules TO '{}'", setting(&server, "hba_file").await)).await;
        server.execute("SELECT pg_reload_conf()").await;
        eventually("the server asks for passwords", PATIENCE, async || {
            let refused = Store::connect(&options(&as_ada("wrong")), SystemClock).await.err();
            matches!(refused, Some(domain::Error::Unavailable { reason: Unavailable::Authentication, .. }))
                .then_some(())
        })
        .await;
        assert!(open(&options(&as_ada("right"))).await.is_connected().await);
        let nowhere = database.url.rsplit_once('/').unwrap().0.to_owned() + "/nowhere";
        assert_eq!(refused(&options(&nowhere)).await, Unavailable::Authentication);
        let error = Store::connect(&options(&as_ada("wrong")), SystemClock).await.err().unwrap();
        assert!(!format!("{error} {error:?}").contains("wrong"), "{error:?}");
    });
}

#[test]
fn a_statement_that_takes_too_long_is_named_and_ended() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let statement_timeout = Duration::from_millis(300);
        let store = open(&StoreOptions { statement_timeout, ..options(&database.url) }).await;
        let start = Instant::now();
        assert_eq!(
            unavailable(store.query(Sql::new("SELECT pg_sleep(30)")).await),
            Unavailable::Timeout(Deadline::Statement)
        );
        let slow = store.write(|work| async move { work.execute(Sql::new("SELECT pg_sleep(30)")).await });
        assert_eq!(unavailable(slow.await), Unavailable::Timeout(Deadline::Statement));
        assert!(start.elapsed() < Duration::from_secs(5));
        tag(&store, "usable").await;
    });
}

#[test]
fn a_server_that_accepts_no_writes_is_named() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let name = database.url.rsplit('/').next().unwrap();
        let server = or_skip!(tests::postgres::shared().await);
        server.execute(format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
        let store = store(&database).await;
        assert_eq!(store.count(&TagFilter::default()).await.unwrap(), 0);
        assert_eq!(unavailable(store.insert(new_tag("no")).await), Unavailable::ReadOnly);
    });
}

/// What is sent on a connection that is open already is not covered: nothing limits how long its answer may take.
#[test]
fn a_network_that_swallows_new_connections_is_named() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let proxy = Proxy::to_url(&database.url).await;
        let acquire_timeout = Duration::from_secs(1);
        let store = open(&StoreOptions { acquire_timeout, ..options(&proxy.url(&database.url)) }).await;
        store.ping().await.unwrap();
        proxy.black_hole().await;
        proxy.cut().await;
        let start = Instant::now();
        assert_eq!(both_refused(&store).await, [Unavailable::Timeout(Deadline::Connect); 2]);
        assert!(start.elapsed() < acquire_timeout * 3, "{:?}", start.elapsed());
    });
}

#[test]
fn a_commit_is_on_the_disk_before_it_is_acknowledged() {
    within(LIMIT, async {
        let database = tests::database(Backend::Sqlite).await.unwrap();
        let store = store(&database).await;
        // https://www.sqlite.org/pragma.html#pragma_synchronous: less than FULL, and the last commits may be lost when the
        // power is; which no test can take away.
        let ask = |work: domain::UnitOfWork| async move {
            work.query(Sql::new("SELECT synchronous FROM pragma_synchronous")).await
        };
        let rows = store.write(ask).await.unwrap();
        assert_eq!(rows.column::<i64>("synchronous").unwrap(), [2]);
    });
}
