//! The files on a disk that crashes at any call.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use logmill_storage::SimDisk;
use logmill_storage::disk::Disk;
use logmill_stream::{
    Counters, Progress, SNAPSHOT_VERSION, SnapshotHeader, SnapshotReader, SnapshotReading as Reading,
    SnapshotSize, SnapshotWriter, SnapshotWriting as Writing,
};

use super::Stop;
use super::files::SnapshotFiles;

fn never() -> Stop {
    Arc::new(|| false)
}

fn header(epoch: u64) -> SnapshotHeader {
    let progress = Progress {
        version: logmill_stream::PROGRESS_VERSION,
        key_groups: logmill_stream::KeyGroups::DEFAULT,
        pipeline: "p".to_owned(),
        generation: 1,
        epoch,
        plan: 7,
        now: 0,
        seed: 0,
        emit_rows: 1,
        inputs: Vec::new(),
        watermark: None,
        sources: Vec::new(),
        operators: Vec::new(),
        shedding: Vec::new(),
        counters: Counters::default(),
        totals: Counters::default(),
        digest: 0,
        finished: false,
        state_from: None,
        last_rejected: None,
        topic_ids: BTreeMap::new(),
    };
    SnapshotHeader {
        version: SNAPSHOT_VERSION,
        progress,
        progress_offset: 0,
        changelog: String::new(),
        changelog_end: 0,
        script: String::new(),
        operators: Vec::new(),
        created_ms: 0,
    }
}

/// A value as long as a few parts of a file.
fn value(epoch: u64) -> Vec<u8> {
    vec![epoch as u8; 600_000]
}

fn write(files: &SnapshotFiles, epoch: u64) -> bool {
    let fill = |out: Writing| -> Result<(Writing, SnapshotSize), _> {
        let mut writer = SnapshotWriter::new(out, &header(epoch))?;
        writer.push(b"key", &value(epoch))?;
        writer.finish()
    };
    files.write(&SnapshotFiles::of_epoch(epoch), &never(), fill).is_ok()
}

fn read(mut reader: SnapshotReader<Reading>) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut entries = BTreeMap::new();
    while let Some((key, value)) = reader.next_entry().ok()? {
        entries.insert(key.to_vec(), value.to_vec());
    }
    Some(entries)
}

/// Writes two snapshots and removes the first; gives what was done for certain.
fn scenario(disk: &SimDisk) -> [bool; 3] {
    let files = SnapshotFiles::new(Arc::new(disk.clone()), Path::new("/data"), "p");
    let first = write(&files, 1);
    let second = first && write(&files, 2);
    let removed = second && files.remove(&SnapshotFiles::of_epoch(1)).is_ok();
    [first, second, removed]
}

#[test]
fn a_file_is_whole_or_not_there_wherever_the_machine_goes_down() {
    let whole = SimDisk::new(1);
    whole.create_dir_all(Path::new("/data")).unwrap();
    let before = whole.calls();
    assert_eq!(scenario(&whole), [true; 3]);
    let calls = whole.calls() - before;
    assert!(calls > 10, "{calls}");
    for call in 1..=calls {
        for seed in 0..5 {
            let disk = SimDisk::new(seed);
            disk.create_dir_all(Path::new("/data")).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            disk.crash_at(disk.calls() + call);
            let done = scenario(&disk);
            if !disk.crashed() {
                disk.crash();
            }
            disk.restart();
            let files = SnapshotFiles::new(Arc::new(disk.clone()), Path::new("/data"), "p");
            files.remove_unfinished().unwrap();
            let found = files.snapshots().unwrap();
            for (epoch, is_certain) in [(1, done[0] && !done[1]), (2, done[1])] {
                let file = SnapshotFiles::of_epoch(epoch);
                assert!(found.contains(&file) || !is_certain, "call {call}: {file} is lost");
            }
            assert!(!(done[2] && found.len() > 1), "call {call}: what was removed is back");
            for file in found {
                let (reader, _) =
                    files.open(&file, &never()).unwrap_or_else(|error| panic!("call {call}: {error}"));
                let epoch = reader.header().progress.epoch;
                assert_eq!(file, SnapshotFiles::of_epoch(epoch));
                let entries = read(reader).unwrap_or_else(|| panic!("call {call}: {file} is damaged"));
                assert_eq!(entries, BTreeMap::from([(b"key".to_vec(), value(epoch))]));
            }
        }
    }
}

/// The test above sees a file that is renamed before it is flushed.
#[test]
fn a_file_that_is_not_flushed_is_seen() {
    let damaged = (0..40).any(|seed| {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.set_faults(logmill_storage::disk::sim::Faults {
            lying_flushes: Some(".lms.tmp".to_owned()),
            ..Default::default()
        });
        scenario(&disk);
        disk.crash();
        disk.restart();
        let files = SnapshotFiles::new(Arc::new(disk.clone()), Path::new("/data"), "p");
        let found = files.snapshots().unwrap();
        found.iter().any(|file| files.open(file, &never()).map_or(true, |(reader, _)| read(reader).is_none()))
    });
    assert!(damaged);
}

#[test]
fn whoever_is_told_to_stop_leaves_nothing() {
    let disk = SimDisk::new(3);
    disk.create_dir_all(Path::new("/data")).unwrap();
    let files = SnapshotFiles::new(Arc::new(disk), Path::new("/data"), "p");
    let stop: Stop = Arc::new(|| true);
    let fill = |mut out: Writing| {
        out.write_all(&value(1))?;
        Ok((out, SnapshotSize { entries: 0, bytes: 0 }))
    };
    let error = files.write("snapshot-1.lms", &stop, fill).unwrap_err();
    assert!(error.to_string().contains("it was stopped"), "{error}");
    assert_eq!(files.snapshots().unwrap(), Vec::<String>::new());
}
