//! Dumps come back whole into an empty database or not at all, and those of other programs get entities that compile.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use api::command::entity::{GenerateOptions, generate_from};
use sea_orm::ConnectionTrait;
use tests::{
    Backend, Skip, TestApp, TestDatabase,
    app::Output,
    on_both, or_skip, postgres,
    run::{LIMIT, Run},
    within,
};

/// An empty database beside others, and a folder for dumps.
struct Target {
    url: String,
    folder: tempfile::TempDir,
}

impl Target {
    async fn new(backend: Backend) -> Result<Self, Skip> {
        let folder = Run::current().new_folder("restore-");
        let url = match backend {
            Backend::Sqlite => format!("sqlite://{}", folder.path().join("in/restored.sqlite").display()),
            Backend::Postgres => {
                let server = postgres::shared().await?;
                let name = format!("restored_{:016x}", rand::random::<u64>());
                server.execute(format!("CREATE DATABASE {name}")).await;
                server.url(&name)
            }
        };
        Ok(Self { url, folder })
    }

    fn dump(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("dump.sql");
        fs::write(&path, text).unwrap();
        path
    }

    async fn restore(&self, dump: &Path) -> Output {
        let arguments = ["--json", "db", "restore", dump.to_str().unwrap()];
        TestApp::run(&arguments, &[("DATABASE_URL", &self.url)]).await
    }
}

/// Dumps of a database, as its own programs make them.
async fn dumps(database: &TestDatabase, folder: &Path) -> Vec<PathBuf> {
    if database.backend() == Backend::Sqlite {
        let copy = folder.join("copy.db");
        let connection = database.connect().await;
        connection.execute_unprepared(&format!("VACUUM INTO '{}'", copy.display())).await.unwrap();
        connection.close().await.unwrap();
        return vec![copy];
    }
    let mut dumps = Vec::new();
    for (name, format) in [("plain.sql", "plain"), ("archive.dump", "custom")] {
        let path = folder.join(name);
        let mut pg_dump = postgres::program("pg_dump").unwrap();
        pg_dump.arg("--format").arg(format).arg("--file").arg(&path).arg(format!("--dbname={}", database.url));
        let output = pg_dump.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        dumps.push(path);
    }
    dumps
}

on_both!(
    async fn a_dump_comes_back_with_its_history(database: TestDatabase) {
        let seeded = TestApp::run(&["seed"], &[("DATABASE_URL", &database.url)]).await;
        assert_eq!(seeded.code(), Some(0), "{}", seeded.stderr);
        let folder = Run::current().new_folder("dumps-");
        for dump in dumps(&database, folder.path()).await {
            let target = Target::new(database.backend()).await.unwrap();
            let restored = target.restore(&dump).await;
            assert_eq!(restored.code(), Some(0), "{}", restored.stderr);
            let json = restored.json();
            assert!(json["rows"]["users"].as_u64().unwrap() > 0, "{json}");
            assert_eq!(json["schema"]["version"], "m20261121_000015_create_outbox", "{json}");
            assert_eq!(json["schema"]["differences"], serde_json::json!([]), "{json}");
            // Not a second time, and not over what is there.
            let again = target.restore(&dump).await;
            assert_eq!(again.code(), Some(77), "{}", again.stderr);
            assert!(again.stderr.contains("is not empty"), "{}", again.stderr);
        }
    }

    async fn a_dump_that_breaks_off_leaves_nothing(database: TestDatabase) {
        let target = Target::new(database.backend()).await.unwrap();
        let mut broken = vec![
            "CREATE TABLE a (id bigint); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);",
            "BEGIN; CREATE TABLE a (id bigint); SELEC",
        ];
        if database.backend() == Backend::Sqlite {
            // What `sqlite3` writes ends with a COMMIT.
            broken.push("BEGIN; CREATE TABLE a (id bigint);");
        }
        for broken in broken {
            let refused = target.restore(&target.dump(broken)).await;
            assert_eq!(refused.code(), Some(1), "{}", refused.stderr);
            assert!(refused.stderr.contains("the database is as it was"), "{}", refused.stderr);
        }
        let whole = target.restore(&target.dump("CREATE TABLE a (id bigint); INSERT INTO a VALUES (1);")).await;
        assert_eq!(whole.code(), Some(0), "{}", whole.stderr);
        assert_eq!(
            (&whole.json()["rows"], &whole.json()["schema"]["is"]),
            (&serde_json::json!({"a": 1}), &serde_json::json!("without_history"))
        );
    }
);

#[test]
fn what_is_no_dump_is_refused() {
    within(LIMIT, async {
        let target = or_skip!(Target::new(Backend::Postgres).await);
        for (dump, expected) in [
            ("SELECT 1;\n\\! touch /tmp/never\n", "the command \\\\! for psql"),
            ("SQLite format 3\0 and more", "it is a SQLite database"),
            ("\u{1f}\0packed", "unpack it first"),
        ] {
            let refused = target.restore(&target.dump(dump)).await;
            assert_eq!(refused.code(), Some(2), "{}", refused.stderr);
            assert!(refused.stderr.contains(expected), "{}", refused.stderr);
        }
        let file = Target::new(Backend::Sqlite).await.unwrap();
        let refused = file.restore(&file.dump("PGDMP and more")).await;
        assert!(refused.stderr.contains("an archive of PostgreSQL's"), "{}", refused.stderr);
        let missing = file.restore(Path::new("/nowhere/dump.sql")).await;
        assert_eq!(missing.code(), Some(74), "{}", missing.stderr);
    });
}

/// As `pg_dump` writes it: names that want quotes, enumerations, keys of several columns, what has no Rust name or type.
const ODD_POSTGRES: &str = r#"
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE TYPE public.mood AS ENUM ('well', 'not so well', 'in-between');
CREATE TYPE public.sign AS ENUM ('+', '-');
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $_$ BEGIN RETURN NEW; END $_$;
CREATE TABLE public."Odd Table" (
    "Id" bigint GENERATED BY DEFAULT AS IDENTITY,
    "type" text NOT NULL,
    "select" integer DEFAULT 1,
    "How are you?" public.mood NOT NULL,
    sign public.sign,
    "2fa" boolean,
    price numeric(10, 2),
    address inet,
    twice bigint GENERATED ALWAYS AS ("Id" * 2) STORED,
    "Größe" double precision,
    at timestamp with time zone DEFAULT now(),
    CONSTRAINT "Odd Key" PRIMARY KEY ("Id")
);
CREATE TABLE public.lines (
    "order" uuid NOT NULL, number smallint NOT NULL, odd bigint, parent_order uuid, parent_number smallint,
    tags text[], note json, PRIMARY KEY ("order", number)
);
CREATE TABLE public.log (at timestamp, line text);
CREATE TABLE public.odd (odd bigint PRIMARY KEY);
COPY public."Odd Table" ("Id", "type", "How are you?") FROM stdin;
1	a\tb	not so well
2	\\	well
\.
ALTER TABLE ONLY public.lines ADD CONSTRAINT "lines odd" FOREIGN KEY (odd) REFERENCES public."Odd Table"("Id");
ALTER TABLE ONLY public.lines ADD CONSTRAINT lines_parent FOREIGN KEY (parent_order, parent_number)
    REFERENCES public.lines("order", number) ON DELETE CASCADE;
ALTER TABLE ONLY public.odd ADD CONSTRAINT odd_odd FOREIGN KEY (odd) REFERENCES public."Odd Table"("Id");
CREATE UNIQUE INDEX "Odd Index" ON public."Odd Table" (lower("type")) WHERE "select" > 1;
CREATE TRIGGER touched BEFORE UPDATE ON public.lines FOR EACH ROW EXECUTE FUNCTION public.touch();
CREATE VIEW public.well AS SELECT "Id" FROM public."Odd Table" WHERE "How are you?" = 'well';
"#;

/// As `sqlite3` writes it.
const ODD_SQLITE: &str = r#"PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE [Odd Table] ("Id" INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, "select" INT DEFAULT 1,
    "How are you?" TEXT CHECK ("How are you?" IN ('well', 'unwell')), "2fa" BOOLEAN, price DECIMAL(10, 2),
    twice INT AS ("Id" * 2), at DATETIME);
INSERT INTO "Odd Table" ("Id", type) VALUES(1, 'it''s');
CREATE TABLE lines ("order" TEXT NOT NULL, number SMALLINT NOT NULL, odd INTEGER REFERENCES [Odd Table], data BLOB,
    PRIMARY KEY ("order", number)) WITHOUT ROWID;
CREATE TABLE log (at, line);
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('Odd Table', 41);
CREATE INDEX ix ON lines (odd DESC);
CREATE TRIGGER touched AFTER UPDATE ON lines BEGIN SELECT 1; END;
COMMIT;
"#;

/// Whether the compiler takes these entities, with the library that the tests were built with.
fn compile(folder: &Path) -> Result<(), String> {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let files = fs::read_dir(&deps).unwrap().map(|file| file.unwrap().path());
    let is_library = |file: &PathBuf| {
        let name = file.file_name().unwrap().to_str().unwrap();
        name.starts_with("libsea_orm-") && name.ends_with(".rlib")
    };
    // Other features make others; the newest is ours.
    let newest = files.filter(is_library).max_by_key(|file| file.metadata().unwrap().modified().unwrap()).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "--crate-type=lib", "--crate-name=odd", "--emit=metadata", "--cap-lints=allow"]);
    rustc.arg("--out-dir").arg(folder).arg("--extern").arg(format!("sea_orm={}", newest.display()));
    rustc.arg("-L").arg(format!("dependency={}", deps.display())).arg(folder.join("lib.rs"));
    let output = rustc.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

async fn gets_entities(backend: Backend, dump: &str, tables: &[(&str, u64)], left_out: &[&str]) {
    let target = or_skip!(Target::new(backend).await);
    let restored = target.restore(&target.dump(dump)).await;
    assert_eq!(restored.code(), Some(0), "{}", restored.stderr);
    for (table, rows) in tables {
        assert_eq!(restored.json()["rows"][table], *rows, "{table}: {}", restored.stdout);
    }
    let out = target.folder.path().join("entity");
    let generated = generate_from(GenerateOptions { from: target.url.clone(), out: out.clone() }).await.unwrap();
    assert_eq!(generated.left_out, left_out);
    assert_eq!(generated.report.removed, [""; 0]);
    if let Err(error) = compile(&out) {
        let files = generated.report.added.iter().map(|file| fs::read_to_string(out.join(file)).unwrap());
        panic!("{error}\n{}", files.collect::<Vec<_>>().join("\n"));
    }
    let odd = fs::read_to_string(out.join("odd_table.rs")).unwrap();
    assert!(odd.contains("table_name = \"Odd Table\"") && odd.contains("column_name = \"How are you?\""), "{odd}");
}

#[test]
fn a_foreign_dump_gets_entities_that_compile_postgres() {
    within(LIMIT, async {
        let left_out = [
            "Odd Table.2fa: its name can be none in Rust",
            "Odd Table.address: there is no Rust type for inet",
            "Odd Table.price: there is no Rust type for numeric",
            "Odd Table.sign: the values of sign can be no names in Rust",
            "Odd Table.twice: it is computed by the database",
            "lines (parent_order, parent_number): the generator cannot say that it refers to itself",
            "lines.tags: there is no Rust type for array",
            "log: it has no primary key that an entity could have",
        ];
        let tables = [("Odd Table", 2), ("lines", 0), ("log", 0), ("odd", 0)];
        gets_entities(Backend::Postgres, ODD_POSTGRES, &tables, &left_out).await;
    });
}

#[test]
fn a_foreign_dump_gets_entities_that_compile_sqlite() {
    within(LIMIT, async {
        let left_out = [
            "Odd Table.2fa: its name can be none in Rust",
            "Odd Table.price: there is no Rust type for decimals",
            "Odd Table.twice: it is computed by the database",
            "log: it has no primary key that an entity could have",
        ];
        let tables = [("Odd Table", 1), ("lines", 0), ("log", 0)];
        gets_entities(Backend::Sqlite, ODD_SQLITE, &tables, &left_out).await;
    });
}
