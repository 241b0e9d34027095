//! Rows of windows that were given, and that later rows change.
//!
//! ```text
//! row ─► windows that are given already ─► their rows as they were ─► folded in ─► taken back, and given as they are
//! ```

use std::collections::HashMap;

use super::super::{EpochTime, Output, window_timestamp};
use super::windows::Window;
use super::{WindowAggregate, WindowOf};
use crate::plan::Emit;
use crate::rows::{END_OF_TIME, Mark, RowsBuilder};
use crate::state::TableKey;
use crate::value::Value;

/// Rows of windows that an epoch has changed.
#[derive(Default)]
pub(super) struct Changes {
    list: Vec<Changed>,
    places: HashMap<(Window, TableKey), usize>,
}

struct Changed {
    window: Window,
    key: TableKey,
    /// The row that caused the last change.
    mark: Mark,
    /// The row the group had before the epoch.
    before: Option<Vec<Value>>,
}

impl WindowAggregate {
    /// The windows of a row that are given already, so that it changes their rows; in the order of their ends.
    pub(super) fn given_of(&self, time: EpochTime, slice_end: i64, key: &[u8], mark: Mark) -> Vec<Window> {
        let (after, through) = match self.emit {
            Emit::OnClose | Emit::AtOnce => return Vec::new(),
            Emit::OnCloseAndLate { ms } => (mark.watermark.saturating_sub(ms), time.before),
            Emit::Changes => (mark.watermark, END_OF_TIME),
        };
        let mut given = self.windows_of(slice_end, after, through);
        if let (Emit::OnCloseAndLate { .. }, Some((end, _))) = (self.emit, &self.stands_at.partial)
            && self.stands_at.is_given(*end, key)
        {
            // Of the window that is given in part this key is.
            given.append(&mut self.windows_of(slice_end, after.max(end - 1), *end));
        }
        given
    }

    /// The windows of a slice that end behind one instant and not behind another, in the order of their ends.
    fn windows_of(&self, slice_end: i64, after: i64, through: i64) -> Vec<Window> {
        match self.window {
            WindowOf::Assigned { kind, .. } => {
                let windows = kind.windows_between(slice_end, after, through);
                windows.map(|(start, end)| Window { end, start }).collect()
            }
            WindowOf::Given { .. } if after < slice_end && slice_end <= through => {
                vec![Window { end: slice_end, start: 0 }]
            }
            WindowOf::Given { .. } => Vec::new(),
        }
    }

    /// Remembers the rows that a row is about to change.
    pub(super) fn note(
        &self,
        time: EpochTime,
        slice_end: i64,
        key: &[u8],
        mark: Mark,
        changes: &mut Changes,
    ) {
        for window in self.given_of(time, slice_end, key, mark) {
            let key: TableKey = key.into();
            match changes.places.get(&(window, key.clone())) {
                Some(place) => changes.list[*place].mark = mark,
                None => {
                    changes.places.insert((window, key.clone()), changes.list.len());
                    // A row that could not be made then was not given either.
                    let before = self.row(window, &key).ok().flatten();
                    changes.list.push(Changed { window, key, mark, before });
                }
            }
        }
    }

    /// Gives what an epoch has changed of rows that were given.
    pub(super) fn give_changes(&mut self, changes: Changes, out: &mut Output) {
        let mut given = RowsBuilder::new(&self.row_types);
        let mut changes = changes.list;
        changes.sort_by_key(|changed| changed.window.end);
        let mut rows = Vec::with_capacity(changes.len());
        // Windows come by their ends: what is held for each is taken once.
        let mut folded = None;
        for Changed { window, key, mark, before } in changes {
            if folded.replace(window.end) != Some(window.end) {
                self.fold_held(window.end.saturating_add(self.lateness()));
            }
            rows.push((before, self.row(window, &key), mark, window));
        }
        // However many shards there are, rows come in the order of what changed them last.
        rows.sort_by_key(|(_, _, mark, window)| (mark.order, window.end));
        for (before, after, mark, window) in rows {
            let after = after.unwrap_or_else(|fault| {
                out.faults.push(fault);
                None
            });
            if before == after {
                continue;
            }
            let mark = Mark { timestamp: window_timestamp(window.end), ..mark };
            before.iter().for_each(|row| given.push(Mark { back: true, ..mark }, row));
            after.iter().for_each(|row| given.push(Mark { back: false, ..mark }, row));
        }
        out.push(given.finish());
    }
}
