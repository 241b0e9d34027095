//! What the kernel knows of a process and of the machine.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};

/// User and system time of a process with all its threads, ended ones included. Counts in ticks (10 ms).
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path} has no times"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The name of the program, in parentheses, may hold anything; what counts comes behind its last one.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// User and system time of this process.
pub(crate) fn own_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Resident memory of a process in bytes: now, and the most it ever was.
pub(crate) fn memory(pid: u32) -> anyhow::Result<(u64, u64)> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let field = |name: &str| kibibytes(&status, name).with_context(|| format!("{path} has no {name}"));
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// Memory that can be had without swapping, in bytes.
pub(crate) fn available_memory() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kibibytes(&meminfo, "MemAvailable:").unwrap_or(0)
}

/// All memory, in bytes.
pub(crate) fn total_memory() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kibibytes(&meminfo, "MemTotal:").unwrap_or(0)
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Bytes that may still be written to a file system.
pub(crate) fn free_bytes(directory: &std::path::Path) -> anyhow::Result<u64> {
    let found =
        rustix::fs::statvfs(directory).with_context(|| format!("cannot look at {}", directory.display()))?;
    Ok(found.f_bavail * found.f_frsize)
}

/// Open file descriptors and threads of a process.
pub(crate) fn descriptors_and_threads(pid: u32) -> anyhow::Result<(usize, usize)> {
    let count = |what: &str| -> anyhow::Result<usize> {
        let path = format!("/proc/{pid}/{what}");
        Ok(fs::read_dir(&path).with_context(|| format!("cannot read {path}"))?.count())
    };
    Ok((count("fd")?, count("task")?))
}

/// The load average of the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}

/// One line about this machine.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let gib = total_memory() as f64 / (1 << 30) as f64;
    format!("{cores} × {model}, {gib:.0} GiB, Linux {}", release.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_process_with_a_strange_name() {
        let stat = "77 (a (b) 1 2) S 1 77 77 0 -1 4194304 100 0 0 0 41 59 7 8 20 0 5 0 1000 1 1";
        assert_eq!(cpu_ticks(stat), Some(100));
        assert_eq!(cpu_ticks("77 (x) S 1"), None);
    }

    #[test]
    fn memory_is_in_kibibytes() {
        assert_eq!(kibibytes("VmHWM:\t  12 kB\nVmRSS:\t 10 kB\n", "VmRSS:"), Some(10 * 1024));
        assert_eq!(kibibytes("VmHWM: 12 kB\n", "VmRSS:"), None);
    }

    #[test]
    fn this_process_is_known() {
        let pid = std::process::id();
        assert!(cpu_time(pid).unwrap() <= own_cpu_time() + Duration::from_secs(1));
        let (now, most) = memory(pid).unwrap();
        assert!(now > 0 && most >= now);
        let (descriptors, threads) = descriptors_and_threads(pid).unwrap();
        assert!(descriptors > 0 && threads > 0);
    }
}
