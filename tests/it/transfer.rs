//! Money is neither made nor lost, whoever moves it at the same time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{
    Account, AccountFilter, Currency, Error, NewAccount, NewTransfer, NewUser, Page, Store, StoreOptions, SystemClock,
    TransferFilter, User,
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, Statement};
use tests::{
    on_both,
    run::{self, rounds},
};

const ACCOUNTS: usize = 20;
const OPENING: i64 = 1_000;

async fn user(store: &Store) -> User {
    let new = serde_json::json!({ "email": "owner@example.org", "name": "Owner" });
    store.insert(serde_json::from_value::<NewUser>(new).unwrap()).await.unwrap()
}

async fn accounts(store: &Store, currencies: &[&str]) -> Vec<Account> {
    let owner_id = user(store).await.id;
    let mut accounts = Vec::new();
    for currency in currencies {
        let currency = serde_json::from_value::<Currency>((*currency).into()).unwrap();
        accounts.push(store.insert(NewAccount { owner_id, currency, balance: OPENING }).await.unwrap());
    }
    accounts
}

on_both!(
    within run::limit(Duration::from_secs(180));

    async fn workers_at_once_neither_make_nor_lose_money(database: TestDatabase) {
        const WORKERS: u64 = 64;
        let transfers = rounds(20_000, 100_000) as u64;
        let options = StoreOptions { max_connections: 16, ..StoreOptions::new(&database.url) };
        let options = StoreOptions { acquire_timeout: Duration::from_secs(60), ..options };
        let store = Store::connect(&options, SystemClock).await.unwrap();
        let accounts = Arc::new(accounts(&store, &["EUR"; ACCOUNTS]).await);
        let succeeded = Arc::new(AtomicUsize::new(0));

        let work = (0..WORKERS).map(|worker| {
            let (store, accounts, succeeded) = (store.clone(), Arc::clone(&accounts), Arc::clone(&succeeded));
            tokio::spawn(async move {
                let mut chance = StdRng::seed_from_u64(worker);
                for _ in 0..transfers / WORKERS {
                    let from = chance.random_range(0..ACCOUNTS);
                    let to = (from + chance.random_range(1..ACCOUNTS)) % ACCOUNTS;
                    let new = NewTransfer {
                        from_account_id: accounts[from].id,
                        to_account_id: accounts[to].id,
                        amount: chance.random_range(1..=OPENING / 2),
                    };
                    match store.insert(new).await {
                        Ok(_) => succeeded.fetch_add(1, Ordering::Relaxed),
                        Err(Error::Refused { code: "insufficient_funds", .. }) => 0,
                        Err(error) => panic!("worker {worker}: {error:?}"),
                    };
                }
            })
        });
        for worker in work.collect::<Vec<_>>() {
            worker.await.unwrap();
        }

        let balances = store.list(&AccountFilter::default(), &Page::default()).await.unwrap().records;
        assert_eq!(balances.iter().map(|account| account.balance).sum::<i64>(), OPENING * ACCOUNTS as i64);
        assert!(balances.iter().all(|account| account.balance >= 0));
        let recorded = store.count(&TransferFilter::default()).await.unwrap();
        assert_eq!(recorded, succeeded.load(Ordering::Relaxed) as u64);
        assert!(recorded > transfers / 2, "too few succeeded to prove anything: {recorded}");
        // Each has what it was opened with, and what came and went since.
        let connection = database.connect().await;
        let sql = format!(
            "SELECT count(*) FROM accounts a WHERE a.balance <> {OPENING} \
             + coalesce((SELECT sum(amount) FROM transfers WHERE to_account_id = a.id), 0) \
             - coalesce((SELECT sum(amount) FROM transfers WHERE from_account_id = a.id), 0)"
        );
        let row = connection.query_one_raw(Statement::from_string(connection.get_database_backend(), sql)).await;
        let wrong: i64 = row.unwrap().unwrap().try_get_by_index(0).unwrap();
        assert_eq!(wrong, 0, "accounts have another balance than their transfers make");
        store.close().await;
    }
);

on_both!(
    async fn a_transfer_that_cannot_be_leaves_everything_as_it_was(database: TestDatabase) {
        let store = Store::connect(&StoreOptions::new(&database.url), SystemClock).await.unwrap();
        let accounts = accounts(&store, &["EUR", "EUR", "USD"]).await;
        let nobody = domain::Id::new(uuid::Uuid::nil());
        let attempt = async |from, to, amount| {
            let new = NewTransfer { from_account_id: from, to_account_id: to, amount };
            store.insert(new).await.unwrap_err()
        };
        let pointer = |error| match error {
            Error::Invalid(errors) => (errors[0].pointer.clone(), errors[0].code.to_string()),
            error => panic!("{error:?}"),
        };

        let [eur, other, usd] = [0, 1, 2].map(|n: usize| accounts[n].id);
        let too_much = attempt(eur, other, OPENING + 1).await;
        assert!(matches!(too_much, Error::Refused { code: "insufficient_funds", .. }), "{too_much:?}");
        assert_eq!(pointer(attempt(eur, usd, 1).await), ("/to_account_id".to_owned(), "currency".to_owned()));
        assert_eq!(pointer(attempt(eur, eur, 1).await), ("/to_account_id".to_owned(), "same_account".to_owned()));
        assert_eq!(pointer(attempt(eur, nobody, 1).await), ("/to_account_id".to_owned(), "reference".to_owned()));
        assert_eq!(pointer(attempt(nobody, eur, 1).await), ("/from_account_id".to_owned(), "reference".to_owned()));
        assert_eq!(pointer(attempt(eur, other, 0).await), ("/amount".to_owned(), "range".to_owned()));

        for account in &accounts {
            assert_eq!(&store.find(account.id).await.unwrap(), account);
        }
        assert_eq!(store.count(&TransferFilter::default()).await.unwrap(), 0);
        store.close().await;
    }

    async fn the_database_itself_refuses_to_change_a_transfer(database: TestDatabase) {
        use domain::Sql;

        let store = Store::connect(&StoreOptions::new(&database.url), SystemClock).await.unwrap();
        let accounts = accounts(&store, &["EUR", "EUR"]).await;
        let new = NewTransfer { from_account_id: accounts[0].id, to_account_id: accounts[1].id, amount: 7 };
        let transfer = store.insert(new).await.unwrap();
        let refused = store.delete(transfer.id, 1).await.unwrap_err();
        assert!(matches!(refused, Error::Refused { code: "only_added", .. }), "{refused:?}");
        assert_eq!(refused.to_string(), "transfers are only ever added");
        for sql in [Sql::new("UPDATE transfers SET amount = 8"), Sql::new("DELETE FROM transfers")] {
            let change = move |work: domain::UnitOfWork| {
                let sql = sql.clone();
                async move { work.execute(sql).await }
            };
            store.write(change).await.unwrap_err();
        }
        assert_eq!(store.find(transfer.id).await.unwrap(), transfer);
        store.close().await;
    }
);
