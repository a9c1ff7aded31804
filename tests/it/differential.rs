//! The same questions, asked of SQLite, of PostgreSQL and of a model in memory, have the same answers.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, Duration};
use domain::{
    Account, Clock, Content, ContentStatus, DataModel, Filter, Include, Insert, NewAccount, NewContent, NewDataModel,
    NewProfile, NewRelationship, NewSetting, NewSubscription, NewTag, NewTransfer, NewUser, Profile, Record, Related,
    Relationship, Setting, Sort, Store, StoreOptions, Subscription, SubscriptionStatus, Tag, Timestamp, Transfer, User,
    UserPatch,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Map, Value, json};
use tests::{Backend, TestDatabase, or_skip, within};

use crate::fixture::{self, all_pages, count, instant, options, page_of, read, wires};

const SEED: u64 = 20_260_102;
/// How many questions are asked about each noun.
const QUESTIONS: usize = 30;

/// What tells collations, cases and forms apart.
const WORDS: &[&str] =
    &["a", "A", "ä", "Ä", "b", "B", "ß", "ss", "z", "~", "é", "e\u{301}", "日", "🦀", "_", "%", "1", "10", "9"];

/// A clock that goes on by itself, the same in every run; now and then it stands still.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let tick = self.0.fetch_add(1, Ordering::SeqCst) / 3;
        let start = DateTime::parse_from_rfc3339("2026-01-02T03:04:05Z").unwrap();
        Timestamp::new(start + Duration::microseconds(tick * tick * 1_375))
    }
}

/// A store whose ids and times follow from the seed.
async fn repeatable(database: &TestDatabase) -> Store {
    let options = StoreOptions { seed: Some(SEED), ..options(&database.url) };
    Store::connect(&options, Ticking(AtomicI64::new(0))).await.unwrap()
}

/// Makes a record; what the rules refuse is refused everywhere alike.
async fn make<N: Insert>(store: &Store, new: Value) -> Option<Value> {
    store.insert(read::<N>(new)).await.ok().map(|record| fixture::json(&record))
}

/// Some of everything: the same for the same seed.
async fn populate(store: &Store) {
    let chance = &mut StdRng::seed_from_u64(SEED);
    let word = |chance: &mut StdRng| *WORDS.choose(chance).unwrap();
    let (mut users, mut accounts, mut tags, mut models) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..40 {
        let name = format!("{} {}", word(chance), word(chance));
        let email = format!("{}{n}@Example.org", ["Ada", "ada", "BOB"].choose(chance).unwrap());
        let role = ["member", "editor", "admin"].choose(chance).unwrap();
        let user = make::<NewUser>(store, json!({"email": email, "name": name, "role": role})).await.unwrap();
        if chance.random_bool(0.6) {
            let status = ["active", "suspended"].choose(chance);
            let patch = json!({"last_active_at": any_instant(chance), "status": status});
            let id = read::<domain::UserId>(user["id"].clone());
            store.update(id, 1, read::<UserPatch>(patch)).await.unwrap();
        }
        users.push(user["id"].clone());
    }
    for word in WORDS {
        tags.extend(make::<NewTag>(store, json!({"name": word})).await.map(|tag| tag["id"].clone()));
        let new = json!({"name": word, "owner_id": chance.random_bool(0.7).then(|| users.choose(chance).unwrap())});
        models.extend(make::<NewDataModel>(store, new).await.map(|model| model["id"].clone()));
    }
    for user in &users {
        if chance.random_bool(0.5) {
            make::<NewProfile>(store, json!({"user_id": user, "city": word(chance), "bio": word(chance)})).await;
        }
        for key in ["locale", "time_zone"].iter().filter(|_| chance.random_bool(0.4)).collect::<Vec<_>>() {
            let value = if *key == "locale" { "de" } else { "UTC" };
            make::<NewSetting>(store, json!({"scope": "user", "user_id": user, "key": key, "value": value})).await;
        }
        for _ in 0..chance.random_range(0..4) {
            let currency = ["EUR", "JPY"].choose(chance).unwrap();
            let new = json!({"owner_id": user, "currency": currency, "balance": chance.random_range(0..5) * 100});
            accounts.extend(make::<NewAccount>(store, new).await.map(|account| account["id"].clone()));
        }
        for _ in 0..chance.random_range(0..4) {
            let status = ContentStatus::ALL.choose(chance);
            let mut linked = tags.clone();
            linked.retain(|_| chance.random_bool(0.2));
            let new = json!({
                "author_id": user, "title": word(chance), "body": word(chance), "status": status, "tags": linked,
            });
            make::<NewContent>(store, new).await.unwrap();
        }
        for _ in 0..chance.random_range(0..3) {
            let status = [SubscriptionStatus::Trialing, SubscriptionStatus::Active].choose(chance).unwrap();
            let (start, end) = (any_instant(chance), "2030-01-01T00:00:00Z");
            let new = json!({
                "user_id": user, "plan": word(chance), "status": status, "stripe_customer_id": word(chance),
                "period_start": start, "period_end": end,
            });
            make::<NewSubscription>(store, new).await;
        }
    }
    make::<NewSetting>(store, json!({"scope": "application", "key": "locale", "value": "en"})).await.unwrap();
    for _ in 0..120 {
        let (from, to) = (accounts.choose(chance), accounts.choose(chance));
        let new = json!({"from_account_id": from, "to_account_id": to, "amount": chance.random_range(1..200)});
        make::<NewTransfer>(store, new).await;
        let (from, to) = (models.choose(chance), models.choose(chance));
        let kind = ["references", "contains", "extends"].choose(chance);
        make::<NewRelationship>(store, json!({"from_model_id": from, "to_model_id": to, "kind": kind})).await;
    }
}

/// One of few, so that some are equal.
fn any_instant(chance: &mut StdRng) -> &'static str {
    let instants = [
        "1969-12-31T23:59:59.999999Z",
        "2025-06-01T00:00:00Z",
        "2025-06-01T00:00:00.000001Z",
        "2025-06-01T01:30:00+02:00",
        "2026-03-29T01:59:59.5+01:00",
    ];
    instants.choose(chance).unwrap()
}

/// Which part of which list is wanted, and what along with it.
#[derive(Debug)]
struct Question {
    filter: Map<String, Value>,
    sort: String,
    page_size: u32,
    include: String,
    /// Whether it is asked in a unit of work.
    in_work: bool,
}

impl Question {
    fn any<R: Record>(chance: &mut StdRng, records: &[Value]) -> Self {
        let mut filter = Map::new();
        for name in fields_of::<R::Filter>() {
            if chance.random_bool(0.35) {
                let value = &records.choose(chance).unwrap()[column(&name, chance)];
                if !value.is_null() {
                    filter.insert(name.clone(), in_another_form(&name, value, chance));
                }
            }
        }
        let names = Sort::allowed::<R>();
        let minus = ["", "-"].choose(chance).unwrap();
        let sort = format!("{minus}{}", names.choose(chance).unwrap());
        let include = (0..chance.random_range(0..3)).map(|_| any_path(R::relations(), chance)).collect::<Vec<_>>();
        let include = include.into_iter().filter(|path| !path.is_empty()).collect::<Vec<_>>().join(",");
        let page_size = *[2, 7, 50, 200].choose(chance).unwrap();
        Self { filter, sort, page_size, include, in_work: chance.random_bool(0.3) }
    }

    /// Every page, with its cursor, and how many records there are.
    async fn ask<R: Record>(&self, store: &Store) -> Vec<(Vec<Value>, Value, u64)> {
        let filter = read::<R::Filter>(self.filter.clone().into());
        let includes = Include::parse::<R>(&self.include).unwrap();
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = page_of::<R>(&self.sort, self.page_size, after);
            let (listing, count) = if self.in_work {
                let work = store.begin().await.unwrap();
                (work.list(&filter, &page).await.unwrap(), work.count(&filter).await.unwrap())
            } else {
                (store.list(&filter, &page).await.unwrap(), store.count(&filter).await.unwrap())
            };
            let views = store.with_related(wires(&listing.records), &includes).await.unwrap();
            let views = views.iter().map(|view| serde_json::to_value(view).unwrap()).collect();
            pages.push((views, serde_json::to_value(&listing.next).unwrap(), count));
            after = listing.next;
            if after.is_none() {
                return pages;
            }
        }
    }

    /// What the model answers: the records that pass, in order.
    fn expected(&self, records: &[Value]) -> Vec<Value> {
        let passes = |record: &&Value| self.filter.iter().all(|(name, value)| passes(record, name, value));
        let mut expected = records.iter().filter(passes).cloned().collect::<Vec<_>>();
        let by = self.sort.trim_start_matches('-');
        expected.sort_by_key(|record| (place(by, &record[by]), record["id"].to_string()));
        if self.sort.starts_with('-') {
            expected.reverse();
        }
        expected
    }
}

/// The names of a filter's fields.
fn fields_of<F: Filter>() -> BTreeSet<String> {
    let schema = schemars::schema_for!(F);
    schema.as_value()["properties"].as_object().unwrap().keys().cloned().collect()
}

/// The column that a field of a filter is about; one of several, where it is about more than one.
fn column<'a>(field: &'a str, chance: &mut StdRng) -> &'a str {
    match field {
        "active_since" => "last_active_at",
        "created_after" | "created_before" => "created_at",
        "account_id" => ["from_account_id", "to_account_id"].choose(chance).unwrap(),
        "model_id" => ["from_model_id", "to_model_id"].choose(chance).unwrap(),
        own => own,
    }
}

/// The same value, written in another way where that makes no difference.
fn in_another_form(field: &str, value: &Value, chance: &mut StdRng) -> Value {
    match value {
        Value::String(text) if field == "email" && chance.random_bool(0.5) => text.to_uppercase().into(),
        value => value.clone(),
    }
}

fn passes(record: &Value, field: &str, value: &Value) -> bool {
    let moment = |value: &Value| instant(value.as_str().unwrap());
    let is_any = |columns: [&str; 2]| columns.iter().any(|column| &record[*column] == value);
    match field {
        "active_since" => !record["last_active_at"].is_null() && moment(&record["last_active_at"]) >= moment(value),
        "created_after" => moment(&record["created_at"]) > moment(value),
        "created_before" => moment(&record["created_at"]) < moment(value),
        "account_id" => is_any(["from_account_id", "to_account_id"]),
        "model_id" => is_any(["from_model_id", "to_model_id"]),
        "email" => record["email"].as_str().unwrap().eq_ignore_ascii_case(value.as_str().unwrap()),
        column => &record[column] == value,
    }
}

/// Where a value stands in an order: numbers by size, instants by time, text by its code points.
fn place(column: &str, value: &Value) -> (i64, String) {
    match value {
        Value::Number(number) => (number.as_i64().unwrap(), String::new()),
        Value::String(text) if column.ends_with("_at") || column.starts_with("period_") => {
            (instant(text).utc().timestamp_micros(), String::new())
        }
        Value::String(text) => (0, text.clone()),
        other => panic!("{column} is {other}"),
    }
}

/// What leads out of the databases, to documents.
const OUT: &[&str] = &["birth_charts", "planetary_insights", "timing_recommendations"];

/// A way of at most three relations; none if there is none.
fn any_path(mut relations: &'static [&'static dyn Related], chance: &mut StdRng) -> String {
    let mut names = Vec::new();
    for _ in 0..chance.random_range(1..4) {
        let Some(related) = relations.choose(chance).filter(|related| !OUT.contains(&related.name())) else { break };
        names.push(related.name());
        relations = related.next();
    }
    names.join(".")
}

/// A record without what was included with it.
fn alone(view: &Value, like: &Value) -> Value {
    let own = |name: &String| like.get(name).is_some();
    let fields = view.as_object().unwrap().iter().filter(|(name, _)| own(name));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
}

/// Asks about one noun.
async fn compare<R: Record>(sqlite: &Store, postgres: &Store, chance: &mut StdRng) {
    let records = all_pages(sqlite, &R::Filter::default(), "id", 200).await;
    let records = records.iter().map(fixture::json).collect::<Vec<_>>();
    assert!(records.len() >= 15, "{} {}", records.len(), R::NOUN);
    assert_eq!(records.len() as u64, count::<R>(postgres).await);
    let mut found_some = 0;
    for _ in 0..QUESTIONS {
        let question = Question::any::<R>(chance, &records);
        let answer = question.ask::<R>(sqlite).await;
        let other = question.ask::<R>(postgres).await;
        assert_eq!(answer, other, "{} {question:?}", R::NOUN);
        let expected = question.expected(&records);
        assert!(answer.iter().all(|(.., count)| *count == expected.len() as u64), "{} {question:?}", R::NOUN);
        let found = answer.into_iter().flat_map(|(views, ..)| views);
        let found = found.map(|view| alone(&view, &records[0])).collect::<Vec<_>>();
        assert_eq!(found, expected, "{} {question:?}", R::NOUN);
        found_some += usize::from(!found.is_empty());
    }
    assert!(found_some > QUESTIONS / 3, "too many questions about {} have no answer: {found_some}", R::NOUN);
}

#[test]
fn both_databases_answer_every_question_as_the_model_does() {
    within(std::time::Duration::from_secs(120), async {
        let postgres = or_skip!(tests::database(Backend::Postgres).await);
        let sqlite = tests::database(Backend::Sqlite).await.unwrap();
        let (sqlite, postgres) = (repeatable(&sqlite).await, repeatable(&postgres).await);
        tokio::join!(populate(&sqlite), populate(&postgres));
        let chance = &mut StdRng::seed_from_u64(SEED + 1);
        compare::<User>(&sqlite, &postgres, chance).await;
        compare::<Profile>(&sqlite, &postgres, chance).await;
        compare::<Setting>(&sqlite, &postgres, chance).await;
        compare::<Account>(&sqlite, &postgres, chance).await;
        compare::<Transfer>(&sqlite, &postgres, chance).await;
        compare::<Subscription>(&sqlite, &postgres, chance).await;
        compare::<Content>(&sqlite, &postgres, chance).await;
        compare::<Tag>(&sqlite, &postgres, chance).await;
        compare::<DataModel>(&sqlite, &postgres, chance).await;
        compare::<Relationship>(&sqlite, &postgres, chance).await;
    });
}
