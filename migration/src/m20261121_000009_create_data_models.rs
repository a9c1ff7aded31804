use sea_orm_migration::{
    prelude::*,
    schema::{json_binary, text, uuid_null},
};

use crate::convention::{index, record, references, unique};

/// Data models that the application manages: a name and a description of fields. One outlives its owner.
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
                record("data_models")
                    .col(uuid_null("owner_id"))
                    .col(text("name"))
                    .col(json_binary("fields"))
                    .foreign_key(&mut references("data_models", "owner_id", "users"))
                    .take(),
            )
            .await?;
        schema.create_index(index("data_models", &["owner_id"])).await?;
        schema.create_index(unique("data_models", &["name"])).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("data_models").take()).await
    }
}
