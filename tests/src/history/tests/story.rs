//! Histories told by hand.

use crate::history::{
    Action, Anomaly, Asked, History, Outcome, Partition, Place, Polled, Process, Recorder, Sending, Start,
    Transaction, Value, check,
};

/// A partition of the topic most stories are about.
pub(super) fn orders(number: i32) -> Partition {
    Partition::new("orders", number)
}

/// A record without key, by nobody's transaction and nobody's copy.
pub(super) fn record(partition: Partition, value: u64) -> Sending {
    Sending { transaction: None, partition, key: None, value: Value(value), copy_of: None }
}

/// The same of a transaction.
pub(super) fn part(transaction: u64, partition: Partition, value: u64) -> Sending {
    Sending { transaction: Some(Transaction(transaction)), ..record(partition, value) }
}

/// A history while it is told.
pub(super) struct Story(Recorder);

impl Story {
    pub(super) fn new() -> Story {
        Story(Recorder::new(&["latest"]))
    }

    pub(super) fn ask(&self, process: u32, action: Action) -> Asked {
        self.0.ask(Process(process), action)
    }

    pub(super) fn answer(&self, asked: &Asked, outcome: Outcome) {
        self.0.answer(asked, outcome);
    }

    /// One operation, of which nothing is concurrent.
    pub(super) fn tell(&self, process: u32, action: Action, outcome: Outcome) {
        let asked = self.ask(process, action);
        self.answer(&asked, outcome);
    }

    /// A record acknowledged at an offset.
    pub(super) fn written(&self, process: u32, sending: Sending, offset: i64) {
        self.tell(process, Action::Send(sending), Outcome::Written(Some(offset)));
    }

    pub(super) fn commit(&self, process: u32, transaction: u64) {
        self.tell(process, Action::Commit(Transaction(transaction)), Outcome::Done);
    }

    /// A commit whose answer did not come.
    pub(super) fn maybe_commit(&self, process: u32, transaction: u64) {
        self.tell(process, Action::Commit(Transaction(transaction)), Outcome::Unknown);
    }

    pub(super) fn abort(&self, process: u32, transaction: u64) {
        self.tell(process, Action::Abort(Transaction(transaction)), Outcome::Done);
    }

    pub(super) fn assign(&self, process: u32, partition: Partition, start: Start) {
        self.tell(process, Action::Assign(vec![(partition, start)]), Outcome::Done);
    }

    /// A poll of one partition.
    pub(super) fn poll(&self, process: u32, partition: &Partition, records: &[(i64, u64)], position: i64) {
        self.poll_for(process, None, partition, records, position);
    }

    /// A poll whose records are the input of a transaction.
    pub(super) fn poll_for(
        &self,
        process: u32,
        transaction: Option<u64>,
        partition: &Partition,
        records: &[(i64, u64)],
        position: i64,
    ) {
        let records = records.iter().map(|(offset, value)| (partition.at(*offset), Value(*value))).collect();
        let positions = vec![(partition.clone(), position)];
        let action = Action::Poll(transaction.map(Transaction));
        self.tell(process, action, Outcome::Polled(Polled { records, positions }));
    }

    /// A reader of one partition from its start to its end.
    pub(super) fn drain(&self, process: u32, partition: &Partition, records: &[(i64, u64)], end: i64) {
        self.assign(process, partition.clone(), Start::At(0));
        self.poll(process, partition, records, end);
    }

    pub(super) fn commit_offset(&self, process: u32, transaction: Option<u64>, place: Place) {
        let action = Action::CommitOffsets {
            group: "copiers".into(),
            transaction: transaction.map(Transaction),
            offsets: vec![(place.partition, place.offset)],
        };
        self.tell(process, action, Outcome::Done);
    }

    pub(super) fn offset_is(&self, process: u32, partition: Partition, offset: Option<i64>) {
        let action = Action::FetchOffsets { group: "copiers".into() };
        self.tell(process, action, Outcome::Fetched(vec![(partition, offset)]));
    }

    pub(super) fn history(&self) -> History {
        self.0.history()
    }

    /// What is wrong with it.
    pub(super) fn found(&self) -> Vec<Anomaly> {
        check(&self.history())
    }
}
