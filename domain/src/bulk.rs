//! Changing and deleting all records that pass a filter.
//!
//! Each record is changed or deleted as it would be alone, so that no rule of its noun is passed over, also not one that
//! looks at what was just done to another; and all of that has the time of one unit of work. What is for millions, and has
//! no rules, is better written as [`Sql`](crate::Sql).

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, Order,
    sea_query::{Alias, Expr, Query},
};
use uuid::Uuid;

use crate::{
    error::Result,
    fault,
    id::Id,
    query,
    record::{FIRST_VERSION, Filter, Patch, Record, Stored, column},
    store::Store,
    transaction::{Owner, WriteOptions},
    unit_of_work::UnitOfWork,
};

impl UnitOfWork {
    /// Changes some fields of every record that passes the filter, in the order of their ids; how many there were. A
    /// filter that narrows nothing means all.
    ///
    /// # Errors
    /// Those of [`update`](Self::update) for any of them; then none is changed, and the unit of work may go on.
    pub async fn update_all<F: Filter, P: Patch<Record = F::Record>>(&self, filter: &F, patch: P) -> Result<u64> {
        // Also where there is nothing to change: whether an input is valid must not hang on the data.
        patch.validate()?;
        self.savepoint(|work| async move {
            let found = work.lock_all(filter).await?;
            for &(id, version) in &found {
                work.update(id, version, patch.clone()).await?;
            }
            Ok(found.len() as u64)
        })
        .await
    }

    /// Deletes every record that passes the filter, in the order of their ids, and settles what refers to them; how many
    /// there were. A filter that narrows nothing means all.
    ///
    /// # Errors
    /// Those of [`delete`](Self::delete) for any of them; then none is deleted, and the unit of work may go on.
    pub async fn delete_all<F: Filter>(&self, filter: &F) -> Result<u64> {
        self.savepoint(|work| async move {
            let found = work.lock_all(filter).await?;
            for &(id, version) in &found {
                work.delete(id, version).await?;
            }
            Ok(found.len() as u64)
        })
        .await
    }

    /// The ids and versions of all records that pass the filter, held until the unit of work ends. In the order of their
    /// ids, so that two that want the same do not wait for each other.
    async fn lock_all<F: Filter>(&self, filter: &F) -> Result<Vec<(Id<F::Record>, i64)>> {
        let id = Alias::new(query::ID);
        // What is only ever added has no column for it.
        let version = column::<F::Record>("version").map_or(Expr::val(FIRST_VERSION), Expr::col);
        let mut select = Query::select();
        select
            .column(id.clone())
            .expr(version)
            .from(<F::Record as Stored>::Entity::default())
            .cond_where(filter.condition())
            .order_by(id, Order::Asc);
        self.run(async move |session| {
            // SQLite has one writer at a time anyway.
            if session.get_database_backend() == DbBackend::Postgres {
                select.lock_exclusive();
            }
            let rows = session.query_all(&select).await.map_err(fault::unavailable)?;
            let read = |row: &sea_orm::QueryResult| {
                Ok((Id::new(row.try_get_by_index::<Uuid>(0)?), row.try_get_by_index::<i64>(1)?))
            };
            rows.iter().map(read).collect::<Result<_, DbErr>>().map_err(fault::unavailable)
        })
        .await
    }
}

impl Store {
    /// Changes every record that passes the filter, in a unit of work of its own. See [`UnitOfWork::update_all`].
    pub async fn update_all<F: Filter, P: Patch<Record = F::Record>>(&self, filter: &F, patch: P) -> Result<u64> {
        let (owner, filter) = (Owner::Verb("update all", F::Record::NOUN), filter.clone());
        self.run(owner, WriteOptions::default(), move |work| {
            let (filter, patch) = (filter.clone(), patch.clone());
            async move { work.update_all(&filter, patch).await }
        })
        .await
    }

    /// Deletes every record that passes the filter, in a unit of work of its own. See [`UnitOfWork::delete_all`].
    pub async fn delete_all<F: Filter>(&self, filter: &F) -> Result<u64> {
        let (owner, filter) = (Owner::Verb("delete all", F::Record::NOUN), filter.clone());
        self.run(owner, WriteOptions::default(), move |work| {
            let filter = filter.clone();
            async move { work.delete_all(&filter).await }
        })
        .await
    }
}
