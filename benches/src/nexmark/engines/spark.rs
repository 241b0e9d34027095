//! Apache Spark: Structured Streaming in micro-batches within one process, over topics of Apache Kafka.
//!
//! At least once: its sink for Kafka has no transactions, so that rows of a batch that fails come again with the next
//! attempt, and are read before their batch is over. What the others pay for exactly-once, it does not.

use std::fs;
use std::net::SocketAddr;

use super::{Peers, java};
use crate::nexmark::queries::Query;
use crate::nexmark::tables;
use crate::nexmark::topics::Names;

pub(crate) const SOURCE: &str = "SparkNexmark.java";
const MAIN: &str = "SparkNexmark";

/// What is not Spark's default: two threads for two partitions, as many partitions of what is shuffled and of states, UTC, and
/// no port that others could reach.
const OPTIONS: [&str; 7] = [
    "spark.app.name=nexmark",
    "spark.master=local[2]",
    "spark.sql.shuffle.partitions=2",
    "spark.sql.session.timeZone=UTC",
    "spark.ui.enabled=false",
    "spark.driver.host=127.0.0.1",
    "spark.driver.bindAddress=127.0.0.1",
];
/// Records that a batch takes of a topic. By default it takes all there are, so that prefilled topics would be one batch, of
/// which nothing is known before its end.
const BATCH: u32 = 100_000;
/// As Spark's own scripts start it.
const MACHINE: [&str; 15] = [
    "-Djdk.reflect.useDirectMethodHandle=false",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.invoke=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.cs=ALL-UNNAMED",
    "--add-opens=java.base/sun.security.action=ALL-UNNAMED",
    "--add-opens=java.base/sun.util.calendar=ALL-UNNAMED",
];

pub(crate) fn start(
    peers: &Peers,
    query: Query,
    names: &Names,
    broker: SocketAddr,
) -> anyhow::Result<java::Process> {
    let work = peers.work.path();
    let script = work.join(format!("{}.sql", names.prefix()));
    fs::write(&script, query.spark())?;
    let directory = |what: &str| work.join(format!("{}-{what}", names.prefix())).display().to_string();
    let mut arguments = vec![script.display().to_string()];
    arguments.extend(OPTIONS.map(str::to_owned));
    arguments.push(format!("spark.local.dir={}", directory("local")));
    arguments.push(format!("spark.sql.warehouse.dir={}", directory("warehouse")));
    arguments.extend(tables::spark(query, names));
    arguments.push(format!("broker={broker}"));
    arguments.push(format!("batch={BATCH}"));
    arguments.push(format!("checkpoints={}", directory("checkpoints")));
    arguments.extend(peers.spark_options.iter().cloned());
    java::start(MAIN, &peers.spark, work, &MACHINE, &arguments, names.prefix())
}
