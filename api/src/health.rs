//! Whether the process runs, and whether it may take traffic.

use std::time::Duration;

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde::Serialize;

use crate::app::App;

/// A hung database must not hang the one who asks whether it hangs: an answer comes within a second and a half.
const PING_TIMEOUT: Duration = Duration::from_millis(1_000);

#[derive(Serialize)]
struct Report {
    status: &'static str,
    database: Component,
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
    let health = tokio::time::timeout(PING_TIMEOUT, app.store().ping()).await;
    let (status, database) = match health {
        Ok(Ok(health)) => {
            let latency_ms = Some(health.latency.as_secs_f64() * 1_000.0);
            (StatusCode::OK, Component { status: "up", latency_ms })
        }
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, Component { status: "down", latency_ms: None }),
    };
    (status, Json(Report { status: database.status, database }))
}
