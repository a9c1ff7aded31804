//! How the service runs: request ids, health, and an end in good order.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use api::Limits;
use domain::StoreOptions;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tests::{Backend, PATIENCE, Postgres, Signal, TestApp, database, eventually, on_both, or_skip, run::LIMIT, within};
use tokio::net::TcpStream;

use crate::http::{KEY, Raw, SOON, Service, on_sqlite, on_sqlite_with, send};

/// Begins a request whose body the service now waits for.
async fn begin(address: SocketAddr, length: usize) -> Raw {
    let mut connection = Raw::to(address).await;
    let head = "POST /v1/tags HTTP/1.1\r\nhost: seabed\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n";
    connection.send(format!("{head}content-length: {length}\r\n\r\n")).await;
    assert_eq!(connection.answer().await.unwrap().status, 100);
    connection
}

#[test]
fn a_request_keeps_its_id() {
    on_sqlite(async |service| {
        let get = |id: &str, path: &str| send(service.request(Method::GET, path).header("x-request-id", id));
        for id in ["a", "01890a5d-ac96-774b-bcce-b302099a8057", &"x".repeat(64), "!#$%&'*+-.^_`|~"] {
            assert_eq!(get(id, "/v1/tags").await.header("x-request-id"), id);
            let missing = get(id, "/v1/nothing").await;
            assert_eq!(missing.problem(404, "not_found").0["request_id"], id);
        }
        for id in ["", "a b", &"x".repeat(65), "ü", "\t"] {
            let given = get(id, "/v1/nothing").await;
            given.problem(404, "not_found");
            let made = given.header("x-request-id");
            assert!(made != id && made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
        }
        let (one, other) = (service.get("/v1/tags").await, service.get("/v1/tags").await);
        assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
        assert!(service.get("/health/live").await.headers.contains_key("x-request-id"));
    });
}

#[test]
fn health_tells_whether_the_database_answers() {
    within(LIMIT, async {
        let mut server = or_skip!(Postgres::private().await);
        let database = server.database().await;
        let service = Service::start(&database).await;
        let ready = async || service.get("/health/ready").await;
        let up = ready().await;
        assert_eq!(
            (up.expect(200)["status"].clone(), up.json()["database"]["status"].clone()),
            (json!("up"), json!("up"))
        );
        assert!(up.json()["database"]["latency_ms"].as_f64().unwrap() > 0.0);
        assert_eq!(service.get("/health").await.status, 200);

        // It hangs: whoever asks does not.
        server.pause();
        for _ in 0..3 {
            let started = Instant::now();
            let down = ready().await;
            let taken = started.elapsed();
            assert_eq!(down.expect(503)["database"]["status"], "down");
            assert!(taken < Duration::from_millis(1_500), "{taken:?}");
        }
        assert_eq!(service.get("/health/live").await.expect(200), json!({"status": "up"}));
        server.resume();
        let is_up = async || (ready().await.status == 200).then_some(());
        eventually("it is ready again", PATIENCE, is_up).await;

        // It is gone, and comes back.
        server.stop().await;
        let down = ready().await;
        let told = down.expect(503);
        assert_eq!((&told["status"], &told["database"]), (&json!("down"), &json!({"status": "down"})));
        assert_eq!(service.get("/health").await.status, 503);
        assert_eq!(service.get("/health/live").await.status, 200);
        let answer = service.get("/v1/tags").await;
        answer.problem(503, answer.json()["code"].as_str().unwrap());
        server.start().await;
        eventually("it is ready again", PATIENCE, is_up).await;
        assert_eq!(service.get("/v1/tags").await.status, 200);
    });
}

#[test]
fn requests_under_way_finish_when_the_service_ends() {
    on_sqlite(async |mut service| {
        let bodies = (0..4).map(|n| format!(r#"{{"name": "tag {n}"}}"#)).collect::<Vec<_>>();
        let mut begun = Vec::new();
        for body in &bodies {
            begun.push(begin(service.address(), body.len()).await);
        }
        // One that is kept alive without a request.
        let mut idle = service.connect().await;
        idle.send("GET /v1/tags HTTP/1.1\r\nhost: seabed\r\n\r\n").await;
        assert_eq!(idle.answer().await.unwrap().status, 200);

        service.ask_to_end();
        let refuses = async || TcpStream::connect(service.address()).await.is_err().then_some(());
        eventually("new connections are refused", PATIENCE, refuses).await;
        assert!(idle.is_closed().await, "nobody waits for the next request");

        for (connection, body) in begun.iter_mut().zip(&bodies) {
            assert!(!service.has_ended(), "it waits for them");
            connection.send(body).await;
            let answer = connection.answer().await.unwrap();
            answer.expect(201);
            assert!(connection.is_closed().await);
        }
        let started = Instant::now();
        let store = service.store.clone();
        service.wait().await;
        assert!(started.elapsed() < SOON, "it waits for nothing else");
        assert_eq!(store.count(&domain::TagFilter::default()).await.unwrap(), 4);
    });
}

#[test]
fn a_request_that_never_finishes_holds_the_end_up_for_the_drain_timeout_only() {
    let drain_timeout = Duration::from_millis(500);
    on_sqlite_with(Limits { drain_timeout, ..Limits::default() }, async |mut service| {
        let mut stuck = begin(service.address(), 100).await;
        stuck.send("{").await;
        let started = Instant::now();
        service.ask_to_end();
        service.wait().await;
        let taken = started.elapsed();
        assert!(taken >= drain_timeout && taken < SOON, "{taken:?}");
    });
}

on_both!(
    /// The same of a process of its own, which is asked as an orchestrator asks.
    async fn a_process_that_is_asked_to_end_answers_what_is_under_way(database: TestDatabase) {
        let mut app = TestApp::start(&database).await;
        let bodies = (0..4).map(|n| format!(r#"{{"name": "tag {n}"}}"#)).collect::<Vec<_>>();
        let mut begun = Vec::new();
        for body in &bodies {
            begun.push(begin(app.address(), body.len()).await);
        }
        app.signal(Signal::TERM);
        let refuses = async || TcpStream::connect(app.address()).await.is_err().then_some(());
        eventually("new connections are refused", PATIENCE, refuses).await;
        for (connection, body) in begun.iter_mut().zip(&bodies) {
            connection.send(body).await;
            connection.answer().await.expect("an answer, and not the end").expect(201);
            assert!(connection.is_closed().await);
        }
        let status = app.wait(PATIENCE).await;
        assert!(status.success(), "{status}: {}", app.output());
        let store = crate::fixture::store(&database).await;
        assert_eq!(store.count(&domain::TagFilter::default()).await.unwrap(), 4);
    }
);

/// Under load: whoever got an answer got their answer, and what was answered is there.
#[test]
fn nobody_gets_an_error_because_the_service_ends() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let options = StoreOptions::new(&database.url);
        let mut service = Service::start_on(&options, Limits::default(), KEY).await;
        let store = service.store.clone();
        let clients = (0..8).map(|client| {
            let (http, url) = (reqwest::Client::new(), format!("http://{}/v1/tags", service.address()));
            tokio::spawn(async move {
                let mut made = 0_u64;
                // Until the service is gone.
                while let Ok(answer) = http.post(&url).json(&json!({"name": format!("{client} {made}")})).send().await {
                    assert_eq!(answer.status().as_u16(), 201);
                    answer.bytes().await.unwrap();
                    made += 1;
                }
                made
            })
        });
        let clients = clients.collect::<Vec<_>>();
        let filter = domain::TagFilter::default();
        let enough = async || (store.count(&filter).await.unwrap() >= 200).then_some(());
        eventually("there is load", PATIENCE, enough).await;
        service.ask_to_end();
        service.wait().await;
        let made = join_all(clients).await.into_iter().map(Result::unwrap).sum::<u64>();
        let there = store.count(&filter).await.unwrap();
        assert_eq!(there, made, "what was done was answered");
    });
}
