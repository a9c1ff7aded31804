//! The database tells what changed, whoever changes it: each write is told by its keys, in its own transaction.

use std::collections::BTreeSet;

use api::command::seed::{SeedOptions, seed};
use domain::{
    Change, Content, ContentFilter, ContentPatch, Error, Id, NewSetting, Record, Scope, Sql, Store, User, UserFilter,
    UserPatch,
};
use migration::convention::{drop_cached, record};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use sea_orm_migration::{
    SchemaManager,
    schema::{big_integer, text, uuid, uuid_null},
};
use serde_json::json;
use tests::{Backend, TestDatabase, on_both, or_skip, run::LIMIT, within};

use crate::{
    fixture::{NOBODY, content, execute, model, new_content, new_tag, new_user, read, store, tag, user},
    migration::dump,
};

type Keys = BTreeSet<String>;

/// What was told, read behind the back of the store.
struct Outbox {
    connection: DatabaseConnection,
}

impl Outbox {
    async fn of(database: &TestDatabase) -> Self {
        Self { connection: database.connect().await }
    }

    async fn query(&self, sql: &str) -> Vec<sea_orm::QueryResult> {
        let statement = Statement::from_string(self.connection.get_database_backend(), sql);
        self.connection.query_all_raw(statement).await.unwrap()
    }

    async fn texts(&self, sql: &str) -> Vec<Vec<String>> {
        let columns = |row: &sea_orm::QueryResult| {
            let names = row.column_names();
            names.iter().map(|name| row.try_get("", name).unwrap()).collect()
        };
        self.query(sql).await.iter().map(columns).collect()
    }

    /// The keys of each row since the last call.
    async fn rows(&self) -> Vec<Keys> {
        let rows = self.query("SELECT keys FROM cache_outbox ORDER BY id").await;
        self.connection.execute_unprepared("DELETE FROM cache_outbox").await.unwrap();
        let keys = rows.iter().map(|row| row.try_get::<String>("", "keys").unwrap());
        keys.map(|keys| {
            let list: Vec<String> = serde_json::from_str(&keys).unwrap();
            let set: Keys = list.iter().cloned().collect();
            assert_eq!(set.len(), list.len(), "a key is told twice: {list:?}");
            set
        })
        .collect()
    }

    /// All keys since the last call.
    async fn told(&self) -> Keys {
        self.rows().await.into_iter().flatten().collect()
    }

    async fn assert_told(&self, expected: impl IntoIterator<Item = String>) {
        assert_eq!(self.told().await, expected.into_iter().collect());
    }
}

fn hex<R: Record>(id: Id<R>) -> String {
    id.uuid().simple().to_string()
}

/// The keys of a table, of one of its rows as it is now, and of what that refers to.
fn keys<R: Record>(table: &str, record: &R, others: &[(&str, String)]) -> Vec<String> {
    let row = format!("{table}:id:{}#{}", hex(record.id()), record.version());
    with_others(table, row, others)
}

/// The same of a row that is gone.
fn gone<R: Record>(table: &str, record: &R, others: &[(&str, String)]) -> Vec<String> {
    let row = format!("{table}:id:{}#{}-", hex(record.id()), record.version() + 1);
    with_others(table, row, others)
}

fn with_others(table: &str, row: String, others: &[(&str, String)]) -> Vec<String> {
    let others = others.iter().map(|(column, value)| format!("{table}:{column}:{value}"));
    [table.to_owned(), row].into_iter().chain(others).collect()
}

fn of_user(user: &User) -> Vec<String> {
    keys("users", user, &[("email", user.email.to_string().to_lowercase())])
}

fn of_content(content: &Content) -> Vec<String> {
    keys("contents", content, &[("author_id", hex(content.author_id))])
}

fn of_link<F: Record, T: Record>(content: Id<F>, tags: &[Id<T>]) -> Vec<String> {
    let tags = tags.iter().map(|tag| format!("content_tags:tag_id:{}", hex(*tag)));
    ["content_tags".to_owned(), format!("content_tags:content_id:{}", hex(content))].into_iter().chain(tags).collect()
}

fn named(name: &str) -> UserPatch {
    read(json!({ "name": name }))
}

async fn raw(store: &Store, sql: Sql) {
    assert!(execute(store, sql).await.unwrap() > 0);
}

on_both!(
    async fn every_typed_write_is_told(database: TestDatabase) {
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let ada = user(&store, "Ada").await;
        outbox.assert_told(of_user(&ada)).await;
        let changed = store.update(ada.id, ada.version, named("Ada L.")).await.unwrap();
        assert_eq!(changed.version, 2);
        outbox.assert_told(of_user(&changed)).await;
        store.delete(changed.id, changed.version).await.unwrap();
        outbox.assert_told(gone("users", &changed, &[("email", "ada@example.org".to_owned())])).await;

        let bob = user(&store, "bob").await;
        let (one, two) = (tag(&store, "one").await, tag(&store, "two").await);
        outbox.told().await;
        let poem = content(&store, bob.id, "poem").await;
        outbox.assert_told(of_content(&poem)).await;
        let (id, tags) = (poem.id, [one.id, two.id]);
        store.write(move |work| async move { work.link(&Content::TAGS, id, tags[0], None).await }).await.unwrap();
        outbox.assert_told(of_link(id, &tags[..1])).await;
        store.write(move |work| async move { work.link(&Content::TAGS, id, tags[0], Some(7)).await }).await.unwrap();
        outbox.assert_told(of_link(id, &tags[..1])).await;
        store.write(move |work| async move { work.set_links(&Content::TAGS, id, &tags).await }).await.unwrap();
        outbox.assert_told(of_link(id, &tags)).await;
        store.write(move |work| async move { work.unlink(&Content::TAGS, id, tags[1]).await }).await.unwrap();
        outbox.assert_told(of_link(id, &tags[1..])).await;

        // What is only read, or refused, is not told.
        store.find::<User>(bob.id).await.unwrap();
        store.update(bob.id, 7, named("x")).await.unwrap_err();
        store.insert(new_user("BOB")).await.unwrap_err();
        outbox.assert_told([]).await;
    }

    async fn every_bulk_write_is_told(database: TestDatabase) {
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let new = ["ada", "bob", "eve"].map(new_user).to_vec();
        let made = store
            .write(move |work| {
                let new = new.clone();
                async move { work.insert_all(new).await }
            })
            .await
            .unwrap();
        let rows = outbox.rows().await;
        assert_eq!(rows.len(), if database.backend() == Backend::Postgres { 1 } else { 3 });
        assert_eq!(rows.into_iter().flatten().collect::<Keys>(), made.iter().flat_map(of_user).collect());

        assert_eq!(store.update_all(&UserFilter::default(), named("x")).await.unwrap(), 3);
        let changed = made.iter().map(|user| User { version: 2, ..user.clone() }).collect::<Vec<_>>();
        outbox.assert_told(changed.iter().flat_map(of_user)).await;

        let poems = [content(&store, made[0].id, "a").await, content(&store, made[1].id, "b").await];
        outbox.told().await;
        let drafts = ContentFilter::default();
        let patch = || read::<ContentPatch>(json!({ "title": "c" }));
        assert_eq!(store.update_all(&drafts, patch()).await.unwrap(), 2);
        outbox.assert_told(poems.iter().flat_map(|poem| of_content(&Content { version: 2, ..poem.clone() }))).await;
        assert_eq!(store.delete_all(&drafts).await.unwrap(), 2);
        let told = poems.iter().flat_map(|poem| {
            gone("contents", &Content { version: 2, ..poem.clone() }, &[("author_id", hex(poem.author_id))])
        });
        outbox.assert_told(told).await;
        assert_eq!(store.update_all(&drafts, patch()).await.unwrap(), 0);
        outbox.assert_told([]).await;
    }

    async fn statements_of_one_s_own_are_told(database: TestDatabase) {
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        outbox.told().await;
        raw(&store, Sql::new("UPDATE users SET name = 'x'")).await;
        // It did not change the version, which is told as it is.
        outbox.assert_told([of_user(&ada), of_user(&bob)].concat()).await;
        raw(&store, Sql::new("DELETE FROM users WHERE id = $1").bind(ada.id)).await;
        outbox.assert_told(gone("users", &ada, &[("email", "ada@example.org".to_owned())])).await;
        assert_eq!(execute(&store, Sql::new("DELETE FROM users WHERE name = 'nobody'")).await.unwrap(), 0);
        outbox.assert_told([]).await;
        // By a connection that knows nothing of the store.
        outbox.connection.execute_unprepared("UPDATE users SET version = 9").await.unwrap();
        outbox.assert_told(of_user(&User { version: 9, ..bob })).await;
    }

    async fn what_is_undone_is_not_told(database: TestDatabase) {
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let undone = store
            .write(|work| async move {
                work.insert(new_user("ada")).await?;
                Err::<(), _>(Error::invalid("", "no", "no"))
            })
            .await;
        assert!(undone.is_err());
        outbox.assert_told([]).await;

        let bob = store
            .write(|work| async move {
                let bob = work.insert(new_user("bob")).await?;
                let undone = work
                    .savepoint(|part| async move {
                        part.insert(new_tag("gone")).await?;
                        part.insert(new_user("eve")).await?;
                        Err::<(), _>(Error::invalid("", "no", "no"))
                    })
                    .await;
                assert!(undone.is_err());
                let kept = work.savepoint(|part| async move { part.insert(new_tag("kept")).await }).await?;
                Ok((bob, kept))
            })
            .await
            .unwrap();
        let kept = keys("tags", &bob.1, &[("name", "kept".to_owned())]);
        outbox.assert_told([of_user(&bob.0), kept].concat()).await;
    }

    async fn what_is_deleted_along_is_told(database: TestDatabase) {
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let ada = user(&store, "ada").await;
        let new = json!({ "scope": "user", "user_id": ada.id, "key": "appearance.theme", "value": "dark" });
        let setting = store.insert(read::<NewSetting>(new)).await.unwrap();
        assert_eq!(setting.scope, Scope::User);
        outbox.told().await;
        store.delete(ada.id, ada.version).await.unwrap();
        let setting = gone("settings", &setting, &[("user_id", hex(ada.id)), ("key", "appearance.theme".to_owned())]);
        let told = [gone("users", &ada, &[("email", "ada@example.org".to_owned())]), setting].concat();
        outbox.assert_told(told).await;

        let (bob, tag) = (user(&store, "bob").await, tag(&store, "tag").await);
        let mut new = new_content(bob.id, "poem");
        new.tags = vec![tag.id];
        let poem = store.insert(new).await.unwrap();
        outbox.told().await;
        store.delete(poem.id, poem.version).await.unwrap();
        let poem_gone = gone("contents", &poem, &[("author_id", hex(bob.id))]);
        outbox.assert_told([poem_gone, of_link(poem.id, &[tag.id])].concat()).await;
    }

    async fn a_key_that_changes_is_told_as_it_was_and_as_it_is(database: TestDatabase) {
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        outbox.told().await;
        let patch = UserPatch { email: Change::Set("Lovelace@example.org".to_owned()), ..UserPatch::default() };
        let ada = store.update(ada.id, ada.version, patch).await.unwrap();
        let before = "users:email:ada@example.org".to_owned();
        let after = of_user(&ada);
        assert!(after.contains(&"users:email:lovelace@example.org".to_owned()), "{after:?}");
        outbox.assert_told(after.into_iter().chain([before])).await;

        let poem = content(&store, ada.id, "poem").await;
        outbox.told().await;
        raw(&store, Sql::new("UPDATE contents SET author_id = $1").bind(bob.id)).await;
        let before = format!("contents:author_id:{}", hex(ada.id));
        outbox.assert_told(of_content(&Content { author_id: bob.id, ..poem }).into_iter().chain([before])).await;

        // Nothing is not a key; letters beyond ASCII stay, and what JSON has to escape comes through.
        let order = model(&store, "order").await;
        outbox.assert_told(keys("data_models", &order, &[("name", "order".to_owned())])).await;
        let odd = "ÄB \"quoted\" \\ \n\t☃";
        raw(&store, Sql::new("UPDATE data_models SET owner_id = $1, name = $2").bind(bob.id).bind(odd)).await;
        let expected = [("name", "order"), ("name", "Äb \"quoted\" \\ \n\t☃")].map(|(name, to)| (name, to.to_owned()));
        let owner = [("owner_id", hex(bob.id))];
        outbox.assert_told(keys("data_models", &order, &[&expected[..], &owner].concat())).await;
        raw(&store, Sql::new("UPDATE data_models SET owner_id = NULL")).await;
        outbox.assert_told(keys("data_models", &order, &[&expected[1..], &owner].concat())).await;
    }

    async fn an_id_that_changes_is_told_as_gone(database: TestDatabase) {
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        outbox.told().await;
        let change = Sql::new("UPDATE users SET id = $1 WHERE id = $2");
        let nobody = Id::<User>::new(NOBODY);
        raw(&store, change.clone().bind(nobody).bind(ada.id)).await;
        let moved = User { id: nobody, ..ada.clone() };
        let left = |user: &User| format!("users:id:{}#2-", hex(user.id));
        outbox.assert_told(of_user(&moved).into_iter().chain([left(&ada)])).await;
        // One of two rows of a statement.
        let change = Sql::new("UPDATE users SET id = CASE WHEN id = $1 THEN $2 ELSE id END");
        raw(&store, change.bind(nobody).bind(ada.id)).await;
        outbox.assert_told([of_user(&ada), of_user(&bob), vec![left(&moved)]].concat()).await;
    }

    /// What the catalogue knows to be a key is told, of every table, of all that there is.
    async fn every_key_of_every_table_is_told(database: TestDatabase) {
        let outbox = Outbox::of(&database).await;
        let options = SeedOptions { reset: false, number: 7, users: 60 };
        let environment = [("DATABASE_URL".to_owned(), database.url.clone())];
        let config = api::config::Config::read(environment.into_iter(), std::path::Path::new("/nowhere")).unwrap();
        seed(&options, false, &config).await.unwrap();
        let told = outbox.told().await;
        assert!(!told.contains("*"), "too much was made at once to be looked through");

        let columns = outbox.texts(key_columns(&database)).await;
        let tables = columns.iter().map(|column| column[0].as_str()).collect::<BTreeSet<_>>();
        assert!(tables.len() >= 11 && columns.len() >= 26, "{columns:?}");
        for column in &columns {
            let [table, column, kind] = column.as_slice() else { panic!("{column:?}") };
            let value = match (kind.as_str(), database.backend()) {
                ("text", _) => format!("lower({column})"),
                (_, Backend::Sqlite) => format!("lower(hex({column}))"),
                (_, Backend::Postgres) => format!("replace({column}::text, '-', '')"),
            };
            let values = format!("SELECT {value} FROM {table} WHERE {column} IS NOT NULL");
            let values = outbox.texts(&values).await;
            assert!(!values.is_empty(), "there is no {column} in {table}");
            for value in values.concat() {
                let key = format!("{table}:{column}:{value}");
                let version = format!("{key}#1");
                assert!(told.contains(&key) || told.contains(&version), "{key} is not told");
            }
        }
        for table in tables {
            assert!(told.contains(table), "{table} is not told");
        }
    }

    /// Every record, and what links them: whatever has a column of ids.
    async fn every_table_has_its_triggers(database: TestDatabase) {
        let outbox = Outbox::of(&database).await;
        let columns = outbox.texts(key_columns(&database)).await;
        let tables = columns.iter().map(|column| column[0].as_str()).collect::<BTreeSet<_>>();
        let (triggers, events): (_, &[_]) = match database.backend() {
            Backend::Sqlite => ("SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger'", &TRIGGERS[..3]),
            Backend::Postgres => (
                "SELECT tgrelid::regclass::text, tgname::text FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'O'",
                &TRIGGERS[..],
            ),
        };
        let found = outbox.texts(triggers).await.into_iter().filter(|trigger| trigger[1].starts_with("cache_"));
        let expected = tables.iter().flat_map(|table| {
            events.iter().map(move |event| vec![(*table).to_owned(), format!("cache_{table}_{event}")])
        });
        assert_eq!(found.collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>());
    }

    /// In the migration of a new table it takes one word.
    async fn a_new_table_is_cached_by_its_references_and_what_is_unique(database: TestDatabase) {
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let ada = user(&store, "ada").await;
        outbox.told().await;
        let schema = SchemaManager::new(&outbox.connection);
        let before = dump(&outbox.connection).await;
        record("invoices")
            .columns([uuid("user_id"), uuid_null("payer_id"), text("number"), text("series"), big_integer("total")])
            .references("user_id", "users")
            .references("payer_id", "users")
            .unique(&["number"])
            .unique(&["total"])
            .unique(&["series", "total"])
            .unique(&["user_id"])
            .cached()
            .create(&schema)
            .await
            .unwrap();
        let insert = Sql::new(
            "INSERT INTO invoices (id, version, created_at, updated_at, user_id, number, series, total) \
             VALUES ($1, 3, $2, $2, $1, 'A 1', 'B', 12)",
        );
        raw(&store, insert.bind(ada.id).bind(ada.created_at)).await;
        let others = [("user_id", hex(ada.id)), ("number", "a 1".to_owned()), ("total", "12".to_owned())];
        outbox.assert_told(keys("invoices", &User { version: 3, ..ada }, &others)).await;
        drop_cached(&schema, "invoices").await.unwrap();
        assert_eq!(dump(&outbox.connection).await, before);
    }
);

const TRIGGERS: [&str; 4] = ["insert", "update", "delete", "truncate"];

/// Table, column and kind of all that rows are looked up by: ids, and what has a unique index of its own, which is named
/// after it.
fn key_columns(database: &TestDatabase) -> &'static str {
    match database.backend() {
        Backend::Sqlite => {
            "SELECT t.name AS t, c.name AS c, CASE c.type WHEN 'uuid_text' THEN 'id' ELSE 'text' END AS kind \
             FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c \
             WHERE t.type = 'table' AND t.name <> 'outbox' AND (c.type = 'uuid_text' OR EXISTS (SELECT 1 FROM pragma_index_list(t.name) AS i \
                   WHERE i.\"unique\" AND i.name = 'uq_' || t.name || '_' || c.name))"
        }
        Backend::Postgres => {
            "SELECT table_name::text AS t, column_name::text AS c, \
                    CASE data_type WHEN 'uuid' THEN 'id' ELSE 'text' END AS kind \
             FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name <> 'outbox' AND (data_type = 'uuid' OR EXISTS (SELECT FROM pg_indexes \
                   WHERE indexname = 'uq_' || table_name || '_' || column_name AND indexdef LIKE 'CREATE UNIQUE %'))"
        }
    }
}

const PEOPLE: &str = "INSERT INTO users (id, version, created_at, updated_at, email, name, role, status) \
     SELECT ('018f0000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, 1, now(), now(), i || '@example.org', \
            'x', 'member', 'active' FROM generate_series(1, $1) AS i";

/// PostgreSQL tells by statement, and says of too much that all changed.
#[test]
fn too_many_keys_are_all() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let all = || vec![Keys::from(["*".to_owned()])];
        // A row has a key of its own, and an address; there is one key of the table.
        for (rows, is_all) in [(499_i64, false), (500, true), (5_000, true)] {
            for sql in [PEOPLE, "UPDATE users SET name = 'y' WHERE $1 > 0", "DELETE FROM users WHERE $1 > 0"] {
                assert_eq!(execute(&store, Sql::new(sql).bind(rows)).await.unwrap(), rows.unsigned_abs());
                let told = outbox.rows().await;
                if is_all {
                    assert_eq!(told, all(), "{sql} {rows}");
                } else {
                    assert_eq!(told.iter().map(Keys::len).collect::<Vec<_>>(), [999], "{sql}");
                }
            }
        }
        // Many rows with few keys are many all the same.
        user(&store, "ada").await;
        for (table, columns, values) in [
            ("contents", "author_id, title, body, status", "users.id, '', '', 'draft' FROM users, "),
            ("tags", "name", "i FROM "),
        ] {
            let sql = format!(
                "INSERT INTO {table} (id, version, created_at, updated_at, {columns}) \
                 SELECT gen_random_uuid(), 1, now(), now(), {values} generate_series(1, 40) AS i"
            );
            outbox.connection.execute_unprepared(&sql).await.unwrap();
        }
        outbox.told().await;
        let link = "INSERT INTO content_tags (content_id, tag_id, position, created_at) \
                    SELECT contents.id, tags.id, 0, now() FROM contents, tags LIMIT $1";
        raw(&store, Sql::new(link).bind(1_000_i64)).await;
        assert!(outbox.rows().await[0].len() > 40);
        raw(&store, Sql::new("DELETE FROM content_tags")).await;
        assert!(outbox.rows().await[0].len() > 40);
        raw(&store, Sql::new(link).bind(1_001_i64)).await;
        assert_eq!(outbox.rows().await, all());

        outbox.connection.execute_unprepared("TRUNCATE content_tags").await.unwrap();
        assert_eq!(outbox.rows().await, all());
    });
}

/// Readers of the outbox tell by the transaction whether they saw all of it.
#[test]
fn a_row_names_its_transaction() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let transaction = store
            .write(|work| async move {
                work.insert(new_user("ada")).await?;
                work.insert(new_tag("tag")).await?;
                work.query(Sql::new("SELECT txid_current() AS tx")).await?.column::<i64>("tx")
            })
            .await
            .unwrap();
        let rows = outbox.query("SELECT tx FROM cache_outbox").await;
        let told = rows.iter().map(|row| row.try_get::<i64>("", "tx").unwrap()).collect::<Vec<_>>();
        assert_eq!(told, [transaction[0], transaction[0]]);
    });
}

/// PostgreSQL is told where the outbox is, whatever the search path of who writes.
#[test]
fn another_search_path_changes_nothing() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let ada = user(&store, "ada").await;
        outbox.told().await;
        let sql = "SELECT set_config('search_path', '', true); UPDATE public.users SET name = 'x'";
        outbox.connection.execute_unprepared(sql).await.unwrap();
        outbox.assert_told(of_user(&ada)).await;
    });
}

/// SQLite deletes a row that another one replaces without a word, unless triggers are to be told of it.
#[test]
fn a_row_that_is_replaced_is_told_as_gone() {
    within(LIMIT, async {
        let database = tests::database(Backend::Sqlite).await.unwrap();
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let ada = user(&store, "ada").await;
        outbox.told().await;
        let replace = "REPLACE INTO users (id, version, created_at, updated_at, email, name, role, status) \
                       SELECT $1, 1, created_at, updated_at, upper(email), name, role, status FROM users";
        let nobody = Id::<User>::new(NOBODY);
        raw(&store, Sql::new(replace).bind(nobody)).await;
        let left = format!("users:id:{}#2-", hex(ada.id));
        outbox.assert_told(of_user(&User { id: nobody, ..ada }).into_iter().chain([left])).await;
    });
}

/// On SQLite the rows are numbered without a gap in the order of commits, and no number is given twice.
#[test]
fn numbers_on_sqlite_are_dense_and_never_given_again() {
    within(LIMIT, async {
        let database = tests::database(Backend::Sqlite).await.unwrap();
        let (store, outbox) = (store(&database).await, Outbox::of(&database).await);
        let numbers = async || {
            let rows = outbox.query("SELECT id FROM cache_outbox ORDER BY id").await;
            rows.iter().map(|row| row.try_get::<i64>("", "id").unwrap()).collect::<Vec<_>>()
        };
        user(&store, "ada").await;
        let first = numbers().await[0];
        store.insert(new_user("ada")).await.unwrap_err();
        let undone = store.write(|work| async move {
            work.insert(new_user("bob")).await?;
            Err::<(), _>(Error::invalid("", "no", "no"))
        });
        undone.await.unwrap_err();
        user(&store, "eve").await;
        assert_eq!(numbers().await, [first, first + 1]);
        outbox.told().await;
        user(&store, "joe").await;
        assert_eq!(numbers().await, [first + 2]);
    });
}
