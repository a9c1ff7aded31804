use aide::axum::ApiRouter;
use domain::{NewTransfer, Transfer};

use crate::{app::App, resource::append_only};

pub(super) fn routes() -> ApiRouter<App> {
    append_only::<Transfer, NewTransfer>("/transfers")
}
