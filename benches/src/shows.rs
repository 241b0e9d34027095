//! What has to go well with data of some size, shown by one command each: a start on many sealed segments, producing and
//! fetching while compaction runs, a disk that fills and has room again.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use logmill_record::{BatchBuilder, BatchOptions};

use crate::footprint::sizes;
use crate::histogram::Histogram;
use crate::link::{FetchPlan, Link, Prepared};
use crate::report::{gib, mib, micros, print};
use crate::server::{Bench, Server, Stop, Subject};
use crate::volume::Volume;
use crate::{catch_up, procfs, produce};

const LOGMILL: Subject = Subject::Logmill { durable: true };

/// Starts on a log of so many bytes in sealed segments, after a stop and after a kill.
pub(crate) fn sealed(bench: &Bench, bytes: u64) -> anyhow::Result<()> {
    let volume = Volume::W2;
    let configs = [("max.message.bytes", "4194304"), ("segment.bytes", "67108864"), ("retention.ms", "-1")];
    let server = bench.open(LOGMILL, bench.data()?, bytes)?;
    Link::open(server.address)?.create_topic(1, &configs)?;
    let produced = produce::run(server.address, volume.shape, volume.shape.batches(bytes), 5)?;
    let end = i64::try_from(produced.records)?;
    print(&format!(
        "written: {:.1} GiB in {:.0} s, {} files",
        gib(produced.payload),
        produced.elapsed.as_secs_f64(),
        sizes(server.data_dir())?.files
    ))?;
    let (data, stopped) = server.stop(Stop::Terminate)?;
    print(&format!("stopped after {:.2} s", stopped.as_secs_f64()))?;
    let server = bench.open(LOGMILL, data, 0)?;
    started(&server, "after a clean stop", end)?;
    let server = bench.open(LOGMILL, server.stop(Stop::Kill)?.0, 0)?;
    started(&server, "after a kill", end)?;
    server.stop(Stop::Terminate).map(drop)
}

fn started(server: &Server, what: &str, end: i64) -> anyhow::Result<()> {
    let mut link = Link::open(server.address)?;
    link.introduce()?;
    let mut first_reads = Histogram::new();
    for tenth in 0..10 {
        let offset = end / 10 * tenth;
        let plan = FetchPlan { offset, max_bytes: 1 << 20, min_bytes: 1, wait_ms: 500 };
        let before = Instant::now();
        let read = link.fetch(plan, |bytes| Ok(bytes.len()))?;
        first_reads.add(before.elapsed());
        ensure!(read > 0, "nothing at offset {offset}");
    }
    print(&format!(
        "{what}: port open after {:.0} ms, resident {:.0} MiB; first reads at ten places: p50 {} µs, max {} µs",
        server.opened_after.as_secs_f64() * 1e3,
        mib(procfs::memory(server.pid())?.0),
        micros(first_reads.quantile(0.5)),
        micros(first_reads.max())
    ))
    .map_err(Into::into)
}

/// Keys that are written again and again.
const KEYS: u64 = 20_000;
const COMPACTING_FOR: Duration = Duration::from_secs(60);

/// Produces and fetches for a while from a topic that is compacted meanwhile, and from one that is not.
pub(crate) fn compacting(bench: &Bench) -> anyhow::Result<()> {
    let mut bench = bench.clone();
    bench.settings.push("cleaning.interval=2 s".to_owned());
    for cleanup in ["delete", "compact"] {
        let server = bench.open(LOGMILL, bench.data()?, 0)?;
        let configs = [
            ("cleanup.policy", cleanup),
            ("segment.bytes", "16777216"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("retention.ms", "-1"),
        ];
        Link::open(server.address)?.create_topic(1, &configs)?;
        let end = Instant::now() + COMPACTING_FOR;
        let address = server.address;
        let reader = std::thread::spawn(move || read_until(address, end));
        let (acks, batches) = write_keys_until(address, end)?;
        let reads = reader.join().map_err(|_panic| anyhow::anyhow!("the reader panicked"))??;
        let bytes = sizes(server.data_dir())?.apparent;
        print(&format!(
            "cleanup.policy={cleanup}: {batches} batches written, {:.0} MiB are left; ack p50 {} µs, p99 {} µs, p99.9 {} µs; \
             {} fetches, p50 {} µs, p99 {} µs, p99.9 {} µs",
            mib(bytes),
            micros(acks.quantile(0.5)),
            micros(acks.quantile(0.99)),
            micros(acks.quantile(0.999)),
            reads.count(),
            micros(reads.quantile(0.5)),
            micros(reads.quantile(0.99)),
            micros(reads.quantile(0.999))
        ))?;
        server.stop(Stop::Terminate)?;
    }
    Ok(())
}

/// Batches of 100 records with keys in turn, at most 400 a second.
fn write_keys_until(address: SocketAddr, end: Instant) -> anyhow::Result<(Histogram, u64)> {
    let mut link = Link::open(address)?;
    link.introduce()?;
    let mut requests = Vec::new();
    for first in (0..KEYS).step_by(100) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for key in first..first + 100 {
            builder.push(1_700_000_000_000, Some(&key.to_be_bytes()), Some(&[b'v'; 200]), &[]);
        }
        requests.push(Prepared::produce(&builder.build().into_bytes())?);
    }
    let (mut acks, mut batches) = (Histogram::new(), 0);
    for next in (0..requests.len()).cycle() {
        let before = Instant::now();
        if before >= end {
            break;
        }
        link.send(&mut requests[next])?;
        link.receive_produced()?;
        acks.add(before.elapsed());
        batches += 1;
        std::thread::sleep(Duration::from_micros(2500).saturating_sub(before.elapsed()));
    }
    Ok((acks, batches))
}

/// Reads from the beginning to the end, again and again.
fn read_until(address: SocketAddr, end: Instant) -> anyhow::Result<Histogram> {
    let mut link = Link::open(address)?;
    link.introduce()?;
    let (mut reads, mut offset) = (Histogram::new(), 0);
    while Instant::now() < end {
        let plan = FetchPlan { offset, max_bytes: 1 << 20, min_bytes: 1, wait_ms: 20 };
        let before = Instant::now();
        let next = link.fetch(plan, |bytes| {
            let mut next = None;
            for batch in logmill_record::batches(bytes) {
                match batch {
                    Ok(batch) => next = Some(batch.header().next_offset()),
                    Err(logmill_record::BatchError::Truncated { .. }) if next.is_some() => break,
                    Err(error) => return Err(error).context("a fetched batch"),
                }
            }
            Ok(next)
        })?;
        if let Some(next) = next {
            reads.add(before.elapsed());
            offset = next;
        } else {
            offset = 0;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(reads)
}

/// Larger file systems are not filled.
const LARGEST_DISK: u64 = 4 << 30;
/// What is removed again to make room: for what waits in the journal to be applied, and for a start, which begins a new
/// file of the journal while all old ones are still needed.
const BALLAST: u64 = 128 << 20;

/// Fills a small file system until the broker refuses to write, reads everything, makes room, and goes on.
pub(crate) fn full_disk(bench: &Bench, directory: &Path) -> anyhow::Result<()> {
    let free = procfs::free_bytes(directory)?;
    ensure!(
        free <= LARGEST_DISK,
        "{} has {:.1} GiB free; mount a small file system there",
        directory.display(),
        gib(free)
    );
    let bench = Bench { directory: directory.to_owned(), ..bench.clone() };
    let ballast = directory.join("ballast");
    std::fs::write(&ballast, vec![1; BALLAST as usize])?;
    let server = bench.open(LOGMILL, bench.data()?, 0)?;
    let configs = [("max.message.bytes", "4194304"), ("segment.bytes", "1048576"), ("retention.ms", "-1")];
    Link::open(server.address)?.create_topic(1, &configs)?;
    let shape = Volume::W1.shape;
    let mut request = Prepared::produce(&shape.build().remove(0))?;
    let mut link = Link::open(server.address)?;
    link.introduce()?;
    let mut written = 0;
    let refused = loop {
        link.send(&mut request)?;
        match link.receive_produced() {
            Ok(_) => written += 1,
            Err(refused) => break refused,
        }
    };
    print(&format!("full after {} batches of {} KiB: {refused:#}", written, shape.payload() >> 10))?;
    catch_up::run(server.address, shape, written, 1 << 20)?;
    print("everything that was acknowledged is read from the full disk")?;
    std::fs::remove_file(&ballast)?;
    let freed = Instant::now();
    loop {
        link.send(&mut request)?;
        if link.receive_produced().is_ok() {
            break;
        }
        ensure!(freed.elapsed() < Duration::from_secs(60), "it does not go on although there is room");
        std::thread::sleep(Duration::from_millis(10));
    }
    written += 1;
    print(&format!("writing goes on {:.0} ms after there was room", freed.elapsed().as_secs_f64() * 1e3))?;
    let (data, _) = server.stop(Stop::Kill)?;
    let server = bench.open(LOGMILL, data, 0)?;
    catch_up::run(server.address, shape, written, 1 << 20)?;
    print("and after a kill and a start everything is there")?;
    server.stop(Stop::Terminate).map(drop)
}
