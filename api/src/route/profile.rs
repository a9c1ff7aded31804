use aide::axum::ApiRouter;
use domain::{NewProfile, Profile, ProfilePatch};

use crate::{app::App, resource::resource};

pub(super) fn routes() -> ApiRouter<App> {
    resource::<Profile, NewProfile, ProfilePatch>("/profiles")
}
