//! What is refused before anything is done: what the lint finds where the database is in use, and a way back where there
//! is none. And what is sent by itself can be sent again.

use std::time::Duration;

use api::{
    command::{
        CommandError, Exit,
        migrate::{
            Authority, Consent, MigrateCommand, MigrateError, Options, Output, Overview, Plan, Program, Standing,
            Status, StepStatus, down,
            lint::{Rule, lint_migrations},
            refresh, reset, status, to, up,
        },
    },
    schema::Schema,
};
use migration::{MigrationTrait, SqlMigration, index_concurrently, irreversible};
use sea_orm::{ConnectionTrait, DatabaseConnection};
use sea_orm_migration::prelude::{DbErr, MigrationName, SchemaManager};
use tests::{TestApp, or_skip, within};

use crate::{
    migration::dump,
    migrator::{Empty, Place, YES, column, emptied, on_empty},
};

const MINUTE: Duration = Duration::from_secs(60);

on_empty! {
    within MINUTE, what_is_dangerous_is_refused_where_the_database_is_in_use: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, case_59_what_cannot_be_rolled_back_is_refused_before_anything_is: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, in_production_nothing_is_overridden: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, indexes_are_made_concurrently: sqlite at Sqlite, postgres at Postgres;
    within MINUTE, what_a_failed_index_leaves_is_dropped: postgres at Postgres, pgbouncer at PgBouncer;
}

fn of(migrations: fn() -> Vec<Box<dyn MigrationTrait>>) -> Options {
    Options { program: Program { migrations, source: |_, _| None }, ..Options::default() }
}

fn boxed(sql: &'static [SqlMigration]) -> Vec<Box<dyn MigrationTrait>> {
    migration::among(Vec::new(), sql)
}

fn names(standings: &[Standing], status: Status) -> Vec<&str> {
    standings.iter().filter(|one| one.status == status).map(|one| one.name.as_str()).collect()
}

const CREATE: SqlMigration = SqlMigration::new(
    "20260101_000001_create_notes",
    // Its finding was somebody's concern when it was applied.
    &[("up.sql", "CREATE TABLE notes (id int PRIMARY KEY, n bigint);"), ("down.sql", "DROP TABLE notes;")],
);
const INDEX: &str = "CREATE INDEX ix_notes_n ON notes (n);";
const DROP_INDEX: (&str, &str) = ("down.sql", "-- lint: allow M12 because few use it\nDROP INDEX ix_notes_n;");
const DANGEROUS: &[SqlMigration] =
    &[CREATE, SqlMigration::new("20260101_000002_index_notes", &[("up.sql", INDEX), DROP_INDEX])];
const ALLOWED: &[SqlMigration] = &[
    CREATE,
    SqlMigration::new(
        "20260101_000002_index_notes",
        &[
            ("up.sql", "-- lint: allow M10 because there are ten notes\nCREATE INDEX ix_notes_n ON notes (n);"),
            DROP_INDEX,
        ],
    ),
];

fn has_index(schema: &Schema, name: &str) -> bool {
    schema.tables.values().any(|table| table.indexes.contains_key(name))
}

async fn what_is_dangerous_is_refused_where_the_database_is_in_use(empty: &Empty) {
    let indexes = async |database: &DatabaseConnection| has_index(&dump(database).await, "ix_notes_n");
    // Where there is nothing, nothing can be hurt.
    let database = empty.open(&of(|| boxed(DANGEROUS))).await;
    assert_eq!(up(&database, None).await.unwrap().len(), 2);
    database.close().await;
    emptied(empty).await.close().await;

    let database = empty.open(&of(|| boxed(DANGEROUS))).await;
    assert_eq!(up(&database, Some(1)).await.unwrap().len(), 1);
    let schema = dump(&database).await;
    for error in [up(&database, None).await.unwrap_err(), to(&database, "20260101_000002", YES).await.unwrap_err()] {
        let MigrateError::Unsafe { report } = &error else { panic!("{error}") };
        let found: Vec<_> = report.findings.iter().map(|one| (one.rule, one.migration.as_str())).collect();
        assert_eq!(found, [(Rule::M10, "20260101_000002_index_notes")], "{report}");
        assert_eq!(report.migrations, 1);
        assert_eq!(dump(&database).await, schema);
        assert_eq!(names(&status(&database).await.unwrap(), Status::Applied), ["20260101_000001_create_notes"]);
        let error = CommandError::from(error);
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.report().unwrap().to_string().contains("CREATE INDEX CONCURRENTLY"));
        assert!(error.advice().unwrap().contains("-- lint: allow"), "{:?}", error.advice());
    }
    database.close().await;

    // With a reason in the migration, or by hand.
    let database = empty.open(&of(|| boxed(ALLOWED))).await;
    assert_eq!(up(&database, None).await.unwrap().len(), 1);
    assert!(indexes(&database).await);
    down(&database, Some(1), YES).await.unwrap();
    database.close().await;
    let database = empty.open(&Options { despite_lint: true, ..of(|| boxed(DANGEROUS)) }).await;
    assert_eq!(up(&database, None).await.unwrap().len(), 1);
    assert!(indexes(&database).await);
    database.close().await;
}

async fn in_production_nothing_is_overridden(empty: &Empty) {
    let url = [("DATABASE_URL", empty.url.as_str())];
    let production = [url[0], ("PROFILE", "production"), ("SECRET_KEY", "0123456789abcdef0123456789abcdef")];
    assert_eq!(TestApp::run(&["migrate", "up", "--despite-lint"], &url).await.code(), Some(0));
    let schema = TestApp::run(&["migrate", "status", "--json"], &url).await.stdout;
    for arguments in [
        &["migrate", "up", "--despite-lint"][..],
        &["migrate", "to", "m20261121_000003", "--despite-lint"],
        &["migrate", "down", "--yes", "--forget-irreversible"],
        &["migrate", "reset", "--yes", "--forget-irreversible"],
    ] {
        let output = TestApp::run(arguments, &production).await;
        assert_eq!(output.code(), Some(77), "{arguments:?}: {}", output.stderr);
    }
    assert_eq!(TestApp::run(&["migrate", "status", "--json"], &url).await.stdout, schema);
}

/// In Rust: what it did cannot be told from what was there before.
struct Halve;

impl MigrationName for Halve {
    fn name(&self) -> &str {
        "m20260101_000002_halve"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Halve {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        let sql = "UPDATE notes SET n = n / 2 WHERE id BETWEEN 1 AND 10";
        schema.get_connection().execute_unprepared(sql).await.map(|_| ())
    }

    async fn down(&self, _: &SchemaManager) -> Result<(), DbErr> {
        Err(irreversible("half of an odd number is rounded"))
    }
}

const FILLED: SqlMigration = SqlMigration::new(
    "20260101_000001_create_notes",
    &[
        ("up.sql", "CREATE TABLE notes (id bigint PRIMARY KEY, n bigint);\nINSERT INTO notes VALUES (1, 7);"),
        ("down.sql", "DROP TABLE notes;"),
    ],
);
const ONE_WAY: &[SqlMigration] = &[
    FILLED,
    SqlMigration::new(
        "20260101_000003_forget_n",
        &[("up.sql", "-- irreversible because nobody knows the numbers\nUPDATE notes SET n = 0 WHERE id = 1;")],
    ),
    SqlMigration::new(
        "20260101_000004_add_label",
        &[("up.sql", "ALTER TABLE notes ADD label text;"), ("down.sql", "ALTER TABLE notes DROP COLUMN label;")],
    ),
];

async fn case_59_what_cannot_be_rolled_back_is_refused_before_anything_is(empty: &Empty) {
    const NAMES: [&str; 2] = ["20260101_000003_forget_n", "m20260101_000002_halve"];
    let migrations = || migration::among(vec![Box::new(Halve) as Box<dyn MigrationTrait>], ONE_WAY);
    let report = lint_migrations(&migrations()).await;
    assert!(report.is_clean(), "{report}");
    let options = of(migrations);
    let database = empty.open(&options).await;
    up(&database, None).await.unwrap();
    let schema = dump(&database).await;

    for error in [
        down(&database, Some(3), YES).await.unwrap_err(),
        down(&database, None, YES).await.unwrap_err(),
        to(&database, "20260101_000001", YES).await.unwrap_err(),
        refresh(&database, YES).await.unwrap_err(),
        reset(&database, YES).await.unwrap_err(),
    ] {
        let MigrateError::Irreversible { irreversible } = &error else { panic!("{error}") };
        let refused: Vec<_> = irreversible.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(refused, NAMES);
        let says = error.to_string();
        assert!(says.contains("nobody knows the numbers") && says.contains("is rounded"), "{says}");
        assert_eq!(dump(&database).await, schema, "{says}");
        assert_eq!(names(&status(&database).await.unwrap(), Status::Pending), [""; 0], "{says}");
        assert!(CommandError::from(error).advice().unwrap().contains("--forget-irreversible"));
    }
    database.close().await;

    // It is told beforehand.
    let context = api::command::migrate::Context {
        database_url: &empty.url,
        authority: Authority::default(),
        options: options.clone(),
        folder: "nowhere".into(),
        consent: Consent { ..YES },
        now: std::time::SystemTime::UNIX_EPOCH,
    };
    let told = async |command| {
        let output = api::command::migrate::run(command, &context, std::future::pending()).await.unwrap();
        (output.to_string(), output)
    };
    let (text, standings) = told(MigrateCommand::Status).await;
    let Output::Status(Overview { standings, .. }) = standings else { panic!("{text}") };
    assert_eq!(standings[1].irreversible.as_deref(), Some("half of an odd number is rounded"));
    assert!(standings[0].irreversible.is_none());
    assert!(text.contains("cannot be rolled back: nobody knows the numbers"), "{text}");
    let (text, plan) = told(MigrateCommand::Plan { down: true, number: Some(2) }).await;
    let Output::Plan(Plan { steps }) = plan else { panic!("{text}") };
    assert_eq!(steps[1].irreversible.as_deref(), Some("nobody knows the numbers"));
    assert!(text.contains("forget_n CANNOT BE ROLLED BACK: nobody knows the numbers"), "{text}");

    // What comes after it can be; and where that is said, it is only forgotten.
    let database = empty.open(&Options { forget_irreversible: true, ..options }).await;
    let steps = down(&database, Some(3), YES).await.unwrap();
    let statuses: Vec<_> = steps.iter().map(|step| step.status).collect();
    assert_eq!(statuses, [StepStatus::RolledBack, StepStatus::Forgotten, StepStatus::Forgotten]);
    assert_eq!(column::<i64>(&database, "SELECT n FROM notes").await, [0]);
    let standings = status(&database).await.unwrap();
    assert_eq!(names(&standings, Status::Applied), ["20260101_000001_create_notes"]);
    assert!(standings.iter().all(|one| one.problem.is_none() && one.begun.is_none()), "{standings:?}");
    let log = "SELECT action FROM _seaql_migrations_log ORDER BY id DESC LIMIT 2";
    assert_eq!(column::<String>(&database, log).await, ["forget", "forget"]);
    assert_eq!(up(&database, None).await.unwrap().len(), 3);
    database.close().await;
}

/// In Rust, on both databases.
struct IndexNotes;

impl MigrationName for IndexNotes {
    fn name(&self) -> &str {
        "m20260101_000002_index_notes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for IndexNotes {
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        index_concurrently(schema, "ix_notes_n", "notes (n)", false).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        let concurrently =
            if schema.get_database_backend() == sea_orm::DbBackend::Postgres { "CONCURRENTLY" } else { "" };
        let sql = format!("DROP INDEX {concurrently} IF EXISTS ix_notes_n");
        schema.get_connection().execute_unprepared(&sql).await.map(|_| ())
    }
}

const TWO_INDEXES: &[SqlMigration] = &[
    FILLED,
    SqlMigration::new(
        "20260101_000003_index_notes",
        &[
            (
                "up.postgres.sql",
                "-- no transaction\n\
                 DROP INDEX CONCURRENTLY IF EXISTS ix_a; -- what was left\n\
                 CREATE INDEX CONCURRENTLY ix_a ON notes (n, id);\n\
                 -- Of a semicolon in 'text';\n\
                 CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_b ON notes (n) WHERE n::text <> ';';\n",
            ),
            (
                "up.sqlite.sql",
                "-- no transaction\nCREATE INDEX IF NOT EXISTS ix_a ON notes (n, id);\nCREATE INDEX IF NOT EXISTS ix_b \
                 ON notes (n) WHERE n <> ';';",
            ),
            (
                "down.postgres.sql",
                "-- no transaction\nDROP INDEX CONCURRENTLY IF EXISTS ix_b;\nDROP INDEX CONCURRENTLY IF EXISTS ix_a;",
            ),
            ("down.sqlite.sql", "DROP INDEX IF EXISTS ix_b;\nDROP INDEX IF EXISTS ix_a;"),
        ],
    ),
];

async fn indexes_are_made_concurrently(empty: &Empty) {
    let report = lint_migrations(&[Box::new(IndexNotes) as Box<dyn MigrationTrait>]).await;
    assert!(report.is_clean(), "{report}");
    let migrations = || migration::among(vec![Box::new(IndexNotes) as Box<dyn MigrationTrait>], TWO_INDEXES);
    let database = empty.open(&Options { despite_lint: true, ..of(migrations) }).await;
    up(&database, Some(1)).await.unwrap();
    let before = dump(&database).await;
    for _ in 0..2 {
        assert_eq!(up(&database, None).await.unwrap().len(), 2);
        let made = dump(&database).await;
        for index in ["ix_notes_n", "ix_a", "ix_b"] {
            assert!(has_index(&made, index), "{index}: {made:?}");
        }
        assert_eq!(down(&database, Some(2), YES).await.unwrap().len(), 2);
        assert_eq!(dump(&database).await, before);
    }
    database.close().await;
}

/// Twice in the same number, a unique index cannot be made; what is left of it looks like one.
async fn what_a_failed_index_leaves_is_dropped(empty: &Empty) {
    const UNIQUE: &[SqlMigration] = &[
        FILLED,
        SqlMigration::new(
            "20260101_000002_unique_n",
            &[(
                "up.sql",
                "-- no transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_notes_n ON notes (n);\n\
                 CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_notes_n ON notes (n);",
            )],
        ),
    ];
    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
    let database = empty.open(&Options { despite_lint: true, ..of(|| boxed(UNIQUE)) }).await;
    up(&database, Some(1)).await.unwrap();
    database.execute_unprepared("INSERT INTO notes VALUES (2, 7)").await.unwrap();
    for _ in 0..2 {
        let error = up(&database, None).await.unwrap_err();
        let MigrateError::Step { name, undone: false, source, .. } = &error else { panic!("{error}") };
        assert!(name == "20260101_000002_unique_n" && source.to_string().contains("could not create unique index"));
        assert_eq!(column::<i64>(&database, invalid).await, [1], "the server leaves what this is about");
    }
    database.execute_unprepared("DELETE FROM notes WHERE id = 2").await.unwrap();
    assert_eq!(up(&database, None).await.unwrap().len(), 1);
    assert_eq!(column::<i64>(&database, invalid).await, [0]);
    let error = database.execute_unprepared("INSERT INTO notes VALUES (2, 7)").await.unwrap_err();
    assert!(error.to_string().contains("uq_notes_n"), "{error}");
    database.close().await;
}
