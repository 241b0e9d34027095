//! Comparing an open store with the model.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use logmill_record::{Batch, batches};
use logmill_storage::PartitionId;
use logmill_storage::disk::sim::Random;
use logmill_storage::log::{AbortedTransaction, Corruption, ReadError};
use logmill_storage::store::{Isolation, Partition, ReadRequest};

use crate::compacted;
use crate::machine::Machine;
use crate::model::{FrameModel, LogState, Model, PartitionModel, Placed, Presence};
use crate::trace::{Violation, ensure};

/// What a store shows of one partition.
struct Seen {
    partition: Partition,
    /// So many batches of the model are there, compacted or not.
    batches: usize,
    /// Offset after the last.
    end: i64,
}

/// What recovery has kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Kept {
    pub frames: usize,
    pub lost_frames: usize,
    /// Plain produce in page-cache mode that was acknowledged and is gone, as its promise allows.
    pub lost_from_page_cache: usize,
    /// Reads that met damage.
    pub corrupt_reads: usize,
}

/// After a start: finds out which prefix has survived, says what is wrong with it, cuts the model down to it, and
/// compares everything else.
pub(crate) fn after_start(
    machine: &Machine,
    model: &mut Model,
    random: &mut Random,
    power_cut: bool,
) -> Result<Kept, Violation> {
    let mut seen = BTreeMap::new();
    let mut corrupt_reads = 0;
    for (id, partition) in machine.partitions() {
        let Some(expected) = model.partitions.get(&id) else {
            return Err(Violation(format!("partition {id} was never made")));
        };
        let name = expected.topic;
        ensure!(partition.topic_name() == name, "{name} {id}: is called {}", partition.topic_name());
        ensure!(expected.presence != Presence::Deleted, "{name} {id}: was deleted, and is back");
        let (batches, met) = read_expected(&partition, expected, random)?;
        corrupt_reads += met;
        let end = partition.published().high_watermark;
        seen.insert(id, Seen { partition, batches, end });
    }
    for (id, partition) in &model.partitions {
        let missing = partition.presence == Presence::Certain && !seen.contains_key(id);
        ensure!(!missing, "{} {id}: was there, and is gone", partition.topic);
    }
    let (mut kept, shortened) = cut_to_survivors(model, &seen)?;
    ensure!(
        power_cut || kept.lost_from_page_cache == 0,
        "{} acknowledged frames are gone with the process: {shortened:?}",
        kept.lost_from_page_cache
    );
    settle_trims(model, &seen)?;
    for (id, partition) in &mut model.partitions {
        let found = seen.get(id);
        match (partition.presence, found.is_some()) {
            (Presence::Possible, true) => partition.presence = Presence::Certain,
            (Presence::Possible, false) => partition.presence = Presence::Deleted,
            _ => {}
        }
        if let Some(Seen { partition: handle, .. }) = found {
            let epoch = handle.leader_epoch();
            let lost = shortened.contains(id);
            // Whoever has seen what is gone finds out by the epoch (KIP-320).
            ensure!(
                epoch >= partition.leader_epoch + i32::from(lost),
                "{} {id}: leader epoch {epoch}, was {}, acknowledged produce was lost: {lost}",
                partition.topic,
                partition.leader_epoch
            );
            partition.leader_epoch = epoch;
        }
    }
    kept.corrupt_reads = corrupt_reads;
    for (id, Seen { partition, batches, .. }) in &seen {
        let expected = &model.partitions[id];
        {
            let published = partition.published();
            ensure!(
                published.high_watermark == expected.state.end,
                "{} {id}: high watermark {} after a start, the log ends at {}",
                expected.topic,
                published.high_watermark,
                expected.state.end
            );
            compare_state(partition, expected, *id, *batches, random)?;
            compare_producers(partition, expected, *id)?;
        }
    }
    Ok(kept)
}

/// While it runs: what is published is a beginning of what was committed, and holds what is done.
pub(crate) fn while_running(
    machine: &Machine,
    model: &mut Model,
    random: &mut Random,
) -> Result<(), Violation> {
    let handles = machine.partitions();
    let expected: Vec<_> = model.live().map(|(id, _)| id).collect();
    let found: Vec<_> = handles.keys().copied().collect();
    ensure!(expected == found, "partitions are {found:?}, should be {expected:?}");
    let mut visible_frames = Vec::new();
    let mut starts = Vec::new();
    for (id, partition) in &handles {
        let expected = &model.partitions[id];
        let topic = expected.topic;
        let sequenced = partition.sequenced_end();
        ensure!(
            sequenced == expected.state.end,
            "{topic} {id}: sequenced end {sequenced}, should be {}",
            expected.state.end
        );
        let (batches, _) = read_expected(partition, expected, random)?;
        let done = expected.batches.iter().rposition(|placed| model.frames[placed.frame].done);
        let done = done.map_or(0, |last| last + 1);
        ensure!(batches >= done, "{topic} {id}: {done} batches are done, {batches} can be read");
        let start = partition.published().log_start_offset;
        ensure!(
            start == expected.start
                || model.trims_of(*id).any(|offset| offset == start && start > expected.start),
            "{topic} {id}: begins at {start}, was at {}",
            expected.start
        );
        starts.push((*id, start));
        compare_state(partition, expected, *id, batches, random)?;
        compare_producers(partition, expected, *id)?;
        visible_frames.extend(expected.batches[..batches].iter().map(|placed| placed.frame));
    }
    for (id, start) in starts {
        if let Some(partition) = model.partitions.get_mut(&id) {
            partition.start = start;
        }
    }
    // Somebody has seen them now.
    for frame in visible_frames {
        model.frames[frame].must_stay |= model.frames[frame].journaled;
    }
    Ok(())
}

fn compare_batches(expected: &PartitionModel, id: PartitionId, batches: &[Batch]) -> Result<(), Violation> {
    let topic = expected.topic;
    let mut end = 0;
    for (place, batch) in batches.iter().enumerate() {
        let offset = batch.header().base_offset;
        ensure!(offset == end, "{topic} {id}: batch {place} has offset {offset}, should have {end}");
        end = batch.header().next_offset();
        let Some(placed) = expected.batches.get(place) else {
            return Err(Violation(format!("{topic} {id}: batch {place} at {offset} was never committed")));
        };
        ensure!(
            placed.bytes == *batch.bytes(),
            "{topic} {id}: batch {place} at {offset} differs from what was committed: {:?} instead of {:?}",
            batch.header(),
            placed.header
        );
    }
    Ok(())
}

/// Decides where each partition begins: a frame that is there has trimmed, one that is not has not.
fn settle_trims(model: &mut Model, seen: &BTreeMap<PartitionId, Seen>) -> Result<(), Violation> {
    // What has no appends that can be seen is there when a later frame is, and not when an earlier one is not.
    let visible = |frame: &FrameModel| frame.appends.iter().any(|(id, _)| seen.contains_key(id));
    let unsettled = || model.frames.iter().enumerate().skip(model.settled);
    let journaled = || unsettled().filter(|(_, frame)| frame.journaled);
    let last_there =
        journaled().filter(|(_, frame)| visible(frame) && !frame.lost).map(|(number, _)| number).next_back();
    let first_lost = journaled()
        .find(|(number, frame)| visible(frame) && frame.lost && last_there.is_none_or(|last| *number > last));
    let first_lost = first_lost.map_or(usize::MAX, |(number, _)| number);
    let mut starts = BTreeMap::new();
    for (id, Seen { partition, .. }) in seen {
        let expected = &model.partitions[id];
        let start = partition.published().log_start_offset;
        let trims = || {
            journaled()
                .filter(|(_, frame)| !frame.lost || !visible(frame))
                .flat_map(|(number, frame)| frame.trims.iter().map(move |trim| (number, *trim)))
                .filter(|(number, (trimmed, _))| trimmed == id && *number < first_lost)
        };
        let certain = trims().filter(|(number, _)| last_there.is_some_and(|last| *number <= last));
        let least = certain.map(|(_, (_, offset))| offset).max().unwrap_or(0).max(expected.start);
        let possible = start == least || trims().any(|(_, (_, offset))| offset == start);
        ensure!(
            start >= least && possible,
            "{} {id}: begins at {start} after a start; at least {least}, trims {:?}",
            expected.topic,
            trims().collect::<Vec<_>>()
        );
        starts.insert(*id, start);
    }
    for (id, start) in starts {
        if let Some(partition) = model.partitions.get_mut(&id) {
            partition.start = start;
        }
    }
    model.frames.iter_mut().for_each(|frame| frame.trims.clear());
    model.settled = model.frames.len();
    Ok(())
}

/// Decides what has survived of each frame.
fn cut_to_survivors(
    model: &mut Model,
    seen: &BTreeMap<PartitionId, Seen>,
) -> Result<(Kept, BTreeSet<PartitionId>), Violation> {
    let mut kept = Kept::default();
    // Page-cache partitions that lost something acknowledged.
    let mut shortened = BTreeSet::new();
    let mut first_missing: Option<usize> = None;
    for (number, frame) in model.frames.iter_mut().enumerate().filter(|(_, frame)| !frame.lost) {
        // What is in a deleted partition says nothing.
        let presence: Vec<_> = frame
            .appends
            .iter()
            .filter_map(|(id, place)| seen.get(id).map(|seen| (*id, *place < seen.batches)))
            .collect();
        if presence.is_empty() {
            continue;
        }
        let missing = presence.iter().filter(|(_, present)| !present).count();
        let what = frame.what;
        if frame.journaled {
            ensure!(
                missing == 0 || missing == presence.len(),
                "frame {number} ({what}) is torn, by partition: {presence:?}, appends {:?}",
                frame.appends
            );
            let there = missing == 0;
            if let (true, Some(before)) = (there, first_missing) {
                return Err(Violation(format!(
                    "frame {number} ({what}) is there, frame {before} before it is not"
                )));
            }
            if missing > 0 {
                ensure!(
                    !frame.done && !frame.must_stay,
                    "frame {number} ({what}) is gone, {}",
                    if frame.done { "although it was acknowledged" } else { "although it had been seen" }
                );
                first_missing.get_or_insert(number);
            }
            if there {
                let required = frame.requires.iter().filter(|(id, _)| model.partitions[id].is_live());
                for (id, offset) in required {
                    let end = seen.get(id).map_or(*offset, |seen| seen.end);
                    ensure!(
                        end >= *offset,
                        "frame {number} ({what}) is there, but {id}, which it requires up to {offset}, ends at {end}"
                    );
                }
            }
        } else if missing > 0 && frame.done {
            kept.lost_from_page_cache += 1;
            shortened.extend(presence.iter().filter(|(_, present)| !present).map(|(id, _)| *id));
        }
        // Plain produce to several page-cache partitions is one frame for convenience only: each part is on its own.
        frame.lost = missing > 0 && missing == presence.len();
        if frame.lost {
            kept.lost_frames += 1;
        } else {
            frame.must_stay = true;
            frame.done = true;
            kept.frames += 1;
        }
    }
    for (id, partition) in &mut model.partitions {
        let Some(seen) = seen.get(id) else { continue };
        ensure!(
            seen.batches >= partition.flushed,
            "{} {id}: {} batches were flushed, {} are there",
            partition.topic,
            partition.flushed,
            seen.batches
        );
        partition.truncate(seen.batches);
        // It was read: it must not go away again.
        partition.flushed = seen.batches;
        partition.state.restarted();
    }
    Ok((kept, shortened))
}

fn end_of(batches: &[Batch]) -> i64 {
    batches.last().map_or(0, |batch| batch.header().next_offset())
}

/// Compares all that follows from the batches that can be read: offsets, transactions, times.
fn compare_state(
    partition: &Partition,
    expected: &PartitionModel,
    id: PartitionId,
    batches: usize,
    random: &mut Random,
) -> Result<(), Violation> {
    let topic = expected.topic;
    let visible = &expected.batches[..batches];
    let whole;
    let state = if batches == expected.batches.len() {
        &expected.state
    } else {
        whole = LogState::of(visible);
        &whole
    };
    let published = partition.published();
    let found = (published.log_start_offset, published.high_watermark, published.last_stable_offset);
    let start = found.0;
    let wanted = (start, state.end, state.last_stable().max(start));
    ensure!(
        found == wanted,
        "{topic} {id}: published (start, high watermark, last stable) {found:?}, should be {wanted:?}"
    );
    if expected.is_compacted() {
        return compacted::compare_committed(partition, expected, random);
    }
    compare_aborted(partition, expected, state, start, random)?;
    if !expected.damaged.is_empty() {
        // Looking for a time reads what it may not.
        return Ok(());
    }
    let first = expected.before(start);
    // Of a batch that begins before the start its header says the largest timestamp.
    let whole = visible.get(first).is_none_or(|placed| placed.header.base_offset >= start);
    if whole {
        compare_times(partition, visible.get(first..).unwrap_or_default(), id, topic, random)
    } else {
        Ok(())
    }
}

fn compare_aborted(
    partition: &Partition,
    expected: &PartitionModel,
    state: &LogState,
    start: i64,
    random: &mut Random,
) -> Result<(), Violation> {
    let (id, topic) = (partition.id(), expected.topic);
    let stable = state.last_stable().max(start);
    if !expected.damaged.is_empty() && is_without_aborted(partition, start) {
        return Ok(());
    }
    let (committed, _) = read_all(partition, Isolation::Committed, expected, random)?;
    ensure!(
        end_of(&committed).max(start) == stable,
        "{topic} {id}: readers of committed data get to {}, should get to {stable}",
        end_of(&committed)
    );
    let from = start + random.below((stable - start) as u64 + 1) as i64;
    let isolation = Isolation::Committed;
    let request = ReadRequest { offset: from, max_bytes: usize::MAX, isolation, min_one_batch: true };
    let result = match partition.read(request) {
        Err(ReadError::Corrupt(_)) if expected.damaged_at(from).is_some() => return Ok(()),
        read => read.map_err(|error| Violation(format!("{topic} {id}: read at {from}: {error}")))?,
    };
    let read = decode(&result.chunks, id)?;
    if let Some(first) = read.first() {
        let (base, last) = (first.header().base_offset, first.header().last_offset());
        ensure!(
            (base..=last).contains(&from),
            "{topic} {id}: asked for {from}, got a batch of {base} to {last}"
        );
    }
    let overlapping = |upper: i64| -> Vec<AbortedTransaction> {
        let meets =
            |aborted: &&AbortedTransaction| aborted.last_offset >= from && aborted.first_offset < upper;
        state.aborted.iter().filter(meets).copied().collect()
    };
    let (least, most) = (overlapping(end_of(&read)), overlapping(stable));
    let found = &result.aborted;
    ensure!(
        read.is_empty()
            || (least.iter().all(|one| found.contains(one)) && found.iter().all(|one| most.contains(one))),
        "{topic} {id}: aborted transactions from {from}: {found:?}, should be {least:?} and at most {most:?}"
    );
    let ordered = found.windows(2).all(|pair| pair[0].last_offset < pair[1].last_offset);
    ensure!(ordered, "{topic} {id}: aborted transactions are not in order, or twice: {found:?}");
    Ok(())
}

fn compare_times(
    partition: &Partition,
    visible: &[Placed],
    id: PartitionId,
    topic: &str,
    random: &mut Random,
) -> Result<(), Violation> {
    let mut times = Vec::new();
    // Markers count, as in Kafka.
    for placed in visible {
        let batch = Batch::trusted(placed.bytes.clone()).expect("it is a batch");
        let records = batch.records(0).expect("it has records");
        times.extend(records.iter().map(|record| (record.offset, record.timestamp)));
    }
    let largest = times.iter().map(|(_, time)| *time).max();
    let failed = |error| Violation(format!("{topic} {id}: looking for a time: {error}"));
    let found = partition.max_timestamp().map_err(failed)?;
    let wanted = largest.and_then(|largest| times.iter().find(|(_, time)| *time == largest).copied());
    ensure!(found == wanted, "{topic} {id}: largest timestamp {found:?}, should be {wanted:?}");
    if times.is_empty() {
        return Ok(());
    }
    let asked = times[random.below(times.len() as u64) as usize].1 + random.below(3) as i64 - 1;
    let found = partition.offset_for_timestamp(asked).map_err(failed)?;
    let wanted = times.iter().find(|(_, time)| *time >= asked).copied();
    ensure!(
        found == wanted,
        "{topic} {id}: first record at or after {asked}: {found:?}, should be {wanted:?}"
    );
    Ok(())
}

/// Nobody knows any more which transactions were aborted, and who asks is refused: a crash tore the file that says it, and
/// it cannot be made again from batches that are damaged.
fn is_without_aborted(partition: &Partition, start: i64) -> bool {
    let isolation = Isolation::Committed;
    let request = ReadRequest { offset: start, max_bytes: usize::MAX, isolation, min_one_batch: true };
    let torn = |found: &Corruption| found.file.extension().is_some_and(|kind| kind == "txnindex");
    matches!(partition.read(request), Err(ReadError::Corrupt(found)) if torn(&found))
}

fn compare_producers(
    partition: &Partition,
    expected: &PartitionModel,
    id: PartitionId,
) -> Result<(), Violation> {
    let mut found: Vec<_> = partition
        .producers()
        .into_iter()
        .map(|p| {
            (
                p.producer_id,
                p.producer_epoch,
                p.last_sequence,
                p.coordinator_epoch,
                p.transaction_first_offset,
                p.last_timestamp,
            )
        })
        .collect();
    found.sort_unstable();
    let wanted: Vec<_> = expected
        .state
        .producers
        .iter()
        .map(|(id, p)| {
            (*id, p.epoch, p.last_sequence(), p.coordinator_epoch, p.transaction, p.last_timestamp)
        })
        .collect();
    ensure!(
        found == wanted,
        "{} {id}: producers (id, epoch, sequence, coordinator, transaction, time) {found:?}, should be {wanted:?}",
        expected.topic
    );
    Ok(())
}

/// How many batches of the model can be read, each with what it must have, and how many reads met damage.
fn read_expected(
    partition: &Partition,
    expected: &PartitionModel,
    random: &mut Random,
) -> Result<(usize, usize), Violation> {
    if expected.is_compacted() {
        return Ok((compacted::compare(partition, expected, random)?, 0));
    }
    let (batches, met) = read_all(partition, Isolation::Uncommitted, expected, random)?;
    compare_batches(expected, partition.id(), &batches)?;
    Ok((batches.len(), met))
}

/// Reads a partition from the start, in pieces of any size. What lies before is taken from the model: it was there once;
/// and so is what is damaged, when the store says so.
fn read_all(
    partition: &Partition,
    isolation: Isolation,
    expected: &PartitionModel,
    random: &mut Random,
) -> Result<(Vec<Batch>, usize), Violation> {
    let id = partition.id();
    let mut met = 0;
    let start = partition.published().log_start_offset;
    let gone = &expected.batches[..expected.before(start)];
    let mut all: Vec<Batch> = gone.iter().filter_map(|p| Batch::trusted(p.bytes.clone()).ok()).collect();
    loop {
        let max_bytes = [0, 700, 1 << 20][random.below(3) as usize];
        let offset = end_of(&all).max(start);
        let request = ReadRequest { offset, max_bytes, isolation, min_one_batch: true };
        let result = match partition.read(request) {
            Err(ReadError::Corrupt(_)) if let Some(damaged) = expected.damaged_at(offset) => {
                met += 1;
                all.extend(Batch::trusted(damaged.bytes.clone()));
                continue;
            }
            read => read.map_err(|error| {
                Violation(format!("{} {id}: read at {offset}: {error}", partition.topic_name()))
            })?,
        };
        let more = decode(&result.chunks, id)?;
        if more.is_empty() {
            return Ok((all, met));
        }
        all.extend(more);
    }
}

pub(crate) fn decode(chunks: &[Bytes], id: PartitionId) -> Result<Vec<Batch>, Violation> {
    let mut bytes = BytesMut::new();
    chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
    batches(bytes.freeze())
        .collect::<Result<_, _>>()
        .map_err(|error| Violation(format!("{id}: read bytes that are no batches: {error}")))
}
