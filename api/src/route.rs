//! The routes of the application: the five endpoints of every noun, and what is special about some.

use aide::axum::ApiRouter;
use domain::*;

use crate::{
    app::App,
    openapi,
    resource::{append_only, resource},
};

mod change;
mod content;
mod document;
mod user;

/// Where changes are told. That is a stream, which differs from other answers.
pub(crate) const CHANGES: &str = "/v1/changes";

/// All routes, under the version of the API. What a noun has beside the five endpoints is in a file of its own.
pub(crate) fn routes() -> ApiRouter<App> {
    openapi::begin();
    let nouns = [
        resource::<Account, NewAccount, AccountPatch>("/accounts"),
        resource::<Content, NewContent, ContentPatch>("/contents").merge(content::routes()),
        resource::<DataModel, NewDataModel, DataModelPatch>("/data-models"),
        resource::<Profile, NewProfile, ProfilePatch>("/profiles"),
        resource::<Relationship, NewRelationship, RelationshipPatch>("/relationships"),
        resource::<Setting, NewSetting, SettingPatch>("/settings"),
        resource::<Subscription, NewSubscription, SubscriptionPatch>("/subscriptions"),
        resource::<Tag, NewTag, TagPatch>("/tags"),
        append_only::<Transfer, NewTransfer>("/transfers"),
        resource::<User, NewUser, UserPatch>("/users").merge(user::routes()),
    ];
    let known = nouns.iter().map(|noun| noun.noun).collect();
    let nouns = nouns.into_iter().fold(ApiRouter::new(), |routes, noun| routes.merge(noun.routes));
    nouns.merge(document::routes()).merge(change::routes(known))
}
