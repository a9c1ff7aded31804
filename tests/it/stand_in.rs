//! Business code has its data and its time handed in: what it is given in production, and what stands in for it in a test,
//! is the same to it.
//!
//! There is no trait for each noun, whose stand-ins would prove nothing about what a database does. A [`Store`] on a
//! scratch file is the stand-in for one on a server, and takes milliseconds; a clock is a trait.

use std::sync::{Arc, Mutex};

use chrono::Duration;
use domain::{
    Account, AccountFilter, Change, Clock, Currency, Error, Filter, NewAccount, NewSubscription, NewTransfer, NewUser,
    Page, Result, Sort, Store, StoreOptions, Subscription, SubscriptionFilter, SubscriptionPatch, SubscriptionStatus,
    Timestamp, TransferFilter, UserFilter,
};
use serde_json::{Value, json};
use tests::{Backend, TestDatabase, on_both, or_skip, run::LIMIT, within};

use crate::fixture::{self, all_pages, instant, options, read};

const PRICE: i64 = 990;

/// What became of the subscriptions that were due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Renewals {
    paid: usize,
    unpaid: usize,
}

/// Renews what has run out: business code as an application has it. It asks the store for data and for the time, and
/// knows nothing of what is behind either.
async fn renew(store: &Store, house: &Account) -> Result<Renewals> {
    let due = SubscriptionFilter { status: Some(SubscriptionStatus::Active), ..SubscriptionFilter::default() };
    let page = Page { sort: Sort::parse::<Subscription>("period_end")?, ..Page::default() };
    let mut renewals = Renewals::default();
    for subscription in store.list(&due, &page).await?.records {
        let house = house.clone();
        let paid = store.write(move |work| {
            let (subscription, house) = (subscription.clone(), house.clone());
            async move {
                if subscription.period_end > work.now() {
                    return Ok(None);
                }
                let owner = AccountFilter { owner_id: Some(subscription.user_id), currency: Some(house.currency) };
                let account = work.list(&owner, &Page::default()).await?.records.into_iter().next();
                let account = account.ok_or_else(|| Error::refused("no_account", "there is nothing to pay from"))?;
                let bill = NewTransfer { from_account_id: account.id, to_account_id: house.id, amount: PRICE };
                let patch = match work.insert(bill).await {
                    Ok(_) => SubscriptionPatch {
                        period_start: Change::Set(subscription.period_end),
                        period_end: Change::Set(Timestamp::new(subscription.period_end.utc() + Duration::days(30))),
                        ..SubscriptionPatch::default()
                    },
                    Err(Error::Refused { code: "insufficient_funds", .. }) => SubscriptionPatch {
                        status: Change::Set(SubscriptionStatus::PastDue),
                        ..SubscriptionPatch::default()
                    },
                    Err(error) => return Err(error),
                };
                let renewed = work.update(subscription.id, subscription.version, patch).await?;
                Ok(Some(renewed.status == SubscriptionStatus::Active))
            }
        });
        match paid.await? {
            Some(true) => renewals.paid += 1,
            Some(false) => renewals.unpaid += 1,
            None => {}
        }
    }
    Ok(renewals)
}

/// A clock of the test's own, which is set while the store has it.
#[derive(Clone)]
struct Hands(Arc<Mutex<Timestamp>>);

impl Hands {
    fn at(text: &str) -> Self {
        Self(Arc::new(Mutex::new(instant(text))))
    }

    fn move_on(&self, days: i64) {
        let mut now = self.0.lock().unwrap();
        *now = Timestamp::new(now.utc() + Duration::days(days));
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// Everything that there is of a kind, as it is shown.
async fn all<F: Filter>(store: &Store) -> Vec<Value> {
    all_pages(store, &F::default(), "id", 200).await.iter().map(fixture::json).collect()
}

/// Three months of business: what is there after it.
async fn three_months(database: &TestDatabase) -> Vec<Value> {
    let clock = Hands::at("2026-01-01T12:00:00Z");
    let seeded = StoreOptions { seed: Some(7), ..options(&database.url) };
    let store = Store::connect(&seeded, clock.clone()).await.unwrap();
    let currency = "EUR".parse::<Currency>().unwrap();
    let account = async |name: &str, balance| {
        let owner = store.insert(read::<NewUser>(json!({"email": format!("{name}@example.org"), "name": name})));
        let owner_id = owner.await.unwrap().id;
        store.insert(NewAccount { owner_id, currency, balance }).await.unwrap()
    };
    let house = account("house", 0).await;
    for (name, balance) in [("ada", 10_000), ("bob", PRICE + 1), ("eve", 0)] {
        let new = json!({
            "user_id": account(name, balance).await.owner_id, "plan": "gold", "status": "active",
            "period_start": "2026-01-01T00:00:00Z", "period_end": "2026-01-31T00:00:00Z",
        });
        store.insert(read::<NewSubscription>(new)).await.unwrap();
    }

    let mut months = vec![renew(&store, &house).await.unwrap()];
    for _ in 0..3 {
        clock.move_on(30);
        months.push(renew(&store, &house).await.unwrap());
        assert_eq!(renew(&store, &house).await.unwrap(), Renewals::default(), "nothing is due twice");
    }
    let expected = [(0, 0), (2, 1), (1, 1), (1, 0)].map(|(paid, unpaid)| Renewals { paid, unpaid });
    assert_eq!(months, expected);
    assert_eq!(store.find(house.id).await.unwrap().balance, 4 * PRICE);
    let kinds = [all::<UserFilter>(&store).await, all::<SubscriptionFilter>(&store).await];
    let money = [all::<AccountFilter>(&store).await, all::<TransferFilter>(&store).await];
    kinds.into_iter().chain(money).flatten().collect()
}

on_both!(
    async fn business_code_runs_on_whatever_it_is_given(database: TestDatabase) {
        assert_eq!(three_months(&database).await.len(), 4 + 3 + 4 + 4);
    }
);

/// To the last byte: the same ids, times and versions.
#[test]
fn what_stands_in_does_what_it_stands_for() {
    within(LIMIT, async {
        let postgres = or_skip!(tests::database(Backend::Postgres).await);
        let sqlite = tests::database(Backend::Sqlite).await.unwrap();
        assert_eq!(three_months(&sqlite).await, three_months(&postgres).await);
    });
}
