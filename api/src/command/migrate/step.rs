//! Takes migrations, one after the other, while the lock is held.

use std::time::{Duration, Instant};

use migration::{MigrationTrait, backfill, is_in_transaction};
use sea_orm_migration::{
    DbErr, SchemaManager,
    sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend},
};

use super::{
    Cancelled, Database, Direction, MigrateError, Standing, Status, Step, StepStatus,
    checksum::checksum,
    fault,
    lock::Lock,
    log::{self, Action},
    pace::Pacer,
    standing::rows_of,
};

/// Why a step was not taken.
enum Fault {
    /// Somebody else has the lock.
    Lost,
    /// Somebody asked for the end, and it did not come by cancelling a statement.
    Stopped,
    Database(DbErr),
}

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

/// Who takes the steps: the holder of the lock.
pub(super) struct Runner<'a> {
    pub(super) database: &'a Database,
    pub(super) lock: &'a Lock,
}

impl Runner<'_> {
    /// Takes one step after the other, tells how long each took, and stops between two of them when asked to.
    pub(super) async fn take(
        &self,
        direction: Direction,
        names: Vec<String>,
        steps: &mut Vec<Step>,
    ) -> Result<(), MigrateError> {
        let count = names.len();
        for name in names {
            if let Some(signal) = self.database.asked_to_end() {
                return Err(MigrateError::Ended { signal, completed: std::mem::take(steps), cancelled: None });
            }
            let found = self.database.migrations().iter().find(|migration| migration.name() == name);
            let Some(migration) = found else { continue };
            tracing::debug!(name, "a migration begins");
            let start = Instant::now();
            let undone = is_in_transaction(&**migration, self.database.get_database_backend());
            let outcome = tokio::select! {
                outcome = self.patiently(&**migration, direction) => outcome,
                () = self.lock.lost(undone) => Err(Fault::Lost),
                () = self.database.stopped() => Err(Fault::Stopped),
            };
            let outcome = match outcome {
                Err(Fault::Stopped) if self.is_done_all_the_same(&name, direction).await => Ok(()),
                outcome => outcome,
            };
            if let Err(fault) = outcome {
                let completed = std::mem::take(steps);
                let rows = if undone { None } else { rows_of(self.database, &name, direction).await };
                return Err(match (self.database.asked_to_end(), fault) {
                    (Some(signal), _) => {
                        MigrateError::Ended { signal, completed, cancelled: Some(Cancelled { name, undone, rows }) }
                    }
                    (None, Fault::Lost | Fault::Stopped) => {
                        self.database.cancel_now().await;
                        MigrateError::LockLost { name, completed }
                    }
                    (None, Fault::Database(source)) if undone && fault::is_contended(&source) => {
                        let attempts = self.database.options().attempts;
                        MigrateError::Contended { name, direction, attempts, completed, source }
                    }
                    (None, Fault::Database(source)) => {
                        MigrateError::Step { name, direction, completed, undone, source }
                    }
                });
            }
            let status = match direction {
                Direction::Up => StepStatus::Applied,
                Direction::Down => StepStatus::RolledBack,
            };
            steps.push(Step { name, direction, duration_ms: millis(start), status });
        }
        match direction {
            Direction::Up => tracing::info!(count, "migrations applied"),
            Direction::Down => tracing::info!(count, "migrations rolled back"),
        }
        Ok(())
    }

    /// Takes a step; again, after growing pauses, when others keep it from what it needs. So they wait behind it for a
    /// moment at a time only.
    async fn patiently(&self, migration: &dyn MigrationTrait, direction: Direction) -> Result<(), Fault> {
        const FIRST: Duration = Duration::from_millis(100);
        const LONGEST: Duration = Duration::from_secs(5);

        let (name, database) = (migration.name(), self.database);
        let has_transaction = is_in_transaction(migration, database.get_database_backend());
        let mut attempt = 1;
        loop {
            let outcome = match self.lock.begin(name, direction).await {
                Ok(false) => Err(Fault::Lost),
                Ok(true) if has_transaction => self.in_transaction(migration, direction).await,
                Ok(true) => return self.bare(migration, direction).await,
                Err(error) => Err(error.into()),
            };
            match outcome {
                Err(Fault::Database(error))
                    if fault::is_contended(&error)
                        && attempt < database.options().attempts
                        && database.asked_to_end().is_none() =>
                {
                    tracing::info!(name, attempt, %error, "others are in the way of a migration: it is tried again");
                    let pause = FIRST.saturating_mul(1 << attempt.min(10)).min(LONGEST);
                    database.pause(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// All of it or nothing, and nothing if the lock is not held any more.
    async fn in_transaction(&self, migration: &dyn MigrationTrait, direction: Direction) -> Result<(), Fault> {
        let start = Instant::now();
        let transaction = self.database.transaction().await?;
        go(migration, direction, &SchemaManager::new(&transaction)).await?;
        self.conclude(transaction, migration.name(), direction, millis(start)).await
    }

    /// Without a transaction: that it is under way is written down before, because nobody could tell afterwards.
    async fn bare(&self, migration: &dyn MigrationTrait, direction: Direction) -> Result<(), Fault> {
        let start = Instant::now();
        let (name, tables) = (migration.name(), self.database.tables());
        let action = Action::Step(direction);
        log::write(tables, &**self.database, name, (action, false), self.checksum(name), 0).await?;
        let pacer = Pacer::new(name, self.database.options(), self.lock.fencer(), self.database.limit());
        let schema = SchemaManager::new(&**self.database);
        let gone = backfill::driven(pacer.clone(), go(migration, direction, &schema)).await;
        if pacer.is_lost() {
            return Err(Fault::Lost);
        }
        gone?;
        let transaction = self.database.transaction().await?;
        if pacer.is_engaged() {
            backfill::forget(&transaction, name).await?;
        }
        self.conclude(transaction, name, direction, millis(start)).await
    }

    async fn conclude(
        &self,
        transaction: DatabaseTransaction,
        name: &str,
        direction: Direction,
        duration_ms: u64,
    ) -> Result<(), Fault> {
        let tables = self.database.tables();
        log::write_history(tables, &transaction, name, direction).await?;
        let action = Action::Step(direction);
        log::write(tables, &transaction, name, (action, true), self.checksum(name), duration_ms).await?;
        self.commit(transaction).await
    }

    /// Commits, if the lock is still held.
    async fn commit(&self, transaction: DatabaseTransaction) -> Result<(), Fault> {
        if !self.lock.fence(&transaction).await? {
            transaction.rollback().await?;
            return Err(Fault::Lost);
        }
        Ok(transaction.commit().await?)
    }

    /// Whether a migration that was stopped had come to its end.
    async fn is_done_all_the_same(&self, name: &str, direction: Direction) -> bool {
        // Answered only after what was under way on that connection has been undone.
        let _cancelled_too = self.database.ping().await;
        let sql = "SELECT version FROM {history} WHERE version = $1";
        let statement = self.database.tables().statement(sql, [name.into()]);
        let found = self.database.beside().query_one_raw(statement).await;
        found.is_ok_and(|found| found.is_some() == (direction == Direction::Up))
    }

    fn checksum(&self, name: &str) -> Option<String> {
        self.database.source(name).as_ref().map(checksum)
    }

    /// Enters what is so without our doing: migrations that another program applied, as they are now.
    pub(super) async fn adopt(&self, standings: &[Standing]) -> Result<(), DbErr> {
        let adopted = unrecorded(standings).map(|standing| standing.name.as_str());
        self.enter(Action::Adopt, &adopted.collect::<Vec<_>>()).await
    }

    /// Takes a migration out of the history, and leaves what it has done.
    pub(super) async fn forget(&self, name: String, steps: &mut Vec<Step>) -> Result<(), MigrateError> {
        let start = Instant::now();
        let (tables, direction) = (self.database.tables(), Direction::Down);
        let forgotten = async {
            let transaction = self.database.transaction().await?;
            log::write_history(tables, &transaction, &name, direction).await?;
            log::write(tables, &transaction, &name, (Action::Forget, true), self.checksum(&name), 0).await?;
            self.commit(transaction).await
        };
        match forgotten.await {
            Ok(()) => {
                tracing::warn!(name, "a migration is forgotten, and what it had done stays");
                steps.push(Step { name, direction, duration_ms: millis(start), status: StepStatus::Forgotten });
                Ok(())
            }
            Err(Fault::Database(source)) => {
                Err(MigrateError::Step { name, direction, completed: std::mem::take(steps), undone: true, source })
            }
            Err(Fault::Lost | Fault::Stopped) => Err(MigrateError::LockLost { name, completed: std::mem::take(steps) }),
        }
    }

    pub(super) async fn enter(&self, action: Action, names: &[&str]) -> Result<(), DbErr> {
        if names.is_empty() {
            return Ok(());
        }
        let transaction = self.database.transaction().await?;
        for name in names {
            let checksum = self.checksum(name);
            if action == Action::Baseline {
                log::write_history(self.database.tables(), &transaction, name, Direction::Up).await?;
            }
            log::write(self.database.tables(), &transaction, name, (action, true), checksum, 0).await?;
        }
        match self.commit(transaction).await {
            Ok(()) => Ok(()),
            Err(Fault::Database(error)) => Err(error),
            // Whoever has the lock enters it.
            Err(Fault::Lost | Fault::Stopped) => Ok(()),
        }
    }
}

/// Those that are applied, of which nobody wrote down how.
pub(super) fn unrecorded(standings: &[Standing]) -> impl Iterator<Item = &Standing> {
    standings.iter().filter(|one| one.status == Status::Applied && one.record.is_none() && one.problem.is_none())
}

async fn go(migration: &dyn MigrationTrait, direction: Direction, schema: &SchemaManager<'_>) -> Result<(), DbErr> {
    match direction {
        Direction::Up => migration.up(schema).await,
        Direction::Down => migration.down(schema).await,
    }
}

/// Begins a transaction, with limits of its own.
pub(super) async fn begin(database: &DatabaseConnection, limits: Option<&str>) -> Result<DatabaseTransaction, DbErr> {
    let transaction = backfill::begin(database).await?;
    if let Some(limits) = limits {
        transaction.execute_unprepared(limits).await?;
    }
    Ok(transaction)
}

fn millis(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Database {
    /// A transaction in which nothing waits or works for ever.
    async fn transaction(&self) -> Result<DatabaseTransaction, DbErr> {
        begin(self, self.limit().as_deref()).await
    }

    /// What says, in a transaction, how long things may take there: behind a pooler the session is not ours.
    fn limit(&self) -> Option<String> {
        let limits = || self.limits().map(|(name, limit)| format!("SET LOCAL {name} = '{limit}';")).concat();
        (self.get_database_backend() == DbBackend::Postgres).then(limits)
    }

    /// Returns when somebody has asked for the end, and a moment later nothing had ended by that its statement was
    /// cancelled: there are others after it.
    async fn stopped(&self) {
        const LOOK: Duration = Duration::from_millis(50);
        const MOMENT: Duration = Duration::from_millis(300);
        while self.asked_to_end().is_none() {
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(MOMENT).await;
    }

    /// Waits, but not longer than until somebody asks for the end.
    async fn pause(&self, pause: Duration) {
        const LOOK: Duration = Duration::from_millis(50);
        let until = Instant::now() + pause;
        while self.asked_to_end().is_none() && Instant::now() < until {
            tokio::time::sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
        }
    }
}
