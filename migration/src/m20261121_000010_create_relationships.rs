use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::record;

/// Typed edges between two data models: a many-to-many of a table with itself.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        record("relationships")
            .columns([uuid("from_model_id"), uuid("to_model_id"), text("kind")])
            .references("from_model_id", "data_models")
            .references("to_model_id", "data_models")
            .one_of("kind", &["references", "contains", "extends"])
            .check(
                "to_model_id",
                Expr::col("kind").eq("references").or(Expr::col("from_model_id").ne(Expr::col("to_model_id"))),
            )
            .unique(&["from_model_id", "to_model_id", "kind"])
            .index(&["to_model_id"])
            .create(schema)
            .await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("relationships").take()).await
    }
}
