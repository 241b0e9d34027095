//! A device that fails a write or a flush, once: the store must not go on as if nothing had happened.

use crate::coverage::During;
use crate::generator::failing_call;
use crate::machine::Stop;
use crate::run::World;
use crate::steps::Life;
use crate::trace::{Violation, ensure, ensure_stop};
use logmill_storage::disk::sim::Failing;

impl World<'_> {
    /// The next call of this kind on such a path fails.
    pub(crate) fn arm(&mut self, what: Failing, path: &'static str) {
        self.trace.note(format_args!("the next {what:?} of {path:?} fails"));
        self.disk.fail_next(what, path);
    }

    pub(crate) fn arm_any(&mut self) {
        let (what, path) = failing_call(&mut self.random);
        self.arm(what, path);
    }

    /// A write or a flush has failed since the last time that was asked.
    pub(crate) fn new_failure(&mut self) -> bool {
        let failures = self.disk.failures();
        std::mem::replace(&mut self.failures, failures) < failures
    }

    /// What a step said that may have met a failure of the device.
    pub(crate) fn judge_failure(&mut self, life: &mut Life, outcome: Result<(), Stop>) -> Result<(), Stop> {
        if !self.new_failure() || self.disk.crashed() {
            return outcome;
        }
        let message = match outcome {
            Err(Stop::Failed(message)) => message,
            Err(violation) => return Err(violation),
            // A read makes an index again, and keeps it in memory only when it cannot be written.
            Ok(()) if self.during == During::Else => return Ok(()),
            Ok(()) => {
                return Err(Violation(format!(
                    "a write or a flush failed during {:?}, and nobody was told",
                    self.during
                ))
                .into());
            }
        };
        let Some(machine) = &life.machine else {
            self.device_failed = true;
            return Err(Stop::Failed(message));
        };
        if machine.journal().is_ok() {
            // What was to be made is not there, and nothing else hangs on it.
            ensure_stop!(
                self.during == During::Create,
                "the store goes on after a failure during {:?}: {message}",
                self.during
            );
            self.trace.note(format_args!("not made: {message}"));
            return Ok(());
        }
        self.device_failed = true;
        self.harvest(life)?;
        ensure_dead(life)?;
        Err(Stop::Failed(message))
    }
}

/// Nothing is accepted, written or acknowledged any more.
fn ensure_dead(life: &mut Life) -> Result<(), Violation> {
    let machine = life.machine();
    let partitions: Vec<_> = machine.partitions().into_keys().collect();
    for partition in partitions {
        let taken = machine.commit_plain(partition);
        ensure!(taken.is_err(), "a failed store accepts a frame for {partition}");
    }
    ensure!(machine.apply_all().is_err(), "a failed store goes on to apply");
    ensure!(machine.checkpoint().is_err(), "a failed store makes a checkpoint");
    ensure!(machine.store.close().is_err(), "a failed store is closed as if all was well");
    let done = machine.take_done();
    ensure!(done.is_empty(), "a failed store acknowledges {done:?}");
    Ok(())
}
