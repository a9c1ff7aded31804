//! Connections to Redis: few, shared by everybody, and given up for dead as soon as they are.
//!
//! `bb8` keeps them, by a manager of our own. The one that comes with `bb8-redis` never finds a connection broken, so
//! that one has to be pinged whenever it is lent, or is dead for ever after Redis was restarted. Here whoever finds
//! one that does not answer says so. And they are multiplexed: lent only for as long as it takes to clone one, so that
//! the commands of many requests travel together.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bb8_redis::{
    bb8::{ManageConnection, Pool, PooledConnection, RunError},
    redis::{
        AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, RedisResult,
        ServerErrorKind, Value, aio::MultiplexedConnection, io::tcp::TcpSettings,
    },
};
use domain::CacheError;
use futures_util::FutureExt;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// How long opening a connection may take. Nobody waits for that long: it is opened in the background.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How many commands may wait for their turn to be written to one connection; more of them wait outside.
const QUEUE: usize = 1024;
/// How often the pool is asked again while it has no connection.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// How many failures in a row it takes until Redis is left alone.
const FAILURES: u32 = 3;
/// For how long it is left alone before it is tried whether it answers again.
const OPEN_FOR: Duration = Duration::from_millis(250);

/// The way to a Redis server.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: Pool<Manager>,
    failures: Arc<watch::Sender<CacheError>>,
    timeout: Duration,
    breaker: Breaker,
}

/// What is sent in one piece.
#[derive(Debug, Clone, Copy)]
pub(super) enum Request<'a> {
    /// Is answered with its answer.
    One(&'a Cmd),
    /// The same, and must not be done twice: when the connection breaks, it is not sent again.
    Once(&'a Cmd),
    /// Are answered with an array of their answers.
    All(&'a Pipeline),
    /// The same, and must not be done twice.
    AllOnce(&'a Pipeline),
    /// An `EVALSHA`, and what to load where Redis does not know it.
    Script(&'a Cmd, &'static str),
}

/// What was answered, by which server process.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) value: Value,
    /// Its name, which is another one after every start.
    pub(super) run: Arc<str>,
}

impl Connections {
    /// Opens connections in the background, now and whenever there are too few; where that fails, requests do.
    pub(super) fn open(url: &str, connections: u32, timeout: Duration) -> Self {
        let failures = Arc::new(watch::Sender::new(CacheError::Unreachable));
        let manager = Manager { client: client(url), failures: Arc::clone(&failures) };
        // The pool panics when either is nothing.
        let (connections, timeout) = (connections.max(1), timeout.max(Duration::from_millis(1)));
        let pool = Pool::builder()
            .max_size(connections)
            .min_idle(connections)
            .test_on_check_out(false)
            .max_lifetime(None)
            .idle_timeout(None)
            .connection_timeout(timeout)
            // Whoever needs one tries again, which the breaker keeps from happening too often.
            .retry_connection(false)
            .build_unchecked(manager);
        Self { shared: Arc::new(Shared { pool, failures, timeout, breaker: Breaker::default() }) }
    }

    /// The answer to a request, in time, or an error.
    pub(super) async fn ask(&self, request: Request<'_>) -> Result<Value, CacheError> {
        self.ask_one(request).await.map(|answer| answer.value)
    }

    /// And who gave it.
    pub(super) async fn ask_one(&self, request: Request<'_>) -> Result<Answer, CacheError> {
        let shared = &self.shared;
        match shared.breaker.admit() {
            Admission::Granted => {}
            Admission::Refused => return Err(CacheError::CircuitOpen),
            Admission::Probe => {
                tokio::spawn(self.clone().probe());
                return Err(CacheError::CircuitOpen);
            }
        }
        let answer = shared.answer(request).await;
        match &answer {
            Err(error @ (CacheError::Unreachable | CacheError::Timeout | CacheError::Refused)) => {
                shared.breaker.failed(*error);
            }
            _ => shared.breaker.succeeded(),
        }
        answer
    }

    /// Finds out whether Redis answers again. No request waits for it.
    async fn probe(self) {
        let mut time = Cmd::new();
        time.arg("TIME");
        let answer = self.shared.answer(Request::One(&time)).await;
        self.shared.breaker.probed(answer.is_ok());
    }
}

impl Shared {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, CacheError> {
        let mut asked = None;
        let answer = timeout(self.timeout, self.exchange(request, &mut asked)).await;
        answer.unwrap_or_else(|_| {
            if let Some(Lent { is_broken, .. }) = asked {
                is_broken.store(true, Ordering::Release);
            }
            Err(CacheError::Timeout)
        })
    }

    /// Asks on a connection, and notes on which one. One that was closed while nobody used it is found out now, and
    /// then another one is asked, if what is asked does no harm when it is done twice.
    async fn exchange(&self, request: Request<'_>, asked: &mut Option<Lent>) -> Result<Answer, CacheError> {
        let mut closed = 0;
        loop {
            let Lent { mut connection, run, is_broken } = asked.insert(self.lend().await?).clone();
            match request.send(&mut connection).await {
                Ok(value) => return Ok(Answer { value, run }),
                Err(error) => {
                    let meaning = meaning(&error);
                    if matches!(meaning, CacheError::Unreachable | CacheError::Timeout) {
                        is_broken.store(true, Ordering::Release);
                    }
                    closed += 1;
                    if !request.is_repeatable()
                        || !error.is_connection_dropped()
                        || closed > self.pool.config().max_size
                    {
                        return Err(meaning);
                    }
                }
            }
        }
    }

    /// A connection that nobody has found broken.
    async fn lend(&self) -> Result<Lent, CacheError> {
        loop {
            // As a rule there is one at once.
            let lent = match self.pool.get().now_or_never() {
                Some(lent) => lent,
                None => self.wait().await?,
            };
            match lent {
                // Giving it back shows it to the manager, who throws it away.
                Ok(lent) if lent.is_broken.load(Ordering::Acquire) => drop(lent),
                Ok(lent) => return Ok(lent.clone()),
                Err(RunError::User(error)) => return Err(error),
                Err(RunError::TimedOut) => return Err(CacheError::Timeout),
            }
        }
    }

    /// Waits until there is a connection, but not when it is known that none can be opened.
    async fn wait(&self) -> Result<Result<PooledConnection<'_, Manager>, RunError<CacheError>>, CacheError> {
        let mut failures = self.failures.subscribe();
        loop {
            tokio::select! {
                biased;
                lent = self.pool.get() => return Ok(lent),
                _ = failures.changed() => return Err(*failures.borrow()),
                // One that just failed may still have been counted on when we asked: asking again opens another one.
                () = sleep(ASK_AGAIN) => {}
            }
        }
    }
}

impl Request<'_> {
    fn is_repeatable(self) -> bool {
        !matches!(self, Self::Once(_) | Self::AllOnce(_))
    }

    async fn send(self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        match self {
            Self::One(command) | Self::Once(command) => command.query_async(connection).await,
            Self::All(pipeline) | Self::AllOnce(pipeline) => pipeline.query_async(connection).await,
            Self::Script(command, body) => match command.query_async(connection).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    let mut load = Cmd::new();
                    load.arg("SCRIPT").arg("LOAD").arg(body);
                    load.query_async::<Value>(connection).await?;
                    command.query_async(connection).await
                }
                answer => answer,
            },
        }
    }
}

/// Opens connections, and throws away those that were found broken.
#[derive(Debug)]
struct Manager {
    client: RedisResult<Client>,
    failures: Arc<watch::Sender<CacheError>>,
}

/// A connection; clones are the same one.
#[derive(Debug, Clone)]
struct Lent {
    connection: MultiplexedConnection,
    /// Which server process it leads to.
    run: Arc<str>,
    is_broken: Arc<AtomicBool>,
}

impl ManageConnection for Manager {
    type Connection = Lent;
    type Error = CacheError;

    async fn connect(&self) -> Result<Lent, CacheError> {
        let failed = |meaning| {
            self.failures.send_replace(meaning);
            Err(meaning)
        };
        match timeout(CONNECT_TIMEOUT, connect(&self.client)).await {
            Ok(Ok((connection, run))) => Ok(Lent { connection, run, is_broken: Arc::default() }),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no connection to Redis");
                failed(meaning(&error))
            }
            Err(_) => failed(CacheError::Timeout),
        }
    }

    async fn is_valid(&self, lent: &mut Lent) -> Result<(), CacheError> {
        if lent.is_broken.load(Ordering::Acquire) { Err(CacheError::Unreachable) } else { Ok(()) }
    }

    fn has_broken(&self, lent: &mut Lent) -> bool {
        lent.is_broken.load(Ordering::Acquire)
    }
}

/// What opens connections to the server of a URL.
pub(super) fn client(url: &str) -> RedisResult<Client> {
    let info = url.into_connection_info()?;
    // Naming the library would take a round trip, and a right.
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    // What is sent last must not wait until what was sent before has been received.
    let tcp = TcpSettings::default().set_nodelay(true);
    Client::open(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

/// A connection, and the name of the server process that it leads to.
async fn connect(client: &RedisResult<Client>) -> RedisResult<(MultiplexedConnection, Arc<str>)> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE);
    let client = client.as_ref().map_err(RedisError::clone)?;
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let info: String = Cmd::new().arg("INFO").arg("server").query_async(&mut connection).await?;
    let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    let run = run.ok_or((ErrorKind::UnexpectedReturnType, "it does not tell its run_id"))?;
    Ok((connection, run.trim().into()))
}

/// What an error of the driver means to the cache.
pub(super) fn meaning(error: &RedisError) -> CacheError {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS" | "NOPERM")) => CacheError::Refused,
        (_, Some("OOM")) => CacheError::Full,
        // It is there, and cannot work yet, or not any more.
        (_, Some("LOADING" | "MASTERDOWN" | "READONLY" | "BUSY" | "MISCONF" | "CLUSTERDOWN" | "TRYAGAIN")) => {
            CacheError::Unreachable
        }
        _ if error.detail().is_some_and(|detail| detail.contains("max number of clients")) => CacheError::Unreachable,
        (ErrorKind::Io, _) if error.is_timeout() => CacheError::Timeout,
        (ErrorKind::Io, _) => CacheError::Unreachable,
        _ => CacheError::Unexpected,
    }
}

/// Keeps requests from a server that does not answer, so that it costs them nothing. Unlike the database's breaker it
/// lets nobody's request try whether it is back: there is always something else to read from.
#[derive(Debug, Default)]
struct Breaker {
    /// In a row, while it is closed.
    failures: AtomicU32,
    /// Whether the state has to be looked at.
    is_disturbed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    Probing,
}

enum Admission {
    Granted,
    Refused,
    /// Refused, and has to see to it that somebody tries.
    Probe,
}

impl Breaker {
    fn admit(&self) -> Admission {
        if !self.is_disturbed.load(Ordering::Acquire) {
            return Admission::Granted;
        }
        let mut state = self.state();
        match *state {
            State::Closed => Admission::Granted,
            State::Open { until } if Instant::now() >= until => {
                *state = State::Probing;
                Admission::Probe
            }
            State::Open { .. } | State::Probing => Admission::Refused,
        }
    }

    /// What was asked before it opened says nothing about now; the probe does.
    fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    fn failed(&self, reason: CacheError) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 < FAILURES {
            return;
        }
        let mut state = self.state();
        if matches!(*state, State::Closed) {
            *state = State::Open { until: Instant::now() + OPEN_FOR };
            self.is_disturbed.store(true, Ordering::Release);
            tracing::warn!(%reason, "Redis is left alone, and the database is read instead");
        }
    }

    fn probed(&self, answers: bool) {
        let mut state = self.state();
        if answers {
            *state = State::Closed;
            self.failures.store(0, Ordering::Relaxed);
            self.is_disturbed.store(false, Ordering::Release);
            tracing::info!("Redis answers again");
        } else {
            *state = State::Open { until: Instant::now() + OPEN_FOR };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
