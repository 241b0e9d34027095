//! A connection to a server that speaks Kafka's protocol: blocking, and as thin as it can be.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context as _, bail, ensure};
use bytes::{Bytes, BytesMut};
use logmill_wire::frame::{decode_response, encode_request};
use logmill_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use logmill_wire::messages::fetch::{FetchPartition, FetchTopic};
use logmill_wire::messages::produce::{PartitionProduceData, TopicProduceData};
use logmill_wire::messages::{
    ApiVersionsRequest, CreateTopicsRequest, FetchRequest, ProduceRequest, ProduceResponse,
};
use logmill_wire::{Chunks, ErrorCode, Request};

/// The topic of every workload.
pub(crate) const TOPIC: &str = "bench";
const CLIENT: &str = "logmill-benches";
/// The last version that names topics: no look-up is needed before the first request.
pub(crate) const PRODUCE_VERSION: i16 = 11;
pub(crate) const FETCH_VERSION: i16 = 12;
const CREATE_TOPICS_VERSION: i16 = 7;
const API_VERSIONS_VERSION: i16 = 3;
/// Where the correlation id stands in a request, behind length, key and version.
const CORRELATION_AT: usize = 8;
/// A response is not larger.
const MAX_RESPONSE: usize = 64 << 20;

/// What to fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchPlan {
    pub(crate) offset: i64,
    pub(crate) max_bytes: i32,
    pub(crate) min_bytes: i32,
    pub(crate) wait_ms: i32,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    next: i32,
    /// The memory of the last response, for the next one.
    spare: BytesMut,
}

/// A request that is sent often: only its number changes.
#[derive(Clone, Debug)]
pub(crate) struct Prepared(Vec<u8>);

impl Prepared {
    /// A produce of one batch with `acks=all`.
    pub(crate) fn produce(batch: &Bytes) -> anyhow::Result<Self> {
        Self::produce_to(batch, 0)
    }

    /// The same to a partition of that number.
    pub(crate) fn produce_to(batch: &Bytes, partition: i32) -> anyhow::Result<Self> {
        Self::produce_into(TOPIC, batch, partition)
    }

    /// The same to another topic.
    pub(crate) fn produce_into(topic: &str, batch: &Bytes, partition: i32) -> anyhow::Result<Self> {
        let partition_data = vec![PartitionProduceData { index: partition, records: Some(batch.clone()) }];
        let topic = TopicProduceData { name: topic.into(), partition_data, ..TopicProduceData::default() };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        let segments = encode_request(0, Some(CLIENT), &request, PRODUCE_VERSION)?;
        Ok(Self(segments.into_bytes().to_vec()))
    }
}

impl Link {
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, next: 0, spare: BytesMut::new() })
    }

    /// Sends without waiting; responses come in the order of the requests.
    pub(crate) fn send(&mut self, request: &mut Prepared) -> anyhow::Result<()> {
        request.0[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        self.stream.write_all(&request.0).context("the server took no request")
    }

    /// The next response's frame.
    fn receive(&mut self) -> anyhow::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("the server sent no response")?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        ensure!(length <= MAX_RESPONSE, "a response of {length} bytes");
        let mut frame = std::mem::take(&mut self.spare);
        frame.resize(length, 0);
        self.stream.read_exact(&mut frame).context("the server sent half a response")?;
        Ok(frame.freeze())
    }

    /// The answer to a produce: the batch's first offset.
    pub(crate) fn receive_produced(&mut self) -> anyhow::Result<i64> {
        self.receive_answer()?.map_err(|refused| anyhow::anyhow!("produce: {refused:?}"))
    }

    /// The same, or what it was refused with.
    pub(crate) fn receive_answer(&mut self) -> anyhow::Result<Result<i64, ErrorCode>> {
        let frame = self.receive()?;
        let (_, response): (_, ProduceResponse) = decode_response(frame, PRODUCE_VERSION)?;
        let partition = response
            .responses
            .first()
            .and_then(|topic| topic.partition_responses.first())
            .context("a produce response without its partition")?;
        Ok(match partition.error_code {
            ErrorCode::NONE => Ok(partition.base_offset),
            refused => Err(refused),
        })
    }

    /// Fetches, and gives the batches to `look`, whose memory is used again afterwards.
    pub(crate) fn fetch<T>(
        &mut self,
        plan: FetchPlan,
        look: impl FnOnce(Bytes) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let partition = FetchPartition {
            fetch_offset: plan.offset,
            partition_max_bytes: plan.max_bytes,
            ..FetchPartition::default()
        };
        let topic = FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..FetchTopic::default() };
        let request = FetchRequest {
            max_wait_ms: plan.wait_ms,
            min_bytes: plan.min_bytes,
            max_bytes: plan.max_bytes,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        self.post(&request, FETCH_VERSION)?;
        let frame = self.receive()?;
        let memory = frame.clone();
        let (_, response): (_, logmill_wire::messages::FetchResponse) =
            decode_response(frame, FETCH_VERSION)?;
        let partition = response
            .responses
            .into_iter()
            .next()
            .and_then(|topic| topic.partitions.into_iter().next())
            .context("a fetch response without its partition")?;
        ensure!(partition.error_code == ErrorCode::NONE, "fetch: {:?}", partition.error_code);
        let looked = look(partition.records.map_or_else(Bytes::new, Chunks::into_bytes))?;
        if let Ok(memory) = memory.try_into_mut() {
            self.spare = memory;
        }
        Ok(looked)
    }

    /// Makes the topic; what is there already is an error.
    pub(crate) fn create_topic(&mut self, partitions: i32, configs: &[(&str, &str)]) -> anyhow::Result<()> {
        let configs = configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) })
            .collect();
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs,
            ..CreatableTopic::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
        let response = self.ask(&request, CREATE_TOPICS_VERSION)?;
        match response.topics.first() {
            Some(topic) if topic.error_code == ErrorCode::NONE => Ok(()),
            Some(topic) => bail!("the topic is refused: {:?} {:?}", topic.error_code, topic.error_message),
            None => bail!("a create-topics response without its topic"),
        }
    }

    /// The first request of every Kafka client.
    pub(crate) fn introduce(&mut self) -> anyhow::Result<()> {
        let response = self.ask(
            &ApiVersionsRequest {
                client_software_name: CLIENT.into(),
                client_software_version: "1".into(),
                ..ApiVersionsRequest::default()
            },
            API_VERSIONS_VERSION,
        )?;
        ensure!(response.error_code == ErrorCode::NONE, "ApiVersions: {:?}", response.error_code);
        Ok(())
    }

    pub(crate) fn ask<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<R::Response> {
        self.post(request, version)?;
        self.answer::<R>(version)
    }

    /// The answer to the oldest request that has none.
    pub(crate) fn answer<R: Request>(&mut self, version: i16) -> anyhow::Result<R::Response> {
        let frame = self.receive()?;
        Ok(decode_response::<R::Response>(frame, version)?.1)
    }

    /// Sends a request without waiting for its answer.
    pub(crate) fn post<R: Request>(&mut self, request: &R, version: i16) -> anyhow::Result<()> {
        let frame = encode_request(self.next, Some(CLIENT), request, version)?.into_bytes();
        self.next += 1;
        self.stream.write_all(&frame).context("the server took no request")
    }
}
