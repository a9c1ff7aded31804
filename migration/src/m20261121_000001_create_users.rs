use sea_orm_migration::{
    prelude::*,
    schema::{text, timestamp_with_time_zone_null},
};

use crate::convention::{create_unique_ignoring_case, index, one_of, record};

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
        schema
            .create_table(
                record("users")
                    .col(text("email"))
                    .col(text("name"))
                    .col(text("role"))
                    .col(text("status"))
                    .col(timestamp_with_time_zone_null("last_active_at"))
                    .check(one_of("users", "role", &["member", "editor", "admin"]))
                    .check(one_of("users", "status", &["active", "suspended", "closed"]))
                    .take(),
            )
            .await?;
        create_unique_ignoring_case(schema, "users", "email").await?;
        schema.create_index(index("users", &["role"])).await?;
        schema.create_index(index("users", &["status"])).await?;
        schema.create_index(index("users", &["last_active_at"])).await?;
        schema.create_index(index("users", &["created_at"])).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("users").take()).await
    }
}
