//! The limit: a server for few requests only, written by hand on axum, tokio-postgres and redis, with the same answers.
//!
//! Reads share a few connections, over which their statements are pipelined; a write has a connection to itself. What
//! is kept is kept for ever, as it goes over the wire, with the version in front of it: nothing keeps it fresh.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::{Buf, Bytes};
use chrono::{DateTime, Utc};
use futures_util::future::try_join4;
use redis::{IntoConnectionInfo, Value, aio::MultiplexedConnection, io::tcp::TcpSettings};
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpListener,
    sync::{Mutex, Semaphore},
};
use tokio_postgres::{Client, NoTls, Row, Statement};
use uuid::Uuid;

use crate::{
    fixture::{self, Outcome},
    wire,
};

/// How many connections the reads share.
const READERS: usize = 2;
/// How many answers are kept in memory at most.
const KEPT: usize = 10_000;
/// How many connections there are for writes: as many as the pool of the service has.
const WRITERS: usize = 10;

const CONTENT: &str = "id, version, author_id, title, body, status, created_at, updated_at";
const USER: &str = "id, version, email, name, role, status, avatar, last_active_at, created_at, updated_at";

struct Reader {
    client: Client,
    user: Statement,
    profile: Statement,
    content: Statement,
    contents: Statement,
    tags: Statement,
}

struct Writer {
    client: Client,
    update: Statement,
    version: Statement,
    lock: Statement,
    transfer: Statement,
    insert: Statement,
}

/// Where answers are kept, with their versions.
pub(crate) enum Keep {
    Nowhere,
    InMemory(quick_cache::sync::Cache<Uuid, (i64, Bytes)>),
    InRedis(MultiplexedConnection),
}

impl Keep {
    /// In Redis, where there is one; in memory or nowhere, as is said.
    pub(crate) async fn new(redis: Option<&str>, in_memory: bool) -> Outcome<Self> {
        Ok(match redis {
            Some(url) => {
                let tcp = TcpSettings::default().set_nodelay(true);
                let client = redis::Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
                Self::InRedis(client.get_multiplexed_async_connection().await?)
            }
            None if in_memory => Self::InMemory(quick_cache::sync::Cache::new(KEPT)),
            None => Self::Nowhere,
        })
    }

    async fn get(&self, id: Uuid) -> Result<Option<(i64, Bytes)>, Failure> {
        match self {
            Self::Nowhere => Ok(None),
            Self::InMemory(cache) => Ok(cache.get(&id)),
            Self::InRedis(connection) => {
                let value = redis::cmd("GET").arg(id.as_bytes()).query_async(&mut connection.clone()).await?;
                let Value::BulkString(value) = value else { return Ok(None) };
                let mut json = Bytes::from(value);
                let version = json.get_i64();
                Ok(Some((version, json)))
            }
        }
    }

    async fn set(&self, id: Uuid, version: i64, json: &Bytes) -> Result<(), Failure> {
        match self {
            Self::Nowhere => {}
            Self::InMemory(cache) => cache.insert(id, (version, json.clone())),
            Self::InRedis(connection) => {
                let value = [&version.to_be_bytes()[..], json].concat();
                let mut command = redis::cmd("SET");
                command.arg(id.as_bytes()).arg(value).query_async::<()>(&mut connection.clone()).await?;
            }
        }
        Ok(())
    }
}

struct Limit {
    keep: Keep,
    readers: Vec<Reader>,
    next: AtomicUsize,
    writers: Mutex<Vec<Writer>>,
    free: Semaphore,
    ids: AtomicUsize,
}

type Shared = State<Arc<Limit>>;

struct Failure(StatusCode);

impl From<tokio_postgres::Error> for Failure {
    fn from(_: tokio_postgres::Error) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<redis::RedisError> for Failure {
    fn from(_: redis::RedisError) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// Serves on this listener for ever.
pub(crate) async fn serve(url: &str, keep: Keep, listener: TcpListener) -> Outcome<()> {
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..READERS {
        readers.push(Reader::connect(url).await?);
    }
    for _ in 0..WRITERS {
        writers.push(Writer::connect(url).await?);
    }
    let limit = Limit {
        keep,
        readers,
        next: AtomicUsize::new(0),
        writers: Mutex::new(writers),
        free: Semaphore::new(WRITERS),
        ids: AtomicUsize::new(0),
    };
    let router = Router::new()
        .route("/health/ready", get(async || StatusCode::OK))
        .route("/v1/users/{id}", get(find).patch(update))
        .route("/v1/contents/{id}", get(find_content))
        .route("/v1/transfers", post(transfer))
        .with_state(Arc::new(limit));
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| _ = stream.set_nodelay(true));
    Ok(axum::serve(listener, router).await?)
}

async fn connect(url: &str) -> Outcome<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

impl Reader {
    async fn connect(url: &str) -> Outcome<Self> {
        let client = connect(url).await?;
        let profile = "SELECT id, version, user_id, bio, city, birth_date, avatar_url, created_at, updated_at \
                       FROM profiles WHERE user_id = $1";
        let tags = "SELECT t.id, t.version, t.name, t.created_at, t.updated_at, l.content_id FROM contents c \
                    JOIN content_tags l ON l.content_id = c.id JOIN tags t ON t.id = l.tag_id \
                    WHERE c.author_id = $1 ORDER BY l.position, t.id";
        Ok(Self {
            user: client.prepare(&format!("SELECT {USER} FROM users WHERE id = $1")).await?,
            profile: client.prepare(profile).await?,
            content: client.prepare(&format!("SELECT {CONTENT} FROM contents WHERE id = $1")).await?,
            contents: client
                .prepare(&format!("SELECT {CONTENT} FROM contents WHERE author_id = $1 ORDER BY id"))
                .await?,
            tags: client.prepare(tags).await?,
            client,
        })
    }
}

impl Writer {
    async fn connect(url: &str) -> Outcome<Self> {
        let client = connect(url).await?;
        let update = format!(
            "UPDATE users SET name = $1, version = version + 1, updated_at = $2 WHERE id = $3 AND version = $4 \
             RETURNING {USER}"
        );
        let lock = "SELECT id, currency, balance FROM accounts WHERE id IN ($1, $2) ORDER BY id FOR NO KEY UPDATE";
        let transfer = "UPDATE accounts SET balance = balance + CASE WHEN id = $1 THEN -$3::bigint ELSE $3 END, \
                        version = version + 1, updated_at = $4 WHERE id IN ($1, $2)";
        let insert = "INSERT INTO transfers (id, from_account_id, to_account_id, amount, created_at) \
                      VALUES ($1, $2, $3, $4, $5)";
        Ok(Self {
            update: client.prepare(&update).await?,
            version: client.prepare("SELECT version FROM users WHERE id = $1").await?,
            lock: client.prepare(lock).await?,
            transfer: client.prepare(transfer).await?,
            insert: client.prepare(insert).await?,
            client,
        })
    }
}

impl Limit {
    fn reader(&self) -> &Reader {
        &self.readers[self.next.fetch_add(1, Ordering::Relaxed) % READERS]
    }

    /// What is kept, or else what `load` reads.
    async fn kept<T: Serialize>(
        &self,
        id: Uuid,
        load: impl AsyncFnOnce() -> Result<(i64, T), Failure>,
    ) -> Result<Response, Failure> {
        let (version, json) = match self.keep.get(id).await? {
            Some(kept) => kept,
            None => {
                let (version, body) = load().await?;
                let json = serde_json::to_vec(&body).map_err(|_| Failure(StatusCode::INTERNAL_SERVER_ERROR))?;
                let json = Bytes::from(json);
                self.keep.set(id, version, &json).await?;
                (version, json)
            }
        };
        let headers = [(header::CONTENT_TYPE, "application/json"), (header::ETAG, &format!("\"{version}\""))];
        Ok((headers, json).into_response())
    }

    async fn with_writer<T>(&self, work: impl AsyncFnOnce(&mut Writer) -> Result<T, Failure>) -> Result<T, Failure> {
        let _permit = self.free.acquire().await.map_err(|_| Failure(StatusCode::SERVICE_UNAVAILABLE))?;
        let mut writer = self.writers.lock().await.pop().ok_or(Failure(StatusCode::SERVICE_UNAVAILABLE))?;
        let result = work(&mut writer).await;
        self.writers.lock().await.push(writer);
        result
    }
}

fn user(row: &Row) -> wire::User {
    wire::User {
        id: row.get(0),
        version: row.get(1),
        email: row.get(2),
        name: row.get(3),
        role: row.get(4),
        status: row.get(5),
        avatar: row.get(6),
        last_active_at: row.get(7),
        created_at: row.get(8),
        updated_at: row.get(9),
    }
}

fn profile(row: &Row) -> wire::Profile {
    wire::Profile {
        id: row.get(0),
        version: row.get(1),
        user_id: row.get(2),
        bio: row.get(3),
        city: row.get(4),
        birth_date: row.get(5),
        avatar_url: row.get(6),
        created_at: row.get(7),
        updated_at: row.get(8),
    }
}

fn content(row: &Row) -> wire::Content {
    wire::Content {
        id: row.get(0),
        version: row.get(1),
        author_id: row.get(2),
        title: row.get(3),
        body: row.get(4),
        status: row.get(5),
        created_at: row.get(6),
        updated_at: row.get(7),
    }
}

fn tag(row: &Row) -> wire::Tag {
    wire::Tag { id: row.get(0), version: row.get(1), name: row.get(2), created_at: row.get(3), updated_at: row.get(4) }
}

fn tagged(body: impl Serialize, version: i64) -> Response {
    ([(header::ETAG, format!("\"{version}\""))], Json(body)).into_response()
}

#[derive(Deserialize)]
struct Includes {
    include: Option<String>,
}

async fn find(
    State(limit): Shared,
    Path(id): Path<Uuid>,
    Query(Includes { include }): Query<Includes>,
) -> Result<Response, Failure> {
    let Reader { client, user: user_text, profile: profile_text, contents, tags, .. } = limit.reader();
    if include.is_none() {
        let load = async || {
            let row = client.query_opt(user_text, &[&id]).await?.ok_or(Failure(StatusCode::NOT_FOUND))?;
            let user = user(&row);
            Ok((user.version, user))
        };
        return limit.kept(id, load).await;
    }
    let (row, profile_row, content_rows, tag_rows) = try_join4(
        client.query_opt(user_text, &[&id]),
        client.query_opt(profile_text, &[&id]),
        client.query(contents, &[&id]),
        client.query(tags, &[&id]),
    )
    .await?;
    let user = user(&row.ok_or(Failure(StatusCode::NOT_FOUND))?);
    let version = user.version;
    let contents = content_rows.iter().map(|row| {
        let content = content(row);
        let tags = tag_rows.iter().filter(|row| row.get::<_, Uuid>(5) == content.id).map(tag).collect();
        wire::ContentView { content, tags }
    });
    let contents = contents.collect();
    Ok(tagged(wire::UserView { user, profile: profile_row.as_ref().map(profile), contents }, version))
}

async fn find_content(State(limit): Shared, Path(id): Path<Uuid>) -> Result<Response, Failure> {
    let load = async || {
        let Reader { client, content: text, .. } = limit.reader();
        let row = client.query_opt(text, &[&id]).await?.ok_or(Failure(StatusCode::NOT_FOUND))?;
        let content = content(&row);
        Ok((content.version, content))
    };
    limit.kept(id, load).await
}

#[expect(clippy::disallowed_methods, reason = "what a program without a clock of its own would write")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

#[derive(Deserialize)]
struct Change {
    name: String,
}

async fn update(
    State(limit): Shared,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    Json(Change { name }): Json<Change>,
) -> Result<Response, Failure> {
    let seen = headers.get(header::IF_MATCH).and_then(|tag| tag.to_str().ok()).map(|tag| tag.trim_matches('"'));
    let version = seen.and_then(|tag| tag.parse::<i64>().ok()).ok_or(Failure(StatusCode::PRECONDITION_REQUIRED))?;
    if name.is_empty() || name.len() > 200 {
        return Err(Failure(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let work = async |writer: &mut Writer| {
        let row = writer.client.query_opt(&writer.update, &[&name, &now(), &id, &version]).await?;
        if let Some(row) = row {
            return Ok(user(&row));
        }
        let found = writer.client.query_opt(&writer.version, &[&id]).await?;
        Err(Failure(if found.is_some() { StatusCode::PRECONDITION_FAILED } else { StatusCode::NOT_FOUND }))
    };
    let user = limit.with_writer(work).await?;
    let version = user.version;
    Ok(tagged(user, version))
}

#[derive(Deserialize)]
struct NewTransfer {
    from_account_id: Uuid,
    to_account_id: Uuid,
    amount: i64,
}

#[derive(Serialize)]
struct Transfer {
    id: Uuid,
    from_account_id: Uuid,
    to_account_id: Uuid,
    amount: i64,
    created_at: DateTime<Utc>,
}

async fn transfer(State(limit): Shared, Json(new): Json<NewTransfer>) -> Result<Response, Failure> {
    let NewTransfer { from_account_id: from, to_account_id: to, amount } = new;
    let refused = || Failure(StatusCode::UNPROCESSABLE_ENTITY);
    if amount <= 0 || from == to {
        return Err(refused());
    }
    let (number, now) = (limit.ids.fetch_add(1, Ordering::Relaxed) as u64, now());
    let id = fixture::id(10_000_000 + number);
    let work = async |writer: &mut Writer| {
        let Writer { client, lock, transfer, insert, .. } = writer;
        let transaction = client.transaction().await?;
        let rows = transaction.query(&*lock, &[&from, &to]).await?;
        let accounts = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2)));
        let accounts = accounts.collect::<Vec<(Uuid, String, i64)>>();
        let enough = accounts.iter().any(|(id, _, balance)| *id == from && *balance >= amount);
        if accounts.len() != 2 || accounts[0].1 != accounts[1].1 || !enough {
            return Err(refused());
        }
        transaction.execute(&*transfer, &[&from, &to, &amount, &now]).await?;
        transaction.execute(&*insert, &[&id, &from, &to, &amount, &now]).await?;
        transaction.commit().await?;
        Ok(())
    };
    limit.with_writer(work).await?;
    let transfer = Transfer { id, from_account_id: from, to_account_id: to, amount, created_at: now };
    let headers = [(header::ETAG, "\"1\"".to_owned()), (header::LOCATION, format!("/v1/transfers/{id}"))];
    Ok((StatusCode::CREATED, headers, Json(transfer)).into_response())
}
