//! error: E0308

use domain::*;

pub fn mixes_up(profile: ProfileId) -> AccountPatch {
    AccountPatch { owner_id: Change::Set(profile) }
}
