//! Incremental fetch sessions (KIP-227): a client says once which partitions it wants, and is told from
//! then on only of those where something happened.
//!
//! A session lives with its connection. A client whose connection is new is told that its session is not
//! known, and begins another one; so no table of sessions is needed, nor anything that cleans it up.

use std::collections::BTreeMap;
use std::ops::Bound;

use logmill_wire::messages::FetchRequest;
use logmill_wire::messages::fetch::PartitionData;
use logmill_wire::{Chunks, ErrorCode};
use uuid::Uuid;

use super::{TopicKey, Wanted};
use crate::entropy::Entropy;

/// The epoch of a request that wants a new session.
const INITIAL: i32 = 0;
/// The epoch of a request that wants none.
const FINAL: i32 = -1;
/// A fetch of more partitions than this is answered without a session.
const MAX_PARTITIONS: usize = 10_000;

type Key = (TopicKey, i32);

/// What a client wants, and what it was told last.
#[derive(Debug)]
pub(crate) struct FetchSession {
    id: i32,
    /// The epoch of the next request.
    epoch: i32,
    by_id: bool,
    partitions: BTreeMap<Key, Kept>,
    /// The partition that brought data last: the next fetch begins behind it, so that none starves.
    last_with_data: Option<Key>,
}

#[derive(Debug)]
struct Kept {
    wanted: Wanted,
    /// High watermark and log start as last told; `None` when the client must be told whatever they are.
    told: Option<(i64, i64)>,
}

/// What a request amounts to.
#[derive(Debug)]
pub(super) struct Plan {
    /// Every partition to be read, in the order of reading.
    pub(super) wanted: Vec<Wanted>,
    pub(super) kind: Kind,
}

/// How its response is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All partitions, no session.
    Sessionless,
    /// All partitions, and a session begins.
    New,
    /// Only partitions where something happened.
    Incremental,
}

/// Reads a request against the connection's session.
pub(super) fn begin(
    session: &mut Option<FetchSession>,
    request: FetchRequest,
    by_id: bool,
    entropy: &Entropy,
) -> Result<Plan, ErrorCode> {
    let (id, epoch) = (request.session_id, request.session_epoch);
    if matches!(epoch, INITIAL | FINAL) {
        // Whatever session there was, its client no longer means it.
        *session = None;
        let wanted = wanted(request, by_id);
        if epoch == FINAL || wanted.is_empty() || wanted.len() > MAX_PARTITIONS {
            return Ok(Plan { wanted, kind: Kind::Sessionless });
        }
        *session = Some(FetchSession::new(fresh_id(entropy), &wanted, by_id));
        return Ok(Plan { wanted, kind: Kind::New });
    }
    let known =
        session.as_mut().filter(|session| session.id == id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
    if known.by_id != by_id {
        return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
    }
    if known.epoch != epoch {
        return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    }
    known.epoch = next_epoch(epoch);
    known.change(request);
    let wanted = known.in_turn();
    if known.partitions.is_empty() || known.partitions.len() > MAX_PARTITIONS {
        *session = None;
        return Ok(Plan { wanted, kind: Kind::Sessionless });
    }
    Ok(Plan { wanted, kind: Kind::Incremental })
}

/// Chooses what of the answers is sent, and remembers it. Gives the session id of the response.
pub(super) fn finish(
    session: &mut Option<FetchSession>,
    kind: Kind,
    mut answers: Vec<(TopicKey, PartitionData)>,
) -> (i32, Vec<(TopicKey, PartitionData)>) {
    match (session, kind) {
        (Some(session), Kind::New | Kind::Incremental) => {
            answers.retain(|(topic, data)| session.tell(topic, data) || kind == Kind::New);
            (session.id, answers)
        }
        _ => (0, answers),
    }
}

fn next_epoch(epoch: i32) -> i32 {
    epoch.checked_add(1).unwrap_or(1)
}

fn wanted(request: FetchRequest, by_id: bool) -> Vec<Wanted> {
    let mut all = Vec::with_capacity(request.topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in request.topics {
        let key = topic_key(&topic.topic, topic.topic_id, by_id);
        all.extend(topic.partitions.into_iter().map(|partition| Wanted {
            topic: key.clone(),
            partition: partition.partition,
            offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            leader_epoch: partition.current_leader_epoch,
            last_epoch: partition.last_fetched_epoch,
        }));
    }
    all
}

/// Names are detached from the request's frame, which a session would otherwise keep in memory.
fn topic_key(name: &logmill_wire::Str, id: Uuid, by_id: bool) -> TopicKey {
    if by_id { TopicKey::Id(id) } else { TopicKey::Name(name.detached()) }
}

impl FetchSession {
    fn new(id: i32, wanted: &[Wanted], by_id: bool) -> Self {
        let kept = |wanted: &Wanted| {
            let key = (wanted.topic.clone(), wanted.partition);
            (key, Kept { wanted: wanted.clone(), told: None })
        };
        Self {
            id,
            epoch: next_epoch(INITIAL),
            by_id,
            partitions: wanted.iter().map(kept).collect(),
            last_with_data: None,
        }
    }

    fn change(&mut self, mut request: FetchRequest) {
        for topic in std::mem::take(&mut request.forgotten_topics_data) {
            let key = topic_key(&topic.topic, topic.topic_id, self.by_id);
            for partition in topic.partitions {
                self.partitions.remove(&(key.clone(), partition));
            }
        }
        for wanted in wanted(request, self.by_id) {
            let key = (wanted.topic.clone(), wanted.partition);
            match self.partitions.get_mut(&key) {
                Some(kept) => kept.wanted = wanted,
                None => drop(self.partitions.insert(key, Kept { wanted, told: None })),
            }
        }
    }

    /// Everything wanted, beginning behind the partition that brought data last.
    fn in_turn(&self) -> Vec<Wanted> {
        let clone = |(_, kept): (&Key, &Kept)| kept.wanted.clone();
        match &self.last_with_data {
            None => self.partitions.iter().map(clone).collect(),
            Some(last) => {
                let after = self.partitions.range((Bound::Excluded(last), Bound::Unbounded));
                after.chain(self.partitions.range(..=last)).map(clone).collect()
            }
        }
    }

    /// Whether the client must be told, now that it would be: remembers that it was.
    fn tell(&mut self, topic: &TopicKey, data: &PartitionData) -> bool {
        let key = (topic.clone(), data.partition_index);
        let Some(kept) = self.partitions.get_mut(&key) else { return true };
        let has_records = !data.records.as_ref().is_none_or(Chunks::is_empty);
        let failed = data.error_code != ErrorCode::NONE;
        let now = (data.high_watermark, data.log_start_offset);
        let must = has_records || failed || data.diverging_epoch.epoch >= 0 || kept.told != Some(now);
        // After an error the next answer is told in any case: it says that the error is over.
        kept.told = (!failed).then_some(now);
        if has_records {
            self.last_with_data = Some(key);
        }
        must
    }
}

fn fresh_id(entropy: &Entropy) -> i32 {
    let (high, _) = entropy.uuid().as_u64_pair();
    i32::try_from(high >> 33).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use logmill_wire::messages::fetch::{FetchPartition, FetchTopic, ForgottenTopic};

    use super::*;

    fn begin(
        session: &mut Option<FetchSession>,
        request: FetchRequest,
        by_id: bool,
    ) -> Result<Plan, ErrorCode> {
        super::begin(session, request, by_id, &Entropy::system())
    }

    fn request(id: i32, epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
        let partitions: Vec<_> = partitions
            .iter()
            .map(|(partition, fetch_offset)| FetchPartition {
                partition: *partition,
                fetch_offset: *fetch_offset,
                ..FetchPartition::default()
            })
            .collect();
        let topics = match partitions.is_empty() {
            true => Vec::new(),
            false => vec![FetchTopic { topic: "t".into(), partitions, ..FetchTopic::default() }],
        };
        FetchRequest { session_id: id, session_epoch: epoch, topics, ..FetchRequest::default() }
    }

    fn answers(plan: &Plan, with_records: &[i32], high_watermark: i64) -> Vec<(TopicKey, PartitionData)> {
        let answer = |wanted: &Wanted| {
            let records = match with_records.contains(&wanted.partition) {
                true => Bytes::from_static(b"batch"),
                false => Bytes::new(),
            };
            let data = PartitionData {
                partition_index: wanted.partition,
                high_watermark,
                records: Some(records.into()),
                ..PartitionData::default()
            };
            (wanted.topic.clone(), data)
        };
        plan.wanted.iter().map(answer).collect()
    }

    fn indexes(answers: &[(TopicKey, PartitionData)]) -> Vec<i32> {
        answers.iter().map(|(_, data)| data.partition_index).collect()
    }

    fn order(plan: &Plan) -> Vec<i32> {
        plan.wanted.iter().map(|wanted| wanted.partition).collect()
    }

    #[test]
    fn a_session_tells_only_what_changed_and_lets_nobody_starve() {
        let mut session = None;
        let plan = begin(&mut session, request(0, INITIAL, &[(0, 5), (1, 6), (2, 7)]), false).unwrap();
        assert_eq!(plan.kind, Kind::New);
        let (id, sent) = finish(&mut session, plan.kind, answers(&plan, &[], 10));
        assert_ne!(id, 0);
        assert_eq!(indexes(&sent), [0, 1, 2], "a full fetch tells everything");

        let plan = begin(&mut session, request(id, 1, &[]), false).unwrap();
        assert_eq!((plan.kind, order(&plan)), (Kind::Incremental, vec![0, 1, 2]));
        let (_, sent) = finish(&mut session, plan.kind, answers(&plan, &[], 10));
        assert!(sent.is_empty(), "nothing happened");

        let plan = begin(&mut session, request(id, 2, &[(1, 9)]), false).unwrap();
        assert_eq!(plan.wanted[1].offset, 9);
        let (_, sent) = finish(&mut session, plan.kind, answers(&plan, &[1], 10));
        assert_eq!(indexes(&sent), [1]);

        let plan = begin(&mut session, request(id, 3, &[]), false).unwrap();
        assert_eq!(order(&plan), [2, 0, 1], "the one that had data comes last");
        let (_, sent) = finish(&mut session, plan.kind, answers(&plan, &[], 11));
        assert_eq!(indexes(&sent), [2, 0, 1], "the high watermark moved");
    }

    #[test]
    fn an_error_is_told_and_so_is_its_end() {
        let mut session = None;
        let plan = begin(&mut session, request(0, INITIAL, &[(0, 5)]), false).unwrap();
        let (id, _) = finish(&mut session, plan.kind, answers(&plan, &[], 10));
        let plan = begin(&mut session, request(id, 1, &[]), false).unwrap();
        let mut failing = answers(&plan, &[], 10);
        failing[0].1.error_code = ErrorCode::KAFKA_STORAGE_ERROR;
        assert_eq!(finish(&mut session, plan.kind, failing).1.len(), 1);
        let plan = begin(&mut session, request(id, 2, &[]), false).unwrap();
        assert_eq!(finish(&mut session, plan.kind, answers(&plan, &[], 10)).1.len(), 1);
    }

    #[test]
    fn forgotten_partitions_are_forgotten_and_an_empty_session_ends() {
        let mut session = None;
        let plan = begin(&mut session, request(0, INITIAL, &[(0, 5), (1, 5)]), false).unwrap();
        let (id, _) = finish(&mut session, plan.kind, answers(&plan, &[], 10));
        let forget = |epoch, partitions: &[i32]| FetchRequest {
            forgotten_topics_data: vec![ForgottenTopic {
                topic: "t".into(),
                partitions: partitions.to_vec(),
                ..ForgottenTopic::default()
            }],
            ..request(id, epoch, &[])
        };
        assert_eq!(order(&begin(&mut session, forget(1, &[0]), false).unwrap()), [1]);
        let plan = begin(&mut session, forget(2, &[1]), false).unwrap();
        assert_eq!((plan.kind, plan.wanted.len()), (Kind::Sessionless, 0));
        assert!(session.is_none());
    }

    #[test]
    fn strangers_and_wrong_epochs_are_told_so() {
        let mut session = None;
        let code =
            |session: &mut Option<FetchSession>, request, by_id| begin(session, request, by_id).unwrap_err();
        assert_eq!(code(&mut session, request(7, 1, &[]), false), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        begin(&mut session, request(0, INITIAL, &[(0, 5)]), false).unwrap();
        let id = session.as_ref().unwrap().id;
        assert_eq!(code(&mut session, request(id, 2, &[]), false), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        assert_eq!(code(&mut session, request(id, 1, &[]), true), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        let plan = begin(&mut session, request(id, FINAL, &[(0, 5)]), false).unwrap();
        assert_eq!(plan.kind, Kind::Sessionless);
        assert_eq!(finish(&mut session, plan.kind, answers(&plan, &[], 1)).0, 0);
        assert!(session.is_none());
    }

    #[test]
    fn epochs_go_round() {
        assert_eq!(next_epoch(0), 1);
        assert_eq!(next_epoch(i32::MAX), 1);
    }
}
