//! The broker's half of SCRAM (RFC 5802), for one password.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};

const ITERATIONS: u32 = 4096;
const SALT: &[u8] = b"salt of the test";

/// The exchange behind the client's first message.
pub(crate) struct Exchange {
    sha512: bool,
    said: String,
    pub(crate) challenge: String,
    salted: hmac::Key,
}

fn hmac_of(sha512: bool) -> hmac::Algorithm {
    if sha512 { hmac::HMAC_SHA512 } else { hmac::HMAC_SHA256 }
}

impl Exchange {
    /// The name in a client's first message.
    pub(crate) fn name(first: &str) -> Option<&str> {
        first.strip_prefix("n,,n=")?.split(',').next()
    }

    pub(crate) fn begin(sha512: bool, first: &str, password: &str) -> Option<Self> {
        let bare = first.strip_prefix("n,,")?;
        let nonce = bare.split("r=").nth(1)?;
        let challenge = format!("r={nonce}ofthebroker,s={},i={ITERATIONS}", BASE64.encode(SALT));
        let (algorithm, length) = match sha512 {
            true => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
            false => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
        };
        let mut salted = vec![0; length];
        let iterations = NonZeroU32::new(ITERATIONS).expect("not 0");
        pbkdf2::derive(algorithm, iterations, SALT, password.as_bytes(), &mut salted);
        let salted = hmac::Key::new(hmac_of(sha512), &salted);
        Some(Self { sha512, said: bare.to_owned(), challenge, salted })
    }

    /// The broker's last message, if the client has proved that it knows the password.
    pub(crate) fn end(self, last: &str) -> Option<String> {
        let (unproven, proof) = last.rsplit_once(",p=")?;
        let said = format!("{},{},{unproven}", self.said, self.challenge);
        let nonce = self.challenge.split(',').next()?;
        if unproven != format!("c=biws,{nonce}") {
            return None;
        }
        let algorithm = if self.sha512 { &digest::SHA512 } else { &digest::SHA256 };
        let client_key = hmac::sign(&self.salted, b"Client Key");
        let stored = digest::digest(algorithm, client_key.as_ref());
        let signature = hmac::sign(&hmac::Key::new(hmac_of(self.sha512), stored.as_ref()), said.as_bytes());
        let wanted: Vec<u8> =
            client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        if BASE64.decode(proof).ok()? != wanted {
            return None;
        }
        let server_key = hmac::sign(&self.salted, b"Server Key");
        let verdict = hmac::sign(&hmac::Key::new(hmac_of(self.sha512), server_key.as_ref()), said.as_bytes());
        Some(format!("v={}", BASE64.encode(verdict)))
    }
}
