use aide::axum::ApiRouter;
use domain::{Account, AccountPatch, NewAccount};

use crate::{app::App, resource::resource};

pub(super) fn routes() -> ApiRouter<App> {
    resource::<Account, NewAccount, AccountPatch>("/accounts")
}
