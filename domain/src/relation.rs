//! Relations between records, loaded for many parents at once: one statement per relation, however many there are.

use std::{collections::HashMap, marker::PhantomData};

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DbErr, EntityName, FromQueryResult,
    sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement},
};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    fault,
    record::{Column, Record, Row, Stored},
    store::Store,
};

/// How deep an include may go.
const MAX_DEPTH: usize = 3;
/// How many relations one request may include.
const MAX_INCLUDES: usize = 16;
/// SQLite takes 32,766 parameters a statement, PostgreSQL 65,535.
const PARENTS_PER_STATEMENT: usize = 10_000;

/// From records of `F` to records of `T`: one-to-one, one-to-many, or from the many to the one.
pub struct Relation<F, T: Stored> {
    name: &'static str,
    path: Path<T>,
    _from: PhantomData<fn() -> F>,
}

enum Path<T: Stored> {
    /// The children hold the parent's id.
    Children { key: Column<T>, many: bool },
    /// The record itself holds the id, in this column.
    Parent { key: &'static str },
    /// A junction table holds both.
    Junction(Junction),
}

/// The table behind a many-to-many relation; it also has the columns `position` and `created_at`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Junction {
    pub(crate) table: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

impl<F: Record, T: Record> Relation<F, T> {
    /// One-to-one: at most one `T` holds the id of an `F`, in this column, which is unique.
    pub(crate) const fn has_one(name: &'static str, key: Column<T>) -> Self {
        Self { name, path: Path::Children { key, many: false }, _from: PhantomData }
    }

    /// One-to-many: each `T` holds the id of an `F` in this column. They come in the order of their creation.
    pub(crate) const fn has_many(name: &'static str, key: Column<T>) -> Self {
        Self { name, path: Path::Children { key, many: true }, _from: PhantomData }
    }

    /// Many-to-one: an `F` holds the id of a `T` in this column.
    pub(crate) const fn belongs_to(name: &'static str, key: &'static str) -> Self {
        Self { name, path: Path::Parent { key }, _from: PhantomData }
    }

    fn select(&self, parents: &[Uuid]) -> SelectStatement {
        // The name of the column that says to which parent a row belongs.
        let from = Alias::new(FROM_ID);
        let to = T::Entity::default();
        let mut select = Query::select();
        for column in <Column<T> as sea_orm::Iterable>::iter() {
            select.column((to, column));
        }
        select.from(to);
        match &self.path {
            Path::Children { key, .. } => {
                select.expr_as(Expr::col((to, *key)), from);
                select.and_where(Expr::col((to, *key)).is_in(parents.iter().copied()));
                select.order_by((to, Alias::new("id")), sea_orm::Order::Asc);
            }
            Path::Parent { key } => {
                let holder = Alias::new("holder");
                select.expr_as(Expr::col((holder.clone(), Alias::new("id"))), from);
                select.join_as(
                    sea_orm::JoinType::InnerJoin,
                    F::Entity::default().table_ref(),
                    holder.clone(),
                    Expr::col((holder.clone(), Alias::new(*key))).equals((to, Alias::new("id"))),
                );
                select.and_where(Expr::col((holder, Alias::new("id"))).is_in(parents.iter().copied()));
            }
            Path::Junction(junction) => {
                let link = Alias::new(junction.table);
                select.expr_as(Expr::col((link.clone(), Alias::new(junction.from))), from);
                select.inner_join(
                    link.clone(),
                    Expr::col((link.clone(), Alias::new(junction.to))).equals((to, Alias::new("id"))),
                );
                select.and_where(Expr::col((link.clone(), Alias::new(junction.from))).is_in(parents.iter().copied()));
                select.order_by((link.clone(), Alias::new("position")), sea_orm::Order::Asc);
                select.order_by((link, Alias::new(junction.to)), sea_orm::Order::Asc);
            }
        }
        select
    }

    /// The related records of all parents, each with the id of its parent, in order.
    pub(crate) async fn pairs<C: ConnectionTrait>(&self, connection: &C, parents: &[Uuid]) -> Result<Vec<(Uuid, T)>> {
        let mut pairs = Vec::new();
        for parents in parents.chunks(PARENTS_PER_STATEMENT) {
            let rows = connection.query_all(&self.select(parents)).await.map_err(fault::unavailable)?;
            for row in rows {
                let parent = row.try_get::<Uuid>("", FROM_ID);
                let record = Row::<T>::from_query_result(&row, "");
                let (parent, record) = parent.and_then(|parent| Ok((parent, record?))).map_err(unreadable)?;
                pairs.push((parent, T::from_row(record)?));
            }
        }
        Ok(pairs)
    }

    fn is_many(&self) -> bool {
        !matches!(self.path, Path::Children { many: false, .. } | Path::Parent { .. })
    }
}

const FROM_ID: &str = "from_id";

fn unreadable(error: DbErr) -> Error {
    Error::internal("a row could not be read", error)
}

/// Many-to-many, through a junction table, in the order of its `position`.
pub struct ManyToMany<F, T: Stored> {
    relation: Relation<F, T>,
    pub(crate) junction: Junction,
}

impl<F: Record, T: Record> ManyToMany<F, T> {
    pub(crate) const fn via(name: &'static str, junction: Junction) -> Self {
        let relation = Relation { name, path: Path::Junction(junction), _from: PhantomData };
        Self { relation, junction }
    }

    /// The relation, to load the related records by.
    pub const fn relation(&self) -> &Relation<F, T> {
        &self.relation
    }
}

/// Related records as JSON, by the id of their parent.
pub type RelatedJson = HashMap<Uuid, Box<RawValue>>;

/// A relation whose types are forgotten, so that it can be asked for by name.
#[async_trait]
pub trait Related: Send + Sync {
    /// The name by which it is included.
    fn name(&self) -> &'static str;

    /// The relations that go on from the related records.
    fn next(&self) -> &'static [&'static dyn Related];

    /// What is there for a parent without related records: an empty list, or null.
    fn none(&self) -> Box<RawValue>;

    /// Loads the related records of all parents, and what is included with them, in one statement a level.
    async fn load(&self, store: &Store, parents: &[Uuid], includes: &[Include]) -> Result<RelatedJson>;
}

#[async_trait]
impl<F: Record, T: Record> Related for Relation<F, T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn next(&self) -> &'static [&'static dyn Related] {
        T::relations()
    }

    fn none(&self) -> Box<RawValue> {
        if self.is_many() { raw("[]") } else { raw("null") }
    }

    async fn load(&self, store: &Store, parents: &[Uuid], includes: &[Include]) -> Result<RelatedJson> {
        let pairs = self.pairs(store.reader(), parents).await?;
        let (parents, records): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let mut views = HashMap::<Uuid, Vec<View<T>>>::new();
        for (parent, view) in parents.into_iter().zip(with_related(store, records, includes).await?) {
            views.entry(parent).or_default().push(view);
        }
        let many = self.is_many();
        views
            .into_iter()
            .map(|(parent, views)| {
                let json = if many {
                    serde_json::value::to_raw_value(&views)
                } else {
                    serde_json::value::to_raw_value(&views.first())
                };
                json.map(|json| (parent, json)).map_err(|error| Error::internal("a record could not be written", error))
            })
            .collect()
    }
}

#[async_trait]
impl<F: Record, T: Record> Related for ManyToMany<F, T> {
    fn name(&self) -> &'static str {
        self.relation.name
    }

    fn next(&self) -> &'static [&'static dyn Related] {
        self.relation.next()
    }

    fn none(&self) -> Box<RawValue> {
        self.relation.none()
    }

    async fn load(&self, store: &Store, parents: &[Uuid], includes: &[Include]) -> Result<RelatedJson> {
        self.relation.load(store, parents, includes).await
    }
}

fn raw(json: &'static str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap_or_default()
}

/// What to load along with a record: a relation, and what to load along with the records that it leads to.
#[derive(Clone)]
pub struct Include {
    related: &'static dyn Related,
    includes: Vec<Include>,
}

impl Include {
    /// Reads a list such as `profile,contents.tags`, which names relations of `R` and, after a dot, of what they lead
    /// to.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is no relation, listing those that are; for more than 3 levels, or more than
    /// 16 relations.
    pub fn parse<R: Record>(text: &str) -> Result<Vec<Self>> {
        let invalid = |message: String| Error::invalid("include", "include", message);
        let mut includes = Vec::new();
        let paths = text.split(',').filter(|path| !path.is_empty()).collect::<Vec<_>>();
        if paths.len() > MAX_INCLUDES {
            return Err(invalid(format!("must name at most {MAX_INCLUDES} relations")));
        }
        for path in paths {
            if path.split('.').count() > MAX_DEPTH {
                return Err(invalid(format!("must go at most {MAX_DEPTH} relations deep")));
            }
            let (mut level, mut known) = (&mut includes, R::relations());
            for name in path.split('.') {
                let Some(related) = known.iter().copied().find(|related| related.name() == name) else {
                    let names = known.iter().map(|related| related.name()).collect::<Vec<_>>();
                    let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
                    return Err(invalid(format!("{name} cannot be included; here can: {names}")));
                };
                let at = level.iter().position(|include: &Self| include.related.name() == name);
                let at = at.unwrap_or_else(|| {
                    level.push(Self { related, includes: Vec::new() });
                    level.len() - 1
                });
                (level, known) = (&mut level[at].includes, related.next());
            }
        }
        Ok(includes)
    }
}

/// A record, and the related records that were asked for.
#[derive(Debug, Clone, Serialize)]
pub struct View<R> {
    /// The record.
    #[serde(flatten)]
    pub record: R,
    /// What was included, by the name of the relation.
    #[serde(flatten)]
    pub related: HashMap<&'static str, Box<RawValue>>,
}

/// Loads what is to be included with the records.
pub(crate) async fn with_related<R: Record>(
    store: &Store,
    records: Vec<R>,
    includes: &[Include],
) -> Result<Vec<View<R>>> {
    let mut views = records.into_iter().map(|record| View { record, related: HashMap::new() }).collect::<Vec<_>>();
    let mut ids = views.iter().map(|view| view.record.id().uuid()).collect::<Vec<_>>();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(views);
    }
    let loads = includes.iter().map(|include| include.related.load(store, &ids, &include.includes));
    let loaded = futures_util::future::try_join_all(loads).await?;
    for (include, related) in includes.iter().zip(&loaded) {
        for view in &mut views {
            let json = related.get(&view.record.id().uuid()).cloned().unwrap_or_else(|| include.related.none());
            view.related.insert(include.related.name(), json);
        }
    }
    Ok(views)
}
