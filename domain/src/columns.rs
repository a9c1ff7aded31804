//! How the fields of a noun become the columns of its table and back.
//!
//! The macros write the ordinary case, where a field is a column of the same name: the struct as it stands, what it
//! derives, and how it becomes a row. All of them take rows apart by full pattern and build them by full literal, so
//! that a new column stops compilation exactly where somebody has to decide about it. Where a field is more than a
//! column, write the struct and its `impl` by hand, as `user.rs` does for what is new.

use chrono::{DateTime, FixedOffset, NaiveDate};
use sea_orm::{ActiveValue, JsonValue};
use serde_json::Number;
use uuid::Uuid;

use crate::{
    error::Result,
    id::Id,
    value::{Change, Day, Timestamp},
};

/// A value that a column can hold.
pub(crate) trait ColumnValue: Sized {
    /// Its type in the generated entity.
    type Column: Into<sea_orm::Value>;

    /// As the column holds it.
    fn into_column(self) -> Self::Column;

    /// Reads what a column holds.
    ///
    /// # Errors
    /// [`Error::Internal`](crate::Error::Internal) if that is no such value: a check constraint should have kept it out.
    fn from_column(column: Self::Column) -> Result<Self>;
}

macro_rules! held_as_it_is {
    ($($type:ty),+) => { $(
        impl ColumnValue for $type {
            type Column = Self;

            fn into_column(self) -> Self {
                self
            }

            fn from_column(column: Self) -> Result<Self> {
                Ok(column)
            }
        }
    )+ };
}
held_as_it_is!(bool, i64, f64, String);

// JSON knows numbers only, not integers and floats. PostgreSQL keeps 1e16 as the integer that it is, SQLite as it was
// written: what is read is the integer.
impl ColumnValue for JsonValue {
    type Column = Self;

    fn into_column(self) -> Self {
        self
    }

    fn from_column(column: Self) -> Result<Self> {
        Ok(with_plain_numbers(column))
    }
}

pub(crate) fn with_plain_numbers(json: JsonValue) -> JsonValue {
    match json {
        JsonValue::Number(number) => plain(number).into(),
        JsonValue::Array(items) => items.into_iter().map(with_plain_numbers).collect(),
        JsonValue::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, with_plain_numbers(value))).collect()
        }
        other => other,
    }
}

/// The integer in place of a float that is written as one, with an exponent, and fits; and no negative zero.
fn plain(number: Number) -> Number {
    const WRITTEN_WITH_EXPONENT: f64 = 1e16;
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return number };
    if float == 0.0 {
        return Number::from_f64(0.0).unwrap_or(number);
    }
    if float.abs() < WRITTEN_WITH_EXPONENT {
        return number;
    }
    // Not a cast: PostgreSQL knows the digits that were written, and makes zeros of the others.
    let digits = float.to_string();
    let unsigned = digits.parse::<u64>().map(Number::from);
    unsigned.or_else(|_| digits.parse::<i64>().map(Number::from)).unwrap_or(number)
}

impl<R> ColumnValue for Id<R> {
    type Column = Uuid;

    fn into_column(self) -> Uuid {
        self.uuid()
    }

    fn from_column(column: Uuid) -> Result<Self> {
        Ok(Self::new(column))
    }
}

impl ColumnValue for Timestamp {
    type Column = DateTime<FixedOffset>;

    fn into_column(self) -> DateTime<FixedOffset> {
        self.into()
    }

    fn from_column(column: DateTime<FixedOffset>) -> Result<Self> {
        Ok(column.into())
    }
}

impl ColumnValue for Day {
    type Column = NaiveDate;

    fn into_column(self) -> NaiveDate {
        self.into()
    }

    fn from_column(column: NaiveDate) -> Result<Self> {
        Ok(column.into())
    }
}

impl<T: ColumnValue<Column: sea_orm::sea_query::Nullable>> ColumnValue for Option<T> {
    type Column = Option<T::Column>;

    fn into_column(self) -> Self::Column {
        self.map(T::into_column)
    }

    fn from_column(column: Self::Column) -> Result<Self> {
        column.map(T::from_column).transpose()
    }
}

impl<T> Change<T> {
    /// The column, set or not.
    pub(crate) fn into_column(self) -> ActiveValue<T::Column>
    where
        T: ColumnValue,
    {
        match self {
            Self::Keep => ActiveValue::NotSet,
            Self::Set(value) => ActiveValue::Set(value.into_column()),
        }
    }
}

/// Makes a record of the fields that are columns of its table; id, version and times it has beside them. Then say by
/// which columns lists may be sorted, and by which they may be narrowed:
///
/// - `filter: TagFilter { name: String }` writes a filter whose fields are columns that have to be equal; for another
///   one, write `filter: TagFilter` alone and the `impl` by hand.
/// - `cached` says how long copies are kept, where it is not as long as usual; `unique` names the texts by which one
///   record can be looked up, whatever the case of their letters: `unique: { BY_NAME: name }`; `sensitive` names the
///   columns that nobody reads without an entry in the audit trail.
/// - `relations` are the records that can be loaded along with it, `children` the columns that refer to it and what
///   becomes of their rows when it is deleted. Leave out what there is none of.
macro_rules! record {
    (
        $(#[$about:meta])*
        pub struct $record:ident = $noun:literal in $table:ident {
            $( $(#[$about_field:meta])* pub $field:ident: $type:ty ),* $(,)?
        }
        sort: [$($sort:ident),* $(,)?],
        filter: $filter:ident $({
            $( $(#[$about_equal:meta])* $equal:ident: $equal_type:ty $(=> $equal_value:expr)? ),* $(,)?
        })?,
        $(cached: $cached:expr,)?
        $(sensitive: [$($sensitive:ident),* $(,)?],)?
        $(unique: { $( $(#[$about_unique:meta])* $by:ident: $unique:ident ),* $(,)? },)?
        $(relations: {
            $( $(#[$about_relation:meta])* $relation:ident: $relation_type:ty = $path:expr ),* $(,)?
        },)?
        $(children: [$($on_delete:ident $child:ident.$reference:ident),* $(,)?],)?
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub struct $record {
            pub id: $crate::id::Id<$record>,
            pub version: i64,
            $( $(#[$about_field])* pub $field: $type, )*
            pub created_at: $crate::value::Timestamp,
            pub updated_at: $crate::value::Timestamp,
        }

        impl $record {
            $($( $(#[$about_relation])* pub const $relation: $relation_type = $path; )*)?
            $($( $(#[$about_unique])* pub const $by: $crate::record::UniqueText<$record> =
                $crate::record::UniqueText(entity::$table::COLUMN.$unique.0); )*)?
        }

        impl $crate::record::Stored for $record {
            type Entity = entity::$table::Entity;
            const SORTABLE: &'static [entity::$table::Column] = &[$(entity::$table::COLUMN.$sort.0),*];
            const CHILDREN: &'static [$crate::record::Child] = &[$($($crate::record::Child {
                table: stringify!($child),
                column: stringify!($reference),
                on_delete: $crate::record::OnDelete::$on_delete,
            }),*)?];

            fn from_row(row: entity::$table::Model) -> $crate::error::Result<Self> {
                let entity::$table::Model { id, version, created_at, updated_at, $($field),* } = row;
                Ok(Self {
                    id: $crate::id::Id::new(id),
                    version,
                    $($field: $crate::columns::ColumnValue::from_column($field)?,)*
                    created_at: created_at.into(),
                    updated_at: updated_at.into(),
                })
            }
        }

        impl $crate::record::Record for $record {
            type Filter = $filter;
            const NOUN: &'static str = $noun;
            $(const CACHED: $crate::record::Caching = $cached;)?
            $(const SENSITIVE: &'static [&'static str] = &[$({
                $crate::audit::is_listed::<$record>();
                // Only what is a column is known here.
                let _ = &entity::$table::COLUMN.$sensitive;
                stringify!($sensitive)
            }),*];)?

            fn id(&self) -> $crate::id::Id<Self> {
                self.id
            }

            fn version(&self) -> i64 {
                self.version
            }

            fn relations() -> &'static [&'static dyn $crate::relation::Related] {
                &[$($(&Self::$relation),*)?]
            }
        }

        $(
            #[doc = concat!("What each ", $noun, " in a list must be: an absent field narrows nothing.")]
            #[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
            #[serde(default, deny_unknown_fields)]
            pub struct $filter {
                $( $(#[$about_equal])* pub $equal: Option<$equal_type>, )*
            }

            impl $crate::record::Narrow for $filter {
                fn condition(&self) -> sea_orm::Condition {
                    let Self { $($equal),* } = self.clone();
                    sea_orm::Condition::all()
                        $(.add_option($equal.map(|$equal| {
                            let value = $crate::columns::ColumnValue::into_column(
                                $crate::columns::value!($equal $(=> $equal_value)?)
                            );
                            sea_orm::ColumnTrait::eq(&entity::$table::COLUMN.$equal.0, value)
                        })))*
                }
            }

            impl $crate::record::Filter for $filter {
                type Record = $record;
            }
        )?
    };
}
pub(crate) use record;

/// Makes what is needed to make a record, where the fields are its columns: as they are, or as what follows `=>`. Follow
/// it with an `impl Insert`, the place for rules.
macro_rules! new {
    (
        $(#[$about:meta])*
        pub struct $new:ident => $record:ident {
            $( $(#[$about_field:meta])* pub $field:ident: $type:ty $(=> $value:expr)? ),* $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema, validator::Validate)]
        #[serde(deny_unknown_fields)]
        pub struct $new {
            $( $(#[$about_field])* pub $field: $type, )*
        }

        impl $crate::record::NewRow for $new {
            type Record = $record;

            fn into_row(self, stamp: $crate::record::Stamp) -> $crate::record::Row<$record> {
                type Row = $crate::record::Row<$record>;
                let Self { $($field),* } = self;
                Row {
                    id: stamp.id,
                    version: $crate::record::FIRST_VERSION,
                    created_at: stamp.now.into(),
                    updated_at: stamp.now.into(),
                    $($field: $crate::columns::ColumnValue::into_column(
                        $crate::columns::value!($field $(=> $value)?)
                    )),*
                }
            }
        }
    };
}
pub(crate) use new;

/// Makes a change of a record, where the fields are columns that it can change: to what they are, or to what follows
/// `=>`. The others it keeps, and has to name too. Follow it with an `impl Patch`, the place for rules.
macro_rules! patch {
    (
        $(#[$about:meta])*
        pub struct $patch:ident => $record:ident $(keeps { $($kept:ident),* $(,)? })? {
            $( $(#[$about_field:meta])* pub $field:ident: $type:ty $(=> $value:expr)? ),* $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema, validator::Validate)]
        #[serde(default, deny_unknown_fields)]
        pub struct $patch {
            $( $(#[$about_field])* pub $field: $type, )*
        }

        impl $crate::record::ChangedRow for $patch {
            type Record = $record;

            fn into_changes(self) -> $crate::record::ChangeSet<$record> {
                type Changes = $crate::record::ChangeSet<$record>;
                let Self { $($field),* } = self;
                Changes {
                    id: sea_orm::ActiveValue::NotSet,
                    version: sea_orm::ActiveValue::NotSet,
                    created_at: sea_orm::ActiveValue::NotSet,
                    updated_at: sea_orm::ActiveValue::NotSet,
                    $($field: $crate::columns::value!($field $(=> $value)?).into_column(),)*
                    $($($kept: sea_orm::ActiveValue::NotSet,)*)?
                }
            }
        }
    };
}
pub(crate) use patch;

/// The value of a field for its column: the field itself, unless something else is said.
macro_rules! value {
    ($field:ident) => {
        $field
    };
    ($field:ident => $value:expr) => {
        $value
    };
}
pub(crate) use value;
