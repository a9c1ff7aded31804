//! What becomes of the schema when the service starts.

use std::time::SystemTime;

use domain::{Clock, SystemClock};

use super::{
    Authority, Database, MigrateError, Options, Problem, Standing, Status, connect, connection::Place,
    gate::holds_tables, problems, refusal, refuse, status, up,
};
use crate::{
    command::CommandError,
    config::{Config, MigrateOnStart},
};

/// Sees to it that the schema is there: an empty embedded database is migrated, and any other if that is configured.
///
/// # Errors
/// If migrations are pending that must not be run now, or one fails.
pub async fn prepare_schema(config: &Config) -> Result<(), CommandError> {
    let database = connect(config.database.url.reveal(), &Options::of(config)).await?;
    let prepared = prepare(config, &database).await;
    database.close().await;
    prepared
}

async fn prepare(config: &Config, database: &Database) -> Result<(), CommandError> {
    // First, because another process that starts may be making both at this moment.
    let is_foreign = config.database.is_embedded() && holds_tables(database).await.map_err(MigrateError::History)?;
    let standings = status(database).await?;
    refuse(&standings, |problem| matches!(problem, Problem::Missing | Problem::Duplicate { .. }))?;
    for (name, problem) in problems(&standings) {
        tracing::warn!("{name} {problem}");
    }
    let pending = || standings.iter().filter(|standing| standing.status == Status::Pending);
    let Some(Standing { name: first, .. }) = pending().next() else { return Ok(()) };
    let count = pending().count();
    if !may_migrate(config, &standings) {
        return Err(CommandError::PendingMigrations { count, first: first.clone() });
    }
    if is_foreign && count == standings.len() {
        return Err(CommandError::ForeignDatabase);
    }
    // A file without tables is made, and so far there is nothing in it that anybody could spoil.
    let is_new = config.database.is_embedded() && count == standings.len();
    let steps = if is_new { up(database, None).await? } else { go_up(config).await? };
    tracing::info!(database = %config.database.url, migrations = steps.len(), "the schema was made");
    Ok(())
}

/// Migrates as who may.
async fn go_up(config: &Config) -> Result<Vec<super::Step>, MigrateError> {
    let options = Options::of(config);
    let url = config.migrating().database.url;
    let (place, service) = (Place::read(url.reveal())?, Place::read(config.database.url.reveal())?);
    let now = SystemTime::from(SystemClock.now().utc());
    if let Err(error) = Authority::of(config).permit("up", (&place, &service), &options, now) {
        refusal::record(service, &options, "up", &error).await;
        return Err(error);
    }
    let database = place.open(&options).await?;
    let steps = up(&database, None).await;
    database.close().await;
    steps
}

/// Whether the service may run what is pending when it starts.
pub(crate) fn may_migrate(config: &Config, standings: &[Standing]) -> bool {
    match config.migrate_on_start {
        MigrateOnStart::Always => true,
        MigrateOnStart::Never => false,
        MigrateOnStart::Auto => {
            config.database.is_embedded() && standings.iter().all(|standing| standing.status == Status::Pending)
        }
    }
}
