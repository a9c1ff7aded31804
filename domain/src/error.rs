//! What can go wrong, named by its meaning. The engine's own words stay in the source chain: they are for the log.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use validator::{ValidationErrors, ValidationErrorsKind};

use crate::{
    deadline::Deadline,
    port::{documents::DocumentsError, memory::MemoryError},
};

/// The result of everything that the domain does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an error, for the log only: it may quote SQL, which never goes to a client.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// Why something could not be done. Cheap to clone, because a unit of work remembers the first one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no such record.
    #[error("{noun} {id} does not exist")]
    NotFound {
        /// What kind of record was asked for.
        noun: &'static str,
        /// The id that names nothing.
        id: String,
    },

    /// The input breaks a rule that it can be told about field by field.
    #[error("the input is not valid: {}", Listed(.0))]
    Invalid(Vec<FieldError>),

    /// Another record already has what must be unique.
    #[error("already exists: {}", Listed(.0))]
    Conflict(Vec<FieldError>),

    /// The record still has others that depend on it.
    #[error("{noun} {id} is still in use")]
    InUse {
        /// What kind of record was to be deleted.
        noun: &'static str,
        /// Its id.
        id: String,
        /// How many records of which table still refer to it.
        counts: Vec<(&'static str, u64)>,
    },

    /// Somebody else changed the record since it was read.
    #[error("{noun} {id} has version {actual}, not {expected}: read it again")]
    VersionConflict {
        /// What kind of record was to be changed.
        noun: &'static str,
        /// Its id.
        id: String,
        /// The version that the caller had seen.
        expected: i64,
        /// The version that the record has now.
        actual: i64,
    },

    /// The record is there, and is changed only by who says which version they have seen.
    #[error("{noun} {id} is there already, in version {actual}: say which version was seen")]
    VersionRequired {
        /// What kind of record was to be changed.
        noun: &'static str,
        /// Its id.
        id: String,
        /// The version that the record has now.
        actual: i64,
    },

    /// A business rule forbids it in the present state.
    #[error("{message}")]
    Refused {
        /// A stable word for programs, such as `insufficient_funds`.
        code: &'static str,
        /// What to tell a person.
        message: String,
    },

    /// The database cannot do it now; the same call may succeed later.
    #[error("the database is not available: {reason}")]
    Unavailable {
        /// What is missing.
        reason: Unavailable,
        /// The engine's own words.
        #[source]
        cause: Option<Cause>,
    },

    /// The application's role may not do that in the database, such as change its schema: it will not succeed later
    /// either.
    #[error("the application's role may not do that in the database")]
    Forbidden(#[source] Cause),

    /// What is remembered for a while cannot be reached; the same call may succeed later.
    #[error("temporary data is not available: {0}")]
    MemoryUnavailable(#[from] MemoryError),

    /// The documents cannot be read or written; where that passes, the same call may succeed later.
    #[error("documents: {0}")]
    Documents(#[from] DocumentsError),

    /// The connection was lost while committing: the write may or may not be there.
    #[error("the outcome of the write is unknown: look before you repeat it")]
    UnknownOutcome(#[source] Cause),

    /// Something that should not happen.
    #[error("{context}")]
    Internal {
        /// What was being done.
        context: &'static str,
        /// The engine's own words.
        #[source]
        cause: Cause,
    },
}

/// Why the database is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unavailable {
    /// All connections are in use and none came back in time.
    PoolExhausted,
    /// The server cannot be reached, or the connection broke.
    Network,
    /// The server refused the user or the password, or is not who it should be.
    Authentication,
    /// Something took longer than allowed.
    Timeout(Deadline),
    /// A concurrent transaction changed what this one had read, in every attempt.
    Serialization,
    /// Transactions waited for each other, in every attempt.
    Deadlock,
    /// Another process was writing the file, in every attempt.
    Busy,
    /// The server accepts no writes.
    ReadOnly,
    /// The server's disk is full.
    DiskFull,
    /// The server has no connection left.
    TooManyConnections,
    /// The server failed several times in a row and is left alone for a moment.
    CircuitOpen,
    /// The store was closed.
    Closed,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PoolExhausted => "no connection came free in time",
            Self::Network => "the server cannot be reached",
            Self::Authentication => "the server and the application do not accept each other's credentials",
            Self::Timeout(Deadline::Connect) => "the server did not answer in time",
            Self::Timeout(Deadline::Statement) => "a statement took too long",
            Self::Timeout(Deadline::Lock) => "what another transaction holds was not free in time",
            Self::Timeout(Deadline::Transaction) => "the unit of work took too long and was undone",
            Self::Timeout(Deadline::Request) => "the request took too long and was given up",
            Self::Serialization => "concurrent transactions got in the way",
            Self::Deadlock => "concurrent transactions waited for each other",
            Self::Busy => "another process is writing",
            Self::ReadOnly => "the server accepts no writes",
            Self::DiskFull => "the server's disk is full",
            Self::TooManyConnections => "the server has no connection left",
            Self::CircuitOpen => "the server failed repeatedly and is left alone for a moment",
            Self::Closed => "the store was closed",
        })
    }
}

/// What is wrong with one field of an input.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// A JSON pointer (RFC 6901) to the field; empty for the input as a whole.
    pub pointer: String,
    /// A stable word for programs, such as `length`.
    pub code: Cow<'static, str>,
    /// What to tell a person.
    pub message: String,
}

impl FieldError {
    /// An error about a top-level field; an empty name means the input as a whole.
    pub fn new(field: &str, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let pointer = if field.is_empty() { String::new() } else { format!("/{field}") };
        Self { pointer, code: code.into(), message: message.into() }
    }
}

struct Listed<'a>(&'a [FieldError]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{} {}", error.pointer.trim_start_matches('/'), error.message)?;
        }
        Ok(())
    }
}

impl Error {
    /// One field is wrong.
    pub fn invalid(field: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, code, message)])
    }

    /// A business rule forbids it in the present state.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }

    /// The same, where it is about a part of a larger input: the pointers then lead through `field`.
    pub(crate) fn within(self, field: &str) -> Self {
        let lead = |errors: Vec<FieldError>| {
            let lead = |error: FieldError| FieldError { pointer: format!("/{field}{}", error.pointer), ..error };
            errors.into_iter().map(lead).collect()
        };
        match self {
            Self::Invalid(errors) => Self::Invalid(lead(errors)),
            Self::Conflict(errors) => Self::Conflict(lead(errors)),
            error => error,
        }
    }

    pub(crate) fn unavailable(reason: Unavailable, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unavailable { reason, cause: Some(Arc::new(cause)) }
    }

    pub(crate) fn internal(context: &'static str, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal { context, cause: Arc::new(cause) }
    }

    /// Whether the whole unit of work may simply be run again: it was undone, and the cause is likely to pass.
    pub fn is_retryable(&self) -> bool {
        let Self::Unavailable { reason, .. } = self else { return false };
        matches!(reason, Unavailable::Serialization | Unavailable::Deadlock | Unavailable::Busy | Unavailable::Network)
    }

    /// After how long a client may try again, where that can help.
    pub fn retry_after(&self) -> Option<Duration> {
        let may_pass = match self {
            Self::Unavailable { .. } | Self::MemoryUnavailable(_) => true,
            Self::Documents(error) => error.is_passing(),
            _ => false,
        };
        may_pass.then_some(Duration::from_secs(1))
    }
}

impl From<ValidationErrors> for Error {
    fn from(errors: ValidationErrors) -> Self {
        let mut found = Vec::new();
        collect(&errors, "", &mut found);
        found.sort_by(|a, b| (&a.pointer, &a.code).cmp(&(&b.pointer, &b.code)));
        Self::Invalid(found)
    }
}

fn collect(errors: &ValidationErrors, at: &str, found: &mut Vec<FieldError>) {
    for (field, kind) in errors.errors() {
        // validator files what is wrong with a struct as a whole under this name.
        let pointer = if field == "__all__" { at.to_owned() } else { format!("{at}/{field}") };
        match kind {
            ValidationErrorsKind::Struct(inner) => collect(inner, &pointer, found),
            ValidationErrorsKind::List(items) => {
                for (index, inner) in items {
                    collect(inner, &format!("{pointer}/{index}"), found);
                }
            }
            ValidationErrorsKind::Field(all) => found.extend(all.iter().map(|error| FieldError {
                pointer: pointer.clone(),
                code: error.code.clone(),
                message: error.message.as_ref().map_or_else(|| explain(error), ToString::to_string),
            })),
        }
    }
}

/// Says in a sentence what validator says with a code and parameters.
fn explain(error: &validator::ValidationError) -> String {
    let param = |name: &str| error.params.get(name).map(ToString::to_string);
    match (error.code.as_ref(), param("min"), param("max")) {
        ("length", Some(min), Some(max)) => format!("must have {min} to {max} characters"),
        ("length", None, Some(max)) => format!("must have at most {max} characters"),
        ("length", Some(min), None) => format!("must have at least {min} characters"),
        ("range", Some(min), Some(max)) => format!("must be {min} to {max}"),
        ("range", None, Some(max)) => format!("must be at most {max}"),
        ("range", Some(min), None) => format!("must be at least {min}"),
        ("email", ..) => "must be an e-mail address".to_owned(),
        ("url", ..) => "must be a URL".to_owned(),
        (code, ..) => format!("is not valid ({code})"),
    }
}
