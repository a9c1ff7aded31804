//! The statements that read records, for the pool and for a transaction alike.

use sea_orm::{
    ConnectionTrait, EntityTrait, ModelTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Alias, Condition, Expr, ExprTrait, Query},
};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    fault,
    id::Id,
    page::{Cursor, Key, Listing, Page, Sort},
    record::{Child, Filter, OnDelete, Record, Row, column},
    value::Timestamp,
};

/// The column that holds a record's id; every table of records has it.
pub(crate) const ID: &str = "id";

pub(crate) async fn look_up<R: Record, C: ConnectionTrait>(connection: &C, id: Id<R>) -> Result<Option<R>> {
    let row = R::Entity::find().filter(Expr::col(Alias::new(ID)).eq(id.uuid())).one(connection).await;
    row.map_err(fault::unavailable)?.map(R::from_row).transpose()
}

/// The same, and holds the row until the transaction ends. SQLite has one writer at a time anyway.
pub(crate) async fn lock<R: Record, C: ConnectionTrait>(connection: &C, id: Id<R>) -> Result<Option<R>> {
    let mut select = R::Entity::find().filter(Expr::col(Alias::new(ID)).eq(id.uuid()));
    if connection.get_database_backend() == sea_orm::DbBackend::Postgres {
        select = select.lock_exclusive();
    }
    select.one(connection).await.map_err(fault::unavailable)?.map(R::from_row).transpose()
}

pub(crate) async fn list<F: Filter, C: ConnectionTrait>(
    connection: &C,
    filter: &F,
    page: &Page,
) -> Result<Listing<F::Record>> {
    let order = if page.sort.is_descending() { sea_orm::Order::Desc } else { sea_orm::Order::Asc };
    let by = page.sort.column::<F::Record>();
    let id = || Expr::col(Alias::new(ID));
    let mut select = <F::Record as crate::record::Stored>::Entity::find().filter(filter.condition());
    if let Some(after) = page.after.clone() {
        let foreign = || Error::invalid("page_token", "page_token", "belongs to a list in another order");
        if after.order != page.sort.text() {
            return Err(foreign());
        }
        let (place, reached) = match (by, after.key) {
            (Some(by), Some(key)) => {
                (Expr::tuple([Expr::col(by), id()]), Expr::tuple([Expr::val(key.into_value()), Expr::val(after.id)]))
            }
            (None, None) => (id(), Expr::val(after.id)),
            _ => return Err(foreign()),
        };
        select = select.filter(if page.sort.is_descending() { place.lt(reached) } else { place.gt(reached) });
    }
    if let Some(by) = by {
        select = select.order_by(by, order.clone());
    }
    // One more than wanted tells whether there is a next page.
    let limit = u64::from(page.limit.get());
    let rows = select.order_by(id(), order).limit(limit + 1).all(connection).await.map_err(fault::unavailable)?;

    let more = rows.len() as u64 > limit;
    let rows = rows.into_iter().take(page.limit.get() as usize).collect::<Vec<_>>();
    let next = rows.last().filter(|_| more).map(|row| cursor::<F::Record>(row, &page.sort)).transpose()?;
    let records = rows.into_iter().map(<F::Record as crate::record::Stored>::from_row).collect::<Result<_>>()?;
    Ok(Listing { records, next })
}

fn cursor<R: Record>(row: &Row<R>, sort: &Sort) -> Result<Cursor> {
    let unsortable =
        || Error::internal("a list was sorted by a column without an order", sea_orm::DbErr::Type(R::NOUN.to_owned()));
    let id = column::<R>(ID).and_then(|id| match row.get(id) {
        sea_orm::Value::Uuid(id) => id,
        _ => None,
    });
    let key = sort.column::<R>().map(|by| Key::from_value(row.get(by)).ok_or_else(unsortable)).transpose()?;
    Ok(Cursor { order: sort.text(), key, id: id.ok_or_else(unsortable)? })
}

pub(crate) async fn count<F: Filter, C: ConnectionTrait>(connection: &C, filter: &F) -> Result<u64> {
    let mut select = Query::select();
    select
        .expr(Expr::col(sea_orm::sea_query::Asterisk).count())
        .from(<F::Record as crate::record::Stored>::Entity::default())
        .cond_where(filter.condition());
    count_of(connection, &select).await
}

async fn count_of<C: ConnectionTrait>(connection: &C, select: &sea_orm::sea_query::SelectStatement) -> Result<u64> {
    let row = connection.query_one(select).await.map_err(fault::unavailable)?;
    let count = row.map(|row| row.try_get_by_index::<i64>(0)).transpose().map_err(fault::unavailable)?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

/// Settles what refers to a record that is about to be deleted. Counts first, so that a refusal leaves everything as it
/// was.
pub(crate) async fn release<R: Record, C: ConnectionTrait>(connection: &C, id: Id<R>, now: Timestamp) -> Result<()> {
    let refers = |child: &Child| Expr::col(Alias::new(child.column)).eq(id.uuid());
    let mut counts = Vec::<(_, u64)>::new();
    let restricting = || R::CHILDREN.iter().filter(|child| child.on_delete == OnDelete::Restrict);
    for Child { table, .. } in restricting() {
        if counts.iter().any(|(counted, _)| counted == table) {
            continue;
        }
        // A row may refer to it by several columns, and is one row.
        let by_any = restricting().filter(|child| child.table == *table).map(refers);
        let mut select = Query::select();
        select
            .expr(Expr::col(sea_orm::sea_query::Asterisk).count())
            .from(Alias::new(*table))
            .cond_where(by_any.fold(Condition::any(), Condition::add));
        counts.push((*table, count_of(connection, &select).await?));
    }
    counts.retain(|(_, count)| *count > 0);
    if !counts.is_empty() {
        return Err(Error::InUse { noun: R::NOUN, id: id.to_string(), counts });
    }
    for child in R::CHILDREN {
        let table = Alias::new(child.table);
        let result = match child.on_delete {
            OnDelete::Restrict => continue,
            OnDelete::Cascade => connection.execute(Query::delete().from_table(table).and_where(refers(child))).await,
            OnDelete::Clear => {
                let mut update = Query::update();
                update
                    .table(table)
                    .value(Alias::new(child.column), Option::<Uuid>::None)
                    .value(Alias::new("version"), Expr::col(Alias::new("version")).add(1))
                    .value(Alias::new("updated_at"), chrono::DateTime::<chrono::FixedOffset>::from(now))
                    .and_where(refers(child));
                connection.execute(&update).await
            }
        };
        result.map_err(fault::unavailable)?;
    }
    Ok(())
}
