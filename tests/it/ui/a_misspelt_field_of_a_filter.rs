//! error: E0560

use domain::*;

pub fn misspells() -> UserFilter {
    UserFilter { emial: None, ..UserFilter::default() }
}
