//! Statements: those that come again are prepared once, and those of one's own are as good as any other.

use std::time::{Duration, Instant};

use domain::{
    Change, Error, NewTag, Parameter, Readable, Result, Sql, Store, StoreOptions, Tag, TagFilter, TagId, TagPatch,
    Timestamp, User,
};
use serde_json::{Value, json};
use tests::{Backend, TestApp, TestDatabase, on_both, or_skip, run::LIMIT, within};
use uuid::Uuid;

use crate::fixture::{count, execute, instant, mistakes, new_tag, one, open, options, store, tag, tag_names, user};

/// A store whose statements all go over one connection.
async fn on_one_connection(database: &TestDatabase) -> Store {
    open(&StoreOptions { max_connections: 1, ..options(&database.url) }).await
}

/// How often each statement ran that the server has prepared for this connection, where its text has all these words.
async fn plans(store: &Store, words: &[&str]) -> Vec<i64> {
    let prepared = "SELECT statement, generic_plans + custom_plans AS plans FROM pg_prepared_statements";
    let rows = store.query(Sql::new(prepared)).await.unwrap();
    let texts = rows.column::<String>("statement").unwrap();
    let plans = rows.column::<i64>("plans").unwrap();
    let is_meant = |text: &str| words.iter().all(|word| text.contains(word));
    texts.iter().zip(plans).filter(|(text, _)| is_meant(text)).map(|(_, plans)| plans).collect()
}

/// The server counts how often it ran what was prepared: one statement, as often as it was asked for.
#[test]
fn a_statement_is_prepared_once_for_a_connection() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let store = on_one_connection(&database).await;
        let mut users = Vec::new();
        for n in 0..8 {
            users.push(user(&store, &format!("user{n}")).await.id);
        }
        assert_eq!(plans(&store, &["INSERT INTO", "users"]).await, [8]);
        assert_eq!(plans(&store, &["SELECT", "FROM \"users\"", "\"id\" = "]).await, [0; 0]);
        for id in &users {
            store.find::<User>(*id).await.unwrap();
        }
        assert_eq!(plans(&store, &["SELECT", "FROM \"users\"", "\"id\" = "]).await, [8]);

        // Those of a unit of work and those of one's own are no others.
        let of_one_s_own = Sql::new("SELECT name FROM users WHERE id = $1");
        for id in users.clone() {
            let of_one_s_own = of_one_s_own.clone();
            let work = move |work: domain::UnitOfWork| {
                let of_one_s_own = of_one_s_own.clone();
                async move {
                    work.find::<User>(id).await?;
                    work.query(of_one_s_own.bind(id)).await
                }
            };
            assert_eq!(store.write(work).await.unwrap().len(), 1);
        }
        assert_eq!(plans(&store, &["SELECT", "FROM \"users\"", "\"id\" = "]).await, [16]);
        assert_eq!(plans(&store, &["SELECT name FROM users"]).await, [8]);
    });
}

/// SQLite counts nothing; but to understand a long statement takes it many times as long as to run it.
#[test]
fn a_statement_is_understood_once_for_a_reader() {
    within(LIMIT, async {
        let database = tests::database(Backend::Sqlite).await.unwrap();
        let store = on_one_connection(&database).await;
        let long = |n: usize| {
            let columns = (0..1_500).map(|column| format!("upper(name || '{n}') AS column{column}"));
            let columns = columns.collect::<Vec<_>>().join(", ");
            Sql::new(String::leak(format!("SELECT {columns} FROM users WHERE id = 'nobody'")))
        };
        let fastest = async |statements: Vec<Sql>| {
            let mut fastest = Duration::MAX;
            for statement in statements {
                let started = Instant::now();
                assert!(store.query(statement).await.unwrap().is_empty());
                fastest = fastest.min(started.elapsed());
            }
            fastest
        };
        let new = fastest((0..20).map(long).collect()).await;
        let known = fastest(vec![long(0); 20]).await;
        assert!(known * 2 < new, "{known:?} for one that is known, {new:?} for a new one");
    });
}

async fn names(work: &domain::UnitOfWork) -> Result<Vec<String>> {
    work.query(Sql::new("SELECT name FROM tags ORDER BY name")).await?.column("name")
}

/// Binds a value and reads it again.
async fn round_trip<T: Parameter + Readable>(store: &Store, value: T, sql: &'static str) -> T {
    let rows = store.query(Sql::new(sql).bind(value)).await.unwrap();
    rows.column("value").unwrap().pop().unwrap()
}

on_both!(
    async fn a_statement_of_one_s_own_takes_part_in_its_unit_of_work(database: TestDatabase) {
        let store = store(&database).await;
        let (others, kept) = (store.clone(), tag(&store, "kept").await);
        let written = store.write(move |work| {
            let others = others.clone();
            async move {
                // It sees what was written before it, and is seen; by others not yet.
                let made = work.insert(new_tag("made")).await?;
                assert_eq!(names(&work).await?, ["kept", "made"]);
                let rename = Sql::new("UPDATE tags SET name = $1, version = version + 1 WHERE id = $2");
                assert_eq!(work.execute(rename.bind("renamed").bind(made.id)).await?, 1);
                let found = work.find(made.id).await?;
                assert_eq!((found.name.as_str(), found.version), ("renamed", 2));
                assert!(others.look_up(made.id).await?.is_none());
                // What it did counts for the version that the next one must have seen.
                let again = TagPatch { name: Change::Set("again".to_owned()) };
                assert!(matches!(work.update(made.id, 1, again.clone()).await, Err(Error::VersionConflict { .. })));
                work.update(made.id, 2, again).await?;
                // Undone with its savepoint, alone.
                let undone = work.savepoint(|part| async move {
                    assert_eq!(part.execute(Sql::new("DELETE FROM tags WHERE id = $1").bind(kept.id)).await?, 1);
                    assert_eq!(names(&part).await?, ["again"]);
                    Err::<(), _>(Error::refused("no", "not today"))
                });
                assert!(undone.await.is_err());
                assert_eq!(names(&work).await?, ["again", "kept"]);
                Ok(())
            }
        });
        written.await.unwrap();
        assert_eq!(tag_names(&store).await, ["kept", "again"]);

        let undone = store.write(|work| async move {
            work.execute(Sql::new("DELETE FROM tags")).await?;
            Err::<(), _>(Error::refused("no", "not today"))
        });
        assert!(undone.await.is_err());
        assert_eq!(tag_names(&store).await, ["kept", "again"]);
    }

    /// Its failure is named like any other, and nothing is committed after it, swallowed or not.
    async fn a_statement_of_one_s_own_that_fails_fails_its_unit_of_work(database: TestDatabase) {
        let store = store(&database).await;
        let taken = tag(&store, "taken").await;
        tag(&store, "other").await;
        for (sql, expected) in [
            ("UPDATE tags SET name = 'taken'", one("conflict", "/name", "unique")),
            ("UPDATE tags SET name = NULL", one("invalid", "/name", "required")),
        ] {
            let failed = store.write(move |work| async move {
                work.insert(new_tag("before")).await?;
                assert!(work.execute(Sql::new(sql)).await.is_err());
                assert!(work.find(taken.id).await.is_err(), "nothing more can be done");
                Ok(())
            });
            assert_eq!(mistakes(failed.await), expected, "{sql}");
        }
        let nonsense = execute(&store, Sql::new("UPDATE nowhere SET name = 'x'")).await;
        assert!(matches!(nonsense, Err(Error::Internal { .. })), "{nonsense:?}");
        let ended = store.write(|work| async move {
            work.insert(new_tag("before the end")).await?;
            work.execute(Sql::new("COMMIT")).await
        });
        assert!(ended.await.is_err(), "it ends when its unit of work does");
        assert_eq!(tag_names(&store).await, ["taken", "other"]);
    }

    async fn parameters_come_back_as_they_were_bound(database: TestDatabase) {
        let store = store(&database).await;
        // A text for each type, because a statement is prepared for the types that it was first sent with.
        assert!(round_trip(&store, true, "SELECT $1 AS value -- true or false").await);
        assert!(!round_trip(&store, false, "SELECT $1 AS value -- true or false").await);
        for number in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(round_trip(&store, number, "SELECT $1 AS value -- a whole number").await, number);
        }
        for number in [f64::MIN, -0.5, 0.1, 5e-324, f64::MAX] {
            assert_eq!(round_trip(&store, number, "SELECT $1 AS value -- a number").await, number);
        }
        for text in ["", "'; DROP TABLE tags; --", "$1 ? :name %s", "日本語 🦀 \u{202e}"] {
            assert_eq!(round_trip(&store, text.to_owned(), "SELECT $1 AS value -- a text").await, text);
        }
        let id = Uuid::from_u128(u128::MAX / 3);
        assert_eq!(round_trip(&store, id, "SELECT $1 AS value -- an id").await, id);
        assert_eq!(round_trip(&store, TagId::new(id), "SELECT $1 AS value -- an id").await.uuid(), id);
        let document = json!({"a": [1, 2.5, null, "x"], "b": {}});
        let found = round_trip::<Value>(&store, document.clone(), "SELECT $1 AS value -- a document").await;
        assert_eq!(found, document);
        let day = chrono::NaiveDate::from_ymd_opt(1815, 12, 10).unwrap();
        assert_eq!(round_trip(&store, day, "SELECT $1 AS value -- a day").await, day);
        let bytes = (0..=255).collect::<Vec<u8>>();
        assert_eq!(round_trip(&store, bytes.clone(), "SELECT $1 AS value -- bytes").await, bytes);
        let moment = instant("2026-01-02T03:04:05.000006Z");
        assert_eq!(round_trip::<Timestamp>(&store, moment, "SELECT $1 AS value -- an instant").await, moment);
        let absent = store.query(Sql::new("SELECT $1 AS value").bind(None::<i64>)).await.unwrap();
        assert_eq!(absent.column::<Option<i64>>("value").unwrap(), [None]);
    }

    async fn what_a_query_does_not_give_cannot_be_read(database: TestDatabase) {
        let store = store(&database).await;
        let made: Tag = store.insert(NewTag { name: "a".to_owned() }).await.unwrap();
        let rows = store.query(Sql::new("SELECT id, name FROM tags WHERE name = $1").bind("a")).await.unwrap();
        assert_eq!((rows.len(), rows.is_empty()), (1, false));
        assert_eq!(rows.column::<TagId>("id").unwrap(), [made.id]);
        assert!(matches!(rows.column::<String>("title"), Err(Error::Internal { .. })));
        assert!(matches!(rows.column::<i64>("name"), Err(Error::Internal { .. })));
        let none = store.query(Sql::new("SELECT id FROM tags WHERE name = $1").bind("b")).await.unwrap();
        assert!(none.is_empty() && none.column::<TagId>("id").unwrap().is_empty());
        assert_eq!(store.count(&TagFilter::default()).await.unwrap(), count::<Tag>(&store).await);
    }
);

/// Makes a tag by a request, twice, and tells what the service logged of statements; what it is called is told nowhere.
async fn logged(database: &TestDatabase) -> Vec<Value> {
    let environment = [("DB_SLOW_STATEMENT", "100ms"), ("LOG", "info,domain=debug"), ("LOG_FORMAT", "json")];
    let mut app = TestApp::start_with(database, &environment).await;
    for status in [201, 409] {
        let request = app.client().post(app.url("/v1/tags")).header("x-request-id", "the-request");
        assert_eq!(request.json(&json!({ "name": "s3cret" })).send().await.unwrap().status(), status);
    }
    assert!(app.stop().await.success());
    let output = app.output();
    assert!(!output.contains("s3cret"), "{output}");
    let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["fields"]["statement"].is_string()).collect()
}

#[track_caller]
fn assert_logged(lines: &[Value], message: &str) -> Value {
    let is_meant = |line: &&Value| {
        let statement = line["fields"]["statement"].as_str().unwrap();
        line["fields"]["message"] == message && statement.starts_with("INSERT INTO \"tags\"")
    };
    let found = lines.iter().find(is_meant).unwrap_or_else(|| panic!("nothing says {message}: {lines:?}"));
    assert_eq!(found["request_id"], "the-request", "{found}");
    found["fields"].clone()
}

on_both!(
    async fn a_statement_that_fails_is_logged_with_its_request_and_without_its_values(database: TestDatabase) {
        let failed = assert_logged(&logged(&database).await, "a statement failed");
        let code = if database.backend() == Backend::Sqlite { "2067" } else { "23505" };
        assert_eq!(failed["failure"], code);
    }
);

#[test]
fn a_slow_statement_is_logged_with_its_request_and_without_its_values() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.2); \
                    RETURN NEW; END $$; \
                    CREATE TRIGGER slow BEFORE INSERT ON tags FOR EACH ROW EXECUTE FUNCTION slow()";
        let outside = database.connect().await;
        sea_orm::ConnectionTrait::execute_unprepared(&outside, slow).await.unwrap();
        outside.close().await.unwrap();
        let noted = assert_logged(&logged(&database).await, "a statement was slow");
        assert!(noted["elapsed_ms"].as_f64().unwrap() >= 200.0, "{noted}");
    });
}
