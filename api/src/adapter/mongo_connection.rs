//! The way to a MongoDB server, or to a set of them, that nobody has to wait for.
//!
//! The driver keeps the pool and finds servers that come back. Left alone, it lets everybody wait as long as it takes to
//! find a server, and says of a wrong password, once it has been told, only that no server was found. Here every call
//! ends in time, a breaker keeps calls from a server that does not answer, and a refusal stays a refusal until somebody
//! has been let in.

mod failure;

use std::{
    fmt,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{Admission, Breaker, BreakerPolicy, BreakerState, DocumentsError};
use mongodb::{
    Client, Database,
    bson::doc,
    options::{ClientOptions, ConnectionString},
};
use tokio::{sync::OnceCell, time};

pub(super) use failure::{Failure, code, of_code};

/// The database of a URI that names none.
const DATABASE: &str = "seabed";
/// What servers are told of who connects, unless the URI says something else.
const APP_NAME: &str = "seabed";
/// What older drivers could be told and today's do anyway.
const LEGACY_OPTIONS: [&str; 2] = ["useNewUrlParser", "useUnifiedTopology"];
/// How long the server is given to hear that we are gone.
const GOODBYE: Duration = Duration::from_secs(1);
/// How often a server is looked at; so soon it is used again after it was out of reach.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A server that is there answers; one that failed three times in a row is left alone for a moment.
const BREAKER: BreakerPolicy = BreakerPolicy { failures: 3, open_for: Duration::from_secs(1) };

/// How to reach MongoDB. What the URI says of these wins. Its `Debug` does not show the URI, which may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct MongoOptions {
    /// `mongodb://…` or `mongodb+srv://…`.
    pub uri: String,
    /// How many connections are kept open.
    pub min_connections: u32,
    /// How many connections are opened at most.
    pub max_connections: u32,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How long to wait for a server that can be asked.
    pub server_selection_timeout: Duration,
    /// How long an answer may take, with all of that.
    pub timeout: Duration,
}

impl MongoOptions {
    /// The defaults, for this URI.
    pub fn new(uri: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            min_connections: 10,
            max_connections: 100,
            connect_timeout: Duration::from_secs(3),
            server_selection_timeout: Duration::from_secs(3),
            timeout: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for MongoOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uri: _, min_connections, max_connections, connect_timeout, server_selection_timeout, timeout } =
            self;
        f.debug_struct("MongoOptions")
            .field("min_connections", min_connections)
            .field("max_connections", max_connections)
            .field("connect_timeout", connect_timeout)
            .field("server_selection_timeout", server_selection_timeout)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

/// What a server tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MongoStatus {
    /// As in `6.0.5`.
    pub version: String,
    /// How long an answer took.
    pub latency: Duration,
    /// Whether several documents can be written at once.
    pub is_replica_set: bool,
}

/// A pool of connections to one server or set of servers. Clones share it.
#[derive(Debug, Clone)]
pub struct MongoConnection(Arc<Shared>);

/// What a question is put to.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) client: Client,
    pub(super) database: Database,
}

struct Shared {
    options: MongoOptions,
    timeout: Duration,
    asked: OnceCell<Asked>,
    breaker: Breaker,
    /// Whether the last thing that was heard is that we are not let in.
    is_refused: AtomicBool,
    is_closed: AtomicBool,
}

// What the driver has to say of itself fills pages.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).field("breaker", &self.breaker).finish_non_exhaustive()
    }
}

impl MongoConnection {
    /// Connects when it is first asked for something, and not before: the server need not be there.
    pub fn new(options: MongoOptions) -> Self {
        let Uri { text, legacy, socket_timeout } = Uri::read(&options.uri);
        if !legacy.is_empty() {
            static WARNED: Once = Once::new();
            WARNED.call_once(|| tracing::warn!("MongoDB's options {} have no effect any more", legacy.join(", ")));
        }
        Self(Arc::new(Shared {
            timeout: socket_timeout.unwrap_or(options.timeout),
            options: MongoOptions { uri: text, ..options },
            asked: OnceCell::new(),
            breaker: Breaker::new("MongoDB", BREAKER),
            is_refused: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }))
    }

    /// Opens connections, if there are none yet.
    ///
    /// # Errors
    /// If the server cannot be reached, or lets nobody in. It is tried again with the next call, whatever that is.
    pub async fn connect(&self) -> Result<(), DocumentsError> {
        self.ping().await.map(drop)
    }

    /// Asks the server whether it is there; how long the answer took.
    ///
    /// # Errors
    /// If it does not answer, or lets nobody in.
    pub async fn ping(&self) -> Result<Duration, DocumentsError> {
        let started = time::Instant::now();
        let ping = self.ask(|asked| async move { asked.database.run_command(doc! { "ping": 1 }).await });
        ping.await.map_err(|failure| failure.meaning())?;
        Ok(started.elapsed())
    }

    /// What is to be known of the server.
    ///
    /// # Errors
    /// If it does not answer, or lets nobody in.
    pub async fn status(&self) -> Result<MongoStatus, DocumentsError> {
        let latency = self.ping().await?;
        let asked = self.ask(|asked| async move {
            let build = asked.database.run_command(doc! { "buildInfo": 1 }).await?;
            Ok((build, asked.database.run_command(doc! { "hello": 1 }).await?))
        });
        let (build, hello) = asked.await.map_err(Failure::meaning)?;
        let version = build.get_str("version").unwrap_or_default().to_owned();
        // A router of shards tells by another field that it is one.
        let is_replica_set = hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        Ok(MongoStatus { version, latency, is_replica_set })
    }

    /// Whether the server answers.
    pub async fn is_connected(&self) -> bool {
        self.ping().await.is_ok()
    }

    /// What the breaker does at the moment.
    pub fn breaker(&self) -> BreakerState {
        self.0.breaker.status()
    }

    /// Closes all connections. Every call after it fails with [`DocumentsError::Unavailable`].
    pub async fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        if let Some(asked) = self.0.asked.get() {
            // A server that is not there cannot be told.
            time::timeout(GOODBYE, asked.client.clone().shutdown().immediate(true)).await.unwrap_or_default();
        }
    }
}

impl MongoConnection {
    /// What comes of asking the server something, in time.
    pub(super) async fn ask<T, F>(&self, question: impl FnOnce(Asked) -> F) -> Result<T, Failure>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        self.ask_for(self.0.timeout, question).await
    }

    /// The same for what may take longer.
    pub(super) async fn ask_for<T, F>(&self, limit: Duration, question: impl FnOnce(Asked) -> F) -> Result<T, Failure>
    where
        F: Future<Output = mongodb::error::Result<T>>,
    {
        let shared = &self.0;
        if shared.is_closed.load(Ordering::Acquire) {
            return Err(Failure::Meant(DocumentsError::Unavailable));
        }
        let Ok(admission) = shared.breaker.admit() else { return Err(shared.unreached(DocumentsError::Unavailable)) };
        let answer = time::timeout(limit, async {
            let asked = shared.asked.get_or_try_init(|| shared.options.open()).await?;
            question(asked.clone()).await
        });
        match answer.await {
            Err(_) => {
                shared.breaker.failed();
                Err(shared.unreached(DocumentsError::Timeout))
            }
            Ok(Err(error)) if failure::is_refusal(&error) => {
                tracing::debug!(%error, "MongoDB lets nobody in");
                shared.is_refused.store(true, Ordering::Release);
                shared.breaker.refused();
                Err(shared.unreached(DocumentsError::AuthFailed))
            }
            Ok(Err(error)) if failure::is_out_of_reach(&error) => {
                tracing::debug!(%error, "MongoDB is out of reach");
                shared.breaker.failed();
                Err(shared.unreached(DocumentsError::Unavailable))
            }
            // Whatever else it says, it is there.
            Ok(answer) => {
                shared.is_refused.store(false, Ordering::Release);
                match admission {
                    Admission::Granted => shared.breaker.succeeded(),
                    Admission::Probe(probe) => probe.succeeded(),
                }
                answer.map_err(Failure::Said)
            }
        }
    }

    /// Whether it is the same one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How long an answer may take.
    pub(super) fn timeout(&self) -> Duration {
        self.0.timeout
    }
}

impl Shared {
    /// As long as nobody has been let in since we were refused, that is why nothing else is heard.
    fn unreached(&self, error: DocumentsError) -> Failure {
        let is_refused = self.is_refused.load(Ordering::Acquire);
        Failure::Meant(if is_refused { DocumentsError::AuthFailed } else { error })
    }
}

impl MongoOptions {
    /// Looks up the servers' names where the URI asks for that; connects to none of them.
    async fn open(&self) -> mongodb::error::Result<Asked> {
        let mut options = ClientOptions::parse(&self.uri).await?;
        let max = *options.max_pool_size.get_or_insert(self.max_connections);
        // Of two that say no limit, the one in the URI is meant.
        let min = if max == 0 { self.min_connections } else { self.min_connections.min(max) };
        options.min_pool_size.get_or_insert(min);
        options.connect_timeout.get_or_insert(self.connect_timeout);
        options.server_selection_timeout.get_or_insert(self.server_selection_timeout);
        options.heartbeat_freq.get_or_insert(HEARTBEAT);
        options.app_name.get_or_insert_with(|| APP_NAME.to_owned());
        let name = options.default_database.clone();
        let client = Client::with_options(options)?;
        let database = client.database(name.as_deref().unwrap_or(DATABASE));
        Ok(Asked { client, database })
    }
}

/// A URI as the driver takes it, and what it does not take.
struct Uri {
    text: String,
    legacy: Vec<&'static str>,
    /// The driver has none. The one of other drivers is, like ours, about how long an answer may take.
    socket_timeout: Option<Duration>,
}

impl Uri {
    fn read(text: &str) -> Self {
        let mut uri = Self { text: text.to_owned(), legacy: Vec::new(), socket_timeout: None };
        let Some((rest, options)) = text.split_once('?') else { return uri };
        let mut kept = Vec::new();
        for option in options.split('&') {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let legacy = LEGACY_OPTIONS.iter().find(|legacy| legacy.eq_ignore_ascii_case(name));
            match (legacy, value.parse()) {
                (Some(legacy), _) => uri.legacy.push(legacy),
                (None, Ok(milliseconds)) if name.eq_ignore_ascii_case("socketTimeoutMS") => {
                    // None is meant by 0, which is as long as it takes elsewhere and never here.
                    uri.socket_timeout = (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
                }
                _ => kept.push(option),
            }
        }
        let separator = if kept.is_empty() { "" } else { "?" };
        uri.text = format!("{rest}{separator}{}", kept.join("&"));
        uri
    }
}

/// Whether a URI can be used. Whether there is a server is another question.
pub(crate) fn is_uri(text: &str) -> bool {
    ConnectionString::parse(Uri::read(text).text).is_ok()
}
