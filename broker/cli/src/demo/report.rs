//! What the demo shows: progress on standard error, results on standard output.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use logmill_client::{Client, StartAt};
use serde::Deserialize;

use crate::output::{note, table_lines};

/// Where the pipeline writes.
pub(crate) const RESULTS: &str = "carrier-hourly";

/// Progress: one line that changes on a terminal, a line now and then elsewhere.
pub(crate) struct Progress {
    terminal: bool,
    last: Instant,
    interval: Duration,
    open: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        let interval = if terminal { Duration::from_millis(100) } else { Duration::from_secs(1) };
        Self { terminal, last: Instant::now(), interval, open: false }
    }

    /// Shows a state that will change, unless one was shown a moment ago.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.last.elapsed() < self.interval {
            return;
        }
        self.last = Instant::now();
        if self.terminal {
            self.open = true;
            // Nobody to tell that standard error is closed.
            let _ = write!(io::stderr().lock(), "\r\x1b[K{}", text());
            let _ = io::stderr().flush();
        } else {
            note(text());
        }
    }

    /// Shows something that stays.
    pub(crate) fn say(&mut self, text: impl AsRef<str>) {
        if std::mem::take(&mut self.open) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
        note(text);
    }
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// One row the pipeline wrote.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Window {
    carrier: String,
    flights: i64,
    departed: i64,
    dep_delay_sum: Option<i64>,
    dep_delay_max: Option<i64>,
}

/// All windows of one carrier.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Carrier {
    windows: i64,
    flights: i64,
    departed: i64,
    delay_sum: i64,
    delay_max: Option<i64>,
}

/// What the pipeline has written, for people.
#[derive(Debug, Default)]
pub(crate) struct Results {
    carriers: BTreeMap<String, Carrier>,
}

impl Results {
    /// Reads everything committed in the pipeline's topic.
    pub(crate) async fn read(client: &Client) -> anyhow::Result<Self> {
        let mut results = Self::default();
        super::read_to_end(client, RESULTS, StartAt::Earliest, |record| {
            let value = record.value.as_deref().unwrap_or_default();
            results.add(serde_json::from_slice(value).context("a record of carrier-hourly is not a row")?);
            Ok(())
        })
        .await?;
        Ok(results)
    }

    fn add(&mut self, window: Window) {
        let carrier = self.carriers.entry(window.carrier).or_default();
        carrier.windows += 1;
        carrier.flights += window.flights;
        carrier.departed += window.departed;
        carrier.delay_sum += window.dep_delay_sum.unwrap_or(0);
        carrier.delay_max = carrier.delay_max.max(window.dep_delay_max);
    }

    /// Rows, and flights in them.
    pub(crate) fn totals(&self) -> (i64, i64) {
        let sum = |field: fn(&Carrier) -> i64| self.carriers.values().map(field).sum();
        (sum(|carrier| carrier.windows), sum(|carrier| carrier.flights))
    }

    /// A line per carrier, the busiest first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut carriers: Vec<(&String, &Carrier)> = self.carriers.iter().collect();
        carriers.sort_by_key(|(name, carrier)| (-carrier.flights, *name));
        let rows: Vec<Vec<String>> = carriers
            .into_iter()
            .map(|(name, carrier)| {
                let mean = if carrier.departed == 0 {
                    "-".to_owned()
                } else {
                    format!("{:.1}", carrier.delay_sum as f64 / carrier.departed as f64)
                };
                vec![
                    name.clone(),
                    carrier.windows.to_string(),
                    carrier.flights.to_string(),
                    (carrier.flights - carrier.departed).to_string(),
                    mean,
                    carrier.delay_max.map_or_else(|| "-".to_owned(), |delay| delay.to_string()),
                ]
            })
            .collect();
        table_lines(&["carrier", "hours", "flights", "cancelled", "mean-delay-min", "worst-delay-min"], &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (336_776, "336,776"), (-1_234_567, "-1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn windows_add_up_by_carrier() {
        let mut results = Results::default();
        for row in [
            r#"{"window_start":"2013-01-01T10:00:00Z","carrier":"UA","flights":3,"departed":2,"dep_delay_sum":5,"dep_delay_max":9}"#,
            r#"{"window_start":"2013-01-01T11:00:00Z","carrier":"UA","flights":1,"departed":1,"dep_delay_sum":-3,"dep_delay_max":-3}"#,
            r#"{"window_start":"2013-01-01T11:00:00Z","carrier":"AA","flights":1,"departed":0,"dep_delay_sum":null,"dep_delay_max":null}"#,
        ] {
            results.add(serde_json::from_str(row).expect("a row"));
        }
        assert_eq!(results.totals(), (3, 5));
        assert_eq!(
            results.lines(),
            [
                "CARRIER  HOURS  FLIGHTS  CANCELLED  MEAN-DELAY-MIN  WORST-DELAY-MIN",
                "UA           2        4          1             0.7                9",
                "AA           1        1          1               -                -",
            ]
        );
    }
}
