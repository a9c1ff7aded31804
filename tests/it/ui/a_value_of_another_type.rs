//! error: E0308

use domain::*;

pub fn mistakes(owner: UserId, currency: Currency) -> NewAccount {
    NewAccount { owner_id: owner, currency, balance: 1.5 }
}
