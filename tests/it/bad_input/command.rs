//! Cases 54 to 68: what the command line is given, and where it has to write.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use migration::MigratorTrait;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::Value;
use tests::{
    Backend, Output, PATIENCE, Signal, TestApp, TestDatabase, app, eventually, on_both, or_skip, postgres, process,
    run::LIMIT, within,
};

/// What production cannot do without.
const PRODUCTION: [(&str, &str); 2] = [("PROFILE", "production"), ("SECRET_KEY", "0123456789abcdef0123456789abcdef")];

#[test]
fn case_54_an_unknown_command_or_flag_is_answered_with_the_nearest() {
    within(LIMIT, async {
        for (arguments, near) in [(&["sed"][..], "'seed'"), (&["seed", "--usres", "3"], "'--users'")] {
            let output = TestApp::run(arguments, &[]).await;
            assert_eq!(output.code(), Some(2), "{}", output.stderr);
            assert!(output.stdout.is_empty() && output.stderr.contains(near), "{}", output.stderr);
        }
    });
}

#[test]
fn case_55_a_wrong_setting_ends_with_78_and_gives_no_password_away() {
    within(LIMIT, async {
        let environment = [("DATABASE_URL", "postgres://ada:hunter2@db:70000/app"), ("DB_PORT", "x")];
        let output = TestApp::run(&["serve"], &environment).await;
        assert_eq!(output.code(), Some(78), "{}", output.stderr);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
        assert!(output.stderr.starts_with("error: DB_PORT is \"x\""), "{}", output.stderr);
        assert!(output.stderr.contains("\nerror: DATABASE_URL must look like"), "{}", output.stderr);

        let output = TestApp::run(&["--json", "serve"], &environment).await;
        let error: serde_json::Value = serde_json::from_str(&output.stderr).unwrap();
        assert_eq!(error["error"]["code"], "configuration");
        assert_eq!(error["error"]["errors"].as_array().unwrap().len(), 2);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    });
}

#[test]
fn case_56_an_unreachable_database_ends_with_69_within_the_timeout() {
    within(LIMIT, async {
        let environment = [("DATABASE_URL", "postgres://ada:hunter2@127.0.0.1:1/app"), ("DB_CONNECT_TIMEOUT", "1s")];
        for arguments in [&["serve"][..], &["migrate", "up"], &["seed"]] {
            let started = Instant::now();
            let output = TestApp::run(arguments, &environment).await;
            assert_eq!(output.code(), Some(69), "{arguments:?}: {}", output.stderr);
            assert!(started.elapsed() < Duration::from_secs(3), "{arguments:?} took {:?}", started.elapsed());
            let errors = output.stderr.lines().filter(|line| line.starts_with("error: ")).count();
            assert!(errors == 1 && !output.stderr.contains("hunter2"), "{}", output.stderr);
        }
        let output = TestApp::run(&["doctor"], &environment).await;
        assert_eq!(output.code(), Some(1));
        assert!(output.stdout.contains("fail  database   reachable"), "{}", output.stdout);
    });
}

on_both!(
    async fn case_57_nobody_reads_what_is_printed(database: TestDatabase) {
        let entities = concat!(env!("CARGO_MANIFEST_DIR"), "/../entity/src");
        for arguments in [
            &["--help"][..],
            &["--version"],
            &["config", "show"],
            &["config", "show", "--json"],
            &["config", "example"],
            &["doctor"],
            &["migrate", "up"],
            &["migrate", "status"],
            &["migrate", "down", "--yes"],
            &["migrate", "to", "m20261121_000014"],
            &["migrate", "refresh", "--yes"],
            &["migrate", "reset", "--yes"],
            &["migrate", "fresh", "--yes"],
            &["seed", "--users", "3"],
            &["entity", "check", "--out", entities],
        ] {
            for stderr in [Stdio::piped(), closed()] {
                let output = called(&database, arguments).stdout(closed()).stderr(stderr).output().unwrap();
                let said = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
                assert!(!said.contains("panic") && !said.contains("error: "), "{arguments:?}: {said}");
            }
        }
        // Nor does anybody read what is wrong.
        for (arguments, code) in [(&["migrate", "fresh"][..], 77), (&["migrate", "to", "nowhere"], 2), (&["sed"], 2)] {
            let output = called(&database, arguments).stdout(closed()).stderr(closed()).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        }
    }

    /// Somebody reads, and there is no place for it.
    async fn case_57_what_cannot_be_printed_ends_with_74(database: TestDatabase) {
        for arguments in [
            &["--help"][..],
            &["--version"],
            &["config", "show"],
            &["config", "example"],
            &["doctor"],
            &["migrate", "status"],
            &["migrate", "up", "--json"],
            &["seed", "--users", "3"],
        ] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let output = called(&database, arguments).env("LOG", "error").stdout(full).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(74), "{arguments:?}: {said}");
            assert!(said.contains("standard output cannot be written"), "{arguments:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        }
    }

    async fn case_58_a_migration_that_takes_for_ever_is_cancelled(database: TestDatabase) {
        migrate_to_two(&database).await;
        let connection = database.connect().await;
        let for_ever = match database.backend() {
            Backend::Postgres => {
                "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$;
                 CREATE TRIGGER wait BEFORE INSERT ON seaql_migrations FOR EACH ROW
                 WHEN (NEW.version LIKE '%000004%') EXECUTE FUNCTION wait()"
            }
            Backend::Sqlite => {
                "CREATE VIEW numbers AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;
                 CREATE TRIGGER wait AFTER INSERT ON seaql_migrations WHEN NEW.version LIKE '%000004%'
                 BEGIN SELECT count(*) FROM numbers; END"
            }
        };
        connection.execute_unprepared(for_ever).await.unwrap();
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let output = end_when(&database, &["a migration begins", "m20261121_000004"], signal).await;
            assert_eq!(output.code(), Some(code), "{}", output.stderr);
            let errors = output.stderr.lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>();
            let third = match signal {
                Signal::INT => "m20261121_000003_create_settings was applied, ",
                _ => "",
            };
            let told = format!("error: ended early: {third}m20261121_000004_create_accounts was undone");
            assert_eq!(errors, [told], "{}", output.stderr);
            assert!(output.stderr.ends_with("Run it again to go on from there.\n"), "{}", output.stderr);
            assert_eq!(applied(&database).await, 3);
        }
        let trigger = if database.backend() == Backend::Postgres { " ON seaql_migrations" } else { "" };
        connection.execute_unprepared(&format!("DROP TRIGGER wait{trigger}")).await.unwrap();
        go_on_from(3, &database).await;
    }

    async fn case_58_a_migration_that_waits_for_another_s_lock_is_cancelled(database: TestDatabase) {
        migrate_to_two(&database).await;
        let connection = database.connect().await;
        let lock = match database.backend() {
            Backend::Postgres => "LOCK TABLE users IN ACCESS EXCLUSIVE MODE",
            // The lock of whoever writes.
            Backend::Sqlite => "UPDATE users SET name = name",
        };
        let holder = connection.begin().await.unwrap();
        holder.execute_unprepared(lock).await.unwrap();
        let (says, told) = match database.backend() {
            Backend::Postgres => {
                let begins = ["a migration begins", "m20261121_000003"];
                (begins, "error: ended early: m20261121_000003_create_settings was undone\n")
            }
            // There the lock of migrators cannot be written either.
            Backend::Sqlite => (["waiting for the database", ""], "error: ended early: nothing was under way\n"),
        };
        let output = end_when(&database, &says, Signal::INT).await;
        assert_eq!(output.code(), Some(130), "{}", output.stderr);
        assert!(output.stderr.contains(told), "{}", output.stderr);
        holder.rollback().await.unwrap();
        assert_eq!(applied(&database).await, 2);
        go_on_from(2, &database).await;
    }

    async fn case_61_what_loses_data_in_production_names_the_database(database: TestDatabase) {
        let name = database.url.split('?').next().unwrap().rsplit('/').next().unwrap();
        let here = [("DATABASE_URL", database.url.as_str())];
        let key = ("MIGRATION_GRANT_KEY", "fedcba9876543210fedcba9876543210");
        let grant = TestApp::run(&["migrate", "grant"], &[here[0], key]).await.stdout;
        let production = [here[0], PRODUCTION[0], PRODUCTION[1], key, ("MIGRATION_GRANT", grant.trim())];
        let verbs = [
            &["migrate", "down"][..],
            &["migrate", "to", "m20261121_000001"],
            &["migrate", "refresh"],
            &["migrate", "fresh"],
            &["migrate", "reset"],
        ];
        let all = applied(&database).await;
        let refused = async |verb: &[&str], more: &[&str], environment: &[(&str, &str)], says: &str| {
            let output = TestApp::run(&[verb, more].concat(), environment).await;
            assert_eq!(output.code(), Some(77), "{verb:?} {more:?}: {}", output.stderr);
            assert!(output.stderr.contains(says), "{verb:?} {more:?}: {}", output.stderr);
        };
        for verb in verbs {
            refused(verb, &[], &here, "add --yes if that is meant").await;
            refused(verb, &[], &production, &format!("add --yes-i-mean {name} if that is meant")).await;
            refused(verb, &["--yes"], &production, "--yes-i-mean").await;
            for environment in [&here[..], &production] {
                refused(verb, &["--yes", "--yes-i-mean", "other"], environment, &format!("is {name}, not \"other\""))
                    .await;
                refused(verb, &["--yes-i-mean="], environment, "not \"\"").await;
            }
        }
        for more in [&["--yes"][..], &["--yes", "--yes-i-mean", name]] {
            refused(&["seed", "--reset"], more, &production, "refused in production").await;
        }
        assert_eq!(applied(&database).await, all);

        for verb in verbs {
            let meant = TestApp::run(&[verb, &["--yes-i-mean", name]].concat(), &production).await;
            assert_eq!(meant.code(), Some(0), "{verb:?}: {}", meant.stderr);
            assert!(meant.stdout.contains("rolled back") || verb[1] == "fresh", "{verb:?}: {}", meant.stdout);
        }
        assert_eq!(applied(&database).await, 0);
    }

    async fn case_62_a_second_seed_changes_nothing(database: TestDatabase) {
        let environment = [("DATABASE_URL", database.url.as_str())];
        for made in ["made for seed 1", "nothing to do: the 5 users of seed 1 are there"] {
            let output = TestApp::run(&["seed", "--users", "5"], &environment).await;
            assert_eq!(output.code(), Some(0), "{}", output.stderr);
            assert!(output.stdout.contains(made), "{}", output.stdout);
        }
    }
);

#[test]
fn case_60_who_may_not_migrate_is_told_so() {
    within(LIMIT, async {
        let server = or_skip!(postgres::shared().await);
        let name = format!("reader_{:016x}", rand::random::<u64>());
        server.execute(format!("CREATE DATABASE {name}")).await;
        server.execute(format!("CREATE ROLE {name} LOGIN")).await;
        let url = server.url(&name).replacen("postgres@", &format!("{name}@"), 1);
        assert!(url.contains(&format!("{name}@")), "{url}");
        for arguments in [&["migrate", "up"][..], &["migrate", "fresh", "--yes"]] {
            let output = TestApp::run(arguments, &[("DATABASE_URL", &url)]).await;
            assert_eq!(output.code(), Some(77), "{}", output.stderr);
            assert!(output.stderr.contains("permission denied"), "{}", output.stderr);
        }
        // To look is no harm.
        let output = TestApp::run(&["migrate", "status"], &[("DATABASE_URL", &url)]).await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
        server.execute(format!("DROP DATABASE {name} WITH (FORCE)")).await;
        server.execute(format!("DROP ROLE {name}")).await;
    });
}

#[test]
fn case_65_arguments_and_paths_are_bytes() {
    within(LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let no_text = OsStr::from_bytes(b"n\xffo");
        let call = |words: &[&str], last: &[&OsStr], data_dir: &OsStr| {
            let mut command = Command::new(app::program());
            command.args(words).args(last).env_clear().current_dir(folder.path()).env("DATA_DIR", data_dir);
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
            let output = command.output().unwrap();
            (output.status.code(), [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()))
        };

        // Text that is none.
        for before in [&[][..], &["migrate", "to"], &["config"], &["migrate", "reset", "--yes-i-mean"]] {
            let (code, [stdout, stderr]) = call(before, &[no_text], OsStr::new("data"));
            assert_eq!(code, Some(2), "{before:?}: {stderr}");
            assert!(stdout.is_empty() && stderr.starts_with("error: "), "{before:?}: {stderr}");
        }
        let (code, [_, stderr]) = call(&["migrate", "up"], &[], no_text);
        assert_eq!(code, Some(78), "{stderr}");
        assert!(stderr.starts_with("error: DATA_DIR must be text in UTF-8"), "{stderr}");

        // Folders of any name, even of none that is text.
        fs::create_dir(folder.path().join(no_text)).unwrap();
        let (code, [stdout, stderr]) = call(&["entity", "check", "--out"], &[no_text], OsStr::new("data"));
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stdout.contains("files differ"), "{stdout}");
        for name in ["two words", "two\nlines", " 50% off? #1 ", "-rf", "'\"$(id)`ä"] {
            let data_dir = Path::new(name).join("deep");
            let (code, [_, stderr]) = call(&["migrate", "up"], &[], data_dir.as_os_str());
            assert_eq!(code, Some(0), "{name:?}: {stderr}");
            assert!(folder.path().join(&data_dir).join("seabed.db").is_file(), "{name:?}");
            let (code, [stdout, _]) = call(&["doctor"], &[], data_dir.as_os_str());
            assert_eq!(code, Some(0), "{name:?}: {stdout}");
        }
        // What goes wrong there is told in one line all the same.
        File::create(folder.path().join("a\nfile")).unwrap();
        let (code, [_, stderr]) = call(&["migrate", "up"], &[], OsStr::new("a\nfile/deep"));
        assert_eq!((code, stderr.lines().count()), (Some(74), 1), "{stderr}");
        let mut made = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        made.sort();
        let mut expected =
            [" 50% off? #1 ", "'\"$(id)`ä", "-rf", "a\nfile", "two\nlines", "two words"].map(OsString::from).to_vec();
        expected.push(no_text.to_owned());
        expected.sort();
        assert_eq!(made, expected);
    });
}

#[test]
fn case_68_settings_that_cannot_be_stop_everything() {
    within(LIMIT, async {
        for (name, value, says) in [
            ("DB_MAX_CONECTIONS", "5", "did you mean DB_MAX_CONNECTIONS?"),
            ("LISTEN", "127.0.0.1:70000", "must be an IP address and a port"),
            ("DB_PORT", "70000", "must be a port, 1 to 65535"),
            ("DB_MAX_CONNECTIONS", "1", "must be at least DB_MIN_CONNECTIONS, which is 2"),
            ("DB_STATEMENT_TIMEOUT", "10s", "must be less than REQUEST_TIMEOUT"),
        ] {
            for arguments in [&["serve"][..], &["migrate", "up"], &["config", "show"]] {
                let output = TestApp::run(arguments, &[(name, value)]).await;
                assert_eq!(output.code(), Some(78), "{name}: {}", output.stderr);
                let error = output.stderr.lines().next().unwrap();
                assert!(error.starts_with(&format!("error: {name}")) && error.contains(says), "{error}");
            }
        }
    });
}

/// A stream that nobody reads any more.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A call of the program on a database, with nothing else in its environment.
fn called(database: &TestDatabase, arguments: &[&str]) -> Command {
    let mut command = Command::new(app::program());
    command.args(arguments).env_clear().env("DATABASE_URL", &database.url).current_dir(std::env::temp_dir());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    command
}

/// Takes a database back to its first two migrations.
async fn migrate_to_two(database: &TestDatabase) {
    let down = TestApp::run(&["migrate", "to", "m20261121_000002", "--yes"], &[("DATABASE_URL", &database.url)]).await;
    assert_eq!(down.code(), Some(0), "{}", down.stderr);
}

/// How many migrations are applied.
async fn applied(database: &TestDatabase) -> usize {
    let output = TestApp::run(&["migrate", "status", "--json"], &[("DATABASE_URL", &database.url)]).await;
    let Value::Array(standings) = output.json() else { panic!("{}", output.stdout) };
    standings.iter().filter(|standing| standing["status"] == "applied").count()
}

/// Migrates on: exactly what was not applied is.
async fn go_on_from(count: usize, database: &TestDatabase) {
    let output = TestApp::run(&["migrate", "up", "--json"], &[("DATABASE_URL", &database.url)]).await;
    assert_eq!(output.code(), Some(0), "{}", output.stderr);
    let done = output.json().as_array().unwrap().len();
    assert_eq!((done, count + done), (migration::Migrator::migrations().len() - count, applied(database).await));
}

/// Migrates, and sends a signal when a line that has all this in it is logged.
async fn end_when(database: &TestDatabase, says: &[&str], signal: Signal) -> Output {
    let mut command = called(database, &["migrate", "up"]);
    command.env("LOG", "debug").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Ended(process::spawn(command).unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let begins = |line: &str| says.iter().all(|part| line.contains(part));
    let mut stderr = String::new();
    for line in lines.by_ref().map_while(Result::ok) {
        stderr += &format!("{line}\n");
        if begins(&line) {
            break;
        }
    }
    assert!(begins(stderr.lines().last().unwrap_or_default()), "{stderr}");
    process::signal(child.0.id(), signal);
    let status = eventually("it ends", PATIENCE, async || child.0.try_wait().unwrap()).await;
    stderr.extend(lines.map_while(Result::ok).map(|line| line + "\n"));
    Output { status, stdout: String::new(), stderr }
}

/// A process that does not outlive the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
