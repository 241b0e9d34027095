//! The journal alone beside the raw device: which part of what the device can do does the journal reach?
//!
//! Both overwrite zero-written files past the page cache, each write durable when it returns. Only the journal's rounds
//! are timed; segments are written and flushed between them.

use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::BytesMut;
use logmill_record::Batch;
use logmill_storage::{
    Append, Check, Frame, LogOptions, Partition, PartitionId, PartitionSpec, RealDisk, Store, StoreOptions,
};
use rustix::fs::OFlags;
use uuid::Uuid;

use crate::aligned::Aligned;
use crate::procfs;
use crate::report::{Runs, Table, mib};
use crate::workload::Shape;

/// Of the raw file, and of the journal's ring: far more than one write, little enough to be gone round several times.
const RING: u64 = 256 << 20;
/// One round of writes.
const SMALL_OPERATIONS: u32 = 2000;
const LARGE_OPERATIONS: u32 = 400;

/// What one round of writes gave.
#[derive(Clone, Copy, Debug)]
struct Figures {
    per_second: f64,
    mib_per_second: f64,
    cpu_micros: f64,
}

/// One comparison: a raw write of whole blocks, and as many bytes as a frame.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    raw: usize,
    shape: Shape,
    operations: u32,
}

const CASES: [Case; 3] = [
    Case {
        name: "4 KiB",
        raw: 4 << 10,
        shape: Shape { record_bytes: 1024, records: 1 },
        operations: SMALL_OPERATIONS,
    },
    Case {
        name: "100 KiB",
        raw: 100 << 10,
        shape: Shape { record_bytes: 1000, records: 100 },
        operations: SMALL_OPERATIONS,
    },
    Case {
        name: "1 MiB",
        raw: 1 << 20,
        shape: Shape { record_bytes: 1012, records: 1024 },
        operations: LARGE_OPERATIONS,
    },
];

/// Runs every case `runs` times, raw and journal in turn, and prints the table.
pub(crate) fn run(directory: &Path, runs: u32) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)?;
    let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(directory)?;
    let raw = Raw::new(&directory.path().join("raw"))?;
    let journal = Journal::new(&directory.path().join("journal"))?;
    let mut table = Table::new(&[
        "write",
        "raw writes/s",
        "raw MiB/s",
        "raw CPU µs",
        "journal frames/s",
        "journal MiB/s",
        "journal CPU µs",
        "journal / raw",
        "load",
    ]);
    for case in CASES {
        let mut columns: [Runs; 7] = Default::default();
        for _ in 0..runs {
            let device = raw.round(case)?;
            let frames = journal.round(case)?;
            let ratio = frames.mib_per_second / device.mib_per_second;
            let figures = [
                device.per_second,
                device.mib_per_second,
                device.cpu_micros,
                frames.per_second,
                frames.mib_per_second,
                frames.cpu_micros,
                ratio,
            ];
            columns.iter_mut().zip(figures).for_each(|(runs, figure)| runs.push(figure));
        }
        let mut cells = vec![case.name.to_owned()];
        cells.extend(columns.iter().zip([0, 0, 0, 0, 0, 0, 2]).map(|(runs, digits)| runs.show(digits)));
        cells.push(format!("{:.1}", procfs::load()));
        table.row(cells);
    }
    table.print(
        "Journal beside the raw device: one write in flight, `O_DIRECT|O_DSYNC`, recycled files. The journal's \
         bytes are frames with a batch of about the size of the raw write, padded to the block; its CPU includes checksum, \
         copy and publication.",
    )?;
    Ok(())
}

struct Raw {
    file: std::fs::File,
}

impl Raw {
    fn new(path: &Path) -> anyhow::Result<Self> {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags((OFlags::DIRECT | OFlags::DSYNC).bits() as i32)
            .open(path)
            .with_context(|| format!("cannot open {} for direct writes", path.display()))?;
        let mut zeros = Aligned::new(1 << 20);
        for position in (0..RING).step_by(1 << 20) {
            file.write_all_at(zeros.bytes_mut(), position)?;
        }
        file.sync_all()?;
        Ok(Self { file })
    }

    fn round(&self, case: Case) -> anyhow::Result<Figures> {
        let mut block = Aligned::new(case.raw);
        block.bytes_mut().fill(7);
        let per_ring = RING / case.raw as u64;
        let cpu = procfs::own_cpu_time();
        let start = Instant::now();
        for operation in 0..u64::from(case.operations) {
            self.file.write_all_at(block.bytes_mut(), operation % per_ring * case.raw as u64)?;
        }
        let bytes = u64::from(case.operations) * case.raw as u64;
        Ok(figures(start.elapsed(), procfs::own_cpu_time() - cpu, case.operations, bytes))
    }
}

struct Journal {
    store: Arc<Store>,
    partition: Partition,
}

impl Journal {
    fn new(path: &Path) -> anyhow::Result<Self> {
        let mut options = StoreOptions::new(path.to_owned(), Uuid::from_u128(1));
        options.journal.max_bytes = RING;
        options.journal.file_bytes = RING / 8;
        options.applier_shards = 1;
        options.tail_bytes = 8 << 20;
        let (store, _) = Store::open(Arc::new(RealDisk), options)?;
        let partition = store.create_partition(PartitionSpec {
            id: PartitionId { topic: Uuid::from_u128(2), partition: 0 },
            topic_name: "bench".to_owned(),
            options: LogOptions { segment_bytes: 64 << 20, ..LogOptions::default() },
        })?;
        let journal = Self { store, partition };
        // Until every file of the ring was written once.
        let warm = CASES[2];
        let batch = warm.shape.build().remove(0);
        for _ in 0..2 * RING / batch.len() as u64 {
            journal.commit(&batch)?;
            journal.turn()?;
        }
        Ok(journal)
    }

    fn round(&self, case: Case) -> anyhow::Result<Figures> {
        let batch = case.shape.build().remove(0);
        let (mut elapsed, mut cpu, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
        for _ in 0..case.operations {
            self.commit(&batch)?;
            let (before, start) = (procfs::own_cpu_time(), Instant::now());
            let round = self.store.journal_round()?;
            elapsed += start.elapsed();
            bytes += round.bytes;
            cpu += procfs::own_cpu_time() - before;
            self.settle()?;
        }
        Ok(figures(elapsed, cpu, case.operations, bytes))
    }

    fn commit(&self, batch: &[u8]) -> anyhow::Result<()> {
        // A buffer of its own, as a request has.
        let batch = Batch::trusted(BytesMut::from(batch).freeze())?;
        let check = Check::Client { begins: false, transaction_v2: false };
        let frame = Frame::from(vec![Append { partition: self.partition.id(), batch, check }]);
        self.store.commit(frame, None)?;
        Ok(())
    }

    fn turn(&self) -> anyhow::Result<()> {
        self.store.journal_round()?;
        self.settle()
    }

    /// What the other threads of a broker do.
    fn settle(&self) -> anyhow::Result<()> {
        while self.store.prepare_round()? {}
        self.store.apply_round(0)?;
        if self.store.checkpoint_due() {
            self.store.checkpoint()?;
        }
        Ok(())
    }
}

fn figures(elapsed: Duration, cpu: Duration, operations: u32, bytes: u64) -> Figures {
    let seconds = elapsed.as_secs_f64();
    Figures {
        per_second: f64::from(operations) / seconds,
        mib_per_second: mib(bytes) / seconds,
        cpu_micros: cpu.as_secs_f64() * 1e6 / f64::from(operations),
    }
}
