use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::record;

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
        record("data_models")
            .columns([uuid_null("owner_id"), text("name"), json_binary("fields")])
            .references("owner_id", "users")
            .index(&["owner_id"])
            .unique(&["name"])
            .create(schema)
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("data_models").take()).await
    }
}
