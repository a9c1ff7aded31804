//! Whether a database is what its history says: the measure is a scratch database that the same migrations made.

use std::collections::BTreeSet;

use domain::document::collections;
use migration::{MigrationTrait, is_in_transaction};
use sea_orm_migration::{
    DbErr, SchemaManager,
    sea_orm::{
        ConnectionTrait, DatabaseConnection, DbBackend, SqlxPostgresConnector, SqlxSqliteConnector, Statement,
        TransactionTrait,
    },
};
use serde::Serialize;

use super::{Database, MigrateError, Problem, Status, names, refuse, status};
use crate::{
    command::{
        roles::Role,
        scratch::{ScratchError, on_postgres, on_sqlite},
    },
    schema::{Difference, Schema, differences},
};

/// In what a database is not as its history says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The last migration that is applied.
    pub version: String,
    /// As seen from how it should be.
    pub differences: Vec<Difference>,
}

/// Why it cannot be told how a database should be.
#[derive(Debug, thiserror::Error)]
pub enum UnknownSchema {
    #[error("there was no scratch database: let the role create databases (CREATEDB)")]
    Connect(#[source] sqlx::Error),
    #[error("the role may neither create databases (CREATEDB) nor schemas (CREATE on the database): give it either")]
    Forbidden(#[source] sqlx::Error),
    #[error(
        "the role may not create databases (CREATEDB), and {name} cannot be tried in a transaction of this one: it has \
         none itself, or names the schema"
    )]
    NotHere { name: String },
    #[error("the scratch database {name} could not be dropped: drop it by hand")]
    Drop {
        name: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("the migrations cannot be run on an empty database")]
    Migrate(#[source] DbErr),
    #[error("the schema cannot be read")]
    Read(#[source] DbErr),
    #[error("it ended in the middle")]
    Failed(#[source] tokio::task::JoinError),
    #[error("interrupted")]
    Interrupted,
}

impl From<ScratchError> for UnknownSchema {
    fn from(error: ScratchError) -> Self {
        match error {
            ScratchError::Connect(source) => Self::Connect(source),
            ScratchError::Create(source) => Self::Forbidden(source),
            ScratchError::Drop { name, source } => Self::Drop { name, source },
            ScratchError::Failed(failure) => Self::Failed(failure),
            ScratchError::Interrupted => Self::Interrupted,
        }
    }
}

/// In what a database is not as its history says; nothing if it has no history yet.
///
/// What is kept account of migrations in does not count, nor what the documents in the database need, of which
/// [`Documents::drift`](domain::Documents::drift) tells.
///
/// # Errors
/// If its history does not fit this program, or it cannot be told how it should be.
pub async fn drift(database: &Database) -> Result<Option<Drift>, MigrateError> {
    let standings = status(database).await?;
    refuse(&standings, |problem| matches!(problem, Problem::Missing | Problem::Duplicate { .. }))?;
    let applied = names(Status::Applied, &standings);
    let Some(version) = applied.last().cloned() else { return Ok(None) };
    let expected = expected(database, applied.into_iter().collect()).await?;
    let differences = differences(&expected, &present(database).await?);
    Ok(Some(Drift { version, differences }))
}

/// What a database is made of, but for what does not count.
pub(super) async fn present(database: &Database) -> Result<Schema, MigrateError> {
    let schema = Schema::read(&**database).await.map_err(UnknownSchema::Read)?;
    // What our roles may do is judged where they are made.
    let roles = Role::ALL.map(|role| role.name(database.name()));
    let schema = schema.without_grants(|role| roles.iter().any(|ours| ours == role));
    Ok(without_ours(schema, database.tables().history()))
}

/// What these migrations make, but for what does not count.
pub(super) async fn expected(database: &Database, names: BTreeSet<String>) -> Result<Schema, MigrateError> {
    let migrations = database.options().program.migrations;
    let made = match database.server() {
        None => on_sqlite(move |pool| make(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool), migrations, names)).await,
        Some(server) => {
            let schema = current_schema(database).await.map_err(UnknownSchema::Read)?;
            let chosen = names.clone();
            let work = move |pool| make(SqlxPostgresConnector::from_sqlx_postgres_pool(pool), migrations, chosen);
            match on_postgres(server.clone(), &schema, work).await {
                Err(UnknownSchema::Forbidden(cause) | UnknownSchema::Connect(cause)) => {
                    in_transaction(database, &schema, &names, cause).await
                }
                made => made,
            }
        }
    };
    Ok(without_ours(made?, database.tables().history()))
}

async fn make(
    connection: DatabaseConnection,
    migrations: fn() -> Vec<Box<dyn MigrationTrait>>,
    names: BTreeSet<String>,
) -> Result<Schema, UnknownSchema> {
    let backend = connection.get_database_backend();
    for migration in migrations().iter().filter(|migration| names.contains(migration.name())) {
        let made = async {
            if !is_in_transaction(&**migration, backend) {
                return migration.up(&SchemaManager::new(&connection)).await;
            }
            let transaction = connection.begin().await?;
            migration.up(&SchemaManager::new(&transaction)).await?;
            transaction.commit().await
        };
        made.await.map_err(UnknownSchema::Migrate)?;
    }
    Schema::read(&connection).await.map_err(UnknownSchema::Read)
}

async fn current_schema(database: &Database) -> Result<String, DbErr> {
    let statement = Statement::from_string(DbBackend::Postgres, "SELECT current_schema()::text");
    let row = database.query_one_raw(statement).await?;
    let name: Option<String> = row.map(|row| row.try_get_by_index(0)).transpose()?.flatten();
    name.ok_or_else(|| DbErr::Migration("the search path of the role names no schema that is there".to_owned()))
}

/// Where no database can be created: a schema beside the others, in a transaction that is rolled back.
async fn in_transaction(
    database: &Database,
    schema: &str,
    names: &BTreeSet<String>,
    cause: sqlx::Error,
) -> Result<Schema, UnknownSchema> {
    let chosen = || database.migrations().iter().filter(|migration| names.contains(migration.name()));
    for migration in chosen() {
        let source = database.source(migration.name());
        // It would change the tables that are there.
        let names_schema = source.is_none_or(|source| source.text.contains(&format!("{schema}.")));
        if names_schema || !is_in_transaction(&**migration, DbBackend::Postgres) {
            return Err(UnknownSchema::NotHere { name: migration.name().to_owned() });
        }
    }
    let scratch = format!("seabed_scratch_{:016x}", rand::random::<u64>());
    let transaction = database.begin().await.map_err(UnknownSchema::Read)?;
    let start = format!("SET LOCAL lock_timeout = '1s'; CREATE SCHEMA {scratch}; SET LOCAL search_path = {scratch}");
    if transaction.execute_unprepared(&start).await.is_err() {
        return Err(UnknownSchema::Forbidden(cause));
    }
    for migration in chosen() {
        migration.up(&SchemaManager::new(&transaction)).await.map_err(UnknownSchema::Migrate)?;
    }
    let made = Schema::read(&transaction).await.map_err(UnknownSchema::Read)?;
    transaction.rollback().await.map_err(UnknownSchema::Read)?;
    made.moved(&scratch, schema).map_err(UnknownSchema::Read)
}

fn without_ours(schema: Schema, history: &str) -> Schema {
    // An underscore is what tables of ours begin with that are none of the application's.
    let mut schema = schema.without_tables(|name| name == history || name.starts_with('_'));
    if let Some(documents) = schema.tables.get_mut("documents") {
        let prepared = collections().iter().map(|one| format!("documents_{}_", one.name())).collect::<Vec<_>>();
        documents.indexes.retain(|name, _| !prepared.iter().any(|start| name.starts_with(start)));
    }
    schema
}
