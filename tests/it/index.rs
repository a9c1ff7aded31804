//! Indexes: what lists are narrowed by is looked up, not searched for.

use domain::{Database, Filter, Sql, Store, StoreOptions};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tests::{Backend, PATIENCE, eventually, on_both, or_skip, run::LIMIT, within};

use crate::fixture::{NOBODY, open, options, read, store, user};

/// A table, its indexes and whether each is unique, as far as they are promised.
const PROMISED: &[(&str, &[(&str, bool)])] = &[
    (
        "users",
        &[
            ("uq_users_email", true),
            ("ix_users_role", false),
            ("ix_users_status", false),
            ("ix_users_last_active_at", false),
            ("ix_users_created_at", false),
        ],
    ),
    (
        "subscriptions",
        &[
            ("ix_subscriptions_user_id", false),
            ("ix_subscriptions_status", false),
            ("ix_subscriptions_stripe_customer_id", false),
            ("uq_subscriptions_user_id", true),
        ],
    ),
    ("data_models", &[("ix_data_models_owner_id", false), ("uq_data_models_name", true)]),
    ("transfers", &[("ix_transfers_from_account_id", false), ("ix_transfers_to_account_id", false)]),
];

on_both!(
    async fn every_promised_index_is_there(database: TestDatabase) {
        let store = store(&database).await;
        let indexes = match store.database() {
            Database::Sqlite => "SELECT name, \"unique\" = 1 AS is_unique FROM pragma_index_list($1)",
            Database::Postgres => {
                "SELECT relname::text AS name, indisunique AS is_unique FROM pg_index \
                 JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = $1::text::regclass AND indisvalid"
            }
        };
        for (table, promised) in PROMISED {
            let rows = store.query(Sql::new(indexes).bind(*table)).await.unwrap();
            let names = rows.column::<String>("name").unwrap();
            let found = names.into_iter().zip(rows.column::<bool>("is_unique").unwrap()).collect::<Vec<_>>();
            for (name, is_unique) in *promised {
                assert!(found.contains(&((*name).to_owned(), *is_unique)), "{table}: {name} in {found:?}");
            }
        }
    }
);

/// SQLite says how it would do it.
#[test]
fn sqlite_looks_up_what_lists_are_narrowed_by() {
    within(LIMIT, async {
        let database = tests::database(Backend::Sqlite).await.unwrap();
        let store = store(&database).await;
        for (question, index) in [
            ("EXPLAIN QUERY PLAN SELECT 1 FROM users WHERE lower(email) = 'a'", "uq_users_email"),
            ("EXPLAIN QUERY PLAN SELECT 1 FROM users WHERE role = 'admin'", "ix_users_role"),
            ("EXPLAIN QUERY PLAN SELECT 1 FROM users WHERE status = 'closed'", "ix_users_status"),
            ("EXPLAIN QUERY PLAN SELECT 1 FROM users WHERE last_active_at >= 'a'", "ix_users_last_active_at"),
            ("EXPLAIN QUERY PLAN SELECT 1 FROM users WHERE created_at > 'a'", "ix_users_created_at"),
            ("EXPLAIN QUERY PLAN SELECT 1 FROM subscriptions WHERE user_id = 'a'", "ix_subscriptions_user_id"),
            ("EXPLAIN QUERY PLAN SELECT 1 FROM subscriptions WHERE status = 'active'", "ix_subscriptions_status"),
            (
                "EXPLAIN QUERY PLAN SELECT 1 FROM subscriptions WHERE stripe_customer_id = 'a'",
                "ix_subscriptions_stripe_customer_id",
            ),
        ] {
            let plan = store.query(Sql::new(question)).await.unwrap().column::<String>("detail").unwrap();
            let looks_up = |line: &String| line.starts_with("SEARCH") && line.contains(index);
            assert!(plan.iter().any(looks_up), "{question}: {plan:?}");
        }
    });
}

/// PostgreSQL counts how often it has used an index: by the store's own statements.
#[test]
fn postgres_looks_up_what_lists_are_narrowed_by() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        // What it would do with a large table.
        let name = database.url.rsplit('/').next().unwrap();
        let connection = database.connect().await;
        connection.execute_unprepared(&format!("ALTER DATABASE {name} SET enable_seqscan = off")).await.unwrap();
        connection.close().await.unwrap();
        let store = open(&StoreOptions { max_connections: 1, ..options(&database.url) }).await;
        for n in 0..50 {
            user(&store, &format!("user{n}")).await;
        }
        let then = "2026-01-02T03:04:05Z";
        asks::<domain::UserFilter>(&store, json!({"email": "USER7@example.org"}), "uq_users_email").await;
        asks::<domain::UserFilter>(&store, json!({"role": "admin"}), "ix_users_role").await;
        asks::<domain::UserFilter>(&store, json!({"status": "closed"}), "ix_users_status").await;
        asks::<domain::UserFilter>(&store, json!({"active_since": then}), "ix_users_last_active_at").await;
        asks::<domain::UserFilter>(&store, json!({"created_after": then}), "ix_users_created_at").await;
        asks::<domain::SubscriptionFilter>(&store, json!({"user_id": NOBODY}), "ix_subscriptions_user_id").await;
        asks::<domain::SubscriptionFilter>(&store, json!({"status": "past_due"}), "ix_subscriptions_status").await;
        let customer = json!({"stripe_customer_id": "cus_1"});
        asks::<domain::SubscriptionFilter>(&store, customer, "ix_subscriptions_stripe_customer_id").await;
        asks::<domain::DataModelFilter>(&store, json!({"owner_id": NOBODY}), "ix_data_models_owner_id").await;
        asks::<domain::DataModelFilter>(&store, json!({"name": "order"}), "uq_data_models_name").await;
    });
}

/// Narrowing by this uses that index.
async fn asks<F: Filter>(store: &Store, filter: Value, index: &'static str) {
    let before = scans(store, index).await;
    store.count(&read::<F>(filter.clone())).await.unwrap();
    let is_counted = async || (scans(store, index).await > before).then_some(());
    eventually(&format!("{filter} is looked up by {index}"), PATIENCE, is_counted).await;
}

async fn scans(store: &Store, index: &'static str) -> i64 {
    // What this very connection has counted is told at once, and not a second later.
    store.query(Sql::new("SELECT pg_stat_force_next_flush()")).await.unwrap();
    let scans = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = $1::text";
    store.query(Sql::new(scans).bind(index)).await.unwrap().column("idx_scan").unwrap()[0]
}
