use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::record;

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
        record("profiles")
            .columns([
                uuid("user_id"),
                text_null("bio"),
                text_null("city"),
                date_null("birth_date"),
                text_null("avatar_url"),
            ])
            .references("user_id", "users")
            .unique(&["user_id"])
            .create(schema)
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("profiles").take()).await
    }
}
