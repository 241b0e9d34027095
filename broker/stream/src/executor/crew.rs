//! Threads that somebody else starts, and how they share the tasks.
//!
//! They take pieces of an epoch beside the thread that runs it, and sleep between its stages. Nothing of what an epoch
//! writes hangs on them: the engine puts what they give in order. The engine starts no thread itself.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::{Executor, Task};

/// To wake threads and wait for them takes as long as a few hundred rows do; epochs of so few are the quickest where they are.
const LEAST_ROWS: usize = 4_096;

/// What a thread of a [`Crew`] does until there is nothing left to do.
pub type CrewWork = Box<dyn FnOnce() + Send>;

/// Waits for the end of a thread.
pub type CrewJoin = Box<dyn FnOnce() + Send + Sync>;

/// Threads that wait for tasks. Dropping it ends them, and waits for that.
pub struct Crew {
    shared: Arc<Shared>,
    threads: Vec<CrewJoin>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There are tasks, or there will be none any more.
    news: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    closed: bool,
}

/// How many tasks of one call are not done.
struct Left {
    count: Mutex<(usize, Option<Box<dyn Any + Send>>)>,
    none: Condvar,
}

impl Crew {
    /// Has threads started for so many tasks at a time: one fewer, for whoever has tasks takes some himself. `start` is given
    /// the number of each, from 1 on, and what it does.
    ///
    /// # Errors
    /// Those of `start`. What was started by then is ended.
    pub fn start<E>(
        width: usize,
        mut start: impl FnMut(usize, CrewWork) -> Result<CrewJoin, E>,
    ) -> Result<Crew, E> {
        let mut started = Crew { shared: Arc::default(), threads: Vec::new() };
        for number in 1..width {
            let shared = Arc::clone(&started.shared);
            started.threads.push(start(number, Box::new(move || shared.work()))?);
        }
        Ok(started)
    }
}

impl Shared {
    /// Does tasks until there will be none any more.
    fn work(&self) {
        loop {
            let task = {
                let mut queue = self.queue.lock();
                loop {
                    if let Some(task) = queue.tasks.pop_front() {
                        break task;
                    }
                    if queue.closed {
                        return;
                    }
                    self.news.wait(&mut queue);
                }
            };
            task();
        }
    }

    fn next(&self) -> Option<Task> {
        self.queue.lock().tasks.pop_front()
    }
}

impl Left {
    fn one_is_done(&self, panicked: Option<Box<dyn Any + Send>>) {
        let mut left = self.count.lock();
        left.0 -= 1;
        if let Some(panicked) = panicked {
            left.1.get_or_insert(panicked);
        }
        if left.0 == 0 {
            self.none.notify_all();
        }
    }

    /// Waits until all are done; what the first of them panicked with, if one did.
    fn wait(&self) -> Option<Box<dyn Any + Send>> {
        let mut left = self.count.lock();
        while left.0 > 0 {
            self.none.wait(&mut left);
        }
        left.1.take()
    }
}

impl Executor for Crew {
    fn width(&self) -> usize {
        self.threads.len() + 1
    }

    fn least_rows(&self) -> usize {
        LEAST_ROWS
    }

    fn run(&self, tasks: Vec<Task>) {
        let left = Arc::new(Left { count: Mutex::new((tasks.len(), None)), none: Condvar::new() });
        let sleepers = self.threads.len().min(tasks.len().saturating_sub(1));
        self.shared.queue.lock().tasks.extend(tasks.into_iter().map(|task| -> Task {
            let left = Arc::clone(&left);
            // Whoever panics here has had what it worked on for itself, and it is gone with it.
            Box::new(move || left.one_is_done(catch_unwind(AssertUnwindSafe(task)).err()))
        }));
        for _ in 0..sleepers {
            self.shared.news.notify_one();
        }
        while let Some(task) = self.shared.next() {
            task();
        }
        if let Some(panicked) = left.wait() {
            resume_unwind(panicked);
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.news.notify_all();
        for join in self.threads.drain(..) {
            // It has caught what its tasks panicked with.
            join();
        }
    }
}

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("width", &self.width()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    fn crew(width: usize) -> Result<Crew, std::io::Error> {
        Crew::start(width, |number, work| {
            let thread = thread::Builder::new().name(format!("shard-{number}")).spawn(work)?;
            Ok(Box::new(move || drop(thread.join())))
        })
    }

    fn tasks(count: usize, task: impl Fn(usize) + Send + Sync + 'static) -> Vec<Task> {
        let task = Arc::new(task);
        let nth = |index| -> Task {
            let task = Arc::clone(&task);
            Box::new(move || task(index))
        };
        (0..count).map(nth).collect()
    }

    #[test]
    fn as_many_tasks_run_at_a_time_as_there_are_threads_and_the_caller() {
        let threads = crew(3).unwrap();
        assert_eq!(threads.width(), 3);
        // Nobody comes past it alone.
        let (barrier, ran) = (Arc::new(Barrier::new(3)), Arc::new(Mutex::new(BTreeSet::new())));
        let seen = Arc::clone(&ran);
        threads.run(tasks(3, move |_| {
            barrier.wait();
            seen.lock().insert(thread::current().name().map(str::to_owned));
        }));
        let ran = ran.lock();
        assert_eq!(ran.len(), 3);
        assert!(ran.contains(&Some("shard-1".to_owned())) && ran.contains(&Some("shard-2".to_owned())));
    }

    #[test]
    fn every_task_is_run_once_before_the_call_returns() {
        let threads = crew(4).unwrap();
        for round in 0..200 {
            let ran: Arc<Vec<AtomicUsize>> = Arc::new((0..round).map(|_| AtomicUsize::new(0)).collect());
            let counts = Arc::clone(&ran);
            threads.run(tasks(round, move |index| {
                counts[index].fetch_add(1, Ordering::Relaxed);
            }));
            assert!(ran.iter().all(|count| count.load(Ordering::Relaxed) == 1), "round {round}");
        }
    }

    #[test]
    fn a_panic_is_the_callers_when_the_others_are_done_and_the_threads_go_on() {
        let threads = crew(2).unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            threads.run(tasks(20, move |index| {
                assert!(index % 7 != 3, "a defect in task {index}");
                count.fetch_add(1, Ordering::Relaxed);
            }));
        }));
        let panicked = ended.expect_err("the panic is the caller's");
        assert!(panicked.downcast_ref::<String>().is_some_and(|text| text.contains("a defect in task")));
        assert_eq!(ran.load(Ordering::Relaxed), 17);
        let barrier = Arc::new(Barrier::new(2));
        threads.run(tasks(2, move |_| {
            barrier.wait();
        }));
    }
}
