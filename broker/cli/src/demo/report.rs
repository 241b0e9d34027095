//! The result, small enough to read: each carrier over all hours.

use std::collections::BTreeMap;

use anyhow::Context as _;
use logmill_client::Client;
use serde::Deserialize;

use crate::output;

/// A row of the report topic.
#[derive(Deserialize)]
struct Row {
    carrier: String,
    flights: i64,
    departed: i64,
    dep_delay_sum: Option<i64>,
    dep_delay_max: Option<i64>,
}

/// A carrier over all hours.
#[derive(Default)]
struct Total {
    hours: u64,
    flights: i64,
    departed: i64,
    delay_sum: i64,
    delay_max: Option<i64>,
}

impl Total {
    fn add(&mut self, row: &Row) {
        self.hours += 1;
        self.flights += row.flights;
        self.departed += row.departed;
        self.delay_sum += row.dep_delay_sum.unwrap_or(0);
        self.delay_max = self.delay_max.max(row.dep_delay_max);
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean of minutes, shown with one decimal")]
    fn cells(&self, carrier: &str) -> Vec<String> {
        let mean = if self.departed == 0 { 0.0 } else { self.delay_sum as f64 / self.departed as f64 };
        vec![
            carrier.to_owned(),
            self.hours.to_string(),
            self.flights.to_string(),
            (self.flights - self.departed).to_string(),
            format!("{mean:.1}"),
            output::or_dash(self.delay_max),
        ]
    }
}

/// Reads the committed report and prints it by carrier, the busiest first.
///
/// # Errors
/// When the topic cannot be read, or holds a row that is not one.
pub(crate) async fn show(client: &Client, topic: &str) -> anyhow::Result<()> {
    let mut totals: BTreeMap<String, Total> = BTreeMap::new();
    super::read_committed(client, topic, |record| {
        let row: Row = serde_json::from_slice(record.value.as_deref().unwrap_or_default())
            .with_context(|| format!("{topic}: the record at offset {} is not a row", record.offset))?;
        totals.entry(row.carrier.clone()).or_default().add(&row);
        Ok(())
    })
    .await?;
    let mut by_flights: Vec<(String, Total)> = totals.into_iter().collect();
    by_flights.sort_by(|a, b| b.1.flights.cmp(&a.1.flights).then_with(|| a.0.cmp(&b.0)));
    let rows: Vec<Vec<String>> = by_flights.iter().map(|(carrier, total)| total.cells(carrier)).collect();
    output::lines([""])?;
    output::table(&["carrier", "hours", "flights", "cancelled", "mean delay", "max delay"], &rows)?;
    Ok(())
}
