//! I3: what is not committed is never read, not of the output and not of the input, and no end goes back.
//!
//! That a reader at the broker sees no uncommitted byte is the log's to keep, and tested there; here it is that a
//! pipeline writes nothing outside a commit, and takes nothing of a transaction that was aborted.

use logmill_record::{EndTxnMarker, ProducerStamp, control};
use logmill_stream::{AbortedRange, CommitError, EpochOutput, Logs, LogsError, ReadBatches, TopicPartition};
use proptest::prelude::*;

use super::faults::{Buggy, refused};
use super::history::{How, Kept, run, run_through};
use super::input::{DELAY, Event, events, filled, limits, singly, some_events};
use super::queries::{GROUPED, TUMBLE};
use super::support::{MemoryLogs, batch_of};
use super::{Checked, ensure, ensure_equal, found};

/// What a reader has read of the output, at any isolation level, and how far it came.
struct Reader {
    read: Vec<String>,
    end: i64,
    checked: Checked,
}

impl Reader {
    fn new() -> Reader {
        Reader { read: Vec::new(), end: 0, checked: Ok(()) }
    }

    /// Reads on. What is there must begin with what was there.
    fn read(&mut self, logs: &MemoryLogs) {
        if self.checked.is_ok() {
            self.checked = self.read_on(logs);
        }
    }

    fn read_on(&mut self, logs: &MemoryLogs) -> Checked {
        let end = logs.end(&TopicPartition::new("out", 0));
        ensure(end >= self.end, || format!("the end goes back from {} to {end}", self.end))?;
        let there = logs.values("out");
        ensure(there.starts_with(&self.read), || {
            format!("{:?} was read, and is not there: {there:?}", self.read)
        })?;
        (self.read, self.end) = (there, end);
        Ok(())
    }
}

/// Reads while a pipeline runs and crashes.
fn check_reads(logs: &mut impl Kept, how: How) -> Checked {
    let mut reader = Reader::new();
    run(&TUMBLE.plan(), logs, how, |logs, _| reader.read(logs)).unwrap();
    reader.checked
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn what_was_read_stays(
        events in events(3, DELAY),
        limits in limits(),
        crash_every in 0_u64..4,
        refuse in prop::collection::btree_set(1_u64..12, 0..6),
    ) {
        let mut logs = MemoryLogs { refuse, ..filled(&events, 3) };
        check_reads(&mut logs, How { limits, crash_every })?;
    }

    #[test]
    fn aborted_transactions_are_not_read(
        transactions in prop::collection::vec((events(1, 1), any::<bool>()), 1..8),
        limits in limits(),
        crash_every in 0_u64..4,
    ) {
        let mut logs = in_transactions(&transactions);
        check_committed(&transactions, &mut logs, How { limits, crash_every })?;
    }
}

/// Output that can be read before its epoch is committed, and is gone when it is not.
#[test]
fn output_before_its_commit_is_found() {
    let mut before = None;
    let mut attempts = 0;
    let mut logs = Buggy::new(singly(&some_events(3), 3), |logs: &mut MemoryLogs, epoch| {
        if epoch.outputs.is_empty() || attempts == 2 {
            return logs.commit(epoch);
        }
        attempts += 1;
        match before.take() {
            None => {
                before = Some(logs.partitions.clone());
                for output in &epoch.outputs {
                    logs.append(&output.topic, output.partition, output.batch.clone());
                }
            }
            Some(partitions) => logs.partitions = partitions,
        }
        Err(refused(&epoch))
    });
    found(check_reads(&mut logs, How::small()), "goes back");
}

/// Each transaction's events as a batch of its own, two of them open at a time.
fn in_transactions(transactions: &[(Vec<Event>, bool)]) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", 1);
    logs.create("out", 1);
    let input = TopicPartition::new("in", 0);
    let mut open: Option<(i64, i64, bool)> = None;
    let end = |logs: &mut MemoryLogs, (id, first_offset, commit): (i64, i64, bool)| {
        let last_offset = logs.end(&input);
        logs.append("in", 0, control::marker_batch(id, 0, EndTxnMarker { commit, coordinator_epoch: 0 }, 0));
        if !commit {
            let range = AbortedRange { producer_id: id, first_offset, last_offset };
            logs.aborted.entry(input.clone()).or_default().push(range);
        }
    };
    for (id, (events, commit)) in (1..).zip(transactions) {
        let first = logs.end(&TopicPartition::new("in", 0));
        let values: Vec<String> = events.iter().map(Event::json).collect();
        logs.append("in", 0, batch_of(&values, Some(ProducerStamp { id, epoch: 0, sequence: 0 })));
        if let Some(ended) = open.replace((id, first, *commit)) {
            end(&mut logs, ended);
        }
    }
    open.into_iter().for_each(|ended| end(&mut logs, ended));
    logs
}

/// The output is that of the committed transactions alone.
fn check_committed(transactions: &[(Vec<Event>, bool)], logs: &mut impl Kept, how: How) -> Checked {
    let committed: Vec<Event> =
        transactions.iter().filter(|(_, commit)| *commit).flat_map(|(events, _)| events.clone()).collect();
    let mut alone = filled(&committed, 1);
    run_through(&GROUPED.plan(), &mut alone, How::default());
    run_through(&GROUPED.plan(), logs, how);
    ensure_equal(&GROUPED.table(logs.memory())?, &GROUPED.table(&alone)?, "what was read")
}

/// Logs that say of no transaction that it was aborted.
struct Credulous(MemoryLogs);

impl Logs for Credulous {
    type Ticket = ();

    fn readable_end(&mut self, partition: &TopicPartition) -> Result<i64, LogsError> {
        self.0.readable_end(partition)
    }

    fn read(
        &mut self,
        partition: &TopicPartition,
        from: i64,
        max_bytes: usize,
    ) -> Result<ReadBatches, LogsError> {
        Ok(ReadBatches { aborted: Vec::new(), ..self.0.read(partition, from, max_bytes)? })
    }

    fn commit(&mut self, epoch: EpochOutput) -> Result<(), CommitError> {
        self.0.commit(epoch)
    }

    fn wait(&mut self, (): ()) -> Result<(), LogsError> {
        Ok(())
    }
}

impl Kept for Credulous {
    fn memory(&self) -> &MemoryLogs {
        &self.0
    }
}

#[test]
fn an_aborted_transaction_that_is_read_is_found() {
    let events = some_events(1);
    let transactions =
        [(events[..20].to_vec(), true), (events[20..40].to_vec(), false), (events[40..].to_vec(), true)];
    check_committed(&transactions, &mut in_transactions(&transactions), How::small()).unwrap();
    found(
        check_committed(&transactions, &mut Credulous(in_transactions(&transactions)), How::small()),
        "what was read",
    );
}
