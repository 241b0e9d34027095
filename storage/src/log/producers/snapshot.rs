//! The `.snapshot` file: what is known of the producers before an offset, which is the file's name.
//!
//! ```text
//! version i16 = 1 │ crc u32 (CRC-32C of the rest) │ n i32 │ n × 46 bytes:
//!   producerId i64 │ epoch i16 │ lastSequence i32 │ lastOffset i64 │ offsetDelta i32 │ timestamp i64 │
//!   coordinatorEpoch i32 │ currentTxnFirstOffset i64, -1 without
//! ```
//!
//! Kafka's format has room for one batch per producer. The four before it are found again in the log ([`Lookback`]).

use logmill_record::{BatchHeader, NO_PRODUCER_EPOCH, NO_SEQUENCE};

use super::{Producer, Producers, REMEMBERED_BATCHES, Remembered};

const VERSION: i16 = 1;
const HEADER_LEN: usize = 10;
const ENTRY_LEN: usize = 46;
const NO_OFFSET: i64 = -1;

impl Producers {
    /// The bytes of a snapshot.
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + self.by_id.len() * ENTRY_LEN);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(self.by_id.len() as i32).to_be_bytes());
        for (producer_id, producer) in &self.by_id {
            let last = producer.batches().last();
            out.extend_from_slice(&producer_id.to_be_bytes());
            out.extend_from_slice(&producer.epoch.to_be_bytes());
            out.extend_from_slice(&producer.last_sequence().to_be_bytes());
            out.extend_from_slice(&last.map_or(NO_OFFSET, |b| b.last_offset).to_be_bytes());
            let offset_delta = last.map_or(0, |b| (b.last_offset - b.base_offset) as i32);
            out.extend_from_slice(&offset_delta.to_be_bytes());
            out.extend_from_slice(&producer.last_timestamp.to_be_bytes());
            out.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            out.extend_from_slice(&producer.transaction_first_offset.unwrap_or(NO_OFFSET).to_be_bytes());
        }
        let crc = crc_fast::crc32_iscsi(&out[6..]);
        out[2..6].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads a snapshot. The error says what is wrong with it.
    pub fn decode_snapshot(bytes: &[u8]) -> Result<Producers, &'static str> {
        let Some((header, entries)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err("shorter than its header");
        };
        let [v0, v1, c0, c1, c2, c3, n0, n1, n2, n3] = *header;
        if i16::from_be_bytes([v0, v1]) != VERSION {
            return Err("version is not 1");
        }
        if crc_fast::crc32_iscsi(&bytes[6..]) != u32::from_be_bytes([c0, c1, c2, c3]) {
            return Err("checksum does not match");
        }
        let (entries, rest) = entries.as_chunks::<ENTRY_LEN>();
        let count = i32::from_be_bytes([n0, n1, n2, n3]);
        if usize::try_from(count) != Ok(entries.len()) || !rest.is_empty() {
            return Err("number of entries does not match the length");
        }
        let mut producers = Producers::default();
        for entry in entries {
            let (producer_id, producer) = decode_entry(entry)?;
            if producers.by_id.contains_key(&producer_id) {
                return Err("a producer is there twice");
            }
            if let Some(first) = producer.transaction_first_offset
                && producers.open.iter().any(|(other, _)| other == first)
            {
                return Err("two transactions begin with one batch");
            }
            producers.insert(producer_id, producer);
        }
        Ok(producers)
    }
}

fn decode_entry(entry: &[u8; ENTRY_LEN]) -> Result<(i64, Producer), &'static str> {
    let long = |at: usize| i64::from_be_bytes(std::array::from_fn(|i| entry[at + i]));
    let int = |at: usize| i32::from_be_bytes(std::array::from_fn(|i| entry[at + i]));
    let producer_id = long(0);
    let (last_sequence, last_offset, offset_delta, timestamp) = (int(10), long(14), int(22), long(26));
    let first_offset = long(38);
    let mut producer = Producer {
        epoch: i16::from_be_bytes([entry[8], entry[9]]),
        coordinator_epoch: int(34),
        last_timestamp: timestamp,
        transaction_first_offset: (first_offset >= 0).then_some(first_offset),
        ..Producer::unknown()
    };
    if producer_id < 0 || producer.epoch < NO_PRODUCER_EPOCH || last_sequence < NO_SEQUENCE {
        return Err("producer id, epoch or sequence is negative");
    }
    if last_offset >= 0 {
        if offset_delta < 0 || i64::from(offset_delta) > last_offset {
            return Err("offset delta is out of range");
        }
        let first_sequence = if last_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            last_sequence.wrapping_sub(offset_delta) & i32::MAX
        };
        producer.remember(Remembered {
            first_sequence,
            last_sequence,
            base_offset: last_offset - i64::from(offset_delta),
            last_offset,
            timestamp,
        });
    }
    Ok((producer_id, producer))
}

/// Finds again, in the batches before a snapshot, those that its format has no room for, so that a client's late
/// duplicate is still recognised after a restart.
///
/// Shown the batches in front of the snapshot's offset, in their order, as far back as one cares to look.
#[derive(Debug, Default)]
pub struct Lookback {
    seen: std::collections::BTreeMap<i64, Vec<(i16, Remembered)>>,
}

impl Lookback {
    /// One batch before the snapshot.
    pub fn observe(&mut self, header: &BatchHeader) {
        if !header.has_producer() || header.is_control() || header.base_sequence == NO_SEQUENCE {
            return;
        }
        let batches = self.seen.entry(header.producer_id).or_default();
        if batches.len() == REMEMBERED_BATCHES {
            batches.remove(0);
        }
        batches.push((
            header.producer_epoch,
            Remembered {
                first_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                timestamp: header.max_timestamp,
            },
        ));
    }

    /// Adds what was found to producers just read from a snapshot: only an unbroken row of batches of the current epoch
    /// that ends with the one the snapshot has.
    pub fn complete(self, producers: &mut Producers) {
        for (producer_id, seen) in self.seen {
            let Some(producer) = producers.by_id.get_mut(&producer_id) else { continue };
            let &[last] = producer.batches() else { continue };
            let row: Vec<Remembered> = seen
                .into_iter()
                .skip_while(|(epoch, _)| *epoch != producer.epoch)
                .map(|(_, batch)| batch)
                .collect();
            if row.last() == Some(&Remembered { timestamp: row.last().map_or(0, |b| b.timestamp), ..last }) {
                producer.remembered = 0;
                for batch in row {
                    producer.remember(batch);
                }
            }
        }
    }
}
