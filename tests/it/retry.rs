//! What is tried again and what is not, counted at the server's door.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use domain::{Deadline, Error, RetryPolicy, Store, StoreOptions, Unavailable};
use sea_orm::ConnectionTrait;
use serde_json::json;
use tests::{Backend, Fault, PATIENCE, Proxy, TestDatabase, Trap, eventually, on_both, or_skip, run::LIMIT, within};

use crate::{
    fixture::{new_tag, open, options, tag_names, unavailable, until_free},
    http::{KEY, Service},
};

/// A store that reaches its database through a proxy.
async fn proxied(database: &TestDatabase) -> (Proxy, Store) {
    let proxy = Proxy::to_url(&database.url).await;
    let store = open(&through(&proxy, database)).await;
    (proxy, store)
}

fn through(proxy: &Proxy, database: &TestDatabase) -> StoreOptions {
    // One connection, that none is opened in the background while something is counted.
    StoreOptions { min_connections: 1, ..options(&proxy.url(&database.url)) }
}

/// Lets every tag be refused with the code that is its name.
async fn refuse_tags_by_code(database: &TestDatabase) {
    let refuse = "
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'no' USING ERRCODE = upper(NEW.name);
        END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON tags FOR EACH ROW EXECUTE FUNCTION refuse()";
    let connection = database.connect().await;
    connection.execute_unprepared(refuse).await.unwrap();
    connection.close().await.unwrap();
}

#[test]
fn what_the_database_asks_for_is_tried_three_times_and_all_else_once() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        refuse_tags_by_code(&database).await;
        let (proxy, store) = proxied(&database).await;
        for (code, expected) in [
            ("40001", 3),
            ("40P01", 3),
            ("23505", 1),
            ("23514", 1),
            ("57014", 1),
            ("55P03", 1),
            ("53100", 1),
            ("25006", 1),
            ("XX000", 1),
        ] {
            let attempts = proxy.count("BEGIN");
            let commits = proxy.count("COMMIT");
            store.insert(new_tag(code)).await.unwrap_err();
            assert_eq!((attempts.seen(), commits.seen()), (expected, 0), "{code}");
        }
        assert_eq!(store.counts().retried, 4);
    });
}

#[test]
fn what_fails_a_unit_of_work_has_a_name_of_its_own() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        refuse_tags_by_code(&database).await;
        let proxy = Proxy::to_url(&database.url).await;
        let once = RetryPolicy { attempts: 1, ..RetryPolicy::default() };
        let store = open(&StoreOptions { retry: once, ..through(&proxy, &database) }).await;
        for (code, expected) in [
            ("40001", Unavailable::Serialization),
            ("40P01", Unavailable::Deadlock),
            ("57014", Unavailable::Timeout(Deadline::Statement)),
            ("55P03", Unavailable::Timeout(Deadline::Lock)),
            ("25P04", Unavailable::Timeout(Deadline::Transaction)),
            ("57P01", Unavailable::Network),
        ] {
            assert_eq!(unavailable(store.insert(new_tag(code)).await), expected, "{code}");
        }
        proxy.set(Trap::after("BEGIN", Fault::Cut));
        assert_eq!(unavailable(store.write(|_| async { Ok(()) }).await), Unavailable::Network);
        proxy.set(Trap::after("COMMIT", Fault::Cut));
        assert!(matches!(store.write(|_| async { Ok(()) }).await, Err(Error::UnknownOutcome(_))));
    });
}

#[test]
fn a_connection_that_is_lost_before_the_commit_costs_one_more_attempt() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let (proxy, store) = proxied(&database).await;
        for (n, fault) in [Fault::Cut, Fault::Reset].into_iter().enumerate() {
            let name = format!("lost {n}");
            let begun = proxy.count("BEGIN");
            let cut = proxy.set(Trap::after(&name, fault));
            store.insert(new_tag(&name)).await.unwrap();
            assert_eq!((begun.seen(), cut.sprung()), (2, 1));
        }
        assert_eq!(tag_names(&store).await, ["lost 0", "lost 1"]);
        assert_eq!(store.counts().retried, 2);
        until_free(&store).await;
    });
}

/// A read is sent again, whichever of the idle connections broke.
#[test]
fn a_read_does_not_notice_that_all_connections_were_cut() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let (proxy, store) = proxied(&database).await;
        let tag = store.insert(new_tag("there")).await.unwrap();
        let held = [store.begin().await.unwrap(), store.begin().await.unwrap(), store.begin().await.unwrap()];
        drop(held);
        until_free(&store).await;
        proxy.cut().await;
        assert_eq!(store.find(tag.id).await.unwrap(), tag);
    });
}

/// When the connection is lost during the commit, nobody on this side can know; what is said must be just that.
#[test]
fn a_commit_whose_answer_is_lost_is_neither_done_nor_undone() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let (proxy, store) = proxied(&database).await;

        proxy.set(Trap::before("COMMIT", Fault::Cut));
        assert!(matches!(store.insert(new_tag("not done")).await, Err(Error::UnknownOutcome(_))));
        proxy.set(Trap::after("COMMIT", Fault::Cut));
        assert!(matches!(store.insert(new_tag("done")).await, Err(Error::UnknownOutcome(_))));
        eventually("it was committed", PATIENCE, async || (tag_names(&store).await == ["done"]).then_some(())).await;
        assert_eq!(store.counts().unknown_outcomes, 2);
        assert_eq!(store.counts().retried, 0, "it may not be repeated");
    });
}

/// With a key it can be found out: the same transaction has stored it, or has not.
#[test]
fn a_post_with_a_key_takes_effect_once_whatever_becomes_of_its_commit() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let proxy = Proxy::to_url(&database.url).await;
        let service = Service::start_on(&through(&proxy, &database), api::Limits::default(), KEY).await;
        for (name, trap) in
            [("before", Trap::before("COMMIT", Fault::Cut)), ("after", Trap::after("COMMIT", Fault::Reset))]
        {
            let cut = proxy.set(trap);
            let made = service.post_with_key("/v1/tags", name, &json!({ "name": name })).await.expect(201);
            assert_eq!(cut.sprung(), 1);
            // And again, now that the network is well.
            assert_eq!(service.post_with_key("/v1/tags", name, &json!({ "name": name })).await.expect(201), made);
        }
        assert_eq!(tag_names(&service.store).await, ["before", "after"]);

        proxy.set(Trap::after("COMMIT", Fault::Cut));
        let answer = service.post("/v1/tags", &json!({ "name": "without" })).await;
        answer.problem(503, "unknown_outcome");
    });
}

on_both!(
    /// Full jitter: anything up to a bound that doubles; and never past the time of the request.
    async fn the_pauses_between_attempts_grow_within_their_bounds(database: TestDatabase) {
        let policy = RetryPolicy { attempts: 5, base: Duration::from_millis(40), cap: Duration::from_millis(100) };
        let store = open(&StoreOptions { retry: policy, ..options(&database.url) }).await;
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&attempts);
        let failing = move |_| {
            noted.lock().unwrap().push(Instant::now());
            async { Err::<(), _>(contended()) }
        };
        let mut pauses = Vec::new();
        for _ in 0..20 {
            assert_eq!(unavailable(store.write(failing.clone()).await), Unavailable::Serialization);
            let at = std::mem::take(&mut *attempts.lock().unwrap());
            assert_eq!(at.len(), 5);
            pauses.push(at.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>());
        }
        // What an attempt itself takes, on a busy machine.
        let slack = Duration::from_millis(500);
        for (n, bound) in [40, 80, 100, 100].into_iter().enumerate() {
            let bound = Duration::from_millis(bound);
            assert!(pauses.iter().all(|pauses| pauses[n] <= bound + slack), "{n}: {pauses:?}");
            let (least, most) =
                (pauses.iter().map(|p| p[n]).min().unwrap(), pauses.iter().map(|p| p[n]).max().unwrap());
            assert!(most - least > bound / 8, "no chance in pause {n}: {least:?} to {most:?}");
        }

        let started = Instant::now();
        let patient = RetryPolicy { attempts: 1_000, base: Duration::from_millis(40), ..policy };
        let store = open(&StoreOptions { retry: patient, ..options(&database.url) }).await;
        let refused = domain::within(Duration::from_millis(400), store.write(failing)).await;
        assert_eq!(unavailable(refused), Unavailable::Serialization);
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        assert!(attempts.lock().unwrap().len() < 100);
    }
);

fn contended() -> Error {
    Error::Unavailable { reason: Unavailable::Serialization, cause: None }
}
