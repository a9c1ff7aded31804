//! The table that is changed, and what both databases understand alike.

use sea_orm_migration::{
    prelude::*,
    sea_orm::{DbBackend, QueryResult, Statement},
};

use super::table_text::TableText;

/// The table that is changed.
pub(super) struct Place<'a> {
    pub(super) schema: &'a SchemaManager<'a>,
    pub(super) table: String,
    /// What PostgreSQL is yet to be told, in one statement, so that it looks at the rows once.
    pub(super) clauses: Vec<String>,
}

impl Place<'_> {
    pub(super) fn backend(&self) -> DbBackend {
        self.schema.get_database_backend()
    }

    pub(super) async fn run(&self, sql: impl AsRef<str>) -> Result<(), DbErr> {
        self.schema.get_connection().execute_unprepared(sql.as_ref()).await.map(drop)
    }

    pub(super) async fn ask(&self, sql: impl Into<String>) -> Result<Vec<QueryResult>, DbErr> {
        let statement = Statement::from_string(self.backend(), sql);
        self.schema.get_connection().query_all_raw(statement).await
    }

    pub(super) async fn alter(&self, clause: impl AsRef<str>) -> Result<(), DbErr> {
        self.run(format!("ALTER TABLE {} {}", quoted(&self.table), clause.as_ref())).await
    }

    /// Says all that is yet to be said.
    pub(super) async fn flush(&mut self) -> Result<(), DbErr> {
        match std::mem::take(&mut self.clauses) {
            clauses if clauses.is_empty() => Ok(()),
            clauses => self.alter(clauses.join(", ")).await,
        }
    }

    pub(super) async fn fill(&self, column: &str, value: &Expr) -> Result<(), DbErr> {
        let column = Alias::new(column);
        let update = Query::update()
            .table(Alias::new(&self.table))
            .value(column.clone(), value.clone())
            .and_where(Expr::col(column).is_null())
            .take();
        // Without a type of its own, as a text that is a time.
        self.run(match self.backend() {
            DbBackend::Sqlite => update.to_string(SqliteQueryBuilder),
            _ => update.to_string(PostgresQueryBuilder),
        })
        .await
    }

    pub(super) async fn rename_table(&mut self, to: String) -> Result<(), DbErr> {
        self.alter(format!("RENAME TO {}", quoted(&to))).await?;
        self.table = to;
        Ok(())
    }

    pub(super) async fn index(&self, name: &str, is_unique: bool, columns: &[String]) -> Result<(), DbErr> {
        let mut index = Index::create().name(name).table(Alias::new(&self.table)).take();
        for column in columns {
            index.col(Alias::new(column));
        }
        if is_unique {
            index.unique();
        }
        self.schema.create_index(index).await
    }

    /// Adds what PostgreSQL is told together with other changes of the table.
    pub(super) fn clause(&mut self, clause: String) -> Result<(), DbErr> {
        self.clauses.push(clause);
        Ok(())
    }

    /// Says something that stands by itself, behind all that is yet to be said.
    pub(super) async fn alone(&mut self, sql: String) -> Result<(), DbErr> {
        self.flush().await?;
        self.run(sql).await
    }
}

/// The type of a column, as the database calls it.
pub(super) fn kind(column: &ColumnDef, builder: impl SchemaBuilder) -> String {
    let name = column.get_column_name();
    let bare = match column.get_column_type() {
        Some(kind) => ColumnDef::new_with_type(Alias::new(&name), kind.clone()),
        None => ColumnDef::new(Alias::new(&name)),
    };
    let text = Table::create().table("t").col(bare).to_string(builder);
    TableText::read(&text).and_then(|mut text| text.kind(&name)).unwrap_or_default()
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
