//! Linking records, many to many.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset};
use sea_orm::{
    ConnectionTrait, QueryResult,
    sea_query::{Alias, Expr, ExprTrait, OnConflict, Query},
};
use uuid::Uuid;

use super::{UnitOfWork, parameter_limit};
use crate::{
    error::{Error, Result},
    fault,
    id::Id,
    query,
    record::Record,
    relation::{Junction, ManyToMany},
    session::Session,
};

impl UnitOfWork {
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
        self.run(async |session| {
            let links = links_of(session, &junction, from.uuid()).await?;
            let is_linked = links.iter().any(|(id, _)| *id == to.uuid());
            if is_linked && position.is_none() {
                return Ok(false);
            }
            let end = links.iter().map(|(_, position)| *position).max().map_or(0, |last| last.saturating_add(1));
            let key = [Alias::new(junction.from), Alias::new(junction.to)];
            let mut insert = Query::insert();
            insert
                .into_table(Alias::new(junction.table))
                .columns(columns(&junction).map(Alias::new))
                .values_panic([
                    from.uuid().into(),
                    to.uuid().into(),
                    position.unwrap_or(end).into(),
                    DateTime::<FixedOffset>::from(self.now()).into(),
                ])
                .on_conflict(OnConflict::columns(key).update_column(Alias::new("position")).to_owned());
            session.execute(&insert).await.map_err(fault::unavailable)?;
            Ok(!is_linked)
        })
        .await
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
        let deleted = self.run(async |session| session.execute(&delete).await.map_err(fault::unavailable)).await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Makes these, in this order, all the links of a record. One that is named twice is linked once, where it came first.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the record is not there, [`Error::Invalid`] if one of those to be linked is not; the
    /// pointer is its place.
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
        self.run(async |session| {
            let present = present::<T>(session, uuids(to)).await?;
            if let Some(absent) = to.iter().position(|id| !present.contains(&id.uuid())) {
                return Err(Error::invalid(&absent.to_string(), "reference", "does not exist"));
            }
            session.execute(&delete).await.map_err(fault::unavailable)?;
            self.insert_links(session, &junction, &[(from.uuid(), uuids(to))]).await
        })
        .await
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
        self.run(async |session| {
            let wanted = links.iter().flat_map(|(_, to)| uuids(to)).collect::<BTreeSet<_>>();
            let present = present::<T>(session, wanted.into_iter().collect()).await?;
            for (index, (_, to)) in links.iter().enumerate() {
                if let Some(absent) = to.iter().position(|id| !present.contains(&id.uuid())) {
                    let error = Error::invalid(&absent.to_string(), "reference", "does not exist");
                    return Err(error.within(field).within(&index.to_string()));
                }
            }
            let links = links.iter().map(|(from, to)| (from.uuid(), uuids(to))).collect::<Vec<_>>();
            self.insert_links(session, &relation.junction, &links).await
        })
        .await
    }

    async fn insert_links(&self, session: &Session, junction: &Junction, links: &[(Uuid, Vec<Uuid>)]) -> Result<()> {
        let now = DateTime::<FixedOffset>::from(self.now());
        let columns = columns(junction);
        let rows = links.iter().flat_map(|(from, to)| {
            (0_i64..).zip(to).map(move |(position, to)| [(*from).into(), (*to).into(), position.into(), now.into()])
        });
        let limit = parameter_limit(session.get_database_backend()) / columns.len();
        for rows in rows.collect::<Vec<[Expr; 4]>>().chunks(limit) {
            let mut insert = Query::insert();
            insert.into_table(Alias::new(junction.table)).columns(columns.map(Alias::new));
            for row in rows {
                insert.values_panic(row.clone());
            }
            session.execute(&insert).await.map_err(fault::unavailable)?;
        }
        Ok(())
    }
}

/// The columns of a junction table.
fn columns(junction: &Junction) -> [&'static str; 4] {
    [junction.from, junction.to, "position", "created_at"]
}

/// In this order, each once.
fn uuids<T>(ids: &[Id<T>]) -> Vec<Uuid> {
    let mut seen = BTreeSet::new();
    ids.iter().map(|id| id.uuid()).filter(|id| seen.insert(*id)).collect()
}

/// What a record is linked to, and at which position.
async fn links_of(session: &Session, junction: &Junction, from: Uuid) -> Result<Vec<(Uuid, i64)>> {
    let mut links = Query::select();
    links.column(Alias::new(junction.to)).column(Alias::new("position")).from(Alias::new(junction.table));
    links.and_where(Expr::col(Alias::new(junction.from)).eq(from));
    let read = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
    let rows = session.query_all(&links).await.map_err(fault::unavailable)?;
    rows.iter().map(read).collect::<Result<Vec<_>, _>>().map_err(fault::unavailable)
}

/// Those of the ids that name a record.
async fn present<T: Record>(session: &Session, ids: Vec<Uuid>) -> Result<BTreeSet<Uuid>> {
    let mut present = BTreeSet::new();
    for ids in ids.chunks(parameter_limit(session.get_database_backend())) {
        let mut select = Query::select();
        let id = Alias::new(query::ID);
        select.column(id.clone()).from(T::Entity::default()).and_where(Expr::col(id).is_in(ids.iter().copied()));
        for row in session.query_all(&select).await.map_err(fault::unavailable)? {
            present.insert(row.try_get_by_index(0).map_err(fault::unavailable)?);
        }
    }
    Ok(present)
}
