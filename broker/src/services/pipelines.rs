//! Pipelines over gRPC.

use std::time::Duration;

use logmill_rpc::v1::{
    DeletePipelineRequest, DeletePipelineResponse, DescribePipelineRequest, DescribePipelineResponse,
    EndOffsets, EpochTimes, FinishInputRequest, FinishInputResponse, HeldBack, InputEnd as WireEnd, InputGap,
    Limiting, ListPipelinesRequest, ListPipelinesResponse, OperatorState, PartitionOffset, Pipeline,
    PipelineCounters, PipelineEvent, PipelineEventsRequest, PipelineEventsResponse, PipelineFailure,
    PipelineState as WireState, RejectedRecord, RescalePipelineRequest, RescalePipelineResponse,
    RunPipelineRequest, RunPipelineResponse, SetPipelineMemoryRequest, SetPipelineMemoryResponse, ShedTable,
    SourcePosition, StopPipelineRequest, StopPipelineResponse, TimeShares, input_end, pipelines_server,
};
use tonic::{Request, Response, Status};

use super::admit;
use crate::pipelines::{
    InputEnd, InputEnds, Phase, PipelineError, PipelineState, PipelineView, Pipelines, RunOptions,
};
use crate::security::{Access, Call};

/// Answers for all pipelines of the broker.
#[derive(Clone)]
pub(crate) struct PipelineService {
    pub(crate) pipelines: Pipelines,
    pub(crate) access: Access,
}

#[tonic::async_trait]
impl pipelines_server::Pipelines for PipelineService {
    async fn run(
        &self,
        request: Request<RunPipelineRequest>,
    ) -> Result<Response<RunPipelineResponse>, Status> {
        admit(&self.access, Call::PipelineRun)?;
        let request = request.into_inner();
        let end = request.end.map(input_end_of).transpose()?;
        let options = RunOptions { end, shards: request.shards, accept_gap: request.accept_gap };
        let pipelines = self.pipelines.clone();
        let run = async move { pipelines.run_with(&request.name, &request.script, options).await };
        let (pipeline, created) = to_the_end(run).await?;
        Ok(Response::new(RunPipelineResponse { pipeline: Some(shown(pipeline)), created }))
    }

    async fn list(
        &self,
        _request: Request<ListPipelinesRequest>,
    ) -> Result<Response<ListPipelinesResponse>, Status> {
        admit(&self.access, Call::PipelineList)?;
        let brief = |view: PipelineView| Pipeline {
            script: String::new(),
            plan: String::new(),
            operators: Vec::new(),
            ..shown(view)
        };
        Ok(Response::new(ListPipelinesResponse {
            pipelines: self.pipelines.list().into_iter().map(brief).collect(),
        }))
    }

    async fn describe(
        &self,
        request: Request<DescribePipelineRequest>,
    ) -> Result<Response<DescribePipelineResponse>, Status> {
        admit(&self.access, Call::PipelineDescribe)?;
        let view = self.pipelines.view(&request.into_inner().name).map_err(status)?;
        Ok(Response::new(DescribePipelineResponse { pipeline: Some(shown(view)) }))
    }

    async fn stop(
        &self,
        request: Request<StopPipelineRequest>,
    ) -> Result<Response<StopPipelineResponse>, Status> {
        admit(&self.access, Call::PipelineStop)?;
        let (pipelines, name) = (self.pipelines.clone(), request.into_inner().name);
        let view = to_the_end(async move { pipelines.stop(&name).await }).await?;
        Ok(Response::new(StopPipelineResponse { pipeline: Some(shown(view)) }))
    }

    async fn delete(
        &self,
        request: Request<DeletePipelineRequest>,
    ) -> Result<Response<DeletePipelineResponse>, Status> {
        admit(&self.access, Call::PipelineDelete)?;
        let DeletePipelineRequest { name, with_savepoints } = request.into_inner();
        let pipelines = self.pipelines.clone();
        to_the_end(async move { pipelines.delete(&name, with_savepoints).await }).await?;
        Ok(Response::new(DeletePipelineResponse {}))
    }

    async fn set_memory(
        &self,
        request: Request<SetPipelineMemoryRequest>,
    ) -> Result<Response<SetPipelineMemoryResponse>, Status> {
        admit(&self.access, Call::PipelineSetMemory)?;
        let SetPipelineMemoryRequest { name, bytes } = request.into_inner();
        let pipelines = self.pipelines.clone();
        let set = async move {
            pipelines.set_memory(&name, bytes).await?;
            pipelines.view(&name)
        };
        let view = to_the_end(set).await?;
        Ok(Response::new(SetPipelineMemoryResponse { pipeline: Some(shown(view)) }))
    }

    async fn rescale(
        &self,
        request: Request<RescalePipelineRequest>,
    ) -> Result<Response<RescalePipelineResponse>, Status> {
        admit(&self.access, Call::PipelineRescale)?;
        let RescalePipelineRequest { name, shards } = request.into_inner();
        let pipelines = self.pipelines.clone();
        let view = to_the_end(async move { pipelines.rescale(&name, shards).await }).await?;
        Ok(Response::new(RescalePipelineResponse { pipeline: Some(shown(view)) }))
    }

    async fn events(
        &self,
        request: Request<PipelineEventsRequest>,
    ) -> Result<Response<PipelineEventsResponse>, Status> {
        admit(&self.access, Call::PipelineEvents)?;
        let PipelineEventsRequest { name, after } = request.into_inner();
        let events =
            self.pipelines.events(&name, after).map_err(status)?.into_iter().map(|event| PipelineEvent {
                number: event.number,
                at_ms: event.at_ms,
                kind: event.kind.name().to_owned(),
                text: event.text,
            });
        Ok(Response::new(PipelineEventsResponse { events: events.collect() }))
    }

    async fn finish_input(
        &self,
        request: Request<FinishInputRequest>,
    ) -> Result<Response<FinishInputResponse>, Status> {
        admit(&self.access, Call::PipelineFinishInput)?;
        let request = request.into_inner();
        let end = request.end.ok_or_else(|| Status::invalid_argument("say where the input ends"))?;
        let (pipelines, end) = (self.pipelines.clone(), input_end_of(end)?);
        let ends = to_the_end(async move { pipelines.finish_input(&request.name, end).await }).await?;
        Ok(Response::new(FinishInputResponse { end: Some(end_offsets(&ends)) }))
    }
}

/// Does a change of several steps to its end, also when its caller hangs up in the middle, which drops the call's
/// future: half of it (a topic's record without the topic) must not be left.
pub(super) async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, PipelineError>> + Send + 'static,
) -> Result<T, Status> {
    match tokio::spawn(change).await {
        Ok(changed) => changed.map_err(status),
        Err(ended) => {
            tracing::error!(%ended, "a change of a pipeline ended with a panic");
            Err(Status::internal("the broker has a defect: see its log"))
        }
    }
}

/// The gRPC status of every error of a pipeline.
#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
pub(super) fn status(error: PipelineError) -> Status {
    let text = error.to_string();
    match error {
        PipelineError::NoSavepoint { .. } => Status::not_found(text),
        PipelineError::SavepointExists { .. } => Status::already_exists(text),
        PipelineError::Gone { .. }
        | PipelineError::Beyond { .. }
        | PipelineError::OtherSource { .. }
        | PipelineError::HasSavepoints { .. }
        | PipelineError::Upgrade { .. } => Status::failed_precondition(text),
        PipelineError::Files(_) => Status::internal(text),
        PipelineError::Name(_)
        | PipelineError::Script(_)
        | PipelineError::Ends(_)
        | PipelineError::Memory
        | PipelineError::Shards(_) => Status::invalid_argument(text),
        PipelineError::Unknown(_) => Status::not_found(text),
        PipelineError::OtherScript(_) => Status::already_exists(text),
        PipelineError::NoSource(_) | PipelineError::Sink { .. } | PipelineError::State { .. } => {
            Status::failed_precondition(text)
        }
        PipelineError::Stopping
        | PipelineError::Metadata(_)
        | PipelineError::Topic(_)
        | PipelineError::Configs(_)
        | PipelineError::Group(_)
        | PipelineError::Thread(_) => Status::unavailable(text),
    }
}

fn input_end_of(end: WireEnd) -> Result<InputEnd, Status> {
    match end.end {
        Some(input_end::End::Now(_)) => Ok(InputEnd::Now),
        Some(input_end::End::Offsets(offsets)) => {
            let mut ends = InputEnds::new();
            let mut partitions = offsets.partitions;
            partitions.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
            for partition in partitions {
                let of_topic = ends.entry(partition.topic).or_default();
                if i32::try_from(of_topic.len()) != Ok(partition.partition) || partition.offset < 0 {
                    return Err(Status::invalid_argument(
                        "name the end of every partition of the topic once, none of them negative",
                    ));
                }
                of_topic.push(partition.offset);
            }
            Ok(InputEnd::At(ends))
        }
        None => Err(Status::invalid_argument("say where the input ends: now, or at which offsets")),
    }
}

fn end_offsets(ends: &InputEnds) -> EndOffsets {
    let partitions = ends.iter().flat_map(|(topic, ends)| {
        (0..).zip(ends).map(|(partition, offset)| PartitionOffset {
            topic: topic.clone(),
            partition,
            offset: *offset,
        })
    });
    EndOffsets { partitions: partitions.collect() }
}

fn position(topic: String, partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset { topic, partition, offset }
}

pub(super) fn shown(view: PipelineView) -> Pipeline {
    let (state, error) = match &view.state {
        PipelineState::Starting => (WireState::Starting, String::new()),
        PipelineState::Running => (WireState::Running, String::new()),
        PipelineState::Finished => (WireState::Finished, String::new()),
        PipelineState::Stopped => (WireState::Stopped, String::new()),
        PipelineState::Blocked(failure) => (WireState::Blocked, failure.to_string()),
        PipelineState::Failed(failure) => (WireState::Failed, failure.to_string()),
    };
    let totals = view.progress.as_ref().map(|progress| progress.totals).unwrap_or_default();
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let finished = view.progress.as_ref().is_some_and(|progress| progress.finished);
    let limiting = match view.limiting {
        _ if !matches!(view.state, PipelineState::Running) => Limiting::Unspecified,
        Phase::WaitingForInput => Limiting::WaitingForInput,
        Phase::Computing => Limiting::Computing,
        Phase::WaitingForDisk => Limiting::WaitingForDisk,
    };
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let now_ms = view.now_ms;
    Pipeline {
        name: view.name,
        state: state.into(),
        generation: i64::from(view.generation),
        epoch: view.progress.as_ref().map_or(0, |progress| signed(progress.epoch)),
        counters: Some(PipelineCounters {
            records_in: signed(totals.read),
            records_out: signed(totals.written),
            late: signed(totals.late),
            rejected: signed(totals.skipped + totals.dead_lettered),
            open_windows: signed(view.open_windows),
            skipped: signed(totals.skipped),
            dead_lettered: signed(totals.dead_lettered),
            filtered: signed(totals.filtered),
            unwritten: signed(totals.unwritten),
            late_rows: signed(totals.late_rows),
            windows_closed: signed(totals.windows_closed),
            shed: signed(totals.shed),
        }),
        watermark_ms: view.progress.and_then(|progress| progress.watermark).filter(|_| !finished),
        error,
        script: view.script,
        plan: view.plan,
        sources: view
            .sources
            .into_iter()
            .map(|source| SourcePosition {
                lag: source.lag(),
                event_lag_ms: source.event_lag_ms(now_ms),
                topic: source.topic,
                partition: source.partition,
                position: source.position,
                end: source.end,
                finish_at: source.finish_at,
                gap: source.gap.map(|gap| InputGap { from: gap.from, to: gap.to, total: gap.total }),
                watermark_ms: source.watermark.filter(|watermark| *watermark != i64::MAX),
            })
            .collect(),
        held_back: view
            .held_back
            .into_iter()
            .map(|held| HeldBack {
                topic: held.topic,
                partition: held.partition,
                table: held.table,
                why: held.why.name().to_owned(),
                since_ms: held.since_ms,
                watermark_ms: held.watermark,
                hint: held.hint,
            })
            .collect(),
        sinks: view.sinks,
        epochs: Some(EpochTimes {
            count: view.epochs.count,
            last_ms: ms(view.epochs.last),
            p50_ms: ms(view.epochs.p50),
            p99_ms: ms(view.epochs.p99),
        }),
        operators: view
            .operators
            .into_iter()
            .map(|size| OperatorState {
                operator: size.operator.to_owned(),
                identity: size.identity,
                entries: size.entries,
                bytes: size.bytes,
                windows: size.windows,
                memory_bytes: size.memory_bytes,
            })
            .collect(),
        limiting: limiting.into(),
        shares: Some(TimeShares {
            waiting_for_input: view.shares.waiting_for_input,
            computing: view.shares.computing,
            waiting_for_disk: view.shares.waiting_for_disk,
        }),
        memory_bytes: view.memory,
        shedding: view
            .shedding
            .into_iter()
            .map(|shed| ShedTable { table: shed.table, declared: shed.declared, level: shed.level })
            .collect(),
        last_error: view.last_failure.map(|failure| PipelineFailure {
            at_ms: failure.at_ms,
            what: failure.what,
            position: failure.position.map(|(topic, partition, offset)| position(topic, partition, offset)),
            remedy: failure.remedy,
        }),
        last_rejected: view.last_rejected.map(|rejected| RejectedRecord {
            position: Some(position(rejected.topic, rejected.partition, rejected.offset)),
            error: rejected.error,
            dead_letter_topic: rejected.dead_letter.unwrap_or_default(),
        }),
        shards: view.shards,
        running_shards: view.running_shards,
    }
}
