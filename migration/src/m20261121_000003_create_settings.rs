use sea_orm_migration::{
    prelude::*,
    schema::{json_binary, text, uuid_null},
};

use crate::convention::{check, one_of, record, references, unique};

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
        schema
            .create_table(
                record("settings")
                    .col(text("scope"))
                    .col(uuid_null("user_id"))
                    .col(text("key"))
                    .col(json_binary("value"))
                    .foreign_key(&mut references("settings", "user_id", "users"))
                    .check(one_of("settings", "scope", &["application", "user"]))
                    .check(check(
                        "settings",
                        "user_id",
                        Expr::col("scope").eq("user").eq(Expr::col("user_id").is_not_null()),
                    ))
                    .take(),
            )
            .await?;
        schema.create_index(unique("settings", &["key"]).and_where(Expr::col("user_id").is_null()).take()).await?;
        schema
            .create_index(unique("settings", &["user_id", "key"]).and_where(Expr::col("user_id").is_not_null()).take())
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("settings").take()).await
    }
}
