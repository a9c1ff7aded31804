use aide::axum::ApiRouter;
use domain::{NewTag, Tag, TagPatch};

use crate::{app::App, resource::resource};

pub(super) fn routes() -> ApiRouter<App> {
    resource::<Tag, NewTag, TagPatch>("/tags")
}
