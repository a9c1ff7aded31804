use sea_orm_migration::{
    prelude::*,
    schema::{text, uuid},
};

use crate::convention::{index, one_of, record, references};

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
        schema
            .create_table(
                record("contents")
                    .col(uuid("author_id"))
                    .col(text("title"))
                    .col(text("body"))
                    .col(text("status"))
                    .foreign_key(&mut references("contents", "author_id", "users"))
                    .check(one_of("contents", "status", &["draft", "published", "archived"]))
                    .take(),
            )
            .await?;
        schema.create_index(index("contents", &["author_id"])).await?;
        schema.create_index(index("contents", &["status"])).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("contents").take()).await
    }
}
