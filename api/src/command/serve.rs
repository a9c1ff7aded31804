//! `serve`: answers requests until told to stop, and then lets those that are under way end.

use std::io;

use tokio::net::TcpListener;

use super::CommandError;
use crate::{app::App, config::Config, server, wiring};

/// Serves until SIGTERM or SIGINT, then closes everything.
///
/// # Errors
/// If the database cannot be reached or waits for migrations, or nothing can be listened on.
pub async fn serve(config: &Config) -> Result<(), CommandError> {
    // Heard from here on, so that a signal during the start is not the end of the process in the middle of something.
    let stop = stop_signal()?;
    let key = config.secret_key().map_err(|error| CommandError::Config(crate::config::ConfigErrors(vec![error])))?;
    let store = wiring::store(config).await?;
    wiring::prepare_schema(config).await?;

    let address = config.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| CommandError::Listen { address, source })?;
    let address = listener.local_addr()?;
    let app = App::new(store.clone(), key.reveal().as_bytes(), wiring::limits(config));
    tracing::info!("listening on http://{address}");
    let served = server::serve(app, listener, stop).await;
    store.close().await;
    Ok(served?)
}

#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
