//! Everything in which a schema is not as it should be is named, and nothing else is.

use std::time::Duration;

use api::{
    command::migrate::{
        Consent, Database, MigrateError, Options, Status, UnknownSchema, baseline, drift, reset, status, to, up,
    },
    schema::{Schema, differences},
};
use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, Statement, TransactionTrait};
use tests::{Backend, PATIENCE, TestApp, on_both, or_skip, run::LIMIT, within};

/// A change of a migrated database, and how each difference that it makes begins; all of them, in their order.
type Mutation = (&'static str, &'static [&'static str]);

/// What both databases can be told in the same words.
const ON_BOTH: &[Mutation] = &[
    ("CREATE TABLE strangers (id bigint PRIMARY KEY)", &["the table strangers is there and should not be"]),
    ("DROP TABLE idempotency_keys", &["the table idempotency_keys is missing"]),
    (
        "ALTER TABLE idempotency_keys RENAME TO keys",
        &["the table idempotency_keys is missing", "the table keys is there and should not be"],
    ),
    ("ALTER TABLE documents ADD COLUMN size bigint", &["the column documents.size is there and should not be"]),
    ("ALTER TABLE documents DROP COLUMN body", &["the column documents.body is missing"]),
    (
        "ALTER TABLE documents RENAME COLUMN body TO content",
        &["the column documents.body is missing", "the column documents.content is there and should not be"],
    ),
    ("CREATE INDEX ix_users_name ON users (name)", &["the index ix_users_name of users is there and should not be"]),
    (
        "CREATE UNIQUE INDEX uq_users_name ON users (name)",
        &["the index uq_users_name of users is there and should not be"],
    ),
    ("DROP INDEX ix_users_role", &["the index ix_users_role of users is missing"]),
    ("DROP INDEX uq_users_email", &["the index uq_users_email of users is missing"]),
    (
        "DROP INDEX ix_users_role; CREATE INDEX ix_users_role ON users (status)",
        &["the index ix_users_role of users has the definition"],
    ),
    (
        "DROP INDEX ix_users_role; CREATE UNIQUE INDEX ix_users_role ON users (role)",
        &["the index ix_users_role of users has the definition"],
    ),
    (
        "DROP INDEX ix_users_role; CREATE INDEX ix_users_role ON users (role DESC)",
        &["the index ix_users_role of users has the definition"],
    ),
    (
        "DROP INDEX ix_users_role; CREATE INDEX ix_users_role ON users (role, status)",
        &["the index ix_users_role of users has the definition"],
    ),
    (
        "DROP INDEX uq_users_email; CREATE UNIQUE INDEX uq_users_email ON users (email)",
        &["the index uq_users_email of users has the definition"],
    ),
    (
        "DROP INDEX uq_subscriptions_user_id; \
         CREATE UNIQUE INDEX uq_subscriptions_user_id ON subscriptions (user_id) WHERE status = 'trialing'",
        &["the index uq_subscriptions_user_id of subscriptions has the definition"],
    ),
    (
        "DROP INDEX ix_outbox_dead_at; CREATE INDEX ix_outbox_dead_at ON outbox (dead_at)",
        &["the index ix_outbox_dead_at of outbox has the definition"],
    ),
    ("CREATE VIEW poems AS SELECT id FROM contents", &["the view poems is there and should not be"]),
];

const ON_POSTGRES: &[Mutation] = &[
    (
        "ALTER TABLE users ALTER COLUMN name TYPE varchar(80)",
        &["the column users.name has the type character varying(80), which should be text"],
    ),
    (
        "ALTER TABLE accounts ALTER COLUMN balance TYPE integer",
        &["the column accounts.balance has the type integer, which should be bigint"],
    ),
    (
        "ALTER TABLE users ALTER COLUMN created_at TYPE timestamp",
        &[
            "the column users.created_at has the type timestamp without time zone, which should be timestamp with time zone",
        ],
    ),
    (
        "ALTER TABLE users ALTER COLUMN name DROP NOT NULL",
        &["the column users.name has the nullability nullable, which should be not null"],
    ),
    (
        "ALTER TABLE users ALTER COLUMN avatar SET NOT NULL",
        &["the column users.avatar has the nullability not null, which should be nullable"],
    ),
    (
        "ALTER TABLE users ALTER COLUMN version DROP DEFAULT",
        &["the column users.version has the default none, which should be 1"],
    ),
    (
        "ALTER TABLE users ALTER COLUMN version SET DEFAULT 2",
        &["the column users.version has the default 2, which should be 1"],
    ),
    (
        "ALTER TABLE users ALTER COLUMN name SET DEFAULT 'nobody'",
        &["the column users.name has the default 'nobody'::text, which should be none"],
    ),
    (
        "ALTER TABLE outbox ALTER COLUMN at SET DEFAULT clock_timestamp()",
        &["the column outbox.at has the default clock_timestamp(), which should be now()"],
    ),
    (
        "ALTER TABLE users ADD COLUMN lower_name text GENERATED ALWAYS AS (lower(name)) STORED",
        &["the column users.lower_name is there and should not be"],
    ),
    (
        "ALTER TABLE tags ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY",
        &["the column tags.number is there and should not be"],
    ),
    (
        "ALTER TABLE documents ALTER COLUMN id TYPE text COLLATE \"POSIX\"",
        &["the column documents.id has the collation \"POSIX\", which should be \"C\""],
    ),
    (
        "ALTER TABLE audit_head ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY",
        &["the column audit_head.id has the identity GENERATED BY DEFAULT AS IDENTITY, which should be none"],
    ),
    (
        "ALTER TABLE outbox ALTER COLUMN number DROP IDENTITY",
        &["the column outbox.number has the identity none, which should be GENERATED BY DEFAULT AS IDENTITY"],
    ),
    (
        "ALTER TABLE outbox ALTER COLUMN number SET GENERATED ALWAYS",
        &[
            "the column outbox.number has the identity GENERATED ALWAYS AS IDENTITY, which should be GENERATED BY DEFAULT",
        ],
    ),
    ("ALTER TABLE documents DROP CONSTRAINT pk_documents", &["the primary key of documents is missing"]),
    (
        "ALTER TABLE documents DROP CONSTRAINT pk_documents; \
         ALTER TABLE documents ADD CONSTRAINT pk_documents PRIMARY KEY (id, collection)",
        &["the primary key of documents has the definition PRIMARY KEY (id, collection), which should be PRIMARY KEY"],
    ),
    (
        "ALTER TABLE documents RENAME CONSTRAINT pk_documents TO documents_key",
        &["the primary key of documents has the name documents_key, which should be pk_documents"],
    ),
    (
        "ALTER TABLE tags ADD CONSTRAINT uq_tags_version UNIQUE (version, name)",
        &["the unique constraint uq_tags_version of tags is there and should not be"],
    ),
    ("ALTER TABLE users DROP CONSTRAINT ck_users_role", &["the check ck_users_role of users is missing"]),
    (
        "ALTER TABLE users ADD CONSTRAINT ck_users_name CHECK (name <> '')",
        &["the check ck_users_name of users is there and should not be"],
    ),
    (
        "ALTER TABLE transfers DROP CONSTRAINT ck_transfers_amount; \
         ALTER TABLE transfers ADD CONSTRAINT ck_transfers_amount CHECK (amount >= 0)",
        &["the check ck_transfers_amount of transfers has the definition CHECK (amount >= 0), which should be"],
    ),
    (
        "ALTER TABLE transfers DROP CONSTRAINT ck_transfers_amount; \
         ALTER TABLE transfers ADD CONSTRAINT ck_transfers_amount CHECK (amount > 0) NOT VALID",
        &[
            "the check ck_transfers_amount of transfers has the definition CHECK (amount > 0) NOT VALID, which should be",
        ],
    ),
    (
        "ALTER TABLE contents DROP CONSTRAINT fk_contents_author_id",
        &["the foreign key fk_contents_author_id of contents is missing"],
    ),
    (
        "ALTER TABLE contents DROP CONSTRAINT fk_contents_author_id; ALTER TABLE contents \
         ADD CONSTRAINT fk_contents_author_id FOREIGN KEY (author_id) REFERENCES users (id) ON DELETE CASCADE",
        &["the foreign key fk_contents_author_id of contents has the definition"],
    ),
    (
        "ALTER TABLE contents DROP CONSTRAINT fk_contents_author_id; ALTER TABLE contents \
         ADD CONSTRAINT fk_contents_author_id FOREIGN KEY (author_id) REFERENCES profiles (id) ON DELETE RESTRICT",
        &["the foreign key fk_contents_author_id of contents has the definition"],
    ),
    (
        "ALTER TABLE contents ALTER CONSTRAINT fk_contents_author_id DEFERRABLE INITIALLY DEFERRED",
        &["the foreign key fk_contents_author_id of contents has the definition"],
    ),
    (
        "ALTER TABLE contents RENAME CONSTRAINT fk_contents_author_id TO fk_contents_users",
        &[
            "the foreign key fk_contents_author_id of contents is missing",
            "the foreign key fk_contents_users of contents is there and should not be",
        ],
    ),
    (
        "ALTER TABLE tags ADD COLUMN user_id uuid CONSTRAINT fk_tags_user_id REFERENCES users",
        &[
            "the column tags.user_id is there and should not be",
            "the foreign key fk_tags_user_id of tags is there and should not be",
        ],
    ),
    (
        "ALTER TABLE tags ADD CONSTRAINT ex_tags EXCLUDE USING btree (name WITH =)",
        &["the constraint ex_tags of tags is there and should not be"],
    ),
    (
        "ALTER INDEX ix_users_role RENAME TO ix_users_roles",
        &[
            "the index ix_users_role of users is missing",
            "the index ix_users_roles of users is there and should not be",
        ],
    ),
    (
        "DROP INDEX ix_users_role; CREATE INDEX ix_users_role ON users USING hash (role)",
        &["the index ix_users_role of users has the definition"],
    ),
    (
        "DROP INDEX ix_users_role; CREATE INDEX ix_users_role ON users (role) INCLUDE (name)",
        &["the index ix_users_role of users has the definition"],
    ),
    (
        "DROP INDEX ix_users_role; CREATE INDEX ix_users_role ON users (role text_pattern_ops)",
        &["the index ix_users_role of users has the definition"],
    ),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_users_role'::regclass",
        &["the index ix_users_role of users has the state invalid, which should be valid"],
    ),
    ("DROP TRIGGER cache_users_update ON users", &["the trigger cache_users_update of users is missing"]),
    ("DROP TRIGGER audit_users_row ON users", &["the trigger audit_users_row of users is missing"]),
    (
        "ALTER TABLE users DISABLE TRIGGER cache_users_insert",
        &["the trigger cache_users_insert of users has the state disabled, which should be enabled"],
    ),
    (
        "ALTER TABLE users ENABLE REPLICA TRIGGER cache_users_insert",
        &["the trigger cache_users_insert of users has the state disabled, which should be enabled"],
    ),
    (
        "ALTER TABLE contents DISABLE TRIGGER ALL",
        &[
            "the trigger audit_contents_row of contents has the state disabled",
            "the trigger audit_contents_truncate of contents has the state disabled",
            "the trigger cache_contents_delete of contents has the state disabled",
            "the trigger cache_contents_insert of contents has the state disabled",
            "the trigger cache_contents_truncate of contents has the state disabled",
            "the trigger cache_contents_update of contents has the state disabled",
            "DISABLED FOREIGN KEYS of contents is there and should not be",
        ],
    ),
    (
        "CREATE TRIGGER tr_tags BEFORE UPDATE ON tags FOR EACH ROW EXECUTE FUNCTION refuse_change()",
        &["the trigger tr_tags of tags is there and should not be"],
    ),
    (
        "CREATE OR REPLACE TRIGGER tr_transfers_append_only BEFORE UPDATE ON transfers \
         FOR EACH ROW EXECUTE FUNCTION refuse_change()",
        &["the trigger tr_transfers_append_only of transfers has the definition"],
    ),
    (
        "CREATE OR REPLACE FUNCTION cache_users() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        &["the function cache_users() has the definition"],
    ),
    ("ALTER FUNCTION refuse_change() SECURITY DEFINER", &["the function refuse_change() has the definition"]),
    (
        "CREATE FUNCTION one() RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
        &["the function one() is there and should not be"],
    ),
    (
        "DROP FUNCTION refuse_change() CASCADE",
        &["the function refuse_change() is missing", "the trigger tr_transfers_append_only of transfers is missing"],
    ),
    ("CREATE SEQUENCE numbers", &["the sequence numbers is there and should not be"]),
    ("CREATE TYPE mood AS ENUM ('well', 'unwell')", &["the enumeration mood is there and should not be"]),
    ("CREATE DOMAIN percentage AS bigint CHECK (value <= 100)", &["the type percentage is there and should not be"]),
    ("CREATE TYPE place AS (x float, y float)", &["the type place is there and should not be"]),
    ("CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM users", &["the view counts is there and should not be"]),
    ("ALTER TABLE documents SET UNLOGGED", &["UNLOGGED of documents is there and should not be"]),
    ("ALTER TABLE tags SET (fillfactor = 70)", &["WITH (fillfactor=70) of tags is there and should not be"]),
    ("ALTER TABLE users ENABLE ROW LEVEL SECURITY", &["ROW LEVEL SECURITY of users is there and should not be"]),
    ("CREATE POLICY own ON users USING (name = current_user)", &["the policy own of users is there and should not be"]),
    ("ALTER TABLE tags REPLICA IDENTITY FULL", &["REPLICA IDENTITY FULL of tags is there and should not be"]),
    ("CREATE RULE quiet AS ON DELETE TO tags DO INSTEAD NOTHING", &["CREATE RULE quiet AS"]),
    (
        "GRANT SELECT ON users TO PUBLIC",
        &["the grant of SELECT on the table users to PUBLIC is there and should not be"],
    ),
    (
        "GRANT SELECT (email), UPDATE (email) ON users TO pg_monitor",
        &[
            "the grant of SELECT (email) on the table users to pg_monitor is there and should not be",
            "the grant of UPDATE (email) on the table users to pg_monitor is there and should not be",
        ],
    ),
    (
        "GRANT INSERT ON users TO pg_monitor WITH GRANT OPTION",
        &["the grant of INSERT WITH GRANT OPTION on the table users to pg_monitor is there and should not be"],
    ),
    ("REVOKE DELETE ON users FROM CURRENT_USER", &["the grant of DELETE on the table users to owner is missing"]),
    (
        "REVOKE EXECUTE ON FUNCTION cache_users() FROM PUBLIC",
        &["the grant of EXECUTE on the function cache_users() to PUBLIC is missing"],
    ),
];

/// SQLite cannot change a column or a constraint, but somebody who puts a new table in the place of the old one can.
macro_rules! rewritten {
    ($table:literal, $from:literal, $to:literal) => {
        concat!(
            "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '",
            $from,
            "', '",
            $to,
            "') WHERE name = '",
            $table,
            "'; PRAGMA writable_schema = RESET"
        )
    };
}

const ON_SQLITE: &[Mutation] = &[
    (
        rewritten!("users", "\"name\" text", "\"name\" varchar(80)"),
        &["the column users.name has the type varchar(80), which should be text"],
    ),
    (
        rewritten!("accounts", "\"balance\" integer", "\"balance\" real"),
        &["the column accounts.balance has the type real, which should be integer"],
    ),
    (
        rewritten!("users", "\"created_at\" timestamp_with_timezone_text", "\"created_at\" timestamp_text"),
        &["the column users.created_at has the type timestamp_text, which should be timestamp_with_timezone_text"],
    ),
    (
        rewritten!("users", "\"id\" uuid_text", "\"id\" blob"),
        &["the column users.id has the type blob, which should be uuid_text"],
    ),
    (
        rewritten!("users", "\"name\" text NOT NULL", "\"name\" text"),
        &["the column users.name has the nullability nullable, which should be not null"],
    ),
    (
        rewritten!("users", "\"avatar\" text NULL", "\"avatar\" text NOT NULL"),
        &["the column users.avatar has the nullability not null, which should be nullable"],
    ),
    (rewritten!("users", " DEFAULT 1", ""), &["the column users.version has the default none, which should be 1"]),
    (
        rewritten!("users", " DEFAULT 1", " DEFAULT 2"),
        &["the column users.version has the default 2, which should be 1"],
    ),
    (
        rewritten!("users", "\"name\" text", "\"name\" text DEFAULT ''nobody''"),
        &["the column users.name has the default 'nobody', which should be none"],
    ),
    (
        rewritten!("outbox", "randomblob(16)", "randomblob(8)"),
        &["the column outbox.id has the default (randomblob(8)), which should be (randomblob(16))"],
    ),
    (rewritten!("outbox", "''now''", "''now'', ''localtime''"), &["the column outbox.at has the default"]),
    (
        rewritten!("documents", "\"id\" text", "\"id\" text COLLATE NOCASE"),
        &["the column documents.id has the collation nocase, which should be none"],
    ),
    (
        "ALTER TABLE users ADD COLUMN lower_name text AS (lower(name))",
        &["the column users.lower_name is there and should not be"],
    ),
    (
        rewritten!("users", "\"avatar\" text NULL", "\"avatar\" text AS (lower(name)) VIRTUAL"),
        &["the column users.avatar has the expression (lower(name)) virtual, which should be none"],
    ),
    (
        rewritten!("users", "\"avatar\" text NULL", "\"avatar\" text GENERATED ALWAYS AS (lower(name)) STORED"),
        &["the column users.avatar has the expression (lower(name)) stored, which should be none"],
    ),
    (
        rewritten!("cache_outbox", " AUTOINCREMENT", ""),
        &["the column cache_outbox.id has the identity none, which should be AUTOINCREMENT"],
    ),
    (
        rewritten!("audit_head", "PRIMARY KEY", "PRIMARY KEY AUTOINCREMENT"),
        &["the column audit_head.id has the identity AUTOINCREMENT, which should be none"],
    ),
    (rewritten!("audit_head", " PRIMARY KEY", ""), &["the primary key of audit_head is missing"]),
    (
        rewritten!("tags", "\"name\" text NOT NULL )", "\"name\" text NOT NULL ) WITHOUT ROWID"),
        &["WITHOUT ROWID of tags is there and should not be"],
    ),
    ("CREATE TABLE pairs (a, b, CONSTRAINT uq_pairs UNIQUE (a, b))", &["the table pairs is there and should not be"]),
    (
        rewritten!(
            "users",
            "CONSTRAINT \"ck_users_role\" CHECK (\"role\" IN (''member'', ''editor'', ''admin'')), ",
            ""
        ),
        &["the check ck_users_role of users is missing"],
    ),
    (
        rewritten!("users", "''admin''", "''admin'', ''root''"),
        &["the check ck_users_role of users has the definition \
         CHECK (role in ('member', 'editor', 'admin', 'root')), which should be CHECK"],
    ),
    (
        rewritten!("users", "\"name\" text NOT NULL", "\"name\" text NOT NULL CHECK (name <> '''')"),
        &["the check CHECK (name <> '') of users is there and should not be"],
    ),
    (
        rewritten!("users", "ck_users_role", "ck_users_roles"),
        &[
            "the check ck_users_role of users is missing",
            "the check ck_users_roles of users is there and should not be",
        ],
    ),
    (
        rewritten!("transfers", "\"amount\" > 0", "\"amount\" >= 0"),
        &["the check ck_transfers_amount of transfers has the definition CHECK (amount >= 0), which should be CHECK"],
    ),
    (
        rewritten!("contents", "FOREIGN KEY (\"author_id\") REFERENCES \"users\" (\"id\") ON DELETE RESTRICT, ", ""),
        &["the foreign key (author_id) to users of contents is missing"],
    ),
    (
        rewritten!("contents", "ON DELETE RESTRICT", "ON DELETE CASCADE"),
        &["the foreign key (author_id) to users of contents has the definition"],
    ),
    (
        rewritten!("contents", "ON DELETE RESTRICT", "ON DELETE RESTRICT ON UPDATE SET NULL"),
        &["the foreign key (author_id) to users of contents has the definition"],
    ),
    (
        rewritten!("contents", "ON DELETE RESTRICT", "ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED"),
        &["the foreign key (author_id) to users of contents has the definition"],
    ),
    (
        rewritten!("contents", "REFERENCES \"users\"", "REFERENCES \"profiles\""),
        &[
            "the foreign key (author_id) to profiles of contents is there and should not be",
            "the foreign key (author_id) to users of contents is missing",
        ],
    ),
    (
        "ALTER TABLE tags ADD COLUMN user_id uuid_text REFERENCES users (id)",
        &[
            "the column tags.user_id is there and should not be",
            "the foreign key (user_id) to users of tags is there and should not be",
        ],
    ),
    (
        rewritten!(
            "contents",
            "\"title\" text NOT NULL",
            "\"title\" text NOT NULL CONSTRAINT fk_contents_title REFERENCES tags (name)"
        ),
        &["the foreign key fk_contents_title of contents is there and should not be"],
    ),
    ("CREATE INDEX ix_users_lower ON users (lower(name))", &["the index ix_users_lower of users is there"]),
    (
        "DROP INDEX ix_users_role; CREATE INDEX ix_users_role ON users (role COLLATE NOCASE)",
        &["the index ix_users_role of users has the definition"],
    ),
    ("DROP TRIGGER cache_users_update", &["the trigger cache_users_update of users is missing"]),
    ("DROP TRIGGER audit_users_insert", &["the trigger audit_users_insert of users is missing"]),
    (
        rewritten!("cache_users_delete", "users:", "user:"),
        &["the trigger cache_users_delete of users has the definition"],
    ),
    (
        rewritten!("cache_users_delete", "AFTER DELETE", "BEFORE DELETE"),
        &["the trigger cache_users_delete of users has the definition"],
    ),
    (
        "DROP TRIGGER tr_transfers_append_only_update",
        &["the trigger tr_transfers_append_only_update of transfers is missing"],
    ),
    (
        "CREATE TRIGGER tr_tags BEFORE UPDATE ON tags BEGIN SELECT 1; END",
        &["the trigger tr_tags of tags is there and should not be"],
    ),
    ("CREATE VIRTUAL TABLE search USING fts5(title, body)", &["the table search is there and should not be"]),
    (
        rewritten!("content_tags", "pk_content_tags", "content_tags_key"),
        &["the primary key of content_tags has the name content_tags_key, which should be pk_content_tags"],
    ),
];

/// What changes nothing but how it is written.
const NOTHING_ON_SQLITE: &[&str] = &[
    rewritten!("users", "\"", ""),
    rewritten!("users", "\"name\" text", "[name]\n\tTEXT /* what others call them */"),
    rewritten!("users", "CREATE TABLE", "create  table"),
    rewritten!("ix_users_role", "\"", "`"),
    rewritten!("contents", "ON DELETE RESTRICT", "ON UPDATE NO ACTION ON DELETE RESTRICT"),
    rewritten!("contents", "REFERENCES \"users\" (\"id\")", "REFERENCES users"),
    "ALTER TABLE tags RENAME TO labels; ALTER TABLE labels RENAME TO tags",
    "ALTER TABLE users RENAME COLUMN name TO called; ALTER TABLE users RENAME COLUMN called TO name",
    "ALTER TABLE documents ADD COLUMN more text; ALTER TABLE documents DROP COLUMN more",
    "ANALYZE",
];

/// What changes nothing, or only the order of columns.
const NOTHING_ON_POSTGRES: &[&str] = &[
    "ALTER TABLE users RENAME COLUMN name TO called; ALTER TABLE users RENAME COLUMN called TO name",
    "ALTER TABLE users RENAME TO people; ALTER TABLE people RENAME TO users",
    "ALTER TABLE users DROP COLUMN avatar; ALTER TABLE users ADD COLUMN avatar text",
    "ALTER TABLE users DROP COLUMN name; ALTER TABLE users ADD COLUMN name text NOT NULL",
    "DROP INDEX ix_users_role; CREATE INDEX ix_users_role ON public.users USING btree (\"role\" ASC NULLS LAST)",
    "ALTER TABLE users DROP CONSTRAINT ck_users_role; \
     ALTER TABLE users ADD CONSTRAINT ck_users_role CHECK (role = ANY (ARRAY['member', 'editor', 'admin']))",
    "GRANT SELECT ON users TO pg_monitor; REVOKE SELECT ON users FROM pg_monitor",
    "CLUSTER users USING ix_users_role",
    "COMMENT ON TABLE users IS 'people'",
];

async fn undo(database: &DatabaseConnection, transaction: DatabaseTransaction) {
    transaction.rollback().await.unwrap();
    if database.get_database_backend() == DbBackend::Sqlite {
        // It keeps in mind what was written past it.
        database.execute_unprepared("PRAGMA writable_schema = RESET").await.unwrap();
    }
}

async fn each_is_named(database: &DatabaseConnection, mutations: &[Mutation]) {
    let before = Schema::read(database).await.unwrap();
    for (mutation, expected) in mutations {
        let transaction = database.begin().await.unwrap();
        transaction.execute_unprepared(mutation).await.unwrap_or_else(|error| panic!("{mutation}: {error}"));
        let after = Schema::read(&transaction).await.unwrap();
        undo(database, transaction).await;
        let found = differences(&before, &after).iter().map(ToString::to_string).collect::<Vec<_>>();
        let is_expected = found.len() == expected.len()
            && found.iter().zip(*expected).all(|(found, expected)| found.starts_with(expected));
        assert!(is_expected, "{mutation}\nmakes\n{}\nand not\n{}", found.join("\n"), expected.join("\n"));
        // The other way round, what was added is missing, and what was changed is changed.
        assert_eq!(differences(&after, &before).len(), found.len(), "{mutation}");
    }
    assert_eq!(differences(&before, &Schema::read(database).await.unwrap()), []);
}

async fn nothing_is_named(database: &DatabaseConnection, mutations: &[&str]) {
    let before = Schema::read(database).await.unwrap();
    for mutation in mutations {
        let transaction = database.begin().await.unwrap();
        transaction.execute_unprepared(mutation).await.unwrap_or_else(|error| panic!("{mutation}: {error}"));
        let after = Schema::read(&transaction).await.unwrap();
        undo(database, transaction).await;
        assert_eq!(differences(&before, &after), [], "{mutation}");
    }
}

on_both!(
    async fn what_changes_nothing_is_not_named(database: TestDatabase) {
        let connection = database.connect().await;
        match database.backend() {
            Backend::Sqlite => nothing_is_named(&connection, NOTHING_ON_SQLITE).await,
            Backend::Postgres => nothing_is_named(&connection, NOTHING_ON_POSTGRES).await,
        }
        connection.close().await.unwrap();
    }

    async fn every_change_is_named(database: TestDatabase) {
        let connection = database.connect().await;
        each_is_named(&connection, ON_BOTH).await;
        match database.backend() {
            Backend::Sqlite => each_is_named(&connection, ON_SQLITE).await,
            Backend::Postgres => each_is_named(&connection, ON_POSTGRES).await,
        }
        connection.close().await.unwrap();
    }
);

async fn connect(url: &str) -> Database {
    api::command::migrate::connect(url, &Options { connect_timeout: PATIENCE, ..Options::default() }).await.unwrap()
}

/// In what a database is not as its history says.
async fn found(database: &Database) -> Vec<String> {
    let drift = drift(database).await.unwrap().unwrap();
    drift.differences.iter().map(ToString::to_string).collect()
}

/// What the doctor says of the schema: how it is, and in which words.
async fn doctor(url: &str) -> (Option<i32>, Vec<(String, String)>) {
    let output = TestApp::run(&["--json", "doctor"], &[("DATABASE_URL", url)]).await;
    let json = output.json();
    let checks = json["checks"].as_array().unwrap().iter().filter(|check| check["check"] == "schema");
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (output.code(), checks.map(|check| (text(&check["level"]), text(&check["message"]))).collect())
}

const YES: Consent<'_> = Consent { yes: true, meant: None, production: false, never: false };

on_both!(
    within Duration::from_secs(120);
    async fn where_nobody_interfered_nothing_is_found(database: TestDatabase) {
        let connection = connect(&database.url).await;
        assert_eq!(found(&connection).await, [""; 0], "made by the library");
        for version in ["m20261121_000012", "m20261121_000004", "m20261121_000013"] {
            to(&connection, version, YES).await.unwrap();
            assert_eq!(found(&connection).await, [""; 0], "at {version}");
        }
        reset(&connection, YES).await.unwrap();
        assert_eq!(drift(&connection).await.unwrap(), None);
        up(&connection, None).await.unwrap();
        let mut app = TestApp::start(&database).await;
        let user = serde_json::json!({"email": "ada@example.org", "name": "Ada"});
        let answer = app.client().post(app.url("/v1/users")).json(&user).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        app.stop().await;
        connection.execute_unprepared("ANALYZE").await.unwrap();
        assert_eq!(found(&connection).await, [""; 0], "after the service");
        connection.close().await;
        let (code, checks) = doctor(&database.url).await;
        let as_left = ("ok".to_owned(), "as m20261121_000015_create_outbox left it".to_owned());
        assert_eq!((code, checks), (Some(0), vec![as_left]));
    }

    async fn the_doctor_names_each_difference(database: TestDatabase) {
        let connection = database.connect().await;
        connection.execute_unprepared("CREATE TABLE strangers (id bigint PRIMARY KEY)").await.unwrap();
        let added = ("warn".to_owned(), "the table strangers is there and should not be".to_owned());
        assert_eq!(doctor(&database.url).await, (Some(0), vec![added.clone()]), "harms nobody");
        let on = if database.backend() == Backend::Postgres { " ON users" } else { "" };
        let drops = format!("DROP INDEX uq_users_email; DROP TRIGGER cache_users_update{on}");
        connection.execute_unprepared(&drops).await.unwrap();
        let missing = |what: &str| ("fail".to_owned(), format!("the {what} of users is missing"));
        let expected = vec![added, missing("index uq_users_email"), missing("trigger cache_users_update")];
        assert_eq!(doctor(&database.url).await, (Some(1), expected));
        connection.close().await.unwrap();
    }

    async fn a_schema_without_a_history_gets_the_one_that_it_is_of(database: TestDatabase) {
        let connection = connect(&database.url).await;
        let has_history = baseline(&connection, "m20261121_000015").await.unwrap_err();
        assert!(matches!(has_history, MigrateError::HasHistory { .. }), "{has_history}");
        to(&connection, "m20261121_000014", YES).await.unwrap();
        let forget = "DROP TABLE seaql_migrations; DROP TABLE _seaql_migrations_log; DROP TABLE _seaql_migrations_lock";
        connection.execute_unprepared(forget).await.unwrap();

        let before = Schema::read(&*connection).await.unwrap();
        let other = TestApp::run(&["migrate", "baseline", "m20261121_000015"], &[("DATABASE_URL", &database.url)]).await;
        assert_eq!(other.code(), Some(2), "{}", other.stderr);
        for line in ["error: the table outbox is missing", "error: the trigger audit_users_", "Nothing was written"] {
            assert!(other.stderr.contains(line), "{}", other.stderr);
        }
        connection.execute_unprepared("CREATE INDEX ix_users_name ON users (name)").await.unwrap();
        let drifted = baseline(&connection, "m20261121_000014").await.unwrap_err();
        let MigrateError::Drifted(drift) = &drifted else { panic!("{drifted}") };
        let [difference] = &drift.differences[..] else { panic!("{drift:?}") };
        assert_eq!(difference.to_string(), "the index ix_users_name of users is there and should not be");
        connection.execute_unprepared("DROP INDEX ix_users_name").await.unwrap();
        assert_eq!(Schema::read(&*connection).await.unwrap(), before, "something was written");

        let unknown = baseline(&connection, "m20261121_000099").await.unwrap_err();
        assert!(matches!(unknown, MigrateError::UnknownVersion { .. }), "{unknown}");
        let marked = baseline(&connection, "m20261121_000014").await.unwrap();
        assert_eq!(marked.len(), 14);
        let standings = status(&connection).await.unwrap();
        assert!(standings[..14].iter().all(|one| one.status == Status::Applied && one.problem.is_none()));
        assert!(standings[13].record.as_ref().is_some_and(|record| record.is_adopted && record.checksum.is_some()));
        assert_eq!(up(&connection, None).await.unwrap().len(), 1);
        assert_eq!(found(&connection).await, [""; 0]);
        connection.close().await;
    }
);

/// A role that cannot create databases tries in a schema of its own, of which nothing is left; one that cannot do that
/// either is told what it lacks.
#[test]
fn what_may_not_be_created_is_done_without() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let administration = database.connect().await;
        let role = format!("modest_{:016x}", rand::random::<u64>());
        let name = connect(&database.url).await.name().to_owned();
        let make = format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}");
        administration.execute_unprepared(&make).await.unwrap();
        let mut url = url::Url::parse(&database.url).unwrap();
        url.set_username(&role).unwrap();
        let modest = connect(url.as_str()).await;
        let lacks = drift(&modest).await.unwrap_err();
        assert!(matches!(lacks, MigrateError::UnknownSchema(UnknownSchema::Forbidden(_))), "{lacks}");
        administration.execute_unprepared(&format!("GRANT CREATE ON DATABASE {name} TO {role}")).await.unwrap();
        let grants = found(&modest).await;
        assert!(!grants.is_empty() && grants.iter().all(|found| found.contains(&format!("to {role} is there"))));
        administration.execute_unprepared("DROP INDEX uq_users_email").await.unwrap();
        assert!(found(&modest).await.contains(&"the index uq_users_email of users is missing".to_owned()));
        let schemas = "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'seabed%'";
        let schemas = Statement::from_string(DbBackend::Postgres, schemas);
        assert!(administration.query_one_raw(schemas).await.unwrap().is_none());
        modest.close().await;
        let remove = format!("DROP OWNED BY {role}; DROP ROLE {role}");
        administration.execute_unprepared(&remove).await.unwrap();
        administration.close().await.unwrap();
    });
}
