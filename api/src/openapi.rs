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
use schemars::{Schema, generate::SchemaSettings};

use crate::app::App;

/// To be called before the first route is made: from then on schemas are gathered, in the dialect of OpenAPI 3.1 (JSON
/// Schema 2020-12), which is not the one that aide comes set to.
pub(crate) fn begin() {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        // Of the whole document, which is no schema.
        settings.meta_schema = None;
    });
    aide::generate::in_context(|context| context.schema = settings.into_generator());
}

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
