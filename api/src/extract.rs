//! What handlers take out of a request: ids, versions, keys, and which part of which list is wanted. Each describes itself
//! for OpenAPI.

use std::{collections::BTreeMap, marker::PhantomData, num::NonZeroU32};

use aide::{
    OperationInput,
    generate::GenContext,
    openapi::{
        HeaderStyle, Operation, Parameter, ParameterData, ParameterSchemaOrContent, PathStyle, QueryStyle, ReferenceOr,
        SchemaObject,
    },
};
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use domain::{DEFAULT_PAGE_SIZE, Id, Include, MAX_PAGE_SIZE, Page, Record, Sort};
use serde::de::DeserializeOwned;

use crate::{
    app::App,
    problem::{Problem, Result},
};

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
    let style = PathStyle::Simple;
    operation.parameters.push(ReferenceOr::Item(Parameter::Path { parameter_data, style }));
}

/// The version that was seen, from `If-Match`.
pub(crate) struct IfMatch(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let SeenVersion(seen) = SeenVersion::from_request_parts(parts, state).await?;
        seen.map(Self).ok_or_else(Problem::version_required)
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
        let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        let number = |text: &str| text.parse().ok();
        // Behind the version may be a hash of what was included with the record.
        let version = tag.and_then(|tag| number(tag).or_else(|| number(tag.rsplit_once('-')?.0)));
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
    let style = HeaderStyle::Simple;
    operation.parameters.push(ReferenceOr::Item(Parameter::Header { parameter_data, style }));
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
pub(crate) fn in_query(error: domain::Error) -> Problem {
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
pub(crate) struct Includes<R>(pub Vec<Include>, pub PhantomData<fn() -> R>);

impl<R: Record, S: Send + Sync> FromRequestParts<S> for Includes<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let mut parameters = parameters(parts);
        let includes = parameters.remove("include").unwrap_or_default();
        unknown(&parameters, "include")?;
        let includes = Include::parse::<R>(&includes).map_err(in_query)?;
        Ok(Self(includes, PhantomData))
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
    pub(crate) filter: R::Filter,
    pub(crate) page: Page,
    pub(crate) includes: Vec<Include>,
    /// Describes the list, so that a page token of another one is refused.
    pub(crate) list: String,
}

impl<R: Record> FromRequestParts<App> for ListQuery<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let mut parameters = parameters(parts);
        let includes = Include::parse::<R>(&parameters.remove("include").unwrap_or_default()).map_err(in_query)?;
        let limit = page_size(&mut parameters)?;
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
        let after = token.map(|token| place(app, &list, &token)).transpose()?;
        Ok(Self { filter, page: Page { limit, sort, after, offset: 0 }, includes, list })
    }
}

/// How many are wanted on a page.
pub(crate) fn page_size(parameters: &mut BTreeMap<String, String>) -> Result<NonZeroU32> {
    let size = parameters.remove("page_size").map_or(Ok(DEFAULT_PAGE_SIZE), |size| size.parse());
    size.ok()
        .filter(|size| *size <= MAX_PAGE_SIZE)
        .and_then(NonZeroU32::new)
        .ok_or_else(|| Problem::bad_request("query", format!("the parameter page_size must be 1 to {MAX_PAGE_SIZE}")))
}

/// The place in a list that a page token stands for.
pub(crate) fn place<P: DeserializeOwned>(app: &App, list: &str, token: &str) -> Result<P> {
    let refused = || Problem::bad_request("page_token", "the page token does not belong to this list");
    app.token_key().verify(list, token).ok_or_else(refused)
}

/// Describes what both are asked for by.
pub(crate) fn page_parameters(ctx: &mut GenContext, operation: &mut Operation) {
    let size = ctx.schema.subschema_for::<NonZeroU32>();
    let about = format!("How many to list, at most {MAX_PAGE_SIZE}; {DEFAULT_PAGE_SIZE} if nothing is said.");
    query_parameter(operation, "page_size", &about, size);
    let text = ctx.schema.subschema_for::<String>();
    query_parameter(operation, "page_token", "The next_page_token of the page before.", text);
}

impl<R: Record> OperationInput for ListQuery<R> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        page_parameters(ctx, operation);
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
    operation.parameters.push(ReferenceOr::Item(Parameter::Query {
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
