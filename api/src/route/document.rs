//! Documents: what was logged, what happened, and what the stars say.

use std::collections::BTreeMap;

use aide::{
    OperationInput,
    axum::{
        ApiRouter,
        routing::{get_with, post_with},
    },
    generate::GenContext,
    openapi::Operation,
    transform::TransformOperation,
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, request::Parts},
};
use domain::{
    BirthChart, Event, EventId, LogEntry, PlanetaryInsight, Timestamp, TimingRecommendation, active_users_per,
    document::{Document, Unit, all_taken},
    events_per, funnel, top_endpoints,
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    app::App,
    body::Body,
    documents::{describe, documents, read_only, shape},
    extract::{parameters, query_parameter, unknown},
    problem::{Problem, Result},
    resource::at,
};

/// All kinds of documents.
pub(super) fn routes() -> ApiRouter<App> {
    documents::<BirthChart>("/birth-charts")
        .merge(documents::<PlanetaryInsight>("/planetary-insights"))
        .merge(documents::<TimingRecommendation>("/timing-recommendations"))
        .merge(read_only::<LogEntry>("/logs"))
        .merge(read_only::<Event>("/events"))
        .api_route(
            &at("/events"),
            post_with(record, |operation| {
                describe::<Event>("record", "Record an")(operation).response::<202, Json<RecordedEvent>>()
            }),
        )
        .api_route(
            &at("/events/per"),
            get_with(per, asks::<Event>("count_events", "How many events of each name there were")),
        )
        .api_route(
            &at("/events/active-users"),
            get_with(active_users, asks::<Event>("count_users", "How many users did something")),
        )
        .api_route(
            &at("/events/funnel"),
            get_with(steps, asks::<Event>("count_steps", "How many users did one thing after the other")),
        )
        .api_route(
            &at("/logs/top-endpoints"),
            get_with(endpoints, asks::<LogEntry>("top_endpoints", "Which endpoints were called most often")),
        )
}

fn asks<D: domain::document::Documented>(
    id: &'static str,
    summary: &'static str,
) -> impl FnOnce(TransformOperation<'_>) -> TransformOperation<'_> {
    move |operation| operation.id(id).tag(D::NOUN).summary(summary)
}

/// What was recorded.
#[derive(Serialize, JsonSchema)]
struct RecordedEvent {
    id: EventId,
}

/// It is among the events when it was delivered, which nobody waits for.
async fn record(
    State(app): State<App>,
    Body { value, bytes }: Body<Event>,
) -> Result<(StatusCode, Json<RecordedEvent>)> {
    all_taken(&serde_json::from_slice(&bytes).unwrap_or_default(), &value).map_err(shape)?;
    let recorded = app.store().write(move |work| {
        let event: Event = value.clone();
        async move { work.record(&event).await }
    });
    match recorded.await? {
        Some(id) => Ok((StatusCode::ACCEPTED, Json(RecordedEvent { id }))),
        None => {
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "spool_full", "too many events wait to be delivered"))
        }
    }
}

async fn per(State(app): State<App>, period: Period<Per>) -> Result<Json<Vec<Document>>> {
    let Period { from, until, more: Per { unit } } = period;
    Ok(Json(app.store().documents()?.aggregate(&events_per(unit.into(), from, until)).await?))
}

async fn active_users(State(app): State<App>, period: Period<Per>) -> Result<Json<Vec<Document>>> {
    let Period { from, until, more: Per { unit } } = period;
    Ok(Json(app.store().documents()?.aggregate(&active_users_per(unit.into(), from, until)).await?))
}

async fn steps(State(app): State<App>, period: Period<Steps>) -> Result<Json<Vec<u64>>> {
    let Period { from, until, more: Steps { steps } } = period;
    let steps = steps.split(',').collect::<Vec<_>>();
    Ok(Json(funnel(app.store().documents()?, &steps, from, until).await?))
}

async fn endpoints(State(app): State<App>, period: Period<Most>) -> Result<Json<Vec<Document>>> {
    let Period { from, until, more: Most { limit } } = period;
    Ok(Json(app.store().documents()?.aggregate(&top_endpoints(from, until, limit.into())).await?))
}

/// From an instant, until another, which is not in it; and what else is asked for.
struct Period<M> {
    from: Timestamp,
    until: Timestamp,
    more: M,
}

/// For each hour, day, week or month.
#[derive(serde::Deserialize, JsonSchema)]
struct Per {
    unit: Each,
}

#[derive(serde::Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Each {
    Hour,
    Day,
    Week,
    Month,
}

impl From<Each> for Unit {
    fn from(each: Each) -> Self {
        match each {
            Each::Hour => Self::Hour,
            Each::Day => Self::Day,
            Each::Week => Self::Week,
            Each::Month => Self::Month,
        }
    }
}

/// The names of events, in their order, separated by commas.
#[derive(serde::Deserialize, JsonSchema)]
struct Steps {
    steps: String,
}

/// The most frequent so many.
#[derive(serde::Deserialize, JsonSchema)]
struct Most {
    limit: u8,
}

impl<M: DeserializeOwned> FromRequestParts<App> for Period<M> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self> {
        let mut parameters = parameters(parts);
        let mut instant = |name: &str| {
            let text = parameters.remove(name).unwrap_or_default();
            serde_json::from_value::<Timestamp>(text.into()).map_err(|_| {
                let detail = format!("the parameter {name} must be an instant such as 2026-01-31T12:00:00Z");
                Problem::bad_request("query", detail)
            })
        };
        let (from, until) = (instant("from")?, instant("until")?);
        Ok(Self { from, until, more: more(&mut parameters)? })
    }
}

/// What is left of the parameters, all of which must be known.
fn more<M: DeserializeOwned>(parameters: &mut BTreeMap<String, String>) -> Result<M> {
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters.iter()).finish();
    let more = serde_urlencoded::from_str(&text);
    let more = more.map_err(|error| Problem::bad_request("query", format!("the parameters are not valid: {error}")))?;
    parameters.retain(|name, _| !["unit", "steps", "limit"].contains(&name.as_str()));
    unknown(parameters, "from, until and what is in the description")?;
    Ok(more)
}

impl<M: JsonSchema> OperationInput for Period<M> {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        for (name, about) in [("from", "The beginning of the period."), ("until", "Its end, which is not in it.")] {
            query_parameter(operation, name, about, ctx.schema.subschema_for::<Timestamp>());
        }
        let more = schemars::schema_for!(M);
        let properties = more.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        for (name, _) in properties {
            let text = ctx.schema.subschema_for::<String>();
            query_parameter(
                operation,
                &name,
                more.get("description").and_then(Value::as_str).unwrap_or_default(),
                text,
            );
        }
    }
}
