//! What went wrong with a pipeline: where, and what to do.

use std::fmt;

use logmill_stream::{
    ColdError, CommitError, DeclareEndError, EpochError, LogsError, RestoreError, TopicPartition, TurnError,
};

use super::spill::store_error;

/// An error that a pipeline met, or what keeps it from going on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, ms since the epoch.
    pub at_ms: i64,
    /// What went wrong.
    pub what: String,
    /// Topic, partition and offset, where it is about a place in the input.
    pub position: Option<(String, i32, i64)>,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((topic, partition, offset)) = &self.position {
            write!(f, "at {topic}-{partition}, offset {offset}: ")?;
        }
        write!(f, "{}. {}", self.what, self.remedy)
    }
}

/// Why a run ended before its input did.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error(transparent)]
    Logs(#[from] LogsError),
    #[error(transparent)]
    Turn(#[from] TurnError),
    #[error(transparent)]
    End(#[from] DeclareEndError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A log of its own cannot be read.
    #[error("the state cannot be restored: {0}")]
    OwnLog(String),
    /// It was told to stop while its state was restored.
    #[error("it was stopped")]
    Stopped,
    /// An epoch is too large for a frame, or for memory, and those to come will be smaller.
    #[error("an epoch has {bytes} bytes, and may have {limit}")]
    TooLarge { bytes: u64, limit: u64 },
    /// A source has more partitions than the run knows.
    #[error("a source has got partitions")]
    Repartitioned,
    /// Its work is to be split into another number of shards.
    #[error("it has another number of shards")]
    Rescaled,
    /// It holds more than it may.
    #[error("its state has {bytes} bytes, and it may have {budget}; most of it is in {operator}")]
    OverBudget { bytes: u64, budget: u64, operator: String },
    /// So much is in memory that what is not used is to go to disk.
    #[error("its state has {bytes} bytes, and {share} may be in memory")]
    Spills { bytes: u64, share: u64 },
    /// The store of what is not in memory fails.
    #[error("state cannot be kept on disk: {0}")]
    Spill(#[from] ColdError),
}

/// Its sinks belong to the pipeline that failed.
const OTHER_NAME: &str = "Start the script again under another name, with other sinks";

/// Some of the input is gone, and what there is now was never read.
const FROM_THE_BEGINNING: &str = "Delete the pipeline and run the script again to read what there is now from its beginning (sinks keep their records), or start it under another name, with other sinks";

/// Where an error of a pipeline is in the input, and what to do about it.
pub(super) fn failure(pipeline: &str, error: &RunError, at_ms: i64) -> Failure {
    let at = |partition: &TopicPartition, offset: i64| {
        Some((partition.topic.clone(), partition.partition, offset))
    };
    let (what, position, remedy) = match error {
        error if store_error(error).is_some() => (
            error.to_string(),
            None,
            "Free space where it spills (pipelines.spill_dir, or the data directory), or give it more memory; it goes on by itself, and nothing is lost"
                .to_owned(),
        ),
        RunError::Turn(TurnError::Poison { partition, offset, error, .. }) => (
            format!("the record {error}; everything before it is committed"),
            at(partition, *offset),
            without_such(pipeline),
        ),
        RunError::Turn(TurnError::Epoch { error, .. }) => epoch(pipeline, error),
        RunError::Turn(TurnError::Logs { error, .. }) | RunError::Logs(error) => logs(pipeline, error),
        RunError::Turn(TurnError::Commit(error)) => (error.to_string(), None, commit(error)),
        RunError::End(error) => {
            (error.to_string(), None, "Its input has an end already, which holds; start the script under another name, with other sinks, to have another one".to_owned())
        }
        RunError::Restore(RestoreError::OtherPlan { .. }) => {
            (error.to_string(), None, format!(
                "Run the script it was started with; if that is this one, another release planned it otherwise: run that one. \
                 {OTHER_NAME} else"
            ))
        }
        RunError::Restore(RestoreError::OtherTopic { topic, read, found }) => other_topic(topic, read, found),
        RunError::Restore(_) | RunError::OwnLog(_) => (
            error.to_string(),
            None,
            format!(
                "Look at its topics with `logmill storage verify` while the broker is stopped. {OTHER_NAME} if they are damaged"
            ),
        ),
        RunError::OverBudget { bytes, budget, .. } => (
            error.to_string(),
            None,
            format!(
                "Give it more (`logmill pipeline resume {pipeline} --memory {}`; it has {} now), or keep less: a state time-to-live, a smaller window",
                written(bytes.saturating_mul(2).max(*budget)),
                written(*budget)
            ),
        ),
        RunError::Stopped
        | RunError::TooLarge { .. }
        | RunError::Repartitioned
        | RunError::Rescaled
        | RunError::Spills { .. }
        | RunError::Spill(_) => {
            (error.to_string(), None, "Run it again".to_owned())
        }
    };
    Failure { at_ms, what, position, remedy }
}

fn epoch(pipeline: &str, error: &EpochError) -> (String, Option<(String, i32, i64)>, String) {
    let at = |partition: &TopicPartition, offset: i64| {
        Some((partition.topic.clone(), partition.partition, offset))
    };
    match error {
        EpochError::Poison { partition, offset, error } => {
            (format!("the record {error}"), at(partition, *offset), without_such(pipeline))
        }
        EpochError::DamagedBatch { partition, base_offset, error } => (
            format!("the batch cannot be opened: {error}"),
            at(partition, *base_offset),
            format!(
                "Look at it with `logmill storage dump`. {OTHER_NAME}, once the records up to there are deleted"
            ),
        ),
        EpochError::OutputRow { .. } => (
            error.to_string(),
            None,
            format!(
                "Set 'on-error' = 'skip' on the sink to go on without such rows, or write the expression so that it cannot fail, \
                 and let that script take over (`logmill pipeline upgrade {pipeline} FILE`)"
            ),
        ),
        // Of more records less is taken in.
        EpochError::TooMuch { rows, .. } => (
            error.to_string(),
            None,
            format!(
                "{} alone makes so many rows: join or window it more narrowly, or select fewer of its columns",
                least(*rows)
            ),
        ),
        EpochError::ReadsBack { limit, rows, .. } => (
            error.to_string(),
            None,
            format!(
                "{} alone touches so much: group, join or rank by more columns, or give it more (`logmill pipeline \
                 resume {pipeline} --memory {}`)",
                least(*rows),
                written(limit.saturating_mul(4))
            ),
        ),
        error => (error.to_string(), None, "Run it again; its state is restored".to_owned()),
    }
}

/// What the smallest epoch has that was too much, of one where so many rows were due.
fn least(due: u64) -> &'static str {
    if due > 0 { "One row that time makes due" } else { "One record" }
}

fn without_such(pipeline: &str) -> String {
    format!(
        "Set 'on-error' = 'skip' or 'dlq' on the table to go on without such records, and let that script take over (`logmill \
         pipeline upgrade {pipeline} FILE`)"
    )
}

fn other_topic(topic: &str, read: &str, found: &str) -> (String, Option<(String, i32, i64)>, String) {
    (
        format!(
            "topic {topic} was deleted and made again: the pipeline has read the one with the id {read}, and this one has the id {found}"
        ),
        None,
        FROM_THE_BEGINNING.to_owned(),
    )
}

fn logs(pipeline: &str, error: &LogsError) -> (String, Option<(String, i32, i64)>, String) {
    match error {
        LogsError::OffsetOutOfRange { partition, offset, log_start } => (
            format!(
                "the log begins at offset {log_start}: records were deleted before the pipeline read them"
            ),
            Some((partition.topic.clone(), partition.partition, *offset)),
            format!(
                "`logmill pipeline resume {pipeline} --accept-gap` goes on at offset {log_start}: what was deleted is missing from \
                 what it writes. {FROM_THE_BEGINNING}. Keep the topic's records longer from here on (retention.ms, \
                 retention.bytes)"
            ),
        ),
        LogsError::BeyondEnd { partition, offset, log_end } => (
            format!(
                "the log ends at offset {log_end}, before what the pipeline has read: the topic was made anew, or has lost records"
            ),
            Some((partition.topic.clone(), partition.partition, *offset)),
            FROM_THE_BEGINNING.to_owned(),
        ),
        LogsError::OtherTopic { topic, read, found } => other_topic(topic, read, found),
        LogsError::UnknownPartition { partition } => (
            format!("{partition} does not exist any more"),
            None,
            "Delete the pipeline; its sinks keep their records. A topic that is made anew is not gone on with: run the script again to read it from its beginning"
                .to_owned(),
        ),
        error => (
            error.to_string(),
            None,
            "Look at the broker's log and disk; running it again goes on where it stopped".to_owned(),
        ),
    }
}

fn commit(error: &CommitError) -> String {
    match error {
        CommitError::TooLarge { .. } => {
            "An epoch of one record and one row is too large already: make the row smaller, or give frames more room (half of journal.max_size, at most 64 MiB)".to_owned()
        }
        CommitError::Unavailable { .. } => "It is tried again by itself".to_owned(),
        CommitError::Fenced { .. } => "Another copy of it runs: leave that one alone, or run this one again".to_owned(),
        CommitError::Refused { .. } => {
            "Bring back what it writes to, or delete the pipeline; running it again goes on where it stopped".to_owned()
        }
    }
}

/// Bytes as the configuration writes them, rounded up.
fn written(bytes: u64) -> String {
    match bytes < 1 << 20 {
        true => format!("{}KiB", bytes.div_ceil(1 << 10)),
        false => format!("{}MiB", bytes.div_ceil(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_a_command_for_this_pipeline() {
        let small = RunError::OverBudget { bytes: 1_624, budget: 1_024, operator: "x".to_owned() };
        let remedy = failure("up", &small, 0).remedy;
        assert!(remedy.contains("`logmill pipeline resume up --memory 4KiB`; it has 1KiB now"), "{remedy}");
        let large = RunError::OverBudget { bytes: 3 << 20, budget: 2 << 20, operator: "x".to_owned() };
        assert!(failure("up", &large, 0).remedy.contains("--memory 6MiB`; it has 2MiB now"));
        let overtaken =
            LogsError::OffsetOutOfRange { partition: TopicPartition::new("in", 0), offset: 3, log_start: 9 };
        let remedy = failure("up", &overtaken.into(), 0).remedy;
        assert!(
            remedy.starts_with("`logmill pipeline resume up --accept-gap` goes on at offset 9"),
            "{remedy}"
        );
    }

    #[test]
    fn what_is_too_much_is_said_of_what_is_too_much() {
        let read = |rows| EpochError::ReadsBack { bytes: 3 << 20, limit: 1 << 20, rows };
        let made = |rows| EpochError::TooMuch { bytes: 3 << 20, limit: 1 << 20, rows };
        for (records, due) in [(read(0), read(7)), (made(0), made(7))] {
            let of = |error: &EpochError| epoch("up", error).2;
            assert!(of(&records).starts_with("One record alone "), "{}", of(&records));
            assert!(of(&due).starts_with("One row that time makes due alone "), "{}", of(&due));
        }
        assert!(epoch("up", &read(7)).2.contains("`logmill pipeline resume up --memory 4MiB`"));
    }
}
