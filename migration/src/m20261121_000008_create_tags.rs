use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, text, timestamp_with_time_zone, uuid},
};

use crate::convention::{create_unique_ignoring_case, index, record, references};

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
        schema.create_table(record("tags").col(text("name")).take()).await?;
        create_unique_ignoring_case(schema, "tags", "name").await?;
        schema
            .create_table(
                Table::create()
                    .table("content_tags")
                    .col(uuid("content_id"))
                    .col(uuid("tag_id"))
                    .col(big_integer("position"))
                    .col(timestamp_with_time_zone("created_at"))
                    .primary_key(Index::create().name("pk_content_tags").col("content_id").col("tag_id"))
                    .foreign_key(&mut references("content_tags", "content_id", "contents"))
                    .foreign_key(&mut references("content_tags", "tag_id", "tags"))
                    .take(),
            )
            .await?;
        schema.create_index(index("content_tags", &["tag_id"])).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("content_tags").take()).await?;
        schema.drop_table(Table::drop().table("tags").take()).await
    }
}
