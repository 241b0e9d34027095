//! How a pipeline lies on its cluster: which topics with how many partitions, and into which tasks it is divided.

use std::collections::BTreeMap;
use std::time::Duration;

use logmill_client::{Admin, Error, ErrorCode, NewTopic, TopicDescription};
use logmill_stream::{Plan, TopicPartition};
use uuid::Uuid;

use crate::error::{TIME_AHEAD, WorkerError};
use crate::names::Names;

/// The changelog's segments, in bytes: the one that is written to is never compacted, and a task without a snapshot reads all
/// of it.
const CHANGELOG_SEGMENT: u64 = 64 << 20;

/// The largest batch of the changelog, in bytes: as much as the client sends at once. State of one key may be more than a topic
/// takes by default.
const CHANGELOG_BATCH: u64 = 8 << 20;

/// For how long deletions stay where a cluster does not say it: what Apache Kafka does.
const DELETIONS_STAY: Duration = Duration::from_secs(24 * 3600);

/// How often a topic that is being made is looked for.
const LOOKS: u32 = 50;

/// Into which tasks a pipeline is divided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Division {
    /// One task for each partition number of the sources.
    ByPartition {
        /// How many.
        tasks: i32,
    },
    /// One task with everything.
    Whole {
        /// Why it cannot be divided.
        why: String,
    },
}

impl Division {
    /// How many tasks there are.
    pub fn tasks(&self) -> i32 {
        match self {
            Division::ByPartition { tasks } => *tasks,
            Division::Whole { .. } => 1,
        }
    }
}

/// Topics with their partitions, and the tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Source topics with their numbers of partitions.
    pub(crate) sources: BTreeMap<String, i32>,
    /// The ids of source topics, where the cluster has any: another topic of the name is not gone on with.
    pub(crate) ids: BTreeMap<String, Uuid>,
    /// The topics it writes.
    pub(crate) outputs: BTreeMap<String, i32>,
    /// The tasks.
    pub(crate) division: Division,
    /// What tells the changelog's topic from another one of its name.
    pub(crate) changelog_id: String,
    /// For how long a deletion stays in the changelog at least.
    pub(crate) deletions_stay: Duration,
}

impl Layout {
    /// Looks at the sources, makes the topics that are missing, and divides the pipeline.
    pub(crate) async fn prepare(
        admin: &Admin,
        plan: &Plan,
        names: &Names,
        partitioned: bool,
    ) -> Result<Layout, WorkerError> {
        let (sources, ids) = sources(admin, plan).await?;
        let division = divide(plan, &sources, partitioned)?;
        let started = started_with(admin, &names.changelog).await?;
        let division = as_started(division, started, partitioned);
        let mut outputs = BTreeMap::new();
        for sink in plan.sink_topics().into_iter().chain(plan.side_topics()) {
            if sources.contains_key(sink) {
                return Err(WorkerError::SinkIsSource { topic: sink.to_owned() });
            }
            let made = ensure(admin, sink, &new_output(plan, sink)).await?;
            outputs.insert(sink.to_owned(), partitions_of(&made));
        }
        let tasks = division.tasks();
        // The last state of each key, and never less: a task is restored from it.
        let own = |topic: &str| {
            NewTopic::new(topic).partitions(tasks.unsigned_abs()).config("cleanup.policy", "compact")
        };
        let changelog = own(&names.changelog)
            .config("segment.bytes", CHANGELOG_SEGMENT.to_string())
            .config("max.message.bytes", CHANGELOG_BATCH.to_string());
        let (id, deletions_stay) = compacted(admin, &names.changelog, &changelog, tasks).await?;
        compacted(admin, &names.progress, &own(&names.progress), tasks).await?;
        let changelog_id = if id.is_nil() { names.changelog.clone() } else { id.to_string() };
        Ok(Layout { sources, ids, outputs, division, changelog_id, deletions_stay })
    }

    /// The partitions a task reads.
    pub(crate) fn inputs(&self, task: i32) -> Vec<TopicPartition> {
        let of = |(topic, count): (&String, &i32)| {
            let range = match self.division {
                Division::ByPartition { .. } => task..task + 1,
                Division::Whole { .. } => 0..*count,
            };
            let topic = topic.clone();
            range.map(move |partition| TopicPartition::new(topic.clone(), partition)).collect::<Vec<_>>()
        };
        self.sources.iter().flat_map(of).collect()
    }

    /// The tasks of who has these partitions. The whole pipeline goes with the first of all.
    pub(crate) fn tasks_of(&self, assigned: impl Fn(&str, i32) -> bool) -> Vec<i32> {
        match self.division {
            Division::ByPartition { tasks } => {
                (0..tasks).filter(|task| self.sources.keys().all(|topic| assigned(topic, *task))).collect()
            }
            Division::Whole { .. } => {
                self.sources.keys().next().into_iter().filter(|topic| assigned(topic, 0)).map(|_| 0).collect()
            }
        }
    }
}

fn cluster(what: impl Into<String>) -> impl FnOnce(Error) -> WorkerError {
    let what = what.into();
    move |source| WorkerError::Cluster { what, source }
}

/// The source topics with their numbers of partitions, and their ids.
async fn sources(
    admin: &Admin,
    plan: &Plan,
) -> Result<(BTreeMap<String, i32>, BTreeMap<String, Uuid>), WorkerError> {
    let (mut sources, mut ids) = (BTreeMap::new(), BTreeMap::new());
    for topic in plan.source_topics() {
        let found = admin.describe_topic(topic).await.map_err(|error| match error {
            Error::UnknownTopic { topic } => WorkerError::NoSource { topic },
            other => cluster("looking at the sources")(other),
        })?;
        sources.insert(topic.to_owned(), found.partitions.len() as i32);
        if !found.id.is_nil() {
            ids.insert(topic.to_owned(), found.id);
        }
    }
    Ok((sources, ids))
}

fn divide(plan: &Plan, sources: &BTreeMap<String, i32>, partitioned: bool) -> Result<Division, WorkerError> {
    let mut counts = sources.values();
    let tasks = counts.next().copied().unwrap_or(1);
    let refused = if counts.all(|count| *count == tasks) {
        match plan.check_partitioned() {
            Ok(()) => return Ok(Division::ByPartition { tasks }),
            Err(error) => WorkerError::from(error),
        }
    } else {
        let counts = sources.iter().map(|(topic, count)| format!("{topic} {count}"));
        WorkerError::PartitionsDiffer { counts: counts.collect::<Vec<_>>().join(", ") }
    };
    match partitioned {
        true => Err(refused),
        false => Ok(Division::Whole { why: refused.to_string() }),
    }
}

/// With how many tasks the pipeline was started, where it was.
async fn started_with(admin: &Admin, changelog: &str) -> Result<Option<i32>, WorkerError> {
    match admin.describe_topic(changelog).await {
        Ok(found) => Ok(Some(partitions_of(&found))),
        Err(Error::UnknownTopic { .. }) => Ok(None),
        Err(error) => Err(cluster(format!("looking at topic {changelog}"))(error)),
    }
}

/// A pipeline that runs as one task stays one, also where it could be divided by now: all of its state is there.
fn as_started(division: Division, started: Option<i32>, partitioned: bool) -> Division {
    match division {
        Division::ByPartition { tasks } if tasks > 1 && started == Some(1) && !partitioned => {
            Division::Whole { why: "it was started as one task".to_owned() }
        }
        division => division,
    }
}

/// A topic that it writes, as it is to be made, and as older clusters take it.
fn new_output(plan: &Plan, topic: &str) -> [NewTopic; 2] {
    // Rows bear the time of their events. Whoever computes the past wants to find it.
    let mut new = NewTopic::new(topic).config("retention.ms", "-1");
    if plan.holds_last_rows(topic) {
        new = new.config("cleanup.policy", "compact");
    }
    // A row of a window bears its end, which may be hours ahead. Before Kafka 3.6 nothing refuses that, and nobody knows
    // the config.
    [new.clone().config(TIME_AHEAD, i64::MAX.to_string()), new]
}

fn partitions_of(topic: &TopicDescription) -> i32 {
    topic.partitions.len() as i32
}

/// A topic, which is made if there is none: in the first of these ways whose configs the cluster knows.
async fn ensure(admin: &Admin, topic: &str, ways: &[NewTopic]) -> Result<TopicDescription, WorkerError> {
    let (mut looks, mut way) = (0, 0);
    loop {
        match admin.describe_topic(topic).await {
            Ok(found) => return Ok(found),
            Err(Error::UnknownTopic { .. }) if looks < LOOKS => looks += 1,
            Err(error) => return Err(cluster(format!("looking at topic {topic}"))(error)),
        }
        match admin.create_topic(&ways[way]).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(ErrorCode::INVALID_CONFIG) && way + 1 < ways.len() => way += 1,
            // Another worker of the group was quicker; it may take a moment until every broker knows.
            Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(cluster(format!("creating topic {topic}"))(error)),
        }
    }
}

/// A topic of the pipeline's own, which is made if there is none: its id, and for how long deletions stay in it.
async fn compacted(
    admin: &Admin,
    topic: &str,
    new: &NewTopic,
    tasks: i32,
) -> Result<(Uuid, Duration), WorkerError> {
    let made = ensure(admin, topic, std::slice::from_ref(new)).await?;
    let found = partitions_of(&made);
    if found != tasks {
        return Err(WorkerError::OtherDivision { topic: topic.to_owned(), found, tasks });
    }
    let configs = admin.topic_configs(topic).await;
    let configs = configs.map_err(cluster(format!("looking at the configs of topic {topic}")))?;
    let value = |name: &str| configs.iter().find(|config| config.name == name)?.value.as_deref();
    let policy = value("cleanup.policy").unwrap_or_default();
    if policy != "compact" {
        return Err(WorkerError::NotCompacted { topic: topic.to_owned(), found: policy.to_owned() });
    }
    let stay = value("delete.retention.ms").and_then(|ms| ms.parse().ok());
    Ok((made.id, stay.map_or(DELETIONS_STAY, Duration::from_millis)))
}

#[cfg(test)]
mod tests {
    use logmill_stream::compile;

    use super::*;

    #[test]
    fn a_pipeline_that_was_started_as_one_task_stays_one() {
        let parted = |tasks: i32| Division::ByPartition { tasks };
        let whole = |why: &str| Division::Whole { why: why.to_owned() };
        assert_eq!(as_started(parted(2), Some(1), false), whole("it was started as one task"));
        for (started, partitioned) in [(None, false), (Some(2), false), (Some(1), true)] {
            assert_eq!(as_started(parted(2), started, partitioned), parted(2));
        }
        assert_eq!(as_started(parted(1), Some(1), false), parted(1));
        assert_eq!(as_started(whole("of sizes"), Some(1), false), whole("of sizes"));
    }

    #[test]
    fn outputs_take_rows_of_any_time_and_only_those_of_last_rows_are_compacted() {
        let plan = compile(
            "CREATE TABLE t (n BIGINT) WITH ('topic' = 't', 'format' = 'json', 'on-error' = 'dlq', 'dlq-topic' = 'dead');
             CREATE TABLE o (n BIGINT) WITH ('topic' = 'all', 'format' = 'json');
             CREATE TABLE u (n BIGINT, c BIGINT) WITH ('topic' = 'last', 'format' = 'json', 'output' = 'upsert');
             INSERT INTO o SELECT n FROM t;
             INSERT INTO u SELECT n, COUNT(*) FROM t GROUP BY n UNBOUNDED;",
        )
        .expect("a plan");
        let kept = |topic: &str| NewTopic::new(topic).config("retention.ms", "-1");
        let last = || kept("last").config("cleanup.policy", "compact");
        for (topic, new) in [("all", kept("all")), ("dead", kept("dead")), ("last", last())] {
            let any_time = new.clone().config("message.timestamp.after.max.ms", "9223372036854775807");
            assert_eq!(new_output(&plan, topic), [any_time, new]);
        }
    }
}
