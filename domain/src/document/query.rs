//! Which documents, in which order, and what of them.

use std::{borrow::Cow, cmp::Ordering};

use serde::{Deserialize, Serialize};

use super::{
    Document, ID,
    filter::{Filter, rank, scalar_of, value_of},
    geo::Point,
    kind::{FieldPath, Owned, Scalar},
};

/// A question whose answer is documents.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// Which ones.
    pub filter: Filter,
    /// In which order; among equals by [`ID`](super::ID), ascending.
    pub sort: Vec<SortKey>,
    /// Only those that come after this place in the order.
    pub after: Option<After>,
    /// Without the first so many of them.
    pub skip: u64,
    /// So many at most.
    pub limit: Option<u64>,
    /// Only these fields, by their names at the top, and [`ID`](super::ID); all if not said.
    pub fields: Option<Vec<Cow<'static, str>>>,
}

/// One of the things that an order is by.
#[derive(Debug, Clone, PartialEq)]
pub struct SortKey {
    pub by: SortBy,
    pub is_descending: bool,
}

/// By what documents are put in order.
#[derive(Debug, Clone, PartialEq)]
pub enum SortBy {
    /// By a scalar field which is in no list. Nothing comes before any value.
    Field(FieldPath),
    /// By how many of these words, which are all different, a document has.
    Rank { words: Vec<String> },
    /// By how far away the point in this field is, which is in no list. No point is farther than any.
    Distance { field: FieldPath, from: Point },
}

/// A place in an order by fields: just behind the document with these values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct After {
    /// The value for each of the sort keys, in their order.
    pub values: Vec<Option<Scalar>>,
    pub id: String,
}

impl Default for Query {
    fn default() -> Self {
        Self { filter: Filter::everything(), sort: Vec::new(), after: None, skip: 0, limit: None, fields: None }
    }
}

impl Query {
    /// The answer, given all documents of the collection. This is what a query means.
    pub fn run(&self, documents: Vec<Document>) -> Vec<Document> {
        let documents = documents.into_iter().filter(|document| self.filter.matches(document)).collect();
        self.arrange(documents)
    }

    /// The same, where all documents are known to pass the filter.
    pub(crate) fn arrange(&self, documents: Vec<Document>) -> Vec<Document> {
        let mut placed = documents.into_iter().map(|document| (self.place(&document), document)).collect::<Vec<_>>();
        placed.sort_by(|(a, _), (b, _)| self.order(a, b));
        let after = self.after.as_ref().map(Place::from);
        let comes_after = |place: &Place| after.as_ref().is_none_or(|after| self.order(place, after).is_gt());
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX);
        let limit = self.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let kept = placed.into_iter().filter(|(place, _)| comes_after(place)).skip(skip).take(limit);
        kept.map(|(_, document)| self.project(document)).collect()
    }

    /// Only what is asked for of a document.
    pub(crate) fn project(&self, mut document: Document) -> Document {
        if let Some(fields) = &self.fields {
            document.retain(|name, _| name == ID || fields.iter().any(|field| field == name));
        }
        document
    }

    fn place(&self, document: &Document) -> Place {
        Place {
            values: self.sort.iter().map(|key| key.value(document)).collect(),
            id: document.get(ID).and_then(|id| id.as_str()).unwrap_or_default().to_owned(),
        }
    }

    fn order(&self, a: &Place, b: &Place) -> Ordering {
        let by_keys = self.sort.iter().zip(a.values.iter().zip(&b.values));
        let by_keys = by_keys.map(|(key, (a, b))| key.order(a.as_ref(), b.as_ref()));
        by_keys.fold(Ordering::Equal, Ordering::then).then_with(|| a.id.as_bytes().cmp(b.id.as_bytes()))
    }
}

impl After {
    /// Just behind this document in the order of this query, if that is by fields only.
    pub fn document(query: &Query, document: &Document) -> Option<Self> {
        let value = |key: &SortKey| match &key.by {
            SortBy::Field(field) => Some(value_of(document, field).and_then(|value| Scalar::read(value, &field.kind))),
            SortBy::Rank { .. } | SortBy::Distance { .. } => None,
        };
        let values = query.sort.iter().map(value).collect::<Option<_>>()?;
        Some(Self { values, id: document.get(ID)?.as_str()?.to_owned() })
    }
}

/// Where a document is in an order.
struct Place {
    values: Vec<Option<Owned>>,
    id: String,
}

impl From<&After> for Place {
    fn from(After { values, id }: &After) -> Self {
        Self { values: values.iter().map(|value| value.as_ref().map(Owned::from)).collect(), id: id.clone() }
    }
}

impl SortKey {
    /// What a document is sorted by.
    pub(crate) fn value(&self, document: &Document) -> Option<Owned> {
        match &self.by {
            SortBy::Field(field) => Some(scalar_of(document, field)?.owned()),
            SortBy::Rank { words } => Some(Owned::Integer(i64::try_from(rank(document, words)).unwrap_or(i64::MAX))),
            SortBy::Distance { field, from } => {
                let point = value_of(document, field).and_then(Point::of);
                Some(Owned::Float(point.map_or(f64::INFINITY, |point| from.distance(point))))
            }
        }
    }

    /// The order of two such values.
    pub(crate) fn order(&self, a: Option<&Owned>, b: Option<&Owned>) -> Ordering {
        let ascending = a.cmp(&b);
        if self.is_descending { ascending.reverse() } else { ascending }
    }
}
