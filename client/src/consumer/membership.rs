//! A member's life in a group of the classic protocol.
//!
//! ```text
//!          ┌────────────── rebalance, lost membership ──────────────┐
//!          ▼                                                        │
//! find coordinator ─► join ─► (leader: share out) ─► sync ─► read, heartbeat, commit ─► leave
//! ```
//!
//! Partitions are given back before every join (the eager protocol): when another member gets one, nobody
//! else has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use logmill_wire::messages::heartbeat::HeartbeatRequest;
use logmill_wire::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use logmill_wire::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use logmill_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use logmill_wire::{ErrorCode, Str};
use tokio::sync::watch;
use tokio::time::Instant;

use super::assigned::{Key, Start};
use super::assignor::{Assignor, GroupMember};
use super::offsets::{Committer, committed_by};
use super::{Shared, protocol};
use crate::admin::groups::committed_offsets;
use crate::cluster::{Ask, Coordinated, Lane, To};
use crate::error::{Error, Result};
use crate::transport::backoff::{Deadline, pause};

/// How a member behaves in its group.
#[derive(Debug, Clone)]
pub(crate) struct GroupSettings {
    pub(crate) group: String,
    pub(crate) topics: BTreeSet<String>,
    pub(crate) instance_id: Option<String>,
    pub(crate) assignors: Vec<Assignor>,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) auto_commit: Option<Duration>,
    /// Whether it reads what it is assigned.
    pub(crate) reads: bool,
}

/// Who a member is in a generation of its group; fences what it writes (KIP-447).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMembership {
    /// The group's id.
    pub group: String,
    /// The generation; -1 outside one.
    pub generation: i32,
    /// The id the coordinator gave the member; empty outside a generation.
    pub member_id: String,
    /// The id its operator gave it.
    pub instance_id: Option<String>,
}

/// The task that keeps a consumer in its group.
pub(crate) struct Membership {
    shared: Arc<Shared>,
    settings: Arc<GroupSettings>,
    lane: Lane,
    closing: watch::Receiver<bool>,
    member_id: String,
    /// What it was last assigned, and in which generation.
    owned: (BTreeMap<String, Vec<i32>>, i32),
}

/// Why a generation ended.
enum Ended {
    /// Another is being formed; the member keeps its place.
    Rebalance,
    /// The coordinator does not know the member, or not in this generation.
    Lost,
    /// The consumer is closing.
    Closing,
}

/// Partitions of each topic, and the topics that were asked about.
type Counts = (BTreeMap<String, u32>, BTreeSet<String>);

struct Joined {
    generation: i32,
    assignor: Assignor,
    /// For the leader: everybody.
    members: Option<Vec<GroupMember>>,
}

impl Membership {
    pub(crate) fn new(
        shared: Arc<Shared>,
        settings: Arc<GroupSettings>,
        lane: Lane,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let owned = (BTreeMap::new(), -1);
        Self { shared, settings, lane, closing, member_id: String::new(), owned }
    }

    /// Runs until the consumer is closed or the membership cannot go on; the program is told in that case.
    pub(crate) async fn run(mut self) {
        let mut failures = 0;
        while !*self.closing.borrow() {
            let mut closing = self.closing.clone();
            let generation = tokio::select! {
                biased;
                ended = self.generation() => ended,
                _ = closing.wait_for(|closing| *closing) => Ok(Ended::Closing),
            };
            match generation {
                Ok(Ended::Closing) => break,
                Ok(Ended::Rebalance) => failures = 0,
                Ok(Ended::Lost) => {
                    failures = 0;
                    self.member_id.clear();
                    self.owned = (BTreeMap::new(), -1);
                }
                Err(error) if error.is_retriable() => {
                    failures += 1;
                    tracing::warn!(group = %self.settings.group, %error, "out of the group, joining again");
                    tokio::time::sleep(pause(failures, self.shared.cluster.chance())).await;
                }
                Err(error) => {
                    self.revoke();
                    self.shared.assigned.lock().end(error);
                    self.shared.ready.notify_one();
                    return;
                }
            }
            // The last word about partitions this member had; after losing them it has none.
            self.revoke();
        }
        if self.settings.auto_commit.is_some() {
            self.commit_done().await;
        }
        self.revoke();
        self.leave().await;
    }

    fn revoke(&self) {
        *self.shared.member.lock() = None;
        self.shared.assigned.lock().assign([]);
        self.shared.work.notify_one();
        if !self.settings.reads {
            self.shared.ready.notify_one();
        }
    }

    /// One generation, from joining to its end.
    async fn generation(&mut self) -> Result<Ended> {
        let joined = match self.join().await? {
            Some(joined) => joined,
            None => return Ok(Ended::Lost),
        };
        let mut counts = None;
        let shares = match &joined.members {
            Some(members) => {
                let wanted = members.iter().flat_map(|member| &member.topics).cloned().collect();
                let counts = counts.insert((self.partition_counts(&wanted).await?, wanted));
                let shares = joined.assignor.assign(members, &counts.0);
                tracing::debug!(group = %self.settings.group, ?shares, "sharing out partitions");
                shares
                    .iter()
                    .map(|(member, topics)| Ok((member.clone(), protocol::write_assignment(topics)?)))
                    .collect::<Result<Vec<_>>>()?
            }
            None => Vec::new(),
        };
        let assignment = match self.sync(&joined, &shares).await {
            Ok(assignment) => assignment,
            Err(error) => return ended_by(error),
        };
        self.owned = (BTreeMap::new(), joined.generation);
        for (topic, partition) in &assignment {
            self.owned.0.entry(topic.clone()).or_default().push(*partition);
        }
        self.take_over(joined.generation, assignment).await?;
        self.stay(joined.generation, counts).await
    }

    fn ask(&self) -> Ask {
        Ask::new(To::Coordinator(Coordinated::Group(self.settings.group.clone()))).on(self.lane)
    }

    fn deadline(&self, what: &str) -> Deadline {
        Deadline::new(format!("{what} group {}", self.settings.group), self.settings.session_timeout)
    }

    /// `None` when the coordinator has forgotten the member.
    async fn join(&mut self) -> Result<Option<Joined>> {
        let settings = Arc::clone(&self.settings);
        let subscription = protocol::write_subscription(&protocol::Subscription {
            topics: settings.topics.clone(),
            owned: self.owned.0.clone(),
            owned_since: self.owned.1,
        })?;
        let operation = || format!("joining group {}", settings.group);
        loop {
            let request = |_| JoinGroupRequest {
                group_id: Str::from(&settings.group),
                session_timeout_ms: millis(settings.session_timeout),
                rebalance_timeout_ms: millis(settings.rebalance_timeout),
                member_id: Str::from(&self.member_id),
                group_instance_id: settings.instance_id.as_ref().map(Str::from),
                protocol_type: Str::from(protocol::PROTOCOL_TYPE),
                protocols: settings
                    .assignors
                    .iter()
                    .map(|assignor| JoinGroupRequestProtocol {
                        name: Str::from(assignor.name()),
                        metadata: subscription.clone(),
                    })
                    .collect(),
                reason: None,
            };
            // Version 5 has instance ids; below it static membership is not to be had.
            let ask = self.ask().waiting(settings.rebalance_timeout);
            let response = self
                .shared
                .cluster
                .ask(&ask, &mut self.deadline("joining"), request, |response, _| {
                    if response.error_code.is_retriable() {
                        Error::check(response.error_code, None, operation)?;
                    }
                    Ok(response)
                })
                .await?;
            match response.error_code {
                ErrorCode::NONE => return self.joined(response).map(Some),
                // KIP-394: ask again with the id.
                ErrorCode::MEMBER_ID_REQUIRED => self.member_id = response.member_id.to_string(),
                ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION => return Ok(None),
                ErrorCode::REBALANCE_IN_PROGRESS => {
                    tokio::time::sleep(pause(1, self.shared.cluster.chance())).await
                }
                code => Error::check(code, None, operation)?,
            }
        }
    }

    fn joined(&mut self, response: JoinGroupResponse) -> Result<Joined> {
        self.member_id = response.member_id.to_string();
        let name = response.protocol_name.as_deref().unwrap_or_default();
        let assignor = Assignor::by_name(name).ok_or_else(|| Error::Protocol {
            address: format!("the coordinator of group {}", self.settings.group),
            reason: format!("the assignor {name:?} was chosen, which this member did not offer"),
        })?;
        let leads = response.leader == response.member_id && !response.skip_assignment;
        let members = leads.then(|| {
            let member = |m: &logmill_wire::messages::join_group::JoinGroupResponseMember| {
                let protocol::Subscription { topics, owned, owned_since } =
                    protocol::read_subscription(&m.metadata)?;
                let instance_id = m.group_instance_id.as_deref().map(str::to_owned);
                Ok(GroupMember { id: m.member_id.to_string(), instance_id, topics, owned, owned_since })
            };
            response.members.iter().map(member).collect::<Result<Vec<_>>>()
        });
        Ok(Joined { generation: response.generation_id, assignor, members: members.transpose()? })
    }

    /// The number of partitions of each topic that exists.
    async fn partition_counts(&self, topics: &BTreeSet<String>) -> Result<BTreeMap<String, u32>> {
        let mut counts = BTreeMap::new();
        for topic in topics {
            self.shared.cluster.forget_topic(topic);
            let mut deadline = self.deadline("finding the partitions of");
            match self.shared.cluster.topic(topic, false, &mut deadline).await {
                Ok(found) => {
                    counts.insert(topic.clone(), found.count());
                }
                Err(Error::UnknownTopic { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(counts)
    }

    async fn sync(&self, joined: &Joined, shares: &[(String, bytes::Bytes)]) -> Result<Vec<(String, i32)>> {
        let settings = &*self.settings;
        let operation = || format!("getting the assignment in group {}", settings.group);
        let request = |version| SyncGroupRequest {
            group_id: Str::from(&settings.group),
            generation_id: joined.generation,
            member_id: Str::from(&self.member_id),
            group_instance_id: settings.instance_id.as_ref().map(Str::from),
            protocol_type: (version >= 5).then(|| Str::from(protocol::PROTOCOL_TYPE)),
            protocol_name: (version >= 5).then(|| Str::from(joined.assignor.name())),
            assignments: shares
                .iter()
                .map(|(member, assignment)| SyncGroupRequestAssignment {
                    member_id: Str::from(member),
                    assignment: assignment.clone(),
                })
                .collect(),
        };
        // The coordinator answers when the leader has sent the assignment.
        let ask = self.ask().waiting(settings.rebalance_timeout);
        let assignment = self
            .shared
            .cluster
            .ask(&ask, &mut self.deadline("syncing with"), request, |response, _| {
                Error::check(response.error_code, None, operation)?;
                Ok(response.assignment)
            })
            .await?;
        protocol::read_assignment(&assignment)
    }

    /// Begins to read what was assigned, from the committed offsets.
    async fn take_over(&self, generation: i32, assignment: Vec<(String, i32)>) -> Result<()> {
        let settings = &*self.settings;
        let reset = self.shared.settings.reset;
        let mut starts: BTreeMap<Key, Start> = BTreeMap::new();
        let mut missing = Vec::new();
        if !settings.reads {
            let nowhere = |(topic, partition): &(String, i32)| {
                ((Arc::from(topic.as_str()), *partition), Start::Offset(0))
            };
            starts.extend(assignment.iter().map(nowhere));
        } else if !assignment.is_empty() {
            let mut deadline = self.deadline("reading the offsets of");
            let (cluster, group) = (&self.shared.cluster, &settings.group);
            let committed =
                committed_offsets(cluster, self.lane, group, Some(&assignment), &mut deadline).await?;
            let committed = committed_by(&committed);
            for (topic, partition) in &assignment {
                let key: Key = (Arc::from(topic.as_str()), *partition);
                let start = match (committed.get(&(topic.as_str(), *partition)), reset.spec()) {
                    (Some(offset), _) => Start::Offset(*offset),
                    (None, Some(spec)) => Start::Spec(spec),
                    (None, None) => {
                        let (topic, partition) = (topic.clone(), *partition);
                        missing.push((key, Error::NoOffset { topic, partition, offset: None }));
                        continue;
                    }
                };
                starts.insert(key, start);
            }
        }
        tracing::info!(group = %settings.group, generation, member = %self.member_id, ?assignment, "joined");
        self.shared.committed.lock().clear();
        let mut assigned = self.shared.assigned.lock();
        // Together with its partitions: who sees a member of the generation without any takes it for one that got none.
        *self.shared.member.lock() = Some(GroupMembership {
            group: settings.group.clone(),
            generation,
            member_id: self.member_id.clone(),
            instance_id: settings.instance_id.clone(),
        });
        assigned.assign(starts);
        missing.into_iter().for_each(|(key, error)| assigned.assign_unreadable(key, error));
        drop(assigned);
        self.shared.work.notify_one();
        self.shared.ready.notify_one();
        Ok(())
    }

    /// Heartbeats and commits until the generation ends. A leader also watches for topics and partitions that
    /// come or go (`counts`).
    async fn stay(&self, generation: i32, counts: Option<Counts>) -> Result<Ended> {
        let settings = &*self.settings;
        let mut heartbeat = tokio::time::interval(settings.heartbeat_interval);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        heartbeat.tick().await;
        let mut last_commit = Instant::now();
        let mut last_look = Instant::now();
        loop {
            heartbeat.tick().await;
            if let Err(error) = self.heartbeat(generation).await {
                if settings.auto_commit.is_some() && error.code() == Some(ErrorCode::REBALANCE_IN_PROGRESS) {
                    self.commit_done().await;
                }
                return ended_by(error);
            }
            if settings.auto_commit.is_some_and(|interval| last_commit.elapsed() >= interval) {
                self.commit_done().await;
                last_commit = Instant::now();
            }
            if let Some((counts, topics)) = &counts
                && last_look.elapsed() >= METADATA_INTERVAL
            {
                last_look = Instant::now();
                if self.partition_counts(topics).await.is_ok_and(|now| now != *counts) {
                    tracing::info!(group = %settings.group, "partitions have changed, sharing out again");
                    if settings.auto_commit.is_some() {
                        self.commit_done().await;
                    }
                    return Ok(Ended::Rebalance);
                }
            }
        }
    }

    async fn heartbeat(&self, generation: i32) -> Result<()> {
        let settings = &*self.settings;
        let request = |_| HeartbeatRequest {
            group_id: Str::from(&settings.group),
            generation_id: generation,
            member_id: Str::from(&self.member_id),
            group_instance_id: settings.instance_id.as_ref().map(Str::from),
        };
        let operation = || format!("heartbeat in group {}", settings.group);
        self.shared
            .cluster
            .ask(&self.ask(), &mut self.deadline("heartbeat in"), request, |response, _| {
                Error::check(response.error_code, None, operation)
            })
            .await
    }

    /// Commits what the program has finished with. A failure costs nothing but reading again.
    async fn commit_done(&self) {
        let done = self.shared.assigned.lock().done();
        let committer = Committer { shared: &self.shared, group: &self.settings.group, lane: self.lane };
        if let Err(error) = committer.commit_new(&done).await {
            tracing::warn!(group = %self.settings.group, %error, "offsets were not committed");
        }
    }

    /// A member with an instance id keeps its place for its return (KIP-345).
    async fn leave(&self) {
        if self.member_id.is_empty() || self.settings.instance_id.is_some() {
            return;
        }
        let request = |version| {
            let (group_id, member_id) = (Str::from(&self.settings.group), Str::from(&self.member_id));
            if version >= 3 {
                let identity = MemberIdentity { member_id, ..MemberIdentity::default() };
                LeaveGroupRequest { group_id, members: vec![identity], ..LeaveGroupRequest::default() }
            } else {
                LeaveGroupRequest { group_id, member_id, ..LeaveGroupRequest::default() }
            }
        };
        let mut deadline = Deadline::new("leaving the group", Duration::from_secs(5));
        let ask = self.ask();
        let left = self.shared.cluster.ask(&ask, &mut deadline, request, |response, _| {
            Error::check(response.error_code, None, || "leaving the group".to_owned())
        });
        if let Err(error) = left.await {
            tracing::debug!(group = %self.settings.group, %error, "left without a word; the session will time out");
        }
    }
}

/// How often a leader looks for topics and partitions that have come or gone.
const METADATA_INTERVAL: Duration = Duration::from_secs(10);

fn ended_by(error: Error) -> Result<Ended> {
    match error.code() {
        Some(ErrorCode::REBALANCE_IN_PROGRESS) => Ok(Ended::Rebalance),
        Some(ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION) => Ok(Ended::Lost),
        _ => Err(error),
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
