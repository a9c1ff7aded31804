//! The lint of migrations, against statements that were labelled by hand before it was written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use api::command::migrate::{
    Direction, PlannedStep,
    lint::{Mode, Rule, effects, lint, lint_migrations, lint_sql, trace},
    plan,
};
use migration::{Migrator, convention::alter};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database as SeaDatabase, DatabaseConnection, DbBackend, Statement,
    TransactionTrait,
};
use sea_orm_migration::{prelude::*, schema::big_integer};
use tests::{Backend, TestApp, on_both, postgres, run::LIMIT, within};

/// A migration with the rules that it breaks.
///
/// In the corpus, `-- M10 M11: note` or `-- safe: note` begins one. What stands between `-- given` and `-- then` ran
/// before, in other migrations.
struct Case {
    place: String,
    rules: BTreeSet<String>,
    given: String,
    sql: String,
}

fn corpus() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/lint/corpus");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut cases: Vec<Case> = Vec::new();
    for path in paths {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            if let Some(rules) = label(line) {
                let place = format!("{file}:{}", number + 1);
                cases.push(Case { place, rules, given: String::new(), sql: String::new() });
                continue;
            }
            let case = cases.last_mut().unwrap();
            match line {
                "-- given" => {}
                "-- then" => case.given = std::mem::take(&mut case.sql),
                _ => case.sql.extend([line, "\n"]),
            }
        }
    }
    cases
}

fn label(line: &str) -> Option<BTreeSet<String>> {
    let (label, _) = line.strip_prefix("-- ")?.split_once(": ")?;
    if label == "safe" {
        return Some(BTreeSet::new());
    }
    let rules: BTreeSet<String> = label.split(' ').map(str::to_owned).collect();
    rules.iter().all(|rule| rule.parse::<Rule>().is_ok()).then_some(rules)
}

#[test]
fn it_finds_what_is_dangerous_and_nothing_else() {
    let cases = corpus();
    assert!(cases.len() >= 500, "{} statements", cases.len());
    let (mut expected, mut found, mut right) = (0, 0, 0);
    let mut of_rule: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut misses = String::new();
    for Case { place, rules, given, sql } in &cases {
        let report = lint_sql(&[given], sql);
        let told: BTreeSet<String> = report.findings.iter().map(|finding| finding.rule.id().to_owned()).collect();
        expected += rules.len();
        found += told.len();
        right += rules.intersection(&told).count();
        for rule in rules {
            let (labelled, seen) = of_rule.entry(rule).or_default();
            *labelled += 1;
            *seen += usize::from(told.contains(rule));
        }
        for rule in rules.difference(&told) {
            writeln!(misses, "{place}: {rule} is not found\n{sql}").unwrap();
        }
        for finding in report.findings.iter().filter(|finding| !rules.contains(finding.rule.id())) {
            writeln!(misses, "{place}: found for nothing\n{finding}").unwrap();
        }
    }
    let share = |part: usize, whole: usize| part as f64 / whole as f64;
    let (recall, precision) = (share(right, expected), share(right, found));
    let count = cases.len();
    println!("{misses}{count} statements, {expected} findings expected: recall {recall:.4}, precision {precision:.4}");
    assert!(recall >= 0.99 && precision >= 0.95, "recall {recall:.4}, precision {precision:.4}");
    // A rule with few statements must not hide behind those with many.
    for rule in Rule::ALL.iter().filter(|rule| !ELSEWHERE.contains(rule)) {
        let (labelled, seen) = of_rule.get(rule.id()).copied().unwrap_or_default();
        assert!(labelled >= 5 && seen * 10 >= labelled * 9, "{rule}: {seen} of {labelled} found");
    }
}

// Beyond the corpus.

/// What is about a migration as a whole, or is not told from its text.
const ELSEWHERE: &[Rule] = &[Rule::M00, Rule::M34, Rule::M54, Rule::M55, Rule::M56, Rule::M60, Rule::M61, Rule::M62];

#[test]
fn a_migration_takes_less_than_50_ms() {
    let slowest = corpus().into_iter().map(|Case { place, given, sql, .. }| {
        let measure = || {
            let start = Instant::now();
            lint_sql(&[&given], &sql);
            start.elapsed()
        };
        // Of several runs, the one that was interrupted least.
        ((0..5).map(|_| measure()).min().unwrap(), place)
    });
    let (took, place) = slowest.max().unwrap();
    println!("the slowest takes {took:?}: {place}");
    assert!(took < Duration::from_millis(50), "{place}: {took:?}");
}

#[test]
fn no_text_makes_it_fail() {
    for Case { sql, .. } in corpus() {
        let letters: Vec<char> = sql.chars().collect();
        for cut in (0..letters.len()).step_by(11) {
            let (start, end): (String, String) = (letters[..cut].iter().collect(), letters[cut..].iter().collect());
            lint_sql(&[&end], &start);
            lint_sql(&[&start], &end);
            effects(&end);
        }
    }
}

#[test]
fn what_to_do_instead_is_said_for_the_statement() {
    for (sql, rule, instead) in [
        (
            "CREATE UNIQUE INDEX \"uq\" ON app.\"Users\" (lower(email)) WHERE active",
            "M10",
            "CREATE UNIQUE INDEX CONCURRENTLY uq ON app.\"Users\" (lower(email)) WHERE active;",
        ),
        ("DROP INDEX app.ix_users_email", "M12", "DROP INDEX CONCURRENTLY IF EXISTS app.ix_users_email;"),
        (
            "ALTER TABLE users ADD CONSTRAINT one UNIQUE (tenant, email)",
            "M15",
            "ALTER TABLE users ADD CONSTRAINT one UNIQUE USING INDEX uq_users_tenant_email;",
        ),
        (
            "ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES app.users",
            "M18",
            "ADD CONSTRAINT fk_orders_user_id FOREIGN KEY (user_id) REFERENCES app.users NOT VALID",
        ),
        ("ALTER TABLE users ADD CONSTRAINT ck CHECK (age > 0)", "M21", "ADD CONSTRAINT ck CHECK (age > 0) NOT VALID"),
        ("ALTER TABLE users ALTER name SET NOT NULL", "M22", "VALIDATE CONSTRAINT users_name_not_null"),
        ("ALTER TABLE users ALTER age TYPE bigint", "M08", "ALTER TABLE users ADD COLUMN age_new bigint"),
        ("ALTER TABLE users RENAME name TO title", "M04", "copy name to title"),
        (
            "ALTER TABLE users ADD token uuid DEFAULT gen_random_uuid()",
            "M24",
            "ALTER COLUMN token SET DEFAULT gen_random_uuid()",
        ),
        ("UPDATE users SET active = true", "M28", "UPDATE users SET active = true WHERE id BETWEEN $from AND $to"),
        ("ALTER TABLE events DETACH PARTITION old", "M44", "ALTER TABLE events DETACH PARTITION old CONCURRENTLY;"),
        ("ALTER TYPE mood ADD VALUE 'great'", "M41", "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'great' AFTER"),
        ("REINDEX TABLE users", "M13", "REINDEX TABLE CONCURRENTLY users;"),
    ] {
        let report = lint_sql(&[], sql);
        let found = report.findings.iter().find(|finding| finding.rule.id() == rule);
        let told = &found.unwrap_or_else(|| panic!("{sql}: {report}")).instead;
        assert!(told.contains(instead), "{sql}: {told}");
    }
}

/// The rules that are found in a piece of SQL.
fn found(sql: &str) -> Vec<&'static str> {
    lint_sql(&[], sql).findings.iter().map(|finding| finding.rule.id()).collect()
}

#[test]
fn a_finding_is_allowed_with_a_reason_and_only_there() {
    let drop = "ALTER TABLE users DROP COLUMN nickname;";
    let allowed = "-- lint: allow M01 because release 7 stopped reading it";
    let report = lint_sql(&[], &format!("{allowed}\n{drop}"));
    assert!(report.is_clean() && report.silenced == 1, "{report}");
    assert_eq!(found(&format!("ALTER TABLE users /* {} */ DROP COLUMN nickname", &allowed[3..])), [""; 0]);
    // Only the statement that it stands over.
    assert_eq!(found(&format!("{allowed}\n{drop}\nDROP VIEW v")), ["M02", "M29"]);
    assert_eq!(found(&format!("{allowed}\nSELECT 1;\n{drop}")), ["M00", "M01"]);
    // Only the rules that it names, each of which must be there.
    assert_eq!(found(&format!("-- lint: allow M02 because why not\n{drop}")), ["M00", "M01"]);
    assert_eq!(found(&format!("-- lint: allow M01, M02 because why not\n{drop}")), ["M00"]);
    assert_eq!(found("-- lint: allow M01, M59 because x\nALTER TABLE t DROP a, DISABLE ROW LEVEL SECURITY"), [""; 0]);
    // Not without a reason, nor with a rule that is none, nor behind everything.
    assert_eq!(found(&format!("-- lint: allow M01\n{drop}")), ["M00", "M01"]);
    assert_eq!(found(&format!("-- lint: allow M01 because \n{drop}")), ["M00", "M01"]);
    assert_eq!(found(&format!("-- lint: allow M99 because why not\n{drop}")), ["M00", "M01"]);
    assert_eq!(found(&format!("-- lint: ignore\n{drop}")), ["M00", "M01"]);
    assert_eq!(found(&format!("{drop}\n{allowed}")), ["M00", "M01"]);
    // Other comments, and texts, say nothing.
    assert_eq!(
        found(&format!("-- this lint: allow M01 because x\nCOMMENT ON TABLE t IS '{allowed}'; {drop}")),
        ["M01"]
    );
}

#[test]
fn what_is_shipped_is_clean() {
    within(LIMIT, async {
        let report = lint(&[]).await.unwrap();
        assert!(report.is_clean(), "{report}");
        assert!(report.migrations >= 13 && report.statements >= 100, "{report}");
        let output = TestApp::run(&["migrate", "lint"], &[]).await;
        assert_eq!(output.code(), Some(0), "{}{}", output.stdout, output.stderr);
        assert!(output.stdout.starts_with("0 findings in "), "{}", output.stdout);
    });
}

#[test]
fn findings_end_with_2_and_say_what_to_do() {
    within(LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("add_index.sql");
        fs::write(&file, "SELECT 1;\n-- for logins\nCREATE INDEX ix ON users (email);\n").unwrap();
        let file = file.to_str().unwrap();
        let output = TestApp::run(&["migrate", "lint", file], &[]).await;
        assert_eq!(output.code(), Some(2), "{}{}", output.stdout, output.stderr);
        for line in [
            &format!("{file}, statement 2 (line 3): M10 creates an index without CONCURRENTLY"),
            "    CREATE INDEX ix ON users (email)",
            "  why: nobody can write to the table until the index is built",
            "    CREATE INDEX CONCURRENTLY ix ON users (email);",
            "1 finding in 1 migration (2 statements)",
            "write over its statement: -- lint: allow M10 because …",
        ] {
            assert!(output.stdout.contains(line), "{line}: {}", output.stdout);
        }
        let output = TestApp::run(&["--json", "migrate", "lint", file], &[]).await;
        assert_eq!(output.code(), Some(2), "{}", output.stderr);
        let json = output.json();
        let finding = &json["findings"][0];
        assert_eq!(
            (&finding["rule"], &finding["migration"], &finding["statement"], &finding["line"]),
            (&"M10".into(), &file.into(), &2.into(), &3.into()),
            "{json}"
        );
        assert!(
            ["what", "why", "instead", "sql"].iter().all(|key| !finding[key].as_str().unwrap().is_empty()),
            "{json}"
        );
        let output = TestApp::run(&["migrate", "lint", "/nowhere.sql"], &[]).await;
        assert_eq!(output.code(), Some(74), "{}", output.stderr);
    });
}

#[tokio::test]
async fn folders_have_a_history() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, sql: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, sql).unwrap();
    };
    write("20260101_000001_create_people/up.sql", "CREATE TABLE people (id uuid PRIMARY KEY, name varchar);");
    write("20260101_000001_create_people/down.sql", "DROP TABLE people;");
    write("20260102_000001_widen/up.sql", "ALTER TABLE people ALTER COLUMN name TYPE text;");
    write("20260102_000001_widen/down.sql", "ALTER TABLE people ALTER COLUMN name TYPE varchar;");
    let report = lint(&[folder.path().to_owned()]).await.unwrap();
    assert!(report.is_clean() && report.migrations == 2 && report.statements == 4, "{report}");
    // Its own text for PostgreSQL, no way back, and a version that is taken.
    write("20260102_000001_worse/up.postgres.sql", "DROP TABLE people;");
    write("20260102_000001_worse/up.sqlite.sql", "DROP TABLE nobody;");
    let report = lint(&[folder.path().to_owned()]).await.unwrap();
    let rules: Vec<_> = report.findings.iter().map(|finding| (finding.rule.id(), finding.sql.as_str())).collect();
    assert_eq!(rules, [("M55", ""), ("M54", ""), ("M02", "DROP TABLE people")], "{report}");
}

struct Tried(&'static str);

impl MigrationName for Tried {
    fn name(&self) -> &str {
        self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tried {
    fn use_transaction(&self) -> Option<bool> {
        (self.0 == "together").then_some(false)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        let connection = schema.get_connection();
        let index = Index::create().name("ix").table("users").col("email").take();
        match self.0 {
            "index" => schema.create_index(index).await,
            "allowed" => {
                connection.execute_unprepared("-- lint: allow M10 because the table is small").await?;
                schema.create_index(index).await
            }
            "asking" if schema.has_table("users").await? => Err(DbErr::Migration("it is not there".to_owned())),
            "asking" => connection.execute_unprepared("CREATE TABLE users (id uuid PRIMARY KEY)").await.map(|_| ()),
            "together" => {
                let sql = "DROP INDEX CONCURRENTLY IF EXISTS ix; CREATE INDEX CONCURRENTLY ix ON users (email)";
                connection.execute_unprepared(sql).await.map(|_| ())
            }
            _ => {
                let column = ColumnDef::new("age").big_integer().take();
                schema.alter_table(Table::alter().table("users").modify_column(column).take()).await
            }
        }
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        match self.0 {
            "asking" => schema.drop_table(Table::drop().table("users").take()).await,
            "one way" => Err(DbErr::Migration("there is no way back".to_owned())),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn migrations_in_rust_are_judged_by_what_they_run() {
    for (name, expected) in [
        ("index", &["M10"][..]),
        ("allowed", &[]),
        ("asking", &[]),
        ("together", &["M11", "M11"]),
        ("modified", &["M60", "M08"]),
        ("one way", &["M60", "M54", "M08"]),
    ] {
        let report = lint_migrations(&[Box::new(Tried(name))]).await;
        let rules: Vec<_> = report.findings.iter().map(|finding| finding.rule.id()).collect();
        assert_eq!(rules, expected, "{name}: {report}");
    }
}

/// A migration of SQL that no reader understands, unless it is run.
struct Hidden(&'static str, &'static str);

impl MigrationName for Hidden {
    fn name(&self) -> &str {
        self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Hidden {
    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.get_connection().execute_unprepared(self.1).await.map(drop)
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Ok(())
    }
}

fn hidden() -> Vec<Box<dyn MigrationTrait>> {
    const REWRITES: &str =
        "DO $$ BEGIN EXECUTE 'ALTER ' || 'TABLE notes ALTER COLUMN n TYPE bytea USING n::bytea'; END $$";
    const LOCKS: &str = "DO $$ BEGIN EXECUTE 'LOCK ' || 'TABLE notes'; END $$";
    const ALLOWED: &str = "-- lint: allow M62 because nobody is there at night\n\
                           DO $$ BEGIN EXECUTE 'LOCK ' || 'TABLE notes'; END $$";
    vec![
        Box::new(Hidden("m1", "CREATE TABLE notes (id bigint PRIMARY KEY, n text)")),
        Box::new(Hidden("m2", REWRITES)),
        Box::new(Hidden("m3", LOCKS)),
        Box::new(Hidden("m4", ALLOWED)),
        Box::new(Hidden("m5", "ALTER TABLE notes ALTER COLUMN n TYPE text USING encode(n, 'hex')")),
        Box::new(Hidden("m6", "TRUNCATE notes")),
        Box::new(Hidden("m7", "ALTER TABLE notes ADD COLUMN m text")),
    ]
}

#[tokio::test]
async fn what_no_text_tells_is_seen_when_it_is_run() {
    let server = tests::or_skip!(postgres::shared().await);
    let url = server.url("postgres");
    let report = trace(&url, hidden).await.unwrap();
    let seen = report.findings.iter().filter(|finding| [Rule::M61, Rule::M62].contains(&finding.rule));
    let seen = seen.map(|finding| (finding.migration.as_str(), finding.rule.id())).collect::<Vec<_>>();
    assert_eq!(seen, [("m2", "M61"), ("m2", "M62"), ("m3", "M62")], "{report}");
    assert!(report.to_string().contains("what is done to notes, as a statement of the migration itself"), "{report}");
    assert!(!report.findings.iter().any(|finding| finding.migration == "m4" && finding.rule == Rule::M00), "{report}");

    let output = TestApp::run(&["migrate", "lint", "--trace", &url], &[]).await;
    assert_eq!(output.code(), Some(0), "{output:?}");
    let output = TestApp::run(&["migrate", "lint", "--trace", "sqlite://data.db"], &[]).await;
    assert_eq!(output.code(), Some(2), "{output:?}");
}

/// What stands in the plan is what the server does: the strongest lock on the table that a statement is about.
#[tokio::test]
async fn locks_are_those_of_the_server() {
    let database = tests::or_skip!(tests::database(Backend::Postgres).await);
    let connection = database.connect().await;
    for sql in [
        "CREATE TABLE a (id bigint PRIMARY KEY, name text, age bigint, CONSTRAINT grown CHECK (age > 0))",
        "CREATE TABLE b (id bigint PRIMARY KEY, a_id bigint)",
        "ALTER TABLE a ADD CONSTRAINT old CHECK (age < 200) NOT VALID",
        "CREATE INDEX ix_a ON a (name)",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f()",
    ] {
        connection.execute_unprepared(sql).await.unwrap();
    }
    for sql in [
        "ALTER TABLE a ADD COLUMN bio text",
        "ALTER TABLE a DROP COLUMN name",
        "ALTER TABLE a ALTER COLUMN age TYPE numeric",
        "ALTER TABLE a ALTER COLUMN age SET NOT NULL",
        "ALTER TABLE a ALTER COLUMN age SET DEFAULT 1",
        "ALTER TABLE a ALTER COLUMN age SET STATISTICS 100",
        "ALTER TABLE a SET (fillfactor = 70)",
        "ALTER TABLE a ADD CONSTRAINT young CHECK (age < 99) NOT VALID",
        "ALTER TABLE a VALIDATE CONSTRAINT old",
        "ALTER TABLE a DROP CONSTRAINT grown",
        "ALTER TABLE a RENAME COLUMN name TO title",
        "ALTER TABLE a RENAME TO c",
        "ALTER TABLE a DISABLE TRIGGER t",
        "ALTER TABLE a CLUSTER ON ix_a",
        "ALTER TABLE a ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE a ADD FOREIGN KEY (age) REFERENCES b (id) NOT VALID",
        "ALTER TABLE b ADD FOREIGN KEY (a_id) REFERENCES a (id) NOT VALID",
        "ALTER TABLE a SET UNLOGGED",
        "CREATE TABLE d (id bigint, a_id bigint REFERENCES a (id))",
        "CREATE INDEX ix_a_age ON a (age)",
        "REINDEX TABLE a",
        "CREATE TRIGGER u BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION f()",
        "DROP TRIGGER t ON a",
        "CREATE POLICY p ON a USING (true)",
        "CREATE RULE r AS ON DELETE TO a DO INSTEAD NOTHING",
        "INSERT INTO a (id) VALUES (1)",
        "UPDATE a SET age = 2",
        "DELETE FROM a",
        "TRUNCATE a",
        "CLUSTER a USING ix_a",
        "LOCK TABLE a IN SHARE MODE",
        "LOCK a",
    ] {
        let planned = effects(sql);
        let locks: Vec<_> = planned.iter().flat_map(|planned| &planned.locks).filter(|lock| lock.on == "a").collect();
        let mode = locks.iter().map(|lock| lock.mode).max().unwrap_or_else(|| panic!("{sql}: {planned:?}"));
        let transaction = connection.begin().await.unwrap();
        let of_a = "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = ";
        let a: u32 = transaction
            .query_one_raw(Statement::from_string(DbBackend::Postgres, "SELECT 'a'::regclass::oid::bigint AS a"))
            .await
            .unwrap()
            .unwrap()
            .try_get::<i64>("", "a")
            .unwrap()
            .try_into()
            .unwrap();
        transaction.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let held =
            transaction.query_all_raw(Statement::from_string(DbBackend::Postgres, format!("{of_a}{a}"))).await.unwrap();
        let held: Vec<String> = held.iter().map(|row| row.try_get("", "mode").unwrap()).collect();
        transaction.rollback().await.unwrap();
        let expected = spelled_as_in_the_catalog(mode);
        assert!(held.contains(&expected), "{sql}: {expected} is not among {held:?}");
        let stronger = Mode::ALL.iter().filter(|other| **other > mode).map(|other| spelled_as_in_the_catalog(*other));
        assert!(!stronger.into_iter().any(|other| held.contains(&other)), "{sql}: {held:?}");
    }
}

/// `ShareRowExclusiveLock` for `SHARE ROW EXCLUSIVE`.
fn spelled_as_in_the_catalog(mode: Mode) -> String {
    let words = mode.to_string();
    let words = words.split(' ').map(|word| format!("{}{}", &word[..1], word[1..].to_lowercase()));
    format!("{}Lock", words.collect::<String>())
}

#[test]
fn a_plan_makes_nothing() {
    within(LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("in/new.sqlite");
        let url = format!("sqlite://{}", file.display());
        let output = TestApp::run(&["migrate", "plan"], &[("DATABASE_URL", &url)]).await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
        assert!(
            output.stdout.contains("CREATE TABLE \"users\"") && output.stdout.contains("; nothing was run"),
            "{}",
            output.stdout
        );
        assert!(!file.exists() && !file.parent().unwrap().exists());
    });
}

/// Asks of a table what is there, and changes what only the text of a table says.
#[derive(DeriveMigrationName)]
struct AddPointsToUsers;

#[async_trait::async_trait]
impl MigrationTrait for AddPointsToUsers {
    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        alter("users").add_column_filled(big_integer("points"), 7).apply(schema).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        alter("users").drop_column("points").apply(schema).await
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "in memory there is no database of a test's to connect to")]
fn what_is_planned_for_sqlite_is_what_runs() {
    async fn schema_of(database: &DatabaseConnection) -> Vec<(String, Option<String>)> {
        let asked = "SELECT name, sql FROM sqlite_schema ORDER BY name";
        let rows = database.query_all_raw(Statement::from_string(DbBackend::Sqlite, asked)).await.unwrap();
        rows.iter().map(|row| (row.try_get("", "name").unwrap(), row.try_get("", "sql").unwrap())).collect()
    }

    within(LIMIT, async {
        let [migrated, told] = [(); 2].map(|()| {
            let mut options = ConnectOptions::new("sqlite::memory:");
            options.max_connections(1).sqlx_logging(false);
            SeaDatabase::connect(options)
        });
        let (migrated, told) = (migrated.await.unwrap(), told.await.unwrap());
        let mut migrations = Migrator::migrations();
        migrations.push(Box::new(AddPointsToUsers));
        let names: Vec<_> = migrations.iter().map(|migration| migration.name().to_owned()).collect();
        for migration in &migrations {
            migration.up(&SchemaManager::new(&migrated)).await.unwrap();
        }
        let up = plan(&migrations, &names, Direction::Up, DbBackend::Sqlite).await.unwrap();
        let statements = up.steps.iter().flat_map(|step| &step.statements);
        for planned in statements {
            assert_eq!(planned.loses, Vec::<String>::new(), "{}", planned.sql);
            told.execute_unprepared(&planned.sql).await.unwrap_or_else(|error| panic!("{}: {error}", planned.sql));
        }
        let both = schema_of(&migrated).await;
        assert!(both.iter().any(|(_, sql)| sql.as_ref().is_some_and(|sql| sql.contains("NEW.\"points\""))));
        assert!(schema_of(&told).await == both, "what was told makes another schema");

        AddPointsToUsers.down(&SchemaManager::new(&migrated)).await.unwrap();
        let last = names.last().unwrap().clone();
        let down = plan(&migrations, &[last], Direction::Down, DbBackend::Sqlite).await.unwrap();
        let [PlannedStep { statements, failure: None, .. }] = &down.steps[..] else { panic!("{down}") };
        for planned in statements {
            told.execute_unprepared(&planned.sql).await.unwrap();
        }
        assert!(schema_of(&told).await == schema_of(&migrated).await, "what was told makes another schema");
        let lost: Vec<_> = statements.iter().flat_map(|planned| &planned.loses).collect();
        assert_eq!(lost, ["what is in points of users"]);
    });
}

#[test]
fn to_fill_what_was_null_loses_nothing() {
    let loses = |sql: &str| effects(sql).into_iter().flat_map(|planned| planned.loses).collect::<Vec<_>>();
    for fill in [
        "UPDATE a SET b = 1 WHERE b IS NULL",
        "UPDATE a SET b = 1, c = 2 WHERE id BETWEEN 1 AND 9 AND (b IS NULL) AND a.c IS NULL",
    ] {
        assert_eq!(loses(fill), Vec::<String>::new(), "{fill}");
    }
    for other in [
        "UPDATE a SET b = 1",
        "UPDATE a SET b = 1 WHERE b IS NOT NULL",
        "UPDATE a SET b = 1 WHERE b IS NULL OR c IS NULL",
        "UPDATE a SET b = 1, c = 2 WHERE b IS NULL",
        "UPDATE a SET b = 1 WHERE c IS NULL",
    ] {
        assert_eq!(loses(other), ["what rows of a had before"], "{other}");
    }
}

on_both!(
    async fn a_comment_can_be_run_by_itself(database: TestDatabase) {
        let connection = database.connect().await;
        connection.execute_unprepared("-- lint: allow M10 because the table is small").await.unwrap();
    }

    async fn a_plan_tells_what_it_would_lose_and_changes_nothing(database: TestDatabase) {
        let environment = [("DATABASE_URL", database.url.as_str())];
        let before = TestApp::run(&["migrate", "status"], &environment).await.stdout;
        let nothing = TestApp::run(&["migrate", "plan"], &environment).await;
        assert_eq!(nothing.stdout.trim(), "nothing to do", "{}", nothing.stderr);
        let output = TestApp::run(&["--json", "migrate", "plan", "--down", "--num", "1000"], &environment).await;
        assert_eq!(output.code(), Some(0), "{}", output.stderr);
        let json = output.json();
        let steps = json["steps"].as_array().unwrap();
        let names = steps.iter().map(|step| step["name"].as_str().unwrap().to_owned());
        assert!(names.eq(Migrator::migrations().iter().rev().map(|migration| migration.name().to_owned())), "{json}");
        assert!(steps.iter().all(|step| step["direction"] == "down" && step["in_transaction"] == true));
        let of = |name: &str| {
            let step = steps.iter().find(|step| step["name"].as_str().unwrap().ends_with(name)).unwrap();
            step["statements"].as_array().unwrap()
        };
        let loses = |name: &str, what: &str| of(name).iter().any(|planned| planned["loses"][0] == what);
        assert!(loses("create_cache_outbox", "every row of cache_outbox"), "{json}");
        assert!(loses("add_avatar_to_users", "what is in avatar of users"), "{json}");
        let dropped = &of("add_avatar_to_users")[0];
        assert!(dropped["sql"].as_str().unwrap().contains("avatar"));
        if database.backend() == Backend::Postgres {
            let lock =
                serde_json::json!({"on": "users", "mode": "ACCESS EXCLUSIVE", "keeps_out": "readers and writers"});
            assert_eq!(dropped["locks"], serde_json::json!([lock]), "{json}");
        }
        assert_eq!(TestApp::run(&["migrate", "status"], &environment).await.stdout, before);
    }
);
