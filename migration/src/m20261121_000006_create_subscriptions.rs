use sea_orm_migration::{
    prelude::*,
    schema::{text, text_null, timestamp_with_time_zone, uuid},
};

use crate::convention::{check, index, one_of, record, references, unique};

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
        schema
            .create_table(
                record("subscriptions")
                    .col(uuid("user_id"))
                    .col(text("plan"))
                    .col(text("status"))
                    .col(text_null("stripe_customer_id"))
                    .col(timestamp_with_time_zone("period_start"))
                    .col(timestamp_with_time_zone("period_end"))
                    .foreign_key(&mut references("subscriptions", "user_id", "users"))
                    .check(one_of("subscriptions", "status", &["trialing", "active", "past_due", "canceled"]))
                    .check(check("subscriptions", "period_end", Expr::col("period_end").gt(Expr::col("period_start"))))
                    .take(),
            )
            .await?;
        schema.create_index(index("subscriptions", &["user_id"])).await?;
        schema.create_index(index("subscriptions", &["status"])).await?;
        schema.create_index(index("subscriptions", &["stripe_customer_id"])).await?;
        schema
            .create_index(unique("subscriptions", &["user_id"]).and_where(Expr::col("status").eq("active")).take())
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("subscriptions").take()).await
    }
}
