use sea_orm_migration::{prelude::*, schema::*};

use crate::convention::{Key, Key::*, cached, table, uncached};

/// The tables that are cached as yet, with what their rows are looked up by.
const CACHED: &[(&str, &[Key])] = &[
    ("users", &[Row, Text("email")]),
    ("profiles", &[Row, Id("user_id")]),
    ("settings", &[Row, Id("user_id"), Text("key")]),
    ("accounts", &[Row, Id("owner_id")]),
    ("transfers", &[Id("id"), Id("from_account_id"), Id("to_account_id")]),
    ("subscriptions", &[Row, Id("user_id")]),
    ("contents", &[Row, Id("author_id")]),
    ("tags", &[Row, Text("name")]),
    ("content_tags", &[Id("content_id"), Id("tag_id")]),
    ("data_models", &[Row, Id("owner_id"), Text("name")]),
    ("relationships", &[Row, Id("from_model_id"), Id("to_model_id")]),
];

/// The database tells caches what changed: the keys of it, by the transaction that changed it.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        table("cache_outbox")
            .columns([
                // Never given twice, also after its row was deleted: readers go on from the last one they saw.
                big_integer("id").auto_increment().primary_key().take(),
                // The transaction, on PostgreSQL, where ids are not given in the order of commits.
                big_integer("tx"),
                text("keys"),
            ])
            .index(&["tx"])
            .create(schema)
            .await?;
        for (table, keys) in CACHED {
            cached(schema, table, keys).await?;
        }
        Ok(())
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        for (table, _) in CACHED {
            uncached(schema, table).await?;
        }
        schema.drop_table(Table::drop().table("cache_outbox").take()).await
    }
}
