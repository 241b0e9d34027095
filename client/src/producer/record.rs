//! What is sent, and where it went.

use bytes::Bytes;

/// A record to be sent.
///
/// ```
/// use logmill_client::ProducerRecord;
///
/// let record = ProducerRecord::to("orders").key("customer-7").value(r#"{"total": 12}"#).header("source", "shop");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProducerRecord {
    pub(crate) topic: String,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Option<Bytes>)>,
}

impl ProducerRecord {
    /// A record for a topic, without key and value.
    pub fn to(topic: impl Into<String>) -> Self {
        Self { topic: topic.into(), ..Self::default() }
    }

    /// Its key. Records of one key go to one partition.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Its value. A record without one is a tombstone in a compacted topic.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The partition, when the key is not to choose it.
    #[must_use]
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Its timestamp in milliseconds since the epoch, when it is not the time of sending.
    #[must_use]
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Adds a header. Keys may repeat.
    #[must_use]
    pub fn header(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((key.into(), Some(value.into())));
        self
    }

    /// An upper bound of its bytes in a batch.
    pub(crate) fn size(&self) -> usize {
        /// Lengths and deltas as varints, at their longest that matters.
        const OVERHEAD: usize = 24;
        let headers: usize = self
            .headers
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len) + 10)
            .sum();
        self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + headers
            + OVERHEAD
    }
}

/// Where a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPlace {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// The record's offset; `None` when the broker did not say (with [`Acks::None`](crate::Acks), or when the
    /// first answer was lost and the broker recognised the second attempt).
    pub offset: Option<i64>,
}
