//! Made-up data: the same for the same number, on either database, and only what is missing.

use std::path::Path;

use api::{
    command::{
        CommandError, Exit,
        seed::{Report, SeedOptions, seed},
    },
    config::Config,
};
use domain::{
    Account, AccountFilter, ContentFilter, DataModelFilter, Filter, Page, ProfileFilter, RelationshipFilter,
    SettingFilter, Store, StoreOptions, SubscriptionFilter, SystemClock, TagFilter, TransferFilter, User, UserFilter,
    UserPatch,
};
use tests::{Backend, TestDatabase, database, on_both, or_skip, within};

const OPTIONS: SeedOptions = SeedOptions { reset: false, number: 7, users: 60 };

fn config(url: &str, others: &[(&str, &str)]) -> Config {
    let environment = [("DATABASE_URL", url)].into_iter().chain(others.iter().copied());
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config::read(environment, Path::new("/nowhere")).unwrap()
}

async fn run(database: &TestDatabase, options: &SeedOptions) -> Report {
    seed(options, false, &config(&database.url, &[])).await.unwrap()
}

async fn store(database: &TestDatabase) -> Store {
    Store::connect(&StoreOptions::new(&database.url), SystemClock).await.unwrap()
}

/// Every record of a kind, as JSON.
async fn all<F: Filter>(store: &Store) -> Vec<String> {
    let mut page = Page { limit: std::num::NonZeroU32::new(domain::MAX_PAGE_SIZE).unwrap(), ..Page::default() };
    let mut all = Vec::new();
    loop {
        let listing = store.list(&F::default(), &page).await.unwrap();
        all.extend(listing.records.iter().map(|record| serde_json::to_string(record).unwrap()));
        match listing.next {
            Some(next) => page.after = Some(next),
            None => return all,
        }
    }
}

/// Everything that is in the database, line by line.
async fn everything(database: &TestDatabase) -> Vec<String> {
    let store = store(database).await;
    let everything = [
        all::<UserFilter>(&store).await,
        all::<ProfileFilter>(&store).await,
        all::<ContentFilter>(&store).await,
        all::<TagFilter>(&store).await,
        all::<SettingFilter>(&store).await,
        all::<SubscriptionFilter>(&store).await,
        all::<AccountFilter>(&store).await,
        all::<TransferFilter>(&store).await,
        all::<DataModelFilter>(&store).await,
        all::<RelationshipFilter>(&store).await,
    ];
    store.close().await;
    for (place, records) in everything.iter().enumerate() {
        assert!(!records.is_empty(), "nothing of kind {place} was made");
    }
    everything.concat()
}

on_both!(
    /// Case 62.
    async fn a_second_run_changes_nothing(database: TestDatabase) {
        let first = run(&database, &OPTIONS).await;
        assert_eq!((first.present, first.made["users"], first.made["tags"]), (0, 60, 40));
        let before = everything(&database).await;
        let second = run(&database, &OPTIONS).await;
        assert_eq!((second.present, second.made.len()), (60, 0));
        assert!(second.to_string().starts_with("nothing to do"), "{second}");
        assert_eq!(everything(&database).await, before);
    }

    async fn the_same_number_makes_the_same(database: TestDatabase) {
        let other = tests::database(database.backend()).await.unwrap();
        let users = SeedOptions { users: 120, ..OPTIONS };
        let (here, there) = (run(&database, &users).await, run(&other, &users).await);
        assert_eq!(here.made, there.made);
        assert_eq!(everything(&database).await, everything(&other).await);
    }

    async fn two_seeds_live_side_by_side(database: TestDatabase) {
        run(&database, &OPTIONS).await;
        let second = run(&database, &SeedOptions { number: 8, ..OPTIONS }).await;
        assert_eq!((second.present, second.made["users"]), (0, 60));
        assert_eq!(second.made.get("tags"), None, "tags are shared");
        assert_eq!(run(&database, &OPTIONS).await.made.len(), 0);
    }

    async fn only_what_is_missing_is_made(database: TestDatabase) {
        run(&database, &SeedOptions { users: 25, ..OPTIONS }).await;
        let more = run(&database, &OPTIONS).await;
        assert_eq!((more.present, more.made["users"]), (25, 35));

        let store = store(&database).await;
        let user: User = store.list(&UserFilter::default(), &Page::default()).await.unwrap().records.remove(0);
        let patch = UserPatch { email: domain::Change::Set("renamed@example.org".to_owned()), ..UserPatch::default() };
        store.update(user.id, user.version, patch).await.unwrap();
        let again = run(&database, &OPTIONS).await;
        assert_eq!((again.present, again.made["users"]), (59, 1));
        assert_eq!(store.count(&UserFilter::default()).await.unwrap(), 61);
        store.close().await;
    }

    /// What is paid is neither lost nor made.
    async fn balances_are_those_of_the_transfers(database: TestDatabase) {
        run(&database, &OPTIONS).await;
        let store = store(&database).await;
        let page = Page { limit: std::num::NonZeroU32::new(200).unwrap(), ..Page::default() };
        let accounts: Vec<Account> = store.list(&AccountFilter::default(), &page).await.unwrap().records;
        let moved = accounts.iter().filter(|account| account.version > 1).count();
        let transfers = store.count(&TransferFilter::default()).await.unwrap();
        assert!(transfers > 0 && moved as u64 == 2 * transfers, "{moved} accounts, {transfers} transfers");
        assert!(accounts.iter().all(|account| account.balance >= 0));
        store.close().await;
    }

    async fn emptying_must_be_confirmed_and_is_refused_in_production(database: TestDatabase) {
        let reset = SeedOptions { reset: true, ..OPTIONS };
        run(&database, &OPTIONS).await;
        let before = everything(&database).await;

        let unconfirmed = seed(&reset, false, &config(&database.url, &[])).await.unwrap_err();
        assert!(matches!(unconfirmed, CommandError::NotConfirmed { .. }), "{unconfirmed}");
        assert_eq!(unconfirmed.exit(), Exit::Permission);
        let production = config(&database.url, &[("PROFILE", "production"), ("SECRET_KEY", &"x".repeat(32))]);
        for options in [&reset, &OPTIONS] {
            let refused = seed(options, true, &production).await.unwrap_err();
            assert!(matches!(refused, CommandError::RefusedInProduction { .. }), "{refused}");
            assert_eq!(refused.exit(), Exit::Permission);
        }
        assert_eq!(everything(&database).await, before);

        let report = seed(&reset, true, &config(&database.url, &[])).await.unwrap();
        assert_eq!((report.reset, report.present, report.made["users"]), (true, 0, 60));
        assert_eq!(everything(&database).await, before, "the same data again");
    }
);

#[test]
fn both_databases_get_the_same() {
    within(tests::run::LIMIT, async {
        let sqlite = database(Backend::Sqlite).await.unwrap();
        let postgres = or_skip!(database(Backend::Postgres).await);
        run(&sqlite, &OPTIONS).await;
        run(&postgres, &OPTIONS).await;
        assert_eq!(everything(&sqlite).await, everything(&postgres).await);
    });
}

#[test]
fn an_empty_embedded_database_gets_its_schema_first() {
    within(tests::run::LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new data");
        let environment = [("DATA_DIR".to_owned(), data.to_str().unwrap().to_owned())];
        let config = Config::read(environment.into_iter(), folder.path()).unwrap();
        let report = seed(&OPTIONS, false, &config).await.unwrap();
        assert_eq!(report.made["users"], 60);
        assert!(data.join("seabed.db").exists());
    });
}
