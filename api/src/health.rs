//! Whether the process runs, and whether it may take traffic.

use std::time::{Duration, Instant};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use domain::{Backlog, CacheCounts, CacheStatus, Delivery};
use serde::Serialize;

use crate::app::App;

/// A hung database must not hang the one who asks whether it hangs: an answer comes within a second and a half.
const PING_TIMEOUT: Duration = Duration::from_millis(1_000);

const UP: &str = "up";
const DOWN: &str = "down";

#[derive(Serialize)]
struct Report {
    /// `degraded` when something is missing that is not needed to answer.
    status: &'static str,
    database: Component,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<CacheReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<DocumentsReport>,
}

#[derive(Serialize)]
struct DocumentsReport {
    /// `down` when they do not answer, or do not take what is delivered.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    /// How much waits to be delivered, and for how long the oldest of it does.
    waiting: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<u64>,
    /// Given up.
    dead: u64,
    /// Since the start.
    delivered: u64,
    dropped: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_delivery_ms: Option<u64>,
}

#[derive(Serialize)]
struct CacheReport {
    status: &'static str,
    /// Since the start, of all that was looked up in it.
    hits: u64,
    misses: u64,
    bypasses: u64,
}

#[derive(Serialize)]
struct Component {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
}

pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/health/live", get(async || Json(serde_json::json!({ "status": "up" }))))
        .route("/health/ready", get(ready))
        .route("/health", get(ready))
}

async fn ready(State(app): State<App>) -> impl IntoResponse {
    let health = tokio::time::timeout(PING_TIMEOUT, app.store().ping());
    let (health, documents) = tokio::join!(health, documents(&app));
    let (status, database) = match health {
        Ok(Ok(health)) => {
            let latency_ms = Some(health.latency.as_secs_f64() * 1_000.0);
            (StatusCode::OK, Component { status: UP, latency_ms })
        }
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, Component { status: DOWN, latency_ms: None }),
    };
    let cache = app.store().cache_status().map(CacheReport::from);
    let others = [cache.as_ref().map(|cache| cache.status), documents.as_ref().map(|documents| documents.status)];
    let is_degraded = database.status == UP && others.into_iter().flatten().any(|status| status != UP);
    (
        status,
        Json(Report { status: if is_degraded { "degraded" } else { database.status }, database, cache, documents }),
    )
}

/// Whether the documents answer, and take what is delivered to them.
async fn documents(app: &App) -> Option<DocumentsReport> {
    let report = DocumentsReport::from(app.store().delivery()?);
    let started = Instant::now();
    let answer = tokio::time::timeout(PING_TIMEOUT, app.store().documents().ok()?.ping()).await;
    Some(match answer {
        Ok(Ok(())) => DocumentsReport { latency_ms: Some(started.elapsed().as_secs_f64() * 1_000.0), ..report },
        Ok(Err(_)) | Err(_) => DocumentsReport { status: DOWN, ..report },
    })
}

impl From<Delivery> for DocumentsReport {
    fn from(delivery: Delivery) -> Self {
        let Delivery { backlog, lag, delivered, last, failure, dropped, incidents: _, lost_incidents } = delivery;
        let Backlog { rows, oldest: _, dead } = backlog;
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            status: if failure.is_none() { UP } else { DOWN },
            latency_ms: None,
            waiting: rows,
            lag_ms: lag.map(millis),
            dead,
            delivered,
            dropped: dropped + lost_incidents,
            last_delivery_ms: last.map(|last| millis(last.elapsed())),
        }
    }
}

impl From<CacheStatus> for CacheReport {
    fn from(cache: CacheStatus) -> Self {
        let sum = |count: fn(&CacheCounts) -> u64| cache.tables.values().map(count).sum();
        Self {
            status: if cache.is_fresh { UP } else { DOWN },
            hits: sum(|counts| counts.hits),
            misses: sum(|counts| counts.misses),
            bypasses: sum(|counts| counts.bypasses),
        }
    }
}
