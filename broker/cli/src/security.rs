//! How connections to a cluster are protected, as users of Kafka's tools say it: a file of properties, and single ones over it.

use std::path::PathBuf;

use anyhow::Context as _;
use logmill_client::ClientBuilder;

use crate::arguments::EVERYWHERE;
use crate::failure::Usage;
use crate::output::note;

/// Where the password may come from without being in any file.
const PASSWORD: &str = "LOGMILL_SASL_PASSWORD";

/// Names whose values must not be among the arguments, which everybody on the machine can see.
const SECRETS: [&str; 4] = ["sasl.password", "sasl.jaas.config", "ssl.keystore.key", "ssl.key.pem"];

/// See the module.
#[derive(Debug, clap::Args)]
pub(crate) struct Security {
    /// Properties for TLS and SASL, one a line, as Kafka's tools take them with --command-config: security.protocol, sasl.mechanism,
    /// sasl.jaas.config (or sasl.username and sasl.password), ssl.truststore.location, ssl.keystore.location (in PEM), and what
    /// librdkafka calls the same.
    #[arg(
        long,
        visible_alias = "command-config",
        global = true,
        help_heading = EVERYWHERE,
        env = "LOGMILL_CLIENT_CONFIG",
        value_name = "FILE"
    )]
    client_config: Option<PathBuf>,
    /// One such property, over those of the file; as often as there are some. A password is not given here, where others can see it,
    /// but in the file or in LOGMILL_SASL_PASSWORD.
    #[arg(
        short = 'X',
        long = "property",
        global = true,
        help_heading = EVERYWHERE,
        value_name = "NAME=VALUE"
    )]
    properties: Vec<String>,
}

/// What is refused is not repeated: it may be a secret. So it is not left to who reads the arguments, either.
fn property(text: &str) -> Result<(String, String), Usage> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Usage("--property without =: write NAME=VALUE, such as security.protocol=SASL_SSL".to_owned())
    })?;
    let name = name.trim();
    if SECRETS.contains(&name) {
        return Err(Usage(format!(
            "--property {name}: everybody on this machine can see arguments; write it into a file for --client-config, or a \
             password into {PASSWORD}"
        )));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    security: logmill_client::Security,
    client_id: Option<String>,
    unheeded: Vec<String>,
}

impl Security {
    /// That single properties are some, and no secrets; whether the command connects or not.
    pub(crate) fn check(&self) -> Result<(), Usage> {
        self.properties.iter().try_for_each(|text| property(text).map(drop))
    }

    /// Reads the file, and puts everything together.
    pub(crate) fn read(&self) -> anyhow::Result<Asked> {
        let given: Vec<(String, String)> =
            self.properties.iter().map(|text| property(text)).collect::<Result<_, _>>()?;
        let mut properties = Vec::new();
        let usage = |error: logmill_client::Error| Usage(error.to_string());
        if let Some(path) = &self.client_config {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the client's properties in {}", path.display()))?;
            let read = logmill_client::parse_properties(&text).map_err(usage);
            properties = read.with_context(|| path.display().to_string())?;
        }
        properties.extend(given);
        let protocol = properties.iter().rev().find(|(name, _)| name == "security.protocol");
        let has_sasl =
            protocol.is_some_and(|(_, value)| value.trim().to_ascii_uppercase().starts_with("SASL_"));
        if let Some(password) = std::env::var_os(PASSWORD).filter(|password| has_sasl && !password.is_empty())
        {
            let password = password.into_string().map_err(|_| Usage(format!("{PASSWORD} is not UTF-8")))?;
            properties.push(("sasl.password".to_owned(), password));
        }
        let client_id = properties.iter().rev().find(|(name, _)| name == "client.id");
        let client_id = client_id.map(|(_, value)| value.trim().to_owned());
        let (security, mut unheeded) =
            logmill_client::Security::from_properties(&properties).map_err(usage)?;
        unheeded.retain(|name| name != "client.id");
        Ok(Asked { security, client_id, unheeded })
    }
}

impl Asked {
    pub(crate) fn apply(self, builder: ClientBuilder) -> ClientBuilder {
        let builder = builder.security(self.security);
        match self.client_id {
            Some(client_id) => builder.client_id(client_id),
            None => builder,
        }
    }

    /// Nobody is to believe that all of his file holds.
    pub(crate) fn tell_unheeded(&self) {
        if !self.unheeded.is_empty() {
            note(format!("not heeded of the client's properties: {}", self.unheeded.join(", ")));
        }
    }
}
