//! error: E0308

use domain::*;

pub fn clears() -> UserPatch {
    UserPatch { name: Change::Set(None), ..UserPatch::default() }
}
