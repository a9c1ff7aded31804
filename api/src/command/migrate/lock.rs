//! The lock that keeps migrators apart: a row that its holder renews, and that others may take once it has run out.
//!
//! A row, because the locks of PostgreSQL itself are a session's, which is another one with every transaction behind a
//! pooler, and SQLite has none. That the row has run out does not keep its holder from going on, so every migration
//! [ends](Lock::fence) with the question, in its own transaction, whether the lock is still held; and who takes it from
//! another first ends what that one's session still does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm_migration::{
    DbErr,
    sea_orm::{self, ConnectionTrait, DatabaseConnection, DbBackend, FromQueryResult},
};
use tokio::{sync::watch, task::JoinHandle};

use super::{Database, Direction, MigrateError, fault, tables::Tables, who::who};

const TAKE: &str = "
    INSERT INTO {lock} (id, holder, os_user, host, program, since, until, lease)
    VALUES (1, $1, $2, $3, $4, {now}, {now} + $5, $5)
    ON CONFLICT (id) DO UPDATE SET holder = excluded.holder, os_user = excluded.os_user, host = excluded.host,
        program = excluded.program, migration = NULL, action = NULL, since = excluded.since, until = excluded.until,
        lease = excluded.lease
    WHERE {lock}.holder IS NULL OR ({lock}.holder = $6 AND {lock}.until = $7 AND {lock}.until < {now})";
const LOOK: &str = "SELECT coalesce(holder, '') AS holder, os_user, host, program, migration, action, since, until, lease, \
                    until >= {now} AS is_held FROM {lock} WHERE holder IS NOT NULL OR migration IS NOT NULL";
const RENEW: &str = "UPDATE {lock} SET until = {now} + $2 WHERE id = 1 AND holder = $1";
const BEGIN: &str =
    "UPDATE {lock} SET until = {now} + $2, since = {now}, migration = $3, action = $4 WHERE id = 1 AND holder = $1";
const FENCE: &str =
    "UPDATE {lock} SET until = {now} + $2, migration = NULL, action = NULL WHERE id = 1 AND holder = $1";
/// What was under way, if it has not come to its end, stays to be read by `status`.
const RELEASE: &str = "UPDATE {lock} SET holder = NULL, until = 0 WHERE id = 1 AND holder = $1";

/// How often is looked whether it is free.
const PAUSE: Duration = Duration::from_millis(100);

/// Who holds the lock, and what for.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub(super) struct Holder {
    pub(super) holder: String,
    pub(super) os_user: String,
    pub(super) host: String,
    pub(super) program: String,
    pub(super) migration: Option<String>,
    pub(super) action: Option<String>,
    pub(super) since: i64,
    pub(super) until: i64,
    pub(super) lease: i64,
    pub(super) is_held: bool,
}

/// The lock, held: renewed until it is [released](Self::release).
pub(super) struct Lock {
    row: Arc<Row>,
    renewal: JoinHandle<()>,
}

/// The question whether the lock is still held, for those who do not hold it themselves.
pub(super) struct Fence(Arc<Row>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was last renewed at that time.
    Held(Instant),
    /// It could not be renewed in time: others may have it.
    Overdue,
    /// Others have it.
    Lost,
}

struct Row {
    connection: DatabaseConnection,
    tables: Tables,
    holder: String,
    lease: Duration,
    state: watch::Sender<State>,
}

/// Whoever holds the lock, or did when their process ended.
pub(super) async fn holder(database: &Database) -> Result<Option<Holder>, DbErr> {
    let rows = database.tables().rows(database, "{lock}", LOOK).await?;
    rows.first().map(|row| Holder::from_query_result(row, "")).transpose()
}

impl Lock {
    /// Waits until nobody else holds it.
    ///
    /// # Errors
    /// If somebody asks for the end meanwhile, if it takes too long, or if the table cannot be made or written.
    pub(super) async fn take(database: &Database) -> Result<Self, MigrateError> {
        let row = Arc::new(Row {
            connection: database.beside().clone(),
            tables: database.tables().clone(),
            holder: database.called().to_owned(),
            lease: database.options().lease,
            state: watch::Sender::new(State::Held(Instant::now())),
        });
        let predecessor = row.wait(database).await?;
        let renewal = tokio::spawn(renew(Arc::clone(&row)));
        let lock = Self { row, renewal };
        if let Some(predecessor) = predecessor {
            tracing::warn!(host = predecessor.host, "a migrator was not heard of any more: its lock was taken over");
            if let Err(error) = database.end_session(&predecessor.holder).await {
                lock.release().await;
                return Err(error);
            }
        }
        Ok(lock)
    }

    /// Says which migration comes next, and asks whether the lock is still held.
    pub(super) async fn begin(&self, name: &str, direction: Direction) -> Result<bool, DbErr> {
        let Row { connection, tables, holder, .. } = &*self.row;
        let sent = Instant::now();
        let values = [holder.into(), self.row.lease().into(), name.into(), direction.word().into()];
        let is_held = tables.execute(connection, BEGIN, values).await? > 0;
        if is_held {
            self.row.is_renewed(sent);
        }
        Ok(is_held)
    }

    /// Asks, in the transaction of a migration, whether the lock is still held. It stays so until that commits.
    pub(super) async fn fence(&self, transaction: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let values = [self.row.holder.as_str().into(), self.row.lease().into()];
        Ok(self.row.tables.execute(transaction, FENCE, values).await? > 0)
    }

    /// For what asks as [`fence`](Self::fence) does, in the midst of a migration.
    pub(super) fn fencer(&self) -> Fence {
        Fence(Arc::clone(&self.row))
    }

    /// Returns when the lock is held no more. Where a transaction [ends](Self::fence) with the question it is enough to
    /// know when others have it; and on SQLite, where nobody can take it, or renew it, while a statement writes.
    pub(super) async fn lost(&self, is_fenced: bool) {
        let is_fenced = is_fenced || self.row.connection.get_database_backend() == DbBackend::Sqlite;
        let mut state = self.row.state.subscribe();
        let lost = |state: &State| *state == State::Lost || *state == State::Overdue && !is_fenced;
        if state.wait_for(lost).await.is_err() {
            // The renewal ends with the lock only.
            std::future::pending::<()>().await;
        }
    }

    /// Lets others have it at once.
    pub(super) async fn release(self) {
        self.renewal.abort();
        let Row { connection, tables, holder, lease, state: _ } = &*self.row;
        let release = tables.execute(connection, RELEASE, [holder.as_str().into()]);
        match tokio::time::timeout(*lease, release).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the lock was not released: it runs out"),
            Err(_) => tracing::debug!("the lock was not released in time: it runs out"),
        }
    }
}

impl Fence {
    /// Asks, in a transaction, whether the lock is still held. It stays so until that commits.
    pub(super) async fn hold(&self, transaction: &impl ConnectionTrait) -> Result<bool, DbErr> {
        let values = [self.0.holder.as_str().into(), self.0.lease().into()];
        Ok(self.0.tables.execute(transaction, RENEW, values).await? > 0)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Row {
    fn lease(&self) -> i64 {
        i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX)
    }

    /// It was held when this was asked, and is for as long again.
    fn is_renewed(&self, sent: Instant) {
        self.state.send_if_modified(|state| {
            // Once it is lost, it stays so.
            let is_other = *state != State::Lost;
            if is_other {
                *state = State::Held(sent);
            }
            is_other
        });
    }

    /// Takes it as soon as it is free, and tells from whom it was taken.
    async fn wait(&self, database: &Database) -> Result<Option<Holder>, MigrateError> {
        let started = Instant::now();
        // Who was seen to have let it run out, and when first.
        let mut seen: Option<(Holder, Instant)> = None;
        let mut is_told = false;
        loop {
            database.go_on()?;
            let sent = Instant::now();
            // A holder that was only kept from renewing it gets the time to.
            let grace = |holder: &Holder| Duration::from_millis(u64::try_from(holder.lease / 3).unwrap_or(0));
            let is_due = |(holder, first): &&(Holder, Instant)| first.elapsed() > grace(holder);
            let expired = seen.as_ref().filter(is_due).map(|(holder, _)| holder.clone());
            match self.try_take(expired.as_ref()).await {
                Ok(true) => {
                    self.is_renewed(sent);
                    return Ok(expired);
                }
                Ok(false) => {
                    let held = holder(database).await.or_else(unless_contended)?;
                    seen = match (seen, held) {
                        (Some((before, first)), Some(now)) if before == now => Some((now, first)),
                        (_, Some(now)) if !now.is_held => Some((now, Instant::now())),
                        (_, Some(now)) => {
                            if !std::mem::replace(&mut is_told, true) {
                                let Holder { os_user, host, migration, .. } = &now;
                                tracing::info!(os_user, host, migration, "waiting for another migrator");
                            }
                            None
                        }
                        (_, None) => None,
                    };
                }
                Err(error) => {
                    unless_contended::<()>(error)?;
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::info!("waiting for the database: others hold it");
                    }
                    seen = None;
                }
            }
            if started.elapsed() > database.options().wait {
                let by = holder(database).await.ok().flatten();
                return Err(MigrateError::Busy { by: by.map(|by| format!("{} on {}", by.os_user, by.host)) });
            }
            tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.5..1.5))).await;
        }
    }

    async fn try_take(&self, expired: Option<&Holder>) -> Result<bool, DbErr> {
        let Self { connection, tables, holder, .. } = self;
        tables.install(connection, true).await?;
        let who = who();
        let values = [
            holder.as_str().into(),
            who.os_user.as_str().into(),
            who.host.as_str().into(),
            who.program.into(),
            self.lease().into(),
            expired.map(|seen| seen.holder.clone()).into(),
            expired.map(|seen| seen.until).into(),
        ];
        Ok(tables.execute(connection, TAKE, values).await? > 0)
    }
}

/// Others may hold the database for a moment: that is no error, and nothing is known.
fn unless_contended<T>(error: DbErr) -> Result<Option<T>, MigrateError> {
    if fault::is_contended(&error) { Ok(None) } else { Err(MigrateError::Lock(error)) }
}

/// Renews the lock three times in its time.
async fn renew(row: Arc<Row>) {
    let mut pause = row.lease / 3;
    loop {
        tokio::time::sleep(pause).await;
        let sent = Instant::now();
        let values = [row.holder.as_str().into(), row.lease().into()];
        let renewal = row.tables.execute(&row.connection, RENEW, values);
        pause = match tokio::time::timeout(row.lease / 6, renewal).await {
            Ok(Ok(0)) => {
                row.state.send_replace(State::Lost);
                return;
            }
            Ok(Ok(_)) => {
                row.is_renewed(sent);
                row.lease / 3
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the lock was not renewed");
                row.lease / 20
            }
            Err(_) => row.lease / 20,
        };
        // Before others can have taken it.
        row.state.send_if_modified(|state| {
            let is_overdue = matches!(state, State::Held(renewed) if renewed.elapsed() > row.lease);
            if is_overdue {
                *state = State::Overdue;
            }
            is_overdue
        });
    }
}

impl Database {
    /// Ends what a migrator that is not heard of any more still does: its process may be gone, and the server works on.
    /// Not what a pooler keeps open, which does nothing.
    async fn end_session(&self, called: &str) -> Result<(), MigrateError> {
        const WORKING: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 \
                               AND usename = current_user AND state <> 'idle'";
        if self.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        loop {
            self.go_on()?;
            let ended = self.tables().statement(WORKING, [called.into()]);
            if self.beside().query_all_raw(ended).await.map_err(MigrateError::Lock)?.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
