//! Changes are told to who wants to know: after the commit, of each record in order, whoever makes them; in Rust, and as
//! server-sent events.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    Limits,
    adapter::{
        redis_bus::{RedisBus, RedisBusOptions},
        redis_cache::{RedisCache, RedisOptions},
    },
};
use domain::{
    Announcement, Bus, CachePolicy, ChangeKind, Changed, Changes, Error, Heard, InProcessBus, InProcessCache, Notice,
    Noun, Sql, Store, Tag, TagId, User,
};
use futures_util::{StreamExt, future::join_all};
use serde_json::{Value, json};
use tests::{Backend, PATIENCE, Redis, TestDatabase, database, eventually, on_both, or_skip, run::LIMIT, within};
use uuid::Uuid;

use crate::{
    fixture::{execute, new_tag, store, tag, user},
    http::{SOON, Service, on_sqlite, on_sqlite_with},
};

async fn cached(database: &TestDatabase) -> Store {
    cached_with(database, Arc::new(InProcessBus::default())).await
}

async fn cached_with(database: &TestDatabase, bus: Arc<dyn Bus>) -> Store {
    let cache = Arc::new(InProcessCache::new(16 << 20));
    store(database).await.with_bus(bus).cached(cache, CachePolicy::default()).await.unwrap()
}

/// A store that shares its cache and its bus with other processes.
async fn shared(database: &TestDatabase, server: &Redis) -> Store {
    let cache = RedisCache::new(&RedisOptions { timeout: PATIENCE, ..RedisOptions::new(server.url()) });
    let bus = RedisBus::new(&RedisBusOptions { timeout: PATIENCE, ..RedisBusOptions::new(server.url()) });
    let store = store(database).await.with_bus(Arc::new(bus));
    store.cached(Arc::new(cache), CachePolicy::default()).await.unwrap()
}

async fn tags(store: &Store) -> Changes {
    store.changes(&[Noun::of::<Tag>()]).await.unwrap()
}

async fn next(changes: &mut Changes) -> Notice {
    tokio::time::timeout(PATIENCE, changes.next()).await.expect("something is told").expect("the store is open")
}

/// What is told next of a change, whatever gaps are told before it.
async fn next_changed(changes: &mut Changes) -> Changed {
    loop {
        if let Notice::Changed(changed) = next(changes).await {
            return changed;
        }
    }
}

fn written(tag: &Tag) -> Changed {
    Changed { noun: "tag", id: tag.id.uuid(), version: tag.version, change: ChangeKind::Written }
}

fn rename(id: TagId, name: &str) -> Sql {
    Sql::new("UPDATE tags SET name = $1, version = version + 1 WHERE id = $2").bind(name.to_owned()).bind(id)
}

/// Lets eight writers change the same tags, on these stores in turn, and sees to it that each subscriber is told of each
/// tag in order, and of its last version.
async fn in_order(stores: &[Store]) {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 15;
    let mut listeners = Vec::new();
    for store in stores {
        listeners.push(tags(store).await);
    }
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(tag(&stores[0], &format!("tag {n}")).await.id);
    }
    let writers = (0..WRITERS).map(|writer| {
        let (store, ids) = (stores[writer % stores.len()].clone(), ids.clone());
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let id = ids[(writer + round) % ids.len()];
                execute(&store, rename(id, &format!("tag {writer} {round}"))).await.unwrap();
            }
        })
    });
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    let mut last = BTreeMap::new();
    for id in &ids {
        last.insert(id.uuid(), stores[0].find(*id).await.unwrap().version);
    }
    assert_eq!(last.values().sum::<i64>() as usize, WRITERS * ROUNDS + ids.len());
    for mut listener in listeners {
        let mut seen = BTreeMap::<Uuid, i64>::new();
        while seen != last {
            let Changed { noun, id, version, change } = next_changed(&mut listener).await;
            assert_eq!((noun, change), ("tag", ChangeKind::Written));
            let before = seen.insert(id, version).unwrap_or(0);
            assert!(before < version && version <= last[&id], "{id}: {version} after {before}");
        }
    }
}

on_both!(
    async fn of_each_record_changes_are_told_in_order(database: TestDatabase) {
        in_order(&[cached(&database).await]).await;
    }

    async fn also_across_processes(database: TestDatabase) {
        let server = or_skip!(Redis::private().await);
        in_order(&[shared(&database, &server).await, shared(&database, &server).await]).await;
    }

    async fn also_across_processes_that_share_nothing_but_the_database(database: TestDatabase) {
        in_order(&[cached(&database).await, cached(&database).await]).await;
    }

    async fn a_record_is_made_changed_and_deleted(database: TestDatabase) {
        let store = cached(&database).await;
        let mut changes = tags(&store).await;
        user(&store, "ada").await; // of whom is not asked
        let rust = tag(&store, "rust").await;
        assert_eq!(next(&mut changes).await, Notice::Changed(written(&rust)));
        execute(&store, rename(rust.id, "iron")).await.unwrap();
        let iron = store.find(rust.id).await.unwrap();
        assert_eq!(next(&mut changes).await, Notice::Changed(written(&iron)));
        store.delete(iron.id, iron.version).await.unwrap();
        let gone = Changed { version: 3, change: ChangeKind::Deleted, ..written(&iron) };
        assert_eq!(next(&mut changes).await, Notice::Changed(gone));
        assert_eq!((gone.id_of::<Tag>(), gone.id_of::<User>()), (Some(rust.id), None));
    }

    /// When it is told, it is so, and the cache does not say otherwise.
    async fn what_is_told_can_be_read(database: TestDatabase) {
        let store = cached(&database).await;
        let mut changes = tags(&store).await;
        let rust = tag(&store, "rust").await;
        let writer = tokio::spawn({
            let store = store.clone();
            async move {
                for n in 0..50 {
                    execute(&store, rename(rust.id, &format!("rust {n}"))).await.unwrap();
                }
            }
        });
        loop {
            let Changed { version, .. } = next_changed(&mut changes).await;
            assert!(store.find(rust.id).await.unwrap().version >= version);
            if version == 51 {
                break;
            }
        }
        writer.await.unwrap();
    }

    async fn what_is_rolled_back_is_not_told(database: TestDatabase) {
        let store = cached(&database).await;
        let mut changes = tags(&store).await;
        let undone = store.write(|work| async move {
            work.insert(new_tag("never")).await?;
            Err::<(), _>(Error::refused("no", "no"))
        });
        undone.await.unwrap_err();
        let partly = store.write(|work| async move {
            let part = work.savepoint(|work| async move {
                work.insert(new_tag("never")).await?;
                Err::<(), _>(Error::refused("no", "no"))
            });
            part.await.unwrap_err();
            work.insert(new_tag("kept")).await
        });
        let kept = partly.await.unwrap();
        let last = tag(&store, "last").await;
        assert_eq!(next(&mut changes).await, Notice::Changed(written(&kept)));
        assert_eq!(next(&mut changes).await, Notice::Changed(written(&last)));
    }

    async fn of_one_transaction_the_last_version_is_told(database: TestDatabase) {
        let store = cached(&database).await;
        let mut changes = tags(&store).await;
        let rust = store.write(|work| async move {
            let rust = work.insert(new_tag("rust")).await?;
            work.execute(rename(rust.id, "iron")).await?;
            work.execute(rename(rust.id, "steel")).await?;
            Ok(rust)
        });
        let rust = rust.await.unwrap();
        assert_eq!(next(&mut changes).await, Notice::Changed(Changed { version: 3, ..written(&rust) }));
        execute(&store, rename(rust.id, "rust")).await.unwrap();
        assert_eq!(next_changed(&mut changes).await.version, 4);
    }

    async fn raw_and_bulk_statements_are_told(database: TestDatabase) {
        let store = cached(&database).await;
        let mut changes = tags(&store).await;
        let many = (0..300).map(|n| new_tag(format!("tag {n}"))).collect::<Vec<_>>();
        let insert = store.write(move |work| {
            let many = many.clone();
            async move { work.insert_all(many).await }
        });
        let mut expected = insert.await.unwrap().iter().map(written).collect::<Vec<_>>();
        let mut told = Vec::new();
        while told.len() < expected.len() {
            told.push(next_changed(&mut changes).await);
        }
        expected.sort_by_key(|changed| changed.id);
        told.sort_by_key(|changed| changed.id);
        assert_eq!(told, expected);
        execute(&store, Sql::new("UPDATE tags SET version = version + 1")).await.unwrap();
        for _ in 0..300 {
            assert_eq!(next_changed(&mut changes).await.version, 2);
        }
        // So many at once that there is no saying which.
        let many = (0..3_000).map(|n| new_tag(format!("more {n}"))).collect::<Vec<_>>();
        let insert = store.write(move |work| {
            let many = many.clone();
            async move { work.insert_all(many).await }
        });
        insert.await.unwrap();
        while next(&mut changes).await != Notice::Gap {}
    }

    /// Who has committed and told nobody, as a writer that died just then, or another program.
    async fn what_its_writer_did_not_tell_a_relay_does(database: TestDatabase) {
        let (listening, silent) = (cached(&database).await, store(&database).await);
        let mut changes = tags(&listening).await;
        let rust = tag(&silent, "rust").await;
        assert_eq!(next_changed(&mut changes).await, written(&rust));
        silent.delete(rust.id, rust.version).await.unwrap();
        let Changed { id, version, change, .. } = next_changed(&mut changes).await;
        assert_eq!((id, version, change), (rust.id.uuid(), 2, ChangeKind::Deleted));
    }

    async fn a_relay_of_another_process_does_too(database: TestDatabase) {
        let server = or_skip!(Redis::private().await);
        let (one, two, silent) =
            (shared(&database, &server).await, shared(&database, &server).await, store(&database).await);
        let mut listeners = [tags(&one).await, tags(&two).await];
        let rust = tag(&silent, "rust").await;
        for changes in &mut listeners {
            assert_eq!(next_changed(changes).await, written(&rust));
        }
    }

    async fn a_subscriber_who_does_not_keep_up_is_told_of_a_gap(database: TestDatabase) {
        let store = cached(&database).await;
        let (mut slow, mut quick) = (tags(&store).await, tags(&store).await);
        let rust = tag(&store, "rust").await;
        for round in 0..4 {
            let many = (0..400).map(|n| new_tag(format!("tag {round} {n}"))).collect::<Vec<_>>();
            let insert = store.write(move |work| {
                let many = many.clone();
                async move { work.insert_all(many).await }
            });
            insert.await.unwrap();
            for _ in 0..400 {
                next_changed(&mut quick).await;
            }
        }
        assert_eq!(next(&mut slow).await, Notice::Gap);
        execute(&store, rename(rust.id, "iron")).await.unwrap();
        let iron = Changed { version: 2, ..written(&rust) };
        while next_changed(&mut slow).await != iron {}
    }

    async fn a_stream_ends_with_its_store(database: TestDatabase) {
        let store = cached(&database).await;
        let mut changes = tags(&store).await;
        store.close().await;
        assert_eq!(tokio::time::timeout(PATIENCE, changes.next()).await.unwrap(), None);
    }
);

#[test]
fn without_a_cache_nobody_learns_of_changes() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Sqlite).await);
        let store = store(&database).await;
        assert!(matches!(store.changes(&[Noun::of::<Tag>()]).await.err(), Some(Error::Internal { .. })));
        assert!(!store.tells(&Noun::of::<Tag>()));
        assert!(cached(&database).await.tells(&Noun::of::<Tag>()));
    });
}

#[test]
fn a_lost_connection_to_redis_is_a_gap() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Sqlite).await);
        let mut server = or_skip!(Redis::private().await);
        let store = shared(&database, &server).await;
        let mut changes = tags(&store).await;
        let rust = tag(&store, "rust").await;
        assert_eq!(next(&mut changes).await, Notice::Changed(written(&rust)));
        server.restart().await;
        assert_eq!(next(&mut changes).await, Notice::Gap);
        // What was committed while it was away may be told once it is back, and what comes after it is.
        let last = tag(&store, "last").await;
        while next_changed(&mut changes).await != written(&last) {}
    });
}

#[test]
fn who_subscribes_while_redis_is_away_is_told_when_it_is_back() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Sqlite).await);
        let mut server = or_skip!(Redis::private().await);
        let bus = RedisBus::new(&RedisBusOptions::new(server.url()));
        server.kill().await;
        let store = cached_with(&database, Arc::new(bus)).await;
        let mut changes = tags(&store).await;
        tag(&store, "untold").await;
        server.start().await;
        assert_eq!(next(&mut changes).await, Notice::Gap);
        let last = tag(&store, "last").await;
        while next_changed(&mut changes).await != written(&last) {}
    });
}

/// Who could not tell what changed says later that something was not told.
#[test]
fn what_could_not_be_published_is_a_gap() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Sqlite).await);
        let server = or_skip!(Redis::private().await);
        let listening = RedisBus::new(&RedisBusOptions::new(server.url()));
        let mut heard = listening.listen();
        let mut hear = async || tokio::time::timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
        assert_eq!(hear().await, Heard::Gap);
        server.ask::<()>(&["ACL", "SETUSER", "mute", "on", ">secret", "resetchannels", "+@all", "~*"]).await;
        let bus = RedisBus::new(&RedisBusOptions::new(server.url_as("mute", "secret")));
        assert_eq!(bus.publish(&Announcement::default()).await, Err(domain::BusError::Refused));
        let store = cached_with(&database, Arc::new(bus)).await;
        tag(&store, "untold").await;
        server.ask::<()>(&["ACL", "SETUSER", "mute", "allchannels"]).await;
        let Heard::Announced(announcement) = hear().await else { panic!("the connection was lost") };
        assert!(announcement.is_gap && announcement.changes.is_empty());
        let last = tag(&store, "last").await;
        let Heard::Announced(announcement) = hear().await else { panic!("the connection was lost") };
        assert_eq!(announcement.changes.iter().map(|change| change.id).collect::<Vec<_>>(), [last.id.uuid()]);
    });
}

#[test]
fn the_rights_that_are_documented_suffice() {
    within(LIMIT, async {
        let rights = crate::redis::rights_in(include_str!("../../api/src/adapter/redis_bus.rs"));
        let user = format!("user seabed on >secret {rights}");
        let server = or_skip!(Redis::private_with(&[&user, "user default off"]).await);
        let url = server.url_as("seabed", "secret");
        let bus = RedisBus::new(&RedisBusOptions { timeout: PATIENCE, ..RedisBusOptions::new(url) });
        let mut heard = bus.listen();
        assert_eq!(heard.next().await, Some(Heard::Gap));
        let said = Announcement { timeline: "one".to_owned(), ..Announcement::default() };
        // Longer than it is silent without being asked whether somebody is there.
        let silence = tokio::time::timeout(Duration::from_secs(6), heard.next()).await;
        assert!(silence.is_err(), "{silence:?}");
        bus.publish(&said).await.unwrap();
        assert_eq!(heard.next().await, Some(Heard::Announced(said)));
    });
}

/// A server that is there and says nothing.
#[test]
fn a_redis_that_hangs_is_a_gap() {
    within(LIMIT, async {
        let server = or_skip!(Redis::private().await);
        let bus = RedisBus::new(&RedisBusOptions::new(server.url()));
        let mut heard = bus.listen();
        assert_eq!(heard.next().await, Some(Heard::Gap));
        server.pause();
        let mut next = std::pin::pin!(heard.next());
        let hung = tokio::time::timeout(Duration::from_secs(10), &mut next).await;
        assert!(hung.is_err(), "{hung:?}");
        server.resume();
        assert_eq!(tokio::time::timeout(PATIENCE, next).await.unwrap(), Some(Heard::Gap));
    });
}

/// An event as a client sees it.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    kind: String,
    id: String,
    data: Value,
}

/// A client of the stream.
struct Client {
    response: reqwest::Response,
    text: String,
}

impl Client {
    async fn open(service: &Service, path: &str) -> Self {
        Self::open_with(service, path, &[]).await
    }

    async fn open_with(service: &Service, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = service.request(reqwest::Method::GET, path).header("accept", "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let mut client = Self { response, text: String::new() };
        let beginning = client.block().await.unwrap();
        assert!(beginning.contains("retry: 1000") && beginning.contains(": listening"), "{beginning}");
        client
    }

    fn header(&self, name: &str) -> &str {
        self.response.headers()[name].to_str().unwrap()
    }

    /// What comes before the next empty line; none at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("something comes");
            self.text.push_str(std::str::from_utf8(&chunk.ok()??).unwrap());
        }
    }

    async fn event(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            // A heartbeat has none.
            let Some(data) = field("data") else { continue };
            return Some(Event {
                kind: field("event").unwrap().to_owned(),
                id: field("id").unwrap_or_default().to_owned(),
                data: serde_json::from_str(data).unwrap(),
            });
        }
    }
}

fn event(noun: &str, record: &Value, version: i64, change: &str) -> Event {
    let id = record["id"].as_str().unwrap();
    Event {
        kind: "change".to_owned(),
        id: format!("{id}/{version}"),
        data: json!({ "noun": noun, "id": id, "version": version, "change": change }),
    }
}

#[test]
fn changes_are_server_sent_events() {
    on_sqlite(async |service| {
        // That somebody has an older answer is of no interest here.
        let mut all = Client::open_with(&service, "/v1/changes", &[("if-none-match", "*")]).await;
        assert_eq!(all.header("content-type"), "text/event-stream");
        assert_eq!(all.header("cache-control"), "private, no-cache");
        let mut users = Client::open(&service, "/v1/changes?noun=user").await;
        let rust = service.create("/v1/tags", &json!({ "name": "rust" })).await;
        let ada = service.create("/v1/users", &json!({ "email": "ada@example.org", "name": "Ada" })).await;
        let path = format!("/v1/users/{}", ada["id"].as_str().unwrap());
        service.patch(&path, 1, &json!({ "name": "Ada L." })).await.expect(200);
        // Told after the commit: a record that cannot be made is not told.
        service
            .post("/v1/users", &json!({ "email": "ada@example.org", "name": "Ada" }))
            .await
            .problem(409, "duplicate");
        assert_eq!(service.delete(&path, 2).await.status, 204);
        let of_ada =
            [event("user", &ada, 1, "written"), event("user", &ada, 2, "written"), event("user", &ada, 3, "deleted")];
        for expected in [&[event("tag", &rust, 1, "written")][..], &of_ada].concat() {
            assert_eq!(all.event().await.unwrap(), expected);
        }
        for expected in of_ada {
            assert_eq!(users.event().await.unwrap(), expected);
        }
    });
}

#[test]
fn who_comes_back_is_told_of_a_gap() {
    on_sqlite(async |service| {
        let mut client = Client::open(&service, "/v1/changes").await;
        service.create("/v1/tags", &json!({ "name": "rust" })).await;
        let Event { id, .. } = client.event().await.unwrap();
        drop(client);
        service.create("/v1/tags", &json!({ "name": "missed" })).await;
        let mut client = Client::open_with(&service, "/v1/changes", &[("last-event-id", &id)]).await;
        assert_eq!(client.event().await.unwrap(), Event { kind: "gap".to_owned(), id: String::new(), data: json!({}) });
        let last = service.create("/v1/tags", &json!({ "name": "last" })).await;
        assert_eq!(client.event().await.unwrap(), event("tag", &last, 1, "written"));
    });
}

/// So that what stands in between does not take the connection for dead, and the service finds out when the client is.
#[test]
fn a_stream_has_a_heartbeat() {
    on_sqlite(async |service| {
        let mut client = Client::open(&service, "/v1/changes").await;
        let start = Instant::now();
        assert_eq!(client.block().await.unwrap(), ":");
        assert!(start.elapsed() > Duration::from_secs(14), "{:?}", start.elapsed());
    });
}

#[test]
fn what_cannot_be_listened_to_is_refused() {
    on_sqlite(async |service| {
        let problem = service.get("/v1/changes?noun=unicorn").await.problem(400, "query");
        problem.says("must be one of account, content, data model");
        service.get("/v1/changes?nuon=user").await.problem(400, "query").says("nuon is not known");
        let refused = service.request(reqwest::Method::GET, "/v1/changes").header("accept", "image/png");
        crate::http::send(refused).await.problem(406, "accept");
        let events = service.request(reqwest::Method::GET, "/v1/users").header("accept", "text/event-stream");
        crate::http::send(events).await.problem(406, "accept");
        Client::open(&service, "/v1/changes?noun=data%20model").await;
    });
}

/// A stream is no request under way: neither their number nor their time is its.
#[test]
fn streams_are_beyond_the_limits_of_requests_and_have_their_own() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let limits = Limits { max_concurrent_requests: 1, max_streams: 2, request_timeout: TIMEOUT, ..Limits::default() };
    on_sqlite_with(limits, async |service| {
        let start = Instant::now();
        let mut first = Client::open(&service, "/v1/changes").await;
        let second = Client::open(&service, "/v1/changes").await;
        let refused = service.get("/v1/changes").await;
        refused.problem(503, "busy").says("streams");
        assert_eq!(refused.header("retry-after"), "1");
        drop(second);
        eventually("its place is free", PATIENCE, async || {
            let answer = service.request(reqwest::Method::GET, "/v1/changes").send().await.unwrap();
            (answer.status() == 200).then_some(())
        })
        .await;
        let mut n = 0;
        while start.elapsed() < 2 * TIMEOUT {
            n += 1;
            let tag = service.create("/v1/tags", &json!({ "name": n.to_string() })).await;
            assert_eq!(first.event().await.unwrap(), event("tag", &tag, 1, "written"));
        }
    });
}

#[test]
fn the_end_of_the_service_ends_its_streams() {
    within(LIMIT, async {
        let database = or_skip!(database(Backend::Sqlite).await);
        let limits = Limits { drain_timeout: LIMIT, ..Limits::default() };
        let mut service = Service::start_with(&database, limits).await;
        let mut clients = Vec::new();
        for _ in 0..10 {
            clients.push(Client::open(&service, "/v1/changes").await);
        }
        let last = service.create("/v1/tags", &json!({ "name": "last" })).await;
        for client in &mut clients {
            assert_eq!(client.event().await.unwrap(), event("tag", &last, 1, "written"));
        }
        service.ask_to_end();
        let start = Instant::now();
        for mut client in clients {
            assert_eq!(client.event().await, None);
        }
        service.wait().await;
        assert!(start.elapsed() < LIMIT / 2 && SOON < LIMIT / 2, "{:?}", start.elapsed());
    });
}
