//! The description of the API, made from the types of the handlers, and a page to try it on.

use aide::{
    axum::ApiRouter,
    openapi::{Info, MediaType, OpenApi, Response, SchemaObject},
    swagger::Swagger,
};
use axum::{
    Router,
    http::header,
    response::{Html, IntoResponse},
    routing::get,
};
use schemars::Schema;

use crate::app::App;

/// Serves the description of these routes at `/openapi.json` and the page at `/docs`, which loads nothing from
/// elsewhere.
pub(crate) fn described(routes: ApiRouter<App>) -> Router<App> {
    let mut api = OpenApi {
        info: Info {
            title: "Seabed".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: Some(DESCRIPTION.to_owned()),
            ..Info::default()
        },
        ..OpenApi::default()
    };
    aide::generate::on_error(|error| tracing::debug!(%error, "a part of the API could not be described"));
    // The schemas were gathered while the routes were made, which is how aide comes set; to set it here would begin anew
    // and lose them.
    let router = routes.finish_api(&mut api);
    let json = serde_json::to_string(&api).unwrap_or_default();
    let page = Swagger::new("/openapi.json").with_title("Seabed").html();
    router
        .route("/openapi.json", get(async move || ([(header::CONTENT_TYPE, "application/json")], json).into_response()))
        .route("/docs", get(async move || Html(page)))
}

const DESCRIPTION: &str = "\
Records are read with their `ETag`, which is their version; to change or delete one, send it back as `If-Match`. \
Lists come in pages: pass `next_page_token` on as `page_token`, with the same `sort` and `filter`. \
`include` loads related records along. A POST that carries an `Idempotency-Key` takes effect once, however often it is \
sent. Errors are problem details (RFC 9457) with a stable `code`.";

/// A response with a body of this media type and schema.
pub(crate) fn json_response(description: &str, media_type: &str, schema: Schema) -> Response {
    let schema = SchemaObject { json_schema: schema, example: None, external_docs: None };
    let content = MediaType { schema: Some(schema), ..MediaType::default() };
    Response {
        description: description.to_owned(),
        content: [(media_type.to_owned(), content)].into_iter().collect(),
        ..Response::default()
    }
}
