//! The five endpoints that every record has: list, find, create, change, delete.

use aide::{
    axum::{
        ApiRouter,
        routing::{ApiMethodRouter, delete_with, get_with, patch_with, post_with},
    },
    transform::TransformOperation,
};
use axum::{
    extract::{OriginalUri, State},
    http::StatusCode,
};
use domain::{Answer, Insert, Noun, Patch, Record, UnitOfWork};
use sha2::{Digest, Sha256};

use crate::{
    app::App,
    body::Body,
    extract::{IdempotencyKey, IfMatch, Includes, ListQuery, RecordId},
    problem::{Problem, Result},
    reply::{Created, Deleted, Found, Listed},
};

/// A noun and its endpoints.
pub(crate) struct Resource {
    pub(crate) noun: Noun,
    pub(crate) routes: ApiRouter<App>,
}

impl Resource {
    fn new<R: Record>(routes: ApiRouter<App>) -> Self {
        Self { noun: Noun::of::<R>(), routes }
    }

    /// With more endpoints than every noun has.
    pub(crate) fn merge(self, routes: ApiRouter<App>) -> Self {
        Self { routes: self.routes.merge(routes), ..self }
    }
}

/// A path under the version of the API. It is written out for each, because a router nested under it would take every
/// request apart and put it together again.
pub(crate) fn at(path: &str) -> String {
    format!("/v1{path}")
}

/// The endpoints of a record that can be changed, under this path.
pub(crate) fn resource<R, N, P>(path: &str) -> Resource
where
    R: Record,
    N: Insert<Record = R>,
    P: Patch<Record = R>,
{
    let member = member::<R>()
        .merge(patch_with(update::<P>, describe::<R>("update", "Change some fields of a")))
        .merge(delete_with(delete::<R>, |operation| {
            describe::<R>("delete", "Delete a")(operation).description(&R::on_delete())
        }));
    let routes = ApiRouter::new().api_route(&at(path), collection::<R, N>());
    Resource::new::<R>(routes.api_route(&at(&format!("{path}/{{id}}")), member))
}

/// The endpoints of a record that is only ever added, under this path.
pub(crate) fn append_only<R: Record, N: Insert<Record = R>>(path: &str) -> Resource {
    let routes = ApiRouter::new().api_route(&at(path), collection::<R, N>());
    Resource::new::<R>(routes.api_route(&at(&format!("{path}/{{id}}")), member::<R>()))
}

fn collection<R: Record, N: Insert<Record = R>>() -> ApiMethodRouter<App> {
    get_with(list::<R>, describe::<R>("list", "List each"))
        .merge(post_with(create::<N>, describe::<R>("create", "Create a")))
}

fn member<R: Record>() -> ApiMethodRouter<App> {
    get_with(find::<R>, |operation| describe::<R>("find", "Find a")(operation).description(&R::CACHED.to_string()))
}

/// Names an operation; everything else about it comes from the types of its handler.
pub(crate) fn describe<R: Record>(
    verb: &'static str,
    summary: &'static str,
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |operation| {
        let noun = R::NOUN;
        operation.id(&format!("{verb}_{}", noun.replace(' ', "_"))).tag(noun).summary(&format!("{summary} {noun}"))
    }
}

async fn list<R: Record>(State(app): State<App>, query: ListQuery<R>) -> Result<Listed<R>> {
    let listing = app.store().list_wire(&query.filter, &query.page).await?;
    let next_page_token = listing.next.and_then(|cursor| app.token_key().sign(&query.list, &cursor));
    let items = app.store().with_related(listing.records, &query.includes).await?;
    Ok(Listed { items, next_page_token })
}

async fn find<R: Record>(
    State(app): State<App>,
    RecordId(id): RecordId<R>,
    Includes(includes, _): Includes<R>,
) -> Result<Found<R>> {
    let record = app.store().find_wire(id).await?;
    let view = app.store().with_related(vec![record], &includes).await?.pop();
    view.map(Found)
        .ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a record was lost on its way"))
}

async fn create<N: Insert>(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    IdempotencyKey(key): IdempotencyKey,
    Body { value, bytes }: Body<N>,
) -> Result<Created<N::Record>> {
    let Some(key) = key else {
        let record = app.store().insert(value).await?;
        return Created::new(uri.path(), &record);
    };
    let insert = move |work: UnitOfWork| {
        let value = value.clone();
        async move {
            let record = work.insert(value).await?;
            let body = serde_json::to_string(&record).unwrap_or_default();
            Ok(Answer { id: record.id().uuid(), version: record.version(), body })
        }
    };
    let answer = app.store().write_once(&key, &fingerprint(uri.path(), &bytes), insert).await?;
    Ok(Created::from_answer(uri.path(), answer))
}

/// What a key was used for: a key that comes back with another request is a mistake.
fn fingerprint(path: &str, bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(path.as_bytes());
    hash.update([0]);
    hash.update(bytes);
    hex::encode(hash.finalize())
}

async fn update<P: Patch>(
    State(app): State<App>,
    RecordId(id): RecordId<P::Record>,
    IfMatch(version): IfMatch,
    Body { value, .. }: Body<P>,
) -> Result<Found<P::Record>> {
    let record = app.store().update(id, version, value).await?;
    Found::new(&record)
}

async fn delete<R: Record>(
    State(app): State<App>,
    RecordId(id): RecordId<R>,
    IfMatch(version): IfMatch,
) -> Result<Deleted> {
    app.store().delete(id, version).await?;
    Ok(Deleted)
}
