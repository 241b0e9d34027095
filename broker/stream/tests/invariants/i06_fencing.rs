//! I6: a stale generation can never append a frame, whatever is delayed.

use std::cell::RefCell;
use std::collections::BTreeMap;

use logmill_stream::{
    CommitError, EpochLoop, EpochOutput, Logs, LogsError, ReadBatches, TopicPartition, Turn,
};
use proptest::prelude::*;

use super::faults::edit_progress;
use super::history::{How, run_through};
use super::input::{filled, some_events};
use super::queries::TUMBLE;
use super::support::{MemoryLogs, restored};
use super::{Checked, ensure, ensure_equal, found};

/// What the copies of a pipeline and the network may do.
///
/// Which copy, and which epoch on its way, is counted round and round.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A new generation is started from what is committed.
    Start,
    /// A copy computes its next epoch and sends it off.
    Turn(usize),
    /// An epoch that is on its way arrives.
    Deliver(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => Just(Step::Start),
        5 => (0_usize..12).prop_map(Step::Turn),
        4 => (0_usize..12).prop_map(Step::Deliver),
    ];
    prop::collection::vec(step, 1..80)
}

/// Commits go off, and arrive when it pleases the network; a copy learns nothing of what became of them.
struct OnTheirWay<'l> {
    logs: &'l RefCell<MemoryLogs>,
    epochs: &'l RefCell<Vec<EpochOutput>>,
}

impl Logs for OnTheirWay<'_> {
    type Ticket = ();

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.logs.borrow_mut().readable_end(partition)
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        self.logs.borrow_mut().read(partition, from, max_bytes)
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        self.epochs.borrow_mut().push(epoch);
        Ok(())
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}

/// Runs the steps, then a last generation to the end. `deliver` is the log's answer to an epoch that arrives.
fn raced(
    steps: &[Step],
    mut deliver: impl FnMut(&mut MemoryLogs, EpochOutput) -> Result<(), CommitError>,
) -> MemoryLogs {
    let plan = TUMBLE.plan();
    let logs = RefCell::new(filled(&some_events(3), 3));
    let on_their_way = RefCell::new(Vec::new());
    let ends: BTreeMap<_, _> = logs.borrow().ends("in");
    let mut copies: Vec<EpochLoop> = Vec::new();
    for step in steps {
        match step {
            Step::Start => {
                let generation = copies.len() as u32 + 1;
                let mut copy =
                    EpochLoop::new(restored(&plan, &logs.borrow(), generation), How::small().limits);
                copy.declare_ends(ends.clone()).unwrap();
                copies.push(copy);
            }
            Step::Turn(copy) if !copies.is_empty() => {
                let copy = copy % copies.len();
                let epoch = copies[copy].pipeline().epoch();
                let mut sender = OnTheirWay { logs: &logs, epochs: &on_their_way };
                let turn = copies[copy].turn(&mut sender, 1_700_000_000_000 + epoch as i64, epoch);
                assert!(!matches!(turn.unwrap(), Turn::Idle));
            }
            Step::Deliver(arrived) if !on_their_way.borrow().is_empty() => {
                let arrived = arrived % on_their_way.borrow().len();
                let epoch = on_their_way.borrow_mut().remove(arrived);
                // An epoch that is fenced is no more.
                let _ = deliver(&mut logs.borrow_mut(), epoch);
            }
            Step::Turn(_) | Step::Deliver(_) => {}
        }
    }
    let mut logs = logs.into_inner();
    let mut last = EpochLoop::new(restored(&plan, &logs, u32::MAX), How::small().limits);
    last.declare_ends(ends).unwrap();
    loop {
        let epoch = last.pipeline().epoch();
        match last.turn(&mut logs, 1_700_000_000_000 + epoch as i64, epoch) {
            Ok(Turn::Committed { .. }) => {}
            Ok(_) => break,
            Err(error) => panic!("{error}"),
        }
        // What is late is late for ever.
        for epoch in on_their_way.take() {
            let _ = deliver(&mut logs, epoch);
        }
    }
    logs
}

/// Epochs follow one another, generations never go back, and the output is that of one copy alone.
fn check_fenced(logs: &MemoryLogs) -> Checked {
    let mut before = (0, 0);
    for progress in &logs.progress {
        let (generation, epoch) = (progress.generation, progress.epoch);
        ensure(epoch == before.1 + 1, || format!("epoch {epoch} follows epoch {}", before.1))?;
        ensure(generation >= before.0, || format!("generation {generation} follows {}", before.0))?;
        before = (generation, epoch);
    }
    let mut alone = filled(&some_events(3), 3);
    run_through(&TUMBLE.plan(), &mut alone, How::small());
    ensure_equal(&logs.values("out"), &alone.values("out"), "the output of several copies")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn one_copy_commits(steps in steps()) {
        check_fenced(&raced(&steps, |logs, epoch| logs.commit(epoch)))?;
    }
}

/// Two copies, whose first epochs arrive in another order than they went off.
const OVERTAKEN: [Step; 8] = [
    Step::Start,
    Step::Turn(0),
    Step::Start,
    Step::Turn(1),
    Step::Deliver(1),
    Step::Deliver(0),
    Step::Turn(0),
    Step::Deliver(0),
];

/// A log that takes a frame whatever its progress partition ends with.
#[test]
fn a_log_without_a_condition_is_found() {
    check_fenced(&raced(&OVERTAKEN, |logs, epoch| logs.commit(epoch))).unwrap();
    let unconditional = raced(&OVERTAKEN, |logs, epoch| {
        for output in &epoch.outputs {
            logs.append(&output.topic, output.partition, output.batch.clone());
        }
        logs.progress.push(epoch.progress);
        Ok(())
    });
    found(check_fenced(&unconditional), "epoch 1 follows epoch 1");
}

/// A log that knows epochs, and not whose they are.
#[test]
fn a_log_without_generations_is_found() {
    // On their way are epochs 1 and 2 of the first copy and epoch 1 of the second, which arrives first.
    let steps = [
        Step::Start,
        Step::Turn(0),
        Step::Turn(0),
        Step::Start,
        Step::Turn(1),
        Step::Deliver(2),
        Step::Deliver(0),
        Step::Deliver(0),
    ];
    check_fenced(&raced(&steps, |logs, epoch| logs.commit(epoch))).unwrap();
    let blind = raced(&steps, |logs, mut epoch| {
        let generation = epoch.generation();
        let newest = logs.progress.last().map_or(0, |progress| progress.generation);
        edit_progress(&mut epoch, |progress| progress.generation = generation.max(newest));
        logs.commit(epoch)?;
        logs.progress.last_mut().expect("it was just put there").generation = generation;
        Ok(())
    });
    found(check_fenced(&blind), "generation 1 follows 2");
}
