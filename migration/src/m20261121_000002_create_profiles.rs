use sea_orm_migration::{
    prelude::*,
    schema::{date_null, text_null, uuid},
};

use crate::convention::{record, references, unique};

/// What a user tells about themselves: at most one profile each.
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
                record("profiles")
                    .col(uuid("user_id"))
                    .col(text_null("bio"))
                    .col(text_null("city"))
                    .col(date_null("birth_date"))
                    .col(text_null("avatar_url"))
                    .foreign_key(&mut references("profiles", "user_id", "users"))
                    .take(),
            )
            .await?;
        schema.create_index(unique("profiles", &["user_id"])).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("profiles").take()).await
    }
}
