//! What was committed reaches the documents exactly once, and what was rolled back never does: whoever wrote it, by
//! whatever statement, and whatever becomes of the documents, or of those who deliver.

mod broken;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
    time::Duration,
};

use domain::{
    Change, Content, Context, Error, Incident, NewSubscription, OutboxPolicy, Recorded, Sql, Store, TagPatch,
    document::{Collection, Document, Documented},
    within_context,
};
use migration::convention::record;
use schemars::JsonSchema;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use sea_orm_migration::SchemaManager;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tests::{
    Backend, PATIENCE, Postgres, TestDatabase,
    documents::{InMemory, Trouble, Troubled},
    eventually, on_both, or_skip,
    run::{LIMIT, limit},
    within,
};
use validator::Validate;

use crate::fixture::{execute, new_tag, read, store, tag, user};

/// Rounds that follow one another quickly.
fn policy() -> OutboxPolicy {
    OutboxPolicy { pause: Duration::from_millis(20), lease: Duration::from_millis(500), ..OutboxPolicy::default() }
}

/// A store whose changes are delivered, what they are delivered to, and a look behind its back.
struct Delivering {
    store: Store,
    documents: InMemory,
    trouble: Troubled,
    outside: DatabaseConnection,
}

impl Delivering {
    async fn on(database: &TestDatabase) -> Self {
        Self::with(database, policy()).await
    }

    async fn with(database: &TestDatabase, policy: OutboxPolicy) -> Self {
        let documents = InMemory::default();
        let trouble = Troubled::before(Arc::new(documents.clone()));
        let store = store(database).await.delivering(Arc::new(trouble.clone()), Vec::new(), policy);
        Self { store, documents, trouble, outside: database.connect().await }
    }

    /// Waits until nothing is left to deliver.
    async fn until_delivered(&self) {
        eventually("all is delivered", PATIENCE, async || {
            (self.store.backlog().await.unwrap().rows == 0).then_some(())
        })
        .await;
    }

    /// The audit trail, in its order, after all is delivered.
    async fn trail(&self) -> Vec<Document> {
        self.until_delivered().await;
        let mut trail = self.documents.all().get("audit").cloned().unwrap_or_default();
        trail.sort_by_key(|entry| entry["sequence"].as_i64());
        trail
    }

    /// What was done to which table, in order.
    async fn actions(&self) -> Vec<String> {
        let trail = self.trail().await;
        trail.iter().map(|entry| format!("{} {}", text(entry, "action"), table(entry))).collect()
    }

    async fn query(&self, sql: &str) -> Vec<sea_orm::QueryResult> {
        let statement = Statement::from_string(self.outside.get_database_backend(), sql);
        self.outside.query_all_raw(statement).await.unwrap()
    }

    async fn count(&self, sql: &str) -> i64 {
        self.query(sql).await[0].try_get_by_index(0).unwrap()
    }
}

fn text<'a>(entry: &'a Document, field: &str) -> &'a str {
    entry[field].as_str().unwrap()
}

fn table(entry: &Document) -> &str {
    text(entry, "entity").split(':').next().unwrap()
}

fn renamed(name: &str) -> TagPatch {
    TagPatch { name: Change::Set(name.to_owned()) }
}

fn undone() -> Error {
    Error::refused("undone", "undone on purpose")
}

/// Something that happened, and must not be missed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, Validate)]
struct Happened {
    name: String,
}

impl Documented for Happened {
    const NOUN: &'static str = "happening";

    fn collection() -> &'static Collection {
        static COLLECTION: LazyLock<Collection> = LazyLock::new(|| Collection::untyped("happenings"));
        &COLLECTION
    }
}

impl Recorded for Happened {
    fn entity(&self) -> String {
        format!("happenings:{}", self.name)
    }
}

/// Something that may be missed.
fn seen(name: &str) -> domain::Event {
    let at = crate::fixture::instant("2026-01-01T00:00:00Z");
    domain::Event { at, name: name.to_owned(), user_id: None, session: None, properties: Value::Null }
}

async fn record_it(store: &Store, name: &str) {
    let event = Happened { name: name.to_owned() };
    store
        .write(move |work| {
            let event = event.clone();
            async move { work.record(&event).await }
        })
        .await
        .unwrap();
}

on_both!(
    async fn every_change_is_an_entry_whoever_made_it(database: TestDatabase) {
        let delivering = Delivering::on(&database).await;
        let store = &delivering.store;
        // One by one, and related ones along with them.
        let ada = user(store, "ada").await;
        let (one, two) = (tag(store, "one").await, tag(store, "two").await);
        let poem = crate::fixture::content(store, ada.id, "poem").await;
        let (id, tags) = (poem.id, [one.id, two.id]);
        store.write(move |work| async move { work.set_links(&Content::TAGS, id, &tags).await }).await.unwrap();
        store.update(one.id, one.version, renamed("uno")).await.unwrap();
        store.write(move |work| async move { work.unlink(&Content::TAGS, id, tags[1]).await }).await.unwrap();
        store.delete(two.id, two.version).await.unwrap();
        let expected = ["insert users", "insert tags", "insert tags", "insert contents"];
        let links = ["insert content_tags", "insert content_tags", "update tags", "delete content_tags", "delete tags"];
        assert_eq!(delivering.actions().await, [&expected[..], &links[..]].concat());

        // Many at once, and by statements of one's own, also past the store.
        let new = (0..100).map(|n| new_tag(format!("many {n}"))).collect::<Vec<_>>();
        store
            .write(move |work| {
                let new = new.clone();
                async move { work.insert_all(new).await.map(drop) }
            })
            .await
            .unwrap();
        execute(store, Sql::new("UPDATE tags SET version = version + 1 WHERE name LIKE 'many%'")).await.unwrap();
        delivering.outside.execute_unprepared("DELETE FROM tags WHERE name LIKE 'many%'").await.unwrap();
        let actions = delivering.actions().await.split_off(9);
        let expected = ["insert tags", "update tags", "delete tags"].map(|action| vec![action.to_owned(); 100]);
        assert_eq!(actions, expected.concat());

        // What it was, and what it is; also of what is referred to by others.
        let trail = delivering.trail().await;
        let update = &trail[6];
        assert_eq!(update["entity"], format!("tags:{}", one.id));
        assert_eq!((&update["before"]["name"], &update["after"]["name"]), (&json!("one"), &json!("uno")));
        assert_eq!((&update["before"]["version"], &update["after"]["version"]), (&json!(1), &json!(2)));
        assert_eq!(trail[7]["entity"], format!("content_tags:{id}:{}", two.id));
        assert!(!trail[7].contains_key("after") && !trail[0].contains_key("before"));

        // Each is one entry of the log as well.
        let logs = delivering.documents.all()["logs"].clone();
        let ids =
            |entries: &[Document]| entries.iter().map(|entry| text(entry, "_id").to_owned()).collect::<BTreeSet<_>>();
        assert_eq!((logs.len(), ids(&logs)), (trail.len(), ids(&trail)));
        assert!(logs.iter().all(|entry| entry["level"] == "info" && entry.contains_key("timestamp")));

        if database.backend() == Backend::Postgres {
            delivering.outside.execute_unprepared("TRUNCATE tags CASCADE").await.unwrap();
            let told = delivering.trail().await.split_off(309);
            let told = told.iter().map(|entry| format!("{} {}", text(entry, "action"), text(entry, "entity")));
            assert_eq!(
                told.collect::<BTreeSet<_>>(),
                ["content_tags:*", "tags:*"].map(|of| format!("truncate {of}")).into()
            );
        }
        let verification = store.verify_audit(&delivering.documents).await.unwrap();
        assert!(verification.is_whole(), "{verification}");
    }

    async fn a_cascade_is_told_row_by_row(database: TestDatabase) {
        let delivering = Delivering::on(&database).await;
        let outside = &delivering.outside;
        let schema = SchemaManager::new(outside);
        record("shelves").audited().create(&schema).await.unwrap();
        let books =
            "CREATE TABLE books (id bigint PRIMARY KEY, shelf_id uuid REFERENCES shelves (id) ON DELETE CASCADE)";
        outside.execute_unprepared(books).await.unwrap();
        migration::convention::audited(&schema, "books", &[]).await.unwrap();
        let (shelf, now) = ("018f0000-0000-7000-8000-000000000001", "2026-01-01T00:00:00+00:00");
        let shelf = if database.backend() == Backend::Sqlite {
            format!("x'{}'", shelf.replace('-', ""))
        } else {
            format!("'{shelf}'")
        };
        for sql in [
            format!("INSERT INTO shelves VALUES ({shelf}, 1, '{now}', '{now}')"),
            format!("INSERT INTO books VALUES (1, {shelf}), (2, {shelf})"),
            "DELETE FROM shelves".to_owned(),
        ] {
            execute(&delivering.store, Sql::new(sql.leak())).await.unwrap();
        }
        let told = delivering.trail().await;
        let told = told.iter().map(|entry| format!("{} {}", text(entry, "action"), text(entry, "entity")));
        let told = told.collect::<Vec<_>>();
        assert_eq!(
            told[..3],
            ["insert shelves:018f0000-0000-7000-8000-000000000001", "insert books:1", "insert books:2"]
        );
        let rest = told[3..].iter().map(String::as_str).collect::<BTreeSet<_>>();
        assert_eq!(
            rest,
            ["delete books:1", "delete books:2", "delete shelves:018f0000-0000-7000-8000-000000000001"].into()
        );
    }

    async fn what_is_undone_is_never_told(database: TestDatabase) {
        let delivering = Delivering::on(&database).await;
        let store = &delivering.store;
        let failed = store.write(|work| async move {
            work.insert(new_tag("undone")).await?;
            work.record(&Happened { name: "undone".to_owned() }).await?;
            Err::<(), _>(undone())
        });
        failed.await.unwrap_err();
        // A part of it alone.
        let half = store.write(|work| async move {
            work.insert(new_tag("kept")).await?;
            let part = work.savepoint(|part| async move {
                part.insert(new_tag("undone")).await?;
                part.record(&Happened { name: "undone".to_owned() }).await?;
                Err::<(), _>(undone())
            });
            part.await.unwrap_err();
            work.record(&Happened { name: "kept".to_owned() }).await
        });
        half.await.unwrap();
        let dropped = store.begin().await.unwrap();
        dropped.insert(new_tag("undone")).await.unwrap();
        drop(dropped);
        let panics = store.write(|work| async move {
            work.insert(new_tag("undone")).await?;
            if true {
                panic!("on purpose")
            }
            Ok(())
        });
        panics.await.unwrap_err();
        store.insert(new_tag("last")).await.unwrap();

        let trail = delivering.trail().await;
        let names = trail.iter().map(|entry| entry["after"]["name"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(names, ["kept", "last"]);
        let happened = delivering.documents.all()["happenings"].clone();
        assert_eq!(happened.iter().map(|event| text(event, "name")).collect::<Vec<_>>(), ["kept"]);
    }

    async fn it_is_told_who_asked(database: TestDatabase) {
        let delivering = Delivering::on(&database).await;
        let store = &delivering.store;
        let context = Context {
            actor: Some("018f0000-0000-7000-8000-000000000001".to_owned()),
            request_id: Some("it's \\ $seabed$ ''; --".to_owned()),
            endpoint: Some("/v1/tags/{id}".to_owned()),
            method: Some("POST".to_owned()),
        };
        within_context(context.clone(), store.insert(new_tag("asked"))).await.unwrap();
        let event = within_context(context.clone(), record_it(store, "asked"));
        event.await;
        // Whoever has the connection next is another.
        store.insert(new_tag("nobody")).await.unwrap();
        delivering.outside.execute_unprepared("UPDATE tags SET version = 2 WHERE name = 'asked'").await.unwrap();

        let trail = delivering.trail().await;
        let said = |entry: &Document| {
            let said = ["actor", "request_id", "endpoint", "method"].map(|field| entry.get(field).cloned());
            said.map(|value| value.map(|value| value.as_str().unwrap().to_owned()))
        };
        let Context { actor, request_id, endpoint, method } = context;
        assert_eq!(said(&trail[0]), [actor.clone(), request_id.clone(), endpoint, method]);
        assert_eq!(said(&trail[1]), [None, None, None, None]);
        assert_eq!(said(&trail[2]), [None, None, None, None]);
        let activity = delivering.documents.all()["logs"][0].clone();
        assert_eq!(
            (activity["user_id"].as_str(), activity["request_id"].as_str()),
            (actor.as_deref(), request_id.as_deref())
        );
        assert_eq!((&activity["action"], &activity["entity"]), (&json!("insert"), &trail[0]["entity"]));
    }

    async fn what_is_secret_is_masked(database: TestDatabase) {
        let delivering = Delivering::on(&database).await;
        let ada = user(&delivering.store, "ada").await;
        let new = json!({"user_id": ada.id, "plan": "basic", "stripe_customer_id": "cus_canary",
                         "period_start": "2026-01-01T00:00:00Z", "period_end": "2027-01-01T00:00:00Z"});
        let subscription = delivering.store.insert(read::<NewSubscription>(new)).await.unwrap();
        execute(&delivering.store, Sql::new("UPDATE subscriptions SET stripe_customer_id = NULL")).await.unwrap();
        let trail = delivering.trail().await;
        assert_eq!(trail[1]["after"]["stripe_customer_id"], "***");
        // It could have read what it changes.
        assert_eq!(trail[2]["action"], "read");
        assert_eq!(
            (&trail[3]["before"]["stripe_customer_id"], &trail[3]["after"]["stripe_customer_id"]),
            (&json!("***"), &Value::Null)
        );
        assert_eq!(trail[1]["after"]["id"], subscription.id.to_string());
        let all = serde_json::to_string(&*delivering.documents.all()).unwrap();
        assert!(!all.contains("canary"));
    }

    /// Every table but those that are how it works, and every column of it.
    async fn no_table_and_no_column_is_left_out(database: TestDatabase) {
        let delivering = Delivering::on(&database).await;
        assert_eq!(broken::left_out(&delivering.outside).await, BTreeSet::new());
        // That this would find one that is.
        let schema = SchemaManager::new(&delivering.outside);
        migration::convention::unaudited(&schema, "tags").await.unwrap();
        record("forgotten").cached().create(&schema).await.unwrap();
        let found = ["tags", "forgotten"].map(str::to_owned).into();
        assert_eq!(broken::left_out(&delivering.outside).await, found);
        let add = "ALTER TABLE users ADD COLUMN nickname text";
        delivering.outside.execute_unprepared(add).await.unwrap();
        if database.backend() == Backend::Sqlite {
            assert!(broken::left_out(&delivering.outside).await.contains("users"));
            migration::convention::audited(&schema, "users", &[]).await.unwrap();
        }
        assert_eq!(broken::left_out(&delivering.outside).await, found);
    }

    async fn documents_that_are_away_cost_nothing_and_nothing_is_lost(database: TestDatabase) {
        let delivering = Delivering::on(&database).await;
        delivering.trouble.set(Trouble::Away);
        let store = &delivering.store;
        for n in 0..200 {
            record_it(store, &n.to_string()).await;
            store.insert(new_tag(n.to_string())).await.unwrap();
        }
        let delivery = eventually("it is noticed", PATIENCE, async || {
            let delivery = store.delivery().unwrap();
            (delivery.failure.is_some() && delivery.backlog.rows == 400).then_some(delivery)
        });
        let delivery = delivery.await;
        assert!(delivery.backlog.oldest.is_some() && delivery.last.is_none());
        // They come back, at first not for long.
        for trouble in [Trouble::Deaf, Trouble::Half, Trouble::Away, Trouble::Deaf, Trouble::None] {
            delivering.trouble.set(trouble);
            let failures = store.delivery().unwrap();
            eventually("it was tried", PATIENCE, async || {
                let now = store.delivery().unwrap();
                (trouble != Trouble::None || now.delivered > failures.delivered).then_some(())
            })
            .await;
        }
        assert_eq!(delivering.trail().await.len(), 200);
        let happened = delivering.documents.all()["happenings"].clone();
        let names = happened.iter().map(|event| text(event, "name").parse().unwrap());
        assert_eq!(names.collect::<Vec<usize>>(), (0..200).collect::<Vec<_>>());
        let verification = store.verify_audit(&delivering.documents).await.unwrap();
        assert!(verification.is_whole() && verification.entries == 200, "{verification}");
        let delivery = eventually("it is noticed", PATIENCE, async || {
            let delivery = store.delivery().unwrap();
            delivery.failure.is_none().then_some(delivery)
        });
        assert!(delivery.await.last.is_some());
    }

    /// One that delivers and is gone before it deletes: the next delivers the same.
    async fn a_relay_that_ends_between_delivery_and_deletion_leaves_no_second_document(database: TestDatabase) {
        for trouble in [Trouble::Deaf, Trouble::Half] {
            let delivering = Delivering::on(&database).await;
            delivering.trouble.set(trouble);
            let before = delivering.count("SELECT sequence FROM audit_head").await;
            for n in 0..50 {
                delivering.store.insert(new_tag(format!("{trouble:?} {n}"))).await.unwrap();
            }
            eventually("some are there", PATIENCE, async || {
                (!delivering.documents.all().entry("audit".to_owned()).or_default().is_empty()).then_some(())
            })
            .await;
            assert!(delivering.store.backlog().await.unwrap().rows > 0);
            delivering.store.close().await;
            let next = store(&database).await.delivering(Arc::new(delivering.documents.clone()), Vec::new(), policy());
            let delivering = Delivering { store: next, ..delivering };
            let trail = delivering.trail().await;
            assert_eq!(trail.len(), 50);
            let sequences = trail.iter().map(|entry| entry["sequence"].as_i64().unwrap()).collect::<Vec<_>>();
            assert_eq!(sequences, (before + 1..=before + 50).collect::<Vec<_>>());
        }
    }

    async fn two_relays_at_once_deliver_each_thing_once_and_in_order(database: TestDatabase) {
        // Without a lease that would keep them apart.
        let policy = OutboxPolicy { lease: Duration::ZERO, batch: 7, ..policy() };
        let delivering = Delivering::with(&database, policy).await;
        let mut others = Vec::new();
        for _ in 0..2 {
            others.push(store(&database).await.delivering(Arc::new(delivering.trouble.clone()), Vec::new(), policy));
        }
        let stores = [&others[0], &others[1], &delivering.store];
        let tags = [tag(stores[0], "a").await, tag(stores[1], "b").await, tag(stores[2], "c").await];
        let writers = stores.iter().zip(&tags).map(|(store, tag)| {
            let (store, id) = ((*store).clone(), tag.id);
            tokio::spawn(async move {
                for n in 1..=60 {
                    store.update(id, n, renamed(&format!("{id} {n}"))).await.unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        broken::assert_in_order(&delivering.trail().await, &tags, 61);
        let verification = delivering.store.verify_audit(&delivering.documents).await.unwrap();
        assert!(verification.is_whole() && verification.entries == 183, "{verification}");
    }

    async fn what_is_refused_is_given_up_and_holds_up_nobody(database: TestDatabase) {
        let delivering = Delivering::on(&database).await;
        let store = &delivering.store;
        delivering.trouble.set(Trouble::Refuses("poison"));
        let bad = tag(store, "poison").await;
        let good = tag(store, "good").await;
        let letters = eventually("it is given up", PATIENCE, async || {
            let letters = store.dead_letters(10).await.unwrap();
            (!letters.is_empty()).then_some(letters)
        });
        let letters = letters.await;
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].entity, format!("tags:{}", bad.id));
        assert!(letters[0].reason.contains("it has poison in it"), "{}", letters[0].reason);
        // What is about the same comes after it; then no longer.
        store.update(bad.id, bad.version, renamed("healed")).await.unwrap();
        delivering
            .outside
            .execute_unprepared("INSERT INTO outbox (collection, entity, body) VALUES ('x', 'x', 'not json')")
            .await
            .unwrap();
        eventually("both are given up", PATIENCE, async || (store.backlog().await.unwrap().dead >= 2).then_some(()))
            .await;
        delivering.until_delivered().await;
        assert!(delivering.trail().await.iter().any(|entry| entry["entity"] == format!("tags:{}", good.id)));
        // It is not missing: it is known to be on its way.
        let verification = store.verify_audit(&delivering.documents).await.unwrap();
        assert!(verification.is_whole() && verification.on_their_way >= 1, "{verification}");

        delivering.trouble.set(Trouble::None);
        // What belongs to the audit trail is not dropped.
        assert_eq!(store.drop_dead_letters(None).await.unwrap(), 1);
        let one = store.retry_dead_letters(Some(letters[0].id)).await.unwrap();
        assert_eq!(one, 1);
        store.retry_dead_letters(None).await.unwrap();
        eventually("nothing is given up", PATIENCE, async || {
            (store.backlog().await.unwrap() == domain::Backlog::default()).then_some(())
        })
        .await;
        assert_eq!(delivering.trail().await.len(), 3);
        assert!(store.verify_audit(&delivering.documents).await.unwrap().is_whole());
    }

    async fn only_what_may_be_missed_is_dropped_when_too_much_waits(database: TestDatabase) {
        let delivering = Delivering::with(&database, OutboxPolicy { max_rows: 20, ..policy() }).await;
        delivering.trouble.set(Trouble::Away);
        let store = &delivering.store;
        for n in 0..30 {
            store.insert(new_tag(n.to_string())).await.unwrap();
        }
        eventually("it is noticed", PATIENCE, async || (store.delivery().unwrap().backlog.rows >= 20).then_some(()))
            .await;
        store
            .write(|work| async move {
                work.record(&seen("one")).await?;
                work.record(&Happened { name: "kept".to_owned() }).await
            })
            .await
            .unwrap();
        store.insert(new_tag("kept")).await.unwrap();
        assert_eq!(store.delivery().unwrap().dropped, 1);
        delivering.trouble.set(Trouble::None);
        assert_eq!(delivering.trail().await.len(), 31);
        assert!(!delivering.documents.all().contains_key("events"));
        assert_eq!(delivering.documents.all()["happenings"].len(), 1);
        eventually("there is room again", PATIENCE, async || {
            (store.delivery().unwrap().backlog.rows == 0).then_some(())
        })
        .await;
        store.write(|work| async move { work.record(&seen("two")).await }).await.unwrap();
        delivering.until_delivered().await;
        assert_eq!(delivering.documents.all()["events"].len(), 1);
    }
);

on_both!(
    within limit(LIMIT);

    async fn whatever_is_done_to_the_audit_trail_is_found_where_it_was_done(database: TestDatabase) {
        let delivering = Delivering::on(&database).await;
        let store = &delivering.store;
        let new = (0..100).map(|n| new_tag(format!("tag {n}"))).collect::<Vec<_>>();
        store
            .write(move |work| {
                let new = new.clone();
                async move { work.insert_all(new).await.map(drop) }
            })
            .await
            .unwrap();
        let trail = delivering.trail().await;
        assert!(store.verify_audit(&delivering.documents).await.unwrap().is_whole());
        broken::tamper(&delivering, trail).await;
    }
);

/// Whose transaction begins early and commits late has a lower number than what was delivered meanwhile.
#[test]
fn what_commits_late_is_delivered_all_the_same_and_a_cursor_would_lose_it() {
    within(LIMIT, async {
        let server = or_skip!(Postgres::private().await);
        assert_eq!(broken::late_commits(&server.database().await, broken::Poller::Ours).await, 0);
        let missing = broken::late_commits(&server.database().await, broken::Poller::Cursor).await;
        assert!(missing > 0, "a cursor is not found out");
    });
}

/// What is deleted before it was delivered is lost when the documents are away.
#[test]
fn deleting_before_delivery_is_found_out() {
    within(LIMIT, async {
        let server = or_skip!(Postgres::private().await);
        assert_eq!(broken::documents_away(&server.database().await, broken::Poller::Ours).await, 0);
        let missing = broken::documents_away(&server.database().await, broken::Poller::DeletesFirst).await;
        assert!(missing > 0, "it is not found out");
    });
}

fn incident(request: &str) -> Incident {
    let context = Context { request_id: Some(request.to_owned()), ..Context::default() };
    Incident { code: "internal".to_owned(), message: "on purpose".to_owned(), status: Some(500), context }
}

/// Each time that a unit of work is run again is one entry of the log, with the request that it was for.
#[test]
fn what_was_run_again_is_one_entry_of_the_log_each_time() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let delivering = Delivering::on(&database).await;
        let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                      RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$; \
                      CREATE TRIGGER refuse BEFORE INSERT ON tags FOR EACH ROW EXECUTE FUNCTION refuse()";
        delivering.outside.execute_unprepared(refuse).await.unwrap();
        let context = Context { request_id: Some("again".to_owned()), ..Context::default() };
        within_context(context, delivering.store.insert(new_tag("refused"))).await.unwrap_err();
        let logged = eventually("they are there", PATIENCE, async || {
            let logged = delivering.documents.all().get("logs").cloned().unwrap_or_default();
            (logged.len() >= 2).then_some(logged)
        });
        let logged = logged.await;
        delivering.until_delivered().await;
        assert_eq!(logged.len(), 2, "{logged:?}");
        for entry in &logged {
            let told = ["level", "code", "request_id"].map(|field| text(entry, field));
            assert_eq!(told, ["error", "retried", "again"]);
            assert!(text(entry, "message").contains("insert tag"), "{entry:?}");
        }
        assert!(!delivering.documents.all().contains_key("audit"));
    });
}

/// When the database is gone the documents may not be; when both are, it waits; and it is there once in the end.
#[test]
fn what_went_wrong_is_taken_down_once_wherever_that_can_be_done() {
    within(LIMIT, async {
        let mut server = or_skip!(Postgres::private().await);
        let database = server.database().await;
        let delivering = Delivering::on(&database).await;
        let logged = || delivering.documents.all().get("logs").map_or(0, Vec::len);
        let store = &delivering.store;
        store.report(incident("1"));
        eventually("it is there", PATIENCE, async || (logged() == 1).then_some(())).await;
        server.kill().await;
        for n in 2..10 {
            store.report(incident(&n.to_string()));
        }
        eventually("they are there without the database", PATIENCE, async || (logged() == 9).then_some(())).await;
        delivering.trouble.set(Trouble::Deaf);
        store.report(incident("10"));
        eventually("it is there, and nobody knows", PATIENCE, async || (logged() == 10).then_some(())).await;
        delivering.trouble.set(Trouble::Away);
        for n in 11..20_011 {
            store.report(incident(&n.to_string()));
        }
        let delivery = store.delivery().unwrap();
        // One of them may wait still that is there, unknown to the relay.
        let told = delivery.incidents + delivery.lost_incidents;
        assert!(delivery.incidents <= 10_000 && (20_000..=20_001).contains(&told), "{delivery:?}");
        server.start().await;
        delivering.trouble.set(Trouble::None);
        let kept = usize::try_from(10 + 20_000 - delivery.lost_incidents).unwrap();
        eventually("what was kept is there", PATIENCE, async || (logged() >= kept).then_some(())).await;
        eventually("nothing is left", PATIENCE, async || {
            (store.delivery().unwrap().incidents == 0 && store.backlog().await.is_ok_and(|backlog| backlog.rows == 0))
                .then_some(())
        })
        .await;
        assert_eq!(logged(), kept);
        let requests = delivering.documents.all()["logs"]
            .iter()
            .map(|entry| text(entry, "request_id").to_owned())
            .collect::<BTreeSet<_>>();
        assert_eq!(requests.len(), kept);
    });
}
