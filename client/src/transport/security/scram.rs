//! The client's half of SCRAM (RFC 5802, RFC 7677), without channel binding, as Kafka has it: pure.
//!
//! Passwords are taken as they are, in UTF-8: Kafka's brokers do not prepare them either.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};

/// Below, a password is found too easily from what a broker is shown; RFC 7677 and Kafka's clients refuse it, too.
const LEAST_ITERATIONS: u32 = 4096;
/// Above, a broker keeps us busy for longer than any password is worth.
const MOST_ITERATIONS: u32 = 1_000_000;

/// Which hash it is built on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }
}

/// The exchange before the broker's first message.
#[derive(Debug)]
pub(crate) struct First<'a> {
    hash: Hash,
    nonce: &'a str,
    bare: String,
}

/// The broker's challenge. To answer it is work, as much as the broker wants.
#[derive(Debug)]
pub(crate) struct Challenge {
    hash: Hash,
    /// What both have said so far.
    said: String,
    nonce: String,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

/// The exchange before the broker's last message.
#[derive(Debug)]
pub(crate) struct Last {
    message: String,
    signature: hmac::Tag,
}

const HEADER: &str = "n,,";

impl<'a> First<'a> {
    /// `nonce` must never have been used before.
    pub(crate) fn new(hash: Hash, user: &str, nonce: &'a str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { hash, nonce, bare: format!("n={user},r={nonce}") }
    }

    pub(crate) fn message(&self) -> String {
        format!("{HEADER}{}", self.bare)
    }

    /// Reads the broker's challenge.
    pub(crate) fn read(self, challenge: &[u8]) -> Result<Challenge, String> {
        let challenge = std::str::from_utf8(challenge).map_err(|_| "its challenge is no text".to_owned())?;
        let malformed = || format!("its challenge is malformed: {challenge:?}");
        let mut fields = challenge.split(',');
        let mut field =
            |name: &str| fields.next().and_then(|field| field.strip_prefix(name)).ok_or_else(malformed);
        let (nonce, salt, iterations) = (field("r=")?, field("s=")?, field("i=")?);
        if !nonce.starts_with(self.nonce) || nonce.len() == self.nonce.len() {
            return Err("its challenge does not answer what we sent".to_owned());
        }
        let salt = BASE64.decode(salt).map_err(|_| malformed())?;
        let iterations: u32 = iterations.parse().map_err(|_| malformed())?;
        if !(LEAST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations) {
            return Err(format!(
                "it asks for {iterations} iterations, and {LEAST_ITERATIONS} to {MOST_ITERATIONS} are accepted"
            ));
        }
        let iterations = NonZeroU32::new(iterations).ok_or_else(malformed)?;
        let said = format!("{},{challenge}", self.bare);
        Ok(Challenge { hash: self.hash, said, nonce: nonce.to_owned(), salt, iterations })
    }
}

impl Challenge {
    /// Answers it. Takes a thread for all of its iterations.
    pub(crate) fn answer(self, password: &str) -> Last {
        let Self { said, nonce, salt, iterations, .. } = &self;
        let mut salted = vec![0; self.hash.digest().output_len()];
        pbkdf2::derive(self.hash.pbkdf2(), *iterations, salt, password.as_bytes(), &mut salted);
        let salted = hmac::Key::new(self.hash.hmac(), &salted);
        let unproven = format!("c={},r={nonce}", BASE64.encode(HEADER));
        let said = format!("{said},{unproven}");
        let client_key = hmac::sign(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest(), client_key.as_ref());
        let stored_key = hmac::Key::new(self.hash.hmac(), stored_key.as_ref());
        let client_signature = hmac::sign(&stored_key, said.as_bytes());
        let proof: Vec<u8> =
            client_key.as_ref().iter().zip(client_signature.as_ref()).map(|(key, mask)| key ^ mask).collect();
        let server_key = hmac::sign(&salted, b"Server Key");
        let server_key = hmac::Key::new(self.hash.hmac(), server_key.as_ref());
        let signature = hmac::sign(&server_key, said.as_bytes());
        Last { message: format!("{unproven},p={}", BASE64.encode(proof)), signature }
    }
}

impl Last {
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Whether the broker has proved that it knows the password, too.
    pub(crate) fn check(&self, verdict: &[u8]) -> Result<(), String> {
        let verdict = std::str::from_utf8(verdict).unwrap_or_default();
        if let Some(error) = verdict.strip_prefix("e=") {
            return Err(format!("it says {error}"));
        }
        let said = verdict.strip_prefix("v=").and_then(|rest| rest.split(',').next());
        let said = said.and_then(|said| BASE64.decode(said).ok()).unwrap_or_default();
        // Nobody learns anything from the time this takes: who has the key has signed it himself.
        if said == self.signature.as_ref() {
            return Ok(());
        }
        Err("it has not proved that it knows the password: it may not be the broker it says it is".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &[u8] =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const VERDICT: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    /// The exchange in RFC 7677.
    #[test]
    fn the_exchange_of_the_standard() {
        let first = First::new(Hash::Sha256, "user", NONCE);
        assert_eq!(first.message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let last = first.read(CHALLENGE).unwrap().answer("pencil");
        assert_eq!(
            last.message(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        last.check(VERDICT).unwrap();
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_is_found_out() {
        let last = First::new(Hash::Sha256, "user", NONCE).read(CHALLENGE).unwrap().answer("pencil");
        for verdict in [&b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="[..], b"v=", b"", b"\xff", b"x"] {
            assert!(last.check(verdict).is_err(), "{verdict:?}");
        }
        assert_eq!(last.check(b"e=other-error").unwrap_err(), "it says other-error");
    }

    #[test]
    fn challenges_made_to_do_harm_are_refused() {
        for (challenge, why) in [
            ("r=other,s=W22Z,i=4096", "does not answer"),
            ("r=rOprNGfwEbeRWgbNEkqO,s=W22Z,i=4096", "does not answer"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=1", "iterations"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4000000000", "iterations"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=-1", "malformed"),
            ("r=rOprNGfwEbeRWgbNEkqOx,s=*,i=4096", "malformed"),
            ("m=x,r=rOprNGfwEbeRWgbNEkqOx,s=W22Z,i=4096", "malformed"),
            ("", "malformed"),
        ] {
            let wrong = First::new(Hash::Sha512, "user", NONCE).read(challenge.as_bytes());
            assert!(wrong.unwrap_err().contains(why), "{challenge}");
        }
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(First::new(Hash::Sha256, "a=b,c", "x").message(), "n,,n=a=3Db=2Cc,r=x");
    }
}
