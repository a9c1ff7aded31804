//! Migrations in SQL, and the text of all.

use std::iter::once;

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::{
    backfill::{Backfill, directive},
    concurrent,
    one_way::{irreversible, irreversible_because},
    statements::statements,
};

tokio::task_local! {
    static DATABASE: DbBackend;
}

/// Whether all that a migration does on a database is undone when a part of it fails.
pub fn is_in_transaction(migration: &dyn MigrationTrait, backend: DbBackend) -> bool {
    // As SeaORM has it, where nothing is said.
    let usual = backend == DbBackend::Postgres;
    DATABASE.sync_scope(backend, || migration.use_transaction()).unwrap_or(usual)
}

/// The name of a migration in Rust, and its file.
type Text = (&'static str, &'static str);

include!(concat!(env!("OUT_DIR"), "/texts.rs"));

/// The first line of a migration in SQL that is not to run in a transaction.
const NO_TRANSACTION: &str = "-- no transaction";

/// A migration in SQL.
#[derive(Debug, Clone, Copy)]
pub struct SqlMigration {
    name: &'static str,
    /// By their names: `up.sql`, `down.sql`, `up.postgres.sql` and so on.
    files: &'static [(&'static str, &'static str)],
}

/// What a migration was written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its file, from the root of the workspace.
    pub file: String,
    /// What is in it.
    pub text: &'static str,
    /// Whether that is Rust; SQL otherwise.
    pub is_rust: bool,
}

impl SqlMigration {
    /// One of this name, with these files.
    pub const fn new(name: &'static str, files: &'static [(&'static str, &'static str)]) -> Self {
        Self { name, files }
    }

    /// The file for a way, `up` or `down`, on a database: the one of its own, or else the one for all.
    fn file(&self, way: &str, backend: DbBackend) -> Option<(&'static str, &'static str)> {
        let database = if backend == DbBackend::Sqlite { "sqlite" } else { "postgres" };
        let names = [format!("{way}.{database}.sql"), format!("{way}.sql")];
        names.iter().find_map(|wanted| self.files.iter().find(|(name, _)| name == wanted)).copied()
    }

    async fn run(&self, way: &'static str, schema: &SchemaManager<'_>) -> Result<(), DbErr> {
        let backend = schema.get_database_backend();
        let Some((_, text)) = self.file(way, backend) else {
            let declared = self.file("up", backend).and_then(|(_, up)| irreversible_because(up));
            return Err(declared.map_or_else(
                || DbErr::Migration(format!("there is no way back: sql/{} has no {way}.sql", self.name)),
                irreversible,
            ));
        };
        if self.has_transaction(backend) {
            return schema.get_connection().execute_unprepared(text).await.map(|_| ());
        }
        // By themselves, because the database makes one transaction of statements that are sent together.
        for statement in statements(text) {
            match directive(statement) {
                Some((table, key, rows)) => {
                    let backfill = Backfill::new(self.name, way, table).key(key).sql(statement);
                    let backfill = match rows {
                        Some(rows) => backfill.batch(rows),
                        None => backfill,
                    };
                    backfill.run(schema).await?;
                }
                None => concurrent::send(schema, statement).await?,
            }
        }
        Ok(())
    }

    /// Whether it can be in one transaction there, both ways.
    fn has_transaction(&self, backend: DbBackend) -> bool {
        let has_batches = |text: &str| text.lines().any(|line| directive(line).is_some());
        let mut files = ["up", "down"].into_iter().filter_map(|way| self.file(way, backend));
        !files.any(|(_, text)| text.starts_with(NO_TRANSACTION) || has_batches(text))
    }

    /// What it is written as, for a database.
    pub fn source(&self, backend: DbBackend) -> Option<Source> {
        let (file, text) = self.file("up", backend)?;
        Some(Source { file: format!("migration/sql/{}/{file}", self.name), text, is_rust: false })
    }
}

impl MigrationName for SqlMigration {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for SqlMigration {
    /// SeaORM does not say on which database: to it, one that cannot be in a transaction on one of them is in none.
    fn use_transaction(&self) -> Option<bool> {
        Some(match DATABASE.try_with(|backend| *backend) {
            Ok(backend) => self.has_transaction(backend),
            Err(_) => [DbBackend::Postgres, DbBackend::Sqlite].iter().all(|backend| self.has_transaction(*backend)),
        })
    }

    async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        self.run("up", schema).await
    }

    async fn down(&self, schema: &SchemaManager) -> Result<(), DbErr> {
        self.run("down", schema).await
    }
}

/// Puts migrations in SQL among others, each before the first whose version is later.
pub fn among(mut others: Vec<Box<dyn MigrationTrait>>, sql: &'static [SqlMigration]) -> Vec<Box<dyn MigrationTrait>> {
    for one in sql {
        let later = others.iter().position(|other| order(other.name()) > order(one.name));
        others.insert(later.unwrap_or(others.len()), Box::new(*one));
    }
    others
}

/// The migrations in SQL that this program has.
pub(crate) fn in_sql() -> &'static [SqlMigration] {
    SQL
}

/// What a migration of this program is written as, for a database.
pub fn source(name: &str, backend: DbBackend) -> Option<Source> {
    let sql = || SQL.iter().find(|one| one.name == name)?.source(backend);
    let rust = || {
        let (_, text) = RUST.iter().find(|(of, _)| *of == name)?;
        Some(Source { file: format!("migration/src/{name}.rs"), text, is_rust: true })
    };
    once(rust()).chain(once(sql())).flatten().next()
}

/// By what migrations are put in order: the `m` before the version does not count.
fn order(name: &str) -> &str {
    name.strip_prefix('m').unwrap_or(name)
}
