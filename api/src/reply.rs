//! What handlers give: a page of a list, a record with its version as `ETag`, or the news that one is made or gone.

use std::marker::PhantomData;

use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as Described},
};
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Answer, Record, View};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{openapi::json_response, problem::Result};

/// A page of a list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Listed<R: Record> {
    #[schemars(with = "Vec<R>")]
    pub(crate) items: Vec<View<R>>,
    /// Where the next page begins; none if this is the last.
    pub(crate) next_page_token: Option<String>,
}

/// One record, with its version as `ETag`, and what was included with it.
pub(crate) struct Found<R>(pub(crate) View<R>);

impl<R> Found<R> {
    /// A record with nothing included.
    pub(crate) fn new(record: R) -> Self {
        Self(View { record, related: Default::default() })
    }
}

impl<R: Record> IntoResponse for Found<R> {
    fn into_response(self) -> Response {
        let Self(view) = self;
        let etag = [(header::ETAG, etag(view.record.version()))];
        // A record alone is written without the detour that flattening takes.
        if view.related.is_empty() {
            return (etag, Json(view.record)).into_response();
        }
        (etag, Json(view)).into_response()
    }
}

fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

impl<R: Record> OperationOutput for Found<R> {
    type Inner = R;

    fn operation_response(ctx: &mut GenContext, _operation: &mut Operation) -> Option<Described> {
        Some(record_response::<R>(ctx))
    }

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Described)> {
        vec![(Some(200), record_response::<R>(ctx))]
    }
}

fn record_response<R: JsonSchema>(ctx: &mut GenContext) -> Described {
    let schema = ctx.schema.subschema_for::<R>();
    json_response("The record; its version is the ETag.", "application/json", schema)
}

/// A record that was made, and where it is.
pub(crate) struct Created<R> {
    location: String,
    version: i64,
    body: String,
    record: PhantomData<fn() -> R>,
}

impl<R: Record> Created<R> {
    pub(crate) fn new(path: &str, record: &R) -> Result<Self> {
        let body = serde_json::to_string(record).unwrap_or_default();
        Ok(Self::from_answer(path, Answer { id: record.id().uuid(), version: record.version(), body }))
    }

    pub(crate) fn from_answer(path: &str, answer: Answer) -> Self {
        let Answer { id, version, body } = answer;
        Self { location: format!("{path}/{id}"), version, body, record: PhantomData }
    }
}

impl<R> IntoResponse for Created<R> {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::ETAG, etag(self.version)),
            (header::LOCATION, self.location),
        ];
        (StatusCode::CREATED, headers, self.body).into_response()
    }
}

impl<R: Record> OperationOutput for Created<R> {
    type Inner = R;

    fn operation_response(ctx: &mut GenContext, _operation: &mut Operation) -> Option<Described> {
        Some(record_response::<R>(ctx))
    }

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Described)> {
        vec![(Some(201), record_response::<R>(ctx))]
    }
}

/// A record that is no more.
pub(crate) struct Deleted;

impl IntoResponse for Deleted {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl OperationOutput for Deleted {
    type Inner = ();

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Described)> {
        let response = Described { description: "It is no more.".to_owned(), ..Default::default() };
        vec![(Some(204), response)]
    }
}
