//! The fields of a noun, as they are said on the command line.

use std::str::FromStr;

use sea_orm_migration::{prelude::*, schema};

use super::noun::is_name;

/// The columns that every record has.
pub(super) const COMMON: [&str; 4] = ["id", "version", "created_at", "updated_at"];

/// A field of a noun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) is_optional: bool,
    pub(super) is_unique: bool,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    Date,
    Timestamp,
    /// The id of a record in this table.
    Reference(String),
}

impl FromStr for Field {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (Some(name), Some(kind)) = (parts.next(), parts.next()) else {
            return Err("say its type, as in number:text or user_id:users".to_owned());
        };
        if !is_name(name) {
            return Err(format!("{name:?} is no name: use a-z, 0-9 and _, and no word of Rust's own"));
        }
        let kind = match kind {
            "text" => Kind::Text,
            "integer" => Kind::Integer,
            "boolean" => Kind::Boolean,
            "date" => Kind::Date,
            "timestamp" => Kind::Timestamp,
            table if is_name(table) => Kind::Reference(table.to_owned()),
            _ => {
                return Err("types are text, integer, boolean, date, timestamp, and tables such as users".to_owned());
            }
        };
        let (mut is_optional, mut is_unique) = (false, false);
        for word in parts {
            match word {
                "optional" => is_optional = true,
                "unique" => is_unique = true,
                _ => return Err(format!("after the type may come optional and unique, not {word:?}")),
            }
        }
        Ok(Self { name: name.to_owned(), kind, is_optional, is_unique })
    }
}

impl Field {
    /// The table that it refers to.
    pub(super) fn parent(&self) -> Option<&str> {
        match &self.kind {
            Kind::Reference(table) => Some(table),
            _ => None,
        }
    }

    /// What it refers to is called so: `user` of `user_id`.
    pub(super) fn stem(&self) -> &str {
        self.name.strip_suffix("_id").unwrap_or(&self.name)
    }

    /// The function that makes its column, of `sea_orm_migration::schema`.
    pub(super) fn function(&self) -> &'static str {
        match (&self.kind, self.is_optional) {
            (Kind::Text, false) => "text",
            (Kind::Text, true) => "text_null",
            (Kind::Integer, false) => "big_integer",
            (Kind::Integer, true) => "big_integer_null",
            (Kind::Boolean, false) => "boolean",
            (Kind::Boolean, true) => "boolean_null",
            (Kind::Date, false) => "date",
            (Kind::Date, true) => "date_null",
            (Kind::Timestamp, false) => "timestamp_with_time_zone",
            (Kind::Timestamp, true) => "timestamp_with_time_zone_null",
            (Kind::Reference(_), false) => "uuid",
            (Kind::Reference(_), true) => "uuid_null",
        }
    }

    /// What that function makes.
    pub(super) fn column(&self) -> ColumnDef {
        let name = Alias::new(&self.name);
        match (&self.kind, self.is_optional) {
            (Kind::Text, false) => schema::text(name),
            (Kind::Text, true) => schema::text_null(name),
            (Kind::Integer, false) => schema::big_integer(name),
            (Kind::Integer, true) => schema::big_integer_null(name),
            (Kind::Boolean, false) => schema::boolean(name),
            (Kind::Boolean, true) => schema::boolean_null(name),
            (Kind::Date, false) => schema::date(name),
            (Kind::Date, true) => schema::date_null(name),
            (Kind::Timestamp, false) => schema::timestamp_with_time_zone(name),
            (Kind::Timestamp, true) => schema::timestamp_with_time_zone_null(name),
            (Kind::Reference(_), false) => schema::uuid(name),
            (Kind::Reference(_), true) => schema::uuid_null(name),
        }
    }

    /// Whether lists may be sorted by it.
    pub(super) fn is_sortable(&self) -> bool {
        !self.is_optional && matches!(self.kind, Kind::Text | Kind::Integer | Kind::Timestamp)
    }

    /// Whether lists may be narrowed by it.
    pub(super) fn is_filter(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Reference(_))
    }
}
