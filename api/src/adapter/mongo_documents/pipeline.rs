//! What follows from many documents, as MongoDB has it.
//!
//! The order of documents is part of what a pipeline means, and MongoDB promises one only right after a sort. So it is
//! remembered here, and said again where it matters: before a limit, and at the end.

use std::borrow::Cow;

use domain::{
    DocumentsError,
    document::{Document as Found, FieldPath, Fold, GroupKey, ID, Kind, Pipeline, SortBy, SortKey, Stage, Unit},
};
use mongodb::bson::{Bson, Document, doc};
use serde_json::Value;

use super::filter::{filter, is_of_kind, nothing, reference};

/// The fields by which documents are in order at the moment, and whether upwards.
type Order = Vec<(String, bool)>;

/// The stages of a pipeline on a collection, as far as MongoDB takes it: [`finish`] does the rest.
pub(super) fn stages(pipeline: &Pipeline) -> Result<Vec<Document>, DocumentsError> {
    translate(pipeline, vec![(ID.to_owned(), true)])
}

fn translate(pipeline: &Pipeline, mut order: Order) -> Result<Vec<Document>, DocumentsError> {
    let mut stages = Vec::new();
    for stage in &pipeline.stages {
        match stage {
            Stage::Match(matches) => stages.push(doc! { "$match": filter(matches)? }),
            Stage::Sort(keys) => order = sorted(keys, &order),
            Stage::Limit(0) => stages.push(doc! { "$match": nothing() }),
            Stage::Limit(limit) => {
                stages.extend(in_order(&order));
                stages.push(doc! { "$limit": i64::try_from(*limit).unwrap_or(i64::MAX) });
            }
            Stage::Group { keys, folds } => {
                stages.extend(group(keys, folds));
                order = keys.iter().map(|(name, _)| (name.clone().into_owned(), true)).collect();
            }
            Stage::Facet(facets) => {
                let facet = |(name, pipeline): &(Cow<'static, str>, Pipeline)| {
                    Ok((name.clone().into_owned(), translate(pipeline, order.clone())?.into()))
                };
                let facets = facets.iter().map(facet).collect::<Result<Vec<(String, Bson)>, DocumentsError>>()?;
                stages.push(doc! { "$facet": facets.into_iter().collect::<Document>() });
                return Ok(stages);
            }
            Stage::Count(name) => {
                stages.push(doc! { "$count": name.as_ref() });
                return Ok(stages);
            }
        }
    }
    stages.extend(in_order(&order));
    Ok(stages)
}

/// What a pipeline gives, of what MongoDB gave. Where there is nothing to be counted it says nothing; and what follows
/// from the one document of a count, or of facets, is found out here.
pub(super) fn finish(pipeline: &Pipeline, mut found: Vec<Found>) -> Vec<Found> {
    let ends = |stage: &Stage| matches!(stage, Stage::Count(_) | Stage::Facet(_));
    let Some(end) = pipeline.stages.iter().position(ends) else { return found };
    match &pipeline.stages[end] {
        Stage::Count(name) if found.is_empty() => {
            found.push(Found::from_iter([(name.clone().into_owned(), 0.into())]));
        }
        Stage::Facet(facets) => {
            for (name, pipeline) in facets {
                let facet = found.first_mut().and_then(|found| found.get_mut(name.as_ref()));
                if let Some(Value::Array(items)) = facet {
                    let inner = std::mem::take(items).into_iter().filter_map(|item| match item {
                        Value::Object(document) => Some(document),
                        _ => None,
                    });
                    let finished = finish(pipeline, inner.collect());
                    items.extend(finished.into_iter().map(Value::Object));
                }
            }
        }
        Stage::Count(_) | Stage::Match(_) | Stage::Group { .. } | Stage::Sort(_) | Stage::Limit(_) => {}
    }
    let rest = Pipeline { stages: pipeline.stages[end + 1..].to_vec() };
    if rest.stages.is_empty() { found } else { rest.run(found) }
}

/// By these keys, and where they are equal in the order there was.
fn sorted(keys: &[SortKey], before: &Order) -> Order {
    let keys = keys.iter().filter_map(|key| match &key.by {
        SortBy::Field(field) => Some((field.path.clone().into_owned(), !key.is_descending)),
        SortBy::Rank { .. } | SortBy::Distance { .. } => None,
    });
    let mut order = Order::new();
    for (path, is_ascending) in keys.chain(before.iter().cloned()) {
        if !order.iter().any(|(found, _)| *found == path) {
            order.push((path, is_ascending));
        }
    }
    order
}

fn in_order(order: &Order) -> Option<Document> {
    let fields =
        order.iter().map(|(path, is_ascending)| (path.clone(), Bson::Int32(if *is_ascending { 1 } else { -1 })));
    (!order.is_empty()).then(|| doc! { "$sort": fields.collect::<Document>() })
}

fn group(keys: &[(Cow<'static, str>, GroupKey)], folds: &[(Cow<'static, str>, Fold)]) -> [Document; 2] {
    // The names of the caller are given at the end, because `_id` is one that a group needs.
    let key = |n: usize| format!("k{n}");
    let fold = |n: usize| format!("f{n}");
    let id = keys.iter().enumerate().map(|(n, (_, of))| (key(n), key_of(of))).collect::<Document>();
    let mut group = doc! { "_id": id };
    group.extend(folds.iter().enumerate().map(|(n, (_, of))| (fold(n), accumulated(of))));

    let mut shown = doc! { "_id": 0 };
    shown.extend(
        keys.iter().enumerate().map(|(n, (name, _))| (name.clone().into_owned(), format!("$_id.{}", key(n)).into())),
    );
    shown.extend(
        folds
            .iter()
            .enumerate()
            .map(|(n, (name, of))| (name.clone().into_owned(), result(of, &format!("${}", fold(n))))),
    );
    [doc! { "$group": group }, doc! { "$project": shown }]
}

/// The value of a field if it is one of its kind, or null.
fn scalar(field: &FieldPath) -> Bson {
    let value = reference(field);
    doc! { "$cond": [is_of_kind(&value, &field.kind), &value, null] }.into()
}

fn key_of(key: &GroupKey) -> Bson {
    match key {
        GroupKey::Field(field) => scalar(field),
        GroupKey::Bucket { field, unit } => {
            let unit = match unit {
                Unit::Hour => "hour",
                Unit::Day => "day",
                Unit::Week => "week",
                Unit::Month => "month",
            };
            let date = scalar(field);
            doc! { "$dateTrunc": { "date": date, "unit": unit, "timezone": "UTC", "startOfWeek": "monday" } }.into()
        }
    }
}

fn accumulated(fold: &Fold) -> Bson {
    match fold {
        Fold::Count => doc! { "$sum": Bson::Int64(1) },
        Fold::Sum(field) => doc! { "$sum": scalar(field) },
        Fold::Avg(field) => doc! { "$avg": scalar(field) },
        Fold::Min(field) => doc! { "$min": scalar(field) },
        Fold::Max(field) => doc! { "$max": scalar(field) },
        Fold::CountDistinct(field) => doc! { "$addToSet": scalar(field) },
    }
    .into()
}

fn result(fold: &Fold, value: &str) -> Bson {
    match fold {
        // Of nothing it would be a whole number.
        Fold::Sum(field) if field.kind == Kind::Float => doc! { "$toDouble": value }.into(),
        Fold::CountDistinct(_) => doc! { "$size": { "$setDifference": [value, [null]] } }.into(),
        Fold::Count | Fold::Sum(_) | Fold::Avg(_) | Fold::Min(_) | Fold::Max(_) => value.into(),
    }
}
