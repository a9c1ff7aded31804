use aide::axum::ApiRouter;
use domain::{NewRelationship, Relationship, RelationshipPatch};

use crate::{app::App, resource::resource};

pub(super) fn routes() -> ApiRouter<App> {
    resource::<Relationship, NewRelationship, RelationshipPatch>("/relationships")
}
