//! Stream pipelines of a Logmill broker.

use std::time::Duration;

use logmill_rpc::v1;
use logmill_rpc::v1::node_client::NodeClient;
use logmill_rpc::v1::pipelines_client::PipelinesClient;
use logmill_rpc::v1::queries_client::QueriesClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::error::{Error, Result, RpcCode};

/// The longest answer to a query: thousands of rows.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The longest answer about pipelines: one with a script of 2 MiB and its plan, or thousands of positions for each of many.
pub(crate) const MAX_PIPELINES_BYTES: usize = 64 << 20;

/// The longest answer with metrics. Each has at most some thousand values.
const MAX_METRICS_BYTES: usize = 64 << 20;

/// Where the input of a pipeline ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputEnd {
    /// At what is committed in the source partitions when the broker handles the call.
    Now,
    /// At these offsets (topic, partition, first offset not included), one for each source partition.
    Offsets(Vec<(String, i32, i64)>),
}

impl From<InputEnd> for v1::InputEnd {
    fn from(end: InputEnd) -> Self {
        let end =
            match end {
                InputEnd::Now => v1::input_end::End::Now(v1::EndNow {}),
                InputEnd::Offsets(offsets) => {
                    let partitions = offsets
                        .into_iter()
                        .map(|(topic, partition, offset)| v1::PartitionOffset { topic, partition, offset });
                    v1::input_end::End::Offsets(v1::EndOffsets { partitions: partitions.collect() })
                }
            };
        Self { end: Some(end) }
    }
}

/// How a pipeline is to run, where that is said when it is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// Where the input ends, for a run that is bounded from the start.
    pub end: Option<InputEnd>,
    /// Into how many shards its work is split from here on, 1 to 256; what it had, or the broker's default, if not said.
    pub shards: Option<u32>,
    /// It goes on where its logs begin now, if records were deleted before it read them; what it has not read is missing
    /// from what it writes.
    pub accept_gap: bool,
}

/// Starts, watches and stops pipelines. Only Logmill brokers have them.
#[derive(Debug, Clone)]
pub struct Pipelines {
    bootstrap: Vec<String>,
    /// A protection is asked for, which there is none of here.
    wants_security: bool,
}

impl Pipelines {
    pub(crate) fn new(bootstrap: Vec<String>, wants_security: bool) -> Self {
        Self { bootstrap, wants_security }
    }

    async fn channel(&self, operation: &'static str) -> Result<Channel> {
        self.channel_within(operation, Duration::from_secs(60)).await
    }

    /// A channel whose calls may take so long.
    pub(crate) async fn channel_within(
        &self,
        operation: &'static str,
        patience: Duration,
    ) -> Result<Channel> {
        if self.wants_security {
            return Err(Error::InvalidArgument(format!(
                "{operation}: pipelines and queries of a broker have neither TLS nor SASL; ask without, at a port where that is \
                 allowed"
            )));
        }
        let mut last = "no bootstrap address was given".to_owned();
        for address in &self.bootstrap {
            let endpoint = Endpoint::from_shared(format!("http://{address}"))
                .map_err(|error| Error::InvalidArgument(format!("{address} is no address: {error}")))?
                .connect_timeout(Duration::from_secs(10))
                .timeout(patience);
            match endpoint.connect().await {
                Ok(channel) => return Ok(channel),
                Err(error) => last = format!("cannot connect to {address}: {}", innermost(&error)),
            }
        }
        Err(Error::Rpc { operation, code: RpcCode::Unavailable, message: last })
    }

    async fn client(&self, operation: &'static str) -> Result<PipelinesClient<Channel>> {
        let client = PipelinesClient::new(self.channel(operation).await?);
        Ok(client.max_decoding_message_size(MAX_PIPELINES_BYTES))
    }

    /// Creates a pipeline and starts it, or goes on with the one of that name and script. Gives it, and whether it
    /// is new.
    ///
    /// # Errors
    /// [`RpcCode::InvalidArgument`] with line and column for a script that does not plan,
    /// [`RpcCode::AlreadyExists`] when the name runs another script.
    ///
    /// # Cancel safety
    /// The pipeline may run although the future was dropped.
    pub async fn run(&self, name: &str, script: &str, end: Option<InputEnd>) -> Result<(v1::Pipeline, bool)> {
        self.run_with(name, script, RunOptions { end, ..RunOptions::default() }).await
    }

    /// The same with options. They hold from here on, also for a pipeline that exists or runs.
    ///
    /// # Errors
    /// As [`Pipelines::run`], and as [`Pipelines::rescale`] for the shards of one that runs.
    ///
    /// # Cancel safety
    /// The pipeline may run although the future was dropped.
    pub async fn run_with(
        &self,
        name: &str,
        script: &str,
        options: RunOptions,
    ) -> Result<(v1::Pipeline, bool)> {
        const OPERATION: &str = "running a pipeline";
        let request = v1::RunPipelineRequest {
            name: name.to_owned(),
            script: script.to_owned(),
            end: options.end.map(v1::InputEnd::from),
            shards: options.shards,
            accept_gap: options.accept_gap,
        };
        let response = self.client(OPERATION).await?.run(request).await;
        let response = response.map_err(failed(OPERATION))?.into_inner();
        Ok((response.pipeline.unwrap_or_default(), response.created))
    }

    /// Every pipeline, by name, without scripts and plans.
    ///
    /// # Errors
    /// When the broker cannot be reached or is not Logmill.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn list(&self) -> Result<Vec<v1::Pipeline>> {
        const OPERATION: &str = "listing pipelines";
        let response = self.client(OPERATION).await?.list(v1::ListPipelinesRequest {}).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().pipelines)
    }

    /// One pipeline with its plan, positions, counters, the times of its epochs, and what its operators keep.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn describe(&self, name: &str) -> Result<v1::Pipeline> {
        const OPERATION: &str = "describing a pipeline";
        let request = v1::DescribePipelineRequest { name: name.to_owned() };
        let response = self.client(OPERATION).await?.describe(request).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().pipeline.unwrap_or_default())
    }

    /// Stops a pipeline after its running epoch; running the same script under the same name goes on.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`].
    ///
    /// # Cancel safety
    /// The pipeline may stop although the future was dropped.
    pub async fn stop(&self, name: &str) -> Result<v1::Pipeline> {
        const OPERATION: &str = "stopping a pipeline";
        let request = v1::StopPipelineRequest { name: name.to_owned() };
        let response = self.client(OPERATION).await?.stop(request).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().pipeline.unwrap_or_default())
    }

    /// Deletes a pipeline that does not run, with its state. The topics it wrote are free, and keep their records.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`], or [`RpcCode::FailedPrecondition`] when it runs or has savepoints.
    ///
    /// # Cancel safety
    /// The pipeline may be gone although the future was dropped.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.delete_any(name, false).await
    }

    /// Deletes a pipeline that does not run, with its state and its savepoints.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`], or [`RpcCode::FailedPrecondition`] when it runs.
    ///
    /// # Cancel safety
    /// The pipeline may be gone although the future was dropped.
    pub async fn delete_with_savepoints(&self, name: &str) -> Result<()> {
        self.delete_any(name, true).await
    }

    async fn delete_any(&self, name: &str, with_savepoints: bool) -> Result<()> {
        const OPERATION: &str = "deleting a pipeline";
        let request = v1::DeletePipelineRequest { name: name.to_owned(), with_savepoints };
        let response = self.client(OPERATION).await?.delete(request).await;
        response.map_err(failed(OPERATION))?;
        Ok(())
    }

    /// Says how many bytes the state of a pipeline may have, at least 1. One that waits for more goes on.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`].
    ///
    /// # Cancel safety
    /// The budget may be another one although the future was dropped.
    pub async fn set_memory(&self, name: &str, bytes: u64) -> Result<v1::Pipeline> {
        const OPERATION: &str = "setting the memory of a pipeline";
        let request = v1::SetPipelineMemoryRequest { name: name.to_owned(), bytes };
        let response = self.client(OPERATION).await?.set_memory(request).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().pipeline.unwrap_or_default())
    }

    /// Splits the work of a pipeline that runs into another number of shards, 1 to 256, from its next epoch on: then its
    /// `running_shards` are its `shards`. Nothing is lost or doubled.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`], [`RpcCode::InvalidArgument`] for another number, [`RpcCode::FailedPrecondition`] when it does
    /// not run or cannot go on now.
    ///
    /// # Cancel safety
    /// It may be rescaled although the future was dropped.
    pub async fn rescale(&self, name: &str, shards: u32) -> Result<v1::Pipeline> {
        const OPERATION: &str = "rescaling a pipeline";
        let request = v1::RescalePipelineRequest { name: name.to_owned(), shards };
        let response = self.client(OPERATION).await?.rescale(request).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().pipeline.unwrap_or_default())
    }

    /// What happened to a pipeline behind the event of a number, oldest first: with 0 all that is kept, which are the newest
    /// 500.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn events(&self, name: &str, after: u64) -> Result<Vec<v1::PipelineEvent>> {
        const OPERATION: &str = "reading the events of a pipeline";
        let request = v1::PipelineEventsRequest { name: name.to_owned(), after };
        let response = self.client(OPERATION).await?.events(request).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().events)
    }

    /// Declares the input finished: the pipeline reads up to the end, closes every window and is finished. Gives
    /// the end that holds, which is an earlier one if it was declared before.
    ///
    /// # Errors
    /// [`RpcCode::NotFound`], or [`RpcCode::InvalidArgument`] when the end does not fit the sources.
    ///
    /// # Cancel safety
    /// The end may be declared although the future was dropped; declaring it again changes nothing.
    pub async fn finish_input(&self, name: &str, end: InputEnd) -> Result<Vec<(String, i32, i64)>> {
        const OPERATION: &str = "finishing the input of a pipeline";
        let request = v1::FinishInputRequest { name: name.to_owned(), end: Some(end.into()) };
        let response = self.client(OPERATION).await?.finish_input(request).await;
        let end = response.map_err(failed(OPERATION))?.into_inner().end.unwrap_or_default();
        Ok(end.partitions.into_iter().map(|p| (p.topic, p.partition, p.offset)).collect())
    }

    /// The rows of a `SELECT` over one table that a pipeline writes with `'output' = 'upsert'` or `'append'`, as it was
    /// after a committed epoch. `pipeline` says whose table, where several write one of that name.
    ///
    /// # Errors
    /// [`RpcCode::InvalidArgument`] with line and column for a query that does not plan,
    /// [`RpcCode::ResourceExhausted`] when it looks at too much, answers with too much or takes too long.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn query(&self, sql: &str, pipeline: Option<&str>) -> Result<v1::QueryResponse> {
        const OPERATION: &str = "asking for rows";
        let mut client =
            QueriesClient::new(self.channel(OPERATION).await?).max_decoding_message_size(MAX_ANSWER_BYTES);
        let pipeline = pipeline.unwrap_or_default().to_owned();
        let response = client.query(v1::QueryRequest { sql: sql.to_owned(), pipeline }).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner())
    }

    /// How the broker is.
    ///
    /// # Errors
    /// When the broker cannot be reached or is not Logmill.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn node_status(&self) -> Result<v1::NodeStatusResponse> {
        const OPERATION: &str = "asking for the status of the node";
        let mut client = NodeClient::new(self.channel(OPERATION).await?);
        let response = client.status(v1::NodeStatusRequest {}).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner())
    }

    /// The broker's metrics whose names begin with `prefix`, as they are now.
    ///
    /// # Errors
    /// When the broker cannot be reached or is not Logmill.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn node_metrics(&self, prefix: &str) -> Result<Vec<v1::Metric>> {
        const OPERATION: &str = "asking for the metrics of the node";
        let mut client =
            NodeClient::new(self.channel(OPERATION).await?).max_decoding_message_size(MAX_METRICS_BYTES);
        let response = client.metrics(v1::NodeMetricsRequest { prefix: prefix.to_owned() }).await;
        Ok(response.map_err(failed(OPERATION))?.into_inner().metrics)
    }
}

pub(crate) fn failed(operation: &'static str) -> impl Fn(Status) -> Error {
    move |status| {
        let code = match status.code() {
            Code::InvalidArgument => RpcCode::InvalidArgument,
            Code::NotFound => RpcCode::NotFound,
            Code::AlreadyExists => RpcCode::AlreadyExists,
            Code::FailedPrecondition => RpcCode::FailedPrecondition,
            Code::Unavailable | Code::DeadlineExceeded => RpcCode::Unavailable,
            Code::ResourceExhausted => RpcCode::ResourceExhausted,
            Code::Unimplemented => RpcCode::Unimplemented,
            _ => RpcCode::Other,
        };
        let message = match status.message() {
            "" => status.code().description().to_owned(),
            message => message.to_owned(),
        };
        Error::Rpc { operation, code, message }
    }
}

/// tonic says "transport error"; what lies below says which.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
