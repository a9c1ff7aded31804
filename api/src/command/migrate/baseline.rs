//! Takes a database that came to its schema otherwise, such as from a dump, for one that migrations made.

use super::{
    Database, Drift, MigrateError, Status, alone,
    drift::{expected, present},
    log::Action,
    names, position, status,
};
use crate::schema::{Part, differences};

/// Marks a database without a history as having all migrations up to a version, if its schema is what they make; tells
/// their names. What roles may do is not compared.
///
/// # Errors
///
/// If no migration is called that, the database has a history, or its schema is another one: then nothing is written.
pub async fn baseline(database: &Database, version: &str) -> Result<Vec<String>, MigrateError> {
    let standings = status(database).await?;
    if let Some(version) = names(Status::Applied, &standings).pop() {
        return Err(MigrateError::HasHistory { version });
    }
    let all = standings.iter().map(|standing| standing.name.as_str()).collect::<Vec<_>>();
    let marked = all.iter().take(position(&all, version)? + 1).map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let Some(version) = marked.last().cloned() else { return Ok(Vec::new()) };
    let expected = expected(database, marked.iter().cloned().collect()).await?;
    let compare = async || {
        let mut differences = differences(&expected, &present(database).await?);
        differences.retain(|difference| !matches!(difference.part, Part::Grant(..)));
        match differences.is_empty() {
            true => Ok(()),
            false => Err(MigrateError::Drifted(Drift { version: version.clone(), differences })),
        }
    };
    compare().await?;
    alone(database, async |runner, _| {
        // Somebody else may have been here, and waited for.
        if let Some(version) = names(Status::Applied, &status(database).await?).pop() {
            return Err(MigrateError::HasHistory { version });
        }
        compare().await?;
        let names = marked.iter().map(String::as_str).collect::<Vec<_>>();
        runner.enter(Action::Baseline, &names).await.map_err(MigrateError::History)
    })
    .await?;
    // Whoever has lost the lock has written nothing.
    match names(Status::Applied, &status(database).await?) == marked {
        true => Ok(marked),
        false => Err(MigrateError::LockLost { name: version, completed: Vec::new() }),
    }
}
