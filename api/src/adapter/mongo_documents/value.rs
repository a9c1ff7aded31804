//! Values, as JSON and as BSON. Instants are dates there, so that they can expire and be put into spans of time; whole
//! numbers have 64 bits.

use chrono::{DateTime as Instant, SecondsFormat, Utc};
use domain::{
    Timestamp,
    document::{Collection, Document, ID, Kind, Member, Point, SCHEMA, Scalar, VERSION, WORDS},
};
use mongodb::bson::{self, Bson, DateTime, RawBsonRef, RawDocument};
use serde_json::{Number, Value};

/// A document as MongoDB keeps it. What is not as the collection declares is kept as well as can be.
pub fn document(collection: &Collection, document: &Document) -> bson::Document {
    let fields = document.iter();
    fields.map(|(name, value)| (name.clone(), of_kind(value, kind_of(collection, name).as_ref()))).collect()
}

fn kind_of(collection: &Collection, name: &str) -> Option<Kind> {
    match name {
        ID | VERSION | SCHEMA | WORDS => None,
        name => collection.members()?.iter().find(|member| member.name == name).map(|member| member.kind.clone()),
    }
}

/// A value that is to be of this kind, in its one form; anything else as it is.
pub(super) fn of_kind(value: &Value, kind: Option<&Kind>) -> Bson {
    match (kind, value) {
        (Some(Kind::Time | Kind::Id), _) => {
            let read = kind.and_then(|kind| Scalar::read(value, kind));
            read.map_or_else(|| any(value), |read| scalar(&read))
        }
        // Adding nothing takes the sign off a zero.
        (Some(Kind::Float), Value::Number(number)) => number.as_f64().map_or(Bson::Null, |float| (float + 0.0).into()),
        (Some(Kind::Point), value) => {
            let point = serde_json::from_value::<Point>(value.clone());
            point.map_or_else(|_| any(value), |point| self::point(point).into())
        }
        (Some(Kind::List(item)), Value::Array(items)) => {
            Bson::Array(items.iter().map(|value| of_kind(value, Some(item))).collect())
        }
        (Some(Kind::Object(members)), Value::Object(fields)) => {
            let kind = |name: &str| members.iter().find(|Member { name: found, .. }| found == name);
            let field = |(name, value): (&String, &Value)| {
                (name.clone(), of_kind(value, kind(name).map(|member| &member.kind)))
            };
            // Nothing is the same as null.
            Bson::Document(fields.iter().filter(|(_, value)| !value.is_null()).map(field).collect())
        }
        _ => any(value),
    }
}

fn any(value: &Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(truth) => Bson::Boolean(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Bson::Int64(integer),
            (None, Some(float)) => Bson::Double(float),
            (None, None) => Bson::Null,
        },
        Value::String(text) => Bson::String(text.clone()),
        Value::Array(items) => Bson::Array(items.iter().map(any).collect()),
        Value::Object(fields) => {
            Bson::Document(fields.iter().map(|(name, value)| (name.clone(), any(value))).collect())
        }
    }
}

/// What fields are compared with.
pub(super) fn scalar(scalar: &Scalar) -> Bson {
    match scalar {
        Scalar::Text(text) => text.clone().into(),
        Scalar::Integer(number) => Bson::Int64(*number),
        Scalar::Float(number) => Bson::Double(*number),
        Scalar::Boolean(truth) => Bson::Boolean(*truth),
        Scalar::Time(instant) => date(*instant),
        Scalar::Day(day) => day.to_string().into(),
        Scalar::Id(id) => id.to_string().into(),
    }
}

pub(super) fn date(instant: Timestamp) -> Bson {
    DateTime::from_millis(instant.utc().timestamp_millis()).into()
}

pub(super) fn point(point: Point) -> bson::Document {
    bson::doc! { "type": "Point", "coordinates": place(point) }
}

pub(super) fn place(point: Point) -> Vec<Bson> {
    vec![(point.longitude() + 0.0).into(), (point.latitude() + 0.0).into()]
}

/// What MongoDB has kept.
pub(super) fn fields_of(document: &RawDocument) -> bson::error::Result<Document> {
    document.iter().map(|field| field.and_then(|(name, value)| Ok((name.as_str().to_owned(), json(value)?)))).collect()
}

fn json(bson: RawBsonRef<'_>) -> bson::error::Result<Value> {
    Ok(match bson {
        RawBsonRef::Null | RawBsonRef::Undefined => Value::Null,
        RawBsonRef::Boolean(truth) => truth.into(),
        RawBsonRef::Int32(number) => number.into(),
        RawBsonRef::Int64(number) => number.into(),
        RawBsonRef::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        RawBsonRef::String(text) => text.into(),
        RawBsonRef::DateTime(date) => Instant::<Utc>::from_timestamp_millis(date.timestamp_millis())
            .map_or(Value::Null, |instant| instant.to_rfc3339_opts(SecondsFormat::Millis, true).into()),
        RawBsonRef::Array(items) => {
            items.into_iter().map(|item| item.and_then(json)).collect::<Result<Vec<_>, _>>()?.into()
        }
        RawBsonRef::Document(fields) => fields_of(fields)?.into(),
        // Nobody of us has written it.
        RawBsonRef::ObjectId(id) => id.to_hex().into(),
        other => Bson::try_from(other)?.to_string().into(),
    })
}
