//! `serve`: answers requests until told to stop, and then lets those that are under way end.

use domain::{Pooler, document::DocumentStore};
use tokio::net::TcpListener;

use super::{CommandError, migrate::prepare_schema, roles, signal};
use crate::{app::App, config::Config, server, wiring};

/// Serves until SIGTERM or SIGINT, then closes everything.
///
/// # Errors
/// If the database cannot be reached, or as a role that may do too much in production, or only by a pooler that it does not work with, or waits for migrations, or nothing can be listened on.
pub async fn serve(config: &Config) -> Result<(), CommandError> {
    // Heard from here on, so that a signal during the start is not the end of the process in the middle of something.
    let asked_to_end = signal::heard()?;
    let key = config.secret_key().map_err(|error| CommandError::Config(crate::config::ConfigErrors(vec![error])))?;
    let connected = wiring::store(config).await;
    // Also when it could not be connected: then this may be why.
    if let Some(remedy) = wiring::pooler(config).await.ok().and_then(Pooler::remedy) {
        return Err(CommandError::Pooler { remedy });
    }
    let store = connected?;
    roles::keep_from_serving(config).await?;
    prepare_schema(config).await?;
    let store = wiring::delivering(wiring::cached(store, config).await?, config);

    let address = config.listen;
    let remedy = "Set LISTEN to an address of this machine and a free port.";
    let bound = TcpListener::bind(address).await;
    let listener = bound.map_err(|source| CommandError::Listen { address, remedy, source })?;
    let address = listener.local_addr()?;
    tokio::spawn(meet_documents(store.documents()?.clone(), config.clone()));
    let limits = wiring::limits(config);
    let app = App::new(store.clone(), key.reveal().as_bytes(), limits);
    tracing::info!("listening on http://{address}");
    let shutdown = async {
        asked_to_end.await;
    };
    let served = server::serve(app, listener, shutdown).await;
    store.flush(limits.drain_timeout).await;
    store.close().await;
    Ok(served?)
}

/// The service starts without its documents, which may be in another server; nobody has to be the first to wait for that.
async fn meet_documents(documents: DocumentStore, config: Config) {
    let met = match (wiring::may_prepare_documents(&config), &config.migration.database_url) {
        (false, _) => documents.ping().await,
        (true, None) => documents.prepare().await,
        (true, Some(_)) => return wiring::prepare_documents(&config.migrating()).await,
    };
    if let Err(error) = met {
        tracing::warn!(%error, "the documents are not ready: `seabed doctor` says more");
    }
}
