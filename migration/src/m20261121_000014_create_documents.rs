use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

use crate::convention::table;

/// The documents of all collections. The indexes that a collection declares are made when it is prepared, by the adapter
/// that asks them.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        table("documents")
            .columns([text("collection"), text("id"), json_binary("body")])
            .primary_key(&["collection", "id"])
            .create(schema)
            .await?;
        // In the order of their bytes, as SQLite has them anyway, and MongoDB.
        if schema.get_database_backend() == DbBackend::Postgres {
            let statement = "ALTER TABLE documents ALTER COLUMN collection TYPE text COLLATE \"C\", \
                             ALTER COLUMN id TYPE text COLLATE \"C\"";
            schema.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("documents").take()).await
    }
}
