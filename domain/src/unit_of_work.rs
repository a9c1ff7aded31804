//! Writes that commit together, and what follows from the commit.

mod links;
mod records;

use std::{
    future::Future,
    sync::{
        Arc, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use sea_orm::{ConnectionTrait, DbBackend, sqlx::SqlStr};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    audit::Reading,
    coherence::Coherence,
    error::{Error, Result, Unavailable},
    fault,
    id::Id,
    outbox::{self, Outbox, Said},
    page::{Listing, Page},
    query,
    record::{Filter, Record, Stamp, UniqueText},
    relation::Relation,
    session::Session,
    source::IdSource,
    sql::{Rows, Sql},
    value::Timestamp,
};

/// A transaction that business code works in: everything it writes is there after the commit, or nothing is.
///
/// Reads here see the transaction's own writes and never a cache. After a statement has failed nothing more can be done
/// and the commit fails with that first error, on every database alike; only a [savepoint](Self::savepoint) undoes a
/// failure. `Clone` is cheap and gives another handle to the same transaction.
#[derive(Clone)]
pub struct UnitOfWork {
    shared: Arc<Shared>,
    /// How many savepoints this handle is inside of.
    depth: u32,
}

struct Shared {
    /// None once it was committed or rolled back.
    session: Mutex<Option<Session>>,
    /// How many savepoints are open.
    depth: AtomicU32,
    now: Timestamp,
    ids: Arc<IdSource>,
    followers: Followers,
    /// What was read of what is sensitive.
    readings: std::sync::Mutex<Vec<Reading>>,
}

tokio::task_local! {
    static PRESENT: WeakWork;
}

/// What follows from a commit.
pub(crate) struct Followers {
    /// Who has to know what was changed, before it is acknowledged.
    pub(crate) coherence: Option<Arc<Coherence>>,
    /// Who has to know that there is something to deliver.
    pub(crate) outbox: Arc<Outbox>,
    /// What is to be said of it at the end.
    pub(crate) said: Option<Said>,
}

/// How a unit of work ended that did not fail.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    Commit,
    Rollback,
}

impl UnitOfWork {
    /// Work on a connection that is in a transaction.
    pub(crate) fn new(session: Session, now: Timestamp, ids: Arc<IdSource>, followers: Followers) -> Self {
        let (session, depth) = (Mutex::new(Some(session)), AtomicU32::new(0));
        let shared = Shared { session, depth, now, ids, followers, readings: std::sync::Mutex::default() };
        Self { shared: Arc::new(shared), depth: 0 }
    }

    /// The instant at which the unit of work began: everything in it happens at that time.
    pub fn now(&self) -> Timestamp {
        self.shared.now
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
        let found = self.run(async |session| query::look_up(session, id).await).await?;
        self.tell(Reading::of(found.iter().map(Record::id))).await?;
        Ok(found)
    }

    /// Looks up the one record with this text, if there is one.
    pub async fn look_up_by<R: Record>(&self, by: &UniqueText<R>, text: &str) -> Result<Option<R>> {
        let found = self.run(async |session| query::look_up_by(session, by, text).await).await?;
        self.tell(Reading::of(found.iter().map(Record::id))).await?;
        Ok(found)
    }

    /// Finds a record and keeps others from changing it until the unit of work ends. Lock several in the order of their
    /// ids, so that no two units of work wait for each other.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn lock<R: Record>(&self, id: Id<R>) -> Result<R> {
        let found = self.run(async |session| query::lock(session, id).await).await?;
        self.tell(Reading::of(found.iter().map(Record::id))).await?;
        found.ok_or_else(|| not_found(id))
    }

    /// A page of the records that pass the filter.
    pub async fn list<F: Filter>(&self, filter: &F, page: &Page) -> Result<Listing<F::Record>> {
        let listing = self.run(async |session| query::list(session, filter, page).await).await?;
        self.tell(Reading::of(listing.records.iter().map(Record::id))).await?;
        Ok(listing)
    }

    /// How many records pass the filter.
    pub async fn count<F: Filter>(&self, filter: &F) -> Result<u64> {
        self.run(async |session| query::count(session, filter).await).await
    }

    /// The related records of one record, in order.
    pub async fn related<F: Record, T: Record>(&self, relation: &Relation<F, T>, of: Id<F>) -> Result<Vec<T>> {
        let pairs = self.run(async |session| relation.pairs(session, &[of.uuid()]).await).await?;
        self.tell(Reading::of(pairs.iter().map(|(_, record)| record.id()))).await?;
        Ok(pairs.into_iter().map(|(_, record)| record).collect())
    }

    /// Runs a statement of your own; how many rows it changed. It takes part in the transaction like any other.
    pub async fn execute(&self, sql: Sql) -> Result<u64> {
        self.tell_of(&sql).await?;
        self.run(async |session| sql.execute(session).await).await
    }

    /// Runs a query of your own.
    pub async fn query(&self, sql: Sql) -> Result<Rows> {
        self.tell_of(&sql).await?;
        self.run(async |session| sql.query(session).await).await
    }

    /// Does a part of the work that can be undone alone: if it fails, what it wrote is gone, and the unit of work goes
    /// on as if it had never begun. May be nested. Until it ends the transaction belongs to the handle that `part` gets.
    ///
    /// # Errors
    /// Those of `part`.
    pub async fn savepoint<T, F, Fut>(&self, part: F) -> Result<T>
    where
        F: FnOnce(UnitOfWork) -> Fut,
        Fut: Future<Output = Result<T>>,
    {
        let inner = Self { shared: Arc::clone(&self.shared), depth: self.depth + 1 };
        let (name, read_before) = (inner.depth, self.readings().len());
        self.run(async |session| {
            // Raised before the statement is sent: should this future be dropped now, every handle fails from here on.
            self.shared.depth.store(inner.depth, Ordering::SeqCst);
            command(session, &format!("SAVEPOINT savepoint_{name}")).await
        })
        .await?;
        let result = part(inner.clone()).await;
        let open = inner.enter().await?;
        let session = open.as_ref().ok_or_else(closed)?;
        let result = match (result, session.failure()) {
            (Ok(value), None) => Ok(value),
            (Err(error), _) | (Ok(_), Some(error)) => Err(error),
        };
        match &result {
            Ok(_) => command(session, &format!("RELEASE SAVEPOINT savepoint_{name}")).await?,
            Err(error) => {
                let undo = format!("ROLLBACK TO SAVEPOINT savepoint_{name}; RELEASE SAVEPOINT savepoint_{name}");
                session.set_failure(None);
                if let Err(not_undone) = command(session, &undo).await {
                    session.set_failure(Some(error.clone()));
                    return Err(not_undone);
                }
            }
        }
        self.shared.depth.store(self.depth, Ordering::SeqCst);
        drop(open);
        if result.is_err() {
            // That it was read is not undone.
            let read = self.readings().get(read_before..).unwrap_or_default().to_vec();
            self.take_down(&read).await?;
        }
        result
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.shared.followers.outbox
    }

    /// What was read of what is sensitive, for whoever tells of it when this is undone.
    pub(crate) fn take_readings(&self) -> Vec<Reading> {
        std::mem::take(&mut *self.readings())
    }

    /// What was read of what is sensitive, and told of in the transaction.
    pub(crate) fn readings(&self) -> std::sync::MutexGuard<'_, Vec<Reading>> {
        self.shared.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { id: self.shared.ids.next(self.shared.now), now: self.shared.now }
    }

    /// Runs a statement, or a few that belong together. If one fails, that is remembered, whatever is made of the error:
    /// nothing more can be done from then on.
    pub(crate) async fn run<T>(&self, statement: impl AsyncFnOnce(&Session) -> Result<T>) -> Result<T> {
        let open = self.enter().await?;
        let session = open.as_ref().ok_or_else(closed)?;
        if let Some(failure) = session.failure() {
            return Err(failure);
        }
        let result = statement(session).await;
        if let (Err(error), Some(_)) = (&result, session.failure()) {
            // What the domain says of it names the field, which the engine may not.
            session.set_failure(Some(error.clone()));
        }
        result
    }

    /// Ends the transaction. A unit of work in which something failed cannot commit.
    pub(crate) async fn end(&self, ending: Ending) -> Result<()> {
        let Some(session) = self.shared.session.lock().await.take() else { return Err(closed()) };
        let failure = match ending {
            Ending::Commit if self.shared.depth.load(Ordering::SeqCst) > 0 => Some(savepoint_open()),
            Ending::Commit => session.failure(),
            Ending::Rollback => None,
        };
        match (ending, failure) {
            (Ending::Commit, None) => {
                self.commit_and_tell(session).await?;
                drop(self.take_readings());
                Ok(())
            }
            (_, failure) => {
                undo(session).await;
                failure.map_or(Ok(()), Err)
            }
        }
    }

    /// Commits, and lets the cache know of it before anybody else does. Nobody waits for the documents.
    async fn commit_and_tell(&self, session: Session) -> Result<()> {
        let Followers { coherence, outbox, said } = &self.shared.followers;
        let commit = coherence.as_ref().map_or(SqlStr::from_static("COMMIT"), |coherence| coherence.commit());
        let rows = session.commit(outbox::commit(said.as_ref(), commit)).await?;
        drop(session);
        outbox.wake.notify_one();
        if let Some(coherence) = coherence {
            coherence.committed(&rows).await;
        }
        Ok(())
    }

    /// Rolls back what nobody has ended, whoever else holds a handle; one that was ended stays as it is. Whether it was
    /// still open.
    pub(crate) fn abandon(&self) -> bool {
        match self.shared.session.try_lock() {
            Ok(mut session) => session.take().is_some_and(|session| {
                spawn(undo(session));
                true
            }),
            // A statement is under way: after it.
            Err(_) => {
                let shared = Arc::clone(&self.shared);
                spawn(async move { drop(shared.session.lock().await.take()) });
                true
            }
        }
    }

    /// Does what belongs to it, so that it is [there](Self::present).
    pub(crate) fn within<T>(&self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        PRESENT.scope(self.downgrade(), work)
    }

    /// The one that this is done within, if it is one of the store with this outbox; by the handle that its transaction
    /// belongs to.
    pub(crate) fn present(outbox: &Arc<Outbox>) -> Option<Self> {
        let Self { shared, .. } = PRESENT.try_with(WeakWork::upgrade).ok().flatten()?;
        let depth = shared.depth.load(Ordering::SeqCst);
        Arc::ptr_eq(&shared.followers.outbox, outbox).then_some(Self { shared, depth })
    }

    /// To abandon it later, if it is still there then.
    pub(crate) fn downgrade(&self) -> WeakWork {
        WeakWork(Arc::downgrade(&self.shared))
    }

    async fn enter(&self) -> Result<MutexGuard<'_, Option<Session>>> {
        let session = self.shared.session.lock().await;
        if self.shared.depth.load(Ordering::SeqCst) == self.depth { Ok(session) } else { Err(savepoint_open()) }
    }
}

/// A unit of work that is kept alive by others.
pub(crate) struct WeakWork(Weak<Shared>);

impl WeakWork {
    pub(crate) fn upgrade(&self) -> Option<UnitOfWork> {
        self.0.upgrade().map(|shared| UnitOfWork { shared, depth: 0 })
    }
}

/// Rolls back; the connection goes back after that.
async fn undo(session: Session) {
    if let Err(error) = session.rollback().await {
        tracing::debug!(%error, "the rollback failed; the connection is closed, and that undoes it");
    }
}

/// Runs a task that nobody waits for. Without a runtime the future is dropped, and what it holds with it.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(task);
    }
}

/// How many parameters one statement may have: SQLite's default SQLITE_LIMIT_VARIABLE_NUMBER, and the 16 bits of
/// PostgreSQL's protocol.
fn parameter_limit(backend: DbBackend) -> usize {
    if backend == DbBackend::Sqlite { 32_766 } else { 65_535 }
}

async fn command(session: &Session, sql: &str) -> Result<()> {
    session.execute_unprepared(sql).await.map(drop).map_err(fault::unavailable)
}

pub(crate) fn not_found<R: Record>(id: Id<R>) -> Error {
    Error::NotFound { noun: R::NOUN, id: id.to_string() }
}

fn closed() -> Error {
    Error::Unavailable { reason: Unavailable::Closed, cause: None }
}

fn savepoint_open() -> Error {
    Error::internal(
        "a savepoint is open: use the handle that it gave",
        sea_orm::DbErr::Custom("two parts of one unit of work at once".to_owned()),
    )
}
