//! The answers of the service, as a program without our domain would write them: the yardsticks build these, so that
//! all contenders do the same work up to the last byte.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use uuid::Uuid;

#[derive(Serialize)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) email: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) status: String,
    pub(crate) avatar: Option<String>,
    pub(crate) last_active_at: Option<DateTime<Utc>>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

#[derive(Serialize)]
pub(crate) struct Profile {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) user_id: Uuid,
    pub(crate) bio: Option<String>,
    pub(crate) city: Option<String>,
    pub(crate) birth_date: Option<NaiveDate>,
    pub(crate) avatar_url: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

#[derive(Serialize)]
pub(crate) struct Content {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) author_id: Uuid,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) status: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

#[derive(Serialize)]
pub(crate) struct Tag {
    pub(crate) id: Uuid,
    pub(crate) version: i64,
    pub(crate) name: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A user with profile, contents and their tags.
#[derive(Serialize)]
pub(crate) struct UserView {
    #[serde(flatten)]
    pub(crate) user: User,
    pub(crate) profile: Option<Profile>,
    pub(crate) contents: Vec<ContentView>,
}

/// A content with its tags.
#[derive(Serialize)]
pub(crate) struct ContentView {
    #[serde(flatten)]
    pub(crate) content: Content,
    pub(crate) tags: Vec<Tag>,
}
