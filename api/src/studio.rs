//! Pages about the data, for who sits at the machine that serves them. They only show, and hold nothing that runs.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use domain::{
    Documents, DocumentsError, IndexActivity,
    document::{Direction, Index, IndexUse, collections},
};
use maud::{DOCTYPE, Markup, html};

/// Nothing but what this page is made of: no scripts, nothing from elsewhere, and in no frame.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "\
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: start; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
.number { text-align: end; font-variant-numeric: tabular-nums; }
.unused { color: #b45309; }
";

/// The pages, about these documents.
pub(crate) fn router(documents: Arc<dyn Documents>) -> Router {
    let style = || async { ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) };
    Router::new()
        .route("/", get(indexes))
        .route("/style.css", get(style))
        .layer(middleware::from_fn(guarded))
        .with_state(documents)
}

/// Lets in only who asks for this machine by its own name: a page from elsewhere that has a name of its own point here is
/// a stranger.
async fn guarded(request: Request, next: Next) -> Response {
    if !is_this_machine(request.headers()) {
        return (StatusCode::MISDIRECTED_REQUEST, "the studio is for this machine: ask for 127.0.0.1 or localhost")
            .into_response();
    }
    let mut response = next.run(request).await;
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

fn is_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    ["127.0.0.1", "localhost"].contains(&name)
}

/// How often each index of documents is used.
async fn indexes(State(documents): State<Arc<dyn Documents>>) -> Response {
    match documents.index_activity(&collections()).await {
        Ok(activity) => page(&table(activity)).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, page(&unavailable(&error))).into_response(),
    }
}

fn page(content: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "Seabed studio" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                h1 { "Seabed studio" }
                h2 { "Indexes of documents" }
                (content)
            }
        }
    };
    Html(page.into_string())
}

fn table(mut activity: Vec<IndexActivity>) -> Markup {
    // Who looks for what to drop looks from the top.
    activity.sort_by_cached_key(|index| (!index.is_unused(), index.collection.clone(), index.index.clone()));
    html! {
        @if activity.is_empty() {
            p { "There are none, or what keeps the documents does not count how often they are used. SQLite does not." }
        } @else {
            p {
                "How often something was looked up in each. An index is written with every document: one that nobody uses only "
                "costs, unless it keeps documents unique or has them expire."
            }
            table {
                thead { tr { th { "Collection" } th { "Index" } th { "On" } th.number { "Uses" } th { "Counted since" } } }
                tbody {
                    @for index in &activity {
                        tr.unused[index.is_unused()] {
                            td { (index.collection) }
                            td { (index.index) }
                            td { (index.declared().map_or_else(|| "what nobody declares".to_owned(), described)) }
                            td.number { @if index.is_unused() { "never used" } @else { (index.uses) } }
                            td { @if let Some(since) = &index.since { (since) " at the earliest" } @else { "not known" } }
                        }
                    }
                }
            }
        }
    }
}

fn unavailable(error: &DocumentsError) -> Markup {
    html! { p { "The documents cannot be asked: " (error) ". " code { "seabed doctor" } " says more." } }
}

/// What an index is on.
fn described(index: &Index) -> String {
    match &index.is {
        IndexUse::Fields { keys, is_unique } => {
            let keys = keys.iter().map(|key| match key.direction {
                Direction::Ascending => key.field.path.to_string(),
                Direction::Descending => format!("{}, the last first", key.field.path),
            });
            let keys = keys.collect::<Vec<_>>().join("; ");
            if *is_unique { format!("{keys}: unique") } else { keys }
        }
        IndexUse::Text { fields } => {
            let fields = fields.iter().map(|field| field.path.as_ref()).collect::<Vec<_>>().join("; ");
            format!("the words of {fields}")
        }
        IndexUse::Geo { field } => format!("the place of {}", field.path),
        IndexUse::Ttl { field, after } => match after.as_secs() {
            seconds @ ..7_200 => format!("{}: gone after {seconds} seconds", field.path),
            seconds => format!("{}: gone after {} hours", field.path, seconds / 3_600),
        },
    }
}
