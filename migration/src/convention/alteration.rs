//! Changes of a table that is there, alike on both databases.
//!
//! SQLite can add, rename and drop a column, and nothing else. What else there is to change, such as whether a column may
//! be null, is no matter of how rows are stored: it is changed in the text that SQLite keeps of the table, in the way that
//! <https://www.sqlite.org/lang_altertable.html> describes in its section 7, and then every row is held against it. To
//! make the table anew, as is done for other changes, would not do here: rows that others refer to cannot be away for a
//! while.

mod place;
mod postgres;
mod sqlite;
mod table_text;

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use self::place::Place;
use super::{
    Key,
    audited::{audited, masked, unaudited},
    cached, uncached,
};

/// Changes of a table, in the order in which they are said.
///
/// ```ignore
/// alter("users")
///     .rename_column("name", "full_name")
///     .add_column_filled(big_integer("points"), 0)
///     .references("team_id", "teams")
///     .apply(schema)
///     .await
/// ```
///
/// Triggers of [`audited`] tables tell of the columns that there are afterwards. What the cache is told is said anew where
/// a column that it is told of changes: see [`cached`](Alteration::cached).
#[derive(Debug, Clone)]
#[must_use = "nothing is changed before it is applied"]
pub struct Alteration<'a> {
    table: String,
    changes: Vec<Change>,
    keys: Option<Vec<Key<'a>>>,
    masked: Option<Vec<String>>,
}

#[derive(Debug, Clone)]
enum Change {
    Remark(String),
    Statement(String),
    RenameTable(String),
    Add { column: ColumnDef, filled: Option<Expr> },
    Drop(String),
    Rename { from: String, to: String },
    Retype(ColumnDef),
    Optional(String),
    Required { column: String, filled: Option<Expr> },
    Refer(Reference),
    Unrefer(String),
    Check { name: String, condition: Expr },
    DropCheck(String),
    RenameConstraint { from: String, to: String },
    Index { name: String, is_unique: bool, columns: Vec<String> },
    DropIndex(String),
    RenameIndex { from: String, to: String },
}

#[derive(Debug, Clone)]
struct Reference {
    column: String,
    parent: String,
    on_update: ForeignKeyAction,
    on_delete: ForeignKeyAction,
}

/// Changes of this table.
pub fn alter<'a>(table: impl Into<String>) -> Alteration<'a> {
    Alteration { table: table.into(), changes: Vec::new(), keys: None, masked: None }
}

impl<'a> Alteration<'a> {
    /// Says in the code, and to the lint, why what follows is safe here: `.allow("M10", "the table has a hundred rows")`.
    pub fn allow(self, rule: &str, because: &str) -> Self {
        self.and(Change::Remark(format!("-- lint: allow {rule} because {because}")))
    }

    /// Plain SQL that both databases understand.
    pub fn statement(self, sql: impl Into<String>) -> Self {
        self.and(Change::Statement(sql.into()))
    }

    /// Another name. What follows is said of the table of that name.
    pub fn rename_table(self, to: impl Into<String>) -> Self {
        self.and(Change::RenameTable(to.into()))
    }

    /// A new column, which is null in the rows that there are, or has its default.
    pub fn add_column(self, column: ColumnDef) -> Self {
        self.and(Change::Add { column, filled: None })
    }

    /// A new column, with what it holds in the rows that there are; whoever adds rows has to say it.
    pub fn add_column_filled(self, column: ColumnDef, with: impl Into<Expr>) -> Self {
        self.and(Change::Add { column, filled: Some(with.into()) })
    }

    /// A column is no more. Indexes, checks and references that it is in have to go before.
    pub fn drop_column(self, column: impl Into<String>) -> Self {
        self.and(Change::Drop(column.into()))
    }

    /// Another name of a column.
    pub fn rename_column(self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.and(Change::Rename { from: from.into(), to: to.into() })
    }

    /// Another type of a column: that of this definition, of which nothing else is looked at. A value that is none of that
    /// type makes it fail.
    pub fn retype(self, column: ColumnDef) -> Self {
        self.and(Change::Retype(column))
    }

    /// A column may be null.
    pub fn optional(self, column: impl Into<String>) -> Self {
        self.and(Change::Optional(column.into()))
    }

    /// A column may not be null; where it is, this fails.
    pub fn required(self, column: impl Into<String>) -> Self {
        self.and(Change::Required { column: column.into(), filled: None })
    }

    /// A column may not be null; where it is, it gets this value.
    pub fn required_filled(self, column: impl Into<String>, with: impl Into<Expr>) -> Self {
        self.and(Change::Required { column: column.into(), filled: Some(with.into()) })
    }

    /// A reference to the `id` of another table, which restricts its deletion.
    pub fn references(self, column: impl Into<String>, parent: impl Into<String>) -> Self {
        self.references_as(column, parent, ForeignKeyAction::NoAction, ForeignKeyAction::Restrict)
    }

    /// A reference to the `id` of another table.
    pub fn references_as(
        self,
        column: impl Into<String>,
        parent: impl Into<String>,
        on_update: ForeignKeyAction,
        on_delete: ForeignKeyAction,
    ) -> Self {
        self.and(Change::Refer(Reference { column: column.into(), parent: parent.into(), on_update, on_delete }))
    }

    /// A column refers to nothing.
    pub fn without_reference(self, column: impl Into<String>) -> Self {
        self.and(Change::Unrefer(column.into()))
    }

    /// A check of this name; `ck_<table>_<column>` says which column is to blame.
    pub fn check(self, name: impl Into<String>, condition: impl Into<Expr>) -> Self {
        self.and(Change::Check { name: name.into(), condition: condition.into() })
    }

    /// A check is no more.
    pub fn without_check(self, name: impl Into<String>) -> Self {
        self.and(Change::DropCheck(name.into()))
    }

    /// Another name of a check or a reference.
    pub fn rename_constraint(self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.and(Change::RenameConstraint { from: from.into(), to: to.into() })
    }

    /// An index on columns, `ix_<table>_<columns>`. Others cannot write to the table while it is made: see
    /// [`index_concurrently`](crate::index_concurrently).
    pub fn index<S: AsRef<str>>(self, columns: &[S]) -> Self {
        self.indexed("ix", false, columns)
    }

    /// A unique index on columns, `uq_<table>_<columns>`.
    pub fn unique<S: AsRef<str>>(self, columns: &[S]) -> Self {
        self.indexed("uq", true, columns)
    }

    /// An index is no more.
    pub fn without_index(self, name: impl Into<String>) -> Self {
        self.and(Change::DropIndex(name.into()))
    }

    /// Another name of an index.
    pub fn rename_index(self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.and(Change::RenameIndex { from: from.into(), to: to.into() })
    }

    /// What rows of the cached table are looked up by, all of it, once the changes are made. To be said where a column
    /// that they were looked up by is renamed or dropped, another one is to be among them, or the table is renamed.
    pub fn cached(mut self, keys: &[Key<'a>]) -> Self {
        self.keys = Some(keys.to_vec());
        self
    }

    /// The columns of the audited table whose values nobody is told, all of them, once the changes are made. To be said
    /// where one of them is renamed or dropped, or another one is to be among them.
    pub fn audited(mut self, masked: &[&str]) -> Self {
        self.masked = Some(masked.iter().map(|&column| column.to_owned()).collect());
        self
    }

    /// Makes the changes, one after the other.
    ///
    /// # Errors
    /// If the database refuses one, or rows are not as they would have to be. In a transaction, which the migration has
    /// to ask for, the table is then as it was.
    pub async fn apply(self, schema: &SchemaManager<'_>) -> Result<(), DbErr> {
        let Self { table, changes, keys, masked } = self;
        let sqlite = schema.get_database_backend() == DbBackend::Sqlite;
        let mut audit = Audit::of(schema, &table, masked).await?;
        let mut place = Place { schema, table, clauses: Vec::new() };
        if keys.is_some() {
            uncached(schema, &place.table).await?;
        }
        if audit.is_said || changes.iter().any(|change| matches!(change, Change::RenameTable(_))) {
            audit.turn_off(&place).await?;
        }
        for change in changes {
            if let Change::Required { column, filled: Some(value) } = &change {
                place.flush().await?;
                // Told as any other change of rows, unless what is told changes too.
                if !audit.is_said {
                    audit.turn_on(&place).await?;
                }
                place.fill(column, value).await?;
            }
            // SQLite's triggers name the columns.
            if sqlite && change.is_of_columns() {
                audit.turn_off(&place).await?;
            }
            match sqlite {
                true => place.on_sqlite(change).await?,
                false => place.on_postgres(change).await?,
            }
        }
        place.flush().await?;
        audit.turn_on(&place).await?;
        match keys {
            Some(keys) => cached(schema, &place.table, &keys).await,
            None => Ok(()),
        }
    }

    fn indexed<S: AsRef<str>>(self, kind: &str, is_unique: bool, columns: &[S]) -> Self {
        let columns = columns.iter().map(|column| column.as_ref().to_owned()).collect::<Vec<_>>();
        let table = self.changes.iter().rev().find_map(|change| match change {
            Change::RenameTable(to) => Some(to),
            _ => None,
        });
        let name = format!("{kind}_{}_{}", table.unwrap_or(&self.table), columns.join("_"));
        self.and(Change::Index { name, is_unique, columns })
    }

    fn and(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }
}

impl Change {
    /// Whether triggers that name columns would keep it from being made, or not name all of them afterwards.
    fn is_of_columns(&self) -> bool {
        matches!(self, Self::Add { .. } | Self::Drop(_) | Self::Rename { .. } | Self::Retype(_))
    }
}

/// The triggers of an audited table.
struct Audit {
    /// What they do not tell; none if the table is not audited.
    masked: Option<Vec<String>>,
    /// Whether that is other than it was.
    is_said: bool,
    is_on: bool,
}

impl Audit {
    async fn of(schema: &SchemaManager<'_>, table: &str, said: Option<Vec<String>>) -> Result<Self, DbErr> {
        let is_said = said.is_some();
        let masked = match said {
            Some(said) => Some(said),
            None => masked(schema, table).await?,
        };
        Ok(Self { masked, is_said, is_on: true })
    }

    async fn turn_off(&mut self, place: &Place<'_>) -> Result<(), DbErr> {
        if self.masked.is_some() && std::mem::take(&mut self.is_on) {
            unaudited(place.schema, &place.table).await?;
        }
        Ok(())
    }

    async fn turn_on(&mut self, place: &Place<'_>) -> Result<(), DbErr> {
        match &self.masked {
            Some(masked) if !std::mem::replace(&mut self.is_on, true) => {
                let masked = masked.iter().map(String::as_str).collect::<Vec<_>>();
                audited(place.schema, &place.table, &masked).await
            }
            _ => Ok(()),
        }
    }
}

impl Reference {
    fn statement(&self, table: &str) -> ForeignKeyCreateStatement {
        ForeignKey::create()
            .name(format!("fk_{table}_{}", self.column))
            .from(Alias::new(table), Alias::new(&self.column))
            .to(Alias::new(&self.parent), Alias::new("id"))
            .on_update(self.on_update)
            .on_delete(self.on_delete)
            .take()
    }
}
