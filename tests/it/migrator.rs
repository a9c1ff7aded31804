//! Many processes migrate at once, or end in the middle: each migration is applied once, and all of it or nothing. And
//! what is wrong with a history is refused by name.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use api::{
    command::migrate::{
        Consent, Database, MigrateError, Options, Problem, Program, Standing, Status, accept, connect, down, fresh,
        status, to, up,
    },
    schema::Schema,
};
use futures_util::future::join_all;
use migration::{MigrationTrait, Source, SqlMigration};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement, TransactionTrait};
use sea_orm_migration::MigratorTraitSelf;
use tempfile::TempDir;
use tests::{
    PATIENCE, PgBouncer, Signal, Skip, TestApp,
    app::{Launch, migrator},
    eventually,
    ladder::Ladder,
    or_skip, poll,
    postgres::{self, Shared},
    process,
    run::{Run, limit, rounds},
    within,
};

use crate::migration::dump;

const LADDER: &str = env!("CARGO_BIN_EXE_ladder");
pub(crate) const YES: Consent<'_> = Consent { yes: true, meant: None, production: false, never: false };
/// Long enough that it does not run out on a busy machine, where nobody is killed.
pub(crate) const LEASE: &str = "5000";
/// As short as is needed not to wait for those who are.
pub(crate) const SHORT: &str = "600";

/// Where an empty database is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Sqlite,
    Postgres,
    PgBouncer,
}

/// An empty database.
pub(crate) struct Empty {
    pub(crate) url: String,
    pub(crate) server: Option<(Shared, String)>,
    _pooler: Option<PgBouncer>,
    _folder: TempDir,
}

impl Empty {
    pub(crate) async fn at(place: Place) -> Result<Self, Skip> {
        let folder = Run::current().new_folder("migrator-");
        if let Place::Sqlite = place {
            let url = format!("sqlite://{}", folder.path().join("test.sqlite").display());
            return Ok(Self { url, server: None, _pooler: None, _folder: folder });
        }
        let server = postgres::shared().await?;
        let name = format!("migrator_{:016x}", rand::random::<u64>());
        server.execute(format!("CREATE DATABASE {name}")).await;
        let direct = server.url(&name);
        let pooler = match place {
            Place::PgBouncer => Some(PgBouncer::before(server.address()).await?),
            Place::Sqlite | Place::Postgres => None,
        };
        let url = pooler.as_ref().map_or(direct.clone(), |pooler| pooler.url(&direct));
        Ok(Self { url, server: Some((server, name)), _pooler: pooler, _folder: folder })
    }

    /// With these migrations.
    pub(crate) async fn open(&self, options: &Options) -> Database {
        connect(&self.url, options).await.unwrap()
    }

    pub(crate) async fn remove(self) {
        if let Some((server, name)) = &self.server {
            server.execute(format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

/// The same test on SQLite and on PostgreSQL, and through PgBouncer where that is asked for.
macro_rules! on_empty {
    ($(within $limit:expr, $test:ident: $($name:ident at $place:ident),+;)+) => {
        $(mod $test {
            use super::*;

            $(#[test]
            fn $name() {
                within($limit, async {
                    let empty = or_skip!(Empty::at(Place::$place).await);
                    super::$test(&empty).await;
                    empty.remove().await;
                });
            })+
        })+
    };
}

pub(crate) use on_empty;

const MINUTE: Duration = Duration::from_secs(60);

on_empty! {
    within limit(MINUTE), each_migration_is_applied_once: sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within limit(MINUTE), the_bare_library_fails: sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within limit(3 * MINUTE), who_is_killed_leaves_what_can_be_completed:
        sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within MINUTE, services_that_start_at_once_all_serve: sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within 2 * MINUTE, the_lock_of_who_stands_still_is_taken_over: sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within MINUTE, who_has_lost_the_lock_does_not_commit: sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within 2 * MINUTE, a_long_migration_keeps_the_lock: sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within 3 * MINUTE, an_interrupted_migration_is_explained: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, an_edited_migration_is_refused_by_name: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, a_missing_migration_is_refused_by_name: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, a_migration_out_of_order_is_refused_by_name: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, a_duplicate_migration_is_refused_by_name: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, sql_and_rust_have_one_history: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, who_applied_what_is_recorded: sqlite at Sqlite, postgres at Postgres, pgbouncer at PgBouncer;
    within MINUTE, what_sea_orm_cli_did_is_recorded_later: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, the_table_is_configured: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, what_loses_data_can_be_configured: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, nobody_waits_long_behind_a_migration: postgres at Postgres, pgbouncer at PgBouncer;
    within MINUTE, a_migration_that_gets_no_lock_gives_up: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, a_statement_may_not_take_for_ever: postgres at Postgres, pgbouncer at PgBouncer;
}

pub(crate) async fn ladder(runner: &str, ladder: &str, url: &str, lease: &str) -> tests::Output {
    Launch::of(LADDER).run(&[runner, ladder, url, lease]).await
}

/// How often each step of the race was taken, as it counted itself.
async fn counts(database: &DatabaseConnection) -> Vec<i64> {
    column(database, "SELECT n FROM rungs ORDER BY id").await
}

pub(crate) async fn column<T: sea_orm::TryGetable>(database: &DatabaseConnection, sql: &str) -> Vec<T> {
    let rows = database.query_all_raw(Statement::from_string(database.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

/// Everything gone, as if the database were new.
pub(crate) async fn emptied(empty: &Empty) -> Database {
    let nothing = Options { program: Program { migrations: Vec::new, source: |_, _| None }, ..Options::default() };
    let database = empty.open(&nothing).await;
    fresh(&database, YES).await.unwrap();
    for table in ["seaql_migrations", "_seaql_migrations_lock", "_seaql_migrations_log"] {
        database.execute_unprepared(&format!("DROP TABLE IF EXISTS {table}")).await.unwrap();
    }
    database
}

async fn each_migration_is_applied_once(empty: &Empty) {
    let names: Vec<_> = Ladder::Race.migrations().iter().map(|one| one.name().to_owned()).collect();
    for processes in [2, 4, 8, 16] {
        for _ in 0..rounds(2, 50) {
            let database = emptied(empty).await;
            let racers = (0..processes).map(|_| ladder("ours", "race", &empty.url, LEASE));
            let outputs = join_all(racers).await;
            let mut taken = Vec::new();
            for output in &outputs {
                assert_eq!(output.code(), Some(0), "{processes}: {}", output.stderr);
                taken.extend(output.stdout.lines().map(str::to_owned));
            }
            taken.sort_by_key(|name| name.trim_start_matches('m').to_owned());
            assert_eq!(taken, names, "{processes}");
            assert_eq!(counts(&database).await, [1, 1, 1], "{processes}");
            let history = column::<String>(&database, "SELECT version FROM seaql_migrations ORDER BY version").await;
            assert_eq!(history.len(), names.len(), "{processes}");
            database.close().await;
        }
    }
}

/// The test above sees what it is there to see.
async fn the_bare_library_fails(empty: &Empty) {
    // Without a lock they may also wait for each other, for longer than anybody would.
    const ENOUGH: Duration = Duration::from_secs(15);

    let rounds = rounds(3, 20);
    for _ in 0..rounds {
        let database = emptied(empty).await;
        let mut running = (0..8).map(|_| Running::start("bare", "race", &empty.url, LEASE)).collect::<Vec<_>>();
        let ends = running.iter_mut().map(|process| poll(ENOUGH, async || process.0.try_wait().unwrap()));
        let ends = join_all(ends).await;
        drop(running);
        let is_right = ends.iter().all(|end| end.is_some_and(|status| status.success()))
            && database.execute_unprepared("SELECT n FROM rungs").await.is_ok()
            && counts(&database).await == [1, 1, 1];
        database.close().await;
        if !is_right {
            return;
        }
    }
    panic!("the bare library was right {rounds} times");
}

/// A process that does not outlive the test.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn ladder(ladder: &str, url: &str, lease: &str) -> Self {
        Self::start("ours", ladder, url, lease)
    }

    fn start(runner: &str, ladder: &str, url: &str, lease: &str) -> Self {
        let mut command = process::command(Path::new(LADDER), None, "KILL");
        command.args([runner, ladder, url, lease]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(process::spawn(command).unwrap())
    }

    pub(crate) async fn end(&mut self) -> Option<i32> {
        eventually("it ends", PATIENCE, async || self.0.try_wait().unwrap()).await.code()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.0.id(), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// All that there is: the schema and what is in the tables.
async fn everything(database: &DatabaseConnection) -> (Schema, Vec<String>, Vec<String>) {
    let rows =
        "SELECT CAST(id AS text) || ' ' || batch || ' ' || n || ' ' || CAST(moved AS text) FROM items ORDER BY id";
    let history = "SELECT version FROM seaql_migrations ORDER BY version";
    (dump(database).await, column(database, rows).await, column(database, history).await)
}

async fn who_is_killed_leaves_what_can_be_completed(empty: &Empty) {
    let database = emptied(empty).await;
    let started = Instant::now();
    assert_eq!(ladder("ours", "long", &empty.url, LEASE).await.code(), Some(0));
    let duration = started.elapsed();
    let expected = everything(&database).await;
    database.close().await;
    let mut stood = BTreeMap::new();
    for round in 0..rounds(20, 200) {
        let database = emptied(empty).await;
        let mut killed = Running::ladder("long", &empty.url, SHORT);
        tokio::time::sleep(duration.mul_f64(rand::random_range(0.0..1.0))).await;
        killed.signal(Signal::KILL);
        killed.end().await;
        let looker = empty.open(&Ladder::Long.options(PATIENCE)).await;
        let standings = status(&looker).await.unwrap();
        assert!(standings.iter().all(|one| one.problem.is_none()), "{round}: {standings:?}");
        let applied = standings.iter().filter(|one| one.status == Status::Applied).count();
        *stood.entry((applied, standings.iter().any(|one| one.begun.is_some()))).or_insert(0) += 1;
        looker.close().await;
        let output = ladder("ours", "long", &empty.url, LEASE).await;
        assert_eq!(output.code(), Some(0), "{round}, after {applied}: {}", output.stderr);
        assert!(everything(&database).await == expected, "{round}, after {applied}: another schema, or other data");
        database.close().await;
    }
    println!("killed when so many were applied, and one had begun: {stood:?}");
    assert!(stood.len() > 1, "killed always at the same moment: {stood:?}");
}

/// Real services, which migrate when they start.
async fn services_that_start_at_once_all_serve(empty: &Empty) {
    let environment = [("DATABASE_URL", empty.url.as_str()), ("MIGRATE_ON_START", "always")];
    let mut services = join_all((0..4).map(|_| Launch::default().environment(&environment).start())).await;
    let output = TestApp::run(&["migrate", "status", "--json"], &environment).await;
    for standing in output.json().as_array().unwrap() {
        assert_eq!((&standing["status"], standing.get("problem")), (&"applied".into(), None), "{standing}");
    }
    let applied = services.iter().filter(|service| service.output().contains("the schema was made migrations=13"));
    println!("{} of them applied all", applied.count());
    for service in &mut services {
        assert!(service.stop().await.success());
    }
}

/// Its process is there and does nothing; when it goes on, others have the lock, and it must not.
async fn the_lock_of_who_stands_still_is_taken_over(empty: &Empty) {
    let database = emptied(empty).await;
    let looker = empty.open(&Ladder::Long.options(PATIENCE)).await;
    for migration in ["m20260101_000002_fill_items", "m20260101_000003_move_items"] {
        let database = emptied(empty).await;
        let mut still = Running::ladder("long", &empty.url, SHORT);
        eventually("it is in the middle", PATIENCE, async || {
            let standings = status(&looker).await.unwrap();
            standings.iter().any(|one| one.name == migration && one.begun.is_some()).then_some(())
        })
        .await;
        still.signal(Signal::STOP);
        if empty.server.is_none() {
            // SQLite's own lock cannot be taken from a process that is there, and ends with its transaction.
            let is_free = async || database.execute_unprepared("BEGIN IMMEDIATE; ROLLBACK").await.is_ok();
            if !is_free().await {
                still.signal(Signal::CONT);
            }
        }
        let output = ladder("ours", "long", &empty.url, LEASE).await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
        let done = everything(&database).await;
        assert_eq!(done.1.len(), 60);
        assert!(done.1.iter().all(|row| row.ends_with("true") || row.ends_with('1')), "{:?}", done.1);
        still.signal(Signal::CONT);
        still.end().await;
        assert!(everything(&database).await == done, "who stood still went on");
        database.close().await;
    }
    looker.close().await;
    database.close().await;
}

fn begun<'a>(standings: &'a [Standing], name: &str) -> &'a Standing {
    standings.iter().find(|one| one.name == name && one.begun.is_some()).unwrap_or_else(|| panic!("{standings:?}"))
}

/// Others take the lock while a migration is under way, as they may when its holder could not renew it: it says so itself.
async fn who_has_lost_the_lock_does_not_commit(empty: &Empty) {
    const LOSE: &str = "CREATE TABLE lost (id bigint); UPDATE _seaql_migrations_lock SET holder = 'another';";
    const LOST: &[SqlMigration] = &[SqlMigration::new("20260101_000009_lost", &[("up.sql", LOSE)])];
    const BARE: &str = "-- no transaction\nUPDATE _seaql_migrations_lock SET holder = 'another', until = 0;";
    const LOST_BARE: &[SqlMigration] = &[SqlMigration::new("20260101_000009_lost", &[("up.sql", BARE)])];
    let options = race(|| migration::among(Ladder::Race.migrations(), LOST), source);
    for options in [options, race(|| migration::among(Ladder::Race.migrations(), LOST_BARE), source)] {
        let database = empty.open(&options).await;
        let error = up(&database, None).await.unwrap_err();
        let MigrateError::LockLost { name, .. } = &error else { panic!("{error}") };
        assert_eq!(name, "20260101_000009_lost");
        assert!(database.execute_unprepared("SELECT * FROM lost").await.is_err());
        let standings = status(&database).await.unwrap();
        let last = standings.last().unwrap();
        assert_eq!((last.name.as_str(), last.status), (name.as_str(), Status::Pending));
        assert!(standings[..5].iter().all(|one| one.status == Status::Applied), "{standings:?}");
        database.close().await;
    }
    assert_eq!(ladder("ours", "race", &empty.url, LEASE).await.code(), Some(0));
}

/// Longer than the lock would hold if it were not renewed, with another process waiting for it.
async fn a_long_migration_keeps_the_lock(empty: &Empty) {
    let database = emptied(empty).await;
    let started = Instant::now();
    let outputs = join_all((0..2).map(|_| ladder("ours", "slow", &empty.url, "1000"))).await;
    assert!(started.elapsed() > Duration::from_millis(2500), "{:?}", started.elapsed());
    for output in &outputs {
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
    }
    let taken = outputs.iter().map(|output| output.stdout.lines().count()).collect::<Vec<_>>();
    assert_eq!(taken.iter().sum::<usize>(), 3, "{taken:?}");
    assert!(taken.contains(&0), "one of them did all: {taken:?}");
    let moved = "SELECT count(*) FROM items WHERE n = batch + 1";
    assert_eq!(column::<i64>(&database, moved).await, [250]);
    database.close().await;
}

async fn an_interrupted_migration_is_explained(empty: &Empty) {
    let options = Ladder::Slow.options(PATIENCE);
    for (migration, is_partial) in [("m20260101_000002_fill_items", false), ("m20260101_000003_move_items", true)] {
        for signal in [Signal::INT, Signal::KILL] {
            let database = emptied(empty).await;
            let looker = empty.open(&options).await;
            let mut ended = Running::ladder("slow", &empty.url, SHORT);
            // That it is running is known by its lease, which a busy machine may renew a little late.
            eventually("it is in the middle", PATIENCE, async || {
                let standings = status(&looker).await.unwrap();
                let is_running = |one: &Standing| one.begun.as_ref().is_some_and(|begun| begun.is_running);
                standings.iter().any(|one| one.name == migration && is_running(one)).then_some(())
            })
            .await;
            ended.signal(signal);
            ended.end().await;
            eventually("that it ended is known", PATIENCE, async || {
                let standings = status(&looker).await.unwrap();
                let begun = begun(&standings, migration).begun.clone().unwrap();
                assert_eq!(begun.is_partial, is_partial);
                let says = begun.to_string();
                (!begun.is_running).then(|| assert!(says.contains("interrupted") && says.contains("again"), "{says}"))
            })
            .await;
            assert_eq!(ladder("ours", "slow", &empty.url, LEASE).await.code(), Some(0));
            let standings = status(&looker).await.unwrap();
            assert!(standings.iter().all(|one| one.status == Status::Applied && one.begun.is_none()), "{standings:?}");
            looker.close().await;
            database.close().await;
        }
    }
}

/// The race, in other versions of the program.
fn race(migrations: fn() -> Vec<Box<dyn MigrationTrait>>, source: fn(&str, DbBackend) -> Option<Source>) -> Options {
    Options { program: Program { migrations, source }, ..Ladder::Race.options(Duration::from_secs(2)) }
}

fn source(name: &str, backend: DbBackend) -> Option<Source> {
    (Ladder::Race.options(PATIENCE).program.source)(name, backend)
}

fn edited(name: &str, backend: DbBackend) -> Option<Source> {
    let mut source = source(name, backend)?;
    if ["m20260101_000002_count", "20260101_000004_add_label"].contains(&name) {
        source.text = "SELECT 1;";
    }
    Some(source)
}

async fn problems(database: &Database) -> Vec<(String, Problem)> {
    let error = up(database, None).await.unwrap_err();
    let MigrateError::Refused { problems } = error else { panic!("{error}") };
    let standings = status(database).await.unwrap();
    let told = standings.into_iter().filter_map(|one| Some((one.name, one.problem?))).collect::<Vec<_>>();
    assert_eq!(told, problems);
    problems
}

async fn an_edited_migration_is_refused_by_name(empty: &Empty) {
    let database = empty.open(&Ladder::Race.options(PATIENCE)).await;
    up(&database, Some(4)).await.unwrap();
    database.close().await;
    let database = empty.open(&race(|| Ladder::Race.migrations(), edited)).await;
    let variant = if empty.server.is_some() { "up.postgres.sql" } else { "up.sqlite.sql" };
    let sql = format!("migration/sql/20260101_000004_add_label/{variant}");
    let found = problems(&database).await;
    assert_eq!(
        found,
        [
            (
                "m20260101_000002_count".to_owned(),
                Problem::Edited { file: "ladder/m20260101_000002_count.rs".to_owned() }
            ),
            ("20260101_000004_add_label".to_owned(), Problem::Edited { file: sql.clone() }),
        ]
    );
    assert!(found[1].1.to_string().contains(&sql) && found[1].1.to_string().contains("migrate accept"));
    assert_eq!(counts(&database).await, [1, 1, 0]);

    // It is taken for what was applied, or it is rolled back.
    let refused = accept(&database, "m20260101_000001").await.unwrap_err();
    assert!(matches!(refused, MigrateError::NotEdited { .. }), "{refused}");
    accept(&database, "m20260101_000002").await.unwrap();
    assert_eq!(problems(&database).await.len(), 1);
    down(&database, Some(1), YES).await.unwrap();
    up(&database, None).await.unwrap();
    assert_eq!(counts(&database).await, [1, 1, 1]);
    database.close().await;
}

async fn a_missing_migration_is_refused_by_name(empty: &Empty) {
    let database = empty.open(&Ladder::Race.options(PATIENCE)).await;
    up(&database, Some(3)).await.unwrap();
    database.close().await;
    let without = || {
        let mut migrations = Ladder::Race.migrations();
        migrations.remove(1);
        migrations
    };
    let database = empty.open(&race(without, source)).await;
    assert_eq!(problems(&database).await, [("m20260101_000002_count".to_owned(), Problem::Missing)]);
    let refused = down(&database, Some(1), YES).await.unwrap_err();
    assert!(matches!(refused, MigrateError::Refused { .. }), "{refused}");
    database.close().await;
}

async fn a_migration_out_of_order_is_refused_by_name(empty: &Empty) {
    let without = || {
        let mut migrations = Ladder::Race.migrations();
        migrations.remove(1);
        migrations
    };
    let database = empty.open(&race(without, source)).await;
    up(&database, Some(2)).await.unwrap();
    database.close().await;
    let database = empty.open(&Ladder::Race.options(PATIENCE)).await;
    let after = "m20260101_000003_count_without_a_transaction".to_owned();
    assert_eq!(problems(&database).await, [("m20260101_000002_count".to_owned(), Problem::OutOfOrder { after })]);
    assert_eq!(counts(&database).await, [0, 1, 0]);
    // As it says: back to before it, and then on.
    to(&database, "m20260101_000001", YES).await.unwrap();
    up(&database, None).await.unwrap();
    assert_eq!(counts(&database).await, [1, 1, 1]);
    database.close().await;
}

async fn a_duplicate_migration_is_refused_by_name(empty: &Empty) {
    const TWIN: &[SqlMigration] = &[SqlMigration::new("20260101_000003_other", &[("up.sql", "SELECT 1")])];
    let twice = || migration::among(Ladder::Race.migrations(), TWIN);
    let database = empty.open(&race(twice, source)).await;
    let error = up(&database, None).await.unwrap_err();
    let MigrateError::Refused { problems } = &error else { panic!("{error}") };
    assert_eq!(problems.len(), 1, "{error}");
    assert!(matches!(problems[0].1, Problem::Duplicate { .. }) && error.to_string().contains("20260101_000003_other"));
    assert!(database.execute_unprepared("SELECT * FROM rungs").await.is_err());
    database.close().await;
}

async fn sql_and_rust_have_one_history(empty: &Empty) {
    let names: Vec<_> = Ladder::Race.migrations().iter().map(|one| one.name().to_owned()).collect();
    assert_eq!(names[3], "20260101_000004_add_label");
    let database = empty.open(&Ladder::Race.options(PATIENCE)).await;
    let labels = async || database.execute_unprepared("SELECT label FROM rungs").await.is_ok();
    let before = async || {
        to(&database, "m20260101_000003", YES).await.unwrap();
        dump(&database).await
    };
    let without = before().await;
    let steps = up(&database, Some(1)).await.unwrap();
    assert_eq!(steps[0].name, "20260101_000004_add_label");
    assert!(labels().await);
    assert_eq!(before().await, without);
    assert!(!labels().await);

    // The bare library runs them from the same list, and either goes on from where the other left off.
    MigratorTraitSelf::up(&Ladder::Race, &*database, Some(1)).await.unwrap();
    assert!(labels().await);
    assert_eq!(up(&database, None).await.unwrap().len(), 1);
    assert_eq!(counts(&database).await, [1, 1, 1]);
    MigratorTraitSelf::down(&Ladder::Race, &*database, Some(2)).await.unwrap();
    assert!(!labels().await);

    // Without a way back, there is none.
    const ONE_WAY: &[SqlMigration] = &[SqlMigration::new("20260101_000009_one_way", &[("up.sql", "SELECT 1;")])];
    let options = race(|| migration::among(Ladder::Race.migrations(), ONE_WAY), source);
    let database = empty.open(&options).await;
    up(&database, None).await.unwrap();
    let error = down(&database, Some(2), YES).await.unwrap_err();
    let MigrateError::Irreversible { irreversible } = error else { panic!("{error}") };
    let [(name, reason)] = &irreversible[..] else { panic!("{irreversible:?}") };
    assert!(name == "20260101_000009_one_way" && reason.contains("no down.sql"), "{reason}");
    database.close().await;
}

async fn who_applied_what_is_recorded(empty: &Empty) {
    let environment = [("DATABASE_URL", empty.url.as_str())];
    assert_eq!(TestApp::run(&["migrate", "up"], &environment).await.code(), Some(0));
    let output = TestApp::run(&["migrate", "status", "--json"], &environment).await;
    for standing in output.json().as_array().unwrap() {
        let record = &standing["record"];
        assert_eq!(record["database_user"].as_str(), empty.server.is_some().then_some("postgres"), "{standing}");
        assert!(record["duration_ms"].as_i64().unwrap() < 60_000, "{standing}");
        assert!(record["program"].as_str().unwrap().starts_with("seabed "), "{standing}");
        assert_eq!(record["checksum"].as_str().unwrap().len(), 64, "{standing}");
        for field in ["os_user", "host", "started_at"] {
            assert_ne!(record[field].as_str().unwrap(), "", "{standing}");
        }
    }
    let text = TestApp::run(&["migrate", "status"], &environment).await.stdout;
    assert!(text.contains("15 applied, 0 pending") && text.contains(" ms, "), "{text}");
}

async fn what_sea_orm_cli_did_is_recorded_later(empty: &Empty) {
    let database = empty.open(&Ladder::Race.options(PATIENCE)).await;
    MigratorTraitSelf::up(&Ladder::Race, &*database, None).await.unwrap();
    let standings = status(&database).await.unwrap();
    assert!(standings.iter().all(|one| one.record.is_none() && one.problem.is_none()), "{standings:?}");
    assert_eq!(up(&database, None).await.unwrap(), []);
    let standings = status(&database).await.unwrap();
    assert!(standings.iter().all(|one| one.record.as_ref().unwrap().is_adopted), "{standings:?}");
    database.close().await;
    let database = empty.open(&race(|| Ladder::Race.migrations(), edited)).await;
    assert_eq!(problems(&database).await.len(), 2);
    // What another program rolled back and applied anew is what it is now. The history counts in seconds.
    MigratorTraitSelf::down(&Ladder::Race, &*database, None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    MigratorTraitSelf::up(&Ladder::Race, &*database, None).await.unwrap();
    assert_eq!(up(&database, None).await.unwrap(), []);
    assert!(status(&database).await.unwrap().iter().all(|one| one.problem.is_none()));
    database.close().await;
}

async fn the_table_is_configured(empty: &Empty) {
    let environment = [("DATABASE_URL", empty.url.as_str()), ("MIGRATION_TABLE", "steps")];
    assert_eq!(TestApp::run(&["migrate", "up", "-n", "4"], &environment).await.code(), Some(0));
    let path = [("PATH", std::env::var_os("PATH").unwrap().into_string().unwrap())];
    let path = [(path[0].0, path[0].1.as_str()), environment[0], environment[1]];
    let cli = Launch::of(migrator()).environment(&path).run(&["up", "-n", "2"]).await;
    assert_eq!(cli.code(), Some(0), "{}", cli.stderr);
    let database = empty.open(&Options { table: "steps".to_owned(), ..Options::default() }).await;
    assert_eq!(column::<String>(&database, "SELECT version FROM steps").await.len(), 6);
    assert_eq!(column::<i64>(&database, "SELECT id FROM _steps_log").await.len(), 4);
    assert!(database.execute_unprepared("SELECT * FROM seaql_migrations").await.is_err());
    database.close().await;
    for wrong in ["a b", "1st", "Steps", "x\"y"] {
        let output = TestApp::run(&["migrate", "status"], &[environment[0], ("MIGRATION_TABLE", wrong)]).await;
        assert_eq!(output.code(), Some(78), "{wrong}: {}", output.stderr);
    }
}

async fn what_loses_data_can_be_configured(empty: &Empty) {
    let database = [("DATABASE_URL", empty.url.as_str())];
    let with = |value| [database[0], ("MIGRATION_ALLOW_DESTRUCTIVE", value)];
    assert_eq!(TestApp::run(&["migrate", "up"], &database).await.code(), Some(0));
    for (environment, arguments, code) in [
        (with("never"), &["migrate", "down", "--yes"][..], 77),
        (with("confirmed"), &["migrate", "down"], 77),
        (with("confirmed"), &["migrate", "down", "--yes"], 0),
        (with("always"), &["migrate", "down"], 0),
    ] {
        let output = TestApp::run(arguments, &environment).await;
        assert_eq!(output.code(), Some(code), "{environment:?} {arguments:?}: {}", output.stderr);
    }
    let production = [
        with("always")[0],
        with("always")[1],
        ("PROFILE", "production"),
        ("SECRET_KEY", "0123456789abcdef0123456789abcdef"),
    ];
    assert_eq!(TestApp::run(&["migrate", "down"], &production).await.code(), Some(77));
}

/// Somebody reads a table for long; a migration that changes it must not keep the others from reading it meanwhile.
async fn nobody_waits_long_behind_a_migration(empty: &Empty) {
    const LIMIT: Duration = Duration::from_millis(200);
    let environment = [("DATABASE_URL", empty.url.as_str()), ("MIGRATION_LOCK_TIMEOUT", "200ms")];
    assert_eq!(TestApp::run(&["migrate", "up", "-n", "11"], &environment).await.code(), Some(0));
    let database = empty.open(&Options::default()).await;
    let reader = empty.open(&Options::default()).await;
    let holder = reader.begin().await.unwrap();
    holder.execute_unprepared("SELECT * FROM users").await.unwrap();
    let (output, longest) = tokio::join!(TestApp::run(&["migrate", "up", "-n", "1"], &environment), async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'users'::regclass";
        let seen = async || (column::<i64>(&database, waits).await != [0]).then_some(());
        eventually("the migration waits", PATIENCE, seen).await;
        let (mut longest, started) = (Duration::ZERO, Instant::now());
        while started.elapsed() < Duration::from_secs(2) {
            let start = Instant::now();
            database.execute_unprepared("SELECT * FROM users").await.unwrap();
            longest = longest.max(start.elapsed());
        }
        holder.rollback().await.unwrap();
        longest
    });
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    println!("the longest wait behind a lock timeout of {LIMIT:?}: {longest:?}");
    assert!(longest < LIMIT + Duration::from_secs(1), "{longest:?}");
    assert!(output.stderr.contains("it is tried again"), "{}", output.stderr);
    database.close().await;
    reader.close().await;
}

async fn a_migration_that_gets_no_lock_gives_up(empty: &Empty) {
    let options = Options { lock_timeout: Duration::from_millis(50), attempts: 3, ..Options::default() };
    let database = empty.open(&options).await;
    up(&database, Some(11)).await.unwrap();
    let other = empty.open(&Options::default()).await;
    let holder = other.begin().await.unwrap();
    let is_server = empty.server.is_some();
    let lock = if is_server { "LOCK TABLE users IN ACCESS EXCLUSIVE MODE" } else { "UPDATE users SET name = name" };
    holder.execute_unprepared(lock).await.unwrap();
    // On SQLite whoever writes holds everything, also the lock of migrators.
    let impatient = Options { wait: Duration::from_millis(500), ..options };
    let impatient = empty.open(&impatient).await;
    let error = up(&impatient, None).await.unwrap_err();
    match &error {
        MigrateError::Contended { name, attempts: 3, .. } if is_server => assert!(name.contains("avatar"), "{error}"),
        MigrateError::Busy { .. } if !is_server => {}
        _ => panic!("{error}"),
    }
    holder.rollback().await.unwrap();
    assert_eq!(up(&impatient, None).await.unwrap().len(), 4);
    for one in [database, other, impatient] {
        one.close().await;
    }
}

async fn a_statement_may_not_take_for_ever(empty: &Empty) {
    const SLOW: &[SqlMigration] = &[SqlMigration::new("20260101_000009_slow", &[("up.sql", "SELECT pg_sleep(3600)")])];
    let options = race(|| migration::among(Ladder::Race.migrations(), SLOW), source);
    let database = empty.open(&Options { statement_timeout: Duration::from_millis(300), ..options }).await;
    let error = up(&database, None).await.unwrap_err();
    let MigrateError::Step { name, completed, undone, source, .. } = error else { panic!("{error}") };
    assert_eq!((name.as_str(), completed.len(), undone), ("20260101_000009_slow", 5, true));
    assert!(source.to_string().contains("statement timeout"), "{source}");
    database.close().await;
}

/// What the build script of the migrations makes of folders, and refuses.
#[test]
fn folders_of_sql_become_migrations() {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../migration/build.rs");
    let program = folder.path().join("build");
    let rustc =
        std::process::Command::new("rustc").args(["--edition", "2024", "-o"]).arg(&program).arg(script).status();
    assert!(rustc.unwrap().success());
    let run = |files: &[&str]| {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("src")).unwrap();
        std::fs::create_dir_all(root.path().join("sql")).unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "SELECT 1;").unwrap();
        }
        let mut build = std::process::Command::new(&program);
        let output = build.env("CARGO_MANIFEST_DIR", root.path()).env("OUT_DIR", root.path()).output().unwrap();
        match output.status.success() {
            true => Ok(std::fs::read_to_string(root.path().join("texts.rs")).unwrap()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    };
    let made = run(&[
        "sql/README.md",
        "sql/20270101_000002_b/up.postgres.sql",
        "sql/20270101_000002_b/up.sqlite.sql",
        "sql/m20270101_000001_a/up.sql",
        "sql/m20270101_000001_a/down.sql",
        "src/lib.rs",
        "src/m20270101_000003_c.rs",
    ])
    .unwrap();
    assert_eq!(made.matches("SqlMigration::new(").count(), 2, "{made}");
    assert!(made.contains("RUST: &[Text] = &[(\"m20270101_000003_c\", include_str!("), "{made}");
    for (file, says) in [
        ("sql/20270101_000002_b/up.postgres.sql", "needs up.sql or up.sqlite.sql"),
        ("sql/20270101_000002_b/upp.sql", "nothing else"),
        ("sql/add_things/up.sql", "must be called like"),
        ("sql/20270101 things/up.sql", "must be called like"),
    ] {
        let error = run(&[file]).unwrap_err();
        assert!(error.contains(says), "{file}: {error}");
    }
}

#[test]
fn the_folder_is_configured() {
    within(MINUTE, async {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("steps/src");
        std::fs::create_dir_all(&source).unwrap();
        std::fs::create_dir_all(folder.path().join("steps/sql/20990101_000007_ahead")).unwrap();
        let list = concat!(env!("CARGO_MANIFEST_DIR"), "/../migration/src/lib.rs");
        std::fs::copy(list, source.join("lib.rs")).unwrap();
        let environment = [("MIGRATION_DIR", source.to_str().unwrap())];
        let output = TestApp::run(&["migrate", "generate", "add things", "--json"], &environment).await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
        // After those in SQL.
        assert_eq!(output.json()["name"], "m20990101_000008_add_things");
        assert!(source.join("m20990101_000008_add_things.rs").is_file());
    });
}
