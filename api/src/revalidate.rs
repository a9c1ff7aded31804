//! Answers that clients may keep, and how they ask whether what they kept is still so.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Only for whoever asked, and only after asking again each time: a copy that is used without asking may be older than
/// what was acknowledged.
pub(crate) const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Says of what is read that it may be kept, and answers 304 to whoever has it already (RFC 9110, section 13).
/// What the route says itself of how it may be kept stays.
pub(crate) async fn revalidated(request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer(request).await;
    }
    let kept = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect::<Vec<_>>();
    let mut response = answer(request).await;
    if response.status() != StatusCode::OK || response.headers().contains_key(header::CACHE_CONTROL) {
        return response;
    }
    response.headers_mut().insert(header::CACHE_CONTROL, PRIVATE);
    match response.headers().get(header::ETAG) {
        Some(etag) if kept.iter().any(|kept| names(kept, etag)) => unchanged(response.headers()),
        _ => response,
    }
}

/// Whether a list of tags names this one. The comparison is the weak one, which is the one for reading.
fn names(kept: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(kept), Ok(etag)) = (kept.to_str(), etag.to_str()) else { return false };
    kept.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn unchanged(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    for name in [header::ETAG, header::CACHE_CONTROL] {
        if let Some(value) = headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}
