//! The gRPC services: what Kafka's protocol has no words for.
//!
//! Thin translations between `logmill-rpc` and the broker's own words; the status code of every error is
//! chosen here and nowhere else.

mod changes;
mod node;
mod pipelines;
mod queries;

use std::time::Duration;

use logmill_rpc::v1::node_server::NodeServer;
use logmill_rpc::v1::pipeline_changes_server::PipelineChangesServer;
use logmill_rpc::v1::pipelines_server::PipelinesServer;
use logmill_rpc::v1::queries_server::QueriesServer;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub(crate) use node::NodeService;
pub(crate) use pipelines::PipelineService;
pub(crate) use queries::QueryService;

use crate::net::HandedOver;
use crate::security::{Access, Call, Principal};

/// Calls that one connection may have under way together.
const MAX_CALLS: u32 = 64;

/// A connection that is silent for so long is asked whether its peer is still there, and closed when no answer comes.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Lets a call in, or tells its caller that it is not allowed. Nobody says who they are yet, as with Kafka's protocol.
fn admit(access: &Access, call: Call) -> Result<(), Status> {
    let principal = Principal::anonymous();
    if access.admits_call(&principal, call) {
        return Ok(());
    }
    Err(Status::permission_denied(format!("{principal} may not do this")))
}

/// Serves the connections that the listener hands over, until `stop`; then finishes what was begun, within `drain`.
pub(crate) async fn serve(
    connections: mpsc::Receiver<HandedOver>,
    node: NodeService,
    pipelines: PipelineService,
    queries: QueryService,
    stop: CancellationToken,
    drain: Duration,
) {
    let connections = ReceiverStream::new(connections).map(Ok::<_, std::convert::Infallible>);
    let serving = tonic::transport::Server::builder()
        .max_concurrent_streams(MAX_CALLS)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(NodeServer::new(node))
        .add_service(PipelineChangesServer::new(pipelines.clone()))
        .add_service(PipelinesServer::new(pipelines))
        .add_service(QueriesServer::new(queries))
        .serve_with_incoming_shutdown(connections, stop.clone().cancelled_owned());
    let out_of_time = async {
        stop.cancelled().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "gRPC is no longer served");
            }
        }
        () = out_of_time => tracing::info!("gRPC connections abandoned: they outlasted the drain time"),
    }
}
