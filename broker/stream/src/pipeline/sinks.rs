//! Records into batches.

use std::collections::BTreeMap;

use logmill_record::{BatchBuilder, BatchOptions, Codec};

use super::output::OutputBatch;
use crate::plan::Compression;

/// A batch is closed when it has grown to this many bytes, uncompressed.
pub(super) const BATCH_BYTES: usize = 512 * 1024;

/// A batch of several records has at most this many bytes, uncompressed. Topics take 1,048,588 (`max.message.bytes`) where nobody
/// has said another number, and rows that fit each would make a batch that does not. What is left is for codecs, which make
/// some bytes more of what cannot be compressed.
pub(super) const MOST_BATCH_BYTES: usize = 1000 * 1024;

pub(super) fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}

/// Collects the records of one topic and makes batches of them.
#[derive(Debug)]
pub(super) struct TopicWriter {
    topic: String,
    codec: Codec,
    open: BTreeMap<i32, BatchBuilder>,
    closed: Vec<OutputBatch>,
}

impl TopicWriter {
    /// The topic it is for.
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn new(topic: &str, codec: Codec) -> Self {
        Self { topic: topic.to_owned(), codec, open: BTreeMap::new(), closed: Vec::new() }
    }

    pub(super) fn push(
        &mut self,
        partition: i32,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) {
        let codec = self.codec;
        let builder = self
            .open
            .entry(partition)
            .or_insert_with(|| BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() }));
        if !builder.is_empty() && builder.size_with(key, value, headers) > MOST_BATCH_BYTES {
            self.closed.push(OutputBatch { topic: self.topic.clone(), partition, batch: builder.build() });
        }
        // Clients refuse times before the epoch; event time there is clamped to it.
        builder.push(timestamp.max(0), key, value, headers);
        if builder.size_estimate() >= BATCH_BYTES {
            self.closed.push(OutputBatch { topic: self.topic.clone(), partition, batch: builder.build() });
        }
    }

    /// The batches: those that filled up in the order they did, then the rest by partition.
    pub(super) fn finish(mut self) -> Vec<OutputBatch> {
        for (partition, mut builder) in self.open {
            if !builder.is_empty() {
                self.closed.push(OutputBatch {
                    topic: self.topic.clone(),
                    partition,
                    batch: builder.build(),
                });
            }
        }
        self.closed
    }
}
