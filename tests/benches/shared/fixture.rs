//! The database that is measured on: made for the run, and removed with it.

use std::error::Error;

use chrono::{DateTime, FixedOffset};
use entity::{accounts, content_tags, contents, profiles, tags, users};
use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, EntityTrait, IntoActiveModel, ModelTrait};
use uuid::Uuid;

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How many users there are.
pub(crate) const USERS: usize = 500;
/// How many contents each of them wrote.
pub(crate) const CONTENTS: usize = 10;
/// How many of those have a tag.
pub(crate) const TAGGED: usize = 5;
/// How many tags there are.
const TAGS: usize = 100;
/// How many rows one statement inserts.
const BATCH: usize = 200;

/// A database with users, each with a profile, contents, tags and two accounts.
pub(crate) struct Fixture {
    /// Where it is.
    pub(crate) url: String,
    /// The ids of the users.
    pub(crate) users: Vec<Uuid>,
    /// The ids of their accounts, two for each.
    pub(crate) accounts: Vec<Uuid>,
    _home: Home,
}

enum Home {
    Folder { _folder: tempfile::TempDir },
    Server { admin: DatabaseConnection, name: String },
}

impl Fixture {
    /// On the PostgreSQL server at this address, or in a file.
    pub(crate) async fn make(server: Option<&str>) -> Outcome<Self> {
        let (url, home) = match server {
            Some(server) => {
                let admin = connect(server).await?;
                let name = format!("seabed_bench_{}", std::process::id());
                admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
                let mut url = url::Url::parse(server)?;
                url.set_path(&name);
                url.set_query(Some("sslmode=disable"));
                (url.to_string(), Home::Server { admin, name })
            }
            None => {
                let folder = tempfile::tempdir()?;
                let url = format!("sqlite://{}", folder.path().join("bench.db").display());
                (url, Home::Folder { _folder: folder })
            }
        };
        let writable = if server.is_none() { format!("{url}?mode=rwc") } else { url.clone() };
        let database = connect(&writable).await?;
        if server.is_none() {
            database.execute_unprepared("PRAGMA journal_mode = WAL").await?;
        }
        Migrator::up(&database, None).await?;
        let (users, accounts) = fill(&database).await?;
        database.execute_unprepared("ANALYZE").await?;
        database.close().await?;
        Ok(Self { url, users, accounts, _home: home })
    }

    /// Removes it.
    pub(crate) async fn remove(self) -> Outcome<()> {
        if let Home::Server { admin, name } = self._home {
            admin.execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
        }
        Ok(())
    }
}

pub(crate) async fn connect(url: &str) -> Outcome<DatabaseConnection> {
    open(sea_orm::ConnectOptions::new(url)).await
}

#[expect(clippy::disallowed_methods, reason = "a connection behind the back of what is measured")]
pub(crate) async fn open(mut options: sea_orm::ConnectOptions) -> Outcome<DatabaseConnection> {
    options.sqlx_logging(false);
    Ok(sea_orm::Database::connect(options).await?)
}

/// An id like those that the service makes; the same in every run.
pub(crate) fn id(number: u64) -> Uuid {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    uuid::Builder::from_unix_timestamp_millis(1_780_000_000_000 + number, &random).into_uuid()
}

async fn fill(database: &DatabaseConnection) -> Outcome<(Vec<Uuid>, Vec<Uuid>)> {
    let now: DateTime<FixedOffset> = "2026-11-01T12:34:56.789012Z".parse()?;
    let mut numbers = 1..;
    let mut next = || id(numbers.next().unwrap());
    let (mut all_users, mut all_profiles, mut all_contents, mut all_links, mut all_accounts) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let all_tags = (0..TAGS)
        .map(|n| tags::Model { id: next(), version: 1, created_at: now, updated_at: now, name: format!("tag {n}") })
        .collect::<Vec<_>>();
    for n in 0..USERS {
        let user = next();
        all_users.push(users::Model {
            id: user,
            version: 1,
            created_at: now,
            updated_at: now,
            email: format!("user{n}@example.com"),
            name: format!("User number {n}"),
            role: "member".to_owned(),
            status: "active".to_owned(),
            last_active_at: Some(now),
            avatar: None,
        });
        all_profiles.push(profiles::Model {
            id: next(),
            version: 1,
            created_at: now,
            updated_at: now,
            user_id: user,
            bio: Some("Writes about the sea and what lies below it.".to_owned()),
            city: Some("Lisbon".to_owned()),
            birth_date: chrono::NaiveDate::from_ymd_opt(1990, 1, 1),
            avatar_url: None,
        });
        for c in 0..CONTENTS {
            let content = next();
            all_contents.push(contents::Model {
                id: content,
                version: 1,
                created_at: now,
                updated_at: now,
                author_id: user,
                title: format!("Content {c} of user {n}"),
                body: "Words, ".repeat(15),
                status: "published".to_owned(),
            });
            if c < TAGGED {
                all_links.push(content_tags::Model {
                    content_id: content,
                    tag_id: all_tags[(n + c) % TAGS].id,
                    position: 0,
                    created_at: now,
                });
            }
        }
        for _ in 0..2 {
            all_accounts.push(accounts::Model {
                id: next(),
                version: 1,
                created_at: now,
                updated_at: now,
                owner_id: user,
                currency: "EUR".to_owned(),
                balance: 1_000_000_000,
            });
        }
    }
    let ids = all_users.iter().map(|user| user.id).collect();
    let account_ids = all_accounts.iter().map(|account| account.id).collect();
    insert(database, all_tags).await?;
    insert(database, all_users).await?;
    insert(database, all_profiles).await?;
    insert(database, all_contents).await?;
    insert(database, all_links).await?;
    insert(database, all_accounts).await?;
    Ok((ids, account_ids))
}

pub(crate) async fn insert<M>(database: &DatabaseConnection, rows: Vec<M>) -> Outcome<()>
where
    M: ModelTrait + IntoActiveModel<<M::Entity as EntityTrait>::ActiveModel> + Clone,
{
    for rows in rows.chunks(BATCH) {
        let rows = rows.iter().cloned().map(IntoActiveModel::into_active_model);
        M::Entity::insert_many(rows).exec_without_returning(database).await?;
    }
    Ok(())
}
