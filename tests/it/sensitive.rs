//! Whoever reads what is sensitive is written down, before it is given.

use std::{sync::Arc, time::Duration};

use domain::{
    BirthChart, CachePolicy, Change, Context, Error, Id, InProcessCache, Include, NewSubscription, NewTag, Page, Rows,
    Sql, SqlDocuments, Store, Subscription, SubscriptionFilter, SubscriptionPatch, Tag, UnitOfWork, User, UserFilter,
    document::{DocumentStore, Documented, Fold},
    within, within_context,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::{Value, json};
use tests::{Backend, TestDatabase, eventually, on_both, run::LIMIT};

use crate::fixture::{instant, store, tag, user};

/// What was read of what is sensitive since the last look: which, which fields, and who asked.
async fn told(outside: &DatabaseConnection) -> Vec<(String, Value, Value)> {
    let backend = outside.get_database_backend();
    // In one statement: what comes meanwhile is for the next look.
    let sql = "DELETE FROM outbox WHERE collection = 'audit' RETURNING number, entity, body, context";
    let mut rows = outside.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
    rows.sort_by_key(|row| row.try_get::<i64>("", "number").unwrap());
    let entries = rows.iter().map(|row| {
        let text = |column: &str| row.try_get::<Option<String>>("", column).unwrap();
        let json = |column: &str| text(column).map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
        (text("entity").unwrap(), json("body"), json("context"))
    });
    let reads = entries.filter(|(_, body, _)| body["action"] == "read");
    reads.map(|(entity, body, context)| (entity, body["fields"].clone(), context)).collect()
}

fn who() -> Context {
    let said = |text: &str| Some(text.to_owned());
    Context {
        actor: said("ada"),
        request_id: said("r-1"),
        endpoint: said("/v1/subscriptions/{id}"),
        method: said("GET"),
    }
}

/// That this field of it was read, by who asks here.
fn entry(entity: String, field: &str) -> (String, Value, Value) {
    (entity, json!([field]), serde_json::to_value(who()).unwrap())
}

/// While nothing can be written down.
async fn without_an_outbox(outside: &DatabaseConnection, doing: impl AsyncFnOnce()) {
    outside.execute_unprepared("ALTER TABLE outbox RENAME TO elsewhere").await.unwrap();
    doing().await;
    outside.execute_unprepared("ALTER TABLE elsewhere RENAME TO outbox").await.unwrap();
}

async fn subscribed(store: &Store) -> (User, Subscription) {
    let user = user(store, "ada").await;
    let new = NewSubscription {
        user_id: user.id,
        plan: "plus".to_owned(),
        status: None,
        stripe_customer_id: Some("cus_1".to_owned()),
        period_start: instant("2026-01-01T00:00:00Z"),
        period_end: instant("2026-02-01T00:00:00Z"),
    };
    let subscription = store.insert(new).await.unwrap();
    (user, subscription)
}

/// Reads it in every way that a record can be read in; each has to tell of it once.
async fn read_in_every_way(store: &Store, outside: &DatabaseConnection) {
    let (user, Subscription { id, .. }) = subscribed(store).await;
    let other = tag(store, "other").await;
    let (filter, page) = (SubscriptionFilter::default(), Page::default());
    let includes = Include::parse::<User>("subscriptions").unwrap();
    told(outside).await;
    let once = async |way: &str| {
        assert_eq!(told(outside).await, [entry(format!("subscriptions:{id}"), "stripe_customer_id")], "{way}");
    };
    within_context(who(), async {
        store.find(id).await.unwrap();
        once("found").await;
        store.find(id).await.unwrap();
        once("found again").await;
        store.look_up(id).await.unwrap();
        once("looked up").await;
        store.find_wire(id).await.unwrap();
        once("found for the wire").await;
        let renamed = SubscriptionPatch { plan: Change::Set("more".to_owned()), ..SubscriptionPatch::default() };
        store.update(id, 1, renamed).await.unwrap();
        once("changed").await;
        store.list(&filter, &page).await.unwrap();
        once("listed").await;
        store.list_wire(&filter, &page).await.unwrap();
        once("listed for the wire").await;
        store.related(&User::SUBSCRIPTIONS, &[user.id]).await.unwrap();
        once("related").await;
        let users = store.list_wire(&UserFilter::default(), &page).await.unwrap().records;
        store.with_related(users, &includes).await.unwrap();
        once("included").await;
        store.write(move |work| async move { work.find(id).await }).await.unwrap();
        once("found in a unit of work").await;
        store.write(move |work| async move { work.lock(id).await }).await.unwrap();
        once("locked").await;
        store
            .write(|work| async move { work.list(&SubscriptionFilter::default(), &Page::default()).await })
            .await
            .unwrap();
        once("listed in a unit of work").await;
        store.write(move |work| async move { work.related(&User::SUBSCRIPTIONS, user.id).await }).await.unwrap();
        once("related in a unit of work").await;
        let past = store.clone();
        let past_it = move |_| {
            let store = past.clone();
            async move { store.find(id).await }
        };
        store.write(past_it).await.unwrap();
        once("found past the unit of work that it is done in").await;
        let past = store.clone();
        let in_a_part = move |work: UnitOfWork| {
            let store = past.clone();
            async move { work.savepoint(async |_| store.find(id).await).await }
        };
        store.write(in_a_part).await.unwrap();
        once("found in a part of one").await;

        // What is not there, what is only counted, and what is not sensitive.
        assert!(store.look_up(Id::<Subscription>::new(user.id.uuid())).await.unwrap().is_none());
        store.count(&filter).await.unwrap();
        store.find(user.id).await.unwrap();
        store.find::<Tag>(other.id).await.unwrap();
        assert_eq!(told(outside).await, []);
    })
    .await;
}

/// Reads payers by SQL that does not name where they are, each of which has to tell of it once.
async fn read_round_about(database: &TestDatabase, ways: &[(&str, &'static str)]) {
    let outside = database.connect().await;
    let store = store(database).await;
    subscribed(&store).await;
    for (there, _) in ways {
        outside.execute_unprepared(there).await.unwrap();
    }
    told(&outside).await;
    within_context(who(), async {
        for (there, sql) in ways {
            let rows = store.query(Sql::new(sql)).await.unwrap();
            assert_eq!(rows.column::<String>("payer").unwrap(), ["cus_1"], "{there}");
            let mut told = told(&outside).await;
            // What could read anything is told of all that is sensitive.
            told.retain(|(entity, ..)| entity.starts_with("subscriptions:"));
            assert_eq!(told, [entry("subscriptions:*".to_owned(), "stripe_customer_id")], "{there}");
        }
    })
    .await;
}

#[test]
fn what_postgres_reads_them_by_is_seen() {
    tests::within(LIMIT, async {
        let database = tests::database(Backend::Postgres).await.unwrap();
        let ways = [
            (
                "CREATE FUNCTION any_payer() RETURNS text LANGUAGE sql AS 'SELECT stripe_customer_id FROM subscriptions'",
                "SELECT any_payer() AS payer",
            ),
            (
                "CREATE FUNCTION payer_of_pieces() RETURNS text LANGUAGE plpgsql AS $$ DECLARE found text; BEGIN \
                 EXECUTE 'SELECT stripe_customer_id FROM sub' || 'scriptions' INTO found; RETURN found; END $$",
                "SELECT payer_of_pieces() AS payer",
            ),
            (
                "CREATE FUNCTION or_payer(text, text) RETURNS text LANGUAGE sql AS 'SELECT any_payer()'; \
                 CREATE AGGREGATE last_payer (text) (SFUNC = or_payer, STYPE = text)",
                "SELECT last_payer(name) AS payer FROM users",
            ),
            (
                "CREATE TABLE payers (stripe_customer_id text); ALTER TABLE subscriptions INHERIT payers",
                "SELECT stripe_customer_id AS payer FROM payers",
            ),
            (
                "CREATE MATERIALIZED VIEW all_payers AS SELECT stripe_customer_id AS payer FROM payers",
                "SELECT payer FROM all_payers",
            ),
            (
                "CREATE OPERATOR ~~> (FUNCTION = or_payer, LEFTARG = text, RIGHTARG = text)",
                "SELECT 'a'::text ~~> 'b'::text AS payer",
            ),
            (
                "CREATE TYPE sealed AS (n bigint); \
                 CREATE FUNCTION opened(sealed) RETURNS text LANGUAGE sql AS 'SELECT any_payer()'; \
                 CREATE CAST (sealed AS text) WITH FUNCTION opened(sealed)",
                "SELECT ROW(1)::sealed::text AS payer",
            ),
            (
                "CREATE TABLE defaulted (n bigint, payer text DEFAULT any_payer())",
                "INSERT INTO defaulted (n) VALUES (1) RETURNING payer",
            ),
            (
                "CREATE FUNCTION filled() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN NEW.payer = any_payer(); RETURN NEW; END $$; \
                 CREATE TABLE triggered (n bigint, payer text); \
                 CREATE TRIGGER fill BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION filled()",
                "INSERT INTO triggered (n) VALUES (1) RETURNING payer",
            ),
            (
                "CREATE TABLE ruled (payer text); CREATE TABLE kept (payer text); \
                 CREATE RULE asked AS ON INSERT TO ruled DO INSTEAD \
                 INSERT INTO kept VALUES (any_payer()) RETURNING payer",
                "INSERT INTO ruled VALUES ('nobody') RETURNING payer",
            ),
            (
                "CREATE VIEW payers_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx AS SELECT stripe_customer_id AS payer FROM subscriptions",
                "SELECT payer FROM payers_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            ),
            (
                "SELECT 1",
                "SELECT (xpath('//stripe_customer_id/text()', query_to_xml('SELECT * FROM sub' || 'scriptions', true, \
                 false, '')))[1]::text AS payer",
            ),
        ];
        read_round_about(&database, &ways).await;
    });
}

#[test]
fn what_sqlite_reads_them_by_is_seen() {
    tests::within(LIMIT, async {
        let database = tests::database(Backend::Sqlite).await.unwrap();
        let ways = [(
            "CREATE VIRTUAL TABLE payers USING fts5(stripe_customer_id, content = 'subscriptions')",
            "SELECT stripe_customer_id AS payer FROM payers",
        )];
        read_round_about(&database, &ways).await;
    });
}

on_both!(
    async fn whoever_reads_a_sensitive_record_is_written_down(database: TestDatabase) {
        let outside = database.connect().await;
        read_in_every_way(&store(&database).await, &outside).await;
    }

    async fn also_where_it_is_read_from_a_copy(database: TestDatabase) {
        let outside = database.connect().await;
        let cache = Arc::new(InProcessCache::new(1 << 20));
        let store = store(&database).await.cached(cache, CachePolicy::default()).await.unwrap();
        read_in_every_way(&store, &outside).await;
    }

    async fn what_cannot_be_written_down_is_not_given(database: TestDatabase) {
        let outside = database.connect().await;
        let store = store(&database).await;
        let (user, subscription) = subscribed(&store).await;
        without_an_outbox(&outside, async || {
            store.find(subscription.id).await.unwrap_err();
            store.list(&SubscriptionFilter::default(), &Page::default()).await.unwrap_err();
            store.find(user.id).await.unwrap();
        })
        .await;
        store.find(subscription.id).await.unwrap();
    }

    async fn whoever_reads_a_sensitive_document_is_written_down(database: TestDatabase) {
        let outside = database.connect().await;
        let store = store(&database).await;
        let store = store.clone().with_documents(Arc::new(SqlDocuments::new(&store)));
        let ada = user(&store, "ada").await;
        let documents: &DocumentStore = store.documents().unwrap();
        let chart: BirthChart = serde_json::from_value(json!({
            "user_id": ada.id, "name": "hers",
            "birth_data": { "date": "1990-05-17", "place": { "type": "Point", "coordinates": [16.37, 48.21] } },
            "positions": [{ "planet": "sun", "longitude": 12.5 }],
        }))
        .unwrap();
        let chart = documents.insert(chart).await.unwrap();
        told(&outside).await;
        let once = async |of: &str| {
            assert_eq!(told(&outside).await, [entry(format!("birthCharts:{of}"), "birth_data")]);
        };
        let id = chart.id.to_string();
        within_context(who(), async {
            documents.find(chart.id).await.unwrap();
            once(&id).await;
            documents.list(BirthChart::NAME.eq("hers").query()).await.unwrap();
            once(&id).await;
            documents.related(&User::BIRTH_CHARTS, &[ada.id]).await.unwrap();
            once(&id).await;
            let users = vec![store.find_wire(ada.id).await.unwrap()];
            store.with_related(users, &Include::parse::<User>("birth_charts").unwrap()).await.unwrap();
            once(&id).await;
            let renamed = json!({ "name": "her own" }).as_object().unwrap().clone();
            documents.merge(chart.id, chart.version, renamed).await.unwrap();
            once(&id).await;
            let name = BirthChart::collection().name();
            documents.untyped(name).look_up(&id).await.unwrap().unwrap();
            once(&id).await;
            let pipeline = BirthChart::NAME.eq("hers").pipeline();
            let pipeline = pipeline.group([("day", BirthChart::DATE.key())], [("charts", Fold::Count)]);
            documents.aggregate(&pipeline).await.unwrap();
            once("*").await;
            documents.count(&BirthChart::NAME.eq("hers")).await.unwrap();
            without_an_outbox(&outside, async || {
                documents.find(chart.id).await.unwrap_err();
                let again = json!({ "name": "nobody's" }).as_object().unwrap().clone();
                documents.merge(chart.id, chart.version + 1, again).await.unwrap_err();
            })
            .await;
            // What failed did not happen.
            assert_eq!(documents.find(chart.id).await.unwrap().name, "her own");
            once(&id).await;
            assert!(documents.untyped(name).look_up("nobody").await.unwrap().is_none());
            assert_eq!(told(&outside).await, []);
        })
        .await;
    }

    async fn sql_of_ones_own_is_seen_by_the_names_in_it(database: TestDatabase) {
        let outside = database.connect().await;
        outside
            .execute_unprepared("CREATE VIEW payers AS SELECT stripe_customer_id AS payer FROM subscriptions")
            .await
            .unwrap();
        outside.execute_unprepared("CREATE VIEW who_pays AS SELECT payer FROM payers").await.unwrap();
        let store = store(&database).await;
        subscribed(&store).await;
        told(&outside).await;
        let once = async |way: &str| {
            let read = entry("subscriptions:*".to_owned(), "stripe_customer_id");
            assert_eq!(told(&outside).await, [read], "{way}");
        };
        let read = "SELECT stripe_customer_id AS payer FROM subscriptions";
        let through_views = || Sql::new("SELECT payer FROM who_pays");
        let payer = |rows: Rows| rows.column::<String>("payer").unwrap();
        within_context(who(), async {
            assert_eq!(payer(store.query(Sql::new(read)).await.unwrap()), ["cus_1"]);
            once("read").await;
            assert_eq!(payer(store.query(through_views()).await.unwrap()), ["cus_1"]);
            once("read through a view of a view").await;
            let work = move |work: UnitOfWork| async move { work.query(Sql::new(read)).await };
            assert_eq!(payer(store.write(work).await.unwrap()), ["cus_1"]);
            once("read in a unit of work").await;
            let copied = "INSERT INTO tags (id, name, version, created_at, updated_at) \
                          SELECT id, stripe_customer_id, 1, created_at, updated_at FROM subscriptions";
            store.write(move |work| async move { work.execute(Sql::new(copied)).await }).await.unwrap();
            once("copied").await;
            store.query(Sql::new("SELECT name FROM tags")).await.unwrap();
            store.query(Sql::new("SELECT 1 AS one")).await.unwrap();
            assert_eq!(told(&outside).await, []);
            without_an_outbox(&outside, async || drop(store.query(through_views()).await.unwrap_err())).await;
            store.query(Sql::new("SELECT body FROM documents")).await.unwrap();
            let entities = told(&outside).await.into_iter().map(|(entity, ..)| entity);
            assert_eq!(entities.collect::<Vec<_>>(), ["birthCharts:*"]);
        })
        .await;
    }

    async fn what_was_read_by_what_is_undone_is_told_all_the_same(database: TestDatabase) {
        let outside = database.connect().await;
        let store = store(&database).await;
        let (user, Subscription { id, .. }) = subscribed(&store).await;
        told(&outside).await;
        let read = || entry(format!("subscriptions:{id}"), "stripe_customer_id");
        let once = async |way: &str| assert_eq!(told(&outside).await, [read()], "{way}");
        let some = async || Some(told(&outside).await).filter(|told| !told.is_empty());
        let soon = async || eventually("it is told", tests::PATIENCE, &some).await;
        within_context(who(), async {
            let refused = move |work: UnitOfWork| async move {
                let Subscription { stripe_customer_id, .. } = work.find(id).await?;
                work.insert(NewTag { name: "gone".to_owned() }).await?;
                Err::<(), _>(Error::refused("told", stripe_customer_id.unwrap_or_default()))
            };
            assert!(store.write(refused).await.unwrap_err().to_string().contains("cus_1"));
            once("refused").await;
            let work = store.begin().await.unwrap();
            work.find(id).await.unwrap();
            work.rollback().await.unwrap();
            once("rolled back").await;
            let work = store.begin().await.unwrap();
            work.find(id).await.unwrap();
            within(Duration::ZERO, work.rollback()).await.unwrap();
            once("rolled back when it was late").await;
            let in_a_part = move |work: UnitOfWork| async move {
                let part = async |part: UnitOfWork| {
                    part.find(id).await?;
                    Err::<(), _>(Error::refused("told", "undone"))
                };
                work.savepoint(part).await.unwrap_err();
                Ok(())
            };
            store.write(in_a_part).await.unwrap();
            once("undone in part").await;
            let work = store.begin().await.unwrap();
            work.find(id).await.unwrap();
            work.find(Id::<User>::new(id.uuid())).await.unwrap_err();
            work.execute(Sql::new("SELECT nothing FROM nowhere")).await.unwrap_err();
            work.commit().await.unwrap_err();
            once("not committed").await;
            let work = store.begin().await.unwrap();
            work.find(id).await.unwrap();
            drop(work);
            assert_eq!(soon().await, [read()], "dropped");
            let panics = move |work: UnitOfWork| async move {
                work.find(id).await?;
                panic!("on purpose");
            };
            store.write::<(), _, _>(panics).await.unwrap_err();
            assert_eq!(soon().await, [read()], "panicked");
            let late = move |work: UnitOfWork| async move {
                work.find(id).await?;
                std::future::pending().await
            };
            within(Duration::from_millis(500), store.write::<(), _, _>(late)).await.unwrap_err();
            assert_eq!(soon().await, [read()], "late");
            store.find(user.id).await.unwrap();
            assert_eq!(told(&outside).await, []);
        })
        .await;
    }
);
