//! What is asked for by the names that Kafka's tools and librdkafka's have for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Identity, Mechanism, Pem, Secret, Security, Tls};
use crate::error::{Error, Result};

/// A name of Kafka's, and what librdkafka calls the same.
const ALIASES: [(&str, &str); 6] = [
    ("sasl.mechanisms", "sasl.mechanism"),
    ("ssl.ca.location", "ssl.truststore.location"),
    ("ssl.ca.pem", "ssl.truststore.certificates"),
    ("ssl.certificate.pem", "ssl.keystore.certificate.chain"),
    ("ssl.key.pem", "ssl.keystore.key"),
    ("ssl.key.password", "ssl.keystore.password"),
];

/// The names that are heeded, beside `security.protocol`.
const KNOWN: [&str; 14] = [
    "sasl.mechanism",
    "sasl.jaas.config",
    "sasl.username",
    "sasl.password",
    "ssl.truststore.type",
    "ssl.truststore.location",
    "ssl.truststore.certificates",
    "ssl.keystore.type",
    "ssl.keystore.location",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.endpoint.identification.algorithm",
];

fn wrong<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::InvalidArgument(why.into()))
}

/// See [`Security::from_properties`].
pub(super) fn read(properties: &[(String, String)]) -> Result<(Security, Vec<String>)> {
    let mut given: BTreeMap<&str, &str> = BTreeMap::new();
    let mut others = Vec::new();
    for (name, value) in properties {
        let of_kafka = ALIASES.iter().find(|(other, _)| other == name).map_or(&**name, |(_, kafka)| kafka);
        if of_kafka == "security.protocol" || KNOWN.contains(&of_kafka) {
            // Blanks may belong to a password.
            given.insert(of_kafka, if of_kafka == "sasl.password" { value } else { value.trim() });
        } else if matches!(of_kafka, "ssl.truststore.password" | "ssl.keystore.password") {
            return wrong(format!(
                "{name}: stores are files in PEM here, which have no password; `openssl pkcs12 -nodes` makes PEM of PKCS #12, and \
                 `openssl pkcs8` decrypts a key"
            ));
        } else if ["ssl.", "sasl.", "security."].iter().any(|room| of_kafka.starts_with(room)) {
            return wrong(format!(
                "{name} is not known here; of TLS and SASL there are security.protocol, {}",
                KNOWN.join(", ")
            ));
        } else {
            others.push(name.clone());
        }
    }
    let protocol = given.remove("security.protocol").unwrap_or("PLAINTEXT").to_ascii_uppercase();
    let (tls, sasl) = match &*protocol {
        "PLAINTEXT" => (false, false),
        "SSL" => (true, false),
        "SASL_PLAINTEXT" => (false, true),
        "SASL_SSL" => (true, true),
        _ => {
            return wrong(format!(
                "security.protocol is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL, not {protocol:?}"
            ));
        }
    };
    for (room, has, needed) in
        [("ssl.", tls, "SSL or SASL_SSL"), ("sasl.", sasl, "SASL_SSL or SASL_PLAINTEXT")]
    {
        if let Some(name) = given.keys().find(|name| !has && name.starts_with(room)) {
            return wrong(format!(
                "{name} is given, and has no effect with security.protocol={protocol}: set that to {needed}"
            ));
        }
    }
    let mut security = Security::default();
    if tls {
        security = security.tls(tls_of(&given)?);
    }
    if sasl {
        security = sasl_of(&given, security)?;
    }
    Ok((security, others))
}

fn tls_of(given: &BTreeMap<&str, &str>) -> Result<Tls> {
    for name in ["ssl.truststore.type", "ssl.keystore.type"] {
        if let Some(other) = given.get(name).filter(|form| !form.eq_ignore_ascii_case("PEM")) {
            return wrong(format!(
                "{name} is PEM here, not {other}; `openssl pkcs12 -nodes` makes PEM of PKCS #12"
            ));
        }
    }
    let file = |name: &str| given.get(name).map(|path| Pem::File(PathBuf::from(path)));
    let text = |name: &str| given.get(name).map(|text| Pem::Text(Secret((*text).to_owned())));
    let trusted = one([
        ("ssl.truststore.location", file("ssl.truststore.location")),
        ("ssl.truststore.certificates", text("ssl.truststore.certificates")),
    ])?;
    let store = file("ssl.keystore.location");
    let chain = one([
        ("ssl.keystore.location", store.clone()),
        ("ssl.certificate.location", file("ssl.certificate.location")),
        ("ssl.keystore.certificate.chain", text("ssl.keystore.certificate.chain")),
    ])?;
    let key = one([
        ("ssl.keystore.location", store),
        ("ssl.key.location", file("ssl.key.location")),
        ("ssl.keystore.key", text("ssl.keystore.key")),
    ])?;
    let identity = match (chain, key) {
        (Some(chain), Some(key)) => Some(Identity { chain, key }),
        (None, None) => None,
        (Some(_), None) => {
            return wrong(
                "a certificate is given without its key; ssl.key.location or ssl.keystore.key is missing",
            );
        }
        (None, Some(_)) => {
            return wrong(
                "a key is given without its certificate; ssl.certificate.location or ssl.keystore.certificate.chain is missing",
            );
        }
    };
    let any_name = match given.get("ssl.endpoint.identification.algorithm") {
        None => false,
        Some(&"") => true,
        Some(algorithm) if algorithm.eq_ignore_ascii_case("https") => false,
        Some(algorithm) if algorithm.eq_ignore_ascii_case("none") => true,
        Some(other) => {
            return wrong(format!("ssl.endpoint.identification.algorithm is https or empty, not {other:?}"));
        }
    };
    Ok(Tls { trusted, identity, any_name })
}

/// At most one of several ways to say the same.
fn one<const N: usize>(ways: [(&str, Option<Pem>); N]) -> Result<Option<Pem>> {
    let mut said: Option<(&str, Pem)> = None;
    for (name, pem) in ways {
        match (&said, pem) {
            (Some((other, _)), Some(_)) => {
                return wrong(format!("{other} and {name} say the same; keep one"));
            }
            (None, Some(pem)) => said = Some((name, pem)),
            (_, None) => {}
        }
    }
    Ok(said.map(|(_, pem)| pem))
}

fn sasl_of(given: &BTreeMap<&str, &str>, security: Security) -> Result<Security> {
    let known = || Mechanism::ALL.map(Mechanism::name).join(", ");
    let Some(mechanism) = given.get("sasl.mechanism") else {
        return wrong(format!("sasl.mechanism is missing: one of {}", known()));
    };
    let Some(mechanism) = Mechanism::of(&mechanism.to_ascii_uppercase()) else {
        return wrong(format!("sasl.mechanism is one of {}, not {mechanism:?}", known()));
    };
    let apart = (given.get("sasl.username"), given.get("sasl.password"));
    let (username, password) = match (given.get("sasl.jaas.config"), apart) {
        // A password from elsewhere goes before the one in the configuration.
        (Some(jaas), (None, password)) => {
            let (username, written) = login(jaas, mechanism)?;
            (username, password.map(|password| (*password).to_owned()).or(written))
        }
        (Some(_), (Some(_), _)) => return wrong("sasl.jaas.config and sasl.username say the same; keep one"),
        (None, (Some(username), password)) => {
            ((*username).to_owned(), password.map(|password| (*password).to_owned()))
        }
        (None, (None, _)) => return wrong("sasl.username, or a sasl.jaas.config with one, is missing"),
    };
    let Some(password) = password else {
        return wrong(format!(
            "the password of {username:?} is missing: sasl.password, or in sasl.jaas.config"
        ));
    };
    Ok(security.sasl(mechanism, username, password))
}

/// Name and password of `Module required username="…" password="…";`.
fn login(jaas: &str, mechanism: Mechanism) -> Result<(String, Option<String>)> {
    let form = "sasl.jaas.config is MODULE required username=\"NAME\" password=\"PASSWORD\";";
    let words =
        words(jaas).ok_or_else(|| Error::InvalidArgument(format!("{form} A quotation does not end")))?;
    let [module, flag, options @ ..] = &*words else { return wrong(form) };
    let fits = match mechanism {
        Mechanism::Plain => "PlainLoginModule",
        Mechanism::ScramSha256 | Mechanism::ScramSha512 => "ScramLoginModule",
    };
    if module.contains('=') {
        // What stands in its place may be the password.
        return wrong(form);
    }
    if !module.ends_with(fits) {
        return wrong(format!("sasl.jaas.config has the module {module}; {} needs {fits}", mechanism.name()));
    }
    if !["required", "requisite", "sufficient", "optional"].contains(&&*flag.to_ascii_lowercase()) {
        return wrong(form);
    }
    let (mut username, mut password) = (None, None);
    for option in options {
        match option.split_once('=') {
            Some(("username", name)) => username = Some(name.to_owned()),
            Some(("password", secret)) => password = Some(secret.to_owned()),
            // It may be a secret, and is not repeated.
            other => {
                let name = other.map_or("a word without =", |(name, _)| name);
                return wrong(format!("sasl.jaas.config: {name} is not known here; {form}"));
            }
        }
    }
    match username {
        Some(username) => Ok((username, password)),
        None => wrong(format!("sasl.jaas.config has no username; {form}")),
    }
}

/// The words of a login configuration up to its semicolon, without their quotation marks; nothing if one is open.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', Some(_)) => word.extend(letters.next()),
            (letter, Some(end)) if letter == end => quote = None,
            (letter, Some(_)) => word.push(letter),
            ('"' | '\'', None) => quote = Some(letter),
            (';', None) => break,
            (letter, None) if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (letter, None) => word.push(letter),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::security::properties::parse_properties;

    fn of(text: &str) -> Result<(Security, Vec<String>)> {
        read(&parse_properties(text).unwrap())
    }

    #[track_caller]
    fn login_of(text: &str) -> (Mechanism, String, String) {
        let sasl = of(text).unwrap().0.sasl.unwrap();
        (sasl.mechanism, sasl.username, sasl.password.0)
    }

    #[test]
    fn files_for_kafkas_tools_and_for_librdkafka_say_the_same() {
        let alice = (Mechanism::ScramSha512, "alice".to_owned(), "a \"secret\";".to_owned());
        let java = "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n\
                    sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n  \
                    username=\"alice\" \\\n  password=\"a \\\\\"secret\\\\\";\";\n\
                    ssl.truststore.type=PEM\nssl.truststore.location=/ca.pem\n";
        assert_eq!(login_of(java), alice);
        let librdkafka = "security.protocol=sasl_ssl\nsasl.mechanisms=SCRAM-SHA-512\nsasl.username=alice\n\
                          sasl.password=a \"secret\";\nssl.ca.location=/ca.pem\n\
                          ssl.certificate.location=/cert.pem\nssl.key.location=/key.pem\n";
        assert_eq!(login_of(librdkafka), alice);
        let tls = of(librdkafka).unwrap().0.tls.unwrap();
        assert!(matches!(tls.trusted, Some(Pem::File(path)) if path.ends_with("ca.pem")));
        assert!(tls.identity.is_some() && !tls.any_name);
        let (none, others) = of("client.id=x\nacks=all\n").unwrap();
        assert!(none.is_none());
        assert_eq!(others, ["client.id", "acks"]);
    }

    #[test]
    fn a_password_from_elsewhere_goes_before_the_one_that_is_written() {
        let text = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=x.PlainLoginModule \
                    required username='bob';\nsasl.password=elsewhere";
        assert_eq!(login_of(text), (Mechanism::Plain, "bob".to_owned(), "elsewhere".to_owned()));
    }

    #[test]
    fn what_would_have_no_effect_or_is_not_known_is_refused_with_what_to_write() {
        for (text, why) in [
            ("security.protocol=TLS", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
            ("ssl.truststore.location=/ca", "set that to SSL or SASL_SSL"),
            ("security.protocol=SSL\nsasl.mechanism=PLAIN", "set that to SASL_SSL"),
            ("security.protocol=SASL_SSL", "sasl.mechanism is missing"),
            ("security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI", "one of PLAIN, SCRAM-SHA-256"),
            ("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN", "sasl.username"),
            ("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=a", "the password of \"a\""),
            (
                "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=x.ScramLoginModule required;",
                "needs PlainLoginModule",
            ),
            (
                "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=x.PlainLoginModule required a=secret;",
                "a is not known",
            ),
            (
                "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.jaas.config=x.PlainLoginModule required username=\"a",
                "does not end",
            ),
            ("security.protocol=SSL\nssl.truststore.password=secret", "openssl"),
            ("security.protocol=SSL\nssl.truststore.type=JKS", "PEM here"),
            ("security.protocol=SSL\nssl.cipher.suites=x", "ssl.cipher.suites is not known"),
            ("security.protocol=SSL\nssl.key.location=/key", "without its certificate"),
            ("security.protocol=SSL\nssl.certificate.location=/chain", "without its key"),
            ("security.protocol=SSL\nssl.ca.location=/a\nssl.ca.pem=x", "say the same"),
            ("security.protocol=SSL\nssl.endpoint.identification.algorithm=ldap", "https or empty"),
        ] {
            let error = of(text).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.username=a\nsasl.password=hush\nssl.ca.pem=hush";
        let shown = format!("{:?}", of(text).unwrap().0);
        assert!(!shown.contains("hush"), "{shown}");
    }
}
