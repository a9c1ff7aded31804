//! `audit`: the trail of who changed what.

use domain::Verification;

use super::CommandError;
use crate::{config::Config, wiring};

/// The verbs.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub enum AuditCommand {
    /// Read the whole audit trail; ends with 1 if entries were edited, moved, inserted or deleted, and says which
    Verify,
}

/// Reads the whole audit trail.
///
/// # Errors
/// If the database or the documents cannot be read.
pub async fn verify(config: &Config) -> Result<Verification, CommandError> {
    let store = wiring::store(config).await?;
    let verified = store.verify_audit(wiring::documents(config, &store).as_ref()).await;
    store.close().await;
    Ok(verified?)
}
