//! Shards that are computed at the same time.

use std::sync::Arc;

use logmill_stream::{Executor, Pipeline, Task};

use super::MemoryLogs;

/// A thread for each task, however little it is.
#[derive(Debug)]
pub(crate) struct Threads(pub(crate) usize);

impl Executor for Threads {
    fn width(&self) -> usize {
        self.0
    }

    fn least_rows(&self) -> usize {
        1
    }

    fn run(&self, tasks: Vec<Task>) {
        std::thread::scope(|scope| {
            // Those that come last begin first.
            tasks.into_iter().rev().for_each(|task| drop(scope.spawn(task)));
        });
    }
}

/// The pipeline as the logs want it.
pub(crate) fn on_threads(pipeline: Pipeline, logs: &MemoryLogs) -> Pipeline {
    match logs.threads {
        true => pipeline.with_executor(Arc::new(Threads(logs.shards.max(2)))),
        false => pipeline,
    }
}
