//! `logmill txn`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use logmill_client::{Admin, ProducerDescription, TransactionDescription};
use serde_json::{Value, json};

use crate::arguments::{Connection, Output, duration};
use crate::confirm::confirm;
use crate::output::{self, note, or_dash};

/// The state of a transaction that is open.
const OPEN: &str = "Ongoing";

#[derive(Debug, Subcommand)]
pub(crate) enum Txn {
    /// List transactional ids and the states of their transactions.
    List(List),
    /// Show the transaction of an id: its producer, how long it is open, and where it has written to.
    Describe(Describe),
    /// Show the producers of a partition, and where their open transactions begin.
    Producers(Producers),
    /// Abort an open transaction, so that readers of committed records go on.
    ///
    /// By its id: its producer is fenced as well, and must be started again. By the place where it begins: in that
    /// partition alone, for one that hangs there and that no coordinator knows of any more.
    Abort(Abort),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// A state, such as Ongoing or CompleteCommit; all of them if not given. May be repeated.
    #[arg(short, long = "state")]
    states: Vec<String>,
    /// Transactions that are open for longer than this.
    #[arg(short, long, value_name = "TIME", value_parser = duration)]
    longer_than: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Describe {
    /// The transactional id.
    id: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Producers {
    /// Name of the topic.
    topic: String,
    /// The partition.
    #[arg(short, long, value_name = "NUMBER", default_value_t = 0)]
    partition: i32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Abort {
    /// The transactional id.
    #[arg(required_unless_present = "topic")]
    id: Option<String>,
    /// Name of the topic in which a transaction hangs.
    #[arg(long, conflicts_with = "id", requires = "start_offset")]
    topic: Option<String>,
    /// The partition in which it hangs.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "topic")]
    partition: i32,
    /// Where it begins there, as `logmill txn producers` shows it.
    #[arg(long, value_name = "OFFSET", requires = "topic")]
    start_offset: Option<i64>,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

pub(crate) async fn run(command: Txn, connection: &Connection) -> anyhow::Result<()> {
    let admin = connection.admin().await?;
    match command {
        Txn::List(command) => list(&admin, &command, connection.output).await,
        Txn::Describe(Describe { id }) => describe(&admin, &id, connection.output).await,
        Txn::Producers(Producers { topic, partition }) => {
            producers(&admin, &topic, partition, connection.output).await
        }
        Txn::Abort(command) => abort(&admin, command).await,
    }
}

async fn list(admin: &Admin, command: &List, form: Output) -> anyhow::Result<()> {
    let states: Vec<&str> = command.states.iter().map(String::as_str).collect();
    let listed = admin.list_transactions(&states, command.longer_than).await?;
    match form {
        Output::Json => {
            let transactions: Vec<Value> = listed
                .iter()
                .map(|l| json!({ "id": l.transactional_id, "producer": l.producer_id, "state": l.state }))
                .collect();
            output::json("txn list", json!({ "transactions": transactions }))?;
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = listed
                .into_iter()
                .map(|listing| vec![listing.transactional_id, listing.producer_id.to_string(), listing.state])
                .collect();
            output::table(&["id", "producer", "state"], &rows)?;
        }
    }
    Ok(())
}

/// Milliseconds since then.
fn age(since_ms: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(now.as_millis()).unwrap_or(i64::MAX) - since_ms).max(0)
}

async fn describe(admin: &Admin, id: &str, form: Output) -> anyhow::Result<()> {
    let described = admin.describe_transaction(id).await?;
    let mut starts: BTreeMap<(&str, i32), Option<i64>> = BTreeMap::new();
    for (topic, partition) in &described.partitions {
        let producers = admin.describe_producers(topic, *partition).await?;
        let ours = producers.iter().find(|producer| producer.producer_id == described.producer_id);
        starts.insert((topic, *partition), ours.and_then(|producer| producer.transaction_start));
    }
    match form {
        Output::Json => output::json("txn describe", as_json(&described, &starts))?,
        Output::Table => {
            let open = described.started.filter(|_| described.state == OPEN);
            output::lines([
                format!(
                    "id {}  state {}  producer {}  epoch {}  open {}  timeout {} ms",
                    described.transactional_id,
                    described.state,
                    described.producer_id,
                    described.producer_epoch,
                    open.map_or_else(|| "-".to_owned(), |started| format!("{} ms", age(started))),
                    described.timeout.as_millis(),
                ),
                String::new(),
            ])?;
            let rows: Vec<Vec<String>> = starts
                .iter()
                .map(|((topic, partition), start)| {
                    vec![(*topic).to_owned(), partition.to_string(), or_dash(*start)]
                })
                .collect();
            output::table(&["topic", "partition", "start"], &rows)?;
        }
    }
    Ok(())
}

fn as_json(described: &TransactionDescription, starts: &BTreeMap<(&str, i32), Option<i64>>) -> Value {
    let partitions: Vec<Value> = starts
        .iter()
        .map(|((topic, partition), start)| json!({ "topic": topic, "partition": partition, "start": start }))
        .collect();
    json!({
        "id": described.transactional_id,
        "state": described.state,
        "producer": described.producer_id,
        "epoch": described.producer_epoch,
        "timeout_ms": u64::try_from(described.timeout.as_millis()).unwrap_or(u64::MAX),
        "started_ms": described.started,
        "partitions": partitions,
    })
}

async fn producers(admin: &Admin, topic: &str, partition: i32, form: Output) -> anyhow::Result<()> {
    let producers = admin.describe_producers(topic, partition).await?;
    match form {
        Output::Json => {
            let as_json = |producer: &ProducerDescription| {
                json!({
                    "producer": producer.producer_id,
                    "epoch": producer.producer_epoch,
                    "last_sequence": producer.last_sequence,
                    "last_timestamp_ms": producer.last_timestamp,
                    "coordinator_epoch": producer.coordinator_epoch,
                    "transaction_start": producer.transaction_start,
                })
            };
            let producers: Vec<Value> = producers.iter().map(as_json).collect();
            output::json("txn producers", json!({ "producers": producers }))?;
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = producers
                .iter()
                .map(|producer| {
                    vec![
                        producer.producer_id.to_string(),
                        producer.producer_epoch.to_string(),
                        or_dash(producer.last_sequence),
                        or_dash(producer.last_timestamp),
                        or_dash(producer.coordinator_epoch),
                        or_dash(producer.transaction_start),
                    ]
                })
                .collect();
            let headings = ["producer", "epoch", "last sequence", "last timestamp", "coordinator", "start"];
            output::table(&headings, &rows)?;
        }
    }
    Ok(())
}

async fn abort(admin: &Admin, command: Abort) -> anyhow::Result<()> {
    if let (Some(topic), Some(offset)) = (&command.topic, command.start_offset) {
        let what = format!("the transaction that begins at offset {offset} of {topic}-{}", command.partition);
        if !command.yes {
            confirm(&format!("Aborting {what}"))?;
        }
        admin.abort_transaction(topic, command.partition, offset).await?;
        note(format!("aborted {what}"));
        return Ok(());
    }
    let id = command.id.unwrap_or_default();
    let described = admin.describe_transaction(&id).await?;
    if described.state != OPEN {
        anyhow::bail!("{id} has no open transaction; its state is {}", described.state);
    }
    if !command.yes {
        confirm(&format!("Aborting the transaction of {id}"))?;
    }
    admin.fence_producer(&id).await?;
    note(format!("aborted the transaction of {id}; its producer is fenced"));
    Ok(())
}
