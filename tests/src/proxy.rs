//! A TCP proxy that breaks the network on purpose.
//!
//! A [`Proxy`] stands before a server. [`Fault`]s are ordered for the whole network ([`Proxy::impose`] and its short
//! forms, healed by [`Proxy::forward`]), strike by themselves at a point of the conversation ([`Trap`]), or come one
//! after another in an order that follows from a seed ([`Schedule`]). What passes is counted: connections, bytes, and how
//! often a client said something ([`Proxy::count`]), which is how a test knows that a commit was sent once.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use url::Url;

use crate::{PATIENCE, eventually};

mod connection;
mod schedule;
mod trap;

pub use schedule::{Schedule, Step};
pub use trap::{Trap, Watch};

/// Stands before a server and forwards to it, until it is told to do worse. Ends when dropped, with its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    network: Arc<Network>,
}

/// What can happen to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both sides find their connection closed.
    Cut,
    /// Both sides find their connection reset (RST), as when a machine has forgotten it.
    Reset,
    /// New connections are refused, as by a machine on which no server runs, and open ones are cut.
    Refuse,
    /// What is sent in a direction is held back. Connections can still be opened.
    Stall(Toward),
    /// Both directions are stalled: connections stay, new ones are accepted, and nobody answers.
    BlackHole,
    /// What is sent in a direction arrives so much later.
    Delay(Toward, Duration),
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    /// What clients say.
    Server,
    /// What the server says.
    Client,
}

/// What all connections share.
#[derive(Debug)]
struct Network {
    upstream: SocketAddr,
    weather: watch::Sender<Weather>,
    watches: trap::Watches,
    accepted: AtomicUsize,
    /// How many connections are open, by the epoch in which they were accepted.
    open: Mutex<BTreeMap<usize, usize>>,
    bytes: [AtomicU64; 2],
    is_listening: AtomicBool,
}

/// How the network is at the moment.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    refuses: bool,
    stalled: [bool; 2],
    delay: [Duration; 2],
    /// Connections of an older epoch are ended, like this.
    epoch: usize,
    ending: Ending,
    /// The proxy is gone.
    is_over: bool,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Ending {
    #[default]
    Cut,
    Reset,
}

impl Proxy {
    /// Starts to forward from a free port to an address.
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let network = Arc::new(Network {
            upstream,
            weather: watch::Sender::default(),
            watches: trap::Watches::default(),
            accepted: AtomicUsize::new(0),
            open: Mutex::default(),
            bytes: Default::default(),
            is_listening: AtomicBool::new(true),
        });
        tokio::spawn(listen(listener, address, Arc::clone(&network)));
        Self { address, network }
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
        url_at(self.address, server)
    }

    /// Forwards again, also what was held back, as a network that has healed does. [`Trap`]s stay where they are.
    pub async fn forward(&self) {
        self.network.weather.send_modify(Weather::heal);
        self.obeyed().await;
    }

    /// Lets a fault happen to the whole network, and returns when it has. Faults add up until [`forward`](Self::forward).
    pub async fn impose(&self, fault: Fault) {
        self.network.weather.send_modify(|weather| weather.suffer(fault));
        self.obeyed().await;
    }

    /// [`Fault::Refuse`].
    pub async fn refuse(&self) {
        self.impose(Fault::Refuse).await;
    }

    /// [`Fault::BlackHole`].
    pub async fn black_hole(&self) {
        self.impose(Fault::BlackHole).await;
    }

    /// [`Fault::Stall`].
    pub async fn stall(&self, toward: Toward) {
        self.impose(Fault::Stall(toward)).await;
    }

    /// [`Fault::Delay`] in both directions: answers take twice that time.
    pub async fn delay(&self, time: Duration) {
        self.impose(Fault::Delay(Toward::Server, time)).await;
        self.impose(Fault::Delay(Toward::Client, time)).await;
    }

    /// [`Fault::Cut`] of all connections that are open; with new ones it goes on as before.
    pub async fn cut(&self) {
        self.impose(Fault::Cut).await;
    }

    /// [`Fault::Reset`] of all connections that are open; with new ones it goes on as before.
    pub async fn reset(&self) {
        self.impose(Fault::Reset).await;
    }

    /// Lets the faults of a [`Schedule`] happen one after another, each for its time, and heals the network after each.
    pub async fn play(&self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            self.impose(step.fault).await;
            tokio::time::sleep(step.lasts).await;
            self.forward().await;
            tokio::time::sleep(step.calm).await;
        }
    }

    /// Sets a trap, for connections that are open and for new ones.
    pub fn set(&self, trap: Trap) -> Watch {
        self.network.watches.add(trap)
    }

    /// Counts how often clients say something from now on, whether or not it gets through to the server.
    ///
    /// A statement's SQL is said only when it is prepared, once on each connection; what is said each time that it runs is
    /// `BEGIN`, `COMMIT`, and the values of its parameters.
    pub fn count(&self, said: impl AsRef<[u8]>) -> Watch {
        self.set(Trap::none(said.as_ref()))
    }

    /// How many connections it has accepted since it started.
    pub fn connections(&self) -> usize {
        self.network.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.network.open.lock().unwrap().values().sum()
    }

    /// How many bytes it has forwarded in a direction since it started.
    pub fn bytes(&self, toward: Toward) -> u64 {
        self.network.bytes[toward as usize].load(Ordering::SeqCst)
    }

    async fn obeyed(&self) {
        let Weather { refuses, epoch, .. } = *self.network.weather.borrow();
        let ended = || self.network.open.lock().unwrap().range(..epoch).all(|(_, &open)| open == 0);
        let listens = || self.network.is_listening.load(Ordering::SeqCst) != refuses;
        // Ended are only older connections: a pool may have connected again meanwhile.
        eventually("the proxy does as told", PATIENCE, async || (ended() && listens()).then_some(())).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.weather.send_modify(|weather| weather.is_over = true);
    }
}

/// A server's URL, with another address in it.
pub(crate) fn url_at(address: SocketAddr, server: &str) -> String {
    let mut url = Url::parse(server).unwrap();
    url.set_ip_host(address.ip()).unwrap();
    url.set_port(Some(address.port())).unwrap();
    url.into()
}

impl Weather {
    fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::Cut => self.end(Ending::Cut),
            Fault::Reset => self.end(Ending::Reset),
            Fault::Refuse => {
                self.refuses = true;
                self.end(Ending::Cut);
            }
            Fault::Stall(toward) => self.stalled[toward as usize] = true,
            Fault::BlackHole => self.stalled = [true; 2],
            Fault::Delay(toward, time) => self.delay[toward as usize] = time,
        }
    }

    fn end(&mut self, ending: Ending) {
        self.epoch += 1;
        self.ending = ending;
    }

    fn heal(&mut self) {
        let Self { refuses, stalled, delay, epoch: _, ending: _, is_over: _ } = self;
        (*refuses, *stalled, *delay) = Default::default();
    }
}

async fn listen(listener: TcpListener, address: SocketAddr, network: Arc<Network>) {
    let mut weather = network.weather.subscribe();
    let mut listener = Some(listener);
    loop {
        let Weather { refuses, is_over, .. } = *weather.borrow_and_update();
        if is_over {
            return;
        } else if refuses {
            listener = None;
        } else if listener.is_none() {
            // The port was ours a moment ago; it is free again as soon as the kernel has let go of it.
            listener = TcpListener::bind(address).await.ok();
        }
        network.is_listening.store(listener.is_some(), Ordering::SeqCst);
        tokio::select! {
            _ = weather.changed() => {}
            client = accept(listener.as_ref(), refuses) => if let Some(client) = client {
                network.accepted.fetch_add(1, Ordering::SeqCst);
                let open = Open::count(&network);
                tokio::spawn(connection::forward(client, open));
            }
        }
    }
}

/// Waits for a client, or, where there is still nobody to accept it, until it is time to look again.
async fn accept(listener: Option<&TcpListener>, refuses: bool) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(client, _)| client),
        None if refuses => std::future::pending().await,
        None => {
            tokio::time::sleep(Duration::from_millis(10)).await;
            None
        }
    }
}

/// One connection in the count of those that are open.
struct Open {
    network: Arc<Network>,
    epoch: usize,
}

impl Open {
    fn count(network: &Arc<Network>) -> Self {
        let epoch = network.weather.borrow().epoch;
        *network.open.lock().unwrap().entry(epoch).or_default() += 1;
        Self { network: Arc::clone(network), epoch }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(open) = self.network.open.lock().unwrap().get_mut(&self.epoch) {
            *open -= 1;
        }
    }
}
