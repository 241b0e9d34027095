//! What must be true about transactions, told from records and answers alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::transactions::{
    AddMode, Command, Marker, ProducerGrant, Record, Reply, TopicPartition, Transaction, TransactionState,
};
use crate::{ErrorCode, Str};

/// What is wrong.
pub(super) type Violation = String;

macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err(format!($($message)*));
        }
    };
}
pub(super) use ensure;

/// A producer id and epoch.
type Producer = (i64, i16);

#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    ids: BTreeMap<Str, Transaction>,
    /// Which transactional id a producer id belongs to. For ever.
    owners: BTreeMap<i64, Str>,
    /// Partitions as the sequencer sees them: the newest epoch of a producer id, and whether its transaction
    /// is open there.
    partitions: BTreeMap<(TopicPartition, i64), (i16, bool)>,
    /// How transactions ended, by the producer that began them. Under version 2 one each.
    outcomes: BTreeMap<Producer, BTreeSet<bool>>,
    /// Granted to a producer that did not say who it was: to nobody else before or after.
    exclusive: BTreeSet<Producer>,
    /// The state of each id before its last record.
    before: BTreeMap<Str, Option<Producer>>,
    /// Which producer was given each identity in place of its own.
    heirs: BTreeMap<Producer, Producer>,
    pub(super) seen: BTreeMap<String, u32>,
}

impl Ledger {
    /// A step's records, which become true together.
    pub(super) fn record(&mut self, records: &[Record]) -> Result<(), Violation> {
        let mut markers = Vec::new();
        let mut states = Vec::new();
        for record in records {
            match record {
                Record::Marker(marker) => markers.push(marker),
                Record::State { transactional_id, value } => states.push((transactional_id, value)),
            }
        }
        ensure!(states.len() <= 1, "a step about several ids: {records:?}");
        let Some((id, value)) = states.pop() else {
            ensure!(markers.is_empty(), "markers without a state: {records:?}");
            return Ok(());
        };
        let before = self.ids.get(id).cloned();
        self.before.insert(id.clone(), before.as_ref().map(|was| (was.producer_id, was.producer_epoch)));
        self.check_markers(before.as_ref(), value.as_ref(), &markers)?;
        if let Some(after) = value {
            self.check_state(id, before.as_ref(), after)?;
            self.owners.insert(after.producer_id, id.clone());
            self.ids.insert(id.clone(), after.clone());
        } else {
            let idle = before.is_none_or(|before| before.partitions.is_empty());
            ensure!(idle, "{id} expired in a transaction");
            self.ids.remove(id);
        }
        markers.into_iter().try_for_each(|marker| self.close(marker))
    }

    /// An open transaction ends with one marker for each of its partitions, in the step that says so.
    fn check_markers(
        &mut self,
        before: Option<&Transaction>,
        after: Option<&Transaction>,
        markers: &[&Marker],
    ) -> Result<(), Violation> {
        let still_open = after.is_some_and(|after| after.state == TransactionState::Ongoing);
        let ends = before.filter(|before| is_open(before) && !still_open);
        let Some(before) = ends else {
            ensure!(markers.is_empty(), "markers of no transaction: {markers:?}");
            return Ok(());
        };
        let commit = after.is_some_and(|after| after.state == TransactionState::CompleteCommit);
        let marked = markers.iter().map(|marker| &marker.partition);
        ensure!(marked.eq(&before.partitions), "markers {markers:?} are not those of {before:?}");
        for marker in markers {
            let same = marker.producer_id == before.producer_id && marker.commit == commit;
            ensure!(same, "markers say otherwise than {after:?}: {marker:?}");
            let fences = !marker.transaction_v2 || before.state != TransactionState::Ongoing;
            let fences = marker.producer_epoch > before.producer_epoch
                || fences && marker.producer_epoch == before.producer_epoch;
            ensure!(fences, "marker's epoch does not fence {before:?}: {marker:?}");
        }
        self.saw(if commit { "transaction committed" } else { "transaction aborted" });
        // A prepared transaction's epoch has been bumped already.
        let bumped = i16::from(before.state != TransactionState::Ongoing);
        let began = (before.producer_id, before.producer_epoch - bumped);
        self.outcomes.entry(began).or_default().insert(commit);
        Ok(())
    }

    fn check_state(
        &mut self,
        id: &Str,
        before: Option<&Transaction>,
        after: &Transaction,
    ) -> Result<(), Violation> {
        let owner = self.owners.get(&after.producer_id);
        ensure!(owner.is_none_or(|owner| owner == id), "{after:?} has the producer id of {owner:?}");
        ensure!(is_open(after) || after.partitions.is_empty(), "{id}: partitions without a transaction");
        let Some(before) = before else { return Ok(()) };
        if before.producer_id != after.producer_id {
            let exhausted = before.producer_epoch >= i16::MAX - 1;
            ensure!(exhausted, "{id}: another producer id after epoch {}", before.producer_epoch);
            ensure!(after.producer_epoch == 0, "{id}: begins with epoch {}", after.producer_epoch);
            self.saw("rotated producer id");
            return Ok(());
        }
        let (was, is) = (before.producer_epoch, after.producer_epoch);
        ensure!(is >= was, "{id}: epoch {is} after {was}");
        if before.state == TransactionState::Ongoing && after.state == TransactionState::Ongoing {
            let grows = before.partitions.is_subset(&after.partitions);
            ensure!(grows && is == was, "{id}: an open transaction lost something: {before:?} {after:?}");
            ensure!(before.started == after.started, "{id}: an open transaction began again");
        }
        Ok(())
    }

    /// The sequencer's rules for a marker.
    fn close(&mut self, marker: &Marker) -> Result<(), Violation> {
        let key = (marker.partition.clone(), marker.producer_id);
        let (epoch, open) = self.partitions.get(&key).copied().unwrap_or((-1, false));
        let accepted = match marker.transaction_v2 {
            true => marker.producer_epoch > epoch || marker.producer_epoch == epoch && !open,
            false => marker.producer_epoch >= epoch,
        };
        ensure!(accepted, "marker's epoch is refused by {key:?} at {epoch}: {marker:?}");
        self.partitions.insert(key, (marker.producer_epoch, false));
        Ok(())
    }

    /// An answer, given once its step's records are recorded, if there were any.
    pub(super) fn answer(
        &mut self,
        command: &Command,
        reply: &Reply,
        recorded: bool,
    ) -> Result<(), Violation> {
        match (command, reply) {
            (Command::InitProducer(init), Reply::Initialised(grant)) if grant.error == ErrorCode::NONE => {
                let granted = self.check_grant(&init.transactional_id, grant)?;
                let first = init.current.is_some() || self.exclusive.insert(granted);
                ensure!(first, "{granted:?} was granted twice");
                if let Some(current) = init.current {
                    self.check_heir(&init.transactional_id, current, granted, recorded)?;
                }
            }
            (Command::AddPartitions(add), Reply::PartitionsAdded(answers)) => {
                let producer = (add.producer_id, add.producer_epoch);
                for (partition, error) in answers {
                    if *error == ErrorCode::NONE {
                        self.append(&add.transactional_id, producer, partition, add.mode)?;
                    }
                }
            }
            (Command::AddOffsets(add), Reply::OffsetsAdded(ErrorCode::NONE)) => {
                let producer = (add.producer_id, add.producer_epoch);
                self.append(&add.transactional_id, producer, &add.offsets, add.mode)?;
            }
            (Command::EndTransaction(end), Reply::Ended(grant)) if grant.error == ErrorCode::NONE => {
                let granted = self.check_grant(&end.transactional_id, grant)?;
                if end.version >= 5 && recorded {
                    self.heirs.insert(granted, (end.producer_id, end.producer_epoch));
                }
                let outcomes = self.outcomes.get(&(end.producer_id, end.producer_epoch));
                let committed = outcomes.is_some_and(|outcomes| outcomes.contains(&true));
                if end.version >= 5 {
                    ensure!(committed == end.commit, "told otherwise than it ended: {end:?} {outcomes:?}");
                    ensure!(outcomes.is_none_or(|o| o.len() == 1), "{end:?} ended in two ways");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Who asks for the next epoch must have the current one, or have been given this in its place.
    fn check_heir(
        &mut self,
        id: &Str,
        current: Producer,
        granted: Producer,
        recorded: bool,
    ) -> Result<(), Violation> {
        if recorded {
            let before = self.before.get(id).copied().flatten();
            let entitled = before.is_none_or(|before| before == current);
            ensure!(entitled, "{current:?} is fenced by {before:?} and was granted {granted:?}");
            self.heirs.insert(granted, current);
        }
        let heir = self.heirs.get(&granted);
        ensure!(heir == Some(&current), "{granted:?} was granted to {current:?} and is the heir of {heir:?}");
        Ok(())
    }

    fn check_grant(&self, id: &Str, grant: &ProducerGrant) -> Result<Producer, Violation> {
        let current = self.ids.get(id).map(|current| (current.producer_id, current.producer_epoch));
        let granted = (grant.producer_id, grant.producer_epoch);
        ensure!(current == Some(granted), "{id}: granted {granted:?}, on record {current:?}");
        ensure!(grant.producer_epoch < i16::MAX, "{id}: granted the epoch that only fences");
        Ok(granted)
    }

    /// The producer may write: it does, in the same frame.
    fn append(
        &mut self,
        id: &Str,
        producer: Producer,
        partition: &TopicPartition,
        mode: AddMode,
    ) -> Result<(), Violation> {
        let Some(current) = self.ids.get(id) else { return Err(format!("{id} is unknown and may write")) };
        let is_current = producer == (current.producer_id, current.producer_epoch);
        ensure!(is_current, "{producer:?} is fenced and may write: {current:?}");
        ensure!(current.state == TransactionState::Ongoing, "{id} may write in {:?}", current.state);
        ensure!(current.partitions.contains(partition), "{id} may write to {partition:?} ({mode:?})");
        let key = (partition.clone(), producer.0);
        let (epoch, open) = self.partitions.get(&key).copied().unwrap_or((-1, false));
        ensure!(producer.1 >= epoch, "{producer:?} is fenced in {key:?} by {epoch} and may write");
        ensure!(!open || producer.1 == epoch, "{key:?} has an open transaction of {epoch}");
        self.partitions.insert(key, (producer.1, true));
        Ok(())
    }

    /// When all is over: no transaction holds back any reader.
    pub(super) fn check_nothing_hangs(&self) -> Result<(), Violation> {
        for (key, (epoch, open)) in &self.partitions {
            ensure!(!open, "the transaction of epoch {epoch} in {key:?} hangs");
        }
        for (id, transaction) in &self.ids {
            ensure!(!is_open(transaction), "{id} hangs in {:?}", transaction.state);
        }
        Ok(())
    }

    /// Nothing is open longer than it may be.
    pub(super) fn check_in_time(&self, now: i64) -> Result<(), Violation> {
        for (id, transaction) in &self.ids {
            let ends_by = transaction.started.saturating_add(i64::from(transaction.timeout_ms));
            let late = transaction.state == TransactionState::Ongoing && ends_by <= now;
            ensure!(!late, "{id} is open at {now}, after its timeout at {ends_by}");
        }
        Ok(())
    }

    fn saw(&mut self, what: &str) {
        *self.seen.entry(what.to_owned()).or_insert(0) += 1;
    }
}

fn is_open(transaction: &Transaction) -> bool {
    transaction.state == TransactionState::Ongoing || transaction.state.is_ending()
}
