//! How the fields of a noun become the columns of its table and back.
//!
//! The macros write the ordinary case, where a field is a column of the same name. All of them take rows apart by full
//! pattern and build them by full literal, so that a new column stops compilation exactly where somebody has to decide
//! about it. Where a field is more than a column, write the `impl` by hand, as `user.rs` does for what is new.

use chrono::{DateTime, FixedOffset, NaiveDate};
use sea_orm::{ActiveValue, JsonValue};
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
held_as_it_is!(bool, i64, f64, String, JsonValue);

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

/// Says that a struct is a record: the noun, its columns beside id, version and times, what lists may be narrowed and
/// sorted by, its relations, and what becomes of rows that refer to it when it is deleted.
macro_rules! record {
    (
        $record:ident = $noun:literal in $row:ident { $($field:ident),* $(,)? },
        filter: $filter:ty,
        sort: [$($sort:ident),*],
        relations: [$($relation:ident),*],
        children: [$($on_delete:ident $table:ident.$column:ident),*] $(,)?
    ) => {
        impl $crate::record::Stored for $record {
            type Entity = $row::Entity;
            const SORTABLE: &'static [$row::Column] = &[$($row::Column::$sort),*];
            const CHILDREN: &'static [$crate::record::Child] = &[$($crate::record::Child {
                table: stringify!($table),
                column: stringify!($column),
                on_delete: $crate::record::OnDelete::$on_delete,
            }),*];

            fn from_row(row: $row::Model) -> $crate::error::Result<Self> {
                let $row::Model { id, version, created_at, updated_at, $($field),* } = row;
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

            fn id(&self) -> $crate::id::Id<Self> {
                self.id
            }

            fn version(&self) -> i64 {
                self.version
            }

            fn relations() -> &'static [&'static dyn $crate::relation::Related] {
                &[$(&Self::$relation),*]
            }
        }
    };
}
pub(crate) use record;

/// Says that the fields of what is new are its columns. Follow it with an `impl Insert`, the place for rules.
macro_rules! new_row {
    ($new:ident => $record:ident in $row:ident { $($field:ident),* $(,)? }) => {
        impl $crate::record::NewRow for $new {
            type Record = $record;

            fn into_row(self, stamp: $crate::record::Stamp) -> $row::Model {
                let Self { $($field),* } = self;
                $row::Model {
                    id: stamp.id,
                    version: $crate::record::FIRST_VERSION,
                    created_at: stamp.now.into(),
                    updated_at: stamp.now.into(),
                    $($field: $crate::columns::ColumnValue::into_column($field)),*
                }
            }
        }
    };
}
pub(crate) use new_row;

/// Says that the fields of a patch are columns that it can change; the others it keeps, and has to name too. Follow it
/// with an `impl Patch`, the place for rules.
macro_rules! changed_row {
    (
        $patch:ident => $record:ident in $row:ident { $($field:ident),* $(,)? }
        keeps { $($kept:ident),* $(,)? }
    ) => {
        impl $crate::record::ChangedRow for $patch {
            type Record = $record;

            fn into_changes(self) -> $row::ActiveModel {
                let Self { $($field),* } = self;
                $row::ActiveModel {
                    id: sea_orm::ActiveValue::NotSet,
                    version: sea_orm::ActiveValue::NotSet,
                    created_at: sea_orm::ActiveValue::NotSet,
                    updated_at: sea_orm::ActiveValue::NotSet,
                    $($field: $field.into_column(),)*
                    $($kept: sea_orm::ActiveValue::NotSet),*
                }
            }
        }
    };
}
pub(crate) use changed_row;

/// Says that the fields of a filter are columns which have to be equal.
macro_rules! equal_columns {
    ($filter:ident => $record:ident in $row:ident { $($field:ident = $column:ident),* $(,)? }) => {
        impl $crate::record::Narrow for $filter {
            fn condition(&self) -> sea_orm::Condition {
                let Self { $($field),* } = self.clone();
                sea_orm::Condition::all()
                    $(.add_option($field.map(|value| {
                        let value = $crate::columns::ColumnValue::into_column(value);
                        sea_orm::ColumnTrait::eq(&$row::Column::$column, value)
                    })))*
            }
        }

        impl $crate::record::Filter for $filter {
            type Record = $record;
        }
    };
}
pub(crate) use equal_columns;
