//! From flags, environment and file to the configuration, and from there to log lines.

use std::path::PathBuf;

use clap::Args;
use logmill_config::{Config, LogFormat, Sources, load};
use tracing_subscriber::EnvFilter;

use crate::output::Failure;

/// The variable that names the configuration file; it is not itself a setting.
const CONFIG_VARIABLE: &str = "LOGMILL_CONFIG";

/// Flags of every command that runs a broker.
#[derive(Debug, Args)]
pub(crate) struct BrokerFlags {
    /// The directory that holds everything the broker keeps; made when it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where clients connect; port 0 lets the system choose one.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
    pub(crate) config: Option<PathBuf>,
}

impl BrokerFlags {
    /// Puts flags, environment, file and defaults together.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        let mut flags = Vec::new();
        if let Some(dir) = &self.data_dir {
            flags.push(("--data-dir".to_owned(), "data_dir".to_owned(), dir.display().to_string()));
        }
        if let Some(listen) = &self.listen {
            flags.push(("--listen".to_owned(), "listen".to_owned(), listen.clone()));
        }
        let sources = Sources {
            file: self.config.clone(),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            not_settings: vec![CONFIG_VARIABLE],
            flags,
        };
        Ok(load(&sources).map_err(Failure::usage)?.config)
    }
}

/// Sends log lines to standard error, as the configuration says.
pub(crate) fn log_lines(config: &Config) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.telemetry.level).map_err(Failure::usage)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match config.telemetry.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
