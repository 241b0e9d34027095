//! Handing out producer ids, each once, across restarts.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::topics::{MetadataError, MetadataLog, MetadataRecord, ReservedIds};

/// Ids reserved by one metadata record. A restart loses what is left of the block, never repeats it.
const BLOCK: i64 = 1000;

/// The source of producer ids; cheap to clone.
#[derive(Clone)]
pub struct ProducerIds(Arc<Shared>);

struct Shared {
    reserved: Mutex<Range<i64>>,
    /// Handed out and given back: nobody has had them.
    spare: Mutex<Vec<i64>>,
    metadata: Arc<tokio::sync::Mutex<MetadataLog>>,
    /// As last written.
    written: Mutex<ReservedIds>,
    clock: Clock,
}

impl ProducerIds {
    /// Goes on after the ids the metadata says were reserved.
    #[must_use]
    pub fn load(
        metadata: Arc<tokio::sync::Mutex<MetadataLog>>,
        records: &[MetadataRecord],
        clock: Clock,
    ) -> Self {
        let written = ReservedIds::of(records);
        Self(Arc::new(Shared {
            reserved: Mutex::new(written.next..written.next),
            spare: Mutex::default(),
            metadata,
            written: Mutex::new(written),
            clock,
        }))
    }

    /// An id that nobody ever had.
    ///
    /// # Errors
    /// When a new block cannot be reserved.
    pub async fn next(&self) -> Result<i64, MetadataError> {
        if let Some(id) = self.0.spare.lock().pop() {
            return Ok(id);
        }
        loop {
            if let Some(id) = self.0.reserved.lock().next() {
                return Ok(id);
            }
            let mut metadata = self.0.metadata.lock().await;
            if !self.0.reserved.lock().is_empty() {
                continue;
            }
            let mut ids = self.0.written.lock().clone();
            let start = ids.next;
            ids.next += BLOCK;
            metadata.append(self.0.clock.now_ms(), &[MetadataRecord::ProducerIds(ids.clone())]).await?;
            *self.0.reserved.lock() = start..ids.next;
            *self.0.written.lock() = ids;
        }
    }

    /// Takes back an id that was certainly not used. Most ends of transactions are offered one and need none: without
    /// this every thousand of them would reserve another block.
    pub fn give_back(&self, id: i64) {
        self.0.spare.lock().push(id);
    }
}
