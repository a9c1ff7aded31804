//! Connections: taking them, bounding them, and letting them end.

use std::{future::Future, io, time::Duration};

use axum::{Router, extract::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::{app::App, edge::Edge, health, metrics, openapi, route};

/// How long the headers of a request may take to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// What is read of a request before its headers must be complete; a little more than the edge allows, so that the edge
/// can answer what is only slightly too long.
const HEADER_BUFFER: usize = 32 * 1024;
/// How long to wait after the system could not hand over a connection, such as when all file handles are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// All routes of the application.
pub fn router(app: App) -> Router {
    // Of two routers that are merged, the second answers for unknown paths: those are within the limits too.
    let about_us = health::routes().merge(metrics::routes()).layer(Edge::without_limits(app.clone()));
    about_us.merge(openapi::described(route::routes()).layer(Edge::with_limits(app.clone()))).with_state(app)
}

/// Serves until `shutdown` is done; then takes no new connections and lets requests under way end, for as long as the
/// drain timeout allows. HTTP/1.1 only: what speaks HTTP/2 stands in front, together with TLS.
///
/// # Errors
/// None at present: a connection that fails concerns nobody else.
pub async fn serve(app: App, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> io::Result<()> {
    let drain_timeout = app.limits().drain_timeout;
    let router = router(app.clone());
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        // Answers are small and complete: waiting to fill a packet only delays them.
        let _unsupported = stream.set_nodelay(true);
        let service = TowerToHyperService::new(
            router.clone().map_request(|request: Request<Incoming>| request.map(axum::body::Body::new)),
        );
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(HEADER_BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    app.end();
    if tokio::time::timeout(drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the drain timeout ended");
    }
    Ok(())
}
