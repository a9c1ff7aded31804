//! Isolation levels keep what they promise: random units of work append to lists and read them, and what each saw is
//! looked through for what its level forbids (see [`tests::history`]).

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use domain::{Error, Isolation, Result, RetryPolicy, Sql, Store, StoreOptions, UnitOfWork, WriteOptions};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use sea_orm::ConnectionTrait;
use tests::{
    Backend, TestDatabase,
    history::{Anomaly, Operation, anomalies},
    on_both, or_skip,
    run::{self, rounds},
    within,
};

use crate::fixture::{execute, notice_deadlocks_soon, open, options};

const WORKERS: u64 = 8;
const LISTS: i64 = 4;
const TRANSACTIONS: usize = 50;
/// How many histories may be looked through for what a level allows. The first has it nearly always.
const ENOUGH: u64 = 50;

/// The last anomaly that a level forbids, with all that are worse.
fn last_forbidden(isolation: Isolation) -> Anomaly {
    match isolation {
        Isolation::ReadCommitted => Anomaly::CircularFlow,
        Isolation::RepeatableRead => Anomaly::ReadSkew,
        Isolation::Serializable => Anomaly::WriteSkew,
    }
}

/// Lists of numbers, and the store that units of work reach them by.
struct Lists {
    store: Store,
    next: Arc<AtomicI64>,
}

/// What one unit of work is to do; told anew in each attempt.
#[derive(Debug, Clone)]
struct Plan {
    steps: Vec<Step>,
    ending: Ending,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Append(i64),
    /// Reads a list and writes all of it, with one number more.
    Rewrite(i64),
    Read(i64),
    /// Appends in a savepoint that is undone.
    AppendInVain(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Commit,
    Error,
    Panic,
}

/// What a level's load does beside appending and reading.
#[derive(Debug, Clone, Copy)]
struct Load {
    isolation: Isolation,
    rewrites: bool,
    /// Whether lists are also read without a unit of work.
    reads_outside: bool,
}

impl Lists {
    async fn on(database: &TestDatabase) -> Self {
        let outside = database.connect().await;
        let create = "CREATE TABLE lists (id bigint PRIMARY KEY, numbers text NOT NULL)";
        outside.execute_unprepared(create).await.unwrap();
        outside.close().await.unwrap();
        notice_deadlocks_soon(database).await;
        let patient = Duration::from_secs(60);
        let options = StoreOptions {
            max_connections: WORKERS as u32,
            acquire_timeout: patient,
            // Whoever waits for a list waits behind a whole queue.
            statement_timeout: patient,
            lock_timeout: patient,
            transaction_timeout: patient,
            // Of two units of work that get in each other's way one succeeds, so that all do in the end.
            retry: RetryPolicy { attempts: 1_000, base: Duration::from_millis(1), cap: Duration::from_millis(50) },
            ..options(&database.url)
        };
        Self { store: open(&options).await, next: Arc::new(AtomicI64::new(1)) }
    }

    /// What units of work did that committed, on lists that are new and empty; at last one that read them all.
    async fn history(&self, seed: u64, load: Load) -> Vec<Vec<Operation>> {
        let first = seed as i64 * LISTS;
        let create = Sql::new(
            "INSERT INTO lists SELECT CAST($1 AS bigint) + column1, '' FROM (VALUES (0), (1), (2), (3)) AS numbers",
        );
        execute(&self.store, create.bind(first)).await.unwrap();
        let workers = (0..WORKERS).map(|worker| {
            let (store, next) = (self.store.clone(), Arc::clone(&self.next));
            tokio::spawn(async move {
                let mut chance = StdRng::seed_from_u64(seed << 8 | worker);
                let mut committed = Vec::new();
                for _ in 0..TRANSACTIONS {
                    if load.reads_outside && chance.random_bool(0.1) {
                        let list = first + chance.random_range(0..LISTS);
                        committed
                            .push(vec![Operation::Read { list, numbers: numbers(store.query(select(list)).await) }]);
                    } else {
                        committed
                            .extend(work(&store, &next, load, Plan::random(&mut chance, first, load.rewrites)).await);
                    }
                }
                committed
            })
        });
        let mut history = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            history.extend(worker.await.unwrap());
        }
        let mut last = Vec::new();
        for list in first..first + LISTS {
            last.push(Operation::Read { list, numbers: numbers(self.store.query(select(list)).await) });
        }
        history.push(last);
        history
    }
}

/// Does a unit of work; what it did, if it was to commit.
async fn work(store: &Store, next: &Arc<AtomicI64>, load: Load, plan: Plan) -> Option<Vec<Operation>> {
    let (next, ending) = (Arc::clone(next), plan.ending);
    let written = store.write_with(WriteOptions::isolated(load.isolation), move |work| {
        let (plan, next) = (plan.clone(), Arc::clone(&next));
        async move { plan.run(&work, &next).await }
    });
    match (written.await, ending) {
        (Ok(operations), Ending::Commit) => Some(operations),
        (Err(Error::Refused { .. }), Ending::Error) | (Err(Error::Internal { .. }), Ending::Panic) => None,
        (result, _) => panic!("it was to end with {ending:?}: {result:?}"),
    }
}

impl Plan {
    fn random(chance: &mut StdRng, first: i64, rewrites: bool) -> Self {
        let steps = (0..chance.random_range(1..=5)).map(|_| {
            let list = first + chance.random_range(0..LISTS);
            match chance.random_range(0..10) {
                0..4 => Step::Read(list),
                4 => Step::AppendInVain(list),
                5 if rewrites => Step::Rewrite(list),
                _ => Step::Append(list),
            }
        });
        let steps = steps.collect();
        let endings = [Ending::Commit, Ending::Commit, Ending::Commit, Ending::Commit, Ending::Commit, Ending::Error];
        let ending = if chance.random_bool(0.02) { Ending::Panic } else { *endings.choose(chance).unwrap() };
        Self { steps, ending }
    }

    /// Does it, with numbers that nobody else has, and no attempt before.
    async fn run(&self, work: &UnitOfWork, next: &AtomicI64) -> Result<Vec<Operation>> {
        let mut done = Vec::new();
        for &step in &self.steps {
            let number = next.fetch_add(1, Ordering::Relaxed);
            match step {
                Step::Append(list) => {
                    append(work, list, number).await?;
                    done.push(Operation::Append { list, number });
                }
                Step::Rewrite(list) => {
                    let text = work.query(select(list)).await?.column::<String>("numbers")?.remove(0);
                    done.push(Operation::Read { list, numbers: parse(&text) });
                    let rewrite = Sql::new("UPDATE lists SET numbers = $1 WHERE id = $2");
                    work.execute(rewrite.bind(format!("{text} {number}")).bind(list)).await?;
                    done.push(Operation::Append { list, number });
                }
                Step::Read(list) => {
                    done.push(Operation::Read { list, numbers: numbers(Ok(work.query(select(list)).await?)) });
                }
                Step::AppendInVain(list) => {
                    let part = work.savepoint(|inner| async move {
                        append(&inner, list, number).await?;
                        Err::<(), _>(refusal())
                    });
                    match part.await {
                        Err(Error::Refused { .. }) => {}
                        result => result?,
                    }
                }
            }
        }
        match self.ending {
            Ending::Commit => Ok(done),
            Ending::Error => Err(refusal()),
            Ending::Panic => panic!("this is a drill"),
        }
    }
}

fn refusal() -> Error {
    Error::refused("no", "not today")
}

async fn append(work: &UnitOfWork, list: i64, number: i64) -> Result<()> {
    let append = Sql::new("UPDATE lists SET numbers = numbers || $1 WHERE id = $2");
    work.execute(append.bind(format!(" {number}")).bind(list)).await.map(drop)
}

fn select(list: i64) -> Sql {
    Sql::new("SELECT numbers FROM lists WHERE id = $1").bind(list)
}

fn numbers(rows: Result<domain::Rows>) -> Vec<i64> {
    parse(&rows.unwrap().column::<String>("numbers").unwrap()[0])
}

fn parse(numbers: &str) -> Vec<i64> {
    numbers.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Looks through one history after another for what a level forbids.
async fn keeps_its_promise(database: TestDatabase, isolation: Isolation) {
    let lists = Lists::on(&database).await;
    // SQLite has one writer at a time.
    let is_alone = database.backend() == Backend::Sqlite;
    let load = Load {
        isolation,
        rewrites: is_alone || isolation != Isolation::ReadCommitted,
        // PostgreSQL promises serializable transactions nothing of what others see.
        reads_outside: is_alone || isolation != Isolation::Serializable,
    };
    let last = last_forbidden(if is_alone { Isolation::Serializable } else { isolation });
    for seed in 0..rounds(2, 150) as u64 {
        let history = lists.history(seed, load).await;
        assert!(history.len() > WORKERS as usize * TRANSACTIONS / 2, "{} committed", history.len());
        let found = anomalies(&history).into_iter().filter(|(anomaly, _)| *anomaly <= last).collect::<BTreeMap<_, _>>();
        assert!(found.is_empty(), "{isolation:?} {seed}: {}", told(&found));
    }
    if !is_alone {
        assert!(lists.store.counts().retried > 0, "nobody got in anybody's way");
    }
    lists.store.close().await;
}

fn told(found: &BTreeMap<Anomaly, String>) -> String {
    found.iter().map(|(anomaly, example)| format!("\n{anomaly:?}: {example}")).collect()
}

on_both!(
    within run::limit(Duration::from_secs(120));

    async fn at_read_committed_nothing_is_seen_by_half_or_lost(database: TestDatabase) {
        keeps_its_promise(database, Isolation::ReadCommitted).await;
    }

    async fn at_repeatable_read_no_update_is_lost_and_nothing_changes_while_it_is_read(database: TestDatabase) {
        keeps_its_promise(database, Isolation::RepeatableRead).await;
    }

    async fn at_serializable_all_is_as_if_one_had_come_after_another(database: TestDatabase) {
        keeps_its_promise(database, Isolation::Serializable).await;
    }
);

/// Otherwise the load would be too easy to prove that a stronger level forbids it.
#[test]
fn a_weaker_level_shows_what_only_a_stronger_one_forbids() {
    within(run::limit(Duration::from_secs(120)), async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let lists = Lists::on(&database).await;
        let found_at = async |isolation, rewrites, seeds: Range<u64>, anomaly| {
            for seed in seeds {
                let history = lists.history(seed, Load { isolation, rewrites, reads_outside: false }).await;
                if anomalies(&history).contains_key(&anomaly) {
                    return;
                }
            }
            panic!("{anomaly:?} was not found at {isolation:?}");
        };
        found_at(Isolation::RepeatableRead, true, 0..ENOUGH, Anomaly::WriteSkew).await;
        found_at(Isolation::ReadCommitted, false, ENOUGH..2 * ENOUGH, Anomaly::ReadSkew).await;
        found_at(Isolation::ReadCommitted, true, 2 * ENOUGH..3 * ENOUGH, Anomaly::Lost).await;
        lists.store.close().await;
    });
}
