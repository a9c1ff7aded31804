//! Profiles: what users tell about themselves, at most one profile each.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::{User, UserId, noun::*, record::Record};

/// The id of a profile.
pub type ProfileId = Id<Profile>;

record! {
    /// What a user tells about themselves.
    pub struct Profile = "profile" in profiles {
        pub user_id: UserId,
        pub bio: Option<String>,
        pub city: Option<String>,
        pub birth_date: Option<Day>,
        pub avatar_url: Option<String>,
    }
    sort: [created_at],
    filter: ProfileFilter { user_id: UserId, city: String },
    relations: {
        /// Whose profile it is.
        USER: Relation<Profile, User> = Relation::belongs_to("user", "user_id"),
    },
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

new! {
    /// What is needed to make a profile.
    pub struct NewProfile => Profile {
        pub user_id: UserId,
        #[validate(length(max = 4_000))]
        pub bio: Option<String>,
        #[validate(length(min = 1, max = 200), custom(function = "line"))]
        pub city: Option<String>,
        pub birth_date: Option<Day>,
        #[validate(custom(function = "web_address"))]
        pub avatar_url: Option<String>,
    }
}
impl Insert for NewProfile {}

patch! {
    /// A change of a profile.
    pub struct ProfilePatch => Profile keeps { user_id } {
        #[validate(length(max = 4_000))]
        pub bio: Change<Option<String>>,
        #[validate(length(min = 1, max = 200), custom(function = "line"))]
        pub city: Change<Option<String>>,
        pub birth_date: Change<Option<Day>>,
        #[validate(custom(function = "web_address"))]
        pub avatar_url: Change<Option<String>>,
    }
}
impl Patch for ProfilePatch {}

impl Profile {
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
    /// [`Error::VersionRequired`] if there is one and none was seen; [`Error::VersionConflict`] if it is another version.
    pub async fn set(user: UserId, seen: Option<i64>, fields: ProfileFields, work: &UnitOfWork) -> Result<Self> {
        let user = work.find(user).await?;
        match (work.related(&User::PROFILE, user.id).await?.pop(), seen) {
            (None, None) => work.insert(fields.of(user.id)).await,
            (None, Some(_)) => Err(Self::missing(&user)),
            (Some(Self { id, version: actual, .. }), None) => {
                Err(Error::VersionRequired { noun: Self::NOUN, id: id.to_string(), actual })
            }
            (Some(found), Some(seen)) => work.update(found.id, seen, ProfilePatch::from(fields)).await,
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
