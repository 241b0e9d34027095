//! How a pipeline is shown.

use logmill_broker::pipelines::trial::Iso;
use logmill_client::{HeldBack, InputGap, Limiting, Pipeline, PipelineEvent, PipelineState, SourcePosition};
use serde_json::{Value, json};

use crate::arguments::Output;
use crate::output::{self, or_dash};

pub(super) const HEADINGS: [&str; 10] = [
    "pipeline",
    "state",
    "epoch",
    "records-in",
    "records-out",
    "lag",
    "late",
    "rejected",
    "open-windows",
    "watermark",
];

/// So many partitions that hold the watermark back are told of.
const HELD_BACK: usize = 3;

pub(super) fn row(pipeline: &Pipeline) -> Vec<String> {
    let counters = pipeline.counters.unwrap_or_default();
    vec![
        pipeline.name.clone(),
        state(pipeline).to_owned(),
        pipeline.epoch.to_string(),
        counters.records_in.to_string(),
        counters.records_out.to_string(),
        lag(pipeline).to_string(),
        counters.late.to_string(),
        counters.rejected.to_string(),
        counters.open_windows.to_string(),
        time(pipeline.watermark_ms),
    ]
}

/// A time as people read it.
fn time(ms: Option<i64>) -> String {
    or_dash(ms.map(Iso))
}

/// Why pipelines do not run, a line each.
pub(super) fn reasons(pipelines: &[Pipeline]) -> Vec<String> {
    let wrong = pipelines.iter().filter(|pipeline| !pipeline.error.is_empty());
    wrong.map(|pipeline| format!("{} {}: {}", pipeline.name, state(pipeline), pipeline.error)).collect()
}

pub(super) fn state(pipeline: &Pipeline) -> &'static str {
    match pipeline.state() {
        PipelineState::Unspecified => "unknown",
        PipelineState::Starting => "starting",
        PipelineState::Running => "running",
        PipelineState::Blocked => "blocked",
        PipelineState::Finished => "finished",
        PipelineState::Stopped => "stopped",
        PipelineState::Failed => "failed",
    }
}

fn limiting(pipeline: &Pipeline) -> Option<&'static str> {
    match pipeline.limiting() {
        Limiting::Unspecified => None,
        Limiting::WaitingForInput => Some("waiting for input"),
        Limiting::Computing => Some("computing"),
        Limiting::WaitingForDisk => Some("waiting for disk"),
    }
}

fn lag(pipeline: &Pipeline) -> u64 {
    pipeline.sources.iter().map(|source| source.lag).sum()
}

fn state_bytes(pipeline: &Pipeline) -> u64 {
    pipeline.operators.iter().map(|operator| operator.bytes).sum()
}

fn state_in_memory(pipeline: &Pipeline) -> u64 {
    pipeline.operators.iter().map(|operator| operator.memory_bytes).sum()
}

/// A line that says what it is at.
pub(super) fn working(pipeline: &Pipeline) -> String {
    let counters = pipeline.counters.unwrap_or_default();
    let why = match pipeline.error.as_str() {
        "" => limiting(pipeline).map(|limiting| format!(", {limiting}")).unwrap_or_default(),
        error => format!(": {error}"),
    };
    format!(
        "{:<9}{} records in, {} out, {} behind, {} windows open, epoch {}{why}",
        state(pipeline),
        counters.records_in,
        counters.records_out,
        lag(pipeline),
        counters.open_windows,
        pipeline.epoch
    )
}

pub(super) fn summary(pipeline: &Pipeline) -> Value {
    let counters = pipeline.counters.unwrap_or_default();
    json!({
        "pipeline": pipeline.name,
        "state": state(pipeline),
        "generation": pipeline.generation,
        "epoch": pipeline.epoch,
        "watermark_ms": pipeline.watermark_ms,
        "lag": lag(pipeline),
        "records_in": counters.records_in,
        "records_out": counters.records_out,
        "late": counters.late,
        "shed": counters.shed,
        "rejected": counters.rejected,
        "skipped": counters.skipped,
        "dead_lettered": counters.dead_lettered,
        "filtered": counters.filtered,
        "unwritten": counters.unwritten,
        "late_rows": counters.late_rows,
        "windows_closed": counters.windows_closed,
        "open_windows": counters.open_windows,
        "sinks": pipeline.sinks,
        "error": Some(&pipeline.error).filter(|error| !error.is_empty()),
        "limiting": limiting(pipeline),
        "memory_bytes": pipeline.memory_bytes,
        "shards": pipeline.shards,
        "running_shards": pipeline.running_shards,
    })
}

fn document(pipeline: &Pipeline) -> Value {
    let mut document = summary(pipeline);
    let sources: Vec<Value> = pipeline
        .sources
        .iter()
        .map(|source| {
            json!({
                "topic": source.topic,
                "partition": source.partition,
                "position": source.position,
                "end": source.end,
                "lag": source.lag,
                "finish_at": source.finish_at,
                "watermark_ms": source.watermark_ms,
                "event_lag_ms": source.event_lag_ms,
                "gap": source.gap.map(|gap| json!({ "from": gap.from, "to": gap.to, "total": gap.total })),
            })
        })
        .collect();
    let operators: Vec<Value> = pipeline
        .operators
        .iter()
        .map(|operator| {
            json!({
                "operator": operator.operator,
                "identity": format!("{:08x}", operator.identity),
                "entries": operator.entries,
                "bytes": operator.bytes,
                "memory_bytes": operator.memory_bytes,
                "windows": operator.windows,
            })
        })
        .collect();
    let epochs = pipeline.epochs.unwrap_or_default();
    let shares = pipeline.shares.unwrap_or_default();
    let failure = pipeline.last_error.as_ref().map(|failure| {
        let position = failure.position.as_ref();
        json!({
            "at_ms": failure.at_ms,
            "what": failure.what,
            "topic": position.map(|at| &at.topic),
            "partition": position.map(|at| at.partition),
            "offset": position.map(|at| at.offset),
            "remedy": failure.remedy,
        })
    });
    let rejected = pipeline.last_rejected.as_ref().map(|rejected| {
        let position = rejected.position.as_ref();
        json!({
            "topic": position.map(|at| &at.topic),
            "partition": position.map(|at| at.partition),
            "offset": position.map(|at| at.offset),
            "error": rejected.error,
            "dead_letter_topic": Some(&rejected.dead_letter_topic).filter(|topic| !topic.is_empty()),
        })
    });
    if let Some(fields) = document.as_object_mut() {
        fields.insert("sources".to_owned(), sources.into());
        fields.insert("operators".to_owned(), operators.into());
        fields.insert("state_bytes".to_owned(), state_bytes(pipeline).into());
        fields.insert("state_memory_bytes".to_owned(), state_in_memory(pipeline).into());
        fields.insert(
            "held_back".to_owned(),
            pipeline
                .held_back
                .iter()
                .map(|held| {
                    json!({
                        "topic": held.topic, "partition": held.partition, "table": held.table, "why": held.why,
                        "since_ms": held.since_ms, "watermark_ms": held.watermark_ms, "hint": held.hint,
                    })
                })
                .collect::<Vec<_>>()
                .into(),
        );
        fields.insert(
            "epochs".to_owned(),
            json!({
                "count": epochs.count, "last_ms": epochs.last_ms, "p50_ms": epochs.p50_ms, "p99_ms": epochs.p99_ms,
            }),
        );
        fields.insert(
            "shares".to_owned(),
            json!({
                "waiting_for_input": shares.waiting_for_input,
                "computing": shares.computing,
                "waiting_for_disk": shares.waiting_for_disk,
            }),
        );
        let shedding: Vec<Value> = pipeline
            .shedding
            .iter()
            .map(|shed| json!({ "table": shed.table, "declared": shed.declared, "level": shed.level }))
            .collect();
        fields.insert("shedding".to_owned(), shedding.into());
        fields.insert("last_error".to_owned(), failure.into());
        fields.insert("last_rejected".to_owned(), rejected.into());
        fields.insert("plan".to_owned(), pipeline.plan.clone().into());
        fields.insert("script".to_owned(), pipeline.script.clone().into());
    }
    document
}

pub(super) fn show(pipeline: &Pipeline, command: &str, form: Output) -> anyhow::Result<()> {
    if form == Output::Json {
        output::json(command, document(pipeline))?;
        return Ok(());
    }
    output::table(&HEADINGS, &[row(pipeline)])?;
    output::lines([""])?;
    output::lines(facts(pipeline))?;
    output::lines([""])?;
    let rows: Vec<Vec<String>> = pipeline
        .sources
        .iter()
        .map(|source| {
            vec![
                source.topic.clone(),
                source.partition.to_string(),
                source.position.to_string(),
                source.end.to_string(),
                source.lag.to_string(),
                or_dash(source.finish_at),
                time(source.watermark_ms),
                or_dash(source.event_lag_ms),
            ]
        })
        .collect();
    output::table(
        &["source", "partition", "position", "end", "lag", "finish-at", "watermark", "event-lag-ms"],
        &rows,
    )?;
    if !pipeline.operators.is_empty() {
        output::lines([""])?;
        let rows: Vec<Vec<String>> = pipeline
            .operators
            .iter()
            .map(|operator| {
                vec![
                    operator.operator.clone(),
                    format!("{:08x}", operator.identity),
                    operator.entries.to_string(),
                    operator.bytes.to_string(),
                    operator.memory_bytes.to_string(),
                    operator.windows.to_string(),
                ]
            })
            .collect();
        output::table(&["operator", "identity", "entries", "bytes", "in-memory", "windows"], &rows)?;
    }
    output::lines(["", pipeline.plan.trim_end()])?;
    Ok(())
}

/// What is not in a table, a line each.
fn facts(pipeline: &Pipeline) -> Vec<String> {
    let mut lines = Vec::new();
    if !pipeline.error.is_empty() {
        lines.push(format!("error: {}", pipeline.error));
    } else if let Some(failure) = &pipeline.last_error {
        lines.push(format!("last error: {} (it goes on)", failure.what));
    }
    if let Some(rejected) = &pipeline.last_rejected {
        let at = rejected.position.as_ref();
        let at =
            at.map(|at| format!("{}-{}, offset {}", at.topic, at.partition, at.offset)).unwrap_or_default();
        let became = match rejected.dead_letter_topic.as_str() {
            "" => "skipped".to_owned(),
            topic => format!("sent to {topic}"),
        };
        lines.push(format!("last rejected: {at}, {became}: {}", rejected.error));
    }
    lines.extend(pipeline.sources.iter().filter_map(gap));
    lines.extend(pipeline.held_back.iter().take(HELD_BACK).map(held_back));
    if let Some(others) = pipeline.held_back.len().checked_sub(HELD_BACK).filter(|others| *others > 0) {
        lines.push(format!(
            "and {others} partitions more hold the watermark back (all of them: --output json)"
        ));
    }
    if let Some(limiting) = limiting(pipeline) {
        let shares = pipeline.shares.unwrap_or_default();
        lines.push(format!(
            "limited by: {limiting} (of the last seconds {:.0} % computing, {:.0} % waiting for disk, {:.0} % for input)",
            shares.computing * 100.0,
            shares.waiting_for_disk * 100.0,
            shares.waiting_for_input * 100.0
        ));
    }
    let epochs = pipeline.epochs.unwrap_or_default();
    if epochs.count > 0 {
        lines.push(format!(
            "epochs: {} in this run, p50 {:.1} ms, p99 {:.1} ms, the last {:.1} ms",
            epochs.count, epochs.p50_ms, epochs.p99_ms, epochs.last_ms
        ));
    }
    let counters = pipeline.counters.unwrap_or_default();
    lines.push(format!(
        "of the input: {} filtered, {} late, {} shed, {} skipped, {} dead letters; of the output: {} rows unwritten, {} late rows, {} windows closed",
        counters.filtered,
        counters.late,
        counters.shed,
        counters.skipped,
        counters.dead_lettered,
        counters.unwritten,
        counters.late_rows,
        counters.windows_closed
    ));
    for shed in &pipeline.shedding {
        let now = match shed.level {
            0 => "nothing now".to_owned(),
            level => format!("{:.1} % in the last epoch", f64::from(level) / 100.0),
        };
        lines.push(format!("{} sheds {now}; declared: {}", shed.table, shed.declared));
    }
    let (state, memory) = (state_bytes(pipeline), state_in_memory(pipeline));
    lines.push(match state == memory {
        true => format!("state: {state} bytes of {}", pipeline.memory_bytes),
        false => format!(
            "state: {state} bytes, {memory} of them in memory of {}, the others on disk",
            pipeline.memory_bytes
        ),
    });
    lines.push(match (pipeline.running_shards, pipeline.shards) {
        (running, wanted) if running == wanted || running == 0 => format!("shards: {wanted}"),
        (running, wanted) => format!("shards: {running}, and {wanted} from the next epoch on"),
    });
    lines
}

fn held_back(held: &HeldBack) -> String {
    let HeldBack { topic, partition, table, why, since_ms, watermark_ms, hint } = held;
    let since = Iso(*since_ms);
    let state = match (why.as_str(), watermark_ms) {
        ("empty", _) => format!("has had no record (seen since {since})"),
        ("slow", Some(watermark)) => format!("is at {}, behind the others", Iso(*watermark)),
        (_, Some(watermark)) => format!("is at {}, and had nothing since {since}", Iso(*watermark)),
        (_, None) => "is not begun".to_owned(),
    };
    format!("the watermark is held back by {topic}-{partition} ({table}, {why}), which {state}: {hint}")
}

/// What a pipeline was told to go on without, of one partition.
fn gap(source: &SourcePosition) -> Option<String> {
    let InputGap { from, to, total } = source.gap?;
    let offsets = u64::try_from(to - from).unwrap_or_default();
    let others = match total - offsets.min(total) {
        0 => String::new(),
        others => format!(", and {others} in gaps before"),
    };
    Some(format!(
        "gap: {}-{} was not read from offset {from} up to {to} ({offsets} offsets{others}): the records were deleted before, \
         and that was accepted",
        source.topic, source.partition
    ))
}

/// The gaps that a pipeline has and had not before.
pub(super) fn new_gaps(before: &Pipeline, after: &Pipeline) -> Vec<String> {
    let is_new = |source: &&SourcePosition| {
        let mut known = before.sources.iter();
        let known = known.find(|known| known.topic == source.topic && known.partition == source.partition);
        known.is_none_or(|known| known.gap != source.gap)
    };
    after.sources.iter().filter(is_new).filter_map(gap).collect()
}

pub(super) fn event(event: &PipelineEvent) -> Value {
    json!({ "number": event.number, "at_ms": event.at_ms, "kind": event.kind, "text": event.text })
}

pub(super) fn event_line(event: &PipelineEvent) -> String {
    format!("{:<24}  {:<10}  {}", Iso(event.at_ms).to_string(), event.kind, event.text)
}
