//! The audit trail: who changed what, and who read what is sensitive, each entry bound to all that were there before it,
//! so that nobody can change, add or leave out one without it being seen.
//!
//! An entry is a document of the collection `audit`. Its `hash` is SHA-256 of all else that is in it, in a canonical
//! form, and among that is the hash of the entry before. How far the trail goes is kept apart from it, in the relational
//! database, so that it cannot be cut short either.

mod leads;
mod reading;
mod verify;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    context::Context,
    document::{
        After, Document, Documented, Filter, ID, Index, Query, SCHEMA, Scalar, VERSION, asc, document, time_text,
    },
    noun::*,
    outbox::{Row, table},
    pool::Pool,
    port::documents::{Documents, DocumentsError},
};

pub(crate) use leads::Leads;
pub(crate) use reading::{Reading, Sensitive, is_listed};
use verify::Verifier;
pub use verify::{Finding, Tampering, Verification};

/// The collection of the audit trail.
pub(crate) const AUDIT: &str = "audit";
pub(crate) const SEQUENCE: &str = "sequence";
pub(crate) const HASH: &str = "hash";
pub(crate) const PREVIOUS: &str = "previous";

/// The id of an entry of the audit trail.
pub type AuditEntryId = Id<AuditEntry>;

document! {
    /// That somebody changed something, or read what is sensitive.
    pub struct AuditEntry = "audit entry" in "audit" {
        /// Its place in the trail, counted from 1.
        pub sequence as SEQUENCE: i64,
        /// The hash of the entry before; empty in the first.
        pub previous as PREVIOUS: String,
        pub hash as HASH: String,
        pub timestamp as TIMESTAMP: Timestamp,
        /// Who did it, if anybody said.
        pub actor as ACTOR: Option<String>,
        /// What was done: `insert`, `update`, `delete`, `truncate`, or `read`, of what is sensitive.
        pub action as ACTION: String,
        /// To what, as in `users:01890a5d-ac96-774b-bcce-b302099a8057`.
        pub entity as ENTITY: String,
        /// The row as it was, without what is secret.
        #[serde(default)]
        pub before as BEFORE: Value,
        /// The row as it is since.
        #[serde(default)]
        pub after as AFTER: Value,
        /// The sensitive fields that were read.
        pub fields as FIELDS: Option<Vec<String>>,
        pub request_id as REQUEST_ID: Option<String>,
        pub endpoint as ENDPOINT: Option<String>,
        pub method as METHOD: Option<String>,
    }
    schema: 1,
    only_added: true,
    indexes: [
        // Not unique: what somebody puts in the place of the next entry must not keep that one out.
        Index::on("sequence", [asc(AuditEntry::SEQUENCE)]),
        Index::on("entity_sequence", [asc(AuditEntry::ENTITY), asc(AuditEntry::SEQUENCE)]),
        Index::on("actor_sequence", [asc(AuditEntry::ACTOR), asc(AuditEntry::SEQUENCE)]),
        Index::on("request_id", [asc(AuditEntry::REQUEST_ID)]),
    ],
}

/// How many entries are read at once.
const PAGE: u64 = 2_000;

/// How far the trail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// The number of the last entry; they are counted from 1.
    pub(crate) sequence: i64,
    /// Its hash; empty before the first.
    pub(crate) hash: String,
}

impl Head {
    /// Gives a row its place behind all that are there.
    ///
    /// # Errors
    /// If no documents can keep it.
    pub(crate) fn seal(&mut self, row: &mut Row) -> Result<(), DocumentsError> {
        let sequence = self.sequence + 1;
        let hash = digest(&entry(row, sequence, &self.hash)?);
        let previous = std::mem::replace(&mut self.hash, hash.clone());
        self.sequence = sequence;
        row.seal = Some(Seal { sequence, previous, hash });
        Ok(())
    }
}

/// The place of an entry in the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) sequence: i64,
    pub(crate) hash: String,
    pub(crate) previous: String,
}

/// An entry without its hash, in the one form in which documents keep it: that form is what is hashed.
pub(crate) fn entry(row: &Row, sequence: i64, previous: &str) -> Result<Document, DocumentsError> {
    let Context { actor, request_id, endpoint, method } = row.context.clone();
    let body = |field: &str| row.body.as_ref().and_then(|body| body.get(field)).cloned().map_or(Value::Null, keepable);
    let fields: [(&str, Value); 16] = [
        (ID, row.id.to_string().into()),
        (VERSION, 1.into()),
        (SCHEMA, AuditEntry::collection().version().into()),
        (SEQUENCE, sequence.into()),
        (PREVIOUS, previous.into()),
        (HASH, "".into()),
        ("timestamp", time_text(row.at).into()),
        ("actor", actor.into()),
        ("action", body("action")),
        ("entity", keepable(row.entity.clone().into())),
        ("before", body("before")),
        ("after", body("after")),
        ("fields", body("fields")),
        ("request_id", request_id.into()),
        ("endpoint", endpoint.into()),
        ("method", method.into()),
    ];
    AuditEntry::collection().admit(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The same value with other characters in place of those that documents cannot have: in names dots and dollars become
/// the wide ones of Unicode. What was written into a row must be told of, whatever it is.
fn keepable(value: Value) -> Value {
    let name = |name: String| match name.as_str() {
        "" => "\u{2205}".to_owned(),
        _ if name.contains(['.', '$', '\0']) => {
            name.replace('.', "\u{ff0e}").replace('$', "\u{ff04}").replace('\0', "\u{2400}")
        }
        _ => name,
    };
    match value {
        Value::Object(fields) => fields.into_iter().map(|(field, value)| (name(field), keepable(value))).collect(),
        Value::Array(items) => items.into_iter().map(keepable).collect(),
        Value::String(text) if text.contains('\0') => text.replace('\0', "\u{2400}").into(),
        other => other,
    }
}

/// The hash of an entry, whose own hash is not looked at, nor what a store hides in it.
pub(crate) fn digest(entry: &Map<String, Value>) -> String {
    let is_said = |name: &str| name == ID || (name != HASH && !name.starts_with('_'));
    let mut text = Vec::with_capacity(1_024);
    write_object(entry.iter().filter(|(name, value)| is_said(name) && !value.is_null()), &mut text);
    hex::encode(Sha256::digest(&text))
}

/// JSON with the names in order and without space: one text for one value, whoever wrote it. (RFC 8785 says more of it,
/// above all about numbers; here they are those that came out of a parser, which are written in one way.)
fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(object) => write_object(object.iter(), out),
        Value::Array(values) => {
            out.push(b'[');
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(value, out);
            }
            out.push(b']');
        }
        // A writer into memory does not fail.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            serde_json::to_writer(out, value).unwrap_or_default();
        }
    }
}

fn write_object<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>, out: &mut Vec<u8>) {
    let mut fields = fields.collect::<Vec<_>>();
    fields.sort_unstable_by_key(|(name, _)| *name);
    out.push(b'{');
    for (n, (name, value)) in fields.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, name).unwrap_or_default();
        out.push(b':');
        write(value, out);
    }
    out.push(b'}');
}

/// Looks at the whole trail. What is sealed and delivered meanwhile is not taken for tampering: how far it goes is read
/// first, then what is on its way, then the entries, and at last once more how far it goes.
pub(crate) async fn verify(database: &Pool, documents: &dyn Documents) -> Result<Verification> {
    let head = table::audit_head(database).await?;
    let outstanding = table::outstanding(database).await?;
    let mut verifier = Verifier::new(head.clone(), outstanding);
    let sort = vec![AuditEntry::SEQUENCE.ascending()];
    let mut query = Query { filter: Filter::everything(), sort, limit: Some(PAGE), ..Query::default() };
    let mut beyond = Vec::new();
    let mut page = documents.find(AuditEntry::collection(), &query).await?;
    while let Some(last) = page.last() {
        query.after = Some(place(last));
        let is_last = (page.len() as u64) < PAGE;
        let is_beyond = |entry: &Document| {
            entry.get(SEQUENCE).and_then(Value::as_i64).is_some_and(|sequence| sequence > head.sequence)
        };
        let (behind, present) = page.into_iter().partition::<Vec<_>, _>(is_beyond);
        beyond.extend(behind);
        // While one page is computed the next one is read.
        let computing = tokio::task::spawn_blocking(move || {
            present.into_iter().for_each(|entry| verifier.push(entry));
            verifier
        });
        let reading = async {
            match is_last {
                true => Ok(Vec::new()),
                false => documents.find(AuditEntry::collection(), &query).await,
            }
        };
        let (computed, read) = tokio::join!(computing, reading);
        verifier = computed.map_err(|error| Error::internal("the audit trail could not be computed", error))?;
        page = read?;
    }
    let now = table::audit_head(database).await?;
    for entry in beyond {
        if entry.get(SEQUENCE).and_then(Value::as_i64).is_some_and(|sequence| sequence > now.sequence) {
            verifier.push(entry);
        }
    }
    Ok(verifier.finish())
}

/// Just behind an entry.
fn place(entry: &Document) -> After {
    let sequence = entry.get(SEQUENCE).and_then(Value::as_i64).map(Scalar::Integer);
    let id = entry.get(ID).and_then(Value::as_str).unwrap_or_default().to_owned();
    After { values: vec![sequence], id }
}
