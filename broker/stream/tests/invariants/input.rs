//! Random input, and the tumbling windows of a prefix of it computed in the plainest way.

use std::collections::BTreeMap;

use logmill_stream::EpochLimits;
use proptest::prelude::*;

use super::support::MemoryLogs;

/// How far a record may be behind the newest of its partition.
pub(crate) const DELAY: i64 = 30_000;
const SIZE: i64 = 10_000;

/// One record of the input.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) partition: i32,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<i64>,
    pub(crate) time: i64,
}

impl Event {
    pub(crate) fn json(&self) -> String {
        serde_json::json!({ "k": self.key, "v": self.value, "ts": self.time, "unused": [1, 2] }).to_string()
    }

    /// The key as queries without missing keys have it.
    pub(crate) fn name(&self) -> String {
        self.key.clone().unwrap_or_else(|| "none".to_owned())
    }
}

/// Events whose time goes forward by and by, each at most `disorder` behind the newest before it.
pub(crate) fn events(partitions: i32, disorder: i64) -> impl Strategy<Value = Vec<Event>> {
    let event = (
        0..partitions,
        prop_oneof![Just(None), "[a-c]".prop_map(Some)],
        prop_oneof![1 => Just(None), 1 => Just(Some(13)), 4 => (-5_i64..20).prop_map(Some)],
        0_i64..9_000,
        0..disorder,
    );
    prop::collection::vec(event, 1..60).prop_map(|steps| {
        let mut newest = 0;
        let event = |(partition, key, value, step, behind)| {
            newest += step;
            Event { partition, key, value, time: newest - behind }
        };
        steps.into_iter().map(event).collect()
    })
}

/// Always the same events, for runs with a bug.
pub(crate) fn some_events(partitions: i32) -> Vec<Event> {
    let mut state = 7_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut newest = 0;
    let event = |_| {
        newest += next(6_000) as i64;
        Event {
            partition: next(partitions as u64) as i32,
            key: Some(["a", "b", "c"][next(3) as usize].to_owned()),
            value: Some(next(20) as i64),
            time: newest - next(20_000) as i64,
        }
    };
    (0..60).map(event).collect()
}

/// Logs with the events, three in a batch.
pub(crate) fn filled(events: &[Event], partitions: i32) -> MemoryLogs {
    in_batches(events, partitions, 3)
}

/// Logs with the events, each a batch: an epoch may take no more than one of each partition.
pub(crate) fn singly(events: &[Event], partitions: i32) -> MemoryLogs {
    in_batches(events, partitions, 1)
}

fn in_batches(events: &[Event], partitions: i32, records: usize) -> MemoryLogs {
    let mut logs = MemoryLogs::default();
    logs.create("in", partitions);
    logs.create("out", 1);
    for partition in 0..partitions {
        let own: Vec<String> =
            events.iter().filter(|event| event.partition == partition).map(Event::json).collect();
        own.chunks(records).for_each(|values| logs.produce("in", partition, values));
    }
    logs
}

pub(crate) fn limits() -> impl Strategy<Value = EpochLimits> {
    (
        prop_oneof![Just(1_usize), Just(700), Just(1 << 20)],
        prop_oneof![Just(1_u64), Just(5), Just(10_000)],
        prop_oneof![Just(1_u32), Just(3), Just(1_000)],
        prop_oneof![Just(1_usize), Just(700), Just(1 << 20)],
        prop_oneof![Just(1_usize), Just(900), Just(1 << 20)],
    )
        .prop_map(|(input_bytes, input_records, emit_rows, unpacked_bytes, output_bytes)| EpochLimits {
            input_bytes,
            input_records,
            unpacked_bytes,
            output_bytes,
            steady_bytes: usize::MAX,
            emit_rows,
        })
}

/// Limits that no epoch is ever too large for: a loop that was restored cuts as the one before would have.
pub(crate) fn steady_limits() -> impl Strategy<Value = EpochLimits> {
    let steady = |limits| EpochLimits { unpacked_bytes: usize::MAX, output_bytes: usize::MAX, ..limits };
    limits().prop_map(steady)
}

/// The first events of each partition, as many as `ends` says.
pub(crate) fn prefix<'e>(events: &'e [Event], ends: &[i64]) -> Vec<&'e Event> {
    let mut taken = vec![0; ends.len()];
    let mut taking = |event: &&Event| {
        let partition = event.partition as usize;
        taken[partition] += 1;
        taken[partition] <= ends[partition]
    };
    events.iter().filter(|event| taking(event)).collect()
}

/// `queries::TUMBLE` over a prefix of an input that is declared finished: rows of the windows that end at the watermark
/// or before, in the order of window and key.
pub(crate) fn tumbled(events: &[Event], ends: &[i64]) -> Vec<String> {
    let mut newest = vec![i64::MIN; ends.len()];
    let mut groups: BTreeMap<(i64, Option<String>), Vec<Option<i64>>> = BTreeMap::new();
    for event in prefix(events, ends) {
        let partition = event.partition as usize;
        newest[partition] = newest[partition].max(event.time - DELAY);
        if event.value != Some(13) {
            let start = event.time.div_euclid(SIZE) * SIZE;
            groups.entry((start, event.key.clone())).or_default().push(event.value);
        }
    }
    // A partition whose end is reached holds nothing back.
    let count =
        |partition: usize| events.iter().filter(|event| event.partition as usize == partition).count();
    let open = (0..ends.len()).filter(|partition| ends[*partition] < count(*partition) as i64);
    let watermark = open.map(|partition| newest[partition]).min().unwrap_or(i64::MAX);
    let row = |((start, key), values): ((i64, Option<String>), Vec<Option<i64>>)| {
        let known: Vec<i64> = values.iter().copied().flatten().collect();
        let sum = (!known.is_empty()).then(|| known.iter().sum::<i64>());
        let window = logmill_stream::time::Iso(start).to_string();
        serde_json::json!({ "w": window, "k": key, "n": values.len(), "s": sum, "m": known.iter().min() })
            .to_string()
    };
    groups.into_iter().filter(|((start, _), _)| start + SIZE <= watermark).map(row).collect()
}

#[test]
fn the_oracle_sees_a_wrong_row() {
    let event = |time| Event { partition: 0, key: None, value: Some(1), time };
    let rows = tumbled(&[event(0), event(1), event(50_000), event(50_001)], &[3]);
    assert_eq!(rows, [r#"{"w":"1970-01-01T00:00:00Z","k":null,"n":2,"s":2,"m":1}"#]);
    assert_ne!(rows, tumbled(&[event(0), event(50_000), event(50_001)], &[2]));
}
