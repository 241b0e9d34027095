//! Puts the numbers of the whole broker together, when somebody asks.

mod groups;
mod lag;
mod pipelines;
mod serving;
mod storage;

use std::path::PathBuf;
use std::sync::Arc;

use logmill_storage::Store;
use parking_lot::Mutex;

pub(crate) use self::lag::UnreadTimes;
use super::family::to_text;
use super::{Family, Labels, Telemetry, Value};
use crate::clock::Clock;
use crate::coordinators::Coordinators;
use crate::net::{MemoryBudget, OpenConnections, RequestMemory};
use crate::partitions::Partitions;
use crate::pipelines::Pipelines;
use crate::topics::Topics;

/// What the numbers are held against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connections: u64,
    pub(crate) journal_bytes: u64,
    pub(crate) tail_bytes: u64,
    pub(crate) open_files: u64,
}

/// Everybody who has numbers; cheap to clone.
#[derive(Clone)]
pub(crate) struct Scraper {
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) store: Arc<Store>,
    pub(crate) partitions: Partitions,
    pub(crate) topics: Topics,
    pub(crate) coordinators: Coordinators,
    pub(crate) pipelines: Pipelines,
    pub(crate) connections: OpenConnections,
    pub(crate) request_memory: RequestMemory,
    pub(crate) response_memory: MemoryBudget,
    pub(crate) data_dir: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) started_ms: i64,
    pub(crate) limits: Limits,
    /// For the ages of what groups have not read; one scrape at a time looks records up.
    pub(crate) unread: Arc<Mutex<UnreadTimes>>,
}

impl Scraper {
    /// Every metric. May wait for the file system and for a coordinator: not for an async worker.
    pub(crate) fn collect(&self) -> Vec<Family> {
        let mut families = self.serving();
        families.extend(self.storage());
        families.extend(self.topics_and_groups());
        families.extend(self.pipelines());
        let left_out: Vec<(&'static str, usize)> =
            families.iter().filter(|f| f.left_out > 0).map(|f| (f.name, f.left_out)).collect();
        let mut incomplete = Family::gauge(
            "logmill_metrics_left_out",
            "Values that a metric has beyond those it may show (1000).",
        );
        for (metric, count) in left_out {
            incomplete.push(label("metric", metric), number(count as u64));
        }
        families.push(incomplete);
        families
    }

    /// The same as Prometheus' text.
    pub(crate) async fn text(self) -> String {
        to_text(&self.scrape().await)
    }

    /// The same, beside the async workers.
    pub(crate) async fn scrape(&self) -> Vec<Family> {
        let scraper = self.clone();
        match tokio::task::spawn_blocking(move || scraper.collect()).await {
            Ok(families) => families,
            Err(ended) => std::panic::resume_unwind(ended.into_panic()),
        }
    }
}

fn label(name: &'static str, value: impl Into<String>) -> Labels {
    vec![(name, value.into())]
}

fn number(value: u64) -> Value {
    Value::Number(value as f64)
}
