//! How connections are protected, and who we are on them: TLS and SASL.

pub(crate) mod properties;
mod sasl;
mod scram;
mod settings;
mod tls;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use crate::error::Result;

pub(crate) use sasl::authenticate;
pub(crate) use tls::{describe as describe_tls, secure};

/// How connections are protected, and who we are on them. Without anything said they are plain TCP, and we are nobody.
///
/// ```no_run
/// # async fn example() -> logmill_client::Result<()> {
/// use logmill_client::{Client, Mechanism, Security, Tls};
///
/// let security = Security::default()
///     .tls(Tls::default().trust_file("ca.pem"))
///     .sasl(Mechanism::ScramSha512, "alice", std::fs::read_to_string("password").unwrap());
/// let client = Client::builder("kafka-1:9093").security(security).connect().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Security {
    tls: Option<Tls>,
    sasl: Option<Sasl>,
}

impl Security {
    /// Every connection is encrypted, and its broker shows a certificate that `tls` trusts.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// We say who we are with a name and a password, on every connection.
    pub fn sasl(
        mut self,
        mechanism: Mechanism,
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        self.sasl = Some(Sasl { mechanism, username: username.into(), password: Secret(password.into()) });
        self
    }

    /// What Kafka's clients are told with these properties, under the names of Kafka's own and of librdkafka: `security.protocol`,
    /// `sasl.mechanism`, `sasl.jaas.config` or `sasl.username` and `sasl.password`, `ssl.truststore.location` or `ssl.ca.location`,
    /// `ssl.keystore.location` or `ssl.certificate.location` and `ssl.key.location`, the same as text, and
    /// `ssl.endpoint.identification.algorithm`. Stores are files in PEM. Gives the names that have nothing to do with security,
    /// which are not heeded. Of two values for one name the later one counts.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] for a property of TLS or SASL that is not known, has a value that is none, or would have no effect.
    pub fn from_properties(properties: &[(String, String)]) -> Result<(Self, Vec<String>)> {
        settings::read(properties)
    }

    /// Whether nothing is asked for: plain TCP, and nobody says who he is.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.tls.is_none() && self.sasl.is_none()
    }

    /// Reads the files.
    pub(crate) fn prepare(&self) -> Result<Prepared> {
        Ok(Prepared { tls: self.tls.as_ref().map(tls::config).transpose()?, sasl: self.sasl.clone() })
    }
}

/// Whom to trust, and the certificate to show.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Tls {
    trusted: Option<Pem>,
    identity: Option<Identity>,
    any_name: bool,
}

/// A certificate with those that vouch for it, and its key.
#[derive(Debug, Clone)]
struct Identity {
    chain: Pem,
    key: Pem,
}

impl Tls {
    /// Trusts the authorities whose certificates are in this file (PEM). Default: those that the system trusts.
    pub fn trust_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trusted = Some(Pem::File(path.into()));
        self
    }

    /// The same, of a text.
    pub fn trust_pem(mut self, text: impl Into<String>) -> Self {
        self.trusted = Some(Pem::Text(Secret(text.into())));
        self
    }

    /// Shows the certificate in `chain`, whose key is in `key` (PEM, not encrypted); both may be one file.
    pub fn identity_files(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some(Identity { chain: Pem::File(chain.into()), key: Pem::File(key.into()) });
        self
    }

    /// The same, of texts.
    pub fn identity_pem(mut self, chain: impl Into<String>, key: impl Into<String>) -> Self {
        let (chain, key) = (Pem::Text(Secret(chain.into())), Pem::Text(Secret(key.into())));
        self.identity = Some(Identity { chain, key });
        self
    }

    /// Does not ask whether a broker's certificate is for the host that was connected to. Whoever has any certificate of a trusted
    /// authority can then pose as a broker.
    pub fn accept_any_name(mut self) -> Self {
        self.any_name = true;
        self
    }
}

/// How a password is shown to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mechanism {
    /// As it is. Only over TLS, unless everybody on the way may have it.
    Plain,
    /// By proof only, SHA-256. The broker proves that it knows it, too.
    ScramSha256,
    /// By proof only, SHA-512.
    ScramSha512,
}

impl Mechanism {
    const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// Its name in SASL.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name() == name)
    }
}

/// Who we say we are.
#[derive(Debug, Clone)]
pub(crate) struct Sasl {
    mechanism: Mechanism,
    username: String,
    password: Secret,
}

/// What must not be in any log.
#[derive(Clone)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Certificates or a key.
#[derive(Debug, Clone)]
enum Pem {
    File(PathBuf),
    Text(Secret),
}

/// As [`Security`], ready for connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prepared {
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) sasl: Option<Sasl>,
}
