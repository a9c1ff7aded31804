//! SeaORM as its guides show it: entity loader, `find_by_id`, active models; every option at its default but the log.
//! The unit of work alone is done on connections that are not asked how they are, so that it has nothing in it but the
//! transaction.

use chrono::{DateTime, FixedOffset, Utc};
use entity::{accounts, contents, profiles, tags, transfers, users};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ConnectOptions, DatabaseConnection, EntityLoaderTrait, EntityTrait,
    IntoActiveModel, QueryOrder, QuerySelect, TransactionTrait,
};

use crate::{
    contender::{Contender, Place},
    fixture::{self, Outcome},
    wire,
};

pub(crate) struct Guides {
    database: DatabaseConnection,
    unasked: DatabaseConnection,
}

impl Guides {
    pub(crate) async fn connect(url: &str) -> Outcome<Self> {
        let mut unasked = ConnectOptions::new(url);
        unasked.test_before_acquire(false);
        Ok(Self { database: fixture::connect(url).await?, unasked: fixture::open(unasked).await? })
    }
}

#[expect(clippy::disallowed_methods, reason = "what a program without a clock of its own would write")]
fn now() -> DateTime<FixedOffset> {
    Utc::now().fixed_offset()
}

fn user_view(row: users::ModelEx) -> wire::UserView {
    let profile = row.profiles.into_option().map(|row| wire::Profile {
        id: row.id,
        version: row.version,
        user_id: row.user_id,
        bio: row.bio,
        city: row.city,
        birth_date: row.birth_date,
        avatar_url: row.avatar_url,
        created_at: row.created_at.to_utc(),
        updated_at: row.updated_at.to_utc(),
    });
    let contents = row.contents.into_iter().map(content_view).collect();
    let user = wire::User {
        id: row.id,
        version: row.version,
        email: row.email,
        name: row.name,
        role: row.role,
        status: row.status,
        avatar: row.avatar,
        last_active_at: row.last_active_at.map(|at| at.to_utc()),
        created_at: row.created_at.to_utc(),
        updated_at: row.updated_at.to_utc(),
    };
    wire::UserView { user, profile, contents }
}

fn content_view(row: contents::ModelEx) -> wire::ContentView {
    let tags = row.tags.into_iter().map(|row| wire::Tag {
        id: row.id,
        version: row.version,
        name: row.name,
        created_at: row.created_at.to_utc(),
        updated_at: row.updated_at.to_utc(),
    });
    let tags = tags.collect();
    let content = wire::Content {
        id: row.id,
        version: row.version,
        author_id: row.author_id,
        title: row.title,
        body: row.body,
        status: row.status,
        created_at: row.created_at.to_utc(),
        updated_at: row.updated_at.to_utc(),
    };
    wire::ContentView { content, tags }
}

impl Contender for Guides {
    async fn find(&self, place: &Place) -> Outcome<usize> {
        let user = users::Entity::find_by_id(place.user).one(&self.database).await?;
        Ok(user.unwrap().email.len())
    }

    async fn list(&self, _place: &Place) -> Outcome<usize> {
        let users = users::Entity::find().order_by_asc(users::Column::Id).limit(50).all(&self.database).await?;
        Ok(users.len())
    }

    async fn page(&self, _place: &Place) -> Outcome<usize> {
        let users = users::Entity::load()
            .with(profiles::Entity)
            .with((contents::Entity, tags::Entity))
            .order_by_id_asc()
            .paginate(&self.database, 100)
            .fetch_page(0)
            .await?;
        let views = users.into_iter().map(user_view).collect::<Vec<_>>();
        Ok(serde_json::to_vec(&views)?.len())
    }

    async fn relations(&self, place: &Place) -> Outcome<usize> {
        let user = users::Entity::load()
            .filter_by_id(place.user)
            .with(profiles::Entity)
            .with((contents::Entity, tags::Entity))
            .one(&self.database)
            .await?;
        Ok(serde_json::to_vec(&[user_view(user.unwrap())])?.len())
    }

    async fn insert(&self, place: &Place) -> Outcome<usize> {
        let now = now();
        let tag = tags::ActiveModel {
            id: Set(fixture::id(1_000_000 + place.number)),
            version: Set(1),
            created_at: Set(now),
            updated_at: Set(now),
            name: Set(format!("new tag {:08}", place.number)),
        };
        Ok(tag.insert(&self.database).await?.name.len())
    }

    async fn update(&self, place: &Place) -> Outcome<usize> {
        let user = users::Entity::find_by_id(place.own_user).one(&self.database).await?.unwrap();
        let version = user.version;
        let mut user = user.into_active_model();
        user.name = Set(format!("Changed {:08}", place.number));
        user.version = Set(version + 1);
        user.updated_at = Set(now());
        Ok(user.update(&self.database).await?.name.len())
    }

    async fn transfer(&self, place: &Place) -> Outcome<usize> {
        let transaction = self.database.begin().await?;
        let mut both = Vec::new();
        for id in place.accounts {
            let account = accounts::Entity::find_by_id(id).lock_exclusive().one(&transaction).await?;
            both.push(account.unwrap());
        }
        for (account, amount) in both.into_iter().zip([-1, 1]) {
            let (version, balance) = (account.version, account.balance);
            let mut account = account.into_active_model();
            account.version = Set(version + 1);
            account.balance = Set(balance + amount);
            account.updated_at = Set(now());
            account.update(&transaction).await?;
        }
        let transfer = transfers::ActiveModel {
            id: Set(fixture::id(2_000_000 + place.number)),
            from_account_id: Set(place.accounts[0]),
            to_account_id: Set(place.accounts[1]),
            amount: Set(1),
            created_at: Set(now()),
        };
        let transfer = transfer.insert(&transaction).await?;
        transaction.commit().await?;
        Ok(usize::try_from(transfer.amount)?)
    }

    async fn unit(&self, place: &Place) -> Outcome<usize> {
        let transaction = self.unasked.begin().await?;
        let user = users::Entity::find_by_id(place.own_user).one(&transaction).await?.unwrap();
        let now = now();
        let tag = tags::ActiveModel {
            id: Set(fixture::id(1_000_000 + place.number)),
            version: Set(1),
            created_at: Set(now),
            updated_at: Set(now),
            name: Set(format!("new tag {:08}", place.number)),
        };
        let tag = tag.insert(&transaction).await?;
        let version = user.version;
        let mut user = user.into_active_model();
        user.name = Set(format!("Changed {:08}", place.number));
        user.version = Set(version + 1);
        user.updated_at = Set(now);
        let user = user.update(&transaction).await?;
        transaction.commit().await?;
        Ok(user.name.len() + tag.name.len())
    }
}
