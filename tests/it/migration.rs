//! The history of the schema goes up, down and up again on both databases without leaving a trace.

use std::{collections::BTreeMap, fs, time::SystemTime};

use api::command::migrate::{
    Context, Direction, MigrateCommand, MigrateError, Output, Standing, Status, Step, connect, down, fresh, generate,
    refresh, reset, run, status, to, up,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

/// Runs a test on a SQLite file of its own.
async fn on_sqlite(test: impl AsyncFn(&str, &DatabaseConnection)) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("in/a/new/folder/test.sqlite").display());
    let database = connect(&url).await.unwrap();
    test(&url, &database).await;
    database.close().await.unwrap();
}

/// Runs a test on a database of its own on a PostgreSQL server.
async fn on_postgres(server: &str, test: impl AsyncFn(&str, &DatabaseConnection)) {
    let administration = connect(server).await.unwrap();
    let name = format!("migration_{:016x}", rand::random::<u64>());
    administration.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(&name);
    let database = connect(url.as_str()).await.unwrap();
    test(url.as_str(), &database).await;
    database.close().await.unwrap();
    administration.execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    administration.close().await.unwrap();
}

/// The same test on both databases.
macro_rules! on_empty_databases {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test] async fn $test() { super::on_sqlite(super::$test).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $test() {
                let server = tests::or_skip!(tests::postgres::shared().await).url("postgres");
                super::on_postgres(&server, super::$test).await;
            })*
        }
    };
}

on_empty_databases! {
    every_migration_leaves_no_trace
    the_avatar_comes_and_goes
    to_stops_exactly_there
    a_second_up_does_nothing
    what_loses_data_must_be_confirmed
    fresh_drops_whatever_is_there
    refresh_and_reset_go_all_the_way
    status_writes_nothing
    a_version_that_is_not_there_is_refused
    a_migration_that_fails_is_named
}

const DUMP_SQLITE: &str = "SELECT type || ' ' || name || ': ' || coalesce(sql, '') AS line FROM sqlite_master \
     WHERE tbl_name <> 'seaql_migrations' ORDER BY line";

const DUMP_POSTGRES: &str = "
    SELECT line FROM (
        SELECT format('column %s.%s %s%s default %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
                      CASE WHEN a.attnotnull THEN ' not null' END, pg_get_expr(d.adbin, d.adrelid)) AS line
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'index ' || pg_get_indexdef(i.indexrelid)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('constraint %s on %s %s', conname, conrelid::regclass, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'trigger ' || pg_get_triggerdef(t.oid)
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal AND c.relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT CASE prokind WHEN 'a' THEN 'aggregate ' || oid::regprocedure
                            ELSE 'function ' || pg_get_functiondef(oid) END
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL
        SELECT format('type %s', oid::regtype) FROM pg_type
        WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd')
    ) lines WHERE line NOT LIKE '%seaql_migrations%' ORDER BY line";

/// The whole schema as text, but for the migrations' own table.
async fn dump(database: &DatabaseConnection) -> Vec<String> {
    let backend = database.get_database_backend();
    let query = if backend == DbBackend::Sqlite { DUMP_SQLITE } else { DUMP_POSTGRES };
    let rows = database.query_all_raw(Statement::from_string(backend, query)).await.unwrap();
    rows.iter().map(|row| row.try_get("", "line").unwrap()).collect()
}

async fn has_avatar(database: &DatabaseConnection) -> bool {
    database.execute_unprepared("SELECT avatar FROM users").await.is_ok()
}

async fn applied(database: &DatabaseConnection) -> Vec<String> {
    let standings = status(database).await.unwrap();
    standings.into_iter().filter(|one| one.status == Status::Applied).map(|one| one.name).collect()
}

async fn all(database: &DatabaseConnection) -> Vec<String> {
    status(database).await.unwrap().into_iter().map(|one| one.name).collect()
}

fn names(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.name.as_str()).collect()
}

async fn every_migration_leaves_no_trace(_: &str, database: &DatabaseConnection) {
    let mut before = dump(database).await;
    assert_eq!(before, [""; 0]);
    for name in all(database).await {
        let there = up(database, Some(1)).await.unwrap();
        assert_eq!((names(&there), there[0].direction), (vec![name.as_str()], Direction::Up));
        let after = dump(database).await;
        assert_ne!(after, before, "{name} changes nothing");

        let back = down(database, Some(1), true, false).await.unwrap();
        assert_eq!((names(&back), back[0].direction), (vec![name.as_str()], Direction::Down));
        assert_eq!(dump(database).await, before, "{name} leaves something behind");

        up(database, Some(1)).await.unwrap();
        assert_eq!(dump(database).await, after, "{name} is another one the second time");
        before = after;
    }
    down(database, None, true, false).await.unwrap();
    assert_eq!(dump(database).await, [""; 0]);
    up(database, None).await.unwrap();
    assert_eq!(dump(database).await, before);
}

async fn the_avatar_comes_and_goes(_: &str, database: &DatabaseConnection) {
    to(database, "m20261121_000011", false, false).await.unwrap();
    assert!(!has_avatar(database).await);
    let without = dump(database).await;
    let steps = to(database, "m20261121_000012_add_avatar_to_users", false, false).await.unwrap();
    assert_eq!(names(&steps), ["m20261121_000012_add_avatar_to_users"]);
    assert!(has_avatar(database).await);
    let refused = to(database, "m20261121_000011", false, false).await.unwrap_err();
    assert!(matches!(refused, MigrateError::NotConfirmed { .. }), "{refused}");
    to(database, "m20261121_000011", true, true).await.unwrap();
    assert!(!has_avatar(database).await);
    assert_eq!(dump(database).await, without);
}

async fn to_stops_exactly_there(_: &str, database: &DatabaseConnection) {
    let all = all(database).await;
    for target in [4, 9, 9, 2, all.len() - 1, 0] {
        to(database, &all[target], true, false).await.unwrap();
        assert_eq!(applied(database).await, all[..=target]);
    }
    // A gap is filled, and what is above the target goes.
    up(database, Some(3)).await.unwrap();
    let forget = format!("DELETE FROM seaql_migrations WHERE version = '{}'", all[3]);
    to(database, &all[11], true, false).await.unwrap();
    down(database, Some(1), true, false).await.unwrap();
    database.execute_unprepared(&forget).await.unwrap();
    let failed = to(database, &all[9], true, false).await.unwrap_err();
    let MigrateError::Step { name, direction, completed, .. } = failed else { panic!("{failed}") };
    assert_eq!((name.as_str(), direction), (all[3].as_str(), Direction::Up));
    assert_eq!(names(&completed), [all[10].as_str()]);
}

async fn a_second_up_does_nothing(url: &str, database: &DatabaseConnection) {
    let steps = up(database, None).await.unwrap();
    assert_eq!(names(&steps), all(database).await);
    let schema = dump(database).await;
    assert_eq!(up(database, None).await.unwrap(), []);
    assert_eq!(dump(database).await, schema);

    let context = Context { database_url: url, production: true, now: SystemTime::UNIX_EPOCH };
    let output = run(MigrateCommand::Up { number: None }, &context).await.unwrap();
    assert_eq!(serde_json::to_string(&output).unwrap(), "[]");
    assert_eq!(output.to_string(), "nothing to do");
}

async fn what_loses_data_must_be_confirmed(url: &str, database: &DatabaseConnection) {
    up(database, None).await.unwrap();
    let schema = dump(database).await;
    let verbs: [fn(bool) -> MigrateCommand; 4] = [
        |yes| MigrateCommand::Down { number: 1, yes },
        |yes| MigrateCommand::Fresh { yes },
        |yes| MigrateCommand::Refresh { yes },
        |yes| MigrateCommand::Reset { yes },
    ];
    for (at, verb) in verbs.into_iter().enumerate() {
        for production in [false, true] {
            let context = Context { database_url: url, production, now: SystemTime::UNIX_EPOCH };
            let error = run(verb(false), &context).await.unwrap_err();
            if production && at > 0 {
                assert!(matches!(error, MigrateError::RefusedInProduction { .. }), "{error}");
                let error = run(verb(true), &context).await.unwrap_err();
                assert!(matches!(error, MigrateError::RefusedInProduction { .. }), "{error}");
            } else {
                assert!(matches!(error, MigrateError::NotConfirmed { .. }), "{error}");
                assert!(error.to_string().contains("--yes"), "{error}");
            }
            assert_eq!(dump(database).await, schema);
        }
    }
    assert!(fresh(database, true, true).await.is_err());
    assert!(refresh(database, true, true).await.is_err());
    assert!(reset(database, true, true).await.is_err());
    assert_eq!(dump(database).await, schema);
    assert_eq!(down(database, Some(1), true, true).await.unwrap().len(), 1);
}

async fn fresh_drops_whatever_is_there(_: &str, database: &DatabaseConnection) {
    up(database, None).await.unwrap();
    let schema = dump(database).await;
    let strangers: &[&str] = if database.get_database_backend() == DbBackend::Sqlite {
        &["CREATE VIEW names AS SELECT name FROM users", "CREATE TABLE \"odd \"\" name\" (id integer)"]
    } else {
        &[
            "CREATE VIEW names AS SELECT name FROM users",
            "CREATE MATERIALIZED VIEW loners AS SELECT 1 AS one",
            "CREATE VIEW numbers AS SELECT 1 AS one",
            "CREATE SEQUENCE counter",
            "CREATE TYPE mood AS ENUM ('fair', 'foul')",
            "CREATE TYPE pair AS (one integer, other integer)",
            "CREATE DOMAIN short AS text CHECK (length(value) < 9)",
            "CREATE FUNCTION add(a integer, b short DEFAULT 'x') RETURNS mood LANGUAGE sql AS 'SELECT ''fair''::mood'",
            "CREATE AGGREGATE largest(integer) (SFUNC = int4larger, STYPE = integer)",
            "CREATE TABLE \"odd \"\" name\" (id integer GENERATED ALWAYS AS IDENTITY, mood mood)",
            "CREATE TABLE parts (id bigint) PARTITION BY RANGE (id)",
            "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (9)",
        ]
    };
    for stranger in strangers {
        database.execute_unprepared(stranger).await.unwrap();
    }
    database
        .execute_unprepared(
            "INSERT INTO users (id, version, created_at, updated_at, email, name, role, status) VALUES \
             ('018f0000-0000-7000-8000-000000000001', 1, '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z', 'a@b', 'A', \
             'member', 'active')",
        )
        .await
        .unwrap();
    assert_ne!(dump(database).await, schema);
    let steps = fresh(database, true, false).await.unwrap();
    assert_eq!(names(&steps), all(database).await);
    assert_eq!(dump(database).await, schema);
    let empty = database.execute_unprepared("UPDATE users SET name = 'B'").await.unwrap();
    assert_eq!(empty.rows_affected(), 0);
}

async fn refresh_and_reset_go_all_the_way(_: &str, database: &DatabaseConnection) {
    up(database, None).await.unwrap();
    let schema = dump(database).await;
    let count = all(database).await.len();
    assert_eq!(refresh(database, true, false).await.unwrap().len(), 2 * count);
    assert_eq!(dump(database).await, schema);
    assert_eq!(reset(database, true, false).await.unwrap().len(), count);
    assert_eq!(dump(database).await, [""; 0]);
    assert!(database.execute_unprepared("SELECT * FROM seaql_migrations").await.is_err());
}

async fn status_writes_nothing(_: &str, database: &DatabaseConnection) {
    let standings = status(database).await.unwrap();
    assert!(standings.iter().all(|one| one.status == Status::Pending));
    assert!(database.execute_unprepared("SELECT * FROM seaql_migrations").await.is_err());
    up(database, Some(2)).await.unwrap();
    let json = serde_json::to_value(Output::Status(status(database).await.unwrap())).unwrap();
    assert_eq!(json[1], serde_json::json!({"name": "m20261121_000002_create_profiles", "status": "applied"}));
    assert_eq!(json[2]["status"], "pending");
}

async fn a_version_that_is_not_there_is_refused(_: &str, database: &DatabaseConnection) {
    for (version, expected) in [
        ("create_accounts", Some("m20261121_000004_create_accounts")),
        ("m20261121_000004_create_acounts", Some("m20261121_000004_create_accounts")),
        ("creat_acounts", Some("m20261121_000004_create_accounts")),
        ("m2026", Some("m20261121_000001_create_users")),
        ("x", None),
        ("", None),
    ] {
        let error = to(database, version, true, false).await.unwrap_err();
        let MigrateError::UnknownVersion { near, .. } = &error else { panic!("{error}") };
        assert_eq!(near.first().map(String::as_str), expected, "{error}");
    }
    assert_eq!(applied(database).await, [""; 0]);
}

async fn a_migration_that_fails_is_named(_: &str, database: &DatabaseConnection) {
    database.execute_unprepared("CREATE TABLE settings (id text)").await.unwrap();
    let error = up(database, None).await.unwrap_err();
    let MigrateError::Step { name, completed, .. } = &error else { panic!("{error}") };
    assert_eq!(name, "m20261121_000003_create_settings");
    assert_eq!(completed.len(), 2);
    assert_eq!(applied(database).await.len(), 2);
}

#[tokio::test]
async fn errors_show_no_password() {
    for url in
        ["postgres://someone:hunter2@127.0.0.1:1/x", "mysql://someone:hunter2@h/x", "postgres://:hunter2", "hunter2"]
    {
        let context = Context { database_url: url, production: false, now: SystemTime::UNIX_EPOCH };
        assert!(!format!("{context:?}").contains("hunter2"));
        let error = run(MigrateCommand::Status, &context).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

const LIST: &str = "//! History.

mod convention;
mod m20260101_000001_first;

pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20260101_000001_first::Migration), // [not the end]
        ]
    }
}

pub fn others() -> Vec<u8> {
    vec![
        1,
    ]
}
";

fn generated(list: &str, name: &str) -> Result<(String, BTreeMap<String, String>), MigrateError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lib.rs"), list).unwrap();
    let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_780_000_000);
    let outcome = generate(name, folder.path(), now);
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        files.insert(entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap());
    }
    match outcome {
        Ok(generated) => Ok((generated.name, files)),
        Err(error) => {
            assert_eq!(files, BTreeMap::from([("lib.rs".to_owned(), list.to_owned())]), "something was written");
            Err(error)
        }
    }
}

#[test]
fn generate_adds_two_lines_and_touches_nothing_else() {
    let (name, files) = generated(LIST, "add  big-things").unwrap();
    assert_eq!(name, "m20260528_202640_add_big_things");
    assert_eq!(files.len(), 2);
    assert!(files["m20260528_202640_add_big_things.rs"].contains("impl MigrationTrait for Migration"));
    let expected = LIST
        .replace("mod m20260101_000001_first;\n", "mod m20260101_000001_first;\nmod m20260528_202640_add_big_things;\n")
        .replace(
            "// [not the end]\n",
            "// [not the end]\n            Box::new(m20260528_202640_add_big_things::Migration),\n",
        );
    assert_eq!(files["lib.rs"], expected);
}

#[test]
fn generate_finds_its_place_in_other_layouts() {
    let element = "Box::new(m20260528_202640_x::Migration)";
    let one = LIST.replace("::Migration), // [", "::Migration) // [");
    let (_, files) = generated(&one, "x").unwrap();
    assert!(files["lib.rs"].contains(&format!("first::Migration), // [not the end]\n            {element},\n")));

    let start = LIST.find("vec![").unwrap();
    let end = start + LIST[start..].find("        ]").unwrap();
    let empty = format!("{}vec![{}", &LIST[..start], &LIST[end + 8..]);
    let (_, files) = generated(&empty, "x").unwrap();
    assert!(files["lib.rs"].contains(&format!("        vec![{element}]\n")), "{}", files["lib.rs"]);

    let single = empty.replacen("vec![", "vec![Box::new(m20260101_000001_first::Migration)", 1);
    let (_, files) = generated(&single, "x").unwrap();
    assert!(files["lib.rs"].contains(&format!("first::Migration), {element}]\n")), "{}", files["lib.rs"]);

    let none = LIST.replace("fn migrations(", "fn history(");
    assert!(matches!(generated(&none, "x"), Err(MigrateError::Layout { .. })));
}

#[test]
fn generate_never_sorts_before_the_latest() {
    let ahead = LIST.replace("m20260101_000001_first", "m20990101_000009_first");
    assert_eq!(generated(&ahead, "x").unwrap().0, "m20990101_000010_x");
}

#[test]
fn generate_refuses_names_that_are_none() {
    for name in ["", " ", "_", "1", "Users", "a/b", "../a", "a.rs", "a;b", "é", "a\nb"] {
        assert!(matches!(generated(LIST, name), Err(MigrateError::Name { .. })), "{name:?}");
    }
}

#[test]
fn generate_enters_the_real_list() {
    let list = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../migration/src/lib.rs")).unwrap();
    let (name, files) = generated(&list, "add things").unwrap();
    let added: Vec<_> = files["lib.rs"].lines().filter(|line| line.contains(&name)).collect();
    assert_eq!(added, [format!("mod {name};"), format!("            Box::new({name}::Migration),")]);
    let rest: Vec<_> = files["lib.rs"].lines().filter(|line| !line.contains(&name)).collect();
    assert_eq!(rest, list.lines().collect::<Vec<_>>());
}

#[test]
fn reports_have_a_shape_for_programs() {
    let step = Step { name: "m1".to_owned(), direction: Direction::Up, duration_ms: 7 };
    let json = serde_json::to_value(Output::Steps(vec![step])).unwrap();
    assert_eq!(json, serde_json::json!([{"name": "m1", "direction": "up", "duration_ms": 7}]));
    let standing = Standing { name: "m1".to_owned(), status: Status::Pending };
    let json = serde_json::to_value(Output::Status(vec![standing])).unwrap();
    assert_eq!(json, serde_json::json!([{"name": "m1", "status": "pending"}]));
}
