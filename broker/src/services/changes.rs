//! What changes pipelines over time, over gRPC.

use logmill_rpc::v1::{
    DeleteSavepointRequest, DeleteSavepointResponse, ExplainUpgradeRequest, ExplainUpgradeResponse,
    ListSavepointsRequest, ListSavepointsResponse, MakeSavepointRequest, MakeSavepointResponse,
    OperatorChange, PartitionOffset, RestoreSavepointRequest, RestoreSavepointResponse, Savepoint,
    UpgradePipelineRequest, UpgradePipelineResponse, UpgradePlan, pipeline_changes_server,
};
use tonic::{Request, Response, Status};

use super::admit;
use super::pipelines::{PipelineService, shown, status, to_the_end};
use crate::pipelines::{SavepointView, UpgradeView};
use crate::security::Call;

fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[tonic::async_trait]
impl pipeline_changes_server::PipelineChanges for PipelineService {
    async fn make_savepoint(
        &self,
        request: Request<MakeSavepointRequest>,
    ) -> Result<Response<MakeSavepointResponse>, Status> {
        admit(&self.access, Call::SavepointMake)?;
        let (pipelines, request) = (self.pipelines.clone(), request.into_inner());
        let make = async move { pipelines.make_savepoint(&request.pipeline, given(&request.name)).await };
        let savepoint = to_the_end(make).await?;
        Ok(Response::new(MakeSavepointResponse { savepoint: Some(savepoint_of(savepoint)) }))
    }

    async fn list_savepoints(
        &self,
        request: Request<ListSavepointsRequest>,
    ) -> Result<Response<ListSavepointsResponse>, Status> {
        admit(&self.access, Call::SavepointList)?;
        let found = self.pipelines.savepoints(&request.into_inner().pipeline).await.map_err(status)?;
        let brief = |view| Savepoint { script: String::new(), ..savepoint_of(view) };
        let savepoints = found.into_iter().map(brief).collect();
        Ok(Response::new(ListSavepointsResponse { savepoints }))
    }

    async fn delete_savepoint(
        &self,
        request: Request<DeleteSavepointRequest>,
    ) -> Result<Response<DeleteSavepointResponse>, Status> {
        admit(&self.access, Call::SavepointDelete)?;
        let (pipelines, request) = (self.pipelines.clone(), request.into_inner());
        to_the_end(async move { pipelines.delete_savepoint(&request.pipeline, &request.name).await }).await?;
        Ok(Response::new(DeleteSavepointResponse {}))
    }

    async fn restore_savepoint(
        &self,
        request: Request<RestoreSavepointRequest>,
    ) -> Result<Response<RestoreSavepointResponse>, Status> {
        admit(&self.access, Call::SavepointRestore)?;
        let (pipelines, request) = (self.pipelines.clone(), request.into_inner());
        let restore = async move {
            let (to, script) = (given(&request.to), given(&request.script));
            pipelines.restore_savepoint(&request.pipeline, &request.savepoint, to, script).await
        };
        let view = to_the_end(restore).await?;
        Ok(Response::new(RestoreSavepointResponse { pipeline: Some(shown(view)) }))
    }

    async fn explain_upgrade(
        &self,
        request: Request<ExplainUpgradeRequest>,
    ) -> Result<Response<ExplainUpgradeResponse>, Status> {
        admit(&self.access, Call::PipelineExplainUpgrade)?;
        let request = request.into_inner();
        let view =
            self.pipelines.explain_upgrade(&request.pipeline, &request.script).await.map_err(status)?;
        Ok(Response::new(ExplainUpgradeResponse { plan: Some(plan_of(view)) }))
    }

    async fn upgrade(
        &self,
        request: Request<UpgradePipelineRequest>,
    ) -> Result<Response<UpgradePipelineResponse>, Status> {
        admit(&self.access, Call::PipelineUpgrade)?;
        let (pipelines, request) = (self.pipelines.clone(), request.into_inner());
        let upgrade = async move {
            pipelines.upgrade(&request.pipeline, &request.script, request.allow_incomplete).await
        };
        let (view, plan) = to_the_end(upgrade).await?;
        Ok(Response::new(UpgradePipelineResponse { pipeline: Some(shown(view)), plan: Some(plan_of(plan)) }))
    }
}

fn savepoint_of(view: SavepointView) -> Savepoint {
    let progress = view.header.progress;
    let position = |input: logmill_stream::InputProgress| PartitionOffset {
        topic: input.topic,
        partition: input.partition,
        offset: input.to,
    };
    Savepoint {
        name: view.name,
        epoch: i64::try_from(progress.epoch).unwrap_or(i64::MAX),
        created_ms: view.header.created_ms,
        bytes: i64::try_from(view.bytes).unwrap_or(i64::MAX),
        positions: progress.inputs.into_iter().map(position).collect(),
        script: view.header.script,
    }
}

fn plan_of(view: UpgradeView) -> UpgradePlan {
    let upgrade = view.upgrade;
    let change = |change: logmill_stream::OperatorChange| OperatorChange {
        operator: change.operator.to_owned(),
        identity: format!("{:08x}", change.identity),
        keeps: change.keeps,
        fate: change.fate.to_string(),
    };
    let incomplete = view.incomplete.into_iter();
    UpgradePlan {
        operators: upgrade.operators.into_iter().map(change).collect(),
        new_sources: upgrade.new_sources,
        dropped_sources: upgrade.dropped_sources,
        new_sinks: upgrade.new_sinks,
        dropped_sinks: upgrade.dropped_sinks,
        to_read: view.to_read,
        incomplete: incomplete
            .map(|(topic, partition, offset)| PartitionOffset { topic, partition, offset })
            .collect(),
    }
}
