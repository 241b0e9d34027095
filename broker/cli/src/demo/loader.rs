//! Loads flights exactly once, however often the process dies.
//!
//! Each chunk of the file and the position behind it are one transaction. The next loader reads the position after
//! it has fenced this one: either both are there or neither.

use anyhow::Context as _;
use logmill_client::{Client, Codec, NewTopic, ProducerRecord, StartAt, TransactionalProducer};
use serde::{Deserialize, Serialize};

use super::input::{self, Source};

/// The flights.
pub(crate) const FLIGHTS: &str = "flights";
/// How far each input is loaded: key the input, value a [`Position`]. Compacted.
const POSITIONS: &str = "flights-loader";
const TRANSACTIONAL_ID: &str = "flights-loader";

const PARTITIONS: u32 = 4;
/// Rows of one transaction.
const CHUNK_ROWS: usize = 2_000;

/// How far an input is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Rows that are in the topic.
    pub(crate) rows: u64,
    /// There are no more.
    pub(crate) done: bool,
}

pub(crate) struct Loader {
    producer: TransactionalProducer,
    source: Source,
    identity: String,
    pub(crate) position: Position,
}

impl Loader {
    /// Creates the topics if need be, takes over from an older loader, and finds out how far that one came.
    pub(crate) async fn start(client: &Client, source: Source) -> anyhow::Result<Self> {
        let identity = source.identity()?;
        create(client, NewTopic::new(FLIGHTS).partitions(PARTITIONS)).await?;
        create(client, NewTopic::new(POSITIONS).partitions(1).config("cleanup.policy", "compact")).await?;
        let producer = client.transactional(TRANSACTIONAL_ID).compression(Codec::Lz4).build().await?;
        let position = position(client, &identity).await.context("reading how far the flights are loaded")?;
        Ok(Self { producer, source, identity, position })
    }

    /// Loads what is missing. `progress` gets the position and the share of the file read after each commit.
    pub(crate) async fn load(&mut self, mut progress: impl FnMut(Position, f64)) -> anyhow::Result<()> {
        if self.position.done {
            return Ok(());
        }
        let mut chunks = input::read(self.source.clone(), self.position.rows, CHUNK_ROWS);
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk?;
            let position = Position { rows: chunk.rows, done: chunk.last };
            let mut transaction = self.producer.begin().await?;
            for flight in chunk.flights {
                let record = ProducerRecord::to(FLIGHTS).key(flight.key).value(flight.value);
                // The commit waits for every record.
                drop(transaction.enqueue(record).await?);
            }
            let record = ProducerRecord::to(POSITIONS)
                .partition(0)
                .key(self.identity.clone())
                .value(serde_json::to_vec(&position)?);
            drop(transaction.enqueue(record).await?);
            transaction.commit().await?;
            self.position = position;
            progress(position, chunk.share);
        }
        anyhow::ensure!(self.position.done, "the reader of {} ended before the file", self.source);
        Ok(())
    }

    pub(crate) async fn close(self) {
        self.producer.close().await;
    }
}

/// Creates a topic unless it exists.
async fn create(client: &Client, topic: NewTopic) -> anyhow::Result<()> {
    match client.admin().create_topic(&topic).await {
        Err(error) if error.code() == Some(logmill_client::ErrorCode::TOPIC_ALREADY_EXISTS) => Ok(()),
        created => Ok(created.map(|_| ())?),
    }
}

/// The last committed position of an input.
async fn position(client: &Client, identity: &str) -> anyhow::Result<Position> {
    let mut position = Position::default();
    super::read_to_end(client, POSITIONS, StartAt::Earliest, |record| {
        if record.key.as_deref() == Some(identity.as_bytes()) {
            position = serde_json::from_slice(record.value.as_deref().unwrap_or_default())
                .context("a record of flights-loader is not a position")?;
        }
        Ok(())
    })
    .await?;
    Ok(position)
}
