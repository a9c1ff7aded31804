//! error: E0308

use domain::*;

pub async fn relates(store: Store, user: UserId) {
    store.related(&Profile::USER, &[user]).await.ok();
}
