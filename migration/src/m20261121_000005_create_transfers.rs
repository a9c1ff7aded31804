use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

use crate::convention::table;

const REFUSE_CHANGES_POSTGRES: &[&str] = &[
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ \
     BEGIN RAISE EXCEPTION 'rows of % are only ever added', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$",
    "CREATE TRIGGER tr_transfers_append_only BEFORE UPDATE OR DELETE ON transfers \
     FOR EACH ROW EXECUTE FUNCTION refuse_change()",
];

const REFUSE_CHANGES_SQLITE: &[&str] = &[
    "CREATE TRIGGER tr_transfers_append_only_update BEFORE UPDATE ON transfers \
     BEGIN SELECT RAISE(ABORT, 'rows of transfers are only ever added'); END",
    "CREATE TRIGGER tr_transfers_append_only_delete BEFORE DELETE ON transfers \
     BEGIN SELECT RAISE(ABORT, 'rows of transfers are only ever added'); END",
];

/// Transfers record money that moved: rows are added, never changed or removed, and the database itself refuses.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        table("transfers")
            .columns([
                uuid("id").primary_key().take(),
                uuid("from_account_id"),
                uuid("to_account_id"),
                big_integer("amount"),
                timestamp_with_time_zone("created_at"),
            ])
            .references("from_account_id", "accounts")
            .references("to_account_id", "accounts")
            .check("amount", Expr::col("amount").gt(0))
            .check("to_account_id", Expr::col("to_account_id").ne(Expr::col("from_account_id")))
            .index(&["from_account_id"])
            .index(&["to_account_id"])
            .index(&["created_at"])
            .create(schema)
            .await?;
        let connection = schema.get_connection();
        for statement in match schema.get_database_backend() {
            DbBackend::Sqlite => REFUSE_CHANGES_SQLITE,
            _ => REFUSE_CHANGES_POSTGRES,
        } {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        schema.drop_table(Table::drop().table("transfers").take()).await?;
        if schema.get_database_backend() == DbBackend::Postgres {
            schema.get_connection().execute_unprepared("DROP FUNCTION IF EXISTS refuse_change()").await?;
        }
        Ok(())
    }
}
