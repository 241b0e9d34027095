//! The threads of one pipeline's shards, which live as long as it runs.

use std::io;

use logmill_stream::Crew;

/// Starts threads for so many tasks at a time.
///
/// # Errors
/// The operating system gives no thread.
pub(super) fn start(pipeline: &str, width: usize) -> io::Result<Crew> {
    Crew::start(width, |number, work| {
        let thread = std::thread::Builder::new().name(format!("shard-{number}-{pipeline}"));
        // It has the priority of the thread that starts it, which is the pipeline's.
        let thread = thread.spawn(work)?;
        Ok(Box::new(move || drop(thread.join())))
    })
}
