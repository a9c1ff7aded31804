//! Documents: what is kept as JSON, beside the records, and the language in which it is asked for.
//!
//! A document is a JSON object. What its fields are, its [`Collection`] says; a typed document says it by the macro
//! `document!`, as `log_entry.rs` does. [`Filter`], [`Update`], [`Query`] and [`Pipeline`] are plain data that every
//! adapter of [`Documents`](crate::Documents) can translate, built by way of typed [`Field`]s. What they mean is said once,
//! by the evaluator beside them ([`Filter::matches`], [`Update::apply`], [`Query::run`], [`Pipeline::run`]): an adapter
//! is right when it answers as the evaluator does.
//!
//! What holds of all documents:
//!
//! - Null and missing are the same; where a collection knows the fields, nulls are not kept at all.
//! - A filter on a field inside of a list holds if it holds for any item of the list.
//! - Values are in order as MongoDB has it: nothing, then numbers, then text by its bytes, then `false`, then `true`.
//!   Instants, days and ids are text in their one canonical form.
//! - Instants have whole milliseconds.
//! - Fields whose names begin with `_` are ours: [`ID`], [`VERSION`], [`SCHEMA`], [`WORDS`].

mod belonging;
mod check;
mod collection;
pub(crate) mod declare;
mod field;
mod filter;
mod geo;
mod kind;
mod pipeline;
mod query;
mod question;
mod relation;
mod shape;
mod store;
mod update;
mod words;

pub use belonging::{Belonging, Dangling, belongings};
pub(crate) use check::is_name;
pub use collection::{Collection, Direction, Index, IndexKey, IndexUse};
pub use declare::Documented;
pub(crate) use declare::{document, part};
pub use field::{Field, Typed, asc, desc};
pub use filter::{Comparison, Filter};
pub use geo::{Area, EARTH_RADIUS, Point, Polygon};
pub use kind::{Comparable, FieldPath, Held, Kind, Member, Scalar};
pub(crate) use kind::{Owned, time_text};
pub use pipeline::{Fold, GroupKey, Pipeline, Stage, Unit};
pub use query::{After, Query, SortBy, SortKey};
pub use question::Question;
pub use relation::DocumentsOf;
pub use store::{DocumentListing, DocumentStore, Kept, Untyped, all_taken};
pub use update::{Edit, Update};
pub use words::words;

use crate::{AuditEntry, BirthChart, Event, LogEntry, PlanetaryInsight, TimingRecommendation};

/// A document as the port knows it. Its [`ID`] is text.
pub type Document = serde_json::Map<String, serde_json::Value>;

/// The field with the id of a document: a text, of which a collection has each once. For typed documents it is a UUID.
pub const ID: &str = "_id";
/// The field that counts how often a typed document was written: 1 at first.
pub const VERSION: &str = "_version";
/// The field that says in which version of its schema a typed document was written.
pub const SCHEMA: &str = "_schema";
/// The field with the words of a document that can be searched for: a list of texts, each once, in order.
pub const WORDS: &str = "_words";

/// The collections of all typed documents.
pub fn collections() -> Vec<&'static Collection> {
    vec![
        LogEntry::collection(),
        AuditEntry::collection(),
        Event::collection(),
        BirthChart::collection(),
        PlanetaryInsight::collection(),
        TimingRecommendation::collection(),
    ]
}
