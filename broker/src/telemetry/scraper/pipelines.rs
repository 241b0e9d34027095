//! Pipelines.

use super::{Scraper, label, number};
use crate::pipelines::{PipelineState, PipelineView};
use crate::telemetry::{Family, Labels, Value};

fn seconds(value: f64) -> Value {
    Value::Number(value)
}

fn with(view: &PipelineView, name: &'static str, value: impl Into<String>) -> Labels {
    vec![("pipeline", view.name.clone()), (name, value.into())]
}

impl Scraper {
    pub(super) fn pipelines(&self) -> Vec<Family> {
        let mut running =
            Family::gauge("logmill_pipeline_running", "1 for a pipeline that reads and commits.");
        let mut blocked = Family::gauge(
            "logmill_pipeline_blocked",
            "1 for a pipeline that cannot go on now: a full disk, a state over its budget.",
        );
        let mut failed = Family::gauge("logmill_pipeline_failed", "1 for a pipeline that met an error.");
        let mut epochs = Family::counter("logmill_pipeline_epochs_total", "Epochs committed.");
        let mut latency = Family::gauge(
            "logmill_pipeline_epoch_duration_seconds",
            "Time of the last 512 epochs from their first read until they were durable.",
        );
        let mut records = Family::counter(
            "logmill_pipeline_records_total",
            "Records by what became of them. read is the sum of processed, late, shed, skipped and dead_lettered.",
        );
        let mut windows =
            Family::counter("logmill_pipeline_windows_closed_total", "Windows closed and written.");
        let mut open = Family::gauge("logmill_pipeline_open_windows", "Windows open.");
        let mut lag =
            Family::gauge("logmill_pipeline_lag_records", "Committed records that are not read yet.");
        let mut watermark = Family::gauge(
            "logmill_pipeline_watermark_lag_seconds",
            "By how much the watermark of the source partition that is furthest back is behind the clock.",
        );
        let mut busy = Family::gauge(
            "logmill_pipeline_busy_ratio",
            "Share of the last seconds that went into reading and computing.",
        );
        let mut held_up = Family::gauge(
            "logmill_pipeline_backpressure_ratio",
            "Share of the last seconds in which the disk held up a computed epoch.",
        );
        let mut entries = Family::gauge(
            "logmill_pipeline_state_entries",
            "Rows, groups and windows that an operator keeps.",
        );
        let mut bytes = Family::gauge("logmill_pipeline_state_bytes", "Bytes of them, about.");
        let mut held = Family::gauge(
            "logmill_pipeline_state_memory_bytes",
            "How many of them are in memory; the others are on disk.",
        );
        let mut memory =
            Family::gauge("logmill_pipeline_memory_bytes", "The most bytes that the state of all may have.");
        let mut shedding = Family::gauge(
            "logmill_pipeline_shed_ratio",
            "Share of a table's records that the last epoch shed, where the table declares that it may shed.",
        );
        for view in self.pipelines.list() {
            let pipeline = || label("pipeline", view.name.clone());
            let is = |state: bool| number(u64::from(state));
            running.push(pipeline(), is(view.state == PipelineState::Running));
            blocked.push(pipeline(), is(matches!(view.state, PipelineState::Blocked(_))));
            failed.push(pipeline(), is(matches!(view.state, PipelineState::Failed(_))));
            epochs.push(pipeline(), number(view.progress.as_ref().map_or(0, |progress| progress.epoch)));
            for (quantile, time) in [("0.5", view.epochs.p50), ("0.99", view.epochs.p99)] {
                latency.push(with(&view, "quantile", quantile), seconds(time.as_secs_f64()));
            }
            open.push(pipeline(), number(view.open_windows));
            lag.push(pipeline(), number(view.sources.iter().map(|source| source.lag()).sum()));
            let furthest = view.sources.iter().filter_map(|source| source.event_lag_ms(view.now_ms)).max();
            if let Some(ms) = furthest {
                watermark.push(pipeline(), seconds(ms as f64 / 1000.0));
            }
            let runs = view.state == PipelineState::Running;
            busy.push(pipeline(), seconds(if runs { view.shares.computing } else { 0.0 }));
            held_up.push(pipeline(), seconds(if runs { view.shares.waiting_for_disk } else { 0.0 }));
            memory.push(pipeline(), number(view.memory));
            for shed in &view.shedding {
                let ratio = f64::from(shed.level) / f64::from(logmill_stream::WHOLE_LEVEL);
                shedding.push(with(&view, "table", shed.table.clone()), seconds(ratio));
            }
            for size in &view.operators {
                let of = |size: &logmill_stream::OperatorSize| {
                    with(&view, "operator", format!("{}-{:08x}", size.operator, size.identity))
                };
                entries.push(of(size), number(size.entries));
                bytes.push(of(size), number(size.bytes));
                held.push(of(size), number(size.memory_bytes));
            }
            let Some(progress) = &view.progress else { continue };
            let totals = &progress.totals;
            windows.push(pipeline(), number(totals.windows_closed));
            for (outcome, count) in [
                ("read", totals.read),
                ("processed", totals.processed),
                ("late", totals.late),
                ("shed", totals.shed),
                ("skipped", totals.skipped),
                ("dead_lettered", totals.dead_lettered),
                ("filtered", totals.filtered),
                ("written", totals.written),
                ("unwritten", totals.unwritten),
                ("late_rows", totals.late_rows),
            ] {
                records.push(with(&view, "outcome", outcome), number(count));
            }
        }
        vec![
            running, blocked, failed, epochs, latency, records, windows, open, lag, watermark, busy, held_up,
            entries, bytes, held, memory, shedding,
        ]
    }
}
