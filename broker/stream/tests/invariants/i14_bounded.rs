//! I14: what a pipeline holds is bounded, however much there is to read, and however slow its sink is.
//!
//! An epoch is bounded in what it reads, unpacks, and gives; nothing is read for the next one before there is room for it:
//! only two are on their way, and whoever turns the loop waits for the one before.

use logmill_stream::{
    CommitError, EpochLimits, EpochLoop, EpochOutput, Logs, LogsError, Plan, ReadBatches, TopicPartition,
    Turn,
};
use proptest::prelude::*;

use super::history::How;
use super::input::{DELAY, Event, events, filled, limits, some_events};
use super::queries::{ALL, TUMBLE};
use super::support::{MemoryLogs, restored};
use super::{Checked, ensure, found};

/// Logs with a slow sink: an epoch is durable only when somebody waits for it.
struct Slow {
    logs: MemoryLogs,
    /// Read since the last commit.
    reading: usize,
    /// Bytes read and bytes given of epochs on their way.
    held: Vec<(usize, usize)>,
    /// The most there ever was of it: read, and given.
    most: (usize, usize),
    /// The bug: reads give all there is, whatever is asked for.
    gives_all: bool,
}

impl Slow {
    fn new(logs: MemoryLogs) -> Slow {
        Slow { logs, reading: 0, held: Vec::new(), most: (0, 0), gives_all: false }
    }

    fn note(&mut self) {
        let read = self.reading + self.held.iter().map(|(read, _)| read).sum::<usize>();
        let given = self.held.iter().map(|(_, given)| given).sum::<usize>();
        self.most = (self.most.0.max(read), self.most.1.max(given));
    }
}

impl Logs for Slow {
    type Ticket = ();

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.logs.readable_end(partition)
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        let max_bytes = if self.gives_all { usize::MAX } else { max_bytes };
        let read = self.logs.read(partition, from, max_bytes)?;
        self.reading += read.batches.iter().map(|batch| batch.size()).sum::<usize>();
        self.note();
        Ok(read)
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        let output = epoch.outputs.iter().map(|output| output.batch.size()).sum::<usize>();
        self.held.push((std::mem::take(&mut self.reading), output));
        self.note();
        self.logs.commit(epoch)
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        self.held.remove(0);
        Ok(())
    }
}

/// The largest batch there is.
fn largest(logs: &MemoryLogs, topic: &str) -> usize {
    let partitions = logs.partitions.iter().filter(|(partition, _)| partition.topic == topic);
    partitions.flat_map(|(_, batches)| batches).map(|batch| batch.size()).max().unwrap_or(0)
}

/// Runs a pipeline as the broker does, and looks at what it held. `patient`: it waits for the epoch before.
fn check_bounded(plan: &Plan, slow: &mut Slow, how: How, patient: bool) -> Checked {
    let partitions = slow.logs.ends("in").len();
    let batch = largest(&slow.logs, "in");
    let mut epochs = EpochLoop::new(restored(plan, &slow.logs, 1), how.limits);
    epochs.declare_ends(slow.logs.ends("in")).expect("the pipeline begins");
    let mut on_their_way = 0;
    while let Turn::Committed { .. } = epochs.turn(slow, 1_700_000_000_000, 0).expect("it runs") {
        on_their_way += 1;
        if on_their_way > 1 && patient {
            slow.wait(()).expect("it does not fail");
            on_their_way -= 1;
        }
    }
    let reads = plan.sources.len().max(1);
    let epoch = how.limits.input_bytes.saturating_add(2 * partitions * batch).saturating_mul(reads);
    let (read, given) = slow.most;
    // One that is read, and those two that may be on their way.
    ensure(read <= epoch.saturating_mul(3), || {
        format!("{read} bytes are read and held, of {epoch} an epoch")
    })?;
    // Whatever the rows are, so many of them are no more than this; an epoch beyond the bound makes the next ones smaller.
    let rows = u64::from(how.limits.emit_rows).max(1) as usize * ROW_BYTES;
    let bound = how.limits.output_bytes.saturating_add(rows).saturating_mul(3).saturating_add(LARGEST_EPOCH);
    ensure(given <= bound, || format!("{given} bytes are given and held, of {bound}"))
}

/// No row of the queries is longer as a record.
const ROW_BYTES: usize = 300;
/// What all of the input of these tests gives at most in one epoch.
const LARGEST_EPOCH: usize = 1 << 20;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn what_is_held_is_bounded(
        events in events(3, DELAY),
        limits in limits(),
        query in 0..ALL.len(),
    ) {
        let mut slow = Slow::new(filled(&events, 3));
        check_bounded(&ALL[query].plan(), &mut slow, How { limits, crash_every: 0 }, true)?;
    }
}

/// Much more than an epoch.
fn much() -> Slow {
    let events: Vec<Event> = (0..20).flat_map(|_| some_events(3)).collect();
    Slow::new(filled(&events, 3))
}

fn of_a_kibibyte() -> How {
    How { limits: EpochLimits { input_bytes: 1_024, ..EpochLimits::default() }, crash_every: 0 }
}

#[test]
fn epochs_that_are_not_waited_for_are_found() {
    check_bounded(&TUMBLE.plan(), &mut much(), of_a_kibibyte(), true).unwrap();
    found(check_bounded(&TUMBLE.plan(), &mut much(), of_a_kibibyte(), false), "are read and held");
}

#[test]
fn a_read_of_all_there_is_is_found() {
    let mut slow = Slow { gives_all: true, ..much() };
    found(check_bounded(&TUMBLE.plan(), &mut slow, of_a_kibibyte(), true), "are read and held");
}
