//! How documents say what they are.
//!
//! The macros write what follows from the fields: the struct and what it derives, a typed [`Field`](super::Field) for each
//! field, and the collection with its JSON schema.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use validator::Validate;

use super::{Collection, Document};

/// A kind of document that the application keeps, and the fields of one. With its id and its version it is
/// [`Kept`](super::Kept).
pub trait Documented:
    Serialize + DeserializeOwned + JsonSchema + Validate + Clone + std::fmt::Debug + Send + Sync + 'static
{
    /// The noun, in the singular, as messages say it.
    const NOUN: &'static str;

    /// Whether documents of this kind are only ever added, and vanish by their age.
    const ONLY_ADDED: bool = false;

    /// Where they are.
    fn collection() -> &'static Collection;

    /// Makes of the fields of an older version of the schema those of the present one.
    fn upgrade(_fields: &mut Document, _from: i64) {}
}

/// The JSON schema of a type, with nothing in it that refers to anything.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// Makes a kind of document of its fields: `pub level as LEVEL: Level` makes the field `level`, which filters and indexes
/// know as `LEVEL`. Then say
///
/// - `schema`: the version of it, to be counted up when fields change their meaning;
/// - `upgrade`: what makes the fields of an older version into those of this one;
/// - `indexes`: see [`Index`](super::Index);
/// - `only_added: true`, where documents are never changed; `connection`, where they are on a connection with a name;
///   `sensitive`, the fields that nobody reads without an entry in the audit trail.
macro_rules! document {
    (
        $(#[$about:meta])*
        pub struct $document:ident = $noun:literal in $collection:literal {
            $( $(#[$about_field:meta])* pub $field:ident as $constant:ident: $type:ty ),* $(,)?
        }
        schema: $version:literal,
        $(upgrade: $upgrade:path,)?
        $(connection: $connection:literal,)?
        $(only_added: $only_added:literal,)?
        $(sensitive: [$($sensitive:ident),* $(,)?],)?
        indexes: [$($index:expr),* $(,)?],
    ) => {
        $crate::document::declare::fields! {
            $(#[$about])*
            pub struct $document { $( $(#[$about_field])* pub $field as $constant: $type ),* }
        }

        impl $crate::document::Documented for $document {
            const NOUN: &'static str = $noun;
            $(const ONLY_ADDED: bool = $only_added;)?

            fn collection() -> &'static $crate::document::Collection {
                static COLLECTION: std::sync::LazyLock<$crate::document::Collection> = std::sync::LazyLock::new(|| {
                    $crate::document::Collection::new(
                        $collection,
                        None $(.or(Some($connection)))?,
                        $document::members(),
                        vec![$($index),*],
                        $version,
                        $crate::document::declare::schema_of::<$document>(),
                    )
                    $(.with_sensitive(&[$({
                        // Only what is a field is known here.
                        let _ = |document: &$document| { let _ = &document.$sensitive; };
                        stringify!($sensitive)
                    }),*]))?
                });
                &COLLECTION
            }

            $(fn upgrade(fields: &mut $crate::document::Document, from: i64) {
                $upgrade(fields, from);
            })?
        }
    };
}
pub(crate) use document;

/// Makes an object that documents have in them.
macro_rules! part {
    (
        $(#[$about:meta])*
        pub struct $part:ident { $($fields:tt)* }
    ) => {
        $crate::document::declare::fields! {
            $(#[$about])*
            pub struct $part { $($fields)* }
        }

        impl $crate::document::Held for $part {
            type Compared = Self;

            fn kind() -> $crate::document::Kind {
                $crate::document::Kind::Object(Self::members())
            }
        }
    };
}
pub(crate) use part;

/// The struct, and its fields as the language knows them.
macro_rules! fields {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $( $(#[$about_field:meta])* pub $field:ident as $constant:ident: $type:ty ),* $(,)?
        }
    ) => {
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema, validator::Validate)]
        $(#[$about])*
        pub struct $name {
            $( $(#[$about_field])* pub $field: $type, )*
        }

        impl $name {
            $(
                #[doc = concat!("The field `", stringify!($field), "`.")]
                pub const $constant: $crate::document::Field<$name, $type> =
                    $crate::document::Field::at(stringify!($field));
            )*

            fn members() -> Vec<$crate::document::Member> {
                vec![$( $crate::document::Member {
                    name: stringify!($field).into(),
                    kind: <$type as $crate::document::Held>::kind(),
                } ),*]
            }
        }
    };
}
pub(crate) use fields;
