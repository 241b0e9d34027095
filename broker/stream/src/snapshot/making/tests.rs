//! Snapshots of a changelog that is compacted while they are made and used, in a directory in memory that has so much room.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use logmill_record::{BatchBuilder, BatchOptions};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::super::{SnapshotDirectory, SnapshotFile, SnapshotReader};
use super::*;
use crate::state::ChangelogKey;

const SCRIPT: &str = "
    CREATE TABLE i (k STRING, n BIGINT) WITH ('topic' = 'i', 'format' = 'json');
    CREATE TABLE o (k STRING, n BIGINT) WITH ('topic' = 'o', 'format' = 'json', 'output' = 'upsert');
    INSERT INTO o SELECT k, COUNT(*) FROM i GROUP BY k UNBOUNDED;";

#[derive(Debug, Default)]
struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    /// How many bytes all files may have.
    room: Option<usize>,
    /// How many were written.
    written: usize,
}

/// A directory in memory.
#[derive(Debug, Default, Clone)]
struct Memory(Arc<Mutex<Disk>>);

#[derive(Debug)]
struct Opened(Memory, String);

impl SnapshotDirectory for Memory {
    fn path(&self) -> &Path {
        Path::new("memory")
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().files.keys().cloned().collect())
    }

    fn open(&self, file: &str) -> io::Result<Box<dyn SnapshotFile>> {
        match self.0.lock().files.contains_key(file) {
            true => Ok(Box::new(Opened(self.clone(), file.to_owned()))),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, file: &str) -> io::Result<Box<dyn SnapshotFile>> {
        self.0.lock().files.insert(file.to_owned(), Vec::new());
        self.open(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.0.lock();
        let bytes = disk.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        disk.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, file: &str) -> io::Result<()> {
        self.0.lock().files.remove(file).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl SnapshotFile for Opened {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().files[&self.1].len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let disk = self.0.0.lock();
        let rest = disk.files[&self.1].get(position as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut disk = self.0.0.lock();
        let end = position as usize + bytes.len();
        let all: usize = disk.files.values().map(Vec::len).sum();
        if disk.room.is_some_and(|room| all + bytes.len() > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.written += bytes.len();
        let file = disk.files.get_mut(&self.1).expect("it is open");
        file.resize(end, 0);
        file[position as usize..].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A change of state: a key, a value or none, and when it was written.
type Change = (u8, Option<u8>, i64);

/// A pipeline's own logs as a cluster has them: the changelog is compacted, at any time.
#[derive(Debug, Clone)]
struct Cluster {
    id: String,
    /// By their offsets.
    changelog: BTreeMap<i64, Change>,
    end: i64,
    progress: BTreeMap<i64, Progress>,
    now: i64,
    /// How long deletions stay.
    stay: i64,
    /// Whether a snapshot from before is used all the same.
    trusting: bool,
    /// How long values are.
    value_bytes: usize,
    /// From where on the changelog was read.
    reads: Arc<Mutex<Vec<i64>>>,
}

fn key(key: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    ChangelogKey { operator: 7, table: 1, key: &[key] }.encode(&mut bytes);
    bytes
}

fn progress(plan: &Plan, epoch: u64, seed: u64) -> Progress {
    let none = r#"{"read":0,"processed":0,"late":0,"skipped":0,"without_value":0,"dead_lettered":0,"filtered":0,
        "written":0,"unwritten":0,"windows_closed":0}"#;
    let text = format!(
        r#"{{"version":2,"pipeline":"p","generation":1,"epoch":{epoch},"plan":{plan},"now":0,"seed":{seed},"emit_rows":1,
        "inputs":[],"watermark":null,"sources":[],"operators":[],"counters":{none},"totals":{none},"digest":0,
        "finished":false}}"#,
        plan = plan.fingerprint()
    );
    Progress::decode(text.as_bytes()).expect("a record")
}

impl Cluster {
    fn new(stay: i64) -> Cluster {
        let (changelog, progress) = (BTreeMap::new(), BTreeMap::new());
        let (id, reads) = ("a".to_owned(), Arc::default());
        Cluster { id, changelog, end: 0, progress, now: 0, stay, trusting: false, value_bytes: 1, reads }
    }

    /// Commits an epoch with these changes; a marker is behind them.
    fn commit(&mut self, plan: &Plan, changes: &[(u8, Option<u8>)]) {
        self.now += 1;
        for (key, value) in changes {
            self.changelog.insert(self.end, (*key, *value, self.now));
            self.end += 1;
        }
        self.end += 1;
        let epoch = self.progress.len() as u64 + 1;
        self.progress.insert(2 * epoch as i64, progress(plan, epoch, self.now.unsigned_abs()));
    }

    /// Of each key the last change stays, and of that a deletion for its time.
    fn compact(&mut self) {
        let last: BTreeMap<u8, i64> =
            self.changelog.iter().map(|(offset, (key, ..))| (*key, *offset)).collect();
        let (now, stay) = (self.now, self.stay);
        self.changelog.retain(|offset, (key, value, written)| {
            last[key] == *offset && (value.is_some() || now - *written <= stay)
        });
    }

    fn cut(&self) -> SnapshotCut {
        let (progress_offset, progress) = self.progress.last_key_value().expect("an epoch");
        SnapshotCut { progress: progress.clone(), progress_offset: *progress_offset, changelog_end: self.end }
    }

    /// The state, from a snapshot on or from the beginning.
    fn state(&self, base: Option<(&SnapshotFiles, &UsableSnapshot)>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut state = BTreeMap::new();
        let mut from = 0;
        if let Some((files, snapshot)) = base {
            state = entries(files, &snapshot.file);
            from = snapshot.header.changelog_end;
        }
        for (of, value, _) in self.changelog.range(from..).map(|(_, change)| change) {
            match value {
                Some(value) => drop(state.insert(key(*of), vec![*value])),
                None => drop(state.remove(&key(*of))),
            }
        }
        state
    }
}

fn entries(files: &SnapshotFiles, file: &str) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let never: SnapshotStop = Arc::new(|| false);
    let (mut reader, _): (SnapshotReader<_>, u64) = files.open(file, &never).expect("a snapshot");
    let mut entries = BTreeMap::new();
    while let Some((key, value)) = reader.next_entry().expect("it is whole") {
        entries.insert(key.to_vec(), value.to_vec());
    }
    entries
}

impl SnapshotLogs for Cluster {
    fn id(&self) -> String {
        self.id.clone()
    }

    fn changelog_start(&self) -> i64 {
        0
    }

    fn lacks(&self, header: &SnapshotHeader) -> Option<String> {
        let is_old = self.now - header.created_ms > self.stay && !self.trusting;
        is_old.then(|| "it is old".to_owned())
    }

    fn is_whole(&self, progress: &Progress) -> bool {
        progress.state_from.is_none()
    }

    fn vouches(&self, progress: &Progress, offset: i64) -> Result<bool, String> {
        Ok(self.progress.get(&offset) == Some(progress))
    }

    fn each_batch(
        &self,
        from: i64,
        to: i64,
        take: &mut dyn FnMut(&Batch) -> Result<(), String>,
    ) -> Result<(), String> {
        self.reads.lock().push(from);
        for (offset, (of, value, _)) in self.changelog.range(from..to.max(from)) {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            let value = value.map(|value| vec![value; self.value_bytes]);
            builder.push(0, Some(&key(*of)), value.as_deref(), &[]);
            take(&builder.build().stamped(*offset, 0))?;
        }
        Ok(())
    }
}

struct Rig {
    plan: Plan,
    memory: Memory,
    files: SnapshotFiles,
    cluster: Cluster,
}

impl Rig {
    fn new(stay: i64) -> Rig {
        let memory = Memory::default();
        let files = SnapshotFiles::new(Arc::new(memory.clone()));
        let plan = crate::compile(SCRIPT).expect("a plan");
        Rig { plan, memory, files, cluster: Cluster::new(stay) }
    }

    fn make(&self) -> Result<String, SnapshotFileError> {
        self.make_within(CHANGES_BYTES)
    }

    fn make_within(&self, changes_bytes: usize) -> Result<String, SnapshotFileError> {
        let cut = self.cluster.cut();
        let file = SnapshotFiles::of_epoch(cut.progress.epoch);
        let stop: SnapshotStop = Arc::new(|| false);
        let source = SnapshotSource {
            files: &self.files,
            logs: &self.cluster,
            plan: &self.plan,
            script: SCRIPT,
            now_ms: self.cluster.now,
            stop: &stop,
            told: &|_| {},
        };
        super::make_within(&source, &cut, &file, changes_bytes).map(|_| file)
    }

    fn found(&self) -> FoundSnapshots {
        FoundSnapshots::of(&self.files, &self.cluster, &self.cluster.cut()).expect("a directory")
    }

    /// Two epochs and the snapshot of the last.
    fn with_snapshot() -> Rig {
        let mut rig = Rig::new(1_000);
        rig.cluster.commit(&rig.plan, &[(1, Some(1)), (2, Some(2))]);
        rig.cluster.commit(&rig.plan, &[(1, Some(3)), (3, Some(4))]);
        rig.make().expect("room");
        rig
    }
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(u8, Option<u8>)>),
    Compact,
    Make,
    Wait(i64),
    Check,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0..5_u8, prop::option::weighted(0.6, any::<u8>()));
    let step = prop_oneof![
        4 => prop::collection::vec(change, 0..4).prop_map(Step::Commit),
        2 => Just(Step::Compact),
        2 => Just(Step::Make),
        1 => (0..12_i64).prop_map(Step::Wait),
        2 => Just(Step::Check),
    ];
    prop::collection::vec(step, 1..60)
}

/// Takes the steps; whether every snapshot that was usable led to the state.
fn is_always_the_state(steps: &[Step], trusting: bool) -> bool {
    let mut rig = Rig::new(5);
    rig.cluster.trusting = trusting;
    let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for step in steps {
        let has_begun = !rig.cluster.progress.is_empty();
        match step {
            Step::Commit(changes) => {
                rig.cluster.commit(&rig.plan, changes);
                for (of, value) in changes {
                    match value {
                        Some(value) => drop(expected.insert(key(*of), vec![*value])),
                        None => drop(expected.remove(&key(*of))),
                    }
                }
            }
            Step::Compact => rig.cluster.compact(),
            Step::Wait(time) => rig.cluster.now += time,
            Step::Make if has_begun => {
                rig.make().expect("room");
                for file in rig.found().take_superfluous() {
                    rig.files.remove(&file).expect("a file");
                }
            }
            Step::Check if has_begun => {
                assert_eq!(rig.cluster.state(None), expected, "the changelog is the state");
                let usable = rig.found().usable;
                let leads = |base| rig.cluster.state(Some((&rig.files, base))) == expected;
                if !usable.iter().all(leads) {
                    return false;
                }
            }
            Step::Make | Step::Check => {}
        }
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_snapshot_and_the_compacted_changelog_behind_it_are_the_state(steps in steps()) {
        prop_assert!(is_always_the_state(&steps, false));
    }
}

/// The test above sees a snapshot that is gone on from when deletions behind it are gone.
#[test]
fn a_snapshot_that_is_too_old_would_bring_back_what_was_deleted() {
    let steps = [
        Step::Commit(vec![(1, Some(1))]),
        Step::Make,
        Step::Commit(vec![(1, None)]),
        Step::Wait(6),
        Step::Compact,
        Step::Check,
    ];
    assert!(!is_always_the_state(&steps, true));
    assert!(is_always_the_state(&steps, false));
}

#[test]
fn a_snapshot_of_another_history_is_refused_with_the_reason() {
    let reason = |change: &dyn Fn(&mut Rig)| {
        let mut rig = Rig::with_snapshot();
        assert_eq!(rig.found().usable.len(), 1);
        change(&mut rig);
        let mut found = rig.found();
        assert_eq!(found.usable.len(), 0, "{found:?}");
        let refused = found.foreign.pop().or_else(|| found.unread.pop()).expect("it is refused");
        refused.reason
    };
    let made_again = reason(&|rig| rig.cluster.id = "b".to_owned());
    assert!(made_again.contains("the changelog a, and there is b now"), "{made_again}");
    // The same topic, whose last records were lost and written again by others: epochs and offsets go as far as before.
    let rewritten = reason(&|rig| {
        let other = progress(&rig.plan, 2, 99);
        rig.cluster.progress.insert(4, other);
        rig.cluster.commit(&rig.plan, &[(9, Some(9))]);
    });
    assert!(rewritten.contains("does not have the record of its epoch 2 at offset 4"), "{rewritten}");
    let ahead = reason(&|rig| drop(rig.cluster.progress.remove(&4)));
    assert!(ahead.contains("it is of epoch 2, and the last committed one is 1"), "{ahead}");
    let shorter = reason(&|rig| rig.cluster.end = 3);
    assert!(shorter.contains("up to offset 6, which ends at 3"), "{shorter}");
    let other_plan = reason(&|rig| {
        let other = crate::compile(&SCRIPT.replace("COUNT(*)", "SUM(n)")).expect("a plan");
        rig.cluster.progress.insert(6, progress(&other, 3, 0));
    });
    assert!(other_plan.contains("it is of plan"), "{other_plan}");
    let old = reason(&|rig| rig.cluster.now += 1_001);
    assert_eq!(old, "it is old");
    let damaged = reason(&|rig| {
        let mut disk = rig.memory.0.lock();
        disk.files.values_mut().for_each(|bytes| bytes[20] ^= 1);
    });
    assert!(damaged.contains("damaged"), "{damaged}");
}

#[test]
fn what_is_refused_goes_when_there_is_one_to_go_on_from() {
    let mut rig = Rig::with_snapshot();
    rig.cluster.id = "b".to_owned();
    assert_eq!(rig.found().take_superfluous(), Vec::<String>::new(), "it is all there is");
    for _ in 0..3 {
        rig.cluster.commit(&rig.plan, &[(1, Some(9))]);
        rig.make().expect("room");
    }
    let mut found = rig.found();
    let names: Vec<String> = [2, 3].map(SnapshotFiles::of_epoch).to_vec();
    assert_eq!(found.take_superfluous(), names, "that of the other history, and the oldest");
    assert_eq!(found.usable.len(), SNAPSHOTS_KEPT);
}

#[test]
fn a_disk_that_is_full_leaves_the_snapshots_that_there_are() {
    let mut rig = Rig::with_snapshot();
    rig.cluster.commit(&rig.plan, &[(5, Some(5))]);
    let size = rig.memory.0.lock().files.values().map(Vec::len).sum::<usize>();
    rig.cluster.reads.lock().clear();
    for room in [size, size + 10, 2 * size - 10] {
        rig.memory.0.lock().room = Some(room);
        let error = rig.make().expect_err("there is no room");
        assert!(
            matches!(error, SnapshotFileError::Snapshot { .. } | SnapshotFileError::Io { .. }),
            "{error}"
        );
        let left: Vec<String> = rig.memory.0.lock().files.keys().cloned().collect();
        assert_eq!(left, [SnapshotFiles::of_epoch(2)], "nothing of the new one takes room");
    }
    assert_eq!(*rig.cluster.reads.lock(), [6, 6, 6], "the snapshot before is not at fault");
    rig.memory.0.lock().room = None;
    let file = rig.make().expect("room");
    assert_eq!(entries(&rig.files, &file), rig.cluster.state(None));
}

/// Changes that do not fit into memory wait in files, each once: the state is not written anew for each of them.
#[test]
fn a_snapshot_of_many_changes_is_written_once() {
    let mut rig = Rig::with_snapshot();
    for epoch in 0..100_u8 {
        rig.cluster.commit(&rig.plan, &[(epoch, Some(epoch)), (epoch / 2, (epoch % 3 > 0).then_some(7))]);
    }
    rig.cluster.value_bytes = 1_000;
    let cost = |changes_bytes: usize| {
        let before = rig.memory.0.lock().written;
        let file = rig.make_within(changes_bytes).expect("room");
        let disk = rig.memory.0.lock();
        assert_eq!(disk.files.len(), 2, "nothing else is left: {:?}", disk.files.keys());
        (disk.files[&file].clone(), disk.written - before)
    };
    let (at_once, once) = cost(CHANGES_BYTES);
    // Three changes a file, so that there are more files than may be open.
    let (in_stretches, written) = cost(2_500);
    assert!(at_once == in_stretches);
    // Twice as many changes as there are keys, most of them written twice, and their headers. The whole state with each of the
    // files would be thirty times as much.
    assert!(written < 8 * once, "{written} bytes, and {once} at once");
}
