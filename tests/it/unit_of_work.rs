//! Writes that commit together: all of them, or none.
//!
//! What SeaORM alone gets wrong is shown beside what holds here (`the_bare_library_…`): should one of those fail, a newer
//! version does better, and some of our care can go. That an outer transaction is committed while a nested one is open,
//! which keeps nothing, has no test of ours: there is no nested transaction to hold, a savepoint borrows its work.

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{Change, Error, Result, Sql, TagPatch, Unavailable, UnitOfWork};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, TransactionTrait};
use tests::{Backend, PATIENCE, TestDatabase, eventually, on_both, or_skip, run::LIMIT, within};
use tokio::sync::Barrier;

use crate::fixture::{new_tag, open, options, store, tag, tag_names, unavailable, until_free};

fn refusal() -> Error {
    Error::refused("no", "not today")
}

/// A statement that fails on every database, and whose failure is swallowed.
async fn fail(work: &UnitOfWork) {
    work.insert(new_tag("taken")).await.unwrap_err();
}

on_both!(
    async fn what_is_committed_is_there_and_was_not_before(database: TestDatabase) {
        let store = store(&database).await;
        let reader = store.clone();
        let written = store
            .write(move |work| {
                let reader = reader.clone();
                async move {
                    let tag = work.insert(new_tag("new")).await?;
                    assert_eq!(work.find(tag.id).await?, tag);
                    assert!(reader.look_up(tag.id).await?.is_none(), "others see what is not committed");
                    Ok(tag)
                }
            })
            .await
            .unwrap();
        assert_eq!(store.find(written.id).await.unwrap(), written);
    }

    async fn an_error_undoes_everything(database: TestDatabase) {
        let store = store(&database).await;
        let failed = store.write(|work| async move {
            work.insert(new_tag("one")).await?;
            work.insert(new_tag("two")).await?;
            Err::<(), _>(refusal())
        });
        assert!(matches!(failed.await, Err(Error::Refused { code: "no", .. })));
        assert_eq!(tag_names(&store).await, [""; 0]);
        until_free(&store).await;
    }

    async fn a_panic_undoes_everything(database: TestDatabase) {
        let store = store(&database).await;
        for _ in 0..10 {
            let panicked = store.write::<(), _, _>(|work| async move {
                work.insert(new_tag("one")).await?;
                panic!("this is a drill");
            });
            assert!(matches!(panicked.await, Err(Error::Internal { .. })));
        }
        assert_eq!(tag_names(&store).await, [""; 0]);
        tag(&store, "one").await;
    }

    async fn a_handle_that_outlives_its_work_is_refused(database: TestDatabase) {
        let store = store(&database).await;
        let leaked = Arc::new(Mutex::new(Vec::<UnitOfWork>::new()));
        for ending in ["commit", "error", "panic"] {
            let leak = Arc::clone(&leaked);
            let written = store.write(move |work| {
                leak.lock().unwrap().push(work.clone());
                async move {
                    work.insert(new_tag(ending)).await?;
                    match ending {
                        "commit" => Ok(()),
                        "error" => Err(refusal()),
                        _ => panic!("this is a drill"),
                    }
                }
            });
            assert_eq!(written.await.is_ok(), ending == "commit");
        }
        let by_hand = store.begin().await.unwrap();
        by_hand.insert(new_tag("by hand")).await.unwrap();
        leaked.lock().unwrap().push(by_hand.clone());
        drop(by_hand);

        let leaked = std::mem::take(&mut *leaked.lock().unwrap());
        assert_eq!(leaked.len(), 4);
        for handle in &leaked {
            assert_eq!(unavailable(handle.insert(new_tag("late")).await), Unavailable::Closed);
            assert_eq!(unavailable(handle.execute(Sql::new("DELETE FROM tags")).await), Unavailable::Closed);
            assert_eq!(unavailable(handle.savepoint(|_| async { Ok(()) }).await), Unavailable::Closed);
        }
        // They hold no connection either.
        until_free(&store).await;
        tag(&store, "after").await;
        assert_eq!(tag_names(&store).await, ["commit", "after"]);
    }

    async fn by_hand_it_commits_rolls_back_and_is_undone_when_dropped(database: TestDatabase) {
        let store = store(&database).await;
        let work = store.begin().await.unwrap();
        work.insert(new_tag("committed")).await.unwrap();
        work.commit().await.unwrap();
        let work = store.begin().await.unwrap();
        work.insert(new_tag("rolled back")).await.unwrap();
        work.rollback().await.unwrap();
        let work = store.begin().await.unwrap();
        work.insert(new_tag("dropped")).await.unwrap();
        drop(work);
        let work = store.begin().await.unwrap();
        tag_of(&work, "taken").await;
        fail(&work).await;
        assert!(matches!(work.commit().await, Err(Error::Conflict(_))));
        assert_eq!(tag_names(&store).await, ["committed"]);
        tag(&store, "after").await;
    }

    /// PostgreSQL alone would answer the commit with a rollback that looks like a success.
    async fn a_swallowed_failure_cannot_commit(database: TestDatabase) {
        let store = store(&database).await;
        tag(&store, "taken").await;
        let failed = store
            .write(|work| async move {
                work.insert(new_tag("before")).await?;
                fail(&work).await;
                // Nothing more can be done, and all say why.
                assert!(matches!(work.insert(new_tag("after")).await, Err(Error::Conflict(_))));
                assert!(matches!(work.execute(Sql::new("DELETE FROM tags")).await, Err(Error::Conflict(_))));
                Ok(())
            })
            .await;
        assert!(matches!(failed, Err(Error::Conflict(_))), "{failed:?}");
        assert_eq!(tag_names(&store).await, ["taken"]);
    }

    async fn what_the_domain_refuses_may_be_swallowed(database: TestDatabase) {
        let store = store(&database).await;
        let kept = tag(&store, "kept").await;
        let written = store.write(move |work| async move {
            assert!(work.insert(new_tag("")).await.is_err());
            assert!(work.delete(kept.id, 7).await.is_err());
            let rename = TagPatch { name: Change::Set("x".to_owned()) };
            assert!(work.update(kept.id, 7, rename).await.is_err());
            work.insert(new_tag("new")).await
        });
        written.await.unwrap();
        assert_eq!(tag_names(&store).await, ["kept", "new"]);
    }

    async fn a_savepoint_is_undone_alone(database: TestDatabase) {
        let store = store(&database).await;
        tag(&store, "taken").await;
        let written = store.write(|work| async move {
            work.insert(new_tag("outer")).await?;
            work.savepoint(|inner| async move { inner.insert(new_tag("kept")).await }).await?;
            let refused = work
                .savepoint(|inner| async move {
                    inner.insert(new_tag("undone")).await?;
                    Err::<(), _>(refusal())
                })
                .await;
            assert!(matches!(refused, Err(Error::Refused { .. })));
            // A statement that fails is undone with its savepoint, swallowed or not.
            for swallowed in [false, true] {
                let failed = work.savepoint(move |inner| async move {
                    inner.insert(new_tag("undone")).await?;
                    let failed = inner.insert(new_tag("taken")).await;
                    if swallowed { Ok(()) } else { failed.map(|_| ()) }
                });
                assert!(matches!(failed.await, Err(Error::Conflict(_))));
            }
            work.insert(new_tag("last")).await
        });
        written.await.unwrap();
        assert_eq!(tag_names(&store).await, ["taken", "outer", "kept", "last"]);
    }

    async fn savepoints_nest_deeply(database: TestDatabase) {
        const DEPTH: usize = 16;
        let store = store(&database).await;
        for undone_from in [1, 8, DEPTH, DEPTH + 1] {
            let before = tag_names(&store).await;
            store.write(move |work| nest(work, 1, DEPTH, undone_from)).await.unwrap();
            let mut expected = before;
            expected.extend((1..undone_from).map(|depth| format!("{undone_from}.{depth}")));
            assert_eq!(tag_names(&store).await, expected);
        }
    }

    /// Every mixture of parts that are kept and undone leaves what was kept all the way up.
    async fn savepoints_keep_what_a_model_keeps(database: TestDatabase) {
        let store = store(&database).await;
        let mut chance = StdRng::seed_from_u64(7);
        for round in 0..40 {
            let plan = Plan::random(&mut chance, 4);
            let expected = plan.kept(format!("{round}"));
            let before = tag_names(&store).await;
            let written = store.write(move |work| {
                let plan = plan.clone();
                async move { plan.run(format!("{round}"), work).await }
            });
            assert_eq!(written.await.is_ok(), expected.is_some());
            let expected = before.into_iter().chain(expected.unwrap_or_default()).collect::<Vec<_>>();
            assert_eq!(tag_names(&store).await, expected);
        }
    }

    async fn the_outer_handle_is_refused_while_a_savepoint_is_open(database: TestDatabase) {
        let store = store(&database).await;
        let written = store.write(|work| async move {
            let outer = work.clone();
            work.savepoint(|inner| async move {
                assert!(matches!(outer.insert(new_tag("wrong")).await, Err(Error::Internal { .. })));
                assert!(matches!(outer.savepoint(|_| async { Ok(()) }).await, Err(Error::Internal { .. })));
                inner.insert(new_tag("inner")).await
            })
            .await?;
            work.insert(new_tag("outer")).await
        });
        written.await.unwrap();
        assert_eq!(tag_names(&store).await, ["inner", "outer"]);
    }

    async fn a_handle_of_a_savepoint_is_refused_after_it(database: TestDatabase) {
        let store = store(&database).await;
        let written = store.write(|work| async move {
            let inner = work.savepoint(|inner| async move { Ok(inner) }).await?;
            assert!(matches!(inner.insert(new_tag("late")).await, Err(Error::Internal { .. })));
            work.insert(new_tag("outer")).await
        });
        written.await.unwrap();
        assert_eq!(tag_names(&store).await, ["outer"]);
    }

    /// Nobody can tell what a part has written that stopped in its middle.
    async fn a_savepoint_that_is_abandoned_fails_the_whole(database: TestDatabase) {
        let store = store(&database).await;
        let failed = store
            .write(|work| async move {
                work.insert(new_tag("before")).await?;
                let part = work.savepoint(|inner| async move {
                    inner.insert(new_tag("half")).await?;
                    pending::<Result<()>>().await
                });
                assert!(tokio::time::timeout(Duration::from_millis(50), part).await.is_err());
                assert!(work.insert(new_tag("after")).await.is_err());
                Ok(())
            })
            .await;
        assert!(matches!(failed, Err(Error::Internal { .. })), "{failed:?}");
        assert_eq!(tag_names(&store).await, [""; 0]);
        tag(&store, "usable").await;
    }

    async fn two_parts_of_one_work_may_run_at_once(database: TestDatabase) {
        let store = store(&database).await;
        let written = store.write(|work| async move {
            let insert = |n: usize| {
                let work = work.clone();
                async move { work.insert(new_tag(format!("tag{n}"))).await }
            };
            futures_util::future::try_join_all((0..20).map(insert)).await
        });
        assert_eq!(written.await.unwrap().len(), 20);
        assert_eq!(tag_names(&store).await.len(), 20);
    }
);

async fn tag_of(work: &UnitOfWork, name: &str) {
    work.insert(new_tag(name)).await.unwrap();
}

/// Inserts a tag at every depth, one savepoint in the other, and undoes from one of them inwards.
fn nest(
    work: UnitOfWork,
    depth: usize,
    deepest: usize,
    undone_from: usize,
) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>> {
    Box::pin(async move {
        if depth > deepest {
            return Ok(());
        }
        let part = work
            .savepoint(move |inner| async move {
                inner.insert(new_tag(format!("{undone_from}.{depth}"))).await?;
                nest(inner, depth + 1, deepest, undone_from).await?;
                if depth == undone_from { Err(refusal()) } else { Ok(()) }
            })
            .await;
        if depth == undone_from { Ok(()) } else { part }
    })
}

/// A tree of savepoints: each inserts, does its parts, and is kept or undone.
#[derive(Debug, Clone)]
struct Plan {
    parts: Vec<Plan>,
    is_kept: bool,
}

impl Plan {
    fn random(chance: &mut StdRng, depth: usize) -> Self {
        let parts = if depth == 0 { 0 } else { chance.random_range(0..3) };
        let parts = (0..parts).map(|_| Self::random(chance, depth - 1)).collect();
        Self { parts, is_kept: chance.random_bool(0.7) }
    }

    /// What is there afterwards, in order; none if nothing is.
    fn kept(&self, name: String) -> Option<Vec<String>> {
        let parts = self.parts.iter().enumerate().filter_map(|(n, part)| part.kept(format!("{name}.{n}"))).flatten();
        let all = std::iter::once(name.clone()).chain(parts).collect();
        self.is_kept.then_some(all)
    }

    fn run(self, name: String, work: UnitOfWork) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>> {
        Box::pin(async move {
            work.insert(new_tag(name.clone())).await?;
            for (n, part) in self.parts.into_iter().enumerate() {
                let name = format!("{name}.{n}");
                work.savepoint(move |inner| part.run(name, inner)).await.ok();
            }
            if self.is_kept { Ok(()) } else { Err(refusal()) }
        })
    }
}

on_both!(
    /// A client that hangs up in the middle leaves no connection in a transaction: what is acknowledged later is there.
    async fn a_caller_that_goes_away_loses_nobody_s_writes(database: TestDatabase) {
        let store = open(&domain::StoreOptions { max_connections: 2, ..options(&database.url) }).await;
        let mut chance = StdRng::seed_from_u64(1);
        let mut acknowledged = 0;
        for n in 0..400 {
            let abandoned = store.write(move |work| async move {
                work.insert(new_tag(format!("abandoned{n}"))).await?;
                work.execute(Sql::new("UPDATE tags SET version = 2 WHERE name = 'none'")).await?;
                Err::<(), _>(refusal())
            });
            let by_hand = async {
                let work = store.begin().await?;
                work.insert(new_tag(format!("by hand {n}"))).await?;
                pending::<Result<()>>().await
            };
            let steps = chance.random_range(1..10);
            if n % 2 == 0 {
                give_up_after(steps, abandoned).await;
            } else {
                give_up_after(steps, by_hand).await;
            }
            if n % 4 == 0 {
                tag(&store, &format!("acknowledged{n}")).await;
                acknowledged += 1;
            }
        }
        until_free(&store).await;
        assert!(store.pool_status().open <= 2);
        // Looked at from outside: on another connection, which sees what is committed.
        let outside = database.connect().await;
        let rows = outside.query_all_raw(statement(&outside, "SELECT name FROM tags")).await.unwrap();
        let names = rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap());
        let (kept, lost): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with("acknowledged"));
        assert_eq!((kept.len(), lost.len()), (acknowledged, 0), "{lost:?}");
        if database.backend() == Backend::Postgres {
            let open = "SELECT count(*) FROM pg_stat_activity \
                        WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
            let row = outside.query_one_raw(statement(&outside, open)).await.unwrap().unwrap();
            assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 0);
        }
        outside.close().await.unwrap();
    }

    async fn a_write_that_was_begun_goes_on_without_its_caller(database: TestDatabase) {
        let store = store(&database).await;
        let begun = Arc::new(tokio::sync::Notify::new());
        let go_on = Arc::new(tokio::sync::Notify::new());
        let (has_begun, may_go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
        let writing = store.clone();
        let caller = tokio::spawn(async move {
            writing
                .write(move |work| {
                    let (has_begun, may_go_on) = (Arc::clone(&has_begun), Arc::clone(&may_go_on));
                    async move {
                        work.insert(new_tag("one")).await?;
                        has_begun.notify_one();
                        may_go_on.notified().await;
                        work.insert(new_tag("two")).await
                    }
                })
                .await
        });
        begun.notified().await;
        caller.abort();
        assert!(caller.await.is_err());
        go_on.notify_one();
        eventually("both are there", PATIENCE, async || (tag_names(&store).await.len() == 2).then_some(())).await;
    }
);

/// Goes on with a future for so many steps, and drops it then, or when it stands still.
async fn give_up_after<T>(steps: usize, future: impl Future<Output = T>) {
    let (mut future, mut left) = (std::pin::pin!(future), steps);
    let step = std::future::poll_fn(|context| match left.checked_sub(1) {
        Some(rest) => {
            left = rest;
            future.as_mut().poll(context).map(drop)
        }
        None => std::task::Poll::Ready(()),
    });
    tokio::time::timeout(Duration::from_millis(5), step).await.ok();
}

fn statement(connection: &impl ConnectionTrait, sql: &str) -> sea_orm::Statement {
    sea_orm::Statement::from_string(connection.get_database_backend(), sql)
}

const INSERT: &str = "INSERT INTO tags (id, version, created_at, updated_at, name) VALUES \
                      (gen_random_uuid(), 1, now(), now(), ";

/// Everything that only PostgreSQL does.
async fn on_postgres<F: Future<Output = ()>>(body: impl FnOnce(TestDatabase) -> F) {
    body(or_skip!(tests::database(Backend::Postgres).await)).await;
}

#[test]
fn the_bare_library_calls_a_failed_transaction_committed() {
    within(
        LIMIT,
        on_postgres(async |database| {
            let connection = database.connect().await;
            let transaction = connection.begin().await.unwrap();
            transaction.execute_unprepared(&format!("{INSERT}'lost')")).await.unwrap();
            transaction.execute_unprepared("SELECT 1 / 0").await.unwrap_err();
            transaction.commit().await.expect("it says that it has committed");
            assert_eq!(tag_names(&store(&database).await).await, [""; 0]);
            connection.close().await.unwrap();
        }),
    );
}

#[test]
fn the_bare_library_loses_acknowledged_writes_after_a_cancelled_begin() {
    within(
        LIMIT,
        on_postgres(async |database| {
            let mut options = sea_orm::ConnectOptions::new(database.url.clone());
            options.max_connections(1).test_before_acquire(false);
            let pool = connect(options).await;
            let mut acknowledged = 0_u64;
            let mut chance = StdRng::seed_from_u64(1);
            for n in 0..300 {
                give_up_after(chance.random_range(1..6), pool.begin()).await;
                let insert = format!("{INSERT}'acknowledged{n}')");
                acknowledged += pool.execute_unprepared(&insert).await.unwrap().rows_affected();
            }
            pool.close().await.unwrap();
            let kept = store(&database).await.count(&domain::TagFilter::default()).await.unwrap();
            assert!(kept < acknowledged, "all {acknowledged} are there");
        }),
    );
}

#[expect(clippy::disallowed_methods, reason = "the bare library is what is looked at")]
async fn connect(options: sea_orm::ConnectOptions) -> sea_orm::DatabaseConnection {
    sea_orm::Database::connect(options).await.unwrap()
}

/// Two units of work that read what the other writes: serialisable, one of them must be run again, as a whole.
#[test]
fn a_serialization_failure_is_run_again_as_a_whole() {
    within(
        LIMIT,
        on_postgres(async |database| {
            let store = store(&database).await;
            let both_have_read = Arc::new(Barrier::new(2));
            let attempts = Arc::new(AtomicUsize::new(0));
            let count_and_insert = |name: &'static str| {
                let (both_have_read, attempts) = (Arc::clone(&both_have_read), Arc::clone(&attempts));
                store.write(move |work| {
                    let (both_have_read, attempts) = (Arc::clone(&both_have_read), Arc::clone(&attempts));
                    async move {
                        work.execute(Sql::new("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")).await?;
                        let seen = work.count(&domain::TagFilter::default()).await?;
                        if attempts.fetch_add(1, Ordering::SeqCst) < 2 {
                            both_have_read.wait().await;
                        }
                        work.insert(new_tag(format!("{name} saw {seen}"))).await
                    }
                })
            };
            let (a, b) = tokio::join!(count_and_insert("a"), count_and_insert("b"));
            let names = [a.unwrap().name, b.unwrap().name];
            assert_eq!(attempts.load(Ordering::SeqCst), 3, "{names:?}");
            // As if one had come after the other.
            assert!(names == ["a saw 0", "b saw 1"] || names == ["a saw 1", "b saw 0"], "{names:?}");
        }),
    );
}

#[test]
fn a_deadlock_is_run_again_as_a_whole() {
    within(
        LIMIT,
        on_postgres(async |database| {
            let store = store(&database).await;
            let (one, two) = (tag(&store, "one").await, tag(&store, "two").await);
            let both_hold_one = Arc::new(Barrier::new(2));
            let attempts = Arc::new(AtomicUsize::new(0));
            let touch = |first: domain::TagId, second: domain::TagId| {
                let (both_hold_one, attempts) = (Arc::clone(&both_hold_one), Arc::clone(&attempts));
                store.write(move |work| {
                    let (both_hold_one, attempts) = (Arc::clone(&both_hold_one), Arc::clone(&attempts));
                    async move {
                        let touch = Sql::new("UPDATE tags SET version = version + 1 WHERE id = $1");
                        work.execute(touch.clone().bind(first)).await?;
                        if attempts.fetch_add(1, Ordering::SeqCst) < 2 {
                            both_hold_one.wait().await;
                        }
                        work.execute(touch.bind(second)).await
                    }
                })
            };
            let (a, b) = tokio::join!(touch(one.id, two.id), touch(two.id, one.id));
            assert_eq!((a.unwrap(), b.unwrap()), (1, 1));
            assert_eq!(attempts.load(Ordering::SeqCst), 3);
            // Each was touched twice: nothing of the attempt that failed is left.
            let versions = [store.find(one.id).await.unwrap().version, store.find(two.id).await.unwrap().version];
            assert_eq!(versions, [3, 3]);
        }),
    );
}

on_both!(
    /// Another process holds what is needed, for longer than all attempts together.
    async fn contention_that_does_not_end_is_named(database: TestDatabase) {
        let store =
            open(&domain::StoreOptions { statement_timeout: Duration::from_millis(100), ..options(&database.url) })
                .await;
        let held = tag(&store, "held").await;
        let other = crate::fixture::store(&database).await;
        let holding = other.begin().await.unwrap();
        holding.lock(held.id).await.unwrap();
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let refused = store.write(move |work| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { work.update(held.id, 1, TagPatch { name: Change::Set("mine".to_owned()) }).await }
        });
        let expected = match database.backend() {
            Backend::Sqlite => Unavailable::Contention,
            Backend::Postgres => Unavailable::Timeout,
        };
        assert_eq!(unavailable(refused.await), expected);
        holding.rollback().await.unwrap();
        assert_eq!(store.find(held.id).await.unwrap(), held);
        let renamed = store.update(held.id, 1, TagPatch { name: Change::Set("mine".to_owned()) }).await;
        assert_eq!(renamed.unwrap().version, 2);
    }

    async fn a_business_rule_is_not_tried_again(database: TestDatabase) {
        let store = store(&database).await;
        let attempts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&attempts);
        let refused = store.write(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Err::<(), _>(refusal()) }
        });
        assert!(refused.await.is_err());
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
    }
);
