//! The harness does what the other tests trust it with.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use tests::{
    Backend, PATIENCE, Postgres, Signal, TestApp, app::Launch, database, eventually, on_both, or_skip, postgres,
    process, run, within,
};
use tokio::net::TcpStream;

mod mongo;

const LIMIT: Duration = Duration::from_secs(60);
const REHEARSE: &str = env!("CARGO_BIN_EXE_rehearse");

on_both!(
    async fn a_database_is_migrated_and_empty(database: TestDatabase) {
        let connection = database.connect().await;
        assert_eq!(count(&connection, "users").await, 0);
        assert!(count(&connection, "seaql_migrations").await > 0);
        connection.close().await.unwrap();
    }

    async fn a_database_is_the_test_s_own(database: TestDatabase) -> Result<(), sea_orm::DbErr> {
        let other = tests::database(database.backend()).await.unwrap();
        let (here, there) = (database.connect().await, other.connect().await);
        here.execute_unprepared("CREATE TABLE mine (id integer)").await?;
        assert!(there.execute_unprepared("INSERT INTO mine VALUES (1)").await.is_err());
        here.close().await?;
        there.close().await
    }
);

on_both!(
    within Duration::from_secs(30);
    /// Tests take theirs for granted, one each.
    async fn a_copy_is_quick(first: TestDatabase) {
        let start = Instant::now();
        drop(database(first.backend()).await.unwrap());
        // Measured: 40 ms on PostgreSQL, 0.3 ms on SQLite, on two cores.
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
);

#[test]
fn a_database_is_dropped_with_its_test() {
    within(LIMIT, async {
        let sqlite = database(Backend::Sqlite).await.unwrap();
        let file = sqlite.url.trim_start_matches("sqlite://").split('?').next().unwrap().to_owned();
        assert!(Path::new(&file).exists());
        drop(sqlite);
        assert!(!Path::new(&file).exists());

        let database = or_skip!(database(Backend::Postgres).await);
        let name = database.url.rsplit('/').next().unwrap().to_owned();
        // A session that is still open does not keep it.
        let _session = database.connect().await;
        let server = or_skip!(postgres::shared().await);
        assert_eq!(databases_named(&server.url("postgres"), &name).await, 1);
        drop(database);
        assert_eq!(databases_named(&server.url("postgres"), &name).await, 0);
    });
}

#[test]
fn a_private_server_stops_starts_and_survives_a_kill() {
    within(LIMIT, async {
        let mut server = or_skip!(Postgres::private_with(&["max_connections=7"]).await);
        let database = server.database().await;
        let insert = "INSERT INTO data_models (id, version, name, fields, created_at, updated_at) \
                      VALUES (gen_random_uuid(), 1, 'kept', '[]', now(), now())";
        let connection = database.connect().await;
        connection.execute_unprepared(insert).await.unwrap();
        server.kill().await;
        connection.close().await.ok();
        assert!(TcpStream::connect(server.address()).await.is_err());
        server.start().await;
        let connection = database.connect().await;
        assert_eq!(count(&connection, "data_models").await, 1);
        assert_eq!(text(&connection, "SHOW max_connections").await, "7");
        connection.close().await.unwrap();
        server.restart().await;
        assert!(server.log().contains("shut down"), "{}", server.log());
    });
}

/// Long runs kill hundreds of times. Measured, on two cores that were busy: 0.3 s a round for the server, and 0.1 to
/// 0.3 s for the service.
#[test]
fn servers_and_services_are_killed_and_back_in_a_moment() {
    const ROUNDS: u32 = 10;
    const MOMENT: Duration = Duration::from_secs(2);
    within(LIMIT, async {
        let mut server = or_skip!(Postgres::private().await);
        let database = server.database().await;
        let start = Instant::now();
        for round in 1..=ROUNDS {
            server.execute(format!("CREATE TABLE round_{round} AS SELECT generate_series(1, 1000)")).await;
            server.kill().await;
            server.start().await;
        }
        assert!(start.elapsed() < MOMENT * ROUNDS, "{:?}", start.elapsed());
        server.execute(format!("SELECT * FROM round_{ROUNDS}")).await;

        let start = Instant::now();
        for _ in 0..ROUNDS {
            TestApp::start(&database).await.kill().await;
        }
        assert!(start.elapsed() < MOMENT * ROUNDS, "{:?}", start.elapsed());
    });
}

#[test]
fn a_paused_server_does_not_answer() {
    within(LIMIT, async {
        let server = or_skip!(Postgres::private().await);
        let database = server.database().await;
        let connection = database.connect().await;
        server.pause();
        let answer = tokio::time::timeout(Duration::from_millis(300), text(&connection, "SELECT 'here'")).await;
        assert!(answer.is_err(), "{answer:?}");
        server.resume();
        let connection = database.connect().await;
        assert_eq!(text(&connection, "SELECT 'here'").await, "here");
        // It ends also when it is paused.
        server.pause();
    });
}

#[test]
fn a_server_is_gone_with_the_run() {
    within(LIMIT, async {
        let (mut run, folder, server) = or_skip!(rehearse_run(&mut Command::new(REHEARSE)).await);
        drop(run.stdin.take());
        assert!(run.wait().unwrap().success());
        assert_gone(&folder, &server).await;
    });
}

#[test]
fn a_server_is_gone_with_a_run_that_is_killed() {
    within(LIMIT, async {
        let (mut run, folder, server) = or_skip!(rehearse_run(&mut Command::new(REHEARSE)).await);
        run.kill().unwrap();
        run.wait().unwrap();
        assert_gone(&folder, &server).await;
    });
}

/// Under nextest every test is a process, and their parent is the run: here it is a shell with two tests.
#[test]
fn processes_of_one_run_share_a_server_that_ends_with_their_parent() {
    within(LIMIT, async {
        let id = format!("rehearsal-{}", std::process::id());
        let mut shell = Command::new("bash");
        let script = format!("'{REHEARSE}' run < /dev/null; '{REHEARSE}' run; exit");
        shell.arg("-c").arg(script).env("NEXTEST_RUN_ID", &id);
        let (mut run, folder, first) = or_skip!(rehearse_run(&mut shell).await);
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert_eq!(lines.next().unwrap(), folder);
        let second = lines.next().unwrap();
        assert_eq!(port(&first), port(&second));
        assert_ne!(first, second);
        run.kill().unwrap();
        run.wait().unwrap();
        assert_gone(&folder, &second).await;
    });
}

#[test]
fn an_app_starts_in_a_clean_environment_and_ends_with_its_test() {
    within(LIMIT, async {
        let launch =
            || Launch::of(REHEARSE).arguments(&["serve"]).environment(&[("PATH", "/usr/bin:/bin"), ("GIVEN", "yes")]);
        let mut app = launch().start().await;
        let answer = app.client().get(app.url("/environment")).send().await.unwrap().text().await.unwrap();
        assert_eq!(answer, "GIVEN=yes\nPATH=/usr/bin:/bin");
        assert!(app.output().contains("listening on"));
        assert!(app.stop().await.success());

        let mut app = launch().start().await;
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&app.kill().await), Some(Signal::KILL.as_raw()));

        let app = launch().start().await;
        let id = app.id();
        assert!(process::is_alive(id));
        drop(app);
        assert!(!process::is_alive(id));
    });
}

#[test]
fn the_service_is_found_beside_the_tests() {
    within(Duration::from_secs(600), async {
        let output = TestApp::run(&["--help"], &[]).await;
        assert_eq!(output.code(), Some(0), "{output:?}");
    });
}

#[test]
fn a_call_of_the_command_line_tells_its_output() {
    within(LIMIT, async {
        let output = Launch::of("/bin/sh").run(&["-c", r#"echo '{"a":1}'; echo oops >&2; exit 3"#]).await;
        assert_eq!((output.code(), output.stderr.as_str()), (Some(3), "oops\n"));
        assert_eq!(output.json()["a"], 1);
    });
}

#[test]
#[should_panic(expected = "longer than 10ms")]
fn a_test_that_hangs_fails() {
    within(Duration::from_millis(10), std::future::pending::<()>());
}

#[test]
fn a_skip_names_its_test_and_fails_where_it_is_forbidden() {
    within(LIMIT, async {
        // PostgreSQL cannot be in an empty folder.
        let empty = tempfile::tempdir().unwrap();
        let this_binary = std::env::current_exe().unwrap();
        let skipping = |forbidden: &str| {
            let mut test = Command::new(&this_binary);
            test.args(["--exact", "harness::a_database_is_migrated_and_empty::postgres"]);
            test.env_remove("NEXTEST_RUN_ID").env("SEABED_TESTS_NO_SKIP", forbidden);
            test.env("SEABED_POSTGRES_BIN", empty.path()).output().unwrap()
        };
        let skipped = skipping("0");
        let line = "skipped: harness::a_database_is_migrated_and_empty::postgres: PostgreSQL is not installed";
        assert!(skipped.status.success());
        assert!(String::from_utf8_lossy(&skipped.stderr).contains(line), "{skipped:?}");
        let forbidden = skipping("1");
        assert!(!forbidden.status.success());
        assert!(String::from_utf8_lossy(&forbidden.stdout).contains(line), "{forbidden:?}");
    });
}

/// Starts a rehearsal of a run; returns it with its folder and the URL of a database on its server.
async fn rehearse_run(command: &mut Command) -> Result<(Child, String, String), tests::Skip> {
    // Where the shared server cannot start, there is nothing to rehearse.
    postgres::shared().await?;
    if command.get_program() == REHEARSE {
        command.arg("run").env_remove("NEXTEST_RUN_ID");
    }
    // A pooler would hide the server's address.
    command.env_remove(run::THROUGH);
    Ok(rehearse(command))
}

/// Starts it, and returns it with its folder and the URL that it tells.
fn rehearse(command: &mut Command) -> (Child, String, String) {
    let mut run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::with_capacity(1, run.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let (folder, database) = (line(), line());
    run.stdout = Some(output.into_inner());
    assert!(Path::new(&folder).is_dir(), "{folder:?}");
    (run, folder, database)
}

async fn assert_gone(folder: &str, database: &str) {
    eventually("the run's folder is removed", PATIENCE, async || (!Path::new(folder).exists()).then_some(())).await;
    let address = format!("127.0.0.1:{}", port(database));
    assert!(TcpStream::connect(&address).await.is_err(), "a server is left behind on {address}");
}

fn port(url: &str) -> u16 {
    url::Url::parse(url).unwrap().port().unwrap()
}

async fn count(connection: &DatabaseConnection, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), sql)).await;
    row.unwrap().unwrap().try_get_by_index(0).unwrap()
}

async fn text(connection: &DatabaseConnection, sql: &str) -> String {
    let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), sql)).await;
    row.unwrap().unwrap().try_get_by_index(0).unwrap()
}

async fn databases_named(server: &str, name: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one("SELECT count(*) FROM pg_database WHERE datname = $1", &[&name]).await.unwrap().get(0)
}
