//! Loads flights exactly once: each chunk and the position behind it in the file are one transaction.

use anyhow::Context as _;
use logmill_client::{Client, ProducerRecord, TransactionalProducer};
use serde::{Deserialize, Serialize};

use super::flights::Input;

/// The compacted topic that holds how far each input is loaded.
pub(crate) const POSITIONS: &str = "flights-loader";
/// Flights in one transaction.
const CHUNK: usize = 2_000;
const TRANSACTIONAL_ID: &str = "flights-loader";

/// How far an input is loaded: the value of a record in [`POSITIONS`], whose key is the input's identity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Rows that are committed.
    rows: u64,
    /// All of them are.
    done: bool,
}

/// Loads one input.
pub(crate) struct Loader {
    producer: TransactionalProducer,
    input: Input,
    topic: &'static str,
    position: Position,
}

impl Loader {
    /// Takes over from whatever loader came before, which can commit nothing from here on, and finds out how far it
    /// came.
    ///
    /// # Errors
    /// When the broker cannot be reached, or the file is shorter than what was loaded from it.
    pub(crate) async fn start(
        client: &Client,
        mut input: Input,
        topic: &'static str,
    ) -> anyhow::Result<Self> {
        // Fences and aborts first: what is read next cannot change any more.
        let producer = client.transactional(TRANSACTIONAL_ID).build().await?;
        let position = last_position(client, input.identity()).await?;
        if !position.done {
            tokio::task::block_in_place(|| input.skip_rows(position.rows))?;
        }
        Ok(Self { producer, input, topic, position })
    }

    /// Rows that are committed.
    pub(crate) fn rows(&self) -> u64 {
        self.position.rows
    }

    /// Whether everything is loaded.
    pub(crate) fn is_done(&self) -> bool {
        self.position.done
    }

    /// The name of the input.
    pub(crate) fn input_name(&self) -> &str {
        self.input.name()
    }

    /// Loads the next chunk; `false` when everything is loaded.
    ///
    /// # Errors
    /// When a row cannot be read, or the transaction fails. Nothing of the chunk is visible then.
    pub(crate) async fn load_chunk(&mut self) -> anyhow::Result<bool> {
        if self.position.done {
            return Ok(false);
        }
        // Unpacking and parsing is work for a processor; the broker's own tasks go on beside it.
        let flights = tokio::task::block_in_place(|| self.input.next_flights(CHUNK))?;
        let next = Position { rows: self.position.rows + flights.len() as u64, done: flights.len() < CHUNK };
        let mut transaction = self.producer.begin().await?;
        for flight in flights {
            let record = ProducerRecord::to(self.topic).key(flight.key).value(flight.value);
            // The commit waits for every acknowledgement.
            drop(transaction.enqueue(record).await?);
        }
        let position = serde_json::to_vec(&next)?;
        let record = ProducerRecord::to(POSITIONS).key(self.input.identity().to_owned()).value(position);
        drop(transaction.enqueue(record).await?);
        transaction.commit().await?;
        self.position = next;
        Ok(true)
    }

    /// Ends the producer.
    pub(crate) async fn close(self) {
        self.producer.close().await;
    }
}

/// The newest committed position of an input.
async fn last_position(client: &Client, identity: &str) -> anyhow::Result<Position> {
    let mut last = Position::default();
    super::read_committed(client, POSITIONS, |record| {
        if record.key.as_deref() == Some(identity.as_bytes()) {
            let value = record.value.as_deref().unwrap_or(b"{}");
            last = serde_json::from_slice(value).with_context(|| {
                format!("{POSITIONS}: the record at offset {} is no position", record.offset)
            })?;
        }
        Ok(())
    })
    .await?;
    Ok(last)
}
