use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::table;

/// The answers to requests that carried an idempotency key, kept with their effect.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        table("idempotency_keys")
            .columns([
                text("key").primary_key().take(),
                text("fingerprint"),
                big_integer("status"),
                text("body"),
                timestamp_with_time_zone("created_at"),
            ])
            .index(&["created_at"])
            .create(schema)
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("idempotency_keys").take()).await
    }
}
