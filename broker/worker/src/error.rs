//! What can go wrong, and what is to be done about it.

use logmill_client::{Error, ErrorCode};
use logmill_stream::plan::NeedsExchange;
use logmill_stream::{
    CommitError, DeclareEndError, LogsError, ProgressError, RestoreError, TopicPartition, TurnError,
};
use thiserror::Error;

/// The config that says how far a record's timestamp may be ahead of the clock.
pub(crate) const TIME_AHEAD: &str = "message.timestamp.after.max.ms";

/// Why a worker ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The name cannot be a pipeline's.
    #[error("a pipeline's name has 1 to {longest} letters, digits, '.', '_' and '-', not {name:?}")]
    Name {
        /// The name given.
        name: String,
        /// The most characters a name has.
        longest: usize,
    },
    /// A topic it reads does not exist.
    #[error("the source topic {topic:?} does not exist; create it first")]
    NoSource {
        /// The topic.
        topic: String,
    },
    /// A topic it writes is one it reads.
    #[error("the sink topic {topic:?} is also a source")]
    SinkIsSource {
        /// The topic.
        topic: String,
    },
    /// It was to run by partition, and cannot.
    #[error("the pipeline cannot be split by partition: {0}")]
    NotPartitioned(#[from] NeedsExchange),
    /// It was to run by partition, and its topics have different numbers of partitions.
    #[error(
        "the pipeline cannot be split by partition: its sources have different numbers of partitions ({counts})"
    )]
    PartitionsDiffer {
        /// The topics with their numbers.
        counts: String,
    },
    /// Its own topics were made for another number of tasks.
    #[error(
        "topic {topic} has {found} partitions, one for each task the pipeline was started with, and now there are {tasks} \
         tasks: the script or the sources' partitions have changed. State is kept by task; start the pipeline under \
         another name"
    )]
    OtherDivision {
        /// The topic.
        topic: String,
        /// How many partitions it has.
        found: i32,
        /// How many it should have.
        tasks: i32,
    },
    /// A topic of its own is not compacted, so that state may be lost.
    #[error(
        "topic {topic} must have cleanup.policy=compact, it has {found:?}: state would be deleted with time"
    )]
    NotCompacted {
        /// The topic.
        topic: String,
        /// What it has.
        found: String,
    },
    /// The cluster refused something, or could not be reached in time.
    #[error("{what}: {source}")]
    Cluster {
        /// What was being done.
        what: String,
        /// What came back.
        source: Error,
    },
    /// A task met what it must not pass over.
    #[error("task {task}: {error}")]
    Task {
        /// The task's number.
        task: i32,
        /// What it met.
        error: TaskError,
    },
    /// The operating system gave no thread.
    #[error("no thread for a task: {0}")]
    Thread(#[from] std::io::Error),
}

/// Why a task ended before its input did.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The cluster.
    #[error(transparent)]
    Client(#[from] Error),
    /// Records were deleted before the task read them.
    #[error(
        "{partition}: offset {offset} is gone, the log begins at {log_start}: records were deleted before the task read them. \
         `logmill worker run` with --accept-gap goes on at offset {log_start}: what was deleted is missing from what it writes. \
         Or start the pipeline under another name, with other sinks; and keep the topic's records longer from here on \
         (retention.ms, retention.bytes)"
    )]
    Gap {
        /// The partition.
        partition: TopicPartition,
        /// Where the task is.
        offset: i64,
        /// The first offset that is left.
        log_start: i64,
    },
    /// A log cannot be read.
    #[error(transparent)]
    Logs(LogsError),
    /// An epoch cannot be computed.
    #[error(transparent)]
    Turn(TurnError),
    /// The input's declared end does not fit.
    #[error(transparent)]
    End(#[from] DeclareEndError),
    /// Its state cannot be restored.
    #[error("the state cannot be restored: {0}")]
    Restore(#[from] RestoreError),
    /// The topic of its state is gone, and another one has its name.
    #[error(
        "the state cannot be restored: topic {topic} is another one than the one the state was written to: that had the id \
         {written}, this has {found}; with that one the state is gone, and without it what is written would be wrong. Start \
         the pipeline under another name, with other sinks; or delete {topic} and {progress}, and it reads what there is of \
         its sources again, and writes it again, too"
    )]
    OtherChangelog {
        /// The topic.
        topic: String,
        /// The topic of the progress records.
        progress: String,
        /// The id of the topic that the state was written to.
        written: String,
        /// The id of the topic that there is now.
        found: String,
    },
    /// A topic takes no records of such times.
    #[error(
        "{what}. A row bears the time of its event or the end of its window, and the topic takes none that is further ahead of \
         the cluster's clock, or behind it, than its configs say: set {ahead}={most} on it (rows of windows are ahead), \
         and message.timestamp.before.max.ms={most}", ahead = TIME_AHEAD, most = i64::MAX
    )]
    Time {
        /// What the cluster said, with the topic.
        what: String,
    },
    /// Its progress record cannot be read.
    #[error("the state cannot be restored: {0}")]
    Progress(#[from] ProgressError),
    /// An epoch is too large for memory, and those to come will be smaller.
    #[error("an epoch has {bytes} bytes, and may have {limit}: those to come take less in")]
    TooLarge {
        /// What it has.
        bytes: u64,
        /// What it may have.
        limit: u64,
    },
    /// The tasks of the worker hold more state than they may.
    #[error(
        "the state of what runs here has {bytes} bytes, and may have {budget}; most of this task's is in {operator}. Give the \
         worker more (`--memory`){}, or keep less: a state time-to-live, a smaller window", more_workers(*tasks)
    )]
    OverBudget {
        /// How many tasks hold it.
        tasks: usize,
        /// How much they hold.
        bytes: u64,
        /// How much they may.
        budget: u64,
        /// Which operator of the task that met it holds the most.
        operator: String,
    },
    /// It met a defect.
    #[error("it met a defect and panicked; see what was written on standard error")]
    Panicked,
}

impl From<LogsError> for TaskError {
    fn from(error: LogsError) -> Self {
        match error {
            LogsError::OffsetOutOfRange { partition, offset, log_start } => {
                TaskError::Gap { partition, offset, log_start }
            }
            error => TaskError::Logs(error),
        }
    }
}

impl From<TurnError> for TaskError {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Logs { error: error @ LogsError::OffsetOutOfRange { .. }, .. } => error.into(),
            error => TaskError::Turn(error),
        }
    }
}

fn more_workers(tasks: usize) -> &'static str {
    match tasks {
        0 | 1 => "",
        _ => ", run more workers",
    }
}

/// What is to be done about a task that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Restore it from what is committed and go on, after a while.
    Restore,
    /// Restore it at once: it comes with smaller epochs.
    Again,
    /// Somebody else has taken it over. If it is still this worker's later, restore it.
    GiveWay,
    /// Nothing: it would fail again.
    Stop,
}

impl TaskError {
    /// What is to be done. `met` is what the client met underneath, which the engine's errors tell only as text.
    pub(crate) fn remedy(&self, met: Option<&Error>) -> Remedy {
        match self {
            TaskError::Client(error) => remedy_of(error),
            TaskError::Logs(LogsError::Failed { .. })
            | TaskError::Turn(TurnError::Logs { error: LogsError::Failed { .. }, .. })
            | TaskError::Turn(TurnError::Commit(CommitError::Refused { .. })) => {
                met.map_or(Remedy::Restore, remedy_of)
            }
            TaskError::Turn(TurnError::Commit(CommitError::Fenced { .. })) => Remedy::GiveWay,
            TaskError::TooLarge { .. } => Remedy::Again,
            TaskError::Gap { .. }
            | TaskError::Logs(_)
            | TaskError::Turn(_)
            | TaskError::End(_)
            | TaskError::Restore(_)
            | TaskError::Progress(_)
            | TaskError::OtherChangelog { .. }
            | TaskError::Time { .. }
            | TaskError::OverBudget { .. }
            | TaskError::Panicked => Remedy::Stop,
        }
    }
}

impl TaskError {
    /// The same, with what to do about it where only what the client `met` underneath says what it is.
    pub(crate) fn with_met(self, met: Option<&Error>) -> TaskError {
        let met = match &self {
            TaskError::Client(error) => Some(error),
            _ => met,
        };
        match met.filter(|met| met.code() == Some(ErrorCode::INVALID_TIMESTAMP)) {
            Some(met) => TaskError::Time { what: met.to_string() },
            None => self,
        }
    }

    /// Whether it is one that a task goes on behind, if it is told to.
    pub(crate) fn is_gap(&self) -> bool {
        matches!(self, TaskError::Gap { .. })
    }
}

fn remedy_of(error: &Error) -> Remedy {
    match error {
        Error::Fenced { .. } => Remedy::GiveWay,
        Error::AbortRequired { source } => remedy_of(source),
        Error::Broker { code, .. } => match *code {
            // A task's only producer hears these when another has its id, or when its transaction's time was over;
            // starting it again tells which.
            ErrorCode::PRODUCER_FENCED | ErrorCode::INVALID_PRODUCER_EPOCH => Remedy::GiveWay,
            ErrorCode::MESSAGE_TOO_LARGE
            | ErrorCode::RECORD_LIST_TOO_LARGE
            | ErrorCode::INVALID_RECORD
            | ErrorCode::INVALID_TIMESTAMP
            | ErrorCode::POLICY_VIOLATION
            | ErrorCode::UNSUPPORTED_VERSION
            | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
            | ErrorCode::INVALID_TRANSACTION_TIMEOUT
            | ErrorCode::TOPIC_AUTHORIZATION_FAILED
            | ErrorCode::GROUP_AUTHORIZATION_FAILED
            | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
            | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | ErrorCode::SASL_AUTHENTICATION_FAILED => Remedy::Stop,
            _ => Remedy::Restore,
        },
        Error::Connect { .. }
        | Error::ConnectionLost { .. }
        | Error::Timeout { .. }
        | Error::NotSent { .. }
        | Error::InvalidState { .. }
        | Error::Closed => Remedy::Restore,
        _ => Remedy::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(code: ErrorCode) -> Error {
        Error::Broker { operation: "committing".to_owned(), code, message: None }
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_ends_the_worker() {
        let remedy = |error: Error| TaskError::Client(error).remedy(None);
        assert_eq!(remedy(Error::Closed), Remedy::Restore);
        assert_eq!(remedy(broker(ErrorCode::COORDINATOR_NOT_AVAILABLE)), Remedy::Restore);
        assert_eq!(remedy(broker(ErrorCode::INVALID_TXN_STATE)), Remedy::Restore);
        assert_eq!(remedy(Error::Fenced { operation: String::new() }), Remedy::GiveWay);
        let source = Box::new(broker(ErrorCode::MESSAGE_TOO_LARGE));
        assert_eq!(remedy(Error::AbortRequired { source }), Remedy::Stop);
        assert_eq!(remedy(Error::RecordTooLarge { size: 2, limit: 1 }), Remedy::Stop);
    }

    #[test]
    fn a_time_that_a_topic_refuses_is_told_with_the_config() {
        let refused = Error::Broker {
            operation: "sending to o-0".to_owned(),
            code: ErrorCode::INVALID_TIMESTAMP,
            message: None,
        };
        let failed = || TaskError::Logs(LogsError::Failed { what: refused.to_string() });
        for met in [refused.clone(), Error::AbortRequired { source: Box::new(refused.clone()) }] {
            let told = failed().with_met(Some(&met));
            assert!(
                matches!(told, TaskError::Time { .. }) && told.remedy(Some(&met)) == Remedy::Stop,
                "{told}"
            );
            let text = told.to_string();
            assert!(text.contains("sending to o-0"), "{text}");
            assert!(text.contains("message.timestamp.after.max.ms=9223372036854775807"), "{text}");
        }
        let other = failed().with_met(Some(&Error::Closed));
        assert!(matches!(other, TaskError::Logs(_)), "{other}");
    }

    #[test]
    fn what_the_client_met_decides_where_the_engine_has_only_a_text() {
        let failed = TaskError::Logs(LogsError::Failed { what: "lost".to_owned() });
        assert_eq!(failed.remedy(None), Remedy::Restore);
        assert_eq!(failed.remedy(Some(&Error::Fenced { operation: String::new() })), Remedy::GiveWay);
        assert_eq!(failed.remedy(Some(&broker(ErrorCode::TOPIC_AUTHORIZATION_FAILED))), Remedy::Stop);
    }
}
