//! Compares the service with the least that could give the same answers: a server written by hand on axum and
//! tokio-postgres, with copies of what is read in Redis, in its own memory, or nowhere. Each is a process of its own,
//! loaded in turns over the same number of connections; what counts is the ratio of the processor time that each of them
//! needs for a request.
//!
//! `cargo bench -p tests --bench http` starts the servers that it needs; with `SEABED_BENCH_DATABASE_URL=postgres://…`
//! a database is made on that PostgreSQL server for the run. `SEABED_BENCH_ROUNDS` sets how many rounds there are, and
//! `SEABED_BENCH_ONLY="read by key, Redis"` leaves all out but one request.

mod client;
mod document;
#[path = "../shared/fixture.rs"]
mod fixture;
mod limit;
#[path = "../shared/measure.rs"]
mod measure;
mod server;
#[path = "../shared/wire.rs"]
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use api::{
    command::{self, Cli},
    config::Config,
    wiring,
};
use client::{CONNECTIONS, Connection, get, load, with_body};
use fixture::{Fixture, Outcome};
use measure::{load_average, median};
use server::{Backing, Kind, Server, Tier};
use tests::{Postgres, Redis, Skip};

/// How many rounds, if nothing is said.
const ROUNDS: usize = 5;
/// How long one server is loaded in a round.
const TURN: Duration = Duration::from_millis(1_500);
/// How often each server is started to see how long that takes.
const STARTS: usize = 5;

fn main() -> Outcome<()> {
    match variable("SEABED_BENCH_SERVE").as_deref() {
        Some("limit") => serve_limit(),
        Some(_) => serve_ours(),
        None => runtime()?.block_on(compare()),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

#[expect(clippy::disallowed_methods, reason = "a benchmark is configured by its own variables")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn serve_limit() -> Outcome<()> {
    let (url, address) = (variable("DATABASE_URL").ok_or("no database")?, variable("LISTEN").ok_or("no address")?);
    // The settings of the service say the same here.
    let (redis, in_memory) = (variable("REDIS_URL"), variable("CACHE").is_none());
    runtime()?.block_on(async {
        let keep = limit::Keep::new(redis.as_deref(), in_memory).await?;
        limit::serve(&url, keep, tokio::net::TcpListener::bind(address).await?).await
    })
}

/// The same as the `main` of the service, which another package's benchmark cannot start.
fn serve_ours() -> Outcome<()> {
    let config = Config::from_process()?;
    let _log = wiring::log(&config)?;
    runtime()?.block_on(command::run(Cli::default(), &config))?;
    Ok(())
}

/// What is asked of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Find,
    Short,
    Long,
    Relations,
    Update,
    Transfer,
}

impl Request {
    /// What is worth comparing where copies are kept there.
    fn of(tier: Tier) -> &'static [Self] {
        match tier {
            Tier::None => &[Self::Find, Self::Relations, Self::Update, Self::Transfer],
            Tier::Memory | Tier::Redis => &[Self::Find, Self::Short, Self::Long, Self::Update],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Find => "read by key",
            Self::Short => "read by key, a body of 200 bytes",
            Self::Long => "read by key, a body of 20 kB",
            Self::Relations => "user, profile, 10 contents, 5 tags",
            Self::Update => "update",
            Self::Transfer => "transfer",
        }
    }
}

/// What the requests are made of; the same for all servers, so that versions go on from turn to turn.
struct Workload {
    finds: Vec<Vec<u8>>,
    documents: [Vec<Vec<u8>>; 2],
    relations: Vec<Vec<u8>>,
    /// The users that each connection changes, which nobody else does, with their versions.
    updates: Vec<(uuid::Uuid, AtomicI64)>,
    transfers: Vec<Vec<u8>>,
    next: AtomicUsize,
}

impl Workload {
    fn new(fixture: &Fixture, documents: &[Vec<uuid::Uuid>; 2]) -> Self {
        let document = |id| get(&format!("/v1/contents/{id}"));
        let read = &fixture.users[CONNECTIONS..];
        let transfer = |pair: &[uuid::Uuid]| {
            let [from, to] = [pair[0], pair[1]];
            let body = format!(r#"{{"from_account_id":"{from}","to_account_id":"{to}","amount":1}}"#);
            with_body("POST", "/v1/transfers", "", &body)
        };
        Self {
            finds: read.iter().map(|id| get(&format!("/v1/users/{id}"))).collect(),
            documents: documents.each_ref().map(|ids| ids.iter().map(document).collect()),
            relations: read.iter().map(|id| get(&format!("/v1/users/{id}?include=profile,contents.tags"))).collect(),
            updates: fixture.users[..CONNECTIONS].iter().map(|id| (*id, AtomicI64::new(1))).collect(),
            transfers: fixture.accounts.chunks(2).map(transfer).collect(),
            next: AtomicUsize::new(0),
        }
    }

    async fn turn(self: &Arc<Self>, request: Request, server: &Server, time: Duration) -> Outcome<u64> {
        let address = server.address;
        let these = Arc::clone(self);
        let next = move || these.next.fetch_add(1, Ordering::Relaxed);
        let these = Arc::clone(self);
        match request {
            Request::Find => load(address, time, 200, move |_| these.finds[next() % these.finds.len()].clone()).await,
            Request::Short | Request::Long => {
                let size = usize::from(request == Request::Long);
                let pick = move |_| {
                    let documents = &these.documents[size];
                    documents[next() % documents.len()].clone()
                };
                load(address, time, 200, pick).await
            }
            Request::Relations => {
                load(address, time, 200, move |_| these.relations[next() % these.relations.len()].clone()).await
            }
            Request::Transfer => {
                load(address, time, 201, move |_| these.transfers[next() % these.transfers.len()].clone()).await
            }
            Request::Update => {
                let change = move |connection: usize| {
                    let (id, version) = &these.updates[connection];
                    let version = version.fetch_add(1, Ordering::Relaxed);
                    let header = format!("if-match: \"{version}\"\r\n");
                    with_body(
                        "PATCH",
                        &format!("/v1/users/{id}"),
                        &header,
                        &format!(r#"{{"name":"Changed {version}"}}"#),
                    )
                };
                load(address, time, 200, change).await
            }
        }
    }
}

/// What a turn cost.
struct Turn {
    cpu_us: f64,
    a_second: f64,
}

/// Where the servers are that the measured ones work with: the database's is started, unless one is named.
struct Home {
    url: String,
    redis: Redis,
    _postgres: Option<Postgres>,
}

impl Home {
    async fn find() -> Result<Self, Skip> {
        let redis = Redis::private().await?;
        if let Some(url) = variable("SEABED_BENCH_DATABASE_URL") {
            return Ok(Self { url, redis, _postgres: None });
        }
        let postgres = Postgres::private().await?;
        Ok(Self { url: postgres.url("postgres"), redis, _postgres: Some(postgres) })
    }
}

async fn compare() -> Outcome<()> {
    let home = match Home::find().await {
        Ok(home) => home,
        Err(skip) => {
            println!("skipped: {skip}");
            return Ok(());
        }
    };
    let fixture = Fixture::make(Some(&home.url)).await?;
    let redis = home.redis.url();
    let result = compare_on(&fixture, Backing { database: &fixture.url, redis: &redis }).await;
    fixture.remove().await?;
    result
}

async fn compare_on(fixture: &Fixture, backing: Backing<'_>) -> Outcome<()> {
    println!("http on PostgreSQL, {CONNECTIONS} connections, load average {}", load_average());
    let documents = document::write(&fixture::connect(&fixture.url).await?).await?;
    let workload = Arc::new(Workload::new(fixture, &documents));
    println!();
    println!(
        "| request | copies | CPU ours/limit | with a log of warnings only | requests/s ours, quiet, limit | CPU µs a request |"
    );
    println!("|---|---|---|---|---|---|");
    let mut footnotes = Vec::new();
    for tier in Tier::ALL {
        footnotes.extend(compare_at(tier, &workload, backing).await?);
    }
    println!();
    for kind in [Kind::Ours, Kind::Limit] {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            times.push(Server::start(kind, Tier::Memory, backing).await?.start.as_secs_f64() * 1e3);
        }
        println!("From start to the first answer, {}: {:.0} ms.", kind.name(), median(times));
    }
    footnotes.iter().for_each(|footnote| println!("{footnote}"));
    println!("load average {}", load_average());
    Ok(())
}

/// Compares the servers that keep copies there. Gives what else there is to say about them.
async fn compare_at(tier: Tier, workload: &Arc<Workload>, backing: Backing<'_>) -> Outcome<Vec<String>> {
    // Only what is called so, for a profiler to look at.
    let only = variable("SEABED_BENCH_ONLY");
    let is_wanted = |request: &&Request| match &only {
        Some(only) => format!("{}, {}", request.name(), tier.name()) == *only,
        None => true,
    };
    let requests = Request::of(tier).iter().filter(is_wanted).copied().collect::<Vec<_>>();
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let mut servers = Vec::new();
    for kind in Kind::ALL {
        servers.push(Server::start(kind, tier, backing).await?);
    }
    if only.is_some() {
        servers.iter().for_each(|server| println!("{} is process {}", server.kind.name(), server.process()));
    }
    let idle = servers.iter().map(Server::resident_mib).collect::<Outcome<Vec<_>>>()?;
    same_answers(workload, &servers).await?;

    let rounds = variable("SEABED_BENCH_ROUNDS").and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let mut most = vec![0.0_f64; servers.len()];
    for request in requests {
        let mut turns = Vec::new();
        for round in 0..=rounds {
            let mut round_of_turns = Vec::new();
            for (server, most) in servers.iter().zip(&mut most) {
                // The first round warms up.
                let time = if round == 0 { TURN / 3 } else { TURN };
                let (cpu, started) = (server.cpu()?, Instant::now());
                let answered = workload.turn(request, server, time).await?;
                let (cpu, time) = (server.cpu()? - cpu, started.elapsed());
                *most = most.max(server.resident_mib()?);
                let cpu_us = cpu.as_secs_f64() * 1e6 / answered as f64;
                round_of_turns.push(Turn { cpu_us, a_second: answered as f64 / time.as_secs_f64() });
            }
            if round > 0 {
                turns.push(round_of_turns);
            }
        }
        let ratio = |of: usize| median(turns.iter().map(|round| round[of].cpu_us / round[2].cpu_us).collect());
        let a_second = |of: usize| median(turns.iter().map(|round| round[of].a_second).collect());
        let cpu = |of: usize| median(turns.iter().map(|round| round[of].cpu_us).collect());
        println!(
            "| {} | {} | {:.2} | {:.2} | {:.0}, {:.0}, {:.0} | {:.1}, {:.1}, {:.1} |",
            request.name(),
            tier.name(),
            ratio(0),
            ratio(1),
            a_second(0),
            a_second(1),
            a_second(2),
            cpu(0),
            cpu(1),
            cpu(2)
        );
    }
    let memory = servers.iter().zip(idle).zip(most).map(|((server, idle), most)| {
        let (name, tier) = (server.kind.name(), tier.name());
        format!("Memory of {name}, copies {tier}: {idle:.1} MiB idle, {most:.1} MiB under load.")
    });
    Ok(memory.collect())
}

/// Makes sure that what is compared is the same.
async fn same_answers(workload: &Workload, servers: &[Server]) -> Outcome<()> {
    let [short, long] = &workload.documents;
    for request in [&workload.finds[0], &workload.relations[0], &short[0], &long[0]] {
        let mut answers = Vec::new();
        for server in servers {
            // The second answer is the one that is kept, where any is.
            for _ in 0..2 {
                let mut connection = Connection::open(server.address).await?;
                answers.push(serde_json::from_slice::<serde_json::Value>(connection.send(request).await?.body)?);
            }
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "the servers answer differently: {answers:#?}");
    }
    Ok(())
}
