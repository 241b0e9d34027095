//! What happens next: steps drawn from the seed and from what the model knows. Clients are derived from the model each
//! time, as real ones ask the coordinator after a failure, so a crash needs no bookkeeping here.

use logmill_record::control::marker_batch;
use logmill_record::{Batch, BatchBuilder, BatchOptions, EndTxnMarker, ProducerStamp};
use logmill_storage::PartitionId;
use logmill_storage::disk::sim::{Failing, Random};
use logmill_storage::log::{Durability, LogOptions};

use crate::model::{Condition, Model, PlannedAppend, PlannedFrame};
use crate::profile::{PASSING, Profile, STATE, log_options};

/// Idempotent producers: ids from here on.
const IDEMPOTENT: i64 = 10;
/// Transactional producers: ids from here on, even ones with transaction version 2.
const TRANSACTIONAL: i64 = 100;
const PRODUCERS: u64 = 3;
const KEYS: u64 = 5;
/// Value that makes a batch span several blocks of the journal.
const LONG_VALUE_BYTES: u64 = 9000;

/// One step.
#[derive(Debug)]
pub(crate) enum Step {
    Commit(PlannedFrame),
    Journal,
    Apply(usize),
    Checkpoint,
    /// A clean stop and a start.
    Reopen,
    Delete(PartitionId),
    /// Makes the passing topic again.
    Create,
    SetOptions(PartitionId, LogOptions),
    /// Removes what was trimmed.
    Clean,
    /// Trims what need not be kept at this time.
    Retain(i64),
    /// Compacts at this time, with so much memory.
    Compact(i64, usize),
    /// A bit flips in a file.
    Rot,
    /// Looks at what is published.
    Look,
    /// So many bytes more, and the disk is full.
    Fill(u64),
    /// There is room again.
    Free,
    /// The next such call on such a path fails.
    Fail(Failing, &'static str),
}

/// Steps for which a disk is full, about.
const FULL_FOR: u64 = 8;
/// Bytes that a disk has left, at most, when it is said to be full.
const FILL_ROOM: u64 = 12 << 10;

/// Draws steps.
#[derive(Debug)]
pub(crate) struct Generator {
    random: Random,
    shards: u64,
    value_bytes: u64,
    journal_every: u64,
    checkpoint_every: u64,
    /// One in so many steps fills the disk; none: it never is.
    fill_every: Option<u64>,
    full: bool,
    fail_every: Option<u64>,
    rot_every: Option<u64>,
    now: i64,
}

impl Generator {
    pub(crate) fn new(random: Random, profile: &Profile) -> Generator {
        Generator {
            random,
            shards: profile.options.applier_shards as u64,
            value_bytes: profile.value_bytes,
            journal_every: profile.journal_every,
            checkpoint_every: profile.checkpoint_every,
            fill_every: profile.fill_every,
            full: false,
            fail_every: profile.fail_every,
            rot_every: profile.rot_every,
            now: 1_700_000_000_000,
        }
    }

    pub(crate) fn step(&mut self, model: &Model) -> Step {
        if let Some(every) = self.fill_every
            && self.random.one_in(if self.full { FULL_FOR } else { every })
        {
            self.full = !self.full;
            return if self.full { Step::Fill(self.random.below(FILL_ROOM)) } else { Step::Free };
        }
        if self.fail_every.is_some_and(|every| self.random.one_in(every)) {
            let (what, path) = failing_call(&mut self.random);
            return Step::Fail(what, path);
        }
        if self.rot_every.is_some_and(|every| self.random.one_in(every)) {
            return Step::Rot;
        }
        if self.random.one_in(self.checkpoint_every) {
            return Step::Checkpoint;
        }
        if self.random.one_in(self.journal_every) {
            return Step::Journal;
        }
        if self.random.one_in(4) {
            return Step::Apply(self.random.below(self.shards) as usize);
        }
        match self.random.below(40) {
            0 => return Step::Reopen,
            1 | 2 => return Step::Look,
            5 => return Step::Clean,
            6 | 7 => return Step::Retain(self.now),
            8 | 9 => {
                let map_bytes = if self.random.one_in(3) { 0 } else { 1 << 16 };
                return Step::Compact(self.now, map_bytes);
            }
            3 => match self.pick(model, |_, partition| partition == PASSING) {
                Some(id) => return Step::Delete(id),
                None => return Step::Create,
            },
            4 => {
                if let Some(id) = self.pick(model, |_, _| true) {
                    let page_cache = model.partitions[&id].page_cache;
                    let durability = if page_cache { Durability::PageCache } else { Durability::Disk };
                    let options = log_options(&mut self.random, durability);
                    return Step::SetOptions(id, model.partitions[&id].policy.of(options));
                }
            }
            _ => {}
        }
        self.frame(model).map_or(Step::Journal, Step::Commit)
    }

    /// A frame that can be committed, or that must be refused.
    fn frame(&mut self, model: &Model) -> Option<PlannedFrame> {
        match self.random.below(21) {
            0..=2 => self.plain(model),
            3..=6 => self.idempotent(model),
            7 => self.again(model),
            8 => self.out_of_order(model),
            9..=13 => self.transaction(model),
            14 => self.outside_transaction(model),
            15 | 16 => self.epoch(model),
            17 => self.stale(model),
            18 => self.several(model),
            19 => self.trim(model),
            _ => self.deleted(model),
        }
    }

    /// A batch without a producer.
    fn plain(&mut self, model: &Model) -> Option<PlannedFrame> {
        let id = self.data_partition(model)?;
        let batch = self.batch(None, false);
        Some(frame("plain", vec![client(id, batch, false, false)]))
    }

    /// The next batch of an idempotent producer.
    fn idempotent(&mut self, model: &Model) -> Option<PlannedFrame> {
        let id = self.data_partition(model)?;
        let append = self.idempotent_append(model, id);
        Some(frame("idempotent", vec![append]))
    }

    fn idempotent_append(&mut self, model: &Model, id: PartitionId) -> PlannedAppend {
        let producer = IDEMPOTENT + self.random.below(PRODUCERS) as i64;
        let epoch = newest_epoch(model, producer).unwrap_or(0) + i16::from(self.random.one_in(12));
        let sequence = next_sequence(model, id, producer, epoch);
        let batch = self.batch(Some(ProducerStamp { id: producer, epoch, sequence }), false);
        client(id, batch, false, false)
    }

    /// A batch that was appended before.
    fn again(&mut self, model: &Model) -> Option<PlannedFrame> {
        let (id, partition) = self.pick_with(model, |_| true)?;
        let with_sequence: Vec<_> = partition
            .batches
            .iter()
            .filter(|placed| placed.header.base_sequence >= 0 && placed.marker.is_none())
            .collect();
        let newest = with_sequence.len().min(8) as u64;
        if newest == 0 {
            return None;
        }
        let placed = with_sequence[with_sequence.len() - 1 - self.random.below(newest) as usize];
        let batch = Batch::trusted(placed.bytes.clone()).expect("it is a batch").stamped(0, -1);
        Some(frame("again", vec![client(id, batch, false, false)]))
    }

    /// A batch that leaves out sequences, or has an epoch that has passed.
    fn out_of_order(&mut self, model: &Model) -> Option<PlannedFrame> {
        let (id, partition) = self.pick_with(model, |_| true)?;
        let (&producer, known) = partition.state.producers.iter().find(|(id, _)| **id < TRANSACTIONAL)?;
        let (epoch, sequence) = (known.epoch, known.next_sequence());
        let stamp = if epoch > 0 && self.random.one_in(2) {
            ProducerStamp { id: producer, epoch: epoch - 1, sequence }
        } else {
            ProducerStamp { id: producer, epoch, sequence: sequence + 3 }
        };
        let batch = self.batch(Some(stamp), false);
        Some(frame("out of order", vec![client(id, batch, false, false)]))
    }

    /// The next part of a transaction: it begins in a partition, goes on, takes offsets along, or ends.
    fn transaction(&mut self, model: &Model) -> Option<PlannedFrame> {
        let producer = TRANSACTIONAL + self.random.below(PRODUCERS) as i64;
        let v2 = producer % 2 == 0;
        let state = self.pick(model, |_, topic| topic == STATE)?;
        let open = open_partitions(model, producer);
        let epoch = match open.first() {
            Some(&(_, epoch)) => epoch,
            None => newest_epoch(model, producer).unwrap_or(0),
        };
        let id = self.data_partition(model)?;
        let is_open = open.iter().any(|(open, _)| *open == id);
        let choice = self.random.below(8);
        if choice < 2 && !open.is_empty() {
            return Some(self.end_transaction(model, state, producer, epoch, v2, &open));
        }
        if choice == 2 && !open.is_empty() {
            // Offsets inside the transaction, by the coordinator of the group.
            let stamp = ProducerStamp { id: producer, epoch, sequence: -1 };
            let offsets = self.batch(Some(stamp), true);
            let record = self.batch(None, false);
            let expected_end = self.expected_end(model, state);
            return Some(frame(
                "offsets in a transaction",
                vec![
                    internal(state, record, expected_end),
                    PlannedAppend {
                        partition: state,
                        batch: offsets,
                        condition: Condition::Internal { expected_end: None },
                    },
                ],
            ));
        }
        let sequence = next_sequence(model, id, producer, epoch);
        let batch = self.batch(Some(ProducerStamp { id: producer, epoch, sequence }), true);
        if is_open {
            return Some(frame("transaction goes on", vec![client(id, batch, false, v2)]));
        }
        let record = self.batch(None, false);
        let expected_end = self.expected_end(model, state);
        Some(frame(
            "transaction begins",
            vec![internal(state, record, expected_end), client(id, batch, true, v2)],
        ))
    }

    /// One frame: the state record and all markers.
    fn end_transaction(
        &mut self,
        model: &Model,
        state: PartitionId,
        producer: i64,
        epoch: i16,
        v2: bool,
        open: &[(PartitionId, i16)],
    ) -> PlannedFrame {
        let marker = EndTxnMarker { commit: !self.random.one_in(3), coordinator_epoch: 1 };
        // Version 2 goes on to the next epoch with each transaction, version 1 only when the coordinator aborts.
        let next = epoch + i16::from(v2 || (!marker.commit && self.random.one_in(2)));
        let record = self.batch(None, false);
        let mut appends = vec![internal(state, record, self.expected_end(model, state))];
        for (id, _) in open {
            let batch = marker_batch(producer, next, marker, self.tick());
            let condition = Condition::Marker { coordinator_epoch: marker.coordinator_epoch, v2 };
            appends.push(PlannedAppend { partition: *id, batch, condition });
        }
        frame(if marker.commit { "transaction commits" } else { "transaction aborts" }, appends)
    }

    /// A transactional batch where no transaction is open, or one that is not part of the open transaction.
    fn outside_transaction(&mut self, model: &Model) -> Option<PlannedFrame> {
        let id = self.data_partition(model)?;
        let producer = TRANSACTIONAL + self.random.below(PRODUCERS) as i64;
        let v2 = producer % 2 == 0;
        let known = model.partitions[&id].state.producers.get(&producer);
        let open = known.is_some_and(|known| known.transaction.is_some());
        let epoch = newest_epoch(model, producer).unwrap_or(0);
        let sequence = next_sequence(model, id, producer, epoch);
        let batch = self.batch(Some(ProducerStamp { id: producer, epoch, sequence }), !open);
        let state = self.pick(model, |_, topic| topic == STATE)?;
        if self.random.one_in(2) {
            return Some(frame("outside a transaction", vec![client(id, batch, false, v2)]));
        }
        // The same inside a larger frame, which must not happen at all.
        let record = self.batch(None, false);
        let other = self.idempotent_append(model, id);
        Some(frame(
            "outside a transaction, in company",
            vec![internal(state, record, None), other, client(id, batch, false, v2)],
        ))
    }

    /// A pipeline's epoch: outputs, changelog and progress, decided on the ends of some partitions.
    fn epoch(&mut self, model: &Model) -> Option<PlannedFrame> {
        let state = self.pick(model, |_, topic| topic == STATE)?;
        let mut appends = Vec::new();
        for _ in 0..=self.random.below(3) {
            let id = self.data_partition(model)?;
            let batch = self.batch(None, false);
            let first = appends.iter().all(|append: &PlannedAppend| append.partition != id);
            let expected_end =
                if first && self.random.one_in(2) { Some(model.partitions[&id].state.end) } else { None };
            appends.push(internal(id, batch, expected_end));
        }
        let (changelog, progress) = (self.batch(None, false), self.batch(None, false));
        appends.push(internal(state, changelog, Some(model.partitions[&state].state.end)));
        appends.push(internal(state, progress, Some(model.partitions[&state].state.end)));
        let mut planned = frame("epoch", appends);
        if let Some((id, partition)) = self.pick_with(model, |partition| partition.page_cache)
            && self.random.one_in(2)
        {
            planned.requires.push((id, partition.state.end));
        }
        Some(planned)
    }

    /// A frame that was decided on an end that has passed.
    fn stale(&mut self, model: &Model) -> Option<PlannedFrame> {
        let state = self.pick(model, |_, topic| topic == STATE)?;
        let id = self.data_partition(model)?;
        let expected = model.partitions[&state].state.end + 1;
        let (output, progress) = (self.batch(None, false), self.batch(None, false));
        Some(frame(
            "stale epoch",
            vec![internal(id, output, None), internal(state, progress, Some(expected))],
        ))
    }

    /// One request with batches for several partitions.
    fn several(&mut self, model: &Model) -> Option<PlannedFrame> {
        let ids: Vec<_> = model.live().filter(|(_, p)| p.topic != STATE).map(|(id, _)| id).collect();
        let appends = ids.into_iter().map(|id| self.idempotent_append(model, id)).collect::<Vec<_>>();
        // Two of them may be the same producer's, which is all right: sequences are per partition. But not its epochs.
        let mut epochs: Vec<_> =
            appends.iter().map(|append| (append.batch.header().producer_id, append.batch.header())).collect();
        epochs.sort_by_key(|(id, _)| *id);
        let agree = epochs
            .windows(2)
            .all(|pair| pair[0].0 != pair[1].0 || pair[0].1.producer_epoch == pair[1].1.producer_epoch);
        (agree && !appends.is_empty()).then(|| frame("several", appends))
    }

    /// Records are deleted, alone or together with a record that says so.
    fn trim(&mut self, model: &Model) -> Option<PlannedFrame> {
        let (id, partition) = self.pick_with(model, |_| true)?;
        let state = self.pick(model, |_, topic| topic == STATE)?;
        let end = partition.done_end(&model.frames);
        let offset = match self.random.below(8) {
            0 => partition.state.end + 1,
            1 => end,
            2 => self.random.below(end as u64 + 1) as i64,
            // Where a batch ends.
            _ => match partition.before(end) as u64 {
                0 => 0,
                batches => partition.batches[self.random.below(batches) as usize].header.next_offset(),
            },
        };
        let mut planned = frame("trim", Vec::new());
        planned.trims.push((id, offset));
        if self.random.one_in(2) {
            planned.what = "trim with a record";
            let record = self.batch(None, false);
            planned.appends.push(internal(state, record, self.expected_end(model, state)));
        }
        Some(planned)
    }

    /// A produce to a partition that was deleted.
    fn deleted(&mut self, model: &Model) -> Option<PlannedFrame> {
        let id = model.partitions.iter().find(|(_, partition)| !partition.is_live()).map(|(id, _)| *id);
        let Some(id) = id else { return self.plain(model) };
        let other = self.data_partition(model)?;
        let (batch, lost) = (self.batch(None, false), self.batch(None, false));
        Some(frame(
            "to a deleted one",
            vec![client(other, batch, false, false), client(id, lost, false, false)],
        ))
    }

    fn expected_end(&mut self, model: &Model, id: PartitionId) -> Option<i64> {
        (!self.random.one_in(3)).then(|| model.partitions[&id].state.end)
    }

    /// A live partition of clients' data.
    fn data_partition(&mut self, model: &Model) -> Option<PartitionId> {
        self.pick(model, |_, topic| topic != STATE)
    }

    fn pick(&mut self, model: &Model, wanted: impl Fn(PartitionId, &str) -> bool) -> Option<PartitionId> {
        let ids: Vec<_> = model.live().filter(|(id, p)| wanted(*id, p.topic)).map(|(id, _)| id).collect();
        (!ids.is_empty()).then(|| ids[self.random.below(ids.len() as u64) as usize])
    }

    fn pick_with<'a>(
        &mut self,
        model: &'a Model,
        wanted: impl Fn(&crate::model::PartitionModel) -> bool,
    ) -> Option<(PartitionId, &'a crate::model::PartitionModel)> {
        let found: Vec<_> = model.live().filter(|(_, partition)| wanted(partition)).collect();
        (!found.is_empty()).then(|| found[self.random.below(found.len() as u64) as usize])
    }

    fn tick(&mut self) -> i64 {
        self.now += self.random.below(50) as i64;
        self.now
    }

    /// One to four records with times that are nearly in order.
    fn batch(&mut self, producer: Option<ProducerStamp>, transactional: bool) -> Batch {
        let mut builder =
            BatchBuilder::new(BatchOptions { producer, transactional, ..BatchOptions::default() });
        for _ in 0..=self.random.below(4) {
            let longest = if self.random.one_in(60) { LONG_VALUE_BYTES } else { self.value_bytes };
            let length = self.random.below(longest + 1) as usize;
            let mut value = Vec::with_capacity(length + 8);
            while value.len() < length {
                value.extend(self.random.next_u64().to_le_bytes());
            }
            value.truncate(length);
            let timestamp = self.tick() - self.random.below(120) as i64;
            let key = [b'a' + self.random.below(KEYS) as u8];
            let value = (!self.random.one_in(6)).then_some(&value[..]);
            builder.push(timestamp, Some(&key), value, &[]);
        }
        builder.build()
    }
}

/// A call that is to fail: any, or one on a certain kind of file.
pub(crate) fn failing_call(random: &mut Random) -> (Failing, &'static str) {
    const PATHS: [&str; 8] =
        ["", ".journal", ".log", "checkpoint", ".snapshot", "clicks-2-0/0", "passing-0/0", "orders-1/"];
    let what = if random.one_in(3) { Failing::Write } else { Failing::Flush };
    (what, PATHS[random.below(PATHS.len() as u64) as usize])
}

fn frame(what: &'static str, appends: Vec<PlannedAppend>) -> PlannedFrame {
    PlannedFrame { what, appends, ..PlannedFrame::default() }
}

fn client(partition: PartitionId, batch: Batch, begins: bool, v2: bool) -> PlannedAppend {
    PlannedAppend { partition, batch, condition: Condition::Client { begins, v2 } }
}

fn internal(partition: PartitionId, batch: Batch, expected_end: Option<i64>) -> PlannedAppend {
    PlannedAppend { partition, batch, condition: Condition::Internal { expected_end } }
}

fn newest_epoch(model: &Model, producer: i64) -> Option<i16> {
    model.live().filter_map(|(_, p)| p.state.producers.get(&producer)).map(|known| known.epoch).max()
}

fn next_sequence(model: &Model, id: PartitionId, producer: i64, epoch: i16) -> i32 {
    model.partitions[&id]
        .state
        .producers
        .get(&producer)
        .filter(|known| known.epoch == epoch)
        .map_or(0, |known| known.next_sequence())
}

/// Where the producer has a transaction open, and its epoch there.
fn open_partitions(model: &Model, producer: i64) -> Vec<(PartitionId, i16)> {
    model
        .live()
        .filter_map(|(id, partition)| Some((id, partition.state.producers.get(&producer)?)))
        .filter(|(_, known)| known.transaction.is_some())
        .map(|(id, known)| (id, known.epoch))
        .collect()
}
