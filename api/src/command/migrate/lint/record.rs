//! Records the statements that the migrations of this program really run, and runs them nowhere.
//!
//! They run on a connection that answers as an empty database would; so a migration that asks what is there is recorded as
//! it would run on a new one.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::FutureExt;
use migration::{
    MigrationTrait,
    backfill::{self, Driver},
};
use sea_orm_migration::{
    DbErr, SchemaManager,
    sea_orm::{
        DatabaseConnection, DatabaseConnectionType, DatabaseTransaction, DbBackend, ExecResult, MockDatabase,
        MockDatabaseConnection, MockDatabaseTrait, MockExecResult, QueryResult, Statement, Transaction,
        TransactionTrait, Value,
    },
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
    let heard = Arc::new(Mutex::new(Vec::new()));
    let recorder = Recorder { backend, heard: Arc::clone(&heard) };
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
    let in_transaction = migration.use_transaction().unwrap_or(backend == DbBackend::Postgres);
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

/// Hears statements, and answers as an empty database.
#[derive(Debug)]
struct Recorder {
    backend: DbBackend,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    fn hear(&self, statement: &Statement) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(statement.to_string());
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
        let done = MockExecResult { last_insert_id: 0, rows_affected: 0 };
        MockDatabase::new(self.backend).append_exec_results([done]).execute(0, statement)
    }

    fn query(&mut self, _counter: usize, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let rows: Vec<_> = Self::row(&statement.sql).into_iter().collect();
        // Questions about the schema change nothing, and whoever asks them is no less safe for it.
        if rows.is_empty() && !Self::is_about_schema(&statement.sql) {
            self.hear(&statement);
        }
        MockDatabase::new(self.backend).append_query_results([rows]).query(0, statement)
    }

    fn begin(&mut self) {}

    fn commit(&mut self) {}

    fn rollback(&mut self) {}

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
