//! What a document has to be like to be kept, and the one form in which it is.

use serde::Deserialize;
use serde_json::{Number, Value};
use uuid::Uuid;

use super::{Collection, Document, ID, Kind, Member, Point, SCHEMA, Scalar, VERSION, WORDS, kind::time_text};
use crate::{
    columns::with_plain_numbers,
    port::documents::DocumentsError,
    value::{Day, Timestamp},
};

/// How long an id may be: what every index can hold.
const MAX_ID: usize = 512;

impl Collection {
    /// The one form in which a document is kept: without nulls, its instants in whole milliseconds, its ids in small
    /// letters; with what a typed document has beside its fields.
    ///
    /// # Errors
    /// [`DocumentsError::Refused`] if it is not as the collection declares, or cannot be kept by every adapter.
    pub fn admit(&self, mut document: Document) -> Result<Document, DocumentsError> {
        let refused = |why: &str| DocumentsError::Refused(why.to_owned());
        match document.get(ID) {
            Some(Value::String(id)) if !id.is_empty() && id.len() <= MAX_ID => {}
            _ => return Err(refused("its id must be a text of 1 to 512 bytes")),
        }
        if let Some(members) = self.members() {
            let version = document.entry(SCHEMA).or_insert_with(|| self.version().into()).as_i64();
            document.entry(VERSION).or_insert_with(|| 1.into());
            let is_ours = |name: &str| [ID, VERSION, SCHEMA, WORDS].contains(&name);
            if document.keys().any(|name| name.starts_with('_') && !is_ours(name)) {
                return Err(refused("names of its fields must not begin with an underscore"));
            }
            if version == Some(self.version()) {
                self.fit(&mut document, members)?;
            }
        } else {
            document = document.into_iter().map(|(name, value)| (name, plain(value))).collect();
        }
        check_names(&document)?;
        Ok(document)
    }

    fn fit(&self, document: &mut Document, members: &[Member]) -> Result<(), DocumentsError> {
        fit_members(document, members, "")?;
        if document.get(VERSION).and_then(Value::as_i64).is_none() {
            return Err(DocumentsError::Refused(format!("{VERSION} must be a whole number")));
        }
        let validator = self.validator().map_err(|_| DocumentsError::Unexpected)?;
        // What is ours is put aside, because the schema knows nothing of it.
        let ours = [ID, VERSION, SCHEMA, WORDS].map(|name| document.remove_entry(name));
        let value = Value::Object(std::mem::take(document));
        let errors = validator.iter_errors(&value).take(5);
        let errors = errors.map(|error| format!("{} {}", error.instance_path().as_str(), error.masked()));
        let errors = errors.map(|error| error.trim().to_owned()).collect::<Vec<_>>();
        if !errors.is_empty() {
            return Err(DocumentsError::Refused(errors.join("; ")));
        }
        if let Value::Object(fields) = value {
            *document = fields;
        }
        document.extend(ours.into_iter().flatten());
        Ok(())
    }

    /// The form in which a document was kept, when it comes back from a database that writes numbers in its own way.
    pub fn restore(&self, mut document: Document) -> Document {
        match self.members() {
            Some(members) => {
                members.iter().for_each(|Member { name, kind }| {
                    if let Some(value) = document.get_mut(name.as_ref()) {
                        restore(value, kind);
                    }
                });
                document
            }
            None => document.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        }
    }
}

fn restore(value: &mut Value, kind: &Kind) {
    match (kind, value) {
        (Kind::Float, value @ Value::Number(_)) => {
            if let Some(number) = value.as_f64().and_then(Number::from_f64) {
                *value = number.into();
            }
        }
        (Kind::Point, Value::Object(point)) => {
            if let Some(Value::Array(degrees)) = point.get_mut("coordinates") {
                degrees.iter_mut().for_each(|degree| restore(degree, &Kind::Float));
            }
        }
        (Kind::List(item), Value::Array(items)) => items.iter_mut().for_each(|value| restore(value, item)),
        (Kind::Object(members), Value::Object(fields)) => {
            for Member { name, kind } in members {
                if let Some(value) = fields.get_mut(name.as_ref()) {
                    restore(value, kind);
                }
            }
        }
        (Kind::Json, value) => *value = plain(value.take()),
        _ => {}
    }
}

/// Numbers as every adapter gives them back: integers of 64 bits, and everything else a float.
fn plain(value: Value) -> Value {
    signed(with_plain_numbers(value))
}

fn signed(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            number.as_f64().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
        }
        Value::Array(items) => items.into_iter().map(signed).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, signed(value))).collect(),
        value => value,
    }
}

fn fit_members(fields: &mut Document, members: &[Member], at: &str) -> Result<(), DocumentsError> {
    for Member { name, kind } in members {
        if fields.get(name.as_ref()).is_some_and(Value::is_null) {
            fields.remove(name.as_ref());
        }
        if let Some(value) = fields.get_mut(name.as_ref()) {
            fit(value, kind, &format!("{at}/{name}"))?;
        }
    }
    Ok(())
}

fn fit(value: &mut Value, kind: &Kind, at: &str) -> Result<(), DocumentsError> {
    let refused = |what: &str| DocumentsError::Refused(format!("{at} must be {what}"));
    match (kind, &mut *value) {
        (Kind::Text, Value::String(_)) | (Kind::Boolean, Value::Bool(_)) => Ok(()),
        (Kind::Integer, Value::Number(number)) if number.is_i64() => Ok(()),
        (Kind::Float, Value::Number(_)) => {
            restore(value, &Kind::Float);
            // JSON has a sign of zero; PostgreSQL has not.
            if value.as_f64() == Some(0.0) {
                *value = 0.0.into();
            }
            Ok(())
        }
        (Kind::Time, _) => {
            let instant = Timestamp::deserialize(&*value).map_err(|_| refused("an RFC 3339 date and time"))?;
            *value = time_text(instant).into();
            Ok(())
        }
        (Kind::Day, _) => Day::deserialize(&*value).map(drop).map_err(|_| refused("a day as in 2026-01-31")),
        (Kind::Id, Value::String(text)) => {
            let id = Uuid::parse_str(text).map_err(|_| refused("a UUID"))?;
            *value = Scalar::Id(id).json();
            Ok(())
        }
        (Kind::Point, _) => {
            let point = Point::deserialize(&*value).map_err(|_| refused("a GeoJSON point"))?;
            // Adding nothing takes the sign off a zero.
            let place = Point::new(point.longitude() + 0.0, point.latitude() + 0.0).ok();
            *value = serde_json::to_value(place).map_err(|_| refused("a GeoJSON point"))?;
            Ok(())
        }
        (Kind::List(item), Value::Array(items)) => {
            items.iter_mut().enumerate().try_for_each(|(index, value)| fit(value, item, &format!("{at}/{index}")))
        }
        (Kind::Object(members), Value::Object(fields)) => fit_members(fields, members, at),
        (Kind::Json, value) => {
            *value = plain(value.take());
            Ok(())
        }
        (Kind::Text, _) => Err(refused("text")),
        (Kind::Boolean, _) => Err(refused("true or false")),
        (Kind::Integer, _) => Err(refused("a whole number of 64 bits")),
        (Kind::Float, _) => Err(refused("a number")),
        (Kind::Id, _) => Err(refused("a UUID")),
        (Kind::List(_), _) => Err(refused("a list")),
        (Kind::Object(_), _) => Err(refused("an object")),
    }
}

/// Names that mean something to MongoDB, and the one character that PostgreSQL cannot keep.
fn check_names(fields: &Document) -> Result<(), DocumentsError> {
    fields.iter().try_for_each(|(name, value)| {
        if name.is_empty() || name.starts_with('$') || name.contains(['.', '\0']) {
            let why = "a field's name must not be empty, begin with $, or have a dot or U+0000 in it";
            return Err(DocumentsError::Refused(why.to_owned()));
        }
        check_text(value)
    })
}

fn check_text(value: &Value) -> Result<(), DocumentsError> {
    match value {
        Value::String(text) if text.contains('\0') => {
            Err(DocumentsError::Refused("a text must not have U+0000 in it".to_owned()))
        }
        Value::Array(items) => items.iter().try_for_each(check_text),
        Value::Object(fields) => check_names(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}
