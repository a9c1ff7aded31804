//! The roles of the database: what each may do, tried out cell by cell; who may migrate; and that the service works as a
//! role that can do nothing but its work.

use std::process::{Command, Stdio};

use api::command::roles::Role;
use domain::{Error, Sql, Store};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use tests::{
    Backend, PATIENCE, Postgres, TestApp, TestDatabase, app::Launch, eventually, on_both, or_skip, process, run::LIMIT,
    within,
};

use crate::fixture::{account, content, execute, new_tag, open, options, read, tag, user};

const PRODUCTION: [(&str, &str); 2] = [("PROFILE", "production"), ("SECRET_KEY", "0123456789abcdef0123456789abcdef")];
const KEY: (&str, &str) = ("MIGRATION_GRANT_KEY", "fedcba9876543210fedcba9876543210");
const ROLES: [Role; 3] = [Role::App, Role::Read, Role::Backup];

/// A database with its roles, and the tables that migrations are kept account of in.
async fn with_roles() -> Result<TestDatabase, tests::Skip> {
    let database = tests::database(Backend::Postgres).await?;
    let up = TestApp::run(&["migrate", "up"], &[("DATABASE_URL", database.url_as_superuser())]).await;
    assert_eq!(up.code(), Some(0), "{}", up.stderr);
    let made = database.make_roles().await;
    assert_eq!((made.roles.len(), made.findings.as_slice()), (4, &[][..]));
    Ok(database)
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn store_as(database: &TestDatabase, role: Role) -> Store {
    open(&options(&database.url_as(role))).await
}

/// What the server answers a statement, which is undone in any case: nothing, or the code of its error.
async fn answer(connection: &mut PgConnection, statement: &str) -> Option<String> {
    let mut transaction = connection.begin().await.unwrap();
    let done = transaction.execute(AssertSqlSafe(statement.to_owned())).await;
    transaction.rollback().await.unwrap();
    done.err().map(|error| error.as_database_error().unwrap_or_else(|| panic!("{error}")).code().unwrap().into_owned())
}

/// Every table with its columns.
async fn tables(database: &TestDatabase) -> Vec<(String, Vec<String>)> {
    let sql = "SELECT table_name::text, string_agg(column_name, ' ' ORDER BY ordinal_position) \
               FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name ORDER BY table_name";
    let mut connection = connect(database.url_as_superuser()).await;
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    let columns = |row: &sqlx::postgres::PgRow| row.get::<String, _>(1).split(' ').map(str::to_owned).collect();
    rows.iter().map(|row| (row.get(0), columns(row))).collect()
}

/// The matrix, as it is meant to be: it is said here once more, so that nobody widens it by mistake.
fn may(role: Role, operation: &str, table: &str, column: &str) -> bool {
    const TOLD: [&str; 6] = ["id", "collection", "entity", "body", "context", "at"];
    const DELIVERED: [&str; 7] = ["context", "sequence", "previous", "hash", "attempts", "reason", "dead_at"];
    const SEALED: [&str; 4] = ["sequence", "hash", "relay", "relay_until"];
    match (role, operation) {
        (_, "SELECT") => true,
        (_, "TRUNCATE") | (Role::Read | Role::Backup, _) => false,
        _ => match (table, operation) {
            ("seaql_migrations" | "_seaql_migrations_lock" | "_seaql_migrations_log", _) => false,
            ("_seaql_migrations_refusals" | "idempotency_keys" | "transfers", _) => operation == "INSERT",
            ("outbox", "INSERT") => TOLD.contains(&column),
            ("outbox", "UPDATE") => DELIVERED.contains(&column),
            ("cache_outbox", "INSERT") => ["tx", "keys"].contains(&column),
            ("cache_outbox", "UPDATE") => false,
            ("audit_head", "UPDATE") => SEALED.contains(&column),
            ("audit_head", _) => false,
            _ => true,
        },
    }
}

#[test]
fn each_role_may_do_what_it_needs_and_nothing_else() {
    within(3 * LIMIT, async {
        let database = or_skip!(with_roles().await);
        let tables = tables(&database).await;
        assert!(
            tables.len() > 18 && tables.iter().any(|(table, _)| table == "_seaql_migrations_refusals"),
            "{tables:?}"
        );
        let mut wrong = Vec::new();
        let mut cells = 0;
        for role in ROLES {
            let mut connection = connect(&database.url_as(role)).await;
            for (table, columns) in &tables {
                let mut operations = vec![
                    ("DELETE", "", format!("DELETE FROM {table} WHERE false")),
                    ("TRUNCATE", "", format!("TRUNCATE {table} CASCADE")),
                ];
                for column in columns {
                    let one = format!("\"{column}\"");
                    operations.push(("SELECT", column, format!("SELECT {one} FROM {table} WHERE false")));
                    let insert = format!("INSERT INTO {table} ({one}) SELECT {one} FROM {table} WHERE false");
                    operations.push(("INSERT", column, insert));
                    operations.push(("UPDATE", column, format!("UPDATE {table} SET {one} = {one} WHERE false")));
                }
                for (operation, column, statement) in operations {
                    let answer = answer(&mut connection, &statement).await;
                    let expected = if may(role, operation, table, column) { None } else { Some("42501") };
                    if answer.as_deref() != expected {
                        wrong.push(format!("{role:?} {statement}: {answer:?}, not {expected:?}"));
                    }
                    cells += 1;
                }
            }
        }
        println!("{cells} cells");
        assert!(cells > 1_000 && wrong.is_empty(), "{wrong:#?}");
    });
}

/// What changes a schema, or makes more of a role than it is.
const DDL: &[&str] = &[
    "CREATE TABLE mine (id integer)",
    "CREATE TEMPORARY TABLE mine (id integer)",
    "CREATE TABLE mine AS SELECT * FROM users",
    "SELECT * INTO mine FROM users",
    "CREATE VIEW mine AS SELECT * FROM users",
    "CREATE MATERIALIZED VIEW mine AS SELECT * FROM users",
    "CREATE SEQUENCE mine",
    "CREATE TYPE mine AS ENUM ('a')",
    "CREATE DOMAIN mine AS text",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION audit_users() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE SCHEMA mine",
    "CREATE EXTENSION pg_stat_statements",
    "CREATE INDEX mine ON users (name)",
    "CREATE TRIGGER mine AFTER INSERT ON users EXECUTE FUNCTION audit_users()",
    "CREATE RULE mine AS ON DELETE TO transfers DO INSTEAD NOTHING",
    "CREATE POLICY mine ON users USING (true)",
    "ALTER TABLE users ADD COLUMN mine text",
    "ALTER TABLE users DISABLE TRIGGER ALL",
    "ALTER TABLE transfers DISABLE TRIGGER tr_transfers_append_only",
    "ALTER TABLE users RENAME TO mine",
    "ALTER TABLE users OWNER TO CURRENT_USER",
    "ALTER FUNCTION audit_users() RENAME TO mine",
    "ALTER SEQUENCE outbox_number_seq RESTART",
    "ALTER SCHEMA public RENAME TO mine",
    "DROP TABLE tags",
    "DROP INDEX uq_users_email",
    "DROP TRIGGER audit_users_row ON users",
    "DROP FUNCTION audit_users() CASCADE",
    "DROP SCHEMA public CASCADE",
    "COMMENT ON TABLE users IS 'mine'",
    "REINDEX TABLE users",
    "CLUSTER users USING uq_users_email",
    "GRANT ALL ON users TO PUBLIC",
    "CREATE ROLE mine",
    "ALTER ROLE postgres NOLOGIN",
    "SET session_replication_role = replica",
    "SET ROLE postgres",
];

#[test]
fn who_does_not_migrate_changes_no_schema() {
    within(LIMIT, async {
        let database = or_skip!(with_roles().await);
        for role in ROLES {
            let mut connection = connect(&database.url_as(role)).await;
            let owner = Role::Owner.name(database.url_as_superuser().rsplit('/').next().unwrap());
            let become_owner = format!("SET ROLE {owner}");
            for statement in DDL.iter().copied().chain([become_owner.as_str()]) {
                let answer = answer(&mut connection, statement).await;
                // GRANT by who has nothing to give is a warning; and then nothing is given.
                let expected = if statement.starts_with("GRANT") && answer.is_none() { None } else { Some("42501") };
                assert_eq!(answer.as_deref(), expected, "{role:?} {statement}");
            }
        }
        let mut owner = connect(&database.url_as(Role::Owner)).await;
        for statement in
            ["CREATE TABLE mine (id integer)", "ALTER TABLE users ADD COLUMN mine text", "DROP TABLE transfers"]
        {
            assert_eq!(answer(&mut owner, statement).await, None, "{statement}");
        }
        // As everybody: whatever is on users for others is not there.
        let mut app = connect(&database.url_as(Role::Read)).await;
        assert_eq!(answer(&mut app, "DELETE FROM users").await.as_deref(), Some("42501"));
    });
}

#[test]
fn sql_of_one_s_own_is_refused_what_the_service_may_not() {
    within(LIMIT, async {
        let database = or_skip!(with_roles().await);
        let store = store_as(&database, Role::App).await;
        let made = user(&store, "ada").await;
        for sql in [
            "CREATE TABLE mine (id integer)",
            "DROP TABLE users",
            "TRUNCATE users CASCADE",
            "ALTER TABLE users DISABLE TRIGGER ALL",
            "UPDATE outbox SET body = '{}'",
            "INSERT INTO outbox (number, collection, entity, body) VALUES (1, 'audit', 'users:1', '{}')",
            "DELETE FROM audit_head",
            "DELETE FROM seaql_migrations",
            "UPDATE _seaql_migrations_log SET os_user = 'nobody'",
            "DELETE FROM _seaql_migrations_refusals",
            "DELETE FROM transfers",
            "UPDATE idempotency_keys SET body = ''",
            "SET LOCAL session_replication_role = replica",
        ] {
            let refused = execute(&store, Sql::new(sql)).await;
            assert!(matches!(refused, Err(Error::Forbidden(_))), "{sql}: {refused:?}");
            let told = refused.unwrap_err();
            assert!(!told.is_retryable() && !told.to_string().contains("mine"), "{told}");
        }
        let refused = store.query(Sql::new("SELECT rolpassword FROM pg_authid")).await;
        assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
        // What it may goes on, and is bound, told and audited as ever.
        let renamed =
            Sql::new("UPDATE users SET name = $1, version = version + 1 WHERE id = $2").bind("Ada").bind(made.id);
        assert_eq!(execute(&store, renamed).await.unwrap(), 1);
        let entries = store.query(Sql::new("SELECT body FROM outbox WHERE collection = 'audit'")).await.unwrap();
        let entries = entries.column::<String>("body").unwrap();
        assert!(entries.iter().any(|entry| entry.contains("\"update\"") && entry.contains("Ada")), "{entries:?}");

        // One who only reads writes nothing, by no way.
        let reader = store_as(&database, Role::Read).await;
        assert_eq!(reader.find::<domain::User>(made.id).await.unwrap().name, "Ada");
        for refused in [
            reader.insert(new_tag("mine")).await.map(drop),
            reader.delete::<domain::User>(made.id, 2).await,
            execute(&reader, Sql::new("UPDATE users SET name = 'mine'")).await.map(drop),
        ] {
            assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
        }
    });
}

/// Writes, relations, money, documents, what is done once, what is told and what is delivered.
#[test]
fn the_service_works_in_production_as_its_role() {
    within(2 * LIMIT, async {
        let database = or_skip!(with_roles().await);
        let url = database.url_as(Role::App);
        let environment = [&[("DATABASE_URL", url.as_str())][..], &PRODUCTION].concat();
        let mut app = Launch::default().environment(&environment).start().await;
        let send = async |method: reqwest::Method, path: &str, version: i64, body: &Value| {
            let request = app.client().request(method, app.url(path)).header("if-match", format!("\"{version}\""));
            let key =
                format!("{path}{version}{body}").chars().filter(char::is_ascii_graphic).take(128).collect::<String>();
            let request = request.header("idempotency-key", key).json(body);
            let answer = request.send().await.unwrap();
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert!(status < 300, "{path}: {status} {text}");
            serde_json::from_str::<Value>(&text).unwrap_or_default()
        };
        let post = async |path: &str, body: Value| send(reqwest::Method::POST, path, 0, &body).await;
        let ada = json!({"email": "ada@example.org", "name": "Ada", "profile": {"city": "London"}});
        let ada = post("/v1/users", ada).await;
        let accounts =
            ["EUR", "EUR"].map(|currency| json!({"owner_id": ada["id"], "currency": currency, "balance": 100}));
        let [from, to] = accounts;
        let (from, to) = (post("/v1/accounts", from).await, post("/v1/accounts?", to).await);
        let transfer = json!({"from_account_id": from["id"], "to_account_id": to["id"], "amount": 30});
        assert_eq!(post("/v1/transfers", transfer.clone()).await, post("/v1/transfers", transfer).await);
        let content = json!({"author_id": ada["id"], "title": "t", "body": "b", "tags": []});
        let content = post("/v1/contents", content).await;
        let path = format!("/v1/contents/{}", content["id"].as_str().unwrap());
        send(reqwest::Method::PATCH, &path, 1, &json!({"title": "u"})).await;
        send(reqwest::Method::DELETE, &path, 2, &json!({})).await;
        let insight = json!({"user_id": ada["id"], "date": "2026-12-24", "energy_level": 85});
        post("/v1/planetary-insights", insight).await;
        let page = app.client().get(app.url("/v1/users?include=profile,accounts")).send().await.unwrap();
        let page: Value = page.json().await.unwrap();
        assert_eq!(page["items"][0]["profile"]["city"], "London", "{page}");

        // All of it is delivered and sealed, by the same role.
        let outbox = async || {
            let status = TestApp::run(&["outbox", "status", "--json"], &environment).await.json();
            assert_eq!(status["dead"], 0, "{status}");
            (status["rows"] == 0).then_some(())
        };
        eventually("all is delivered", PATIENCE, outbox).await;
        let verified = TestApp::run(&["audit", "verify"], &environment).await;
        assert_eq!(verified.code(), Some(0), "{}{}", verified.stdout, verified.stderr);
        let doctor = TestApp::run(&["doctor"], &environment).await;
        assert_eq!(doctor.code(), Some(0), "{}", doctor.stdout);
        assert!(doctor.stdout.contains("the role cannot change the schema"), "{}", doctor.stdout);
        assert!(app.stop().await.success(), "{}", app.output());
        assert!(!app.output().contains("permission denied"), "{}", app.output());
    });
}

#[test]
fn business_code_works_as_the_role_of_the_service() {
    within(LIMIT, async {
        let database = or_skip!(with_roles().await);
        let store = store_as(&database, Role::App).await;
        let ada = user(&store, "ada").await;
        let text = content(&store, ada.id, "first").await;
        let rust = tag(&store, "rust").await;
        let accounts = [account(&store, ada.id, 100).await, account(&store, ada.id, 0).await];
        store
            .write(move |work| async move {
                work.link(&domain::Content::TAGS, text.id, rust.id, None).await?;
                let many = (0..50).map(|n| new_tag(format!("tag {n}"))).collect::<Vec<_>>();
                assert_eq!(work.insert_all(many).await?.len(), 50);
                work.lock::<domain::User>(ada.id).await?;
                Ok(())
            })
            .await
            .unwrap();
        let transfer = json!({"from_account_id": accounts[0].id, "to_account_id": accounts[1].id, "amount": 40});
        let transfer: domain::NewTransfer = read(transfer);
        store.insert(transfer).await.unwrap();
        let patch: domain::UserPatch = read(json!({"name": "Ada L."}));
        let ada = store.update(ada.id, ada.version, patch).await.unwrap();
        assert_eq!(store.find::<domain::User>(ada.id).await.unwrap().name, "Ada L.");
        store.delete::<domain::Tag>(tag(&store, "gone").await.id, 1).await.unwrap();
        store.close().await;
    });
}

#[test]
fn in_production_the_service_does_not_start_as_who_migrates() {
    within(LIMIT, async {
        let database = or_skip!(with_roles().await);
        let mut superuser = connect(database.url_as_superuser()).await;
        let name = database.url_as_superuser().rsplit('/').next().unwrap();
        let serve = async |url: &str| {
            let environment = [&[("DATABASE_URL", url)][..], &PRODUCTION].concat();
            let served = TestApp::run(&["serve"], &environment).await;
            assert_eq!(served.code(), Some(77), "{}", served.stderr);
            assert!(served.stderr.contains("`seabed roles create`"), "{}", served.stderr);
            let doctor = TestApp::run(&["doctor"], &environment).await;
            assert_eq!(doctor.code(), Some(1), "{}", doctor.stdout);
            served.stderr
        };
        assert!(serve(database.url_as_superuser()).await.contains("superuser"));
        let owner = serve(&database.url_as(Role::Owner)).await;
        assert!(owner.contains("it owns the schema") && owner.contains("tables"), "{owner}");
        let app = Role::App.name(name);
        for (give, take, says) in [
            (
                format!("GRANT CREATE ON SCHEMA public TO {app}"),
                format!("REVOKE CREATE ON SCHEMA public FROM {app}"),
                "create",
            ),
            (
                format!("ALTER TABLE tags OWNER TO {app}"),
                format!("ALTER TABLE tags OWNER TO {name}_owner"),
                "it owns 1 table",
            ),
            (format!("GRANT {name}_owner TO {app}"), format!("REVOKE {name}_owner FROM {app}"), "owns the schema"),
            (format!("ALTER ROLE {app} CREATEROLE"), format!("ALTER ROLE {app} NOCREATEROLE"), "create roles"),
        ] {
            superuser.execute(AssertSqlSafe(give)).await.unwrap();
            let refused = serve(&database.url_as(Role::App)).await;
            assert!(refused.contains(says), "{refused}");
            superuser.execute(AssertSqlSafe(take)).await.unwrap();
        }
    });
}

#[test]
fn roles_are_put_right_and_made_once() {
    within(LIMIT, async {
        let database = or_skip!(with_roles().await);
        let mut superuser = connect(database.url_as_superuser()).await;
        let name = database.url_as_superuser().rsplit('/').next().unwrap();
        let environment = [("DATABASE_URL", database.url_as_superuser())];
        let check = async || {
            let output = TestApp::run(&["roles", "check", "--json"], &environment).await;
            let findings = output.json()["findings"].as_array().unwrap().clone();
            assert_eq!(output.code(), Some(i32::from(!findings.is_empty())), "{findings:?}");
            findings.iter().map(|finding| finding["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(check().await, [""; 0]);
        for (wrong, says) in [
            (format!("GRANT TRUNCATE ON users TO {name}_app"), format!("{name}_app may TRUNCATE users, and need not")),
            (
                "GRANT SELECT, DELETE ON users TO PUBLIC".to_owned(),
                format!("{name}_read may DELETE users, and need not"),
            ),
            (
                format!("GRANT UPDATE (body) ON outbox TO {name}_app"),
                format!("{name}_app may UPDATE outbox (body), and need not"),
            ),
            (
                format!("GRANT UPDATE ON audit_head TO {name}_app"),
                format!("{name}_app may UPDATE all columns of audit_head, and need not"),
            ),
            (
                format!("REVOKE SELECT ON users FROM {name}_read"),
                format!("{name}_read may not SELECT users, and has to"),
            ),
            (
                format!("REVOKE SELECT ON SEQUENCE outbox_number_seq FROM {name}_backup"),
                format!("{name}_backup may not SELECT outbox_number_seq, and has to"),
            ),
            (
                format!("GRANT {name}_owner TO {name}_app"),
                format!("{name}_app may do what {name}_owner may, and need not"),
            ),
            (
                format!("ALTER ROLE {name}_app BYPASSRLS"),
                format!("{name}_app may pass by policies of rows, and need not"),
            ),
            (format!("ALTER ROLE {name}_read NOLOGIN"), format!("{name}_read may not log in, and has to")),
            (
                "GRANT CREATE ON SCHEMA public TO PUBLIC".to_owned(),
                format!("{name}_backup may create in the schema, and need not"),
            ),
            (
                format!("GRANT TEMPORARY ON DATABASE {name} TO PUBLIC"),
                format!("{name}_app may create temporary tables, and need not"),
            ),
            (
                "ALTER TABLE tags OWNER TO postgres".to_owned(),
                format!("tags belongs to postgres, and should to {name}_owner"),
            ),
            (
                format!(
                    "ALTER DEFAULT PRIVILEGES FOR ROLE {name}_owner IN SCHEMA public REVOKE SELECT ON TABLES FROM {name}_read"
                ),
                format!("{name}_read may not SELECT tables of later migrations, and has to"),
            ),
        ] {
            superuser.execute(AssertSqlSafe(wrong.clone())).await.unwrap();
            let found = check().await;
            assert!(found.contains(&says), "{wrong}: {found:#?}");
            let doctor = TestApp::run(&["doctor"], &environment).await;
            assert!(doctor.stdout.contains(&says), "{wrong}: {}", doctor.stdout);
            let again = database.make_roles().await;
            assert!(again.findings.is_empty(), "{wrong}: {again:#?}");
            assert!(again.roles.iter().all(|role| !role.is_new && role.url.is_none()), "{again:?}");
        }
        assert_eq!(check().await, [""; 0]);
    });
}

/// A table that another program made is there for who needs it; and after our own, each has exactly what it needs.
#[test]
fn later_migrations_make_what_the_roles_can_use() {
    within(LIMIT, async {
        let database = or_skip!(with_roles().await);
        let mut owner = connect(&database.url_as(Role::Owner)).await;
        owner.execute("CREATE TABLE later (id bigint GENERATED ALWAYS AS IDENTITY, name text)").await.unwrap();
        let (mut app, mut reader) =
            (connect(&database.url_as(Role::App)).await, connect(&database.url_as(Role::Read)).await);
        for statement in ["INSERT INTO later (name) VALUES ('a')", "UPDATE later SET name = 'b'", "DELETE FROM later"] {
            assert_eq!(answer(&mut app, statement).await, None, "{statement}");
            assert_eq!(answer(&mut reader, statement).await.as_deref(), Some("42501"), "{statement}");
        }
        assert_eq!(answer(&mut reader, "SELECT * FROM later").await, None);
        assert_eq!(answer(&mut app, "TRUNCATE later").await.as_deref(), Some("42501"));

        // Everything is dropped and made anew, by the owner and then by a superuser.
        let (app_url, owner_url) = (database.url_as(Role::App), database.url_as(Role::Owner));
        for url in [&owner_url, database.url_as_superuser()] {
            let environment = [("DATABASE_URL", app_url.as_str()), ("MIGRATION_DATABASE_URL", url)];
            let fresh = TestApp::run(&["migrate", "fresh", "--yes"], &environment).await;
            assert_eq!(fresh.code(), Some(0), "{}", fresh.stderr);
            assert!(!fresh.stderr.contains("documents were not made"), "{}", fresh.stderr);
            assert_eq!(answer(&mut app, "DELETE FROM transfers").await.as_deref(), Some("42501"));
            assert_eq!(answer(&mut app, "UPDATE outbox SET body = ''").await.as_deref(), Some("42501"));
            assert_eq!(answer(&mut app, "INSERT INTO tags SELECT * FROM tags").await, None);
            let check = TestApp::run(&["roles", "check"], &environment).await;
            assert_eq!(check.code(), Some(0), "{url}: {}", check.stdout);
        }
    });
}

#[test]
fn the_role_for_backups_can_dump_everything() {
    within(LIMIT, async {
        let database = or_skip!(with_roles().await);
        let store = store_as(&database, Role::App).await;
        tag(&store, "to be backed up").await;
        let dump = |role: Role| {
            let mut command = Command::new("pg_dump");
            command.arg("--dbname").arg(database.url_as(role)).stdout(Stdio::piped()).stderr(Stdio::piped());
            process::spawn(command)
        };
        let Ok(child) = dump(Role::Backup) else {
            return tests::Skip::because("pg_dump is not installed")
                .report("roles::the_role_for_backups_can_dump_everything");
        };
        let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for part in [
            "to be backed up",
            "COPY public.outbox",
            "COPY public.seaql_migrations",
            "setval('public.outbox_number_seq'",
        ] {
            assert!(text.contains(part), "{part} is not in the dump");
        }
    });
}

/// As on a server that somebody else runs: the administrator is no superuser, and passwords are asked for.
#[test]
fn an_administrator_makes_roles_with_passwords() {
    within(2 * LIMIT, async {
        let server = or_skip!(Postgres::private_with(&["log_statement=all"]).await);
        server.execute("CREATE ROLE admin LOGIN CREATEROLE PASSWORD 'administers'").await;
        server.execute("CREATE DATABASE shop OWNER admin").await;
        let rules = "CREATE TABLE rules (rule text); INSERT INTO rules VALUES \
                     ('host all postgres 127.0.0.1/32 trust'), ('host all all 127.0.0.1/32 scram-sha-256')";
        server.execute(rules).await;
        let mut superuser = connect(&server.url("shop")).await;
        let file: String = sqlx::query("SHOW hba_file").fetch_one(&mut superuser).await.unwrap().get(0);
        server.execute(format!("COPY rules TO '{file}'")).await;
        server.execute("SELECT pg_reload_conf()").await;
        let as_user =
            |user: &str, password: &str| server.url("shop").replace("postgres@", &format!("{user}:{password}@"));
        eventually("the server asks for passwords", PATIENCE, async || {
            PgConnection::connect(&as_user("admin", "wrong")).await.is_err().then_some(())
        })
        .await;

        let admin = as_user("admin", "administers");
        let given = "a password that somebody chose";
        let environment = [("DATABASE_URL", admin.as_str()), ("ROLE_READ_PASSWORD", given)];
        assert_eq!(TestApp::run(&["migrate", "up"], &environment).await.code(), Some(0));
        let made = TestApp::run(&["roles", "create", "--json"], &environment).await;
        assert_eq!(made.code(), Some(0), "{}{}", made.stdout, made.stderr);
        let made = made.json();
        let url = |role: &str| {
            let roles = made["roles"].as_array().unwrap();
            roles.iter().find(|made| made["role"] == role).unwrap()["url"].as_str().map(str::to_owned)
        };
        assert_eq!(url("read"), None, "what was given is not shown");
        let reader = server.url("shop").replace("postgres@", "shop_read:a%20password%20that%20somebody%20chose@");
        for good in [url("owner").unwrap(), url("app").unwrap(), url("backup").unwrap(), reader] {
            connect(&good).await.close().await.unwrap();
            let (before, after) = good.rsplit_once('@').unwrap();
            assert!(PgConnection::connect(&format!("{before}x@{after}")).await.is_err());
        }
        let kept =
            "SELECT count(*) FROM pg_authid WHERE rolname LIKE 'shop\\_%' AND rolpassword LIKE 'SCRAM-SHA-256$%'";
        assert_eq!(sqlx::query(kept).fetch_one(&mut superuser).await.unwrap().get::<i64, _>(0), 4);
        // Nobody else has seen them: not the server's log, and not who makes the roles again.
        let password = |url: &str| url::Url::parse(url).unwrap().password().unwrap().to_owned();
        let log = server.log();
        assert!(log.contains("CREATE ROLE \"shop_app\""), "statements are logged");
        for secret in [given.to_owned(), password(&url("owner").unwrap()), password(&url("app").unwrap())] {
            assert!(!log.contains(&secret));
        }
        let again = TestApp::run(&["roles", "create"], &environment[..1]).await;
        assert!(again.code() == Some(0) && !again.stdout.contains("postgres://"), "{}", again.stdout);
        connect(&url("app").unwrap()).await.close().await.unwrap();
        let renewed = TestApp::run(&["roles", "create", "--new-passwords"], &environment[..1]).await;
        assert_eq!(renewed.stdout.matches("postgres://").count(), 4, "{}", renewed.stdout);
        assert!(PgConnection::connect(&url("app").unwrap()).await.is_err());
        let shown = TestApp::run(&["config", "show"], &environment).await;
        assert!(!shown.stdout.contains(given) && shown.stdout.contains("ROLE_READ_PASSWORD"), "{}", shown.stdout);

        // A wrong password is a refusal, which the service's own role writes down.
        let wrong = as_user("shop_owner", "wrong");
        let app = TestApp::run(&["roles", "create", "--new-passwords", "--json"], &environment[..1]).await.json();
        let app = app["roles"][1]["url"].as_str().unwrap().to_owned();
        let environment = [("DATABASE_URL", app.as_str()), ("MIGRATION_DATABASE_URL", wrong.as_str())];
        let refused = TestApp::run(&["migrate", "up"], &[&environment[..], &PRODUCTION].concat()).await;
        assert_eq!(refused.code(), Some(77), "{}", refused.stderr);
        let refusals = TestApp::run(&["migrate", "refusals", "--json"], &environment[..1]).await.json();
        let reason = refusals[0]["reason"].as_str().unwrap();
        assert!(reason.contains("shop_owner") && !reason.contains("wrong"), "{reason}");
    });
}

/// Asks in production, and tells what was answered and what was written down of it.
async fn ask(arguments: &[&str], environment: &[(&str, &str)]) -> (tests::Output, Vec<Value>) {
    let mut environment = [environment, &PRODUCTION].concat();
    let output = TestApp::run(arguments, &environment).await;
    // As the service, which may look.
    environment.retain(|(name, _)| *name != "MIGRATION_DATABASE_URL");
    let refusals = TestApp::run(&["migrate", "refusals", "--json"], &environment).await;
    assert_eq!(refusals.code(), Some(0), "{}", refusals.stderr);
    (output, refusals.json().as_array().unwrap().clone())
}

on_both!(
    async fn without_authority_nobody_migrates_in_production(database: TestDatabase) {
        let here = [("DATABASE_URL", database.url.as_str())];
        assert_eq!(TestApp::run(&["migrate", "up"], &here).await.code(), Some(0));
        let name = database.url.split('?').next().unwrap().rsplit('/').next().unwrap();
        for (count, verb) in [
            &["migrate", "up"][..],
            &["migrate", "down", "--yes-i-mean", name],
            &["migrate", "to", "m20261121_000001", "--yes-i-mean", name],
            &["migrate", "fresh", "--yes-i-mean", name],
            &["migrate", "refresh", "--yes-i-mean", name],
            &["migrate", "reset", "--yes-i-mean", name],
            &["migrate", "accept", "m20261121_000001"],
        ]
        .into_iter()
        .enumerate()
        {
            let (refused, refusals) = ask(verb, &here).await;
            assert_eq!(refused.code(), Some(77), "{verb:?}: {}", refused.stderr);
            assert!(refused.stderr.contains("needs MIGRATION_DATABASE_URL"), "{}", refused.stderr);
            assert!(refused.stderr.contains("migrating was refused"), "{}", refused.stderr);
            assert_eq!(refusals.len(), count + 1, "{verb:?}: {refusals:?}");
            let latest = refusals.iter().find(|refusal| refusal["verb"] == verb[1]).unwrap();
            for field in ["at", "reason", "os_user", "host", "program"] {
                assert_ne!(latest[field].as_str().unwrap(), "", "{latest}");
            }
            let user = (database.backend() == Backend::Postgres).then_some("postgres");
            assert_eq!(latest["database_user"].as_str(), user, "{latest}");
        }
        let status = TestApp::run(&["migrate", "status"], &here).await;
        assert!(status.stdout.contains("15 applied, 0 pending"), "{}", status.stdout);
        assert!(status.stdout.contains("refused  "), "{}", status.stdout);
        // To look takes no authority, and in development nothing does.
        for look in [&["migrate", "status"][..], &["migrate", "plan"]] {
            assert_eq!(ask(look, &here).await.0.code(), Some(0), "{look:?}");
        }
        assert_eq!(TestApp::run(&["migrate", "down", "--yes"], &here).await.code(), Some(0));
    }

    async fn a_grant_is_leave_to_migrate_for_a_while(database: TestDatabase) {
        let here = [("DATABASE_URL", database.url.as_str())];
        let grant = async |arguments: &[&str], more: &[(&str, &str)]| {
            let output = TestApp::run(&[&["migrate", "grant"], arguments].concat(), &[&here[..], more].concat()).await;
            (output.code(), output.stdout.trim().to_owned(), output.stderr)
        };
        let (code, _, stderr) = grant(&[], &[]).await;
        assert!(code == Some(78) && stderr.contains("MIGRATION_GRANT_KEY is not set"), "{stderr}");
        let (code, _, stderr) = grant(&["--for", "25h"], &[KEY]).await;
        assert!(code == Some(2) && stderr.contains("24 hours at most"), "{stderr}");
        let (code, good, _) = grant(&["--for", "10m"], &[KEY]).await;
        assert_eq!(code, Some(0));
        let (_, short, _) = grant(&["--for", "1ms"], &[KEY]).await;
        let (_, other_key, _) = grant(&[], &[(KEY.0, "another key of at least 32 letters")]).await;
        let elsewhere =
            database.url.replacen("test", "best", 2).replace("best_", "other_").replace("best.sqlite", "other.sqlite");
        let other_database = TestApp::run(&["migrate", "grant"], &[("DATABASE_URL", &elsewhere), KEY]).await;
        let other_database = other_database.stdout.trim().to_owned();
        let mut tampered = good.clone();
        tampered.replace_range(10..11, if &good[10..11] == "A" { "B" } else { "A" });

        let mut expected = 0;
        for (bad, says) in [
            (short.as_str(), "the grant ended"),
            (&other_key, "is not one that was made with this"),
            (&tampered, "is not one that was made with this"),
            ("anything", "is not one that was made with this"),
            (&other_database, "is for the database"),
        ] {
            expected += 1;
            for more in [&["--grant", bad][..], &[]] {
                let environment = [&here[..], &[KEY, ("MIGRATION_GRANT", bad)]].concat();
                let (refused, _) = ask(&[&["migrate", "up"], more].concat(), &environment).await;
                assert_eq!(refused.code(), Some(77), "{bad}: {}", refused.stderr);
                assert!(refused.stderr.contains(says) && !refused.stderr.contains(bad), "{bad}: {}", refused.stderr);
            }
        }
        let name = database.url.split('?').next().unwrap().rsplit('/').next().unwrap();
        let granted = [&here[..], &[KEY, ("MIGRATION_GRANT", good.as_str())]].concat();
        let (down, refusals) = ask(&["migrate", "down", "--yes-i-mean", name], &granted).await;
        assert_eq!(down.code(), Some(0), "{}", down.stderr);
        assert!(refusals.len() >= 2 * expected, "{refusals:?}");
        assert!(!refusals.iter().any(|refusal| refusal.to_string().contains(&good)), "{refusals:?}");
        let (up, _) = ask(&["migrate", "up", "--grant", &good], &[&here[..], &[KEY]].concat()).await;
        assert_eq!(up.code(), Some(0), "{}", up.stderr);
        assert!(up.stderr.contains("a grant to migrate is used"), "{}", up.stderr);
        // Without the key nothing can be checked.
        let (refused, _) = ask(&["migrate", "up", "--grant", &good], &here).await;
        assert_eq!(refused.code(), Some(78), "{}", refused.stderr);
    }

    async fn at_its_start_the_service_migrates_as_who_may(database: TestDatabase) {
        let (service, migrator) = match database.backend() {
            Backend::Sqlite => (database.url.clone(), None),
            Backend::Postgres => {
                database.make_roles().await;
                (database.url_as(Role::App), Some(database.url_as(Role::Owner)))
            }
        };
        let behind = [("DATABASE_URL", database.url_as_superuser())];
        assert_eq!(TestApp::run(&["migrate", "down", "--yes"], &behind).await.code(), Some(0));
        let here = [&[("DATABASE_URL", service.as_str()), ("MIGRATE_ON_START", "always")][..], &PRODUCTION].concat();
        let refused = TestApp::run(&["serve"], &here).await;
        assert_eq!(refused.code(), Some(77), "{}", refused.stderr);
        let grant = TestApp::run(&["migrate", "grant"], &[behind[0], KEY]).await.stdout;
        let authority = match &migrator {
            Some(url) => vec![("MIGRATION_DATABASE_URL", url.as_str())],
            None => vec![KEY, ("MIGRATION_GRANT", grant.trim())],
        };
        let mut app = Launch::default().environment(&[&here[..], &authority].concat()).start().await;
        assert!(app.output().contains("the schema was made"), "{}", app.output());
        assert!(app.stop().await.success(), "{}", app.output());
        let status = TestApp::run(&["migrate", "status"], &here).await.stdout;
        assert!(status.contains("15 applied, 0 pending") && status.contains("refused  up"), "{status}");
    }
);

#[test]
fn who_migrates_in_production_is_another_than_the_service() {
    within(LIMIT, async {
        let database = or_skip!(with_roles().await);
        let (app, owner) = (database.url_as(Role::App), database.url_as(Role::Owner));
        let nobody = database.url_as_superuser().replace("postgres@", "nobody@");
        let as_role = |url| [("DATABASE_URL", app.as_str()), ("MIGRATION_DATABASE_URL", url)];
        let reader = database.url_as(Role::Read);
        for (url, says) in [
            (app.as_str(), "as which the service itself works"),
            (&nobody, "is not open to this user"),
            (&reader, "permission denied"),
        ] {
            let name = url.rsplit('/').next().unwrap();
            let (refused, refusals) = ask(&["migrate", "down", "--yes-i-mean", name], &as_role(url)).await;
            assert_eq!(refused.code(), Some(77), "{url}: {}", refused.stderr);
            assert!(refused.stderr.contains(says), "{url}: {}", refused.stderr);
            let service = Role::App.name(name);
            assert_eq!((&refusals[0]["verb"], &refusals[0]["database_user"]), (&json!("down"), &json!(service)));
        }
        let name = owner.rsplit('/').next().unwrap();
        let (down, _) = ask(&["migrate", "down", "--yes-i-mean", name], &as_role(&owner)).await;
        assert_eq!(down.code(), Some(0), "{}", down.stderr);
        let (up, _) = ask(&["migrate", "up"], &as_role(&owner)).await;
        assert_eq!(up.code(), Some(0), "{}", up.stderr);
        let status = TestApp::run(&["migrate", "status", "--json"], &as_role(&owner)[..1]).await.json();
        let last = status.as_array().unwrap().last().unwrap();
        assert_eq!(last["record"]["database_user"], Role::Owner.name(name), "{last}");
    });
}

#[test]
fn a_file_has_no_roles() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Sqlite).await);
        for verb in ["create", "check"] {
            let output = TestApp::run(&["roles", verb], &[("DATABASE_URL", &database.url)]).await;
            assert_eq!(output.code(), Some(78), "{}", output.stderr);
            assert!(output.stderr.contains("a file, which has no roles"), "{}", output.stderr);
        }
        // An address is no authority where everybody who reaches the file may do everything.
        let url = database.url.as_str();
        let environment = [&[("DATABASE_URL", url), ("MIGRATION_DATABASE_URL", url)][..], &PRODUCTION].concat();
        let refused = TestApp::run(&["migrate", "up"], &environment).await;
        assert!(refused.code() == Some(77) && refused.stderr.contains("needs a grant"), "{}", refused.stderr);
    });
}
