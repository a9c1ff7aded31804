//! The tables that the migrations make, read from a scratch database.

use std::{str::FromStr, sync::Arc};

use migration::{MigrationTrait, Migrator, MigratorTrait};
use sea_orm_migration::{
    DbErr, SchemaManager,
    sea_orm::{DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector, TransactionTrait},
};
use sea_query::TableCreateStatement;
use sqlx::{PgPool, SqlitePool, postgres::PgConnectOptions};

use super::{
    EntityError,
    foreign::{self, Open},
    schema,
};
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

/// The tables of a database that is there, and everything else that it is made of.
pub(super) async fn read_database(url: &str) -> Result<(Vec<TableCreateStatement>, Schema), EntityError> {
    let read = |error: DbErr| EntityError::Discover(error.into());
    match foreign::open(url).await? {
        Open::Postgres(pool) => {
            let found = async {
                let tables = schema::read_postgres(&pool).await?;
                let database = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
                Ok((tables, Schema::read(&database).await.map_err(read)?))
            };
            let found = found.await;
            pool.close().await;
            found
        }
        Open::Sqlite(pool) => {
            let found = async {
                let tables = schema::read_sqlite(&pool).await?;
                let database = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.clone());
                Ok((tables, Schema::read(&database).await.map_err(read)?))
            };
            let found = found.await;
            pool.close().await;
            found
        }
    }
}

/// The tables that the migrations make of an empty SQLite database, and everything else that it is made of.
pub(super) async fn present() -> Result<(Vec<TableCreateStatement>, Schema), EntityError> {
    on_sqlite(async |pool: SqlitePool| {
        let tables = discover_sqlite(pool.clone(), None).await?;
        let database = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool);
        Ok((tables, Schema::read(&database).await.map_err(|error| EntityError::Discover(error.into()))?))
    })
    .await
}

/// What the migrations make of an empty SQLite database.
pub(super) async fn schema(last: Last) -> Result<Schema, EntityError> {
    schema_on(None, last).await
}

/// What the migrations make of an empty database: on the PostgreSQL server of this URL, or else on SQLite.
pub(super) async fn schema_on(url: Option<&str>, last: Last) -> Result<Schema, EntityError> {
    let read = async |database: DatabaseConnection, last: Last| {
        migrate(&database, last).await?;
        Schema::read(&database).await.map_err(|error| EntityError::Discover(error.into()))
    };
    match url.filter(|url| url.starts_with("postgres")) {
        Some(url) => {
            let server = PgConnectOptions::from_str(url).map_err(EntityError::Url)?;
            let work = async move |pool| read(SqlxPostgresConnector::from_sqlx_postgres_pool(pool), last).await;
            on_postgres(server, "public", work).await
        }
        None => on_sqlite(async move |pool| read(SqlxSqliteConnector::from_sqlx_sqlite_pool(pool), last).await).await,
    }
}

/// What a migration does to what those before it made.
pub(super) struct Tried {
    /// The tables afterwards.
    pub(super) tables: Vec<TableCreateStatement>,
    /// The schema before.
    pub(super) before: Schema,
    /// The schema once it was taken back.
    pub(super) back: Schema,
}

/// Takes a migration up and down on an empty SQLite database with all others.
pub(super) async fn try_out(last: Arc<dyn MigrationTrait>) -> Result<Tried, EntityError> {
    on_sqlite(async move |pool| {
        let read = |error: DbErr| EntityError::Discover(error.into());
        let database = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.clone());
        migrate(&database, None).await?;
        let before = Schema::read(&database).await.map_err(read)?;
        in_transaction(&database, async |schema| last.up(schema).await).await?;
        let tables = schema::read_sqlite(&pool).await?;
        in_transaction(&database, async |schema| last.down(schema).await).await?;
        let back = Schema::read(&database).await.map_err(read)?;
        Ok(Tried { tables, before, back })
    })
    .await
}

async fn in_transaction(
    database: &DatabaseConnection,
    work: impl AsyncFnOnce(&SchemaManager<'_>) -> Result<(), DbErr>,
) -> Result<(), EntityError> {
    let done = async {
        let transaction = database.begin().await?;
        work(&SchemaManager::new(&transaction)).await?;
        transaction.commit().await
    };
    done.await.map_err(EntityError::Migrate)
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
