use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::record;

/// Settings of the application, which a user's own may override.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        record("settings")
            .columns([text("scope"), uuid_null("user_id"), text("key"), json_binary("value")])
            .references("user_id", "users")
            .one_of("scope", &["application", "user"])
            .check("user_id", Expr::col("scope").eq("user").eq(Expr::col("user_id").is_not_null()))
            .unique_where(&["key"], Expr::col("user_id").is_null())
            .unique_where(&["user_id", "key"], Expr::col("user_id").is_not_null())
            .create(schema)
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("settings").take()).await
    }
}
