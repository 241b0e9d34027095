//! What is shown of a pipeline.

use logmill_stream::Progress;

/// What a pipeline is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PipelineState {
    /// It reads and commits.
    Running,
    /// Its declared input is read, every window is closed and committed.
    Finished,
    /// Somebody stopped it.
    Stopped,
    /// It met an error it must not pass over.
    Failed {
        /// What went wrong and what to do.
        error: String,
    },
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
    /// The plan as text.
    pub plan: String,
    /// The source partitions, sorted.
    pub sources: Vec<SourceView>,
    /// The topics written, sorted.
    pub sinks: Vec<String>,
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
    /// The partition's watermark, ms since the epoch.
    pub watermark: Option<i64>,
}
