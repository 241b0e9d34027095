//! A run whose state is in a store in memory, and what must be the same as in one that has all of it in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use logmill_stream::{
    ColdPosition, ColdStore, EpochLimits, EpochLoop, KeyGroups, MemoryColdStore, Pipeline, Plan, Progress,
    Turn, TurnError,
};
use proptest::prelude::*;

use crate::support::{MemoryLogs, restored, spec};

/// What time it is by the clock behind so many epochs, of which each takes so many milliseconds.
pub(crate) fn clock(logs: &MemoryLogs, epoch_ms: i64) -> i64 {
    1_000_000 + logs.progress.len() as i64 * epoch_ms
}

/// A run whose state is in a store in memory.
pub(crate) struct Spilt<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) store: Arc<MemoryColdStore>,
    pub(crate) limits: EpochLimits,
    /// Bytes of state that should be in memory at most.
    pub(crate) keep: u64,
    pub(crate) epoch_ms: i64,
    generation: u32,
    /// Where the changelog ends behind each epoch, from the first on.
    pub(crate) ends: Vec<i64>,
}

/// When a run ends before its input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crash {
    /// After so many epochs.
    pub(crate) after: u64,
    /// So many of the store's writes are left that were not safe.
    pub(crate) kept: usize,
    /// Whether what was written up to here is safe.
    pub(crate) synced: bool,
    /// The whole store is lost.
    pub(crate) lost: bool,
}

impl<'p> Spilt<'p> {
    pub(crate) fn new(plan: &'p Plan, limits: EpochLimits, keep: u64, epoch_ms: i64) -> Self {
        Spilt { plan, store: Arc::default(), limits, keep, epoch_ms, generation: 0, ends: Vec::new() }
    }

    pub(crate) fn position(&self, progress: &Progress) -> ColdPosition {
        let end = self.ends[progress.epoch as usize - 1];
        ColdPosition::of(progress, progress.epoch as i64 - 1, "test", end)
    }

    fn nowhere(&self) -> ColdPosition {
        ColdPosition {
            pipeline: "test".to_owned(),
            plan: self.plan.fingerprint(),
            generation: 0,
            epoch: 0,
            state_from: None,
            digest: 0,
            progress_offset: -1,
            changelog: "test".to_owned(),
            changelog_end: 0,
        }
    }

    pub(crate) fn restore(&mut self, logs: &MemoryLogs) -> Pipeline {
        self.generation += 1;
        let spec = spec(self.plan, logs, self.generation);
        let restoring = Pipeline::restore(self.plan.clone(), spec, logs.last_progress()).unwrap();
        let store: Arc<dyn ColdStore> = Arc::clone(&self.store) as _;
        let (mut restoring, from) = match self.store.mark().unwrap() {
            Some(mark) => {
                let from = mark.at.changelog_end;
                (restoring.go_on_with(store, mark, self.keep).unwrap(), from)
            }
            None => (restoring.fill::<&[u8]>(store, None, self.nowhere(), self.keep).unwrap(), 0),
        };
        logs.changelog[from as usize..].iter().for_each(|batch| restoring.apply(batch).unwrap());
        let at = logs.last_progress().map_or_else(|| self.nowhere(), |progress| self.position(&progress));
        restoring.finish_spilt(at, &mut |_| true).unwrap()
    }

    /// Runs until the crash, or to the end: then it is true.
    pub(crate) fn run(&mut self, logs: &mut MemoryLogs, crash: Option<Crash>) -> Result<bool, TurnError> {
        let ends: BTreeMap<_, _> =
            self.plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect();
        let mut epochs = EpochLoop::new(self.restore(logs), self.limits);
        let mut before: Option<Progress> = None;
        let mut done = 0;
        loop {
            epochs.declare_ends(ends.clone()).unwrap();
            if let Some(crash) = crash.filter(|crash| crash.after == done) {
                if crash.synced {
                    self.store.sync();
                }
                self.store.crash(crash.kept);
                if crash.lost {
                    self.store = Arc::default();
                }
                return Ok(false);
            }
            // Changes reach the store when the epoch behind is computed, as in the broker.
            let now = clock(logs, self.epoch_ms);
            match epochs.turn(logs, now, 0)? {
                Turn::Idle => panic!("a bounded run has always something to do"),
                Turn::Committed { progress, .. } => {
                    self.ends.push(logs.changelog.len() as i64);
                    if let Some(before) = before.replace(*progress) {
                        epochs.committed(before.epoch, self.position(&before)).unwrap();
                    }
                    done += 1;
                }
                Turn::Finished => {
                    if let Some(before) = before.take() {
                        epochs.committed(before.epoch, self.position(&before)).unwrap();
                    }
                    return Ok(true);
                }
            }
        }
    }
}

/// What a compacted changelog holds.
pub(crate) fn compacted(logs: &MemoryLogs) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = BTreeMap::new();
    for record in logs.changelog.iter().flat_map(|batch| batch.records(64 << 20).unwrap()) {
        let key = record.key.unwrap().to_vec();
        match record.value {
            Some(value) => drop(entries.insert(key, value.to_vec())),
            None => drop(entries.remove(&key)),
        }
    }
    entries.into_iter().collect()
}

pub(crate) fn digests(logs: &MemoryLogs) -> Vec<u32> {
    logs.progress.iter().map(|progress| progress.digest).collect()
}

pub(crate) fn in_memory(plan: &Plan, logs: &mut MemoryLogs, limits: EpochLimits, epoch_ms: i64) {
    let ends: BTreeMap<_, _> = plan.source_topics().into_iter().flat_map(|topic| logs.ends(topic)).collect();
    let mut epochs = EpochLoop::new(restored(plan, logs, 1), limits);
    epochs.declare_ends(ends).unwrap();
    loop {
        let now = clock(logs, epoch_ms);
        if let Turn::Finished = epochs.turn(logs, now, 0).unwrap() {
            return;
        }
    }
}

/// How a run is cut, and where it is interrupted.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    limits: EpochLimits,
    keep: u64,
    epoch_ms: i64,
    shards: usize,
    key_groups: KeyGroups,
    crashes: Vec<Crash>,
}

fn crashes() -> impl Strategy<Value = Vec<Crash>> {
    let crash = (0_u64..4, 0_usize..4, any::<bool>(), prop::bool::weighted(0.2))
        .prop_map(|(after, kept, synced, lost)| Crash { after, kept, synced, lost });
    prop::collection::vec(crash, 0..6)
}

pub(crate) fn courses() -> impl Strategy<Value = Course> {
    let records = prop_oneof![Just(1_u64), Just(3), Just(20)];
    let rows = prop_oneof![Just(1_u32), Just(2), Just(5), Just(50_000)];
    let limits = (records, rows).prop_map(|(input_records, emit_rows)| EpochLimits {
        input_records,
        emit_rows,
        ..EpochLimits::default()
    });
    let keep = prop_oneof![Just(0_u64), Just(400), Just(2_000), Just(1 << 20)];
    let epoch_ms = prop_oneof![Just(0_i64), Just(300), Just(2_000)];
    let key_groups = prop_oneof![Just(1_u16), Just(3), Just(256)];
    (limits, keep, epoch_ms, 1_usize..4, key_groups, crashes()).prop_map(
        |(limits, keep, epoch_ms, shards, key_groups, crashes)| Course {
            limits,
            keep,
            epoch_ms,
            shards: shards.min(usize::from(key_groups)),
            key_groups: KeyGroups::new(key_groups).unwrap(),
            crashes,
        },
    )
}

/// I10. The digest of an epoch covers every byte it writes, changed state included.
pub(crate) fn check_same(plan: &Plan, input: MemoryLogs, course: Course) -> Result<(), TestCaseError> {
    let Course { limits, keep, epoch_ms, shards, key_groups, crashes } = course;
    let mut undisturbed = MemoryLogs { key_groups, ..input };
    let mut spilt = MemoryLogs { shards, ..undisturbed.clone() };
    in_memory(plan, &mut undisturbed, limits, epoch_ms);
    let mut run = Spilt::new(plan, limits, keep, epoch_ms);
    let mut finished = false;
    for crash in crashes {
        finished = finished || run.run(&mut spilt, Some(crash)).unwrap();
    }
    if !finished {
        run.run(&mut spilt, None).unwrap();
    }
    prop_assert_eq!(digests(&undisturbed), digests(&spilt), "I10");
    prop_assert_eq!(undisturbed.records("out"), spilt.records("out"), "I10");
    prop_assert_eq!(run.store.dump(), compacted(&undisturbed), "I10: the canonical dump");
    // Sizes are those of a pipeline that has all of it in memory.
    let (pipeline, whole) = (run.restore(&spilt), restored(plan, &undisturbed, 99));
    prop_assert_eq!(pipeline.state_bytes(), whole.state_bytes());
    prop_assert_eq!(pipeline.state_entries(), whole.state_entries());
    prop_assert_eq!(pipeline.open_windows(), whole.open_windows());
    Ok(())
}
