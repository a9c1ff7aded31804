//! Records the statements that the migrations of this program really run, without the database that they are for.
//!
//! [`record`] runs them nowhere: they have a connection that answers as an empty database would, so a migration that asks
//! what is there is recorded as it would run on a new one. A [`Scratch`] runs them in a SQLite database in memory, one
//! after the other, so that what is asked is answered as it will be.

use std::{
    collections::BTreeMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::FutureExt;
use migration::{
    MigrationTrait,
    backfill::{self, Driver},
    is_in_transaction,
};
use sea_orm_migration::{
    DbErr, SchemaManager,
    sea_orm::{
        DatabaseConnection, DatabaseConnectionType, DatabaseTransaction, DbBackend, ExecResult, MockDatabase,
        MockDatabaseConnection, MockDatabaseTrait, MockExecResult, QueryResult, RuntimeErr, Statement, Transaction,
        TransactionTrait, Value,
    },
};
use sea_query_sqlx::SqlxValues;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, query_with, raw_sql,
    sqlite::{SqliteConnectOptions, SqliteQueryResult, SqliteRow},
};

use crate::command::migrate::Direction;

/// What a migration ran, one way, on one kind of database.
#[derive(Debug)]
pub(crate) struct Recording {
    /// The statements, each as it was sent.
    pub(crate) statements: Vec<String>,
    /// Whether the runner wraps them in a transaction.
    pub(crate) in_transaction: bool,
    /// Why it did not come to its end.
    pub(crate) failure: Option<String>,
    /// That it says itself that there is no such way.
    pub(crate) one_way: Option<OneWay>,
}

/// That a migration cannot be rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OneWay {
    /// Why not.
    pub(crate) reason: String,
    /// Whether it is meant to be so; its way back was never written otherwise.
    pub(crate) is_declared: bool,
}

impl OneWay {
    /// A migration has nothing else to say by such an error of its own.
    fn read(error: &DbErr) -> Option<Self> {
        if let Some(reason) = migration::why_irreversible(error) {
            return Some(Self { reason: reason.to_owned(), is_declared: true });
        }
        let DbErr::Migration(reason) = error else { return None };
        Some(Self { reason: reason.clone(), is_declared: false })
    }
}

/// Runs a migration one way, to see its statements.
pub(crate) async fn record(migration: &dyn MigrationTrait, direction: Direction, backend: DbBackend) -> Recording {
    record_with(migration, direction, backend, Answers::Empty).await
}

/// A SQLite database in memory, as it is after the migrations that were recorded in it.
#[derive(Clone)]
pub(crate) struct Scratch(Arc<Mutex<SqliteConnection>>);

impl Scratch {
    /// An empty one.
    pub(crate) async fn open() -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
        Ok(Self(Arc::new(Mutex::new(SqliteConnection::connect_with(&options).await?))))
    }

    /// Runs a migration one way in it.
    pub(crate) async fn record(&self, migration: &dyn MigrationTrait, direction: Direction) -> Recording {
        record_with(migration, direction, DbBackend::Sqlite, Answers::Scratch(self.clone())).await
    }

    fn execute(&self, statement: Statement) -> Result<SqliteQueryResult, sqlx::Error> {
        self.with(async |connection| match statement.values {
            Some(values) => query_with(AssertSqlSafe(statement.sql), SqlxValues(values)).execute(connection).await,
            None => raw_sql(AssertSqlSafe(statement.sql)).execute(connection).await,
        })
    }

    fn query(&self, statement: Statement) -> Result<Vec<SqliteRow>, sqlx::Error> {
        self.with(async |connection| match statement.values {
            Some(values) => query_with(AssertSqlSafe(statement.sql), SqlxValues(values)).fetch_all(connection).await,
            None => raw_sql(AssertSqlSafe(statement.sql)).fetch_all(connection).await,
        })
    }

    /// Who asks cannot wait, and need not: it is all in memory.
    fn with<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        futures_executor::block_on(work(&mut connection))
    }
}

async fn record_with(
    migration: &dyn MigrationTrait,
    direction: Direction,
    backend: DbBackend,
    answers: Answers,
) -> Recording {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let recorder = Recorder { backend, answers, heard: Arc::clone(&heard) };
    let connection = MockDatabaseConnection::new(recorder);
    let connection = DatabaseConnection::from(DatabaseConnectionType::MockDatabaseConnection(Arc::new(connection)));
    let schema = SchemaManager::new(&connection);
    let run = async {
        match direction {
            Direction::Up => migration.up(&schema).await,
            Direction::Down => migration.down(&schema).await,
        }
    };
    // What sea-query cannot say for SQLite, it does not refuse: it panics.
    let run = backfill::driven(Arc::new(Watch), run);
    let (failure, one_way) = match AssertUnwindSafe(run).catch_unwind().await {
        Ok(Ok(())) => (None, None),
        Ok(Err(error)) => (Some(error.to_string()), OneWay::read(&error).filter(|_| direction == Direction::Down)),
        Err(panic) => (Some(said(&*panic)), None),
    };
    let statements = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
    let in_transaction = is_in_transaction(migration, backend);
    Recording { statements, in_transaction, failure, one_way }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Lets a backfill show one of its batches.
struct Watch;

#[async_trait::async_trait]
impl Driver for Watch {
    async fn begin(&self, database: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
        database.begin().await
    }

    async fn permit(&self, _: &DatabaseTransaction) -> Result<(), DbErr> {
        Ok(())
    }

    fn pause(&self) -> f64 {
        0.0
    }

    fn is_recording(&self) -> bool {
        true
    }
}

/// Hears statements, and has them answered.
struct Recorder {
    backend: DbBackend,
    answers: Answers,
    heard: Arc<Mutex<Vec<String>>>,
}

enum Answers {
    /// As an empty database would.
    Empty,
    /// As this one does.
    Scratch(Scratch),
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("backend", &self.backend).finish_non_exhaustive()
    }
}

impl Recorder {
    fn hear(&self, statement: &Statement) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(statement.to_string());
    }

    /// Follows the transactions of a migration, which may be in each other.
    fn transact(&self, sql: &'static str) {
        let Answers::Scratch(scratch) = &self.answers else { return };
        if let Err(error) = scratch.execute(Statement::from_string(self.backend, sql)) {
            tracing::debug!(%error, sql, "a scratch database does not follow");
        }
    }

    /// The one row that questions about the schema are answered with.
    fn row(sql: &str) -> Option<BTreeMap<&'static str, Value>> {
        if sql.contains("current_schema") {
            return Some(BTreeMap::from([("current_schema", Value::from("public"))]));
        }
        let asked = ["has_table", "has_column", "has_index"].into_iter().find(|asked| sql.contains(asked))?;
        Some(BTreeMap::from([(asked, Value::from(false))]))
    }

    /// Whether it reads what the database tells of itself, and nothing else.
    fn is_about_schema(sql: &str) -> bool {
        let catalogs = ["FROM pg_proc ", "FROM pg_index ", "FROM sqlite_schema ", "FROM pragma_"];
        sql.starts_with("SELECT ") && catalogs.iter().any(|catalog| sql.contains(catalog))
    }
}

impl MockDatabaseTrait for Recorder {
    fn execute(&mut self, _counter: usize, statement: Statement) -> Result<ExecResult, DbErr> {
        self.hear(&statement);
        if let Answers::Scratch(scratch) = &self.answers {
            return scratch
                .execute(statement)
                .map(Into::into)
                .map_err(|error| DbErr::Exec(RuntimeErr::SqlxError(error.into())));
        }
        let done = MockExecResult { last_insert_id: 0, rows_affected: 0 };
        MockDatabase::new(self.backend).append_exec_results([done]).execute(0, statement)
    }

    fn query(&mut self, _counter: usize, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        if let Answers::Scratch(scratch) = &self.answers {
            if !Self::is_about_schema(&statement.sql) {
                self.hear(&statement);
            }
            let rows = scratch.query(statement).map_err(|error| DbErr::Query(RuntimeErr::SqlxError(error.into())))?;
            return Ok(rows.into_iter().map(Into::into).collect());
        }
        let rows: Vec<_> = Self::row(&statement.sql).into_iter().collect();
        // Questions about the schema change nothing, and whoever asks them is no less safe for it.
        if rows.is_empty() && !Self::is_about_schema(&statement.sql) {
            self.hear(&statement);
        }
        MockDatabase::new(self.backend).append_query_results([rows]).query(0, statement)
    }

    fn begin(&mut self) {
        self.transact("SAVEPOINT migration");
    }

    fn commit(&mut self) {
        self.transact("RELEASE migration");
    }

    fn rollback(&mut self) {
        self.transact("ROLLBACK TO migration; RELEASE migration");
    }

    fn drain_transaction_log(&mut self) -> Vec<Transaction> {
        Vec::new()
    }

    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    fn ping(&self) -> Result<(), DbErr> {
        Ok(())
    }
}
