//! `logmill serve`: a broker in the foreground, until SIGTERM or SIGINT.

use std::time::{Duration, Instant};

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

/// A SIGTERM that comes so soon after the first is the same wish: `timeout` and others send two at once, one to the
/// process and one to its group.
const SAME_WISH: Duration = Duration::from_secs(3);

/// Stops a node; somebody who loses patience ends the process at once, which loses nothing that was acknowledged.
pub(crate) async fn stop_node(node: Node) -> anyhow::Result<()> {
    let impatience = impatience()?;
    tokio::select! {
        stopped = node.shutdown() => Ok(stopped?),
        () = impatience => anyhow::bail!("ended before the checkpoint was written; the next start replays the journal"),
    }
}

/// Completes when somebody does not want to wait for the end: at a SIGINT, which a person sends, or at a SIGTERM
/// that is not the first one over again.
pub(crate) fn impatience() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopping = Instant::now();
    Ok(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => {
                    if stopping.elapsed() >= SAME_WISH {
                        return;
                    }
                    tracing::info!("told to stop again; Ctrl-C, or SIGTERM after some seconds, ends the process at once");
                }
            }
        }
    })
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
