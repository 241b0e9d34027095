//! Saying who we are on a connection that was just opened (KIP-43, KIP-152).

use std::time::Duration;

use bytes::Bytes;
use logmill_wire::messages::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use logmill_wire::messages::sasl_handshake::SaslHandshakeRequest;
use logmill_wire::{ErrorCode, Str};
use tokio::task::JoinError;

use super::scram::{Challenge, First, Hash, Last};
use super::{Mechanism, Sasl, Secret};
use crate::error::{Error, Result};
use crate::transport::connection::Connection;
use crate::transport::environment;

/// Authenticates, and gives for how long the broker lets the connection be used, if it bounds that (KIP-368).
pub(crate) async fn authenticate(connection: &Connection, sasl: &Sasl) -> Result<Option<Duration>> {
    let address = connection.address();
    let refused = |reason: String| Error::Security { address: address.to_owned(), reason };
    // Version 0 would leave Kafka's frames behind; no broker since 2017 has only that.
    let version = connection.version::<SaslHandshakeRequest>(1).ok().filter(|version| *version == 1);
    let version = version.ok_or_else(|| {
        refused("it does not offer SASL there; set security.protocol to SSL or PLAINTEXT, or name its port for SASL".to_owned())
    })?;
    let name = sasl.mechanism.name();
    let handshake = SaslHandshakeRequest { mechanism: Str::from(name) };
    let answer = connection.send(&handshake, version, Duration::ZERO)?.await?;
    match answer.error_code {
        ErrorCode::UNSUPPORTED_SASL_MECHANISM => {
            let theirs: Vec<&str> = answer.mechanisms.iter().map(|name| &**name).collect();
            return Err(refused(format!(
                "it does not have the sasl.mechanism {name}; it has {}",
                if theirs.is_empty() { "none".to_owned() } else { theirs.join(", ") }
            )));
        }
        ErrorCode::ILLEGAL_SASL_STATE => {
            return Err(refused(
                "it wants no SASL there; set security.protocol to SSL or PLAINTEXT, or name its port for SASL".to_owned(),
            ));
        }
        code => Error::check(code, None, || format!("beginning {name} at {address}"))?,
    }
    let last = match sasl.mechanism {
        Mechanism::Plain => {
            let message = format!("\0{}\0{}", sasl.username, sasl.password.0);
            step(connection, sasl, message).await?
        }
        Mechanism::ScramSha256 => scram(connection, sasl, Hash::Sha256).await?,
        Mechanism::ScramSha512 => scram(connection, sasl, Hash::Sha512).await?,
    };
    let lifetime = u64::try_from(last.session_lifetime_ms).unwrap_or(0);
    Ok((lifetime > 0).then(|| Duration::from_millis(lifetime)))
}

async fn scram(connection: &Connection, sasl: &Sasl, hash: Hash) -> Result<SaslAuthenticateResponse> {
    let refused = |reason: String| Error::Security {
        address: connection.address().to_owned(),
        reason: format!("{} failed: {reason}", sasl.mechanism.name()),
    };
    let nonce = environment::nonce();
    let first = First::new(hash, &sasl.username, &nonce);
    let challenge = step(connection, sasl, first.message()).await?;
    let challenge = first.read(&challenge.auth_bytes).map_err(refused)?;
    let last = answer(challenge, sasl.password.clone()).await;
    let last = last.map_err(|error| refused(format!("the proof was not made: {error}")))?;
    let verdict = step(connection, sasl, last.message().to_owned()).await?;
    last.check(&verdict.auth_bytes).map_err(refused)?;
    Ok(verdict)
}

/// It takes as long as the broker wants it to: on a thread for such work, as everything else here goes on meanwhile.
async fn answer(challenge: Challenge, password: Secret) -> std::result::Result<Last, JoinError> {
    tokio::task::spawn_blocking(move || challenge.answer(&password.0)).await
}

async fn step(connection: &Connection, sasl: &Sasl, message: String) -> Result<SaslAuthenticateResponse> {
    let version = connection.version::<SaslAuthenticateRequest>(i16::MAX)?;
    let request = SaslAuthenticateRequest { auth_bytes: Bytes::from(message) };
    let answer = connection.send(&request, version, Duration::ZERO)?.await?;
    Error::check(answer.error_code, answer.error_message.as_deref(), || {
        let (name, mechanism) = (&sasl.username, sasl.mechanism.name());
        format!("authenticating at {} as {name:?} with {mechanism}", connection.address())
    })?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn iterations_hold_up_nothing_else() {
        let first = First::new(Hash::Sha512, "user", "nonce");
        let challenge = first.read(b"r=nonce-of-both,s=W22Z,i=1000000").unwrap();
        let mut answer = Box::pin(answer(challenge, Secret("pencil".to_owned())));
        assert!((&mut answer).now_or_never().is_none(), "it was computed on the thread that asks");
        assert!(answer.await.unwrap().message().contains("r=nonce-of-both"));
    }
}
