//! The schema's history: one file per step, each with an `up` and a working `down`, each running on PostgreSQL and on
//! SQLite.
//!
//! Most are in Rust, in `src`; those in plain SQL are in `sql`, and take their place among the others by their names. The
//! build script puts the text of all into the program.
//!
//! A migration depends on nothing of ours, so that it means the same in ten years. To add one, run
//! `cargo run -- migrate generate NAME` (or `sea-orm-cli migrate generate NAME`), fill in both directions, and then
//! `cargo run -- entity refresh`. Called `create_TABLE`, it has the table of a record in it, which says with `.cached()`
//! and `.audited()` that the database is to tell what changes in it (see [`convention`]), and the way back.

pub use backfill::{Backfill, Batch, Changing};
pub use concurrent::index_concurrently;
pub use history::{Source, SqlMigration, among, is_in_transaction, source};
pub use one_way::{irreversible, irreversible_because, why_irreversible};
pub use sea_orm_migration::{MigrationTrait, MigratorTrait};

pub mod backfill;
mod concurrent;
pub mod convention;
mod history;
mod one_way;
mod statements;

mod m20261121_000001_create_users;
mod m20261121_000002_create_profiles;
mod m20261121_000003_create_settings;
mod m20261121_000004_create_accounts;
mod m20261121_000005_create_transfers;
mod m20261121_000006_create_subscriptions;
mod m20261121_000007_create_contents;
mod m20261121_000008_create_tags;
mod m20261121_000009_create_data_models;
mod m20261121_000010_create_relationships;
mod m20261121_000011_create_idempotency_keys;
mod m20261121_000012_add_avatar_to_users;
mod m20261121_000013_create_cache_outbox;
mod m20261121_000014_create_documents;
mod m20261121_000015_create_outbox;

/// All migrations, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        among(Self::in_rust(), history::in_sql())
    }
}

impl Migrator {
    /// Those in Rust. Those in SQL are in `sql`, and in no list.
    fn in_rust() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_create_users::Migration),
            Box::new(m20261121_000002_create_profiles::Migration),
            Box::new(m20261121_000003_create_settings::Migration),
            Box::new(m20261121_000004_create_accounts::Migration),
            Box::new(m20261121_000005_create_transfers::Migration),
            Box::new(m20261121_000006_create_subscriptions::Migration),
            Box::new(m20261121_000007_create_contents::Migration),
            Box::new(m20261121_000008_create_tags::Migration),
            Box::new(m20261121_000009_create_data_models::Migration),
            Box::new(m20261121_000010_create_relationships::Migration),
            Box::new(m20261121_000011_create_idempotency_keys::Migration),
            Box::new(m20261121_000012_add_avatar_to_users::Migration),
            Box::new(m20261121_000013_create_cache_outbox::Migration),
            Box::new(m20261121_000014_create_documents::Migration),
            Box::new(m20261121_000015_create_outbox::Migration),
        ]
    }
}
