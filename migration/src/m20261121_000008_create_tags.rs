use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::{record, table};

/// Tags, and the ordered links between contents and tags.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        record("tags").columns([text("name")]).unique_ignoring_case("name").create(schema).await?;
        table("content_tags")
            .columns([
                uuid("content_id"),
                uuid("tag_id"),
                big_integer("position"),
                timestamp_with_time_zone("created_at"),
            ])
            .primary_key(&["content_id", "tag_id"])
            .references("content_id", "contents")
            .references("tag_id", "tags")
            .index(&["tag_id"])
            .create(schema)
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("content_tags").take()).await?;
        schema.drop_table(Table::drop().table("tags").take()).await
    }
}
