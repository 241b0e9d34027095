//! TLS on the way to a broker: from files and texts to a handshake, and what its failures mean.

use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError,
    RootCertStore, SignatureScheme,
};

use super::{Pem, Tls};
use crate::error::{Error, Result};
use crate::transport::environment::{Incoming, Outgoing};

/// What a client needs for its handshakes. Reads the files.
pub(super) fn config(tls: &Tls) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let roots = Arc::new(roots(tls.trusted.as_ref())?);
    let cannot =
        |error: &dyn std::fmt::Display| Error::InvalidArgument(format!("TLS cannot be set up: {error}"));
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
        .build()
        .map_err(|error| cannot(&error))?;
    let verifier: Arc<dyn ServerCertVerifier> =
        if tls.any_name { Arc::new(AnyName(verifier)) } else { verifier };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| cannot(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates(&identity.chain, "the certificate to show")?;
            let key = key(&identity.key)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let (chain, key) = (identity.chain.name(), identity.key.name());
                Error::InvalidArgument(format!(
                    "the certificate of {chain} does not go with the key of {key}: {error}"
                ))
            })?
        }
    };
    Ok(Arc::new(config))
}

fn roots(trusted: Option<&Pem>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(pem) = trusted else {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(Error::InvalidArgument(
                "the system trusts no certificate authority; name the file of one that is to be trusted \
                 (ssl.truststore.location)"
                    .to_owned(),
            ));
        }
        return Ok(roots);
    };
    for certificate in certificates(pem, "the certificates to trust")? {
        roots.add(certificate).map_err(|error| {
            Error::InvalidArgument(format!("a certificate of {} cannot be trusted: {error}", pem.name()))
        })?;
    }
    Ok(roots)
}

impl Pem {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text(_) => "the text given".to_owned(),
        }
    }

    fn read(&self, what: &str) -> Result<Vec<u8>> {
        match self {
            Self::File(path) => std::fs::read(path).map_err(|error| {
                Error::InvalidArgument(format!("{what}: cannot read {}: {error}", path.display()))
            }),
            Self::Text(text) => Ok(in_lines(&text.0).into_bytes()),
        }
    }
}

/// Texts in properties have no line breaks, which PEM needs around its marks.
fn in_lines(text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + 64);
    for part in text.split_inclusive("-----") {
        match part.strip_suffix("-----") {
            // The words of a mark have blanks in them, and keep these.
            Some(words) if words.starts_with("BEGIN ") || words.starts_with("END ") => {
                lines.push_str(&format!("-----{words}-----\n"));
            }
            Some(body) => lines.push_str(&with_breaks(body)),
            None => lines.push_str(&with_breaks(part)),
        }
    }
    lines
}

fn with_breaks(body: &str) -> String {
    body.split_whitespace().map(|word| format!("{word}\n")).collect()
}

fn certificates(pem: &Pem, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = pem.read(what)?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(no_pem(pem, what, "there is no certificate", &bytes)),
        Err(error) => Err(no_pem(pem, what, &error.to_string(), &bytes)),
    }
}

fn key(pem: &Pem) -> Result<PrivateKeyDer<'static>> {
    let what = "the key of the certificate to show";
    let bytes = pem.read(what)?;
    if contains(&bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Err(Error::InvalidArgument(format!(
            "{what}: that of {} is encrypted; `openssl pkcs8 -in FILE -out KEY` decrypts it into a file that only its owner may read",
            pem.name()
        )));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| no_pem(pem, what, &error.to_string(), &bytes))
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn no_pem(pem: &Pem, what: &str, why: &str, bytes: &[u8]) -> Error {
    let hint = match bytes {
        // The magic number of Java's own stores, and the beginning of anything in DER, as PKCS #12 is.
        [0xfe, 0xed, ..] => {
            "; it is a Java key store: `keytool -importkeystore -deststoretype pkcs12` and `openssl pkcs12 -nodes` make PEM of it"
        }
        [0x30, ..] => {
            "; it looks like DER or PKCS #12: `openssl x509 -inform der` or `openssl pkcs12 -nodes` makes PEM of it"
        }
        _ => "",
    };
    Error::InvalidArgument(format!("{what}: {} is not PEM: {why}{hint}", pem.name()))
}

/// Shakes hands over a connection to `HOST:PORT`.
pub(crate) async fn secure(
    config: &Arc<ClientConfig>,
    address: &str,
    (read, write): (Incoming, Outgoing),
) -> Result<(Incoming, Outgoing)> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::Security {
        address: address.to_owned(),
        reason: format!("{host:?} is no name that a certificate could be for"),
    })?;
    let connector = TlsConnector::from(Arc::clone(config));
    let stream = connector.connect(name, tokio::io::join(read, write)).await;
    let stream = stream.map_err(|error| {
        describe(&error, 0).map_or_else(
            || Error::ConnectionLost {
                address: address.to_owned(),
                reason: format!(
                    "{error} during the TLS handshake; does that port speak TLS (security.protocol)?"
                ),
            },
            |reason| Error::Security { address: address.to_owned(), reason },
        )
    })?;
    let (read, write) = tokio::io::split(stream);
    Ok((Box::new(read), Box::new(write)))
}

/// What TLS says is wrong behind so many answers, with what to do; nothing if it is the network that failed.
pub(crate) fn describe(error: &io::Error, answers: u64) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<TlsError>()?;
    Some(match error {
        TlsError::InvalidCertificate(why) => {
            let remedy = match why {
                CertificateError::UnknownIssuer => {
                    "no authority that is trusted here has signed it; name the file with the authority's certificate \
                     in ssl.truststore.location (PEM)"
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "connect by a name that it is for; an empty ssl.endpoint.identification.algorithm does not ask"
                }
                CertificateError::Other(_) => {
                    "an authority's own certificate cannot be a broker's: let it sign one for the broker"
                }
                _ => "the broker needs another one",
            };
            format!("the broker's certificate is not trusted: {why}; {remedy}")
        }
        TlsError::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired),
        ) => format!(
            "the broker does not accept our certificate, or we showed none ({alert:?}); name one that it trusts in \
             ssl.keystore.location (PEM, certificate and key)"
        ),
        // Both spoke TLS, and trusted each other: bytes were damaged on their way, or lost.
        _ if answers > 0 => return None,
        TlsError::InvalidMessage(_) => {
            "it does not answer in TLS; set security.protocol to what that port speaks (PLAINTEXT, SASL_PLAINTEXT), or name the \
             port for TLS"
                .to_owned()
        }
        // A broker that stops, or has too much to do; bytes that were damaged on their way, to us or to it.
        TlsError::AlertReceived(
            AlertDescription::InternalError
            | AlertDescription::UserCanceled
            | AlertDescription::BadRecordMac
            | AlertDescription::DecryptError,
        )
        | TlsError::DecryptError => return None,
        other => format!("TLS failed: {other}"),
    })
}

/// Whom the roots vouch for, whatever host he says he is.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, TlsError> {
        // The name is looked at last: what fails by it has passed everything else.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::InvalidMessage;

    use super::*;

    #[test]
    fn pem_without_line_breaks_gets_them() {
        let text = "-----BEGIN CERTIFICATE----- AAAA BBBB -----END CERTIFICATE----- -----BEGIN X-----\nCC\n-----END X-----\n";
        assert_eq!(
            in_lines(text),
            "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n-----BEGIN X-----\nCC\n-----END X-----\n"
        );
    }

    #[test]
    fn damage_on_the_way_is_not_the_fault_of_who_speaks() {
        let told = |error: TlsError, answers| {
            describe(&io::Error::new(io::ErrorKind::InvalidData, error), answers).unwrap_or_default()
        };
        let invalid = || TlsError::InvalidMessage(InvalidMessage::InvalidContentType);
        assert!(told(invalid(), 0).contains("does not answer in TLS"));
        assert_eq!(told(invalid(), 3), "");
        for alert in [AlertDescription::BadRecordMac, AlertDescription::DecryptError] {
            for answers in [0, 3] {
                assert_eq!(told(TlsError::AlertReceived(alert), answers), "", "{alert:?}");
            }
        }
        assert_eq!(told(TlsError::AlertReceived(AlertDescription::UnexpectedMessage), 3), "");
        assert!(told(TlsError::AlertReceived(AlertDescription::ProtocolVersion), 0).contains("TLS failed"));
        // A broker may look at our certificate whenever it likes.
        for answers in [0, 3] {
            let refused = TlsError::AlertReceived(AlertDescription::CertificateRevoked);
            assert!(told(refused, answers).contains("does not accept our certificate"));
        }
    }

    #[test]
    fn what_is_no_pem_is_told_with_what_makes_it() {
        let folder = std::env::temp_dir();
        for (name, bytes, hint) in [
            ("store.jks", &[0xfe, 0xed, 0xfe, 0xed, 0, 0][..], "keytool"),
            ("store.p12", &[0x30, 0x82, 1, 1][..], "openssl pkcs12"),
            ("store.txt", b"nothing", "there is no certificate"),
        ] {
            let path = folder.join(format!("logmill-{}-{name}", std::process::id()));
            std::fs::write(&path, bytes).unwrap();
            let error = config(&Tls::default().trust_file(&path)).unwrap_err().to_string();
            std::fs::remove_file(&path).unwrap();
            assert!(error.contains(hint) && error.contains(name), "{error}");
        }
        let error = config(&Tls::default().trust_file("/nowhere/ca.pem")).unwrap_err().to_string();
        assert!(error.contains("cannot read /nowhere/ca.pem"), "{error}");
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let error = key(&Pem::Text(super::super::Secret(encrypted.to_owned()))).unwrap_err().to_string();
        assert!(error.contains("is encrypted"), "{error}");
    }
}
