//! Values that mean the same on every database and on the wire.

use std::{borrow::Cow, fmt, ops::RangeInclusive};

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, SubsecRound, Timelike, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use unicode_normalization::UnicodeNormalization;
use validator::{ValidateEmail, ValidateLength, ValidateRange, ValidateUrl, ValidationError};

/// The years that RFC 3339 can write.
const YEARS: RangeInclusive<i32> = 0..=9999;

/// An instant in UTC, whole microseconds: what PostgreSQL keeps, and what sorts right as text in SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The same instant, without what is finer than a microsecond.
    pub fn new<Z: chrono::TimeZone>(instant: DateTime<Z>) -> Self {
        Self(instant.with_timezone(&Utc).trunc_subsecs(6))
    }

    /// As a chrono value.
    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<FixedOffset>> for Timestamp {
    fn from(instant: DateTime<FixedOffset>) -> Self {
        Self::new(instant)
    }
}

impl From<Timestamp> for DateTime<FixedOffset> {
    fn from(instant: Timestamp) -> Self {
        instant.0.fixed_offset()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let refused = || de::Error::invalid_value(de::Unexpected::Str(&text), &"an RFC 3339 date and time");
        let instant = DateTime::parse_from_rfc3339(&text).map_err(|_| refused())?;
        let instant = Self::new(instant);
        // chrono keeps a leap second as 1,000,000,000 nanoseconds and more; no database has a place for it. Nor can
        // RFC 3339 write a year of more than four digits, which an offset may lead to.
        if instant.0.nanosecond() >= 1_000_000_000 || !YEARS.contains(&instant.0.year()) {
            return Err(refused());
        }
        Ok(instant)
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        DateTime::<Utc>::json_schema(generator)
    }
}

/// A day, in the years that RFC 3339 can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Day(NaiveDate);

impl From<NaiveDate> for Day {
    fn from(day: NaiveDate) -> Self {
        Self(day)
    }
}

impl From<Day> for NaiveDate {
    fn from(day: Day) -> Self {
        day.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let refused = || de::Error::invalid_value(de::Unexpected::Str(&text), &"a day as in 2026-01-31");
        // chrono also takes signs, and months and days of one digit.
        let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d").map_err(|_| refused())?;
        if text.len() == "2026-01-31".len() && YEARS.contains(&day.year()) { Ok(Self(day)) } else { Err(refused()) }
    }
}

impl JsonSchema for Day {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Day".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        NaiveDate::json_schema(generator)
    }
}

/// One field of a patch: absent keeps what is there, a value sets it. For a column that may be empty `T` is an
/// `Option`, and `null` clears it; elsewhere `null` is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Make it this.
    Set(T),
}

impl<T> Change<T> {
    /// The new value, if there is one.
    pub fn as_set(&self) -> Option<&T> {
        match self {
            Self::Keep => None,
            Self::Set(value) => Some(value),
        }
    }

    /// The same change of a value of another type.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Keep => Change::Keep,
            Self::Set(value) => Change::Set(f(value)),
        }
    }
}

// Messages of validation quote the value; a field that is kept has none, on the wire neither.
impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep => Err(ser::Error::custom("a field that is kept has no value")),
            Self::Set(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::Set)
    }
}

impl<T: JsonSchema> JsonSchema for Change<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: ValidateLength<u64>> ValidateLength<u64> for Change<T> {
    fn length(&self) -> Option<u64> {
        self.as_set().and_then(ValidateLength::length)
    }
}

impl<T: ValidateRange<i64>> ValidateRange<i64> for Change<T> {
    fn greater_than(&self, max: i64) -> Option<bool> {
        self.as_set().and_then(|value| value.greater_than(max))
    }

    fn less_than(&self, min: i64) -> Option<bool> {
        self.as_set().and_then(|value| value.less_than(min))
    }
}

/// A check of one value, usable on a plain field, an optional one, and one of a patch.
pub(crate) trait Checked<V: ?Sized> {
    /// The value to check, if there is one.
    fn value(&self) -> Option<&V>;
}

impl Checked<str> for String {
    fn value(&self) -> Option<&str> {
        Some(self)
    }
}

impl<V: ?Sized, T: Checked<V>> Checked<V> for &T {
    fn value(&self) -> Option<&V> {
        (*self).value()
    }
}

impl<V: ?Sized, T: Checked<V>> Checked<V> for Option<T> {
    fn value(&self) -> Option<&V> {
        self.as_ref().and_then(Checked::value)
    }
}

impl<V: ?Sized, T: Checked<V>> Checked<V> for Change<T> {
    fn value(&self) -> Option<&V> {
        self.as_set().and_then(Checked::value)
    }
}

fn refuse(code: &'static str, message: &'static str) -> Result<(), ValidationError> {
    Err(ValidationError::new(code).with_message(message.into()))
}

/// A name or title: something to read, without white space around it.
pub(crate) fn line(text: &impl Checked<str>) -> Result<(), ValidationError> {
    match text.value() {
        Some(text) if text.trim() != text || text.is_empty() => {
            refuse("blank", "must not be blank or have white space around it")
        }
        Some(text) if text.contains(['\n', '\r']) => refuse("line", "must be one line"),
        _ => Ok(()),
    }
}

/// An address as in HTML, in ASCII (a domain in other letters is written as punycode), with a dot in its domain. It is
/// kept as it was written; two that differ in case only are the same.
pub(crate) fn email(text: &impl Checked<str>) -> Result<(), ValidationError> {
    let Some(text) = text.value() else { return Ok(()) };
    let dotted = text.rsplit_once('@').is_some_and(|(_, domain)| domain.contains('.') && !domain.starts_with('['));
    if text.len() <= 254 && text.is_ascii() && dotted && text.validate_email() {
        return Ok(());
    }
    refuse("email", "must be an e-mail address")
}

/// An `https` or `http` address; anything else, such as `javascript:`, could act when it is shown.
pub(crate) fn web_address(text: &impl Checked<str>) -> Result<(), ValidationError> {
    let Some(text) = text.value() else { return Ok(()) };
    let web = text.starts_with("https://") || text.starts_with("http://");
    if web && text.len() <= 2_048 && text.validate_url() {
        return Ok(());
    }
    refuse("url", "must be an http or https address of at most 2048 characters")
}

/// The form in which names that must be unique are compared: Unicode NFC, lower case. Done here, because the two
/// databases disagree about the lower case of letters beyond ASCII.
pub(crate) fn folded(text: &str) -> String {
    text.nfc().collect::<String>().to_lowercase().nfc().collect()
}

/// An enumeration that is text in the database and on the wire.
macro_rules! text_enum {
    (
        $(#[$doc:meta])*
        pub enum $name:ident {
            $( $(#[$variant_doc:meta])* $variant:ident = $text:literal ),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        pub enum $name {
            $( $(#[$variant_doc])* #[serde(rename = $text)] $variant ),+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// The value as text.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text ),+ }
            }
        }

        impl $crate::columns::ColumnValue for $name {
            type Column = String;

            fn into_column(self) -> String {
                self.as_str().to_owned()
            }

            fn from_column(column: String) -> $crate::error::Result<Self> {
                match column.as_str() {
                    $( $text => Ok(Self::$variant), )+
                    _ => Err($crate::error::Error::internal(
                        concat!("a row holds an unknown ", stringify!($name)),
                        sea_orm::DbErr::Type(column),
                    )),
                }
            }
        }

        impl $crate::document::Held for $name {
            type Compared = Self;

            fn kind() -> $crate::document::Kind {
                $crate::document::Kind::Text
            }
        }

        impl $crate::document::Comparable for $name {
            fn into_scalar(self) -> $crate::document::Scalar {
                $crate::document::Scalar::Text(self.as_str().to_owned())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use text_enum;
