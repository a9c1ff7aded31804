use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

use crate::convention::{audited, table, unaudited};

/// The tables that are audited as yet, with the columns whose values are masked.
const AUDITED: &[(&str, &[&str])] = &[
    ("users", &[]),
    ("profiles", &[]),
    ("settings", &[]),
    ("accounts", &[]),
    ("transfers", &[]),
    // By the id alone a customer can be charged, by who has a key of the payment service.
    ("subscriptions", &["stripe_customer_id"]),
    ("contents", &[]),
    ("tags", &[]),
    ("content_tags", &[]),
    ("data_models", &[]),
    ("relationships", &[]),
];

/// What is to reach the documents, written by the transaction that it is about; and how far the audit trail is sealed.
#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    // SeaORM wraps a migration in a transaction on PostgreSQL only; asked for, it does so on SQLite too.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        let (random, now) = match schema.get_database_backend() {
            DbBackend::Sqlite => ("(randomblob(16))", "(strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))"),
            _ => ("gen_random_uuid()", "now()"),
        };
        table("outbox")
            .columns([
                // The order in which it was said, which is not that of the commits.
                big_integer("number").auto_increment().primary_key().take(),
                // What the document is known by. Not the number, which may come again after a backup was restored.
                uuid("id").default(Expr::cust(random)).take(),
                text("collection"),
                // What it is about: of that, documents are delivered in order.
                text("entity"),
                text("body"),
                // Who caused it, by which request.
                text_null("context"),
                timestamp_with_time_zone("at").default(Expr::cust(now)).take(),
                // The place in the audit trail, the hash of the entry before, and the hash of this one.
                big_integer_null("sequence"),
                text_null("previous"),
                text_null("hash"),
                big_integer("attempts").default(0).take(),
                text_null("reason"),
                // Given up: it waits for somebody to look at it.
                timestamp_with_time_zone_null("dead_at"),
            ])
            .create(schema)
            .await?;
        let dead = Index::create()
            .name("ix_outbox_dead_at")
            .table("outbox")
            .col("dead_at")
            .and_where(Expr::col("dead_at").is_not_null())
            .take();
        schema.create_index(dead).await?;
        table("audit_head")
            .columns([
                big_integer("id").primary_key().take(),
                // Of the last entry that was sealed.
                big_integer("sequence"),
                text("hash"),
                // Which relay is at work, and until when the others leave it to it.
                text_null("relay"),
                timestamp_with_time_zone_null("relay_until"),
            ])
            .check("id", Expr::col("id").eq(1))
            .create(schema)
            .await?;
        let start = "INSERT INTO audit_head (id, sequence, hash) VALUES (1, 0, '')";
        schema.get_connection().execute_unprepared(start).await?;
        for (table, masked) in AUDITED {
            audited(schema, table, masked).await?;
        }
        Ok(())
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        for (table, _) in AUDITED {
            unaudited(schema, table).await?;
        }
        schema.drop_table(Table::drop().table("audit_head").take()).await?;
        schema.drop_table(Table::drop().table("outbox").take()).await
    }
}
