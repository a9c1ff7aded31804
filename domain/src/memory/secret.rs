//! What is known to one who was given it, and to nobody else.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// 256 random bits, which nobody can guess. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// A new one, from the random numbers of the machine: these alone never follow from a seed.
    pub(crate) fn new() -> Self {
        Self(rand::random())
    }

    /// The text to hand out: 64 hexadecimal digits.
    pub fn reveal(&self) -> String {
        hex::encode(self.0)
    }

    /// What may be kept of it: it leads nowhere.
    pub(crate) fn hash(&self) -> String {
        hex::encode(Sha256::digest(self.0))
    }
}

impl FromStr for Secret {
    type Err = NotASecret;

    fn from_str(text: &str) -> Result<Self, NotASecret> {
        let mut bytes = [0; 32];
        let is_hexadecimal = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hexadecimal {
            return Err(NotASecret);
        }
        hex::decode_to_slice(text, &mut bytes).map_err(|_| NotASecret)?;
        Ok(Self(bytes))
    }
}

/// The text was never handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 64 hexadecimal digits")]
pub struct NotASecret;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}
