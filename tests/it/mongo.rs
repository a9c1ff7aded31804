//! The way to MongoDB when MongoDB is well, and when it is not: it is down, dies, hangs or lets nobody in. Nobody waits
//! for it longer than was said.

mod documents;
mod service;

use std::time::{Duration, Instant};

use api::adapter::mongo_connection::{MongoConnection, MongoOptions};
use domain::{BreakerState, DocumentsError};
use futures_util::future::join_all;
use mongodb::bson::doc;
use tests::{Authority, Mongo, MongoUser, PATIENCE, Proxy, eventually, mongo, or_skip, run::LIMIT, within};

/// What is answered without asking anybody.
const AT_ONCE: Duration = Duration::from_millis(5);
/// The driver's own connections to watch a server with, beside those of the pool.
const WATCHES: usize = 2;

/// Few connections, which are known by this name, and much time.
fn options(uri: &str, app: &str) -> MongoOptions {
    let uri = format!("{uri}{}appName={app}", if uri.contains('?') { "&" } else { "?" });
    let patience = PATIENCE / 2;
    MongoOptions {
        min_connections: 1,
        max_connections: 4,
        connect_timeout: patience,
        server_selection_timeout: patience,
        timeout: PATIENCE,
        ..MongoOptions::new(uri)
    }
}

fn hasty(uri: &str, app: &str, limit: Duration) -> MongoOptions {
    MongoOptions { server_selection_timeout: limit, ..options(uri, app) }
}

/// Waits until so many connections are there, and tells how many.
async fn at_least(server: &Mongo, app: &str, connections: usize) -> usize {
    eventually("connections are opened", PATIENCE, async || {
        let found = server.connections(app).await;
        (found >= connections).then_some(found)
    })
    .await
}

async fn none_is_left(server: &Mongo, app: &str) {
    eventually("no connection is left", PATIENCE, async || (server.connections(app).await == 0).then_some(())).await;
}

/// What comes of the next ping that somebody may try.
async fn tried(connection: &MongoConnection) -> DocumentsError {
    eventually("somebody may try", PATIENCE, async || (connection.breaker() != BreakerState::HalfOpen).then_some(()))
        .await;
    connection.ping().await.unwrap_err()
}

#[test]
fn it_connects_once_and_leaves_nothing_behind() {
    within(LIMIT, async {
        let mut server = or_skip!(Mongo::private().await);
        for uri in [server.uri("any"), server.uri_of_set("any")] {
            let connection = MongoConnection::new(options(&uri, "once"));
            assert_eq!(server.connections("once").await, 0, "nobody has asked for anything");
            connection.connect().await.unwrap();
            let opened = at_least(&server, "once", 1 + WATCHES).await;
            connection.connect().await.unwrap();
            connection.clone().connect().await.unwrap();
            assert_eq!(server.connections("once").await, opened);
            assert!(connection.is_connected().await);

            connection.close().await;
            none_is_left(&server, "once").await;
            assert!(!connection.is_connected().await);
            assert_eq!(connection.clone().ping().await, Err(DocumentsError::Unavailable));
            assert_eq!(connection.connect().await, Err(DocumentsError::Unavailable));
            connection.close().await;
        }
        // One that was never used, and one whose server is gone, are closed as quickly.
        let unused = MongoConnection::new(options(&server.uri("any"), "once"));
        unused.close().await;
        assert!(unused.ping().await.is_err());
        let connection = MongoConnection::new(options(&server.uri("any"), "once"));
        connection.connect().await.unwrap();
        server.kill().await;
        let start = Instant::now();
        connection.close().await;
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    });
}

#[test]
fn it_knows_when_the_server_is_gone_and_when_it_is_back() {
    within(LIMIT, async {
        let mut server = or_skip!(Mongo::private().await);
        let connection = MongoConnection::new(hasty(&server.uri("any"), "back", Duration::from_millis(500)));
        connection.connect().await.unwrap();
        server.kill().await;
        assert!(!connection.is_connected().await);
        server.start().await;
        eventually("it is connected again", PATIENCE, async || connection.is_connected().await.then_some(())).await;
    });
}

#[test]
fn the_minimum_is_opened_and_the_maximum_holds() {
    within(LIMIT, async {
        let server = or_skip!(Mongo::private().await);
        let current = async || {
            let status = server.client().await.database("admin").run_command(doc! { "serverStatus": 1 }).await.unwrap();
            usize::try_from(status.get_document("connections").unwrap().get_i32("current").unwrap()).unwrap()
        };
        let before = current().await;
        let (min, max) = (5, 8);
        let pool = MongoOptions { min_connections: 5, max_connections: 8, ..options(&server.uri("any"), "pool") };
        let connection = MongoConnection::new(pool);
        connection.connect().await.unwrap();
        at_least(&server, "pool", min + WATCHES).await;
        assert!(current().await >= before + min, "the server counts them, too");

        // Ten times as many as there may be.
        let slow = doc! { "failCommands": ["ping"], "blockConnection": true, "blockTimeMS": 100, "appName": "pool" };
        server.fail_always(slow).await;
        let mut asked = tokio::spawn({
            let connection = connection.clone();
            async move { join_all((0..max * 10).map(|_| connection.ping())).await }
        });
        let mut most = 0;
        let answers = loop {
            tokio::select! {
                answers = &mut asked => break answers.unwrap(),
                now = server.connections("pool") => most = most.max(now),
            }
        };
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert!((max..=max + WATCHES).contains(&most), "{most} connections");
        server.heal().await;
        connection.close().await;
        none_is_left(&server, "pool").await;
    });
}

#[test]
fn what_the_uri_says_wins() {
    within(LIMIT, async {
        let server = or_skip!(Mongo::private().await);
        let said = "minPoolSize=3&maxPoolSize=3&socketTimeoutMS=300&serverSelectionTimeoutMS=200";
        let uri = format!("{}&useNewUrlParser=true&{said}&useUnifiedTopology=true", server.uri("any"));
        let connection = MongoConnection::new(options(&uri, "said"));
        // A busy machine may take longer than what is said for one attempt.
        eventually("it is connected", PATIENCE, async || connection.connect().await.ok()).await;
        assert!((3..=3 + WATCHES).contains(&at_least(&server, "said", 3).await));
        server.pause();
        let start = Instant::now();
        assert_eq!(connection.ping().await, Err(DocumentsError::Timeout));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        server.resume();
    });
}

#[test]
fn a_black_hole_fails_within_the_configured_time() {
    within(LIMIT, async {
        let server = or_skip!(mongo::shared().await);
        let proxy = Proxy::to(server.address()).await;
        proxy.black_hole().await;
        let uri = proxy.url(&server.uri("any"));
        for limit in [Duration::from_millis(800), Duration::from_secs(2)] {
            let no_server = hasty(&uri, "hole", limit);
            let no_answer = MongoOptions { timeout: limit, ..options(&uri, "hole") };
            for (options, error) in [(no_server, DocumentsError::Unavailable), (no_answer, DocumentsError::Timeout)] {
                let start = Instant::now();
                assert_eq!(MongoConnection::new(options).ping().await, Err(error));
                let waited = start.elapsed();
                assert!(waited.abs_diff(limit) <= limit / 10, "{waited:?}, not {limit:?}");
            }
        }
    });
}

#[test]
fn a_server_that_hangs_is_left_alone_and_used_again() {
    within(LIMIT, async {
        let server = or_skip!(Mongo::private().await);
        let limit = Duration::from_millis(500);
        let patient = options(&server.uri("any"), "hung");
        let connect_timeout = Duration::from_secs(1);
        let connection = MongoConnection::new(MongoOptions { connect_timeout, timeout: limit, ..patient });
        eventually("it is connected", PATIENCE, async || connection.connect().await.ok()).await;
        server.pause();
        // As many as there are: all wait at once, and no longer than one.
        let start = Instant::now();
        let answers = join_all((0..50).map(|_| connection.ping())).await;
        assert!(answers.iter().all(|answer| *answer == Err(DocumentsError::Timeout)), "{answers:?}");
        assert!(start.elapsed() < limit * 2, "{:?}", start.elapsed());

        assert_eq!(connection.breaker(), BreakerState::Open);
        let start = Instant::now();
        assert_eq!(connection.ping().await, Err(DocumentsError::Unavailable));
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        server.resume();
        eventually("it is used again", PATIENCE, async || connection.ping().await.ok()).await;
        assert_eq!(connection.breaker(), BreakerState::Closed);
    });
}

#[test]
fn a_refusal_is_named_and_not_repeated() {
    within(LIMIT, async {
        let ada = MongoUser { name: "ada", password: "right", role: "readWriteAnyDatabase" };
        let server = or_skip!(Mongo::private_with_users(&[ada]).await);
        let right = MongoConnection::new(options(&server.uri_as("ada", "right", "any"), "right"));
        right.connect().await.unwrap();

        let limit = Duration::from_millis(500);
        let uri = server.uri_as("ada", "s3cret-wrong", "any");
        let wrong = MongoConnection::new(MongoOptions { min_connections: 0, ..hasty(&uri, "wrong", limit) });
        let refusals = || server.log().matches("Authentication failed").count();
        assert_eq!(wrong.connect().await, Err(DocumentsError::AuthFailed));
        let after_one = refusals();
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(wrong.ping().await, Err(DocumentsError::AuthFailed));
        }
        assert!(start.elapsed() < AT_ONCE * 10, "{:?}", start.elapsed());
        assert_eq!(refusals(), after_one, "the server is not asked again");
        // The driver says no more than that it finds no server.
        for _ in 0..3 {
            assert_eq!(tried(&wrong).await, DocumentsError::AuthFailed);
        }
        assert!(!format!("{wrong:?} {}", DocumentsError::AuthFailed).contains("s3cret"), "{wrong:?}");

        // Nobody has to start anything again when the password is right after all.
        let update = doc! { "updateUser": "ada", "pwd": "s3cret-wrong" };
        server.client().await.database("admin").run_command(update).await.unwrap();
        eventually("it is let in", PATIENCE, async || wrong.ping().await.ok()).await;

        // Who may not do something is refused that, and may do other things.
        let nobody = MongoConnection::new(options(&server.uri("any"), "nobody"));
        nobody.ping().await.unwrap();
    });
}

#[test]
fn a_server_is_trusted_by_its_authority() {
    within(LIMIT, async {
        let authority = Authority::new();
        let server = or_skip!(Mongo::private_with_tls(&authority).await);
        let with = |authority: &Authority| {
            let uri = format!("{}&tls=true&tlsCAFile={}", server.uri("any"), authority.root().display());
            MongoConnection::new(hasty(&uri, "tls", Duration::from_secs(1)))
        };
        eventually("it is connected", PATIENCE, async || with(&authority).connect().await.ok()).await;
        assert_eq!(with(&Authority::new()).connect().await, Err(DocumentsError::Unavailable));
        let plain = MongoConnection::new(hasty(&server.uri("any"), "plain", Duration::from_secs(1)));
        assert_eq!(plain.connect().await, Err(DocumentsError::Unavailable));
    });
}
