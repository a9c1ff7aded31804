//! Money is neither made nor lost, whatever breaks while it is moved: connections are cut before and after commits,
//! units of work wait for each other in a circle, and whoever is not told what became of a transfer asks again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::{
    AccountId, Answer, BreakerPolicy, Error, Isolation, NewTransfer, RetryPolicy, Sql, Store, StoreOptions, Transfer,
    TransferFilter, TransferId, Unavailable, UnitOfWork, WriteOptions,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use sea_orm::ConnectionTrait;
use tests::{
    Backend, Fault, PATIENCE, Proxy, TestDatabase, Trap, eventually, or_skip,
    run::{self, LIMIT, rounds},
    within,
};
use tokio::sync::Notify;

use crate::fixture::{account, notice_deadlocks_soon, open, options, store, user};

const WORKERS: usize = 64;
const ACCOUNTS: usize = 40;
/// So many of them are used by those who wait for each other.
const CROWDED: usize = 6;
const OPENING: i64 = 1_000;

/// How a worker moves money.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// As the domain does it, which holds the accounts in the order of their ids.
    InOrder,
    /// Changes the payer first and then the payee, so that two who pay each other wait for each other.
    Crosswise,
    /// As if there were nobody else.
    Serializable,
}

/// Where the money is, and how it is reached.
#[derive(Clone)]
struct Bank {
    store: Store,
    accounts: Arc<Vec<AccountId>>,
}

/// What workers were told: for each key that succeeded its transfer.
#[derive(Debug, Default)]
struct Told {
    succeeded: BTreeMap<String, TransferId>,
    refused: usize,
    asked_again: usize,
}

impl Bank {
    /// Moves money, and asks until it is known whether it was; the transfer, if the account held as much.
    async fn transfer(&self, way: Way, key: &str, new: &NewTransfer, told: &mut Told) {
        loop {
            match self.ask(way, key, new.clone()).await {
                Ok(answer) => {
                    told.succeeded.insert(key.to_owned(), TransferId::new(answer.id));
                    return;
                }
                Err(Error::Refused { code: "insufficient_funds", .. }) => {
                    told.refused += 1;
                    return;
                }
                Err(
                    Error::UnknownOutcome(_)
                    | Error::Unavailable { reason: Unavailable::Network | Unavailable::CircuitOpen, .. }
                    // What was asked before is still under way.
                    | Error::Refused { code: "request_in_progress", .. },
                ) => told.asked_again += 1,
                // Above all no deadlock and no serialization failure: the store runs those again by itself.
                Err(error) => panic!("{way:?} {key}: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ask(&self, way: Way, key: &str, new: NewTransfer) -> domain::Result<Answer> {
        let isolation = match way {
            Way::InOrder | Way::Crosswise => Isolation::ReadCommitted,
            Way::Serializable => Isolation::Serializable,
        };
        let fingerprint = format!("{new:?}");
        let work = move |work: UnitOfWork| {
            let new = new.clone();
            async move {
                if matches!(way, Way::Crosswise) {
                    for account in [new.from_account_id, new.to_account_id] {
                        work.execute(Sql::new("UPDATE accounts SET version = version + 1 WHERE id = $1").bind(account))
                            .await?;
                    }
                }
                answer(&work.insert(new).await?)
            }
        };
        self.store.write_once_with(WriteOptions::isolated(isolation), key, &fingerprint, work).await
    }

    async fn work(self, worker: usize, transfers: usize) -> Told {
        let way = [Way::InOrder, Way::InOrder, Way::Crosswise, Way::Serializable][worker % 4];
        // Who is to meet somebody shall stay where there is somebody.
        let accounts = if matches!(way, Way::Crosswise) { CROWDED } else { ACCOUNTS };
        let mut chance = StdRng::seed_from_u64(worker as u64);
        let mut told = Told::default();
        for n in 0..transfers {
            let from = chance.random_range(0..accounts);
            let to = (from + chance.random_range(1..accounts)) % accounts;
            let new = NewTransfer {
                from_account_id: self.accounts[from],
                to_account_id: self.accounts[to],
                amount: chance.random_range(1..=OPENING / 2),
            };
            self.transfer(way, &format!("{worker} {n}"), &new, &mut told).await;
        }
        told
    }
}

fn answer(transfer: &Transfer) -> domain::Result<Answer> {
    Ok(Answer { id: transfer.id.uuid(), version: 1, body: String::new() })
}

/// Cuts connections at random moments: all at once, or one before its commit passes, or after.
async fn break_connections(proxy: &Proxy, is_over: &AtomicBool) -> usize {
    let mut chance = StdRng::seed_from_u64(0);
    let mut sprung = 0;
    while !is_over.load(Ordering::SeqCst) {
        let fault = *[Fault::Cut, Fault::Reset].choose(&mut chance).unwrap();
        let trap = match chance.random_range(0..5) {
            0 => None,
            1 | 2 => Some(Trap::before("COMMIT", fault)),
            _ => Some(Trap::after("COMMIT", fault)),
        };
        match trap {
            None => proxy.impose(fault).await,
            Some(trap) => {
                let watch = proxy.set(trap.skip(chance.random_range(0..10)));
                eventually("a commit comes by", PATIENCE, async || {
                    (watch.sprung() > 0 || is_over.load(Ordering::SeqCst)).then_some(())
                })
                .await;
                watch.end();
                sprung += watch.sprung();
            }
        }
        tokio::time::sleep(Duration::from_millis(chance.random_range(1..200))).await;
    }
    sprung
}

/// One transfer for each key that succeeded and none else; and each account has what its transfers say.
async fn assert_right(database: &TestDatabase, told: &Told) {
    let store = store(database).await;
    let query = async |sql: &'static str| store.query(Sql::new(sql)).await.unwrap();
    let transfers = query("SELECT id FROM transfers").await.column::<TransferId>("id").unwrap();
    let succeeded = told.succeeded.values().copied().collect::<Vec<_>>();
    assert_eq!(sorted(transfers), sorted(succeeded), "transfers, and what was told");
    let keys = query("SELECT key FROM idempotency_keys").await.column::<String>("key").unwrap();
    assert_eq!(keys.into_iter().collect::<BTreeSet<_>>(), told.succeeded.keys().cloned().collect());

    let balances = query("SELECT balance FROM accounts").await.column::<i64>("balance").unwrap();
    assert_eq!((balances.len(), balances.iter().sum::<i64>()), (ACCOUNTS, OPENING * ACCOUNTS as i64));
    assert!(balances.iter().all(|balance| *balance >= 0), "{balances:?}");
    let wrong = Sql::new(
        "SELECT id FROM accounts WHERE balance <> $1
             + (SELECT COALESCE(sum(amount), 0) FROM transfers WHERE to_account_id = accounts.id)
             - (SELECT COALESCE(sum(amount), 0) FROM transfers WHERE from_account_id = accounts.id)",
    );
    assert!(store.query(wrong.bind(OPENING)).await.unwrap().is_empty());
    store.close().await;
}

fn sorted(ids: Vec<TransferId>) -> Vec<uuid::Uuid> {
    let mut ids = ids.into_iter().map(|id| id.uuid()).collect::<Vec<_>>();
    ids.sort();
    ids
}

#[test]
fn workers_on_a_network_that_breaks_move_money_once_for_each_key() {
    within(run::limit(Duration::from_secs(200)), async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        notice_deadlocks_soon(&database).await;
        let accounts = Arc::new(open_accounts(&database, &[OPENING; ACCOUNTS]).await);
        let proxy = Proxy::to_url(&database.url).await;
        let patient = Duration::from_secs(60);
        let options = StoreOptions {
            max_connections: 12,
            acquire_timeout: patient,
            statement_timeout: patient,
            lock_timeout: patient,
            transaction_timeout: patient,
            // In each attempt one of those that wait in a circle goes on, so at worst about half of them fail: that one
            // fails so often in a row will not happen.
            retry: RetryPolicy { attempts: 100, base: Duration::from_millis(2), cap: Duration::from_millis(100) },
            // It opens when all connections are cut several times in a row, and shall not hold anybody up here.
            breaker: BreakerPolicy { open_for: Duration::from_millis(20), ..BreakerPolicy::default() },
            ..options(&proxy.url(&database.url))
        };
        let bank = Bank { store: open(&options).await, accounts };

        let is_over = AtomicBool::new(false);
        let transfers = rounds(3_000, 100_000) / WORKERS;
        let workers = (0..WORKERS).map(|worker| tokio::spawn(bank.clone().work(worker, transfers))).collect::<Vec<_>>();
        let working = async {
            let mut told = Told::default();
            for worker in workers {
                let Told { succeeded, refused, asked_again } = worker.await.unwrap();
                told.succeeded.extend(succeeded);
                told.refused += refused;
                told.asked_again += asked_again;
            }
            is_over.store(true, Ordering::SeqCst);
            told
        };
        let (told, sprung) = tokio::join!(working, break_connections(&proxy, &is_over));

        assert_right(&database, &told).await;
        let (done, counts) = (told.succeeded.len(), bank.store.counts());
        assert!(done + told.refused == transfers * WORKERS && told.refused > 0 && done > told.refused, "{told:?}");
        assert!(sprung > 5 && counts.unknown_outcomes > 5, "too little was broken: {sprung} {counts:?}");
        eventually("deadlocks were provoked", PATIENCE, async || (deadlocks(&database).await > 0).then_some(())).await;
        println!("{done} done, {} refused, {} asked again, {sprung} cut, {counts:?}", told.refused, told.asked_again);
    });
}

/// A refusal is not believed before it is known that the same request has not taken effect meanwhile.
#[test]
fn a_request_that_took_effect_while_it_was_asked_again_is_not_refused() {
    within(LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let accounts = open_accounts(&database, &[OPENING, 0]).await;
        let store = store(&database).await;
        let (from, to) = (accounts[0], accounts[1]);
        let (moved, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let ask = |waits: bool| {
            let (store, moved, go_on) = (store.clone(), Arc::clone(&moved), Arc::clone(&go_on));
            let work = move |work: UnitOfWork| {
                let (moved, go_on) = (Arc::clone(&moved), Arc::clone(&go_on));
                async move {
                    let new = NewTransfer { from_account_id: from, to_account_id: to, amount: OPENING };
                    let transfer = work.insert(new).await?;
                    if waits {
                        moved.notify_one();
                        go_on.notified().await;
                    }
                    answer(&transfer)
                }
            };
            tokio::spawn(async move { store.write_once("key", "all of it", work).await })
        };
        let first = ask(true);
        moved.notified().await;
        let again = ask(false);
        let outside = database.connect().await;
        eventually("it waits for the first", PATIENCE, async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity \
                           WHERE datname = current_database() AND wait_event_type = 'Lock'";
            (one_number(&outside, waiting).await == 1).then_some(())
        })
        .await;
        go_on.notify_one();
        let first = first.await.unwrap().unwrap();
        assert_eq!(again.await.unwrap().unwrap(), first);
        assert_eq!(store.count(&TransferFilter::default()).await.unwrap(), 1);
        outside.close().await.unwrap();
    });
}

async fn open_accounts(database: &TestDatabase, balances: &[i64]) -> Vec<AccountId> {
    let store = store(database).await;
    let owner = user(&store, "owner").await.id;
    let mut accounts = Vec::new();
    for &balance in balances {
        accounts.push(account(&store, owner, balance).await.id);
    }
    store.close().await;
    accounts
}

async fn deadlocks(database: &TestDatabase) -> i64 {
    let outside = database.connect().await;
    let count = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let count = one_number(&outside, count).await;
    outside.close().await.unwrap();
    count
}

async fn one_number(outside: &impl ConnectionTrait, sql: &str) -> i64 {
    let row = outside.query_one_raw(sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql)).await;
    row.unwrap().unwrap().try_get_by_index(0).unwrap()
}
