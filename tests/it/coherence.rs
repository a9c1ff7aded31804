//! Real processes that share a cache, under faults: no read is older than what was acknowledged before it began.
//!
//! Four processes read and write the same contents through one Redis, each by a network of its own that breaks, while
//! processes are killed and stopped, and servers too, in an order that follows from a seed. What each saw is checked
//! afterwards, against all others. The same is done with caches that are wrong on purpose, which must be found out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use domain::{Store, SystemClock};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::ConnectionTrait;
use serde_json::Value;
use tests::{
    PATIENCE, Postgres, Proxy, Redis, Signal, Toward, eventually, or_skip, process,
    run::{self, Run},
    staleness::{Amnesia, Event, Report, What, check, now},
    within,
};

use crate::fixture::{new_content, options, user};

const WORKLOAD: &str = env!("CARGO_BIN_EXE_workload");
const PROCESSES: usize = 4;
const AUTHORS: usize = 8;
const CONTENTS: usize = 16;
/// How old a read may be when a cache has lost its memory dishonestly: the freshness, and what clocks round.
const BOUND: Duration = Duration::from_millis(1_050);

/// One process of the service. It ends with its owner.
struct Worker {
    process: Child,
    log: PathBuf,
}

/// All that takes part.
struct Torture {
    postgres: Postgres,
    redis: Redis,
    database: String,
    networks: Vec<Proxy>,
    workers: Vec<Worker>,
    logs: Vec<PathBuf>,
    folder: tempfile::TempDir,
    variant: &'static str,
    amnesias: Vec<Amnesia>,
    faults: usize,
    /// What was done to whom, and when.
    story: Vec<(u64, String)>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

impl Torture {
    async fn begin(variant: &'static str) -> Result<Self, tests::Skip> {
        // What is acknowledged has to be seen here, not to survive a power cut.
        let postgres = Postgres::private_with(&["fsync=off", "max_connections=100"]).await?;
        let redis = Redis::private().await?;
        let database = postgres.database().await;
        populate(&database).await;
        let mut networks = Vec::new();
        for _ in 0..PROCESSES {
            networks.push(Proxy::to(redis.address()).await);
        }
        let database = database.url.clone();
        let folder = Run::current().new_folder("coherence-");
        let (workers, logs, amnesias) = (Vec::new(), Vec::new(), Vec::new());
        let mut torture = Self {
            postgres,
            redis,
            database,
            networks,
            workers,
            logs,
            folder,
            variant,
            amnesias,
            faults: 0,
            story: Vec::new(),
        };
        for place in 0..PROCESSES {
            let worker = torture.start(place);
            torture.workers.push(worker);
        }
        torture.redis.snapshot().await;
        Ok(torture)
    }

    fn start(&mut self, place: usize) -> Worker {
        let log = self.folder.path().join(format!("{}.log", self.logs.len()));
        let redis = self.networks[place].url(&self.redis.url());
        let mut command = process::command(Path::new(WORKLOAD), None, "KILL");
        command.args([&self.database, &redis, self.variant, &(self.logs.len() + 1).to_string()]).arg(&log);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        self.logs.push(log.clone());
        Worker { process: process::spawn(command).unwrap(), log }
    }

    /// One fault, and some calm after it.
    async fn fault(&mut self, chance: &mut StdRng) {
        self.faults += 1;
        let place = chance.random_range(0..PROCESSES);
        let lasts = Duration::from_millis(chance.random_range(50..1_500));
        match chance.random_range(0..100) {
            0..12 => {
                self.tell(format!("process {place} is killed"));
                self.workers[place].process.kill().unwrap();
                self.workers[place] = self.start(place);
            }
            12..24 => {
                self.tell(format!("process {place} is stopped for {:?}", lasts * 2));
                let id = self.workers[place].process.id();
                process::signal(id, Signal::STOP);
                tokio::time::sleep(lasts * 2).await;
                process::signal(id, Signal::CONT);
            }
            24..34 => {
                self.tell(format!("redis is stopped for {lasts:?}"));
                self.redis.pause();
                tokio::time::sleep(lasts).await;
                self.redis.resume();
            }
            34..42 => {
                self.tell("redis is killed, and starts empty");
                self.redis.restart().await;
            }
            42..52 => {
                self.tell("redis is flushed");
                self.redis.flush().await;
            }
            52..57 => {
                self.tell("redis saves what it holds");
                self.redis.snapshot().await;
            }
            57..63 => {
                self.tell("redis is killed, and starts with what it saved");
                let began = now();
                self.redis.restart_from_snapshot().await;
                self.amnesias.push(Amnesia { began, ended: now() });
            }
            63..71 => {
                self.tell(format!("redis evicts for {lasts:?}"));
                self.redis.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
                self.redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1200000"]).await;
                tokio::time::sleep(lasts).await;
                self.redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
            }
            71..86 => {
                let toward = if chance.random_bool(0.5) { Toward::Server } else { Toward::Client };
                self.tell(format!("the network of process {place} stalls toward {toward:?} for {lasts:?}"));
                self.networks[place].stall(toward).await;
                tokio::time::sleep(lasts).await;
                self.networks[place].forward().await;
            }
            86..94 => {
                self.tell(format!("the network of process {place} is cut"));
                self.networks[place].cut().await;
            }
            _ => {
                self.tell("postgres is restarted");
                self.postgres.restart().await;
            }
        }
        self.revive();
        tokio::time::sleep(Duration::from_millis(chance.random_range(50..500))).await;
    }

    /// Lets those come back that killed themselves in the middle of a step.
    fn revive(&mut self) {
        for place in 0..PROCESSES {
            if self.workers[place].process.try_wait().unwrap().is_some() {
                self.workers[place] = self.start(place);
            }
        }
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.story.push((now(), what.into()));
    }

    /// What happened around an event, and to its key.
    fn around(&self, event: &Event) -> String {
        const BEFORE: u64 = 3_000_000_000;
        let near = |at: u64| at + BEFORE > event.began && at < event.ended + BEFORE / 10;
        let mut lines = self.story.iter().filter(|(at, _)| near(*at)).cloned().collect::<Vec<_>>();
        let events = self.events();
        let same = events.iter().filter(|other| other.key == event.key && near(other.ended));
        let near_it = same.filter(|other| !matches!(other.what, What::Read(_)) || other.session == event.session);
        lines.extend(near_it.map(|other| (other.began, format!("{other:?}"))));
        lines.sort();
        lines.into_iter().map(|(at, line)| format!("{at} {line}\n")).collect()
    }

    fn events(&self) -> Vec<Event> {
        let logs = self.logs.iter().map(|log| fs::read_to_string(log).unwrap_or_default()).collect::<Vec<_>>();
        logs.iter().flat_map(|log| log.split_inclusive('\n').filter_map(Event::parse)).collect()
    }

    fn report(&self) -> Report {
        check(&self.events(), &self.amnesias, nanos(BOUND))
    }

    /// Lets all processes end in good order; what their caches counted.
    async fn end(&mut self) -> Vec<Value> {
        // One that was started by the last fault may not have begun yet.
        let all_have_begun = async || {
            self.revive();
            self.workers.iter().all(|worker| worker.log.exists()).then_some(())
        };
        eventually("all have begun", PATIENCE, all_have_begun).await;
        let mut counts = Vec::new();
        for worker in &mut self.workers {
            process::signal(worker.process.id(), Signal::TERM);
            let mut told = String::new();
            std::io::Read::read_to_string(worker.process.stdout.as_mut().unwrap(), &mut told).unwrap();
            counts.extend(serde_json::from_str::<Value>(&told).ok());
        }
        counts
    }
}

/// Contents of some authors, and a table beside them that says which version each has, also when it is gone.
async fn populate(database: &tests::TestDatabase) {
    let store = Store::connect(&options(&database.url), SystemClock).await.unwrap();
    let outside = database.connect().await;
    let table = "CREATE TABLE versions (number bigint GENERATED ALWAYS AS IDENTITY, id uuid PRIMARY KEY, \
                 author_id uuid NOT NULL, version bigint NOT NULL)";
    outside.execute_unprepared(table).await.unwrap();
    let mut authors = Vec::new();
    for n in 0..AUTHORS {
        authors.push(user(&store, &format!("author{n}")).await.id);
    }
    // Those of one author are of all degrees of popularity.
    for n in 0..AUTHORS * CONTENTS {
        store.insert(new_content(authors[n % AUTHORS], &format!("content {n}"))).await.unwrap();
    }
    let copy = "INSERT INTO versions (id, author_id, version) SELECT id, author_id, version FROM contents ORDER BY id";
    outside.execute_unprepared(copy).await.unwrap();
    store.close().await;
    outside.close().await.unwrap();
}

/// Of 3 times one in n (J. A. Hanley and A. Lippman-Hand, "If nothing goes wrong, is everything all right?", 1983).
fn bound_on_the_rate(tried: usize) -> f64 {
    3.0 / tried as f64
}

#[test]
fn no_read_is_older_than_an_acknowledgement_whatever_breaks() {
    within(run::limit(Duration::from_secs(300)), async {
        let (operations, faults) = (run::rounds(500_000, 10_000_000), run::rounds(50, 1_000));
        let mut torture = or_skip!(Torture::begin("ours").await);
        let mut chance = StdRng::seed_from_u64(4);
        let (began, longest) = (Instant::now(), run::limit(Duration::from_secs(240)));
        while torture.faults < faults || (size(&torture.logs) < operations && began.elapsed() < longest) {
            torture.fault(&mut chance).await;
        }
        let counts = torture.end().await;
        let report = torture.report();
        let Report { reads, writes, racing, went_back, stale, older_than_bound } = &report;
        println!(
            "{reads} reads, {racing} of them racing a write, and {writes} acknowledged writes under {} faults in {:?}: \
             {} stale, {} older than the bound, so with 95 % confidence fewer than one in {:.0} racing reads; \
             {went_back} went back behind a write that nobody had acknowledged; {counts:?}",
            torture.faults,
            began.elapsed(),
            stale.len(),
            older_than_bound.len(),
            1.0 / bound_on_the_rate(*racing),
        );
        let wrong =
            stale.iter().chain(older_than_bound).map(|event| format!("{event:?} after\n{}", torture.around(event)));
        assert_eq!(wrong.collect::<Vec<_>>().join("\n"), "");
        assert!(*reads > 10_000 && *writes > 1_000 && *racing > 1_000, "{report:?}");
        let hits = counts.iter().map(|counts| counts["hits"].as_u64().unwrap()).sum::<u64>();
        assert!(hits > 100, "{counts:?}");
    });
}

/// About how many things have been done.
fn size(logs: &[PathBuf]) -> usize {
    const LINE: u64 = 40;
    logs.iter().map(|log| fs::metadata(log).map_or(0, |log| log.len() / LINE)).sum::<u64>() as usize
}

/// Runs a cache that is wrong until it is found out.
fn is_found_out(variant: &'static str) {
    within(run::limit(Duration::from_secs(120)), async {
        let mut torture = or_skip!(Torture::begin(variant).await);
        let mut chance = StdRng::seed_from_u64(5);
        loop {
            torture.fault(&mut chance).await;
            let Report { stale, older_than_bound, .. } = torture.report();
            if !stale.is_empty() || !older_than_bound.is_empty() {
                break;
            }
        }
    });
}

#[test]
fn deleting_after_the_commit_is_found_out() {
    is_found_out("tokenless");
}

#[test]
fn leaving_it_to_the_relay_is_found_out() {
    is_found_out("relay-only");
}

#[test]
fn a_lease_that_is_too_long_is_found_out() {
    is_found_out("leaseless");
}

#[test]
fn not_waiting_is_found_out() {
    is_found_out("hasty");
}

#[test]
fn the_check_finds_what_is_stale_and_nothing_else() {
    let event = |key, began, ended, what| Event { key, began, ended, session: 0, what };
    let history = [
        event(1, 0, 10, What::Wrote(2, true)),
        event(1, 20, 30, What::Wrote(3, false)),
        event(1, 5, 8, What::Read(Some(1))),
        event(1, 12, 15, What::Read(Some(2))),
        event(1, 25, 35, What::Read(Some(2))),
        event(1, 31, 33, What::Read(None)),
        event(2, 31, 33, What::Read(None)),
    ];
    let report = check(&history, &[], 100);
    assert_eq!((report.reads, report.writes, &report.stale[..]), (5, 2, &[][..]));
    let stale = [
        event(1, 11, 12, What::Read(Some(1))),
        event(1, 11, 12, What::Read(None)),
        event(1, 200, 201, What::Read(Some(2))),
    ];
    for (stale, is_too_old) in stale.into_iter().zip([false, false, true]) {
        let report = check(&[&history[..1], &history[1..2], &[stale]].concat(), &[], 100);
        assert_eq!(report.stale, [stale]);
        assert_eq!(report.older_than_bound.len(), usize::from(is_too_old));
        let amnesia = Amnesia { began: stale.began, ended: stale.began };
        assert_eq!(check(&[&history[..2], &[stale]].concat(), &[amnesia], 100).stale, []);
    }
    // Nobody knows whether it was deleted; if so, it still is, long after, and until it is written again.
    let doubt = Event { session: 1, ..event(1, 11, 11, What::MayDelete) };
    let nothing = event(1, 60_000_000_000, 60_000_000_001, What::Read(None));
    assert_eq!(check(&[history[0], doubt, nothing], &[], 100).stale, []);
    let again = event(1, 30_000_000_000, 30_000_000_001, What::Wrote(4, true));
    assert_eq!(check(&[history[0], doubt, again, nothing], &[], 100).stale, [nothing]);
    for event in history {
        assert_eq!(Event::parse(&event.line()), Some(event));
    }
    assert_eq!(Event::parse("1 2 3"), None);
}

/// The program of a worker tells what it needs.
#[test]
fn a_worker_without_orders_says_so() {
    let output = Command::new(WORKLOAD).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("DATABASE_URL"));
}
