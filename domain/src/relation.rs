//! Relations between records, loaded for many parents at once: one statement per relation, however many there are.

use std::{
    any::TypeId,
    collections::{BTreeSet, HashMap},
    marker::PhantomData,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;
use sea_orm::{
    ConnectionTrait, EntityName, FromQueryResult, IdenStatic, Statement, Value,
    sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement},
};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    audit::Sensitive,
    coherence::{Coherence, Wanted},
    error::{Error, Result},
    fault,
    port::cache::Key,
    query::ID,
    record::{Column, Record, Row, Stored},
    store::Store,
    text::Text,
    wire::{self, RawRecord, Wire},
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
    /// It is the record itself.
    Itself,
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
            Path::Itself => {
                select.expr_as(Expr::col((to, Alias::new("id"))), from);
                select.and_where(Expr::col((to, Alias::new("id"))).is_in(parents.iter().copied()));
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

    /// The statement for these parents. The last is named again until their number is a power of two, so that there are
    /// few texts, which the database prepares once.
    fn statement<C: ConnectionTrait>(&self, connection: &C, parents: &[Uuid]) -> Statement {
        let size = parents.len().next_power_of_two();
        let last = parents.last().copied().unwrap_or_default();
        let padded = parents.iter().copied().chain(std::iter::repeat(last)).take(size).collect::<Vec<_>>();
        let text = Text { of: TypeId::of::<Relation<F, T>>(), does: self.name, with: size as u64 };
        let values = padded.iter().map(|id| Value::from(*id)).collect();
        text.with_values(connection.get_database_backend(), values, |backend| backend.build(&self.select(&padded)))
    }

    /// The related records of all parents, each with the id of its parent, in order.
    pub(crate) async fn pairs<C: ConnectionTrait>(&self, connection: &C, parents: &[Uuid]) -> Result<Vec<(Uuid, T)>> {
        let mut pairs = Vec::new();
        for parents in parents.chunks(PARENTS_PER_STATEMENT) {
            let rows = connection.query_all_raw(self.statement(connection, parents)).await;
            let rows = rows.map_err(fault::unavailable)?;
            for row in rows {
                let parent = row.try_get::<Uuid>("", FROM_ID);
                let record = Row::<T>::from_query_result(&row, "");
                let (parent, record) = parent.and_then(|parent| Ok((parent, record?))).map_err(fault::unreadable)?;
                pairs.push((parent, T::from_row(record)?));
            }
        }
        Ok(pairs)
    }

    fn is_many(&self) -> bool {
        !matches!(self.path, Path::Children { many: false, .. } | Path::Parent { .. } | Path::Itself)
    }
}

impl<R: Record> Relation<R, R> {
    /// From every record to itself: what loads records by their ids.
    const ITSELF: Self = Self { name: "itself", path: Path::Itself, _from: PhantomData };
}

const FROM_ID: &str = "from_id";

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

/// A relation whose types are forgotten, so that it can be asked for by name.
#[async_trait]
pub trait Related: Send + Sync {
    /// The name by which it is included.
    fn name(&self) -> &'static str;

    /// The relations that go on from the related records.
    fn next(&self) -> &'static [&'static dyn Related];

    /// Whether a record has a list of them, and not one or none.
    fn is_many(&self) -> bool;

    /// The id by which the related records of a parent are found, if it has any.
    fn found_by(&self, parent: &RawRecord) -> Result<Option<Uuid>>;

    /// What the cache keeps them under, if it does.
    fn wanted(&self, coherence: &Coherence, found_by: Uuid) -> Option<Wanted>;

    /// What of the related records nobody reads unseen.
    fn sensitive(&self) -> Option<Sensitive>;

    /// Reads the related records of each of these, in one statement, and packs them.
    async fn load(&self, store: &Store, found_by: &[Uuid]) -> Result<Vec<Bytes>>;
}

#[async_trait]
impl<F: Record, T: Record> Related for Relation<F, T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn next(&self) -> &'static [&'static dyn Related] {
        T::relations()
    }

    fn is_many(&self) -> bool {
        Self::is_many(self)
    }

    fn found_by(&self, parent: &RawRecord) -> Result<Option<Uuid>> {
        match &self.path {
            Path::Parent { key } => parent.reference(key),
            Path::Children { .. } | Path::Junction(_) | Path::Itself => Ok(Some(parent.id)),
        }
    }

    fn wanted(&self, coherence: &Coherence, found_by: Uuid) -> Option<Wanted> {
        let table = T::Entity::default().table_name();
        let (also, key, stamp) = match &self.path {
            Path::Children { key, .. } => (None, Key::id(table, key.as_str(), found_by), None),
            Path::Parent { .. } | Path::Itself => (None, Key::id(table, ID, found_by), None),
            // The links tell of themselves alone: a change of what they lead to is one of its table.
            Path::Junction(Junction { table: links, from, .. }) => {
                (Some(*links), Key::id(links, from, found_by), Some(Key::table(table)))
            }
        };
        coherence.caches::<T>(also).then(|| coherence.wanted::<T>(key, stamp))
    }

    fn sensitive(&self) -> Option<Sensitive> {
        Sensitive::of::<T>()
    }

    async fn load(&self, store: &Store, found_by: &[Uuid]) -> Result<Vec<Bytes>> {
        let pairs = match &self.path {
            Path::Parent { .. } => Relation::<T, T>::ITSELF.pairs(store.reader(), found_by).await?,
            Path::Children { .. } | Path::Junction(_) | Path::Itself => self.pairs(store.reader(), found_by).await?,
        };
        let mut related = HashMap::<Uuid, Vec<RawRecord>>::new();
        for (parent, record) in pairs {
            related.entry(parent).or_default().push(RawRecord::of(&record)?);
        }
        let packed = found_by.iter().map(|id| wire::pack::<T>(related.get(id).map_or(&[], Vec::as_slice), &[]));
        Ok(packed.collect())
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

    fn is_many(&self) -> bool {
        true
    }

    fn found_by(&self, parent: &RawRecord) -> Result<Option<Uuid>> {
        self.relation.found_by(parent)
    }

    fn wanted(&self, coherence: &Coherence, found_by: Uuid) -> Option<Wanted> {
        self.relation.wanted(coherence, found_by)
    }

    fn sensitive(&self) -> Option<Sensitive> {
        self.relation.sensitive()
    }

    async fn load(&self, store: &Store, found_by: &[Uuid]) -> Result<Vec<Bytes>> {
        self.relation.load(store, found_by).await
    }
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

/// The cache, and what it keeps the related records of these under, if it does: not where it takes the parent itself to
/// know what belongs to it.
pub(crate) fn kept<'a, F: Record, T: Record>(
    store: &'a Store,
    relation: &Relation<F, T>,
    parents: &[Uuid],
) -> Option<(&'a Arc<Coherence>, Vec<Wanted>)> {
    let coherence = store.coherence()?;
    if matches!(relation.path, Path::Parent { .. }) {
        return None;
    }
    let wanted = parents.iter().map(|id| Related::wanted(relation, coherence, *id)).collect::<Option<Vec<_>>>()?;
    Some((coherence, wanted))
}

/// A record with the related records that were asked for, as JSON: those of each relation are a field of its name.
#[derive(Debug)]
pub struct View<R> {
    /// The record alone.
    pub record: Wire<R>,
    pub(crate) json: Bytes,
}

impl<R: Record> View<R> {
    /// All of it as a JSON object.
    pub fn json(&self) -> &Bytes {
        &self.json
    }
}

// A record alone is a view in which nothing was asked for.
impl<R> From<Wire<R>> for View<R> {
    fn from(record: Wire<R>) -> Self {
        Self { json: record.raw.json.clone(), record }
    }
}

impl<R> Serialize for View<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let json = serde_json::from_slice::<&RawValue>(&self.json).map_err(serde::ser::Error::custom)?;
        json.serialize(serializer)
    }
}

/// One relation of one level, and what it led to.
struct Branch<'a> {
    include: &'a Include,
    parents: Vec<RawRecord>,
    /// By the ids of the parents.
    related: HashMap<Uuid, Arc<[RawRecord]>>,
    /// Where the branches are that go on from here.
    next: Vec<usize>,
}

impl<'a> Branch<'a> {
    fn of(include: &'a Include, parents: Vec<RawRecord>) -> Self {
        Self { include, parents, related: HashMap::new(), next: Vec::new() }
    }
}

/// Reads what is to be included with the records, level by level: one look into the cache for all of a level, and one
/// statement for each relation of which something is not kept.
pub(crate) async fn with_related<R: Record>(
    store: &Store,
    records: Vec<Wire<R>>,
    includes: &[Include],
) -> Result<Vec<View<R>>> {
    let roots = records.iter().map(|record| record.raw.clone()).collect::<Vec<_>>();
    let mut branches = includes.iter().map(|include| Branch::of(include, roots.clone())).collect::<Vec<_>>();
    let mut level = 0..branches.len();
    while !level.is_empty() {
        let from = level.end;
        load_level(store, &mut branches[level.clone()]).await?;
        for index in level {
            let Branch { include, related, .. } = &branches[index];
            if let Some(sensitive) = include.related.sensitive() {
                let read = related.values().flat_map(|related| related.iter().map(|record| record.id.to_string()));
                store.tell(sensitive.read(read)).await?;
            }
            let parents = related.values().flat_map(|related| related.iter().cloned()).collect::<Vec<_>>();
            for include in &include.includes {
                let next = branches.len();
                branches[index].next.push(next);
                branches.push(Branch::of(include, parents.clone()));
            }
        }
        level = from..branches.len();
    }
    let first = (0..includes.len()).collect::<Vec<_>>();
    let views = records.into_iter().map(|record| {
        let mut json = Vec::with_capacity(record.raw.json.len() * 2);
        write(&mut json, &record.raw, &first, &branches);
        View { record, json: json.into() }
    });
    Ok(views.collect())
}

/// Fills in what the branches of one level lead to.
async fn load_level(store: &Store, level: &mut [Branch<'_>]) -> Result<()> {
    // What is to be found, by branch: each once, however many parents have it.
    let mut places = Vec::<(usize, Uuid)>::new();
    let mut found_by = Vec::with_capacity(level.len());
    for (index, branch) in level.iter().enumerate() {
        let mut ids = HashMap::with_capacity(branch.parents.len());
        for parent in &branch.parents {
            if let Some(id) = branch.include.related.found_by(parent)? {
                ids.insert(parent.id, id);
            }
        }
        let distinct = ids.values().copied().collect::<BTreeSet<_>>();
        places.extend(distinct.into_iter().map(|id| (index, id)));
        found_by.push(ids);
    }
    let related = level.iter().map(|branch| branch.include.related).collect::<Vec<_>>();
    let load = async |missing: Vec<usize>| {
        let mut ids = vec![Vec::new(); related.len()];
        missing.iter().for_each(|place| ids[places[*place].0].push(places[*place].1));
        let loads = related.iter().zip(&ids).filter(|(_, ids)| !ids.is_empty());
        // They come in the order of the branches, and so did the places.
        let loaded = try_join_all(loads.map(|(related, ids)| related.load(store, ids))).await?;
        Ok(loaded.into_iter().flatten().collect::<Vec<_>>())
    };
    // What the cache keeps, and what it does not.
    let (mut kept, mut wanted, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (place, (index, id)) in places.iter().enumerate() {
        match store.coherence().and_then(|coherence| related[*index].wanted(coherence, *id)) {
            Some(one) => {
                kept.push(place);
                wanted.push(one);
            }
            None => others.push(place),
        }
    }
    let mut values = Vec::with_capacity(places.len());
    if let Some(coherence) = store.coherence().filter(|_| !kept.is_empty()) {
        let missing = async |missing: Vec<usize>| load(missing.into_iter().map(|nth| kept[nth]).collect()).await;
        values.extend(kept.iter().copied().zip(coherence.through_all(&wanted, missing).await?));
    }
    if !others.is_empty() {
        values.extend(others.iter().copied().zip(load(others.clone()).await?));
    }
    let mut found = HashMap::with_capacity(values.len());
    for (place, value) in &values {
        found.insert(places[*place], Arc::<[RawRecord]>::from(wire::unpack(value)?.0));
    }
    for (index, (branch, ids)) in level.iter_mut().zip(found_by).enumerate() {
        let related = ids.into_iter().filter_map(|(parent, id)| Some((parent, Arc::clone(found.get(&(index, id))?))));
        branch.related = related.collect();
    }
    Ok(())
}

/// Writes a record with the branches that begin at it.
fn write(json: &mut Vec<u8>, record: &RawRecord, at: &[usize], branches: &[Branch<'_>]) {
    if at.is_empty() {
        return json.extend_from_slice(&record.json);
    }
    // Into the object, before its end.
    json.extend_from_slice(record.json.strip_suffix(b"}").unwrap_or(&record.json));
    for index in at {
        let Branch { include, related, next, .. } = &branches[*index];
        json.extend_from_slice(b",\"");
        json.extend_from_slice(include.related.name().as_bytes());
        json.extend_from_slice(b"\":");
        let related = related.get(&record.id).map_or(&[][..], |related| related);
        if !include.related.is_many() {
            match related.first() {
                Some(one) => write(json, one, next, branches),
                None => json.extend_from_slice(b"null"),
            }
            continue;
        }
        json.push(b'[');
        for (place, one) in related.iter().enumerate() {
            if place > 0 {
                json.push(b',');
            }
            write(json, one, next, branches);
        }
        json.push(b']');
    }
    json.push(b'}');
}
