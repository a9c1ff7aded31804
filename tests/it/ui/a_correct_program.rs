//! Compiles: what the others do wrong, done right.

use domain::*;

pub async fn works(store: Store, user: UserId, profile: ProfileId) -> Result<()> {
    store.find::<User>(user).await?;
    store.find::<Profile>(profile).await?;
    store.insert(NewTag { name: "rust".to_owned() }).await?;
    store.update(user, 1, UserPatch { name: Change::Set("Ada".to_owned()), ..UserPatch::default() }).await?;
    store.related(&User::PROFILE, &[user]).await?;
    store.list(&UserFilter { email: None, ..UserFilter::default() }, &Page::default()).await?;
    store.query(Sql::new("SELECT 1").bind(user)).await?;
    Ok(())
}
