//! Questions and changes, as MongoDB has them.

use std::borrow::Cow;

use domain::{
    DocumentsError,
    document::{After, Collection, Edit, FieldPath, ID, Point, Query, SortBy, SortKey, Update, WORDS},
};
use mongodb::bson::{Bson, Document, doc};
use serde_json::Value;

use super::{filter, value};

/// How a question is asked.
pub(super) enum Question {
    /// With an order by fields, for which there may be an index.
    Find(Box<Find>),
    /// With an order that has to be computed.
    Aggregate(Vec<Document>),
}

pub(super) struct Find {
    pub(super) filter: Document,
    pub(super) sort: Document,
    pub(super) skip: u64,
    pub(super) limit: Option<i64>,
    pub(super) fields: Option<Document>,
}

pub(super) fn question(query: &Query) -> Result<Question, DocumentsError> {
    let Query { filter, sort, after, skip, limit, fields } = query;
    let mut filter = filter::filter(filter)?;
    if let Some(after) = after {
        filter = doc! { "$and": [filter, comes_after(sort, after)] };
    }
    let limit = limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let fields = fields.as_ref().map(|fields| {
        let shown = fields.iter().map(|name| (name.clone().into_owned(), Bson::Int32(1)));
        [(ID.to_owned(), Bson::Int32(1))].into_iter().chain(shown).collect::<Document>()
    });
    if sort.iter().all(|key| matches!(key.by, SortBy::Field(_))) {
        return Ok(Question::Find(Box::new(Find { filter, sort: order(sort), skip: *skip, limit, fields })));
    }
    let computed = sort.iter().enumerate().filter_map(|(n, key)| match &key.by {
        SortBy::Field(_) => None,
        SortBy::Rank { words } => Some((computed_name(n), rank(words))),
        SortBy::Distance { field, from } => Some((computed_name(n), distance(field, *from))),
    });
    let computed = computed.collect::<Document>();
    let names = computed.keys().cloned().collect::<Vec<_>>();
    let mut stages = vec![doc! { "$match": filter }, doc! { "$set": computed }, doc! { "$sort": order(sort) }];
    if *skip > 0 {
        stages.push(doc! { "$skip": i64::try_from(*skip).unwrap_or(i64::MAX) });
    }
    if let Some(limit) = limit {
        stages.push(doc! { "$limit": limit });
    }
    stages.push(fields.map_or_else(|| doc! { "$unset": names }, |fields| doc! { "$project": fields }));
    Ok(Question::Aggregate(stages))
}

/// Names of ours begin with an underscore, and no collection has this one.
fn computed_name(n: usize) -> String {
    format!("_sort{n}")
}

fn order(sort: &[SortKey]) -> Document {
    let mut order = Document::new();
    for (n, key) in sort.iter().enumerate() {
        let name = match &key.by {
            SortBy::Field(field) => field.path.clone(),
            SortBy::Rank { .. } | SortBy::Distance { .. } => Cow::Owned(computed_name(n)),
        };
        // What was said first holds.
        if !order.contains_key(name.as_ref()) {
            order.insert(name, if key.is_descending { -1 } else { 1 });
        }
    }
    if !order.contains_key(ID) {
        order.insert(ID, 1);
    }
    order
}

/// Whether a document comes after a place: it does by one of the keys, and is there equal by those before it.
fn comes_after(sort: &[SortKey], After { values, id }: &After) -> Document {
    let mut equal = Vec::<Document>::new();
    let mut ways = Vec::new();
    let fields = sort.iter().zip(values).filter_map(|(key, value)| match &key.by {
        SortBy::Field(field) => Some((field.path.as_ref(), key.is_descending, value.as_ref().map(value::scalar))),
        SortBy::Rank { .. } | SortBy::Distance { .. } => None,
    });
    for (path, is_descending, value) in fields.chain([(ID, false, Some(id.as_str().into()))]) {
        let beyond = match (&value, is_descending) {
            (Some(value), false) => Some(doc! { path: { "$gt": value } }),
            (None, false) => Some(doc! { path: { "$ne": null } }),
            (Some(value), true) => Some(doc! { "$or": [{ path: { "$lt": value } }, { path: null }] }),
            // Nothing comes after nothing.
            (None, true) => None,
        };
        if let Some(beyond) = beyond {
            ways.push(doc! { "$and": equal.iter().cloned().chain([beyond]).collect::<Vec<_>>() });
        }
        equal.push(doc! { path: value.unwrap_or(Bson::Null) });
    }
    doc! { "$or": ways }
}

fn rank(words: &[String]) -> Bson {
    let words = words.iter().map(|word| Bson::from(word.as_str())).collect::<Vec<_>>();
    let held = doc! { "$ifNull": [format!("${WORDS}"), []] };
    doc! { "$size": { "$setIntersection": [held, { "$literal": words }] } }.into()
}

/// How far away a point is, as the language has it: along the great circle; without a point, farther than any.
fn distance(field: &FieldPath, from: Point) -> Bson {
    let degrees = |n: i32| doc! { "$arrayElemAt": [format!("${}.coordinates", field.path), n] };
    let radians = |expression: Document| doc! { "$degreesToRadians": expression };
    let half = |there: Document, here: f64| {
        doc! { "$pow": [{ "$sin": { "$divide": [radians(doc! { "$subtract": [here, there] }), 2.0] } }, 2] }
    };
    let across = doc! { "$multiply": [from.latitude().to_radians().cos(), { "$cos": radians(degrees(1)) }] };
    let chord = doc! { "$add": [half(degrees(1), from.latitude()),
    { "$multiply": [across, half(degrees(0), from.longitude())] }] };
    let distance = doc! { "$asin": { "$sqrt": { "$min": [chord, 1.0] } } };
    let is_point = doc! { "$isArray": format!("${}.coordinates", field.path) };
    doc! { "$cond": [is_point, distance, f64::INFINITY] }.into()
}

/// What becomes of documents; nothing if there is nothing to be done.
pub(super) fn update(collection: &Collection, update: &Update) -> Result<Option<Document>, DocumentsError> {
    let mut changes = Document::new();
    for edit in &update.edits {
        let FieldPath { path, .. } = edit.field();
        let kind = collection.look_up(path).map(|(kind, _)| kind);
        let (operator, change) = match edit {
            Edit::Set { value: Value::Null, .. } | Edit::Unset { .. } => ("$unset", "".into()),
            Edit::Set { value, .. } => ("$set", admitted(value, kind.as_ref())?),
            Edit::Inc { by, .. } => ("$inc", value::scalar(by)),
            Edit::Push { value, .. } => {
                let item = match &kind {
                    Some(domain::document::Kind::List(item)) => Some(item.as_ref()),
                    _ => None,
                };
                ("$push", admitted(value, item)?)
            }
            Edit::Pull { value, .. } => ("$pull", value::scalar(value)),
        };
        let of_operator = changes.entry(operator.to_owned()).or_insert_with(|| Document::new().into());
        if let Bson::Document(of_operator) = of_operator {
            of_operator.insert(path.as_ref(), change);
        }
    }
    Ok((!changes.is_empty()).then_some(changes))
}

/// A value that may be kept; what MongoDB would take and others not is refused.
fn admitted(value: &Value, kind: Option<&domain::document::Kind>) -> Result<Bson, DocumentsError> {
    fn check(value: &Value) -> Result<(), DocumentsError> {
        match value {
            Value::String(text) if text.contains('\0') => {
                Err(DocumentsError::Refused("a text must not have U+0000 in it".to_owned()))
            }
            Value::Array(items) => items.iter().try_for_each(check),
            Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
                if name.is_empty() || name.starts_with('$') || name.contains(['.', '\0']) {
                    let why = "a field's name must not be empty, begin with $, or have a dot or U+0000 in it";
                    return Err(DocumentsError::Refused(why.to_owned()));
                }
                check(value)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }
    check(value).map(|()| value::of_kind(value, kind))
}
