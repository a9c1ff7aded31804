//! The door to the data: what can be found, listed and written.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};
use tokio::time::Instant;

use crate::{
    connection::{Connections, StoreOptions},
    error::{Error, Result, Unavailable},
    fault,
    id::Id,
    page::{Listing, Page},
    port::clock::Clock,
    query,
    record::{Filter, Insert, Patch, Record},
    relation::{self, Include, Relation, View},
    retry::RetryPolicy,
    source::IdSource,
    sql::{Rows, Sql},
    unit_of_work::{Ending, UnitOfWork, not_found},
};

/// The application's data. Cheap to clone: all clones share the same connections.
///
/// ```no_run
/// # async fn example() -> domain::Result<()> {
/// use domain::{NewTag, Store, StoreOptions, SystemClock, Tag};
///
/// let store = Store::connect(&StoreOptions::new("sqlite://data/app.db"), SystemClock).await?;
/// let tag = store.insert(NewTag { name: "rust".into() }).await?;
/// assert_eq!(store.find::<Tag>(tag.id).await?, tag);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Store {
    connections: Connections,
    clock: Arc<dyn Clock>,
    ids: Arc<IdSource>,
    retry: RetryPolicy,
}

/// What kind of database a store is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// A file beside the process.
    Sqlite,
    /// A server.
    Postgres,
}

/// What the database said when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The version of the engine.
    pub version: String,
    /// How long it took to answer.
    pub latency: Duration,
}

/// The connections of a store at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// How many are open.
    pub open: u32,
    /// How many of those are not in use.
    pub idle: u32,
    /// How many there may be.
    pub max: u32,
}

impl Store {
    /// Connects to the database. The schema must be there already.
    ///
    /// # Errors
    /// [`Error::Unavailable`] within the connect timeout, saying whether it was the network or the credentials.
    pub async fn connect(options: &StoreOptions, clock: impl Clock) -> Result<Self> {
        Ok(Self {
            connections: Connections::open(options).await?,
            clock: Arc::new(clock),
            ids: Arc::new(IdSource::new(options.seed)),
            retry: RetryPolicy::default(),
        })
    }

    /// Another handle to the same data, for what shall come out the same in every run: it takes the time from this clock,
    /// and its ids follow from the seed.
    #[must_use]
    pub fn seeded(&self, seed: u64, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ids: Arc::new(IdSource::new(Some(seed))), ..self.clone() }
    }

    /// Which kind of database it is.
    pub fn database(&self) -> Database {
        match self.connections.backend() {
            DbBackend::Sqlite => Database::Sqlite,
            _ => Database::Postgres,
        }
    }

    /// Finds a record.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn find<R: Record>(&self, id: Id<R>) -> Result<R> {
        self.look_up(id).await?.ok_or_else(|| not_found(id))
    }

    /// Looks a record up that may not be there.
    pub async fn look_up<R: Record>(&self, id: Id<R>) -> Result<Option<R>> {
        self.read(query::look_up(self.reader(), id)).await
    }

    /// A page of the records that pass the filter.
    pub async fn list<F: Filter>(&self, filter: &F, page: &Page) -> Result<Listing<F::Record>> {
        self.read(query::list(self.reader(), filter, page)).await
    }

    /// How many records pass the filter.
    pub async fn count<F: Filter>(&self, filter: &F) -> Result<u64> {
        self.read(query::count(self.reader(), filter)).await
    }

    /// The related records of many records, in one statement. A record without any has no entry.
    pub async fn related<F: Record, T: Record>(
        &self,
        relation: &Relation<F, T>,
        of: &[Id<F>],
    ) -> Result<HashMap<Id<F>, Vec<T>>> {
        let parents = of.iter().map(|id| id.uuid()).collect::<Vec<_>>();
        let mut related = HashMap::<_, Vec<_>>::new();
        for (parent, record) in self.read(relation.pairs(self.reader(), &parents)).await? {
            related.entry(Id::new(parent)).or_default().push(record);
        }
        Ok(related)
    }

    /// Loads what is to be included with the records: one statement for each relation, however many records there are.
    pub async fn with_related<R: Record>(&self, records: Vec<R>, includes: &[Include]) -> Result<Vec<View<R>>> {
        self.read(relation::with_related(self, records, includes)).await
    }

    /// Makes one record, in a unit of work of its own. See [`UnitOfWork::insert`].
    pub async fn insert<N: Insert>(&self, new: N) -> Result<N::Record> {
        self.write(move |work| {
            let new = new.clone();
            async move { work.insert(new).await }
        })
        .await
    }

    /// Changes one record, in a unit of work of its own. See [`UnitOfWork::update`].
    pub async fn update<P: Patch>(&self, id: Id<P::Record>, version: i64, patch: P) -> Result<P::Record> {
        self.write(move |work| {
            let patch = patch.clone();
            async move { work.update(id, version, patch).await }
        })
        .await
    }

    /// Deletes one record, in a unit of work of its own. See [`UnitOfWork::delete`].
    pub async fn delete<R: Record>(&self, id: Id<R>, version: i64) -> Result<()> {
        self.write(move |work| async move { work.delete(id, version).await }).await
    }

    /// Runs a query of your own, outside of any transaction.
    pub async fn query(&self, sql: Sql) -> Result<Rows> {
        self.read(sql.query(self.reader())).await
    }

    /// Does work in one transaction: commits if it returns `Ok`, undoes everything if it returns an error or panics, and
    /// runs it again, from the start, when the database asks for that; so `work` should have no effects of its own.
    ///
    /// Once begun it goes on to its end even if the caller no longer waits for it: a client that hangs up cannot leave a
    /// connection behind with half a transaction.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Unavailable`] when the database cannot do it now; [`Error::UnknownOutcome`] when the
    /// connection was lost during the commit.
    pub async fn write<T, F, Fut>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(UnitOfWork) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let store = self.clone();
        uncancelled(async move {
            let mut attempt = 1;
            loop {
                match store.attempt(&work).await {
                    Err(error) if error.is_retryable() && attempt < store.retry.attempts => {
                        tracing::debug!(attempt, %error, "the unit of work is run again");
                        tokio::time::sleep(store.retry.wait(attempt)).await;
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        })
        .await
    }

    async fn attempt<T, F, Fut>(&self, work: &F) -> Result<T>
    where
        F: Fn(UnitOfWork) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        // Also when the work panics: then a handle that somebody else still holds must not keep the transaction.
        let unit = OpenWork(self.unit_of_work().await?);
        match work(unit.clone()).await {
            Ok(value) => unit.end(Ending::Commit).await.map(|()| value),
            Err(error) => {
                if let Err(rollback) = unit.end(Ending::Rollback).await {
                    tracing::debug!(%rollback, "the rollback failed; the connection is dropped with its transaction");
                }
                Err(error)
            }
        }
    }

    /// Begins a unit of work that is ended by hand. Prefer [`write`](Self::write), which cannot be forgotten and runs
    /// again when it has to.
    pub async fn begin(&self) -> Result<OpenWork> {
        let store = self.clone();
        uncancelled(async move { Ok(OpenWork(store.unit_of_work().await?)) }).await
    }

    async fn unit_of_work(&self) -> Result<UnitOfWork> {
        // SQLite takes the write lock at once: a transaction that reads first and writes then would fail, not wait.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = self
            .connections
            .writer
            .begin_with_options(options)
            .await
            .map_err(|error| why_none(&self.connections.writer, fault::unavailable(error)))?;
        Ok(UnitOfWork::new(transaction, self.clock.now(), Arc::clone(&self.ids)))
    }

    /// Asks the database for its version.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ping(&self) -> Result<Health> {
        let sql = match self.database() {
            Database::Sqlite => "SELECT sqlite_version()",
            Database::Postgres => "SELECT current_setting('server_version')",
        };
        let started = Instant::now();
        let row = self.reader().query_one_raw(Statement::from_string(self.connections.backend(), sql)).await;
        let row = row.map_err(fault::unavailable)?;
        let version = row.map(|row| row.try_get_by_index(0)).transpose().map_err(fault::unavailable)?;
        Ok(Health { version: version.unwrap_or_default(), latency: started.elapsed() })
    }

    /// How many connections there are. On SQLite the readers are meant.
    pub fn pool_status(&self) -> PoolStatus {
        status_of(self.reader())
    }

    /// Whether the database answers.
    pub async fn is_connected(&self) -> bool {
        self.ping().await.is_ok()
    }

    /// Closes all connections, after those in use have been given back. Every call after it fails with
    /// [`Unavailable::Closed`].
    pub async fn close(&self) {
        self.connections.close().await;
    }

    async fn read<T>(&self, reading: impl Future<Output = Result<T>>) -> Result<T> {
        reading.await.map_err(|error| why_none(self.reader(), error))
    }

    pub(crate) fn reader(&self) -> &DatabaseConnection {
        &self.connections.reader
    }
}

/// A unit of work that is ended by hand; dropped, it is rolled back.
pub struct OpenWork(UnitOfWork);

impl OpenWork {
    /// Makes what was written last.
    ///
    /// # Errors
    /// The first error that happened in it, and those of a commit: see [`Store::write`].
    pub async fn commit(self) -> Result<()> {
        uncancelled(async move { self.0.end(Ending::Commit).await }).await
    }

    /// Undoes what was written.
    pub async fn rollback(self) -> Result<()> {
        uncancelled(async move { self.0.end(Ending::Rollback).await }).await
    }
}

impl Drop for OpenWork {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl std::ops::Deref for OpenWork {
    type Target = UnitOfWork;

    fn deref(&self) -> &UnitOfWork {
        &self.0
    }
}

/// Whether a pool that gave no connection waited for one in use, or for one that it could not open.
fn why_none(pool: &DatabaseConnection, error: Error) -> Error {
    let status = status_of(pool);
    match error {
        Error::Unavailable { reason: Unavailable::PoolExhausted, cause } if status.open < status.max => {
            Error::Unavailable { reason: Unavailable::Network, cause }
        }
        error => error,
    }
}

fn status_of(connection: &DatabaseConnection) -> PoolStatus {
    let (open, idle, max) = match connection.get_database_backend() {
        DbBackend::Sqlite => {
            let pool = connection.get_sqlite_connection_pool();
            (pool.size(), pool.num_idle(), pool.options().get_max_connections())
        }
        _ => {
            let pool = connection.get_postgres_connection_pool();
            (pool.size(), pool.num_idle(), pool.options().get_max_connections())
        }
    };
    PoolStatus { open, idle: u32::try_from(idle).unwrap_or(u32::MAX), max }
}

/// Runs to the end in a task of its own, whether or not the caller still waits: a cancelled `BEGIN` would leave the
/// connection in a transaction that nobody knows of, and the next borrower's writes in it.
async fn uncancelled<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(tracing::Instrument::in_current_span(work)).await {
        Ok(result) => result,
        Err(panicked) => Err(Error::internal("a unit of work panicked and was undone", panicked)),
    }
}
