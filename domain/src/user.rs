//! Users: the people that the application serves. Their e-mail address is unique, whatever its case.

use entity::{accounts, contents, profiles, settings, subscriptions, users as row};
use schemars::JsonSchema;
use sea_orm::{
    ColumnTrait, Condition,
    sea_query::{Expr, ExprTrait, Func},
};
use serde::Deserialize;

use crate::{
    Account, BirthChart, Content, Currency, NewAccount, PlanetaryInsight, Profile, ProfileFields, Setting,
    Subscription, TimingRecommendation,
    document::DocumentsOf,
    noun::*,
    record::{FIRST_VERSION, Filter, Narrow, NewRow, Stamp},
};

/// The id of a user.
pub type UserId = Id<User>;

text_enum! {
    /// What a user may do.
    pub enum Role {
        /// Reads, and writes what is theirs.
        Member = "member",
        /// Also edits what others wrote.
        Editor = "editor",
        /// Also manages users.
        Admin = "admin",
    }
}

text_enum! {
    /// Whether a user takes part.
    pub enum UserStatus {
        /// Takes part.
        Active = "active",
        /// Shut out for a while.
        Suspended = "suspended",
        /// Gone for good.
        Closed = "closed",
    }
}

record! {
    /// A person that the application serves.
    pub struct User = "user" in users {
        pub email: String,
        pub name: String,
        pub role: Role,
        pub status: UserStatus,
        /// The address of a picture.
        pub avatar: Option<String>,
        pub last_active_at: Option<Timestamp>,
    }
    sort: [email, name, created_at],
    filter: UserFilter,
    unique: {
        /// Whatever its case.
        BY_EMAIL: email,
    },
    relations: {
        /// What the user tells about themselves.
        PROFILE: Relation<User, Profile> = Relation::has_one("profile", profiles::Column::UserId),
        /// What the user wrote.
        CONTENTS: Relation<User, Content> = Relation::has_many("contents", contents::Column::AuthorId),
        /// What the user owns.
        ACCOUNTS: Relation<User, Account> = Relation::has_many("accounts", accounts::Column::OwnerId),
        /// What the user pays for, or once did.
        SUBSCRIPTIONS: Relation<User, Subscription> = Relation::has_many("subscriptions", subscriptions::Column::UserId),
        /// What the user has set for themselves.
        SETTINGS: Relation<User, Setting> = Relation::has_many("settings", settings::Column::UserId),
        /// Where the planets stood when the user, or somebody they know, was born.
        BIRTH_CHARTS: DocumentsOf<User, BirthChart> = DocumentsOf::by("birth_charts", BirthChart::USER_ID),
        /// What the planets say about the user's days.
        PLANETARY_INSIGHTS: DocumentsOf<User, PlanetaryInsight> =
            DocumentsOf::by("planetary_insights", PlanetaryInsight::USER_ID),
        /// When the user had better do what.
        TIMING_RECOMMENDATIONS: DocumentsOf<User, TimingRecommendation> =
            DocumentsOf::by("timing_recommendations", TimingRecommendation::USER_ID),
    },
    children: [
        Restrict profiles.user_id,
        Restrict accounts.owner_id,
        Restrict contents.author_id,
        Restrict subscriptions.user_id,
        Cascade settings.user_id,
        Clear data_models.owner_id,
    ],
}

/// What is needed to make a user.
#[derive(Debug, Clone, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    #[validate(custom(function = "email"))]
    pub email: String,
    #[validate(length(min = 1, max = 200), custom(function = "line"))]
    pub name: String,
    /// A member, if nothing is said.
    pub role: Option<Role>,
    #[validate(custom(function = "web_address"))]
    pub avatar: Option<String>,
    /// Written along with the user.
    #[validate(nested)]
    pub profile: Option<ProfileFields>,
    /// An empty account in each of these currencies is opened along with the user.
    #[serde(default)]
    #[validate(length(max = 10))]
    pub accounts: Vec<Currency>,
}

patch! {
    /// A change of a user.
    pub struct UserPatch => User {
        #[validate(custom(function = "email"))]
        pub email: Change<String>,
        #[validate(length(min = 1, max = 200), custom(function = "line"))]
        pub name: Change<String>,
        pub role: Change<Role>,
        pub status: Change<UserStatus>,
        #[validate(custom(function = "web_address"))]
        pub avatar: Change<Option<String>>,
        pub last_active_at: Change<Option<Timestamp>>,
    }
}
impl Patch for UserPatch {}

/// Which users are meant.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UserFilter {
    /// Compared without regard to case.
    pub email: Option<String>,
    pub role: Option<Role>,
    pub status: Option<UserStatus>,
    pub active_since: Option<Timestamp>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
}

impl NewRow for NewUser {
    type Record = User;

    fn into_row(self, Stamp { id, now }: Stamp) -> row::Model {
        let Self { email, name, role, avatar, profile: _, accounts: _ } = self;
        row::Model {
            id,
            version: FIRST_VERSION,
            created_at: now.into(),
            updated_at: now.into(),
            email,
            name,
            role: role.unwrap_or(Role::Member).into_column(),
            status: UserStatus::Active.into_column(),
            last_active_at: None,
            avatar,
        }
    }
}

#[async_trait]
impl Insert for NewUser {
    async fn after(&self, user: &User, work: &UnitOfWork) -> Result<()> {
        if let Some(fields) = &self.profile {
            work.insert(fields.clone().of(user.id)).await.map_err(|error| error.within("profile"))?;
        }
        for currency in &self.accounts {
            let account = NewAccount { owner_id: user.id, currency: *currency, balance: 0 };
            work.insert(account).await.map_err(|error| error.within("accounts"))?;
        }
        Ok(())
    }

    async fn after_all(new: &[Self], users: &[User], work: &UnitOfWork) -> Result<()> {
        let fields = new.iter().zip(users).filter_map(|(new, user)| Some(new.profile.clone()?.of(user.id)));
        work.insert_all(fields.collect()).await.map_err(|error| error.within("profile"))?;
        let accounts = new.iter().zip(users).flat_map(|(new, user)| {
            new.accounts.iter().map(|currency| NewAccount { owner_id: user.id, currency: *currency, balance: 0 })
        });
        work.insert_all(accounts.collect()).await.map_err(|error| error.within("accounts")).map(|_| ())
    }
}

impl Narrow for UserFilter {
    fn condition(&self) -> Condition {
        let Self { email, role, status, active_since, created_after, created_before } = self;
        let lower_email = || Expr::expr(Func::lower(Expr::col(row::Column::Email)));
        Condition::all()
            .add_option(email.as_ref().map(|email| lower_email().eq(email.to_ascii_lowercase())))
            .add_option(role.map(|role| row::Column::Role.eq(role.as_str())))
            .add_option(status.map(|status| row::Column::Status.eq(status.as_str())))
            .add_option(active_since.map(|at| row::Column::LastActiveAt.gte(at.utc())))
            .add_option(created_after.map(|at| row::Column::CreatedAt.gt(at.utc())))
            .add_option(created_before.map(|at| row::Column::CreatedAt.lt(at.utc())))
    }
}

impl Filter for UserFilter {
    type Record = User;
}
