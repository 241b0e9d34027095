//! What every command has in common, and the list of commands.

use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::commands::{
    broker, config, consume, group, pipeline, produce, serve, sql, storage, topic, txn, worker,
};
use crate::demo;
use crate::logging;
use crate::security::Security;

/// Logmill: a log broker that speaks Kafka's protocol, with an exactly-once stream processor inside.
#[derive(Debug, Parser)]
#[command(name = "logmill", version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
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
  logmill pipeline deploy hourly.sql

Exit status: 0 done, 1 failed, 2 not understood.";

/// A command that talks to a broker.
#[derive(Debug, clap::Args)]
pub(crate) struct Client<T: clap::Args> {
    #[command(flatten)]
    pub(crate) command: T,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Several such commands under one name.
#[derive(Debug, clap::Args)]
pub(crate) struct Clients<T: Subcommand> {
    #[command(subcommand)]
    pub(crate) command: T,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Several commands that need no broker and show something.
#[derive(Debug, clap::Args)]
pub(crate) struct Shown<T: Subcommand> {
    #[command(subcommand)]
    pub(crate) command: T,
    /// How lists and descriptions are shown.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

/// The heading above what all such commands have, apart from what is their own.
pub(crate) const EVERYWHERE: &str = "Options of every command";

/// How to reach a cluster, and how to show what it answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Connection {
    /// Addresses of brokers, with commas between.
    #[arg(
        short = 'B',
        long,
        global = true,
        help_heading = EVERYWHERE,
        env = "LOGMILL_BOOTSTRAP",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9092"
    )]
    pub(crate) bootstrap: String,
    #[command(flatten)]
    pub(crate) security: Security,
    /// How lists and descriptions are shown.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    /// How long to try.
    #[arg(
        long,
        global = true,
        help_heading = EVERYWHERE,
        value_name = "TIME",
        default_value = "30s",
        value_parser = duration
    )]
    pub(crate) timeout: Duration,
    /// Say on standard error what is done; twice for more.
    #[arg(short, long, global = true, help_heading = EVERYWHERE, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Connection {
    /// The command begins: what it does is told on standard error, as far as that was asked for.
    pub(crate) fn begin(self) -> anyhow::Result<Self> {
        logging::for_tools(self.verbose);
        self.security.check()?;
        Ok(self)
    }

    /// Over Kafka's protocol.
    pub(crate) async fn client(&self) -> anyhow::Result<logmill_client::Client> {
        let asked = self.security.read()?;
        asked.tell_unheeded();
        let builder = asked.apply(logmill_client::Client::builder(&self.bootstrap));
        Ok(builder.connect_timeout(self.timeout.min(Duration::from_secs(10))).connect().await?)
    }

    /// Over our own, which needs no connection of Kafka's.
    pub(crate) fn pipelines(&self) -> anyhow::Result<logmill_client::Pipelines> {
        let builder = logmill_client::Client::builder(&self.bootstrap);
        Ok(self.security.read()?.apply(builder).pipelines())
    }

    pub(crate) async fn admin(&self) -> anyhow::Result<logmill_client::Admin> {
        Ok(self.client().await?.admin().timeout(self.timeout))
    }
}

impl Command {
    /// How its results are shown. Those of commands that have none, or a line for each, are no documents.
    pub(crate) fn form(&self) -> Output {
        match self {
            Command::Serve(_)
            | Command::Demo(_)
            | Command::Produce(_)
            | Command::Consume(_)
            | Command::Storage(Shown { command: storage::Storage::Dump(_), .. }) => Output::Table,
            Command::Broker(Clients { connection, .. }) => connection.output,
            Command::Topic(Clients { connection, .. }) => connection.output,
            Command::Group(Clients { connection, .. }) => connection.output,
            Command::Txn(Clients { connection, .. }) => connection.output,
            Command::Pipeline(Clients { connection, .. }) => connection.output,
            Command::Worker(Clients { connection, .. }) => connection.output,
            Command::Sql(Client { connection, .. }) => connection.output,
            Command::Storage(Shown { output, .. }) | Command::Config(Shown { output, .. }) => *output,
        }
    }
}

/// A time with its unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    logmill_config::parse_duration(text)
        .ok_or_else(|| "write a time with its unit, such as 250ms or 30s".to_owned())
}

/// Bytes with a unit, as in the configuration file.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size = logmill_config::parse_size(text).filter(|size| size.get() > 0);
    size.map(logmill_config::ByteSize::get)
        .ok_or_else(|| "a size with its unit (B, KiB, MiB, GiB, TiB), such as \"2 GiB\"".to_owned())
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
    /// Show a running broker's configs, features and disks, and change what can be changed.
    Broker(Clients<broker::Broker>),
    /// Create, list, describe, alter and delete topics.
    Topic(Clients<topic::Topic>),
    /// Send records, one per line of standard input.
    Produce(Client<produce::Produce>),
    /// Print the records of a topic.
    Consume(Client<consume::Consume>),
    /// List and describe consumer groups.
    Group(Clients<group::Group>),
    /// List, describe and abort transactions.
    Txn(Clients<txn::Txn>),
    /// Run, list, describe and stop stream pipelines.
    Pipeline(Clients<pipeline::Pipeline>),
    /// Run a stream pipeline outside of a broker, over any Kafka cluster.
    Worker(Clients<worker::Worker>),
    /// Ask for the rows of a table that a pipeline writes.
    Sql(Client<sql::Sql>),
    /// Look at, check and mend the files of a broker that is not running, ours or Apache Kafka's.
    Storage(Shown<storage::Storage>),
    /// Show the configuration a broker would have, and where each value comes from.
    Config(Shown<config::Config>),
}
