//! The door to the data: what can be found, listed and written.

use std::{
    collections::HashMap,
    future::Future,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, EntityName, Statement};
use tokio::time::{Instant, timeout_at};

use crate::{
    audit::Reading,
    changes::{Changes, Hub, Noun},
    coherence::{CachePolicy, CacheStatus, Coherence},
    connection::{Connections, StoreOptions},
    context,
    deadline::{self, Deadline, uncancelled},
    document::DocumentStore,
    error::{Error, Result, Unavailable},
    fault,
    id::Id,
    outbox::{Outbox, Relay, Said},
    page::{Listing, Page},
    pool::{Pool, PoolStatus},
    port::{
        cache::{Cache, Key},
        changes::{Bus, InProcessBus},
        clock::Clock,
        documents::{Documents, DocumentsError},
    },
    query, read,
    record::{Filter, Insert, Patch, Record, UniqueText},
    relation::{self, Include, Relation, View},
    retry::RetryPolicy,
    shelf::StatementCounts,
    source::IdSource,
    sql::{Rows, Sql},
    transaction::{Owner, WriteOptions},
    unit_of_work::{self, Ending, Followers, UnitOfWork, not_found},
    wire::Wire,
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
    transaction_timeout: Duration,
    retry: RetryPolicy,
    counters: Arc<Counters>,
    coherence: Option<Arc<Coherence>>,
    hub: Arc<Hub>,
    documents: Option<DocumentStore>,
    outbox: Arc<Outbox>,
    relay: Option<Arc<Relay>>,
}

/// What a store has counted since it was connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Units of work that were run again.
    pub retried: u64,
    /// Units of work that took too long and were undone.
    pub aborted_late: u64,
    /// Commits of which nobody knows whether they happened.
    pub unknown_outcomes: u64,
}

#[derive(Debug, Default)]
struct Counters {
    retried: AtomicU64,
    aborted_late: AtomicU64,
    unknown_outcomes: AtomicU64,
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
            transaction_timeout: options.transaction_timeout,
            retry: options.retry,
            counters: Arc::default(),
            coherence: None,
            hub: Arc::new(Hub::new(Arc::new(InProcessBus::default()))),
            documents: None,
            outbox: Arc::default(),
            relay: None,
        })
    }

    /// The same data, read through a cache. However many stores and processes read and write it, and by whatever means,
    /// no read begins after an acknowledgement and gives what was there before: see [`Cache`].
    ///
    /// Only tables whose migration says `cached` are; everything else is read from the database.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database cannot be asked which those are. A cache that cannot be reached is none:
    /// everything is then read from the database, until it can.
    pub async fn cached(self, cache: Arc<dyn Cache>, policy: CachePolicy) -> Result<Self> {
        let coherence = Coherence::begin(cache, policy, &self.connections, Arc::clone(&self.hub)).await?;
        Ok(Self { coherence: Some(coherence), ..self })
    }

    /// The same data, with documents that belong to it.
    #[must_use]
    pub fn with_documents(self, documents: Arc<dyn Documents>) -> Self {
        let documents = DocumentStore::new(documents, &self);
        documents.keep_swept();
        Self { documents: Some(documents), ..self }
    }

    pub(crate) fn without_documents(&self) -> Self {
        Self { documents: None, ..self.clone() }
    }

    /// The documents that belong to the data.
    ///
    /// # Errors
    /// [`Error::Documents`] if there are [none](Self::with_documents).
    pub fn documents(&self) -> Result<&DocumentStore> {
        self.documents.as_ref().ok_or(Error::Documents(DocumentsError::Unavailable))
    }

    /// The same data, whose changes are told over this bus. Without one they are told to subscribers in this process.
    /// To be said before [`cached`](Self::cached).
    #[must_use]
    pub fn with_bus(self, bus: Arc<dyn Bus>) -> Self {
        Self { hub: Arc::new(Hub::new(bus)), ..self }
    }

    /// What changes from now on of records of these kinds, whoever changes it and by whatever means: told after the
    /// commit, and of each record in order. A subscriber who should not miss anything subscribes, and then reads.
    ///
    /// ```no_run
    /// # async fn example(store: domain::Store) -> domain::Result<()> {
    /// use domain::{Noun, Notice, User};
    /// use futures_util::StreamExt;
    ///
    /// let mut changes = store.changes(&[Noun::of::<User>()]).await?;
    /// while let Some(notice) = changes.next().await {
    ///     match notice {
    ///         Notice::Changed(user) => println!("{:?} has version {}", user.id_of::<User>(), user.version),
    ///         Notice::Gap => println!("read again what you have"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Internal`] if the store is not [`cached`](Self::cached): it is the cache's relay that learns of changes.
    pub async fn changes(&self, nouns: &[Noun]) -> Result<Changes> {
        match self.coherence {
            Some(_) => Ok(self.hub.subscribe(nouns).await),
            None => Err(Error::internal(
                "changes are learnt of by the cache, and there is none",
                DbErr::Custom(String::new()),
            )),
        }
    }

    /// Whether changes of records of this kind are told: their migration says `cached`.
    pub fn tells(&self, noun: &Noun) -> bool {
        self.coherence.as_ref().is_some_and(|coherence| coherence.tells(noun.table()))
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
        let found = match self.coherence_of::<R>() {
            Some(coherence) => read::look_up(self, coherence, id).await?.map(|wire| wire.record()).transpose()?,
            None => query::look_up(self.reader(), id).await?,
        };
        self.tell(Reading::of(found.iter().map(Record::id))).await?;
        Ok(found)
    }

    /// Looks up the one record with this text, if there is one.
    ///
    /// ```no_run
    /// # async fn example(store: domain::Store) -> domain::Result<()> {
    /// let ada = store.look_up_by(&domain::User::BY_EMAIL, "ada@example.org").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn look_up_by<R: Record>(&self, by: &UniqueText<R>, text: &str) -> Result<Option<R>> {
        let found = match self.coherence_of::<R>() {
            Some(coherence) => {
                read::look_up_by(self, coherence, by, text).await?.map(|wire| wire.record()).transpose()?
            }
            None => query::look_up_by(self.reader(), by, text).await?,
        };
        self.tell(Reading::of(found.iter().map(Record::id))).await?;
        Ok(found)
    }

    /// A page of the records that pass the filter.
    pub async fn list<F: Filter>(&self, filter: &F, page: &Page) -> Result<Listing<F::Record>> {
        let listing = match self.coherence_of::<F::Record>() {
            Some(coherence) => {
                let Listing { records, next } = read::list(self, coherence, filter, page).await?;
                let records = records.iter().map(Wire::record).collect::<Result<_>>()?;
                Listing { records, next }
            }
            None => query::list(self.reader(), filter, page).await?,
        };
        self.tell(Reading::of(listing.records.iter().map(Record::id))).await?;
        Ok(listing)
    }

    /// Finds a record in the form in which it goes over the wire: from the cache it is passed through as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn find_wire<R: Record>(&self, id: Id<R>) -> Result<Wire<R>> {
        let found = match self.coherence_of::<R>() {
            Some(coherence) => read::look_up(self, coherence, id).await?,
            None => query::look_up(self.reader(), id).await?.map(|record| Wire::of(&record)).transpose()?,
        };
        self.tell(Reading::of(found.iter().map(Wire::id))).await?;
        found.ok_or_else(|| not_found(id))
    }

    /// A page of the records that pass the filter, in the form in which they go over the wire.
    pub async fn list_wire<F: Filter>(&self, filter: &F, page: &Page) -> Result<Listing<Wire<F::Record>>> {
        let listing = match self.coherence_of::<F::Record>() {
            Some(coherence) => read::list(self, coherence, filter, page).await?,
            None => {
                let Listing { records, next } = query::list(self.reader(), filter, page).await?;
                Listing { records: records.iter().map(Wire::of).collect::<Result<_>>()?, next }
            }
        };
        self.tell(Reading::of(listing.records.iter().map(Wire::id))).await?;
        Ok(listing)
    }

    /// How many records pass the filter.
    pub async fn count<F: Filter>(&self, filter: &F) -> Result<u64> {
        query::count(self.reader(), filter).await
    }

    /// The related records of many records, in one statement. A record without any has no entry.
    pub async fn related<F: Record, T: Record>(
        &self,
        relation: &Relation<F, T>,
        of: &[Id<F>],
    ) -> Result<HashMap<Id<F>, Vec<T>>> {
        let related = read::related(self, relation, of).await?;
        self.tell(Reading::of(related.values().flatten().map(Record::id))).await?;
        Ok(related)
    }

    /// Reads what is to be included with the records: one statement for each relation, however many records there are.
    pub async fn with_related<R: Record>(&self, records: Vec<Wire<R>>, includes: &[Include]) -> Result<Vec<View<R>>> {
        match includes {
            [] => Ok(records.into_iter().map(View::from).collect()),
            includes => Box::pin(relation::with_related(self, records, includes)).await,
        }
    }

    /// Makes one record, in a unit of work of its own. See [`UnitOfWork::insert`].
    pub async fn insert<N: Insert>(&self, new: N) -> Result<N::Record> {
        let owner = Owner::Verb("insert", N::Record::NOUN);
        self.run(owner, WriteOptions::default(), move |work| {
            let new = new.clone();
            async move { work.insert(new).await }
        })
        .await
    }

    /// Changes one record, in a unit of work of its own. See [`UnitOfWork::update`].
    pub async fn update<P: Patch>(&self, id: Id<P::Record>, version: i64, patch: P) -> Result<P::Record> {
        let owner = Owner::Verb("update", P::Record::NOUN);
        self.run(owner, WriteOptions::default(), move |work| {
            let patch = patch.clone();
            async move { work.update(id, version, patch).await }
        })
        .await
    }

    /// Deletes one record, in a unit of work of its own. See [`UnitOfWork::delete`].
    pub async fn delete<R: Record>(&self, id: Id<R>, version: i64) -> Result<()> {
        let owner = Owner::Verb("delete", R::NOUN);
        self.run(owner, WriteOptions::default(), move |work| async move { work.delete(id, version).await }).await
    }

    /// Runs a query of your own, outside of any transaction. Unlike other reads it is not sent again when the connection
    /// breaks, because it may be more than a read: one that says itself that it changes something is done in a unit of
    /// work, so that it is known who did it. If it reads what is sensitive, that is written down first: on SQLite it would
    /// wait for a unit of work that you [began](Self::begin) by hand, which has a `query` of its own.
    pub async fn query(&self, sql: Sql) -> Result<Rows> {
        if sql.nature().writes {
            let change = move |work: UnitOfWork| {
                let sql = sql.clone();
                async move { work.query(sql).await }
            };
            return self.write(change).await;
        }
        self.tell_of(&sql).await?;
        sql.query(&self.reader().acquire().await?).await
    }

    /// Does work in one transaction: commits if it returns `Ok`, undoes everything if it returns an error or panics, and
    /// runs it again, from the start, when the database asks for that; so `work` should have no effects of its own.
    ///
    /// Once begun it goes on to its end even if the caller no longer waits for it: a client that hangs up cannot leave a
    /// connection behind with half a transaction. It ends in time: what is not ready to commit within the transaction
    /// timeout, or before the request has to be [done](crate::within), is undone.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Unavailable`] when the database cannot do it now; [`Error::UnknownOutcome`] when the
    /// connection was lost during the commit.
    #[track_caller]
    pub fn write<T, F, Fut>(&self, work: F) -> impl Future<Output = Result<T>> + Send + use<T, F, Fut>
    where
        T: Send + 'static,
        F: Fn(UnitOfWork) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        self.write_with(WriteOptions::default(), work)
    }

    /// The same, where something else is wanted than usual: another isolation level, or another time limit.
    #[track_caller]
    pub fn write_with<T, F, Fut>(
        &self,
        options: WriteOptions,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F, Fut>
    where
        T: Send + 'static,
        F: Fn(UnitOfWork) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        self.run(Owner::Caller(Location::caller()), options, work)
    }

    pub(crate) fn run<T, F, Fut>(
        &self,
        owner: Owner,
        options: WriteOptions,
        work: F,
    ) -> impl Future<Output = Result<T>> + Send + use<T, F, Fut>
    where
        T: Send + 'static,
        F: Fn(UnitOfWork) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let store = self.clone();
        uncancelled(async move {
            let mut attempt = 1;
            loop {
                let error = match store.attempt(owner, &options, &work).await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                if matches!(error, Error::UnknownOutcome(_)) {
                    store.counters.unknown_outcomes.fetch_add(1, Ordering::Relaxed);
                }
                if !error.is_retryable() || !store.retry.pause(attempt).await {
                    return Err(error);
                }
                store.counters.retried.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(attempt, %owner, %error, "the unit of work is run again");
                store.report_here("retried", format!("{owner} is run again after attempt {attempt}: {error}"));
                attempt += 1;
            }
        })
    }

    async fn attempt<T, F, Fut>(&self, owner: Owner, options: &WriteOptions, work: &F) -> Result<T>
    where
        F: Fn(UnitOfWork) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let limit = options.timeout.unwrap_or(self.transaction_timeout);
        let until = deadline::at_most(limit);
        // Also when the work panics: then a handle that somebody else still holds must not keep the transaction.
        let unit = OpenWork { unit: self.unit_of_work(options, until).await?, store: self.clone() };
        let result = match timeout_at(until, unit.within(work(unit.clone()))).await {
            Ok(Ok(value)) => unit.end(Ending::Commit).await.map(|()| value),
            Ok(Err(error)) => {
                // It says nothing but that it was ended already.
                unit.unit.end(Ending::Rollback).await.ok();
                unit.tell_undone().await.and(Err(error))
            }
            Err(_) => {
                unit.abandon();
                Err(late())
            }
        };
        if let Err(Error::Unavailable {
            reason: Unavailable::Timeout(Deadline::Transaction | Deadline::Request), ..
        }) = &result
        {
            self.counters.aborted_late.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%owner, ?limit, "a unit of work took too long and was undone");
        }
        result
    }

    /// Begins a unit of work that is ended by hand. Prefer [`write`](Self::write), which cannot be forgotten and runs
    /// again when it has to. It is undone when it is not ended within the transaction timeout.
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = Result<OpenWork>> + Send + use<> {
        self.begin_with(WriteOptions::default())
    }

    /// The same, where something else is wanted than usual.
    #[track_caller]
    pub fn begin_with(&self, options: WriteOptions) -> impl Future<Output = Result<OpenWork>> + Send + use<> {
        let owner = Owner::Caller(Location::caller());
        let store = self.clone();
        uncancelled(async move {
            let until = deadline::at_most(options.timeout.unwrap_or(store.transaction_timeout));
            let unit = store.unit_of_work(&options, until).await?;
            let watched = unit.downgrade();
            let counters = Arc::clone(&store.counters);
            tokio::spawn(async move {
                tokio::time::sleep_until(until).await;
                if watched.upgrade().is_some_and(|unit| unit.abandon()) {
                    counters.aborted_late.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%owner, "a unit of work was not ended in time and was undone");
                }
            });
            Ok(OpenWork { unit, store })
        })
    }

    async fn unit_of_work(&self, options: &WriteOptions, until: Instant) -> Result<UnitOfWork> {
        let context = context::current_context();
        let session = self.connections.writer.acquire().await?;
        let backend = self.connections.backend();
        let begin = options.begin(backend, self.connections.settings.as_deref(), context.as_deref());
        let rows = session.begin(begin, until).await.map_err(fault::unavailable)?;
        let said = context.map(|context| Said::after(backend, &rows, context)).transpose()?.flatten();
        let followers = Followers { coherence: self.coherence.clone(), outbox: Arc::clone(&self.outbox), said };
        Ok(UnitOfWork::new(session, self.clock.now(), Arc::clone(&self.ids), followers))
    }

    /// How often to try, and after which pauses.
    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// What has been counted since the store was connected.
    pub fn counts(&self) -> StoreCounts {
        let Counters { retried, aborted_late, unknown_outcomes } = &*self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreCounts {
            retried: read(retried),
            aborted_late: read(aborted_late),
            unknown_outcomes: read(unknown_outcomes),
        }
    }

    /// The statements that were sent, whoever wrote them: the domain, or somebody by hand.
    pub fn statements(&self) -> StatementCounts {
        let Connections { reader, writer, .. } = &self.connections;
        match self.database() {
            // Of its own, there.
            Database::Sqlite => reader.statements() + writer.statements(),
            Database::Postgres => writer.statements(),
        }
    }

    /// Forgets the copy of a record, and lists of its noun: for what was changed where no trigger tells it, such as by a
    /// restore that switched them off. Whatever is written in any other way is forgotten by itself.
    pub async fn forget<R: Record>(&self, id: Id<R>) {
        if let Some(coherence) = &self.coherence {
            let table = R::Entity::default().table_name();
            coherence.forget(Some(vec![Key::id(table, query::ID, id.uuid()), Key::table(table)])).await;
        }
    }

    /// Forgets every copy of every record, for the same reason.
    pub async fn forget_all(&self) {
        if let Some(coherence) = &self.coherence {
            coherence.forget(None).await;
        }
    }

    /// What the cache does; none if there is none.
    pub fn cache_status(&self) -> Option<CacheStatus> {
        self.coherence.as_ref().map(|coherence| coherence.status())
    }

    pub(crate) fn coherence(&self) -> Option<&Arc<Coherence>> {
        self.coherence.as_ref()
    }

    /// The cache, if it has records of this noun.
    fn coherence_of<R: Record>(&self) -> Option<&Arc<Coherence>> {
        self.coherence.as_ref().filter(|coherence| coherence.caches::<R>(None))
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

    /// How many connections there are, and whether they are lent. On SQLite the readers are meant.
    pub fn pool_status(&self) -> PoolStatus {
        self.reader().status()
    }

    /// Whether the database answers.
    pub async fn is_connected(&self) -> bool {
        self.ping().await.is_ok()
    }

    /// Closes all connections, after those in use have been given back. Every call after it fails with
    /// [`Unavailable::Closed`].
    pub async fn close(&self) {
        self.hub.close();
        if let Some(coherence) = &self.coherence {
            coherence.close().await;
        }
        self.connections.close().await;
        if let Some(documents) = &self.documents {
            documents.port().close().await;
        }
    }

    pub(crate) fn reader(&self) -> &Pool {
        &self.connections.reader
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    pub(crate) fn relay(&self) -> Option<&Arc<Relay>> {
        self.relay.as_ref()
    }

    pub(crate) fn with_relay(self, relay: Arc<Relay>) -> Self {
        Self { relay: Some(relay), ..self }
    }

    pub(crate) fn writer(&self) -> &Pool {
        &self.connections.writer
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn ids(&self) -> &Arc<IdSource> {
        &self.ids
    }
}

fn late() -> Error {
    let is_request = deadline::request().is_some_and(|until| until <= Instant::now());
    let deadline = if is_request { Deadline::Request } else { Deadline::Transaction };
    Error::Unavailable { reason: Unavailable::Timeout(deadline), cause: None }
}

/// A unit of work that is ended by hand; dropped, it is rolled back.
pub struct OpenWork {
    unit: UnitOfWork,
    store: Store,
}

impl OpenWork {
    /// Makes what was written last.
    ///
    /// # Errors
    /// The first error that happened in it, and those of a commit: see [`Store::write`].
    pub async fn commit(self) -> Result<()> {
        uncancelled(async move { self.end(Ending::Commit).await }).await
    }

    /// Undoes what was written.
    pub async fn rollback(self) -> Result<()> {
        uncancelled(async move { self.end(Ending::Rollback).await }).await
    }

    async fn end(&self, ending: Ending) -> Result<()> {
        match (self.unit.end(ending).await, ending) {
            (Ok(()), Ending::Commit) => Ok(()),
            // That it may be there has to be known above all. What was read is told of afterwards.
            (Err(error @ Error::UnknownOutcome(_)), _) => Err(error),
            (result, _) => self.tell_undone().await.and(result),
        }
    }

    /// What was read is told of, although all else is undone, and also when the request is late.
    fn tell_undone(&self) -> BoxFuture<'static, Result<()>> {
        let readings = self.unit.take_readings();
        if readings.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let store = self.store.clone();
        Box::pin(deadline::unlimited(async move { store.tell_alone(readings).await }))
    }
}

impl Drop for OpenWork {
    fn drop(&mut self) {
        self.unit.abandon();
        if self.unit.readings().is_empty() {
            return;
        }
        // Nobody is there who could wait for it.
        let (told, context) = (self.tell_undone(), context::current_context());
        unit_of_work::spawn(async move {
            if let Err(error) = context::inherited(context, told).await {
                tracing::error!(%error, "what was read by a unit of work that was given up could not be taken down");
            }
        });
    }
}

impl std::ops::Deref for OpenWork {
    type Target = UnitOfWork;

    fn deref(&self) -> &UnitOfWork {
        &self.unit
    }
}
