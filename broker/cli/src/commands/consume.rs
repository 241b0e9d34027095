//! `logmill consume`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use clap::ValueEnum;
use logmill_client::{Admin, Client, Consumer, Isolation, StartAt};

use super::format::{self, Format};
use super::serve::stop_signal;
use crate::arguments::{Connection, Output};
use crate::failure::Usage;
use crate::output::note;

/// Print the records of a topic. Without a group it reads all partitions and commits nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  logmill consume orders --exit                           everything, then end
  logmill consume orders --offset end                     what comes from now on
  logmill consume orders --offset -10 --exit              the last ten of each partition
  logmill consume orders --format '%p %o %k %v\\n' --exit
  logmill consume orders --group billing                  share the partitions, go on where the group was")]
pub(crate) struct Consume {
    /// Name of the topic.
    topic: String,
    /// Only these partitions. May be repeated.
    #[arg(short, long = "partition", value_name = "N", conflicts_with = "group")]
    partitions: Vec<i32>,
    /// Where to begin: start, end, an offset, -N for the last N of each partition, or @MS for a time in
    /// milliseconds since the epoch. In a group: where to begin without a committed offset (start or end).
    #[arg(short = 'O', long, value_name = "WHERE", default_value = "start", allow_hyphen_values = true)]
    offset: Where,
    /// Read as a member of this group, and commit.
    #[arg(short, long)]
    group: Option<String>,
    /// Which records are seen.
    #[arg(short, long, value_enum, default_value_t = Isolate::Committed)]
    isolation: Isolate,
    /// End after so many records.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// End when every record that is there now has been read.
    #[arg(short, long)]
    exit: bool,
    #[arg(short, long, value_name = "FORMAT", help = format::HELP)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Isolate {
    /// Records outside transactions and of committed ones.
    Committed,
    /// Every record.
    Uncommitted,
}

impl From<Isolate> for Isolation {
    fn from(isolate: Isolate) -> Self {
        match isolate {
            Isolate::Committed => Self::Committed,
            Isolate::Uncommitted => Self::Uncommitted,
        }
    }
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    At(StartAt),
    Last(i64),
}

impl std::str::FromStr for Where {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write start, end, an offset, -N or @MS".to_owned();
        match text {
            "start" => return Ok(Self::At(StartAt::Earliest)),
            "end" => return Ok(Self::At(StartAt::Latest)),
            _ => {}
        }
        if let Some(time) = text.strip_prefix('@') {
            return time.parse().map(|time| Self::At(StartAt::Timestamp(time))).map_err(|_| wrong());
        }
        match text.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(Self::At(StartAt::Offset(number))),
            Ok(number) => Ok(Self::Last(number.saturating_neg())),
            Err(_) => Err(wrong()),
        }
    }
}

/// How often to look whether everything has been read, while nothing comes.
const LOOK: Duration = Duration::from_millis(100);
/// Records printed at a time.
const BATCH: usize = 1000;

pub(crate) async fn run(command: Consume, connection: &Connection) -> anyhow::Result<()> {
    let client = connection.client().await?;
    let admin = client.admin().timeout(connection.timeout);
    let ends = if command.exit { Some(ends(&admin, &command).await?) } else { None };
    let mut consumer = start(&client, &admin, &command).await?;
    let default = if connection.output == Output::Json { Format::Json } else { Format::Value };
    let format = command.format.clone().unwrap_or(default);
    let stop = stop_signal()?;
    let printed = tokio::select! {
        printed = print(&mut consumer, &command, &format, ends.as_ref()) => printed,
        () = stop => Ok(()),
    };
    consumer.close().await;
    printed
}

async fn start(client: &Client, admin: &Admin, command: &Consume) -> anyhow::Result<Consumer> {
    if let Some(group) = &command.group {
        let reset = match command.offset {
            Where::At(StartAt::Earliest) => logmill_client::Reset::Earliest,
            Where::At(StartAt::Latest) => logmill_client::Reset::Latest,
            _ => return Err(Usage("in a group --offset is start or end".to_owned()).into()),
        };
        let consumer = client
            .consumer(group)
            .topic(&command.topic)
            .isolation(command.isolation.into())
            .reset(reset)
            .auto_commit(Duration::from_secs(1));
        return Ok(consumer.build()?);
    }
    let mut reader = client.reader().isolation(command.isolation.into());
    for partition in partitions(admin, command).await? {
        let start = match command.offset {
            Where::At(start) => start,
            Where::Last(count) => {
                let offsets = admin.offsets(&command.topic, partition, command.isolation.into()).await?;
                StartAt::Offset((offsets.end - count).max(offsets.start))
            }
        };
        reader = reader.partition(&command.topic, partition, start);
    }
    Ok(reader.build().await?)
}

async fn partitions(admin: &Admin, command: &Consume) -> anyhow::Result<Vec<i32>> {
    if !command.partitions.is_empty() {
        return Ok(command.partitions.clone());
    }
    let topic = admin.describe_topic(&command.topic).await?;
    Ok(topic.partitions.iter().map(|partition| partition.index).collect())
}

async fn ends(admin: &Admin, command: &Consume) -> anyhow::Result<BTreeMap<i32, i64>> {
    let mut ends = BTreeMap::new();
    for partition in partitions(admin, command).await? {
        let offsets = admin.offsets(&command.topic, partition, command.isolation.into()).await?;
        ends.insert(partition, offsets.end);
    }
    Ok(ends)
}

async fn print(
    consumer: &mut Consumer,
    command: &Consume,
    format: &Format,
    ends: Option<&BTreeMap<i32, i64>>,
) -> anyhow::Result<()> {
    let mut left = command.count.unwrap_or(u64::MAX);
    let mut printed = 0_u64;
    let mut out = Vec::new();
    while left > 0 && !ends.is_some_and(|ends| all_read(consumer, &command.topic, ends)) {
        let max = usize::try_from(left).unwrap_or(usize::MAX).min(BATCH);
        let Ok(records) = tokio::time::timeout(LOOK, consumer.next_batch(max)).await else { continue };
        for record in records? {
            let beyond = |end: &i64| record.offset >= *end;
            if ends.and_then(|ends| ends.get(&record.partition)).is_some_and(beyond) {
                continue;
            }
            format.write(&record, &mut out);
            left -= 1;
            printed += 1;
        }
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&out)?;
        stdout.flush()?;
        out.clear();
    }
    if command.count.is_some_and(|count| printed < count) {
        note(format!("{printed} records, then the end"));
    }
    Ok(())
}

/// Whether the consumer is at or past the given ends: in all of these partitions, or, in a group, in its share of them.
fn all_read(consumer: &Consumer, topic: &str, ends: &BTreeMap<i32, i64>) -> bool {
    let at_end = |partition: i32, end: i64| {
        consumer.position(topic, partition).is_some_and(|position| position >= end)
    };
    let membership = consumer.membership();
    if membership.group.is_empty() {
        return ends.iter().all(|(partition, end)| at_end(*partition, *end));
    }
    let share = consumer.assignment();
    let read =
        share.iter().all(|(_, partition)| at_end(*partition, ends.get(partition).copied().unwrap_or(0)));
    // Without a share in this generation there is nothing to read; between two nobody knows.
    read && membership.generation >= 0 && consumer.membership() == membership
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin_is_understood() {
        let parsed = |text: &str| text.parse::<Where>();
        assert_eq!(parsed("start"), Ok(Where::At(StartAt::Earliest)));
        assert_eq!(parsed("end"), Ok(Where::At(StartAt::Latest)));
        assert_eq!(parsed("42"), Ok(Where::At(StartAt::Offset(42))));
        assert_eq!(parsed("-10"), Ok(Where::Last(10)));
        assert_eq!(parsed("@1700000000000"), Ok(Where::At(StartAt::Timestamp(1_700_000_000_000))));
        for wrong in ["", "begin", "@", "1.5", "--3"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
