//! The open windows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::accumulator::Accumulator;

/// The state of one window operator: buckets by window end, groups by key. The order of the hash maps decides
/// nothing: buckets are sorted when they are written, changes are listed in the order they happen.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    buckets: BTreeMap<i64, Bucket>,
    /// The groups this epoch has changed, in the order of their first change: window end, and slot in the bucket.
    changed: Vec<(i64, usize)>,
    /// The closed window that is being written: what is left of it.
    writing: Option<Writing>,
}

#[derive(Debug, Default)]
struct Bucket {
    slots: HashMap<Arc<[u8]>, usize>,
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    key: Arc<[u8]>,
    accumulators: Vec<Accumulator>,
    changed: bool,
}

impl Bucket {
    fn insert(&mut self, key: &[u8], accumulators: Vec<Accumulator>) -> usize {
        let key: Arc<[u8]> = key.into();
        let slot = self.groups.len();
        self.slots.insert(Arc::clone(&key), slot);
        self.groups.push(Group { key, accumulators, changed: false });
        slot
    }
}

/// A closed window on its way out.
#[derive(Debug)]
struct Writing {
    window_end: i64,
    groups: Vec<Group>,
    /// The slots that are not written yet, the next one last.
    left: Vec<usize>,
    /// The last key written.
    last_key: Option<Arc<[u8]>>,
}

impl Writing {
    fn new(window_end: i64, groups: Vec<Group>) -> Writing {
        let mut left: Vec<usize> = (0..groups.len()).collect();
        left.sort_unstable_by(|left, right| groups[*right].key.cmp(&groups[*left].key));
        Writing { window_end, groups, left, last_key: None }
    }

    fn is_left(&self, slot: usize) -> bool {
        self.last_key.as_ref().is_none_or(|last_key| self.groups[slot].key > *last_key)
    }
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
        let bucket = self.buckets.entry(window_end).or_default();
        let slot = match bucket.slots.get(key) {
            Some(slot) => *slot,
            None => bucket.insert(key, empty()),
        };
        let group = &mut bucket.groups[slot];
        if !group.changed {
            group.changed = true;
            self.changed.push((window_end, slot));
        }
        &mut group.accumulators
    }

    /// How many windows hold state.
    pub(crate) fn len(&self) -> usize {
        self.buckets.len() + usize::from(self.writing.is_some())
    }

    /// Whether a window that ends at `watermark` or before is not wholly written.
    pub(crate) fn emission_pending(&self, watermark: i64) -> bool {
        self.writing.is_some() || self.buckets.first_key_value().is_some_and(|(end, _)| *end <= watermark)
    }

    /// Takes up to `limit` groups of the windows that end at `watermark` or before.
    pub(crate) fn take_closed(&mut self, watermark: i64, limit: usize) -> Closed {
        let mut closed = Closed::default();
        while closed.groups.len() < limit {
            let Some(mut writing) = self.writing.take().or_else(|| self.begin_writing(watermark)) else {
                break;
            };
            let window_end = writing.window_end;
            while closed.groups.len() < limit
                && let Some(slot) = writing.left.pop()
            {
                let group = &mut writing.groups[slot];
                let accumulators = std::mem::take(&mut group.accumulators);
                writing.last_key = Some(Arc::clone(&group.key));
                closed.groups.push(ClosedGroup { window_end, key: Arc::clone(&group.key), accumulators });
            }
            if writing.left.is_empty() {
                closed.windows += 1;
                closed.dropped_through = Some(window_end);
            } else {
                self.writing = Some(writing);
            }
        }
        closed
    }

    fn begin_writing(&mut self, watermark: i64) -> Option<Writing> {
        let entry = self.buckets.first_entry().filter(|entry| *entry.key() <= watermark)?;
        let (window_end, bucket) = entry.remove_entry();
        Some(Writing::new(window_end, bucket.groups))
    }

    /// Visits the groups changed since the last call that are still there, in the order of their first change.
    pub(crate) fn take_changes(&mut self, mut visit: impl FnMut(i64, &[u8], &[Accumulator])) {
        for (window_end, slot) in std::mem::take(&mut self.changed) {
            let group = match (self.buckets.get_mut(&window_end), &mut self.writing) {
                (Some(bucket), _) => &mut bucket.groups[slot],
                (None, Some(writing)) if writing.window_end == window_end && writing.is_left(slot) => {
                    &mut writing.groups[slot]
                }
                _ => continue,
            };
            group.changed = false;
            visit(window_end, &group.key, &group.accumulators);
        }
    }

    /// The closed window that is only partly written, and its last key written.
    pub(crate) fn cursor(&self) -> Option<(i64, &[u8])> {
        let writing = self.writing.as_ref()?;
        Some((writing.window_end, writing.last_key.as_deref()?))
    }

    /// Restores a group as it was.
    pub(crate) fn restore_group(&mut self, window_end: i64, key: &[u8], accumulators: Vec<Accumulator>) {
        let bucket = self.buckets.entry(window_end).or_default();
        match bucket.slots.get(key) {
            Some(slot) => bucket.groups[*slot].accumulators = accumulators,
            None => {
                bucket.insert(key, accumulators);
            }
        }
    }

    /// Restores the drop of every bucket that ends at `through` or before.
    pub(crate) fn restore_dropped(&mut self, through: i64) {
        self.buckets = self.buckets.split_off(&through.saturating_add(1));
    }

    /// Restores how far a partly written window was written.
    pub(crate) fn restore_cursor(&mut self, window_end: i64, last_key: &[u8]) {
        let mut groups = self.buckets.remove(&window_end).unwrap_or_default().groups;
        groups.retain(|group| *group.key > *last_key);
        self.writing = Some(Writing { last_key: Some(last_key.into()), ..Writing::new(window_end, groups) });
    }
}
