//! Log lines, always on standard error.

use std::io::IsTerminal as _;

use logmill_broker::loggers::Loggers;
use logmill_config::LogFormat;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

/// Libraries that write their own lines: what they do is of interest when it goes wrong. Fjall says only here why a store fails.
const LIBRARIES: &str = "fjall=warn,lsm_tree=warn";

/// For commands that talk to a broker: quiet unless asked.
pub(crate) fn for_tools(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    start(filter_of(level).expect("the level is one"), LogFormat::Text);
}

/// For a broker, as it is configured. Clients of the broker may change the levels.
///
/// # Errors
/// When the level is none.
pub(crate) fn for_broker(level: &str, format: LogFormat) -> anyhow::Result<Loggers> {
    let filter = filter_of(level)
        .map_err(|error| crate::failure::Usage(format!("telemetry.level = {level:?}: {error}")))?;
    let handle = start(filter, format);
    Ok(Loggers::new(level, move |directives| {
        let filter = filter_of(directives).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}

fn filter_of(directives: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::try_new(format!("{LIBRARIES},{directives}"))
}

/// Starts log lines and gives the way to change what is written.
fn start(filter: EnvFilter, format: LogFormat) -> reload::Handle<EnvFilter, Registry> {
    let (filter, handle) = reload::Layer::new(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // A second subscriber in one process is refused; the first stays.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    handle
}
