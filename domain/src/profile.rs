//! Profiles: what users tell about themselves, at most one profile each.

use entity::profiles as row;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use validator::Validate;

use crate::{
    columns::{changed_row, equal_columns, new_row, record},
    error::{Error, Result},
    id::Id,
    record::{Insert, Patch},
    relation::Relation,
    store::Store,
    unit_of_work::UnitOfWork,
    user::{User, UserId},
    value::{Change, Day, Timestamp, line, web_address},
};

/// The id of a profile.
pub type ProfileId = Id<Profile>;

/// What a user tells about themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Profile {
    pub id: ProfileId,
    pub version: i64,
    pub user_id: UserId,
    pub bio: Option<String>,
    pub city: Option<String>,
    pub birth_date: Option<Day>,
    pub avatar_url: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// All that a user may tell about themselves.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ProfileFields {
    #[validate(length(max = 4_000))]
    pub bio: Option<String>,
    #[validate(length(min = 1, max = 200), custom(function = "line"))]
    pub city: Option<String>,
    pub birth_date: Option<Day>,
    #[validate(custom(function = "web_address"))]
    pub avatar_url: Option<String>,
}

/// What is needed to make a profile.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewProfile {
    pub user_id: UserId,
    #[validate(length(max = 4_000))]
    pub bio: Option<String>,
    #[validate(length(min = 1, max = 200), custom(function = "line"))]
    pub city: Option<String>,
    pub birth_date: Option<Day>,
    #[validate(custom(function = "web_address"))]
    pub avatar_url: Option<String>,
}

/// A change of a profile.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Validate)]
#[serde(default, deny_unknown_fields)]
pub struct ProfilePatch {
    #[validate(length(max = 4_000))]
    pub bio: Change<Option<String>>,
    #[validate(length(min = 1, max = 200), custom(function = "line"))]
    pub city: Change<Option<String>>,
    pub birth_date: Change<Option<Day>>,
    #[validate(custom(function = "web_address"))]
    pub avatar_url: Change<Option<String>>,
}

/// Which profiles are meant.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileFilter {
    pub user_id: Option<UserId>,
    pub city: Option<String>,
}

impl Profile {
    /// Whose profile it is.
    pub const USER: Relation<Profile, User> = Relation::belongs_to("user", "user_id");

    /// Finds the profile of a user.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such user, or they have none.
    pub async fn find_of(user: UserId, store: &Store) -> Result<Self> {
        let mut found = store.related(&User::PROFILE, &[user]).await?;
        match found.remove(&user).and_then(|mut profiles| profiles.pop()) {
            Some(profile) => Ok(profile),
            None => Err(Self::missing(&store.find(user).await?)),
        }
    }

    /// Takes the profile of a user away, if it still has the version that was seen.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such user, or they have none; [`Error::VersionConflict`].
    pub async fn clear(user: UserId, seen: i64, work: &UnitOfWork) -> Result<()> {
        let user = work.find(user).await?;
        match work.related(&User::PROFILE, user.id).await?.pop() {
            Some(profile) => work.delete(profile.id, seen).await,
            None => Err(Self::missing(&user)),
        }
    }

    fn missing(user: &User) -> Error {
        Error::NotFound { noun: "profile", id: format!("of user {}", user.id) }
    }

    /// Gives a user this profile: a new one, or, with the version that was seen, in place of the one there is.
    ///
    /// # Errors
    /// [`Error::VersionConflict`] if there is another version, or one where none was seen.
    pub async fn set(user: UserId, seen: Option<i64>, fields: ProfileFields, work: &UnitOfWork) -> Result<Self> {
        let user = work.find(user).await?;
        match (work.related(&User::PROFILE, user.id).await?.pop(), seen) {
            (None, None) => work.insert(fields.of(user.id)).await,
            (None, Some(_)) => Err(Self::missing(&user)),
            (Some(found), seen) => work.update(found.id, seen.unwrap_or(0), ProfilePatch::from(fields)).await,
        }
    }
}

impl ProfileFields {
    /// What is needed to make this the profile of a user.
    pub(crate) fn of(self, user: UserId) -> NewProfile {
        let Self { bio, city, birth_date, avatar_url } = self;
        NewProfile { user_id: user, bio, city, birth_date, avatar_url }
    }
}

// A whole set of fields is a patch that keeps nothing.
impl From<ProfileFields> for ProfilePatch {
    fn from(fields: ProfileFields) -> Self {
        let ProfileFields { bio, city, birth_date, avatar_url } = fields;
        Self {
            bio: Change::Set(bio),
            city: Change::Set(city),
            birth_date: Change::Set(birth_date),
            avatar_url: Change::Set(avatar_url),
        }
    }
}

record! {
    Profile = "profile" in row { user_id, bio, city, birth_date, avatar_url },
    filter: ProfileFilter,
    sort: [CreatedAt],
    relations: [USER],
    children: [],
}

new_row! { NewProfile => Profile in row { user_id, bio, city, birth_date, avatar_url } }

impl Insert for NewProfile {}

changed_row! { ProfilePatch => Profile in row { bio, city, birth_date, avatar_url } keeps { user_id } }

impl Patch for ProfilePatch {}

equal_columns! {
    ProfileFilter => Profile in row { user_id = UserId, city = City }
}
