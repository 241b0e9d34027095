//! Apache Flink: jobs of its SQL in a cluster within one process, over topics of Apache Kafka.

use std::fs;
use std::net::SocketAddr;

use super::{Peers, java};
use crate::nexmark::queries::Query;
use crate::nexmark::tables;
use crate::nexmark::topics::Names;

pub(crate) const SOURCE: &str = "FlinkNexmark.java";
const MAIN: &str = "FlinkNexmark";

/// What is not Flink's default: checkpoints of every second to files, since the default keeps no more than 5 MB of state;
/// two subtasks for two partitions; UTC.
const OPTIONS: [&str; 5] = [
    "parallelism.default=2",
    "execution.checkpointing.interval=1s",
    "execution.checkpointing.storage=filesystem",
    "table.local-time-zone=UTC",
    "pipeline.name=nexmark",
];
/// As Flink's own scripts start it, and errors only in its log.
const MACHINE: [&str; 12] = [
    "-Dlog4j2.level=ERROR",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
    "--add-opens=java.base/java.text=ALL-UNNAMED",
    "--add-opens=java.base/java.time=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.locks=ALL-UNNAMED",
];

pub(crate) fn start(
    peers: &Peers,
    query: Query,
    names: &Names,
    broker: SocketAddr,
) -> anyhow::Result<java::Process> {
    let work = peers.work.path();
    let script = work.join(format!("{}.sql", names.prefix()));
    fs::write(&script, tables::flink(query, names, broker))?;
    let checkpoints = work.join(format!("{}-checkpoints", names.prefix()));
    let mut arguments = vec![script.display().to_string()];
    arguments.extend(OPTIONS.map(str::to_owned));
    arguments.push(format!("execution.checkpointing.dir=file://{}", checkpoints.display()));
    arguments.extend(peers.flink_options.iter().cloned());
    java::start(MAIN, &peers.flink, work, &MACHINE, &arguments, names.prefix())
}
