//! W6: what a broker costs that has nothing to do: start, memory, CPU, files.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use crate::link::Link;
use crate::procfs;
use crate::report::{Runs, Table, mib, say};
use crate::server::{Bench, Server, Stop, Subject};

/// When memory is looked at, and over which CPU time is counted.
const SETTLE: Duration = Duration::from_secs(2);
const WATCH: Duration = Duration::from_secs(5);

/// What a server costs while it is idle.
#[derive(Clone, Debug, Default)]
struct Figures {
    open_ms: Runs,
    resident: Runs,
    cpu: Runs,
    descriptors: Runs,
    threads: Runs,
    files: Runs,
    apparent: Runs,
    allocated: Runs,
    stop_ms: Runs,
}

/// Starts Logmill on an empty directory, on the same again, and on one with many partitions.
pub(crate) fn run(bench: &Bench, partitions: i32, runs: u32) -> anyhow::Result<()> {
    let subject = Subject::Logmill { durable: true };
    let many = format!("{partitions} partitions");
    let many_killed = format!("{partitions} partitions, after a kill");
    let names = ["empty directory", "the same again", many.as_str(), many_killed.as_str()];
    let mut all = vec![Figures::default(); names.len()];
    let mut creating = Runs::default();
    for run in 1..=runs {
        say(&format!("W6 run {run}/{runs}"))?;
        let server = bench.open(subject, bench.data()?, 0)?;
        all[0].watch(&server)?;
        let (data, stopped) = server.stop(Stop::Terminate)?;
        all[0].stop_ms.push(millis(stopped));
        let server = bench.open(subject, data, 0)?;
        all[1].watch(&server)?;
        let before = std::time::Instant::now();
        Link::open(server.address)?.create_topic(partitions, &[])?;
        creating.push(millis(before.elapsed()));
        let (data, stopped) = server.stop(Stop::Terminate)?;
        all[1].stop_ms.push(millis(stopped));
        let server = bench.open(subject, data, 0)?;
        all[2].watch(&server)?;
        let (data, stopped) = server.stop(Stop::Kill)?;
        all[2].stop_ms.push(millis(stopped));
        let server = bench.open(subject, data, 0)?;
        all[3].watch(&server)?;
        all[3].stop_ms.push(millis(server.stop(Stop::Terminate)?.1));
    }
    let mut table = Table::new(&[
        "date",
        "start on",
        "port open after ms",
        "RSS MiB",
        "CPU % of a core",
        "descriptors",
        "threads",
        "files",
        "size MiB",
        "on disk MiB",
        "stopped after ms",
    ]);
    let date = jiff::Zoned::now().date();
    for (name, figures) in names.iter().zip(&all) {
        table.row(vec![
            date.to_string(),
            (*name).to_owned(),
            figures.open_ms.show(0),
            figures.resident.show(1),
            figures.cpu.show(2),
            figures.descriptors.show(0),
            figures.threads.show(0),
            figures.files.show(0),
            figures.apparent.show(1),
            figures.allocated.show(1),
            figures.stop_ms.show(0),
        ]);
    }
    table.print(&format!(
        "W6: logmill idle, load {:.1}; creating {partitions} partitions took {} ms; {runs} runs, median [min–max]",
        procfs::load(),
        creating.show(0)
    ))?;
    Ok(())
}

impl Figures {
    fn watch(&mut self, server: &Server) -> anyhow::Result<()> {
        self.open_ms.push(millis(server.opened_after));
        std::thread::sleep(SETTLE);
        self.resident.push(mib(procfs::memory(server.pid())?.0));
        let before = server.cpu_time()?;
        std::thread::sleep(WATCH);
        let cpu = server.cpu_time()? - before;
        self.cpu.push(100.0 * cpu.as_secs_f64() / WATCH.as_secs_f64());
        let (descriptors, threads) = procfs::descriptors_and_threads(server.pid())?;
        self.descriptors.push(descriptors as f64);
        self.threads.push(threads as f64);
        let Sizes { files, apparent, allocated } = sizes(server.data_dir())?;
        self.files.push(files as f64);
        self.apparent.push(mib(apparent));
        self.allocated.push(mib(allocated));
        Ok(())
    }
}

/// Files under a directory, and their bytes: as long as they say they are, and as much as they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) files: u64,
    pub(crate) apparent: u64,
    pub(crate) allocated: u64,
}

pub(crate) fn sizes(directory: &Path) -> std::io::Result<Sizes> {
    let mut total = Sizes::default();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let more = if metadata.is_dir() {
            sizes(&entry.path())?
        } else {
            Sizes { files: 1, apparent: metadata.len(), allocated: metadata.blocks() * 512 }
        };
        total.files += more.files;
        total.apparent += more.apparent;
        total.allocated += more.allocated;
    }
    Ok(total)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_with_their_holes() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("in")).unwrap();
        std::fs::write(directory.path().join("in/a"), [0; 100]).unwrap();
        std::fs::File::create(directory.path().join("b")).unwrap().set_len(1 << 20).unwrap();
        let sizes = sizes(directory.path()).unwrap();
        assert_eq!((sizes.files, sizes.apparent), (2, 100 + (1 << 20)));
        assert!(sizes.allocated < 1 << 20, "a hole takes no space");
    }
}
