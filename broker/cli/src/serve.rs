//! `logmill serve`: the broker until it is told to stop.

use anyhow::Context as _;
use clap::Args;
use logmill_broker::node::Node;
use tokio::signal::unix::{SignalKind, signal};

use crate::configured::{BrokerFlags, log_lines};
use crate::output::Failure;

/// Run the broker until SIGTERM or Ctrl-C; then finish what is under way, flush, and leave a clean mark.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    broker: BrokerFlags,
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let config = self.broker.load()?;
        log_lines(&config)?;
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
            let node = Node::start(config).await.context("the broker did not start")?;
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
                _ = tokio::signal::ctrl_c() => tracing::info!("interrupted: stopping"),
            }
            node.shutdown().await.context("the last checkpoint failed; the next start replays the journal")?;
            Ok(())
        })
    }
}
