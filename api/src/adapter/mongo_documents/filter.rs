//! Filters, as MongoDB has them.

use domain::{
    DocumentsError,
    document::{Area, Comparison, EARTH_RADIUS, FieldPath, Filter, Kind, Scalar, WORDS},
};
use mongodb::bson::{Bson, Document, doc};

use super::value;

type Translated = Result<Document, DocumentsError>;

/// The documents that are so.
pub(super) fn filter(filter: &Filter) -> Translated {
    Scope::Document.filter(filter)
}

/// Only the documents with this id.
pub(super) fn is_about_one(filter: &Filter) -> bool {
    match filter {
        Filter::Compare { field, is: Comparison::Eq, .. } => field.path == domain::document::ID,
        Filter::All(filters) => filters.iter().any(is_about_one),
        _ => false,
    }
}

/// No document at all, wherever it stands.
pub(super) fn nothing() -> Document {
    doc! { "$nor": [{}] }
}

/// What paths begin at.
#[derive(Clone, Copy, PartialEq)]
enum Scope {
    Document,
    Item,
}

impl Scope {
    fn filter(self, filter: &Filter) -> Translated {
        Ok(match filter {
            Filter::All(filters) if filters.is_empty() => doc! {},
            Filter::All(filters) => doc! { "$and": self.each(filters)? },
            Filter::Any(filters) if filters.is_empty() => nothing(),
            Filter::Any(filters) => doc! { "$or": self.each(filters)? },
            Filter::Not(filter) => doc! { "$nor": [self.filter(filter)?] },
            Filter::Compare { field, is, value } => doc! { path(field): compared(*is, value) },
            Filter::In { field, values } => doc! { path(field): is_in(values) },
            // Of a list it would be asked whether an item is null.
            Filter::Exists { field } if matches!(field.kind, Kind::List(_)) => {
                doc! { "$or": [{ path(field): { "$type": "array" } }, { path(field): { "$ne": null } }] }
            }
            Filter::Exists { field } => doc! { path(field): { "$ne": null } },
            Filter::Element { field, matches } => self.element(field, matches)?,
            // The index of these words is a plain one. MongoDB's own index for text would split and fold them in its
            // way once more, and could be asked in one place of a question only.
            Filter::Text { words } => doc! { WORDS: { "$in": words } },
            Filter::Within { field, area } => within(field, area),
        })
    }

    fn each(self, filters: &[Filter]) -> Result<Vec<Document>, DocumentsError> {
        filters.iter().map(|filter| self.filter(filter)).collect()
    }

    fn element(self, field: &FieldPath, matches: &Filter) -> Translated {
        if !is_about_item(matches) {
            return Ok(doc! { path(field): { "$elemMatch": Self::Item.filter(matches)? } });
        }
        match (operators(matches), self) {
            (Some(operators), _) => Ok(doc! { path(field): { "$elemMatch": operators } }),
            (None, Self::Document) => {
                let list = doc! { "$cond": [{ "$isArray": reference(field) }, reference(field), []] };
                let holds = doc! { "$map": { "input": list, "as": ITEM, "in": holds(matches)? } };
                Ok(doc! { "$expr": { "$anyElementTrue": [holds] } })
            }
            (None, Self::Item) => {
                Err(DocumentsError::Unsupported("such a filter of the items of a list in a list".into()))
            }
        }
    }
}

fn path(field: &FieldPath) -> String {
    field.path.clone().into_owned()
}

/// The field in an expression; not to be used of names that are not ours.
pub(super) fn reference(field: &FieldPath) -> String {
    format!("${}", field.path)
}

fn compared(is: Comparison, scalar: &Scalar) -> Document {
    doc! { operator(is): value::scalar(scalar) }
}

fn is_in(values: &[Scalar]) -> Document {
    doc! { "$in": values.iter().map(value::scalar).collect::<Vec<_>>() }
}

fn operator(is: Comparison) -> &'static str {
    match is {
        Comparison::Eq => "$eq",
        Comparison::Gt => "$gt",
        Comparison::Gte => "$gte",
        Comparison::Lt => "$lt",
        Comparison::Lte => "$lte",
    }
}

fn within(field: &FieldPath, area: &Area) -> Document {
    match area {
        Area::Circle { metres, .. } if *metres < 0.0 => nothing(),
        // All of the sphere, which is too much of a circle for MongoDB.
        Area::Circle { metres, .. } if *metres >= std::f64::consts::PI * EARTH_RADIUS => {
            doc! { format!("{}.type", field.path): "Point" }
        }
        Area::Circle { center, metres } => {
            let circle: Vec<Bson> = vec![value::place(*center).into(), (metres / EARTH_RADIUS).into()];
            doc! { path(field): { "$geoWithin": { "$centerSphere": circle } } }
        }
        Area::Polygon(polygon) => {
            let corners = polygon.corners();
            let ring = corners.iter().chain(corners.first()).map(|corner| Bson::from(value::place(*corner)));
            let polygon = doc! { "type": "Polygon", "coordinates": [ring.collect::<Vec<_>>()] };
            doc! { path(field): { "$geoWithin": { "$geometry": polygon } } }
        }
    }
}

/// Whether a filter of an item is about the item itself, and not about fields in it.
fn is_about_item(filter: &Filter) -> bool {
    match filter {
        Filter::All(filters) | Filter::Any(filters) => filters.iter().any(is_about_item),
        Filter::Not(filter) => is_about_item(filter),
        Filter::Compare { field, .. }
        | Filter::In { field, .. }
        | Filter::Exists { field }
        | Filter::Element { field, .. }
        | Filter::Within { field, .. } => field.path.is_empty(),
        Filter::Text { .. } => false,
    }
}

/// What is asked of an item itself, if MongoDB has words for it.
fn operators(filter: &Filter) -> Option<Document> {
    match filter {
        Filter::Compare { is, value, .. } => Some(compared(*is, value)),
        Filter::In { values, .. } => Some(is_in(values)),
        Filter::Exists { .. } => Some(doc! { "$ne": null }),
        Filter::Not(filter) => Some(doc! { "$not": operators(filter)? }),
        Filter::All(filters) if !filters.is_empty() => {
            let mut all = Document::new();
            for (operator, value) in filters.iter().map(operators).collect::<Option<Vec<_>>>()?.into_iter().flatten() {
                // Said twice, the first would be forgotten.
                if all.insert(operator, value).is_some() {
                    return None;
                }
            }
            Some(all)
        }
        Filter::All(_) | Filter::Any(_) | Filter::Element { .. } | Filter::Text { .. } | Filter::Within { .. } => None,
    }
}

const ITEM: &str = "item";

/// Whether a filter of an item itself holds, as an expression, which can say everything and uses no index.
fn holds(filter: &Filter) -> Result<Bson, DocumentsError> {
    let each = |filters: &[Filter]| filters.iter().map(holds).collect::<Result<Vec<_>, _>>();
    let item = format!("$${ITEM}");
    Ok(match filter {
        Filter::All(filters) => doc! { "$and": each(filters)? }.into(),
        Filter::Any(filters) => doc! { "$or": each(filters)? }.into(),
        Filter::Not(filter) => doc! { "$not": [holds(filter)?] }.into(),
        Filter::Compare { is, value, .. } => {
            let is_so = doc! { operator(*is): [&item, { "$literal": value::scalar(value) }] };
            doc! { "$and": [is_of_kind(&item, &value.kind()), is_so] }.into()
        }
        Filter::In { values, .. } => {
            let values = values.iter().map(value::scalar).collect::<Vec<_>>();
            doc! { "$in": [item, { "$literal": values }] }.into()
        }
        Filter::Exists { .. } => doc! { "$gt": [item, null] }.into(),
        Filter::Element { .. } | Filter::Text { .. } | Filter::Within { .. } => {
            return Err(DocumentsError::Unsupported("such a filter of the items of a list".into()));
        }
    })
}

/// Whether an expression gives a value of this kind.
pub(super) fn is_of_kind(expression: &str, kind: &Kind) -> Document {
    let name = match kind {
        Kind::Integer | Kind::Float => return doc! { "$isNumber": expression },
        Kind::Boolean => "bool",
        Kind::Time => "date",
        Kind::Text | Kind::Day | Kind::Id => "string",
        Kind::List(_) => "array",
        Kind::Point | Kind::Object(_) | Kind::Json => "object",
    };
    doc! { "$eq": [{ "$type": expression }, name] }
}
