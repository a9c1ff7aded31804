//! Reads the schema of a scratch database so that it is the same from PostgreSQL and from SQLite.
//!
//! PostgreSQL is the measure: what SQLite tells otherwise is put right here, and what it cannot tell is an error.
//! SQLite declares 32-bit and 64-bit integers alike and forgets the names of foreign keys, so that a 32-bit integer or
//! an unusual name is found on PostgreSQL only.

use std::collections::HashMap;

use sea_query::{ColumnType, StringLen, TableCreateStatement};
use sea_schema::{
    postgres::{def::Type, discovery::SchemaDiscovery as PostgresDiscovery},
    sqlite::{
        def::{ColumnVisibility, Schema, TableDef},
        discovery::SchemaDiscovery as SqliteDiscovery,
    },
};
use sqlx::{PgPool, SqlitePool};

use super::EntityError;

const USE_BIG_INTEGER: &str = "use a 64-bit integer";
const USE_MINOR_UNITS: &str = "use a 64-bit integer of the smallest unit, such as cents";
const USE_TEXT: &str = "use text, with a check that names the values";
const USE_TIMESTAMP: &str = "use a timestamp with time zone";
const USE_PORTABLE: &str = "use a type that both databases have";

/// By table and column.
type DeclaredTypes = HashMap<(String, String), String>;

/// The tables of a migrated SQLite database, as PostgreSQL would tell them.
pub(super) async fn read_sqlite(pool: &SqlitePool) -> Result<Vec<TableCreateStatement>, EntityError> {
    let mut schema =
        SqliteDiscovery::new(pool.clone()).discover().await.map_err(|error| EntityError::Discover(error.into()))?;
    let declared = declared_types(pool).await.map_err(|error| EntityError::Discover(error.into()))?;
    schema.tables.retain(|table| is_generated_from(&table.name));
    canonicalise_indexes(&mut schema);
    let mut tables = schema.merge_indexes_into_table().tables;
    for table in &mut tables {
        canonicalise_columns(table, &declared)?;
        canonicalise_foreign_keys(table);
    }
    Ok(tables.iter().map(TableDef::write).collect())
}

/// The types of columns as they were declared, in lower case: discovery takes some for others.
async fn declared_types(pool: &SqlitePool) -> Result<DeclaredTypes, sqlx::Error> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT t.name, c.name, lower(c.type) FROM sqlite_master t, pragma_table_xinfo(t.name) c \
         WHERE t.type = 'table'",
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|(table, column, declared)| ((table, column), declared)).collect())
}

/// The tables of a migrated PostgreSQL database, as the command line tool of SeaORM reads them.
pub(super) async fn read_postgres(pool: &PgPool) -> Result<Vec<TableCreateStatement>, EntityError> {
    let mut schema = PostgresDiscovery::new(pool.clone(), "public")
        .discover()
        .await
        .map_err(|error| EntityError::Discover(error.into()))?;
    schema.tables.retain(|table| is_generated_from(&table.info.name));
    for table in &mut schema.tables {
        let name = &table.info.name;
        table.columns.retain(|column| column.generated.is_none());
        table.unique_constraints.retain(|unique| !unique.is_partial);
        for column in &table.columns {
            if let Some((found, advice)) = postgres_objection(&column.col_type) {
                return Err(EntityError::Column { table: name.clone(), column: column.name.clone(), found, advice });
            }
        }
        // They come in the order of their names; from SQLite, which does not list these, in that of their columns.
        let mut keys: Vec<_> =
            table.reference_constraints.iter().map(|key| (&key.table, key.columns.join("_"))).collect();
        keys.sort_by_key(|(parent, _)| *parent);
        if !keys.is_sorted() {
            return Err(EntityError::ForeignKeys { table: name.clone() });
        }
    }
    Ok(schema.tables.iter().map(|table| table.write()).collect())
}

pub(super) fn is_generated_from(table: &str) -> bool {
    table != "seaql_migrations" && !table.starts_with('_') && !table.starts_with("sqlite_")
}

/// The generator takes every unique index for one on plain columns of all rows, in the order of their making. On
/// PostgreSQL, partial ones are left out and expressions are not listed; SQLite lists the newest first.
pub(super) fn canonicalise_indexes(schema: &mut Schema) {
    schema.indexes.reverse();
    for index in &mut schema.indexes {
        index.columns.retain(|column| !column.is_empty());
    }
    schema.indexes.retain(|index| index.partial == 0 && !index.columns.is_empty());
    for table in &mut schema.tables {
        table.constraints.reverse();
    }
}

fn canonicalise_columns(table: &mut TableDef, declared: &DeclaredTypes) -> Result<(), EntityError> {
    table.columns.retain(|column| {
        !matches!(column.hidden, ColumnVisibility::GeneratedVirtual | ColumnVisibility::GeneratedStored)
    });
    for column in &mut table.columns {
        let found = declared.get(&(table.name.clone(), column.name.clone())).map_or("", String::as_str);
        if let Some(advice) = sqlite_objection(found) {
            return Err(EntityError::Column {
                table: table.name.clone(),
                column: column.name.clone(),
                found: found.to_owned(),
                advice,
            });
        }
        if matches!(column.r#type, ColumnType::Blob | ColumnType::Binary(_) | ColumnType::VarBinary(_))
            || found == "varbinary_blob"
        {
            column.r#type = ColumnType::VarBinary(StringLen::None);
        }
        column.not_null |= column.primary_key;
    }
    // A named constraint keeps its name on PostgreSQL, and the generator writes it down when it spans columns.
    match table.constraints.iter().find(|unique| unique.origin == "u" && unique.columns.len() > 1) {
        Some(unique) => Err(EntityError::Unique { table: table.name.clone(), columns: unique.columns.join(", ") }),
        None => Ok(()),
    }
}

/// PostgreSQL lists foreign keys by their names, which follow the columns; SQLite lists the newest first.
fn canonicalise_foreign_keys(table: &mut TableDef) {
    table.foreign_keys.sort_by_key(|key| key.from.join("_"));
}

/// What speaks against a column type that was declared on SQLite.
fn sqlite_objection(declared: &str) -> Option<&'static str> {
    match declared.split('(').next().unwrap_or_default().trim() {
        "text"
        | "char"
        | "varchar"
        | "smallint"
        | "integer"
        | "bigint"
        | "float"
        | "double"
        | "boolean"
        | "blob"
        | "varbinary_blob"
        | "date_text"
        | "time_text"
        | "datetime_text"
        | "timestamp_with_timezone_text"
        | "json_text"
        | "jsonb_text"
        | "uuid_text" => None,
        "tinyint" | "int" => Some(USE_BIG_INTEGER),
        "real" | "real_decimal" | "decimal" | "numeric" | "real_money" | "money" => Some(USE_MINOR_UNITS),
        "timestamp_text" | "timestamp" => Some(USE_TIMESTAMP),
        "enum_text" => Some(USE_TEXT),
        _ => Some(USE_PORTABLE),
    }
}

/// Whether both databases have a column type of PostgreSQL's, and SeaORM makes the same of it on either.
pub(super) fn is_portable(found: &Type) -> bool {
    matches!(
        found,
        Type::Text
            | Type::Char(_)
            | Type::Varchar(_)
            | Type::SmallInt
            | Type::BigInt
            | Type::BigSerial
            | Type::Real
            | Type::DoublePrecision
            | Type::Boolean
            | Type::Bytea
            | Type::Date
            | Type::Time(_)
            | Type::Timestamp(_)
            | Type::TimestampWithTimeZone(_)
            | Type::Json
            | Type::JsonBinary
            | Type::Uuid
    )
}

/// What speaks against a column type of PostgreSQL, and how to call that type.
fn postgres_objection(found: &Type) -> Option<(String, &'static str)> {
    let (found, advice) = match found {
        portable if is_portable(portable) => return None,
        Type::Integer | Type::Serial => ("integer", USE_BIG_INTEGER),
        Type::Decimal(_) | Type::Numeric(_) => ("numeric", USE_MINOR_UNITS),
        Type::Money => ("money", USE_MINOR_UNITS),
        Type::Enum(definition) => return Some((format!("the enum {}", definition.typename), USE_TEXT)),
        Type::Unknown(name) => return Some((name.clone(), USE_PORTABLE)),
        other => return Some((format!("{other:?}").to_lowercase(), USE_PORTABLE)),
    };
    Some((found.to_owned(), advice))
}
