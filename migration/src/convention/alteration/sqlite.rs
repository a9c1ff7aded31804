//! How SQLite is told, and where it cannot be, how the text is changed that it keeps of the table.

use sea_orm_migration::prelude::*;

use super::{
    Change,
    place::{Place, kind, literal, quoted},
    table_text::TableText,
};
use crate::backfill::is_recording;

impl Place<'_> {
    pub(super) async fn on_sqlite(&mut self, change: Change) -> Result<(), DbErr> {
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
