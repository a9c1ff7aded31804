use sea_orm_migration::{
    prelude::*,
    schema::{text, uuid},
};

use crate::convention::{check, index, one_of, record, references, unique};

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
        schema
            .create_table(
                record("relationships")
                    .col(uuid("from_model_id"))
                    .col(uuid("to_model_id"))
                    .col(text("kind"))
                    .foreign_key(&mut references("relationships", "from_model_id", "data_models"))
                    .foreign_key(&mut references("relationships", "to_model_id", "data_models"))
                    .check(one_of("relationships", "kind", &["references", "contains", "extends"]))
                    .check(check(
                        "relationships",
                        "to_model_id",
                        Expr::col("kind").eq("references").or(Expr::col("from_model_id").ne(Expr::col("to_model_id"))),
                    ))
                    .take(),
            )
            .await?;
        schema.create_index(unique("relationships", &["from_model_id", "to_model_id", "kind"])).await?;
        schema.create_index(index("relationships", &["to_model_id"])).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("relationships").take()).await
    }
}
