//! The way of a write and of a read through all stores, broken at each of its arrows: what the client hears and what is
//! there afterwards is what the README's picture says.

use std::{cell::RefCell, collections::BTreeSet, fs, future::Future, time::Duration};

use mongodb::bson::{Document, doc};
use reqwest::{Method, RequestBuilder};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::{Value, json};
use tests::{
    Backend, Fault, Mongo, PATIENCE, Proxy, Redis, TestApp, Trap, app::Launch, database, eventually, or_skip, within,
};

use crate::http::{Answer, Raw, send};

/// The service with a network between it and each of its stores, and a way to them that does not break.
struct Scene {
    app: TestApp,
    sql: Proxy,
    redis: Proxy,
    mongo: Proxy,
    outside: DatabaseConnection,
    documents: mongodb::Database,
    /// Which arrows were broken.
    broken: RefCell<BTreeSet<String>>,
}

/// What became of a tag.
#[derive(Debug, PartialEq)]
struct Traces {
    rows: i64,
    /// Entries of the audit trail.
    entries: u64,
    /// Entries of the log.
    logged: u64,
}

const NOTHING: Traces = Traces { rows: 0, entries: 0, logged: 0 };
const ALL: Traces = Traces { rows: 1, entries: 1, logged: 1 };

impl Scene {
    /// Breaks an arrow.
    async fn at(&self, arrow: &str, breaking: impl Future<Output = ()>) {
        println!("{arrow}");
        breaking.await;
        for network in [&self.sql, &self.redis, &self.mongo] {
            network.forward().await;
        }
        // What is broken next finds all well.
        let well = async || {
            let health = send(self.request(Method::GET, "/health")).await.json();
            (health["status"] == "up").then_some(())
        };
        eventually("all is well again", PATIENCE, well).await;
        assert!(self.broken.borrow_mut().insert(arrow.to_owned()), "{arrow} is broken twice");
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.app.client().request(method, self.app.url(path))
    }

    async fn post(&self, name: &str) -> Answer {
        send(self.request(Method::POST, "/v1/tags").json(&json!({ "name": name }))).await
    }

    async fn post_with_key(&self, name: &str) -> Answer {
        send(self.request(Method::POST, "/v1/tags").header("idempotency-key", name).json(&json!({ "name": name })))
            .await
    }

    async fn get(&self, tag: &Value) -> Answer {
        send(self.request(Method::GET, &format!("/v1/tags/{}", tag["id"].as_str().unwrap()))).await
    }

    async fn number(&self, sql: String) -> i64 {
        let statement = Statement::from_string(self.outside.get_database_backend(), sql);
        self.outside.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
    }

    async fn rows(&self, name: &str) -> i64 {
        self.number(format!("SELECT count(*) FROM tags WHERE name = '{name}'")).await
    }

    async fn waiting(&self) -> i64 {
        self.number("SELECT count(*) FROM outbox".to_owned()).await
    }

    /// Once nothing is on its way any more.
    async fn traces(&self, name: &str) -> Traces {
        eventually("all is delivered", PATIENCE, async || (self.waiting().await == 0).then_some(())).await;
        let audit = self.documents.collection::<Document>("audit");
        let entry = audit.find_one(doc! { "after.name": name }).await.unwrap();
        let entries = audit.count_documents(doc! { "after.name": name }).await.unwrap();
        let logged = match entry {
            Some(entry) => {
                let logs = self.documents.collection::<Document>("logs");
                logs.count_documents(doc! { "_id": entry.get("_id").unwrap() }).await.unwrap()
            }
            None => 0,
        };
        Traces { rows: self.rows(name).await, entries, logged }
    }

    /// Sends a request, or not all of it, and reads no answer.
    async fn send(&self, name: &str, is_whole: bool) -> Raw {
        let mut connection = Raw::to(self.app.address()).await;
        let body = json!({ "name": name }).to_string();
        let length = body.len() + usize::from(!is_whole);
        let head = format!(
            "POST /v1/tags HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\nidempotency-key: {name}\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        connection.send(head).await;
        connection
    }
}

/// The arrows of the README's picture, which are the first cells of its table.
fn arrows() -> BTreeSet<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let (_, after) = readme.split_once("| Where it breaks |").expect("the table is there");
    let rows = after.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).unwrap().trim().to_owned()).collect()
}

#[test]
fn whichever_arrow_breaks_what_is_there_is_what_the_picture_says() {
    within(Duration::from_secs(180), async {
        let database = or_skip!(database(Backend::Postgres).await);
        let redis = or_skip!(Redis::private().await);
        let mongo = or_skip!(Mongo::private().await);
        let networks =
            [Proxy::to_url(&database.url).await, Proxy::to(redis.address()).await, Proxy::to(mongo.address()).await];
        let [sql_url, redis_url, mongo_uri] =
            [networks[0].url(&database.url), networks[1].url(&redis.url()), networks[2].url(&mongo.uri("flow"))];
        let environment = [
            ("DATABASE_URL", sql_url.as_str()),
            ("REDIS_URL", &redis_url),
            ("MONGODB_URI", &mongo_uri),
            ("MONGODB_SERVER_SELECTION_TIMEOUT", "500ms"),
        ];
        let app = Launch::default().environment(&environment).start().await;
        let [sql, redis_network, mongo_network] = networks;
        let documents = mongo.client().await.database("flow");
        let outside = database.connect().await;
        let scene = Scene {
            app,
            sql,
            redis: redis_network,
            mongo: mongo_network,
            outside,
            documents,
            broken: RefCell::default(),
        };
        scene.post("well").await.expect(201);
        assert_eq!(scene.traces("well").await, ALL);
        writes(&scene).await;
        reads(&scene).await;
        assert_eq!(scene.broken.take(), arrows());
        scene.outside.close().await.unwrap();
    });
}

async fn writes(scene: &Scene) {
    scene
        .at("request → check", async {
            drop(scene.send("half", false).await);
            assert_eq!(scene.traces("half").await, NOTHING);
        })
        .await;
    scene
        .at("check → rule", async {
            let refused = send(scene.request(Method::POST, "/v1/tags").json(&json!({ "name": "" }))).await;
            assert!([400, 422].contains(&refused.status), "{refused:?}");
            assert_eq!(scene.traces("").await, NOTHING);
        })
        .await;
    scene
        .at("rule → SQL", async {
            scene.post("taken").await.expect(201);
            assert_eq!(scene.post("taken").await.status, 409);
            assert_eq!(scene.traces("taken").await, ALL);
        })
        .await;
    scene
        .at("SQL → COMMIT", async {
            let cut = scene.sql.set(Trap::before("run again", Fault::Cut));
            scene.post("run again").await.expect(201);
            assert_eq!((cut.sprung(), scene.traces("run again").await), (1, ALL));
            scene.sql.refuse().await;
            assert_eq!(scene.post("away").await.status, 503);
            scene.sql.forward().await;
            assert_eq!(scene.traces("away").await, NOTHING);
        })
        .await;
    scene
        .at("COMMIT → cache", async {
            scene.sql.set(Trap::after("COMMIT", Fault::Cut));
            scene.post("unknown").await.problem(503, "unknown_outcome");
            assert_eq!(scene.traces("unknown").await, ALL);
            scene.sql.set(Trap::before("COMMIT", Fault::Cut));
            let known = scene.post_with_key("known").await.expect(201);
            assert_eq!(scene.traces("known").await, ALL);
            assert_eq!(scene.post_with_key("known").await.expect(201), known);
        })
        .await;
    scene
        .at("cache → answer", async {
            let tag = scene.post("told").await.expect(201);
            scene.get(&tag).await.expect(200);
            scene.redis.black_hole().await;
            let path = format!("/v1/tags/{}", tag["id"].as_str().unwrap());
            let renamed = json!({ "name": "told later" });
            let changed = send(scene.request(Method::PATCH, &path).header("if-match", "\"1\"").json(&renamed)).await;
            changed.expect(200);
            assert_eq!(scene.get(&tag).await.expect(200)["name"], "told later");
            scene.redis.forward().await;
            assert_eq!(scene.get(&tag).await.expect(200)["name"], "told later");
            assert_eq!(scene.traces("told later").await, ALL);
        })
        .await;
    scene
        .at("answer → client", async {
            let unread = scene.send("unheard", true).await;
            let there = async || (scene.rows("unheard").await == 1).then_some(());
            eventually("it is there", PATIENCE, there).await;
            drop(unread);
            let again = scene.post_with_key("unheard").await.expect(201);
            assert_eq!(again["name"], "unheard");
            assert_eq!(scene.traces("unheard").await, ALL);
        })
        .await;
    scene
        .at("outbox → documents", async {
            scene.mongo.refuse().await;
            scene.post("waits").await.expect(201);
            assert_eq!((scene.rows("waits").await, scene.waiting().await > 0), (1, true));
            scene.mongo.forward().await;
            assert_eq!(scene.traces("waits").await, ALL);
        })
        .await;
    scene
        .at("documents → outbox", async {
            // It is delivered, and nobody knows.
            let unknown = scene.mongo.set(Trap::after("told once", Fault::Cut));
            scene.post("told once").await.expect(201);
            unknown.until_sprung().await;
            assert_eq!(scene.traces("told once").await, ALL);
        })
        .await;
}

async fn reads(scene: &Scene) {
    let tag = scene.post("read").await.expect(201);
    scene
        .at("read → cache", async {
            scene.get(&tag).await.expect(200);
            scene.redis.refuse().await;
            assert_eq!(scene.get(&tag).await.expect(200), tag);
        })
        .await;
    scene
        .at("cache → database", async {
            let other = scene.post("not read").await.expect(201);
            scene.sql.refuse().await;
            assert_eq!(scene.get(&other).await.status, 503);
            scene.sql.forward().await;
            let found = async || (scene.get(&other).await.status == 200).then_some(());
            eventually("it is found again", PATIENCE, found).await;
        })
        .await;
    scene
        .at("database → cache", async {
            let other = scene.post("not kept").await.expect(201);
            let cut = scene.redis.set(Trap::before("not kept", Fault::Cut));
            assert_eq!(scene.get(&other).await.expect(200), other);
            cut.until_sprung().await;
            assert_eq!(scene.get(&other).await.expect(200), other);
        })
        .await;
}
