//! The history of the schema goes up, down and up again on both databases without leaving a trace.

use std::{collections::BTreeMap, fs, future::pending, time::SystemTime};

use api::{
    command::migrate::{
        Authority, Consent, Context, Database, Direction, MigrateCommand, MigrateError, Options, Output, Overview,
        Problem, Standing, Status, Step, StepStatus, down, fresh, generate, refresh, reset, run, status, to, up,
    },
    schema::Schema,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend};
use tests::{
    PATIENCE,
    app::{Launch, migrator},
};

const UNCONFIRMED: Consent<'_> = Consent { yes: false, meant: None, production: false, never: false };
const YES: Consent<'_> = Consent { yes: true, ..UNCONFIRMED };

async fn connect(url: &str) -> Database {
    api::command::migrate::connect(url, &options()).await.unwrap()
}

fn options() -> Options {
    Options { connect_timeout: PATIENCE, ..Options::default() }
}

fn context<'a>(database_url: &'a str, consent: Consent<'a>) -> Context<'a> {
    Context {
        database_url,
        authority: Authority::default(),
        options: options(),
        folder: "nowhere".into(),
        consent,
        now: SystemTime::UNIX_EPOCH,
    }
}

fn overview(standings: Vec<Standing>) -> Overview {
    Overview { standings, refusals: Vec::new() }
}

/// Runs a test on a SQLite file of its own.
async fn on_sqlite(test: impl AsyncFn(&str, &Database)) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("in/a/new/folder/test.sqlite").display());
    let database = connect(&url).await;
    test(&url, &database).await;
    database.close().await;
}

/// Runs a test on a database of its own on a PostgreSQL server.
async fn on_postgres(server: &str, test: impl AsyncFn(&str, &Database)) {
    let administration = connect(server).await;
    let name = format!("migration_{:016x}", rand::random::<u64>());
    administration.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(&name);
    let database = connect(url.as_str()).await;
    test(url.as_str(), &database).await;
    database.close().await;
    administration.execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
    administration.close().await;
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
    what_loses_data_must_be_permitted
    fresh_drops_whatever_is_there
    refresh_and_reset_go_all_the_way
    status_writes_nothing
    a_version_that_is_not_there_is_refused
    a_migration_that_fails_is_named
    the_verbs_of_sea_orm_cli_have_the_same_history
}

/// The whole schema, but for the tables of the migrations.
pub(crate) async fn dump(database: &DatabaseConnection) -> Schema {
    Schema::read(database)
        .await
        .unwrap()
        .without_tables(|name| name.contains("seaql_migrations") || name == "_backfills")
}

async fn has_avatar(database: &DatabaseConnection) -> bool {
    database.execute_unprepared("SELECT avatar FROM users").await.is_ok()
}

async fn applied(database: &Database) -> Vec<String> {
    let standings = status(database).await.unwrap();
    standings.into_iter().filter(|one| one.status == Status::Applied).map(|one| one.name).collect()
}

async fn all(database: &Database) -> Vec<String> {
    status(database).await.unwrap().into_iter().map(|one| one.name).collect()
}

fn names(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.name.as_str()).collect()
}

async fn every_migration_leaves_no_trace(_: &str, database: &Database) {
    let mut before = dump(database).await;
    assert_eq!(before, Schema::default());
    for name in all(database).await {
        let there = up(database, Some(1)).await.unwrap();
        assert_eq!((names(&there), there[0].direction), (vec![name.as_str()], Direction::Up));
        let after = dump(database).await;
        assert_ne!(after, before, "{name} changes nothing");

        let back = down(database, Some(1), YES).await.unwrap();
        assert_eq!((names(&back), back[0].direction), (vec![name.as_str()], Direction::Down));
        assert_eq!(dump(database).await, before, "{name} leaves something behind");

        up(database, Some(1)).await.unwrap();
        assert_eq!(dump(database).await, after, "{name} is another one the second time");
        before = after;
    }
    down(database, None, YES).await.unwrap();
    assert_eq!(dump(database).await, Schema::default());
    up(database, None).await.unwrap();
    assert_eq!(dump(database).await, before);
}

async fn the_avatar_comes_and_goes(_: &str, database: &Database) {
    to(database, "m20261121_000011", UNCONFIRMED).await.unwrap();
    assert!(!has_avatar(database).await);
    let without = dump(database).await;
    let steps = to(database, "m20261121_000012_add_avatar_to_users", UNCONFIRMED).await.unwrap();
    assert_eq!(names(&steps), ["m20261121_000012_add_avatar_to_users"]);
    assert!(has_avatar(database).await);
    let refused = to(database, "m20261121_000011", UNCONFIRMED).await.unwrap_err();
    assert!(matches!(refused, MigrateError::NotConfirmed { .. }), "{refused}");
    to(database, "m20261121_000011", YES).await.unwrap();
    assert!(!has_avatar(database).await);
    assert_eq!(dump(database).await, without);
}

async fn to_stops_exactly_there(_: &str, database: &Database) {
    let all = all(database).await;
    for target in [4, 9, 9, 2, all.len() - 1, 0] {
        to(database, &all[target], YES).await.unwrap();
        assert_eq!(applied(database).await, all[..=target]);
    }
    // A gap below what is applied is not filled, and then nothing above goes either.
    to(database, &all[10], YES).await.unwrap();
    let forget = format!("DELETE FROM seaql_migrations WHERE version = '{}'", all[3]);
    database.execute_unprepared(&forget).await.unwrap();
    let refused = to(database, &all[9], YES).await.unwrap_err();
    let MigrateError::Refused { problems } = refused else { panic!("{refused}") };
    assert_eq!(problems, [(all[3].clone(), Problem::OutOfOrder { after: all[10].clone() })]);
    assert_eq!(applied(database).await.len(), 10);
    // It is filled where it is the last.
    to(database, &all[2], YES).await.unwrap();
    to(database, &all[3], YES).await.unwrap_err();
}

async fn a_second_up_does_nothing(url: &str, database: &Database) {
    let steps = up(database, None).await.unwrap();
    assert_eq!(names(&steps), all(database).await);
    let schema = dump(database).await;
    assert_eq!(up(database, None).await.unwrap(), []);
    assert_eq!(dump(database).await, schema);

    let output = run(MigrateCommand::Up { number: None, despite_lint: false }, &context(url, UNCONFIRMED), pending())
        .await
        .unwrap();
    assert_eq!(serde_json::to_string(&output).unwrap(), "[]");
    assert_eq!(output.to_string(), "nothing to do");
}

async fn what_loses_data_must_be_permitted(url: &str, database: &Database) {
    up(database, None).await.unwrap();
    let schema = dump(database).await;
    let first = all(database).await.remove(0);
    let verbs = [
        MigrateCommand::Down { number: 1, forget_irreversible: false },
        MigrateCommand::To { version: first.clone(), despite_lint: false, forget_irreversible: false },
        MigrateCommand::Fresh,
        MigrateCommand::Refresh,
        MigrateCommand::Reset { forget_irreversible: false },
    ];
    let production = Consent { production: true, ..YES };
    let other = Consent { meant: Some("another"), ..YES };
    for verb in verbs {
        for (consent, expected) in [
            (UNCONFIRMED, "add --yes if"),
            (production, "add --yes-i-mean"),
            (other, "not \"another\""),
            (Consent { production: true, ..other }, "not \"another\""),
        ] {
            let error = run(verb.clone(), &context(url, consent), pending()).await.unwrap_err().to_string();
            assert!(error.contains("loses data") && error.contains(expected), "{error}");
        }
    }
    assert!(down(database, Some(1), production).await.is_err());
    assert!(to(database, &first, production).await.is_err());
    assert!(fresh(database, production).await.is_err());
    assert!(refresh(database, production).await.is_err());
    assert!(reset(database, production).await.is_err());
    assert_eq!(dump(database).await, schema);
    let meant = Consent { meant: Some(database.name()), production: true, ..UNCONFIRMED };
    assert_eq!(down(database, Some(1), meant).await.unwrap().len(), 1);
    assert_eq!(refresh(database, Consent { production: false, ..meant }).await.unwrap().len(), 29);
}

async fn fresh_drops_whatever_is_there(_: &str, database: &Database) {
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
    let steps = fresh(database, YES).await.unwrap();
    assert_eq!(names(&steps), all(database).await);
    assert_eq!(dump(database).await, schema);
    let empty = database.execute_unprepared("UPDATE users SET name = 'B'").await.unwrap();
    assert_eq!(empty.rows_affected(), 0);
}

async fn refresh_and_reset_go_all_the_way(_: &str, database: &Database) {
    up(database, None).await.unwrap();
    let schema = dump(database).await;
    let count = all(database).await.len();
    assert_eq!(refresh(database, YES).await.unwrap().len(), 2 * count);
    assert_eq!(dump(database).await, schema);
    assert_eq!(reset(database, YES).await.unwrap().len(), count);
    assert_eq!(dump(database).await, Schema::default());
    assert!(database.execute_unprepared("SELECT * FROM seaql_migrations").await.is_err());
}

async fn status_writes_nothing(_: &str, database: &Database) {
    let standings = status(database).await.unwrap();
    assert!(standings.iter().all(|one| one.status == Status::Pending));
    assert!(database.execute_unprepared("SELECT * FROM seaql_migrations").await.is_err());
    up(database, Some(2)).await.unwrap();
    let json = serde_json::to_value(Output::Status(overview(status(database).await.unwrap()))).unwrap();
    assert_eq!(json[1]["name"], "m20261121_000002_create_profiles");
    assert_eq!(json[1]["status"], "applied");
    assert_eq!(json[2]["status"], "pending");
}

async fn a_version_that_is_not_there_is_refused(_: &str, database: &Database) {
    for (version, expected) in [
        ("create_accounts", Some("m20261121_000004_create_accounts")),
        ("m20261121_000004_create_acounts", Some("m20261121_000004_create_accounts")),
        ("creat_acounts", Some("m20261121_000004_create_accounts")),
        ("m2026", Some("m20261121_000001_create_users")),
        ("zz", None),
        ("", None),
    ] {
        let error = to(database, version, YES).await.unwrap_err();
        let MigrateError::UnknownVersion { near, .. } = &error else { panic!("{error}") };
        assert_eq!(near.first().map(String::as_str), expected, "{error}");
    }
    assert_eq!(applied(database).await, [""; 0]);
}

async fn a_migration_that_fails_is_named(_: &str, database: &Database) {
    database.execute_unprepared("CREATE TABLE settings (id text)").await.unwrap();
    let error = up(database, None).await.unwrap_err();
    let MigrateError::Step { name, completed, .. } = &error else { panic!("{error}") };
    assert_eq!(name, "m20261121_000003_create_settings");
    assert_eq!(completed.len(), 2);
    assert_eq!(applied(database).await.len(), 2);
}

/// Calls what `sea-orm-cli migrate` calls, with its arguments.
async fn sea_orm_cli(url: &str, arguments: &[&str]) -> String {
    let output = Launch::of(migrator()).environment(&[("DATABASE_URL", url)]).run(arguments).await;
    assert_eq!(output.code(), Some(0), "{arguments:?}: {}{}", output.stdout, output.stderr);
    output.stdout
}

async fn the_verbs_of_sea_orm_cli_have_the_same_history(url: &str, database: &Database) {
    let all = all(database).await;
    let pending = sea_orm_cli(url, &["status"]).await;
    assert_eq!(pending.matches("Pending").count(), all.len(), "{pending}");
    let mut schemas = BTreeMap::new();
    for (arguments, count) in [
        (&["up", "-n", "2"][..], 2),
        (&["up"], 15),
        (&["down"], 14),
        (&["down", "-n", "4"], 10),
        (&["refresh"], 15),
        (&["reset"], 0),
        (&["up", "-n", "8"], 8),
        (&["fresh"], 15),
        (&["down", "-n", "11"], 4),
        // Without a verb, it is `up`.
        (&[], 15),
    ] {
        sea_orm_cli(url, arguments).await;
        assert_eq!(applied(database).await, all[..count], "{arguments:?}");
        let schema = dump(database).await;
        assert_eq!(schemas.entry(count).or_insert_with(|| schema.clone()), &schema, "{arguments:?}");
    }
    let done = sea_orm_cli(url, &["status"]).await;
    assert_eq!((done.matches("Applied").count(), done.matches("Pending").count()), (all.len(), 0), "{done}");

    // Either goes on from where the other has left off.
    down(database, Some(5), YES).await.unwrap();
    sea_orm_cli(url, &["up", "-n", "1"]).await;
    assert_eq!(up(database, None).await.unwrap().len(), 4);
    assert_eq!(&dump(database).await, &schemas[&15]);
}

#[tokio::test]
async fn errors_show_no_password() {
    for url in
        ["postgres://someone:hunter2@127.0.0.1:1/x", "mysql://someone:hunter2@h/x", "postgres://:hunter2", "hunter2"]
    {
        let context = context(url, UNCONFIRMED);
        assert!(!format!("{context:?}").contains("hunter2"));
        let error = run(MigrateCommand::Status, &context, pending()).await.unwrap_err();
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
fn generate_writes_what_the_name_says() {
    let written = |name: &str| {
        let (name, files) = generated(LIST, name).unwrap();
        let text = files[&format!("{name}.rs")].clone();
        let (up, down) = text.split_once("async fn down").unwrap();
        (up.to_owned(), down.to_owned())
    };
    let add = |column: &str| format!("Table::alter().table(\"users\").add_column(text_null(\"{column}\"))");
    let drop = |column: &str| format!("Table::alter().table(\"users\").drop_column(\"{column}\")");
    for (name, columns) in [
        ("add avatar to users", vec!["avatar"]),
        ("add_street_and_town_to_users", vec!["street", "town"]),
        ("add-link-to-us-to-users", vec!["link_to_us"]),
    ] {
        let (up, down) = written(name);
        for column in columns {
            assert!(up.contains(&add(column)) && down.contains(&drop(column)), "{up}{down}");
        }
    }
    let (up, down) = written("remove avatar from users");
    assert!(up.contains(&drop("avatar")) && down.contains(&add("avatar")), "{up}{down}");
    let (up, down) = written("create invoices");
    assert!(up.contains("record(\"invoices\")") && down.contains("drop_cached(schema, \"invoices\")"), "{up}{down}");
    for name in ["add avatar", "remove users", "add to users", "tidy up"] {
        assert!(written(name).0.contains("yet to be written"), "{name}");
    }
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

const REAL_LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migration/src/lib.rs");

/// As `sea-orm-cli migrate generate` does it.
#[test]
fn sea_orm_cli_too_enters_a_migration_in_the_real_list() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("src/lib.rs");
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::copy(REAL_LIST, &list).unwrap();
    let mut generate = std::process::Command::new(migrator());
    let output = generate.args(["generate", "add things"]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = fs::read_dir(folder.path().join("src")).unwrap().map(|file| file.unwrap().file_name());
    let name = files.map(|name| name.into_string().unwrap()).find(|name| name != "lib.rs").unwrap();
    let name = name.strip_suffix("_add_things.rs").unwrap().to_owned() + "_add_things";
    let (before, after) = (fs::read_to_string(REAL_LIST).unwrap(), fs::read_to_string(list).unwrap());
    let (added, rest): (Vec<_>, Vec<_>) = after.lines().partition(|line| line.contains(&name));
    assert_eq!(added, [format!("mod {name};"), format!("            Box::new({name}::Migration),")]);
    assert_eq!(rest, before.lines().collect::<Vec<_>>());
}

#[test]
fn generate_enters_the_real_list() {
    let list = fs::read_to_string(REAL_LIST).unwrap();
    let (name, files) = generated(&list, "add things").unwrap();
    let added: Vec<_> = files["lib.rs"].lines().filter(|line| line.contains(&name)).collect();
    assert_eq!(added, [format!("mod {name};"), format!("            Box::new({name}::Migration),")]);
    let rest: Vec<_> = files["lib.rs"].lines().filter(|line| !line.contains(&name)).collect();
    assert_eq!(rest, list.lines().collect::<Vec<_>>());
}

#[test]
fn reports_have_a_shape_for_programs() {
    let step = Step { name: "m1".to_owned(), direction: Direction::Up, duration_ms: 7, status: StepStatus::Applied };
    let json = serde_json::to_value(Output::Steps(vec![step])).unwrap();
    assert_eq!(json, serde_json::json!([{"name": "m1", "direction": "up", "duration_ms": 7, "status": "applied"}]));
    let standing = Standing {
        name: "m1".to_owned(),
        status: Status::Pending,
        problem: None,
        record: None,
        begun: None,
        irreversible: None,
    };
    let json = serde_json::to_value(Output::Status(overview(vec![standing]))).unwrap();
    assert_eq!(json, serde_json::json!([{"name": "m1", "status": "pending"}]));
}
