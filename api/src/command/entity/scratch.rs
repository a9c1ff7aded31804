//! The tables that the migrations make, read from a scratch database.

use std::str::FromStr;

use migration::{Migrator, MigratorTrait};
use sea_orm_migration::sea_orm::{SqlxPostgresConnector, SqlxSqliteConnector};
use sea_query::TableCreateStatement;
use sqlx::{PgPool, SqlitePool, postgres::PgConnectOptions};

use super::{EntityError, schema};
use crate::{
    command::scratch::{ScratchError, on_postgres, on_sqlite},
    schema::Schema,
};

/// The tables that the migrations make: on this PostgreSQL server, or else on SQLite.
pub(super) async fn discover(database_url: Option<&str>) -> Result<Vec<TableCreateStatement>, EntityError> {
    match database_url {
        None => on_sqlite(discover_sqlite).await,
        Some(url) => match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
            "postgres" | "postgresql" => {
                let server = PgConnectOptions::from_str(url).map_err(EntityError::Url)?;
                on_postgres(server, "public", discover_postgres).await
            }
            "sqlite" => on_sqlite(discover_sqlite).await,
            // What stands before the colon may be anything, even a password, unless it is a plain word.
            scheme if url.contains("://") => Err(EntityError::UnknownDatabase { scheme: scheme.to_owned() }),
            _ => Err(EntityError::UnknownDatabase { scheme: "this".to_owned() }),
        },
    }
}

/// What the migrations make of an empty SQLite database.
pub(super) async fn schema() -> Result<Schema, EntityError> {
    on_sqlite(async |pool| {
        let database = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool);
        Migrator::up(&database, None).await.map_err(EntityError::Migrate)?;
        Schema::read(&database).await.map_err(|error| EntityError::Discover(error.into()))
    })
    .await
}

async fn discover_sqlite(pool: SqlitePool) -> Result<Vec<TableCreateStatement>, EntityError> {
    let database = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.clone());
    Migrator::up(&database, None).await.map_err(EntityError::Migrate)?;
    schema::read_sqlite(&pool).await
}

async fn discover_postgres(pool: PgPool) -> Result<Vec<TableCreateStatement>, EntityError> {
    let database = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
    Migrator::up(&database, None).await.map_err(EntityError::Migrate)?;
    schema::read_postgres(&pool).await
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
