//! A server that fails is left alone for a while, and its callers are answered at once.

use std::time::{Duration, Instant};

use domain::{BreakerPolicy, BreakerState, Deadline, Sql, Store, StoreOptions, TagFilter, Unavailable};
use futures_util::future::{join_all, try_join_all};
use tests::{Backend, PATIENCE, Proxy, TestDatabase, eventually, or_skip, run::LIMIT, within};

use crate::{
    fixture::{new_tag, open, options, tag, unavailable},
    http::{KEY, Service},
};

const FAILURES: u32 = 4;

fn quick(database: &TestDatabase, proxy: &Proxy) -> StoreOptions {
    StoreOptions {
        min_connections: 1,
        connect_timeout: Duration::from_millis(200),
        acquire_timeout: Duration::from_millis(200),
        breaker: BreakerPolicy { failures: FAILURES, open_for: Duration::from_millis(500) },
        ..options(&proxy.url(&database.url))
    }
}

async fn until_open(store: &Store) {
    eventually("the breaker opens", PATIENCE, async || {
        store.count(&TagFilter::default()).await.unwrap_err();
        (store.pool_status().breaker == BreakerState::Open).then_some(())
    })
    .await;
}

#[test]
fn it_opens_rejects_at_once_tries_once_and_closes() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let proxy = Proxy::to_url(&database.url).await;
        let store = open(&quick(&database, &proxy)).await;
        assert_eq!(store.pool_status().breaker, BreakerState::Closed);

        // Accepts connections, and does not answer: what costs callers most.
        proxy.black_hole().await;
        proxy.cut().await;
        let before = proxy.connections();
        until_open(&store).await;
        assert!(proxy.connections() - before <= FAILURES as usize + 1, "{}", proxy.connections() - before);

        let asked = proxy.connections();
        let started = Instant::now();
        let mut took = Vec::new();
        while store.pool_status().breaker == BreakerState::Open && started.elapsed() < Duration::from_millis(300) {
            let start = Instant::now();
            match unavailable(store.insert(new_tag("no")).await) {
                Unavailable::CircuitOpen => took.push(start.elapsed()),
                other => panic!("{other:?} after {:?}", started.elapsed()),
            }
        }
        // The machine does other things too: what is usual counts.
        took.sort();
        assert!(took.len() > 20, "{took:?}");
        assert!(took[took.len() / 2] < Duration::from_millis(5), "{took:?}");
        assert_eq!(proxy.connections(), asked, "the server was asked");

        // Half open, one tries; the others are rejected, and so is everybody after it has failed.
        eventually("its time is over", PATIENCE, async || {
            let all_tags = TagFilter::default();
            let all = join_all((0..20).map(|_| store.count(&all_tags))).await;
            let reasons = all.into_iter().map(unavailable).collect::<Vec<_>>();
            let tried = reasons.iter().filter(|reason| **reason != Unavailable::CircuitOpen).count();
            assert!(tried <= 1, "{reasons:?}");
            (tried == 1).then_some(())
        })
        .await;
        assert_eq!(store.pool_status().breaker, BreakerState::Open);

        proxy.forward().await;
        eventually("it closes", PATIENCE, async || store.insert(new_tag("again")).await.ok()).await;
        assert_eq!(store.pool_status().breaker, BreakerState::Closed);
        tag(&store, "and again").await;
    });
}

#[test]
fn statements_that_take_too_long_open_it_and_others_in_between_do_not() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let store = open(&StoreOptions {
            statement_timeout: Duration::from_millis(50),
            breaker: BreakerPolicy { failures: FAILURES, open_for: Duration::from_secs(600) },
            ..options(&database.url)
        })
        .await;
        let slow = || store.query(Sql::new("SELECT 1 AS one FROM pg_sleep(5)"));
        for _ in 0..FAILURES * 2 {
            assert_eq!(unavailable(slow().await), Unavailable::Timeout(Deadline::Statement));
            store.count(&TagFilter::default()).await.unwrap();
        }
        for _ in 0..FAILURES {
            assert_eq!(unavailable(slow().await), Unavailable::Timeout(Deadline::Statement));
        }
        assert_eq!(store.pool_status().breaker, BreakerState::Open);
        assert_eq!(unavailable(store.count(&TagFilter::default()).await), Unavailable::CircuitOpen);
    });
}

/// A restart cuts every connection at once, and is no reason to turn anybody away.
#[test]
fn connections_that_are_all_cut_at_once_do_not_open_it() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let proxy = Proxy::to_url(&database.url).await;
        let patient = Duration::from_secs(30);
        let store = open(&StoreOptions {
            max_connections: 10,
            connect_timeout: patient,
            acquire_timeout: patient,
            ..quick(&database, &proxy)
        })
        .await;
        let idle = async |count: u32| {
            eventually("so many are idle", PATIENCE, async || (store.pool_status().idle == count).then_some(())).await;
        };
        for round in 0..10 {
            drop(try_join_all((0..10).map(|_| store.begin())).await.unwrap());
            idle(10).await;
            let reads = join_all((0..10).map(|_| store.query(Sql::new("SELECT 1 AS one FROM pg_sleep(0.2)"))));
            let cut = async {
                idle(0).await;
                proxy.cut().await;
            };
            tokio::join!(reads, cut);
            assert_eq!(store.pool_status().breaker, BreakerState::Closed);
            tag(&store, &format!("round {round}")).await;
        }
    });
}

/// Callers who come and come again do not run down a server that is down.
#[test]
fn a_server_that_is_gone_is_asked_little_and_its_callers_are_answered_in_time() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let proxy = Proxy::to_url(&database.url).await;
        let service = Service::start_on(&quick(&database, &proxy), api::Limits::default(), KEY).await;
        proxy.black_hole().await;
        proxy.cut().await;
        let (before, mut offered) = (proxy.connections(), 0);
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(2) {
            let start = Instant::now();
            let answers = join_all((0..10).map(|_| service.get("/v1/tags"))).await;
            offered += answers.len();
            assert!(start.elapsed() < api::Limits::default().request_timeout, "{:?}", start.elapsed());
            for answer in answers {
                assert_eq!(answer.status, 503);
                assert_eq!(answer.header("retry-after"), "1");
            }
        }
        let asked = proxy.connections() - before;
        assert!(asked * 10 <= offered * 12, "{asked} times for {offered} requests");
        proxy.forward().await;
        eventually("it answers again", PATIENCE, async || (service.get("/v1/tags").await.status == 200).then_some(()))
            .await;
    });
}
