//! `entity generate`: entities for a database that no migrations of ours have made, such as a restored dump.
//!
//! Unlike for a refresh, nothing is asked of it but that an entity can be written at all: what cannot be said in one is
//! left out and named.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use sea_query::{ColumnType, TableCreateStatement};
use sea_schema::{
    postgres::{
        def::{ColumnInfo, Type},
        discovery::SchemaDiscovery as PostgresDiscovery,
    },
    sqlite::{def::ColumnVisibility, discovery::SchemaDiscovery as SqliteDiscovery},
};
use sqlx::{
    ConnectOptions, PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::{
    EntityError,
    schema::{canonicalise_indexes, is_generated_from, is_portable},
};

/// The tables that entities are generated for, and what is left out: tables, and columns as in `orders.total`, each with
/// the reason.
pub(super) async fn discover(url: &str) -> Result<(Vec<TableCreateStatement>, Vec<String>), EntityError> {
    match open(url).await? {
        Open::Postgres(pool) => {
            let found = postgres(&pool).await;
            pool.close().await;
            found
        }
        Open::Sqlite(pool) => {
            let found = sqlite(&pool).await;
            pool.close().await;
            found
        }
    }
}

/// A database that is there.
pub(super) enum Open {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// Opens the database of a URL, for one thing at a time.
pub(super) async fn open(url: &str) -> Result<Open, EntityError> {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "postgres" | "postgresql" => {
            let options = PgConnectOptions::from_str(url).map_err(EntityError::Url)?.disable_statement_logging();
            let pool = PgPoolOptions::new().max_connections(1).connect_with(options);
            Ok(Open::Postgres(pool.await.map_err(EntityError::Connect)?))
        }
        "sqlite" => {
            let options = SqliteConnectOptions::from_str(url).map_err(EntityError::Url)?.disable_statement_logging();
            let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options);
            Ok(Open::Sqlite(pool.await.map_err(EntityError::Connect)?))
        }
        scheme if url.contains("://") => Err(EntityError::UnknownDatabase { scheme: scheme.to_owned() }),
        _ => Err(EntityError::UnknownDatabase { scheme: "this".to_owned() }),
    }
}

async fn postgres(pool: &PgPool) -> Result<(Vec<TableCreateStatement>, Vec<String>), EntityError> {
    let schema: Option<String> = sqlx::query_scalar("SELECT current_schema()::text")
        .fetch_one(pool)
        .await
        .map_err(|error| EntityError::Discover(error.into()))?;
    let discovery = PostgresDiscovery::new(pool.clone(), &schema.unwrap_or_default());
    let mut schema = discovery.discover().await.map_err(|error| EntityError::Discover(error.into()))?;
    let mut left_out = LeftOut::default();
    schema.tables.retain_mut(|table| {
        let name = table.info.name.clone();
        if !is_generated_from(&name) {
            return false;
        }
        left_out.columns(&name, &mut table.columns, |column| (column.name.clone(), objection(column)));
        let there = |columns: &[String]| has(&table.columns, columns, |column| &column.name);
        table.unique_constraints.retain(|unique| !unique.is_partial && there(&unique.columns));
        table.reference_constraints.retain(|key| there(&key.columns));
        let keys = &table.primary_key_constraints;
        let has_key = !keys.is_empty() && keys.iter().all(|key| there(&key.columns));
        left_out.table(&name, has_key)
    });
    let names = schema.tables.iter().map(|table| table.info.name.clone()).collect::<BTreeSet<_>>();
    for table in &mut schema.tables {
        let name = &table.info.name;
        let columns = table.primary_key_constraints.iter().map(|key| key.columns.len()).sum();
        table
            .reference_constraints
            .retain(|key| names.contains(&key.table) && left_out.reference(name, columns, &key.columns, &key.table));
    }
    Ok((schema.tables.iter().map(|table| table.write()).collect(), left_out.sorted()))
}

async fn sqlite(pool: &SqlitePool) -> Result<(Vec<TableCreateStatement>, Vec<String>), EntityError> {
    let discovery = SqliteDiscovery::new(pool.clone()).discover().await;
    let mut schema = discovery.map_err(|error| EntityError::Discover(error.into()))?;
    let mut left_out = LeftOut::default();
    canonicalise_indexes(&mut schema);
    let mut tables = schema.merge_indexes_into_table().tables;
    tables.retain_mut(|table| {
        let name = table.name.clone();
        if !is_generated_from(&name) {
            return false;
        }
        left_out.columns(&name, &mut table.columns, |column| {
            let is_computed =
                matches!(column.hidden, ColumnVisibility::GeneratedVirtual | ColumnVisibility::GeneratedStored);
            let is_known = !matches!(column.r#type, ColumnType::Decimal(_) | ColumnType::Money(_));
            let objection = match (is_computed, is_known) {
                (true, _) => Some("it is computed by the database".to_owned()),
                (false, false) => Some("there is no Rust type for decimals".to_owned()),
                (false, true) => None,
            };
            (column.name.clone(), objection)
        });
        for column in &mut table.columns {
            column.not_null |= column.primary_key;
        }
        let there = |columns: &[String]| has(&table.columns, columns, |column| &column.name);
        table.constraints.retain(|key| there(&key.columns));
        table.foreign_keys.retain(|key| there(&key.from));
        let has_key = table.columns.iter().any(|column| column.primary_key)
            || table.constraints.iter().any(|key| key.origin == "pk");
        left_out.table(&name, has_key)
    });
    let keys = tables.iter().map(|table| {
        let columns = table.columns.iter().filter(|column| column.primary_key).map(|column| column.name.clone());
        let listed = table.constraints.iter().find(|key| key.origin == "pk").map(|key| key.columns.clone());
        (table.name.clone(), listed.unwrap_or_else(|| columns.collect()))
    });
    let keys = keys.collect::<BTreeMap<String, Vec<String>>>();
    for table in &mut tables {
        let columns = keys.get(&table.name).map_or(0, Vec::len);
        table.foreign_keys.retain_mut(|key| {
            let Some(primary) = keys.get(&key.table) else { return false };
            if !left_out.reference(&table.name, columns, &key.from, &key.table) {
                return false;
            }
            if key.to.iter().all(String::is_empty) {
                // The primary key is meant.
                key.to.clone_from(primary);
            }
            key.to.len() == key.from.len()
        });
    }
    Ok((tables.iter().map(|table| table.write()).collect(), left_out.sorted()))
}

fn has<T>(found: &[T], columns: &[String], name: impl Fn(&T) -> &String) -> bool {
    columns.iter().all(|column| found.iter().any(|one| name(one) == column))
}

/// What no entity can say, and why.
#[derive(Default)]
struct LeftOut {
    told: Vec<String>,
    modules: BTreeSet<String>,
}

impl LeftOut {
    fn sorted(mut self) -> Vec<String> {
        self.told.sort();
        self.told
    }

    /// Whether a table stays.
    fn table(&mut self, name: &str, has_key: bool) -> bool {
        let module = words(name);
        let reason = match module {
            _ if !has_key => "it has no primary key that an entity could have",
            None => "its name can be none in Rust",
            Some(module) if ["lib", "mod", "prelude", "sea_orm_active_enums"].contains(&module.as_str()) => {
                "a file of the entities is called so"
            }
            Some(module) if !self.modules.insert(module.clone()) => "another table is called so in Rust",
            Some(_) => return true,
        };
        self.told.push(format!("{name}: {reason}"));
        false
    }

    /// Whether a foreign key stays. The generator takes a table whose primary key has two columns for one that links two
    /// others, and where one of them is itself it writes what does not compile.
    fn reference(&mut self, table: &str, key: usize, columns: &[String], parent: &str) -> bool {
        let stays = key != 2 || table != parent;
        if !stays {
            self.told
                .push(format!("{table} ({}): the generator cannot say that it refers to itself", columns.join(", ")));
        }
        stays
    }

    /// Keeps the columns that speak against nothing.
    fn columns<T>(&mut self, table: &str, columns: &mut Vec<T>, look: impl Fn(&T) -> (String, Option<String>)) {
        let mut fields = BTreeSet::new();
        columns.retain(|column| {
            let (name, objection) = look(column);
            let objection = objection.or_else(|| match words(&name) {
                None => Some("its name can be none in Rust".to_owned()),
                Some(field) if !fields.insert(field.clone()) => Some("another column is called so in Rust".to_owned()),
                Some(_) => None,
            });
            if let Some(reason) = &objection {
                self.told.push(format!("{table}.{name}: {reason}"));
            }
            objection.is_none()
        });
    }
}

/// What speaks against a column of PostgreSQL: types that SeaORM has only with features which this program does not use.
fn objection(column: &ColumnInfo) -> Option<String> {
    if column.generated.is_some() {
        return Some("it is computed by the database".to_owned());
    }
    match &column.col_type {
        portable if is_portable(portable) => None,
        Type::Integer | Type::SmallSerial | Type::Serial => None,
        Type::Enum(definition) => {
            let mut variants = BTreeSet::new();
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | ' ');
            let can_be = |value: &String| {
                let name = value.replace(|letter: char| !letter.is_ascii_alphanumeric(), "").to_lowercase();
                value.chars().all(is_plain) && !name.is_empty() && name != "self" && variants.insert(name)
            };
            let is_named = words(&definition.typename).is_some();
            (!is_named || !definition.values.iter().all(can_be))
                .then(|| format!("the values of {} can be no names in Rust", definition.typename))
        }
        Type::Unknown(kind) => Some(format!("there is no Rust type for {kind}")),
        kind => {
            let name = format!("{kind:?}").to_lowercase();
            let name = name.split_once('(').map_or(name.as_str(), |(name, _)| name);
            Some(format!("there is no Rust type for {name}"))
        }
    }
}

/// The words of a name, as fields and modules are called after it; none if that is no name in Rust.
fn words(name: &str) -> Option<String> {
    let letters = name.chars().collect::<Vec<_>>();
    let mut words = String::new();
    for (at, letter) in letters.iter().enumerate() {
        if !letter.is_alphanumeric() {
            words.push('_');
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| letters.get(at)).copied().unwrap_or('_');
        let is_next_lower = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (before.is_lowercase() || before.is_uppercase() && is_next_lower) {
            words.push('_');
        }
        words.extend(letter.to_lowercase());
    }
    let words = words.split('_').filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_");
    words.starts_with(char::is_alphabetic).then_some(words)
}
