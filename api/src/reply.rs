//! What handlers give: a page of a list, a record with its version as `ETag`, or the news that one is made or gone.

use std::marker::PhantomData;

use aide::{
    OperationOutput,
    generate::GenContext,
    openapi::{Operation, Response as Described},
};
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{Answer, Record, View, Wire};
use schemars::JsonSchema;
use sha2::{Digest, Sha256};

use crate::{openapi::json_response, problem::Result};

/// A page of a list.
pub(crate) struct Listed<R> {
    pub(crate) items: Vec<View<R>>,
    pub(crate) next_page_token: Option<String>,
}

/// What a page of a list looks like.
#[derive(JsonSchema)]
#[schemars(rename = "Listed_of_{R}")]
#[expect(dead_code, reason = "it is written by hand, so that records pass through as they are")]
struct ListedJson<R: Record> {
    items: Vec<R>,
    /// Where the next page begins; none if this is the last.
    next_page_token: Option<String>,
}

impl<R: Record> IntoResponse for Listed<R> {
    fn into_response(self) -> Response {
        let Self { items, next_page_token } = self;
        let mut json = Vec::with_capacity(items.iter().map(|item| item.json().len() + 1).sum::<usize>() + 64);
        json.extend_from_slice(br#"{"items":["#);
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                json.push(b',');
            }
            json.extend_from_slice(item.json());
        }
        json.extend_from_slice(br#"],"next_page_token":"#);
        // Of letters, digits and few signs: nothing in it needs escaping.
        match next_page_token {
            Some(token) => json.extend_from_slice(format!("\"{token}\"").as_bytes()),
            None => json.extend_from_slice(b"null"),
        }
        json.push(b'}');
        let etag = format!("\"{}\"", hash(&json));
        ([(header::CONTENT_TYPE, JSON), (header::ETAG, &etag)], json).into_response()
    }
}

pub(crate) const JSON: &str = "application/json";

/// One record, with its version as `ETag`, and what was included with it.
pub(crate) struct Found<R>(pub(crate) View<R>);

impl<R: Record> Found<R> {
    /// A record with nothing included.
    pub(crate) fn new(record: &R) -> Result<Self> {
        Ok(Self(Wire::of(record)?.into()))
    }
}

impl<R: Record> IntoResponse for Found<R> {
    fn into_response(self) -> Response {
        let Self(view) = self;
        let version = view.record.version();
        // What is included changes without the record: the hash tells, and the version before it is still that of the
        // record.
        // A record alone has the very same bytes: comparing what is in them would take longer the more there are.
        let etag = match std::ptr::eq(view.record.json().as_ref(), view.json().as_ref()) {
            true => etag(version),
            false => format!("\"{version}-{}\"", hash(view.json())),
        };
        ([(header::CONTENT_TYPE, JSON), (header::ETAG, &etag)], view.json().clone()).into_response()
    }
}

pub(crate) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// 64 bits of SHA-256: enough to tell two answers at one address apart.
pub(crate) fn hash(json: &[u8]) -> String {
    hex::encode(&Sha256::digest(json)[..8])
}

impl<R: Record> OperationOutput for Listed<R> {
    type Inner = R;

    fn operation_response(ctx: &mut GenContext, _operation: &mut Operation) -> Option<Described> {
        let schema = ctx.schema.subschema_for::<ListedJson<R>>();
        Some(json_response("A page of the list.", JSON, schema))
    }

    fn inferred_responses(ctx: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Described)> {
        Self::operation_response(ctx, operation).map(|response| (Some(200), response)).into_iter().collect()
    }
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
    json_response("The record; its version is the ETag.", JSON, schema)
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
            (header::CONTENT_TYPE, JSON.to_owned()),
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
