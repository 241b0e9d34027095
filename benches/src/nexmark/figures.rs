//! The figures of all runs, and the tables they become.

use std::time::Duration;

use crate::histogram::Histogram;
use crate::nexmark::engines::Engine;
use crate::nexmark::progress::Throughput;
use crate::nexmark::queries::Query;
use crate::report::{Runs, Table, mib, print};

/// The aims beside the peers, and for latency.
const TIMES_FLINK: f64 = 5.0;
const TIMES_STREAMS: f64 = 8.0;
const P99_MS: f64 = 25.0;
const SHARE_OF_FLINK: f64 = 0.1;

/// What one run of a query gave.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) throughput: Throughput,
    /// Rows of the output, or keys where rows replace each other; of the prefilled events. None when not all were read.
    pub(crate) rows: Option<u64>,
    /// At the rate.
    pub(crate) latencies: Histogram,
    pub(crate) peak_memory: u64,
    pub(crate) load: f64,
}

/// All runs of a query by an engine.
#[derive(Debug)]
pub(crate) struct Line {
    query: Query,
    engine: Engine,
    per_cpu_second: Runs,
    per_second: Runs,
    from: Runs,
    until: Runs,
    memory: Runs,
    load: Runs,
    rows: Option<u64>,
    latencies: Histogram,
    p50: Runs,
    p99: Runs,
    max: Runs,
    failures: Vec<String>,
}

impl Line {
    pub(crate) fn new(query: Query, engine: Engine) -> Self {
        Self {
            query,
            engine,
            per_cpu_second: Runs::default(),
            per_second: Runs::default(),
            from: Runs::default(),
            until: Runs::default(),
            memory: Runs::default(),
            load: Runs::default(),
            rows: None,
            latencies: Histogram::new(),
            p50: Runs::default(),
            p99: Runs::default(),
            max: Runs::default(),
            failures: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, figures: &Figures) {
        self.per_cpu_second.push(figures.throughput.per_cpu_second);
        self.per_second.push(figures.throughput.per_second);
        self.from.push(figures.throughput.from * 100.0);
        self.until.push(figures.throughput.until * 100.0);
        self.memory.push(mib(figures.peak_memory));
        self.load.push(figures.load);
        match (self.rows, figures.rows) {
            (Some(before), Some(rows)) if before != rows => {
                self.failures.push(format!("{rows} rows in another run"));
            }
            _ => self.rows = self.rows.or(figures.rows),
        }
        let latencies = &figures.latencies;
        if latencies.count() > 0 {
            self.latencies.merge(latencies);
            self.p50.push(millis(latencies.quantile(0.5)));
            self.p99.push(millis(latencies.quantile(0.99)));
            self.max.push(millis(latencies.max()));
        }
    }

    pub(crate) fn fail(&mut self, error: &anyhow::Error) {
        self.failures.push(format!("{error:#}"));
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Prints everything.
pub(crate) fn report(lines: &[Line], throughput_title: &str, latency_title: &str) -> anyhow::Result<()> {
    let date = jiff::Zoned::now().date().to_string();
    let find =
        |query: Query, engine: Engine| lines.iter().find(|line| line.query == query && line.engine == engine);
    let name = |line: &Line| format!("{}, {}", line.query.name(), line.query.about());
    let mut throughput = Table::new(&[
        "date",
        "query",
        "engine",
        "events/CPU s",
        "logmill ×",
        "events/s",
        "of the events, %",
        "peak RSS MiB",
        "rows",
        "load",
    ]);
    let mut latency =
        Table::new(&["date", "query", "engine", "rows", "p50 ms", "p99 ms", "max ms", "logmill p99 ×"]);
    for line in lines {
        let ours = find(line.query, Engine::Logmill);
        let ratio = |of: fn(&Line) -> &Runs, digits: usize| match ours {
            Some(ours) => number(of(ours).median() / of(line).median(), digits),
            None => "–".to_owned(),
        };
        throughput.row(vec![
            date.clone(),
            name(line),
            line.engine.name().to_owned(),
            line.per_cpu_second.show(0),
            ratio(|line| &line.per_cpu_second, 2),
            line.per_second.show(0),
            format!("{}–{}", line.from.show(0), line.until.show(0)),
            line.memory.show(0),
            rows(line, ours),
            line.load.show(1),
        ]);
        if line.latencies.count() > 0 {
            latency.row(vec![
                date.clone(),
                name(line),
                line.engine.name().to_owned(),
                line.latencies.count().to_string(),
                line.p50.show(1),
                line.p99.show(1),
                line.max.show(1),
                ratio(|line| &line.p99, 3),
            ]);
        }
    }
    throughput.print(throughput_title)?;
    latency.print(latency_title)?;
    aims(lines)?;
    for line in lines {
        for failure in &line.failures {
            print(&format!("\n{}, {}: {failure}", line.query.name(), line.engine.name()))?;
        }
    }
    Ok(())
}

/// The rows, and how many more or fewer they are than ours.
fn rows(line: &Line, ours: Option<&Line>) -> String {
    let Some(rows) = line.rows else { return "–".to_owned() };
    match ours.and_then(|ours| ours.rows) {
        Some(expected) if expected != rows => {
            let more = i128::from(rows) - i128::from(expected);
            format!("{rows} (**{more:+}**)")
        }
        _ => rows.to_string(),
    }
}

/// What was aimed at, and whether it held.
fn aims(lines: &[Line]) -> anyhow::Result<()> {
    let find =
        |query: Query, engine: Engine| lines.iter().find(|line| line.query == query && line.engine == engine);
    let mut table = Table::new(&[
        "query",
        "events/CPU s",
        "≥ 5 × Flink's",
        "≥ 8 × Kafka Streams'",
        "p99 < 25 ms",
        "p99 ≤ 0.1 × Flink's",
    ]);
    for ours in lines.iter().filter(|line| line.engine == Engine::Logmill) {
        let rate = ours.per_cpu_second.median();
        let p99 = ours.p99.median();
        let times = |engine, aim: f64| {
            let theirs = find(ours.query, engine).map_or(f64::NAN, |line| line.per_cpu_second.median());
            judged(rate / theirs, rate / theirs >= aim, 1)
        };
        let flink = find(ours.query, Engine::Flink).map_or(f64::NAN, |line| line.p99.median());
        table.row(vec![
            ours.query.name().to_owned(),
            match ours.query.aim() {
                Some(aim) => format!("{} (aim {aim:.0})", judged(rate, rate >= aim, 0)),
                None => number(rate, 0),
            },
            times(Engine::Flink, TIMES_FLINK),
            times(Engine::Streams, TIMES_STREAMS),
            judged(p99, p99 < P99_MS, 1),
            judged(p99 / flink, p99 / flink <= SHARE_OF_FLINK, 3),
        ]);
    }
    table.print("What was aimed at")?;
    Ok(())
}

fn judged(value: f64, held: bool, digits: usize) -> String {
    match value.is_finite() {
        true if held => format!("{value:.digits$}, held"),
        true => format!("**{value:.digits$}, missed**"),
        false => "–".to_owned(),
    }
}

fn number(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "–".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rows: u64) -> Figures {
        Figures {
            throughput: Throughput { per_cpu_second: 5.0, per_second: 4.0, from: 0.2, until: 1.0 },
            rows: Some(rows),
            latencies: Histogram::new(),
            peak_memory: 1 << 20,
            load: 0.1,
        }
    }

    #[test]
    fn other_rows_than_ours_are_shown() {
        let mut ours = Line::new(Query::Q1, Engine::Logmill);
        ours.add(&figures(10));
        let mut theirs = Line::new(Query::Q1, Engine::Flink);
        assert_eq!(rows(&theirs, Some(&ours)), "–");
        theirs.add(&figures(9));
        assert_eq!(rows(&theirs, Some(&ours)), "9 (**-1**)");
        assert_eq!(rows(&ours, Some(&ours)), "10");
        theirs.add(&figures(10));
        assert_eq!(theirs.failures, ["10 rows in another run"]);
    }

    #[test]
    fn aims_hold_or_are_missed_or_have_no_figure() {
        assert_eq!(judged(5.25, true, 1), "5.2, held");
        assert_eq!(judged(4.0, false, 0), "**4, missed**");
        assert_eq!(judged(f64::NAN, false, 0), "–");
        assert_eq!(number(f64::INFINITY, 1), "–");
    }
}
