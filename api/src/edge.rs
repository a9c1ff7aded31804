//! What holds for every request, before a route sees it and after it answered: an id, limits of size, time and number,
//! and problems written down.

use std::{
    collections::HashSet,
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use domain::{Context, Incident, within_context};
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tokio::time::{Instant, timeout};
use tower::{Layer, Service};

use crate::{app::App, problem::Problem, revalidate::revalidated};

/// The header that carries a request's id, in and out.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What logs how requests are answered.
pub(crate) const REQUESTS: &str = module_path!();
const MAX_URI_BYTES: usize = 8 * 1024;
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// The layer around all routes. It is one, because each clones all that is within it, for every request.
#[derive(Clone)]
pub(crate) struct Edge {
    app: App,
    has_limits: bool,
}

impl Edge {
    pub(crate) fn with_limits(app: App) -> Self {
        Self { app, has_limits: true }
    }

    /// For the routes about the service's health: they must get an answer above all when there is too much to do.
    pub(crate) fn without_limits(app: App) -> Self {
        Self { app, has_limits: false }
    }
}

impl<S> Layer<S> for Edge {
    type Service = WithinEdge<S>;

    fn layer(&self, route: S) -> WithinEdge<S> {
        WithinEdge { edge: self.clone(), route }
    }
}

/// A route within the edge.
#[derive(Clone)]
pub(crate) struct WithinEdge<S> {
    edge: Edge,
    route: S,
}

impl<S> Service<Request> for WithinEdge<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.route.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The clone may not be ready: the one that was asked is.
        let clone = self.route.clone();
        let (mut route, Edge { app, has_limits }) = (std::mem::replace(&mut self.route, clone), self.edge.clone());
        Box::pin(async move {
            let answer = async |request| {
                let Ok(response) = route.call(request).await;
                response
            };
            Ok(match has_limits {
                true => {
                    let answer = async |request| revalidated(request, answer).await;
                    attended(&app, request, async |request| limited(&app, request, answer).await).await
                }
                false => attended(&app, request, answer).await,
            })
        })
    }
}

/// Gives a request its id and its context, and takes down how it was answered.
async fn attended(app: &App, request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (id, method, uri) = (request_id(request.headers()), request.method().clone(), request.uri().clone());
    let context = Arc::new(Context {
        actor: None,
        request_id: Some(id.clone()),
        // What is at no known address is at any, and would be a kind of request of its own each time.
        endpoint: route.as_ref().map(|route| route.as_str().to_owned()),
        method: Some(method.to_string()),
    });

    within_context(Arc::clone(&context), async {
        let answer = AssertUnwindSafe(answer(request)).catch_unwind().await;
        let mut response = answer.unwrap_or_else(|_| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something went wrong here").into_response()
        });
        let problem = response.extensions_mut().remove::<Arc<Problem>>().or_else(|| unnamed(&response));
        if let Some(problem) = &problem {
            problem.render(&id, &mut response);
        }
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let elapsed = started.elapsed();
        app.metrics().answered(&method, route.as_ref().map(MatchedPath::as_str), response.status(), elapsed);
        let (method, path, status) = (method.as_str(), uri.path(), response.status().as_u16());
        let (code, elapsed_ms) = (problem.as_ref().map(|problem| problem.code()), elapsed.as_micros() as f64 / 1_000.0);
        match problem.as_ref().filter(|problem| problem.status().is_server_error()) {
            Some(problem) => {
                let cause = problem.cause().map(|cause| chain(cause.as_ref()));
                tracing::error!(method, path, status, code, elapsed_ms, cause, "failed");
                let message = match cause {
                    Some(cause) => format!("{}: {cause}", problem.detail()),
                    None => problem.detail().to_owned(),
                };
                let (code, context) = (problem.code().to_owned(), (*context).clone());
                app.store().report(Incident { code, message, status: Some(status), context });
            }
            None => tracing::info!(method, path, status, code, elapsed_ms, "answered"),
        }
        response
    })
    .await
}

/// A cause and its causes, for the log.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = cause.source();
    }
    text
}

/// Within the limits, or not at all. A request is over when its answer begins: what a stream sends after that is bounded
/// by the route that sends it.
async fn limited(app: &App, request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    let Ok(_permit) = app.permits().try_acquire() else {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many requests are under way")
            .with_retry_after(Duration::from_secs(1))
            .into_response();
    };
    let limits = *app.limits();
    if let Err(problem) = check(request.uri(), request.headers()) {
        return refused(problem);
    }
    let request = match buffered(request, limits.max_body_bytes, limits.request_timeout).await {
        Ok(request) => request,
        Err(problem) => return refused(problem),
    };
    // The data is given up a little earlier, so that what it says of it can still be told.
    let margin = (limits.request_timeout / 10).min(Duration::from_secs(1));
    let is_safe = request.method().is_safe();
    let limit = limits.request_timeout;
    let late = match timeout(limit, domain::within(limit - margin, answer(request))).await {
        Ok(response) => return response,
        Err(_) if is_safe => Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "answering took too long"),
        Err(_) => {
            let detail = "answering took too long, and it may still take effect: look before you repeat it";
            Problem::new(StatusCode::GATEWAY_TIMEOUT, "unknown_outcome", detail)
        }
    };
    late.into_response()
}

/// What was refused unread may be followed by more of it: the connection is of no further use.
fn refused(problem: Problem) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let usable = |id: &&str| !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_graphic());
    given.filter(usable).map_or_else(|| hex::encode(rand::random::<[u8; 16]>()), str::to_owned)
}

fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let uri_bytes = uri.path_and_query().map_or(0, |text| text.as_str().len());
    if uri_bytes > MAX_URI_BYTES {
        let detail = format!("the address may have {MAX_URI_BYTES} bytes");
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "uri", detail));
    }
    let header_bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    if header_bytes > MAX_HEADER_BYTES {
        let detail = format!("the headers may have {MAX_HEADER_BYTES} bytes");
        return Err(Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers", detail));
    }
    if !is_text(uri.path()) || !uri.query().is_none_or(is_text) {
        return Err(Problem::bad_request("uri", "the address must be percent-encoded UTF-8 without NUL"));
    }
    // Which of the two is meant, nobody can know, whether or not the route reads it.
    let mut names = HashSet::new();
    for (name, _) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if let Some(name) = names.replace(name) {
            return Err(Problem::bad_request("query", format!("the parameter {name} is there twice")));
        }
    }
    if headers.contains_key(header::CONTENT_ENCODING) {
        let detail = "the body must not be compressed";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoding", detail));
    }
    let mut accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    if accepts.peek().is_some() && !accepts.any(|accept| takes(accept, uri.path())) {
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "accept", "answers are application/json"));
    }
    Ok(())
}

/// Whether percent-encoded bytes are text that a database can hold.
fn is_text(encoded: &str) -> bool {
    if !encoded.contains(['%', '\0']) {
        return true;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else { return false };
        bytes.push((high * 16 + low) as u8);
    }
    !bytes.contains(&0) && std::str::from_utf8(&bytes).is_ok()
}

fn takes(accept: &str, path: &str) -> bool {
    accept.to_ascii_lowercase().split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        // A weight of zero means "not this".
        let refused = parts.filter_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).any(|weight| weight <= 0.0);
        let page = path == "/docs" && matches!(range, "text/*" | "text/html");
        let stream = path == crate::route::CHANGES && matches!(range, "text/*" | "text/event-stream");
        let json = matches!(range, "*/*" | "application/*" | "application/json" | "application/problem+json");
        (page || stream || json) && !refused
    })
}

/// Reads the whole body, within the limits.
async fn buffered(request: Request, max_bytes: usize, limit: Duration) -> Result<Request, Problem> {
    let too_large = || {
        let detail = format!("the body may have {max_bytes} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body", detail)
    };
    let (parts, body) = request.into_parts();
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > max_bytes as u64) {
        return Err(too_large());
    }
    if length.unwrap_or(0) == 0 && !parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(Request::from_parts(parts, Body::empty()));
    }
    let reading = async {
        let mut bytes = Vec::with_capacity(length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0));
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| Problem::bad_request("body", "the body could not be read"))?;
            if bytes.len() + chunk.len() > max_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    };
    let late = || Problem::new(StatusCode::REQUEST_TIMEOUT, "body", "the body did not arrive in time");
    let bytes = timeout(limit, reading).await.map_err(|_| late())??;
    Ok(Request::from_parts(parts, Body::from(Bytes::from(bytes))))
}

/// The router's own answers have no body: an unknown path, a method that a path does not know.
fn unnamed(response: &Response) -> Option<Arc<Problem>> {
    let problem = match response.status() {
        StatusCode::NOT_FOUND => Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this address"),
        StatusCode::METHOD_NOT_ALLOWED => {
            let detail = "the header Allow says which methods this address knows";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail)
        }
        _ => return None,
    };
    Some(Arc::new(problem))
}
