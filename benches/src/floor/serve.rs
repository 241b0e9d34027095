//! The floor's connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use logmill_wire::Response;
use logmill_wire::frame::encode_response;
use logmill_wire::messages::fetch::{FetchableTopicResponse, PartitionData};
use logmill_wire::messages::produce::{PartitionProduceResponse, TopicProduceResponse};
use logmill_wire::messages::{ApiVersionsResponse, FetchResponse, ProduceResponse};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use super::log::{Log, Stored};
use super::requests::{Request, read};
use crate::link::{FETCH_VERSION, PRODUCE_VERSION, TOPIC};

const FIRST_BUFFER: usize = 16 << 10;
const BUFFER: usize = 4 << 20;
/// Acks taken at once.
const ANSWERS: usize = 64;

pub(super) async fn serve(listen: SocketAddr, log: Arc<Log>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (sender, answers) = unbounded_channel();
        let connection = Connection {
            stream,
            log: Arc::clone(&log),
            sender,
            answers,
            out: Vec::new(),
            records: BytesMut::new(),
        };
        tokio::spawn(async move {
            if let Err(error) = connection.run().await {
                let _ = crate::report::say(&format!("floor: {error:#}"));
            }
        });
    }
}

struct Connection {
    stream: TcpStream,
    log: Arc<Log>,
    sender: UnboundedSender<Stored>,
    answers: UnboundedReceiver<Stored>,
    /// Acks on their way out.
    out: Vec<u8>,
    /// Memory of fetch responses.
    records: BytesMut,
}

impl Connection {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut buffer = vec![0; FIRST_BUFFER];
        let mut filled = 0;
        let mut stored = Vec::with_capacity(ANSWERS);
        loop {
            tokio::select! {
                biased;
                _ = self.answers.recv_many(&mut stored, ANSWERS) => {
                    for one in stored.drain(..) {
                        self.acknowledge(one)?;
                    }
                    self.write_out().await?;
                }
                ready = self.stream.readable() => {
                    ready?;
                    match self.stream.try_read(&mut buffer[filled..]) {
                        Ok(0) => return Ok(()),
                        Ok(more) => filled += more,
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                        Err(error) => return Err(error.into()),
                    }
                    let used = self.take(&mut buffer[..filled]).await?;
                    buffer.copy_within(used..filled, 0);
                    filled -= used;
                    if filled == buffer.len() || (used == 0 && buffer.len() < BUFFER) {
                        anyhow::ensure!(filled < BUFFER, "a request above {BUFFER} bytes");
                        buffer.resize(BUFFER, 0);
                    }
                }
            }
        }
    }

    /// Handles the whole requests in front; returns their bytes.
    async fn take(&mut self, bytes: &mut [u8]) -> anyhow::Result<usize> {
        let mut used = 0;
        while let Some(length) = bytes[used..].first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some(frame) = bytes[used + 4..].get_mut(..length) else { break };
            match read(frame).ok_or_else(|| anyhow::anyhow!("a request that the floor does not know"))? {
                Request::Produce { correlation, from, to, records } => {
                    let batch = &mut frame[from..to];
                    if let Some(stored) = self.log.append(batch, records, correlation, &self.sender)? {
                        self.acknowledge(stored)?;
                    }
                }
                Request::Fetch { correlation, offset, max_wait_ms, max_bytes } => {
                    self.write_out().await?;
                    self.fetch(correlation, offset, max_wait_ms, max_bytes).await?;
                }
                Request::ApiVersions { correlation } => {
                    self.push(correlation, &ApiVersionsResponse::default(), 3)?;
                }
            }
            used += 4 + length;
        }
        self.write_out().await?;
        Ok(used)
    }

    fn acknowledge(&mut self, stored: Stored) -> anyhow::Result<()> {
        let partition = PartitionProduceResponse {
            base_offset: stored.base_offset,
            ..PartitionProduceResponse::default()
        };
        let topic = TopicProduceResponse {
            name: TOPIC.into(),
            partition_responses: vec![partition],
            ..TopicProduceResponse::default()
        };
        let response = ProduceResponse { responses: vec![topic], ..ProduceResponse::default() };
        self.push(stored.correlation, &response, PRODUCE_VERSION)
    }

    fn push<R: Response>(&mut self, correlation: i32, response: &R, version: i16) -> anyhow::Result<()> {
        for segment in encode_response(correlation, response, version)?.iter() {
            self.out.extend_from_slice(segment);
        }
        Ok(())
    }

    async fn write_out(&mut self) -> anyhow::Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    async fn fetch(
        &mut self,
        correlation: i32,
        offset: i64,
        wait_ms: i32,
        max_bytes: i32,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
        let max_bytes = usize::try_from(max_bytes).unwrap_or(0);
        let mut memory = std::mem::take(&mut self.records);
        memory.resize(max_bytes.max(2 << 20), 0);
        let (length, end) = loop {
            let log = Arc::clone(&self.log);
            let mut grown = std::pin::pin!(log.grown.notified());
            // Registered first, read after: what comes in between ends the wait at once.
            grown.as_mut().enable();
            let (length, end) = self.log.read(offset, max_bytes, &mut memory)?;
            if length > 0 || timeout_at(deadline, grown).await.is_err() {
                break (length, end);
            }
        };
        let whole = memory.freeze();
        self.write_records(correlation, end, whole.slice(..length)).await?;
        if let Ok(memory) = whole.try_into_mut() {
            self.records = memory;
        }
        Ok(())
    }

    async fn write_records(&mut self, correlation: i32, end: i64, records: Bytes) -> anyhow::Result<()> {
        let partition = PartitionData {
            high_watermark: end,
            last_stable_offset: end,
            records: Some(records.into()),
            ..PartitionData::default()
        };
        let topic = FetchableTopicResponse {
            topic: TOPIC.into(),
            partitions: vec![partition],
            ..FetchableTopicResponse::default()
        };
        let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
        for segment in encode_response(correlation, &response, FETCH_VERSION)?.iter() {
            self.stream.write_all(segment).await?;
        }
        Ok(())
    }
}
