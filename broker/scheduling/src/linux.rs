//! Linux's scheduler.

use std::io;
use std::mem::size_of;

/// A background thread is nicer than its process by so much: where all processors are busy, it gets a third of what others do.
const NICER: i32 = 5;
const NICEST: i32 = 19;

/// What a background thread's turn takes, in ns: longer than the usual 1 to 3 ms, and short enough for background threads that
/// wait for one another.
const TURN_NS: u64 = 10_000_000;

/// What the scheduler is told of a thread.
type Attributes = libc::sched_attr;

pub(crate) fn work_in_background() -> io::Result<()> {
    let told = match read() {
        Ok(before) => in_background(before).map_or(Ok(()), |wanted| write(&wanted)),
        Err(error) => Err(error),
    };
    told.inspect_err(|_refused| {
        // What is said is why it is no more than that, or not even that.
        let _ = be_nicer();
    })
}

pub(crate) fn be_nicer() -> io::Result<()> {
    rustix::process::nice(NICER)?;
    Ok(())
}

/// What a background thread is, by what it is now. `None`: it stays.
fn in_background(now: Attributes) -> Option<Attributes> {
    let policy = i32::try_from(now.sched_policy).ok()?;
    let is_ordinary = matches!(policy, libc::SCHED_OTHER | libc::SCHED_BATCH);
    is_ordinary.then(|| Attributes {
        sched_policy: libc::SCHED_BATCH.unsigned_abs(),
        sched_nice: now.sched_nice.saturating_add(NICER).min(NICEST),
        sched_runtime: TURN_NS,
        sched_flags: 0,
        ..now
    })
}

fn size() -> u32 {
    u32::try_from(size_of::<Attributes>()).expect("a small structure")
}

/// What the calling thread is.
#[expect(unsafe_code, reason = "no library offers this system call in safe form")]
fn read() -> io::Result<Attributes> {
    let mut attributes = Attributes {
        size: size(),
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes no more than `size` bytes to the structure, which is that large and of integers only.
    let status = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size(), 0) };
    if status == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

/// Makes the calling thread that.
#[expect(unsafe_code, reason = "no library offers this system call in safe form")]
fn write(attributes: &Attributes) -> io::Result<()> {
    let mut attributes = Attributes { size: size(), ..*attributes };
    // SAFETY: the kernel reads `size` bytes, which are the structure's, may write another `size` to it, and keeps no pointer.
    let status = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw mut attributes, 0) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linux has turns of a thread's own since 6.12; before it takes no notice of them.
    fn has_turns() -> bool {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("Linux says its release");
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 12)
    }

    fn in_a_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(run).join().expect("it does not panic")
    }

    fn attributes(policy: i32, nice: i32) -> Attributes {
        Attributes {
            sched_policy: policy.unsigned_abs(),
            sched_nice: nice,
            ..read().expect("permitted everywhere")
        }
    }

    #[test]
    fn a_background_thread_and_those_it_starts_have_long_turns_and_take_nobodys() {
        let before = read().unwrap();
        let told = in_a_thread(|| {
            work_in_background()?;
            io::Result::Ok((read().unwrap(), in_a_thread(|| read().unwrap())))
        });
        let refused = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS));
        if in_background(before).is_none() || told.as_ref().is_err_and(refused) {
            // The tests were started under another policy, or in a sandbox.
            return;
        }
        let (own, childs) = told.unwrap();
        for after in [own, childs] {
            assert_eq!(after.sched_policy, libc::SCHED_BATCH.unsigned_abs());
            assert_eq!(after.sched_nice, (before.sched_nice + NICER).min(NICEST));
            if has_turns() {
                assert_eq!(after.sched_runtime, TURN_NS);
            }
        }
        assert_eq!(read().unwrap().sched_policy, before.sched_policy, "others stay what they are");
    }

    #[test]
    fn niceness_ends_at_the_nicest() {
        let wanted = in_background(attributes(libc::SCHED_OTHER, 17)).unwrap();
        assert_eq!((wanted.sched_nice, wanted.sched_policy), (NICEST, libc::SCHED_BATCH.unsigned_abs()));
    }

    #[test]
    fn what_somebody_chose_stays() {
        for policy in [libc::SCHED_RR, libc::SCHED_FIFO, libc::SCHED_IDLE] {
            assert!(in_background(attributes(policy, 0)).is_none());
        }
    }
}
