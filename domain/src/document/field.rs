//! Typed fields, and what is built of them.

use std::{borrow::Cow, marker::PhantomData};

use serde::Serialize;
use serde_json::Value;

use super::{
    collection::{Direction, IndexKey},
    filter::{Comparison, Filter},
    geo::{Area, Point, Polygon},
    kind::{Comparable, FieldPath, Held, Kind, Scalar},
    pipeline::{Fold, GroupKey, Pipeline, Stage, Unit},
    query::{After, Query, SortBy, SortKey},
    update::{Edit, Update},
    words::words,
};
use crate::value::Timestamp;

/// A field of type `T` of documents of type `D`.
pub struct Field<D, T> {
    path: Cow<'static, str>,
    types: PhantomData<fn() -> (D, T)>,
}

/// A [`Filter`], [`Update`], [`Query`] or [`Pipeline`] for documents of type `D`: one for others does not fit.
pub struct Typed<D, N> {
    node: N,
    document: PhantomData<fn() -> D>,
}

impl<D, N> Typed<D, N> {
    pub(crate) const fn new(node: N) -> Self {
        Self { node, document: PhantomData }
    }

    /// As the port takes it.
    pub fn into_inner(self) -> N {
        self.node
    }

    /// As the port takes it.
    pub fn as_inner(&self) -> &N {
        &self.node
    }
}

impl<D, N: Clone> Clone for Typed<D, N> {
    fn clone(&self) -> Self {
        Self::new(self.node.clone())
    }
}

impl<D, N: std::fmt::Debug> std::fmt::Debug for Typed<D, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.node.fmt(f)
    }
}

impl<D, N: Default> Default for Typed<D, N> {
    fn default() -> Self {
        Self::new(N::default())
    }
}

impl<D, T> Field<D, T> {
    /// The field at this path, which is known to be of that type.
    pub const fn at(path: &'static str) -> Self {
        Self { path: Cow::Borrowed(path), types: PhantomData }
    }

    /// The path of a field that was [declared](Self::at), where nothing may have to be dropped.
    pub(crate) const fn into_path(self) -> &'static str {
        let path = match &self.path {
            Cow::Borrowed(path) => path,
            Cow::Owned(_) => "",
        };
        std::mem::forget(self);
        path
    }

    /// The names that lead to it, with dots between.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn then_path<E, U>(self, inner: &Field<E, U>) -> Field<D, U> {
        Field { path: format!("{}.{}", self.path, inner.path).into(), types: PhantomData }
    }

    /// A field of the object in this one.
    pub fn then<U>(self, inner: Field<T::Compared, U>) -> Field<D, U>
    where
        T: Held,
    {
        self.then_path(&inner)
    }
}

impl<D, T: Held> Field<D, T> {
    /// Without its types.
    pub fn untyped(self) -> FieldPath {
        FieldPath::new(self.path, T::kind())
    }

    /// What it is compared as: of a list, what its items are.
    fn compared(self) -> FieldPath {
        let mut kind = T::kind();
        while let Kind::List(item) = kind {
            kind = *item;
        }
        FieldPath::new(self.path, kind)
    }

    fn compare(self, is: Comparison, value: impl Into<T::Compared>) -> Typed<D, Filter>
    where
        T::Compared: Comparable,
    {
        Typed::new(Filter::Compare { field: self.compared(), is, value: value.into().into_scalar() })
    }

    /// Is this; a list: has this.
    pub fn eq(self, value: impl Into<T::Compared>) -> Typed<D, Filter>
    where
        T::Compared: Comparable,
    {
        self.compare(Comparison::Eq, value)
    }

    /// Is another than this, or nothing; a list: does not have this.
    pub fn ne(self, value: impl Into<T::Compared>) -> Typed<D, Filter>
    where
        T::Compared: Comparable,
    {
        self.eq(value).not()
    }

    /// Is greater.
    pub fn gt(self, value: impl Into<T::Compared>) -> Typed<D, Filter>
    where
        T::Compared: Comparable,
    {
        self.compare(Comparison::Gt, value)
    }

    /// Is this or greater.
    pub fn gte(self, value: impl Into<T::Compared>) -> Typed<D, Filter>
    where
        T::Compared: Comparable,
    {
        self.compare(Comparison::Gte, value)
    }

    /// Is less.
    pub fn lt(self, value: impl Into<T::Compared>) -> Typed<D, Filter>
    where
        T::Compared: Comparable,
    {
        self.compare(Comparison::Lt, value)
    }

    /// Is this or less.
    pub fn lte(self, value: impl Into<T::Compared>) -> Typed<D, Filter>
    where
        T::Compared: Comparable,
    {
        self.compare(Comparison::Lte, value)
    }

    /// Is one of these.
    pub fn is_in(self, values: impl IntoIterator<Item = impl Into<T::Compared>>) -> Typed<D, Filter>
    where
        T::Compared: Comparable,
    {
        let values = values.into_iter().map(|value| value.into().into_scalar()).collect();
        Typed::new(Filter::In { field: self.compared(), values })
    }

    /// Is there.
    pub fn exists(self) -> Typed<D, Filter> {
        Typed::new(Filter::Exists { field: self.untyped() })
    }

    /// In this order.
    pub fn ascending(self) -> SortKey {
        SortKey { by: SortBy::Field(self.untyped()), is_descending: false }
    }

    /// In the opposite order.
    pub fn descending(self) -> SortKey {
        SortKey { by: SortBy::Field(self.untyped()), is_descending: true }
    }

    /// Becomes this. What cannot be written as JSON becomes nothing, which the collection's schema does not take.
    pub fn set(self, value: T) -> Typed<D, Update>
    where
        T: Serialize,
    {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        Typed::new(Update { edits: vec![Edit::Set { field: self.untyped(), value }] })
    }

    /// Is no longer there.
    pub fn unset(self) -> Typed<D, Update> {
        Typed::new(Update { edits: vec![Edit::Unset { field: self.untyped() }] })
    }

    /// Becomes greater by this.
    pub fn inc(self, by: impl Into<T::Compared>) -> Typed<D, Update>
    where
        T::Compared: Comparable,
    {
        Typed::new(Update { edits: vec![Edit::Inc { field: self.untyped(), by: by.into().into_scalar() }] })
    }

    /// The values, as keys of groups.
    pub fn key(self) -> GroupKey {
        GroupKey::Field(self.untyped())
    }

    /// Their sum.
    pub fn sum(self) -> Fold {
        Fold::Sum(self.untyped())
    }

    /// Their arithmetic mean.
    pub fn avg(self) -> Fold {
        Fold::Avg(self.untyped())
    }

    /// The first in their order.
    pub fn min(self) -> Fold {
        Fold::Min(self.untyped())
    }

    /// The last in their order.
    pub fn max(self) -> Fold {
        Fold::Max(self.untyped())
    }

    /// How many different values there are.
    pub fn count_distinct(self) -> Fold {
        Fold::CountDistinct(self.untyped())
    }
}

impl<D, T: Held<Compared = Timestamp>> Field<D, T> {
    /// The spans of time in which the values are, as keys of groups.
    pub fn bucket(self, unit: Unit) -> GroupKey {
        GroupKey::Bucket { field: self.untyped(), unit }
    }
}

impl<D, T: Held<Compared = Point>> Field<D, T> {
    /// Is not farther from there than so many metres.
    pub fn near(self, center: Point, metres: f64) -> Typed<D, Filter> {
        Typed::new(Filter::Within { field: self.untyped(), area: Area::Circle { center, metres } })
    }

    /// Is in there.
    pub fn within(self, polygon: Polygon) -> Typed<D, Filter> {
        Typed::new(Filter::Within { field: self.untyped(), area: Area::Polygon(polygon) })
    }

    /// By how far away it is, the nearest first.
    pub fn nearest(self, from: Point) -> SortKey {
        SortKey { by: SortBy::Distance { field: self.untyped(), from }, is_descending: false }
    }
}

impl<D, T: Held> Field<D, Vec<T>> {
    /// This holds for one of the items.
    pub fn any(self, matches: Typed<T::Compared, Filter>) -> Typed<D, Filter> {
        Typed::new(Filter::Element { field: self.untyped(), matches: Box::new(matches.into_inner()) })
    }

    /// Gets one more item.
    pub fn push(self, value: T) -> Typed<D, Update>
    where
        T: Serialize,
    {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        Typed::new(Update { edits: vec![Edit::Push { field: self.untyped(), value }] })
    }

    /// Loses the items that are this.
    pub fn pull(self, value: impl Into<T::Compared>) -> Typed<D, Update>
    where
        T::Compared: Comparable,
    {
        Typed::new(Update { edits: vec![Edit::Pull { field: self.untyped(), value: value.into().into_scalar() }] })
    }
}

/// An index has the field in this order.
pub fn asc<D, T: Held>(field: Field<D, T>) -> IndexKey {
    IndexKey { field: field.compared(), direction: Direction::Ascending }
}

/// An index has the field in the opposite order.
pub fn desc<D, T: Held>(field: Field<D, T>) -> IndexKey {
    IndexKey { field: field.compared(), direction: Direction::Descending }
}

impl<D> Typed<D, Filter> {
    /// Every document.
    pub fn everything() -> Self {
        Self::new(Filter::everything())
    }

    /// Documents with any of the words of this text. They can be [ranked](Typed::by_rank) by how many.
    pub fn text(text: &str) -> Self {
        Self::new(Filter::Text { words: words(text) })
    }

    /// Both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self.node {
            Filter::All(mut all) if !all.is_empty() => {
                all.push(other.node);
                Self::new(Filter::All(all))
            }
            Filter::All(_) => other,
            node => Self::new(Filter::All(vec![node, other.node])),
        }
    }

    /// One of them holds, or both.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self.node {
            Filter::Any(mut any) => {
                any.push(other.node);
                Self::new(Filter::Any(any))
            }
            node => Self::new(Filter::Any(vec![node, other.node])),
        }
    }

    /// It does not hold.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "it stands beside `and` and `or`, which are no operators")]
    pub fn not(self) -> Self {
        Self::new(Filter::Not(Box::new(self.node)))
    }

    /// The question for these documents.
    pub fn query(self) -> Typed<D, Query> {
        Typed::new(Query { filter: self.node, ..Query::default() })
    }

    /// What follows from these documents.
    pub fn pipeline(self) -> Typed<D, Pipeline> {
        Typed::new(Pipeline { stages: vec![Stage::Match(self.node)] })
    }
}

impl<D> Typed<D, Update> {
    /// And this too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.node.edits.extend(other.node.edits);
        self
    }
}

impl<D> Typed<D, Query> {
    /// In this order, among those that are equal so far.
    #[must_use]
    pub fn sort(mut self, key: SortKey) -> Self {
        self.node.sort.push(key);
        self
    }

    /// Those first that have most of the words of this text.
    #[must_use]
    pub fn by_rank(self, text: &str) -> Self {
        self.sort(SortKey { by: SortBy::Rank { words: words(text) }, is_descending: true })
    }

    /// So many at most.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.node.limit = Some(limit);
        self
    }

    /// Without the first so many.
    #[must_use]
    pub fn skip(mut self, skip: u64) -> Self {
        self.node.skip = skip;
        self
    }

    /// Only what comes after that place.
    #[must_use]
    pub fn after(mut self, after: After) -> Self {
        self.node.after = Some(after);
        self
    }
}

impl<D> Typed<D, Pipeline> {
    /// One document for each combination of the keys' values.
    #[must_use]
    pub fn group<const K: usize, const F: usize>(
        self,
        keys: [(&'static str, GroupKey); K],
        folds: [(&'static str, Fold); F],
    ) -> Self {
        let keys = keys.into_iter().map(|(name, key)| (name.into(), key)).collect();
        let folds = folds.into_iter().map(|(name, fold)| (name.into(), fold)).collect();
        self.then(Stage::Group { keys, folds })
    }

    /// Only what is so: by the names and kinds that the stages before have given.
    #[must_use]
    pub fn matching(self, filter: Filter) -> Self {
        self.then(Stage::Match(filter))
    }

    /// In the order of the value that has this name, the greatest first.
    #[must_use]
    pub fn greatest<T: Held>(self, name: &'static str) -> Self {
        self.sort([Field::<D, T>::at(name).descending()])
    }

    /// In this order.
    #[must_use]
    pub fn sort<const N: usize>(self, keys: [SortKey; N]) -> Self {
        self.then(Stage::Sort(keys.into()))
    }

    /// The first so many.
    #[must_use]
    pub fn limit(self, limit: u64) -> Self {
        self.then(Stage::Limit(limit))
    }

    /// Each of these, of the same documents.
    #[must_use]
    pub fn facet<const N: usize>(self, facets: [(&'static str, Self); N]) -> Self {
        let facets = facets.into_iter().map(|(name, pipeline)| (name.into(), pipeline.into_inner())).collect();
        self.then(Stage::Facet(facets))
    }

    /// How many there are.
    #[must_use]
    pub fn count(self, name: &'static str) -> Self {
        self.then(Stage::Count(name.into()))
    }

    fn then(mut self, stage: Stage) -> Self {
        self.node.stages.push(stage);
        self
    }
}

impl Scalar {
    /// The value of a field of this type.
    pub fn of<T: Comparable>(value: T) -> Self {
        value.into_scalar()
    }
}
