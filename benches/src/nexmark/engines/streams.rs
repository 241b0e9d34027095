//! Kafka Streams: a program of its DSL, over topics of Apache Kafka.

use std::net::SocketAddr;

use super::{Peers, java};
use crate::nexmark::queries::Query;
use crate::nexmark::topics::Names;

pub(crate) const SOURCE: &str = "StreamsNexmark.java";
const MAIN: &str = "StreamsNexmark";

/// What is not Kafka Streams' default: exactly-once, from the beginning, two threads for two partitions.
const OPTIONS: [&str; 3] =
    ["processing.guarantee=exactly_once_v2", "auto.offset.reset=earliest", "num.stream.threads=2"];

pub(crate) fn start(
    peers: &Peers,
    query: Query,
    names: &Names,
    broker: SocketAddr,
) -> anyhow::Result<java::Process> {
    let work = peers.work.path();
    let mut arguments = vec![query.name().to_owned(), names.prefix().to_owned(), names.output()];
    arguments.extend(OPTIONS.map(str::to_owned));
    arguments.push(format!("bootstrap.servers={broker}"));
    arguments.push(format!("application.id={}", names.group()));
    arguments.push(format!("state.dir={}", work.join("state").display()));
    let machine = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error"];
    java::start(MAIN, &peers.kafka, work, &machine, &arguments, names.prefix())
}
