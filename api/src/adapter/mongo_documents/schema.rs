//! The validator of a collection: its JSON schema in the words that MongoDB knows.
//!
//! They are those of an older draft, and types are those of BSON, which the fields' kinds tell. What the schema says
//! beyond that is said as well, or the collection is not taken: a validator that is silently weaker would be none.

use domain::{
    DocumentsError,
    document::{Collection, ID, Kind, Member, SCHEMA, VERSION, WORDS},
};
use mongodb::bson::{Bson, Document, doc};
use serde_json::{Map, Value};

use super::value;

type Translated = Result<Document, DocumentsError>;

const ID_PATTERN: &str = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$";
const DAY_PATTERN: &str = "^[0-9]{4,}-[0-9]{2}-[0-9]{2}$";

/// What checks the documents of a collection; nothing if anything goes.
pub(super) fn validator(collection: &Collection) -> Result<Option<Document>, DocumentsError> {
    let Some(members) = collection.members() else { return Ok(None) };
    let kind = Kind::Object(members.to_vec());
    let mut schema = translate(collection.schema(), Some(&kind))?;
    let ours = doc! {
        ID: { "bsonType": "string", "minLength": Bson::Int64(1) },
        VERSION: { "bsonType": ["long", "int"] },
        SCHEMA: { "bsonType": ["long", "int"] },
        WORDS: { "bsonType": "array", "items": { "bsonType": "string" } },
    };
    let properties = schema.entry("properties".to_owned()).or_insert_with(|| Document::new().into());
    if let Bson::Document(properties) = properties {
        properties.extend(ours);
    }
    let required = schema.entry("required".to_owned()).or_insert_with(|| Bson::Array(Vec::new()));
    if let Bson::Array(required) = required {
        required.extend([VERSION.into(), SCHEMA.into()]);
    }
    // What was written in another version is not held to this one.
    let other_version = doc! { SCHEMA: { "$exists": true, "$ne": Bson::Int64(collection.version()) } };
    Ok(Some(doc! { "$or": [other_version, { "$jsonSchema": schema }] }))
}

fn translate(schema: &Value, kind: Option<&Kind>) -> Translated {
    let keywords = match schema {
        Value::Bool(true) => return of_kind(kind, &Map::new()),
        Value::Bool(false) => return Ok(doc! { "not": {} }),
        Value::Object(keywords) => keywords,
        _ => return Err(unsupported("something that is no schema")),
    };
    // Of what may be missing the schema says that it may be null, which is not kept.
    if keywords.get("type").is_some_and(|types| types == "null") {
        return Ok(doc! { "bsonType": "null" });
    }
    of_kind(kind, keywords)
}

fn of_kind(kind: Option<&Kind>, keywords: &Map<String, Value>) -> Translated {
    let mut schema = Document::new();
    match kind {
        Some(Kind::Time) => return Ok(doc! { "bsonType": "date" }),
        Some(Kind::Text) => drop(schema.insert("bsonType", "string")),
        Some(Kind::Day) => schema.extend(doc! { "bsonType": "string", "pattern": DAY_PATTERN }),
        Some(Kind::Id) => schema.extend(doc! { "bsonType": "string", "pattern": ID_PATTERN }),
        Some(Kind::Boolean) => drop(schema.insert("bsonType", "bool")),
        Some(Kind::Integer) => drop(schema.insert("bsonType", vec!["long", "int"])),
        // JSON has no number that is not finite.
        Some(Kind::Float) => schema.extend(doc! { "bsonType": "double", "minimum": f64::MIN, "maximum": f64::MAX }),
        Some(Kind::Point) => return Ok(point()),
        Some(Kind::Object(_)) => drop(schema.insert("bsonType", "object")),
        Some(Kind::List(_)) => drop(schema.insert("bsonType", "array")),
        Some(Kind::Json) | None => {}
    }
    let mut parts = Vec::new();
    for (keyword, value) in keywords {
        if let Some(part) = keyword_of(keyword, value, kind, keywords)? {
            parts.push(part);
        }
    }
    // What is said twice, as the limits of a float, holds twice.
    let (mut also, mut merged) = (Vec::new(), schema);
    for part in parts {
        match part.keys().any(|keyword| merged.contains_key(keyword)) {
            true => also.push(Bson::Document(part)),
            false => merged.extend(part),
        }
    }
    if !also.is_empty() {
        if let Some(Bson::Array(all)) = merged.remove("allOf") {
            also.extend(all);
        }
        merged.insert("allOf", also);
    }
    // Where there are ways to choose from, these say what is in them.
    if !["anyOf", "oneOf"].iter().any(|keyword| merged.contains_key(keyword)) {
        complete(&mut merged, kind)?;
    }
    Ok(merged)
}

/// What a keyword says; nothing if it says nothing about what is valid.
fn keyword_of(
    keyword: &str,
    value: &Value,
    kind: Option<&Kind>,
    keywords: &Map<String, Value>,
) -> Result<Option<Document>, DocumentsError> {
    let each = |schemas: &Value| match schemas {
        Value::Array(schemas) => {
            let schemas = schemas.iter().map(|schema| translate(schema, kind).map(Bson::from));
            schemas.collect::<Result<Vec<_>, _>>()
        }
        _ => Err(unsupported(keyword)),
    };
    Ok(Some(match keyword {
        "$schema" | "$id" | "$comment" | "$defs" | "title" | "description" | "default" | "examples" | "format"
        | "deprecated" | "readOnly" | "writeOnly" | "contentEncoding" | "contentMediaType" => return Ok(None),
        // A kind tells it better.
        "type" if kind.is_some_and(|kind| *kind != Kind::Json) => return Ok(None),
        "type" => doc! { "bsonType": types(value)? },
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" | "minimum"
        | "maximum" | "multipleOf" | "pattern" | "uniqueItems" | "required" => doc! { keyword: literal(value, kind) },
        "exclusiveMinimum" => doc! { "minimum": literal(value, kind), "exclusiveMinimum": true },
        "exclusiveMaximum" => doc! { "maximum": literal(value, kind), "exclusiveMaximum": true },
        "enum" => match value {
            Value::Array(values) => {
                let values = values.iter().filter(|value| !value.is_null() || kind.is_none());
                doc! { "enum": values.map(|value| value::of_kind(value, kind)).collect::<Vec<_>>() }
            }
            _ => return Err(unsupported(keyword)),
        },
        "const" => doc! { "enum": [value::of_kind(value, kind)] },
        "allOf" => doc! { "allOf": each(value)? },
        "anyOf" => doc! { "anyOf": each(value)? },
        "oneOf" => doc! { "oneOf": each(value)? },
        "not" => doc! { "not": translate(value, None)? },
        "properties" => doc! { "properties": properties(value, kind)? },
        "additionalProperties" => match value {
            Value::Bool(allowed) => doc! { "additionalProperties": *allowed },
            schema => doc! { "additionalProperties": translate(schema, None)? },
        },
        "prefixItems" => match value {
            Value::Array(schemas) => {
                let items = schemas.iter().map(|schema| translate(schema, None).map(Bson::from));
                doc! { "items": items.collect::<Result<Vec<_>, _>>()? }
            }
            _ => return Err(unsupported(keyword)),
        },
        "items" => {
            let item = match kind {
                Some(Kind::List(item)) => Some(item.as_ref()),
                _ => None,
            };
            let name = if keywords.contains_key("prefixItems") { "additionalItems" } else { "items" };
            doc! { name: translate(value, item)? }
        }
        other => return Err(unsupported(other)),
    }))
}

fn properties(value: &Value, kind: Option<&Kind>) -> Translated {
    let Value::Object(properties) = value else { return Err(unsupported("properties")) };
    let members = match kind {
        Some(Kind::Object(members)) => members.as_slice(),
        _ => &[],
    };
    let property = |(name, schema): (&String, &Value)| {
        let member = members.iter().find(|member| member.name == *name);
        Ok((name.clone(), translate(schema, member.map(|member| &member.kind))?.into()))
    };
    properties.iter().map(property).collect::<Result<Vec<(String, Bson)>, _>>().map(Document::from_iter)
}

/// A GeoJSON point, which is always the same.
fn point() -> Document {
    let degrees = |limit: f64| doc! { "bsonType": "double", "minimum": -limit, "maximum": limit };
    let two = Bson::Int64(2);
    let coordinates = doc! {
        "bsonType": "array", "items": [degrees(180.0), degrees(90.0)], "minItems": &two, "maxItems": two,
    };
    doc! {
        "bsonType": "object",
        "properties": { "type": { "enum": ["Point"] }, "coordinates": coordinates },
        "required": ["type", "coordinates"],
        "additionalProperties": false,
    }
}

/// What holds of the parts of what is of this kind, also where the schema does not mention them.
fn complete(schema: &mut Document, kind: Option<&Kind>) -> Result<(), DocumentsError> {
    match kind {
        Some(Kind::List(item)) if !schema.contains_key("items") => {
            schema.insert("items", of_kind(Some(item), &Map::new())?);
        }
        Some(Kind::Object(members)) => {
            let properties = schema.entry("properties".to_owned()).or_insert_with(|| Document::new().into());
            let Bson::Document(properties) = properties else { return Ok(()) };
            for Member { name, kind } in members {
                if !properties.contains_key(name.as_ref()) {
                    properties.insert(name.as_ref(), of_kind(Some(kind), &Map::new())?);
                }
            }
        }
        _ => {}
    }
    Ok(())
}

fn types(types: &Value) -> Result<Bson, DocumentsError> {
    let one = |name: &Value| match name.as_str() {
        Some("integer") => Ok(vec!["long", "int"]),
        Some("number") => Ok(vec!["number"]),
        Some("string") => Ok(vec!["string"]),
        Some("boolean") => Ok(vec!["bool"]),
        Some("object") => Ok(vec!["object"]),
        Some("array") => Ok(vec!["array"]),
        Some("null") => Ok(vec!["null"]),
        _ => Err(unsupported("type")),
    };
    let names = match types {
        Value::Array(types) => types.iter().map(one).collect::<Result<Vec<_>, _>>()?.concat(),
        name => one(name)?,
    };
    Ok(names.into_iter().map(Bson::from).collect::<Vec<_>>().into())
}

fn literal(value: &Value, kind: Option<&Kind>) -> Bson {
    match kind {
        Some(Kind::Float) if value.is_number() => value::of_kind(value, kind),
        _ => value::of_kind(value, None),
    }
}

fn unsupported(what: &str) -> DocumentsError {
    DocumentsError::Unsupported(format!("{what:?} in a schema").into())
}
