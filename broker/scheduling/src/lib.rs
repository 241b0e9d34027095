//! What a thread asks of the operating system's scheduler: to be one that works in the background.
//!
//! A thread that computes for long delays those that have little to do and are waited for, even where there are processors
//! enough: on Linux, who wakes up on its processor comes to it with the next tick, up to 4 ms later, and when *it* wakes up
//! it may take the processor from the thread that woke it. Niceness changes neither: it is about shares.
//!
//! So a background thread is of `SCHED_BATCH`, which takes no processor away by waking up, and has longer turns of its own
//! (`sched_runtime`; EEVDF, Linux 6.12 and later), which those with shorter ones may end. Its share of the time stays that
//! of its niceness, whoever else there is; with `SCHED_IDLE` it would have next to none on a busy machine.
//!
//! Here is the one system call that no library offers in safe form.

use std::io;

#[cfg(target_os = "linux")]
mod linux;

/// Makes the calling thread one that works in the background. Threads that it starts later are as well. Whoever started the
/// process in real time, or as idle (`chrt`), has said what is wanted: then nothing changes.
///
/// Elsewhere than on Linux, where niceness is the whole process's, it does nothing.
///
/// # Errors
/// The system does not permit it: a sandbox, as a rule. The thread is nicer then, unless that is not permitted either.
pub fn work_in_background() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    linux::work_in_background()?;
    Ok(())
}

/// Makes the calling thread nicer than the process by as much, and no more: it is waited for, and may take the processor from
/// threads in the background.
///
/// Elsewhere than on Linux it does nothing.
///
/// # Errors
/// The system does not permit it.
pub fn be_nicer() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    linux::be_nicer()?;
    Ok(())
}
