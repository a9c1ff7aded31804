//! Writes that commit together, and what follows from the commit.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use sea_orm::{
    ActiveModelTrait, ActiveValue, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, FromQueryResult,
    IdenStatic, IntoActiveModel, Iterable, Value,
    sea_query::{Alias, Expr, ExprTrait, OnConflict, Query},
};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::{
    error::{Error, FieldError, Result, Unavailable},
    fault::{self, Constraint},
    id::Id,
    page::{Listing, Page},
    query,
    record::{ChangeSet, Column, FIRST_VERSION, Filter, Insert, Patch, Record, Row, Stamp, column},
    relation::{ManyToMany, Relation},
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
    state: Mutex<State>,
    /// How many savepoints are open.
    depth: AtomicU32,
    now: Timestamp,
    ids: Arc<IdSource>,
}

struct State {
    /// None once it was committed or rolled back.
    transaction: Option<DatabaseTransaction>,
    /// The first error that no savepoint has undone.
    failure: Option<Error>,
}

/// How a unit of work ended that did not fail.
pub(crate) enum Ending {
    Commit,
    Rollback,
}

impl UnitOfWork {
    pub(crate) fn new(transaction: DatabaseTransaction, now: Timestamp, ids: Arc<IdSource>) -> Self {
        let state = Mutex::new(State { transaction: Some(transaction), failure: None });
        Self { shared: Arc::new(Shared { state, depth: AtomicU32::new(0), now, ids }), depth: 0 }
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
        let mut open = self.open().await?;
        let result = query::look_up(open.transaction()?, id).await;
        open.note(result)
    }

    /// Finds a record and keeps others from changing it until the unit of work ends. Lock several in the order of their
    /// ids, so that no two units of work wait for each other.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn lock<R: Record>(&self, id: Id<R>) -> Result<R> {
        let mut open = self.open().await?;
        let result = query::lock(open.transaction()?, id).await;
        open.note(result)?.ok_or_else(|| not_found(id))
    }

    /// A page of the records that pass the filter.
    pub async fn list<F: Filter>(&self, filter: &F, page: &Page) -> Result<Listing<F::Record>> {
        let mut open = self.open().await?;
        let result = query::list(open.transaction()?, filter, page).await;
        open.note(result)
    }

    /// How many records pass the filter.
    pub async fn count<F: Filter>(&self, filter: &F) -> Result<u64> {
        let mut open = self.open().await?;
        let result = query::count(open.transaction()?, filter).await;
        open.note(result)
    }

    /// The related records of one record, in order.
    pub async fn related<F: Record, T: Record>(&self, relation: &Relation<F, T>, of: Id<F>) -> Result<Vec<T>> {
        let mut open = self.open().await?;
        let result = relation.pairs(open.transaction()?, &[of.uuid()]).await;
        Ok(open.note(result)?.into_iter().map(|(_, record)| record).collect())
    }

    /// Makes a record.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the input breaks a rule or refers to what is not there, [`Error::Conflict`] if another
    /// record has what must be unique; [`Error::Refused`] if a business rule forbids it.
    pub async fn insert<N: Insert>(&self, new: N) -> Result<N::Record> {
        new.validate()?;
        new.before(self).await?;
        let row = new.clone().into_row(self.stamp());
        self.insert_row::<<N::Record as crate::record::Stored>::Entity>(row.clone().into_active_model()).await?;
        let record = <N::Record as crate::record::Stored>::from_row(row)?;
        new.after(&record, self).await?;
        Ok(record)
    }

    /// Makes many records, in few statements: the same as [`insert`](Self::insert) for each, in this order, but that the
    /// rules of all are asked before the first row is written.
    ///
    /// # Errors
    /// Those of [`insert`](Self::insert); the pointers of invalid input lead through the index. Nothing says which
    /// record it was that broke a constraint of the database.
    pub async fn insert_all<N: Insert>(&self, new: Vec<N>) -> Result<Vec<N::Record>> {
        let at = |index: usize| move |error: Error| error.within(&index.to_string());
        for (index, new) in new.iter().enumerate() {
            new.validate().map_err(Error::from).map_err(at(index))?;
        }
        if N::ONE_BY_ONE {
            let mut records = Vec::with_capacity(new.len());
            for (index, new) in new.into_iter().enumerate() {
                records.push(self.insert(new).await.map_err(at(index))?);
            }
            return Ok(records);
        }
        for (index, new) in new.iter().enumerate() {
            new.before(self).await.map_err(at(index))?;
        }
        let rows = new.iter().map(|new| new.clone().into_row(self.stamp())).collect::<Vec<_>>();
        let changes = rows.iter().map(|row| row.clone().into_active_model()).collect::<Vec<_>>();
        self.insert_rows::<<N::Record as crate::record::Stored>::Entity>(&changes).await?;
        let read = <N::Record as crate::record::Stored>::from_row;
        let records = rows.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        N::after_all(&new, &records, self).await?;
        Ok(records)
    }

    /// Changes some fields of a record, if it still has the version that was seen.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::VersionConflict`], and those of [`insert`](Self::insert).
    pub async fn update<P: Patch>(&self, id: Id<P::Record>, version: i64, patch: P) -> Result<P::Record> {
        patch.validate()?;
        patch.before(id, self).await?;
        let mut changes = patch.into_changes();
        set::<P::Record>(&mut changes, "version", version.saturating_add(1).into());
        set::<P::Record>(&mut changes, "updated_at", chrono::DateTime::<chrono::FixedOffset>::from(self.now()).into());
        storable::<<P::Record as crate::record::Stored>::Entity>(&changes)?;

        let table = <P::Record as crate::record::Stored>::Entity::default();
        let mut update = Query::update();
        update.table(table).and_where(Expr::col(Alias::new(query::ID)).eq(id.uuid()));
        update.and_where(Expr::col(Alias::new("version")).eq(version));
        for column in Column::<P::Record>::iter() {
            if let ActiveValue::Set(value) = changes.get(column) {
                update.value(column, value);
            }
        }
        update.returning(Query::returning().columns(Column::<P::Record>::iter()));

        let mut open = self.open().await?;
        let updated = open.transaction()?.query_one(&update).await;
        let row = match updated.and_then(|row| row.map(|row| Row::<P::Record>::from_query_result(&row, "")).transpose())
        {
            Ok(row) => row,
            Err(error) => {
                let error = open.explain::<<P::Record as crate::record::Stored>::Entity>(error, &[changes]).await;
                return open.note(Err(error));
            }
        };
        drop(open);
        match row {
            Some(row) => <P::Record as crate::record::Stored>::from_row(row),
            None => Err(self.why_unchanged(id, version).await?),
        }
    }

    /// Deletes a record, if it still has the version that was seen, and settles what refers to it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::VersionConflict`], or [`Error::InUse`] with the number of records that forbid it.
    pub async fn delete<R: Record>(&self, id: Id<R>, version: i64) -> Result<()> {
        let mut open = self.open().await?;
        let found = query::lock::<R, _>(open.transaction()?, id).await;
        let found = open.note(found)?.ok_or_else(|| not_found(id))?;
        if found.version() != version {
            return Err(version_conflict(&found, version));
        }
        let released = query::release::<R, _>(open.transaction()?, id, self.now()).await;
        open.note(released)?;
        let mut delete = Query::delete();
        delete.from_table(R::Entity::default()).and_where(Expr::col(Alias::new(query::ID)).eq(id.uuid()));
        match open.transaction()?.execute(&delete).await {
            Ok(_) => Ok(()),
            Err(error) => Err(open.fail(match fault::violation::<R::Entity>(&error) {
                // The last line of defence: something that no noun knows of, or that came since it was counted.
                Some(_) => Error::InUse { noun: R::NOUN, id: id.to_string(), counts: Vec::new() },
                None => fault::unavailable(error),
            })),
        }
    }

    /// Links two records, at this position among the links of the first, or at their end. Whether a new link was made:
    /// linking what is linked changes its position, if one is given, and nothing else.
    ///
    /// # Errors
    /// [`Error::NotFound`] if one of the two is not there.
    pub async fn link<F: Record, T: Record>(
        &self,
        relation: &ManyToMany<F, T>,
        from: Id<F>,
        to: Id<T>,
        position: Option<i64>,
    ) -> Result<bool> {
        self.find(from).await?;
        self.find(to).await?;
        let junction = relation.junction;
        let (table, position_column) = (Alias::new(junction.table), Alias::new("position"));
        let key = [Alias::new(junction.from), Alias::new(junction.to)];

        let mut open = self.open().await?;
        let mut links = Query::select();
        links.column(key[1].clone()).column(position_column.clone()).from(table.clone());
        links.and_where(Expr::col(key[0].clone()).eq(from.uuid()));
        let links = open.transaction()?.query_all(&links).await.map_err(fault::unavailable).and_then(|rows| {
            let read =
                |row: &sea_orm::QueryResult| Ok((row.try_get_by_index::<Uuid>(0)?, row.try_get_by_index::<i64>(1)?));
            rows.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(fault::unavailable)
        });
        let links = open.note(links)?;
        let linked = links.iter().any(|(id, _)| *id == to.uuid());
        if linked && position.is_none() {
            return Ok(false);
        }
        let end = links.iter().map(|(_, position)| *position).max().map_or(0, |last| last.saturating_add(1));

        let mut insert = Query::insert();
        insert
            .into_table(table)
            .columns([key[0].clone(), key[1].clone(), position_column.clone(), Alias::new("created_at")])
            .values_panic([
                from.uuid().into(),
                to.uuid().into(),
                position.unwrap_or(end).into(),
                chrono::DateTime::<chrono::FixedOffset>::from(self.now()).into(),
            ])
            .on_conflict(OnConflict::columns(key).update_column(position_column).to_owned());
        let inserted = open.transaction()?.execute(&insert).await.map_err(fault::unavailable);
        open.note(inserted)?;
        Ok(!linked)
    }

    /// Undoes a link; whether there was one.
    pub async fn unlink<F: Record, T: Record>(
        &self,
        relation: &ManyToMany<F, T>,
        from: Id<F>,
        to: Id<T>,
    ) -> Result<bool> {
        let junction = relation.junction;
        let mut delete = Query::delete();
        delete
            .from_table(Alias::new(junction.table))
            .and_where(Expr::col(Alias::new(junction.from)).eq(from.uuid()))
            .and_where(Expr::col(Alias::new(junction.to)).eq(to.uuid()));
        let mut open = self.open().await?;
        let deleted = open.transaction()?.execute(&delete).await.map_err(fault::unavailable);
        Ok(open.note(deleted)?.rows_affected() > 0)
    }

    /// Makes these, in this order, all the links of a record.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the record is not there, [`Error::Invalid`] if one of those to be linked is not.
    pub async fn set_links<F: Record, T: Record>(
        &self,
        relation: &ManyToMany<F, T>,
        from: Id<F>,
        to: &[Id<T>],
    ) -> Result<()> {
        self.lock(from).await?;
        let junction = relation.junction;
        let mut delete = Query::delete();
        delete.from_table(Alias::new(junction.table)).and_where(Expr::col(Alias::new(junction.from)).eq(from.uuid()));
        let mut open = self.open().await?;
        let deleted = open.transaction()?.execute(&delete).await.map_err(fault::unavailable);
        open.note(deleted)?;
        drop(open);
        for (index, id) in to.iter().enumerate() {
            let position = i64::try_from(index).unwrap_or(i64::MAX);
            match self.link(relation, from, *id, Some(position)).await {
                Err(Error::NotFound { .. }) => {
                    return Err(Error::invalid(&index.to_string(), "reference", "does not exist"));
                }
                linked => linked?,
            };
        }
        Ok(())
    }

    /// Links records that have no links yet, each to these in this order, in few statements.
    ///
    /// # Errors
    /// [`Error::Invalid`] if one of those to be linked is not there; the pointer leads to it through `field`.
    pub(crate) async fn link_all<F: Record, T: Record>(
        &self,
        relation: &ManyToMany<F, T>,
        links: &[(Id<F>, &[Id<T>])],
        field: &str,
    ) -> Result<()> {
        let junction = relation.junction;
        let now = chrono::DateTime::<chrono::FixedOffset>::from(self.now());
        let mut open = self.open().await?;
        let limit = parameter_limit(open.transaction()?.get_database_backend());

        let wanted = links.iter().flat_map(|(_, to)| to.iter().map(|id| id.uuid())).collect::<BTreeSet<_>>();
        let mut present = BTreeSet::new();
        for ids in wanted.iter().copied().collect::<Vec<_>>().chunks(limit) {
            let mut select = Query::select();
            let id = Alias::new(query::ID);
            select.column(id.clone()).from(T::Entity::default()).and_where(Expr::col(id).is_in(ids.iter().copied()));
            let found =
                open.transaction()?.query_all(&select).await.and_then(|rows| {
                    rows.iter().map(|row| row.try_get_by_index::<Uuid>(0)).collect::<Result<Vec<_>, _>>()
                });
            present.extend(open.note(found.map_err(fault::unavailable))?);
        }
        let absent = links.iter().enumerate().find_map(|(index, (_, to))| {
            to.iter().position(|id| !present.contains(&id.uuid())).map(|position| (index, position))
        });
        if let Some((index, position)) = absent {
            let error = Error::invalid(&position.to_string(), "reference", "does not exist");
            return Err(error.within(field).within(&index.to_string()));
        }

        let columns = [junction.from, junction.to, "position", "created_at"].map(Alias::new);
        let rows = links.iter().flat_map(|(from, to)| {
            let positions = (0_i64..).zip(to.iter());
            positions.map(|(position, to)| [from.uuid().into(), to.uuid().into(), position.into(), now.into()])
        });
        for rows in rows.collect::<Vec<[Expr; 4]>>().chunks(limit / columns.len()) {
            let mut insert = Query::insert();
            insert.into_table(Alias::new(junction.table)).columns(columns.clone());
            for row in rows {
                insert.values_panic(row.clone());
            }
            let inserted = open.transaction()?.execute(&insert).await.map_err(fault::unavailable);
            open.note(inserted)?;
        }
        Ok(())
    }

    /// Runs a statement of your own; how many rows it changed. It takes part in the transaction like any other.
    pub async fn execute(&self, sql: Sql) -> Result<u64> {
        let mut open = self.open().await?;
        let result = sql.execute(open.transaction()?).await;
        open.note(result)
    }

    /// Runs a query of your own.
    pub async fn query(&self, sql: Sql) -> Result<Rows> {
        let mut open = self.open().await?;
        let result = sql.query(open.transaction()?).await;
        open.note(result)
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
        let name = inner.depth;
        {
            let mut open = self.open().await?;
            // Raised before the statement is sent: should this future be dropped now, every handle fails from here on.
            self.shared.depth.store(inner.depth, Ordering::SeqCst);
            let begun = open.command(&format!("SAVEPOINT savepoint_{name}")).await;
            open.note(begun)?;
        }
        let result = part(inner.clone()).await;
        let mut open = inner.enter().await?;
        let result = match (result, open.state.failure.take()) {
            (Ok(value), None) => Ok(value),
            (Err(error), _) | (Ok(_), Some(error)) => Err(error),
        };
        let ended = if result.is_ok() {
            open.command(&format!("RELEASE SAVEPOINT savepoint_{name}")).await
        } else {
            let undo = format!("ROLLBACK TO SAVEPOINT savepoint_{name}; RELEASE SAVEPOINT savepoint_{name}");
            open.command(&undo).await
        };
        open.note(ended)?;
        self.shared.depth.store(self.depth, Ordering::SeqCst);
        result
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { id: self.shared.ids.next(self.shared.now), now: self.shared.now }
    }

    pub(crate) async fn insert_row<E: EntityTrait>(&self, row: E::ActiveModel) -> Result<()>
    where
        E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
    {
        storable::<E>(&row)?;
        let mut open = self.open().await?;
        let inserted = E::insert(row.clone()).exec_without_returning(open.transaction()?).await;
        match inserted {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = open.explain::<E>(error, std::slice::from_ref(&row)).await;
                open.note(Err(error))
            }
        }
    }

    async fn insert_rows<E: EntityTrait>(&self, rows: &[E::ActiveModel]) -> Result<()>
    where
        E::ActiveModel: ActiveModelTrait<Entity = E> + Send,
    {
        for (index, row) in rows.iter().enumerate() {
            storable::<E>(row).map_err(|error| error.within(&index.to_string()))?;
        }
        let mut open = self.open().await?;
        let limit = parameter_limit(open.transaction()?.get_database_backend());
        for rows in rows.chunks(limit / E::Column::iter().count().max(1)) {
            let inserted = E::insert_many(rows.iter().cloned()).exec_without_returning(open.transaction()?).await;
            if let Err(error) = inserted {
                let error = open.explain::<E>(error, rows).await;
                return open.note(Err(error));
            }
        }
        Ok(())
    }

    /// Runs a statement that was built here in the domain.
    pub(crate) async fn run<T>(&self, statement: impl AsyncFnOnce(&DatabaseTransaction) -> Result<T>) -> Result<T> {
        let mut open = self.open().await?;
        let result = statement(open.transaction()?).await;
        open.note(result)
    }

    /// Ends the transaction. A unit of work in which something failed cannot commit.
    pub(crate) async fn end(&self, ending: Ending) -> Result<()> {
        let mut state = self.shared.state.lock().await;
        let Some(transaction) = state.transaction.take() else { return Err(closed()) };
        let failure = match ending {
            Ending::Commit if self.shared.depth.load(Ordering::SeqCst) > 0 => Some(savepoint_open()),
            Ending::Commit => state.failure.take(),
            Ending::Rollback => None,
        };
        match (ending, failure) {
            (Ending::Commit, None) => transaction.commit().await.map_err(fault::at_commit),
            (_, failure) => {
                let rolled_back = transaction.rollback().await.map_err(fault::unavailable);
                failure.map_or(rolled_back, Err)
            }
        }
    }

    /// Rolls back what nobody has ended, whoever else holds a handle; one that was ended stays as it is.
    pub(crate) fn abandon(&self) {
        if let Ok(mut state) = self.shared.state.try_lock() {
            state.transaction.take();
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // A statement is under way: after it.
            let shared = Arc::clone(&self.shared);
            runtime.spawn(async move { drop(shared.state.lock().await.transaction.take()) });
        }
    }

    async fn why_unchanged<R: Record>(&self, id: Id<R>, version: i64) -> Result<Error> {
        Ok(match self.look_up(id).await? {
            Some(found) => version_conflict(&found, version),
            None => not_found(id),
        })
    }

    /// The transaction, for a statement; not if something has failed in it.
    async fn open(&self) -> Result<Open<'_>> {
        let open = self.enter().await?;
        match &open.state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(open),
        }
    }

    async fn enter(&self) -> Result<Open<'_>> {
        let state = self.shared.state.lock().await;
        if self.shared.depth.load(Ordering::SeqCst) == self.depth { Ok(Open { state }) } else { Err(savepoint_open()) }
    }
}

/// The transaction while a statement runs.
struct Open<'a> {
    state: MutexGuard<'a, State>,
}

impl Open<'_> {
    fn transaction(&self) -> Result<&DatabaseTransaction> {
        self.state.transaction.as_ref().ok_or_else(closed)
    }

    async fn command(&self, sql: &str) -> Result<()> {
        self.transaction()?.execute_unprepared(sql).await.map(|_| ()).map_err(fault::unavailable)
    }

    /// Remembers a failure of the database; what the domain itself refuses leaves the transaction usable.
    fn note<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            let refused = matches!(
                error,
                Error::NotFound { .. } | Error::VersionConflict { .. } | Error::InUse { .. } | Error::Refused { .. }
            );
            if !refused {
                self.fail(error.clone());
            }
        }
        result
    }

    /// Remembers that a statement failed: the first such error is the one that the commit fails with.
    fn fail(&mut self, error: Error) -> Error {
        self.state.failure.get_or_insert_with(|| error.clone());
        error
    }

    /// Translates an error from writing these rows. SQLite does not say which foreign key was broken, so the parents are
    /// looked up; its transaction is still usable after a failed statement.
    async fn explain<E: EntityTrait>(&self, error: sea_orm::DbErr, rows: &[E::ActiveModel]) -> Error
    where
        E::ActiveModel: ActiveModelTrait<Entity = E>,
    {
        let Some(mut violation) = fault::violation::<E>(&error) else { return fault::unavailable(error) };
        if violation.kind == Constraint::ForeignKey
            && violation.columns.is_empty()
            && let Ok(transaction) = self.transaction()
            && transaction.get_database_backend() == DbBackend::Sqlite
        {
            for row in rows {
                violation.columns = orphaned_columns::<E>(transaction, row).await.unwrap_or_default();
                if !violation.columns.is_empty() {
                    break;
                }
            }
        }
        violation.into_error()
    }
}

/// The columns of the row that refer to a record that is not there.
async fn orphaned_columns<E: EntityTrait>(
    connection: &DatabaseTransaction,
    row: &E::ActiveModel,
) -> Result<Vec<String>, sea_orm::DbErr>
where
    E::ActiveModel: ActiveModelTrait<Entity = E>,
{
    use sea_orm::{Identity, RelationTrait};

    let mut orphaned = Vec::new();
    let relations = E::Relation::iter().map(|relation| relation.def()).collect::<Vec<_>>();
    for relation in relations.into_iter().filter(|relation| !relation.is_owner) {
        let (Identity::Unary(from), Identity::Unary(to)) = (&relation.from_col, &relation.to_col) else { continue };
        let Some(column) = E::Column::iter().find(|column| column.as_str() == from.to_string()) else { continue };
        let Some(value) = row.get(column).into_value() else { continue };
        let mut parent = Query::select();
        parent.expr(Expr::val(1)).from(relation.to_tbl.clone()).and_where(Expr::col(to.clone()).eq(value));
        if connection.query_one(&parent).await?.is_none() {
            orphaned.push(column.as_str().to_owned());
        }
    }
    Ok(orphaned)
}

/// How many parameters one statement may have: SQLite's default SQLITE_LIMIT_VARIABLE_NUMBER, and the 16 bits of
/// PostgreSQL's protocol.
fn parameter_limit(backend: DbBackend) -> usize {
    if backend == DbBackend::Sqlite { 32_766 } else { 65_535 }
}

/// Sets a column by its name, where the table has it.
fn set<R: Record>(changes: &mut ChangeSet<R>, name: &str, value: Value) {
    if let Some(column) = column::<R>(name) {
        changes.set(column, value);
    }
}

/// Refuses text that PostgreSQL cannot store and SQLite would, so that both answer alike.
fn storable<E: EntityTrait>(row: &E::ActiveModel) -> Result<()>
where
    E::ActiveModel: ActiveModelTrait<Entity = E>,
{
    let refused = E::Column::iter()
        .filter(|column| match row.get(*column).into_value() {
            Some(Value::String(Some(text))) => text.contains('\0'),
            Some(Value::Json(Some(json))) => has_nul(&json),
            _ => false,
        })
        .map(|column| FieldError::new(column.as_str(), "nul", "must not contain the character U+0000"))
        .collect::<Vec<_>>();
    if refused.is_empty() { Ok(()) } else { Err(Error::Invalid(refused)) }
}

fn has_nul(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(has_nul),
        serde_json::Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        _ => false,
    }
}

pub(crate) fn not_found<R: Record>(id: Id<R>) -> Error {
    Error::NotFound { noun: R::NOUN, id: id.to_string() }
}

fn version_conflict<R: Record>(found: &R, expected: i64) -> Error {
    let actual = found.version();
    debug_assert!(actual >= FIRST_VERSION, "versions count from {FIRST_VERSION}");
    Error::VersionConflict { noun: R::NOUN, id: found.id().to_string(), expected, actual }
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
