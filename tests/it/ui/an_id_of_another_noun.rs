//! error: E0308

use domain::*;

pub async fn mixes_up(store: Store, user: UserId) -> Result<Profile> {
    store.find::<Profile>(user).await
}
