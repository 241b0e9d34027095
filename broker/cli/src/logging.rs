//! Log lines, always on standard error.

use std::io::IsTerminal as _;

use logmill_broker::loggers::Loggers;
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

/// For a broker, as it is configured. Clients of the broker may change the levels.
///
/// # Errors
/// When the level is none.
pub(crate) fn for_broker(level: &str, format: LogFormat) -> anyhow::Result<Loggers> {
    let filter = EnvFilter::try_new(level)
        .map_err(|error| crate::failure::Usage(format!("telemetry.level = {level:?}: {error}")))?;
    let handle = start(filter, format);
    Ok(Loggers::new(level, move |directives| {
        let filter = EnvFilter::try_new(directives).map_err(|error| error.to_string())?;
        handle(filter)
    }))
}

/// Starts log lines and gives the way to change what is written.
fn start(filter: EnvFilter, format: LogFormat) -> Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync> {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_filter_reloading()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    // A second subscriber in one process is refused; the first stays.
    match format {
        LogFormat::Text => {
            let handle = lines.reload_handle();
            let _ = lines.try_init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            let handle = lines.reload_handle();
            let _ = lines.try_init();
            Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
        }
    }
}
