//! The tables that the migrations make, read from a scratch database.

use std::{str::FromStr, sync::Arc};

use migration::{MigrationTrait, Migrator, MigratorTrait};
use sea_orm_migration::{
    SchemaManager,
    sea_orm::{DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector},
};
use sea_query::TableCreateStatement;
use sqlx::{PgPool, SqlitePool, postgres::PgConnectOptions};

use super::{EntityError, schema};
use crate::{
    command::scratch::{ScratchError, on_postgres, on_sqlite},
    schema::Schema,
};

/// A migration that comes after all others, because it was just written.
type Last = Option<Arc<dyn MigrationTrait>>;

/// The tables that the migrations make: on this PostgreSQL server, or else on SQLite.
pub(super) async fn discover(database_url: Option<&str>, last: Last) -> Result<Vec<TableCreateStatement>, EntityError> {
    match database_url {
        None => on_sqlite(|pool| discover_sqlite(pool, last)).await,
        Some(url) => match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
            "postgres" | "postgresql" => {
                let server = PgConnectOptions::from_str(url).map_err(EntityError::Url)?;
                on_postgres(server, "public", |pool| discover_postgres(pool, last)).await
            }
            "sqlite" => on_sqlite(|pool| discover_sqlite(pool, last)).await,
            // What stands before the colon may be anything, even a password, unless it is a plain word.
            scheme if url.contains("://") => Err(EntityError::UnknownDatabase { scheme: scheme.to_owned() }),
            _ => Err(EntityError::UnknownDatabase { scheme: "this".to_owned() }),
        },
    }
}

/// What the migrations make of an empty SQLite database.
pub(super) async fn schema(last: Last) -> Result<Schema, EntityError> {
    on_sqlite(async move |pool| {
        let database = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool);
        migrate(&database, last).await?;
        Schema::read(&database).await.map_err(|error| EntityError::Discover(error.into()))
    })
    .await
}

async fn discover_sqlite(pool: SqlitePool, last: Last) -> Result<Vec<TableCreateStatement>, EntityError> {
    let database = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.clone());
    migrate(&database, last).await?;
    schema::read_sqlite(&pool).await
}

async fn discover_postgres(pool: PgPool, last: Last) -> Result<Vec<TableCreateStatement>, EntityError> {
    let database = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
    migrate(&database, last).await?;
    schema::read_postgres(&pool).await
}

async fn migrate(database: &DatabaseConnection, last: Last) -> Result<(), EntityError> {
    Migrator::up(database, None).await.map_err(EntityError::Migrate)?;
    match last {
        Some(last) => last.up(&SchemaManager::new(database)).await.map_err(EntityError::Migrate),
        None => Ok(()),
    }
}

impl From<ScratchError> for EntityError {
    fn from(error: ScratchError) -> Self {
        match error {
            ScratchError::Connect(source) => Self::Connect(source),
            ScratchError::Create(source) => Self::Create(source),
            ScratchError::Drop { name, source } => Self::Drop { name, source },
            ScratchError::Failed(failure) => Self::Discover(failure.into()),
            ScratchError::Interrupted => Self::Interrupted,
        }
    }
}
