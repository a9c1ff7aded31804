use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::record;

/// What a user pays for: any number of subscriptions over time, at most one of them active.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        record("subscriptions")
            .columns([
                uuid("user_id"),
                text("plan"),
                text("status"),
                text_null("stripe_customer_id"),
                timestamp_with_time_zone("period_start"),
                timestamp_with_time_zone("period_end"),
            ])
            .references("user_id", "users")
            .one_of("status", &["trialing", "active", "past_due", "canceled"])
            .check("period_end", Expr::col("period_end").gt(Expr::col("period_start")))
            .index(&["user_id"])
            .index(&["status"])
            .index(&["stripe_customer_id"])
            .unique_where(&["user_id"], Expr::col("status").eq("active"))
            .create(schema)
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("subscriptions").take()).await
    }
}
