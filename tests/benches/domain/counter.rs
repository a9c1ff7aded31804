//! Counts what a client of PostgreSQL sends, by standing between the two. The messages are those of chapter 55 of the
//! manual, "Frontend/Backend Protocol".

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::fixture::Outcome;

/// A relay to a server.
pub(crate) struct Counter {
    /// Where the database is by way of this relay.
    pub(crate) url: String,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    statements: AtomicU64,
    round_trips: AtomicU64,
}

impl Counter {
    /// Relays to the server of this database.
    pub(crate) async fn to(url: &str) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut url = url::Url::parse(url)?;
        let server = (url.host_str().unwrap().to_owned(), url.port().unwrap_or(5432));
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(listener.local_addr()?.port())).unwrap();
        let counts = Arc::<Counts>::default();
        let relay = Self { url: url.to_string(), counts: Arc::clone(&counts) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server.clone()).await.unwrap();
                let (mut client_reader, mut client_writer) = client.into_split();
                let (mut server_reader, mut server_writer) = server.into_split();
                let counts = Arc::clone(&counts);
                tokio::spawn(async move {
                    let mut messages = Messages::default();
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(length @ 1..) = client_reader.read(&mut buffer).await {
                        messages.see(&buffer[..length], &counts);
                        server_writer.write_all(&buffer[..length]).await.unwrap();
                    }
                });
                tokio::spawn(async move { tokio::io::copy(&mut server_reader, &mut client_writer).await });
            }
        });
        Ok(relay)
    }

    /// How many statements, and how many round trips, so far.
    pub(crate) fn counted(&self) -> (u64, u64) {
        (self.counts.statements.load(Ordering::SeqCst), self.counts.round_trips.load(Ordering::SeqCst))
    }
}

/// The messages of one connection, as far as they are there.
#[derive(Default)]
struct Messages {
    pending: Vec<u8>,
    started: bool,
}

impl Messages {
    fn see(&mut self, bytes: &[u8], counts: &Counts) {
        self.pending.extend_from_slice(bytes);
        loop {
            // The first message has no letter in front.
            let letter = usize::from(self.started);
            let Some(length) = self.pending.get(letter..letter + 4) else { return };
            let end = letter + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            if self.pending.len() < end {
                return;
            }
            match self.pending[0] {
                // A simple query: statement and round trip in one.
                b'Q' if self.started => {
                    counts.statements.fetch_add(1, Ordering::SeqCst);
                    counts.round_trips.fetch_add(1, Ordering::SeqCst);
                }
                // Execute.
                b'E' if self.started => _ = counts.statements.fetch_add(1, Ordering::SeqCst),
                // Sync.
                b'S' if self.started => _ = counts.round_trips.fetch_add(1, Ordering::SeqCst),
                _ => {}
            }
            self.started = true;
            self.pending.drain(..end);
        }
    }
}
