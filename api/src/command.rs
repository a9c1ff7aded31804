//! What the binary can be told to do besides serving: one file per verb.
//!
//! A command takes what it needs as arguments, reads no configuration and prints nothing: it returns a value that shows
//! itself to people through `Display` and to programs through `Serialize`.

pub mod entity;
pub mod migrate;
