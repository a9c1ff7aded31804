//! How migrations are run.

use std::time::Duration;

use migration::{MigrationTrait, Migrator, MigratorTrait, Source, backfill::BACKFILLS, source};
use sea_orm_migration::sea_orm::DbBackend;

use crate::config::Config;

/// How migrations are run, and which.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long opening the database may take.
    pub connect_timeout: Duration,
    /// The table that lists the applied ones. Tables of ours beside it are called `_<table>_lock`, `_<table>_log`
    /// and `_<table>_refusals`.
    pub table: String,
    /// How long a statement may wait for what others hold: as long, they wait behind it.
    pub lock_timeout: Duration,
    /// How long a statement may take.
    pub statement_timeout: Duration,
    /// How often a migration is tried that others keep from what it needs.
    pub attempts: u32,
    /// How long the lock holds after its holder was last heard of.
    pub lease: Duration,
    /// How long to wait for another migrator.
    pub wait: Duration,
    /// How many rows a batch of a backfill has, if it is not as its migration says.
    pub batch_rows: Option<u32>,
    /// How much of the time batches are worked on, in percent.
    pub batch_share: u32,
    /// Whether it is shown how far a backfill is; it is logged from time to time otherwise.
    pub shows_progress: bool,
    /// Whether what is pending is applied in spite of what the lint finds.
    pub despite_lint: bool,
    /// Whether, on the way down, what cannot be undone is left as it is and taken out of the history; it is refused
    /// otherwise.
    pub forget_irreversible: bool,
    /// The migrations.
    pub program: Program,
}

/// The migrations that a program has.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// In their order.
    pub migrations: fn() -> Vec<Box<dyn MigrationTrait>>,
    /// What each is written as, if that is known.
    pub source: fn(&str, DbBackend) -> Option<Source>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(30),
            table: "seaql_migrations".to_owned(),
            lock_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(3_600),
            attempts: 10,
            lease: Duration::from_secs(10),
            wait: Duration::from_secs(600),
            batch_rows: None,
            batch_share: 33,
            shows_progress: false,
            despite_lint: false,
            forget_irreversible: false,
            program: Program { migrations: Migrator::migrations, source },
        }
    }
}

/// The tables that migrations are kept account of in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// Those that only migrators write.
    pub(crate) migrators: [String; 4],
    /// The one that whoever is refused is added to.
    pub(crate) refusals: String,
}

impl Options {
    /// The tables that migrations are kept account of in.
    pub(crate) fn accounts(&self) -> Accounts {
        let migrators = [self.table.clone(), self.lock_table(), self.log_table(), BACKFILLS.to_owned()];
        Accounts { migrators, refusals: self.refusals_table() }
    }

    /// As it is configured.
    pub fn of(config: &Config) -> Self {
        let migration = &config.migration;
        Self {
            connect_timeout: config.database.connect_timeout,
            table: migration.table.clone(),
            lock_timeout: migration.lock_timeout,
            statement_timeout: migration.statement_timeout,
            attempts: migration.attempts,
            lease: migration.lease,
            wait: migration.wait,
            batch_rows: Some(migration.batch_rows).filter(|rows| *rows > 0),
            batch_share: migration.batch_share,
            ..Self::default()
        }
    }

    /// How long to pause after a batch, as a multiple of the time that it took.
    pub(super) fn pause(&self) -> f64 {
        let share = f64::from(self.batch_share.clamp(1, 100));
        (100.0 - share) / share
    }

    /// The table with the lock.
    pub(super) fn lock_table(&self) -> String {
        format!("_{}_lock", self.table)
    }

    /// The table with what was done.
    pub(super) fn log_table(&self) -> String {
        format!("_{}_log", self.table)
    }

    /// The table with who was refused.
    pub(super) fn refusals_table(&self) -> String {
        format!("_{}_refusals", self.table)
    }
}
