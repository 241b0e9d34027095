//! `logmill serve`: a broker in the foreground, until SIGTERM or SIGINT.

use anyhow::Context as _;
use logmill_broker::node::Node;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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
    logging::for_broker(&config.telemetry.level, config.telemetry.format)?;
    let stop = stop_signal()?;
    raise_descriptor_limit();
    let data_dir = config.data_dir.display().to_string();
    let node = Node::start(config).await.with_context(|| format!("cannot start a broker on {data_dir}"))?;
    stop.await;
    tracing::info!("stopping");
    stop_node(node).await
}

/// Lets this process open as many files as the system permits. The usual soft limit, 1,024, is there for programs that use
/// `select`; a broker keeps a file open for each partition and a socket for each client.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        if let Err(error) = raised {
            tracing::warn!(soft_limit = limit.current, %error, "the limit of open files cannot be raised");
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_of_open_files_becomes_the_hard_one() {
        let limit = getrlimit(Resource::Nofile);
        let low = Rlimit { current: limit.maximum.map(|most| most.min(200)).or(Some(200)), ..limit };
        setrlimit(Resource::Nofile, low).unwrap();
        raise_descriptor_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
    }
}
