//! A TCP proxy that breaks the network on purpose.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use url::Url;

use crate::{PATIENCE, eventually};

const CHUNK: usize = 16 * 1024;

/// Stands before a server and forwards to it, until it is told to do worse. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Order>,
    counts: Arc<Counts>,
    listener: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Refuse,
    BlackHole,
    Delay(Duration),
}

#[derive(Debug, Clone, Copy)]
struct Order {
    fault: Fault,
    /// Connections of an older epoch are cut.
    epoch: usize,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicUsize,
    /// How many connections are open, by epoch.
    open: Mutex<BTreeMap<usize, usize>>,
    is_listening: AtomicBool,
}

impl Proxy {
    /// Starts to forward from a free port to an address.
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (orders, inbox) = watch::channel(Order { fault: Fault::None, epoch: 0 });
        let counts = Arc::new(Counts::default());
        counts.is_listening.store(true, Ordering::SeqCst);
        let listener = tokio::spawn(listen(listener, address, upstream, inbox, Arc::clone(&counts)));
        Self { address, orders, counts, listener }
    }

    /// Starts to forward to the server of a URL; [`url`](Self::url) of the same URL then leads through the proxy.
    pub async fn to_url(url: &str) -> Self {
        let url = Url::parse(url).unwrap();
        let host = format!("{}:{}", url.host_str().unwrap(), url.port_or_known_default().unwrap());
        let upstream = tokio::net::lookup_host(host).await.unwrap().next().unwrap();
        Self::to(upstream).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A server's URL, with the proxy in the server's place.
    pub fn url(&self, server: &str) -> String {
        let mut url = Url::parse(server).unwrap();
        url.set_ip_host(self.address.ip()).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }

    /// Forwards again, also what was held back by [`black_hole`](Self::black_hole), as a network that has healed does.
    pub async fn forward(&self) {
        self.order(Fault::None).await;
    }

    /// Refuses new connections, as a machine does on which no server runs, and cuts those that are open.
    pub async fn refuse(&self) {
        self.order(Fault::Refuse).await;
        self.cut().await;
    }

    /// Accepts new connections and never answers; open ones fall silent too.
    pub async fn black_hole(&self) {
        self.order(Fault::BlackHole).await;
    }

    /// Holds back every piece of data in either direction for a while.
    pub async fn delay(&self, time: Duration) {
        self.order(Fault::Delay(time)).await;
    }

    /// Closes all connections that are open, and goes on as before with new ones.
    pub async fn cut(&self) {
        let mut epoch = 0;
        self.orders.send_modify(|order| {
            order.epoch += 1;
            epoch = order.epoch;
        });
        // Only those: a pool may have connected again meanwhile.
        let cut = || self.counts.open.lock().unwrap().range(..epoch).all(|(_, &open)| open == 0);
        eventually("cut connections are closed", PATIENCE, async || cut().then_some(())).await;
    }

    /// How many connections it has accepted since it started.
    pub fn connections(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.counts.open.lock().unwrap().values().sum()
    }

    async fn order(&self, fault: Fault) {
        self.orders.send_modify(|order| order.fault = fault);
        let listens = fault != Fault::Refuse;
        let obeys = async || (self.counts.is_listening.load(Ordering::SeqCst) == listens).then_some(());
        eventually("the proxy does what it was told", PATIENCE, obeys).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Connections see the orders end and close.
        self.listener.abort();
    }
}

async fn listen(
    listener: TcpListener,
    address: SocketAddr,
    upstream: SocketAddr,
    mut orders: watch::Receiver<Order>,
    counts: Arc<Counts>,
) {
    let mut listener = Some(listener);
    loop {
        let fault = orders.borrow_and_update().fault;
        if fault == Fault::Refuse {
            listener = None;
        } else if listener.is_none() {
            // The port was ours a moment ago; it is free again as soon as the kernel has let go of it.
            listener = TcpListener::bind(address).await.ok();
        }
        counts.is_listening.store(listener.is_some(), Ordering::SeqCst);
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.ok(),
                None if fault == Fault::Refuse => std::future::pending().await,
                None => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    None
                }
            }
        };
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            accepted = accepted => if let Some((client, _)) = accepted {
                counts.accepted.fetch_add(1, Ordering::SeqCst);
                let open = Open::count(&counts, orders.borrow().epoch);
                tokio::spawn(forward(client, upstream, orders.clone(), open));
            }
        }
    }
}

/// One connection in the count of those that are open.
struct Open {
    counts: Arc<Counts>,
    epoch: usize,
}

impl Open {
    fn count(counts: &Arc<Counts>, epoch: usize) -> Self {
        *counts.open.lock().unwrap().entry(epoch).or_default() += 1;
        Self { counts: Arc::clone(counts), epoch }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(open) = self.counts.open.lock().unwrap().get_mut(&self.epoch) {
            *open -= 1;
        }
    }
}

/// Forwards one connection until either side closes it or it is cut.
async fn forward(client: TcpStream, upstream: SocketAddr, orders: watch::Receiver<Order>, open: Open) {
    let mut cuts = orders.clone();
    let forwarding = async {
        passable(&mut orders.clone()).await?;
        let server = TcpStream::connect(upstream).await.ok()?;
        // Without it, small messages wait for the answer to the last one, and the proxy would be a delay of its own.
        client.set_nodelay(true).ok()?;
        server.set_nodelay(true).ok()?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let there = pump(from_client, to_server, orders.clone());
        let back = pump(from_server, to_client, orders);
        tokio::join!(there, back);
        Some(())
    };
    tokio::select! {
        _ = forwarding => {}
        _ = cuts.wait_for(|order| order.epoch != open.epoch) => {}
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut orders: watch::Receiver<Order>,
) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        // Asked after the read: what arrives while the network is down must not get through.
        if passable(&mut orders).await.is_none() || to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
    // A side that has closed while the network is down is not heard of either.
    if passable(&mut orders).await.is_some() {
        to.shutdown().await.ok();
    }
}

/// Waits until data may pass; none when the proxy is gone.
async fn passable(orders: &mut watch::Receiver<Order>) -> Option<()> {
    let fault = orders.wait_for(|order| order.fault != Fault::BlackHole).await.ok()?.fault;
    if let Fault::Delay(time) = fault {
        tokio::time::sleep(time).await;
    }
    Some(())
}
