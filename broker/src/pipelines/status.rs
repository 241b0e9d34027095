//! What is shown of a pipeline.

use logmill_stream::{Gap, LastRejected, OperatorSize, Plan, Progress, WHOLE_LEVEL};

use super::failure::Failure;
use super::held_back::HeldBack;
use super::meter::{EpochTimes, Phase, Shares};

/// What a pipeline is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipelineState {
    /// It is about to run: it waits for the start of the broker, or its state is being restored.
    Starting,
    /// It reads and commits.
    Running,
    /// It runs and cannot go on now: the disk is full, or its state is over its budget. It goes on by itself when the
    /// reason is gone.
    Blocked(Failure),
    /// Its declared input is read, every window is closed and committed.
    Finished,
    /// Somebody stopped it.
    Stopped,
    /// It met an error it must not pass over.
    Failed(Failure),
}

impl PipelineState {
    /// Whether it has a thread, or is about to get one.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Blocked(_))
    }
}

/// A pipeline as of its last durable epoch.
#[derive(Clone, Debug)]
pub struct PipelineView {
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: PipelineState,
    /// How many times it was started.
    pub generation: u32,
    /// The last durable epoch's record; `None` before the first.
    pub progress: Option<Progress>,
    /// Windows open now.
    pub open_windows: u64,
    /// The SQL script.
    pub script: String,
    /// The plan as text; empty when the script does not plan any more.
    pub plan: String,
    /// The source partitions, sorted.
    pub sources: Vec<SourceView>,
    /// The partitions that hold event time back while others are ahead.
    pub held_back: Vec<HeldBack>,
    /// The topics written, sorted.
    pub sinks: Vec<String>,
    /// The tables that may shed, in the plan's order, and how much they do.
    pub shedding: Vec<ShedView>,
    /// What each operator keeps, in the plan's order; a moment old.
    pub operators: Vec<OperatorSize>,
    /// The most bytes that its state may have.
    pub memory: u64,
    /// Into how many shards its work is to be split.
    pub shards: u32,
    /// Into how many it is split; another number until the next epoch after a rescale, 0 while it does not run.
    pub running_shards: u32,
    /// How long the epochs of this run took.
    pub epochs: EpochTimes,
    /// What its time goes into.
    pub shares: Shares,
    /// What most of the last seconds went into.
    pub limiting: Phase,
    /// The last error since the broker started, also when it goes on.
    pub last_failure: Option<Failure>,
    /// The last record that was skipped or became a dead letter.
    pub last_rejected: Option<LastRejected>,
    /// When this was asked, ms since the epoch.
    pub now_ms: i64,
}

impl PipelineView {
    /// Bytes of state over all operators.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        self.operators.iter().map(|operator| operator.bytes).sum()
    }
}

/// What a table of a pipeline sheds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShedView {
    /// The table's name.
    pub table: String,
    /// What it declares, as `EXPLAIN` shows it.
    pub declared: String,
    /// How many of 10,000 records the last epoch shed; all of them where the policy takes no share, 0 for none.
    pub level: u32,
}

impl ShedView {
    /// Of each table that may shed.
    pub(super) fn of(plan: &Plan, progress: Option<&Progress>) -> Vec<ShedView> {
        let level = |index: usize, topic: &str| {
            let progress = progress?;
            let passes_over =
                progress.inputs.iter().any(|input| input.topic == topic && input.passed_over.is_some());
            let level = progress.shedding.iter().find(|shedding| shedding.source == index);
            level.map(|shedding| shedding.level).or(passes_over.then_some(WHOLE_LEVEL))
        };
        let shed = |(index, source): (usize, &logmill_stream::plan::Source)| {
            Some(ShedView {
                table: source.table.clone(),
                declared: source.shed.as_ref()?.to_string(),
                level: level(index, &source.topic).unwrap_or(0),
            })
        };
        plan.sources.iter().enumerate().filter_map(shed).collect()
    }
}

/// How far a source partition is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceView {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// The next offset to read.
    pub position: i64,
    /// The end of the committed records.
    pub end: i64,
    /// Where the input was declared to end.
    pub finish_at: Option<i64>,
    /// The partition's watermark, ms since the epoch; `i64::MAX` when its time has ended.
    pub watermark: Option<i64>,
    /// What of it was gone on without.
    pub gap: Option<Gap>,
}

impl SourceView {
    /// Committed records, or offsets of them, that are not read yet and will be.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let end = self.finish_at.map_or(self.end, |finish| finish.min(self.end));
        u64::try_from(end.saturating_sub(self.position)).unwrap_or(0)
    }

    /// By how much the watermark is behind the clock, in ms; `None` before there is one, and after the end of time.
    #[must_use]
    pub fn event_lag_ms(&self, now_ms: i64) -> Option<i64> {
        let watermark = self.watermark.filter(|watermark| *watermark != i64::MAX)?;
        Some(now_ms.saturating_sub(watermark).max(0))
    }
}
