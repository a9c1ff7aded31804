use aide::axum::ApiRouter;
use domain::{NewSetting, Setting, SettingPatch};

use crate::{app::App, resource::resource};

pub(super) fn routes() -> ApiRouter<App> {
    resource::<Setting, NewSetting, SettingPatch>("/settings")
}
