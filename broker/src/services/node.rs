//! The node's status.

use std::path::PathBuf;
use std::sync::Arc;

use logmill_rpc::v1::sample::Value as SampleValue;
use logmill_rpc::v1::{
    Bucket, Distribution, Label, Metric, NodeMetricsRequest, NodeMetricsResponse, NodeStatusRequest,
    NodeStatusResponse, Sample, node_server,
};
use logmill_storage::Store;
use tonic::{Request, Response, Status};

use super::admit;
use crate::clock::Clock;
use crate::context::NodeInfo;
use crate::security::{Access, Call};
use crate::telemetry::{Family, Scraper, Value};
use crate::topics::Topics;

/// Answers who the node is and how it is.
pub(crate) struct NodeService {
    pub(crate) node: Arc<NodeInfo>,
    pub(crate) topics: Topics,
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Clock,
    pub(crate) started_ms: i64,
    pub(crate) data_dir: PathBuf,
    pub(crate) connections: crate::net::OpenConnections,
    pub(crate) scraper: Scraper,
    pub(crate) access: Access,
}

#[tonic::async_trait]
impl node_server::Node for NodeService {
    async fn status(
        &self,
        _request: Request<NodeStatusRequest>,
    ) -> Result<Response<NodeStatusResponse>, Status> {
        admit(&self.access, Call::NodeStatus)?;
        let image = self.topics.image();
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let stats = self.store.stats();
        Ok(Response::new(NodeStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_id: self.node.cluster_id.clone(),
            node_id: self.node.node_id,
            advertised: format!("{}:{}", self.node.advertised.0, self.node.advertised.1),
            data_dir: self.data_dir.display().to_string(),
            uptime_ms: self.clock.now_ms() - self.started_ms,
            topics: count(image.iter().filter(|topic| !topic.internal).count()),
            partitions: count(image.iter().map(|topic| topic.partitions.len()).sum()),
            connections: count(self.connections.count()),
            durable_sequence: i64::try_from(stats.durable_sequence).unwrap_or(i64::MAX),
            journal_bytes: i64::try_from(stats.journal_file_bytes).unwrap_or(i64::MAX),
        }))
    }

    async fn metrics(
        &self,
        request: Request<NodeMetricsRequest>,
    ) -> Result<Response<NodeMetricsResponse>, Status> {
        admit(&self.access, Call::NodeMetrics)?;
        let prefix = request.into_inner().prefix;
        let families = self.scraper.scrape().await;
        let asked = families.into_iter().filter(|family| family.name.starts_with(&prefix));
        Ok(Response::new(NodeMetricsResponse { metrics: asked.map(metric).collect() }))
    }
}

fn metric(family: Family) -> Metric {
    let label = |(name, value): (&'static str, String)| Label { name: name.to_owned(), value };
    let value = |value: Value| match value {
        Value::Number(number) => SampleValue::Number(number),
        Value::Distribution(held) => SampleValue::Distribution(Distribution {
            count: held.count,
            sum: held.sum,
            buckets: held.up_to.into_iter().map(|(up_to, count)| Bucket { up_to, count }).collect(),
        }),
    };
    let samples = family.samples.into_iter().map(|(labels, held)| Sample {
        labels: labels.into_iter().map(label).collect(),
        value: Some(value(held)),
    });
    Metric {
        name: family.name.to_owned(),
        help: family.help.to_owned(),
        kind: family.kind.name().to_owned(),
        samples: samples.collect(),
    }
}
