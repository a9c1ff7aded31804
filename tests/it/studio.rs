//! The studio: what it shows, and to whom.

use reqwest::{StatusCode, header};
use sea_orm::ConnectionTrait;
use tests::{Backend, PATIENCE, TestApp, app::Launch, database, eventually, on_both, run::LIMIT, within};

/// The studio, with this environment.
pub(crate) async fn studio(environment: &[(&str, &str)]) -> TestApp {
    let launch = Launch::default().environment(environment).arguments(&["studio", "--port", "0"]);
    launch.without_waiting_until_ready().start().await
}

/// What its page says of an index, if it does.
pub(crate) async fn told(studio: &TestApp, collection: &str, index: &str) -> Option<String> {
    let answer = studio.client().get(studio.url("/")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let page = answer.text().await.unwrap();
    let row = format!("<td>{collection}</td><td>{index}</td>");
    page.split("<tr").find(|told| told.contains(&row)).map(ToOwned::to_owned)
}

#[test]
fn postgres_says_how_often_indexes_are_used() {
    within(LIMIT, async {
        let database = database(Backend::Postgres).await.unwrap();
        // The service makes indexes while it serves already.
        let migrated = Launch::default().database(&database).run(&["migrate", "up"]).await;
        assert_eq!(migrated.code(), Some(0), "{migrated:?}");
        let mut app = TestApp::start(&database).await;
        let outside = database.connect().await;
        // Of few it reads one after the other.
        let many = "INSERT INTO documents (collection, id, body) SELECT 'events', id, jsonb_build_object( \
                    '_id', id, 'name', 'n' || n, 'at', '2026-01-01T00:00:00.000Z', 'properties', '{}'::jsonb) \
                    FROM (SELECT n, gen_random_uuid()::text AS id FROM generate_series(1, 3000) AS n) AS made";
        outside.execute_unprepared(many).await.unwrap();
        outside.execute_unprepared("ANALYZE documents").await.unwrap();
        for n in 1..=3 {
            let answer = app.client().get(app.url(&format!("/v1/events?filter[name]=n{n}"))).send().await.unwrap();
            assert!(answer.status().is_success(), "{answer:?}");
        }
        app.stop().await;
        let mut studio = studio(&[("DATABASE_URL", &database.url)]).await;
        // The server counts a little later.
        let used = async || told(&studio, "events", "name_at").await.filter(|told| !told.contains("never used"));
        let used = eventually("it is counted", PATIENCE, used).await;
        assert!(used.contains("<td>name; at</td>"), "{used}");
        let unused = told(&studio, "logs", "request_id").await.unwrap();
        assert!(unused.contains("unused") && unused.contains("never used"), "{unused}");
        assert!(studio.stop().await.success());
    });
}

on_both!(
    async fn it_is_for_who_sits_here(database: TestDatabase) {
        assert!(TestApp::start(&database).await.stop().await.success());
        let mut studio = studio(&[("DATABASE_URL", &database.url)]).await;
        assert!(studio.address().ip().is_loopback());
        let answer = studio.client().get(studio.url("/")).send().await.unwrap();
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; style-src 'self'"), "{policy}");
        assert_eq!(answer.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        let page = answer.text().await.unwrap();
        assert!(!page.contains("<script"), "{page}");
        assert!(studio.client().get(studio.url("/style.css")).send().await.unwrap().status().is_success());
        for (host, status) in [("localhost:1", 200), ("127.0.0.1", 200), ("elsewhere.example:80", 421), ("", 421)] {
            let answer = studio.client().get(studio.url("/")).header(header::HOST, host).send().await.unwrap();
            assert_eq!(answer.status(), status, "{host}");
        }
        assert!(studio.stop().await.success());
    }
);

#[test]
fn what_is_not_counted_and_what_cannot_be_asked_is_said() {
    within(LIMIT, async {
        let embedded = database(Backend::Sqlite).await.unwrap();
        let studio_of = async |environment: &[(&str, &str)]| {
            let studio = studio(&[&[("DATABASE_URL", embedded.url.as_str())], environment].concat()).await;
            let answer = studio.client().get(studio.url("/")).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        let (status, page) = studio_of(&[]).await;
        assert!(status == 200 && page.contains("SQLite does not"), "{page}");
        let nowhere = [("MONGODB_URI", "mongodb://127.0.0.1:1/any"), ("MONGODB_SERVER_SELECTION_TIMEOUT", "100ms")];
        let (status, page) = studio_of(&nowhere).await;
        assert!(status == 503 && page.contains("seabed doctor"), "{page}");
        assert!(!page.contains("127.0.0.1"), "{page}");
    });
}
