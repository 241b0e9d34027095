//! What many partitions cost on one node: time to make, to write to, and to start with, memory, descriptors, disk.
//!
//! ```text
//! cargo run --release -p logmill-storage --example many_partitions -- DIRECTORY [PARTITIONS]
//! ```
//!
//! `DIRECTORY` must not exist, and is left behind.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use logmill_record::{BatchBuilder, BatchOptions};
use logmill_storage::{
    Append, Check, Frame, LogOptions, PartitionId, PartitionSpec, RealDisk, Store, StoreOptions,
};
use uuid::Uuid;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let partitions: i32 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    if directory.exists() {
        return Err(format!("{} is there already", directory.display()).into());
    }
    let options = StoreOptions::new(directory.clone(), Uuid::from_u128(1));
    let open = || Store::open(Arc::new(RealDisk), options.clone());

    let since = Instant::now();
    let (store, _) = open()?;
    report("empty start", since, &directory);
    let since = Instant::now();
    let spec = |partition| PartitionSpec {
        id: id(partition),
        topic_name: "t".to_owned(),
        options: LogOptions::default(),
    };
    store.create_partitions((0..partitions).map(spec).collect())?;
    report("partitions made", since, &directory);
    let since = Instant::now();
    write_to_each(&store, partitions)?;
    report("one batch each, applied", since, &directory);
    let since = Instant::now();
    store.checkpoint()?;
    report("checkpoint", since, &directory);
    let since = Instant::now();
    store.close()?;
    drop(store);
    report("clean stop", since, &directory);
    let since = Instant::now();
    let (store, recovery) = open()?;
    report(&format!("start {recovery}"), since, &directory);
    write_to_each(&store, partitions)?;
    drop(store);
    let since = Instant::now();
    let (store, recovery) = open()?;
    report(&format!("start {recovery}"), since, &directory);
    let since = Instant::now();
    store.close()?;
    report("clean stop", since, &directory);
    Ok(())
}

fn id(partition: i32) -> PartitionId {
    PartitionId { topic: Uuid::from_u128(7), partition }
}

fn write_to_each(store: &Store, partitions: i32) -> Outcome {
    for partition in 0..partitions {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(1, None, Some(&[b'x'; 200]), &[]);
        let check = Check::Client { begins: false, transaction_v2: false };
        let append = Append { partition: id(partition), batch: builder.build(), check };
        store.commit(Frame::from(vec![append]), None)?;
        if partition % 500 == 499 || partition + 1 == partitions {
            while store.journal_round()?.more {}
            for shard in 0..store.applier_shards() {
                while store.apply_round(shard)?.more {}
            }
            if store.checkpoint_due() {
                store.checkpoint()?;
            }
        }
    }
    Ok(())
}

fn report(what: &str, since: Instant, directory: &Path) {
    let took = since.elapsed().as_secs_f64() * 1000.0;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).map_or("?", str::trim);
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    println!(
        "{what}: {took:.1} ms, {memory} resident, {descriptors} descriptors, {} KiB on disk",
        size_of(directory) >> 10
    );
}

fn size_of(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size_of(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
