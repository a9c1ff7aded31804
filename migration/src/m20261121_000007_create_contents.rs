use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::record;

/// What authors write.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        record("contents")
            .columns([uuid("author_id"), text("title"), text("body"), text("status")])
            .references("author_id", "users")
            .one_of("status", &["draft", "published", "archived"])
            .index(&["author_id"])
            .index(&["status"])
            .create(schema)
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("contents").take()).await
    }
}
