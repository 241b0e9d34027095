//! What cases have been through, in numbers.

use std::collections::BTreeMap;

/// Where the machine went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum During {
    Open,
    Create,
    Delete,
    Journal,
    Apply,
    Checkpoint,
    Clean,
    Compact,
    Close,
    Else,
}

/// What cases have been through.
#[derive(Debug, Clone, Default)]
pub(crate) struct Coverage {
    pub cases: u64,
    pub steps: u64,
    pub frames: u64,
    pub duplicates: u64,
    /// Refused as duplicates, as their offsets were not known after a start.
    pub forgotten_duplicates: u64,
    pub refusals: u64,
    pub starts: u64,
    pub crashes: BTreeMap<During, u64>,
    /// Where a write or a flush failed and ended the store.
    pub failed: BTreeMap<During, u64>,
    /// Lives that ended with the process and not with the machine.
    pub process_ends: u64,
    /// Partitions that retention trimmed, passes of compaction, and records that went with them.
    pub retained: u64,
    pub compactions: u64,
    pub compacted_records: u64,
    /// Bits that flipped in batches, and in files derived from them.
    pub rotten_batches: u64,
    pub rotten_files: u64,
    /// Reads after a start that were answered with damage where there is some.
    pub corrupt_reads: u64,
    pub lost_frames: u64,
    pub lost_from_page_cache: u64,
    /// Torn ends of the journal that were cut.
    pub torn: u64,
    /// Frames replayed, and batches of them that were in the segments before, and that were not.
    pub replayed_frames: u64,
    pub replayed_present: u64,
    pub replayed_written: u64,
    /// Lives that ended with more segments than partitions.
    pub rolled: u64,
    /// Journal files given back by checkpoints.
    pub recycled: u64,
    pub checkpoints: u64,
    /// Bytes of segments that were removed.
    pub trimmed_bytes: u64,
    /// Times that the disk was filled, and rounds and checkpoints that did less because of it.
    pub fills: u64,
    pub full: u64,
    /// Commits that were refused because of it.
    pub refused_full: u64,
}

impl Coverage {
    pub(crate) fn add(&mut self, other: &Coverage) {
        for (during, count) in &other.crashes {
            *self.crashes.entry(*during).or_default() += count;
        }
        for (during, count) in &other.failed {
            *self.failed.entry(*during).or_default() += count;
        }
        self.retained += other.retained;
        self.compactions += other.compactions;
        self.compacted_records += other.compacted_records;
        self.rotten_batches += other.rotten_batches;
        self.rotten_files += other.rotten_files;
        self.corrupt_reads += other.corrupt_reads;
        self.process_ends += other.process_ends;
        self.cases += other.cases;
        self.steps += other.steps;
        self.frames += other.frames;
        self.duplicates += other.duplicates;
        self.forgotten_duplicates += other.forgotten_duplicates;
        self.refusals += other.refusals;
        self.starts += other.starts;
        self.lost_frames += other.lost_frames;
        self.lost_from_page_cache += other.lost_from_page_cache;
        self.torn += other.torn;
        self.replayed_frames += other.replayed_frames;
        self.replayed_present += other.replayed_present;
        self.replayed_written += other.replayed_written;
        self.rolled += other.rolled;
        self.recycled += other.recycled;
        self.checkpoints += other.checkpoints;
        self.trimmed_bytes += other.trimmed_bytes;
        self.fills += other.fills;
        self.full += other.full;
        self.refused_full += other.refused_full;
    }
}
