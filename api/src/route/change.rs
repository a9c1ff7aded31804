use std::{convert::Infallible, sync::Arc, time::Duration};

use aide::{
    OperationInput, OperationOutput,
    axum::{ApiRouter, routing::get_with},
    generate::GenContext,
    openapi::{Operation, Response as Described},
};
use axum::{
    Extension,
    extract::{FromRequestParts, State},
    http::{HeaderName, StatusCode, header, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use domain::{Changed, Notice, Noun};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::{
    app::App,
    extract::{parameters, query_parameter, unknown},
    openapi::json_response,
    problem::{Problem, Result},
    revalidate::PRIVATE,
};

/// How often something is sent, so that what stands in between keeps the connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// After how long a client shall connect again.
const RETRY: Duration = Duration::from_secs(1);

/// Changes of these kinds of records, as they happen.
pub(super) fn routes(nouns: Arc<[Noun]>) -> ApiRouter<App> {
    let route = get_with(listen, |operation| {
        operation.id("listen_changes").tag("change").summary("Listen to changes of records").description(DESCRIPTION)
    });
    ApiRouter::new().api_route(super::CHANGES, route.layer(Extension(nouns)))
}

const DESCRIPTION: &str = "\
Server-sent events, from now on, until the client or the service goes away. `change` tells that a record has another \
version or is deleted: after the commit, of each record in order, and whoever changed it. `gap` tells that something may \
have changed of which nothing is told, such as while the client was not connected: read again what you have. To miss \
nothing, connect before you read.";

/// The kind of records that is asked for; all, if nothing is said.
struct AskedNoun(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for AskedNoun {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self> {
        let mut parameters = parameters(parts);
        let noun = parameters.remove("noun");
        unknown(&parameters, "noun")?;
        Ok(Self(noun))
    }
}

impl OperationInput for AskedNoun {
    fn operation_input(ctx: &mut GenContext, operation: &mut Operation) {
        let schema = ctx.schema.subschema_for::<String>();
        query_parameter(operation, "noun", "The kind of records, such as `user`; all, if nothing is said.", schema);
    }
}

/// Whether the client was connected before.
struct IsBack(bool);

impl<S: Send + Sync> FromRequestParts<S> for IsBack {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.contains_key("last-event-id")))
    }
}

impl OperationInput for IsBack {}

/// Events without end.
struct Events(BoxStream<'static, Result<Event, Infallible>>);

async fn listen(
    State(app): State<App>,
    Extension(nouns): Extension<Arc<[Noun]>>,
    AskedNoun(asked): AskedNoun,
    IsBack(is_back): IsBack,
) -> Result<Events> {
    let told = nouns.iter().filter(|noun| app.store().tells(noun)).copied().collect::<Vec<_>>();
    let nouns = match &asked {
        None => told,
        Some(asked) => match told.iter().find(|noun| noun.name() == asked) {
            Some(noun) => vec![*noun],
            None => {
                let known = told.iter().map(Noun::name).collect::<Vec<_>>().join(", ");
                return Err(Problem::bad_request("query", format!("the parameter noun must be one of {known}")));
            }
        },
    };
    let Ok(permit) = Arc::clone(app.streams()).try_acquire_owned() else {
        let busy = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many streams are open");
        return Err(busy.with_retry_after(RETRY));
    };
    let changes = app.store().changes(&nouns).await?;
    // What happened meanwhile is not known here.
    let missed = is_back.then(|| event(Notice::Gap));
    let beginning = stream::iter([Event::default().retry(RETRY).comment("listening")]).chain(stream::iter(missed));
    let events = beginning.chain(changes.map(event)).take_until(app.ending()).map(move |event| {
        let _held = &permit;
        Ok(event)
    });
    Ok(Events(events.boxed()))
}

fn event(notice: Notice) -> Event {
    match notice {
        Notice::Changed(changed) => {
            let Changed { noun: _, id, version, change: _ } = changed;
            let event = Event::default().event("change").id(format!("{id}/{version}"));
            // Nothing in it can fail.
            event.json_data(changed).unwrap_or_default()
        }
        // Clients pass over what has no data.
        Notice::Gap => Event::default().event("gap").data("{}"),
    }
}

impl IntoResponse for Events {
    fn into_response(self) -> Response {
        let events = Sse::new(self.0).keep_alive(KeepAlive::new().interval(HEARTBEAT));
        // What gathers answers before it passes them on must not do so here.
        let unbuffered = (HeaderName::from_static("x-accel-buffering"), "no");
        ([(header::CACHE_CONTROL, PRIVATE)], [unbuffered], events).into_response()
    }
}

impl OperationOutput for Events {
    type Inner = Changed;

    fn operation_response(ctx: &mut GenContext, _operation: &mut Operation) -> Option<Described> {
        let schema = ctx.schema.subschema_for::<Changed>();
        Some(json_response("Events; this is the data of a `change`.", "text/event-stream", schema))
    }

    fn inferred_responses(ctx: &mut GenContext, operation: &mut Operation) -> Vec<(Option<u16>, Described)> {
        Self::operation_response(ctx, operation).map(|response| (Some(200), response)).into_iter().collect()
    }
}
