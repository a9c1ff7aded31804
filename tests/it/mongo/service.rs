//! The service and its tools beside a MongoDB that is there, and one that is not.

use serde_json::{Value, json};
use tests::{Backend, TestApp, app::Launch, database};

use super::*;
use crate::studio;

async fn health(app: &TestApp) -> (u16, Value) {
    let answer = app.client().get(app.url("/health")).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Waits until the service tells this of MongoDB, and tells what else it says then.
async fn told(app: &TestApp, status: &str) -> Value {
    eventually("the health changes", PATIENCE, async || {
        let (code, health) = health(app).await;
        assert_eq!(code, 200, "{health}");
        (health["documents"]["status"] == status).then_some(health)
    })
    .await
}

async fn works(app: &TestApp, tag: &str) {
    let start = Instant::now();
    let made = app.client().post(app.url("/v1/tags")).json(&json!({ "name": tag })).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let found = app.client().get(app.url("/v1/tags")).send().await.unwrap();
    assert_eq!(found.status(), 200);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn without_it_the_service_starts_and_serves() {
    within(LIMIT, async {
        let mut server = or_skip!(Mongo::private().await);
        server.stop().await;
        let database = database(Backend::Sqlite).await.unwrap();
        let uri = format!("{}&useNewUrlParser=true&useUnifiedTopology=true", server.uri("any"));
        let environment = [("MONGODB_URI", uri.as_str()), ("MONGODB_SERVER_SELECTION_TIMEOUT", "500ms")];
        let mut app = TestApp::start_with(&database, &environment).await;
        let down = told(&app, "down").await;
        assert_eq!((&down["status"], &down["database"]["status"]), (&json!("degraded"), &json!("up")));
        works(&app, "without").await;

        server.start().await;
        assert_eq!(told(&app, "up").await["status"], "up");
        works(&app, "with").await;
        server.pause();
        let start = Instant::now();
        told(&app, "down").await;
        assert!(start.elapsed() < Duration::from_secs(10));
        works(&app, "hung").await;
        server.resume();
        told(&app, "up").await;

        assert!(app.stop().await.success());
        none_is_left(&server, "seabed").await;
        let printed = app.output();
        let warnings = printed.lines().filter(|line| line.contains("useNewUrlParser, useUnifiedTopology"));
        assert_eq!(warnings.count(), 1, "{printed}");
    });
}

#[test]
fn without_a_uri_documents_are_up_with_the_database() {
    within(LIMIT, async {
        let database = database(Backend::Sqlite).await.unwrap();
        let app = TestApp::start(&database).await;
        assert_eq!(told(&app, "up").await["status"], "up");
    });
}

#[test]
fn the_doctor_tells_of_it() {
    within(LIMIT, async {
        let ada = MongoUser { name: "ada", password: "right", role: "readWriteAnyDatabase" };
        let server = or_skip!(Mongo::private_with_users(&[ada]).await);
        let standalone = or_skip!(Mongo::standalone().await);
        let database = database(Backend::Sqlite).await.unwrap();
        let right = server.uri_as("ada", "right", "any");
        let doctor = async |uri: &str| {
            let environment =
                [("DATABASE_URL", database.url.as_str()), ("MONGODB_URI", uri), ("MONGODB_URI_LOGS", right.as_str())];
            let output = Launch::default().environment(&environment).run(&["doctor"]).await;
            assert_eq!(output.code(), Some(0), "{output:?}");
            assert!(!output.stdout.contains("right@") && !output.stdout.contains("s3cret"), "{output:?}");
            output.stdout
        };
        let well = doctor(&right).await;
        assert!(well.contains("a replica set") && well.contains("ada:***@"), "{well}");
        assert!(well.contains("logs.timestamp_level is missing"), "{well}");
        let alone = doctor(&standalone.uri("any")).await;
        assert!(alone.contains("no replica set"), "{alone}");
        let refused = doctor(&server.uri_as("ada", "s3cret", "any")).await;
        assert!(refused.contains("refuses the user or the password"), "{refused}");
    });
}

/// What the service is told to keep in MongoDB is there, and what is committed in the database arrives there once,
/// although MongoDB was away in between.
#[test]
fn everything_that_is_a_document_is_there() {
    within(LIMIT, async {
        let mut server = or_skip!(Mongo::private().await);
        let database = or_skip!(database(Backend::Postgres).await);
        let uri = server.uri("service");
        let mut app = TestApp::start_with(&database, &[("MONGODB_URI", uri.as_str())]).await;
        told(&app, "up").await;
        let post = async |path: &str, body: Value, status: u16| {
            let answer = app.client().post(app.url(path)).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
            answer.json::<Value>().await.unwrap()
        };
        let get = async |path: &str| {
            let answer = app.client().get(app.url(path)).send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        };
        let user = post("/v1/users", json!({ "email": "ada@example.org", "name": "Ada" }), 201).await["id"].clone();
        let place = json!({ "type": "Point", "coordinates": [16.37, 48.21] });
        let chart = json!({
            "user_id": user, "name": "mine", "birth_data": { "date": "1990-05-17", "place": place },
            "positions": [{ "planet": "sun", "longitude": 12.5 }],
        });
        post("/v1/birth-charts", chart.clone(), 201).await;
        post("/v1/birth-charts", json!({ "user_id": user }), 400).await;
        let window = json!({ "start": "2026-01-31T06:00:00Z", "end": "2026-01-31T08:00:00Z" });
        let recommendation = json!({ "user_id": user, "activity": "run", "windows": [window], "risks": ["rain"] });
        post("/v1/timing-recommendations", recommendation, 201).await;
        let insight = json!({ "user_id": user, "date": "2026-01-31", "energy_level": 85 });
        post("/v1/planetary-insights", insight, 201).await;

        server.stop().await;
        told(&app, "down").await;
        for n in 0..20 {
            post("/v1/tags", json!({ "name": format!("tag {n}") }), 201).await;
            post("/v1/events", json!({ "at": "2026-01-31T09:30:00Z", "name": "visited", "user_id": user }), 202).await;
        }
        assert_eq!(get("/v1/birth-charts").await.1["code"], "documents_unavailable");
        assert_eq!(get("/v1/users?include=birth_charts").await.0, 503);
        assert_eq!(get("/v1/users").await.0, 200);
        server.start().await;
        told(&app, "up").await;

        let client = server.client().await;
        let count_of = async |collection: &str, filter: mongodb::bson::Document| {
            let collection = client.database("service").collection::<mongodb::bson::Document>(collection);
            collection.count_documents(filter).await.unwrap()
        };
        let count = async |collection: &str| count_of(collection, doc! {}).await;
        let logged = async |level: &str| count_of("logs", doc! { "level": level }).await;
        // A user and the tags; and what could not be answered.
        eventually("all of it arrives", PATIENCE, async || {
            let arrived = [count("events").await, count("audit").await, logged("info").await, logged("error").await];
            (arrived == [20, 21, 21, 2]).then_some(())
        })
        .await;
        assert_eq!([count("birthCharts").await, count("documents").await], [1, 0]);
        let listed = get("/v1/users?include=birth_charts").await.1;
        assert_eq!(listed["items"][0]["birth_charts"][0]["name"], "mine");
        for (query, found) in [
            ("birth-charts?near=16.4,48.2,10000", 1),
            ("birth-charts?words=MINE", 1),
            ("birth-charts?filter[birth_data.date][lt]=1990-01-01", 0),
            (
                "timing-recommendations?filter[windows.start][lte]=2026-01-31T07:00:00Z&filter[windows.end][gt]=2026-01-31T07:00:00Z",
                1,
            ),
            ("planetary-insights?filter[energy_level]=85&sort=-date", 1),
            ("logs?filter[endpoint]=/v1/tags&filter[method]=POST&sort=-timestamp", 20),
            ("events?page_size=7", 7),
        ] {
            let (status, listed) = get(&format!("/v1/{query}")).await;
            assert_eq!((status, listed["items"].as_array().map(Vec::len)), (200, Some(found)), "{query}: {listed}");
        }
        let per = get("/v1/events/per?unit=day&from=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z").await.1;
        assert_eq!(per, json!([{ "since": "2026-01-31T00:00:00.000Z", "name": "visited", "count": 20 }]));
        assert!(app.stop().await.success());
        let verified = Launch::default()
            .environment(&[("DATABASE_URL", database.url.as_str()), ("MONGODB_URI", uri.as_str())])
            .run(&["audit", "verify"])
            .await;
        assert_eq!(verified.code(), Some(0), "{verified:?}");
    });
}

#[test]
fn migrating_makes_the_indexes_and_the_doctor_and_the_studio_tell_of_those_that_nobody_uses() {
    within(LIMIT, async {
        let server = or_skip!(Mongo::private().await);
        let database = database(Backend::Sqlite).await.unwrap();
        let uri = server.uri("indexed");
        let run = async |arguments: &[&str]| {
            let environment = [("DATABASE_URL", database.url.as_str()), ("MONGODB_URI", &uri)];
            let output = Launch::default().environment(&environment).run(arguments).await;
            assert_eq!(output.code(), Some(0), "{output:?}");
            output.stdout
        };
        assert!(run(&["doctor"]).await.contains("birthCharts.birth_date is missing"));
        run(&["migrate", "up"]).await;
        let charts = server.client().await.database("indexed").collection::<mongodb::bson::Document>("birthCharts");
        charts.find_one(doc! { "birth_data.date": "1990-05-17" }).await.unwrap();
        let told = run(&["doctor"]).await;
        assert!(told.contains("all that are declared"), "{told}");
        let unused = told.lines().find(|line| line.contains("never used: ")).unwrap_or_else(|| panic!("{told}"));
        assert!(unused.contains("birthCharts.user_id (since 2"), "{unused}");
        assert!(!unused.contains("birthCharts.birth_date"), "{unused}");
        let mut studio = studio::studio(&[("DATABASE_URL", &database.url), ("MONGODB_URI", &uri)]).await;
        let used = studio::told(&studio, "birthCharts", "birth_date").await.unwrap();
        assert!(used.contains("<td class=\"number\">1</td>"), "{used}");
        let unused = studio::told(&studio, "birthCharts", "user_id").await.unwrap();
        assert!(unused.contains("never used"), "{unused}");
        assert!(studio.stop().await.success());
    });
}
