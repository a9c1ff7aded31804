//! What is asked before anything is done: whether what is pending is safe where the database is in use, and whether what
//! is to be rolled back can be.

use sea_orm_migration::{DbErr, sea_orm::ConnectionTrait};

use super::{
    Database, Direction, MigrateError, Standing, fault,
    lint::{OneWay, lint_pending, record},
};

/// Goes no further if the lint finds something in what is to be applied, and there is somebody whom it could hurt.
pub(super) async fn judge(database: &Database, pending: &[String]) -> Result<(), MigrateError> {
    if pending.is_empty() || database.options().despite_lint || !is_in_use(database).await? {
        return Ok(());
    }
    let report = lint_pending(database.migrations(), pending).await;
    if report.is_clean() { Ok(()) } else { Err(MigrateError::Unsafe { report: Box::new(report) }) }
}

/// Which of these cannot be rolled back, and why not.
///
/// # Errors
/// If there are any, and they are not to be forgotten instead.
pub(super) async fn one_way(database: &Database, names: &[String]) -> Result<Vec<String>, MigrateError> {
    let mut irreversible = Vec::new();
    for name in names {
        irreversible.extend(way_back(database, name).await.map(|OneWay { reason, .. }| (name.clone(), reason)));
    }
    if irreversible.is_empty() || database.options().forget_irreversible {
        return Ok(irreversible.into_iter().map(|(name, _)| name).collect());
    }
    Err(MigrateError::Irreversible { irreversible })
}

/// Says of each whether it cannot be rolled back.
pub(super) async fn explain(database: &Database, standings: &mut [Standing]) {
    for standing in standings {
        let one_way = way_back(database, &standing.name).await.filter(|one_way| one_way.is_declared);
        standing.irreversible = one_way.map(|one_way| one_way.reason);
    }
}

/// Its way back says so itself, when it is gone where it leads nowhere.
async fn way_back(database: &Database, name: &str) -> Option<OneWay> {
    let migration = database.migrations().iter().find(|migration| migration.name() == name)?;
    record(&**migration, Direction::Down, database.get_database_backend()).await.one_way
}

/// Whether there are tables in it, whoever made them, other than those that migrations are kept account of in.
async fn is_in_use(database: &Database) -> Result<bool, MigrateError> {
    loop {
        match holds_tables(database).await {
            Err(error) if fault::is_contended(&error) => database.go_on()?,
            outcome => return outcome.map_err(MigrateError::History),
        }
    }
}

/// As [`is_in_use`], and not patient.
pub(super) async fn holds_tables(database: &Database) -> Result<bool, DbErr> {
    Ok(database.query_one_raw(database.tables().others()).await?.is_some())
}
