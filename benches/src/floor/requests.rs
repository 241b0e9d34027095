//! As much of Kafka's requests as the floor reads.

use logmill_record::BatchHeader;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const API_VERSIONS: i16 = 18;

/// A request in place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Where in the frame the batch is, and how many records it has.
    Produce {
        correlation: i32,
        from: usize,
        to: usize,
        records: i64,
    },
    Fetch {
        correlation: i32,
        offset: i64,
        max_wait_ms: i32,
        max_bytes: i32,
    },
    ApiVersions {
        correlation: i32,
    },
}

/// Reads a request of one topic and one partition (Produce 9 to 12, Fetch 12), and checks the batch's CRC.
pub(super) fn read(frame: &[u8]) -> Option<Request> {
    let mut at = Cursor { frame, at: 0 };
    let (key, _version, correlation) = (at.i16()?, at.i16()?, at.i32()?);
    let client = at.i16()?;
    at.skip(usize::try_from(client).unwrap_or(0))?;
    let _tags = at.varint()?;
    match key {
        PRODUCE => {
            at.text()?;
            at.skip(2 + 4)?;
            at.one()?;
            at.text()?;
            at.one()?;
            at.skip(4)?;
            let length = at.varint()?.checked_sub(1)? as usize;
            let (from, to) = (at.at, at.at.checked_add(length)?);
            let header = BatchHeader::verify(frame.get(from..to)?).ok()?;
            Some(Request::Produce { correlation, from, to, records: i64::from(header.last_offset_delta) + 1 })
        }
        FETCH => {
            at.skip(4)?;
            let (max_wait_ms, _min_bytes, max_bytes) = (at.i32()?, at.i32()?, at.i32()?);
            at.skip(1 + 4 + 4)?;
            at.one()?;
            at.text()?;
            at.one()?;
            at.skip(4 + 4)?;
            let offset = at.i64()?;
            Some(Request::Fetch { correlation, offset, max_wait_ms, max_bytes })
        }
        API_VERSIONS => Some(Request::ApiVersions { correlation }),
        _ => None,
    }
}

struct Cursor<'a> {
    frame: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = self.frame.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*bytes)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.at = self.at.checked_add(bytes)?;
        Some(())
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in (0..32).step_by(7) {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A compact string; null counts as empty.
    fn text(&mut self) -> Option<()> {
        let length = self.varint()?.saturating_sub(1) as usize;
        self.skip(length)
    }

    /// An array of exactly one element.
    fn one(&mut self) -> Option<()> {
        (self.varint()? == 2).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use logmill_wire::frame::encode_request;
    use logmill_wire::messages::fetch::{FetchPartition, FetchTopic};
    use logmill_wire::messages::produce::{PartitionProduceData, TopicProduceData};
    use logmill_wire::messages::{ApiVersionsRequest, FetchRequest, ProduceRequest};

    use super::*;
    use crate::link::{FETCH_VERSION, PRODUCE_VERSION};
    use crate::workload::Shape;

    fn produce(batch: &Bytes) -> Bytes {
        let partition_data = vec![PartitionProduceData { index: 0, records: Some(batch.clone()) }];
        let topic = TopicProduceData { name: "t".into(), partition_data, ..TopicProduceData::default() };
        let request = ProduceRequest { topic_data: vec![topic], ..ProduceRequest::default() };
        encode_request(7, Some("me"), &request, PRODUCE_VERSION).unwrap().into_bytes().slice(4..)
    }

    #[test]
    fn a_produce_is_found_and_checked() {
        let batch = Shape { record_bytes: 100, records: 30 }.build().remove(0);
        let frame = produce(&batch);
        let Some(Request::Produce { correlation: 7, from, to, records: 30 }) = read(&frame) else {
            panic!("{:?}", read(&frame))
        };
        assert_eq!(frame[from..to], batch);
        let mut rotten = frame.to_vec();
        rotten[to - 1] ^= 1;
        assert_eq!(read(&rotten), None);
        assert_eq!(read(&frame[..to - 1]), None);
    }

    #[test]
    fn a_fetch_and_an_introduction() {
        let partition = FetchPartition { fetch_offset: 99, ..FetchPartition::default() };
        let topic = FetchTopic { topic: "t".into(), partitions: vec![partition], ..FetchTopic::default() };
        let request =
            FetchRequest { max_wait_ms: 5, max_bytes: 1000, topics: vec![topic], ..FetchRequest::default() };
        let frame = encode_request(8, Some("me"), &request, FETCH_VERSION).unwrap().into_bytes().slice(4..);
        assert_eq!(
            read(&frame),
            Some(Request::Fetch { correlation: 8, offset: 99, max_wait_ms: 5, max_bytes: 1000 })
        );
        let frame = encode_request(9, None, &ApiVersionsRequest::default(), 3).unwrap();
        assert_eq!(read(&frame.into_bytes().slice(4..)), Some(Request::ApiVersions { correlation: 9 }));
    }
}
