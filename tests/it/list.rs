//! Lists: pages that hide and repeat nothing, in every order.

use std::collections::HashSet;

use domain::{
    ContentFilter, ContentStatus, Listing, MAX_OFFSET, NewAccount, Page, Record, Sort, Store, Tag, TagFilter, User,
    UserFilter,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use tests::on_both;

use crate::fixture::{
    all_pages, content, instant, json, mistakes, new_tag, new_user, one, page_of, read, store, tag, user,
};

on_both!(
    within std::time::Duration::from_secs(120);
    /// Rows come and go between the pages: one that was there all the time is seen exactly once, in its place.
    async fn pages_are_stable_while_rows_come_and_go(database: TestDatabase) {
        let store = store(&database).await;
        let mut chance = StdRng::seed_from_u64(4711);
        let mut names = 0;
        let mut new_name = move |chance: &mut StdRng| {
            names += 1;
            format!("{:02}-{names}", chance.random_range(0..30))
        };
        for sort in ["id", "-id", "name", "-name", "created_at", "-created_at"] {
            let names = (0..40).map(|_| new_name(&mut chance)).collect::<Vec<_>>();
            insert_all(&store, names).await;
            let present = all_pages(&store, &TagFilter::default(), sort, 200).await;
            let mut deleted = HashSet::new();
            let mut seen = Vec::<Tag>::new();
            let mut after = None;
            loop {
                let limit = chance.random_range(1..8);
                let listing = store.list(&TagFilter::default(), &page_of::<Tag>(sort, limit, after)).await.unwrap();
                seen.extend(listing.records);
                after = listing.next;
                if after.is_none() {
                    break;
                }
                let victim = present.choose(&mut chance).unwrap();
                if deleted.insert(victim.id) {
                    store.delete(victim.id, 1).await.unwrap();
                }
                store.insert(new_tag(new_name(&mut chance))).await.unwrap();
            }
            let distinct = seen.iter().map(|tag| tag.id).collect::<HashSet<_>>();
            assert_eq!(distinct.len(), seen.len(), "{sort}: a row came twice");
            for tag in present.iter().filter(|tag| !deleted.contains(&tag.id)) {
                assert!(distinct.contains(&tag.id), "{sort}: {} was hidden", tag.name);
            }
            assert_sorted(&seen, sort);
        }
    }

    /// Among equals the id decides, in the same direction.
    async fn every_sortable_column_sorts_duplicates_too(database: TestDatabase) {
        let store = store(&database).await;
        let ada = user(&store, "ada").await;
        let mut chance = StdRng::seed_from_u64(7);
        let titles = ["", "a", "A", "ä", "B", "b", "Z", "~", "é", "e\u{301}", "日", "🦀"];
        for n in 0..36 {
            let title = format!("x{}", titles.choose(&mut chance).unwrap());
            content(&store, ada.id, &title).await;
            let currency = ["EUR", "JPY", "USD"][n % 3].parse().unwrap();
            let balance = [0, 1, i64::MAX][chance.random_range(0..3)];
            store.insert(NewAccount { owner_id: ada.id, currency, balance }).await.unwrap();
            store.insert(new_user(&format!("User{n}"))).await.unwrap();
        }
        let contents = every_order::<ContentFilter>(&store).await;
        let accounts = every_order::<domain::AccountFilter>(&store).await;
        let users = every_order::<UserFilter>(&store).await;
        assert_eq!([contents, accounts, users], [4 * 2, 4 * 2, 4 * 2]);
        assert_eq!(mistakes(Sort::parse::<User>("role")), one("invalid", "/sort", "sort"));
        assert_eq!(mistakes(Sort::parse::<User>("--name")), one("invalid", "/sort", "sort"));
    }

    async fn filters_narrow_lists_and_counts_alike(database: TestDatabase) {
        let store = store(&database).await;
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        for n in 0..12 {
            let mut new = crate::fixture::new_content(if n % 2 == 0 { ada.id } else { bob.id }, &format!("{n}"));
            new.status = Some(ContentStatus::ALL[n % 3]);
            store.insert(new).await.unwrap();
        }
        let titles = async |filter: serde_json::Value| {
            let filter = read::<ContentFilter>(filter);
            let listed = all_pages(&store, &filter, "id", 2).await;
            assert_eq!(store.count(&filter).await.unwrap(), listed.len() as u64);
            listed.into_iter().map(|content| content.title).collect::<Vec<_>>()
        };
        assert_eq!(titles(json!({})).await.len(), 12);
        assert_eq!(titles(json!({"author_id": bob.id})).await, ["1", "3", "5", "7", "9", "11"]);
        assert_eq!(titles(json!({"author_id": ada.id, "status": "draft"})).await, ["0", "6"]);
        assert_eq!(titles(json!({"author_id": crate::fixture::NOBODY})).await, [""; 0]);
        let all = all_pages(&store, &ContentFilter::default(), "id", 200).await;
        let (third, fifth) = (all[3].created_at, all[5].created_at);
        assert_eq!(titles(json!({"created_after": third, "created_before": fifth})).await, ["4"]);
        let emails = |email: &str| read::<UserFilter>(json!({"email": email}));
        assert_eq!(store.count(&emails("ADA@example.ORG")).await.unwrap(), 1);
        assert_eq!(store.count(&emails("a_a@example.org")).await.unwrap(), 0, "no pattern is meant");
        let since = read::<UserFilter>(json!({"active_since": instant("2026-01-01T00:00:00Z")}));
        assert_eq!(store.count(&since).await.unwrap(), 0);
        assert!(serde_json::from_value::<UserFilter>(json!({"emial": "x"})).is_err());
    }

    async fn a_page_tells_whether_there_is_another(database: TestDatabase) {
        let store = store(&database).await;
        for n in 0..4 {
            tag(&store, &format!("{n}")).await;
        }
        for (limit, has_next) in [(1, true), (3, true), (4, false), (5, false)] {
            let listing = store.list(&TagFilter::default(), &page_of::<Tag>("id", limit, None)).await.unwrap();
            assert_eq!(listing.records.len(), (limit as usize).min(4));
            assert_eq!(listing.next.is_some(), has_next, "{limit}");
        }
    }

    /// For small lists; it goes on from there by keyset.
    async fn records_can_be_counted_off(database: TestDatabase) {
        let store = store(&database).await;
        for n in 0..7 {
            tag(&store, &format!("{n}")).await;
        }
        let names = async |page: &Page| {
            let Listing { records, next } = store.list(&TagFilter::default(), page).await.unwrap();
            (records.into_iter().map(|tag| tag.name).collect::<Vec<_>>(), next)
        };
        let page = Page { offset: 4, ..page_of::<Tag>("-name", 2, None) };
        let (third, next) = names(&page).await;
        assert_eq!(third, ["2", "1"]);
        assert_eq!(names(&page_of::<Tag>("-name", 2, next.clone())).await.0, ["0"]);
        assert_eq!(names(&Page { offset: 1, ..page_of::<Tag>("-name", 2, next) }).await.0, [""; 0]);
        assert_eq!(names(&Page { offset: MAX_OFFSET, ..page }).await.0, [""; 0]);
        let refused = store.list(&TagFilter::default(), &Page { offset: MAX_OFFSET + 1, ..Page::default() }).await;
        assert_eq!(mistakes(refused), one("invalid", "/offset", "range"));
    }

    async fn a_cursor_of_another_order_is_refused(database: TestDatabase) {
        let store = store(&database).await;
        tag(&store, "a").await;
        tag(&store, "b").await;
        let next = async |sort| store.list(&TagFilter::default(), &page_of::<Tag>(sort, 1, None)).await.unwrap().next;
        for (made, used) in [("id", "name"), ("name", "id"), ("name", "created_at"), ("created_at", "name"), ("id", "-id")] {
            let page = page_of::<Tag>(used, 1, next(made).await);
            let refused = store.list(&TagFilter::default(), &page).await;
            assert_eq!(mistakes(refused), one("invalid", "/page_token", "page_token"), "{made} for {used}");
        }
        // Names and addresses are both text.
        user(&store, "a").await;
        user(&store, "b").await;
        let users = UserFilter::default();
        let by_name = store.list(&users, &page_of::<User>("name", 1, None)).await.unwrap().next;
        let refused = store.list(&users, &page_of::<User>("email", 1, by_name)).await;
        assert_eq!(mistakes(refused), one("invalid", "/page_token", "page_token"));
    }
);

async fn insert_all(store: &Store, names: Vec<String>) {
    let all = store.write(move |work| {
        let names = names.clone();
        async move {
            for name in names {
                work.insert(new_tag(name)).await?;
            }
            Ok(())
        }
    });
    all.await.unwrap();
}

/// Lists by every column in both directions; returns how many orders there are.
async fn every_order<F: domain::Filter>(store: &Store) -> usize {
    let names = Sort::allowed::<F::Record>();
    let orders = names.iter().flat_map(|name| [name.to_string(), format!("-{name}")]).collect::<Vec<_>>();
    for sort in &orders {
        let by_few = all_pages(store, &F::default(), sort, 5).await;
        assert_eq!(by_few.len() as u64, store.count(&F::default()).await.unwrap());
        assert_sorted(&by_few, sort);
    }
    orders.len()
}

/// Text by its code points, which is what `COLLATE "C"` and SQLite's `BINARY` do.
#[track_caller]
fn assert_sorted<R: Record>(records: &[R], sort: &str) {
    let (by, descending) = sort.strip_prefix('-').map_or((sort, false), |by| (by, true));
    let place = |record: &R| match json(record)[by].clone() {
        Value::Number(number) => (number.as_i64().unwrap(), String::new(), record.id()),
        Value::String(text) => (0, text, record.id()),
        other => panic!("{by} is {other}"),
    };
    for pair in records.windows(2) {
        let (first, second) = (place(&pair[0]), place(&pair[1]));
        assert!(if descending { first > second } else { first < second }, "{sort}: {first:?}, then {second:?}");
    }
}
