//! Data migrations: rows that are changed in batches, while the table is in use.
//!
//! A batch is the next rows by the key of the table, and a transaction of its own. That it is done is written down in this
//! very transaction, so that every row is changed once and only once, whatever is killed in between; and whoever runs the
//! migration again goes on from there. A runner that [drives](driven) it says how fast, whether it still may, and shows how
//! far it is; without one, as under `sea-orm-cli migrate`, it does the same thing unseen.
//!
//! What is not done: rows that others insert meanwhile with a key that is behind already. Release the program that writes
//! them in their new form first, as with every change of a table that is in use.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm_migration::{
    DbErr, MigrationName, SchemaManager, SchemaManagerConnection,
    sea_orm::{
        ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, QueryResult, SqliteTransactionMode,
        Statement, TransactionOptions, TransactionTrait,
    },
};

use crate::{concurrent::is_contended, statements::bind};

/// The table that says how far each has come, until its migration is in the history.
pub const BACKFILLS: &str = "_backfills";

const CREATE: &str = "CREATE TABLE IF NOT EXISTS _backfills (
    migration text NOT NULL PRIMARY KEY, action text NOT NULL, rows_done bigint NOT NULL, rows_about bigint,
    last_key text, is_done boolean NOT NULL)";
const READ: &str =
    "SELECT rows_done, rows_about, last_key, is_done FROM _backfills WHERE migration = $1 AND action = $2";
const START: &str = "INSERT INTO _backfills (migration, action, rows_done, rows_about, last_key, is_done)
    VALUES ($1, $2, 0, $3, NULL, false)
    ON CONFLICT (migration) DO UPDATE SET action = excluded.action, rows_done = 0, rows_about = excluded.rows_about,
        last_key = NULL, is_done = false";
const ADVANCE: &str = "UPDATE _backfills SET rows_done = $2, last_key = $3, is_done = $4 WHERE migration = $1";
const FORGET: &str = "DELETE FROM _backfills WHERE migration = $1";

/// How many rows a batch has unless somebody says otherwise. What others wait for is one batch, and so many take a
/// millisecond or two: measured by the benchmark `migration`, a thousand made the slowest hundredth of an application's
/// statements three times as long as without a migration, and these, with this pause, a quarter longer.
const ROWS: u32 = 200;
/// How long to pause after a batch, as a multiple of the time that it took, unless somebody says otherwise.
const PAUSE: f64 = 2.0;
/// How often a batch is tried that others keep from what it needs.
const ATTEMPTS: u32 = 10;

tokio::task_local! {
    static DRIVER: Arc<dyn Driver>;
}

/// A change of all rows of a table, in batches.
///
/// ```ignore
/// async fn up(&self, schema: &SchemaManager) -> Result<(), DbErr> {
///     Backfill::of(self, "users").set("slug = lower(name)").only("slug IS NULL").run(schema).await
/// }
///
/// fn use_transaction(&self) -> Option<bool> {
///     Some(false)
/// }
/// ```
///
/// A migration has one of them each way, and best nothing else.
#[must_use = "nothing is changed before it is run"]
pub struct Backfill {
    migration: String,
    action: &'static str,
    table: String,
    key: String,
    rows: u32,
    condition: Option<String>,
    work: Work,
}

enum Work {
    Set(String),
    Sql(String),
    Rust(Box<Change>),
}

type Change = dyn for<'a> Fn(&'a Batch) -> Changing<'a> + Send + Sync;

/// What changes the rows of a batch, under way.
pub type Changing<'a> = Pin<Box<dyn Future<Output = Result<(), DbErr>> + Send + 'a>>;

/// Some rows, by the first and the last of their keys, and the transaction that changes them.
pub struct Batch {
    transaction: DatabaseTransaction,
    from: String,
    to: String,
}

/// How far a backfill has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many rows it has been through, since it first began.
    pub rows: i64,
    /// How many rows the table has, as far as the database can tell at once.
    pub about: Option<i64>,
    /// Whether it was begun before.
    pub is_resumed: bool,
}

/// Who runs backfills, and has a say in it.
#[async_trait::async_trait]
pub trait Driver: Send + Sync {
    /// Told that there is a backfill; there can be one only, of whose progress account is kept.
    fn engage(&self) -> Result<(), DbErr> {
        Ok(())
    }

    /// Begins the transaction of a batch.
    async fn begin(&self, database: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr>;

    /// Asked at the end of every batch, in its transaction; what it refuses is not committed.
    async fn permit(&self, transaction: &DatabaseTransaction) -> Result<(), DbErr>;

    /// Told at the start, and after each batch.
    fn tell(&self, _progress: Progress) {}

    /// How many rows a batch has, if it is not as the migration says.
    fn rows(&self) -> Option<u32> {
        None
    }

    /// How long to pause after a batch, as a multiple of the time that it took.
    fn pause(&self) -> f64;

    /// Whether it takes note that a backfill is done, and forgets then how far it was, in one transaction.
    fn keeps_account(&self) -> bool {
        true
    }

    /// Whether it only wants to see what would be run.
    fn is_recording(&self) -> bool {
        false
    }
}

/// Runs a migration whose backfills have this driver.
pub async fn driven<F: Future>(driver: Arc<dyn Driver>, migration: F) -> F::Output {
    DRIVER.scope(driver, migration).await
}

/// Whether the migration that is running is only to show what it would run.
pub fn is_recording() -> bool {
    DRIVER.try_with(|driver| driver.is_recording()).unwrap_or_default()
}

/// Begins a transaction that, on SQLite, has the right to write from its start, because it could not wait for that later.
pub async fn begin(database: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let sqlite_transaction_mode = Some(SqliteTransactionMode::Immediate);
    database.begin_with_options(TransactionOptions { sqlite_transaction_mode, ..TransactionOptions::default() }).await
}

/// Nobody.
struct Undriven;

#[async_trait::async_trait]
impl Driver for Undriven {
    async fn begin(&self, database: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
        begin(database).await
    }

    async fn permit(&self, _: &DatabaseTransaction) -> Result<(), DbErr> {
        Ok(())
    }

    fn pause(&self) -> f64 {
        PAUSE
    }

    fn keeps_account(&self) -> bool {
        false
    }
}

impl Backfill {
    /// Of the rows of a table, when a migration is applied.
    pub fn of(migration: &(impl MigrationName + ?Sized), table: &str) -> Self {
        Self::new(migration.name(), "up", table)
    }

    /// Of the rows of a table, when a migration is rolled back.
    pub fn back(migration: &(impl MigrationName + ?Sized), table: &str) -> Self {
        Self::new(migration.name(), "down", table)
    }

    pub(crate) fn new(migration: &str, action: &'static str, table: &str) -> Self {
        let work = Work::Set(String::new());
        let (migration, table, key) = (migration.to_owned(), table.to_owned(), "id".to_owned());
        Self { migration, action, table, key, rows: ROWS, condition: None, work }
    }

    /// The column that rows are told apart and ordered by: unique, never null, never changed. `id` unless this is said.
    pub fn key(mut self, column: &str) -> Self {
        column.clone_into(&mut self.key);
        self
    }

    /// How many rows a batch has: 200 unless this, or who runs it, says otherwise.
    pub fn batch(mut self, rows: u32) -> Self {
        self.rows = rows;
        self
    }

    /// Sets columns: `slug = lower(name)`.
    pub fn set(mut self, assignments: &str) -> Self {
        self.work = Work::Set(assignments.to_owned());
        self
    }

    /// Which rows [`set`](Self::set) is for.
    pub fn only(mut self, condition: &str) -> Self {
        self.condition = Some(condition.to_owned());
        self
    }

    /// Runs SQL for each batch, whose rows are those from `$from` to `$to`, both included: `DELETE FROM visits WHERE id
    /// BETWEEN $from AND $to AND at < …`.
    pub fn sql(mut self, statement: &str) -> Self {
        self.work = Work::Sql(statement.to_owned());
        self
    }

    /// Runs Rust for each batch: what it does through [`Batch::transaction`] is done once and only once.
    pub fn each(mut self, change: impl for<'a> Fn(&'a Batch) -> Changing<'a> + Send + Sync + 'static) -> Self {
        self.work = Work::Rust(Box::new(change));
        self
    }

    /// Changes the rows that are not changed yet.
    ///
    /// # Errors
    /// If the migration is in a transaction, of which batches would be a part; if a batch fails, which is undone, and
    /// those before it are not.
    pub async fn run(self, schema: &SchemaManager<'_>) -> Result<(), DbErr> {
        let SchemaManagerConnection::Connection(database) = schema.get_connection() else {
            let says =
                format!("{} changes rows in batches: its `use_transaction` has to be Some(false)", self.migration);
            return Err(DbErr::Migration(says));
        };
        let driver = DRIVER.try_with(Arc::clone).unwrap_or_else(|_| Arc::new(Undriven));
        driver.engage()?;
        if driver.is_recording() {
            let transaction = database.begin().await?;
            let (from, to) = ("$from".to_owned(), "$to".to_owned());
            return self.change(Batch { transaction, from, to }, true).await.map(drop);
        }
        database.execute_unprepared(CREATE).await?;
        self.go(database, &*driver).await
    }

    async fn go(&self, database: &DatabaseConnection, driver: &dyn Driver) -> Result<(), DbErr> {
        let (mut progress, mut last_key) = match self.stands(database).await? {
            Some((progress, _, true)) => {
                driver.tell(progress);
                return self.conclude(database, driver).await;
            }
            Some((progress, last_key, false)) => (progress, last_key),
            None => (self.start(database).await?, None),
        };
        driver.tell(progress);
        let mut attempt = 1;
        loop {
            let start = Instant::now();
            match self.step(database, driver, progress.rows, last_key.as_deref()).await {
                Ok(step) => {
                    attempt = 1;
                    progress.rows = step.rows;
                    driver.tell(progress);
                    if step.is_last {
                        return self.conclude(database, driver).await;
                    }
                    last_key = step.last_key;
                    tokio::time::sleep(start.elapsed().mul_f64(driver.pause().max(0.0))).await;
                }
                // Undone, and nothing of it is written down.
                Err(error) if is_contended(&error) && attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(100 << attempt.min(6))).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How far it came before, if it was begun.
    async fn stands(&self, database: &DatabaseConnection) -> Result<Option<(Progress, Option<String>, bool)>, DbErr> {
        let values = [self.migration.as_str().into(), self.action.into()];
        let statement = Statement::from_sql_and_values(database.get_database_backend(), READ, values);
        let Some(row) = database.query_one_raw(statement).await? else { return Ok(None) };
        let (rows, about) = (row.try_get("", "rows_done")?, row.try_get("", "rows_about")?);
        let progress = Progress { rows, about, is_resumed: true };
        Ok(Some((progress, row.try_get("", "last_key")?, row.try_get("", "is_done")?)))
    }

    async fn start(&self, database: &DatabaseConnection) -> Result<Progress, DbErr> {
        let about = self.about(database).await?;
        let values = [self.migration.as_str().into(), self.action.into(), about.into()];
        let statement = Statement::from_sql_and_values(database.get_database_backend(), START, values);
        database.execute_raw(statement).await?;
        Ok(Progress { rows: 0, about, is_resumed: false })
    }

    /// How many rows the table has: counted if they are few, and else as the database thinks.
    async fn about(&self, database: &DatabaseConnection) -> Result<Option<i64>, DbErr> {
        let table = self.quoted(&self.table);
        let sql = match database.get_database_backend() {
            DbBackend::Sqlite => format!("SELECT count(*) AS about FROM {table}"),
            _ => format!(
                "SELECT CASE WHEN counted < 100000 THEN counted ELSE (SELECT nullif(greatest(reltuples, 0), 0)::bigint
                 FROM pg_class WHERE oid = '{}'::regclass) END AS about
                 FROM (SELECT count(*) AS counted FROM (SELECT FROM {table} LIMIT 100000) AS first) AS few",
                table.replace('\'', "''")
            ),
        };
        let row = database.query_one_raw(Statement::from_string(database.get_database_backend(), sql)).await?;
        row.map_or(Ok(None), |row| row.try_get("", "about"))
    }

    /// Changes the next rows, and writes down that this is done.
    async fn step(
        &self,
        database: &DatabaseConnection,
        driver: &dyn Driver,
        rows: i64,
        last_key: Option<&str>,
    ) -> Result<Step, DbErr> {
        let wanted = driver.rows().unwrap_or(self.rows).max(1);
        let transaction = driver.begin(database).await?;
        let backend = transaction.get_database_backend();
        let keys =
            transaction.query_all_raw(Statement::from_string(backend, self.next(backend, wanted, last_key))).await?;
        let count = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        let key = |row: Option<&QueryResult>| row.map(|row| row.try_get("", "key")).transpose();
        let (from, to): (Option<String>, Option<String>) = (key(keys.first())?, key(keys.last())?);
        let is_last = count < i64::from(wanted);
        let (rows, mut transaction) = (rows.saturating_add(count), transaction);
        if let (Some(from), Some(to)) = (from, to.clone()) {
            transaction = self.change(Batch { transaction, from, to }, false).await?;
        }
        let last_key = to.or_else(|| last_key.map(str::to_owned));
        let values = [self.migration.as_str().into(), rows.into(), last_key.clone().into(), is_last.into()];
        let advanced = transaction.execute_raw(Statement::from_sql_and_values(backend, ADVANCE, values)).await?;
        if advanced.rows_affected() != 1 {
            return Err(DbErr::Migration(format!("somebody else is at the backfill of {}", self.migration)));
        }
        driver.permit(&transaction).await?;
        transaction.commit().await?;
        Ok(Step { rows, last_key, is_last })
    }

    /// The keys of the next rows, each as the database itself writes it.
    fn next(&self, backend: DbBackend, wanted: u32, last_key: Option<&str>) -> String {
        let (table, key) = (self.quoted(&self.table), self.quoted(&self.key));
        let literal = match backend {
            DbBackend::Sqlite => format!("quote({key})"),
            _ => format!("quote_literal({key}::text)"),
        };
        let after = last_key.map(|last_key| format!(" WHERE {key} > {last_key}")).unwrap_or_default();
        format!("SELECT {literal} AS key FROM {table}{after} ORDER BY {table}.{key} LIMIT {wanted}")
    }

    async fn change(&self, batch: Batch, is_recorded: bool) -> Result<DatabaseTransaction, DbErr> {
        let (table, key) = (self.quoted(&self.table), self.quoted(&self.key));
        let statement = match &self.work {
            Work::Set(assignments) => {
                let condition = self.condition.as_ref().map(|only| format!(" AND ({only})")).unwrap_or_default();
                format!("UPDATE {table} SET {assignments} WHERE {key} BETWEEN $from AND $to{condition}")
            }
            Work::Sql(statement) => statement.clone(),
            Work::Rust(change) => {
                change(&batch).await?;
                return Ok(batch.transaction);
            }
        };
        let bound = batch.bind(&statement);
        if bind(&statement, "", "$to") == statement || bind(&statement, "$from", "") == statement {
            let says = format!("{} would change all rows in every batch: name $from and $to", self.migration);
            return Err(DbErr::Migration(says));
        }
        // Whoever reads what was recorded is told that it is one of many.
        let is_said = directive(&bound).is_some();
        let bound = if is_recorded && !is_said { format!("-- batch: {table} by {key}\n{bound}") } else { bound };
        batch.transaction.execute_unprepared(&bound).await?;
        Ok(batch.transaction)
    }

    /// It is done. Without anybody who writes that down together with the history, how far it was is of no more use.
    async fn conclude(&self, database: &DatabaseConnection, driver: &dyn Driver) -> Result<(), DbErr> {
        if driver.keeps_account() {
            return Ok(());
        }
        forget(database, &self.migration).await
    }

    /// A name as it was said, in quotes if it needs them.
    fn quoted(&self, name: &str) -> String {
        let is_plain = |part: &str| part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        let parts = name.split('.').map(|part| match is_plain(part) || part.starts_with('"') {
            true => part.to_owned(),
            false => format!("\"{part}\""),
        });
        parts.collect::<Vec<_>>().join(".")
    }
}

/// A batch that is done.
struct Step {
    rows: i64,
    last_key: Option<String>,
    is_last: bool,
}

/// Forgets how far the backfill of a migration is: it is in the history, or gone from it.
///
/// # Errors
/// If the table cannot be written, or there was never any.
pub async fn forget(connection: &impl ConnectionTrait, migration: &str) -> Result<(), DbErr> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), FORGET, [migration.into()]);
    connection.execute_raw(statement).await.map(|_| ())
}

impl Batch {
    /// The transaction that everything has to be done in.
    pub fn transaction(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// SQL with the first and the last key of the batch for `$from` and `$to`.
    pub fn bind(&self, sql: &str) -> String {
        bind(sql, &self.from, &self.to)
    }
}

impl fmt::Debug for Backfill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { migration, action, table, key, rows, condition: _, work: _ } = self;
        write!(f, "backfill of {table} by {key}, {rows} at once, {action} {migration}")
    }
}

/// What is said before a statement in plain SQL that is run in batches: `-- batch: users by id, 1000`.
pub(crate) fn directive(statement: &str) -> Option<(&str, &str, Option<u32>)> {
    let comments = statement.lines().filter_map(|line| line.trim().strip_prefix("--"));
    let mut said = comments.filter_map(|comment| comment.trim().strip_prefix("batch:"));
    let (table, by) = said.next()?.split_once(" by ")?;
    let (key, rows) = match by.split_once(',') {
        Some((key, rows)) => (key, Some(rows.trim().parse().ok()?)),
        None => (by, None),
    };
    let (table, key) = (table.trim(), key.trim());
    (!table.is_empty() && !key.is_empty()).then_some((table, key, rows))
}
