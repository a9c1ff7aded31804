//! What a collection says about its documents.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
    time::Duration,
};

use jsonschema::Validator;
use serde_json::Value;

use super::{
    check::look_up,
    field::Field,
    geo::Point,
    kind::{FieldPath, Held, Kind, Member},
};
use crate::value::Timestamp;

/// A collection of documents: its name, its fields, its indexes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Collection {
    declared: Arc<Declared>,
    sensitive: &'static [&'static str],
}

#[derive(Debug)]
struct Declared {
    name: Cow<'static, str>,
    connection: Option<&'static str>,
    members: Option<Vec<Member>>,
    indexes: Vec<Index>,
    version: i64,
    schema: Value,
    /// Compiled when the first document is looked at.
    validator: OnceLock<Result<Validator, String>>,
}

/// An index that a collection needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    /// Its name among those of the collection.
    pub name: Cow<'static, str>,
    pub is: IndexUse,
}

/// What an index is for.
#[derive(Debug, Clone, PartialEq)]
pub enum IndexUse {
    /// For filters and orders. Unique, no two documents that have all of these fields have the same values in them; what
    /// lacks one is not held to it.
    Fields { keys: Vec<IndexKey>, is_unique: bool },
    /// For words: those of these fields are in [`WORDS`](super::WORDS). At most one of these.
    Text { fields: Vec<FieldPath> },
    /// For places.
    Geo { field: FieldPath },
    /// A document vanishes when so much time has passed since the instant in this field.
    Ttl { field: FieldPath, after: Duration },
}

/// One of the fields of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexKey {
    pub field: FieldPath,
    pub direction: Direction,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Ascending,
    Descending,
}

impl Index {
    /// Whether it is of use without anything being looked up in it: it keeps documents unique, or has them expire. Neither
    /// is counted as a use.
    pub fn works_unasked(&self) -> bool {
        matches!(self.is, IndexUse::Fields { is_unique: true, .. } | IndexUse::Ttl { .. })
    }

    /// An index on fields.
    pub fn on<const N: usize>(name: &'static str, keys: [IndexKey; N]) -> Self {
        Self { name: name.into(), is: IndexUse::Fields { keys: keys.into(), is_unique: false } }
    }

    /// An index on fields, whose values no two documents have.
    pub fn unique<const N: usize>(name: &'static str, keys: [IndexKey; N]) -> Self {
        Self { name: name.into(), is: IndexUse::Fields { keys: keys.into(), is_unique: true } }
    }

    /// An index on the words of fields.
    pub fn text<const N: usize>(name: &'static str, fields: [FieldPath; N]) -> Self {
        Self { name: name.into(), is: IndexUse::Text { fields: fields.into() } }
    }

    /// An index on places.
    pub fn geo<D, T: Held<Compared = Point>>(name: &'static str, field: Field<D, T>) -> Self {
        Self { name: name.into(), is: IndexUse::Geo { field: field.untyped() } }
    }

    /// An index by which documents vanish so long after an instant.
    pub fn ttl<D, T: Held<Compared = Timestamp>>(name: &'static str, field: Field<D, T>, after: Duration) -> Self {
        Self { name: name.into(), is: IndexUse::Ttl { field: field.untyped(), after } }
    }
}

impl Collection {
    /// A collection whose fields are known, in the version of its schema. The JSON schema is about the fields that are
    /// not ours; nothing in it refers to anything.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        connection: Option<&'static str>,
        members: Vec<Member>,
        indexes: Vec<Index>,
        version: i64,
        schema: Value,
    ) -> Self {
        Self::declare(name.into(), connection, Some(members), indexes, version, schema)
    }

    /// A collection of which nothing is known but its name: documents are found by their ids.
    pub fn untyped(name: impl Into<Cow<'static, str>>) -> Self {
        Self::declare(name.into(), None, None, Vec::new(), 1, Value::Bool(true))
    }

    fn declare(
        name: Cow<'static, str>,
        connection: Option<&'static str>,
        members: Option<Vec<Member>>,
        indexes: Vec<Index>,
        version: i64,
        schema: Value,
    ) -> Self {
        let validator = OnceLock::new();
        let declared = Arc::new(Declared { name, connection, members, indexes, version, schema, validator });
        Self { declared, sensitive: &[] }
    }

    /// The same, with fields that nobody reads without an entry in the audit trail.
    #[must_use]
    pub fn with_sensitive(self, sensitive: &'static [&'static str]) -> Self {
        Self { sensitive, ..self }
    }

    /// The fields that nobody reads without an entry in the audit trail.
    pub fn sensitive(&self) -> &'static [&'static str] {
        self.sensitive
    }

    /// Its name: a letter, then letters, digits and underscores.
    pub fn name(&self) -> &str {
        &self.declared.name
    }

    /// Which of the named connections it is on; the usual one if none.
    pub fn connection(&self) -> Option<&'static str> {
        self.declared.connection
    }

    /// Its fields, without those that are ours; none if they are not known.
    pub fn members(&self) -> Option<&[Member]> {
        self.declared.members.as_deref()
    }

    /// The indexes that it needs.
    pub fn indexes(&self) -> &[Index] {
        &self.declared.indexes
    }

    /// The version of its schema. What was written in an older one is not held to the schema.
    pub fn version(&self) -> i64 {
        self.declared.version
    }

    /// The JSON schema of its documents, without the fields that are ours.
    pub fn schema(&self) -> &Value {
        &self.declared.schema
    }

    /// What is at a path, and whether a list is on the way to it; nothing if that is not known.
    pub fn look_up(&self, path: &str) -> Option<(Kind, bool)> {
        match path {
            super::ID => return Some((Kind::Text, false)),
            super::VERSION | super::SCHEMA => return Some((Kind::Integer, false)),
            super::WORDS => return Some((Kind::List(Box::new(Kind::Text)), false)),
            _ => {}
        }
        look_up(self.members()?, path)
    }

    /// What checks its documents.
    pub(crate) fn validator(&self) -> Result<&Validator, &str> {
        let compile = || jsonschema::validator_for(&self.declared.schema).map_err(|error| error.to_string());
        self.declared.validator.get_or_init(compile).as_ref().map_err(String::as_str)
    }
}
