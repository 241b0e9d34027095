//! `logmill broker metrics`: the numbers of a broker, for who has no Prometheus.

use logmill_client::Pipelines;
use logmill_client::metrics::{Distribution, Metric, Sample, SampleValue};
use serde_json::{Value, json};

use crate::arguments::Output;
use crate::output;

/// What every name begins with; nobody needs to write it.
const PREFIX: &str = "logmill_";

pub(crate) async fn show(pipelines: &Pipelines, prefix: Option<&str>, form: Output) -> anyhow::Result<()> {
    let prefix = match prefix {
        Some(prefix) if !prefix.starts_with(PREFIX) => format!("{PREFIX}{prefix}"),
        other => other.unwrap_or_default().to_owned(),
    };
    let mut metrics = pipelines.node_metrics(&prefix).await?;
    metrics.retain(|metric| !metric.samples.is_empty());
    anyhow::ensure!(
        !metrics.is_empty(),
        "no metric's name begins with {prefix:?}; `logmill broker metrics` shows all"
    );
    match form {
        Output::Json => {
            let metrics: Vec<Value> = metrics.iter().map(document).collect();
            output::json("broker metrics", json!({ "metrics": metrics }))?;
        }
        Output::Table => {
            let rows: Vec<Vec<String>> = metrics.iter().flat_map(rows).collect();
            output::table(&["metric", "labels", "value"], &rows)?;
        }
    }
    Ok(())
}

fn document(metric: &Metric) -> Value {
    let sample = |sample: &Sample| {
        let labels: serde_json::Map<String, Value> =
            sample.labels.iter().map(|label| (label.name.clone(), json!(label.value))).collect();
        match &sample.value {
            Some(SampleValue::Distribution(held)) => {
                let buckets: Vec<Value> = held
                    .buckets
                    .iter()
                    .map(|bucket| json!({ "up_to": bucket.up_to, "count": bucket.count }))
                    .collect();
                json!({ "labels": labels, "count": held.count, "sum": held.sum, "buckets": buckets })
            }
            Some(SampleValue::Number(number)) => json!({ "labels": labels, "value": number }),
            None => json!({ "labels": labels, "value": null }),
        }
    };
    json!({
        "metric": metric.name,
        "kind": metric.kind,
        "meaning": metric.help,
        "samples": metric.samples.iter().map(sample).collect::<Vec<_>>(),
    })
}

fn rows(metric: &Metric) -> Vec<Vec<String>> {
    let row = |sample: &Sample| {
        let labels: Vec<String> =
            sample.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
        let value = match &sample.value {
            Some(SampleValue::Distribution(held)) => spread(held),
            Some(SampleValue::Number(number)) => number.to_string(),
            None => "-".to_owned(),
        };
        let labels = if labels.is_empty() { "-".to_owned() } else { labels.join(" ") };
        vec![metric.name.clone(), labels, value]
    };
    metric.samples.iter().map(row).collect()
}

/// How many there were, how large they were on average, and below what half and nearly all of them lie.
fn spread(held: &Distribution) -> String {
    if held.count == 0 {
        return "0".to_owned();
    }
    let mean = held.sum / held.count as f64;
    let below = |share: f64| {
        let wanted = share * held.count as f64;
        let bucket = held.buckets.iter().find(|bucket| bucket.count as f64 >= wanted);
        match (bucket, held.buckets.last()) {
            (Some(bucket), _) => format!("<={}", bucket.up_to),
            (None, Some(last)) => format!(">{}", last.up_to),
            (None, None) => "-".to_owned(),
        }
    };
    format!("{} (mean {mean:.6}, p50 {}, p99 {})", held.count, below(0.5), below(0.99))
}

#[cfg(test)]
mod tests {
    use logmill_client::metrics::Bucket;

    use super::*;

    #[test]
    fn a_distribution_is_told_in_a_line() {
        let bucket = |up_to, count| Bucket { up_to, count };
        let buckets = vec![bucket(0.5, 60), bucket(1.0, 98)];
        let held = Distribution { count: 100, sum: 50.0, buckets };
        assert_eq!(spread(&held), "100 (mean 0.500000, p50 <=0.5, p99 >1)");
        assert_eq!(spread(&Distribution::default()), "0");
    }
}
