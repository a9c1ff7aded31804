//! The routes of the application: the five endpoints of every noun, and what is special about some.

use aide::axum::ApiRouter;

use crate::app::App;

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

/// All routes, under the version of the API.
pub(crate) fn routes() -> ApiRouter<App> {
    let nouns = [
        account::routes(),
        content::routes(),
        data_model::routes(),
        profile::routes(),
        relationship::routes(),
        setting::routes(),
        subscription::routes(),
        tag::routes(),
        transfer::routes(),
        user::routes(),
    ];
    ApiRouter::new().nest("/v1", nouns.into_iter().fold(ApiRouter::new(), ApiRouter::merge))
}
