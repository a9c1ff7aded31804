//! error: E0560

use domain::*;

pub fn misspells() -> UserPatch {
    UserPatch { emial: Change::Set("ada@example.org".to_owned()), ..UserPatch::default() }
}
