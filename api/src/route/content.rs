use aide::{
    OperationInput,
    axum::{
        ApiRouter,
        routing::{get_with, put_with},
    },
    generate::GenContext,
    openapi::Operation,
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::request::Parts,
};
use domain::{Content, Tag, TagId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    body::Body,
    extract::{LinkIds, RecordId, parameters, query_parameter, unknown},
    problem::{Problem, Result},
    reply::Deleted,
    resource::{at, describe},
};

/// The tags of a content.
pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new()
        .api_route(
            &at("/contents/{id}/tags"),
            get_with(list_tags, describe::<Tag>("list_content", "List each linked"))
                .put_with(set_tags, describe::<Tag>("set_content", "Set, in order, each linked")),
        )
        .api_route(
            &at("/contents/{id}/tags/{to}"),
            put_with(link_tag, describe::<Tag>("link_content", "Link a"))
                .delete_with(unlink_tag, describe::<Tag>("unlink_content", "Unlink a")),
        )
}

/// The tags of a content, in order.
#[derive(Serialize, JsonSchema)]
struct Tags {
    items: Vec<Tag>,
}

/// The tags that a content shall have, in this order.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TagIds {
    tags: Vec<TagId>,
}

/// Where among the tags of a content; at the end, if nothing is said.
struct Position(Option<i64>);

impl<S: Send + Sync> FromRequestParts<S> for Position {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let mut parameters = parameters(parts);
        let position = parameters.remove("position").map(|position| position.parse()).transpose();
        unknown(&parameters, "position")?;
        position.map(Self).map_err(|_| Problem::bad_request("query", "the parameter position must be an integer"))
    }
}

impl OperationInput for Position {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = ctx.schema.subschema_for::<i64>();
        query_parameter(operation, "position", "Where among the links; at their end, if nothing is said.", schema);
    }
}

async fn list_tags(State(app): State<App>, RecordId(id): RecordId<Content>) -> Result<Json<Tags>> {
    app.store().find(id).await?;
    let mut tags = app.store().related(Content::TAGS.relation(), &[id]).await?;
    Ok(Json(Tags { items: tags.remove(&id).unwrap_or_default() }))
}

async fn set_tags(
    State(app): State<App>,
    RecordId(id): RecordId<Content>,
    Body { value: TagIds { tags }, .. }: Body<TagIds>,
) -> Result<Json<Tags>> {
    let set = move |work: domain::UnitOfWork| {
        let tags = tags.clone();
        async move { Content::set_tags(id, &tags, &work).await }
    };
    Ok(Json(Tags { items: app.store().write(set).await? }))
}

async fn link_tag(
    State(app): State<App>,
    LinkIds(id, tag): LinkIds<Content, Tag>,
    Position(position): Position,
) -> Result<Json<Tags>> {
    let link = move |work: domain::UnitOfWork| async move {
        work.link(&Content::TAGS, id, tag, position).await?;
        work.related(Content::TAGS.relation(), id).await
    };
    Ok(Json(Tags { items: app.store().write(link).await? }))
}

async fn unlink_tag(State(app): State<App>, LinkIds(id, tag): LinkIds<Content, Tag>) -> Result<Deleted> {
    let unlink = move |work: domain::UnitOfWork| async move { work.unlink(&Content::TAGS, id, tag).await };
    app.store().write(unlink).await?;
    Ok(Deleted)
}
