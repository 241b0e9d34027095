//! The open windows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::accumulator::Accumulator;

/// The state of one window operator: buckets by window end, groups by key. The order of the hash maps decides
/// nothing: buckets are sorted when they are written, changes are listed in the order they happen.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    buckets: BTreeMap<i64, Bucket>,
    /// The groups this epoch has changed, in the order of their first change.
    changed: Vec<(i64, Arc<[u8]>)>,
    /// The closed window that is only partly written, and its last key written.
    cursor: Option<(i64, Arc<[u8]>)>,
}

#[derive(Debug, Default)]
struct Bucket {
    groups: HashMap<Arc<[u8]>, Group>,
}

#[derive(Debug)]
struct Group {
    accumulators: Vec<Accumulator>,
    changed: bool,
}

/// A group whose window is closed.
#[derive(Debug)]
pub(crate) struct ClosedGroup {
    pub(crate) window_end: i64,
    pub(crate) key: Arc<[u8]>,
    pub(crate) accumulators: Vec<Accumulator>,
}

/// What [`Windows::take_closed`] takes.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    /// The groups, in order of window end and key.
    pub(crate) groups: Vec<ClosedGroup>,
    /// How many windows are wholly taken, and with them their buckets.
    pub(crate) windows: u64,
    /// The end of the last window that is wholly taken.
    pub(crate) dropped_through: Option<i64>,
}

impl Windows {
    /// The accumulators of a group, made by `empty` if it is new; marks it changed.
    pub(crate) fn group(
        &mut self,
        window_end: i64,
        key: &[u8],
        empty: impl FnOnce() -> Vec<Accumulator>,
    ) -> &mut [Accumulator] {
        let groups = &mut self.buckets.entry(window_end).or_default().groups;
        // Looked up first, so that a group that is there costs no allocation.
        if !groups.contains_key(key) {
            let key: Arc<[u8]> = key.into();
            self.changed.push((window_end, Arc::clone(&key)));
            groups.insert(key, Group { accumulators: empty(), changed: true });
        }
        let group = groups.get_mut(key).expect("just inserted");
        if !group.changed {
            group.changed = true;
            self.changed.push((window_end, key.into()));
        }
        &mut group.accumulators
    }

    /// How many windows hold rows.
    pub(crate) fn open(&self) -> usize {
        self.buckets.len()
    }

    /// Whether a window that ends at `watermark` or before is not wholly written.
    pub(crate) fn emission_pending(&self, watermark: i64) -> bool {
        self.buckets.first_key_value().is_some_and(|(end, _)| *end <= watermark)
    }

    /// Takes up to `limit` groups of the windows that end at `watermark` or before.
    pub(crate) fn take_closed(&mut self, watermark: i64, limit: usize) -> Closed {
        let mut closed = Closed::default();
        while closed.groups.len() < limit {
            let first = self.buckets.first_entry().filter(|entry| *entry.key() <= watermark);
            let Some(entry) = first else { break };
            let window_end = *entry.key();
            let mut bucket = entry.remove();
            let mut keys: Vec<Arc<[u8]>> = bucket.groups.keys().cloned().collect();
            keys.sort_unstable();
            let room = limit - closed.groups.len();
            for key in keys.iter().take(room) {
                let (key, group) = bucket.groups.remove_entry(key).expect("listed a moment ago");
                closed.groups.push(ClosedGroup { window_end, key, accumulators: group.accumulators });
            }
            if bucket.groups.is_empty() {
                self.cursor = None;
                closed.windows += 1;
                closed.dropped_through = Some(window_end);
            } else {
                self.cursor = Some((window_end, Arc::clone(&keys[room - 1])));
                self.buckets.insert(window_end, bucket);
            }
        }
        closed
    }

    /// Visits the groups changed since the last call that are still there, in the order of their first change.
    pub(crate) fn take_changes(&mut self, mut visit: impl FnMut(i64, &[u8], &[Accumulator])) {
        for (window_end, key) in std::mem::take(&mut self.changed) {
            let group = self.buckets.get_mut(&window_end).and_then(|bucket| bucket.groups.get_mut(&key));
            if let Some(group) = group {
                group.changed = false;
                visit(window_end, &key, &group.accumulators);
            }
        }
    }

    /// The closed window that is only partly written, and its last key written.
    pub(crate) fn cursor(&self) -> Option<(i64, &[u8])> {
        self.cursor.as_ref().map(|(window_end, key)| (*window_end, &**key))
    }

    /// Restores a group as it was.
    pub(crate) fn restore_group(&mut self, window_end: i64, key: &[u8], accumulators: Vec<Accumulator>) {
        let group = Group { accumulators, changed: false };
        self.buckets.entry(window_end).or_default().groups.insert(key.into(), group);
    }

    /// Restores the drop of every bucket that ends at `through` or before.
    pub(crate) fn restore_dropped(&mut self, through: i64) {
        self.buckets = self.buckets.split_off(&through.saturating_add(1));
    }

    /// Restores how far a partly written window was written.
    pub(crate) fn restore_cursor(&mut self, window_end: i64, last_key: &[u8]) {
        if let Some(bucket) = self.buckets.get_mut(&window_end) {
            bucket.groups.retain(|key, _| **key > *last_key);
        }
        self.cursor = Some((window_end, last_key.into()));
    }
}
