//! `logmill config`: what a broker would be configured to, and why.

use std::path::PathBuf;

use clap::Subcommand;
use logmill_config::{Loaded, Origin, Sources};
use serde_json::json;

use crate::arguments::Output;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Show every setting with its value and where it comes from.
    Show(Settings),
    /// Print the default configuration file, with one line of meaning for each key.
    Default,
}

/// Where settings come from, for every command that starts a broker.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    data: DataSettings,
    /// Where clients connect; port 0 lets the system choose.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
}

/// The same for commands that work on a broker's data directory.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DataSettings {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "LOGMILL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// The directory that holds everything the broker keeps.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Any other setting, such as --set limits.max_request="64 MiB". May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
}

/// Variables of the tools, which are no settings of a broker.
const NOT_SETTINGS: [&str; 4] =
    ["LOGMILL_CONFIG", "LOGMILL_BOOTSTRAP", "LOGMILL_CLIENT_CONFIG", "LOGMILL_SASL_PASSWORD"];

impl Settings {
    /// Puts file, environment and flags together.
    ///
    /// # Errors
    /// What is wrong, with the place where it is wrong.
    pub(crate) fn load(&self) -> Result<Loaded, logmill_config::ConfigError> {
        self.data.load(self.listen.as_deref())
    }
}

impl DataSettings {
    /// The same, with an address to listen on if there is one.
    ///
    /// # Errors
    /// What is wrong, with the place where it is wrong.
    pub(crate) fn load(&self, listen: Option<&str>) -> Result<Loaded, logmill_config::ConfigError> {
        let mut flags = Vec::new();
        for (key, value) in &self.set {
            flags.push(("--set".to_owned(), key.clone(), value.clone()));
        }
        if let Some(data_dir) = &self.data_dir {
            flags.push(("--data-dir".to_owned(), "data_dir".to_owned(), data_dir.display().to_string()));
        }
        if let Some(listen) = listen {
            flags.push(("--listen".to_owned(), "listen".to_owned(), listen.to_owned()));
        }
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        logmill_config::load(&Sources {
            file: self.config.clone(),
            environment: std::env::vars_os().filter_map(utf8).collect(),
            not_settings: NOT_SETTINGS.to_vec(),
            flags,
        })
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
}

pub(crate) fn run(command: &Config, form: Output) -> anyhow::Result<()> {
    match command {
        Config::Default => output::lines([logmill_config::DEFAULT_FILE.trim_end()])?,
        Config::Show(settings) => show(&settings.load()?, form)?,
    }
    Ok(())
}

fn show(loaded: &Loaded, form: Output) -> std::io::Result<()> {
    let keys = loaded.config.keys();
    match form {
        Output::Json => {
            let settings: Vec<_> = keys
                .iter()
                .map(|key| {
                    let origin = loaded.origin(&key.path());
                    json!({
                        "key": key.path(),
                        "value": key.value.trim_matches('"'),
                        "origin": origin.to_string(),
                        "default": origin == Origin::Default,
                        "meaning": key.meaning.trim(),
                    })
                })
                .collect();
            output::json("config show", json!({ "settings": settings }))
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = keys
                .iter()
                .map(|key| vec![key.path(), key.value.clone(), loaded.origin(&key.path()).to_string()])
                .collect();
            output::table(&["key", "value", "origin"], &rows)
        }
    }
}
