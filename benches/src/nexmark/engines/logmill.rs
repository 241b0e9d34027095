//! Logmill: a pipeline in the broker that has the topics.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use logmill_client::{Client, PipelineState, Pipelines};
use tokio::runtime::{Builder, Runtime};

use crate::nexmark::queries::Query;
use crate::nexmark::tables;
use crate::nexmark::topics::Names;

/// A deployed pipeline.
pub(crate) struct Pipeline {
    name: String,
    pipelines: Pipelines,
    runtime: Runtime,
}

pub(crate) fn start(query: Query, names: &Names, broker: SocketAddr) -> anyhow::Result<Pipeline> {
    let script = tables::logmill(query, names);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let pipelines = Client::builder(&broker.to_string()).pipelines();
    let name = names.group().to_owned();
    runtime
        .block_on(pipelines.run(&name, &script, None))
        .with_context(|| format!("Logmill refuses\n{script}"))?;
    Ok(Pipeline { name, pipelines, runtime })
}

impl Pipeline {
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let pipeline = self.runtime.block_on(self.pipelines.describe(&self.name))?;
        if pipeline.state() == PipelineState::Failed {
            bail!("the pipeline failed: {}", pipeline.error);
        }
        if let Some(counters) = pipeline.counters.filter(|counters| counters.late + counters.rejected > 0) {
            bail!("{} records were late, {} were rejected", counters.late, counters.rejected);
        }
        Ok(())
    }

    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.runtime.block_on(self.pipelines.stop(&self.name))?;
        Ok(())
    }
}
