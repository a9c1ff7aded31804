//! Takes the steps of the model with the real code.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use api::adapter::redis_cache::{RedisCache, RedisOptions};
use domain::{Cache, CacheCounts, CachePolicy, OnUnreachable, Sql, Store, SystemClock, Tag, TagId};
use tests::{
    PATIENCE, Redis, TestDatabase,
    protocol::{Delivery, Step, Variant, circumstances},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{
    broken::Broken,
    gate::{Call, Fate, Gate, Gated, Held, Point, Role},
};
use crate::fixture::{execute, options, store, tag};

/// What was served that must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// This value, although a newer one had been acknowledged.
    Older(usize),
    /// This value, which had not been the database's for so long.
    TooOld(usize),
}

/// What the cache said to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// It has a value.
    Hit,
    /// It has none that may be served.
    Miss,
    /// It cannot testify that it is fresh.
    Bypass,
}

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) served: Vec<Served>,
    /// Of the last step, which is a look-up.
    pub(super) looked: Option<Looked>,
}

/// The machine did not take a step in its time.
struct TooSlow;

/// A process, by one thing that it does.
struct Participant {
    store: Store,
    redis: Arc<RedisCache>,
    gate: Gate,
    gates: mpsc::UnboundedReceiver<Held>,
    held: Option<Held>,
    /// What it does, and gives the value that it read.
    task: Option<JoinHandle<usize>>,
}

/// Everybody, and what is known of the values, which are the numbers of their commits.
pub(super) struct Driver {
    server: Redis,
    behind: Store,
    writers: Vec<Participant>,
    /// Of the model's readers, those who load and those who look, which are processes of their own: by its load a reader
    /// of the model has not looked at the lease.
    readers: Vec<Participant>,
    lookers: Vec<Participant>,
    relays: Vec<Participant>,
    row: TagId,
    freshness: Duration,
    /// The rule that is taken out.
    broken: Option<Variant>,
    /// Whether writers tell that everything has changed.
    tells_star: bool,
    /// When each value was certainly committed.
    committed: Vec<Instant>,
    acknowledged: usize,
    outcome: Outcome,
    /// Whether every look at the lease is a step.
    watches: bool,
    /// For how many milliseconds Redis' clock has stood still.
    stood_still: Arc<AtomicU64>,
}

impl Driver {
    pub(super) async fn begin(
        database: &TestDatabase,
        server: Redis,
        freshness: Duration,
        variant: Variant,
        is_broken: bool,
    ) -> Self {
        let behind = store(database).await;
        let row = tag(&behind, "0").await.id;
        execute(&behind, Sql::new("DELETE FROM cache_outbox")).await.unwrap();
        let broken = is_broken.then_some(variant);
        let mut driver = Self {
            server,
            behind,
            writers: Vec::new(),
            readers: Vec::new(),
            lookers: Vec::new(),
            relays: Vec::new(),
            row,
            freshness,
            broken,
            tells_star: variant == Variant::StarKeepsLease,
            committed: vec![Instant::now()],
            acknowledged: 0,
            outcome: Outcome { served: Vec::new(), looked: None },
            watches: circumstances(variant).0.watches,
            stood_still: Arc::default(),
        };
        for _ in 0..2 {
            driver.writers.push(driver.participant(database, Role::Writer).await);
            driver.readers.push(driver.participant(database, Role::Reader).await);
            driver.lookers.push(driver.participant(database, Role::Reader).await);
            driver.relays.push(driver.participant(database, Role::Relay).await);
        }
        driver
    }

    async fn participant(&self, database: &TestDatabase, role: Role) -> Participant {
        let freshness = self.freshness;
        let url = self.server.url();
        let client = redis::Client::open(url.as_str()).unwrap();
        let redis = Arc::new(RedisCache::new(&RedisOptions { timeout: PATIENCE, freshness, ..RedisOptions::new(url) }));
        let cache: Arc<dyn Cache> = match self.broken {
            Some(variant) => Arc::new(Broken { cache: Arc::clone(&redis), variant, role, freshness, client }),
            None => Arc::clone(&redis) as _,
        };
        let (held, gates) = mpsc::unbounded_channel();
        let gate = Gate(held);
        let stood_still = Arc::clone(&self.stood_still);
        let gated = Arc::new(Gated { cache, role, gate: gate.clone(), is_shut: AtomicBool::new(false), stood_still });
        // In the one counterexample that is about its begin, the wait is over before it could begin.
        let on_unreachable = match self.broken {
            Some(Variant::NoWait | Variant::WaitFromBegin) => OnUnreachable::Acknowledge,
            _ => OnUnreachable::Wait,
        };
        let policy = CachePolicy { freshness, on_unreachable, ..CachePolicy::default() };
        let store = Store::connect(&options(&database.url), SystemClock).await.unwrap();
        let store = store.cached(Arc::clone(&gated) as _, policy).await.unwrap();
        gated.is_shut.store(true, Ordering::Release);
        Participant { store, redis, gate, gates, held: None, task: None }
    }

    /// Takes the steps, and then lets everybody come to an end and reads once more. None if the machine was too slow.
    pub(super) async fn replay(&mut self, steps: &[Step]) -> Option<Outcome> {
        for step in steps {
            self.take(*step).await.ok()?;
        }
        let looked = self.outcome.looked;
        if self.broken.is_none() {
            for w in 0..self.writers.len() {
                self.acknowledge(w, true).await;
            }
            for r in 0..self.readers.len() {
                self.readers[r].finish().await;
                self.look_up(r).await;
            }
        }
        Some(Outcome { served: self.outcome.served.clone(), looked })
    }

    async fn take(&mut self, step: Step) -> Result<(), TooSlow> {
        match step {
            Step::Tick => tokio::time::sleep(self.freshness / 2).await,
            Step::StandStill => {
                // Redis' clock cannot be held, but what it does to the lease can, and what it tells relays.
                self.server.ask::<i64>(&["PERSIST", "seabed:lease"]).await;
                let start = Instant::now();
                tokio::time::sleep(self.freshness / 2).await;
                self.stood_still.fetch_add(start.elapsed().as_millis() as u64, Ordering::AcqRel);
            }
            Step::Begin(w) => self.write(w.into()).await,
            Step::Commit(w) => self.commit(w.into()).await,
            Step::Invalidate(w, delivery) => self.invalidate(w.into(), delivery).await,
            Step::Acknowledge(w) => self.acknowledge(w.into(), false).await,
            Step::LookUp(r) => self.look_up(r.into()).await,
            Step::Acquire(r) => self.load(r.into(), Point::After(Call::Acquire)).await?,
            Step::Read(r) => self.load(r.into(), Point::Before(Call::Fill)).await?,
            Step::Fill(r) => _ = self.readers[usize::from(r)].finish().await,
            Step::Join(_) => self.join().await,
            Step::Observe(i) => {
                let relay = &mut self.relays[usize::from(i)];
                relay.next_round(self.row).await;
                relay.reach(Point::After(Call::Observe)).await;
            }
            Step::ReadOutbox(i) => self.read_outbox(i.into()).await,
            Step::InvalidateRows(i) => _ = self.relays[usize::from(i)].reach(Point::After(Call::Invalidate)).await,
            Step::Renew(i) => {
                let watching = if self.watches { &[] } else { &self.lookers[..] };
                for reader in self.readers.iter().chain(watching) {
                    // As the relay in each process does, too.
                    reader.redis.observe().await.unwrap();
                }
                self.relays[usize::from(i)].renew().await;
            }
            // It follows from the renewal, and is done when the next round begins.
            Step::DeleteRows(i) => self.relays[usize::from(i)].next_round(self.row).await,
            Step::Flush => self.server.flush().await,
            Step::Restart => self.server.restart().await,
            Step::Save => self.server.snapshot().await,
            Step::Restore => self.server.restart_from_snapshot().await,
            Step::Stamp
            | Step::GiveUp(_)
            | Step::Stop(_)
            | Step::Crash(_)
            | Step::Evict(_)
            | Step::Failover { .. }
            | Step::SetBack => panic!("{step} is in no counterexample that is replayed"),
        }
        Ok(())
    }

    /// Begins a transaction, which is held before it changes anything.
    async fn write(&mut self, w: usize) {
        let (row, star, name) = (self.row, self.tells_star, self.committed.len().to_string());
        let writer = &mut self.writers[w];
        let (store, gate) = (writer.store.clone(), writer.gate.clone());
        writer.task = Some(tokio::spawn(async move {
            let written = store.write(move |work| {
                let (gate, name) = (gate.clone(), name.clone());
                async move {
                    // So that it has begun.
                    work.query(Sql::new("SELECT 1 AS one")).await?;
                    gate.hold(Point::Before(Call::Begin)).await;
                    let sql = "UPDATE tags SET name = $1, version = version + 1 WHERE id = $2";
                    work.execute(Sql::new(sql).bind(name).bind(row)).await?;
                    if star {
                        let sql = "INSERT INTO cache_outbox (tx, keys) VALUES (txid_current(), '[\"*\"]')";
                        work.execute(Sql::new(sql)).await?;
                    }
                    Ok(())
                }
            });
            written.await.unwrap();
            0
        }));
        writer.reach(Point::Before(Call::Begin)).await;
    }

    async fn commit(&mut self, w: usize) {
        if self.writers[w].task.is_none() {
            self.write(w).await;
        }
        assert!(self.writers[w].reach(Point::Before(Call::Invalidate)).await, "it tells the cache");
        self.committed.push(Instant::now());
    }

    async fn invalidate(&mut self, w: usize, delivery: Delivery) {
        let writer = &mut self.writers[w];
        if delivery == Delivery::RequestLost {
            return writer.open(Fate::IsLost);
        }
        writer.reach(Point::After(Call::Invalidate)).await;
        if delivery == Delivery::AnswerLost {
            writer.open(Fate::IsLost);
        }
    }

    /// Lets the writer acknowledge, unless it waits because it could not tell the cache; or until that is over. What it
    /// tries meanwhile is lost.
    async fn acknowledge(&mut self, w: usize, waits: bool) {
        let writer = &mut self.writers[w];
        if writer.task.is_none() {
            return;
        }
        while let Some(point) = writer.stop().await {
            let is_waiting = writer.store.cache_status().unwrap().waited > 0;
            match (point, is_waiting) {
                (Point::Before(Call::Invalidate), true) if waits => writer.open(Fate::IsLost),
                (Point::Before(Call::Invalidate), true) => return,
                _ => writer.open(Fate::Arrives),
            }
        }
        writer.task = None;
        self.acknowledged = self.committed.len() - 1;
    }

    /// Lets a reader go on to a point of its load.
    async fn load(&mut self, r: usize, until: Point) -> Result<(), TooSlow> {
        let row = self.row;
        let reader = &mut self.readers[r];
        if reader.task.is_none() {
            reader.find(row);
        } else if until == Point::After(Call::Acquire) {
            // It has read without, as the rule that is missing says; or it has acquired already.
            return Ok(());
        }
        // Without a lease that it believes it reads the database, and that is all.
        if reader.reach(until).await { Ok(()) } else { Err(TooSlow) }
    }

    /// Reads, and judges what was read.
    async fn look_up(&mut self, r: usize) {
        let (row, asked, acknowledged) = (self.row, Instant::now(), self.acknowledged);
        let reader = &mut self.lookers[r];
        let before = reader.counts();
        reader.find(row);
        let value = reader.finish().await.unwrap();
        self.outcome.looked = Some(reader.looked_since(before));
        self.judge(value, asked, acknowledged);
    }

    fn judge(&mut self, value: usize, asked: Instant, acknowledged: usize) {
        // Without Redis' clock nobody knows how long to wait for it.
        let is_sound = self.stood_still.load(Ordering::Acquire) == 0;
        let limit = if is_sound { self.freshness } else { 2 * self.freshness };
        if value < acknowledged && is_sound {
            self.outcome.served.push(Served::Older(value));
        }
        if self.committed.get(value + 1).is_some_and(|gone| asked >= *gone + limit) {
            self.outcome.served.push(Served::TooOld(value));
        }
    }

    /// Another reader of the same process arrives while the first one has read and not filled.
    async fn join(&mut self) {
        let (row, asked, acknowledged) = (self.row, Instant::now(), self.acknowledged);
        let reader = &mut self.readers[0];
        reader.stop().await;
        let (before, first) = (reader.counts(), (reader.held.take(), reader.task.take()));
        if self.broken.is_none() {
            reader.find(row);
            // It waits for the first one.
            reader.reach(Point::After(Call::LookUp)).await;
            reader.open(Fate::Arrives);
        }
        let second = reader.task.take();
        (reader.held, reader.task) = first;
        let earlier = reader.finish().await.unwrap();
        reader.task = second;
        // Without the rule, it takes what the first one has read.
        let value = reader.finish().await.unwrap_or(earlier);
        self.outcome.looked = Some(reader.looked_since(before));
        self.judge(value, asked, acknowledged);
    }

    async fn read_outbox(&mut self, i: usize) {
        let relay = &mut self.relays[i];
        if relay.held.as_ref().is_none_or(|held| held.point != Point::After(Call::Observe)) {
            // It observes first, whatever the order is.
            relay.next_round(self.row).await;
            relay.reach(Point::After(Call::Observe)).await;
        }
        relay.open(Fate::Arrives);
        relay.stop().await;
        if self.broken == Some(Variant::DeleteBeforeInvalidate) {
            execute(&self.behind, Sql::new("DELETE FROM cache_outbox")).await.unwrap();
        }
    }

    /// Ends everybody.
    pub(super) async fn end(self) {
        for participant in [self.writers, self.readers, self.lookers, self.relays].into_iter().flatten() {
            let Participant { store, gates, held, task, .. } = participant;
            drop((gates, held));
            if let Some(task) = task {
                task.abort();
            }
            store.close().await;
        }
    }
}

impl Participant {
    /// Waits until it is held, and tells where; none if it has ended.
    async fn stop(&mut self) -> Option<Point> {
        self.held.take_if(|held| held.open.is_closed());
        let next = async {
            while self.held.is_none() {
                let ended = async {
                    while self.task.as_ref().is_none_or(|task| !task.is_finished()) {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::select! {
                    biased;
                    held = self.gates.recv() => self.held = held.filter(|held| !held.open.is_closed()),
                    () = ended => return None,
                }
            }
            self.held.as_ref().map(|held| held.point)
        };
        timeout(PATIENCE, next).await.expect("it is held, or ends")
    }

    /// Lets it go on from where it is held.
    fn open(&mut self, fate: Fate) {
        let held = self.held.take().expect("it is held");
        // It may just have given up.
        held.open.send(fate).ok();
    }

    /// Lets it go on until it is held at that point; not, if it ends before.
    async fn reach(&mut self, point: Point) -> bool {
        while let Some(at) = self.stop().await {
            if at == point {
                return true;
            }
            self.open(Fate::Arrives);
        }
        false
    }

    /// Begins to read the row.
    fn find(&mut self, row: TagId) {
        let store = self.store.clone();
        self.task = Some(tokio::spawn(async move { value(&store.find(row).await.unwrap()) }));
    }

    /// Lets what it does come to its end.
    async fn finish(&mut self) -> Option<usize> {
        self.task.as_ref()?;
        while self.stop().await.is_some() {
            self.open(Fate::Arrives);
        }
        Some(self.task.take()?.await.unwrap())
    }

    /// Lets the relay renew, unless it has given up the round that it was in.
    async fn renew(&mut self) {
        while let Some(point) = self.stop().await {
            match point {
                Point::Before(Call::Observe) | Point::After(Call::Renew) => return,
                _ => self.open(Fate::Arrives),
            }
        }
    }

    fn counts(&self) -> CacheCounts {
        self.store.cache_status().unwrap().tables.get("tags").copied().unwrap_or_default()
    }

    /// What the cache said to what was looked up since then.
    fn looked_since(&self, before: CacheCounts) -> Looked {
        let after = self.counts();
        if after.bypasses > before.bypasses {
            Looked::Bypass
        } else if after.misses > before.misses {
            Looked::Miss
        } else {
            Looked::Hit
        }
    }

    /// Lets the relay come to its next round, before its observation.
    async fn next_round(&mut self, row: TagId) {
        loop {
            // Somebody finds no lease, so that it does not wait for its time.
            self.store.find(row).await.unwrap();
            match timeout(Duration::from_millis(20), self.stop()).await {
                Ok(Some(Point::Before(Call::Observe))) => return,
                Ok(Some(_)) => self.open(Fate::Arrives),
                Ok(None) | Err(_) => {}
            }
        }
    }
}

fn value(tag: &Tag) -> usize {
    tag.name.parse().unwrap()
}
