//! The gRPC services: what Kafka's protocol has no words for.
//!
//! Thin translations between `logmill-rpc` and the broker's own words; the status code of every error is
//! chosen here and nowhere else.

mod node;
mod pipelines;

use logmill_rpc::v1::node_server::NodeServer;
use logmill_rpc::v1::pipelines_server::PipelinesServer;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

pub(crate) use node::NodeService;
pub(crate) use pipelines::PipelineService;

use crate::net::HandedOver;

/// Serves the connections that the listener hands over, until `stop`.
pub(crate) async fn serve(
    connections: mpsc::Receiver<HandedOver>,
    node: NodeService,
    pipelines: PipelineService,
    stop: CancellationToken,
) {
    let connections = ReceiverStream::new(connections).map(Ok::<_, std::convert::Infallible>);
    let served = tonic::transport::Server::builder()
        .add_service(NodeServer::new(node))
        .add_service(PipelinesServer::new(pipelines))
        .serve_with_incoming_shutdown(connections, stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "gRPC is no longer served");
    }
}
