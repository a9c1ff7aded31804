//! What the fields of documents are.

use std::{borrow::Cow, cmp::Ordering};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::geo::Point;
use crate::{
    id::Id,
    value::{Day, Timestamp},
};

/// What a field is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Characters, without U+0000.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A number with a fraction.
    Float,
    /// True or false.
    Boolean,
    /// An instant: text as in `2026-01-31T12:00:00.000Z`, always with three digits of a second. A date in BSON.
    Time,
    /// A day: text as in `2026-01-31`.
    Day,
    /// A UUID: hyphenated text in small letters.
    Id,
    /// A place: a GeoJSON point.
    Point,
    /// A list of what is all of one kind.
    List(Box<Self>),
    /// A document within the document.
    Object(Vec<Member>),
    /// Any JSON; it is kept as it is and not looked into.
    Json,
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: Cow<'static, str>,
    /// What it is.
    pub kind: Kind,
}

impl Kind {
    /// Whether values of it have an order, and can be compared, sorted by and indexed.
    pub fn is_scalar(&self) -> bool {
        match self {
            Self::Text | Self::Integer | Self::Float | Self::Boolean | Self::Time | Self::Day | Self::Id => true,
            Self::Point | Self::List(_) | Self::Object(_) | Self::Json => false,
        }
    }

    /// Whether values of it are JSON numbers.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Integer | Self::Float)
    }
}

/// A field, by the names that lead to it, with dots between, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldPath {
    /// As in `birth_data.date`. Through a list it leads to all of its items, as in `windows.start`. Empty it is the
    /// document, or the item of a list, itself.
    pub path: Cow<'static, str>,
    /// What is there.
    pub kind: Kind,
}

impl FieldPath {
    /// The field at a path.
    pub fn new(path: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Self { path: path.into(), kind }
    }

    /// The id of the document.
    pub fn id() -> Self {
        Self::new(super::ID, Kind::Text)
    }

    /// The names that lead to it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.path.split('.').filter(|name| !name.is_empty())
    }
}

/// A value that fields can be compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    Text(String),
    Integer(i64),
    /// Neither infinite nor NaN; JSON has no such numbers.
    Float(f64),
    Boolean(bool),
    Time(Timestamp),
    Day(Day),
    Id(Uuid),
}

impl Scalar {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Integer(_) => Kind::Integer,
            Self::Float(_) => Kind::Float,
            Self::Boolean(_) => Kind::Boolean,
            Self::Time(_) => Kind::Time,
            Self::Day(_) => Kind::Day,
            Self::Id(_) => Kind::Id,
        }
    }

    /// Reads what a document has, if that is a value of this kind.
    pub fn read(value: &Value, kind: &Kind) -> Option<Self> {
        match (kind, value) {
            (Kind::Text, Value::String(text)) => Some(Self::Text(text.clone())),
            (Kind::Integer, Value::Number(number)) => number.as_i64().map(Self::Integer),
            (Kind::Float, Value::Number(number)) => number.as_f64().map(Self::Float),
            (Kind::Boolean, Value::Bool(truth)) => Some(Self::Boolean(*truth)),
            (Kind::Time, value) => Timestamp::deserialize(value).ok().map(Self::Time),
            (Kind::Day, value) => Day::deserialize(value).ok().map(Self::Day),
            (Kind::Id, Value::String(text)) => Uuid::parse_str(text).ok().map(Self::Id),
            _ => None,
        }
    }

    /// As a document has it.
    pub fn json(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Boolean(truth) => (*truth).into(),
            Self::Time(instant) => time_text(*instant).into(),
            Self::Day(day) => day.to_string().into(),
            Self::Id(id) => id.to_string().into(),
        }
    }
}

/// An instant as documents have it.
pub(crate) fn time_text(instant: Timestamp) -> String {
    instant.utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// A value in the order of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ordered<'a> {
    Integer(i64),
    Float(f64),
    Text(&'a str),
    Boolean(bool),
}

impl<'a> Ordered<'a> {
    /// The value of a field, if it is one of that kind: anything else counts as nothing there.
    pub(crate) fn of(value: &'a Value, kind: &Kind) -> Option<Self> {
        match (kind, value) {
            (Kind::Integer | Kind::Float, Value::Number(number)) => {
                let integer = number.as_i64().filter(|_| *kind == Kind::Integer).map(Self::Integer);
                integer.or_else(|| number.as_f64().map(Self::Float))
            }
            (Kind::Text | Kind::Time | Kind::Day | Kind::Id, Value::String(text)) => Some(Self::Text(text)),
            (Kind::Boolean, Value::Bool(truth)) => Some(Self::Boolean(*truth)),
            _ => None,
        }
    }

    pub(crate) fn owned(self) -> Owned {
        match self {
            Self::Integer(number) => Owned::Integer(number),
            Self::Float(number) => Owned::Float(number),
            Self::Text(text) => Owned::Text(text.to_owned()),
            Self::Boolean(truth) => Owned::Boolean(truth),
        }
    }

    /// Numbers, text, booleans.
    fn rank(self) -> u8 {
        match self {
            Self::Integer(_) | Self::Float(_) => 0,
            Self::Text(_) => 1,
            Self::Boolean(_) => 2,
        }
    }
}

/// The order of values. Only numbers of different kinds would lose something by it, and a field has one kind.
pub(crate) fn order(a: Ordered<'_>, b: Ordered<'_>) -> Ordering {
    match (a, b) {
        (Ordered::Integer(a), Ordered::Integer(b)) => a.cmp(&b),
        (Ordered::Float(a), Ordered::Float(b)) => float_order(a, b),
        (Ordered::Integer(a), Ordered::Float(b)) => float_order(a as f64, b),
        (Ordered::Float(a), Ordered::Integer(b)) => float_order(a, b as f64),
        (Ordered::Text(a), Ordered::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Ordered::Boolean(a), Ordered::Boolean(b)) => a.cmp(&b),
        (a, b) => a.rank().cmp(&b.rank()),
    }
}

/// Zero has no sign in it, and there is no NaN.
fn float_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

/// The same, to keep: what documents are sorted and grouped by.
#[derive(Debug, Clone)]
pub(crate) enum Owned {
    Integer(i64),
    Float(f64),
    Text(String),
    Boolean(bool),
}

impl Owned {
    pub(crate) fn as_ordered(&self) -> Ordered<'_> {
        match self {
            Self::Integer(number) => Ordered::Integer(*number),
            Self::Float(number) => Ordered::Float(*number),
            Self::Text(text) => Ordered::Text(text),
            Self::Boolean(truth) => Ordered::Boolean(*truth),
        }
    }

    pub(crate) fn into_json(self) -> Value {
        match self {
            Self::Integer(number) => number.into(),
            Self::Float(number) => number.into(),
            Self::Text(text) => text.into(),
            Self::Boolean(truth) => truth.into(),
        }
    }
}

impl From<&Scalar> for Owned {
    fn from(scalar: &Scalar) -> Self {
        match scalar {
            Scalar::Text(text) => Self::Text(text.clone()),
            Scalar::Integer(number) => Self::Integer(*number),
            Scalar::Float(number) => Self::Float(*number),
            Scalar::Boolean(truth) => Self::Boolean(*truth),
            Scalar::Time(instant) => Self::Text(time_text(*instant)),
            Scalar::Day(day) => Self::Text(day.to_string()),
            Scalar::Id(id) => Self::Text(id.to_string()),
        }
    }
}

impl Ord for Owned {
    fn cmp(&self, other: &Self) -> Ordering {
        order(self.as_ordered(), other.as_ordered())
    }
}

impl PartialOrd for Owned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Owned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Owned {}

/// A type of fields.
pub trait Held {
    /// What such a field is compared with: of a list, its items; of what may be missing, what it is if not.
    type Compared;

    /// What such a field is.
    fn kind() -> Kind;
}

/// A type of values that fields are compared with.
pub trait Comparable: Held<Compared = Self> {
    /// As the language has it.
    fn into_scalar(self) -> Scalar;
}

macro_rules! held {
    ($($type:ty => $kind:ident $(as |$value:ident| $scalar:expr)?),+ $(,)?) => { $(
        impl Held for $type {
            type Compared = Self;

            fn kind() -> Kind {
                Kind::$kind
            }
        }

        $(impl Comparable for $type {
            fn into_scalar(self) -> Scalar {
                let $value = self;
                Scalar::$kind($scalar)
            }
        })?
    )+ };
}
held!(
    String => Text as |text| text,
    i64 => Integer as |number| number,
    f64 => Float as |number| number,
    bool => Boolean as |truth| truth,
    Timestamp => Time as |instant| instant,
    Day => Day as |day| day,
    Uuid => Id as |id| id,
    Point => Point,
    Value => Json,
);

impl<R> Held for Id<R> {
    type Compared = Self;

    fn kind() -> Kind {
        Kind::Id
    }
}

impl<R> Comparable for Id<R> {
    fn into_scalar(self) -> Scalar {
        Scalar::Id(self.uuid())
    }
}

impl<T: Held> Held for Option<T> {
    type Compared = T::Compared;

    fn kind() -> Kind {
        T::kind()
    }
}

impl<T: Held> Held for Vec<T> {
    type Compared = T::Compared;

    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }
}
