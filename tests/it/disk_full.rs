//! A full disk: what does not fit is refused as a whole, and nothing else is lost.

use domain::{NewContent, Sql, Unavailable};
use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, distr::Alphanumeric, rngs::StdRng};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tests::{Postgres, TestApp, app::Launch, or_skip, run::LIMIT, within};

use crate::{
    fixture::{execute, open, options, unavailable},
    http::{Answer, send},
};

/// Enough for a little data, and soon filled.
const MEBIBYTES: u32 = 32;

/// A service, and what fills and frees the disk that its data are on.
struct Scene<'a> {
    app: &'a TestApp,
    fill: &'a dyn Fn(),
    free: &'a dyn Fn(),
}

impl Scene<'_> {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.app.client().request(method, self.app.url(path))
    }

    async fn get(&self, path: &str) -> Value {
        send(self.request(Method::GET, path)).await.expect(200)
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    async fn create(&self, path: &str, body: &Value) -> Value {
        self.post(path, body).await.expect(201)
    }

    /// Fills the disk while the service works, and frees it while it goes on.
    async fn play(&self) {
        let author = self.create("/v1/users", &json!({"email": "a@example.org", "name": "a"})).await["id"].clone();
        let tag = self.create("/v1/tags", &json!({"name": "kept"})).await["id"].clone();
        let content = |seed: u64| json!({"author_id": author, "title": "t", "body": text(seed), "tags": [tag]});
        let kept = self.create("/v1/contents", &content(0)).await;
        let path = format!("/v1/contents/{}", kept["id"].as_str().unwrap());
        let longer = json!({"title": "changed", "body": text(1).repeat(3)});
        let change = || send(self.request(Method::PATCH, &path).header("if-match", "\"1\"").json(&longer));
        let with_key =
            || send(self.request(Method::POST, "/v1/contents").header("idempotency-key", "k").json(&content(2)));

        (self.fill)();
        let mut refused = vec![self.post("/v1/contents", &content(3)).await, change().await, with_key().await];
        // Also of many at once each one is told why.
        refused.extend(
            join_all((10..30).map(|seed| async move { self.post("/v1/contents", &content(seed)).await })).await,
        );
        for answer in refused {
            answer.problem(503, "disk_full");
            assert_eq!(answer.header("retry-after"), "1");
        }
        // What is there can be read, and nothing else is there.
        assert_eq!(self.get(&path).await, kept);
        assert_eq!(self.get("/v1/contents").await["items"].as_array().unwrap().len(), 1);
        self.get("/health/ready").await;

        (self.free)();
        assert_eq!(with_key().await.expect(201)["body"], text(2), "the key remembers nothing that did not happen");
        assert_eq!(change().await.expect(200)["version"], 2);
        assert_eq!(self.get("/v1/contents").await["items"].as_array().unwrap().len(), 2);
    }
}

/// Longer than what any page or block has left over, and no shorter when it is compressed.
fn text(seed: u64) -> String {
    StdRng::seed_from_u64(seed).sample_iter(Alphanumeric).take(90_000).map(char::from).collect()
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_on_postgres() {
    within(LIMIT, async {
        let server = or_skip!(Postgres::private_on_small_disk(MEBIBYTES).await);
        let database = server.database().await;
        let app = TestApp::start(&database).await;
        Scene { app: &app, fill: &|| server.fill_disk(), free: &|| server.free_disk() }.play().await;
    });
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_on_sqlite() {
    within(LIMIT, async {
        let app = or_skip!(Launch::default().on_small_disk(MEBIBYTES)).start().await;
        Scene { app: &app, fill: &|| app.fill_disk(), free: &|| app.free_disk() }.play().await;
    });
}

/// What would fit is undone with what does not.
#[test]
fn a_unit_of_work_that_does_not_fit_leaves_nothing() {
    within(LIMIT, async {
        let server = or_skip!(Postgres::private_on_small_disk(MEBIBYTES).await);
        let store = open(&options(&server.database().await.url)).await;
        let user = crate::fixture::user(&store, "a").await;
        server.fill_disk();
        let rename = || Sql::new("UPDATE users SET name = 'changed'");
        assert_eq!(execute(&store, rename()).await.unwrap(), 1, "it would fit");
        execute(&store, Sql::new("UPDATE users SET name = 'a'")).await.unwrap();
        let written = store.write(move |work| async move {
            assert_eq!(work.execute(rename()).await?, 1);
            let (title, body) = ("t".to_owned(), text(0));
            work.insert(NewContent { author_id: user.id, title, body, status: None, tags: Vec::new() }).await
        });
        assert_eq!(unavailable(written.await), Unavailable::DiskFull);
        assert_eq!(store.find(user.id).await.unwrap().name, "a");
    });
}
