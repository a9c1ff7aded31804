//! The five endpoints that every record has: list, find, create, change, delete.

use std::{collections::BTreeMap, num::NonZeroU32};

use aide::{
    OperationInput, OperationOutput,
    axum::{
        ApiRouter,
        routing::{ApiMethodRouter, delete_with, get_with, patch_with, post_with},
    },
    generate::GenContext,
    openapi::{Operation, Parameter, ParameterData, ParameterSchemaOrContent, QueryStyle, SchemaObject},
    transform::TransformOperation,
};
use axum::{
    Json,
    extract::{FromRequestParts, OriginalUri, RawPathParams, State},
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use domain::{Answer, DEFAULT_PAGE_SIZE, Id, Include, Insert, MAX_PAGE_SIZE, Page, Patch, Record, Sort, View};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{app::App, body::Body, openapi::json_response, problem::Problem};

/// What a handler gives.
pub(crate) type Result<T, E = Problem> = std::result::Result<T, E>;

/// The endpoints of a record that can be changed, under this path.
pub(crate) fn resource<R, N, P>(path: &str) -> ApiRouter<App>
where
    R: Record,
    N: Insert<Record = R>,
    P: Patch<Record = R>,
{
    let member = member::<R>()
        .merge(patch_with(update::<P>, describe::<R>("update", "Change some fields of a")))
        .merge(delete_with(delete::<R>, describe::<R>("delete", "Delete a")));
    ApiRouter::new().api_route(path, collection::<R, N>()).api_route(&format!("{path}/{{id}}"), member)
}

/// The endpoints of a record that is only ever added, under this path.
pub(crate) fn append_only<R: Record, N: Insert<Record = R>>(path: &str) -> ApiRouter<App> {
    ApiRouter::new().api_route(path, collection::<R, N>()).api_route(&format!("{path}/{{id}}"), member::<R>())
}

fn collection<R: Record, N: Insert<Record = R>>() -> ApiMethodRouter<App> {
    get_with(list::<R>, describe::<R>("list", "List each"))
        .merge(post_with(create::<N>, describe::<R>("create", "Create a")))
}

fn member<R: Record>() -> ApiMethodRouter<App> {
    get_with(find::<R>, describe::<R>("find", "Find a"))
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

async fn list<R: Record>(State(app): State<App>, query: ListQuery<R>) -> Result<Json<Listed<R>>> {
    let listing = app.store().list(&query.filter, &query.page).await?;
    let next_page_token = listing.next.and_then(|cursor| app.token_key().sign(&query.list, &cursor));
    let items = app.store().with_related(listing.records, &query.includes).await?;
    Ok(Json(Listed { items, next_page_token }))
}

async fn find<R: Record>(
    State(app): State<App>,
    RecordId(id): RecordId<R>,
    Includes(includes, _): Includes<R>,
) -> Result<Found<R>> {
    let record = app.store().find(id).await?;
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
    let fingerprint = fingerprint(uri.path(), &bytes);
    let path = uri.path().to_owned();
    let answer = app
        .store()
        .write(move |work| {
            let (value, key, fingerprint) = (value.clone(), key.clone(), fingerprint.clone());
            async move {
                if let Some(answer) = work.recall(&key, &fingerprint).await? {
                    return Ok(answer);
                }
                let record = work.insert(value).await?;
                let body = serde_json::to_string(&record).unwrap_or_default();
                let answer = Answer { id: record.id().uuid(), version: record.version(), body };
                work.remember(&key, &fingerprint, &answer).await?;
                Ok(answer)
            }
        })
        .await?;
    Ok(Created::from_answer(&path, answer))
}

/// What a key was used for: a key that comes back with another request is a mistake.
fn fingerprint(path: &str, bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(path.as_bytes());
    hash.update([0]);
    hash.update(bytes);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn update<P: Patch>(
    State(app): State<App>,
    RecordId(id): RecordId<P::Record>,
    IfMatch(version): IfMatch,
    Body { value, .. }: Body<P>,
) -> Result<Found<P::Record>> {
    let record = app.store().update(id, version, value).await?;
    Ok(Found::new(record))
}

async fn delete<R: Record>(
    State(app): State<App>,
    RecordId(id): RecordId<R>,
    IfMatch(version): IfMatch,
) -> Result<Deleted> {
    app.store().delete(id, version).await?;
    Ok(Deleted)
}

/// The `{id}` of the path.
pub(crate) struct RecordId<R>(pub Id<R>);

impl<R: 'static, S: Send + Sync> FromRequestParts<S> for RecordId<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        path_id(parts, state, "id").await.map(Self)
    }
}

/// A typed id out of the path.
async fn path_id<R, S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<Id<R>> {
    let params = RawPathParams::from_request_parts(parts, state).await;
    let params = params.map_err(|_| Problem::bad_request("uri", "the address is not valid"))?;
    let text = params.iter().find(|(key, _)| *key == name).map(|(_, value)| value).unwrap_or_default();
    text.parse().map_err(|error: domain::NotAnId| Problem::bad_request("id", format!("the id in the address {error}")))
}

/// The `{id}` and the `{to}` of the path to a link.
pub(crate) struct LinkIds<F, T>(pub Id<F>, pub Id<T>);

impl<F: 'static, T: 'static, S: Send + Sync> FromRequestParts<S> for LinkIds<F, T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Ok(Self(path_id(parts, state, "id").await?, path_id(parts, state, "to").await?))
    }
}

impl<F, T> OperationInput for LinkIds<F, T> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        path_parameter::<F>(ctx, operation, "id");
        path_parameter::<T>(ctx, operation, "to");
    }
}

impl<R> OperationInput for RecordId<R> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        path_parameter::<R>(ctx, operation, "id");
    }
}

fn path_parameter<R>(ctx: &mut GenContext, operation: &mut Operation, name: &str) {
    let schema = ctx.schema.subschema_for::<Id<R>>();
    let parameter_data = parameter(name, "The id of the record.", true, schema);
    let style = aide::openapi::PathStyle::Simple;
    operation.parameters.push(aide::openapi::ReferenceOr::Item(Parameter::Path { parameter_data, style }));
}

/// The version that was seen, from `If-Match`.
pub(crate) struct IfMatch(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let SeenVersion(seen) = SeenVersion::from_request_parts(parts, state).await?;
        let detail = "say with If-Match which version is meant: the ETag that came with the record";
        seen.map(Self).ok_or_else(|| Problem::new(StatusCode::PRECONDITION_REQUIRED, "if_match_required", detail))
    }
}

impl OperationInput for IfMatch {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        header_parameter(ctx, operation, "If-Match", "The ETag of the version that is meant.", true);
    }
}

/// The version that was seen, from `If-Match`, if there is one.
pub(crate) struct SeenVersion(pub Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for SeenVersion {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let Some(tag) = single(&parts.headers, header::IF_MATCH.as_str())? else { return Ok(Self(None)) };
        let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
        let refused = || Problem::bad_request("if_match", "If-Match must be the ETag of the record, such as \"1\"");
        version.map(|version| Self(Some(version))).ok_or_else(refused)
    }
}

impl OperationInput for SeenVersion {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let about = "The ETag of the version that is replaced; none if there is none yet.";
        header_parameter(ctx, operation, "If-Match", about, false);
    }
}

fn header_parameter(ctx: &mut GenContext, operation: &mut Operation, name: &str, about: &str, required: bool) {
    let parameter_data = parameter(name, about, required, ctx.schema.subschema_for::<String>());
    let style = aide::openapi::HeaderStyle::Simple;
    operation.parameters.push(aide::openapi::ReferenceOr::Item(Parameter::Header { parameter_data, style }));
}

/// The `Idempotency-Key` of a request, if it has one.
pub(crate) struct IdempotencyKey(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let Some(key) = single(&parts.headers, "idempotency-key")? else { return Ok(Self(None)) };
        if key.is_empty() || key.len() > 128 || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let detail = "Idempotency-Key must have 1 to 128 visible ASCII characters";
            return Err(Problem::bad_request("idempotency_key", detail));
        }
        Ok(Self(Some(key.to_owned())))
    }
}

impl OperationInput for IdempotencyKey {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let about = "However often a request with this key is sent, it takes effect once.";
        header_parameter(ctx, operation, "Idempotency-Key", about, false);
    }
}

/// A header that must not be there twice.
fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(HeaderValue::to_str).transpose();
    match (first, values.next()) {
        (Ok(value), None) => Ok(value),
        _ => Err(Problem::bad_request("header", format!("the header {name} must be there once, in ASCII"))),
    }
}

/// The parameters of a query; the edge has seen to it that each is there at most once.
pub(crate) fn parameters(parts: &Parts) -> BTreeMap<String, String> {
    form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

/// A mistake in the address, however the domain found it.
fn in_query(error: domain::Error) -> Problem {
    match error {
        domain::Error::Invalid(errors) => {
            let detail = errors
                .iter()
                .map(|error| format!("the parameter {} {}", error.pointer.trim_start_matches('/'), error.message));
            Problem::bad_request("query", detail.collect::<Vec<_>>().join("; "))
        }
        error => error.into(),
    }
}

pub(crate) fn unknown(parameters: &BTreeMap<String, String>, known: &str) -> Result<()> {
    match parameters.keys().next() {
        None => Ok(()),
        Some(name) => {
            Err(Problem::bad_request("query", format!("the parameter {name} is not known here; known are {known}")))
        }
    }
}

/// What to load along with one record.
pub(crate) struct Includes<R>(pub Vec<Include>, std::marker::PhantomData<fn() -> R>);

impl<R: Record, S: Send + Sync> FromRequestParts<S> for Includes<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let mut parameters = parameters(parts);
        let includes = parameters.remove("include").unwrap_or_default();
        unknown(&parameters, "include")?;
        let includes = Include::parse::<R>(&includes).map_err(in_query)?;
        Ok(Self(includes, std::marker::PhantomData))
    }
}

impl<R: Record> OperationInput for Includes<R> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        include_parameter::<R>(ctx, operation);
    }
}

fn include_parameter<R: Record>(ctx: &mut GenContext, operation: &mut Operation) {
    let names = R::relations().iter().map(|related| related.name()).collect::<Vec<_>>();
    if !names.is_empty() {
        let about = format!("Relations to load along, separated by commas, at most 3 deep: {}.", names.join(", "));
        let schema = ctx.schema.subschema_for::<String>();
        query_parameter(operation, "include", &about, schema);
    }
}

/// Which part of which list is wanted.
pub(crate) struct ListQuery<R: Record> {
    filter: R::Filter,
    page: Page,
    includes: Vec<Include>,
    /// Describes the list, so that a page token of another one is refused.
    list: String,
}

impl<R: Record> FromRequestParts<App> for ListQuery<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let mut parameters = parameters(parts);
        let includes = Include::parse::<R>(&parameters.remove("include").unwrap_or_default()).map_err(in_query)?;
        let limit = parameters.remove("page_size").map_or(Ok(DEFAULT_PAGE_SIZE), |size| size.parse());
        let limit = limit.ok().filter(|size| *size <= MAX_PAGE_SIZE).and_then(NonZeroU32::new).ok_or_else(|| {
            Problem::bad_request("query", format!("the parameter page_size must be 1 to {MAX_PAGE_SIZE}"))
        })?;
        let token = parameters.remove("page_token");
        let sort = parameters.remove("sort").unwrap_or_else(|| "id".to_owned());
        let filters = parameters.extract_if(.., |name, _| name.starts_with("filter[") && name.ends_with(']'));
        let filters = filters.map(|(name, value)| (name["filter[".len()..name.len() - 1].to_owned(), value));
        let filters = form_urlencoded::Serializer::new(String::new()).extend_pairs(filters).finish();
        unknown(&parameters, "page_size, page_token, sort, include and filter[…]")?;

        let list = format!("{} {sort} {filters}", R::NOUN);
        let filter = serde_urlencoded::from_str(&filters)
            .map_err(|error| Problem::bad_request("query", format!("the filter is not valid: {error}")))?;
        let sort = Sort::parse::<R>(&sort).map_err(in_query)?;
        let after = token.map(|token| {
            let refused = || Problem::bad_request("page_token", "the page token does not belong to this list");
            app.token_key().verify(&list, &token).ok_or_else(refused)
        });
        Ok(Self { filter, page: Page { limit, sort, after: after.transpose()? }, includes, list })
    }
}

impl<R: Record> OperationInput for ListQuery<R> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let text = ctx.schema.subschema_for::<String>();
        let size = ctx.schema.subschema_for::<NonZeroU32>();
        let about = format!("How many to list, at most {MAX_PAGE_SIZE}; {DEFAULT_PAGE_SIZE} if nothing is said.");
        query_parameter(operation, "page_size", &about, size);
        query_parameter(operation, "page_token", "The next_page_token of the page before.", text);
        let orders = Sort::allowed::<R>().into_iter().flat_map(|name| [name.to_owned(), format!("-{name}")]);
        let orders = schemars::json_schema!({ "type": "string", "enum": orders.collect::<Vec<_>>() });
        query_parameter(operation, "sort", "With a minus in front, descending; id if nothing is said.", orders);
        include_parameter::<R>(ctx, operation);
        let filter = ctx.schema.subschema_for::<R::Filter>();
        let filter = ctx.resolve_schema(&filter).clone();
        let properties = filter.get("properties").and_then(|properties| properties.as_object()).cloned();
        for (name, schema) in properties.unwrap_or_default() {
            if let Ok(schema) = schema.try_into() {
                query_parameter(operation, &format!("filter[{name}]"), "Narrows the list.", schema);
            }
        }
    }
}

pub(crate) fn query_parameter(operation: &mut Operation, name: &str, about: &str, schema: schemars::Schema) {
    let parameter_data = parameter(name, about, false, schema);
    operation.parameters.push(aide::openapi::ReferenceOr::Item(Parameter::Query {
        parameter_data,
        allow_reserved: false,
        style: QueryStyle::Form,
        allow_empty_value: None,
    }));
}

fn parameter(name: &str, about: &str, required: bool, json_schema: schemars::Schema) -> ParameterData {
    ParameterData {
        name: name.to_owned(),
        description: Some(about.to_owned()),
        required,
        deprecated: None,
        format: ParameterSchemaOrContent::Schema(SchemaObject { json_schema, example: None, external_docs: None }),
        example: None,
        examples: Default::default(),
        explode: None,
        extensions: Default::default(),
    }
}

/// A page of a list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Listed<R: Record> {
    #[schemars(with = "Vec<R>")]
    items: Vec<View<R>>,
    /// Where the next page begins; none if this is the last.
    next_page_token: Option<String>,
}

/// One record, with its version as `ETag`, and what was included with it.
pub(crate) struct Found<R>(View<R>);

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

    fn operation_response(ctx: &mut GenContext, _operation: &mut Operation) -> Option<aide::openapi::Response> {
        Some(record_response::<R>(ctx))
    }

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, aide::openapi::Response)> {
        vec![(Some(200), record_response::<R>(ctx))]
    }
}

fn record_response<R: JsonSchema>(ctx: &mut GenContext) -> aide::openapi::Response {
    let schema = ctx.schema.subschema_for::<R>();
    json_response("The record; its version is the ETag.", "application/json", schema)
}

/// A record that was made, and where it is.
pub(crate) struct Created<R> {
    location: String,
    version: i64,
    body: String,
    record: std::marker::PhantomData<fn() -> R>,
}

impl<R: Record> Created<R> {
    fn new(path: &str, record: &R) -> Result<Self> {
        let body = serde_json::to_string(record).unwrap_or_default();
        Ok(Self::from_answer(path, Answer { id: record.id().uuid(), version: record.version(), body }))
    }

    fn from_answer(path: &str, answer: Answer) -> Self {
        let Answer { id, version, body } = answer;
        Self { location: format!("{path}/{id}"), version, body, record: std::marker::PhantomData }
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

    fn operation_response(ctx: &mut GenContext, _operation: &mut Operation) -> Option<aide::openapi::Response> {
        Some(record_response::<R>(ctx))
    }

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, aide::openapi::Response)> {
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

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, aide::openapi::Response)> {
        let response = aide::openapi::Response { description: "It is no more.".to_owned(), ..Default::default() };
        vec![(Some(204), response)]
    }
}
