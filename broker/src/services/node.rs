//! The node's status.

use std::path::PathBuf;
use std::sync::Arc;

use logmill_rpc::v1::{NodeStatusRequest, NodeStatusResponse, node_server};
use logmill_storage::Store;
use tonic::{Request, Response, Status};

use super::admit;
use crate::clock::Clock;
use crate::context::NodeInfo;
use crate::security::{Access, Call};
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
}
