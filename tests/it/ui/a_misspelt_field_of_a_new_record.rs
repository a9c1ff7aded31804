//! error: E0560

use domain::*;

pub fn misspells() -> NewTag {
    NewTag { nmae: "rust".to_owned() }
}
