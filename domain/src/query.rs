//! The statements that read records, for the pool and for a transaction alike.

use std::any::TypeId;

use sea_orm::{
    ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, ModelTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Select,
    sea_query::{Alias, Condition, Expr, ExprTrait, Func, Query},
};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    fault,
    id::Id,
    page::{Cursor, Key, Listing, MAX_OFFSET, Page, Sort},
    record::{Child, Filter, OnDelete, Record, Row, UniqueText, column},
    text::Text,
    value::Timestamp,
};

/// The column that holds a record's id; every table of records has it.
pub(crate) const ID: &str = "id";

pub(crate) async fn look_up<R: Record, C: ConnectionTrait>(connection: &C, id: Id<R>) -> Result<Option<R>> {
    find_by_id(connection, id, "find", |select| select).await
}

/// Looks up the record with a unique text.
pub(crate) async fn look_up_by<R: Record, C: ConnectionTrait>(
    connection: &C,
    by: &UniqueText<R>,
    text: &str,
) -> Result<Option<R>> {
    let text = text.to_ascii_lowercase();
    let backend = connection.get_database_backend();
    let lower = Expr::expr(Func::lower(Expr::col(by.0)));
    let mut is_it = Condition::all().add(lower.eq(text.clone()));
    if backend == DbBackend::Postgres {
        // The index finds it by the rules of the database's language; this keeps to ASCII, as SQLite does, and as the
        // triggers that tell the cache do.
        is_it = is_it.add(Expr::cust_with_exprs("lower($1 COLLATE \"C\") = $2", [Expr::col(by.0), Expr::val(text)]));
    }
    let row = R::Entity::find().filter(is_it).one(connection).await.map_err(fault::unavailable)?;
    row.map(R::from_row).transpose()
}

/// Looks a record up, and holds its row until the transaction ends. SQLite has one writer at a time anyway.
pub(crate) async fn lock<R: Record, C: ConnectionTrait>(connection: &C, id: Id<R>) -> Result<Option<R>> {
    match connection.get_database_backend() {
        DbBackend::Postgres => find_by_id(connection, id, "lock", Select::lock_exclusive).await,
        _ => look_up(connection, id).await,
    }
}

async fn find_by_id<R: Record, C: ConnectionTrait>(
    connection: &C,
    id: Id<R>,
    does: &'static str,
    but: fn(Select<R::Entity>) -> Select<R::Entity>,
) -> Result<Option<R>> {
    let text = Text { of: TypeId::of::<R>(), does, with: 0 };
    let statement = text.with_values(connection.get_database_backend(), vec![id.uuid().into()], |backend| {
        but(R::Entity::find().filter(Expr::col(Alias::new(ID)).eq(id.uuid()))).build(backend)
    });
    let Some(row) = connection.query_one_raw(statement).await.map_err(fault::unavailable)? else { return Ok(None) };
    let row = Row::<R>::from_query_result(&row, "").map_err(fault::unreadable)?;
    R::from_row(row).map(Some)
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
    if page.offset > MAX_OFFSET {
        let message = format!("must be at most {MAX_OFFSET}: go on after the last record of a page instead");
        return Err(Error::invalid("offset", "range", message));
    }
    if let Some(by) = by {
        select = select.order_by(by, order.clone());
    }
    // One more than wanted tells whether there is a next page.
    let limit = u64::from(page.limit.get());
    let select = select.order_by(id(), order).offset(Some(page.offset.into()).filter(|offset| *offset > 0));
    let rows = select.limit(limit + 1).all(connection).await.map_err(fault::unavailable)?;

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
