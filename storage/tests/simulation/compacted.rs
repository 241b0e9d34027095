//! What compaction may take away, and what it must leave.
//!
//! A record is gone only when a pass may have looked at it, and a later one has its key, or its transaction was aborted, or it
//! is a tombstone or a marker that a second pass met after its time. Everything that is there is as it was written. Whoever
//! reads committed data finds the last value of each key, and none for a key whose last record is a tombstone.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use logmill_record::{Batch, EndTxnMarker, Record};
use logmill_storage::disk::sim::Random;
use logmill_storage::store::{Isolation, Partition, ReadRequest};

use crate::check::decode;
use crate::model::{PartitionModel, Placed};
use crate::profile::DELETE_RETENTION_MS;
use crate::trace::{Violation, ensure};

const DECOMPRESSED_BYTES: usize = 1 << 20;

/// Compares all that can be read with what was written. Returns how many batches of the model that is, gone or not.
pub(crate) fn compare(
    partition: &Partition,
    expected: &PartitionModel,
    random: &mut Random,
) -> Result<usize, Violation> {
    let (id, topic) = (partition.id(), expected.topic);
    let (start, end) = (partition.published().log_start_offset, partition.published().high_watermark);
    let mut there = BTreeSet::new();
    let mut next = 0;
    for (batch, _) in read(partition, Isolation::Uncommitted, random)? {
        let header = *batch.header();
        ensure!(header.base_offset >= next, "{topic} {id}: batch at {} behind {next}", header.base_offset);
        next = header.next_offset();
        let original = expected.batches.iter().find(|placed| placed.header.base_offset == header.base_offset);
        let Some(original) = original else {
            return Err(Violation(format!(
                "{topic} {id}: the batch at {} was never committed",
                header.base_offset
            )));
        };
        compare_batch(&batch, original)
            .map_err(|why| Violation(format!("{topic} {id}: the batch at {}: {why}", header.base_offset)))?;
        there.extend(records(&batch).into_iter().map(|record| record.offset));
    }
    let batches = expected.before(end);
    let boundary = batches.checked_sub(1).map_or(0, |last| expected.batches[last].header.next_offset());
    ensure!(boundary == end, "{topic} {id}: ends at {end}, inside a batch");
    for placed in &expected.batches[..batches] {
        for record in records(&placed.batch()).iter().filter(|record| record.offset >= start) {
            ensure!(
                there.contains(&record.offset) || may_go(expected, placed, record),
                "{topic} {id}: the record at {} with key {:?} is gone ({}); passes {:?}, batches {:?}, aborted {:?}",
                record.offset,
                record.key,
                if record.value.is_none() { "a tombstone" } else { "a value" },
                expected.passes,
                summary(expected),
                expected.state.aborted
            );
        }
    }
    Ok(batches)
}

fn compare_batch(batch: &Batch, original: &Placed) -> Result<(), String> {
    if *batch.bytes() == original.bytes {
        return Ok(());
    }
    let facts = |header: &logmill_record::BatchHeader| {
        (
            (header.base_offset, header.last_offset(), header.leader_epoch),
            (header.producer_id, header.producer_epoch, header.base_sequence),
            (header.is_transactional(), header.is_control()),
        )
    };
    let (found, wanted) = (facts(batch.header()), facts(&original.header));
    if found != wanted {
        return Err(format!("{found:?} instead of {wanted:?}"));
    }
    let written = records(&original.batch());
    match records(batch).iter().find(|record| !written.contains(record)) {
        Some(other) => Err(format!("{other:?} was never written")),
        None => Ok(()),
    }
}

fn may_go(expected: &PartitionModel, placed: &Placed, record: &Record) -> bool {
    let mut looked = expected.passes.iter().filter(|(_, upper)| *upper > record.offset).map(|(now, _)| *now);
    let Some(first) = looked.next() else { return false };
    let met_again = looked.any(|now| now >= first + DELETE_RETENTION_MS);
    if placed.marker.is_some() {
        return met_again;
    }
    let upper = expected.passes.iter().map(|(_, upper)| *upper).max().unwrap_or(0);
    let newer = || {
        expected.batches.iter().filter(|later| is_committed(expected, later)).any(|later| {
            later.header.base_offset < upper
                && later.header.last_offset() > record.offset
                && records(&later.batch()).iter().any(|r| r.key == record.key && r.offset > record.offset)
        })
    };
    !is_committed(expected, placed) || (record.value.is_none() && met_again) || newer()
}

/// Data, and not of an aborted transaction.
fn is_committed(expected: &PartitionModel, placed: &Placed) -> bool {
    let header = &placed.header;
    let aborted = |aborted: &&logmill_storage::log::AbortedTransaction| {
        aborted.producer_id == header.producer_id
            && (aborted.first_offset..=aborted.last_offset).contains(&header.base_offset)
    };
    placed.marker.is_none()
        && !(header.is_transactional() && expected.state.aborted.iter().any(|one| aborted(&one)))
}

/// Compares what a consumer of committed data makes of it.
pub(crate) fn compare_committed(
    partition: &Partition,
    expected: &PartitionModel,
    random: &mut Random,
) -> Result<(), Violation> {
    let (id, topic, published) = (partition.id(), expected.topic, partition.published());
    let (start, stable) = (published.log_start_offset, published.last_stable_offset);
    let mut found: BTreeMap<Option<Bytes>, Record> = BTreeMap::new();
    for (batch, aborted) in read(partition, Isolation::Committed, random)? {
        if batch.header().is_control() || aborted {
            continue;
        }
        let placed = expected.batches.iter().find(|p| p.header.base_offset == batch.header().base_offset);
        ensure!(
            placed.is_some_and(|placed| is_committed(expected, placed)),
            "{topic} {id}: readers of committed data see the aborted batch at {}",
            batch.header().base_offset
        );
        let records = records(&batch).into_iter().filter(|record| record.offset >= start);
        found.extend(records.map(|record| (record.key.clone(), record)));
    }
    let mut wanted: BTreeMap<Option<Bytes>, Record> = BTreeMap::new();
    let visible = expected.batches.iter().filter(|placed| placed.header.next_offset() <= stable);
    for placed in visible.filter(|placed| is_committed(expected, placed)) {
        let records = records(&placed.batch()).into_iter().filter(|record| record.offset >= start);
        wanted.extend(records.map(|record| (record.key.clone(), record)));
    }
    found.retain(|_, record| record.value.is_some());
    wanted.retain(|_, record| record.value.is_some());
    ensure!(found == wanted, "{topic} {id}: last values are {found:?}, should be {wanted:?}");
    Ok(())
}

/// For a message: offsets, producer, whether transactional, keys of the records.
fn summary(expected: &PartitionModel) -> Vec<String> {
    let batches = expected.batches.iter().map(|placed| {
        let keys: Vec<_> =
            records(&placed.batch()).into_iter().map(|r| (r.offset, r.key, r.value.is_some())).collect();
        let header = &placed.header;
        format!(
            "{} transactional {} {:?} {keys:?}",
            header.producer_id,
            header.is_transactional(),
            placed.marker
        )
    });
    batches.collect()
}

fn records(batch: &Batch) -> Vec<Record> {
    batch.records(DECOMPRESSED_BYTES).unwrap_or_default()
}

/// All batches from the start, and whether a consumer leaves each out because its transaction was aborted.
fn read(
    partition: &Partition,
    isolation: Isolation,
    random: &mut Random,
) -> Result<Vec<(Batch, bool)>, Violation> {
    let mut all: Vec<(Batch, bool)> = Vec::new();
    let mut offset = partition.published().log_start_offset;
    loop {
        let max_bytes = [0, 700, 1 << 20][random.below(3) as usize];
        let result = partition
            .read(ReadRequest { offset, max_bytes, isolation, min_one_batch: true })
            .map_err(|error| Violation(format!("{}: read at {offset}: {error}", partition.id())))?;
        let more = decode(&result.chunks, partition.id())?;
        let Some(last) = more.last() else { return Ok(all) };
        offset = last.header().next_offset();
        let mut later = result.aborted;
        later.sort_by_key(|aborted| aborted.first_offset);
        let mut dropping = BTreeSet::new();
        let mut later = later.into_iter().peekable();
        for batch in more {
            let header = *batch.header();
            while let Some(begun) = later.next_if(|aborted| aborted.first_offset <= header.last_offset()) {
                dropping.insert(begun.producer_id);
            }
            if header.is_control() && EndTxnMarker::from_batch(&batch).is_ok_and(|marker| !marker.commit) {
                dropping.remove(&header.producer_id);
            }
            let aborted = header.is_transactional() && dropping.contains(&header.producer_id);
            all.push((batch, aborted));
        }
    }
}
