//! Lists, a page at a time, by keyset: a page begins after the last record of the one before, so that rows which come
//! and go in between neither hide nor repeat others. Small lists may be counted off instead.

use std::num::NonZeroU32;

use chrono::{DateTime, FixedOffset};
use sea_orm::{IdenStatic, Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    error::{Error, Result},
    record::{Column, Record, column},
};

/// How many records a page has when nothing is said.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// How many records a page has at most.
pub const MAX_PAGE_SIZE: u32 = 200;
/// How many records may be passed over: the database reads every one of them.
pub const MAX_OFFSET: u32 = 10_000;

/// Which part of a list is wanted.
#[derive(Debug, Clone)]
pub struct Page {
    /// How many records at most.
    pub limit: NonZeroU32,
    /// In which order.
    pub sort: Sort,
    /// After which record; from the start if none.
    pub after: Option<Cursor>,
    /// How many records to pass over there, at most [`MAX_OFFSET`]. That is for small lists, where somebody jumps to a
    /// page by its number: unlike [`after`](Self::after) it repeats records, or passes over some, while others come and go.
    pub offset: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            limit: NonZeroU32::new(DEFAULT_PAGE_SIZE).unwrap_or(NonZeroU32::MIN),
            sort: Sort::default(),
            after: None,
            offset: 0,
        }
    }
}

/// An order by one column, and by the id among equals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sort {
    /// The column; the id, which is the order of creation, if none.
    by: Option<&'static str>,
    descending: bool,
}

impl Sort {
    /// Reads `name` or, descending, `-name`, where `name` is `id` or a column that records of `R` may be sorted by.
    ///
    /// # Errors
    /// [`Error::Invalid`], listing the allowed names.
    pub fn parse<R: Record>(text: &str) -> Result<Self> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        if name == "id" {
            return Ok(Self { by: None, descending });
        }
        match R::SORTABLE.iter().map(IdenStatic::as_str).find(|&column| column == name) {
            Some(by) => Ok(Self { by: Some(by), descending }),
            None => {
                let message = format!("must be one of {}", Self::allowed::<R>().join(", "));
                Err(Error::invalid("sort", "sort", message))
            }
        }
    }

    /// The names that records of `R` may be sorted by.
    pub fn allowed<R: Record>() -> Vec<&'static str> {
        std::iter::once("id").chain(R::SORTABLE.iter().map(IdenStatic::as_str)).collect()
    }

    pub(crate) fn column<R: Record>(&self) -> Option<Column<R>> {
        self.by.and_then(column::<R>)
    }

    /// The text that [`parse`](Self::parse) reads.
    pub(crate) fn text(&self) -> String {
        let direction = if self.descending { "-" } else { "" };
        format!("{direction}{}", self.by.unwrap_or("id"))
    }

    pub(crate) fn is_descending(&self) -> bool {
        self.descending
    }
}

/// A place in a list: just after a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// The order in which it is a place, as [`Sort::parse`] reads it.
    pub(crate) order: String,
    pub(crate) key: Option<Key>,
    pub(crate) id: Uuid,
}

/// The value of the column that a list is sorted by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Key {
    #[serde(rename = "t")]
    Text(String),
    #[serde(rename = "i")]
    Integer(i64),
    #[serde(rename = "d")]
    Instant(DateTime<FixedOffset>),
}

impl Key {
    pub(crate) fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::String(Some(text)) => Some(Self::Text(text)),
            Value::BigInt(Some(number)) => Some(Self::Integer(number)),
            Value::ChronoDateTimeWithTimeZone(Some(instant)) => Some(Self::Instant(instant)),
            _ => None,
        }
    }

    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Integer(number) => number.into(),
            Self::Instant(instant) => instant.into(),
        }
    }
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Listing<R> {
    /// The records, in order.
    pub records: Vec<R>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<Cursor>,
}
