//! How much was done in a run, and what befell it.

use logmill_tests::history::{Action, History, Outcome};

macro_rules! counts {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// How much was done, and what befell it.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub(crate) struct Counts {
            $($(#[doc = $doc])* pub(crate) $name: u64,)*
        }

        impl Counts {
            /// Adds another run's.
            pub(crate) fn add(&mut self, more: &Counts) {
                $(self.$name += more.$name;)*
            }

            /// What never happened.
            pub(crate) fn missing(&self) -> Vec<&'static str> {
                [$((stringify!($name), self.$name),)*].into_iter().filter(|(_, n)| *n == 0).map(|(name, _)| name).collect()
            }
        }
    };
}

counts! {
    /// What clients asked for.
    operations,
    /// Transactions that were committed, and aborted, for sure.
    commits,
    aborts,
    /// Records copied by name, and transactions of those who share out the input.
    copies,
    moves,
    /// Operations of which nobody knows what came.
    unknown,
    /// Power cuts at some moment, and inside a call of the disk.
    power_cuts,
    inside_calls,
    /// Processes that were killed, and that ended because a flush had failed.
    kills,
    failed_flushes,
    /// Times in which the disk was slow, or full, or nothing passed the network.
    slow_disks,
    full_disks,
    cuts,
    /// Starts of the broker, and the frames they read again.
    starts,
    replayed_frames,
    checkpoints,
    /// Requests that arrived or waited long, answers that waited long, copies; connections that were lost with one, or left half-open.
    requests,
    delayed,
    held,
    repeated,
    lost,
    hung,
}

impl Counts {
    /// Counts what is in a history.
    pub(crate) fn count(&mut self, history: &History) {
        self.operations += history.operations.len() as u64;
        for operation in &history.operations {
            match (&operation.action, operation.outcome()) {
                (_, Outcome::Unknown) => self.unknown += 1,
                (Action::Commit(_), Outcome::Done) => self.commits += 1,
                (Action::Abort(_), Outcome::Done) => self.aborts += 1,
                (Action::Send(sending), Outcome::Written(_)) => {
                    self.copies += u64::from(sending.copy_of.is_some());
                }
                _ => {}
            }
        }
    }
}
