//! The threads that compute the shards of a task's epochs, beside the task's own.

use std::io;
use std::sync::Arc;

use logmill_stream::{Crew, Executor, Serial};

/// Who computes the epochs of a task in so many shards: threads, where there are processors for several. They end with it.
pub(crate) fn executor(pipeline: &str, task: i32, shards: u32) -> Arc<dyn Executor> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match processors.min(shards as usize) {
        0 | 1 => Arc::new(Serial),
        width => match start(task, width) {
            Ok(crew) => Arc::new(crew),
            Err(error) => {
                tracing::warn!(pipeline, task, %error, "no threads for shards: they are computed in turn");
                Arc::new(Serial)
            }
        },
    }
}

fn start(task: i32, width: usize) -> io::Result<Crew> {
    Crew::start(width, |number, work| {
        let thread = std::thread::Builder::new().name(format!("shard-{number}-{task}")).spawn(work)?;
        Ok(Box::new(move || drop(thread.join())))
    })
}
