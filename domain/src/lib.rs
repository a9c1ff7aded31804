//! The business words of the application: its nouns with their rules and relations, and the units of work that change
//! them.
//!
//! One noun is one file: typed id, model, `New…`, `…Patch`, `…Filter`, relations, rules. What HTTP adds to it is in the
//! `api` crate. Generated entities, SeaORM's conditions and its connection stay in here. To add a noun, write its
//! migration, refresh the entities, and copy the shape of `tag.rs`.

mod columns;
mod connection;
mod error;
mod fault;
mod id;
mod idempotency;
mod page;
mod port;
mod query;
mod record;
mod relation;
mod retry;
mod source;
mod sql;
mod store;
mod unit_of_work;
mod value;

mod account;
mod content;
mod data_model;
mod profile;
mod relationship;
mod setting;
mod subscription;
mod tag;
mod transfer;
mod user;

pub use connection::StoreOptions;
pub use error::{Cause, Error, FieldError, Result, Unavailable};
pub use id::{Id, NotAnId};
pub use idempotency::Answer;
pub use page::{Cursor, DEFAULT_PAGE_SIZE, Listing, MAX_PAGE_SIZE, Page, Sort};
pub use port::clock::{Clock, ManualClock, SystemClock};
pub use record::{Filter, Insert, Patch, Record};
pub use relation::{Include, ManyToMany, Related, RelatedJson, Relation, View};
pub use retry::RetryPolicy;
pub use sql::{Parameter, Readable, Rows, Sql};
pub use store::{Database, Health, OpenWork, PoolStatus, Store};
pub use unit_of_work::UnitOfWork;
pub use value::{Change, Day, Timestamp};

pub use account::{Account, AccountFilter, AccountId, AccountPatch, Currency, NewAccount, NotACurrency};
pub use content::{Content, ContentFilter, ContentId, ContentPatch, ContentStatus, NewContent};
pub use data_model::{DataModel, DataModelFilter, DataModelId, DataModelPatch, Field, FieldKind, NewDataModel};
pub use profile::{NewProfile, Profile, ProfileFields, ProfileFilter, ProfileId, ProfilePatch};
pub use relationship::{
    NewRelationship, Relationship, RelationshipFilter, RelationshipId, RelationshipKind, RelationshipPatch,
};
pub use setting::{
    LanguageTag, NewSetting, PageSize, Scope, Setting, SettingFilter, SettingId, SettingKey, SettingPatch, Theme,
    ZoneName, key as setting_key,
};
pub use subscription::{
    NewSubscription, Subscription, SubscriptionFilter, SubscriptionId, SubscriptionPatch, SubscriptionStatus,
};
pub use tag::{NewTag, Tag, TagFilter, TagId, TagPatch};
pub use transfer::{NewTransfer, Transfer, TransferFilter, TransferId};
pub use user::{NewUser, Role, User, UserFilter, UserId, UserPatch, UserStatus};
