use aide::axum::{ApiRouter, routing::get_with};
use axum::extract::State;
use domain::{Profile, ProfileFields, User};

use crate::{
    app::App,
    body::Body,
    extract::{IfMatch, RecordId, SeenVersion},
    problem::Result,
    reply::{Deleted, Found},
    resource::{at, describe},
};

/// The one profile of a user.
pub(super) fn routes() -> ApiRouter<App> {
    ApiRouter::new().api_route(
        &at("/users/{id}/profile"),
        get_with(find_profile, describe::<Profile>("find_user", "Find a user's"))
            .put_with(set_profile, describe::<Profile>("set_user", "Set or replace a user's"))
            .delete_with(clear_profile, describe::<Profile>("clear_user", "Clear a user's")),
    )
}

async fn find_profile(State(app): State<App>, RecordId(user): RecordId<User>) -> Result<Found<Profile>> {
    Found::new(&Profile::find_of(user, app.store()).await?)
}

async fn set_profile(
    State(app): State<App>,
    RecordId(user): RecordId<User>,
    SeenVersion(seen): SeenVersion,
    Body { value: fields, .. }: Body<ProfileFields>,
) -> Result<Found<Profile>> {
    let set = move |work: domain::UnitOfWork| {
        let fields = fields.clone();
        async move { Profile::set(user, seen, fields, &work).await }
    };
    Found::new(&app.store().write(set).await?)
}

async fn clear_profile(
    State(app): State<App>,
    RecordId(user): RecordId<User>,
    IfMatch(seen): IfMatch,
) -> Result<Deleted> {
    app.store().write(move |work| async move { Profile::clear(user, seen, &work).await }).await?;
    Ok(Deleted)
}
