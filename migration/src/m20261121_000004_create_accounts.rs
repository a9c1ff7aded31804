use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::record;

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
        record("accounts")
            .columns([uuid("owner_id"), text("currency"), big_integer("balance")])
            .references("owner_id", "users")
            .check("balance", Expr::col("balance").gte(0))
            .check("currency", Func::cust("length").arg(Expr::col("currency")).eq(3))
            .index(&["owner_id"])
            .create(schema)
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("accounts").take()).await
    }
}
