//! What every command has in common, and the list of commands.

use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use logmill_client::Client;

use crate::commands::{config, consume, group, pipeline, produce, serve, storage, topic};
use crate::demo;

/// Logmill: a log broker that speaks Kafka's protocol, with an exactly-once stream processor inside.
#[derive(Debug, Parser)]
#[command(name = "logmill", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  logmill demo                                     see it work on a month of real flights
  logmill serve --data-dir ./data                  start a broker
  logmill topic create orders --partitions 3
  echo 'hello' | logmill produce orders
  logmill consume orders --exit
  logmill pipeline run hourly.sql

Exit status: 0 done, 1 failed, 2 not understood.";

/// How to reach a cluster, and how to show what it answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    /// Addresses of brokers, with commas between.
    #[arg(
        short = 'B',
        long,
        global = true,
        env = "LOGMILL_BOOTSTRAP",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092"
    )]
    pub(crate) bootstrap: String,
    /// How lists and descriptions are shown.
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// How long to try.
    #[arg(long, global = true, value_name = "TIME", default_value = "30 s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Say on standard error what is done; twice for more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Connection {
    pub(crate) async fn client(&self) -> logmill_client::Result<Client> {
        Client::builder(&self.bootstrap)
            .connect_timeout(self.timeout.min(Duration::from_secs(10)))
            .connect()
            .await
    }

    pub(crate) async fn admin(&self) -> logmill_client::Result<logmill_client::Admin> {
        Ok(self.client().await?.admin().timeout(self.timeout))
    }
}

/// A time with its unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    logmill_config::parse_duration(text)
        .ok_or_else(|| "write a time with its unit, such as 250ms or 30s".to_owned())
}

/// The form of results on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// One JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a broker.
    Serve(serve::Serve),
    /// Watch a broker load real flights and report on them exactly once.
    Demo(demo::Demo),
    /// Create, list, describe and delete topics.
    #[command(subcommand)]
    Topic(topic::Topic),
    /// Send records, one per line of standard input.
    Produce(produce::Produce),
    /// Print the records of a topic.
    Consume(consume::Consume),
    /// List and describe consumer groups.
    #[command(subcommand)]
    Group(group::Group),
    /// Run, list, describe and stop stream pipelines.
    #[command(subcommand)]
    Pipeline(pipeline::Pipeline),
    /// Look at, check and mend the files of a broker that is not running, ours or Apache Kafka's.
    #[command(subcommand)]
    Storage(storage::Storage),
    /// Show the configuration a broker would have, and where each value comes from.
    #[command(subcommand)]
    Config(config::Config),
}
