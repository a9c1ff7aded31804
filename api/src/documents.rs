//! The endpoints that every kind of document has: the five that records have, and questions about any field, about words
//! and about places.

use std::marker::PhantomData;

use aide::{
    OperationInput, OperationOutput,
    axum::{
        ApiRouter,
        routing::{ApiMethodRouter, delete_with, get_with, patch_with, post_with},
    },
    generate::GenContext,
    openapi::{Operation, Response as Described},
    transform::TransformOperation,
};
use axum::{
    extract::{FromRequestParts, OriginalUri, State},
    http::{StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use domain::document::{Comparison, Document, Documented, FieldPath, IndexUse, Kept, Kind, Point, Question, all_taken};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    app::App,
    body::Body,
    extract::{IfMatch, RecordId, in_query, page_parameters, page_size, parameters, place, query_parameter, unknown},
    openapi::json_response,
    problem::{Problem, Result},
    reply::{Deleted, JSON, etag, hash},
    resource::at,
};

/// All that can be done with documents of a kind, under this path.
pub(crate) fn documents<D: Documented>(path: &str) -> ApiRouter<App> {
    let member = member::<D>()
        .merge(patch_with(update::<D>, describe::<D>("update", "Change some fields of a")))
        .merge(delete_with(delete::<D>, describe::<D>("delete", "Delete a")));
    let collection = collection::<D>().merge(post_with(create::<D>, describe::<D>("create", "Create a")));
    ApiRouter::new().api_route(&at(path), collection).api_route(&at(&format!("{path}/{{id}}")), member)
}

/// What can be done with documents that are only read here.
pub(crate) fn read_only<D: Documented>(path: &str) -> ApiRouter<App> {
    ApiRouter::new().api_route(&at(path), collection::<D>()).api_route(&at(&format!("{path}/{{id}}")), member::<D>())
}

fn collection<D: Documented>() -> ApiMethodRouter<App> {
    get_with(list::<D>, describe::<D>("list", "List each"))
}

fn member<D: Documented>() -> ApiMethodRouter<App> {
    get_with(find::<D>, describe::<D>("find", "Find a"))
}

/// Names an operation, as those of records are named.
pub(crate) fn describe<D: Documented>(
    verb: &'static str,
    summary: &'static str,
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |operation| {
        let noun = D::NOUN;
        operation.id(&format!("{verb}_{}", noun.replace(' ', "_"))).tag(noun).summary(&format!("{summary} {noun}"))
    }
}

async fn list<D: Documented>(State(app): State<App>, asked: Asked<D>) -> Result<Listed<D>> {
    let query = asked.question.query::<D>().map_err(in_query)?;
    let listing = app.store().documents()?.list(query).await?;
    let next_page_token = listing.next.and_then(|place| app.token_key().sign(&asked.list, &place));
    Ok(Listed { items: listing.documents, next_page_token })
}

async fn find<D: Documented>(State(app): State<App>, RecordId(id): RecordId<D>) -> Result<Found<D>> {
    Ok(Found(app.store().documents()?.find(id).await?))
}

async fn create<D: Documented>(
    State(app): State<App>,
    OriginalUri(uri): OriginalUri,
    Body { value, bytes }: Body<D>,
) -> Result<Created<D>> {
    // What was sent is not in what was made of it: then it is no field.
    let given = serde_json::from_slice(&bytes).unwrap_or_default();
    all_taken(&given, &value).map_err(shape)?;
    let kept = app.store().documents()?.insert(value).await?;
    Ok(Created { location: format!("{}/{}", uri.path(), kept.id), kept })
}

async fn update<D: Documented>(
    State(app): State<App>,
    RecordId(id): RecordId<D>,
    IfMatch(version): IfMatch,
    Body { value, .. }: Body<Document>,
) -> Result<Found<D>> {
    Ok(Found(app.store().documents()?.merge(id, version, value).await?))
}

/// A mistake in the shape of the body, however the domain found it.
pub(crate) fn shape(error: domain::Error) -> Problem {
    match error {
        domain::Error::Invalid(errors) => {
            Problem::bad_request("shape", "the body does not have the expected shape").with_errors(errors)
        }
        error => error.into(),
    }
}

async fn delete<D: Documented>(
    State(app): State<App>,
    RecordId(id): RecordId<D>,
    IfMatch(version): IfMatch,
) -> Result<Deleted> {
    app.store().documents()?.delete(id, version).await?;
    Ok(Deleted)
}

/// Which documents are asked for.
pub(crate) struct Asked<D> {
    pub(crate) question: Question,
    /// Describes the list, so that a page token of another one is refused.
    list: String,
    document: PhantomData<fn() -> D>,
}

/// How a field can be compared, by the name that follows it in an address.
const COMPARISONS: [(&str, Comparison); 5] = [
    ("", Comparison::Eq),
    ("[gt]", Comparison::Gt),
    ("[gte]", Comparison::Gte),
    ("[lt]", Comparison::Lt),
    ("[lte]", Comparison::Lte),
];

impl<D: Documented> FromRequestParts<App> for Asked<D> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let mut parameters = parameters(parts);
        let limit = page_size(&mut parameters)?;
        let token = parameters.remove("page_token");
        // All that is left describes the list.
        let list = form_urlencoded::Serializer::new(format!("{} ", D::NOUN)).extend_pairs(&parameters).finish();
        let words = parameters.remove("words");
        let near = parameters.remove("near").map(|near| self::near(&near)).transpose()?;
        let sort = parameters.remove("sort");
        let filters = parameters.extract_if(.., |name, _| name.starts_with("filter["));
        let conditions = filters.map(|(name, value)| {
            let condition = condition(&name);
            let (path, is) = condition.ok_or_else(|| {
                Problem::bad_request(
                    "query",
                    format!("the parameter {name} must be filter[field] or filter[field][gte]"),
                )
            })?;
            Ok((path, is, value))
        });
        let conditions = conditions.collect::<Result<_>>()?;
        unknown(&parameters, "page_size, page_token, sort, words, near and filter[…]")?;
        let after = token.map(|token| place(app, &list, &token)).transpose()?;
        let question = Question { conditions, words, near, sort, limit: Some(limit.get().into()), after };
        Ok(Self { question, list, document: PhantomData })
    }
}

/// The path and the comparison in the name of a parameter such as `filter[birth_data.date][gte]`.
fn condition(name: &str) -> Option<(String, Comparison)> {
    let (path, comparison) = name.strip_prefix("filter[")?.split_once(']')?;
    let (_, is) = COMPARISONS.into_iter().find(|(known, _)| *known == comparison)?;
    Some((path.to_owned(), is))
}

/// A place and a distance, as in `16.37,48.21,5000`.
fn near(text: &str) -> Result<(Point, f64)> {
    let refused = || {
        let detail = "the parameter near must be longitude, latitude and metres, such as 16.37,48.21,5000";
        Problem::bad_request("query", detail)
    };
    let numbers = text.split(',').map(|number| number.trim().parse::<f64>()).collect::<Result<Vec<_>, _>>();
    let [longitude, latitude, metres] = <[f64; 3]>::try_from(numbers.map_err(|_| refused())?).map_err(|_| refused())?;
    let place = Point::new(longitude, latitude).map_err(|_| refused())?;
    if metres.is_finite() && metres >= 0.0 { Ok((place, metres)) } else { Err(refused()) }
}

impl<D: Documented> OperationInput for Asked<D> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let text = ctx.schema.subschema_for::<String>();
        page_parameters(ctx, operation);
        let collection = D::collection();
        let orders =
            collection.sortable().into_iter().flat_map(|field| [field.path.to_string(), format!("-{}", field.path)]);
        let orders = schemars::json_schema!({ "type": "string", "enum": orders.collect::<Vec<_>>() });
        query_parameter(
            operation,
            "sort",
            "With a minus in front, descending; in the order of creation if nothing is said.",
            orders,
        );
        let has = |is: fn(&IndexUse) -> bool| collection.indexes().iter().any(|index| is(&index.is));
        if has(|is| matches!(is, IndexUse::Text { .. })) {
            let about = "Words of which it has to have one; those with most of them first. Of these there is one page.";
            query_parameter(operation, "words", about, text.clone());
        }
        if has(|is| matches!(is, IndexUse::Geo { .. })) {
            let about = "Longitude, latitude, and how many metres it may be away from there; the nearest first. Of these there is one page.";
            query_parameter(operation, "near", about, text);
        }
        for FieldPath { path, kind } in collection.askable() {
            for (comparison, _) in COMPARISONS {
                query_parameter(
                    operation,
                    &format!("filter[{path}]{comparison}"),
                    "Narrows the list.",
                    schema_of(&kind),
                );
            }
        }
    }
}

fn schema_of(kind: &Kind) -> schemars::Schema {
    match kind {
        Kind::Integer => schemars::json_schema!({ "type": "integer", "format": "int64" }),
        Kind::Float => schemars::json_schema!({ "type": "number" }),
        Kind::Boolean => schemars::json_schema!({ "type": "boolean" }),
        Kind::Time => schemars::json_schema!({ "type": "string", "format": "date-time" }),
        Kind::Day => schemars::json_schema!({ "type": "string", "format": "date" }),
        Kind::Id => schemars::json_schema!({ "type": "string", "format": "uuid" }),
        Kind::Text | Kind::Point | Kind::List(_) | Kind::Object(_) | Kind::Json => {
            schemars::json_schema!({ "type": "string" })
        }
    }
}

/// A page of a list.
#[derive(Serialize, JsonSchema)]
#[serde(bound = "")]
#[schemars(rename = "Listed_of_{D}")]
pub(crate) struct Listed<D: Documented> {
    items: Vec<Kept<D>>,
    /// Where the next page begins; none if this is the last.
    next_page_token: Option<String>,
}

impl<D: Documented> IntoResponse for Listed<D> {
    fn into_response(self) -> Response {
        let json = serde_json::to_vec(&self).unwrap_or_default();
        let etag = format!("\"{}\"", hash(&json));
        ([(header::CONTENT_TYPE, JSON), (header::ETAG, &etag)], json).into_response()
    }
}

/// One document, with its version as `ETag`.
pub(crate) struct Found<D>(Kept<D>);

impl<D: Documented> IntoResponse for Found<D> {
    fn into_response(self) -> Response {
        let Self(kept) = self;
        let json = serde_json::to_vec(&kept).unwrap_or_default();
        ([(header::CONTENT_TYPE, JSON.to_owned()), (header::ETAG, etag(kept.version))], json).into_response()
    }
}

/// A document that was made, and where it is.
pub(crate) struct Created<D> {
    location: String,
    kept: Kept<D>,
}

impl<D: Documented> IntoResponse for Created<D> {
    fn into_response(self) -> Response {
        let Self { location, kept } = self;
        (StatusCode::CREATED, [(header::LOCATION, location)], Found(kept)).into_response()
    }
}

fn described<T: JsonSchema>(ctx: &mut GenContext, status: u16, about: &str) -> Vec<(Option<u16>, Described)> {
    vec![(Some(status), json_response(about, JSON, ctx.schema.subschema_for::<T>()))]
}

impl<D: Documented> OperationOutput for Listed<D> {
    type Inner = Kept<D>;

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Described)> {
        described::<Self>(ctx, 200, "A page of the list.")
    }
}

impl<D: Documented> OperationOutput for Found<D> {
    type Inner = Kept<D>;

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Described)> {
        described::<Kept<D>>(ctx, 200, "The document; its version is the ETag.")
    }
}

impl<D: Documented> OperationOutput for Created<D> {
    type Inner = Kept<D>;

    fn inferred_responses(ctx: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Described)> {
        described::<Kept<D>>(ctx, 201, "The document; its version is the ETag.")
    }
}
