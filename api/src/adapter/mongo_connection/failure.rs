//! What the driver's errors mean.

use domain::{DocumentsError, Taken};
use mongodb::{
    bson::{Bson, Document},
    error::{Error, ErrorKind, TRANSIENT_TRANSACTION_ERROR, WriteFailure},
};

/// Why there is no answer, or not the one that was hoped for.
#[derive(Debug)]
pub(in super::super) enum Failure {
    /// Nobody was reached in time, or nobody lets us in.
    Meant(DocumentsError),
    /// What the server said instead.
    Said(Error),
}

impl Failure {
    /// What it means to those who do not know MongoDB.
    pub(in super::super) fn meaning(self) -> DocumentsError {
        match self {
            Self::Meant(meaning) => meaning,
            Self::Said(error) => said(&error),
        }
    }

    /// The same, of documents that were to be changed: that they cannot be is their fault.
    pub(in super::super) fn meaning_of_change(self) -> DocumentsError {
        match &self {
            Self::Said(error) => match error.kind.as_ref() {
                ErrorKind::Write(WriteFailure::WriteError(error)) if code::NOT_CHANGEABLE.contains(&error.code) => {
                    DocumentsError::Refused("a field is not what it has to be for this change".to_owned())
                }
                _ => self.meaning(),
            },
            Self::Meant(_) => self.meaning(),
        }
    }

    /// Whether it is one that the whole transaction may be tried again after.
    pub(in super::super) fn is_transient(&self) -> bool {
        matches!(self, Self::Said(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR))
    }
}

pub(in super::super) mod code {
    use mongodb::error::{Error, ErrorKind};

    /// The number of what the server said, if it refused a command.
    pub(in super::super::super) fn of(error: &Error) -> Option<i32> {
        match error.kind.as_ref() {
            ErrorKind::Command(error) => Some(error.code),
            _ => None,
        }
    }

    pub(in super::super::super) const NAMESPACE_EXISTS: i32 = 48;
    pub(in super::super::super) const NO_NAMESPACE: i32 = 26;
    pub(in super::super::super) const NO_INDEX: i32 = 27;
    /// There is an index for the same, of another name.
    pub(in super::super::super) const OTHER_INDEX: i32 = 85;
    /// A field is not what it has to be for a change.
    pub(super) const NOT_CHANGEABLE: [i32; 6] = [2, 14, 28, 52, 56, 57];
    pub(super) const UNAUTHORIZED: i32 = 13;
    pub(super) const AUTHENTICATION_FAILED: i32 = 18;
    /// Of transactions these are said by a server that belongs to no replica set.
    pub(super) const ALONE: [i32; 3] = [20, 72, 123];
    pub(super) const MAX_TIME_EXPIRED: i32 = 50;
    pub(super) const WRITE_CONFLICT: i32 = 112;
    pub(super) const NOT_VALID: i32 = 121;
    pub(super) const DUPLICATE_KEY: i32 = 11_000;
    /// An index cannot read a place.
    pub(super) const NO_PLACE: i32 = 16_755;
    pub(super) const TOO_LARGE: [i32; 3] = [10_334, 17_419, 17_420];
    /// Interrupted by its shutdown, or by another server taking over; shutting down; not the primary, or no more.
    pub(super) const NOT_NOW: [i32; 8] = [91, 189, 10_058, 10_107, 11_600, 11_602, 13_435, 13_436];
}

/// Whether it is about who we are, and not about what we asked for.
pub(super) fn is_refusal(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => true,
        ErrorKind::Command(error) => error.code == code::AUTHENTICATION_FAILED,
        _ => false,
    }
}

/// Whether no server has said anything, or one that cannot serve for now.
pub(super) fn is_out_of_reach(error: &Error) -> bool {
    match error.kind.as_ref() {
        ErrorKind::ServerSelection { .. }
        | ErrorKind::Io(_)
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::Shutdown => true,
        ErrorKind::Command(error) => code::NOT_NOW.contains(&error.code),
        _ => false,
    }
}

fn said(error: &Error) -> DocumentsError {
    let meaning = match error.kind.as_ref() {
        ErrorKind::Command(error) => of_code(error.code, &error.message, None),
        ErrorKind::Write(WriteFailure::WriteError(error)) => {
            of_code(error.code, &error.message, error.details.as_ref())
        }
        // It is done here, and not known to be done where it is safe.
        ErrorKind::Write(WriteFailure::WriteConcernError(_)) => DocumentsError::Timeout,
        // The driver knows it before it asks: it is the only thing that it says of transactions that are begun and ended
        // as they have to be.
        ErrorKind::SessionsNotSupported | ErrorKind::Transaction { .. } => DocumentsError::NeedsReplicaSet,
        _ => DocumentsError::Unexpected,
    };
    match meaning {
        DocumentsError::Unexpected if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => DocumentsError::Conflict,
        DocumentsError::Unexpected => {
            tracing::warn!(%error, "MongoDB gave an answer that was not understood");
            DocumentsError::Unexpected
        }
        meaning => meaning,
    }
}

/// What an error of this number means; the details are those of a validator.
pub(in super::super) fn of_code(code: i32, message: &str, details: Option<&Document>) -> DocumentsError {
    match code {
        code::DUPLICATE_KEY => DocumentsError::Duplicate(taken(message)),
        code::NOT_VALID => DocumentsError::Refused(refusal(details)),
        code::WRITE_CONFLICT => DocumentsError::Conflict,
        code::MAX_TIME_EXPIRED => DocumentsError::Timeout,
        code::UNAUTHORIZED | code::AUTHENTICATION_FAILED => DocumentsError::AuthFailed,
        // The second is what the driver says in place of what the server did.
        code if code::ALONE.contains(&code)
            && ["replica set", "retryable writes"].iter().any(|of| message.contains(of)) =>
        {
            DocumentsError::NeedsReplicaSet
        }
        code::NO_PLACE => DocumentsError::Refused("a field that is a place has none".to_owned()),
        code if code::TOO_LARGE.contains(&code) => DocumentsError::Refused("it is larger than 16 MiB".to_owned()),
        code if code::NOT_NOW.contains(&code) => DocumentsError::Unavailable,
        _ => DocumentsError::Unexpected,
    }
}

/// Of `E11000 duplicate key error collection: … index: name dup key: { … }` the name. There is no blank in it, nor in
/// the names before it.
fn taken(message: &str) -> Taken {
    let name = message.split_once(" index: ").and_then(|(_, rest)| rest.split_once(" dup key"));
    match name {
        None | Some(("_id_", _)) => Taken::Id,
        Some((name, _)) => Taken::Index(name.to_owned()),
    }
}

/// The fields that a validator did not like, as far as it tells; values are not quoted.
fn refusal(details: Option<&Document>) -> String {
    let mut fields = Vec::new();
    if let Some(details) = details {
        collect(&Bson::Document(details.clone()), &mut fields);
    }
    fields.sort_unstable();
    fields.dedup();
    match fields.as_slice() {
        [] => "it is not as the schema has it".to_owned(),
        fields => format!("not as the schema has it: {}", fields.join(", ")),
    }
}

fn collect(details: &Bson, fields: &mut Vec<String>) {
    match details {
        Bson::Document(document) => {
            for (name, value) in document {
                match (name.as_str(), value) {
                    ("propertyName", Bson::String(field)) => fields.push(field.clone()),
                    ("missingProperties" | "additionalProperties", Bson::Array(names)) => {
                        fields.extend(names.iter().filter_map(Bson::as_str).map(str::to_owned));
                    }
                    ("consideredValue", _) => {}
                    (_, value) => collect(value, fields),
                }
            }
        }
        Bson::Array(items) => items.iter().for_each(|item| collect(item, fields)),
        _ => {}
    }
}
