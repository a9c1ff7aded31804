//! Accounts: money of one currency that belongs to a user. Only transfers change a balance.

use entity::transfers;

use crate::{Transfer, User, UserId, noun::*};

mod currency;

pub use currency::{Currency, NotACurrency};

/// The id of an account.
pub type AccountId = Id<Account>;

record! {
    /// Money of one currency that belongs to a user.
    pub struct Account = "account" in accounts {
        pub owner_id: UserId,
        pub currency: Currency,
        /// In minor units of the currency, such as cents; never below zero.
        pub balance: i64,
    }
    sort: [currency, balance, created_at],
    filter: AccountFilter { owner_id: UserId, currency: Currency },
    relations: {
        /// Whose it is.
        OWNER: Relation<Account, User> = Relation::belongs_to("owner", "owner_id"),
        /// What was paid out of it.
        OUTGOING: Relation<Account, Transfer> = Relation::has_many("outgoing_transfers", transfers::Column::FromAccountId),
        /// What was paid into it.
        INCOMING: Relation<Account, Transfer> = Relation::has_many("incoming_transfers", transfers::Column::ToAccountId),
    },
    children: [Restrict transfers.from_account_id, Restrict transfers.to_account_id],
}

new! {
    /// What is needed to make an account.
    pub struct NewAccount => Account {
        pub owner_id: UserId,
        pub currency: Currency,
        /// What it opens with, in minor units: nothing, if nothing is said.
        #[serde(default)]
        #[validate(range(min = 0))]
        pub balance: i64,
    }
}
impl Insert for NewAccount {}

patch! {
    /// A change of an account: another owner. Its currency is for good, and its balance is for transfers to change.
    pub struct AccountPatch => Account keeps { currency, balance } {
        pub owner_id: Change<UserId>,
    }
}
impl Patch for AccountPatch {}
