//! When keys were last touched that are not in memory, so that they are found when they are to be forgotten.
//!
//! ```text
//! span of time ─► there   time i64 │ length u32 │ key …
//!                 gone    the same, of keys that have come back and are not taken out of it yet
//! ```
//!
//! A key takes twelve bytes more than it has, and up to three times as much for a while: a span is written anew when a third
//! of it has gone. One that is due in part is looked at whole.

use std::collections::{BTreeMap, HashMap};

/// Into how many spans the time to live is cut. Whoever forgets has one of these for each of many parts of the keys, and takes what is
/// due of one of them at a time.
const SPANS: i64 = 4;

/// What a span takes beside its keys, in bytes.
const SPAN_BYTES: u64 = 128;

const TIME: usize = size_of::<i64>();
const LENGTH: usize = size_of::<u32>();

/// Keys that are not in memory, in the order of time; each once.
#[derive(Debug)]
pub(crate) struct Away {
    span_ms: i64,
    spans: BTreeMap<i64, Span>,
    bytes: u64,
    /// The key that was put there last, and its earliest time: it may be told of more.
    last: Option<(Vec<u8>, i64)>,
}

#[derive(Debug)]
struct Span {
    /// No time of it is before.
    earliest: i64,
    there: Vec<u8>,
    gone: Vec<u8>,
}

/// Keys that were taken out.
#[derive(Debug)]
pub(crate) struct DueKeys(Vec<Vec<u8>>);

impl DueKeys {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flat_map(|keys| entries(keys)).map(|(_, key)| key)
    }
}

impl FromIterator<DueKeys> for DueKeys {
    fn from_iter<I: IntoIterator<Item = DueKeys>>(all: I) -> Self {
        DueKeys(all.into_iter().flat_map(|keys| keys.0).collect())
    }
}

impl Away {
    /// For keys that are forgotten when they were not touched for so long.
    pub(crate) fn new(lives_ms: i64) -> Away {
        Away { span_ms: (lives_ms / SPANS).max(1), spans: BTreeMap::new(), bytes: 0, last: None }
    }

    /// About how many bytes it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A key is not in memory. Several times of one key come one after the other: the earliest of them counts.
    pub(crate) fn put(&mut self, time: i64, key: &[u8]) {
        match &mut self.last {
            Some((last, earliest)) if last == key => *earliest = time.min(*earliest),
            _ => {
                self.settle();
                self.last = Some((key.to_vec(), time));
            }
        }
    }

    /// A key comes back, which was put there with this time.
    pub(crate) fn take_out(&mut self, time: i64, key: &[u8]) {
        self.settle();
        let start = self.span_of(time);
        let Some(span) = self.spans.get_mut(&start) else { return };
        self.bytes -= span.bytes();
        push(&mut span.gone, time, key);
        if span.gone.len() > span.there.len() / 3 {
            span.clean();
        }
        if span.there.is_empty() {
            self.spans.remove(&start);
            return;
        }
        self.bytes += span.bytes();
    }

    /// Takes out the keys whose time is this or before.
    pub(crate) fn take_due(&mut self, through: i64) -> DueKeys {
        self.settle();
        let mut due = Vec::new();
        while let Some(mut first) = self.spans.first_entry()
            && first.get().earliest <= through
        {
            let span = first.get_mut();
            self.bytes -= span.bytes();
            span.clean();
            let (of_span, left) = entries(&span.there).partition::<Vec<_>, _>(|(time, _)| *time <= through);
            if left.is_empty() {
                due.push(first.remove().there);
                continue;
            }
            let (of_span, left) = (joined(&of_span), joined(&left));
            due.push(of_span);
            span.there = left;
            span.find_earliest();
            self.bytes += span.bytes();
        }
        DueKeys(due)
    }

    fn span_of(&self, time: i64) -> i64 {
        time.div_euclid(self.span_ms)
    }

    fn settle(&mut self) {
        let Some((key, time)) = self.last.take() else { return };
        let empty = || Span { earliest: time, there: Vec::new(), gone: Vec::new() };
        let start = self.span_of(time);
        let before = self.spans.get(&start).map_or(0, Span::bytes);
        let span = self.spans.entry(start).or_insert_with(empty);
        span.earliest = span.earliest.min(time);
        push(&mut span.there, time, &key);
        self.bytes = self.bytes - before + span.bytes();
    }
}

impl Span {
    fn bytes(&self) -> u64 {
        (self.there.capacity() + self.gone.capacity()) as u64 + SPAN_BYTES
    }

    /// Takes out what has gone.
    fn clean(&mut self) {
        let gone = std::mem::take(&mut self.gone);
        if gone.is_empty() {
            return;
        }
        let mut counts: HashMap<(i64, &[u8]), u32> = HashMap::new();
        entries(&gone).for_each(|entry| *counts.entry(entry).or_default() += 1);
        let left = entries(&self.there).filter(|entry| match counts.get_mut(entry) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        });
        self.there = joined(&left.collect::<Vec<_>>());
        self.find_earliest();
    }

    fn find_earliest(&mut self) {
        self.earliest = entries(&self.there).map(|(time, _)| time).min().unwrap_or(i64::MAX);
    }
}

fn push(out: &mut Vec<u8>, time: i64, key: &[u8]) {
    let more = TIME + LENGTH + key.len();
    if out.capacity() - out.len() < more {
        // There are as many of these as there are spans: none has twice what it needs.
        out.reserve_exact(more.max(out.len() / 4));
    }
    out.extend_from_slice(&time.to_le_bytes());
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
}

fn joined(entries: &[(i64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.iter().map(|(_, key)| TIME + LENGTH + key.len()).sum());
    entries.iter().for_each(|(time, key)| push(&mut out, *time, key));
    out
}

fn entries(mut bytes: &[u8]) -> impl Iterator<Item = (i64, &[u8])> {
    std::iter::from_fn(move || {
        let (time, rest) = bytes.split_first_chunk::<TIME>()?;
        let (length, rest) = rest.split_first_chunk::<LENGTH>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some((i64::from_le_bytes(*time), key))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_of_keys_to_times(
            lives_ms in prop_oneof![Just(1_i64), Just(2_000), Just(100_000)],
            steps in prop::collection::vec((0_u8..4, "[a-e]{0,2}", 0_i64..3_000), 0..200),
        ) {
            let mut away = Away::new(lives_ms);
            let mut model: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
            let mut now = -1_000;
            for (step, key, time) in steps {
                let key = key.into_bytes();
                match step {
                    0 | 1 if !model.contains_key(&key) => {
                        [time + 7, time, time + 1].into_iter().for_each(|time| away.put(time, &key));
                        model.insert(key, time);
                    }
                    0..3 => {
                        if let Some(time) = model.remove(&key) {
                            away.take_out(time, &key);
                        }
                    }
                    _ => {
                        now = time.max(now);
                        let due = away.take_due(now);
                        let mut due: Vec<_> = due.iter().map(<[u8]>::to_vec).collect();
                        due.sort();
                        let (expected, left) = model.into_iter().partition::<BTreeMap<_, _>, _>(|(_, time)| *time <= now);
                        prop_assert_eq!(due, expected.into_keys().collect::<Vec<_>>());
                        model = left;
                    }
                }
                let of_spans: u64 = away.spans.values().map(Span::bytes).sum();
                prop_assert_eq!(away.bytes(), of_spans);
            }
            let due = away.take_due(i64::MAX);
            prop_assert_eq!(due.iter().count(), model.len());
            prop_assert_eq!(away.bytes(), 0);
        }
    }

    /// Keys that come and go take no more than those that are there.
    #[test]
    fn it_stays_small() {
        let mut away = Away::new(1_000_000);
        let keys: Vec<[u8; 8]> = (0..1_000_u64).map(u64::to_be_bytes).collect();
        let mut most = 0;
        for time in 0..200_i64 {
            for key in &keys {
                if time > 0 {
                    away.take_out(time - 1, key);
                }
                away.put(time, key);
                most = most.max(away.bytes());
            }
        }
        assert!(most < 3 * 1_000 * 20 + 10 * SPAN_BYTES, "{most}");
    }
}
