//! The engines: each starts a query over the topics of a run, and says how it is.

pub(crate) mod flink;
pub(crate) mod java;
pub(crate) mod logmill;
pub(crate) mod spark;
pub(crate) mod streams;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::nexmark::queries::Query;
use crate::nexmark::topics::Names;
use crate::procfs;
use crate::server::Server;

/// Who runs a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    Logmill,
    Flink,
    Streams,
    Spark,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Logmill => "logmill",
            Self::Flink => "Apache Flink",
            Self::Streams => "Kafka Streams",
            Self::Spark => "Apache Spark",
        }
    }

    /// In names of topics.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::Logmill => "logmill",
            Self::Flink => "flink",
            Self::Streams => "streams",
            Self::Spark => "spark",
        }
    }

    /// Starts the query.
    pub(crate) fn start(
        self,
        peers: Option<&Peers>,
        query: Query,
        names: &Names,
        broker: &Server,
    ) -> anyhow::Result<Running> {
        let peers = || peers.ok_or_else(|| anyhow::anyhow!("{} is in --peers DIR", self.name()));
        match self {
            Self::Logmill => logmill::start(query, names, broker.address).map(Running::Logmill),
            Self::Flink => flink::start(peers()?, query, names, broker.address).map(Running::Java),
            Self::Streams => streams::start(peers()?, query, names, broker.address).map(Running::Java),
            Self::Spark => spark::start(peers()?, query, names, broker.address).map(Running::Java),
        }
    }

    /// The consumer group that shows how far it is.
    pub(crate) fn group(self, names: &Names) -> String {
        match self {
            Self::Logmill => format!("logmill.{}", names.group()),
            Self::Flink | Self::Streams | Self::Spark => names.group().to_owned(),
        }
    }
}

/// What `benches/peers/install` put there, and the programs that were compiled for it.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) kafka: PathBuf,
    pub(crate) flink: PathBuf,
    pub(crate) spark: PathBuf,
    /// Scripts, classes, states and logs of the engines.
    pub(crate) work: tempfile::TempDir,
    /// Options of Flink beside those that every run has.
    pub(crate) flink_options: Vec<String>,
    /// The same of Spark.
    pub(crate) spark_options: Vec<String>,
}

/// A query that runs.
pub(crate) enum Running {
    Logmill(logmill::Pipeline),
    Java(java::Process),
}

impl Running {
    /// # Errors
    /// It ended, or failed, with what it says about that.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Logmill(pipeline) => pipeline.check(),
            Self::Java(process) => process.check(),
        }
    }

    /// CPU time of the engine and the broker.
    pub(crate) fn cpu_time(&self, broker: &Server) -> anyhow::Result<Duration> {
        let own = match self {
            Self::Logmill(_) => Duration::ZERO,
            Self::Java(process) => procfs::cpu_time(process.pid())?,
        };
        Ok(own + broker.cpu_time()?)
    }

    /// The most memory that engine and broker had, in bytes.
    pub(crate) fn peak_memory(&self, broker: &Server) -> anyhow::Result<u64> {
        let own = match self {
            Self::Logmill(_) => 0,
            Self::Java(process) => procfs::memory(process.pid())?.1,
        };
        Ok(own + procfs::memory(broker.pid())?.1)
    }

    pub(crate) fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Logmill(pipeline) => pipeline.stop(),
            // It ends with its process.
            Self::Java(_) => Ok(()),
        }
    }
}
