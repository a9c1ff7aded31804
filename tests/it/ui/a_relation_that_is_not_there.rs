//! error: E0599

use domain::*;

pub async fn relates(store: Store, user: UserId) {
    store.related(&User::TAGS, &[user]).await.ok();
}
