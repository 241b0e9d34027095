//! The store on the files of this machine, with real threads.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use logmill_record::{Batch, BatchBuilder, BatchOptions, batches};
use logmill_storage::{
    Append, Check, Durability, Frame, Isolation, JournalOptions, LogOptions, Partition, PartitionId,
    PartitionSpec, ReadRequest, RealDisk, Recovery, Rejection, Store, StoreError, StoreOptions, Work,
};
use uuid::Uuid;

const PARTITIONS: i32 = 4;
const WRITERS: i32 = 3;
const FRAMES: i32 = 400;
const CLIENT: Check = Check::Client { begins: false, transaction_v2: false };

fn options(directory: &Path, direct: bool) -> StoreOptions {
    StoreOptions {
        journal: JournalOptions {
            first_file_bytes: 64 << 10,
            file_bytes: 256 << 10,
            max_bytes: 2 << 20,
            direct,
            ..JournalOptions::default()
        },
        tail_bytes: 64 << 10,
        ..StoreOptions::new(directory.join("data"), Uuid::from_u128(7))
    }
}

/// An open store with its threads.
struct Running {
    store: Arc<Store>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    fn open(options: StoreOptions) -> (Running, Recovery) {
        let (store, recovery) = Store::open(Arc::new(RealDisk), options).unwrap();
        let mut threads = Vec::new();
        let (bell, rung) = mpsc::channel();
        let journal = Arc::clone(&store);
        threads.push(std::thread::spawn(move || {
            while journal.journal_wait() == Work::Ready {
                let round = journal.journal_round().unwrap();
                if round.prepare_due {
                    bell.send(()).unwrap();
                }
                if round.checkpoint_due {
                    journal.checkpoint().unwrap();
                }
            }
        }));
        let files = Arc::clone(&store);
        threads.push(std::thread::spawn(move || {
            while rung.recv().is_ok() {
                while files.prepare_round().unwrap() {}
            }
        }));
        for shard in 0..store.applier_shards() {
            let applier = Arc::clone(&store);
            threads.push(std::thread::spawn(move || {
                while applier.apply_wait(shard) == Work::Ready {
                    applier.apply_round(shard).unwrap();
                }
            }));
        }
        (Running { store, threads }, recovery)
    }

    fn close(self) {
        self.store.close().unwrap();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn id(partition: i32) -> PartitionId {
    PartitionId { topic: Uuid::from_u128(1), partition }
}

fn batch(text: &str) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(5, None, Some(text.as_bytes()), &[]);
    builder.build()
}

fn values(partition: &Partition) -> Vec<String> {
    let mut values = Vec::new();
    let mut offset = 0;
    while offset < partition.published().high_watermark {
        let request =
            ReadRequest { offset, max_bytes: 10_000, isolation: Isolation::Uncommitted, min_one_batch: true };
        for chunk in partition.read(request).unwrap().chunks {
            for batch in batches(chunk) {
                let batch = batch.unwrap();
                assert_eq!(batch.header().base_offset, offset);
                offset = batch.header().next_offset();
                let records = batch.records(0).unwrap();
                values.extend(
                    records.into_iter().map(|r| String::from_utf8(r.value.unwrap().to_vec()).unwrap()),
                );
            }
        }
    }
    values
}

/// Several writers, each waiting for its frames to be durable; frames over two partitions among them.
fn write(store: &Store) {
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let (done, acknowledged) = mpsc::channel();
                for number in 0..FRAMES {
                    let text = format!("{writer}/{number}/{}", "x".repeat(number as usize % 700));
                    let mut frame = vec![Append {
                        partition: id((writer + number) % PARTITIONS),
                        batch: batch(&text),
                        check: CLIENT,
                    }];
                    if number % 7 == 0 {
                        let check = Check::Internal { expected_end: None };
                        frame.push(Append { partition: id(0), batch: batch(&text), check });
                    }
                    let done = done.clone();
                    store.commit(Frame::from(frame), Some(Box::new(move || done.send(()).unwrap()))).unwrap();
                    if number % 16 == 15 {
                        (0..16).for_each(|_| acknowledged.recv().unwrap());
                    }
                }
            });
        }
    });
}

#[test]
fn writers_checkpoints_and_restarts() {
    for (direct, durability) in
        [(true, Durability::Disk), (false, Durability::Disk), (true, Durability::PageCache)]
    {
        let directory = tempfile::tempdir().unwrap();
        let options = options(directory.path(), direct);
        let (running, recovery) = Running::open(options.clone());
        assert!(recovery.new);
        for partition in 0..PARTITIONS {
            let log = LogOptions { durability, segment_bytes: 64 << 10, ..LogOptions::default() };
            let spec = PartitionSpec { id: id(partition), topic_name: "t".to_owned(), options: log };
            running.store.create_partition(spec).unwrap();
        }
        write(&running.store);
        let second = Store::open(Arc::new(RealDisk), options.clone()).unwrap_err();
        assert!(matches!(second, StoreError::Locked { .. }), "{second}");
        let all = |store: &Store| store.partitions().iter().map(values).collect::<Vec<_>>();
        let partitions = running.store.partitions();
        let store = Arc::clone(&running.store);
        running.close();
        let before = all(&store);
        let total: usize = before.iter().map(Vec::len).sum();
        assert_eq!(total as i32, WRITERS * (FRAMES + (FRAMES + 6) / 7));
        let refused = store.commit(
            Frame::from(vec![Append { partition: id(0), batch: batch("late"), check: CLIENT }]),
            None,
        );
        assert_eq!(refused, Err(Rejection::Closed));
        drop((store, partitions));

        // By hand now, and without an end, as when the process is killed: what was acknowledged is there.
        let (store, recovery) = Store::open(Arc::new(RealDisk), options.clone()).unwrap();
        assert!(recovery.clean, "{recovery}");
        assert_eq!(all(&store), before);
        for number in 0..50 {
            let append =
                Append { partition: id(number % PARTITIONS), batch: batch("by hand"), check: CLIENT };
            store.commit(Frame::from(vec![append]), None).unwrap();
            store.journal_round().unwrap();
            for shard in 0..store.applier_shards() {
                store.apply_round(shard).unwrap();
            }
        }
        let before = all(&store);
        drop(store);
        let (running, recovery) = Running::open(options);
        assert!(!recovery.clean);
        assert_eq!(all(&running.store), before);
        running.close();
    }
}
