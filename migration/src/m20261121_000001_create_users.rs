use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::record;

/// The people the application serves; their e-mail is unique whatever the case of its letters.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        record("users")
            .columns([
                text("email"),
                text("name"),
                text("role"),
                text("status"),
                timestamp_with_time_zone_null("last_active_at"),
            ])
            .one_of("role", &["member", "editor", "admin"])
            .one_of("status", &["active", "suspended", "closed"])
            .unique_ignoring_case("email")
            .index(&["role"])
            .index(&["status"])
            .index(&["last_active_at"])
            .index(&["created_at"])
            .create(schema)
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("users").take()).await
    }
}
