//! What changes a pipeline over time: savepoints, and other scripts.

use std::time::Duration;

use logmill_rpc::v1;
use logmill_rpc::v1::pipeline_changes_client::PipelineChangesClient;
use tonic::transport::Channel;

use crate::error::Result;
use crate::pipelines::{MAX_PIPELINES_BYTES, Pipelines, failed};

/// Reading the input of a pipeline again, or writing its state, may take long.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

impl Pipelines {
    async fn changes(&self, operation: &'static str) -> Result<PipelineChangesClient<Channel>> {
        let client = PipelineChangesClient::new(self.channel_within(operation, PATIENCE).await?);
        Ok(client.max_decoding_message_size(MAX_PIPELINES_BYTES))
    }

    /// Makes a savepoint of the last durable epoch, called by the epoch if no name is given.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`](crate::RpcCode::NotFound), [`RpcCode::AlreadyExists`](crate::RpcCode::AlreadyExists), or
    /// [`RpcCode::FailedPrecondition`](crate::RpcCode::FailedPrecondition) when nothing is committed yet.
    ///
    /// # Cancel safety
    /// The savepoint may be made although the future was dropped.
    pub async fn make_savepoint(&self, pipeline: &str, name: Option<&str>) -> Result<v1::Savepoint> {
        const OPERATION: &str = "making a savepoint";
        let name = name.unwrap_or_default().to_owned();
        let request = v1::MakeSavepointRequest { pipeline: pipeline.to_owned(), name };
        let response = self.changes(OPERATION).await?.make_savepoint(request).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().savepoint.unwrap_or_default())
    }

    /// The savepoints of a pipeline, by name, without scripts.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`](crate::RpcCode::NotFound).
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn savepoints(&self, pipeline: &str) -> Result<Vec<v1::Savepoint>> {
        const OPERATION: &str = "listing savepoints";
        let request = v1::ListSavepointsRequest { pipeline: pipeline.to_owned() };
        let response = self.changes(OPERATION).await?.list_savepoints(request).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().savepoints)
    }

    /// Deletes a savepoint.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`](crate::RpcCode::NotFound).
    ///
    /// # Cancel safety
    /// The savepoint may be gone although the future was dropped.
    pub async fn delete_savepoint(&self, pipeline: &str, name: &str) -> Result<()> {
        const OPERATION: &str = "deleting a savepoint";
        let request = v1::DeleteSavepointRequest { pipeline: pipeline.to_owned(), name: name.to_owned() };
        let response = self.changes(OPERATION).await?.delete_savepoint(request).await;
        response.map_err(failed(OPERATION))?;
        Ok(())
    }

    /// Takes a pipeline that does not run back to a savepoint, or begins another one there: `to` is its name, `script` its
    /// script if that has other sinks. It does not run yet.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`](crate::RpcCode::NotFound), or
    /// [`RpcCode::FailedPrecondition`](crate::RpcCode::FailedPrecondition): the pipeline runs, the script does not fit, sinks
    /// belong to others, or records behind the savepoint are gone.
    ///
    /// # Cancel safety
    /// It may be done although the future was dropped.
    pub async fn restore_savepoint(
        &self,
        pipeline: &str,
        savepoint: &str,
        to: Option<&str>,
        script: Option<&str>,
    ) -> Result<v1::Pipeline> {
        const OPERATION: &str = "restoring a savepoint";
        let request = v1::RestoreSavepointRequest {
            pipeline: pipeline.to_owned(),
            savepoint: savepoint.to_owned(),
            to: to.unwrap_or_default().to_owned(),
            script: script.unwrap_or_default().to_owned(),
        };
        let response = self.changes(OPERATION).await?.restore_savepoint(request).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().pipeline.unwrap_or_default())
    }

    /// What becomes of the state of a pipeline when a script takes the place of its own.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`](crate::RpcCode::NotFound), or [`RpcCode::InvalidArgument`](crate::RpcCode::InvalidArgument)
    /// with line and column for a script that does not plan.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn explain_upgrade(&self, pipeline: &str, script: &str) -> Result<v1::UpgradePlan> {
        const OPERATION: &str = "explaining an upgrade";
        let request = v1::ExplainUpgradeRequest { pipeline: pipeline.to_owned(), script: script.to_owned() };
        let response = self.changes(OPERATION).await?.explain_upgrade(request).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().plan.unwrap_or_default())
    }

    /// Puts a script in the place of a pipeline's own, and says what was done. With `allow_incomplete`, state may be made of
    /// what is left of an input whose first records are gone.
    ///
    /// # Errors
    /// As [`Pipelines::explain_upgrade`], and [`RpcCode::FailedPrecondition`](crate::RpcCode::FailedPrecondition): the
    /// pipeline is what it was.
    ///
    /// # Cancel safety
    /// It may be done although the future was dropped.
    pub async fn upgrade(
        &self,
        pipeline: &str,
        script: &str,
        allow_incomplete: bool,
    ) -> Result<(v1::Pipeline, v1::UpgradePlan)> {
        const OPERATION: &str = "upgrading a pipeline";
        let request = v1::UpgradePipelineRequest {
            pipeline: pipeline.to_owned(),
            script: script.to_owned(),
            allow_incomplete,
        };
        let response = self.changes(OPERATION).await?.upgrade(request).await;
        let done = response.map_err(failed(OPERATION))?.into_inner();
        Ok((done.pipeline.unwrap_or_default(), done.plan.unwrap_or_default()))
    }
}
