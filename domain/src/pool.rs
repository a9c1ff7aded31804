//! The connections to a database: lends them, opens and closes them, and never more than allowed.
//!
//! A pool of our own, because what makes an acknowledged write safe happens where a connection changes hands: one that
//! comes back in the middle of something is closed, whoever was working with it and however they went away. That also
//! saves asking the server about every connection that comes back.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    breaker::{Admission, BreakerPolicy, BreakerState},
    deadline::{self, Deadline},
    engine::Connector,
    error::{Error, Result, Unavailable},
    fault,
    retry::RetryPolicy,
    session::Session,
    shelf::{Live, Shelf, StatementCounts},
};

/// How long an idle connection is trusted without asking the server, which costs a round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(30);
/// How long to wait for a server to take notice of a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a pool keeps to.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) acquire_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    /// After how long without an answer to a statement the server counts as gone.
    pub(crate) silence: Duration,
    /// From how long on a statement is logged as slow.
    pub(crate) slow_statement: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) breaker: BreakerPolicy,
}

/// Connections to one database. Cheap to clone: all clones are the same pool.
#[derive(Debug, Clone)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connector: Connector,
    limits: Limits,
    permits: Arc<Semaphore>,
    shelf: Arc<Shelf>,
}

/// The connections of a pool at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolStatus {
    /// How many are open.
    pub open: u32,
    /// How many of those are not in use.
    pub idle: u32,
    /// How many there may be.
    pub max: u32,
    /// Whether the server is being asked at all.
    pub breaker: BreakerState,
}

impl Pool {
    /// A pool with its least number of connections, or at least one.
    ///
    /// # Errors
    /// Why the first connection could not be opened. One that is refused is tried again while the acquire timeout lasts,
    /// because the server may just be starting.
    pub(crate) async fn open(connector: Connector, limits: Limits) -> Result<Self> {
        let permits = Arc::new(Semaphore::new(limits.max as usize));
        let shelf = Arc::new(Shelf::new(Arc::clone(&permits), &limits));
        let pool = Self(Arc::new(Shared { connector, limits, permits, shelf }));
        let patience = Instant::now() + pool.0.limits.acquire_timeout.min(pool.0.limits.connect_timeout);
        let first = loop {
            match pool.0.connect(Instant::now() + pool.0.limits.connect_timeout).await {
                Err(Error::Unavailable { reason: Unavailable::Network, .. }) if Instant::now() < patience => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                first => break first?,
            }
        };
        pool.0.shelf.put(first);
        tokio::spawn(keep(Arc::downgrade(&pool.0)));
        Ok(pool)
    }

    /// Lends a connection.
    ///
    /// # Errors
    /// [`Error::Unavailable`] within the acquire timeout: all are in use, or none could be opened.
    pub(crate) async fn acquire(&self) -> Result<Session> {
        let shared = &self.0;
        let until = deadline::at_most(shared.limits.acquire_timeout);
        let permit = shared.permit(until).await?;
        let admission = shared.shelf.breaker().admit()?;
        let live = match (shared.shelf.take(), &admission) {
            (Some((live, idle)), Admission::Granted) if idle < TRUSTED_IDLE => live,
            (Some((mut live, _)), _) => match timeout_at(until, Box::pin(live.connection.ping())).await {
                Ok(Ok(())) => live,
                // Then the others are no better.
                _ => {
                    shared.shelf.clear();
                    shared.connect_or_fail(until).await?
                }
            },
            (None, _) => shared.connect_or_fail(until).await?,
        };
        if let Admission::Probe(probe) = admission {
            probe.succeeded();
        }
        Ok(Session::new(live, self.backend(), Arc::clone(&shared.shelf), permit))
    }

    /// A pool of one connection of this one's, which is from now on kept for that. Where there is only one it is shared.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub(crate) async fn set_aside(&self) -> Result<Self> {
        let max = self.0.limits.max;
        if max < 2 {
            return Ok(self.clone());
        }
        if self.backend() != DbBackend::Sqlite {
            // A server's connections are counted; those to a file are not.
            let permit = self.0.permit(deadline::at_most(self.0.limits.acquire_timeout)).await?;
            permit.forget();
            if self.0.shelf.open() >= max
                && let Some((live, _)) = self.0.shelf.take()
            {
                goodbye(live).await;
            }
        }
        Self::open(self.0.connector.clone(), Limits { min: 1, max: 1, ..self.0.limits.clone() }).await
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.permits.is_closed()
    }

    pub(crate) fn backend(&self) -> DbBackend {
        self.0.connector.backend()
    }

    pub(crate) fn status(&self) -> PoolStatus {
        PoolStatus {
            open: self.0.shelf.open(),
            idle: self.0.shelf.idle(),
            max: self.0.limits.max,
            breaker: self.0.shelf.breaker().status(),
        }
    }

    pub(crate) fn statements(&self) -> StatementCounts {
        self.0.shelf.statements()
    }

    /// Lends nothing more, and closes all connections as they come back.
    pub(crate) async fn close(&self) {
        self.0.permits.close();
        while let Some((live, _)) = self.0.shelf.take() {
            goodbye(live).await;
        }
        self.0.shelf.until_empty().await;
    }
}

impl Shared {
    async fn permit(&self, until: Instant) -> Result<OwnedSemaphorePermit> {
        let closed = || Error::Unavailable { reason: Unavailable::Closed, cause: None };
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => {}
        }
        // Nobody shall queue for a server that does not answer.
        if self.shelf.breaker().status() == BreakerState::Open {
            self.shelf.breaker().admit().map(drop)?;
        }
        match timeout_at(until, Arc::clone(&self.permits).acquire_owned()).await {
            Ok(permit) => permit.map_err(|_| closed()),
            Err(elapsed) => Err(Error::unavailable(Unavailable::PoolExhausted, elapsed)),
        }
    }

    async fn connect(&self, until: Instant) -> Result<Live> {
        let until = until.min(Instant::now() + self.limits.connect_timeout);
        let counted = self.shelf.count();
        // Apart: it is rare, and would make every statement's future several times as large.
        let connected = match timeout_at(until, Box::pin(self.connector.connect())).await {
            Ok(connected) => connected.map_err(fault::at_connect),
            Err(elapsed) => Err(Error::unavailable(Unavailable::Timeout(Deadline::Connect), elapsed)),
        };
        connected.map(|connection| Live::new(connection, counted))
    }

    /// The same, for a caller: the breaker is told when it fails.
    async fn connect_or_fail(&self, until: Instant) -> Result<Live> {
        self.connect(until).await.inspect_err(|_| self.shelf.breaker().failed())
    }

    /// Closes what nobody has needed for a while, and opens what there shall be at least.
    async fn tidy(&self) {
        while let Some(live) = self.shelf.take_unneeded(self.limits.min, self.limits.idle_timeout) {
            goodbye(live).await;
        }
        while self.shelf.open() < self.limits.min && self.shelf.breaker().status() == BreakerState::Closed {
            let Ok(_permit) = Arc::clone(&self.permits).try_acquire_owned() else { break };
            match self.connect(Instant::now() + self.limits.acquire_timeout).await {
                Ok(live) => self.shelf.put(live),
                Err(error) => {
                    tracing::debug!(%error, "no spare connection could be opened");
                    break;
                }
            }
        }
    }
}

/// Keeps a pool tidy for as long as it is there.
async fn keep(pool: Weak<Shared>) {
    while let Some(shared) = pool.upgrade() {
        if shared.permits.is_closed() {
            return;
        }
        shared.tidy().await;
        let pause = (shared.limits.idle_timeout / 4).clamp(Duration::from_millis(50), Duration::from_secs(5));
        drop(shared);
        tokio::time::sleep(pause).await;
    }
}

async fn goodbye(live: Live) {
    match timeout(GOODBYE, live.close()).await {
        Ok(Ok(())) => {}
        // It is closed on our side at any rate.
        Ok(Err(error)) => tracing::debug!(%error, "a connection was not closed cleanly"),
        Err(_) => tracing::debug!("a connection was not closed in time"),
    }
}

/// Each statement on a connection of its own, which is free again after it. A read whose connection breaks is sent
/// again, on another one: this is for what the domain itself builds, of which it is known what is a read.
#[async_trait]
impl ConnectionTrait for Pool {
    fn get_database_backend(&self) -> DbBackend {
        self.backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.acquire().await.map_err(fault::carry)?.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.acquire().await.map_err(fault::carry)?.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        Ok(self.query_all_raw(statement).await?.into_iter().next())
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut attempt = 1;
        loop {
            let result = match self.acquire().await {
                Ok(session) => session.query_all_raw(statement.clone()).await,
                Err(error) => Err(fault::carry(error)),
            };
            match result {
                Err(error) if fault::is_network(&error) && self.0.limits.retry.pause(attempt).await => attempt += 1,
                result => return result,
            }
        }
    }
}
