//! What it costs that somebody reads the metrics: W1 while Prometheus would ask every second, and while nobody does.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::report::{Runs, Table, gib, mib, micros, say};
use crate::server::{Bench, Stop, Subject};
use crate::volume::{How, Volume, settled_cpu};
use crate::{memory, procfs, produce};

/// How often Prometheus asks.
const EVERY: Duration = Duration::from_secs(1);
/// Partitions of the topic, so that there is something to count.
const PARTITIONS: i32 = 1000;

/// With and without somebody who reads.
#[derive(Clone, Debug, Default)]
struct Figures {
    mib: Runs,
    server: Runs,
    ack_p50: Runs,
    ack_p99: Runs,
    scrapes: Runs,
    scrape_ms: Runs,
    load: Runs,
}

/// Runs both in turn and prints a table.
pub(crate) fn run(bench: &Bench, volume: Volume, how: How) -> anyhow::Result<()> {
    let subject = Subject::Logmill { durable: false };
    let mut all = [Figures::default(), Figures::default()];
    for run in 1..=how.runs {
        for (read, figures) in [false, true].into_iter().zip(&mut all) {
            say(&format!("{} run {run}/{}: metrics read: {read}", volume.name, how.runs))?;
            let metrics = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            let mut bench = bench.clone();
            bench.settings.push(format!("telemetry.metrics={metrics}"));
            let server = bench.start_with(subject, volume.payload, PARTITIONS)?;
            memory::touch(how.touch);
            let before = server.cpu_time()?;
            let batches = volume.shape.batches(volume.payload);
            let done = AtomicBool::new(false);
            let (produced, scrapes) = std::thread::scope(|scope| {
                let reader = read.then(|| scope.spawn(|| read_until(&done, metrics)));
                let produced = produce::run(server.address, volume.shape, batches, how.in_flight);
                done.store(true, Ordering::Relaxed);
                (produced, reader.map(std::thread::ScopedJoinHandle::join))
            });
            let produced = produced?;
            let scrapes = match scrapes {
                Some(read) => read.map_err(|_panic| anyhow::anyhow!("who reads the metrics panicked"))??,
                None => Vec::new(),
            };
            figures.mib.push(mib(produced.payload) / produced.elapsed.as_secs_f64());
            figures.server.push((settled_cpu(&server)? - before).as_secs_f64() / gib(produced.payload));
            figures.ack_p50.push(micros(produced.acks.quantile(0.5)));
            figures.ack_p99.push(micros(produced.acks.quantile(0.99)));
            figures.scrapes.push(scrapes.len() as f64);
            let longest = scrapes.iter().max().copied().unwrap_or_default();
            figures.scrape_ms.push(longest.as_secs_f64() * 1000.0);
            figures.load.push(procfs::load());
            server.stop(Stop::Kill)?;
        }
    }
    let mut table = Table::new(&[
        "date",
        "metrics",
        "MiB/s",
        "× unread",
        "server s/GiB",
        "× unread",
        "ack p50 µs",
        "ack p99 µs",
        "scrapes",
        "longest ms",
        "load",
    ]);
    let date = jiff::Zoned::now().date();
    let [unread, _] = &all;
    for (name, figures) in ["unread", "read every second"].into_iter().zip(&all) {
        let ratio = |one: &Runs, other: &Runs| format!("{:.2}", one.median() / other.median());
        table.row(vec![
            date.to_string(),
            name.to_owned(),
            figures.mib.show(0),
            ratio(&figures.mib, &unread.mib),
            figures.server.show(2),
            ratio(&figures.server, &unread.server),
            figures.ack_p50.show(0),
            figures.ack_p99.show(0),
            figures.scrapes.show(0),
            figures.scrape_ms.show(1),
            figures.load.show(1),
        ]);
    }
    table.print(&format!(
        "{}, {:.0} MiB, page cache, a topic of {PARTITIONS} partitions, {} runs, median [min–max]",
        volume.name,
        mib(volume.payload),
        how.runs
    ))?;
    Ok(())
}

/// Reads the metrics every second until `done`; how long each time took.
fn read_until(done: &AtomicBool, metrics: SocketAddr) -> anyhow::Result<Vec<Duration>> {
    let mut took = Vec::new();
    let mut next = Instant::now();
    while !done.load(Ordering::Relaxed) {
        if Instant::now() < next {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        next += EVERY;
        let began = Instant::now();
        read(metrics)?;
        took.push(began.elapsed());
    }
    Ok(took)
}

/// The metrics, with what comes before them.
fn read(metrics: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(metrics)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "no metrics: {answer}");
    Ok(answer)
}

/// One value without labels.
pub(crate) fn value(metrics: SocketAddr, name: &str) -> anyhow::Result<f64> {
    let answer = read(metrics)?;
    let found = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(found.with_context(|| format!("no {name}"))?.parse()?)
}
