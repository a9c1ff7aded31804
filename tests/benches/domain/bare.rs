//! sqlx with SQL written by hand and prepared; the pool does not ask a connection how it is before it lends it.

use std::{collections::HashMap, sync::OnceLock};

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row};
use uuid::Uuid;

use crate::{
    contender::{Contender, Place},
    fixture::{self, Outcome},
    wire,
};

const USER: &str = "id, version, email, name, role, status, avatar, last_active_at, created_at, updated_at";
const PROFILE: &str = "id, version, user_id, bio, city, birth_date, avatar_url, created_at, updated_at";
const CONTENT: &str = "id, version, author_id, title, body, status, created_at, updated_at";
const TAG: &str = "t.id, t.version, t.name, t.created_at, t.updated_at";

/// The texts of statements about several users at once, for one number of them.
struct Texts {
    profiles: String,
    contents: String,
    tags: String,
}

impl Texts {
    fn new(users: usize) -> Self {
        let places = (1..=users).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
        Self {
            profiles: format!("SELECT {PROFILE} FROM profiles WHERE user_id IN ({places})"),
            contents: format!("SELECT {CONTENT} FROM contents WHERE author_id IN ({places}) ORDER BY id"),
            tags: format!(
                "SELECT {TAG}, l.content_id FROM contents c JOIN content_tags l ON l.content_id = c.id \
                 JOIN tags t ON t.id = l.tag_id WHERE c.author_id IN ({places}) ORDER BY l.position, t.id"
            ),
        }
    }

    fn one() -> &'static Self {
        static ONE: OnceLock<Texts> = OnceLock::new();
        ONE.get_or_init(|| Self::new(1))
    }

    fn hundred() -> &'static Self {
        static HUNDRED: OnceLock<Texts> = OnceLock::new();
        HUNDRED.get_or_init(|| Self::new(100))
    }
}

#[expect(clippy::disallowed_methods, reason = "what a program without a clock of its own would write")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The same program for one engine: sqlx has a type of its own for each.
macro_rules! bare {
    ($name:ident, $pool_options:ty, $connect_options:ty, $pool:ty, $row:ty, begin: $begin:literal, lock: $lock:literal) => {
        pub(crate) struct $name {
            pool: $pool,
        }

        impl $name {
            pub(crate) async fn connect(url: &str) -> Outcome<Self> {
                let options = url.parse::<$connect_options>()?.disable_statement_logging();
                let pool = <$pool_options>::new().test_before_acquire(false).connect_with(options).await?;
                Ok(Self { pool })
            }

            fn user(row: &$row) -> Result<wire::User, sqlx::Error> {
                Ok(wire::User {
                    id: row.try_get(0)?,
                    version: row.try_get(1)?,
                    email: row.try_get(2)?,
                    name: row.try_get(3)?,
                    role: row.try_get(4)?,
                    status: row.try_get(5)?,
                    avatar: row.try_get(6)?,
                    last_active_at: row.try_get(7)?,
                    created_at: row.try_get(8)?,
                    updated_at: row.try_get(9)?,
                })
            }

            fn profile(row: &$row) -> Result<wire::Profile, sqlx::Error> {
                Ok(wire::Profile {
                    id: row.try_get(0)?,
                    version: row.try_get(1)?,
                    user_id: row.try_get(2)?,
                    bio: row.try_get(3)?,
                    city: row.try_get(4)?,
                    birth_date: row.try_get(5)?,
                    avatar_url: row.try_get(6)?,
                    created_at: row.try_get(7)?,
                    updated_at: row.try_get(8)?,
                })
            }

            fn content(row: &$row) -> Result<wire::Content, sqlx::Error> {
                Ok(wire::Content {
                    id: row.try_get(0)?,
                    version: row.try_get(1)?,
                    author_id: row.try_get(2)?,
                    title: row.try_get(3)?,
                    body: row.try_get(4)?,
                    status: row.try_get(5)?,
                    created_at: row.try_get(6)?,
                    updated_at: row.try_get(7)?,
                })
            }

            fn tag(row: &$row) -> Result<wire::Tag, sqlx::Error> {
                Ok(wire::Tag {
                    id: row.try_get(0)?,
                    version: row.try_get(1)?,
                    name: row.try_get(2)?,
                    created_at: row.try_get(3)?,
                    updated_at: row.try_get(4)?,
                })
            }

            async fn rows(&self, text: &'static str, ids: &[Uuid]) -> Result<Vec<$row>, sqlx::Error> {
                let mut query = sqlx::query(text);
                for id in ids {
                    query = query.bind(*id);
                }
                query.fetch_all(&self.pool).await
            }

            async fn views(&self, texts: &'static Texts, users: Vec<wire::User>) -> Outcome<Vec<wire::UserView>> {
                let ids = users.iter().map(|user| user.id).collect::<Vec<_>>();
                let mut profiles = HashMap::new();
                for row in self.rows(&texts.profiles, &ids).await? {
                    let profile = Self::profile(&row)?;
                    profiles.insert(profile.user_id, profile);
                }
                let contents = self.rows(&texts.contents, &ids).await?;
                let mut tags = HashMap::<Uuid, Vec<wire::Tag>>::new();
                for row in self.rows(&texts.tags, &ids).await? {
                    tags.entry(row.try_get(5)?).or_default().push(Self::tag(&row)?);
                }
                let mut by_author = HashMap::<Uuid, Vec<wire::ContentView>>::new();
                for row in contents {
                    let content = Self::content(&row)?;
                    let tags = tags.remove(&content.id).unwrap_or_default();
                    by_author.entry(content.author_id).or_default().push(wire::ContentView { content, tags });
                }
                let view = |user: wire::User| {
                    let (profile, contents) = (profiles.remove(&user.id), by_author.remove(&user.id));
                    wire::UserView { user, profile, contents: contents.unwrap_or_default() }
                };
                Ok(users.into_iter().map(view).collect())
            }
        }

        impl Contender for $name {
            async fn find(&self, place: &Place) -> Outcome<usize> {
                static TEXT: OnceLock<String> = OnceLock::new();
                let text = TEXT.get_or_init(|| format!("SELECT {USER} FROM users WHERE id = $1"));
                let row = sqlx::query(text.as_str()).bind(place.user).fetch_one(&self.pool).await?;
                Ok(Self::user(&row)?.email.len())
            }

            async fn list(&self, _place: &Place) -> Outcome<usize> {
                static TEXT: OnceLock<String> = OnceLock::new();
                let text = TEXT.get_or_init(|| format!("SELECT {USER} FROM users ORDER BY id LIMIT 51"));
                let rows = sqlx::query(text.as_str()).fetch_all(&self.pool).await?;
                Ok(rows.iter().take(50).map(Self::user).collect::<Result<Vec<_>, _>>()?.len())
            }

            async fn page(&self, _place: &Place) -> Outcome<usize> {
                static TEXT: OnceLock<String> = OnceLock::new();
                let text = TEXT.get_or_init(|| format!("SELECT {USER} FROM users ORDER BY id LIMIT 101"));
                let rows = sqlx::query(text.as_str()).fetch_all(&self.pool).await?;
                let users = rows.iter().take(100).map(Self::user).collect::<Result<Vec<_>, _>>()?;
                Ok(serde_json::to_vec(&self.views(Texts::hundred(), users).await?)?.len())
            }

            async fn relations(&self, place: &Place) -> Outcome<usize> {
                static TEXT: OnceLock<String> = OnceLock::new();
                let text = TEXT.get_or_init(|| format!("SELECT {USER} FROM users WHERE id = $1"));
                let row = sqlx::query(text.as_str()).bind(place.user).fetch_one(&self.pool).await?;
                let users = vec![Self::user(&row)?];
                Ok(serde_json::to_vec(&self.views(Texts::one(), users).await?)?.len())
            }

            async fn insert(&self, place: &Place) -> Outcome<usize> {
                const TEXT: &str =
                    "INSERT INTO tags (id, version, created_at, updated_at, name) VALUES ($1, 1, $2, $3, $4)";
                let (now, name) = (now(), format!("new tag {:08}", place.number));
                let insert = sqlx::query(TEXT).bind(fixture::id(1_000_000 + place.number)).bind(now).bind(now);
                insert.bind(&name).execute(&self.pool).await?;
                Ok(name.len())
            }

            async fn update(&self, place: &Place) -> Outcome<usize> {
                static TEXT: OnceLock<String> = OnceLock::new();
                let text = TEXT.get_or_init(|| {
                    let set = "UPDATE users SET name = $1, version = version + 1, updated_at = $2";
                    format!("{set} WHERE id = $3 AND version = $4 RETURNING {USER}")
                });
                let update = sqlx::query(text.as_str()).bind(format!("Changed {:08}", place.number)).bind(now());
                let row = update.bind(place.own_user).bind(place.version).fetch_one(&self.pool).await?;
                Ok(Self::user(&row)?.name.len())
            }

            async fn transfer(&self, place: &Place) -> Outcome<usize> {
                const LOCK: &str =
                    concat!("SELECT id, currency, balance FROM accounts WHERE id IN ($1, $2) ORDER BY id", $lock);
                const MOVE: &str = "UPDATE accounts SET balance = balance + CASE WHEN id = $1 THEN -$2 ELSE $3 END, \
                                    version = version + 1, updated_at = $4 WHERE id IN ($5, $6)";
                const INSERT: &str = "INSERT INTO transfers (id, from_account_id, to_account_id, amount, created_at) \
                                      VALUES ($1, $2, $3, $4, $5)";
                let ([from, to], amount, now) = (place.accounts, 1_i64, now());
                let mut transaction = self.pool.begin_with(AssertSqlSafe($begin)).await?;
                let rows = sqlx::query(LOCK).bind(from).bind(to).fetch_all(&mut *transaction).await?;
                let read = |row: &$row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
                let accounts = rows.iter().map(read).collect::<Result<Vec<(Uuid, String, i64)>, sqlx::Error>>()?;
                assert!(accounts.len() == 2 && accounts[0].1 == accounts[1].1);
                assert!(accounts.iter().any(|(id, _, balance)| *id == from && *balance >= amount));
                let update = sqlx::query(MOVE).bind(from).bind(amount).bind(amount).bind(now).bind(from).bind(to);
                update.execute(&mut *transaction).await?;
                let insert = sqlx::query(INSERT).bind(fixture::id(2_000_000 + place.number)).bind(from).bind(to);
                insert.bind(amount).bind(now).execute(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(usize::try_from(amount)?)
            }

            async fn unit(&self, place: &Place) -> Outcome<usize> {
                const INSERT: &str =
                    "INSERT INTO tags (id, version, created_at, updated_at, name) VALUES ($1, 1, $2, $3, $4)";
                static FIND: OnceLock<String> = OnceLock::new();
                static UPDATE: OnceLock<String> = OnceLock::new();
                let find = FIND.get_or_init(|| format!("SELECT {USER} FROM users WHERE id = $1"));
                let update = UPDATE.get_or_init(|| {
                    let set = "UPDATE users SET name = $1, version = version + 1, updated_at = $2";
                    format!("{set} WHERE id = $3 AND version = $4 RETURNING {USER}")
                });
                let (now, tag) = (now(), format!("new tag {:08}", place.number));
                let mut transaction = self.pool.begin_with(AssertSqlSafe($begin)).await?;
                let row = sqlx::query(find.as_str()).bind(place.own_user).fetch_one(&mut *transaction).await?;
                let user = Self::user(&row)?;
                let insert = sqlx::query(INSERT).bind(fixture::id(1_000_000 + place.number)).bind(now).bind(now);
                insert.bind(&tag).execute(&mut *transaction).await?;
                let update = sqlx::query(update.as_str()).bind(format!("Changed {:08}", place.number)).bind(now);
                let row = update.bind(user.id).bind(user.version).fetch_one(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(Self::user(&row)?.name.len() + tag.len())
            }
        }
    };
}

bare!(
    BarePostgres,
    sqlx::postgres::PgPoolOptions,
    sqlx::postgres::PgConnectOptions,
    sqlx::PgPool,
    sqlx::postgres::PgRow,
    begin: "BEGIN",
    lock: " FOR NO KEY UPDATE"
);
bare!(
    BareSqlite,
    sqlx::sqlite::SqlitePoolOptions,
    sqlx::sqlite::SqliteConnectOptions,
    sqlx::SqlitePool,
    sqlx::sqlite::SqliteRow,
    begin: "BEGIN IMMEDIATE",
    lock: ""
);
