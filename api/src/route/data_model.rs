use aide::axum::ApiRouter;
use domain::{DataModel, DataModelPatch, NewDataModel};

use crate::{app::App, resource::resource};

pub(super) fn routes() -> ApiRouter<App> {
    resource::<DataModel, NewDataModel, DataModelPatch>("/data-models")
}
