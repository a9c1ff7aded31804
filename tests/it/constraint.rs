//! Constraints: what the database refuses reads like what the validator refuses, on both databases.

use std::collections::BTreeSet;

use domain::{Insert, Sql};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};
use serde_json::{Value, json};
use tests::{Backend, on_both, or_skip, run::LIMIT, within};

use crate::fixture::{NOBODY, execute, mistakes, model, new_tag, new_user, one, read, store, tag, user};

async fn texts(connection: &DatabaseConnection, sql: &str) -> Vec<Vec<String>> {
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let rows = connection.query_all_raw(statement).await.unwrap();
    let row = |row: &sea_orm::QueryResult| {
        (0..row.column_names().len())
            .map(|n| row.try_get_by_index::<Option<String>>(n).unwrap().unwrap_or_default())
            .collect()
    };
    rows.iter().map(row).collect()
}

/// Table, name and columns of everything that is enforced, as PostgreSQL's catalogue has it.
const CATALOGUE: &str = "\
    SELECT c.conrelid::regclass::text, c.conname::text, string_agg(a.attname, '_' ORDER BY k.n) \
    FROM pg_constraint c CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS k (attnum, n) \
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum \
    WHERE c.contype IN ('u', 'f', 'c') AND c.connamespace = 'public'::regnamespace \
    GROUP BY c.oid, c.conrelid, c.conname \
    UNION ALL \
    SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text, \
           (SELECT string_agg(regexp_replace(pg_get_indexdef(i.indexrelid, n, true), '^lower\\((\\w+)\\)$', '\\1'), '_' \
                              ORDER BY n) FROM generate_series(1, i.indnatts) AS n) \
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
    WHERE i.indisunique AND NOT i.indisprimary AND c.relnamespace = 'public'::regnamespace";

/// Whether a name is `<kind>_<table>_<columns>`.
fn follows_the_convention(table: &str, name: &str, columns: &str) -> bool {
    let named = ["uq", "fk", "ck"].iter().find_map(|kind| name.strip_prefix(&format!("{kind}_{table}_")));
    let is_check = name.starts_with("ck_");
    // A check may look at several columns, and names the one that is to blame.
    named.is_some_and(|named| named == columns || is_check && format!("_{columns}_").contains(&format!("_{named}_")))
}

#[test]
fn every_constraint_names_its_table_and_columns() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let connection = database.connect().await;
        let constraints = texts(&connection, CATALOGUE).await;
        assert!(constraints.len() > 30, "{constraints:?}");
        for constraint in &constraints {
            let [table, name, columns] = constraint.as_slice() else { panic!("{constraint:?}") };
            assert!(follows_the_convention(table, name, columns), "{name} on {table} ({columns})");
        }
        connection.close().await.unwrap();

        // SQLite has the same, by the same names.
        let database = tests::database(Backend::Sqlite).await.unwrap();
        let connection = database.connect().await;
        let schema = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL";
        let schema = texts(&connection, schema).await.concat().join("\n");
        let words = schema.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        let named = words.filter(|word| word.starts_with("uq_") || word.starts_with("ck_")).map(str::to_owned);
        // Its references have no names of their own.
        let references = "SELECT 'fk_' || child.name || '_' || reference.\"from\" FROM sqlite_master AS child \
                          JOIN pragma_foreign_key_list(child.name) AS reference WHERE child.type = 'table'";
        let here = named.chain(texts(&connection, references).await.concat()).collect::<BTreeSet<_>>();
        let there = constraints.iter().map(|constraint| constraint[1].clone()).collect::<BTreeSet<_>>();
        assert_eq!(here, there);
        connection.close().await.unwrap();
    });
}

#[test]
fn a_name_out_of_the_convention_is_noticed() {
    assert!(follows_the_convention("settings", "uq_settings_user_id_key", "user_id_key"));
    assert!(follows_the_convention("transfers", "ck_transfers_to_account_id", "to_account_id_from_account_id"));
    for name in ["settings_user_id_key", "uq_users_email", "uq_settings_user_id", "uq_settings_", "fk_settings_id"] {
        assert!(!follows_the_convention("settings", name, "user_id_key"), "{name}");
    }
}

on_both!(
    /// One violation of each kind, past the validator by a statement, and through the typed call where it lets it pass.
    async fn every_violation_is_answered_alike(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let order = model(&store, "order").await;
        tag(&store, "tag").await;
        let now = ada.created_at;
        let raw = async |sql: Sql| mistakes(execute(&store, sql).await);
        let insert = Sql::new(
            "INSERT INTO users (id, version, created_at, updated_at, email, name, role, status) \
             VALUES ($1, 1, $2, $2, $3, $4, $5, 'active')",
        );
        let new = |email: &str, name: Option<&str>, role: &str| {
            insert
                .clone()
                .bind(domain::UserId::new(NOBODY))
                .bind(now)
                .bind(email)
                .bind(name.map(str::to_owned))
                .bind(role)
        };

        let unique = one("conflict", "/email", "unique");
        assert_eq!(raw(new("ADA@EXAMPLE.ORG", Some("a"), "member")).await, unique);
        assert_eq!(mistakes(store.insert(new_user("ada")).await), unique);
        assert_eq!(raw(new("b@example.org", Some("a"), "king")).await, one("invalid", "/role", "check"));
        assert_eq!(raw(new("b@example.org", None, "member")).await, one("invalid", "/name", "required"));
        assert_eq!(raw(Sql::new("UPDATE tags SET name = NULL")).await, one("invalid", "/name", "required"));
        assert_eq!(mistakes(store.insert(new_tag("TAG")).await), one("conflict", "/name", "unique"));

        let profile =
            Sql::new("INSERT INTO profiles (id, version, created_at, updated_at, user_id) VALUES ($1, 1, $2, $2, $3)");
        let of = |user: domain::UserId| profile.clone().bind(domain::ProfileId::new(user.uuid())).bind(now).bind(user);
        let orphan = raw(of(domain::Id::new(NOBODY))).await;
        // SQLite does not say which reference of a statement was broken; the typed call finds it out.
        let pointer = if database.backend() == Backend::Sqlite { "" } else { "/user_id" };
        assert_eq!(orphan, one("invalid", pointer, "reference"));
        let typed = read::<domain::NewProfile>(json!({"user_id": NOBODY}));
        assert_eq!(mistakes(store.insert(typed).await), one("invalid", "/user_id", "reference"));
        execute(&store, of(ada.id)).await.unwrap();
        let second = profile.clone().bind(domain::ProfileId::new(NOBODY)).bind(now).bind(ada.id);
        assert_eq!(raw(second).await, one("conflict", "/user_id", "unique"));

        // Constraints on several columns name all of them.
        let edge = Sql::new(
            "INSERT INTO relationships (id, version, created_at, updated_at, from_model_id, to_model_id, kind) \
             VALUES ($1, 1, $2, $2, $3, $3, $4)",
        );
        let edge = |id: u128, kind: &str| {
            let id = domain::RelationshipId::new(uuid::Uuid::from_u128(id));
            edge.clone().bind(id).bind(now).bind(order.id).bind(kind)
        };
        execute(&store, edge(1, "references")).await.unwrap();
        let all = ["/from_model_id", "/to_model_id", "/kind"].map(|at| (at.to_owned(), "unique".to_owned()));
        assert_eq!(raw(edge(2, "references")).await, ("conflict", all.to_vec()));
        let typed = json!({"from_model_id": order.id, "to_model_id": order.id, "kind": "references"});
        assert_eq!(refused::<domain::NewRelationship>(&store, typed).await, ("conflict", all.to_vec()));
        assert_eq!(raw(edge(3, "contains")).await, one("invalid", "/to_model_id", "check"));
    }
);

async fn refused<N: Insert>(store: &domain::Store, new: Value) -> (&'static str, Vec<(String, String)>) {
    mistakes(store.insert(read::<N>(new)).await)
}
