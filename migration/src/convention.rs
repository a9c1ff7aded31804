//! How tables, constraints and indexes are shaped and named.
//!
//! A constraint is called `<kind>_<table>_<columns>`, with the kinds `uq` (unique), `fk` (foreign key) and `ck` (check);
//! an index is called `ix_<table>_<columns>`. The domain reads the field that a violated constraint is about out of that
//! name, so that the database's refusal reads like the validator's. Released migrations were written with these
//! functions: what they produce may never change.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, timestamp_with_time_zone, uuid},
};

/// A table with the columns that every mutable record has: UUIDv7 key, optimistic lock, times of creation and change.
pub(crate) fn record(table: &'static str) -> TableCreateStatement {
    Table::create()
        .table(table)
        .col(uuid("id").primary_key())
        .col(big_integer("version").default(1))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("updated_at"))
        .take()
}

/// An enumeration: text, and a check that names the values.
pub(crate) fn one_of(table: &str, column: &'static str, values: &[&'static str]) -> Check {
    check(table, column, Expr::col(column).is_in(values.iter().copied()))
}

/// A check whose name says which column it is about.
pub(crate) fn check(table: &str, column: &str, condition: Expr) -> Check {
    Check::named(Alias::new(format!("ck_{table}_{column}")), condition)
}

/// A reference to the `id` of another table. It restricts deletion: what happens to children is decided in the domain,
/// where it can be counted and told.
pub(crate) fn references(table: &'static str, column: &'static str, parent: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{table}_{column}"))
        .from(table, column)
        .to(parent, "id")
        .on_delete(ForeignKeyAction::Restrict)
        .take()
}

/// An index on columns.
pub(crate) fn index(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    named_index("ix", table, columns)
}

/// A unique index on columns.
pub(crate) fn unique(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    named_index("uq", table, columns).unique().take()
}

/// Creates a unique index on `lower(column)`: unique whatever the case of its letters. Plain SQL, alike on both
/// databases, because sea-query cannot say an index on an expression for SQLite.
pub(crate) async fn create_unique_ignoring_case(
    schema: &SchemaManager<'_>,
    table: &'static str,
    column: &'static str,
) -> Result<(), DbErr> {
    let statement = format!("CREATE UNIQUE INDEX uq_{table}_{column} ON {table} (lower({column}))");
    schema.get_connection().execute_unprepared(&statement).await.map(|_| ())
}

fn named_index(kind: &str, table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(format!("{kind}_{table}_{}", columns.join("_"))).table(table);
    for column in columns {
        index.col(*column);
    }
    index
}
