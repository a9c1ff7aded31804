//! The routes of the application: the five endpoints of every noun, and what is special about some.

use aide::axum::ApiRouter;

use crate::app::App;

mod content;
mod profile;
mod tag;
mod user;

/// All routes, under the version of the API.
pub(crate) fn routes() -> ApiRouter<App> {
    let nouns =
        ApiRouter::new().merge(content::routes()).merge(profile::routes()).merge(tag::routes()).merge(user::routes());
    ApiRouter::new().nest("/v1", nouns)
}
