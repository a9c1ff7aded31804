//! Plays one process of a service whose caches are put to the test: reads and writes a few contents in all the ways that
//! there are, as fast as it can, and writes down what it saw and when.
//!
//! `workload DATABASE_URL REDIS_URL VARIANT SEED LOG`: the variant is how caches are used, `ours` or one that is wrong on
//! purpose. It goes on until it is told to end.

use std::{
    fs::File,
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::adapter::redis_cache::{RedisCache, RedisOptions};
use async_trait::async_trait;
use domain::{
    Cache, CacheError, CachePolicy, Change, Content, ContentFilter, ContentId, ContentPatch, Error, Fill, Key, LookUp,
    Observation, OnUnreachable, Page, Result, Slot, Sql, Store, StoreOptions, SystemClock, Token, UnitOfWork, User,
    UserId,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tests::staleness::{Event, What, now};
use uuid::Uuid;

const SESSIONS: u64 = 8;
/// How much too long a lease is that is too long.
const LONG: u32 = 60;
/// The skew of the keys: YCSB's constant (B. F. Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", 2010).
const SKEW: f64 = 0.99;

/// What is read and written: the contents, in the order of their numbers, and their authors.
struct Keys {
    contents: Vec<(ContentId, UserId)>,
    /// The share of reads that go to this key or one before it.
    shares: Vec<f64>,
}

struct Log(Mutex<File>);

impl Log {
    fn write(&self, event: Event) {
        // One call of the system each, so that nothing is lost when this process is killed.
        self.0.lock().unwrap().write_all(event.line().as_bytes()).unwrap();
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [database, redis, variant, seed, log] = &arguments[..] else {
        panic!("DATABASE_URL REDIS_URL VARIANT SEED LOG")
    };
    let options = StoreOptions {
        min_connections: 1,
        max_connections: 8,
        statement_timeout: Duration::from_secs(3),
        ..StoreOptions::new(database)
    };
    let variant = Variant::parse(variant);
    let mut redis = RedisOptions::new(redis);
    if variant == Variant::Leaseless {
        redis.freshness *= LONG;
    }
    let chance = StdRng::seed_from_u64(seed.parse().unwrap());
    let cache = Arc::new(Unreliable { cache: Arc::new(RedisCache::new(&redis)), chance: Mutex::new(chance), variant });
    let on_unreachable = match cache.variant {
        Variant::Hasty => OnUnreachable::Acknowledge,
        _ => OnUnreachable::Wait,
    };
    let policy = CachePolicy { on_unreachable, ..CachePolicy::default() };
    let plain = loop {
        match Store::connect(&options, SystemClock).await {
            Ok(store) => break store,
            Err(error) => eprintln!("{error}"),
        }
    };
    let store = plain.clone().cached(cache, policy).await.unwrap();
    let keys = Arc::new(keys(&plain).await);
    let log = Arc::new(Log(Mutex::new(File::create(log).unwrap())));
    let seed = seed.parse::<u64>().unwrap();
    for session in 0..SESSIONS {
        let (store, keys, log) = (store.clone(), Arc::clone(&keys), Arc::clone(&log));
        let mut session = Session {
            store,
            keys,
            log,
            number: seed * SESSIONS + session,
            chance: StdRng::seed_from_u64(seed * 1_000 + session),
        };
        tokio::spawn(async move {
            loop {
                session.step().await;
            }
        });
    }
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap().recv().await;
    let status = store.cache_status().unwrap();
    println!(
        "{}",
        serde_json::json!({
            "hits": status.tables.values().map(|counts| counts.hits).sum::<u64>(),
            "misses": status.tables.values().map(|counts| counts.misses).sum::<u64>(),
            "fills": status.tables.values().map(|counts| counts.fills).sum::<u64>(),
            "refused": status.tables.values().map(|counts| counts.refused_fills).sum::<u64>(),
            "bypasses": status.tables.values().map(|counts| counts.bypasses).sum::<u64>(),
            "waited": status.waited,
        })
    );
}

async fn keys(store: &Store) -> Keys {
    let sql = Sql::new("SELECT id, author_id FROM versions ORDER BY number");
    let rows = store.query(sql).await.unwrap();
    let (ids, authors) = (rows.column::<Uuid>("id").unwrap(), rows.column::<Uuid>("author_id").unwrap());
    let contents = ids.into_iter().map(ContentId::new).zip(authors.into_iter().map(UserId::new)).collect::<Vec<_>>();
    let weights = (1..=contents.len()).map(|rank| (rank as f64).powf(-SKEW)).collect::<Vec<_>>();
    let all = weights.iter().sum::<f64>();
    let shares = weights.iter().scan(0.0, |sum, weight| {
        *sum += weight / all;
        Some(*sum)
    });
    Keys { shares: shares.collect(), contents }
}

/// One who does one thing after the other.
struct Session {
    store: Store,
    keys: Arc<Keys>,
    log: Arc<Log>,
    number: u64,
    chance: StdRng,
}

/// A key with the version that it got, and whether there is something since.
type Written = (u32, i64, bool);

impl Session {
    fn key(&mut self) -> usize {
        let share = self.chance.random::<f64>();
        self.keys.shares.partition_point(|sum| *sum < share).min(self.keys.contents.len() - 1)
    }

    fn wrote_down(&self, key: usize, began: u64, ended: u64, what: What) {
        self.log.write(Event { key: key as u32, began, ended, session: self.number, what });
    }

    async fn step(&mut self) {
        let key = self.key();
        match self.chance.random_range(0..1_000) {
            0..600 => self.find(key).await,
            600..680 => self.contents_of(key).await,
            680..740 => self.list(key).await,
            740..800 => self.find_inside(key).await,
            other => self.write(key, other).await,
        }
    }

    async fn find(&mut self, key: usize) {
        let began = now();
        if let Ok(found) = self.store.look_up(self.keys.contents[key].0).await {
            self.wrote_down(key, began, now(), What::Read(found.map(|content| content.version)));
        }
    }

    /// All contents of one author, by their relation.
    async fn contents_of(&mut self, key: usize) {
        let author = self.keys.contents[key].1;
        let began = now();
        if let Ok(mut found) = self.store.related(&User::CONTENTS, &[author]).await {
            self.read_all(author, began, &found.remove(&author).unwrap_or_default());
        }
    }

    /// The same, as a list.
    async fn list(&mut self, key: usize) {
        let author = self.keys.contents[key].1;
        let filter = ContentFilter { author_id: Some(author), ..ContentFilter::default() };
        let page = Page { limit: 200.try_into().unwrap(), ..Page::default() };
        let began = now();
        if let Ok(found) = self.store.list(&filter, &page).await {
            self.read_all(author, began, &found.records);
        }
    }

    fn read_all(&self, author: UserId, began: u64, found: &[Content]) {
        let ended = now();
        for (key, (id, _)) in self.keys.contents.iter().enumerate().filter(|(_, (_, of))| *of == author) {
            let version = found.iter().find(|content| content.id == *id).map(|content| content.version);
            self.wrote_down(key, began, ended, What::Read(version));
        }
    }

    /// In a transaction, where no cache is asked.
    async fn find_inside(&mut self, key: usize) {
        let began = now();
        let id = self.keys.contents[key].0;
        let found = self.store.write(move |work| async move { work.look_up(id).await });
        if let Ok(found) = found.await {
            self.wrote_down(key, began, now(), What::Read(found.map(|content| content.version)));
        }
    }

    async fn write(&mut self, key: usize, how: u32) {
        let (id, author) = self.keys.contents[key];
        let keys = Arc::clone(&self.keys);
        let began = now();
        let deletes = match how {
            960..980 => key..key + 1,
            999 if self.chance.random_bool(0.05) => 0..self.keys.contents.len(),
            _ => 0..0,
        };
        let is_all = deletes.len() > 1;
        for key in deletes.clone() {
            self.wrote_down(key, began, began, What::MayDelete);
        }
        let written = self.store.write(move |work| {
            let keys = Arc::clone(&keys);
            async move {
                match how {
                    800..880 => one(key, next(&work, id).await?, typed(&work, id).await?),
                    880..910 => {
                        let version = next(&work, id).await?;
                        let sql = "UPDATE contents SET version = version + 1 WHERE id = $1";
                        let changed = work.execute(Sql::new(sql).bind(id)).await?;
                        one(key, version, changed > 0)
                    }
                    910..925 => {
                        // The inner part fails and is undone; what the outer one wrote is not.
                        let version = next(&work, id).await?;
                        let undone = work.savepoint(|inner| async move {
                            typed(&inner, id).await?;
                            Err::<(), _>(undone())
                        });
                        undone.await.ok();
                        one(key, version, typed(&work, id).await?)
                    }
                    925..945 => {
                        next(&work, id).await?;
                        typed(&work, id).await?;
                        Err(undone())
                    }
                    945..960 => all_of(&work, &keys, author).await,
                    960..980 => {
                        let version = next(&work, id).await?;
                        // Who deletes what somebody else has, who is not done yet, has not changed anything.
                        let deleted = work.execute(Sql::new("DELETE FROM contents WHERE id = $1").bind(id)).await?;
                        Ok((deleted > 0).then_some((key as u32, version, false)).into_iter().collect())
                    }
                    999 if is_all => none_left(&work, &keys).await,
                    _ => one(key, next(&work, id).await?, typed(&work, id).await?),
                }
            }
        });
        match written.await {
            Ok(written) => {
                let ended = now();
                for key in deletes.filter(|_| written.is_empty()) {
                    self.wrote_down(key, began, ended, What::DidNotDelete);
                }
                for (key, version, is_there) in written {
                    self.wrote_down(key as usize, began, ended, What::Wrote(version, is_there));
                }
            }
            Err(Error::UnknownOutcome(_)) => {}
            Err(_) => {
                for key in deletes {
                    self.wrote_down(key, began, now(), What::DidNotDelete);
                }
            }
        }
    }
}

fn undone() -> Error {
    Error::NotFound { noun: "content", id: "undone on purpose".to_owned() }
}

/// A key that was written; nothing was where there was nothing to change.
fn one(key: usize, version: i64, is_changed: bool) -> Result<Vec<Written>> {
    Ok(if is_changed { vec![(key as u32, version, true)] } else { Vec::new() })
}

/// The next version of a key, which is the writer's own until it commits.
async fn next(work: &UnitOfWork, id: ContentId) -> Result<i64> {
    work.execute(Sql::new("UPDATE versions SET version = version + 1 WHERE id = $1").bind(id)).await?;
    let rows = work.query(Sql::new("SELECT version FROM versions WHERE id = $1").bind(id)).await?;
    Ok(rows.column("version")?[0])
}

/// Changes a content, or makes it anew; to the version that was given to it, as everything that changes it adds one.
async fn typed(work: &UnitOfWork, id: ContentId) -> Result<bool> {
    let Some(content) = work.look_up(id).await? else {
        let sql = "INSERT INTO contents (id, version, created_at, updated_at, author_id, title, body, status) \
                   SELECT id, version, now(), now(), author_id, 'again', '', 'draft' FROM versions WHERE id = $1";
        return Ok(work.execute(Sql::new(sql).bind(id)).await? > 0);
    };
    let patch = ContentPatch { title: Change::Set(format!("after {}", content.version)), ..ContentPatch::default() };
    work.update(id, content.version, patch).await?;
    Ok(true)
}

/// Changes all contents of an author in one statement.
async fn all_of(work: &UnitOfWork, keys: &Keys, author: UserId) -> Result<Vec<Written>> {
    // In one order, so that no two wait for each other.
    work.query(Sql::new("SELECT id FROM versions WHERE author_id = $1 ORDER BY number FOR UPDATE").bind(author))
        .await?;
    work.execute(Sql::new("UPDATE versions SET version = version + 1 WHERE author_id = $1").bind(author)).await?;
    work.execute(Sql::new("UPDATE contents SET version = version + 1 WHERE author_id = $1").bind(author)).await?;
    let mut written = written(work, keys, Some(author)).await?;
    written.retain(|(_, _, is_there)| *is_there);
    Ok(written)
}

/// Deletes everything, in the one way that no row notices.
async fn none_left(work: &UnitOfWork, keys: &Keys) -> Result<Vec<Written>> {
    work.query(Sql::new("SELECT id FROM versions ORDER BY number FOR UPDATE")).await?;
    work.execute(Sql::new("UPDATE versions SET version = version + 1")).await?;
    work.execute(Sql::new("TRUNCATE contents CASCADE")).await?;
    written(work, keys, None).await
}

async fn written(work: &UnitOfWork, keys: &Keys, author: Option<UserId>) -> Result<Vec<Written>> {
    let sql =
        "SELECT v.id, v.version, c.id IS NOT NULL AS is_there FROM versions v LEFT JOIN contents c ON c.id = v.id";
    let rows = work.query(Sql::new(sql)).await?;
    let (ids, versions) = (rows.column::<ContentId>("id")?, rows.column::<i64>("version")?);
    let there = rows.column::<bool>("is_there")?;
    let of = ids.into_iter().zip(versions).zip(there);
    let written = of.filter_map(|((id, version), is_there)| {
        let key = keys.contents.iter().position(|(known, _)| *known == id)?;
        author.is_none_or(|author| keys.contents[key].1 == author).then_some((key as u32, version, is_there))
    });
    Ok(written.collect())
}

/// How the cache is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    Ours,
    /// Fills without a token: what nearly everybody does, delete after commit.
    Tokenless,
    /// Answers without a lease.
    Leaseless,
    /// Does not wait when the cache cannot be told.
    Hasty,
    /// Does not invalidate after the commit, and leaves it to the relay.
    RelayOnly,
}

impl Variant {
    fn parse(text: &str) -> Self {
        match text {
            "ours" => Self::Ours,
            "tokenless" => Self::Tokenless,
            "leaseless" => Self::Leaseless,
            "hasty" => Self::Hasty,
            "relay-only" => Self::RelayOnly,
            other => panic!("unknown variant {other}"),
        }
    }
}

/// A cache whose user is killed, or stands still, between the steps of the protocol.
struct Unreliable {
    cache: Arc<RedisCache>,
    chance: Mutex<StdRng>,
    variant: Variant,
}

impl Unreliable {
    async fn stumble(&self) {
        let (dies, pause) = {
            let mut chance = self.chance.lock().unwrap();
            (chance.random_bool(0.000_2), chance.random_bool(0.005).then(|| chance.random_range(0..1_500)))
        };
        if dies {
            std::process::abort();
        }
        if let Some(millis) = pause {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

#[async_trait]
impl Cache for Unreliable {
    fn is_shared(&self) -> bool {
        true
    }

    async fn look_up(&self, slots: &[Slot]) -> std::result::Result<LookUp, CacheError> {
        self.cache.look_up(slots).await
    }

    async fn acquire(&self, slots: &[Slot]) -> std::result::Result<Vec<Option<Token>>, CacheError> {
        self.cache.acquire(slots).await
    }

    async fn fill(&self, fills: Vec<Fill>) -> std::result::Result<usize, CacheError> {
        self.stumble().await;
        if self.variant == Variant::Tokenless {
            // As if the token had just been taken.
            let slots = fills.iter().map(|fill| fill.slot).collect::<Vec<_>>();
            self.cache.invalidate(&slots.iter().map(|slot| slot.key).collect::<Vec<_>>()).await?;
            let tokens = self.cache.acquire(&slots).await?;
            let fills = fills.into_iter().zip(tokens).filter_map(|(fill, token)| Some(Fill { token: token?, ..fill }));
            return self.cache.fill(fills.collect()).await;
        }
        self.cache.fill(fills).await
    }

    async fn invalidate(&self, keys: &[Key]) -> std::result::Result<(), CacheError> {
        self.stumble().await;
        if self.variant == Variant::RelayOnly {
            return Ok(());
        }
        self.cache.invalidate(keys).await
    }

    async fn invalidate_all(&self) -> std::result::Result<(), CacheError> {
        self.stumble().await;
        self.cache.invalidate_all().await
    }

    async fn observe(&self) -> std::result::Result<Observation, CacheError> {
        self.cache.observe().await
    }

    async fn renew(
        &self,
        observed: &Observation,
        timeline: &str,
        freshness: Duration,
    ) -> std::result::Result<(), CacheError> {
        let freshness = if self.variant == Variant::Leaseless { freshness * LONG } else { freshness };
        self.cache.renew(observed, timeline, freshness).await
    }
}
