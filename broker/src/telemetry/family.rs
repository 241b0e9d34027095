//! A metric with its values, and how Prometheus wants it written.

use std::fmt::Write as _;

use super::histogram::Distribution;

/// The most values one metric shows; what is beyond is counted and left out. With names of topics and groups
/// as labels there would be no end otherwise.
pub(crate) const MAX_SERIES: usize = 1000;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows while the broker runs.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Values by size.
    Histogram,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A number.
    Number(f64),
    /// Of a histogram.
    Distribution(Distribution),
}

/// Labels with their values.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// A metric with its values at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<(Labels, Value)>,
    /// Values that were left out.
    pub(crate) left_out: usize,
}

impl Family {
    fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind, samples: Vec::new(), left_out: 0 }
    }

    pub(crate) fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Counter, name, help)
    }

    pub(crate) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Gauge, name, help)
    }

    pub(crate) fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Histogram, name, help)
    }

    /// With the one value it has.
    pub(crate) fn of(self, value: u64) -> Self {
        self.with(Vec::new(), value as f64)
    }

    /// With the one distribution it has.
    pub(crate) fn spread(mut self, distribution: Distribution) -> Self {
        self.push(Vec::new(), Value::Distribution(distribution));
        self
    }

    /// With one more value.
    pub(crate) fn with(mut self, labels: Labels, value: f64) -> Self {
        self.push(labels, Value::Number(value));
        self
    }

    /// Adds a value, within [`MAX_SERIES`].
    pub(crate) fn push(&mut self, labels: Labels, value: Value) {
        match self.samples.len() < MAX_SERIES {
            true => self.samples.push((labels, value)),
            false => self.left_out += 1,
        }
    }
}

/// All metrics in Prometheus' text format, version 0.0.4.
pub(crate) fn to_text(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let Family { name, help, kind, samples, .. } = family;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {}", escaped(help, false), kind.name());
        for (labels, value) in samples {
            match value {
                Value::Number(number) => line(&mut text, name, "", labels, None, *number),
                Value::Distribution(held) => {
                    for (bound, count) in &held.up_to {
                        line(&mut text, name, "_bucket", labels, Some(&bound.to_string()), *count as f64);
                    }
                    line(&mut text, name, "_bucket", labels, Some("+Inf"), held.count as f64);
                    line(&mut text, name, "_sum", labels, None, held.sum);
                    line(&mut text, name, "_count", labels, None, held.count as f64);
                }
            }
        }
    }
    text
}

fn line(text: &mut String, name: &str, suffix: &str, labels: &Labels, bound: Option<&str>, value: f64) {
    let mut shown: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value, true))).collect();
    shown.extend(bound.map(|bound| format!("le=\"{bound}\"")));
    let labels = if shown.is_empty() { String::new() } else { format!("{{{}}}", shown.join(",")) };
    let _ = writeln!(text, "{name}{suffix}{labels} {value}");
}

fn escaped(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_prometheus_own() {
        let mut groups = Family::gauge("logmill_group_members", "Members.");
        groups.push(vec![("group", "a\"b\\c\nd".to_owned())], Value::Number(3.0));
        let held = Distribution { up_to: vec![(0.5, 1), (1.0, 4)], count: 5, sum: 9.25 };
        let families = [
            Family::counter("logmill_frames_total", "Frames.").of(12),
            Family::counter("logmill_nothing_total", "Not shown."),
            groups,
            Family::histogram("logmill_wait_seconds", "Waits.").spread(held),
        ];
        assert_eq!(
            to_text(&families),
            "# HELP logmill_frames_total Frames.\n\
             # TYPE logmill_frames_total counter\n\
             logmill_frames_total 12\n\
             # HELP logmill_group_members Members.\n\
             # TYPE logmill_group_members gauge\n\
             logmill_group_members{group=\"a\\\"b\\\\c\\nd\"} 3\n\
             # HELP logmill_wait_seconds Waits.\n\
             # TYPE logmill_wait_seconds histogram\n\
             logmill_wait_seconds_bucket{le=\"0.5\"} 1\n\
             logmill_wait_seconds_bucket{le=\"1\"} 4\n\
             logmill_wait_seconds_bucket{le=\"+Inf\"} 5\n\
             logmill_wait_seconds_sum 9.25\n\
             logmill_wait_seconds_count 5\n"
        );
    }

    #[test]
    fn a_metric_shows_no_more_than_it_may() {
        let mut family = Family::gauge("logmill_group_members", "Members.");
        for group in 0..MAX_SERIES + 7 {
            family.push(vec![("group", group.to_string())], Value::Number(1.0));
        }
        assert_eq!((family.samples.len(), family.left_out), (MAX_SERIES, 7));
    }
}
