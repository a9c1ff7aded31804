//! Changes of a table that is there, alike on both databases.
//!
//! SQLite can add, rename and drop a column, and nothing else. What else there is to change, such as whether a column may
//! be null, is no matter of how rows are stored: it is changed in the text that SQLite keeps of the table, in the way that
//! <https://www.sqlite.org/lang_altertable.html> describes in its section 7, and then every row is held against it. To
//! make the table anew, as is done for other changes, would not do here: rows that others refer to cannot be away for a
//! while.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{DbBackend, QueryResult, Statement},
};

use super::{
    Key,
    audited::{audited, masked, unaudited},
    cached,
    table_text::TableText,
    uncached,
};
use crate::backfill::is_recording;

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
pub struct Alteration {
    table: String,
    changes: Vec<Change>,
    keys: Option<Vec<OwnedKey>>,
    masked: Option<Vec<String>>,
}

/// As [`Key`], for longer.
#[derive(Debug, Clone)]
enum OwnedKey {
    Row,
    Id(String),
    Text(String),
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
pub fn alter(table: impl Into<String>) -> Alteration {
    Alteration { table: table.into(), changes: Vec::new(), keys: None, masked: None }
}

impl Alteration {
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
    pub fn cached(mut self, keys: &[Key<'_>]) -> Self {
        let owned = |key: &Key<'_>| match *key {
            Key::Row => OwnedKey::Row,
            Key::Id(column) => OwnedKey::Id(column.to_owned()),
            Key::Text(column) => OwnedKey::Text(column.to_owned()),
        };
        self.keys = Some(keys.iter().map(owned).collect());
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
            match place.postgres_or_sqlite() {
                DbBackend::Sqlite => place.on_sqlite(change).await?,
                _ => place.on_postgres(change).await?,
            }
        }
        place.flush().await?;
        audit.turn_on(&place).await?;
        let Some(keys) = keys else { return Ok(()) };
        let keys = keys.iter().map(|key| match key {
            OwnedKey::Row => Key::Row,
            OwnedKey::Id(column) => Key::Id(column),
            OwnedKey::Text(column) => Key::Text(column),
        });
        cached(schema, &place.table, &keys.collect::<Vec<_>>()).await
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

/// The table that is changed.
struct Place<'a> {
    schema: &'a SchemaManager<'a>,
    table: String,
    /// What PostgreSQL is yet to be told, in one statement, so that it looks at the rows once.
    clauses: Vec<String>,
}

impl Place<'_> {
    fn postgres_or_sqlite(&self) -> DbBackend {
        self.schema.get_database_backend()
    }

    async fn run(&self, sql: impl AsRef<str>) -> Result<(), DbErr> {
        self.schema.get_connection().execute_unprepared(sql.as_ref()).await.map(drop)
    }

    async fn ask(&self, sql: impl Into<String>) -> Result<Vec<QueryResult>, DbErr> {
        let statement = Statement::from_string(self.postgres_or_sqlite(), sql);
        self.schema.get_connection().query_all_raw(statement).await
    }

    async fn alter(&self, clause: impl AsRef<str>) -> Result<(), DbErr> {
        self.run(format!("ALTER TABLE {} {}", quoted(&self.table), clause.as_ref())).await
    }

    /// Says all that is yet to be said.
    async fn flush(&mut self) -> Result<(), DbErr> {
        match std::mem::take(&mut self.clauses) {
            clauses if clauses.is_empty() => Ok(()),
            clauses => self.alter(clauses.join(", ")).await,
        }
    }

    /// A clause of `ALTER TABLE`, out of a whole statement.
    fn clause_of(&self, statement: &str) -> String {
        let start = format!("ALTER TABLE {} ", quoted(&self.table));
        statement.strip_prefix(&start).unwrap_or(statement).to_owned()
    }

    async fn fill(&self, column: &str, value: &Expr) -> Result<(), DbErr> {
        let column = Alias::new(column);
        let update = Query::update()
            .table(Alias::new(&self.table))
            .value(column.clone(), value.clone())
            .and_where(Expr::col(column).is_null())
            .take();
        // Without a type of its own, as a text that is a time.
        self.run(match self.postgres_or_sqlite() {
            DbBackend::Sqlite => update.to_string(SqliteQueryBuilder),
            _ => update.to_string(PostgresQueryBuilder),
        })
        .await
    }

    async fn rename_table(&mut self, to: String) -> Result<(), DbErr> {
        self.alter(format!("RENAME TO {}", quoted(&to))).await?;
        self.table = to;
        Ok(())
    }

    async fn index(&self, name: &str, is_unique: bool, columns: &[String]) -> Result<(), DbErr> {
        let mut index = Index::create().name(name).table(Alias::new(&self.table)).take();
        for column in columns {
            index.col(Alias::new(column));
        }
        if is_unique {
            index.unique();
        }
        self.schema.create_index(index).await
    }

    async fn on_postgres(&mut self, change: Change) -> Result<(), DbErr> {
        let table = self.table.clone();
        let clause = match change {
            Change::Add { column, filled } => {
                let name = quoted(&column.get_column_name());
                let with = filled.clone().map(|value| column.clone().default(value).take()).unwrap_or(column);
                let statement =
                    Table::alter().table(Alias::new(&table)).add_column(with).to_string(PostgresQueryBuilder);
                self.clauses.push(self.clause_of(&statement));
                if filled.is_none() {
                    return Ok(());
                }
                // Of a column that is not there yet, nothing is said in the same statement.
                self.flush().await?;
                return self.alter(format!("ALTER COLUMN {name} DROP DEFAULT")).await;
            }
            Change::Drop(column) => format!("DROP COLUMN {}", quoted(&column)),
            Change::Retype(column) => {
                let (name, kind) = (quoted(&column.get_column_name()), kind(&column, PostgresQueryBuilder));
                format!("ALTER COLUMN {name} TYPE {kind} USING {name}::{kind}")
            }
            Change::Optional(column) => format!("ALTER COLUMN {} DROP NOT NULL", quoted(&column)),
            Change::Required { column, filled: _ } => format!("ALTER COLUMN {} SET NOT NULL", quoted(&column)),
            Change::Refer(reference) => self.clause_of(&reference.statement(&table).to_string(PostgresQueryBuilder)),
            Change::Unrefer(column) => format!("DROP CONSTRAINT {}", quoted(&format!("fk_{table}_{column}"))),
            Change::Check { name, condition } => {
                let condition = Query::select().expr(condition).to_string(PostgresQueryBuilder);
                let condition = condition.trim_start_matches("SELECT ");
                format!("ADD CONSTRAINT {} CHECK ({condition})", quoted(&name))
            }
            Change::DropCheck(name) => format!("DROP CONSTRAINT {}", quoted(&name)),
            other => {
                self.flush().await?;
                return match other {
                    Change::RenameTable(to) => self.rename_table(to).await,
                    Change::Rename { from, to } => {
                        self.alter(format!("RENAME COLUMN {} TO {}", quoted(&from), quoted(&to))).await
                    }
                    Change::RenameConstraint { from, to } => {
                        self.alter(format!("RENAME CONSTRAINT {} TO {}", quoted(&from), quoted(&to))).await
                    }
                    Change::Index { name, is_unique, columns } => self.index(&name, is_unique, &columns).await,
                    Change::DropIndex(name) => self.run(format!("DROP INDEX {}", quoted(&name))).await,
                    Change::RenameIndex { from, to } => {
                        self.run(format!("ALTER INDEX {} RENAME TO {}", quoted(&from), quoted(&to))).await
                    }
                    Change::Remark(sql) | Change::Statement(sql) => self.run(sql).await,
                    _ => Ok(()),
                };
            }
        };
        self.clauses.push(clause);
        Ok(())
    }

    async fn on_sqlite(&mut self, change: Change) -> Result<(), DbErr> {
        match change {
            Change::Remark(sql) | Change::Statement(sql) => self.run(sql).await,
            Change::RenameTable(to) => self.rename_table(to).await,
            Change::Add { column, filled } => {
                let name = column.get_column_name();
                let spec = column.get_column_spec();
                // A column that has to have a value is only taken with a default, which is then not written into the rows.
                let is_bare = spec.nullable == Some(false) && spec.default.is_none();
                let with = if is_bare { column.clone().null().take() } else { column };
                let statement = Table::alter().table(Alias::new(&self.table)).add_column(with).take();
                self.schema.alter_table(statement).await?;
                if let Some(value) = &filled {
                    self.fill(&name, value).await?;
                }
                match is_bare {
                    true => self.rewrite(&format!("{name} may not be null"), |text| text.not_null(&name)).await,
                    false => Ok(()),
                }
            }
            Change::Drop(column) => self.alter(format!("DROP COLUMN {}", quoted(&column))).await,
            Change::Rename { from, to } => {
                self.alter(format!("RENAME COLUMN {} TO {}", quoted(&from), quoted(&to))).await
            }
            Change::Retype(column) => {
                let (name, kind) = (column.get_column_name(), kind(&column, SqliteQueryBuilder));
                let said = format!("{name} is {kind}");
                self.write_text(&said, |text| text.retype(&name, &kind)).await?;
                // It keeps numbers as texts, and the other way round, as long as the column is the old one.
                self.convert(&name, &kind).await?;
                self.hold(&said).await
            }
            Change::Optional(column) => {
                self.rewrite(&format!("{column} may be null"), |text| text.without_not_null(&column)).await
            }
            Change::Required { column, filled: _ } => {
                self.rewrite(&format!("{column} may not be null"), |text| text.not_null(&column)).await
            }
            Change::Refer(reference) => {
                let statement = reference.statement(&self.table);
                let said = format!("{} refers to {}", reference.column, reference.parent);
                let dummy = Table::create().table(Alias::new(&self.table)).foreign_key(&mut statement.clone()).take();
                self.rewrite(&said, |text| text.append(&dummy.to_string(SqliteQueryBuilder))).await
            }
            Change::Unrefer(column) => {
                self.rewrite(&format!("{column} refers to nothing"), |text| text.without_reference(&column)).await
            }
            Change::Check { name, condition } => {
                let check = Check::named(Alias::new(&name), condition);
                let dummy = Table::create().table(Alias::new(&self.table)).check(check).take();
                self.rewrite(&format!("with {name}"), |text| text.append(&dummy.to_string(SqliteQueryBuilder))).await
            }
            Change::DropCheck(name) => {
                self.rewrite(&format!("without {name}"), |text| text.without_constraint(&name)).await
            }
            Change::RenameConstraint { from, to } => {
                // References need not have a name there.
                let rename = |text: &mut TableText| text.rename_constraint(&from, &to);
                let or_none = |text: &mut TableText| rename(text).or_else(|| from.starts_with("fk_").then_some(()));
                self.rewrite(&format!("{from} is {to}"), or_none).await
            }
            Change::Index { name, is_unique, columns } => self.index(&name, is_unique, &columns).await,
            Change::DropIndex(name) => self.run(format!("DROP INDEX {}", quoted(&name))).await,
            Change::RenameIndex { from, to } => self.rename_index(&from, &to).await,
        }
    }

    /// An index is only its text, and made as fast as it can be: it has no other name, but there is another one.
    async fn rename_index(&self, from: &str, to: &str) -> Result<(), DbErr> {
        let asked = format!("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = {}", literal(from));
        let Some(row) = self.ask(asked).await?.into_iter().next() else { return self.is_missing(from).await };
        let text: String = row.try_get_by_index(0)?;
        let (start, rest) = text.split_once(from).unwrap_or((&text, ""));
        self.run(format!("DROP INDEX {}", quoted(from))).await?;
        self.run(format!("{start}{to}{rest}")).await
    }

    /// Values that are to be of another type. SQLite takes what is none for 0 when it is told to.
    async fn convert(&self, column: &str, kind: &str) -> Result<(), DbErr> {
        let (table, name) = (quoted(&self.table), quoted(column));
        let lower = kind.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let to = match () {
            () if has(&["json", "date", "time", "uuid", "bool", "blob"]) => return Ok(()),
            () if has(&["int"]) => "INTEGER",
            () if has(&["char", "text"]) => "TEXT",
            () if has(&["float", "double", "real"]) => "REAL",
            () => return Ok(()),
        };
        if to != "TEXT" {
            let is_other = format!("typeof({name}) = 'text' AND {name} <> CAST(CAST({name} AS {to}) AS TEXT)");
            let rows = self.ask(format!("SELECT count(*) FROM {table} WHERE {is_other}")).await?;
            let others: i64 = rows.first().map_or(Ok(0), |row| row.try_get_by_index(0))?;
            if others > 0 {
                let says = format!("{others} rows of {} have something in {column} that is no {kind}", self.table);
                return Err(DbErr::Migration(says));
            }
        }
        self.run(format!("UPDATE {table} SET {name} = CAST({name} AS {to}) WHERE {name} IS NOT NULL")).await
    }

    /// Changes the text of the table, and holds every row against it.
    async fn rewrite(&self, said: &str, change: impl FnOnce(&mut TableText) -> Option<()> + Send) -> Result<(), DbErr> {
        self.write_text(said, change).await?;
        self.hold(said).await
    }

    async fn write_text(
        &self,
        said: &str,
        change: impl FnOnce(&mut TableText) -> Option<()> + Send,
    ) -> Result<(), DbErr> {
        let table = literal(&self.table);
        let rows = self.ask(format!("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = {table}")).await?;
        let Some(row) = rows.into_iter().next() else { return self.is_missing(said).await };
        let mut text = TableText::read(&row.try_get_by_index::<String>(0)?);
        let changed = text.as_mut().and_then(change);
        let (Some(text), Some(())) = (text, changed) else {
            let says =
                format!("the text that SQLite keeps of {} does not let itself be changed so: {said}", self.table);
            return Err(DbErr::Migration(says));
        };
        let version: i32 = match self.ask("PRAGMA schema_version").await?.first() {
            Some(row) => row.try_get_by_index(0)?,
            None => return self.is_missing(said).await,
        };
        self.run("PRAGMA writable_schema = ON").await?;
        let update = format!(
            "UPDATE sqlite_schema SET sql = {} WHERE type = 'table' AND name = {table}",
            literal(&text.to_string())
        );
        let written = async {
            self.run(update).await?;
            // Whoever else has the database open reads the schema again.
            self.run(format!("PRAGMA schema_version = {}", version.wrapping_add(1))).await
        };
        let written = written.await;
        self.run("PRAGMA writable_schema = RESET").await?;
        written
    }

    /// Whether every row is as the table says.
    async fn hold(&self, said: &str) -> Result<(), DbErr> {
        let table = literal(&self.table);
        let refused = |what: String| DbErr::Migration(format!("{} cannot be changed so ({said}): {what}", self.table));
        let integrity = self.ask(format!("PRAGMA integrity_check({table})")).await?;
        if let Some(row) = integrity.first() {
            let says: String = row.try_get_by_index(0)?;
            if says != "ok" {
                return Err(refused(says));
            }
        }
        match self.ask(format!("PRAGMA foreign_key_check({table})")).await?.len() {
            0 => Ok(()),
            rows => Err(refused(format!("{rows} rows refer to what is not there"))),
        }
    }

    /// Nothing of that kind is there, unless nothing is because this is only looked at.
    async fn is_missing(&self, what: &str) -> Result<(), DbErr> {
        if is_recording() {
            return self
                .run(format!("UPDATE sqlite_schema SET sql = '… {what} …' WHERE name = {}", literal(&self.table)))
                .await;
        }
        Err(DbErr::Migration(format!("{} is not there to be changed: {what}", self.table)))
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

/// The type of a column, as the database calls it.
fn kind(column: &ColumnDef, builder: impl SchemaBuilder) -> String {
    let name = column.get_column_name();
    let bare = match column.get_column_type() {
        Some(kind) => ColumnDef::new_with_type(Alias::new(&name), kind.clone()),
        None => ColumnDef::new(Alias::new(&name)),
    };
    let text = Table::create().table("t").col(bare).to_string(builder);
    TableText::read(&text).and_then(|mut text| text.kind(&name)).unwrap_or_default()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
