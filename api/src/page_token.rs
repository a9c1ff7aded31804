//! Page tokens: where the next page of a list begins, signed, so that a token that was altered, or made for another
//! list, is refused.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

/// Half of an HMAC-SHA-256, which RFC 2104 section 5 allows: 128 bits are beyond guessing, and the token stays short.
const TAG_LENGTH: usize = 16;

/// The key that page tokens are signed with.
pub(crate) struct TokenKey(Vec<u8>);

impl TokenKey {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(key.to_vec())
    }

    /// The token for a place in the list that `list` describes.
    pub(crate) fn sign(&self, list: &str, place: &impl Serialize) -> Option<String> {
        let payload = serde_json::to_vec(place).ok()?;
        let mut token = self.mac(list, &payload)?.finalize().into_bytes()[..TAG_LENGTH].to_vec();
        token.extend(payload);
        Some(BASE64_URL_SAFE_NO_PAD.encode(token))
    }

    /// The place that a token stands for, if it was signed here and for this list.
    pub(crate) fn verify<P: DeserializeOwned>(&self, list: &str, token: &str) -> Option<P> {
        let token = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
        let (tag, payload) = token.split_at_checked(TAG_LENGTH)?;
        self.mac(list, payload)?.verify_truncated_left(tag).ok()?;
        serde_json::from_slice(payload).ok()
    }

    fn mac(&self, list: &str, payload: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(list.as_bytes());
        mac.update(&[0]);
        mac.update(payload);
        Some(mac)
    }
}
