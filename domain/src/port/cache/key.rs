//! What copies are kept under.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A hash of what an entry is about: as long as any other, and telling nothing about it.
///
/// The triggers of cached tables write the same words into the outbox that the functions here hash: `users` for anything
/// in a table, `users:id:<id>` for a row, `contents:author_id:<id>` for all rows that refer to another,
/// `users:email:<text>` for a row with a unique text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of these words. 128 bits of SHA-256: nobody can make two that collide.
    pub fn of(words: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(words.as_bytes()).into();
        Self(hash[..16].try_into().unwrap_or_default())
    }

    /// Anything in a table.
    pub(crate) fn table(table: &str) -> Self {
        Self::of(table)
    }

    /// The row, or the rows, whose column holds this id.
    pub(crate) fn id(table: &str, column: &str, id: Uuid) -> Self {
        Self::of(&format!("{table}:{column}:{}", id.simple()))
    }

    /// The row whose column holds this text, whatever the case of its ASCII letters.
    pub(crate) fn text(table: &str, column: &str, text: &str) -> Self {
        Self::of(&format!("{table}:{column}:{}", text.to_ascii_lowercase()))
    }

    /// The bytes of the hash.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
