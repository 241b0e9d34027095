//! Authorities of the test's own, and certificates that they sign.

use logmill_tests::process::Scratch;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// One that signs.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
pub(crate) struct Signed {
    chain: String,
    key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// For hosts, or for a client that is none.
    pub(crate) fn sign(&self, hosts: &[&str]) -> Signed {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let params = CertificateParams::new(hosts).expect("names");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Signed { chain: certificate.pem(), key: key.serialize_pem() }
    }

    /// The path of its own certificate.
    pub(crate) fn file(&self, scratch: &Scratch, name: &str) -> String {
        scratch.write(name, &self.pem)
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("a certificate")
    }
}

impl Signed {
    /// The paths of certificate and key.
    pub(crate) fn files(&self, scratch: &Scratch, name: &str) -> (String, String) {
        (scratch.write(&format!("{name}.pem"), &self.chain), scratch.write(&format!("{name}.key"), &self.key))
    }

    /// Both in one text, without line breaks, as they stand in properties.
    pub(crate) fn texts(&self) -> (String, String) {
        (self.chain.replace('\n', " "), self.key.replace('\n', " "))
    }

    pub(crate) fn der(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::from_pem_slice(self.chain.as_bytes()).expect("a certificate");
        (chain, PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("a key"))
    }
}
