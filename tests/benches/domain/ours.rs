//! The domain's store.

use domain::{
    AccountId, Change, Include, NewTag, NewTransfer, Page, Store, StoreOptions, SystemClock, UnitOfWork, User,
    UserFilter, UserId, UserPatch,
};

use crate::{
    contender::{Contender, Place},
    fixture::Outcome,
};

pub(crate) struct Ours {
    store: Store,
    includes: Vec<Include>,
}

impl Ours {
    pub(crate) async fn connect(url: &str) -> Outcome<Self> {
        let store = Store::connect(&StoreOptions::new(url), SystemClock).await?;
        Ok(Self { store, includes: Include::parse::<User>("profile,contents.tags")? })
    }
}

impl Contender for Ours {
    async fn find(&self, place: &Place) -> Outcome<usize> {
        Ok(self.store.find::<User>(UserId::new(place.user)).await?.email.len())
    }

    async fn list(&self, _place: &Place) -> Outcome<usize> {
        Ok(self.store.list(&UserFilter::default(), &Page::default()).await?.records.len())
    }

    async fn page(&self, _place: &Place) -> Outcome<usize> {
        let page = Page { limit: 100.try_into()?, ..Page::default() };
        let users = self.store.list_wire(&UserFilter::default(), &page).await?.records;
        let views = self.store.with_related(users, &self.includes).await?;
        Ok(serde_json::to_vec(&views)?.len())
    }

    async fn relations(&self, place: &Place) -> Outcome<usize> {
        let user = self.store.find_wire::<User>(UserId::new(place.user)).await?;
        let views = self.store.with_related(vec![user], &self.includes).await?;
        Ok(serde_json::to_vec(&views)?.len())
    }

    async fn insert(&self, place: &Place) -> Outcome<usize> {
        let tag = self.store.insert(NewTag { name: format!("new tag {:08}", place.number) }).await?;
        Ok(tag.name.len())
    }

    async fn update(&self, place: &Place) -> Outcome<usize> {
        let name = format!("Changed {:08}", place.number);
        let patch = UserPatch { name: Change::Set(name), ..UserPatch::default() };
        let user = self.store.update(UserId::new(place.own_user), place.version, patch).await?;
        Ok(user.name.len())
    }

    async fn transfer(&self, place: &Place) -> Outcome<usize> {
        let [from, to] = place.accounts;
        let new = NewTransfer { from_account_id: AccountId::new(from), to_account_id: AccountId::new(to), amount: 1 };
        Ok(usize::try_from(self.store.insert(new).await?.amount)?)
    }

    async fn unit(&self, place: &Place) -> Outcome<usize> {
        let (id, number) = (UserId::new(place.own_user), place.number);
        let unit = move |work: UnitOfWork| async move {
            let user = work.find::<User>(id).await?;
            let tag = work.insert(NewTag { name: format!("new tag {number:08}") }).await?;
            let patch = UserPatch { name: Change::Set(format!("Changed {number:08}")), ..UserPatch::default() };
            let user = work.update(id, user.version, patch).await?;
            Ok(user.name.len() + tag.name.len())
        };
        Ok(self.store.write(unit).await?)
    }
}
