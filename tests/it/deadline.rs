//! Five limits of time, each with its own: connecting and acquiring are in `connection.rs`, the statement, the unit of
//! work and the request are here.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use domain::{Deadline, Error, Isolation, Sql, StoreOptions, TagFilter, Unavailable, WriteOptions};
use sea_orm::ConnectionTrait;
use tests::{Backend, PATIENCE, Proxy, Toward, database, eventually, on_both, or_skip, run::LIMIT, within};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    bare_library::assert_still,
    fixture::{new_tag, open, options, store, tag, tag_names, unavailable, until_free},
};

/// What may be late by reason of a busy machine.
const SLACK: Duration = Duration::from_secs(3);

on_both!(
    async fn a_unit_of_work_over_its_time_is_undone_and_counted(database: TestDatabase) {
        let transaction_timeout = Duration::from_millis(300);
        let store = open(&StoreOptions { transaction_timeout, ..options(&database.url) }).await;
        let started = Instant::now();
        let endless = store.write(|work| async move {
            work.insert(new_tag("late")).await?;
            pending::<domain::Result<()>>().await
        });
        assert_eq!(unavailable(endless.await), Unavailable::Timeout(Deadline::Transaction));
        assert!((transaction_timeout..transaction_timeout + SLACK).contains(&started.elapsed()));
        assert_eq!(store.counts().aborted_late, 1);

        // Whoever asks for more time has it.
        let patient = WriteOptions { timeout: Some(Duration::from_secs(30)), ..WriteOptions::default() };
        let slow = store.write_with(patient, move |work| async move {
            work.insert(new_tag("in time")).await?;
            tokio::time::sleep(transaction_timeout * 2).await;
            Ok(())
        });
        slow.await.unwrap();
        assert_eq!(tag_names(&store).await, ["in time"]);
        until_free(&store).await;
    }

    async fn a_unit_of_work_that_nobody_ends_is_undone(database: TestDatabase) {
        let transaction_timeout = Duration::from_millis(300);
        let store = open(&StoreOptions { transaction_timeout, ..options(&database.url) }).await;
        let forgotten = store.begin().await.unwrap();
        forgotten.insert(new_tag("forgotten")).await.unwrap();
        eventually("it is over", PATIENCE, async || (store.counts().aborted_late == 1).then_some(())).await;
        assert_eq!(unavailable(forgotten.insert(new_tag("late")).await), Unavailable::Closed);
        assert_eq!(unavailable(forgotten.commit().await), Unavailable::Closed);
        // Its locks are gone, and so is what it wrote.
        tag(&store, "forgotten").await;
        until_free(&store).await;
    }

    async fn what_is_done_for_a_request_ends_before_it(database: TestDatabase) {
        let store = store(&database).await;
        let started = Instant::now();
        let (limit, holder) = (Duration::from_millis(300), store.begin().await.unwrap());
        holder.insert(new_tag("held")).await.unwrap();
        // Waits to know whether the name is taken on PostgreSQL, and for the one writer on SQLite.
        let waiting = domain::within(limit, store.insert(new_tag("held")));
        let expected = match database.backend() {
            Backend::Postgres => Unavailable::Timeout(Deadline::Request),
            Backend::Sqlite => Unavailable::PoolExhausted,
        };
        assert_eq!(unavailable(waiting.await), expected);
        assert!(started.elapsed() < limit + SLACK, "{:?}", started.elapsed());
        holder.commit().await.unwrap();
        assert_eq!(tag_names(&store).await, ["held"]);

        // An inner limit can only be sooner.
        let started = Instant::now();
        let nested = domain::within(
            limit,
            domain::within(Duration::from_secs(600), store.write(|_| async { pending::<domain::Result<()>>().await })),
        );
        assert_eq!(unavailable(nested.await), Unavailable::Timeout(Deadline::Request));
        assert!(started.elapsed() < limit + SLACK, "{:?}", started.elapsed());
    }

    async fn a_statement_ends_in_time(database: TestDatabase) {
        let statement_timeout = Duration::from_millis(300);
        let store = open(&StoreOptions { statement_timeout, ..options(&database.url) }).await;
        let endless =
            || Sql::new("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n");
        let started = Instant::now();
        assert_eq!(unavailable(store.query(endless()).await), Unavailable::Timeout(Deadline::Statement));
        let slow = store.write(move |work| async move { work.query(endless()).await.map(|_| ()) });
        assert_eq!(unavailable(slow.await), Unavailable::Timeout(Deadline::Statement));
        assert!(started.elapsed() < statement_timeout * 2 + SLACK, "{:?}", started.elapsed());
        tag(&store, "usable").await;
    }
);

/// The network falls silent under connections that are open: nothing on the other side can help.
#[test]
fn a_network_that_falls_silent_holds_nobody_up_for_long() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        for toward in [Toward::Server, Toward::Client] {
            let proxy = Proxy::to_url(&database.url).await;
            let statement_timeout = Duration::from_millis(500);
            let store = open(&StoreOptions { statement_timeout, ..options(&proxy.url(&database.url)) }).await;
            let work = store.begin().await.unwrap();
            store.ping().await.unwrap();
            proxy.stall(toward).await;
            let started = Instant::now();
            let late = [
                unavailable(store.query(Sql::new("SELECT 1 AS one")).await),
                unavailable(work.insert(new_tag("never")).await),
            ];
            assert_eq!(late, [Unavailable::Timeout(Deadline::Statement); 2]);
            assert!(started.elapsed() < statement_timeout * 2 + SLACK, "{:?}", started.elapsed());

            let started = Instant::now();
            let limit = Duration::from_millis(200);
            let refused = domain::within(limit, store.count(&TagFilter::default())).await;
            assert!(matches!(refused, Err(Error::Unavailable { .. })), "{refused:?}");
            assert!(started.elapsed() < limit + SLACK, "{:?}", started.elapsed());
            drop(work);
            proxy.forward().await;
            eventually("it writes again", PATIENCE, async || store.insert(new_tag(format!("{toward:?}"))).await.ok())
                .await;
            until_free(&store).await;
        }
    });
}

/// The server keeps to the limits by itself, should nobody be there any more to tell it.
#[test]
fn the_server_knows_the_limits() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let store = store(&database).await;
        let defaults = StoreOptions::new("");
        for (setting, expected) in [
            ("statement_timeout", defaults.statement_timeout),
            ("lock_timeout", defaults.lock_timeout),
            ("idle_in_transaction_session_timeout", defaults.transaction_timeout),
        ] {
            let sql = Sql::new("SELECT setting FROM pg_settings WHERE name = $1").bind(setting);
            let shown = store.query(sql).await.unwrap().column::<String>("setting").unwrap();
            assert_eq!(shown, [expected.as_millis().to_string()], "{setting}");
        }
    });
}

/// How many statements that sleep the server is working on.
async fn sleeping(outside: &impl ConnectionTrait) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE datname = current_database() AND state = 'active' AND query LIKE '%pg_sleep%' \
               AND pid <> pg_backend_pid()";
    let row = outside.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql)).await;
    row.unwrap().unwrap().try_get_by_index(0).unwrap()
}

/// A caller who goes away frees the connection, and the server gives up what nobody waits for. The bare library keeps
/// both for as long as the statement takes.
#[test]
fn a_statement_whose_caller_went_away_is_given_up() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let outside = database.connect().await;
        let store = open(&StoreOptions {
            statement_timeout: Duration::from_secs(600),
            max_connections: 1,
            ..options(&database.url)
        })
        .await;
        let asleep = async |expected| {
            eventually("so many sleep", PATIENCE, async || (sleeping(&outside).await == expected).then_some(())).await;
        };
        {
            let slow = store.query(Sql::new("SELECT 1 AS one FROM pg_sleep(600)"));
            tokio::select! {
                _ = slow => panic!("it slept for no time"),
                () = asleep(1) => {}
            }
        }
        tag(&store, "at once").await;
        asleep(0).await;

        let bare = database.connect().await;
        {
            let slow = bare.execute_unprepared("SELECT pg_sleep(20)");
            tokio::select! {
                _ = slow => panic!("it slept for no time"),
                () = asleep(1) => {}
            }
        }
        let next = tokio::time::timeout(Duration::from_secs(3), bare.execute_unprepared("SELECT 1")).await;
        // A larger pool has another connection to give; the statement goes on all the same.
        let is_wrong = next.is_err() || sleeping(&outside).await == 1;
        assert_still(is_wrong, "a statement whose caller went away goes on and holds its connection");
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' \
                   AND datname = current_database() AND pid <> pg_backend_pid()";
        outside.execute_unprepared(end).await.unwrap();
        outside.close().await.unwrap();
    });
}

#[test]
fn an_isolation_level_is_what_was_asked_for() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let store = store(&database).await;
        for (isolation, name) in [
            (Isolation::ReadCommitted, "read committed"),
            (Isolation::RepeatableRead, "repeatable read"),
            (Isolation::Serializable, "serializable"),
        ] {
            let shown = store.write_with(WriteOptions::isolated(isolation), |work| async move {
                work.query(Sql::new("SELECT current_setting('transaction_isolation') AS level"))
                    .await?
                    .column::<String>("level")
            });
            assert_eq!(shown.await.unwrap(), [name.to_owned()]);
        }
    });
}

/// On a runtime of one thread, so that what its tasks log can be told from what other tests log.
#[test]
fn the_owner_of_what_took_too_long_is_logged() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let log = Log::default();
    let here = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    tracing::subscriber::with_default(here, || {
        runtime.block_on(async {
            let database = database(Backend::Sqlite).await.unwrap();
            let transaction_timeout = Duration::from_millis(100);
            let store = open(&StoreOptions { transaction_timeout, ..options(&database.url) }).await;
            let endless = store.write(|_| pending::<domain::Result<()>>());
            unavailable(endless.await);
        });
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = log.lines().find(|line| line.contains("took too long and was undone")).expect(&log);
    assert!(line.contains(file!()), "{line}");
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
