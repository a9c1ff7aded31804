//! How tables, constraints and indexes are shaped and named.
//!
//! A constraint is called `<kind>_<table>_<columns>`, with the kinds `pk` (primary key), `uq` (unique), `fk` (foreign
//! key) and `ck` (check); an index is called `ix_<table>_<columns>`. The domain reads the field that a violated
//! constraint is about out of that name, so that the database's refusal reads like the validator's. Released migrations
//! were written with these functions: what they produce may never change.

mod alteration;
mod audited;
mod cached;

pub use alteration::{Alteration, alter};
pub use audited::{audited, unaudited};
pub use cached::{Key, cached, drop_cached, told_keys, uncached};
use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, timestamp_with_time_zone, uuid},
};

/// A table to create, with its constraints and indexes.
pub struct NewTable {
    name: &'static str,
    table: TableCreateStatement,
    indexes: Vec<NewIndex>,
    /// The columns by which rows are looked up, beside their own ids.
    looked_up_by: Vec<&'static str>,
    is_cached: bool,
    is_audited: bool,
    /// The columns whose values nobody is told.
    secrets: Vec<&'static str>,
}

enum NewIndex {
    On(Box<IndexCreateStatement>),
    IgnoringCase(&'static str),
}

/// A table with the columns that every mutable record has: UUIDv7 key, optimistic lock, times of creation and change.
pub fn record(name: &'static str) -> NewTable {
    table(name).columns([
        uuid("id").primary_key().take(),
        big_integer("version").default(1).take(),
        timestamp_with_time_zone("created_at"),
        timestamp_with_time_zone("updated_at"),
    ])
}

/// A table without columns as yet.
pub fn table(name: &'static str) -> NewTable {
    let table = Table::create().table(name).take();
    NewTable {
        name,
        table,
        indexes: Vec::new(),
        looked_up_by: Vec::new(),
        is_cached: false,
        is_audited: false,
        secrets: Vec::new(),
    }
}

impl NewTable {
    /// Adds columns, in this order.
    pub fn columns(mut self, columns: impl IntoIterator<Item = ColumnDef>) -> Self {
        for column in columns {
            self.table.col(column);
        }
        self
    }

    /// A primary key of several columns.
    pub fn primary_key(mut self, columns: &[&'static str]) -> Self {
        let mut key = Index::create();
        key.name(format!("pk_{}", self.name));
        for column in columns {
            key.col(*column);
        }
        self.table.primary_key(&mut key);
        self
    }

    /// A reference to the `id` of another table. It restricts deletion: what happens to children is decided in the
    /// domain, where it can be counted and told.
    pub fn references(mut self, column: &'static str, parent: &'static str) -> Self {
        let mut reference = ForeignKey::create();
        reference.name(format!("fk_{}_{column}", self.name)).from(self.name, column).to(parent, "id");
        self.table.foreign_key(reference.on_delete(ForeignKeyAction::Restrict));
        self.looked_up_by(&[column])
    }

    /// An enumeration: a check that names the values of a text.
    pub fn one_of(self, column: &'static str, values: &[&'static str]) -> Self {
        self.check(column, Expr::col(column).is_in(values.iter().copied()))
    }

    /// A check whose name says which column is to blame.
    pub fn check(mut self, column: &str, condition: Expr) -> Self {
        self.table.check(Check::named(Alias::new(format!("ck_{}_{column}", self.name)), condition));
        self
    }

    /// An index on columns.
    pub fn index(self, columns: &[&'static str]) -> Self {
        let index = self.named_index("ix", columns);
        self.and(NewIndex::On(Box::new(index)))
    }

    /// A unique index on columns.
    pub fn unique(self, columns: &[&'static str]) -> Self {
        let index = self.named_index("uq", columns).unique().take();
        self.and(NewIndex::On(Box::new(index))).looked_up_by(columns)
    }

    /// A unique index on columns, of those rows only for which the condition holds.
    pub fn unique_where(self, columns: &[&'static str], condition: Expr) -> Self {
        let index = self.named_index("uq", columns).unique().and_where(condition).take();
        self.and(NewIndex::On(Box::new(index))).looked_up_by(columns)
    }

    /// A unique index on a text, whatever the case of its letters.
    pub fn unique_ignoring_case(self, column: &'static str) -> Self {
        self.and(NewIndex::IgnoringCase(column)).looked_up_by(&[column])
    }

    /// Has the database tell what changes in the table, because it is cached: rows, and what refers to others or is
    /// unique in one column. [`drop_cached`] takes it back together with the table.
    pub fn cached(mut self) -> Self {
        self.is_cached = true;
        self
    }

    /// Has the database write down who changes what in the table. [`drop_cached`] takes that back, too.
    pub fn audited(mut self) -> Self {
        self.is_audited = true;
        self
    }

    /// A column whose values the audit trail is not told, such as the hash of a password.
    pub fn secret(mut self, column: &'static str) -> Self {
        self.secrets.push(column);
        self
    }

    /// Creates the table, and then its indexes in the order in which they were named.
    pub async fn create(self, schema: &SchemaManager<'_>) -> Result<(), DbErr> {
        let keys = self.is_cached.then(|| self.keys());
        let Self { name, table, indexes, is_audited, secrets, looked_up_by: _, is_cached: _ } = self;
        schema.create_table(table).await?;
        for index in indexes {
            match index {
                NewIndex::On(index) => schema.create_index(*index).await?,
                // Plain SQL, alike on both databases, because sea-query cannot say an index on an expression for SQLite.
                NewIndex::IgnoringCase(column) => {
                    let statement = format!("CREATE UNIQUE INDEX uq_{name}_{column} ON {name} (lower({column}))");
                    schema.get_connection().execute_unprepared(&statement).await?;
                }
            }
        }
        if let Some(keys) = keys {
            cached(schema, name, &keys).await?;
        }
        if is_audited {
            audited(schema, name, &secrets).await?;
        }
        Ok(())
    }

    /// By what rows of the table are looked up, as its columns, references and unique indexes have it.
    fn keys(&self) -> Vec<Key<'static>> {
        let columns = self.table.get_columns();
        let has = |name: &str| columns.iter().any(|column| column.get_column_name() == name);
        let is_id = |name: &str| {
            let mut named = columns.iter().filter(|column| column.get_column_name() == name);
            named.any(|column| matches!(column.get_column_type(), Some(ColumnType::Uuid)))
        };
        let key = |name: &'static str| if is_id(name) { Key::Id(name) } else { Key::Text(name) };
        let row = if has("id") && has("version") { Some(Key::Row) } else { has("id").then(|| key("id")) };
        row.into_iter().chain(self.looked_up_by.iter().map(|name| key(name))).collect()
    }

    /// One column, that is; rows that are unique in several are looked up by one of them, or as a list.
    fn looked_up_by(mut self, columns: &[&'static str]) -> Self {
        if let [column] = columns
            && !self.looked_up_by.contains(column)
        {
            self.looked_up_by.push(column);
        }
        self
    }

    fn and(mut self, index: NewIndex) -> Self {
        self.indexes.push(index);
        self
    }

    fn named_index(&self, kind: &str, columns: &[&'static str]) -> IndexCreateStatement {
        let mut index = Index::create();
        index.name(format!("{kind}_{}_{}", self.name, columns.join("_"))).table(self.name);
        for column in columns {
            index.col(*column);
        }
        index
    }
}
