//! Reading a JSON body, strictly: no duplicate keys, no unknown fields, nothing rounded, and everything that is wrong
//! told at once.

use std::{collections::HashSet, fmt};

use aide::{OperationInput, generate::GenContext, openapi::Operation};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
    http::{StatusCode, header},
};
use domain::FieldError;
use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind},
};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_path_to_error::Segment;

use crate::problem::Problem;

/// A request's JSON body, and its bytes.
pub(crate) struct Body<T> {
    /// What was sent.
    pub value: T,
    /// As it was sent.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned + JsonSchema, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(is_json) {
            let detail = "the body must be sent as Content-Type: application/json";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", detail));
        }
        // The edge has read the body already, within its limits of size and time.
        let bytes = axum::body::to_bytes(request.into_body(), usize::MAX).await;
        let bytes = bytes.map_err(|_| Problem::bad_request("body", "the body could not be read"))?;
        let value = read(&bytes)?;
        Ok(Self { value, bytes })
    }
}

fn is_json(media_type: &str) -> bool {
    let mut parts = media_type.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    json && parts.all(|parameter| parameter.is_empty() || parameter.eq_ignore_ascii_case("charset=utf-8"))
}

/// Reads a value out of JSON, or says all that is wrong with it.
pub(crate) fn read<T: DeserializeOwned + JsonSchema>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.is_empty() {
        return Err(Problem::bad_request("body", "the body is empty: JSON is expected"));
    }
    let Err(error) = serde_json::from_slice::<Strict>(bytes) else {
        return serde_json::from_slice(bytes).map_err(|_| explain::<T>(bytes));
    };
    let offset = offset(bytes, error.line(), error.column());
    let mut text = error.to_string();
    // serde_json appends the place in its own way.
    text.truncate(text.rfind(" at line").unwrap_or(text.len()));
    Err(Problem::bad_request("json", format!("the body is not valid JSON: {text} at offset {offset}")))
}

fn offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let before =
        bytes.split_inclusive(|&byte| byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum::<usize>();
    before + column.saturating_sub(1)
}

/// Says what is wrong with JSON that is not a `T`. Only requests that are refused anyway pay for looking twice.
fn explain<T: DeserializeOwned + JsonSchema>(bytes: &[u8]) -> Problem {
    let found = findings::<T>(bytes).unwrap_or_default();
    let found = if found.is_empty() { vec![finding::<T>(bytes)] } else { found };
    let values_only = found.iter().all(|(shape, _)| !shape);
    let errors = found.into_iter().map(|(_, error)| error).collect();
    if values_only {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "the input is not valid").with_errors(errors)
    } else {
        Problem::bad_request("shape", "the body does not have the expected shape").with_errors(errors)
    }
}

/// What the schema of `T` has to say, each with whether it is about the shape rather than a value.
fn findings<T: JsonSchema>(bytes: &[u8]) -> Option<Vec<(bool, FieldError)>> {
    let schema = serde_json::to_value(schemars::schema_for!(T)).ok()?;
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).ok()?;
    let value = serde_json::from_slice(bytes).ok()?;
    let mut findings = Findings::default();
    for error in validator.iter_errors(&value) {
        findings.add(&error);
    }
    Some(findings.0)
}

/// The first thing that is wrong with a value whose schema has nothing to say: an integer that does not fit, or a time
/// that no database has a place for.
fn finding<T: DeserializeOwned>(bytes: &[u8]) -> (bool, FieldError) {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let (path, message) = match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => (String::new(), String::new()),
        Err(error) => (error.path().iter().map(pointer).collect(), error.inner().to_string()),
    };
    let is = |start: &str| message.starts_with(start);
    if is("invalid value: string") || is("unknown variant") {
        let (_, expected) = message.rsplit_once("expected ").unwrap_or(("", "another value"));
        let expected = expected.split(" at line").next().unwrap_or_default();
        return (false, FieldError { pointer: path, code: "format".into(), message: format!("must be {expected}") });
    }
    let (code, message) = if is("invalid type: floating point") || is("invalid value: integer") {
        ("type", "must be a whole number that fits, written without a fraction")
    } else {
        ("shape", "does not have the expected shape")
    };
    (true, FieldError { pointer: path, code: code.into(), message: message.to_owned() })
}

/// One step of a JSON pointer.
fn pointer(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key: name } | Segment::Enum { variant: name } => {
            format!("/{}", name.replace('~', "~0").replace('/', "~1"))
        }
        Segment::Unknown => String::new(),
    }
}

/// What is wrong, each with whether it is about the shape rather than a value.
#[derive(Default)]
struct Findings(Vec<(bool, FieldError)>);

impl Findings {
    fn add(&mut self, error: &ValidationError<'_>) {
        let at = error.instance_path().as_str();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                for name in unexpected {
                    self.shape(format!("{at}/{name}"), "unknown", "is not a field here");
                }
            }
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                self.shape(format!("{at}/{name}"), "required", "is required");
            }
            ValidationErrorKind::Type { kind } => {
                let kind = match kind {
                    TypeKind::Single(kind) => kind.to_string(),
                    TypeKind::Multiple(kinds) => {
                        kinds.iter().map(|kind| kind.to_string()).collect::<Vec<_>>().join(" or ")
                    }
                };
                self.shape(at, "type", format!("must be of type {kind}"));
            }
            ValidationErrorKind::Enum { .. }
            | ValidationErrorKind::Constant { .. }
            | ValidationErrorKind::AnyOf { .. }
            | ValidationErrorKind::OneOfNotValid { .. } => self.alternatives(error),
            ValidationErrorKind::Format { format } if format == "uuid" => {
                self.shape(at, "id", domain::NotAnId.to_string());
            }
            ValidationErrorKind::Format { format } => self.value(at, "format", format!("must be a valid {format}")),
            // Lengths and ranges: the same codes as the validator's, and never the value, which may be long.
            ValidationErrorKind::MinLength { limit } => self.at_least(at, *limit, "characters"),
            ValidationErrorKind::MaxLength { limit } => self.at_most(at, *limit, "characters"),
            ValidationErrorKind::MinItems { limit } => self.at_least(at, *limit, "items"),
            ValidationErrorKind::MaxItems { limit } => self.at_most(at, *limit, "items"),
            ValidationErrorKind::Minimum { limit } => self.value(at, "range", format!("must be at least {limit}")),
            ValidationErrorKind::Maximum { limit } => self.value(at, "range", format!("must be at most {limit}")),
            _ => self.shape(at, "shape", "does not have the expected shape"),
        }
    }

    /// An enumeration, or something that may be null: told by its values, or by what is wrong with the part that is not
    /// null.
    fn alternatives(&mut self, error: &ValidationError<'_>) {
        let mut allowed = Vec::new();
        let mut others = Vec::new();
        leaves(error, &mut allowed, &mut others);
        let at = error.instance_path().as_str();
        if !allowed.is_empty() {
            self.value(at, "value", format!("must be one of {}", allowed.join(", ")));
        } else if others.is_empty() {
            self.value(at, "value", "is none of the allowed values");
        }
        if allowed.is_empty() {
            others.into_iter().for_each(|other| self.add(other));
        }
    }

    fn at_least(&mut self, pointer: &str, limit: u64, of: &str) {
        self.value(pointer, "length", format!("must have at least {limit} {of}"));
    }

    fn at_most(&mut self, pointer: &str, limit: u64, of: &str) {
        self.value(pointer, "length", format!("must have at most {limit} {of}"));
    }

    fn shape(&mut self, pointer: impl Into<String>, code: &'static str, message: impl Into<String>) {
        self.0.push((true, FieldError { pointer: pointer.into(), code: code.into(), message: message.into() }));
    }

    fn value(&mut self, pointer: impl Into<String>, code: &'static str, message: impl Into<String>) {
        self.0.push((false, FieldError { pointer: pointer.into(), code: code.into(), message: message.into() }));
    }
}

/// The values that alternatives allow, and what else is wrong with those that are not `null`.
fn leaves<'e, 'i>(
    error: &'e ValidationError<'i>,
    allowed: &mut Vec<String>,
    others: &mut Vec<&'e ValidationError<'i>>,
) {
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            context.iter().flatten().for_each(|error| leaves(error, allowed, others));
        }
        ValidationErrorKind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            allowed.extend(options.iter().map(ToString::to_string));
        }
        ValidationErrorKind::Constant { expected_value } => allowed.push(expected_value.to_string()),
        ValidationErrorKind::Type { kind: TypeKind::Single(JsonType::Null) } => {}
        _ => others.push(error),
    }
}

/// Accepts any JSON in which no object names a field twice; which of the two is meant, nobody can know.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        while items.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Strict, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            if names.contains(&name) {
                return Err(serde::de::Error::custom(format_args!("the field {name:?} is there twice")));
            }
            names.insert(name);
            fields.next_value::<Strict>()?;
        }
        Ok(Strict)
    }
}

impl<T: JsonSchema> OperationInput for Body<T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        axum::Json::<T>::operation_input(ctx, operation);
    }
}
