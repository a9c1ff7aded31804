//! Drives the backfills of a migration: how fast they go, that they end with the lock, and that it is shown how far they
//! are.

use std::{
    io::{self, IsTerminal},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use migration::backfill::{Driver, Progress};
use sea_orm_migration::{
    DbErr,
    sea_orm::{DatabaseConnection, DatabaseTransaction},
};
use serde::Serialize;

use super::{Options, lock::Fence, step};
use crate::command::output;

/// The driver of one migration.
pub(super) struct Pacer {
    fence: Fence,
    /// What the server keeps to in each transaction.
    limits: Option<String>,
    rows: Option<u32>,
    pause: f64,
    is_engaged: AtomicBool,
    is_lost: AtomicBool,
    meter: Mutex<Meter>,
}

/// Shows how far a backfill is: as a bar on a terminal, as a line of JSON a second elsewhere, and else in the log.
struct Meter {
    migration: String,
    is_shown: bool,
    bar: Option<ProgressBar>,
    /// When it began, how many rows were done by then, and when it was last told.
    began: Option<(Instant, i64, Instant)>,
}

#[derive(Serialize)]
struct Line<'a> {
    migration: &'a str,
    rows: i64,
    about: Option<i64>,
    rows_per_second: u64,
}

impl Pacer {
    pub(super) fn new(migration: &str, options: &Options, fence: Fence, limits: Option<String>) -> Arc<Self> {
        let migration = migration.to_owned();
        let meter = Meter { migration, is_shown: options.shows_progress, bar: None, began: None };
        Arc::new(Self {
            fence,
            limits,
            rows: options.batch_rows,
            pause: options.pause(),
            is_engaged: AtomicBool::new(false),
            is_lost: AtomicBool::new(false),
            meter: Mutex::new(meter),
        })
    }

    /// Whether there was a backfill.
    pub(super) fn is_engaged(&self) -> bool {
        self.is_engaged.load(Ordering::Relaxed)
    }

    /// Whether a batch was not committed because others have the lock.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl Driver for Pacer {
    fn engage(&self) -> Result<(), DbErr> {
        if self.is_engaged.swap(true, Ordering::Relaxed) {
            let says = "one migration can change the rows of one table in batches: put the others into their own";
            return Err(DbErr::Migration(says.to_owned()));
        }
        Ok(())
    }

    async fn begin(&self, database: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
        step::begin(database, self.limits.as_deref()).await
    }

    async fn permit(&self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        if self.fence.hold(transaction).await? {
            return Ok(());
        }
        self.is_lost.store(true, Ordering::Relaxed);
        Err(DbErr::Custom("another migrator has the lock".to_owned()))
    }

    fn tell(&self, progress: Progress) {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner).show(progress);
    }

    fn rows(&self) -> Option<u32> {
        self.rows
    }

    fn pause(&self) -> f64 {
        self.pause
    }
}

impl Meter {
    fn show(&mut self, Progress { rows, about, is_resumed }: Progress) {
        const EVERY: Duration = Duration::from_secs(1);
        const SELDOM: Duration = Duration::from_secs(10);

        let now = Instant::now();
        let Some((start, before, told)) = self.began else {
            self.began = Some((now, rows, now));
            tracing::debug!(migration = self.migration, rows, about, is_resumed, "rows are changed in batches");
            if self.is_shown && io::stderr().is_terminal() {
                let length = about.and_then(|about| u64::try_from(about).ok());
                let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new).with_style(style());
                self.bar =
                    Some(bar.with_position(u64::try_from(rows).unwrap_or(0)).with_message(self.migration.clone()));
            }
            return;
        };
        if let Some(bar) = &self.bar {
            bar.set_position(u64::try_from(rows).unwrap_or(0));
            return;
        }
        if now.duration_since(told) < if self.is_shown { EVERY } else { SELDOM } {
            return;
        }
        self.began = Some((start, before, now));
        let seconds = start.elapsed().as_secs_f64().max(0.001);
        let rows_per_second = ((rows - before) as f64 / seconds) as u64;
        let migration = self.migration.as_str();
        if self.is_shown {
            output::print_line(&Line { migration, rows, about, rows_per_second });
        } else {
            tracing::info!(migration, rows, about, rows_per_second, "rows are changed in batches");
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style() -> ProgressStyle {
    let style =
        ProgressStyle::with_template("{msg} {wide_bar} {human_pos} of about {human_len} rows, {per_sec}, {eta} left");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}
