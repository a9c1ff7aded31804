//! What every noun does alike: one table of nouns, one test of their conventions.

use std::collections::{BTreeSet, HashMap};

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Backend, PATIENCE, TestDatabase, database, on_both, or_skip, run::LIMIT, within};

use crate::http::{Answer, Service, send};

/// What a test must know of a noun beside the description of the API.
pub(crate) struct Noun {
    pub(crate) path: &'static str,
    /// A field that a list can be narrowed by, and that differs between any two records made here.
    filter: &'static str,
    include: &'static [&'static str],
    /// A change that is allowed; none for what is only ever added.
    pub(crate) patch: Option<fn(n: usize) -> Value>,
}

pub(crate) const NOUNS: &[Noun] = &[
    Noun {
        path: "/v1/users",
        filter: "email",
        include: &["profile", "contents", "accounts"],
        patch: Some(|_| json!({"name": "Changed", "last_active_at": "2026-01-31T12:00:00+02:00"})),
    },
    Noun {
        path: "/v1/profiles",
        filter: "user_id",
        include: &["user"],
        patch: Some(|_| json!({"city": "Wien", "bio": null})),
    },
    Noun {
        path: "/v1/contents",
        filter: "author_id",
        include: &["author", "tags"],
        patch: Some(|_| json!({"title": "Changed", "status": "published"})),
    },
    Noun { path: "/v1/tags", filter: "name", include: &[], patch: Some(|n| json!({"name": format!("changed {n}")})) },
    Noun {
        path: "/v1/accounts",
        filter: "owner_id",
        include: &["owner", "outgoing_transfers", "incoming_transfers"],
        patch: Some(|_| json!({})),
    },
    Noun { path: "/v1/transfers", filter: "from_account_id", include: &["from_account", "to_account"], patch: None },
    Noun {
        path: "/v1/subscriptions",
        filter: "user_id",
        include: &["user"],
        patch: Some(|_| json!({"plan": "changed", "status": "active"})),
    },
    Noun { path: "/v1/settings", filter: "user_id", include: &["user"], patch: Some(|_| json!({"value": "de-AT"})) },
    Noun {
        path: "/v1/data-models",
        filter: "name",
        include: &["owner", "relationships", "referenced_by"],
        patch: Some(|_| json!({"fields": [{"name": "a", "kind": "decimal", "required": true}]})),
    },
    Noun {
        path: "/v1/relationships",
        filter: "from_model_id",
        include: &["from", "to"],
        patch: Some(|_| json!({"kind": "contains"})),
    },
];

/// A valid body for the noun, with all that it refers to in place.
pub(crate) async fn body(service: &Service, path: &str, n: usize) -> Value {
    let user = async |of: &str| {
        let user = json!({"email": format!("{of}{n}@example.com"), "name": format!("User {n}")});
        service.create("/v1/users", &user).await["id"].clone()
    };
    match path {
        "/v1/users" => json!({
            "email": format!("User{n}@Example.com"), "name": format!("Name {}", n % 3), "role": "editor",
            "avatar": "https://example.com/a.png", "profile": {"bio": "Bio", "birth_date": "2000-02-29"},
        }),
        "/v1/profiles" => json!({"user_id": user("profile").await, "bio": "Bio", "city": format!("City {n}")}),
        "/v1/contents" => {
            let tag = service.create("/v1/tags", &json!({"name": format!("of content {n}")})).await;
            json!({"author_id": user("content").await, "title": format!("Title {}", n % 3), "body": "", "tags": [tag["id"]]})
        }
        "/v1/tags" => json!({"name": format!("tag {n}")}),
        "/v1/accounts" => json!({"owner_id": user("account").await, "currency": "EUR", "balance": n % 3}),
        "/v1/transfers" => {
            let owner = user("transfer").await;
            let account = json!({"owner_id": owner, "currency": "JPY", "balance": 100});
            let (from, to) =
                (service.create("/v1/accounts", &account).await, service.create("/v1/accounts", &account).await);
            json!({"from_account_id": from["id"], "to_account_id": to["id"], "amount": 1 + n % 3})
        }
        "/v1/subscriptions" => json!({
            "user_id": user("subscription").await, "plan": format!("plan {}", n % 3),
            "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-02-01T00:00:00.5+01:00",
        }),
        "/v1/settings" => json!({"scope": "user", "user_id": user("setting").await, "key": "locale", "value": "de"}),
        "/v1/data-models" => json!({
            "owner_id": user("model").await, "name": format!("model {n}"), "fields": [{"name": "a", "kind": "text"}],
        }),
        "/v1/relationships" => {
            let model = async |end: &str| {
                service.create("/v1/data-models", &json!({"name": format!("{end} {n}")})).await["id"].clone()
            };
            json!({"from_model_id": model("from").await, "to_model_id": model("to").await, "kind": "references"})
        }
        path => panic!("{path} is not in the table of nouns"),
    }
}

/// What was answered in a sequence of requests, with ids and times replaced by the order in which they appeared.
#[derive(Default)]
struct Transcript {
    answers: Vec<(String, Value)>,
    ids: HashMap<String, usize>,
}

impl Transcript {
    fn note(&mut self, what: &str, answer: &Answer) {
        let mut body = if answer.body.is_empty() { Value::Null } else { answer.json() };
        self.normalise("", &mut body);
        let mut location = answer.headers.get("location").map_or(Value::Null, |value| json!(value.to_str().unwrap()));
        if let Some((path, id)) = location.clone().as_str().and_then(|location| location.rsplit_once('/')) {
            let mut id = json!(id);
            self.normalise("", &mut id);
            location = json!(format!("{path}/{}", id.as_str().unwrap()));
        }
        // That of more than one record is a hash of ids and times, which are never the same.
        let version = |etag: &&str| etag.len() < "\"1000\"".len();
        let etag = answer.headers.get("etag").map(|etag| etag.to_str().unwrap()).filter(version);
        self.answers.push((what.to_owned(), json!([answer.status, location, etag, body])));
    }

    fn normalise(&mut self, name: &str, value: &mut Value) {
        match value {
            Value::String(text) if uuid::Uuid::parse_str(text).is_ok() && text.len() == 36 => {
                let next = self.ids.len();
                let id = *self.ids.entry(text.clone()).or_insert(next);
                *text = format!("id {id}");
            }
            Value::String(text) if ["created_at", "updated_at"].contains(&name) => {
                assert!(text.ends_with('Z'), "{text}");
                *text = "a time".to_owned();
            }
            Value::String(text) if name == "next_page_token" => *text = "a token".to_owned(),
            Value::String(text) if name == "request_id" => *text = "a request".to_owned(),
            Value::String(text) => {
                for (id, at) in &self.ids {
                    *text = text.replace(id, &format!("id {at}"));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.normalise(name, item)),
            Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| self.normalise(name, value)),
            _ => {}
        }
    }
}

/// Everything that every noun does, against one database.
async fn walk(database: &TestDatabase) -> Transcript {
    let service = Service::start(database).await;
    let description = service.get("/openapi.json").await.json();
    let mut transcript = Transcript::default();
    for noun in NOUNS {
        Walk { service: &service, noun, description: &description, transcript: &mut transcript }.all().await;
    }
    transcript
}

struct Walk<'a> {
    service: &'a Service,
    noun: &'a Noun,
    description: &'a Value,
    transcript: &'a mut Transcript,
}

impl Walk<'_> {
    async fn all(mut self) {
        let mut made = Vec::new();
        for n in 0..5 {
            made.push(self.create(n).await);
        }
        self.pages(&made).await;
        self.sort().await;
        self.filter(&made[3]).await;
        self.include(&made[0]).await;
        self.replay().await;
        self.change(&made[1]).await;
    }

    fn note(&mut self, what: &str, answer: &Answer) {
        self.transcript.note(&format!("{} {what}", self.noun.path), answer);
    }

    async fn get(&mut self, path: &str) -> Value {
        let answer = self.service.get(path).await;
        self.note(
            &format!("GET {}", path.split('?').nth(1).unwrap_or_default().split("page_token").next().unwrap()),
            &answer,
        );
        answer.expect(200)
    }

    /// All of what a list has, a page at a time.
    async fn list(&mut self, query: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut path = format!("{}?page_size=2{query}", self.noun.path);
        loop {
            let page = self.get(&path).await;
            items.extend(page["items"].as_array().unwrap().clone());
            let Some(token) = page["next_page_token"].as_str() else { return items };
            assert_eq!(page["items"].as_array().unwrap().len(), 2, "a page before the last is full");
            path = format!("{}?page_size=2{query}&page_token={token}", self.noun.path);
        }
    }

    async fn create(&mut self, n: usize) -> Value {
        let path = self.noun.path;
        let body = body(self.service, path, n).await;
        let answer = self.service.post(path, &body).await;
        let made = answer.expect(201);
        self.note("POST", &answer);
        assert_eq!(answer.header("location"), format!("{path}/{}", made["id"].as_str().unwrap()));
        assert_eq!(answer.header("etag"), "\"1\"");
        assert_eq!(answer.header("content-type"), "application/json");
        let found = self.service.get(answer.header("location")).await;
        assert_eq!(found.expect(200), made);
        assert_eq!(found.header("etag"), "\"1\"");
        assert_eq!(found.header("content-type"), "application/json");
        self.note("GET", &found);
        made
    }

    async fn pages(&mut self, made: &[Value]) {
        let all = self.list("").await;
        let ids = |records: &[Value]| records.iter().map(|record| record["id"].clone()).collect::<Vec<_>>();
        let ours = all.iter().filter(|record| made.contains(record)).cloned().collect::<Vec<_>>();
        assert_eq!(ids(&ours), ids(made), "in the order of creation");
        assert_eq!(ids(&all).iter().map(Value::to_string).collect::<BTreeSet<_>>().len(), all.len(), "none twice");
    }

    async fn sort(&mut self) {
        let parameters = self.description["paths"][self.noun.path]["get"]["parameters"].as_array().unwrap();
        let sort = parameters.iter().find(|parameter| parameter["name"] == "sort").unwrap();
        let orders = sort["schema"]["enum"].as_array().unwrap();
        assert!(orders.len() >= 4, "{orders:?}");
        for order in orders.iter().map(|order| order.as_str().unwrap().to_owned()).collect::<Vec<_>>() {
            let listed = self.list(&format!("&sort={order}")).await;
            let field = order.trim_start_matches('-');
            let key = |record: &Value| {
                let value = &record[field];
                let number = value.as_i64().unwrap_or_default();
                (number, value.as_str().unwrap_or_default().to_owned(), record["id"].as_str().unwrap().to_owned())
            };
            let mut keys = listed.iter().map(key).collect::<Vec<_>>();
            assert!(keys.len() >= 5);
            if order.starts_with('-') {
                keys.reverse();
            }
            // The order of text beyond letters is the database's, but equals stand together, in the order of their ids.
            assert!(keys.is_sorted(), "{} {order}: {keys:?}", self.noun.path);
        }
    }

    async fn filter(&mut self, record: &Value) {
        let field = self.noun.filter;
        let value = record[field].as_str().unwrap();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair(&format!("filter[{field}]"), value)
            .finish();
        let found = self.service.get(&format!("{}?{query}", self.noun.path)).await;
        self.note(&format!("filter {field}"), &found);
        assert_eq!(found.expect(200)["items"], json!([record]));
    }

    async fn include(&mut self, record: &Value) {
        let id = record["id"].as_str().unwrap().to_owned();
        let member = format!("{}/{id}", self.noun.path);
        let names = self.noun.include.join(",");
        let with = self.get(&format!("{member}?include={names}")).await;
        for name in self.noun.include {
            assert!(with.get(name).is_some(), "{name} in {with}");
        }
        for (field, value) in record.as_object().unwrap() {
            assert_eq!(&with[field], value);
        }
        let listed = self.list(&format!("&include={names}")).await;
        assert!(listed.contains(&with), "a list includes what one record does");
    }

    async fn replay(&mut self) {
        let body = body(self.service, self.noun.path, 7).await;
        let key = format!("key of {}", self.noun.path).replace(' ', "-");
        let post = || self.service.request(Method::POST, self.noun.path).header("idempotency-key", &key).json(&body);
        let (first, again) = (send(post()).await, send(post()).await);
        first.expect(201);
        assert_eq!((again.status, &again.body), (201, &first.body));
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(again.header("etag"), first.header("etag"));
        let id = first.json()["id"].clone();
        let listed = self.list("").await;
        assert_eq!(listed.iter().filter(|record| record["id"] == id).count(), 1);
        self.note("replayed", &again);
    }

    async fn change(&mut self, record: &Value) {
        let member = format!("{}/{}", self.noun.path, record["id"].as_str().unwrap());
        let Some(patch) = self.noun.patch else {
            for method in [Method::PATCH, Method::DELETE, Method::PUT] {
                let answer = send(self.service.request(method, &member).header("if-match", "\"1\"")).await;
                answer.problem(405, "method");
            }
            return;
        };
        let patch = patch(1);
        let without = self.service.request(Method::PATCH, &member).json(&patch);
        send(without).await.problem(428, "if_match_required");
        let changed = self.service.patch(&member, 1, &patch).await;
        self.note("PATCH", &changed);
        let (made, record) = (record, changed.expect(200));
        assert_eq!((changed.header("etag"), &record["version"]), ("\"2\"", &json!(2)));
        for (field, value) in made.as_object().unwrap().iter().filter(|(field, _)| patch.get(field).is_none()) {
            assert!(
                ["version", "updated_at"].contains(&field.as_str()) || &record[field] == value,
                "{field}: {record}"
            );
        }
        assert!(record["updated_at"].as_str() >= record["created_at"].as_str());
        assert_eq!(self.get(&member).await, record);
        let stale = self.service.patch(&member, 1, &patch).await;
        stale.problem(412, "version_conflict");
        self.note("stale", &stale);
        // A patch of nothing keeps everything.
        let kept = self.service.patch(&member, 2, &json!({})).await.expect(200);
        for (field, value) in record.as_object().unwrap() {
            assert!(["version", "updated_at"].contains(&field.as_str()) || &kept[field] == value, "{field}: {kept}");
        }

        send(self.service.request(Method::DELETE, &member)).await.problem(428, "if_match_required");
        self.service.delete(&member, 2).await.problem(412, "version_conflict");
        self.release(&record).await;
        let deleted = self.service.delete(&member, 3).await;
        assert_eq!((deleted.status, deleted.body.len()), (204, 0), "{}", deleted.text());
        for answer in [
            self.service.get(&member).await,
            self.service.patch(&member, 3, &patch).await,
            self.service.delete(&member, 3).await,
        ] {
            answer.problem(404, "not_found");
            self.note("gone", &answer);
        }
    }

    /// What was made along with a record and keeps it from being deleted.
    async fn release(&self, record: &Value) {
        if self.noun.path == "/v1/users" {
            let profile = format!("/v1/users/{}/profile", record["id"].as_str().unwrap());
            assert_eq!(self.service.delete(&profile, 1).await.status, 204);
        }
    }
}

on_both!(
    async fn every_noun_follows_the_conventions(database: TestDatabase) {
        walk(&database).await;
    }
);

#[test]
fn both_databases_answer_alike() {
    within(LIMIT.max(PATIENCE), async {
        let postgres = or_skip!(database(Backend::Postgres).await);
        let sqlite = database(Backend::Sqlite).await.unwrap();
        let (one, other) = (walk(&sqlite).await, walk(&postgres).await);
        assert!(one.answers.len() > 200, "{}", one.answers.len());
        for (one, other) in one.answers.iter().zip(&other.answers) {
            assert_eq!(one, other);
        }
        assert_eq!(one.answers.len(), other.answers.len());
    });
}

on_both!(
    /// A page begins after the last record of the one before, wherever that record is now.
    async fn pages_stay_right_while_records_come_and_go(database: TestDatabase) {
        let service = Service::start(&database).await;
        let tag = async |name: String| service.create("/v1/tags", &json!({ "name": name })).await;
        let mut made = Vec::new();
        for n in 10..50 {
            made.push(tag(format!("{n}")).await);
        }
        for sort in ["name", "-name", "id"] {
            let (mut seen, mut gone) = (Vec::new(), BTreeSet::new());
            let mut path = format!("/v1/tags?page_size=7&sort={sort}");
            loop {
                let page = service.get(&path).await.expect(200);
                let items = page["items"].as_array().unwrap();
                seen.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
                let Some(token) = page["next_page_token"].as_str() else { break };
                path = format!("/v1/tags?page_size=7&sort={sort}&page_token={token}");
                // The very record that the next page begins after goes, and others come on either side of it.
                let last = items.last().unwrap();
                let id = last["id"].as_str().unwrap();
                assert_eq!(service.delete(&format!("/v1/tags/{id}"), 1).await.status, 204);
                gone.insert(last["name"].clone().to_string());
                for side in ["0", "9"] {
                    tag(format!("{side} {sort} {}", seen.len())).await;
                }
            }
            let unique = seen.iter().collect::<BTreeSet<_>>();
            assert_eq!(unique.len(), seen.len(), "none is there twice");
            made.retain(|record| {
                assert!(unique.contains(&record["name"].as_str().unwrap().to_owned()), "{record} was passed over");
                !gone.contains(&record["name"].to_string())
            });
        }
        assert!(made.len() > 10, "some were there all the time");
    }

    async fn the_profile_of_a_user_is_found_set_replaced_and_cleared(database: TestDatabase) {
        let service = Service::start(&database).await;
        let user = service.create("/v1/users", &json!({"email": "a@example.com", "name": "A"})).await;
        let path = format!("/v1/users/{}/profile", user["id"].as_str().unwrap());
        service.get(&path).await.problem(404, "not_found");
        let put = |body: Value| service.request(Method::PUT, &path).json(&body);
        send(put(json!({})).header("if-match", "\"1\"")).await.problem(404, "not_found");
        let set = send(put(json!({"city": "Wien", "bio": "Bio"}))).await;
        assert_eq!((set.header("etag"), &set.expect(200)["user_id"]), ("\"1\"", &user["id"]));
        let found = service.get(&path).await;
        assert_eq!((found.header("etag"), found.expect(200)), ("\"1\"", set.json()));
        // What is not said is gone: it is replaced, not changed.
        let replaced = send(put(json!({"city": "Graz"})).header("if-match", "\"1\"")).await;
        assert_eq!((replaced.header("etag"), &replaced.expect(200)["bio"]), ("\"2\"", &Value::Null));
        assert_eq!(replaced.json()["id"], set.json()["id"]);
        service.delete(&path, 1).await.problem(412, "version_conflict");
        assert_eq!(service.delete(&path, 2).await.status, 204);
        service.get(&path).await.problem(404, "not_found");
        service.delete(&path, 2).await.problem(404, "not_found");
    }

    async fn the_tags_of_a_content_are_linked_ordered_and_unlinked(database: TestDatabase) {
        let service = Service::start(&database).await;
        let author = service.create("/v1/users", &json!({"email": "a@example.com", "name": "A"})).await["id"].clone();
        let mut tags = Vec::new();
        for name in ["a", "b", "c"] {
            tags.push(service.create("/v1/tags", &json!({ "name": name })).await["id"].clone());
        }
        let content = json!({"author_id": author, "title": "t", "body": "", "tags": [tags[1]]});
        let content = service.create("/v1/contents", &content).await;
        let path = format!("/v1/contents/{}/tags", content["id"].as_str().unwrap());
        let names = |answer: Answer| {
            let tags = answer.expect(200)["items"].as_array().unwrap().clone();
            tags.iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect::<String>()
        };
        let link = |tag: usize, query: &str| {
            send(service.request(Method::PUT, &format!("{path}/{}{query}", tags[tag].as_str().unwrap())))
        };
        assert_eq!(names(service.get(&path).await), "b");
        assert_eq!(names(link(0, "").await), "ba");
        assert_eq!(names(link(2, "?position=-1").await), "cba");
        assert_eq!(names(link(2, "").await), "cba");
        assert_eq!(names(link(2, "?position=5").await), "bac");
        link(2, "?position=1.0").await.problem(400, "query");
        link(2, "?place=1").await.problem(400, "query");
        let set = json!({"tags": [tags[2], tags[0]]});
        assert_eq!(names(send(service.request(Method::PUT, &path).json(&set)).await), "ca");
        let found = service.get(&format!("/v1/contents/{}?include=tags", content["id"].as_str().unwrap())).await;
        assert_eq!(found.json()["tags"], service.get(&path).await.json()["items"]);
        let unlink = format!("{path}/{}", tags[2].as_str().unwrap());
        assert_eq!(send(service.request(Method::DELETE, &unlink)).await.status, 204);
        assert_eq!(names(service.get(&path).await), "a");
        send(service.request(Method::PUT, &path).json(&json!({"tags": []}))).await.expect(200);
        assert_eq!(names(service.get(&path).await), "");
    }
);
