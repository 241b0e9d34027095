//! Log lines, always on standard error.

use std::io::IsTerminal as _;

use logmill_config::LogFormat;
use tracing_subscriber::EnvFilter;

/// For commands that talk to a broker: quiet unless asked.
pub(crate) fn for_tools(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    start(EnvFilter::new(level), LogFormat::Text);
}

/// For a broker, as it is configured.
///
/// # Errors
/// When the level is none.
pub(crate) fn for_broker(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level)
        .map_err(|error| crate::failure::Usage(format!("telemetry.level = {level:?}: {error}")))?;
    start(filter, format);
    Ok(())
}

fn start(filter: EnvFilter, format: LogFormat) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second subscriber in one process is refused; the first stays.
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
