//! Reads through the cache, embedded and with Redis: what is kept, and when it is forgotten.

use std::{sync::Arc, time::Duration};

use api::adapter::redis_cache::{RedisCache, RedisOptions};
use domain::{
    Cache, CacheCounts, CachePolicy, Change, Content, ContentId, ContentPatch, Error, InProcessCache, Include,
    NewContent, NewSetting, NewUser, Page, ProfileFields, Setting, SettingPatch, Sql, Store, SystemClock, Tag,
    TagFilter, TagId, TagPatch, User, UserFilter, UserPatch, Wire,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tests::{
    Backend, PATIENCE, Postgres, Redis, TestDatabase, eventually, on_both, or_skip,
    run::{self, rounds},
    within,
};

use crate::{
    fixture::{self, NOBODY, content, new_content, new_tag, new_user, options, read, store, tag, user},
    http::{Service, send},
};

/// A store with the cache that goes with its database: Redis with PostgreSQL, and with SQLite what needs no service.
struct Cached {
    store: Store,
    redis: Option<Redis>,
}

impl std::ops::Deref for Cached {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// It is patient, so that what is counted does not depend on how busy the machine is.
async fn cached(database: &TestDatabase) -> Cached {
    cached_with(database, Duration::from_secs(2), Duration::from_secs(5)).await
}

async fn cached_with(database: &TestDatabase, timeout: Duration, freshness: Duration) -> Cached {
    let redis = match database.backend() {
        Backend::Postgres => Some(Redis::private().await.expect("Redis is installed by tests/run")),
        Backend::Sqlite => None,
    };
    let cache: Arc<dyn Cache> = match &redis {
        Some(redis) => {
            Arc::new(RedisCache::new(&RedisOptions { timeout, freshness, ..RedisOptions::new(redis.url()) }))
        }
        None => Arc::new(InProcessCache::new(16 * 1024 * 1024)),
    };
    let store = with_cache(database, cache, freshness).await;
    eventually("the cache answers", PATIENCE, async || store.cache_status().unwrap().is_fresh.then_some(())).await;
    Cached { store, redis }
}

async fn with_cache(database: &TestDatabase, cache: Arc<dyn Cache>, freshness: Duration) -> Store {
    let store = Store::connect(&options(&database.url), SystemClock).await.unwrap();
    store.cached(cache, CachePolicy { freshness, ..CachePolicy::default() }).await.unwrap()
}

/// Like [`cached`], where a test is about one of the two.
async fn in_process(database: &TestDatabase) -> Store {
    with_cache(database, Arc::new(InProcessCache::new(16 * 1024 * 1024)), Duration::from_secs(1)).await
}

fn counts(store: &Store, table: &str) -> CacheCounts {
    store.cache_status().unwrap().tables.get(table).copied().unwrap_or_default()
}

fn rename(name: &str) -> UserPatch {
    UserPatch { name: Change::Set(name.to_owned()), ..UserPatch::default() }
}

on_both!(
    async fn a_record_is_read_from_the_database_once(database: TestDatabase) {
        let store = cached(&database).await;
        let ada = user(&store, "ada").await;
        for _ in 0..3 {
            assert_eq!(store.find(ada.id).await.unwrap(), ada);
        }
        let CacheCounts { hits, misses, fills, .. } = counts(&store, "users");
        assert_eq!((hits, misses, fills), (2, 1, 1));
    }

    async fn what_is_written_is_read_at_once(database: TestDatabase) {
        let (store, other) = (cached(&database).await, store(&database).await);
        let mut ada = user(&store, "ada").await;
        for n in 0..20 {
            assert_eq!(store.find(ada.id).await.unwrap(), ada);
            ada = store.update(ada.id, ada.version, rename(&format!("Ada {n}"))).await.unwrap();
        }
        assert_eq!(store.find(ada.id).await.unwrap(), other.find(ada.id).await.unwrap());
        store.delete(ada.id, ada.version).await.unwrap();
        assert_eq!(store.look_up(ada.id).await.unwrap(), None);
    }

    async fn raw_and_bulk_statements_are_seen_at_once(database: TestDatabase) {
        let store = cached(&database).await;
        let ada = user(&store, "ada").await;
        store.find(ada.id).await.unwrap();
        let sql = Sql::new("UPDATE users SET name = 'raw', version = version + 1 WHERE id = $1").bind(ada.id);
        store
            .write(move |work| {
                let sql = sql.clone();
                async move { work.execute(sql).await }
            })
            .await
            .unwrap();
        assert_eq!(store.find(ada.id).await.unwrap().name, "raw");
    }

    async fn absence_is_kept_until_it_ends(database: TestDatabase) {
        let store = cached(&database).await;
        for _ in 0..2 {
            assert_eq!(store.look_up(domain::TagId::new(NOBODY)).await.unwrap(), None);
            assert_eq!(store.look_up_by(&Tag::BY_NAME, "Rust").await.unwrap(), None);
        }
        assert_eq!(counts(&store, "tags").hits, 2);
        let rust = tag(&store, "rust").await;
        assert_eq!(store.look_up_by(&Tag::BY_NAME, "Rust").await.unwrap(), Some(rust.clone()));
        let patch = TagPatch { name: Change::Set("iron".to_owned()) };
        let iron = store.update(rust.id, rust.version, patch).await.unwrap();
        assert_eq!(store.look_up_by(&Tag::BY_NAME, "rust").await.unwrap(), None);
        assert_eq!(store.look_up_by(&Tag::BY_NAME, "iron").await.unwrap(), Some(iron));
    }

    /// Settings are: whoever reads one next finds it, whatever changed it.
    async fn what_is_read_much_is_read_again_when_it_was_written(database: TestDatabase) {
        let store = cached(&database).await;
        let setting = read::<NewSetting>(json!({ "scope": "application", "key": "list.page_size", "value": 20 }));
        let Setting { id, version, .. } = store.insert(setting).await.unwrap();
        store.find(id).await.unwrap();
        let patch = read::<SettingPatch>(json!({ "value": 30 }));
        store.update(id, version, patch).await.unwrap();
        let refilled = async |fills| {
            let filled = async || (counts(&store, "settings").fills == fills).then_some(());
            eventually("it is read again", PATIENCE, filled).await;
        };
        refilled(2).await;
        let sql = Sql::new("UPDATE settings SET value = '40', version = version + 1");
        let raw = store.write(move |work| {
            let sql = sql.clone();
            async move { work.execute(sql).await }
        });
        raw.await.unwrap();
        refilled(3).await;
        assert_eq!(store.find(id).await.unwrap().value, 40);
        let CacheCounts { hits, misses, .. } = counts(&store, "settings");
        assert_eq!((hits, misses), (1, 3), "nobody had to wait for the database after the first time");
    }

    async fn what_no_trigger_tells_can_be_forgotten_by_hand(database: TestDatabase) {
        let store = cached(&database).await;
        let (rust, iron) = (tag(&store, "rust").await, tag(&store, "iron").await);
        let outside = database.connect().await;
        let silence = match database.backend() {
            Backend::Postgres => "ALTER TABLE tags DISABLE TRIGGER USER",
            Backend::Sqlite => "DROP TRIGGER cache_tags_update",
        };
        outside.execute_unprepared(silence).await.unwrap();
        let names = async || {
            let listed = store.list(&TagFilter::default(), &fixture::page("id")).await.unwrap().records;
            let listed = listed.into_iter().map(|tag| tag.name);
            [store.find(rust.id).await.unwrap().name, store.find(iron.id).await.unwrap().name].into_iter().chain(listed)
        };
        assert!(names().await.eq(["rust", "iron", "rust", "iron"]));
        outside.execute_unprepared("UPDATE tags SET name = name || '!'").await.unwrap();
        assert!(names().await.eq(["rust", "iron", "rust", "iron"]), "nobody told");
        store.forget(rust.id).await;
        assert!(names().await.eq(["rust!", "iron", "rust!", "iron!"]));
        store.forget_all().await;
        let forgotten = async || names().await.eq(["rust!", "iron!", "rust!", "iron!"]).then_some(());
        eventually("everything is forgotten", PATIENCE, forgotten).await;
        outside.close().await.unwrap();
    }

    async fn a_list_is_kept_until_its_table_changes(database: TestDatabase) {
        let store = cached(&database).await;
        let page = Page::default();
        for n in 0..3 {
            tag(&store, &format!("tag {n}")).await;
            for _ in 0..2 {
                let listing = store.list(&TagFilter::default(), &page).await.unwrap();
                assert_eq!(listing.records.len(), n + 1);
            }
        }
        assert_eq!(counts(&store, "tags").hits, 3);
        assert_eq!(store.list(&UserFilter::default(), &page).await.unwrap().records, []);
    }

    async fn what_a_transaction_undoes_was_never_seen(database: TestDatabase) {
        let store = cached(&database).await;
        let ada = user(&store, "ada").await;
        let before = counts(&store, "users");
        let (id, version) = (ada.id, ada.version);
        let undone = store.write(move |work| async move {
            work.update(id, version, rename("never")).await?;
            // Inside, the writer sees what it wrote; outside, nobody does.
            assert_eq!(work.find(id).await?.name, "never");
            Err::<(), _>(Error::NotFound { noun: "user", id: "undone".to_owned() })
        });
        undone.await.unwrap_err();
        assert_eq!(store.find(ada.id).await.unwrap(), ada);
        assert_eq!(counts(&store, "users").invalidations, before.invalidations);
    }

    async fn related_records_are_read_once_and_never_stale(database: TestDatabase) {
        let store = cached(&database).await;
        let ada = user(&store, "ada").await;
        let (rust, sea) = (tag(&store, "rust").await, tag(&store, "sea").await);
        let poem = content(&store, ada.id, "poem").await;
        let titles = async || {
            let mut contents = store.related(&User::CONTENTS, &[ada.id]).await.unwrap();
            contents.remove(&ada.id).unwrap_or_default().into_iter().map(|content| content.title).collect::<Vec<_>>()
        };
        let tags = async || {
            let mut tags = store.related(Content::TAGS.relation(), &[poem.id]).await.unwrap();
            tags.remove(&poem.id).unwrap_or_default().into_iter().map(|tag| tag.name).collect::<Vec<_>>()
        };
        for _ in 0..2 {
            assert_eq!(titles().await, ["poem"]);
            assert!(tags().await.is_empty());
        }
        assert_eq!((counts(&store, "contents").hits, counts(&store, "tags").hits), (1, 1));
        content(&store, ada.id, "story").await;
        assert_eq!(titles().await, ["poem", "story"]);
        let (id, both) = (poem.id, [sea.id, rust.id]);
        store.write(move |work| async move { Content::set_tags(id, &both, &work).await }).await.unwrap();
        assert_eq!(tags().await, ["sea", "rust"]);
        // The link does not change, what it leads to does.
        let patch = TagPatch { name: Change::Set("ocean".to_owned()) };
        store.update(sea.id, sea.version, patch).await.unwrap();
        assert_eq!(tags().await, ["ocean", "rust"]);
    }

    async fn what_others_write_is_seen_in_time(database: TestDatabase) {
        let (store, other) = (cached(&database).await, store(&database).await);
        let ada = user(&store, "ada").await;
        store.find(ada.id).await.unwrap();
        other.update(ada.id, ada.version, rename("Countess")).await.unwrap();
        eventually("the relay has seen it", PATIENCE, async || {
            (store.find(ada.id).await.unwrap().name == "Countess").then_some(())
        })
        .await;
    }

    async fn so_many_changes_at_once_that_everything_is_forgotten(database: TestDatabase) {
        let store = cached(&database).await;
        let page = Page { limit: 200.try_into().unwrap(), ..Page::default() };
        store.list(&TagFilter::default(), &page).await.unwrap();
        let many = (0..3_000).map(|n| new_tag(format!("tag {n}"))).collect::<Vec<_>>();
        store
            .write(move |work| {
                let many = many.clone();
                async move { work.insert_all(many).await }
            })
            .await
            .unwrap();
        assert_eq!(store.list(&TagFilter::default(), &page).await.unwrap().records.len(), 200);
        let rust = tag(&store, "rust").await;
        assert_eq!(store.find(rust.id).await.unwrap(), rust);
        assert_eq!(store.find(rust.id).await.unwrap(), rust);
    }

    async fn a_stampede_is_one_read_or_two(database: TestDatabase) {
        let store = cached(&database).await;
        let ada = store.insert(new_user("ada")).await.unwrap();
        for round in 0..3 {
            let fills = counts(&store, "users").fills + counts(&store, "users").refused_fills;
            let readers = (0..1_000).map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.find(ada.id).await })
            });
            for reader in readers.collect::<Vec<_>>() {
                assert_eq!(reader.await.unwrap().unwrap().id, ada.id);
            }
            let counts = counts(&store, "users");
            let reads = counts.fills + counts.refused_fills - fills;
            assert!((1..=2).contains(&reads), "{reads} in round {round}");
            let version = store.find(ada.id).await.unwrap().version;
            store.update(ada.id, version, rename(&format!("Ada {round}"))).await.unwrap();
        }
    }
);

#[test]
fn the_lease_is_over_when_nobody_renews_it() {
    within(run::LIMIT, async {
        let database = or_skip!(tests::database(Backend::Sqlite).await);
        let store = in_process(&database).await;
        let ada = user(&store, "ada").await;
        store.find(ada.id).await.unwrap();
        assert!(store.cache_status().unwrap().is_fresh);
        store.close().await;
        eventually("the cache does not answer", Duration::from_secs(5), async || {
            store.find(ada.id).await.err().map(drop)
        })
        .await;
    });
}

/// Users with profiles, contents and tags, that change by chance.
struct Graph {
    users: Vec<domain::UserId>,
    contents: Vec<ContentId>,
    tags: Vec<TagId>,
}

impl Graph {
    async fn change(&mut self, store: &Store, chance: &mut StdRng, n: usize) {
        let author = *self.users.choose(chance).unwrap();
        let content = self.contents.choose(chance).copied();
        match (chance.random_range(0..9), content) {
            (0, _) => {
                let profile = chance.random_bool(0.5).then(ProfileFields::default);
                self.users.push(store.insert(NewUser { profile, ..new_user(&format!("user{n}")) }).await.unwrap().id);
            }
            (1, _) => self.tags.push(tag(store, &format!("tag {n}")).await.id),
            (2 | 3, _) => {
                let tags = self.tags.iter().copied().filter(|_| chance.random_bool(0.3)).collect();
                let new = NewContent { tags, ..new_content(author, &format!("content {n}")) };
                self.contents.push(store.insert(new).await.unwrap().id);
            }
            (4, Some(id)) => {
                let version = store.find(id).await.unwrap().version;
                let patch = ContentPatch { title: Change::Set(format!("again {n}")), ..ContentPatch::default() };
                store.update(id, version, patch).await.unwrap();
            }
            (5, Some(id)) => {
                let tags = self.tags.iter().copied().filter(|_| chance.random_bool(0.3)).collect::<Vec<_>>();
                let set = move |work: domain::UnitOfWork| {
                    let tags = tags.clone();
                    async move { Content::set_tags(id, &tags, &work).await }
                };
                store.write(set).await.unwrap();
            }
            (6, _) => {
                let id = *self.tags.choose(chance).unwrap();
                let version = store.find(id).await.unwrap().version;
                let patch = TagPatch { name: Change::Set(format!("renamed {n}")) };
                store.update(id, version, patch).await.unwrap();
            }
            (7, Some(id)) => {
                let version = store.find(id).await.unwrap().version;
                store.delete(id, version).await.unwrap();
                self.contents.retain(|content| *content != id);
            }
            _ => {
                let set = move |work: domain::UnitOfWork| async move {
                    let seen = work.related(&User::PROFILE, author).await?.pop().map(|profile| profile.version);
                    let fields = ProfileFields { city: Some(format!("city {n}")), ..ProfileFields::default() };
                    domain::Profile::set(author, seen, fields, &work).await
                };
                store.write(set).await.unwrap();
            }
        }
    }
}

on_both!(
    within run::limit(Duration::from_secs(120));

    async fn relations_from_the_cache_are_those_of_the_database(database: TestDatabase) {
        let (store, plain) = (cached(&database).await, store(&database).await);
        let mut chance = StdRng::seed_from_u64(7);
        let mut graph = Graph {
            users: vec![user(&store, "first").await.id],
            contents: Vec::new(),
            tags: vec![tag(&store, "first").await.id],
        };
        let includes = Include::parse::<User>("profile,contents.tags,contents.author").unwrap();
        for n in 0..rounds(1_000, 10_000) {
            graph.change(&store, &mut chance, n).await;
            let of = graph.users.sample(&mut chance, 3).copied().collect::<Vec<_>>();
            let mut answers = Vec::new();
            for store in [&plain, &store.store] {
                let mut users = Vec::new();
                for id in &of {
                    users.push(store.find_wire(*id).await.unwrap());
                }
                let views = store.with_related(users, &includes).await.unwrap();
                answers.push(views.iter().map(|view| view.json().clone()).collect::<Vec<_>>());
            }
            assert_eq!(answers[0], answers[1], "after change {n}");
        }
        assert!(counts(&store, "contents").hits > 100);
    }
);

/// Counted by both servers themselves.
#[test]
fn a_page_with_relations_is_five_statements_and_then_three_round_trips() {
    within(run::LIMIT, async {
        let server = or_skip!(Postgres::private_with(&["log_statement=all"]).await);
        let database = server.database().await;
        let store = cached(&database).await;
        let redis = store.redis.as_ref().unwrap();
        let tags = [tag(&store, "one").await.id, tag(&store, "two").await.id];
        let new =
            (0..100).map(|n| NewUser { profile: Some(ProfileFields::default()), ..new_user(&format!("user{n:03}")) });
        let new = new.collect::<Vec<_>>();
        let users = store
            .write(move |work| {
                let new = new.clone();
                async move { work.insert_all(new).await }
            })
            .await
            .unwrap();
        let new = users.iter().map(|user| NewContent { tags: tags.to_vec(), ..new_content(user.id, "text") });
        let new = new.collect::<Vec<_>>();
        store
            .write(move |work| {
                let new = new.clone();
                async move { work.insert_all(new).await }
            })
            .await
            .unwrap();

        let includes = Include::parse::<User>("profile,contents.tags").unwrap();
        let page = Page { limit: 100.try_into().unwrap(), ..Page::default() };
        let ask = async || {
            let (already, calls) = (server.log().len(), redis.calls("mget").await);
            let listed = store.list_wire(&UserFilter::default(), &page).await.unwrap();
            let views = store.with_related(listed.records, &includes).await.unwrap();
            let log = server.log();
            // The relay's own are beside them.
            let statements =
                log[already..].lines().filter(|line| line.contains("execute ") && !line.contains("cache_outbox"));
            (statements.count(), redis.calls("mget").await - calls, serde_json::to_value(&views).unwrap())
        };
        let (statements, _, cold) = ask().await;
        assert!(statements <= 5, "{statements}");
        let (statements, trips, warm) = ask().await;
        assert_eq!((statements, &warm), (0, &cold));
        assert!(trips <= 3, "{trips}");
        assert_eq!(warm[99]["contents"][0]["tags"][1]["name"], "two");
    });
}

on_both!(
    async fn every_record_comes_back_from_the_wire_as_it_was(database: TestDatabase) {
        let store = store(&database).await;
        let mut ada = user(&store, "ada").await;
        ada.avatar = Some("https://example.org/\u{1f30a}\"\\".to_owned());
        ada.last_active_at = Some(fixture::instant("1969-12-31T23:59:59.999999Z"));
        assert_eq!(Wire::of(&ada).unwrap().record().unwrap(), ada);
        let wire = Wire::of(&ada).unwrap();
        assert_eq!((wire.id(), wire.version()), (ada.id, ada.version));
        assert_eq!(serde_json::from_slice::<Value>(wire.json()).unwrap(), fixture::json(&ada));
    }

    async fn the_counts_are_what_was_done(database: TestDatabase) {
        let store = cached(&database).await;
        let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
        for id in [ada.id, ada.id, bob.id, ada.id, domain::UserId::new(NOBODY)] {
            store.look_up(id).await.unwrap();
        }
        store.update(ada.id, 1, rename("Countess")).await.unwrap();
        store.find(ada.id).await.unwrap();
        let counted = counts(&store, "users");
        let CacheCounts { hits, misses, fills, refused_fills, bypasses, invalidations } = counted;
        assert_eq!((hits, misses, fills, refused_fills, bypasses), (2, 4, 4, 0, 0));
        // Two were made, and one was changed. A relay may have told it again.
        assert!((3..=6).contains(&invalidations), "{counted:?}");
    }

    async fn a_client_that_has_it_already_is_told_so_without_a_statement(database: TestDatabase) {
        let service = Service::start(&database).await;
        let user = service.create("/v1/users", &json!({"email": "ada@example.org", "name": "Ada"})).await;
        let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
        let first = service.get(&path).await;
        let etag = first.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(first.headers["cache-control"], "private, no-cache");
        let again =
            async |path: &str, etag: &str| send(service.request(Method::GET, path).header("if-none-match", etag)).await;
        let hits = counts(&service.store, "users").hits;
        let kept = again(&path, &etag).await;
        assert_eq!((kept.status, kept.body.len(), &kept.headers["etag"]), (304, 0, &first.headers["etag"]));
        assert_eq!(counts(&service.store, "users").hits, hits + 1);
        assert_eq!(again(&path, &format!("\"0\", W/{etag}")).await.status, 304);
        let health = service.get("/health").await.json();
        assert_eq!((&health["status"], &health["cache"]["status"]), (&json!("up"), &json!("up")));
        assert_eq!((&health["cache"]["hits"], &health["cache"]["misses"]), (&json!(2), &json!(1)));

        // What is included is part of it, and changes without the record.
        let with_contents = format!("{path}?include=contents");
        let with = service.get(&with_contents).await.headers["etag"].to_str().unwrap().to_owned();
        assert_ne!(with, etag);
        assert_eq!(again(&with_contents, &with).await.status, 304);
        service.create("/v1/contents", &json!({"author_id": user["id"], "title": "t", "body": ""})).await;
        assert_eq!(again(&with_contents, &with).await.status, 200);
        assert_eq!(again(&path, &etag).await.status, 304);

        let list = service.get("/v1/users").await.headers["etag"].to_str().unwrap().to_owned();
        assert_eq!(again("/v1/users", &list).await.status, 304);
        // Also the tag of what was included says which version is meant.
        let patch = service.request(Method::PATCH, &path).header("if-match", &with).json(&json!({"name": "Countess"}));
        send(patch).await.expect(200);
        assert_eq!(again("/v1/users", &list).await.status, 200);
        assert_eq!(again(&path, &etag).await.status, 200);
    }
);

/// Whatever becomes of Redis, the service answers, and nothing that was acknowledged is unseen.
#[test]
fn without_redis_everything_is_read_from_the_database() {
    within(Duration::from_secs(120), async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let mut cached = cached_with(&database, Duration::from_millis(50), Duration::from_secs(1)).await;
        let ada = user(&cached, "ada").await;
        let mut version = 1;
        for fault in 0..5 {
            let Cached { store, redis } = &mut cached;
            let redis = redis.as_mut().unwrap();
            store.find(ada.id).await.unwrap();
            match fault {
                0 => redis.kill().await,
                1 => redis.pause(),
                2 => redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await,
                3 => redis.ask::<()>(&["CONFIG", "SET", "requirepass", "changed"]).await,
                _ => redis.flush().await,
            }
            for _ in 0..3 {
                let name = format!("Ada {version}");
                let written = store.update(ada.id, version, rename(&name)).await.unwrap();
                version = written.version;
                assert_eq!(store.find(ada.id).await.unwrap(), written, "{fault}");
            }
            match fault {
                0 => redis.start().await,
                1 => redis.resume(),
                2 => redis.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await,
                3 => redis.ask::<()>(&["CONFIG", "SET", "requirepass", ""]).await,
                _ => {}
            }
            let hits = counts(store, "users").hits;
            eventually("it is used again", Duration::from_secs(5), async || {
                store.find(ada.id).await.unwrap();
                (counts(store, "users").hits > hits).then_some(())
            })
            .await;
        }
    });
}

/// A Redis that is not there when the service starts.
#[test]
fn a_redis_that_comes_later_is_used_then() {
    within(run::LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let mut redis = or_skip!(Redis::private().await);
        redis.stop().await;
        let store =
            with_cache(&database, Arc::new(RedisCache::new(&RedisOptions::new(redis.url()))), Duration::from_secs(1))
                .await;
        let ada = user(&store, "ada").await;
        assert_eq!(store.find(ada.id).await.unwrap(), ada);
        redis.start().await;
        eventually("it is used", Duration::from_secs(5), async || {
            store.find(ada.id).await.unwrap();
            (counts(&store, "users").hits > 0).then_some(())
        })
        .await;
    });
}

/// What was filled at the same time would otherwise be missed at the same time.
#[test]
fn what_was_filled_together_does_not_end_together() {
    within(run::LIMIT, async {
        let database = or_skip!(tests::database(Backend::Postgres).await);
        let store = cached(&database).await;
        for n in 0..100 {
            let tag = tag(&store, &n.to_string()).await;
            store.find(tag.id).await.unwrap();
        }
        let redis = store.redis.as_ref().unwrap();
        let lives_of = "local lives = {}
                        for _, name in ipairs(redis.call('KEYS', 'seabed:e*')) do lives[#lives + 1] = redis.call('PTTL', name) end
                        return lives";
        let lives = redis.ask::<Vec<i64>>(&["EVAL", lives_of, "0"]).await;
        let (shortest, longest) = (*lives.iter().min().unwrap(), *lives.iter().max().unwrap());
        assert!(lives.len() >= 100, "{lives:?}");
        assert!(longest <= 3_600_000 && shortest > 3_000_000, "at most a tenth earlier: {lives:?}");
        assert!(longest - shortest > 180_000, "over minutes: {lives:?}");
    });
}
