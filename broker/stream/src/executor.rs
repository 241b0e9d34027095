//! The seam to threads: who computes the pieces of an epoch that know nothing of one another.
//!
//! The engine has no thread. It hands an executor tasks, and takes what they give in the order of the tasks; so neither how
//! many run at a time nor which of them is done first shows in what an epoch writes.

mod crew;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc;

pub use crew::{Crew, CrewJoin, CrewWork};

/// A piece of an epoch's work.
pub type Task = Box<dyn FnOnce() + Send>;

/// Runs the pieces of an epoch's work, on threads or without.
pub trait Executor: fmt::Debug + Send + Sync {
    /// How many tasks it runs at a time, at least 1. With 1 it is given none: they are run where the epoch is.
    fn width(&self) -> usize;

    /// A stage of an epoch with fewer rows is not parted into tasks: to wake threads would take longer than they save.
    fn least_rows(&self) -> usize;

    /// Runs each task once, on whatever thread and in whatever order, and returns when the last of them has ended. One that
    /// panics keeps no other from being run; its panic is the caller's then.
    fn run(&self, tasks: Vec<Task>);
}

/// One task after the other, where the epoch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Serial;

impl Executor for Serial {
    fn width(&self) -> usize {
        1
    }

    fn least_rows(&self) -> usize {
        usize::MAX
    }

    fn run(&self, tasks: Vec<Task>) {
        tasks.into_iter().for_each(|task| task());
    }
}

/// Whether a stage with so many rows, in so many pieces, is worth to be parted.
pub(crate) fn is_worth_it(executor: &dyn Executor, rows: usize, pieces: usize) -> bool {
    pieces > 1 && executor.width() > 1 && rows >= executor.least_rows()
}

/// What `work` makes of each piece, in the order of the pieces. They have so many rows in all.
pub(crate) fn each<P, T>(
    executor: &dyn Executor,
    rows: usize,
    pieces: Vec<P>,
    work: impl Fn(P) -> T + Send + Sync + 'static,
) -> Vec<T>
where
    P: Send + 'static,
    T: Send + 'static,
{
    if !is_worth_it(executor, rows, pieces.len()) {
        return pieces.into_iter().map(work).collect();
    }
    let count = pieces.len();
    let work = Arc::new(work);
    let (sender, done) = mpsc::channel();
    let task = |(index, piece): (usize, P)| -> Task {
        let (work, sender) = (Arc::clone(&work), sender.clone());
        // Nobody listens any more where another task has panicked.
        Box::new(move || drop(sender.send((index, work(piece)))))
    };
    executor.run(pieces.into_iter().enumerate().map(task).collect());
    let mut given: Vec<(usize, T)> = done.try_iter().collect();
    assert_eq!(given.len(), count, "an executor runs each task, and waits for it");
    given.sort_unstable_by_key(|(index, _)| *index);
    given.into_iter().map(|(_, given)| given).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Runs the last task first, and remembers how many it was given.
    #[derive(Debug)]
    struct Backwards(AtomicUsize, usize);

    impl Executor for Backwards {
        fn width(&self) -> usize {
            self.1
        }

        fn least_rows(&self) -> usize {
            10
        }

        fn run(&self, tasks: Vec<Task>) {
            self.0.fetch_add(tasks.len(), Ordering::Relaxed);
            tasks.into_iter().rev().for_each(|task| task());
        }
    }

    fn doubled(executor: &Backwards, rows: usize, pieces: Vec<u32>) -> (Vec<u32>, usize) {
        let given = each(executor, rows, pieces, |piece| 2 * piece);
        (given, executor.0.swap(0, Ordering::Relaxed))
    }

    #[test]
    fn pieces_come_in_their_order_whichever_is_done_first() {
        let executor = Backwards(AtomicUsize::new(0), 3);
        assert_eq!(doubled(&executor, 10, vec![1, 2, 3, 4]), (vec![2, 4, 6, 8], 4));
    }

    #[test]
    fn what_is_little_or_one_piece_is_run_at_once() {
        let executor = Backwards(AtomicUsize::new(0), 3);
        assert_eq!(doubled(&executor, 9, vec![1, 2]), (vec![2, 4], 0));
        assert_eq!(doubled(&executor, 1_000, vec![5]), (vec![10], 0));
        assert_eq!(doubled(&executor, 1_000, vec![]), (vec![], 0));
        let alone = Backwards(AtomicUsize::new(0), 1);
        assert_eq!(doubled(&alone, 1_000, vec![1, 2]), (vec![2, 4], 0));
    }

    #[test]
    #[should_panic(expected = "an executor runs each task")]
    fn an_executor_that_forgets_a_task_is_found() {
        #[derive(Debug)]
        struct Forgetful;

        impl Executor for Forgetful {
            fn width(&self) -> usize {
                2
            }

            fn least_rows(&self) -> usize {
                0
            }

            fn run(&self, tasks: Vec<Task>) {
                tasks.into_iter().skip(1).for_each(|task| task());
            }
        }
        each(&Forgetful, 1, vec![1, 2], |piece| piece);
    }
}
