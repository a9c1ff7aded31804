//! A small client: connections that stay open, one request at a time on each, requests made of bytes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::fixture::Outcome;

/// How many connections there are at once.
pub(crate) const CONNECTIONS: usize = 64;

/// One connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends a request, and reads its answer.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Outcome<Answer<'_>> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server hung up".into());
            }
            let Some(head) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
            let text = std::str::from_utf8(&self.buffer[..head])?;
            let status = text.get(9..12).ok_or("no status")?.parse()?;
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            let begin = head + 4;
            let end = begin + length.unwrap_or(0);
            while self.buffer.len() < end {
                if self.stream.read_buf(&mut self.buffer).await? == 0 {
                    return Err("the server hung up".into());
                }
            }
            return Ok(Answer { status, body: &self.buffer[begin..end] });
        }
    }
}

/// The status of an answer, if there is one.
pub(crate) async fn status(address: SocketAddr, path: &str) -> Option<u16> {
    let mut connection = Connection::open(address).await.ok()?;
    Some(connection.send(&get(path)).await.ok()?.status)
}

/// A request to read.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n").into_bytes()
}

/// A request with a body.
pub(crate) fn with_body(method: &str, path: &str, header: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n{header}\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends requests over all connections for a while; how many were answered. The request of a connection is made from
/// its number and from how many went before on it.
pub(crate) async fn load<R, F>(address: SocketAddr, time: Duration, expected: u16, request: F) -> Outcome<u64>
where
    R: AsRef<[u8]> + Send,
    F: Fn(usize) -> R + Clone + Send + 'static,
{
    let (answered, ends) = (Arc::new(AtomicU64::new(0)), Instant::now() + time);
    let mut connections = tokio::task::JoinSet::new();
    for number in 0..CONNECTIONS {
        let (answered, request) = (Arc::clone(&answered), request.clone());
        connections.spawn(async move {
            let mut connection = Connection::open(address).await?;
            while Instant::now() < ends {
                let answer = connection.send(request(number).as_ref()).await?;
                if answer.status != expected {
                    let body = String::from_utf8_lossy(answer.body);
                    return Err(format!("{} instead of {expected}: {body}", answer.status).into());
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = connections.join_next().await {
        ended??;
    }
    Ok(answered.load(Ordering::Relaxed))
}
