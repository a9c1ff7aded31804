//! error: E0271

use domain::*;

pub async fn mixes_up(store: Store, user: UserId) {
    store.update(user, 1, TagPatch::default()).await.ok();
}
