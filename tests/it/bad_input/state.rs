//! Cases 48 to 53: what the present state of the data forbids, and what the database cannot do.

use std::{collections::BTreeSet, time::Duration};

use api::Limits;
use domain::StoreOptions;
use futures_util::{StreamExt, future::join_all, stream};
use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use sqlx::{Connection, Executor};
use tests::{Backend, PATIENCE, Postgres, TestDatabase, database, eventually, on_both, or_skip, run::LIMIT, within};

use crate::http::{Answer, KEY, Service, send};

on_both!(
    async fn case_48_a_reference_to_nothing_names_its_field(database: TestDatabase) {
        let service = Service::start(&database).await;
        let unknown = uuid::Uuid::from_u128(7);
        let user = user(&service, "a").await;
        let period = "2026-01-01T00:00:00Z";
        for (path, body, pointer) in [
            ("/v1/contents", json!({"author_id": unknown, "title": "t", "body": ""}), "/author_id"),
            ("/v1/contents", json!({"author_id": user, "title": "t", "body": "", "tags": [unknown]}), "/tags/0"),
            ("/v1/profiles", json!({"user_id": unknown}), "/user_id"),
            ("/v1/accounts", json!({"owner_id": unknown, "currency": "EUR"}), "/owner_id"),
            (
                "/v1/subscriptions",
                json!({"user_id": unknown, "plan": "p", "period_start": period, "period_end": "2026-02-01T00:00:00Z"}),
                "/user_id",
            ),
            ("/v1/data-models", json!({"owner_id": unknown, "name": "m"}), "/owner_id"),
            ("/v1/settings", json!({"scope": "user", "user_id": unknown, "key": "locale", "value": "de"}), "/user_id"),
        ] {
            service.post(path, &body).await.problem(422, "invalid").at(pointer, "reference");
        }
        let account = service.create("/v1/accounts", &json!({"owner_id": user, "currency": "EUR"})).await;
        let path = format!("/v1/accounts/{}", id(&account));
        service
            .patch(&path, 1, &json!({"owner_id": unknown}))
            .await
            .problem(422, "invalid")
            .at("/owner_id", "reference");
    }

    async fn case_48_what_is_taken_names_its_field(database: TestDatabase) {
        let service = Service::start(&database).await;
        let body = json!({"email": "a@example.com", "name": "A"});
        service.create("/v1/users", &body).await;
        service.post("/v1/users", &body).await.problem(409, "duplicate").at("/email", "unique");
        let other = user(&service, "b").await;
        let path = format!("/v1/users/{}", other.as_str().unwrap());
        let problem = service.patch(&path, 1, &json!({"email": "A@example.com"})).await.problem(409, "duplicate");
        problem.at("/email", "unique");
        let set = |value: &str| json!({"scope": "user", "user_id": other, "key": "locale", "value": value});
        service.create("/v1/settings", &set("de")).await;
        service.post("/v1/settings", &set("en")).await.problem(409, "duplicate");
    }
);

/// What the engine refuses of itself, where the validator did not know better.
#[test]
fn case_48_the_engines_refusals_name_their_fields() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let service = Service::start(&database).await;
        let connection = database.connect().await;
        let post = async |name: &str| service.post("/v1/tags", &json!({ "name": name })).await;

        let check = "ALTER TABLE tags ADD CONSTRAINT ck_tags_name CHECK (name <> 'forbidden')";
        connection.execute_unprepared(check).await.unwrap();
        post("forbidden").await.problem(422, "invalid").at("/name", "check");

        connection.execute_unprepared("ALTER TABLE tags ALTER name TYPE varchar(16)").await.unwrap();
        post(&"x".repeat(17)).await.problem(422, "invalid");

        connection.execute_unprepared("ALTER TABLE tags ALTER version TYPE smallint").await.unwrap();
        let tag = post("tag").await.expect(201);
        connection.execute_unprepared("UPDATE tags SET version = 32767").await.unwrap();
        let path = format!("/v1/tags/{}", id(&tag));
        service.patch(&path, 32_767, &json!({"name": "b"})).await.problem(422, "invalid");

        let required = "DELETE FROM tags; ALTER TABLE tags ADD extra text NOT NULL";
        connection.execute_unprepared(required).await.unwrap();
        post("tag").await.problem(422, "invalid").at("/extra", "required");
    });
}

/// Whatever the engine reports, by its code; its own words stay inside.
#[test]
fn case_48_every_report_of_the_engine_has_its_answer() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let service = Service::start(&database).await;
        let refuse = r#"
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'relation "secret" in /var/lib/postgresql: SELECT 1' USING ERRCODE = upper(NEW.name);
            END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON tags FOR EACH ROW EXECUTE FUNCTION refuse()"#;
        database.connect().await.execute_unprepared(refuse).await.unwrap();
        for (code, status, word) in [
            ("23503", 422, "invalid"),
            ("23505", 409, "duplicate"),
            ("23514", 422, "invalid"),
            ("23502", 422, "invalid"),
            ("22001", 422, "invalid"),
            ("22003", 422, "invalid"),
            ("40001", 503, "serialization_failure"),
            ("40P01", 503, "deadlock"),
            ("57014", 504, "timeout"),
            ("53100", 503, "disk_full"),
            ("53300", 503, "too_many_connections"),
            ("25006", 503, "read_only"),
            ("XX000", 500, "internal"),
            ("42P01", 500, "internal"),
        ] {
            let answer = service.post("/v1/tags", &json!({ "name": code })).await;
            answer.problem(status, word);
            assert_eq!(answer.headers.contains_key("retry-after"), status >= 503, "{code}");
        }
        service.get("/v1/tags").await.expect(200);
    });
}

#[test]
fn case_48_a_statement_that_takes_too_long_is_given_up() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let statement_timeout = Duration::from_millis(300);
        let options = StoreOptions { statement_timeout, ..StoreOptions::new(&database.url) };
        let service = Service::start_on(&options, Limits::default(), KEY).await;
        let holder = Holder::of(&database).await;
        holder.run("BEGIN; LOCK TABLE tags IN ACCESS EXCLUSIVE MODE").await;
        for answer in [service.get("/v1/tags").await, service.post("/v1/tags", &json!({"name": "a"})).await] {
            answer.problem(504, "timeout");
            assert_eq!(answer.header("retry-after"), "1");
        }
        holder.run("ROLLBACK").await;
        service.create("/v1/tags", &json!({"name": "a"})).await;
    });
}

#[test]
fn case_48_a_database_that_is_being_written_by_another_is_contended() {
    within(LIMIT, async {
        let database = database(Backend::Sqlite).await.unwrap();
        let lock_timeout = Duration::from_millis(100);
        let options = StoreOptions { lock_timeout, ..StoreOptions::new(&database.url) };
        let service = Service::start_on(&options, Limits::default(), KEY).await;
        let mut other = sqlx::SqliteConnection::connect(&database.url).await.unwrap();
        other.execute("BEGIN IMMEDIATE").await.unwrap();
        let answer = service.post("/v1/tags", &json!({"name": "a"})).await;
        answer.problem(503, "database_busy");
        assert_eq!(answer.header("retry-after"), "1");
        service.get("/v1/tags").await.expect(200);
        other.execute("ROLLBACK").await.unwrap();
        service.create("/v1/tags", &json!({"name": "a"})).await;
    });
}

#[test]
fn case_48_a_server_that_takes_no_writes_still_answers() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let name = database.url.rsplit('/').next().unwrap();
        let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
        database.connect().await.execute_unprepared(&read_only).await.unwrap();
        let service = Service::start(&database).await;
        let answer = service.post("/v1/tags", &json!({"name": "a"})).await;
        answer.problem(503, "read_only");
        assert_eq!(answer.header("retry-after"), "1");
        service.get("/v1/tags").await.expect(200);
    });
}

#[test]
fn case_48_a_server_without_a_free_connection_is_unavailable() {
    within(LIMIT, async {
        let settings = ["max_connections=8", "superuser_reserved_connections=0"];
        let server = or_skip!(Postgres::private_with(&settings).await);
        let database = server.database().await;
        let acquire_timeout = Duration::from_millis(500);
        let options = StoreOptions { acquire_timeout, min_connections: 1, ..StoreOptions::new(&database.url) };
        let service = Service::start_on(&options, Limits::default(), KEY).await;
        let first = Holder::of(&database).await;
        let mut holders = Vec::new();
        eventually("the server is full", PATIENCE, async || match Holder::try_of(&database).await {
            Some(holder) => {
                holders.push(holder);
                None
            }
            None => Some(()),
        })
        .await;
        // The one connection that the service has is held up.
        first.run("BEGIN; LOCK TABLE tags IN ACCESS EXCLUSIVE MODE").await;
        let body = json!({"name": "a"});
        let (_, refused) = tokio::join!(service.get("/v1/tags"), async {
            first.until_waiting(1).await;
            let answers = [service.post("/v1/tags", &body).await, service.get("/v1/users").await];
            first.run("ROLLBACK").await;
            answers
        });
        for answer in refused {
            assert_eq!(answer.status, 503, "{}", answer.text());
            answer.problem(503, answer.json()["code"].as_str().unwrap());
            assert_eq!(answer.header("retry-after"), "1");
        }
        drop(holders);
        let served = async || (service.get("/v1/users").await.status == 200).then_some(());
        eventually("it serves again", PATIENCE, served).await;
    });
}

on_both!(
    async fn case_49_a_parent_with_children_stays_and_counts_them(database: TestDatabase) {
        let service = Service::start(&database).await;
        let user = user(&service, "a").await;
        let path = format!("/v1/users/{}", user.as_str().unwrap());
        service.create("/v1/profiles", &json!({"user_id": user})).await;
        let tag = service.create("/v1/tags", &json!({"name": "t"})).await;
        for _ in 0..2 {
            let body = json!({"author_id": user, "title": "t", "body": "", "tags": [tag["id"]]});
            service.create("/v1/contents", &body).await;
        }
        let account = json!({"owner_id": user, "currency": "EUR", "balance": 10});
        let accounts = [service.create("/v1/accounts", &account).await, service.create("/v1/accounts", &account).await];
        let transfer = json!({"from_account_id": accounts[0]["id"], "to_account_id": accounts[1]["id"], "amount": 1});
        service.create("/v1/transfers", &transfer).await;

        let problem = service.delete(&path, 1).await.problem(409, "in_use");
        assert_eq!(problem.0["counts"], json!({"accounts": 2, "contents": 2, "profiles": 1}));
        let problem = service.delete(&format!("/v1/tags/{}", id(&tag)), 1).await.problem(409, "in_use");
        assert_eq!(problem.0["counts"], json!({"content_tags": 2}));
        let account = service.get(&format!("/v1/accounts/{}", id(&accounts[0]))).await.expect(200);
        let problem = service.delete(&format!("/v1/accounts/{}", id(&account)), version(&account)).await;
        assert_eq!(problem.problem(409, "in_use").0["counts"], json!({"transfers": 1}));
        let found = service.get(&format!("{path}?include=profile,contents.tags,accounts")).await.expect(200);
        assert_eq!(found["contents"].as_array().unwrap().len(), 2);
        assert_eq!(found["contents"][1]["tags"][0]["id"], tag["id"]);
        assert_eq!(found["profile"]["user_id"], user);
    }

    /// What goes along with its parent, and what forgets it, is told beforehand.
    async fn case_49_what_becomes_of_children_is_told(database: TestDatabase) {
        let service = Service::start(&database).await;
        let described = service.get("/openapi.json").await.expect(200);
        let delete = |path: &str| described["paths"][path]["delete"]["description"].as_str().unwrap_or_default();
        assert_eq!(
            delete("/v1/users/{id}"),
            "Refused while it has any of: profiles, accounts, contents, subscriptions. Deleted along with it: settings. \
             Kept, without it: data models."
        );
        assert_eq!(delete("/v1/data-models/{id}"), "Refused while it has any of: relationships.");
        assert_eq!(delete("/v1/settings/{id}"), "");
    }

    async fn case_50_links_are_what_they_are(database: TestDatabase) {
        let service = Service::start(&database).await;
        let user = user(&service, "a").await;
        service.create("/v1/profiles", &json!({"user_id": user})).await;
        let problem = service.post("/v1/profiles", &json!({"user_id": user})).await.problem(409, "duplicate");
        problem.at("/user_id", "unique");

        // Linked twice is linked.
        let tag = service.create("/v1/tags", &json!({"name": "t"})).await;
        let content = service.create("/v1/contents", &json!({"author_id": user, "title": "t", "body": ""})).await;
        let tags = format!("/v1/contents/{}/tags", id(&content));
        let link = format!("{tags}/{}", id(&tag));
        let once = send(service.request(Method::PUT, &link)).await.expect(200);
        assert_eq!(once, json!({"items": [tag]}));
        assert_eq!(send(service.request(Method::PUT, &link)).await.expect(200), once);
        let twice = json!({"tags": [tag["id"], tag["id"]]});
        assert_eq!(send(service.request(Method::PUT, &tags).json(&twice)).await.expect(200), once);
        assert_eq!(send(service.request(Method::DELETE, &link)).await.status, 204);
        assert_eq!(send(service.request(Method::DELETE, &link)).await.status, 204);

        // Nothing contains itself, be it over others.
        let mut models = Vec::new();
        for name in ["a", "b", "c"] {
            models.push(service.create("/v1/data-models", &json!({ "name": name })).await["id"].clone());
        }
        let edge = |from: usize, to: usize, kind: &str| json!({"from_model_id": models[from], "to_model_id": models[to], "kind": kind});
        for kind in ["contains", "extends"] {
            let problem = service.post("/v1/relationships", &edge(0, 0, kind)).await.problem(422, "invalid");
            problem.at("/to_model_id", "self_link");
            service.create("/v1/relationships", &edge(0, 1, kind)).await;
            service.create("/v1/relationships", &edge(1, 2, kind)).await;
            for (from, to) in [(1, 0), (2, 0)] {
                let problem = service.post("/v1/relationships", &edge(from, to, kind)).await.problem(422, "invalid");
                problem.at("/to_model_id", "cycle");
            }
            service.post("/v1/relationships", &edge(0, 1, kind)).await.problem(409, "duplicate");
        }
        let reference = service.create("/v1/relationships", &edge(2, 0, "references")).await;
        let path = format!("/v1/relationships/{}", id(&reference));
        service.patch(&path, 1, &json!({"kind": "contains"})).await.problem(422, "invalid").at("/to_model_id", "cycle");
    }

    async fn case_51_who_changes_says_what_they_saw(database: TestDatabase) {
        let service = Service::start(&database).await;
        let user = user(&service, "a").await;
        let path = format!("/v1/users/{}", user.as_str().unwrap());
        service.patch(&path, 1, &json!({"name": "B"})).await.expect(200);
        let changes = [(Method::PATCH, Some(json!({"name": "C"}))), (Method::DELETE, None)];
        for (method, body) in changes {
            let change = |tags: &[&str]| {
                let mut request = service.request(method.clone(), &path);
                for tag in tags {
                    request = request.header("if-match", *tag);
                }
                send(match &body {
                    Some(body) => request.json(body),
                    None => request,
                })
            };
            for stale in ["\"1\"", "\"3\"", "\"0\"", "\"-1\""] {
                let problem = change(&[stale]).await.problem(412, "version_conflict");
                assert_eq!(problem.0["actual"], 2);
                assert_eq!(problem.0["expected"].to_string(), stale.trim_matches('"'));
            }
            change(&[]).await.problem(428, "if_match_required");
            for tag in ["2", "W/\"2\"", "*", "\"2", "\"2\", \"3\"", "\"\"", "\" 2\""] {
                change(&[tag]).await.problem(400, "if_match");
            }
            change(&["\"2\"", "\"2\""]).await.problem(400, "header");
        }
        let found = service.get(&path).await.expect(200);
        assert_eq!((&found["name"], &found["version"]), (&json!("B"), &json!(2)));

        // A profile is replaced only by who saw it.
        let path = format!("{path}/profile");
        let put = |body: Value| service.request(Method::PUT, &path).json(&body);
        let made = send(put(json!({"city": "Wien"}))).await;
        made.expect(200);
        send(put(json!({"city": "Graz"}))).await.problem(428, "if_match_required").says("If-Match");
        send(put(json!({"city": "Graz"})).header("if-match", "\"2\"")).await.problem(412, "version_conflict");
        let changed = send(put(json!({"city": "Graz"})).header("if-match", made.header("etag"))).await;
        assert_eq!(changed.expect(200)["city"], "Graz");
        send(service.request(Method::DELETE, &path)).await.problem(428, "if_match_required");
    }

    async fn case_52_a_request_with_a_key_takes_effect_once(database: TestDatabase) {
        let service = Service::start(&database).await;
        let post = |path: &str, key: &str, body: &Value| {
            send(service.request(Method::POST, path).header("idempotency-key", key).json(body))
        };
        let body = json!({"name": "a"});
        let first = post("/v1/tags", "k", &body).await;
        first.expect(201);
        for _ in 0..3 {
            let again = post("/v1/tags", "k", &body).await;
            assert_eq!((again.status, &again.body), (201, &first.body));
            for header in ["location", "etag", "content-type"] {
                assert_eq!(again.header(header), first.header(header));
            }
        }
        // Another request is not the same because it has the same key, nor another key's.
        post("/v1/tags", "k", &json!({"name": "b"})).await.problem(422, "invalid");
        let user = json!({"email": "a@example.com", "name": "a"});
        post("/v1/users", "k", &user).await.problem(422, "invalid");
        post("/v1/tags", "K", &body).await.problem(409, "duplicate");
        for key in ["", " ", "a b", "ü", &"k".repeat(129)] {
            let answer = post("/v1/tags", key, &json!({"name": "c"})).await;
            assert_eq!(answer.status, 400, "{key:?}: {}", answer.text());
        }
        // What had no effect is not remembered.
        let missing = json!({"user_id": uuid::Uuid::nil()});
        post("/v1/profiles", "p", &missing).await.problem(422, "invalid");
        let id = service.create("/v1/users", &user).await["id"].clone();
        post("/v1/profiles", "p", &json!({"user_id": id})).await.expect(201);

        // Sent many times at once it has one effect, and every answer is of it or says to wait.
        let content = json!({"author_id": id, "title": "t", "body": ""});
        let answers = join_all((0..16).map(|_| post("/v1/contents", "c", &content))).await;
        let mut bodies = BTreeSet::new();
        for answer in &answers {
            match answer.status {
                201 => _ = bodies.insert(answer.text()),
                _ => _ = answer.problem(409, "request_in_progress"),
            }
        }
        assert_eq!(bodies.len(), 1, "{answers:?}");
        assert_eq!(service.get("/v1/contents").await.json()["items"].as_array().unwrap().len(), 1);
    }
);

#[test]
fn case_52_two_requests_with_one_key_at_once_are_told_apart() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Postgres).await);
        let service = Service::start(&database).await;
        let author = user(&service, "a").await;
        let body = json!({"author_id": author, "title": "t", "body": ""});
        let post = || send(service.request(Method::POST, "/v1/contents").header("idempotency-key", "k").json(&body));
        let holder = Holder::of(&database).await;
        // Reads pass and writes wait: both find that the key is new.
        holder.run("BEGIN; LOCK TABLE contents IN EXCLUSIVE MODE").await;
        let (first, second, ()) = tokio::join!(post(), post(), async {
            holder.until_waiting(2).await;
            holder.run("ROLLBACK").await;
        });
        let (made, refused) = if first.status == 201 { (first, second) } else { (second, first) };
        made.expect(201);
        refused.problem(409, "request_in_progress");
        assert_eq!(post().await.body, made.body);
    });
}

on_both!(
    async fn case_53_of_two_that_want_one_name_one_gets_it(database: TestDatabase) {
        let service = Service::start(&database).await;
        const TRIALS: usize = 1_000;
        let trial = async |n: usize| -> [Answer; 2] {
            let body = json!({"name": format!("tag {n}")});
            let (one, other) = tokio::join!(service.post("/v1/tags", &body), service.post("/v1/tags", &body));
            [one, other]
        };
        let mut trials = stream::iter((0..TRIALS).map(trial)).buffer_unordered(4);
        let mut made = 0;
        while let Some(answers) = trials.next().await {
            let [winner, loser] = {
                let mut answers = answers;
                answers.sort_by_key(|answer| answer.status);
                answers
            };
            winner.expect(201);
            loser.problem(409, "duplicate").at("/name", "unique");
            made += 1;
        }
        assert_eq!(made, TRIALS);
        let filter = domain::TagFilter::default();
        assert_eq!(service.store.count(&filter).await.unwrap(), TRIALS as u64);
    }
);

/// A session that gets in the way.
struct Holder {
    client: tokio_postgres::Client,
}

impl Holder {
    async fn of(database: &TestDatabase) -> Self {
        Self::try_of(database).await.unwrap()
    }

    async fn try_of(database: &TestDatabase) -> Option<Self> {
        let (client, connection) = tokio_postgres::connect(&database.url, tokio_postgres::NoTls).await.ok()?;
        tokio::spawn(connection);
        Some(Self { client })
    }

    async fn run(&self, statements: &str) {
        self.client.batch_execute(statements).await.unwrap();
    }

    /// Waits until so many sessions of this database wait for a lock.
    async fn until_waiting(&self, count: i64) {
        // Not `pg_stat_activity`, which shows a transaction what its first look found.
        let waiting = "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_database ON pg_database.oid = database \
                       WHERE datname = current_database() AND NOT granted";
        let reached = async || {
            let row = self.client.query_one(waiting, &[]).await.unwrap();
            (row.get::<_, i64>(0) >= count).then_some(())
        };
        eventually("sessions wait", PATIENCE, reached).await;
    }
}

async fn user(service: &Service, name: &str) -> Value {
    let body = json!({"email": format!("{name}@other.example.com"), "name": name});
    service.create("/v1/users", &body).await["id"].clone()
}

fn id(record: &Value) -> &str {
    record["id"].as_str().unwrap()
}

fn version(record: &Value) -> i64 {
    record["version"].as_i64().unwrap()
}
