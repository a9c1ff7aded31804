//! A pooler between the store and PostgreSQL: PgBouncer in transaction mode, where a session is a transaction long.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use domain::{Deadline, Pooler, Unavailable};
use futures_util::future::join_all;
use tests::{
    Backend, PgBouncer, Proxy, TestApp, database, or_skip, postgres, process,
    run::{self, LIMIT},
    within,
};
use tokio_postgres::NoTls;

use crate::fixture::unavailable;

async fn session(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn backend(client: &tokio_postgres::Client) -> i32 {
    client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0)
}

#[test]
fn many_clients_of_a_pooler_share_one_session_of_the_server() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let server = or_skip!(postgres::shared().await);
        let pooler = or_skip!(PgBouncer::before_with(server.address(), &["default_pool_size=1"]).await);
        let url = pooler.url(&database.url);
        let clients = [session(&url).await, session(&url).await, session(&url).await];
        let mut backends = Vec::new();
        for client in &clients {
            // The same statement, prepared by each of them.
            backends.push(backend(client).await);
        }
        assert!(backends.iter().all(|&found| found == backends[0]), "{backends:?}");

        let pooler = or_skip!(PgBouncer::before_with(server.address(), &["pool_mode=session"]).await);
        let url = pooler.url(&database.url);
        let (one, other) = (session(&url).await, session(&url).await);
        assert_ne!(backend(&one).await, backend(&other).await);
    });
}

#[test]
fn a_pooler_is_killed_and_starts_again() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let server = or_skip!(postgres::shared().await);
        let mut pooler = or_skip!(PgBouncer::before(server.address()).await);
        let url = pooler.url(&database.url);
        let client = session(&url).await;
        backend(&client).await;
        pooler.kill().await;
        assert!(client.query_one("SELECT 1", &[]).await.is_err());
        assert!(tokio_postgres::connect(&url, NoTls).await.is_err());
        pooler.start().await;
        backend(&session(&url).await).await;
    });
}

#[test]
fn a_pooler_is_recognised_and_one_that_cannot_work_is_named() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let server = or_skip!(postgres::shared().await);
        let direct = server.url(database.url.rsplit('/').next().unwrap());
        let recognised = async |url: &str| Pooler::recognise(url, Duration::from_secs(10)).await.unwrap();
        assert_eq!(recognised(&direct).await, Pooler::None);
        for (settings, expected) in [
            (&[][..], Pooler::Transaction),
            (&["max_prepared_statements=0"], Pooler::WithoutStatements),
            (&["pool_mode=session"], Pooler::Session),
            (&["pool_mode=session", "max_prepared_statements=0"], Pooler::Session),
            (&["pool_mode=statement"], Pooler::WithoutTransactions),
            (&["ignore_startup_parameters=extra_float_digits"], Pooler::RefusesSettings),
        ] {
            let pooler = or_skip!(PgBouncer::before_with(server.address(), settings).await);
            let url = pooler.url(&direct);
            // The second time there are sessions, and statements in them, that the first one has left.
            for _ in 0..2 {
                assert_eq!(recognised(&url).await, expected, "{settings:?}");
            }
            let can_work = matches!(expected, Pooler::Session | Pooler::Transaction);
            assert_eq!(expected.remedy().is_none(), can_work);
        }
        let nowhere = Pooler::recognise("postgres://postgres@127.0.0.1:1/nowhere", Duration::from_secs(10)).await;
        assert_eq!(unavailable(nowhere), Unavailable::Network);
        let silent = Proxy::to(server.address()).await;
        silent.black_hole().await;
        let start = Instant::now();
        let limit = Duration::from_millis(300);
        let unheard = unavailable(Pooler::recognise(&silent.url(&direct), limit).await);
        assert_eq!(unheard, Unavailable::Timeout(Deadline::Connect));
        assert!(start.elapsed() < limit * 3, "{:?}", start.elapsed());
    });
}

#[test]
fn a_start_and_the_doctor_say_what_is_wrong_with_a_pooler() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let server = or_skip!(postgres::shared().await);
        let direct = server.url(database.url.rsplit('/').next().unwrap());
        for (settings, advice) in [
            ("max_prepared_statements=0", "PgBouncer 1.21 or newer with max_prepared_statements > 0"),
            ("ignore_startup_parameters=extra_float_digits", "ignore_startup_parameters = extra_float_digits,options"),
        ] {
            let pooler = or_skip!(PgBouncer::before_with(server.address(), &[settings]).await);
            let environment = [("DATABASE_URL", &*pooler.url(&direct))];
            let start = TestApp::run(&["serve"], &environment).await;
            assert_eq!(start.code(), Some(78), "{}", start.stderr);
            assert!(start.stderr.contains(advice), "{}", start.stderr);
            let doctor = TestApp::run(&["doctor"], &environment).await;
            assert_eq!(doctor.code(), Some(1), "{}", doctor.stdout);
            assert!(doctor.stdout.contains(advice), "{}", doctor.stdout);
        }
        let pooler = or_skip!(PgBouncer::before(server.address()).await);
        let doctor = TestApp::run(&["doctor"], &[("DATABASE_URL", &*pooler.url(&direct))]).await;
        assert!(doctor.stdout.contains("in transaction mode"), "{}", doctor.stdout);
    });
}

/// Its sessions are in other hands most of the time.
#[test]
fn a_busy_pooler_is_recognised() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let server = or_skip!(postgres::shared().await);
        for (statements, expected) in [(200, Pooler::Transaction), (0, Pooler::WithoutStatements)] {
            let setting = format!("max_prepared_statements={statements}");
            let pooler = or_skip!(PgBouncer::before_with(server.address(), &[&setting]).await);
            let url = pooler.url(&database.url);
            let clients = (0..8).map(|_| async {
                let client = session(&url).await;
                loop {
                    client.simple_query("SELECT pg_sleep(random() / 1000)").await.unwrap();
                }
            });
            let recognised = async {
                for _ in 0..5 {
                    assert_eq!(Pooler::recognise(&url, Duration::from_secs(10)).await.unwrap(), expected);
                }
            };
            tokio::select! {
                _ = join_all(clients) => unreachable!("they have no end"),
                () = recognised => {}
            }
        }
    });
}

/// The modules whose tests are of the store.
const MODULES: [&str; 11] = [
    "bulk::",
    "constraint::",
    "insert_all::",
    "list::",
    "outbox::",
    "relation::",
    "statement::",
    "store::",
    "transfer::",
    "unit_of_work::",
    "value::",
];

/// A unit of work of ten thousand statements, which takes nearly as long as one may on a machine that is busy.
const EXCEPT: &str = "ten_thousand_attacks_are_only_text";

/// The tests of the store, again, with a pooler in between. `tests/run --through pgbouncer` does that with all tests.
#[test]
fn the_tests_of_the_store_pass_through_a_pooler() {
    within(Duration::from_secs(900), async {
        let server = or_skip!(postgres::shared().await);
        or_skip!(PgBouncer::before(server.address()).await);
        let this_binary = std::env::current_exe().unwrap();
        let mut tests = process::command(&this_binary, None, "KILL");
        tests.args(MODULES).args(["--skip", "::sqlite", "--skip", EXCEPT, "--test-threads", "2"]);
        // Not of this run: all of them are threads of one process.
        tests.env_remove("NEXTEST_RUN_ID").env(run::THROUGH, "pgbouncer");
        tests.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let tests = process::spawn(tests).unwrap();
        let output = tokio::task::spawn_blocking(|| tests.wait_with_output()).await.unwrap().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
        let passed = printed.lines().filter(|line| line.ends_with("::postgres ... ok")).count();
        assert!(passed > 50, "{printed}");
    });
}
