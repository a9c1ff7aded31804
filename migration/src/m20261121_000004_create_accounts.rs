use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, text, uuid},
};

use crate::convention::{check, index, record, references};

/// Accounts hold money: whole minor units of one ISO 4217 currency, never below zero.
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
                record("accounts")
                    .col(uuid("owner_id"))
                    .col(text("currency"))
                    .col(big_integer("balance"))
                    .foreign_key(&mut references("accounts", "owner_id", "users"))
                    .check(check("accounts", "balance", Expr::col("balance").gte(0)))
                    .check(check("accounts", "currency", Func::cust("length").arg(Expr::col("currency")).eq(3)))
                    .take(),
            )
            .await?;
        schema.create_index(index("accounts", &["owner_id"])).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("accounts").take()).await
    }
}
