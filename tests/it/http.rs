//! The service, listening in the test's own process, and a client that judges its answers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use api::{App, Limits};
use domain::{CachePolicy, InProcessCache, SqlDocuments, Store, StoreOptions, SystemClock};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use serde_json::Value;
use tests::{Backend, PATIENCE, TestDatabase, database, run::LIMIT, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

/// What page tokens are signed with.
pub(crate) const KEY: &[u8] = b"a key of 32 bytes for the tests.";

/// How long what happens at once may take: less than the time after which the service closes idle connections.
pub(crate) const SOON: Duration = Duration::from_secs(3);

/// The service on a database; it ends with the test.
pub(crate) struct Service {
    pub(crate) store: Store,
    address: SocketAddr,
    client: reqwest::Client,
    shutdown: Option<oneshot::Sender<()>>,
    ended: JoinHandle<()>,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// A problem that has passed the inspection that every problem has to pass.
#[derive(Debug, Clone)]
pub(crate) struct Problem(pub(crate) Value);

/// A connection on which anything can be sent.
pub(crate) struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Service {
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, Limits::default()).await
    }

    pub(crate) async fn start_with(database: &TestDatabase, limits: Limits) -> Self {
        Self::start_on(&StoreOptions::new(&database.url), limits, KEY).await
    }

    pub(crate) async fn start_on(options: &StoreOptions, limits: Limits, key: &[u8]) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // What the service has not read yet must not hide in the kernel.
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(1_024).unwrap();
        Self::listen(options, limits, key, listener).await
    }

    async fn listen(options: &StoreOptions, limits: Limits, key: &[u8], listener: TcpListener) -> Self {
        let store = Store::connect(options, SystemClock).await.unwrap();
        let cache = Arc::new(InProcessCache::new(16 * 1024 * 1024));
        // Patient, so that what is answered from it does not depend on how busy the machine is.
        let policy = CachePolicy { freshness: Duration::from_secs(5), ..CachePolicy::default() };
        let documents = Arc::new(SqlDocuments::new(&store));
        let store = store.cached(cache, policy).await.unwrap().with_documents(documents);
        let address = listener.local_addr().unwrap();
        let (shutdown, asked) = oneshot::channel();
        let app = App::new(store.clone(), key, limits);
        let ended = tokio::spawn(async move {
            let asked = async {
                // A test that ends without asking leaves the service to its runtime.
                if asked.await.is_err() {
                    std::future::pending().await
                }
            };
            api::serve(app, listener, asked).await.unwrap();
        });
        Self { store, address, client: reqwest::Client::new(), shutdown: Some(shutdown), ended }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks it to end.
    pub(crate) fn ask_to_end(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    /// Whether it has ended: then a process of its own would be gone, with all its connections.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_finished()
    }

    /// Waits until it has ended.
    pub(crate) async fn wait(self) {
        tokio::time::timeout(PATIENCE, self.ended).await.expect("the service ends").unwrap();
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// With an idempotency key.
    pub(crate) async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    /// Sends a body as it is, as JSON.
    pub(crate) async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        send(self.request(Method::POST, path).header("content-type", "application/json").body(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, version: i64, body: &Value) -> Answer {
        send(self.request(Method::PATCH, path).header("if-match", format!("\"{version}\"")).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, version: i64) -> Answer {
        send(self.request(Method::DELETE, path).header("if-match", format!("\"{version}\""))).await
    }

    /// Makes a record that must be possible to make.
    pub(crate) async fn create(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 201, "POST {path} {body}: {}", answer.text());
        answer.json()
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Raw {
        Raw::to(self.address).await
    }

    /// The answer to bytes on a connection of their own.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.connect().await;
        connection.send(request).await;
        connection.answer().await.expect("an answer")
    }
}

/// Sends a request and takes its whole answer.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    // A stream has no end.
    let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let body = if is_stream { Vec::new() } else { answer.bytes().await.unwrap().to_vec() };
    Answer { status, headers, body }
}

impl Answer {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no header {name} in {self:?}"));
        value.to_str().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// What every problem must be: of this status and code, complete, traceable, and silent about what is behind it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Problem {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        assert_eq!(self.header("cache-control"), "no-store", "{text}");
        let body = self.json();
        assert_eq!(body["code"], code, "{text}");
        assert_eq!(body["type"], format!("/problems/{code}"), "{text}");
        assert_eq!(body["status"], status, "{text}");
        assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{text}");
        assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{text}");
        assert_eq!(body["request_id"], self.header("x-request-id"), "{text}");
        for error in body["errors"].as_array().into_iter().flatten() {
            assert!(
                error["pointer"].is_string() && error["code"].is_string() && error["message"].is_string(),
                "{text}"
            );
        }
        assert_silent(&text);
        Problem(body)
    }
}

/// What an answer must never have in it: words of an engine, of a library, of the build, of the machine.
#[track_caller]
fn assert_silent(text: &str) {
    const FORBIDDEN: &[&str] = &[
        "select ",
        "insert into",
        "update \"",
        "delete from",
        "from \"",
        " where ",
        "sqlite",
        "postgres",
        "sqlstate",
        "sqlx",
        "sea_orm",
        "seaorm",
        "dberr",
        "serde",
        "hyper",
        "constraint",
        "violates",
        "uq_",
        "fk_",
        "ck_",
        "relation \"",
        "duplicate key value",
        ".rs",
        "panicked",
        "backtrace",
        "stack",
        "/work",
        "/tmp",
        "/usr",
        "/home",
        "127.0.0.1",
        "::",
        "unwrap",
        "none value",
        "os error",
    ];
    let lower = text.to_lowercase();
    for word in FORBIDDEN {
        assert!(!lower.contains(word), "an answer says {word:?}: {text}");
    }
}

impl Problem {
    /// What is wrong with a field must be said, with this code.
    #[track_caller]
    pub(crate) fn at(&self, pointer: &str, code: &str) -> &Self {
        let errors = self.0["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = errors.iter().any(|error| error["pointer"] == pointer && error["code"] == code);
        assert!(found, "no {code} at {pointer:?} in {}", self.0);
        self
    }

    /// Words that the detail or a message must have.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> &Self {
        let messages = self.0["errors"].as_array().into_iter().flatten().map(|error| &error["message"]);
        let mut texts = messages.chain([&self.0["detail"]]).filter_map(Value::as_str);
        assert!(texts.any(|text| text.contains(words)), "nothing says {words:?} in {}", self.0);
        self
    }
}

impl Raw {
    /// A new connection to a service that listens there.
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4_096).unwrap();
        Self { stream: socket.connect(address).await.unwrap(), read: Vec::new() }
    }

    /// Sends bytes; whether they could all be sent.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next answer; none if the connection was closed without one.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let reading = async {
            let end = loop {
                if let Some(end) = find(&self.read, b"\r\n\r\n") {
                    break end;
                }
                if !self.read_some().await {
                    return None;
                }
            };
            let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
            let mut lines = head.lines();
            let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            let mut headers = HeaderMap::new();
            for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
                let name = name.parse::<reqwest::header::HeaderName>().unwrap();
                headers.append(name, value.parse().unwrap());
            }
            let length = headers.get("content-length").map_or(0, |length| length.to_str().unwrap().parse().unwrap());
            while self.read.len() < length {
                assert!(self.read_some().await, "the answer ends early");
            }
            Some(Answer { status, headers, body: self.read.drain(..length).collect() })
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("an answer or an end")
    }

    /// Whether the service closes the connection soon, having sent nothing more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let closed = tokio::time::timeout(SOON, self.read_some()).await;
        closed == Ok(false) && self.read.is_empty()
    }

    /// Waits until the service has closed the connection, and tells what it had sent before.
    pub(crate) async fn until_closed(&mut self) -> String {
        let closing = async { while self.read_some().await {} };
        tokio::time::timeout(PATIENCE, closing).await.expect("the connection is closed");
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    async fn read_some(&mut self) -> bool {
        let mut chunk = [0; 4_096];
        match self.stream.read(&mut chunk).await {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.read.extend_from_slice(&chunk[..length]);
                true
            }
        }
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// Runs a body against a service on SQLite, for what does not reach the database.
pub(crate) fn on_sqlite(body: impl AsyncFnOnce(Service)) {
    on_sqlite_with(Limits::default(), body);
}

pub(crate) fn on_sqlite_with(limits: Limits, body: impl AsyncFnOnce(Service)) {
    within(LIMIT, async {
        let database = database(Backend::Sqlite).await.unwrap();
        body(Service::start_with(&database, limits).await).await;
    });
}
