//! The command line as others meet it: what it prints, and what it ends with.

use std::time::Duration;

use sea_orm::{ConnectionTrait, Statement};
use tests::{Backend, PATIENCE, TestApp, app::Launch, on_both, within};

const LIMIT: Duration = Duration::from_secs(60);

on_both!(
    async fn the_doctor_finds_a_migrated_database_healthy(database: TestDatabase) {
        let output = TestApp::run(&["--json", "doctor"], &[("DATABASE_URL", &database.url)]).await;
        assert_eq!(output.code(), Some(0), "{}", output.stdout);
        let json = output.json();
        let checks = json["checks"].as_array().unwrap();
        for check in ["reachable", "privileges", "migrations", "pool"] {
            assert!(checks.iter().any(|found| found["check"] == check && found["level"] != "fail"), "{check}: {json}");
        }
        let says = |store: &str, check: &str| {
            let found = checks.iter().find(|found| found["store"] == store && found["check"] == check);
            found.unwrap_or_else(|| panic!("{store}, {check}: {json}"))["message"].as_str().unwrap()
        };
        // Version, address without its secrets, and latency.
        let (version, address) = match database.backend() {
            Backend::Sqlite => ("SQLite 3.", "sqlite://"),
            Backend::Postgres => ("PostgreSQL 1", "postgres://"),
        };
        let reachable = says("database", "reachable");
        let latency = reachable.rsplit_once(" in ").and_then(|(_, time)| time.strip_suffix(" ms")?.parse::<f64>().ok());
        assert!(reachable.starts_with(version) && reachable.contains(address), "{reachable}");
        assert!(latency.is_some_and(|latency| latency > 0.0), "{reachable}");
        assert_eq!(says("cache", "use"), "in this process, up to 64 MiB");
        assert!(says("memory", "use").starts_with("sessions and temporary data are in this process"));
        assert_eq!(says("mongodb", "use"), "none: documents are in the database");
    }

    async fn one_setting_decides_in_which_database_everything_is(database: TestDatabase) {
        let app = TestApp::start_with(&database, &[]).await;
        let new = serde_json::json!({ "name": "kept" });
        let response = app.client().post(app.url("/v1/tags")).json(&new).send().await.unwrap();
        assert_eq!(response.status(), 201);
        let connection = database.connect().await;
        let sql = "SELECT count(*) FROM tags WHERE name = 'kept'";
        let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), sql)).await;
        assert_eq!(row.unwrap().unwrap().try_get_by_index::<i64>(0).unwrap(), 1);
    }

    async fn pending_migrations_keep_it_from_serving(database: TestDatabase) {
        let environment = [("DATABASE_URL", database.url.as_str())];
        let down = TestApp::run(&["--yes", "migrate", "down"], &environment).await;
        assert_eq!(down.code(), Some(0), "{}", down.stderr);
        let output = TestApp::run(&["serve"], &environment).await;
        assert_eq!(output.code(), Some(78), "{}", output.stderr);
        assert!(
            output.stderr.contains("migrations are pending: 1, the first is")
                && output.stderr.contains("`seabed migrate up`")
        );
        assert_eq!(TestApp::run(&["doctor"], &environment).await.code(), Some(1));

        let mut app = TestApp::start_with(&database, &[("MIGRATE_ON_START", "always"), ("LOG_FORMAT", "json")]).await;
        assert!(app.stop().await.success(), "{}", app.output());
    }

    async fn it_says_once_where_it_listens_and_stops_when_told_to(database: TestDatabase) {
        let mut app = TestApp::start(&database).await;
        let announced = app.output().matches("listening on http://").count();
        assert_eq!(announced, 1, "{}", app.output());
        assert!(app.stop().await.success(), "{}", app.output());
        let mut app = TestApp::start(&database).await;
        app.signal(tests::Signal::INT);
        assert!(app.wait(PATIENCE).await.success(), "{}", app.output());
    }
);

#[test]
fn without_anything_set_it_serves_from_a_file() {
    within(LIMIT, async {
        let mut app = Launch::default().arguments(&[]).start().await;
        assert!(app.output().contains("the schema was made"), "{}", app.output());
        assert!(app.stop().await.success(), "{}", app.output());
    });
}

#[test]
fn a_file_of_another_program_is_left_alone() {
    within(LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("theirs.db").display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        sqlx::query("CREATE TABLE theirs (id integer)").execute(&pool).await.unwrap();
        pool.close().await;
        let output = TestApp::run(&["serve"], &[("DATABASE_URL", &url)]).await;
        assert_eq!(output.code(), Some(78), "{}", output.stderr);
        assert!(output.stderr.contains("tables that are not ours"), "{}", output.stderr);
    });
}

#[test]
fn no_setting_is_shown_that_is_secret() {
    within(LIMIT, async {
        let environment = [("DB_PASSWORD", "hunter2"), ("DB_NAME", "app"), ("REDIS_URL", "redis://:hunter2@cache")];
        for arguments in [&["config", "show"][..], &["--json", "config", "show"]] {
            let output = TestApp::run(arguments, &environment).await;
            assert_eq!(output.code(), Some(0), "{}", output.stderr);
            let printed = format!("{}{}", output.stdout, output.stderr);
            assert!(!printed.contains("hunter2") && printed.contains("postgres://postgres:***@localhost:5432/app"));
            assert!(printed.contains("made of the DB_ variables"));
        }
    });
}
