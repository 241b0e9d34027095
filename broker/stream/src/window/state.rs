//! The open windows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::accumulator::Accumulator;

/// The state of one window operator: buckets by window end, groups by key. The order of the hash maps decides
/// nothing: buckets are sorted when they are written, changes are listed in the order they happen.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    buckets: BTreeMap<i64, HashMap<Arc<[u8]>, Group>>,
    /// The groups this epoch has changed, in the order of their first change.
    changed: Vec<(i64, Arc<[u8]>)>,
    /// The closed window that is being written: what is left of it.
    writing: Option<Writing>,
}

#[derive(Debug)]
struct Group {
    accumulators: Vec<Accumulator>,
    changed: bool,
}

/// A closed window on its way out.
#[derive(Debug)]
struct Writing {
    window_end: i64,
    /// What is not written yet, the next group last.
    left: Vec<(Arc<[u8]>, Group)>,
    /// The last key written; `None` before the first.
    last_key: Option<Arc<[u8]>>,
}

impl Writing {
    fn new(window_end: i64, bucket: HashMap<Arc<[u8]>, Group>) -> Writing {
        let mut left: Vec<_> = bucket.into_iter().collect();
        left.sort_unstable_by(|(left, _), (right, _)| right.cmp(left));
        Writing { window_end, left, last_key: None }
    }

    fn group(&mut self, window_end: i64, key: &[u8]) -> Option<&mut Group> {
        if window_end != self.window_end {
            return None;
        }
        let index = self.left.binary_search_by(|(other, _)| key.cmp(other)).ok()?;
        Some(&mut self.left[index].1)
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
        let groups = self.buckets.entry(window_end).or_default();
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
            while closed.groups.len() < limit
                && let Some((key, group)) = writing.left.pop()
            {
                writing.last_key = Some(Arc::clone(&key));
                let window_end = writing.window_end;
                closed.groups.push(ClosedGroup { window_end, key, accumulators: group.accumulators });
            }
            if writing.left.is_empty() {
                closed.windows += 1;
                closed.dropped_through = Some(writing.window_end);
            } else {
                self.writing = Some(writing);
            }
        }
        closed
    }

    fn begin_writing(&mut self, watermark: i64) -> Option<Writing> {
        let entry = self.buckets.first_entry().filter(|entry| *entry.key() <= watermark)?;
        let (window_end, bucket) = entry.remove_entry();
        Some(Writing::new(window_end, bucket))
    }

    /// Visits the groups changed since the last call that are still there, in the order of their first change.
    pub(crate) fn take_changes(&mut self, mut visit: impl FnMut(i64, &[u8], &[Accumulator])) {
        for (window_end, key) in std::mem::take(&mut self.changed) {
            let open = self.buckets.get_mut(&window_end).and_then(|bucket| bucket.get_mut(&key));
            let writing = self.writing.as_mut().and_then(|writing| writing.group(window_end, &key));
            if let Some(group) = open.or(writing) {
                group.changed = false;
                visit(window_end, &key, &group.accumulators);
            }
        }
    }

    /// The closed window that is only partly written, and its last key written.
    pub(crate) fn cursor(&self) -> Option<(i64, &[u8])> {
        let writing = self.writing.as_ref()?;
        Some((writing.window_end, writing.last_key.as_deref()?))
    }

    /// Restores a group as it was.
    pub(crate) fn restore_group(&mut self, window_end: i64, key: &[u8], accumulators: Vec<Accumulator>) {
        let group = Group { accumulators, changed: false };
        self.buckets.entry(window_end).or_default().insert(key.into(), group);
    }

    /// Restores the drop of every bucket that ends at `through` or before.
    pub(crate) fn restore_dropped(&mut self, through: i64) {
        self.buckets = self.buckets.split_off(&through.saturating_add(1));
    }

    /// Restores how far a partly written window was written.
    pub(crate) fn restore_cursor(&mut self, window_end: i64, last_key: &[u8]) {
        let mut bucket = self.buckets.remove(&window_end).unwrap_or_default();
        bucket.retain(|key, _| **key > *last_key);
        self.writing = Some(Writing { last_key: Some(last_key.into()), ..Writing::new(window_end, bucket) });
    }
}
