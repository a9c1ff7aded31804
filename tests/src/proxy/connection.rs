//! One connection through the proxy.

use std::sync::{Mutex, atomic::Ordering};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::mpsc,
    time::Instant,
};

use super::{
    Ending, Fault, Network, Open, Toward,
    trap::{Matchers, Strike},
};

const CHUNK: usize = 16 * 1024;

/// How many chunks may be under way in a direction: so many that a delay does not limit how much passes in a second.
const UNDER_WAY: usize = 64;

/// Forwards a connection until either side closes it or a fault ends it.
pub(super) async fn forward(mut client: TcpStream, open: Open) {
    let mut server = None;
    let mut weather = open.network.weather.subscribe();
    let ending = tokio::select! {
        ending = converse(&mut client, &mut server, &open.network) => ending,
        weather = weather.wait_for(|weather| weather.epoch != open.epoch || weather.is_over) => {
            weather.map_or(Ending::Cut, |weather| weather.ending)
        }
    };
    for side in [Some(client), server].into_iter().flatten() {
        if ending == Ending::Reset {
            side.set_zero_linger().ok();
        }
    }
    // It counts as open until both sides are closed.
    drop(open);
}

async fn converse(client: &mut TcpStream, server: &mut Option<TcpStream>, network: &Network) -> Ending {
    network.passable(Toward::Server).await;
    let Ok(connected) = TcpStream::connect(network.upstream).await else { return Ending::Cut };
    let server = server.insert(connected);
    // Without it, small messages wait for the answer to the last one, and the proxy would be a delay of its own.
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let at_answer = Mutex::new(None);
    let lane = |toward| Lane { toward, network, matchers: Matchers::default(), at_answer: &at_answer };
    let there = lane(Toward::Server).carry(from_client, to_server);
    let back = lane(Toward::Client).carry(from_server, to_client);
    tokio::try_join!(there, back).err().unwrap_or_default()
}

/// One direction of a connection.
struct Lane<'a> {
    toward: Toward,
    network: &'a Network,
    matchers: Matchers,
    /// What happens instead of the server's next answer.
    at_answer: &'a Mutex<Option<Strike>>,
}

impl Lane<'_> {
    /// Carries what is sent until the sender has no more to say.
    async fn carry(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Ending> {
        let (start, mut arrivals) = mpsc::channel(UNDER_WAY);
        let (toward, network) = (self.toward, self.network);
        let departing = async move {
            loop {
                let mut chunk = vec![0; CHUNK];
                let chunk = from.read(&mut chunk).await.map(|length| chunk[..length].to_vec());
                let is_last = chunk.as_ref().map_or(true, Vec::is_empty);
                let due = Instant::now() + network.weather.borrow().delay[toward as usize];
                if start.send((due, chunk)).await.is_err() || is_last {
                    return Ok(());
                }
            }
        };
        let arriving = async {
            while let Some((due, chunk)) = arrivals.recv().await {
                tokio::time::sleep_until(due).await;
                // Asked last: what is under way when the network fails must not get through, nor be heard to have ended.
                network.passable(toward).await;
                match chunk {
                    Ok(chunk) if chunk.is_empty() => to.shutdown().await.map_err(|_| Ending::Reset)?,
                    Ok(chunk) => self.deliver(&chunk, &mut to).await?,
                    Err(_) => return Err(Ending::Reset),
                }
            }
            Ok(())
        };
        tokio::try_join!(departing, arriving).map(|_| ())
    }

    /// Writes a chunk, up to where a trap springs.
    async fn deliver(&mut self, chunk: &[u8], to: &mut WriteHalf<'_>) -> Result<(), Ending> {
        if self.toward == Toward::Client {
            let strike = self.at_answer.lock().unwrap().take();
            self.strike(strike).await?;
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            let found = self.matchers.inspect(&self.network.watches, self.toward, rest);
            if found.at_answer.is_some() {
                *self.at_answer.lock().unwrap() = found.at_answer;
            }
            let (seen, unseen) = rest.split_at(found.end);
            let (before, after) = seen.split_at(found.struck_at);
            self.write(before, to).await?;
            self.strike(found.strike).await?;
            self.write(after, to).await?;
            rest = unseen;
        }
        Ok(())
    }

    async fn write(&self, bytes: &[u8], to: &mut WriteHalf<'_>) -> Result<(), Ending> {
        // Counted before, so that what somebody has heard is counted.
        self.network.bytes[self.toward as usize].fetch_add(bytes.len() as u64, Ordering::SeqCst);
        to.write_all(bytes).await.map_err(|_| Ending::Reset)
    }

    /// Lets the fault of a trap happen: to this connection, if it is about one, and otherwise to the network.
    async fn strike(&self, strike: Option<Strike>) -> Result<(), Ending> {
        let Some(strike) = strike else { return Ok(()) };
        let ending = match strike.fault {
            Fault::Cut => Some(Ending::Cut),
            Fault::Reset => Some(Ending::Reset),
            fault => {
                self.network.weather.send_modify(|weather| weather.suffer(fault));
                (fault == Fault::Refuse).then_some(Ending::Cut)
            }
        };
        strike.has_struck();
        if let Some(ending) = ending {
            return Err(ending);
        }
        self.network.passable(self.toward).await;
        Ok(())
    }
}

impl Network {
    /// Waits until data may pass in a direction.
    async fn passable(&self, toward: Toward) {
        let mut weather = self.weather.subscribe();
        // It fails when there are no more orders, and then the connection is over.
        weather.wait_for(|weather| !weather.stalled[toward as usize]).await.ok();
    }
}
