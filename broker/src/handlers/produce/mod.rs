//! Produce: record batches into partitions.
//!
//! ```text
//! request ─► resolve (names, ids) ─► admit (each batch checked once) ─► sequence ─► wait ─► response
//!            └────── in arrival order, on the connection's task ──────┘   └─ overlaps with later requests
//! ```
//!
//! Sequencing happens before [`handle`] returns, so the order of a connection's requests is the order of
//! its batches. Everything but the batches is let go of before that: a batch that is the only holder of
//! its frame gets its offset in place, without a copy.

mod admit;
mod refusal;

use std::sync::Arc;

use bytes::Bytes;
use logmill_record::{Batch, NO_SEQUENCE};
use logmill_storage::{Appended, Check, Rejection};
use logmill_wire::messages::produce::{PartitionProduceResponse, TopicProduceData, TopicProduceResponse};
use logmill_wire::messages::{ProduceRequest, ProduceResponse};
use logmill_wire::{ApiKey, ErrorCode, Str};
use uuid::Uuid;

use self::admit::Admitted;
use self::refusal::Refusal;
use crate::context::Context;
use crate::coordinators::{FirstBatch, Patience, TransactionalProduce};
use crate::dispatch::Envelope;
use crate::net::{CloseReason, Reply, Served};
use crate::partitions::{Acknowledge, AppendError, Partition, Pending};
use crate::topics::Topic;

/// From this version on topics are named by id.
const IDS_FROM: i16 = 13;
/// From this version on a transactional produce adds its partition to the transaction (KIP-890).
const IMPLICIT_FROM: i16 = 12;

/// One request on its way, without any slice of its frame but the batches.
struct Produce<'a> {
    context: &'a Context,
    version: i16,
    acknowledge: Acknowledge,
    transactional_id: Option<Str>,
    /// The producer of the request's transactional batches, which is one (KIP-98).
    producer: Option<(i64, i16)>,
}

/// One topic of the request.
struct TopicWork {
    name: Str,
    id: Uuid,
    partitions: Vec<(i32, Outcome)>,
}

enum Outcome {
    Admitted(Target),
    Waiting(Pending, i64),
    Appended(Appended, i64),
    Refused(Refusal),
}

impl Outcome {
    /// What stands there while it is decided: if that were forgotten, no client would take it for a success.
    fn undecided() -> Self {
        Self::Refused(Refusal::code(ErrorCode::UNKNOWN_SERVER_ERROR))
    }
}

/// A checked batch and where it goes.
struct Target {
    topic: Arc<Topic>,
    partition: Partition,
    admitted: Admitted,
}

/// What an admitted batch has come to.
enum Appending {
    Sequenced(Pending),
    /// With it the transaction may begin in its partition.
    First(FirstBatch),
}

/// What is still to be told of a batch when it is given away.
struct Receipt {
    partition: Partition,
    bytes: u64,
    records: u64,
    stamp: i64,
}

impl Receipt {
    fn of(target: &Target) -> Self {
        let header = target.admitted.batch.header();
        Self {
            partition: target.partition.clone(),
            bytes: header.size() as u64,
            records: u64::try_from(header.count).unwrap_or(0),
            stamp: target.admitted.log_append_time,
        }
    }
}

pub(crate) async fn handle(context: &Context, envelope: Envelope, request: ProduceRequest) -> Served {
    let acks = request.acks;
    let allowed = matches!(acks, -1..=1);
    let mut produce = Produce {
        context,
        version: envelope.version,
        // What is acknowledged to anybody is on the disk: the one node is the leader and all replicas.
        acknowledge: if acks == 0 { Acknowledge::Sequenced } else { Acknowledge::Durable },
        transactional_id: request.transactional_id.map(|id| id.detached()),
        producer: None,
    };
    context.partitions.room().await;
    // Not before there is room: records that are stamped with it would lie behind such as came later and are stamped so.
    let now = context.clock.now_ms();
    let mut topics: Vec<TopicWork> = Vec::with_capacity(request.topic_data.len());
    for topic in request.topic_data {
        topics.push(produce.resolve(topic, allowed, now));
    }
    produce.sequence(&mut topics).await;
    if acks == 0 {
        envelope.unanswered(ApiKey::Produce);
        return Served::Now(unanswered(&topics));
    }
    let waits =
        topics.iter().any(|topic| topic.partitions.iter().any(|(_, o)| matches!(o, Outcome::Waiting(..))));
    if !waits {
        return Served::Now(envelope.answer(&respond(topics)));
    }
    Served::Later(Box::pin(async move {
        for topic in &mut topics {
            for (_, outcome) in &mut topic.partitions {
                wait(outcome).await;
            }
        }
        envelope.answer(&respond(topics))
    }))
}

impl Produce<'_> {
    /// Finds the topic and checks its batches.
    fn resolve(&mut self, data: TopicProduceData, allowed: bool, now: i64) -> TopicWork {
        let by_id = self.version >= IDS_FROM;
        let found = if by_id {
            self.context.topics.by_id(data.topic_id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)
        } else {
            self.context.topics.get(&data.name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
        };
        let (name, id) = match &found {
            _ if by_id => (Str::default(), data.topic_id),
            Ok(topic) => (Str::from(&*topic.name), topic.id),
            Err(_) => (data.name.detached(), Uuid::nil()),
        };
        let found = found.map_err(Refusal::code).and_then(|topic| match topic.owner.as_deref() {
            _ if !allowed => Err(Refusal::code(ErrorCode::INVALID_REQUIRED_ACKS)),
            Some(owner) => Err(Refusal::owned(owner)),
            None if topic.internal => Err(Refusal::code(ErrorCode::INVALID_TOPIC_EXCEPTION)),
            None => Ok(topic),
        });
        let mut partitions = Vec::with_capacity(data.partition_data.len());
        for partition in data.partition_data {
            let outcome = match &found {
                Ok(topic) => self.admit(topic, partition.index, partition.records, now),
                Err(refusal) => Err(refusal.clone()),
            };
            partitions.push((partition.index, outcome.map_or_else(Outcome::Refused, Outcome::Admitted)));
        }
        TopicWork { name, id, partitions }
    }

    fn admit(
        &mut self,
        topic: &Arc<Topic>,
        index: i32,
        records: Option<Bytes>,
        now: i64,
    ) -> Result<Target, Refusal> {
        let partition =
            topic.partition(index).ok_or_else(|| Refusal::code(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION))?;
        let admitted = admit::admit(records.unwrap_or_default(), self.version, &topic.rules, now)?;
        let header = admitted.batch.header();
        if header.is_transactional() {
            if self.transactional_id.is_none() {
                // What Kafka says: without an id there is nothing that could be allowed.
                return Err(Refusal::code(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED));
            }
            let producer = (header.producer_id, header.producer_epoch);
            if *self.producer.get_or_insert(producer) != producer {
                return Err(Refusal::code(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
            }
        }
        Ok(Target { topic: Arc::clone(topic), partition: partition.clone(), admitted })
    }

    /// Gives every admitted batch its offsets, in the order of the request; those with which the transaction begins in
    /// their partitions come last, all together.
    async fn sequence(&self, topics: &mut [TopicWork]) {
        let coordinator = match (&self.producer, &self.transactional_id) {
            (Some(_), Some(id)) => {
                let patience = Patience::default();
                self.context.coordinators.ensure_transaction(id, &patience).await.map(|_partition| ())
            }
            _ => Ok(()),
        };
        let mut first = Vec::new();
        for outcome in topics.iter_mut().flat_map(|topic| &mut topic.partitions).map(|(_, outcome)| outcome) {
            let before = std::mem::replace(outcome, Outcome::undecided());
            *outcome = match before {
                Outcome::Admitted(target) => {
                    let receipt = Receipt::of(&target);
                    match self.append(target, coordinator) {
                        Ok(Appending::Sequenced(pending)) => self.sequenced(receipt, Ok(pending)),
                        Ok(Appending::First(batch)) => {
                            first.push((outcome, receipt, batch));
                            continue;
                        }
                        Err(refusal) => Outcome::Refused(refusal),
                    }
                }
                other => other,
            };
        }
        let Some(transactional_id) = self.transactional_id.clone().filter(|_| !first.is_empty()) else {
            return;
        };
        let mut places = Vec::with_capacity(first.len());
        let mut batches = Vec::with_capacity(first.len());
        for (outcome, receipt, batch) in first {
            places.push((outcome, receipt));
            batches.push(batch);
        }
        let implicit = self.version >= IMPLICIT_FROM;
        let produce = TransactionalProduce { transactional_id, batches, implicit };
        let sequenced = self.context.coordinators.produce_first(produce);
        debug_assert_eq!(places.len(), sequenced.len(), "one outcome for each batch");
        for ((outcome, receipt), sequenced) in places.into_iter().zip(sequenced) {
            let sequenced = sequenced.map_err(|error| Refusal::first(error, self.version));
            *outcome = self.sequenced(receipt, sequenced);
        }
    }

    fn append(&self, target: Target, coordinator: Result<(), ErrorCode>) -> Result<Appending, Refusal> {
        if self.transactional_id.is_some() && target.admitted.batch.header().is_transactional() {
            coordinator.map_err(|code| Refusal::transaction(code, self.version))?;
            return self.append_transactional(target);
        }
        let check = Check::Client { begins: false, transaction_v2: false };
        let submitted = self.submit(&target.partition, target.admitted.batch, check);
        submitted.map(Appending::Sequenced).map_err(Refusal::append)
    }

    /// Most batches belong to a transaction that has begun in their partition. The first one does not, and goes through
    /// the transaction's coordinator.
    fn append_transactional(&self, target: Target) -> Result<Appending, Refusal> {
        let Target { topic, partition, admitted: Admitted { batch, .. } } = target;
        let check = Check::Client { begins: false, transaction_v2: self.version >= IMPLICIT_FROM };
        let header = batch.header();
        let (mut has_begun, mut may_be_known) = (false, false);
        if let Some(known) = partition.producer(header.producer_id) {
            let current = known.producer_epoch == header.producer_epoch;
            has_begun = current && known.transaction_first_offset.is_some();
            // A duplicate of the last transaction where that had the same epoch (version 0 and 1), or one that comes late.
            may_be_known =
                known.producer_epoch > header.producer_epoch || current && known.last_sequence != NO_SEQUENCE;
        }
        if has_begun {
            // Given away: a batch with one owner is stamped in place.
            let submitted = self.submit(&partition, batch, check);
            return submitted.map(Appending::Sequenced).map_err(Refusal::append);
        }
        if may_be_known {
            match self.submit(&partition, batch.clone(), check) {
                Err(AppendError::Rejected(Rejection::TransactionNotOpen { .. })) => {}
                other => return other.map(Appending::Sequenced).map_err(Refusal::append),
            }
        }
        Ok(Appending::First(FirstBatch { topic: Str::from(&*topic.name), partition, batch }))
    }

    fn sequenced(&self, receipt: Receipt, sequenced: Result<Pending, Refusal>) -> Outcome {
        let Receipt { partition, bytes, records, stamp } = receipt;
        match sequenced {
            Ok(pending) => {
                partition.count_produced(bytes, records);
                match self.acknowledge {
                    Acknowledge::Durable => Outcome::Waiting(pending, stamp),
                    Acknowledge::Sequenced => Outcome::Appended(*pending.appended(), stamp),
                }
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn submit(&self, partition: &Partition, batch: Batch, check: Check) -> Result<Pending, AppendError> {
        self.context.partitions.submit(partition, batch, check, self.acknowledge)
    }
}

async fn wait(outcome: &mut Outcome) {
    let before = std::mem::replace(outcome, Outcome::undecided());
    *outcome = match before {
        Outcome::Waiting(pending, stamp) => match pending.wait().await {
            Ok(appended) => Outcome::Appended(appended, stamp),
            Err(error) => Outcome::Refused(Refusal::append(error)),
        },
        other => other,
    };
}

/// `acks=0` has no response: closing the connection is the only way to tell of a failure.
fn unanswered(topics: &[TopicWork]) -> Reply {
    let refused = |topic: &TopicWork| {
        topic.partitions.iter().find_map(|(index, outcome)| match outcome {
            Outcome::Refused(refusal) => {
                Some(format!("topic {:?} partition {index}: {refusal}", &*topic.name))
            }
            _ => None,
        })
    };
    match topics.iter().find_map(refused) {
        None => Reply::Silence,
        Some(what) => Reply::Close(CloseReason::UnacknowledgedFailure(what)),
    }
}

fn respond(topics: Vec<TopicWork>) -> ProduceResponse {
    let responses = topics
        .into_iter()
        .map(|topic| TopicProduceResponse {
            name: topic.name,
            topic_id: topic.id,
            partition_responses: topic.partitions.into_iter().map(respond_partition).collect(),
        })
        .collect();
    ProduceResponse { responses, ..ProduceResponse::default() }
}

fn respond_partition((index, outcome): (i32, Outcome)) -> PartitionProduceResponse {
    match outcome {
        Outcome::Appended(appended, log_append_time_ms) => PartitionProduceResponse {
            index,
            error_code: ErrorCode::NONE,
            base_offset: appended.base_offset,
            log_append_time_ms,
            log_start_offset: appended.log_start_offset,
            ..PartitionProduceResponse::default()
        },
        Outcome::Refused(refusal) => refusal.respond(index),
        Outcome::Admitted(_) | Outcome::Waiting(..) => {
            unreachable!("a response is built when everything is sequenced and waited for")
        }
    }
}
