//! `logmill serve`: a broker in the foreground, until SIGTERM or SIGINT.

use anyhow::Context as _;
use logmill_broker::node::Node;

use super::config::Settings;
use crate::logging;

/// Start a broker. It serves until SIGTERM or SIGINT, then finishes what is under way and writes a checkpoint.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Settings come from flags, then the environment (LOGMILL_SECTION__KEY), then the file, then the defaults.
`logmill config show` says what they are and why; `logmill config default` prints the file.")]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,
}

pub(crate) async fn run(command: Serve) -> anyhow::Result<()> {
    let config = command.settings.load()?.config;
    let loggers = logging::for_broker(&config.telemetry.level, config.telemetry.format)?;
    let stop = stop_signal()?;
    let data_dir = config.data_dir.display().to_string();
    let node = Node::start_with(config, loggers)
        .await
        .with_context(|| format!("cannot start a broker on {data_dir}"))?;
    stop.await;
    tracing::info!("stopping");
    stop_node(node).await
}

/// Stops a node; a second signal ends the process at once, which loses nothing that was acknowledged.
pub(crate) async fn stop_node(node: Node) -> anyhow::Result<()> {
    let again = stop_signal()?;
    tokio::select! {
        stopped = node.shutdown() => Ok(stopped?),
        () = again => anyhow::bail!("ended before the checkpoint was written; the next start replays the journal"),
    }
}

/// Completes at the first SIGTERM or SIGINT after the call.
///
/// # Errors
/// When the system refuses to tell of signals.
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
