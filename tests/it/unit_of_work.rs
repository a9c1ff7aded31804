//! Writes that commit together: all of them, or none.
//!
//! What SeaORM alone gets wrong in this is shown in `bare_library.rs`.

mod model;

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{Change, Deadline, Error, Result, Sql, StoreOptions, TagPatch, Unavailable, UnitOfWork};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::ConnectionTrait;
use tests::{
    Backend, PATIENCE, TestDatabase, eventually, on_both, or_skip,
    run::{self, LIMIT, rounds},
    within,
};
use tokio::sync::Barrier;

use self::model::{Left, Tree};
use crate::fixture::{execute, new_tag, open, options, store, tag, tag_names, unavailable, until_free};

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

    async fn a_connection_is_not_lent_again_before_its_transaction_has_ended(database: TestDatabase) {
        let slow = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
                    SELECT max(i) AS i FROM n";
        let store = open(&StoreOptions { min_connections: 1, max_connections: 1, ..options(&database.url) }).await;
        let mut kept = Vec::new();
        for round in 0..rounds(10, 200) {
            let work = store.begin().await.unwrap();
            work.insert(new_tag("undone")).await.unwrap();
            let begun = Arc::new(Barrier::new(2));
            let busy = tokio::spawn({
                let (handle, begun) = (work.clone(), Arc::clone(&begun));
                async move {
                    begun.wait().await;
                    handle.query(Sql::new(slow)).await.map(drop)
                }
            });
            begun.wait().await;
            // In the middle of its statement, if it has come so far.
            tokio::task::yield_now().await;
            drop(work);
            kept.push(tag(&store, &format!("kept {round:03}")).await.name);
            // It was let finish, or came too late.
            if let Err(error) = busy.await.unwrap() {
                assert_eq!(unavailable::<()>(Err(error)), Unavailable::Closed);
            }
        }
        assert_eq!(tag_names(&store).await, kept);
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

on_both!(
    within run::limit(Duration::from_secs(120));

    /// Whatever is kept, undone, swallowed, left in its middle or ended by a panic, in whatever order and depth: what is
    /// there afterwards is what the rules say.
    async fn savepoints_keep_what_a_model_keeps(database: TestDatabase) {
        let store = store(&database).await;
        tag(&store, "taken").await;
        let mut chance = StdRng::seed_from_u64(7);
        let mut seen = [0_usize; 3];
        for round in 0..rounds(600, 20_000) {
            let tree = Tree::random(&mut chance);
            let name = round.to_string();
            let expected = tree.left(&name);
            let written = tree.clone().run(name.clone(), &store).await;
            assert_eq!(written.is_ok(), expected.is_some(), "{written:?}, not {expected:?}, of {tree:?}");
            let all = Sql::new("SELECT name FROM tags WHERE name <> 'taken' ORDER BY id");
            let names = store.query(all).await.unwrap().column::<String>("name").unwrap();
            assert_eq!(names, expected.unwrap_or_default(), "{tree:?}");
            execute(&store, Sql::new("DELETE FROM tags WHERE name <> 'taken'")).await.unwrap();
            seen[match tree.whole.left(&name) {
                Left::Kept(_) => 0,
                Left::Undone => 1,
                Left::Doomed => 2,
            }] += 1;
        }
        assert!(seen.iter().all(|&seen| seen > 20), "kept, undone, doomed: {seen:?}");
        until_free(&store).await;
    }

    /// A part is dropped after so many steps, wherever that is: it is there as a whole, or not at all, or all fails.
    async fn a_savepoint_that_is_dropped_anywhere_is_not_kept_by_half(database: TestDatabase) {
        let store = store(&database).await;
        let mut chance = StdRng::seed_from_u64(3);
        let mut seen = [0_usize; 3];
        for _ in 0..rounds(150, 5_000) {
            let steps = chance.random_range(1..16);
            let written = store.write(move |work| async move {
                work.insert(new_tag("before")).await?;
                let part = work.savepoint(|inner| async move {
                    inner.insert(new_tag("one")).await?;
                    inner.insert(new_tag("two")).await
                });
                give_up_after(steps, part).await;
                work.insert(new_tag("after")).await.ok();
                Ok(())
            });
            let written = written.await;
            let names = tag_names(&store).await;
            let names = names.iter().map(String::as_str).collect::<Vec<_>>();
            match (&written, &names[..]) {
                (Ok(()), ["before", "after"]) => seen[0] += 1,
                (Ok(()), ["before", "one", "two", "after"]) => seen[1] += 1,
                (Err(Error::Internal { .. }), []) => seen[2] += 1,
                left => panic!("{left:?} after {steps} steps"),
            }
            execute(&store, Sql::new("DELETE FROM tags")).await.unwrap();
        }
        // SQLite may be done with a statement before anybody could go away.
        let is_cut = seen[2] > 0 || database.backend() == Backend::Sqlite;
        assert!(seen[1] > 0 && is_cut, "never begun, ended, dropped in the middle: {seen:?}");
        until_free(&store).await;
    }

    /// Then it is known that nothing was committed, because nobody asked for it.
    async fn a_statement_that_is_given_up_in_its_middle_fails_the_whole(database: TestDatabase) {
        let store = store(&database).await;
        let given_up = store.write(|work| async move {
            work.insert(new_tag("half")).await?;
            let endless =
                Sql::new("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n");
            assert!(tokio::time::timeout(Duration::from_millis(50), work.query(endless)).await.is_err());
            Ok(())
        });
        let given_up = given_up.await;
        assert!(matches!(given_up, Err(Error::Internal { .. })), "{given_up:?}");
        assert_eq!(tag_names(&store).await, [""; 0]);
        assert_eq!(store.counts().unknown_outcomes, 0);
        until_free(&store).await;
    }
);

on_both!(
    /// A client that hangs up in the middle leaves no connection in a transaction: what is acknowledged later is there.
    async fn a_caller_that_goes_away_loses_nobody_s_writes(database: TestDatabase) {
        let store = open(&domain::StoreOptions { max_connections: 2, ..options(&database.url) }).await;
        let outside = database.connect().await;
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
            // Before somebody else's commit could end it.
            until_free(&store).await;
            if database.backend() == Backend::Postgres {
                eventually("no transaction is left open", Duration::from_secs(5), async || {
                    (open_transactions(&outside).await == 0).then_some(())
                })
                .await;
            }
            if n % 4 == 0 {
                tag(&store, &format!("acknowledged{n}")).await;
                acknowledged += 1;
            }
        }
        until_free(&store).await;
        assert!(store.pool_status().open <= 2);
        // Looked at from outside: on another connection, which sees what is committed.
        let rows = outside.query_all_raw(statement(&outside, "SELECT name FROM tags")).await.unwrap();
        let names = rows.iter().map(|row| row.try_get_by_index::<String>(0).unwrap());
        let (kept, lost): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with("acknowledged"));
        assert_eq!((kept.len(), lost.len()), (acknowledged, 0), "{lost:?}");
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
pub(crate) async fn give_up_after<T>(steps: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (std::pin::pin!(future), steps);
    let step = std::future::poll_fn(|context| match left.checked_sub(1) {
        Some(rest) => {
            left = rest;
            future.as_mut().poll(context).map(Some)
        }
        None => std::task::Poll::Ready(None),
    });
    tokio::time::timeout(Duration::from_millis(5), step).await.ok().flatten()
}

/// How many sessions of a database are in a transaction and do nothing.
async fn open_transactions(connection: &impl ConnectionTrait) -> i64 {
    let open = "SELECT count(*) FROM pg_stat_activity \
                WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    let row = connection.query_one_raw(statement(connection, open)).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

fn statement(connection: &impl ConnectionTrait, sql: &str) -> sea_orm::Statement {
    sea_orm::Statement::from_string(connection.get_database_backend(), sql)
}

/// Everything that only PostgreSQL does.
async fn on_postgres<F: Future<Output = ()>>(body: impl FnOnce(TestDatabase) -> F) {
    body(or_skip!(tests::database(Backend::Postgres).await)).await;
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
            open(&domain::StoreOptions { lock_timeout: Duration::from_millis(100), ..options(&database.url) }).await;
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
            Backend::Sqlite => Unavailable::Busy,
            Backend::Postgres => Unavailable::Timeout(Deadline::Lock),
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
