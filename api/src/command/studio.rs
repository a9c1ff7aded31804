//! `studio`: pages about the data, for who sits at this machine.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;

use super::{CommandError, signal};
use crate::{config::Config, studio, wiring};

/// How it is asked for.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct StudioOptions {
    /// The port of 127.0.0.1 to serve it on
    #[arg(long, default_value_t = 8090)]
    pub port: u16,
}

/// Serves the pages until SIGTERM or SIGINT. They change nothing, and only this machine gets at them: there is no log-in.
///
/// # Errors
/// If the database cannot be reached, or the port cannot be listened on.
pub async fn serve(options: &StudioOptions, config: &Config) -> Result<(), CommandError> {
    let asked_to_end = signal::heard()?;
    let store = wiring::store(config).await?;
    let documents = wiring::documents(config, &store);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let remedy = "Name a free port by --port.";
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|source| CommandError::Listen { address, remedy, source })?;
    let address = listener.local_addr()?;
    tracing::info!("listening on http://{address}");
    let shutdown = async {
        asked_to_end.await;
    };
    let served = axum::serve(listener, studio::router(documents.clone())).with_graceful_shutdown(shutdown).await;
    documents.close().await;
    store.close().await;
    Ok(served?)
}
