//! What follows from many documents.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use chrono::{Datelike, Days, NaiveDateTime, Timelike};
use serde_json::Value;

use super::{
    Document, ID,
    filter::{Filter, scalar_of},
    kind::{FieldPath, Kind, Ordered, Owned, Scalar, order, time_text},
    query::SortKey,
};
use crate::value::Timestamp;

/// Stages, each of which makes documents of those of the one before. The first has the documents of the collection, in
/// the order of their ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pipeline {
    pub stages: Vec<Stage>,
}

/// A stage of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// Only documents that are so. [`Filter::Text`] and [`Filter::Within`] come before any group.
    Match(Filter),
    /// One document for each combination of the keys' values, in their order: the keys and the folds by their names.
    /// Where a key has no value, that is null.
    Group { keys: Vec<(Cow<'static, str>, GroupKey)>, folds: Vec<(Cow<'static, str>, Fold)> },
    /// In this order, by fields only; equals in the order of the stage before.
    Sort(Vec<SortKey>),
    /// The first so many.
    Limit(u64),
    /// One document, in which each of these pipelines has its documents as a list. They hold no facets of their own.
    Facet(Vec<(Cow<'static, str>, Pipeline)>),
    /// One document that has in this field how many there are, also when there are none.
    Count(Cow<'static, str>),
}

/// What documents of a group have in common. The field is a scalar in no list.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupKey {
    /// The value of the field.
    Field(FieldPath),
    /// The instant at which the hour, day, week or month of the time in the field began, in UTC.
    Bucket { field: FieldPath, unit: Unit },
}

/// A span of time. Weeks begin on Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Hour,
    Day,
    Week,
    Month,
}

/// What follows from the documents of a group. The field is a scalar in no list; documents without it do not count.
#[derive(Debug, Clone, PartialEq)]
pub enum Fold {
    /// How many documents there are.
    Count,
    /// Their sum; of none 0. Of integers an integer, unless it is too large for one.
    Sum(FieldPath),
    /// Their arithmetic mean, a float; of none null.
    Avg(FieldPath),
    /// The first of the values in their order; of none null.
    Min(FieldPath),
    /// The last of the values in their order; of none null.
    Max(FieldPath),
    /// How many different values there are.
    CountDistinct(FieldPath),
}

impl Pipeline {
    /// What follows, given all documents of the collection. This is what a pipeline means.
    pub fn run(&self, mut documents: Vec<Document>) -> Vec<Document> {
        let id = |document: &Document| document.get(ID).and_then(Value::as_str).unwrap_or_default().to_owned();
        documents.sort_by_cached_key(id);
        self.run_in_order(documents)
    }

    fn run_in_order(&self, documents: Vec<Document>) -> Vec<Document> {
        self.stages.iter().fold(documents, |documents, stage| stage.run(documents))
    }

    /// The filter of the first stages, and how many stages that is.
    pub(crate) fn narrowed(&self) -> (Filter, usize) {
        let matches = self.stages.iter().map_while(|stage| match stage {
            Stage::Match(filter) => Some(filter.clone()),
            Stage::Group { .. } | Stage::Sort(_) | Stage::Limit(_) | Stage::Facet(_) | Stage::Count(_) => None,
        });
        let matches = matches.collect::<Vec<_>>();
        let stages = matches.len();
        (Filter::All(matches), stages)
    }
}

impl Stage {
    fn run(&self, mut documents: Vec<Document>) -> Vec<Document> {
        match self {
            Self::Match(filter) => {
                documents.retain(|document| filter.matches(document));
                documents
            }
            Self::Group { keys, folds } => group(keys, folds, &documents),
            Self::Sort(by) => {
                documents.sort_by(|a, b| {
                    let keys = by.iter().map(|key| key.order(key.value(a).as_ref(), key.value(b).as_ref()));
                    keys.fold(Ordering::Equal, Ordering::then)
                });
                documents
            }
            Self::Limit(limit) => {
                documents.truncate(usize::try_from(*limit).unwrap_or(usize::MAX));
                documents
            }
            Self::Facet(facets) => {
                let facet = |(name, pipeline): &(Cow<'static, str>, Pipeline)| {
                    let found = pipeline.run_in_order(documents.clone()).into_iter().map(Value::Object).collect();
                    (name.clone().into_owned(), found)
                };
                vec![facets.iter().map(facet).collect()]
            }
            Self::Count(name) => {
                vec![Document::from_iter([(name.clone().into_owned(), documents.len().into())])]
            }
        }
    }
}

fn group(
    keys: &[(Cow<'static, str>, GroupKey)],
    folds: &[(Cow<'static, str>, Fold)],
    documents: &[Document],
) -> Vec<Document> {
    let mut groups = BTreeMap::<Vec<Option<Owned>>, Vec<&Document>>::new();
    for document in documents {
        groups.entry(keys.iter().map(|(_, key)| key.value(document)).collect()).or_default().push(document);
    }
    let document = |(values, of): (Vec<Option<Owned>>, Vec<&Document>)| {
        let values =
            keys.iter().zip(values).map(|((name, _), value)| (name, value.map_or(Value::Null, Owned::into_json)));
        let folded = folds.iter().map(|(name, fold)| (name, fold.value(&of)));
        values.chain(folded).map(|(name, value)| (name.clone().into_owned(), value)).collect()
    };
    groups.into_iter().map(document).collect()
}

impl GroupKey {
    /// The field that it is of.
    pub fn field(&self) -> &FieldPath {
        match self {
            Self::Field(field) | Self::Bucket { field, .. } => field,
        }
    }

    fn value(&self, document: &Document) -> Option<Owned> {
        match self {
            Self::Field(field) => Some(scalar_of(document, field)?.owned()),
            Self::Bucket { field, unit } => {
                let Some(Scalar::Time(instant)) = Scalar::read(super::filter::value_of(document, field)?, &field.kind)
                else {
                    return None;
                };
                Some(Owned::Text(time_text(unit.begin(instant)?)))
            }
        }
    }
}

impl Unit {
    /// When the hour, day, week or month began in which an instant is.
    pub fn begin(self, instant: Timestamp) -> Option<Timestamp> {
        let instant = instant.utc().naive_utc();
        let day = instant.date();
        let midnight = |day: chrono::NaiveDate| day.and_hms_opt(0, 0, 0);
        let begin: NaiveDateTime = match self {
            Self::Hour => day.and_hms_opt(instant.hour(), 0, 0)?,
            Self::Day => midnight(day)?,
            Self::Week => midnight(day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into()))?)?,
            Self::Month => midnight(day.with_day(1)?)?,
        };
        Some(Timestamp::new(begin.and_utc()))
    }
}

impl Fold {
    /// The field that it is of, if it is of one.
    pub fn field(&self) -> Option<&FieldPath> {
        match self {
            Self::Count => None,
            Self::Sum(field) | Self::Avg(field) | Self::Min(field) | Self::Max(field) | Self::CountDistinct(field) => {
                Some(field)
            }
        }
    }

    fn value(&self, documents: &[&Document]) -> Value {
        let values = |field| documents.iter().filter_map(move |document| scalar_of(document, field));
        let json = |value: Option<Ordered<'_>>| value.map_or(Value::Null, |value| value.owned().into_json());
        match self {
            Self::Count => documents.len().into(),
            Self::Sum(field) => sum(values(field), &field.kind),
            Self::Avg(field) => {
                let (count, total) =
                    values(field).fold((0_u32, 0.0), |(count, total), value| (count + 1, total + float(value)));
                if count == 0 { Value::Null } else { (total / f64::from(count)).into() }
            }
            Self::Min(field) => json(values(field).reduce(|a, b| if order(b, a).is_lt() { b } else { a })),
            Self::Max(field) => json(values(field).reduce(|a, b| if order(b, a).is_gt() { b } else { a })),
            Self::CountDistinct(field) => values(field).map(Ordered::owned).collect::<BTreeSet<_>>().len().into(),
        }
    }
}

fn float(value: Ordered<'_>) -> f64 {
    match value {
        Ordered::Integer(number) => number as f64,
        Ordered::Float(number) => number,
        Ordered::Text(_) | Ordered::Boolean(_) => 0.0,
    }
}

fn sum<'a>(values: impl Iterator<Item = Ordered<'a>>, kind: &Kind) -> Value {
    let (mut whole, mut fraction, mut is_float) = (0_i128, 0.0, *kind == Kind::Float);
    for value in values {
        match value {
            Ordered::Integer(number) => whole += i128::from(number),
            value => {
                fraction += float(value);
                is_float = true;
            }
        }
    }
    match i64::try_from(whole) {
        Ok(whole) if !is_float => whole.into(),
        _ => (whole as f64 + fraction).into(),
    }
}
