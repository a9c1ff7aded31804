//! What SeaORM alone gets wrong about transactions, beside what holds here instead.
//!
//! These are the reasons for much of our care. When one of these tests fails because a newer version does better, it says
//! so, and it can go, with the care that it explains. (That a statement whose caller went away holds its connection is
//! shown in `deadline.rs`, and what clients lose that hang up in `cancellation.rs`.)

use std::time::Duration;

use domain::{Answer, Sql, StoreOptions, TagFilter, UnitOfWork};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, TransactionTrait};
use tests::{Backend, Fault, PATIENCE, Proxy, TestDatabase, Toward, Trap, eventually, or_skip, run::LIMIT, within};

use crate::{
    fixture::{count, open, options, store, tag, tag_names, until_free},
    unit_of_work::give_up_after,
};

/// Fails a test of the bare library that is of no use any more.
#[track_caller]
pub(crate) fn assert_still(is_wrong: bool, what: &str) {
    assert!(
        is_wrong,
        "a newer SeaORM does better: it is no longer so that {what}; this test can go, and some of our care"
    );
}

const INSERT: &str = "INSERT INTO tags (id, version, created_at, updated_at, name) VALUES \
                      (gen_random_uuid(), 1, now(), now(), ";

fn on_postgres<F: Future<Output = ()>>(body: impl FnOnce(TestDatabase) -> F) {
    within(LIMIT, async { body(or_skip!(tests::database(Backend::Postgres).await)).await });
}

/// One connection, as when all others are in use.
async fn connect(url: &str) -> sea_orm::DatabaseConnection {
    let mut options = sea_orm::ConnectOptions::new(url);
    options.max_connections(1).test_before_acquire(false).sqlx_logging(false);
    #[expect(clippy::disallowed_methods, reason = "the bare library is what is looked at")]
    sea_orm::Database::connect(options).await.unwrap()
}

/// Ours: `unit_of_work::a_caller_that_goes_away_loses_nobody_s_writes`.
#[test]
fn a_cancelled_begin_takes_acknowledged_writes_with_it() {
    on_postgres(async |database| {
        let pool = connect(&database.url).await;
        let mut acknowledged = 0_u64;
        let mut chance = StdRng::seed_from_u64(1);
        for n in 0..300 {
            give_up_after(chance.random_range(1..6), pool.begin()).await;
            let insert = format!("{INSERT}'acknowledged{n}')");
            acknowledged += pool.execute_unprepared(&insert).await.unwrap().rows_affected();
        }
        pool.close().await.unwrap();
        let kept = store(&database).await.count(&TagFilter::default()).await.unwrap();
        assert_still(kept < acknowledged, "a cancelled begin() leaves a transaction in the pool, which loses writes");
    });
}

/// Ours cannot be written: see `ui/a_commit_while_a_part_is_open.rs` and `ui/a_commit_of_a_part.rs`.
#[test]
fn an_outer_commit_keeps_nothing_while_a_nested_transaction_is_open() {
    on_postgres(async |database| {
        let connection = connect(&database.url).await;
        let outer = connection.begin().await.unwrap();
        outer.execute_unprepared(&format!("{INSERT}'outer')")).await.unwrap();
        let nested = outer.begin().await.unwrap();
        nested.execute_unprepared(&format!("{INSERT}'nested')")).await.unwrap();
        let committed = outer.commit().await;
        drop(nested);
        connection.close().await.unwrap();
        let kept = tag_names(&store(&database).await).await;
        let is_wrong = committed.is_ok() && kept.is_empty();
        assert_still(is_wrong, "an outer commit() returns Ok and keeps nothing while a nested transaction is open");
    });
}

/// Ours: `unit_of_work::a_swallowed_failure_cannot_commit`.
#[test]
fn a_transaction_in_which_a_statement_failed_is_called_committed() {
    on_postgres(async |database| {
        let connection = connect(&database.url).await;
        let transaction = connection.begin().await.unwrap();
        transaction.execute_unprepared(&format!("{INSERT}'lost')")).await.unwrap();
        transaction.execute_unprepared("SELECT 1 / 0").await.unwrap_err();
        let committed = transaction.commit().await;
        connection.close().await.unwrap();
        let kept = tag_names(&store(&database).await).await;
        let is_wrong = committed.is_ok() && kept.is_empty();
        assert_still(is_wrong, "commit() returns Ok and keeps nothing after a statement has failed");
    });
}

/// A commit is heard by the server, and its caller gives up before the answer comes.
async fn deposits(database: &TestDatabase) -> Proxy {
    let outside = database.connect().await;
    outside.execute_unprepared("CREATE TABLE deposits (amount bigint NOT NULL)").await.unwrap();
    outside.close().await.unwrap();
    Proxy::to_url(&database.url).await
}

const IMPATIENCE: Duration = Duration::from_millis(200);
const DEPOSIT: &str = "INSERT INTO deposits VALUES (100)";

async fn deposited(database: &TestDatabase) -> i64 {
    let sum = Sql::new("SELECT CAST(COALESCE(sum(amount), 0) AS bigint) AS sum FROM deposits");
    store(database).await.query(sum).await.unwrap().column("sum").unwrap()[0]
}

/// Whoever gave a commit up and does it all again has done it twice, and was never told.
#[test]
fn a_cancelled_commit_commits_and_its_repetition_too() {
    on_postgres(async |database| {
        let proxy = deposits(&database).await;
        let deposit = async || {
            let connection = connect(&proxy.url(&database.url)).await;
            let transaction = connection.begin().await.unwrap();
            transaction.execute_unprepared(DEPOSIT).await.unwrap();
            let told = tokio::time::timeout(IMPATIENCE, transaction.commit()).await;
            proxy.forward().await;
            told.is_ok()
        };
        let held_back = proxy.set(Trap::after("COMMIT", Fault::Stall(Toward::Client)));
        assert!(!deposit().await, "the commit was to be given up");
        assert_eq!(held_back.sprung(), 1);
        held_back.end();
        assert!(deposit().await);
        assert_still(deposited(&database).await == 200, "a cancelled commit() commits, and nobody is told");
    });
}

/// Here it goes on to its end without the caller, its connection can be used again, and who asks again with the same key
/// is told what came of it.
#[test]
fn a_commit_that_was_given_up_goes_on_and_is_not_repeated() {
    on_postgres(async |database| {
        let proxy = deposits(&database).await;
        let store = open(&StoreOptions { max_connections: 1, ..options(&proxy.url(&database.url)) }).await;
        let deposit = async || {
            store
                .write_once("key", "100", |work: UnitOfWork| async move {
                    work.execute(Sql::new(DEPOSIT)).await?;
                    Ok(Answer { id: uuid::Uuid::nil(), version: 1, body: "deposited".to_owned() })
                })
                .await
        };
        let held_back = proxy.set(Trap::after("COMMIT", Fault::Stall(Toward::Client)));
        assert!(tokio::time::timeout(IMPATIENCE, deposit()).await.is_err(), "the commit was to be given up");
        assert_eq!(held_back.sprung(), 1);
        held_back.end();
        proxy.forward().await;
        assert_eq!(deposit().await.unwrap().body, "deposited");
        assert_eq!(deposited(&database).await, 100);

        // By hand, too: nobody waits for it, and it is there.
        let work = store.begin().await.unwrap();
        work.execute(Sql::new(DEPOSIT)).await.unwrap();
        give_up_after(1, work.commit()).await;
        eventually("it is committed", PATIENCE, async || (deposited(&database).await == 200).then_some(())).await;
        until_free(&store).await;
        tag(&store, "usable").await;
        assert_eq!((proxy.connections(), store.counts().unknown_outcomes), (1, 0));
        assert_eq!(count::<domain::Tag>(&store).await, 1);
    });
}
