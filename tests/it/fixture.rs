//! What the tests of the data share: stores, records to begin with, and ways to look at answers.

use std::{fs, num::NonZeroU32, path::Path, time::Duration};

use domain::{
    Account, Content, Cursor, DataModel, Error, Filter, NewAccount, NewContent, NewDataModel, NewTag, NewUser, Page,
    Record, Result, Sort, Sql, Store, StoreOptions, SystemClock, Tag, Timestamp, Unavailable, User, UserId, Wire,
};
use sea_orm::ConnectionTrait;
use serde_json::Value;
use tempfile::TempDir;
use tests::{Backend, TestDatabase, eventually};
use uuid::Uuid;

/// An id that nothing has.
pub(crate) const NOBODY: Uuid = Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0000);

/// A copy of these folders of the workspace, without those in them, and of the settings of rustfmt.
pub(crate) fn workspace_of(folders: &[&str]) -> TempDir {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let copy = tempfile::tempdir().unwrap();
    for folder in folders {
        fs::create_dir_all(copy.path().join(folder)).unwrap();
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.path().join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    fs::copy(root.join(".rustfmt.toml"), copy.path().join(".rustfmt.toml")).unwrap();
    copy
}

/// A store with few connections and short waits.
pub(crate) fn options(url: &str) -> StoreOptions {
    StoreOptions {
        min_connections: 0,
        max_connections: 4,
        connect_timeout: Duration::from_secs(10),
        acquire_timeout: Duration::from_secs(10),
        ..StoreOptions::new(url)
    }
}

/// A store on a test's database.
pub(crate) async fn store(database: &TestDatabase) -> Store {
    open(&options(&database.url)).await
}

/// A store with options of the test's own.
pub(crate) async fn open(options: &StoreOptions) -> Store {
    Store::connect(options, SystemClock).await.unwrap()
}

pub(crate) fn new_user(name: &str) -> NewUser {
    NewUser {
        email: format!("{name}@example.org"),
        name: name.to_owned(),
        role: None,
        avatar: None,
        profile: None,
        accounts: Vec::new(),
    }
}

pub(crate) fn new_tag(name: impl Into<String>) -> NewTag {
    NewTag { name: name.into() }
}

pub(crate) fn new_content(author: UserId, title: &str) -> NewContent {
    NewContent { author_id: author, title: title.to_owned(), body: "…".to_owned(), status: None, tags: Vec::new() }
}

pub(crate) fn new_model(name: &str) -> NewDataModel {
    NewDataModel { owner_id: None, name: name.to_owned(), fields: Vec::new() }
}

pub(crate) async fn user(store: &Store, name: &str) -> User {
    store.insert(new_user(name)).await.unwrap()
}

pub(crate) async fn tag(store: &Store, name: &str) -> Tag {
    store.insert(new_tag(name)).await.unwrap()
}

pub(crate) async fn content(store: &Store, author: UserId, title: &str) -> Content {
    store.insert(new_content(author, title)).await.unwrap()
}

pub(crate) async fn model(store: &Store, name: &str) -> DataModel {
    store.insert(new_model(name)).await.unwrap()
}

pub(crate) async fn account(store: &Store, owner: UserId, balance: i64) -> Account {
    store.insert(NewAccount { owner_id: owner, currency: "EUR".parse().unwrap(), balance }).await.unwrap()
}

/// Runs a statement in a unit of work of its own; how many rows it changed.
pub(crate) async fn execute(store: &Store, sql: Sql) -> Result<u64> {
    store
        .write(move |work| {
            let sql = sql.clone();
            async move { work.execute(sql).await }
        })
        .await
}

/// An input or an instant, read as the service reads it.
#[track_caller]
pub(crate) fn read<T: serde::de::DeserializeOwned>(json: Value) -> T {
    match serde_json::from_value(json.clone()) {
        Ok(value) => value,
        Err(error) => panic!("{error} in {json}"),
    }
}

pub(crate) fn instant(text: &str) -> Timestamp {
    read(text.into())
}

/// A record as the service shows it.
pub(crate) fn json<R: Record>(record: &R) -> Value {
    serde_json::to_value(record).unwrap()
}

/// How many records there are of a kind.
pub(crate) async fn count<R: Record>(store: &Store) -> u64 {
    store.count(&R::Filter::default()).await.unwrap()
}

/// The names of all tags, in the order of their creation.
pub(crate) async fn tag_names(store: &Store) -> Vec<String> {
    let tags = all_pages(store, &domain::TagFilter::default(), "id", domain::MAX_PAGE_SIZE).await;
    tags.into_iter().map(|tag| tag.name).collect()
}

/// The first page, as long as pages may be, in an order by tags' names, ids or times.
pub(crate) fn page(sort: &str) -> Page {
    page_of::<Tag>(sort, domain::MAX_PAGE_SIZE, None)
}

pub(crate) fn page_of<R: Record>(sort: &str, limit: u32, after: Option<Cursor>) -> Page {
    Page { limit: NonZeroU32::new(limit).unwrap(), sort: Sort::parse::<R>(sort).unwrap(), after, ..Page::default() }
}

/// All records that pass the filter, by pages of this size.
pub(crate) async fn all_pages<F: Filter>(store: &Store, filter: &F, sort: &str, limit: u32) -> Vec<F::Record> {
    let mut records = Vec::new();
    let mut after = None;
    loop {
        let listing = store.list(filter, &page_of::<F::Record>(sort, limit, after)).await.unwrap();
        assert!(listing.records.len() <= limit as usize);
        records.extend(listing.records);
        after = listing.next;
        if after.is_none() {
            return records;
        }
    }
}

/// Whether the input or its neighbours are to blame, and for each mistake the pointer and the code.
#[track_caller]
pub(crate) fn mistakes<T>(result: Result<T>) -> (&'static str, Vec<(String, String)>) {
    let (kind, errors) = match result {
        Err(Error::Invalid(errors)) => ("invalid", errors),
        Err(Error::Conflict(errors)) => ("conflict", errors),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was not refused"),
    };
    (kind, errors.into_iter().map(|error| (error.pointer, error.code.into_owned())).collect())
}

/// What [`mistakes`] of one mistake are.
pub(crate) fn one(kind: &'static str, pointer: &str, code: &str) -> (&'static str, Vec<(String, String)>) {
    (kind, vec![(pointer.to_owned(), code.to_owned())])
}

/// Why something was not available.
#[track_caller]
pub(crate) fn unavailable<T>(result: Result<T>) -> Unavailable {
    match result {
        Err(Error::Unavailable { reason, .. }) => reason,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was available"),
    }
}

/// Waits until no connection is in use.
pub(crate) async fn until_free(store: &Store) {
    let is_free = || {
        let status = store.pool_status();
        status.idle == status.open
    };
    eventually("all connections are given back", tests::PATIENCE, async || is_free().then_some(())).await;
}

/// Lets the server look for deadlocks after a moment, on connections that are opened from now on: a second for each is
/// long where they are provoked.
pub(crate) async fn notice_deadlocks_soon(database: &TestDatabase) {
    if database.backend() == Backend::Postgres {
        let set = "DO $$ BEGIN \
                   EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''10ms''', current_database()); END $$";
        let outside = database.connect().await;
        outside.execute_unprepared(set).await.unwrap();
        outside.close().await.unwrap();
    }
}

/// Records in the form in which they go over the wire.
pub(crate) fn wires<R: Record>(records: &[R]) -> Vec<Wire<R>> {
    records.iter().map(|record| Wire::of(record).unwrap()).collect()
}
