//! The topics of one run on one broker: made, asked about, deleted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use logmill_wire::messages::create_topics::CreatableTopic;
use logmill_wire::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use logmill_wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FindCoordinatorRequest, OffsetFetchRequest,
};
use logmill_wire::{ErrorCode, Str};

use crate::link::Link;
use crate::nexmark::queries::Table;

/// Of every topic.
pub(crate) const PARTITIONS: i32 = 2;

const CREATE_VERSION: i16 = 7;
const DELETE_VERSION: i16 = 5;
const OFFSETS_VERSION: i16 = 8;
const FIND_VERSION: i16 = 4;
const RETRY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);
/// A partition that was just made has a leader by then.
const SETTLES: Duration = Duration::from_secs(1);

/// The names of one run.
#[derive(Clone, Debug)]
pub(crate) struct Names(String);

impl Names {
    pub(crate) fn new(run: &str) -> Self {
        Self(format!("nexmark-{run}"))
    }

    /// What every name begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.0
    }

    pub(crate) fn source(&self, table: Table) -> String {
        format!("{}-{}", self.0, table.name())
    }

    pub(crate) fn output(&self) -> String {
        format!("{}-out", self.0)
    }

    /// The consumer group, and what a pipeline is called.
    pub(crate) fn group(&self) -> &str {
        &self.0
    }

    fn all(&self, tables: &[Table]) -> Vec<Str> {
        let sources = tables.iter().map(|table| self.source(*table));
        sources.chain([self.output()]).map(|name| Str::from(name.as_str())).collect()
    }
}

/// Makes the topics of these tables and of the output.
pub(crate) fn create(address: SocketAddr, names: &Names, tables: &[Table]) -> anyhow::Result<()> {
    let topic = |name| CreatableTopic {
        name,
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    let topics = names.all(tables).into_iter().map(topic).collect();
    let request = CreateTopicsRequest { topics, timeout_ms: 30_000, ..CreateTopicsRequest::default() };
    let response = Link::open(address)?.ask(&request, CREATE_VERSION)?;
    for topic in &response.topics {
        ensure!(topic.error_code == ErrorCode::NONE, "{}: {:?}", topic.name, topic.error_code);
    }
    std::thread::sleep(SETTLES);
    Ok(())
}

/// Deletes them, for the room they take.
pub(crate) fn delete(address: SocketAddr, names: &Names, tables: &[Table]) -> anyhow::Result<()> {
    let request = DeleteTopicsRequest {
        topic_names: names.all(tables),
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    Link::open(address)?.ask(&request, DELETE_VERSION)?;
    Ok(())
}

/// Asks how many records of some topics a group has done with.
pub(crate) struct Committed {
    link: Link,
    request: OffsetFetchRequest,
}

impl Committed {
    pub(crate) fn open(
        address: SocketAddr,
        group: &str,
        names: &Names,
        tables: &[Table],
    ) -> anyhow::Result<Self> {
        let topic = |table: &Table| OffsetFetchRequestTopics {
            name: names.source(*table).as_str().into(),
            partition_indexes: (0..PARTITIONS).collect(),
            ..OffsetFetchRequestTopics::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: Some(tables.iter().map(topic).collect()),
            ..OffsetFetchRequestGroup::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        let mut link = Link::open(address)?;
        link.introduce()?;
        let mut committed = Self { link, request };
        committed.await_coordinator()?;
        Ok(committed)
    }

    /// Apache Kafka makes the topic of the offsets when it is first asked where they are.
    fn await_coordinator(&mut self) -> anyhow::Result<()> {
        let coordinator_keys = self.request.groups.iter().map(|group| group.group_id.clone()).collect();
        let find = FindCoordinatorRequest { coordinator_keys, ..FindCoordinatorRequest::default() };
        let started = Instant::now();
        loop {
            let found = self.link.ask(&find, FIND_VERSION)?;
            let coordinator = found.coordinators.first().context("no coordinator in the answer")?;
            match coordinator.error_code {
                ErrorCode::NONE if self.ask()?.is_some() => return Ok(()),
                _ if started.elapsed() < PATIENCE => std::thread::sleep(RETRY),
                code => bail!("there is no coordinator after {PATIENCE:?}: {code:?}"),
            }
        }
    }

    /// The sum of the committed offsets; topics begin at 0.
    pub(crate) fn records(&mut self) -> anyhow::Result<u64> {
        self.ask()?.context("the coordinator went away")
    }

    /// `None` while the coordinator is not there.
    fn ask(&mut self) -> anyhow::Result<Option<u64>> {
        let response = self.link.ask(&self.request, OFFSETS_VERSION)?;
        let group = response.groups.first().context("an OffsetFetch response without its group")?;
        match group.error_code {
            ErrorCode::NONE => {
                let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
                Ok(Some(partitions.map(|partition| partition.committed_offset.max(0).unsigned_abs()).sum()))
            }
            // Nothing was committed.
            ErrorCode::GROUP_ID_NOT_FOUND => Ok(Some(0)),
            ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => Ok(None),
            code => bail!("the offsets of {}: {code:?}", group.group_id),
        }
    }
}
