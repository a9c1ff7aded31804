//! One connection that was lent: runs statements on it, each within its time, and knows in what condition it is.

use std::sync::{Arc, MutexGuard, PoisonError};

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values,
    sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr},
};
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit},
    time::{Instant, timeout_at},
};

use crate::{
    deadline::{self, Deadline},
    engine::{Connection, Request, Response},
    error::{Error, Result as DomainResult, Unavailable},
    fault,
    shelf::{Live, Shelf},
};

/// What is known of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// Between statements, and outside of any transaction: whoever comes next may have it.
    Idle,
    InTransaction,
    /// A statement was sent and its end not seen. Whoever waited for it may have gone away.
    Busy,
    /// It broke.
    Lost,
}

/// A connection that was lent by a pool. When it is dropped it goes back, but only if it is known to be idle: one that
/// comes back in a transaction or in the middle of a statement is closed, and with it the transaction ends.
#[derive(Debug)]
pub(crate) struct Session {
    lent: Mutex<Lent>,
    /// The first statement of the transaction that failed and was not undone.
    failure: std::sync::Mutex<Option<Error>>,
    backend: DbBackend,
    shelf: Arc<Shelf>,
    permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Lent {
    live: Option<Live>,
    condition: Condition,
    /// When the transaction has to be over.
    until: Option<Instant>,
}

impl Session {
    pub(crate) fn new(live: Live, backend: DbBackend, shelf: Arc<Shelf>, permit: OwnedSemaphorePermit) -> Self {
        let lent = Lent { live: Some(live), condition: Condition::Idle, until: None };
        Self { lent: Mutex::new(lent), failure: std::sync::Mutex::new(None), backend, shelf, permit: Some(permit) }
    }

    /// Begins a transaction that has to be over at that time; the rows that the script gives.
    pub(crate) async fn begin(&self, script: SqlStr, until: Instant) -> Result<Vec<QueryResult>, DbErr> {
        self.lent.lock().await.until = Some(until);
        self.send(Request::QueryScript(script), Some(Condition::InTransaction)).await.map(rows)
    }

    /// Commits, if the time of the transaction is not over, by a script that ends with `COMMIT`; the rows that it gives.
    ///
    /// # Errors
    /// Those of the server; and when none came from it, it is unknown whether it committed. If whoever ran a statement
    /// went away in its middle, it is known that nothing was, because nobody asks for it.
    pub(crate) async fn commit(&self, script: SqlStr) -> DomainResult<Vec<QueryResult>> {
        let (until, condition) = {
            let mut lent = self.lent.lock().await;
            (lent.until.take(), lent.condition)
        };
        if condition != Condition::InTransaction {
            let cause = DbErr::Custom(format!("the connection is {condition:?}"));
            return Err(Error::internal("a statement was given up in its middle, and the unit of work with it", cause));
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(Error::Unavailable { reason: Unavailable::Timeout(Deadline::Transaction), cause: None });
        }
        // From here on nothing may cut it short but a server that does not answer.
        let commit = self.send(Request::QueryScript(script), Some(Condition::Idle));
        deadline::unlimited(commit).await.map(rows).map_err(fault::at_commit)
    }

    /// Rolls back, however late it is.
    pub(crate) async fn rollback(&self) -> Result<(), DbErr> {
        self.lent.lock().await.until = None;
        let rollback = Request::Script(SqlStr::from_static("ROLLBACK"));
        deadline::unlimited(self.send(rollback, Some(Condition::Idle))).await.map(drop)
    }

    /// The first statement of the transaction that failed and was not undone.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.remembered().clone()
    }

    /// Says better what it was that failed; or forgets it, because it was undone.
    pub(crate) fn set_failure(&self, failure: Option<Error>) {
        *self.remembered() = failure;
    }

    fn remembered(&self) -> MutexGuard<'_, Option<Error>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends something and waits for its end, no longer than all its limits allow. On success the connection is in the
    /// condition that follows, or as it was before.
    async fn send(&self, request: Request, follows: Option<Condition>) -> Result<Response, DbErr> {
        let mut lent = self.lent.lock().await;
        let Lent { live, condition, until } = &mut *lent;
        let (Some(Live { connection, .. }), Condition::Idle | Condition::InTransaction) = (live.as_mut(), *condition)
        else {
            return Err(fault::carry(Error::Unavailable { reason: Unavailable::Network, cause: None }));
        };
        let limit = Limit::of(&self.shelf, *until);
        if let Connection::Sqlite(_, interrupt) = connection {
            interrupt.at(limit.until);
        }
        let before = std::mem::replace(condition, Condition::Busy);
        let (said, sent) = (request.said(), Instant::now());
        let answer = timeout_at(limit.until, connection.answer(request)).await;
        let failure = match &answer {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(fault::name(error)),
            Err(_) => Some("no answer".into()),
        };
        self.shelf.note(&said, failure.as_deref(), sent.elapsed());
        let error = match answer {
            Ok(Ok(response)) => {
                *condition = follows.unwrap_or(before);
                self.shelf.breaker().succeeded();
                return Ok(response);
            }
            Ok(Err(error)) => {
                *condition = if fault::is_lost(&error) { Condition::Lost } else { before };
                self.shelf.failed(&error);
                RuntimeErr::SqlxError(Arc::new(error))
            }
            // The connection stays busy, as it may well be.
            Err(_) => {
                self.shelf.silent();
                fault::carried(Error::Unavailable { reason: limit.reason, cause: None })
            }
        };
        if before == Condition::InTransaction {
            self.remembered().get_or_insert_with(|| fault::translate_any(DbErr::Query(error.clone()), ""));
        }
        Err(DbErr::Query(error))
    }
}

/// How long a statement may take, and what it means when it takes longer.
struct Limit {
    until: Instant,
    reason: Unavailable,
}

impl Limit {
    fn of(shelf: &Shelf, transaction: Option<Instant>) -> Self {
        // A server that is there reports its own statement timeout before.
        let statement =
            Self { until: Instant::now() + shelf.silence(), reason: Unavailable::Timeout(Deadline::Statement) };
        let transaction = transaction.map(|until| Self { until, reason: Unavailable::Timeout(Deadline::Transaction) });
        let request = deadline::request().map(|until| Self { until, reason: Unavailable::Timeout(Deadline::Request) });
        [transaction, request].into_iter().flatten().fold(statement, |a, b| if b.until <= a.until { b } else { a })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let lent = self.lent.get_mut();
        let Some(live) = lent.live.take() else { return };
        if let (Condition::Busy, Connection::Sqlite(_, interrupt)) = (lent.condition, &live.connection) {
            interrupt.now();
        }
        let is_reusable = lent.condition == Condition::Idle;
        self.shelf.take_back(live, is_reusable);
        // After it: who waits for the permit shall find the connection.
        drop(self.permit.take());
    }
}

/// The text of a statement and the values of its parameters, as sqlx takes them.
fn parts(statement: Statement) -> (SqlStr, Values) {
    (AssertSqlSafe(statement.sql).into_sql_str(), statement.values.unwrap_or(Values(Vec::new())))
}

#[async_trait]
impl ConnectionTrait for Session {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let (sql, values) = parts(statement);
        done(self.send(Request::Execute(sql, values), None).await?)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        done(self.send(Request::Script(AssertSqlSafe(sql).into_sql_str()), None).await?)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (sql, values) = parts(statement);
        self.send(Request::Query(sql, values), None).await.map(rows)
    }
}

fn rows(response: Response) -> Vec<QueryResult> {
    match response {
        Response::Rows(rows) => rows,
        Response::Done(_) => Vec::new(),
    }
}

fn done(response: Response) -> Result<ExecResult, DbErr> {
    match response {
        Response::Done(result) => Ok(result),
        Response::Rows(_) => Err(DbErr::Custom("rows came where none were asked for".to_owned())),
    }
}
