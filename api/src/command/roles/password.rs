//! Passwords of roles: random ones, and what a server keeps of one.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac};
use rand::Rng;
use sha2::{Digest, Sha256};

/// A password of 192 random bits, which an address can hold as it is.
pub(super) fn random() -> String {
    let mut random = [0_u8; 24];
    rand::rng().fill_bytes(&mut random);
    BASE64_URL_SAFE_NO_PAD.encode(random)
}

/// What PostgreSQL keeps of a password (RFC 5802, RFC 7677). Made here, because the password itself would be in the
/// statement otherwise, and so in the server's log where it logs statements.
pub(super) fn verifier(password: &str) -> Option<String> {
    let mut salt = [0_u8; 16];
    rand::rng().fill_bytes(&mut salt);
    verifier_with(password, &salt)
}

/// As many as PostgreSQL itself takes.
const ITERATIONS: u32 = 4_096;

fn verifier_with(password: &str, salt: &[u8]) -> Option<String> {
    let salted = salted(password.as_bytes(), salt)?;
    let stored = Sha256::digest(mac(&salted, b"Client Key")?);
    let server = mac(&salted, b"Server Key")?;
    let [salt, stored, server] = [salt, &stored, &server].map(|part| BASE64_STANDARD.encode(part));
    Some(format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}"))
}

/// PBKDF2 with HMAC-SHA-256, of one block.
fn salted(password: &[u8], salt: &[u8]) -> Option<[u8; 32]> {
    let mut round = mac(password, &[salt, &1_u32.to_be_bytes()].concat())?;
    let mut salted = round;
    for _ in 1..ITERATIONS {
        round = mac(password, &round)?;
        for (byte, other) in salted.iter_mut().zip(round) {
            *byte ^= other;
        }
    }
    Some(salted)
}

fn mac(key: &[u8], text: &[u8]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text);
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The salt and the password of RFC 7677, section 3; the proofs there follow from these keys.
    #[test]
    fn a_verifier_is_that_of_the_standard() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted(b"pencil", &salt).unwrap();
        let client = mac(&salted, b"Client Key").unwrap();
        let message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = mac(&Sha256::digest(client), message).unwrap();
        let proof = client.iter().zip(proof).map(|(one, other)| one ^ other).collect::<Vec<_>>();
        assert_eq!(BASE64_STANDARD.encode(proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let verifier = verifier_with("pencil", &salt).unwrap();
        assert!(verifier.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "{verifier}");
        assert!(!verifier.contains("pencil") && random() != random() && random().len() == 32);
    }
}
