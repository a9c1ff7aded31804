//! Typed documents: what is written, found, changed and reckoned by way of their types.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use api::adapter::{
    mongo_connection::{MongoConnection, MongoOptions},
    mongo_documents::MongoDocuments,
};
use domain::{
    BirthChart, BirthData, Day, Documents, Error, Event, Id, Level, LogEntry, PlanetaryInsight, Position, SqlDocuments,
    Store, Timestamp, TimingRecommendation, User, Window, active_users_per,
    document::{
        Collection, Document, DocumentStore, Documented, Field, ID, Index, Kept, Kind, Member, Point, Query, Typed,
        Unit, asc,
    },
    events_per, funnel, top_endpoints,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use schemars::JsonSchema;
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tests::{Backend, PATIENCE, TestApp, TestDatabase, eventually, mongo, on_both, or_skip, run::LIMIT, within};
use uuid::Uuid;
use validator::Validate;

use crate::fixture::{instant, read, store};

async fn documents(database: &TestDatabase) -> DocumentStore {
    let store = store(database).await;
    let documents = DocumentStore::new(Arc::new(SqlDocuments::new(&store)), &store);
    documents.prepare().await.unwrap();
    documents
}

fn user(n: u128) -> Id<User> {
    Id::new(Uuid::from_u128(n))
}

fn entry(at: &str, user_id: Option<Id<User>>, endpoint: &str) -> LogEntry {
    LogEntry {
        timestamp: instant(at),
        level: Level::Info,
        user_id,
        endpoint: Some(endpoint.to_owned()),
        method: Some("GET".to_owned()),
        request_id: None,
        message: None,
        action: None,
        entity: None,
    }
}

fn event(at: Timestamp, name: &str, user_id: Option<Id<User>>) -> Event {
    Event { at, name: name.to_owned(), user_id, session: None, properties: json!({"n": 1}) }
}

fn insight(user_id: Id<User>, energy_level: i64) -> PlanetaryInsight {
    PlanetaryInsight {
        user_id,
        date: read::<Day>(json!("2026-01-31")),
        energy_level,
        summary: Some("Mercury is slow".to_owned()),
        recommendations: vec!["Rest a while".to_owned()],
    }
}

fn chart(name: &str, longitude: f64, latitude: f64) -> BirthChart {
    BirthChart {
        user_id: user(1),
        name: name.to_owned(),
        birth_data: BirthData {
            date: read::<Day>(json!("1990-06-15")),
            time: Some("06:45".to_owned()),
            place: Point::new(longitude, latitude).unwrap(),
            place_name: None,
        },
        positions: vec![Position { planet: "sun".to_owned(), longitude: 83.5, house: Some(1), is_retrograde: false }],
        notes: None,
    }
}

/// A kind of document in the second version of its schema: in the first the title was called name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
struct Note {
    #[validate(length(min = 1))]
    title: String,
    stars: i64,
}

impl Note {
    const TITLE: Field<Self, String> = Field::at("title");
    const STARS: Field<Self, i64> = Field::at("stars");
}

impl Documented for Note {
    const NOUN: &'static str = "note";

    fn collection() -> &'static Collection {
        static COLLECTION: LazyLock<Collection> = LazyLock::new(|| {
            let members = vec![
                Member { name: "title".into(), kind: Kind::Text },
                Member { name: "stars".into(), kind: Kind::Integer },
            ];
            let schema = schemars::schema_for!(Note).to_value();
            let indexes = vec![Index::unique("title", [asc(Note::TITLE)])];
            Collection::new("notes", None, members, indexes, 2, schema)
        });
        &COLLECTION
    }

    fn upgrade(fields: &mut Document, from: i64) {
        if from < 2
            && let Some(name) = fields.remove("name")
        {
            fields.insert("title".to_owned(), name);
            fields.insert("stars".to_owned(), 0.into());
        }
    }
}

async fn older_versions_are_read_in_this_one(store: &Store, port: Arc<dyn Documents>) {
    let documents = DocumentStore::new(Arc::clone(&port), store);
    port.prepare(&[Note::collection()]).await.unwrap();
    let ids = [1, 2, 3].map(Uuid::from_u128);
    let old = ids.map(|id| {
        let old = json!({ID: id, "_schema": 1, "_version": 4, "name": format!("note {id}"), "extra": "kept"});
        read::<Document>(old)
    });
    for outcome in port.insert(Note::collection(), old.into()).await.unwrap() {
        outcome.unwrap();
    }
    let id = Id::<Note>::new(ids[0]);
    let found = documents.find(id).await.unwrap();
    assert_eq!((found.version, &found.document), (4, &Note { title: format!("note {}", ids[0]), stars: 0 }));
    let changed = documents.update(id, 4, &Note::STARS.inc(3)).await.unwrap();
    assert_eq!((changed.version, changed.stars), (5, 3));
    let query = Query { filter: domain::document::Filter::id(ids[0].to_string()), ..Query::default() };
    let raw = port.find(Note::collection(), &query).await.unwrap().remove(0);
    assert_eq!((&raw["_schema"], raw.get("name"), &raw["title"]), (&json!(2), None, &json!(changed.title)));
    // What changes all of them knows all of them.
    assert_eq!(documents.update_all(&Typed::everything(), Note::STARS.inc(1)).await.unwrap(), 3);
    let stars = documents.list(Note::STARS.exists().query().sort(Note::STARS.descending())).await.unwrap();
    assert_eq!(stars.documents.iter().map(|note| note.stars).collect::<Vec<_>>(), [4, 1, 1]);
    assert_eq!(documents.upgrade_all::<Note>().await.unwrap(), 0);
}

#[test]
fn what_was_written_in_an_older_version_is_read_in_this_one_from_mongo() {
    within(LIMIT, async {
        let server = or_skip!(mongo::shared().await);
        let store = store(&tests::database(Backend::Sqlite).await.unwrap()).await;
        let connection = MongoConnection::new(MongoOptions::new(server.uri(&server.new_database())));
        older_versions_are_read_in_this_one(&store, Arc::new(MongoDocuments::new(connection))).await;
    });
}

on_both!(
    async fn a_document_is_made_found_changed_and_deleted(database: TestDatabase) {
        let documents = documents(&database).await;
        let made = documents.insert(insight(user(1), 40)).await.unwrap();
        assert_eq!(made.version, 1);
        assert_eq!(documents.find(made.id).await.unwrap(), made);
        let changed = documents.update(made.id, 1, &PlanetaryInsight::ENERGY_LEVEL.set(85)).await.unwrap();
        assert_eq!((changed.version, changed.energy_level), (2, 85));
        assert_eq!(documents.find(made.id).await.unwrap(), changed);
        let error = documents.update(made.id, 1, &PlanetaryInsight::ENERGY_LEVEL.set(86)).await.unwrap_err();
        assert!(matches!(error, Error::VersionConflict { expected: 1, actual: 2, .. }), "{error:?}");
        let error = documents.delete(made.id, 1).await.unwrap_err();
        assert!(matches!(error, Error::VersionConflict { .. }), "{error:?}");
        for level in [-1, 101] {
            let error = documents.update(made.id, 2, &PlanetaryInsight::ENERGY_LEVEL.set(level)).await.unwrap_err();
            let Error::Invalid(errors) = &error else { panic!("{error:?}") };
            assert_eq!(errors[0].pointer, "/energy_level");
            assert!(matches!(documents.insert(insight(user(1), level)).await, Err(Error::Invalid(_))));
            let all = PlanetaryInsight::USER_ID.eq(user(1));
            let error = documents.update_all(&all, PlanetaryInsight::ENERGY_LEVEL.set(level)).await.unwrap_err();
            assert!(matches!(error, Error::Invalid(_)), "{error:?}");
        }
        let error = documents.insert_as(made.id, insight(user(2), 1)).await.unwrap_err();
        assert!(matches!(error, Error::Conflict(_)), "{error:?}");
        // What is searched for words follows the change.
        let search = |text: &str| Typed::<PlanetaryInsight, _>::text(text);
        assert_eq!(documents.count(&search("MERCURY, rest")).await.unwrap(), 1);
        let update =
            PlanetaryInsight::SUMMARY.unset().and(PlanetaryInsight::RECOMMENDATIONS.push("Rüste dich".to_owned()));
        documents.update(made.id, 2, &update).await.unwrap();
        assert_eq!(documents.count(&search("mercury")).await.unwrap(), 0);
        assert_eq!(documents.count(&search("ruste")).await.unwrap(), 1);
        documents.delete(made.id, 3).await.unwrap();
        assert!(matches!(documents.find(made.id).await, Err(Error::NotFound { .. })));
        assert!(matches!(documents.delete(made.id, 3).await, Err(Error::NotFound { .. })));
    }

    async fn of_many_who_change_what_they_saw_one_does(database: TestDatabase) {
        let documents = documents(&database).await;
        let made = documents.insert(insight(user(1), 0)).await.unwrap();
        let changes = (1..=20).map(|level| {
            let documents = documents.clone();
            tokio::spawn(async move { documents.update(made.id, 1, &PlanetaryInsight::ENERGY_LEVEL.set(level)).await })
        });
        let outcomes =
            futures_util::future::join_all(changes).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        let winners = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect::<Vec<_>>();
        assert_eq!(winners.len(), 1);
        assert_eq!(documents.find(made.id).await.unwrap(), *winners[0]);
        let is_late = |outcome: &domain::Result<Kept<_>>| matches!(outcome, Ok(_) | Err(Error::VersionConflict { .. }));
        assert!(outcomes.iter().all(is_late), "{outcomes:?}");
    }

    async fn what_was_written_in_an_older_version_is_read_in_this_one(database: TestDatabase) {
        let store = store(&database).await;
        older_versions_are_read_in_this_one(&store, Arc::new(SqlDocuments::new(&store))).await;
    }

    /// By the service itself, while it runs.
    async fn what_has_expired_vanishes(database: TestDatabase) {
        let documents = documents(&database).await;
        let now = Timestamp::new(chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()));
        let kept = documents.insert(LogEntry { timestamp: now, ..entry("2020-01-01T00:00:00Z", None, "/new") }).await;
        documents.insert(entry("2020-01-01T00:00:00Z", None, "/old")).await.unwrap();
        let _app = TestApp::start(&database).await;
        let left = eventually("it vanishes", PATIENCE, async || {
            let left = documents.list(Typed::<LogEntry, _>::everything().query()).await.unwrap().documents;
            (left.len() == 1).then_some(left)
        });
        assert_eq!(left.await[0].id, kept.unwrap().id);
    }

    async fn pages_lead_from_one_to_the_next(database: TestDatabase) {
        let documents = documents(&database).await;
        let all = (0..53).map(|n| insight(user(n % 3), (n % 7) as i64)).collect();
        for outcome in documents.insert_all(all).await.unwrap() {
            outcome.unwrap();
        }
        let order = [PlanetaryInsight::ENERGY_LEVEL.descending(), PlanetaryInsight::USER_ID.ascending()];
        let query = order.into_iter().fold(Typed::everything().query(), Typed::<PlanetaryInsight, Query>::sort);
        let expected = documents.list(query.clone()).await.unwrap();
        assert!(expected.next.is_none() && expected.documents.len() == 53);
        let (mut found, mut query) = (Vec::new(), query.limit(7));
        loop {
            let page = documents.list(query.clone()).await.unwrap();
            found.extend(page.documents);
            match page.next {
                Some(next) => query = query.after(read(serde_json::to_value(next).unwrap())),
                None => break,
            }
        }
        assert_eq!(found, expected.documents);
    }

    async fn what_is_only_added_is_not_changed(database: TestDatabase) {
        let documents = documents(&database).await;
        let made = documents.insert(entry("2026-01-01T00:00:00Z", None, "/")).await.unwrap();
        let refused = documents.update(made.id, 1, &LogEntry::MESSAGE.set(Some("x".to_owned()))).await.unwrap_err();
        assert!(matches!(refused, Error::Refused { code: "only_added", .. }), "{refused:?}");
        assert!(matches!(documents.delete(made.id, 1).await, Err(Error::Refused { .. })));
        // They vanish by their age, and no other.
        let young = documents.insert(entry("2126-01-01T00:00:00Z", None, "/")).await.unwrap();
        let old = documents.insert(entry("2020-01-01T00:00:00Z", None, "/")).await.unwrap();
        assert!(documents.sweep().await.unwrap() >= 1);
        assert!(documents.look_up(young.id).await.unwrap().is_some());
        assert!(documents.look_up(old.id).await.unwrap().is_none());
    }

    async fn any_document_is_found_by_collection_and_id(database: TestDatabase) {
        let documents = documents(&database).await;
        let door = documents.untyped("anything");
        let fields = |json: Value| read::<Document>(json);
        door.insert("a", fields(json!({"x": {"y": [1, null]}, "n": 1}))).await.unwrap();
        assert!(matches!(door.insert("a", fields(json!({}))).await, Err(Error::Conflict(_))));
        assert!(door.update("a", fields(json!({"n": null, "z": "z"}))).await.unwrap());
        assert_eq!(
            door.look_up("a").await.unwrap(),
            Some(fields(json!({"_id": "a", "x": {"y": [1, null]}, "z": "z"})))
        );
        assert!(!door.update("b", fields(json!({"n": 1}))).await.unwrap());
        assert_eq!(documents.untyped("other").look_up("a").await.unwrap(), None);
        assert!(door.delete("a").await.unwrap());
        assert!(!door.delete("a").await.unwrap());
        // What is declared of a collection holds here too.
        let insights = documents.untyped("planetaryInsights");
        let mut refused = fields(serde_json::to_value(insight(user(1), 1)).unwrap());
        refused.insert("energy_level".to_owned(), 101.into());
        let id = Uuid::from_u128(9).to_string();
        assert!(matches!(insights.insert(&id, refused.clone()).await, Err(Error::Invalid(_))));
        refused.insert("energy_level".to_owned(), 100.into());
        insights.insert(&id, refused).await.unwrap();
        let found = documents.find(Id::<PlanetaryInsight>::new(Uuid::from_u128(9))).await.unwrap();
        assert_eq!(found.document, insight(user(1), 100));
    }

    async fn charts_are_found_by_place_and_day(database: TestDatabase) {
        let documents = documents(&database).await;
        for (name, longitude, latitude) in [("Vienna", 16.37, 48.21), ("Linz", 14.29, 48.31), ("Suva", 178.44, -18.14)]
        {
            documents.insert(chart(name, longitude, latitude)).await.unwrap();
        }
        let vienna = Point::new(16.4, 48.2).unwrap();
        let near = async |metres| {
            let query = BirthChart::PLACE.near(vienna, metres).query().sort(BirthChart::PLACE.nearest(vienna));
            let found = documents.list(query).await.unwrap().documents;
            found.into_iter().map(|chart| chart.document.name).collect::<Vec<_>>()
        };
        assert_eq!(near(1_000.0).await, [""; 0]);
        assert_eq!(near(5_000.0).await, ["Vienna"]);
        assert_eq!(near(200_000.0).await, ["Vienna", "Linz"]);
        assert_eq!(near(2.1e7).await, ["Vienna", "Linz", "Suva"]);
        let born = BirthChart::DATE.eq(read::<Day>(json!("1990-06-15"))).and(BirthChart::NAME.ne("Suva"));
        assert_eq!(documents.count(&born).await.unwrap(), 2);
        let mut wrong = chart("wrong", 0.0, 0.0);
        wrong.positions[0].longitude = 361.0;
        let Err(Error::Invalid(errors)) = documents.insert(wrong).await else { panic!("a planet beyond the ecliptic") };
        assert_eq!(errors[0].pointer, "/positions/0/longitude");
    }

    async fn good_times_end_after_they_begin(database: TestDatabase) {
        let documents = documents(&database).await;
        let window = |start: &str, end: &str| Window { start: instant(start), end: instant(end), score: Some(50) };
        let good = |windows| TimingRecommendation {
            user_id: user(1),
            activity: "sign a contract".to_owned(),
            windows,
            risks: vec!["haste".to_owned()],
        };
        let windows = vec![
            window("2026-01-01T08:00:00Z", "2026-01-01T09:00:00Z"),
            window("2026-01-02T08:00:00Z", "2026-01-02T09:00:00Z"),
        ];
        documents.insert(good(windows)).await.unwrap();
        let at = async |at| documents.count(&TimingRecommendation::good_at(instant(at))).await.unwrap();
        assert_eq!(at("2026-01-01T08:30:00Z").await, 1);
        assert_eq!(at("2026-01-02T08:00:00Z").await, 1);
        // One window has begun and another has not ended.
        assert_eq!(at("2026-01-01T20:00:00Z").await, 0);
        assert_eq!(at("2026-01-02T09:00:00Z").await, 0);
        for end in ["2026-01-01T08:00:00Z", "2026-01-01T07:00:00Z"] {
            let error = documents.insert(good(vec![window("2026-01-01T08:00:00Z", end)])).await.unwrap_err();
            assert!(matches!(&error, Error::Invalid(errors) if errors[0].pointer == "/windows/0"), "{error:?}");
        }
    }

    async fn the_standard_queries_of_the_log_use_its_indexes(database: TestDatabase) {
        let store = store(&database).await;
        let sql = SqlDocuments::new(&store);
        let documents = DocumentStore::new(Arc::new(sql.clone()), &store);
        documents.prepare().await.unwrap();
        let mut chance = StdRng::seed_from_u64(6);
        let entries = (0..4_000).map(|n| {
            let mut entry = entry("2026-01-01T00:00:00Z", Some(user(n % 200)), &format!("/v1/{}", n % 50));
            entry.timestamp =
                Timestamp::new(entry.timestamp.utc() + chrono::TimeDelta::seconds(chance.random_range(0..1_000_000)));
            entry.level = *[Level::Info, Level::Info, Level::Error].choose(&mut chance).unwrap();
            entry
        });
        for outcome in documents.insert_all(entries.collect()).await.unwrap() {
            outcome.unwrap();
        }
        let connection = database.connect().await;
        connection.execute_unprepared("ANALYZE").await.unwrap();
        connection.close().await.unwrap();
        let since = instant("2026-01-10T00:00:00Z");
        let newest = || LogEntry::TIMESTAMP.descending();
        for (query, index) in [
            (
                LogEntry::TIMESTAMP.gte(since).and(LogEntry::LEVEL.eq(Level::Error)).query().sort(newest()),
                "timestamp_level",
            ),
            (LogEntry::USER_ID.eq(user(7)).query().sort(newest()), "user_id_timestamp"),
            (LogEntry::ENDPOINT.eq("/v1/7").and(LogEntry::METHOD.eq("GET")).query(), "endpoint_method"),
        ] {
            let query = query.limit(50);
            let plan = sql.explain(LogEntry::collection(), query.as_inner()).await.unwrap();
            let index = format!("documents_logs_{index}");
            assert!(plan.iter().any(|line| line.contains("INDEX") || line.contains("Index")), "{plan:#?}");
            assert!(plan.iter().any(|line| line.contains(&index)), "{index}: {plan:#?} {:?}", query.as_inner());
            assert!(!documents.list(query).await.unwrap().documents.is_empty());
        }
    }

    async fn analyses_are_what_counting_by_hand_gives(database: TestDatabase) {
        let documents = documents(&database).await;
        let mut chance = StdRng::seed_from_u64(7);
        let start = instant("2026-01-30T20:00:00Z");
        let later = |minutes| Timestamp::new(start.utc() + chrono::TimeDelta::minutes(minutes));
        let names = ["visited", "signed_up", "paid"];
        let events = (0..600).map(|_| {
            let user = chance.random_bool(0.9).then(|| user(chance.random_range(0..40)));
            event(later(chance.random_range(-100..9_000)), names.choose(&mut chance).unwrap(), user)
        });
        let events = documents.insert_all(events.collect()).await.unwrap();
        let mut events = events.into_iter().map(Result::unwrap).collect::<Vec<_>>();
        let (from, until) = (start, later(8_000));
        events.retain(|event| from <= event.at && event.at < until);
        events.sort_by_key(|event| (event.at, event.id));
        let day = |event: &Kept<Event>| format!("{}T00:00:00.000Z", event.at.utc().date_naive());

        let (mut per_day, mut active) = (BTreeMap::<_, u64>::new(), BTreeMap::<_, BTreeSet<_>>::new());
        for event in &events {
            *per_day.entry((day(event), event.name.clone())).or_default() += 1;
            if let Some(user) = event.user_id {
                active.entry(day(event)).or_default().insert(user);
            }
        }
        let expected =
            per_day.iter().map(|((since, name), count)| json!({"since": since, "name": name, "count": count}));
        let found = documents.aggregate(&events_per(Unit::Day, from, until)).await.unwrap();
        assert_eq!(Value::from_iter(found), Value::from_iter(expected));
        let expected = active.iter().map(|(since, users)| json!({"since": since, "users": users.len()}));
        let found = documents.aggregate(&active_users_per(Unit::Day, from, until)).await.unwrap();
        assert_eq!(Value::from_iter(found), Value::from_iter(expected));

        let mut counts = vec![0; names.len()];
        for user in (0..40).map(user) {
            let did = events.iter().filter(|event| event.user_id == Some(user)).map(|event| event.name.as_str());
            let mut steps = names.iter().peekable();
            for name in did {
                steps.next_if(|step| **step == name);
            }
            (0..names.len() - steps.len()).for_each(|step| counts[step] += 1);
        }
        assert_eq!(funnel(&documents, &names, from, until).await.unwrap(), counts);
        assert!(counts[2] > 0 && counts[0] > counts[2], "{counts:?}");

        let mut called = BTreeMap::<_, u64>::new();
        let entries = (0..300).map(|_| {
            let mut entry = entry("2026-01-01T00:00:00Z", None, ["/a", "/b", "/c", "/d"].choose(&mut chance).unwrap());
            entry.timestamp = later(chance.random_range(-100..9_000));
            entry.method = Some((*["GET", "POST"].choose(&mut chance).unwrap()).to_owned());
            if from <= entry.timestamp && entry.timestamp < until {
                *called.entry((entry.endpoint.clone(), entry.method.clone())).or_default() += 1;
            }
            entry
        });
        for outcome in documents.insert_all(entries.collect()).await.unwrap() {
            outcome.unwrap();
        }
        let mut expected = called.into_iter().collect::<Vec<_>>();
        expected.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let expected = expected.iter().take(3);
        let expected =
            expected.map(|((endpoint, method), count)| json!({"endpoint": endpoint, "method": method, "count": count}));
        let found = documents.aggregate(&top_endpoints(from, until, 3)).await.unwrap();
        assert_eq!(Value::from_iter(found), Value::from_iter(expected));
    }
);

/// A value that may be one of its kind, and may not.
fn odd(chance: &mut StdRng, good: Value) -> Value {
    match chance.random_range(0..60) {
        0 => json!("x"),
        1 => json!(1.5),
        2 => json!(-1),
        3 => json!(true),
        4 => json!("x".repeat(201)),
        5 => json!([]),
        6 => json!(""),
        7 => json!({}),
        8 => json!(10_000),
        _ => good,
    }
}

fn verdicts<D: Documented>(json: &Value) -> (bool, bool) {
    let by_type = D::deserialize(json).is_ok_and(|document| document.validate().is_ok());
    let mut document = read::<Document>(json.clone());
    document.insert(ID.to_owned(), Uuid::from_u128(1).to_string().into());
    (by_type, D::collection().admit(document).is_ok())
}

#[test]
fn the_type_and_the_schema_agree_about_a_thousand_documents() {
    within(LIMIT, async {
        let chance = &mut StdRng::seed_from_u64(8);
        let (mut good, mut bad) = (0, 0);
        for n in 0..1_000 {
            let (json, (by_type, by_schema)) = if n % 2 == 0 {
                let user_id = odd(chance, json!(Uuid::from_u128(1)));
                let date = odd(chance, json!("2026-01-31"));
                let level = chance.random_range(-3..105).into();
                let mut json = json!({
                    "user_id": user_id, "date": date, "energy_level": odd(chance, level),
                    "summary": odd(chance, json!("s")), "recommendations": odd(chance, json!(["r"])),
                });
                if chance.random_bool(0.1) {
                    let name = *["user_id", "energy_level", "summary", "recommendations"].choose(chance).unwrap();
                    json.as_object_mut().unwrap().remove(name);
                }
                let verdicts = verdicts::<PlanetaryInsight>(&json);
                (json, verdicts)
            } else {
                let mut json = serde_json::to_value(chart("name", 1.0, 2.0)).unwrap();
                json["name"] = odd(chance, json["name"].clone());
                json["birth_data"]["time"] = odd(chance, json!("06:45"));
                json["birth_data"]["place"] = odd(chance, json["birth_data"]["place"].clone());
                json["birth_data"]["place_name"] = odd(chance, json!("Vienna"));
                let (longitude, house) = (chance.random_range(-20.0..380.0), chance.random_range(0..14));
                json["positions"][0]["longitude"] = odd(chance, json!(longitude));
                json["positions"][0]["house"] = odd(chance, json!(house));
                json["positions"][0]["is_retrograde"] = odd(chance, json!(false));
                json["positions"] = odd(chance, json["positions"].clone());
                let verdicts = verdicts::<BirthChart>(&json);
                (json, verdicts)
            };
            assert_eq!(by_type, by_schema, "{json}");
            *(if by_type { &mut good } else { &mut bad }) += 1;
        }
        assert!(good > 200 && bad > 200, "{good} {bad}");
    });
}
