//! I16: a bit that flips in what a restart reads is seen, and where it is; or it changes nothing.
//!
//! Read are a snapshot, the changelog behind it, and the last progress record, each as bytes. A reader that does not look at
//! checksums is the bug: it restores another state, and nobody says so.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use logmill_record::batch::batches;
use logmill_record::{BATCH_HEADER_LEN, Batch};
use logmill_stream::{
    EpochLimits, EpochLoop, Pipeline, Plan, Progress, SNAPSHOT_VERSION, SnapshotError, SnapshotHeader,
    SnapshotOperator, SnapshotReader, SnapshotWriter, StateChanges, Turn, merge_snapshot,
};

use super::input::{singly, some_events};
use super::queries::{ALL, GROUPED, Query};
use super::support::{MemoryLogs, restored, spec};
use super::{Checked, Violation, ensure, found};

/// Epochs that are run before the restart, and of how many of them there is a snapshot.
const EPOCHS: u64 = 14;
const IN_SNAPSHOT: u64 = 9;

/// Bits that are flipped in each part of each query's files.
const FLIPS: usize = 300;

const BUDGET: usize = 64 << 20;

/// What a restart reads.
#[derive(Debug, Clone)]
struct Files {
    snapshot: Vec<u8>,
    changelog: Vec<u8>,
    progress: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Snapshot,
    Changelog,
    Progress,
}

const PARTS: [Part; 3] = [Part::Snapshot, Part::Changelog, Part::Progress];

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Part::Snapshot => "snapshot",
            Part::Changelog => "changelog",
            Part::Progress => "progress log",
        };
        f.write_str(name)
    }
}

impl Files {
    fn part(&mut self, part: Part) -> &mut Vec<u8> {
        match part {
            Part::Snapshot => &mut self.snapshot,
            Part::Changelog => &mut self.changelog,
            Part::Progress => &mut self.progress,
        }
    }
}

/// Why nothing is restored, and where: what is damaged begins here.
#[derive(Debug)]
struct Refused {
    part: Part,
    at: usize,
    error: String,
}

/// A pipeline that has run for a while, and what is left of its input.
struct Written {
    plan: Plan,
    logs: MemoryLogs,
    files: Files,
    /// What the epochs behind the restart write, when nothing is damaged.
    undisturbed: (Vec<u32>, Vec<String>),
}

fn limits() -> EpochLimits {
    EpochLimits { input_bytes: 1, input_records: 1, emit_rows: 2, ..EpochLimits::default() }
}

fn bytes(batches: &[Batch]) -> Vec<u8> {
    batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect()
}

fn snapshot(plan: &Plan, logs: &MemoryLogs) -> Vec<u8> {
    let mut changes = StateChanges::default();
    logs.changelog.iter().for_each(|batch| changes.apply(batch).expect("it is whole"));
    let progress = logs.last_progress().expect("there was an epoch");
    let header = SnapshotHeader {
        version: SNAPSHOT_VERSION,
        progress_offset: progress.epoch as i64 - 1,
        progress,
        changelog: "test".to_owned(),
        changelog_end: logs.changelog.len() as i64,
        script: String::new(),
        operators: SnapshotOperator::of(plan),
        created_ms: 0,
    };
    let made = merge_snapshot::<&[u8], _>(&header, None, &changes, |_| true, Vec::new());
    made.expect("memory can be written").0
}

impl Written {
    fn new(query: Query) -> Written {
        let plan = query.plan();
        let mut logs = singly(&some_events(3), 3);
        let mut epochs = EpochLoop::new(restored(&plan, &logs, 1), limits());
        let (mut of_epoch, mut behind) = (Vec::new(), 0);
        while epochs.pipeline().epoch() < EPOCHS {
            let turn = epochs.turn(&mut logs, 1_700_000_000_000, 0).expect("it runs");
            assert!(matches!(turn, Turn::Committed { .. }), "the input is longer");
            if epochs.pipeline().epoch() == IN_SNAPSHOT {
                (of_epoch, behind) = (snapshot(&plan, &logs), logs.changelog.len());
            }
        }
        let progress = logs.last_progress().expect("there were epochs").batch();
        let files = Files {
            snapshot: of_epoch,
            changelog: bytes(&logs.changelog[behind..]),
            progress: bytes(&[progress]),
        };
        let mut written = Written { plan, logs, files, undisturbed: Default::default() };
        let whole = written.restart(&written.files, checked).expect("nothing is damaged");
        written.undisturbed = written.finish(whole).expect("nothing is damaged");
        written
    }

    /// Restores the pipeline from its files, which `read` reads.
    fn restart(&self, files: &Files, read: Reader) -> Result<Pipeline, Refused> {
        let (mut progress, mut last) = (None, 0);
        for (at, batch) in read(Part::Progress, &files.progress)? {
            let refused = |error: String| Refused { part: Part::Progress, at, error };
            let records = batch.records(BUDGET).map_err(|error| refused(error.to_string()))?;
            let value = records.last().and_then(|record| record.value.clone());
            let value = value.ok_or_else(|| refused("it has no record".to_owned()))?;
            progress = Some(Progress::decode(&value).map_err(|error| refused(error.to_string()))?);
            last = at;
        }
        let refused = |at, error: String| Refused { part: Part::Progress, at, error };
        let progress = progress.ok_or_else(|| refused(0, "there is none".to_owned()))?;
        let restoring = Pipeline::restore(self.plan.clone(), spec(&self.plan, &self.logs, 9), Some(progress));
        let restoring = restoring.map_err(|error| refused(last, error.to_string()))?;
        let of_snapshot = |error: SnapshotError| match error {
            SnapshotError::Damaged { at, .. } | SnapshotError::Truncated { at } => {
                Refused { part: Part::Snapshot, at: at as usize, error: error.to_string() }
            }
            // What it says is wrong is not in one place.
            error => Refused { part: Part::Snapshot, at: 0, error: error.to_string() },
        };
        let mut reader = SnapshotReader::open(&*files.snapshot).map_err(of_snapshot)?;
        let mut restoring = restoring.apply_snapshot(&mut reader, &mut |_| true).map_err(of_snapshot)?;
        for (at, batch) in read(Part::Changelog, &files.changelog)? {
            let applied = restoring.apply(&batch);
            applied.map_err(|error| Refused { part: Part::Changelog, at, error: error.to_string() })?;
        }
        Ok(restoring.finish())
    }

    /// Runs the rest of the input: what every epoch behind writes, state included.
    fn finish(&self, pipeline: Pipeline) -> Result<(Vec<u32>, Vec<String>), String> {
        let mut logs = self.logs.clone();
        let ends = logs.ends("in");
        let mut epochs = EpochLoop::new(pipeline, limits());
        epochs.declare_ends(ends).map_err(|error| error.to_string())?;
        loop {
            match epochs.turn(&mut logs, 1_700_000_000_000, 0) {
                Ok(Turn::Committed { .. }) => {}
                Ok(Turn::Finished) => break,
                Ok(Turn::Idle) => return Err("it has nothing to do".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok((logs.progress.iter().map(|progress| progress.digest).collect(), logs.values("out")))
    }

    /// What becomes of one bit that flips.
    fn check_flip(&self, part: Part, at: usize, bit: u8, read: Reader) -> Checked {
        let mut files = self.files.clone();
        files.part(part)[at] ^= 1 << bit;
        self.check(&files, part, at, read)
            .map_err(|Violation(what)| Violation(format!("bit {bit} of byte {at} of the {part}: {what}")))
    }

    fn check(&self, files: &Files, part: Part, at: usize, read: Reader) -> Checked {
        let restart = || match self.restart(files, read) {
            Ok(pipeline) => self.finish(pipeline).map(Ok).or_else(|error| Ok(Err(error))),
            Err(refused) => Err(refused),
        };
        match catch_unwind(AssertUnwindSafe(restart)).map_err(|_| Violation("a panic".to_owned()))? {
            Err(refused) => {
                // A length that is too long reaches beyond the end, which is what is said.
                let end = files.clone().part(part).len();
                let right = refused.part == part && (refused.at <= at || refused.at == end);
                let Refused { part, at, error } = refused;
                ensure(right, || format!("it is said to be elsewhere, at {at} of the {part}: {error}"))
            }
            Ok(given) => ensure(given.as_ref() == Ok(&self.undisturbed), || "another state".to_owned()),
        }
    }
}

/// Reads the batches of a log, each with the place where it begins.
type Reader = fn(Part, &[u8]) -> Result<Vec<(usize, Batch)>, Refused>;

fn checked(part: Part, bytes: &[u8]) -> Result<Vec<(usize, Batch)>, Refused> {
    let mut read = Vec::new();
    let mut at = 0;
    for batch in batches(Bytes::copy_from_slice(bytes)) {
        let batch = batch.map_err(|error| Refused { part, at, error: error.to_string() })?;
        let size = batch.size();
        read.push((at, batch));
        at += size;
    }
    Ok(read)
}

/// The bug: no checksum is looked at.
fn unchecked(part: Part, bytes: &[u8]) -> Result<Vec<(usize, Batch)>, Refused> {
    let mut read = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let refused = |error: String| Refused { part, at, error };
        let rest = Bytes::copy_from_slice(&bytes[at..]);
        let too_short = || refused("it ends within a batch".to_owned());
        let length = rest.get(8..12).and_then(|length| length.try_into().ok()).ok_or_else(too_short)?;
        let size = 12_usize.saturating_add(u32::from_be_bytes(length) as usize);
        if size < BATCH_HEADER_LEN || size > rest.len() {
            return Err(too_short());
        }
        let batch = Batch::trusted(rest.slice(..size)).map_err(|error| refused(error.to_string()))?;
        read.push((at, batch));
        at += size;
    }
    Ok(read)
}

/// A snapshot as a reader has it that does not look at checksums: the same entries, and checksums that fit them. `None` if
/// even such a reader cannot read it.
fn as_if_unchecked(snapshot: &[u8]) -> Option<Vec<u8>> {
    const MAGIC: usize = 8;
    let number = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize);
    let (mut rest, mut writer) = (snapshot.get(MAGIC..)?, None);
    while let Some(length) = number(rest) {
        let (kind, payload) = (*rest.get(8)?, rest.get(9..8 + length)?);
        rest = &rest[8 + length..];
        match (kind, &mut writer) {
            (0, None) => {
                let header: SnapshotHeader = serde_json::from_slice(payload).ok()?;
                writer = Some(SnapshotWriter::new(Vec::new(), &header).ok()?);
            }
            (1, Some(writer)) => {
                let mut entries = payload;
                while !entries.is_empty() {
                    let (key, value) = (number(entries)?, number(entries.get(4..)?)?);
                    let both = entries.get(8..8_usize.checked_add(key)?.checked_add(value)?)?;
                    writer.push(&both[..key], &both[key..]).ok()?;
                    entries = &entries[8 + key + value..];
                }
            }
            (2, Some(_)) => {}
            _ => return None,
        }
    }
    Some(writer?.finish().ok()?.0)
}

/// What is wrong, if it is that another state was restored.
fn other_state(checked: Checked) -> Option<Violation> {
    checked.err().filter(|Violation(what)| what.contains("another state"))
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }
}

#[test]
fn a_bit_that_flips_is_seen_where_it_is_or_changes_nothing() {
    let mut numbers = Numbers(11);
    let mut parts = 0;
    for (index, query) in ALL.into_iter().enumerate() {
        let written = Written::new(query);
        for part in PARTS {
            let length = written.files.clone().part(part).len();
            if length == 0 {
                // Nothing has changed behind the snapshot.
                continue;
            }
            for _ in 0..FLIPS {
                let (at, bit) = (numbers.below(length), numbers.below(8) as u8);
                written
                    .check_flip(part, at, bit, checked)
                    .unwrap_or_else(|Violation(what)| panic!("query {index}: {what}"));
            }
            parts += 1;
        }
    }
    assert!(parts >= ALL.len() * PARTS.len() - 2, "{parts} parts have something in them");
}

/// Of the first bytes of a batch no checksum is over all: every bit of them.
#[test]
fn every_bit_of_a_header_is_seen_or_changes_nothing() {
    let written = Written::new(GROUPED);
    for part in [Part::Changelog, Part::Progress] {
        for at in 0..BATCH_HEADER_LEN {
            for bit in 0..8 {
                written.check_flip(part, at, bit, checked).unwrap();
            }
        }
    }
}

#[test]
fn a_log_whose_checksums_are_not_looked_at_is_found() {
    let written = Written::new(GROUPED);
    for part in [Part::Changelog, Part::Progress] {
        let length = written.files.clone().part(part).len();
        let mut numbers = Numbers(5);
        let mut flips = (0..2_000).map(|_| (numbers.below(length), numbers.below(8) as u8));
        let first = flips.find_map(|(at, bit)| other_state(written.check_flip(part, at, bit, unchecked)));
        found(first.map_or(Ok(()), Err), "another state");
    }
}

#[test]
fn a_snapshot_whose_checksums_are_not_looked_at_is_found() {
    let written = Written::new(GROUPED);
    let mut numbers = Numbers(5);
    let flipped = |at: usize, bit: u8| {
        let mut files = written.files.clone();
        files.snapshot[at] ^= 1 << bit;
        files.snapshot = as_if_unchecked(&files.snapshot)?;
        other_state(written.check(&files, Part::Snapshot, usize::MAX, checked))
    };
    let length = written.files.snapshot.len();
    let mut flips = (0..4_000).map(|_| (numbers.below(length), numbers.below(8) as u8));
    let first = flips.find_map(|(at, bit)| flipped(at, bit));
    found(first.map_or(Ok(()), Err), "another state");
    // That they are looked at is what finds it: a snapshot that was written so again is the one it was.
    assert_eq!(as_if_unchecked(&written.files.snapshot).unwrap(), written.files.snapshot);
}
