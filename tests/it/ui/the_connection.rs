//! error: E0616

use domain::*;

pub fn reaches_through(store: Store) {
    let _ = store.connections;
}
