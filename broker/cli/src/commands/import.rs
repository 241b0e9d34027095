//! `logmill storage import`: partition directories from elsewhere become partitions here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use logmill_broker::offline::{self, Import as Wanted, ImportedPartition, ImportedTopic};
use serde_json::json;

use super::changes::key_value;
use super::config::DataSettings;
use crate::arguments::Output;
use crate::failure::Usage;
use crate::logging;
use crate::output::{self, note};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The broker of the data directory must be stopped, and so must be the one that the directories are from when they
are copied. They are only read. Every batch is checked before anything is changed; a damaged directory is refused
(`logmill storage verify` says what is wrong with it). Offsets, first offset, producers, aborted transactions and
leader epochs stay as they are. A topic that is not there is created, with partitions in between that are empty; an
empty partition is replaced, one that has records is refused. All directories of a topic are taken, or none.
Records of a producer whose id this broker has given to one of its own are refused: import before it serves producers.

Records may be old: a new topic keeps them for ever, unless --topic-config sets retention or cleanup.policy.

Examples:
  logmill storage import /backup/orders-0 /backup/orders-1 --data-dir data
  logmill storage import kafka-logs/accounts-* --data-dir data --topic-config cleanup.policy=compact")]
pub(crate) struct Import {
    /// Partition directories copied from Apache Kafka or from another Logmill, each named TOPIC-PARTITION.
    #[arg(required = true, value_name = "DIRECTORY")]
    directories: Vec<PathBuf>,
    #[command(flatten)]
    settings: DataSettings,
    /// A configuration for topics that are new, such as retention.ms=604800000. May be repeated.
    #[arg(long = "topic-config", value_name = "KEY=VALUE", value_parser = key_value)]
    topic_configs: Vec<(String, String)>,
    /// First offset that may be read. Without it, what the data directory around DIRECTORY says (Kafka's
    /// log-start-offset-checkpoint, Logmill's checkpoint), or else the first segment's.
    #[arg(long, value_name = "OFFSET")]
    start_offset: Option<i64>,
    /// Abort transactions that are open: whoever would end them does not come with the directory.
    #[arg(long)]
    abort_open_transactions: bool,
}

pub(crate) async fn run(command: Import, form: Output) -> anyhow::Result<ExitCode> {
    if command.start_offset.is_some() && command.directories.len() > 1 {
        return Err(Usage("--start-offset is for one directory".to_owned()).into());
    }
    logging::for_tools(0);
    let config = command.settings.load(None)?.config;
    let wanted = Wanted {
        directories: command.directories,
        topic_configs: command.topic_configs.into_iter().collect::<BTreeMap<_, _>>(),
        start_offset: command.start_offset,
        abort_open: command.abort_open_transactions,
    };
    let mut topics = Vec::new();
    let imported = offline::import(&config, wanted, |topic| topics.push(topic)).await;
    // What was taken is there, also when a later topic was refused.
    if imported.is_ok() || !topics.is_empty() {
        show(&topics, form)?;
    }
    imported?;
    Ok(ExitCode::SUCCESS)
}

fn show(topics: &[ImportedTopic], form: Output) -> anyhow::Result<()> {
    let partitions =
        || topics.iter().flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)));
    for (topic, partition) in partitions() {
        for (from, to) in &partition.gaps {
            note(format!(
                "note: {}-{} has no segment for the offsets {from} to {}: compacted away, or missing in the copy",
                topic.name,
                partition.index,
                to - 1
            ));
        }
    }
    match form {
        Output::Json => {
            let topics: Vec<_> = topics.iter().map(as_json).collect();
            output::json("storage import", json!({ "topics": topics }))?;
        }
        Output::Table => {
            let headings = ["partition", "segments", "bytes", "start", "end", "aborted", "topic"];
            let rows: Vec<Vec<String>> =
                partitions().map(|(topic, partition)| row(topic, partition)).collect();
            output::table(&headings, &rows)?;
        }
    }
    Ok(())
}

fn row(topic: &ImportedTopic, partition: &ImportedPartition) -> Vec<String> {
    vec![
        format!("{}-{}", topic.name, partition.index),
        partition.segments.to_string(),
        partition.bytes.to_string(),
        partition.start_offset.to_string(),
        partition.end_offset.to_string(),
        partition.aborted.to_string(),
        if topic.created { format!("new, {} partitions", topic.count) } else { "was there".to_owned() },
    ]
}

fn as_json(topic: &ImportedTopic) -> serde_json::Value {
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|partition| {
            json!({
                "partition": partition.index,
                "segments": partition.segments,
                "bytes": partition.bytes,
                "start_offset": partition.start_offset,
                "end_offset": partition.end_offset,
                "gaps": partition.gaps,
                "aborted_transactions": partition.aborted,
            })
        })
        .collect();
    json!({
        "name": topic.name,
        "created": topic.created,
        "partition_count": topic.count,
        "partitions": partitions,
    })
}
