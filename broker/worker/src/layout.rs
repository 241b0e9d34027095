//! How a pipeline lies on its cluster: which topics with how many partitions, and into which tasks it is divided.

use std::collections::BTreeMap;
use std::time::Duration;

use logmill_client::{Admin, Error, ErrorCode, NewTopic};
use logmill_stream::{Plan, TopicPartition};
use uuid::Uuid;

use crate::error::WorkerError;
use crate::names::Names;

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
        let mut outputs = BTreeMap::new();
        for sink in plan.sink_topics().into_iter().chain(plan.side_topics()) {
            if sources.contains_key(sink) {
                return Err(WorkerError::SinkIsSource { topic: sink.to_owned() });
            }
            // Rows bear the time of their events. Whoever computes the past wants to find it.
            let new = NewTopic::new(sink).config("retention.ms", "-1");
            outputs.insert(sink.to_owned(), ensure(admin, sink, &new).await?);
        }
        let tasks = division.tasks();
        for topic in [&names.changelog, &names.progress] {
            // The last state of each key, and never less: a task is restored from it.
            let new =
                NewTopic::new(topic).partitions(tasks.unsigned_abs()).config("cleanup.policy", "compact");
            let found = ensure(admin, topic, &new).await?;
            if found != tasks {
                return Err(WorkerError::OtherDivision { topic: topic.clone(), found, tasks });
            }
            check_compacted(admin, topic).await?;
        }
        Ok(Layout { sources, ids, outputs, division })
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

/// The number of partitions of a topic, which is made if there is none.
async fn ensure(admin: &Admin, topic: &str, new: &NewTopic) -> Result<i32, WorkerError> {
    let mut looks = 0;
    loop {
        match admin.describe_topic(topic).await {
            Ok(found) => return Ok(found.partitions.len() as i32),
            Err(Error::UnknownTopic { .. }) if looks < LOOKS => looks += 1,
            Err(error) => return Err(cluster(format!("looking at topic {topic}"))(error)),
        }
        match admin.create_topic(new).await {
            Ok(_) => {}
            // Another worker of the group was quicker; it may take a moment until every broker knows.
            Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(cluster(format!("creating topic {topic}"))(error)),
        }
    }
}

async fn check_compacted(admin: &Admin, topic: &str) -> Result<(), WorkerError> {
    let configs = admin.topic_configs(topic).await;
    let configs = configs.map_err(cluster(format!("looking at the configs of topic {topic}")))?;
    let policy = configs.iter().find(|config| config.name == "cleanup.policy");
    let found = policy.and_then(|config| config.value.clone()).unwrap_or_default();
    match found == "compact" {
        true => Ok(()),
        false => Err(WorkerError::NotCompacted { topic: topic.to_owned(), found }),
    }
}
