use aide::axum::ApiRouter;
use domain::{NewSubscription, Subscription, SubscriptionPatch};

use crate::{app::App, resource::resource};

pub(super) fn routes() -> ApiRouter<App> {
    resource::<Subscription, NewSubscription, SubscriptionPatch>("/subscriptions")
}
