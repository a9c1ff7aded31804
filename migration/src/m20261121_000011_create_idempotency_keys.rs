use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, text, timestamp_with_time_zone},
};

use crate::convention::index;

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
        schema
            .create_table(
                Table::create()
                    .table("idempotency_keys")
                    .col(text("key").primary_key())
                    .col(text("fingerprint"))
                    .col(big_integer("status"))
                    .col(text("body"))
                    .col(timestamp_with_time_zone("created_at"))
                    .take(),
            )
            .await?;
        schema.create_index(index("idempotency_keys", &["created_at"])).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("idempotency_keys").take()).await
    }
}
