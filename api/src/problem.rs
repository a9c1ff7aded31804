//! Errors as clients see them: RFC 9457 problem details with a stable `code`. Never SQL, a path, a secret or a stack.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use aide::{OperationOutput, generate::GenContext, openapi::Operation};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Cause, Deadline, Error, FieldError, Unavailable};
use schemars::JsonSchema;
use serde::Serialize;

/// What a handler gives.
pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

/// The media type of a problem.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What is said to who wants to change a record and does not say which version they have seen.
const SAY_WHICH_VERSION: &str = "say with If-Match which version is meant: the ETag that came with the record";

/// Why a request was not answered as asked. Boxed, because results carry it wherever something can go wrong.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Details>);

#[derive(Debug, Clone)]
struct Details {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    errors: Vec<FieldError>,
    extra: BTreeMap<&'static str, serde_json::Value>,
    retry_after: Option<Duration>,
    cause: Option<Cause>,
}

/// A problem on the wire.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
struct Body<'a> {
    /// What kind of problem it is: `/problems/` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The meaning of the status.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// A stable word for programs.
    code: &'a str,
    /// What happened, in a sentence.
    detail: &'a str,
    /// What is wrong with which field of the input.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schemars(default, with = "Vec<FieldProblem>")]
    errors: &'a [FieldError],
    /// The id of the request, to be given when asking for help.
    request_id: &'a str,
    #[serde(flatten)]
    extra: &'a BTreeMap<&'static str, serde_json::Value>,
}

/// What is wrong with one field.
#[derive(Serialize, JsonSchema)]
struct FieldProblem {
    /// A JSON pointer (RFC 6901) to the field.
    pointer: String,
    /// A stable word for programs.
    code: String,
    /// What is wrong, in a sentence.
    message: String,
}

impl Problem {
    /// A problem with nothing but a sentence.
    pub(crate) fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            extra: BTreeMap::new(),
            retry_after: None,
            cause: None,
        }))
    }

    /// The request cannot be understood.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// Nothing says which version of the record is meant.
    pub(crate) fn version_required() -> Self {
        Self::new(StatusCode::PRECONDITION_REQUIRED, "if_match_required", SAY_WHICH_VERSION)
    }

    pub(crate) fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    pub(crate) fn code(&self) -> &str {
        &self.0.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    pub(crate) fn cause(&self) -> Option<&Cause> {
        self.0.cause.as_ref()
    }

    /// The response, now that the request's id is known.
    pub(crate) fn render(&self, request_id: &str, response: &mut Response) {
        let body = Body {
            kind: format!("/problems/{}", self.0.code),
            title: self.0.status.canonical_reason().unwrap_or("Error"),
            status: self.0.status.as_u16(),
            code: &self.0.code,
            detail: &self.0.detail,
            errors: &self.0.errors,
            request_id,
            extra: &self.0.extra,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        *response.body_mut() = body.into();
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = match &error {
            Error::Invalid(_) => "the input is not valid".to_owned(),
            Error::Conflict(_) => "another record already has what must be unique".to_owned(),
            // What an engine says is for the log.
            Error::Forbidden(_) | Error::Internal { .. } => {
                "something went wrong here; the request id tells us what".to_owned()
            }
            Error::VersionRequired { .. } => SAY_WHICH_VERSION.to_owned(),
            error => error.to_string(),
        };
        let retry_after = error.retry_after();
        let (status, code) = match &error {
            Error::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
            Error::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Error::Conflict(_) => (StatusCode::CONFLICT, "duplicate"),
            Error::InUse { .. } => (StatusCode::CONFLICT, "in_use"),
            Error::VersionConflict { .. } => (StatusCode::PRECONDITION_FAILED, "version_conflict"),
            Error::VersionRequired { .. } => (StatusCode::PRECONDITION_REQUIRED, "if_match_required"),
            Error::Refused { code, .. } => (StatusCode::CONFLICT, *code),
            Error::Unavailable { reason, .. } => unavailable(*reason),
            Error::MemoryUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "memory_unavailable"),
            Error::Documents(error) if error.is_passing() => (StatusCode::SERVICE_UNAVAILABLE, "documents_unavailable"),
            Error::Documents(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Error::UnknownOutcome(_) => (StatusCode::SERVICE_UNAVAILABLE, "unknown_outcome"),
            Error::Forbidden(_) | Error::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let mut problem = Self::new(status, code, detail);
        problem.0.retry_after = retry_after;
        match error {
            Error::Invalid(errors) | Error::Conflict(errors) => problem.0.errors = errors,
            Error::InUse { counts, .. } => {
                let counts = counts.into_iter().map(|(table, count)| (table.to_owned(), count.into())).collect();
                problem.0.extra.insert("counts", serde_json::Value::Object(counts));
            }
            Error::VersionConflict { expected, actual, .. } => {
                problem.0.extra.insert("expected", expected.into());
                problem.0.extra.insert("actual", actual.into());
            }
            Error::Unavailable { cause, .. } => problem.0.cause = cause,
            Error::UnknownOutcome(cause) | Error::Forbidden(cause) | Error::Internal { cause, .. } => {
                problem.0.cause = Some(cause);
            }
            Error::NotFound { .. }
            | Error::VersionRequired { .. }
            | Error::Refused { .. }
            | Error::MemoryUnavailable(_)
            | Error::Documents(_) => {}
        }
        problem
    }
}

fn unavailable(reason: Unavailable) -> (StatusCode, &'static str) {
    let code = match reason {
        Unavailable::PoolExhausted => "pool_exhausted",
        Unavailable::Network | Unavailable::Timeout(Deadline::Connect) => "database_unreachable",
        Unavailable::Authentication => "database_refused",
        Unavailable::Timeout(Deadline::Lock) => "locked",
        Unavailable::Timeout(_) => return (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        Unavailable::Serialization => "serialization_failure",
        Unavailable::Deadlock => "deadlock",
        Unavailable::Busy => "database_busy",
        Unavailable::ReadOnly => "read_only",
        Unavailable::DiskFull => "disk_full",
        Unavailable::TooManyConnections => "too_many_connections",
        Unavailable::CircuitOpen => "database_failing",
        Unavailable::Closed => "shutting_down",
    };
    (StatusCode::SERVICE_UNAVAILABLE, code)
}

/// The problem travels with an empty response; the edge writes it down, with the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        if let Some(wait) = self.0.retry_after {
            // The header counts whole seconds.
            let seconds = wait.as_secs_f64().ceil() as u64;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

impl OperationOutput for Problem {
    type Inner = Self;

    fn operation_response(ctx: &mut GenContext, _operation: &mut Operation) -> Option<aide::openapi::Response> {
        let schema = ctx.schema.subschema_for::<Body<'_>>();
        Some(crate::openapi::json_response("A problem (RFC 9457).", PROBLEM_JSON, schema))
    }

    fn inferred_responses(
        ctx: &mut GenContext,
        operation: &mut Operation,
    ) -> Vec<(Option<u16>, aide::openapi::Response)> {
        Self::operation_response(ctx, operation).into_iter().map(|response| (None, response)).collect()
    }
}
