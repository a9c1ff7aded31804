//! The bus between processes: publish and subscribe of Redis.
//!
//! There is one channel, the prefix and `changes`, with announcements in JSON. Redis keeps none of them: who is not
//! connected misses what is said meanwhile, and is told of a gap when it is connected again.
//!
//! The least that a user needs, beside what the cache needs, with the prefix that is set:
//!
//! ```text
//! user seabed on >password resetkeys resetchannels &seabed:changes -@all +info +publish +subscribe +ping
//! ```

use std::time::Duration;

use async_trait::async_trait;
use bb8_redis::redis::{
    self, Cmd, RedisError,
    aio::{PubSubSink, PubSubStream},
};
use domain::{Announcement, Bus, BusError, CacheError, Heard};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::redis_connection::{CONNECT_TIMEOUT, Connections, Request, client, meaning};

/// How often to try to connect.
const AGAIN: Duration = Duration::from_millis(250);
/// For how long nothing may be heard before it is asked whether anybody is there.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the answer to that may take.
const PONG: Duration = Duration::from_secs(2);

/// Where the bus is, and how to get at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisBusOptions {
    /// `redis://user:password@host:6379`, or `rediss://…` for an encrypted connection.
    pub url: String,
    /// What the channel begins with.
    pub prefix: String,
    /// How long publishing may take.
    pub timeout: Duration,
}

impl RedisBusOptions {
    /// The defaults, for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: "seabed:".to_owned(), timeout: Duration::from_millis(50) }
    }
}

/// Publishes and listens by way of Redis.
#[derive(Debug)]
pub struct RedisBus {
    connections: Connections,
    url: String,
    channel: String,
}

impl RedisBus {
    /// Begins to connect, and does not wait for it. Must be called within a runtime.
    pub fn new(options: &RedisBusOptions) -> Self {
        Self {
            // Of its own, so that a user who may not publish does not make the cache leave Redis alone.
            connections: Connections::open(&options.url, 1, options.timeout),
            url: options.url.clone(),
            channel: format!("{}changes", options.prefix),
        }
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn publish(&self, announcement: &Announcement) -> Result<(), BusError> {
        let json = serde_json::to_vec(announcement).unwrap_or_default();
        let mut command = Cmd::new();
        command.arg("PUBLISH").arg(&self.channel).arg(json);
        match self.connections.ask(Request::One(&command)).await {
            Ok(_) => Ok(()),
            Err(CacheError::Refused) => Err(BusError::Refused),
            Err(_) => Err(BusError::Unreachable),
        }
    }

    fn listen(&self) -> BoxStream<'static, Heard> {
        let listener = Listener { url: self.url.clone(), channel: self.channel.clone(), line: None, was_there: true };
        stream::unfold(listener, |mut listener| async { Some((listener.hear().await, listener)) }).boxed()
    }
}

/// Listens on a connection of its own, which can do nothing else meanwhile.
struct Listener {
    url: String,
    channel: String,
    line: Option<(PubSubSink, PubSubStream)>,
    /// At the last attempt.
    was_there: bool,
}

impl Listener {
    async fn hear(&mut self) -> Heard {
        loop {
            if self.line.is_none() {
                self.connect().await;
                return Heard::Gap;
            }
            if let Some(heard) = self.next().await {
                return heard;
            }
            self.line = None;
        }
    }

    /// What is said next; none if nobody is there any more.
    async fn next(&mut self) -> Option<Heard> {
        let (sink, stream) = self.line.as_mut()?;
        loop {
            match timeout_at(Instant::now() + SILENCE, stream.next()).await {
                Ok(Some(message)) => {
                    return Some(match serde_json::from_slice(message.get_payload_bytes()) {
                        Ok(announcement) => Heard::Announced(announcement),
                        Err(error) => {
                            tracing::warn!(%error, "something was said of changes that was not understood");
                            Heard::Gap
                        }
                    });
                }
                Ok(None) => return None,
                Err(_) => {
                    timeout(PONG, sink.ping::<redis::Value>()).await.ok()?.ok()?;
                }
            }
        }
    }

    /// Tries until it is listened.
    async fn connect(&mut self) {
        loop {
            let attempt = timeout(CONNECT_TIMEOUT, subscribe(&self.url, &self.channel)).await;
            let why = match attempt {
                Ok(Ok(line)) => {
                    if !self.was_there {
                        tracing::info!("changes in other processes are heard again");
                    }
                    self.was_there = true;
                    self.line = Some(line);
                    return;
                }
                Ok(Err(error)) => meaning(&error),
                Err(_) => CacheError::Timeout,
            };
            if self.was_there {
                tracing::warn!(%why, "changes are not heard, because of Redis");
            }
            self.was_there = false;
            sleep(AGAIN).await;
        }
    }
}

async fn subscribe(url: &str, channel: &str) -> Result<(PubSubSink, PubSubStream), RedisError> {
    let (mut sink, stream) = client(url)?.get_async_pubsub().await?.split();
    sink.subscribe(channel).await?;
    Ok((sink, stream))
}
