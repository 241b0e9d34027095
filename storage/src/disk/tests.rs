use std::io;
use std::path::Path;

use super::sim::Faults;
use super::*;

/// What every disk does alike.
fn conformance(disk: &dyn Disk, root: &Path) {
    let inner = root.join("a/b");
    disk.create_dir_all(&inner).unwrap();
    disk.create_dir_all(&inner).unwrap();
    assert_eq!(kind(disk.open(&inner.join("x"), OpenOptions::READ)), io::ErrorKind::NotFound);
    let file = disk.open(&inner.join("x"), OpenOptions::CREATE_NEW).unwrap();
    assert_eq!(kind(disk.open(&inner.join("x"), OpenOptions::CREATE_NEW)), io::ErrorKind::AlreadyExists);
    assert!(file.is_empty().unwrap());

    file.write_at(b"hello", 3).unwrap();
    file.write_slices_at(&[IoSlice::new(b""), IoSlice::new(b", "), IoSlice::new(b"world")], 8).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(&inner).unwrap();
    assert_eq!(read_file(disk, &inner.join("x")).unwrap(), b"\0\0\0hello, world");
    let mut buffer = [0; 8];
    assert_eq!(file.read_full_at(&mut buffer, 10).unwrap(), 5);
    assert_eq!(&buffer[..5], b"world");
    assert_eq!(file.read_at(&mut buffer, 100).unwrap(), 0);
    assert_eq!(kind(file.read_exact_at(&mut buffer, 10)), io::ErrorKind::UnexpectedEof);
    file.set_len(8).unwrap();
    file.set_len(10).unwrap();
    assert_eq!(disk.file_len(&inner.join("x")).unwrap(), 10);
    assert_eq!(read_file(disk, &inner.join("x")).unwrap(), b"\0\0\0hello\0\0");

    let other = disk.open(&inner.join("y"), OpenOptions::CREATE).unwrap();
    other.write_at(b"other", 0).unwrap();
    disk.set_modified(&inner.join("y"), 1_234_567).unwrap();
    disk.rename(&inner.join("y"), &inner.join("x")).unwrap();
    assert_eq!(disk.modified(&inner.join("x")).unwrap(), 1_234_567, "a name is not the file");
    assert_eq!(kind(disk.modified(&inner.join("y"))), io::ErrorKind::NotFound);
    let again = disk.open(&inner.join("x"), OpenOptions::WRITE).unwrap();
    again.write_at(b"other", 0).unwrap();
    assert!(disk.modified(&inner.join("x")).unwrap() > 1_234_567);
    assert_eq!(read_file(disk, &inner.join("x")).unwrap(), b"other");
    assert_eq!(file.len().unwrap(), 10, "an open handle outlives its name");
    replace_file(disk, &inner.join("x"), b"whole").unwrap();
    replace_file(disk, &inner.join("x"), b"new").unwrap();
    assert_eq!(read_file(disk, &inner.join("x")).unwrap(), b"new");
    let names: Vec<_> = disk.read_dir(&inner).unwrap();
    assert_eq!(names, [DirEntry { name: "x".to_owned(), is_dir: false }]);
    assert!(disk.read_dir(root).unwrap()[0].is_dir);

    disk.remove_file(&inner.join("x")).unwrap();
    assert!(!disk.exists(&inner.join("x")).unwrap());
    disk.open(&inner.join("z"), OpenOptions::CREATE).unwrap();
    disk.remove_dir_all(&root.join("a")).unwrap();
    assert_eq!(disk.read_dir(root).unwrap(), []);

    let lock = disk.lock(&root.join("lock")).unwrap();
    assert_eq!(kind(disk.lock(&root.join("lock"))), io::ErrorKind::WouldBlock);
    drop(lock);
    disk.lock(&root.join("lock")).unwrap();
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => error.kind(),
    }
}

#[test]
fn real_disk_conforms() {
    let directory = tempfile::tempdir().unwrap();
    conformance(&RealDisk, directory.path());
}

#[test]
fn simulated_disk_conforms() {
    let disk = SimDisk::new(1);
    disk.set_time(5_000_000);
    conformance(&disk, Path::new("/"));
    disk.set_faults(Faults { short_reads: true, ..Faults::default() });
    disk.remove_file(Path::new("/lock")).unwrap();
    conformance(&disk, Path::new("/"));
}

#[test]
fn direct_files_read_and_write_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let simulated = SimDisk::new(1);
    let disks: [(&dyn Disk, &Path); 2] = [(&RealDisk, directory.path()), (&simulated, Path::new("/"))];
    for (disk, root) in disks {
        let options = OpenOptions { direct: true, ..OpenOptions::CREATE_NEW };
        let file = disk.open(&root.join("direct"), options).unwrap();
        let memory = vec![7; 3 * BLOCK_BYTES];
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        file.write_at(&memory[start..start + BLOCK_BYTES], BLOCK_BYTES as u64).unwrap();
        if !file.durable_writes() {
            file.sync_data().unwrap();
        }
        assert_eq!(file.len().unwrap(), 2 * BLOCK_BYTES as u64);
    }
}

const FILE: &str = "/f";

fn written(disk: &SimDisk) -> Arc<dyn DiskFile> {
    let file = disk.open(Path::new(FILE), OpenOptions::CREATE).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.write_at(&[1; 8192], 0).unwrap();
    file.sync_data().unwrap();
    file
}

#[test]
fn a_crash_keeps_what_was_flushed_and_any_part_of_the_rest() {
    let mut seen = [false; 3];
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let file = written(&disk);
        file.write_at(&[2; 8192], 4096).unwrap();
        disk.restart();
        assert!(file.len().is_err(), "handles of before the crash are dead");
        let content = read_file(&disk, Path::new(FILE)).unwrap();
        assert!(content[..4096].iter().all(|&byte| byte == 1));
        assert!(content[4096..].iter().all(|&byte| byte <= 2));
        let survived = content.iter().filter(|&&byte| byte == 2).count();
        seen[if survived == 0 {
            0
        } else if survived == 8192 {
            1
        } else {
            2
        }] = true;
    }
    assert_eq!(seen, [true; 3], "nothing, everything and a part must all happen");
}

#[test]
fn names_are_lost_without_a_directory_flush() {
    let (mut lost, mut kept) = (0, 0);
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let file = disk.open(Path::new(FILE), OpenOptions::CREATE).unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync_data().unwrap();
        disk.restart();
        if disk.exists(Path::new(FILE)).unwrap() { kept += 1 } else { lost += 1 }
    }
    assert!(lost > 10 && kept > 10, "lost {lost}, kept {kept}");
}

#[test]
fn a_replaced_file_is_whole_after_a_crash_at_any_call() {
    for seed in 0..50 {
        let mut call = 0;
        loop {
            call += 1;
            let disk = SimDisk::new(seed);
            replace_file(&disk, Path::new(FILE), &[1; 5000]).unwrap();
            disk.crash_at(disk.calls() + call);
            let done = replace_file(&disk, Path::new(FILE), &[2; 6000]).is_ok();
            disk.restart();
            let content = read_file(&disk, Path::new(FILE)).unwrap();
            assert!(content == [2; 6000] || (!done && content == [1; 5000]), "seed {seed}, call {call}");
            if done {
                break;
            }
        }
        assert_eq!(call, 7, "create, cut, write, flush, rename and directory flush are all crashed at");
    }
}

#[test]
fn injected_faults_happen() {
    let disk = SimDisk::new(3);
    let file = written(&disk);
    disk.set_faults(Faults { capacity_bytes: Some(10_000), ..Faults::default() });
    assert_eq!(kind(file.write_at(&[3; 4096], 8192)), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 10_000, "a part was written");
    file.write_at(&[3; 4096], 0).unwrap();

    disk.set_faults(Faults { failing_flushes: Some("f".to_owned()), ..Faults::default() });
    file.sync_data().unwrap_err();
    disk.set_faults(Faults::default());
    file.sync_data().unwrap();
    disk.restart();
    assert_eq!(read_file(&disk, Path::new(FILE)).unwrap(), [1; 8192], "a flush after a failed one lies");

    disk.set_faults(Faults { lying_flushes: Some("f".to_owned()), ..Faults::default() });
    let mut seen_loss = false;
    for value in 10..30 {
        let file = disk.open(Path::new(FILE), OpenOptions::WRITE).unwrap();
        file.write_at(&[value; 8192], 0).unwrap();
        file.sync_data().unwrap();
        disk.restart();
        seen_loss |= read_file(&disk, Path::new(FILE)).unwrap() != [value; 8192];
    }
    assert!(seen_loss);

    disk.set_faults(Faults { failing_reads: Some("f".to_owned()), ..Faults::default() });
    read_file(&disk, Path::new(FILE)).unwrap_err();
    disk.set_faults(Faults::default());
    let before = read_file(&disk, Path::new(FILE)).unwrap()[5];
    disk.rot(Path::new(FILE), 5, 0x80).unwrap();
    assert_eq!(read_file(&disk, Path::new(FILE)).unwrap()[5], before ^ 0x80);
}

#[test]
fn one_seed_gives_one_trace() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        let file = written(&disk);
        file.write_at(&[4; 9000], 100).unwrap();
        disk.restart();
        let content = read_file(&disk, Path::new(FILE)).unwrap();
        (disk.trace(), disk.calls(), content)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).2, run(6).2);
}

#[test]
fn a_whole_file_system_is_flushed_with_what_it_names() {
    let disk = SimDisk::new(1);
    let whole = disk.file_system(Path::new("/")).unwrap().unwrap();
    let write = |name: &str| {
        disk.create_dir_all(Path::new("/d")).unwrap();
        let file = disk.open(Path::new(name), OpenOptions::CREATE).unwrap();
        file.write_at(&[3; 9000], 0).unwrap();
        file
    };
    write("/d/one");
    write("/d/renamed");
    disk.rename(Path::new("/d/renamed"), Path::new("/d/to")).unwrap();
    whole.sync().unwrap();
    disk.restart();
    assert_eq!(read_file(&disk, Path::new("/d/one")).unwrap(), [3; 9000]);
    assert!(disk.exists(Path::new("/d/to")).unwrap() && !disk.exists(Path::new("/d/renamed")).unwrap());
    whole.sync().expect_err("opened before the restart");
    let whole = disk.file_system(Path::new("/")).unwrap().unwrap();
    let (bad, good) = (write("/d/bad"), write("/d/good"));
    disk.set_faults(Faults { failing_flushes: Some("bad".to_owned()), ..Faults::default() });
    whole.sync().unwrap_err();
    bad.sync_data().expect_err("its own handle is told, too");
    good.sync_data().unwrap();
    disk.set_faults(Faults { no_whole_flush: true, ..Faults::default() });
    assert!(disk.file_system(Path::new("/")).unwrap().is_none());
}

#[test]
fn the_file_system_of_this_machine_is_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let disk = RealDisk;
    let file = disk.open(&directory.path().join("f"), OpenOptions::CREATE).unwrap();
    file.write_at(b"x", 0).unwrap();
    // Which kind it is, is the machine's; where there is a call, it works.
    if let Some(whole) = disk.file_system(directory.path()).unwrap() {
        whole.sync().unwrap();
    }
}
