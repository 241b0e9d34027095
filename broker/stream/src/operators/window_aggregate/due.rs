//! How much of windows is due, and which keys: rows to give, and slices that go without having any to give.

use super::windows::Window;
use super::{Due, Part, Place, WindowAggregate};
use crate::plan::{Emit, WindowOf};
use crate::state::{Bucket, TableKey};

impl WindowAggregate {
    /// How many rows of windows are due at their ends: one for each of their entries, and of the rows that are held.
    pub(super) fn rows_due(&self, from: &Place, watermark: i64) -> Due {
        let mut due = Due::new();
        if matches!(self.emit, Emit::Changes | Emit::AtOnce) {
            // All rows are given before their window closes.
            return due;
        }
        // Both ends of a window only ever go forward, and so does what lies between them.
        let times = || self.slices.range(from.watermark.saturating_sub(self.longest_ms())..);
        let (mut entering, mut leaving) = (times().peekable(), times().peekable());
        let count = |(slice, bucket): (i64, &Bucket<Part>)| bucket.len() + self.slices.away_at(slice);
        let mut rows = 0;
        for window in self.windows(from, &Place::behind(watermark)) {
            while let Some(slice) = entering.next_if(|(slice, _)| *slice <= window.end) {
                rows += count(slice);
            }
            let first = self.first_slice(window);
            while let Some(slice) = leaving.next_if(|(slice, _)| *slice < first) {
                rows -= count(slice);
            }
            due.insert(window.end, rows);
        }
        for (end, rows) in self.held.due(from.watermark, watermark) {
            *due.entry(end).or_default() += rows;
        }
        due
    }

    /// The window that ends there, if one may.
    pub(super) fn window_at(&self, end: i64) -> Window {
        let start = match self.window {
            WindowOf::Given { .. } => 0,
            WindowOf::Assigned { kind, .. } => kind.start_of(end),
        };
        Window { end, start }
    }

    /// Whether a window may end there whose rows are given then.
    pub(super) fn gives_at(&self, end: i64) -> bool {
        let gives = matches!(self.emit, Emit::OnClose | Emit::OnCloseAndLate { .. });
        gives
            && match self.window {
                WindowOf::Given { .. } => true,
                WindowOf::Assigned { kind, .. } => kind.next_end(end.saturating_sub(1)) == end,
            }
    }

    /// The slices of which keys are due at a window's end, in the order of time: those of the window, if its rows are given
    /// then, and those that are over. One that is both may come twice.
    pub(super) fn slices_due(&self, window: Window) -> impl Iterator<Item = (i64, &Bucket<Part>)> {
        let gives = self.gives_at(window.end);
        let of_window = gives.then(|| self.slices.range(self.first_slice(window)..=window.end));
        // Where a window's rows are given once, what is over with it lies in it.
        let goes = !(gives && self.emit == Emit::OnClose);
        let over =
            goes.then(|| self.slices.range(..).take_while(move |(slice, _)| self.over(*slice) <= window.end));
        of_window.into_iter().flatten().chain(over.into_iter().flatten())
    }

    /// No slice of them ends behind.
    pub(super) fn last_due(&self, window: Window) -> i64 {
        if self.gives_at(window.end) {
            return window.end;
        }
        let over = self.slices.times().take_while(|slice| self.over(*slice) <= window.end);
        over.last().unwrap_or(window.end)
    }

    /// Their keys; one may come more than once.
    pub(super) fn keys_due(&self, window: Window) -> impl Iterator<Item = &TableKey> {
        self.slices_due(window).flat_map(|(_, bucket)| Bucket::keys(bucket))
    }

    /// The keys of rows that are held and given with a window.
    pub(super) fn held_due(&self, window: Window) -> impl Iterator<Item = &TableKey> {
        let gives = self.gives_at(window.end);
        let before = gives.then(|| self.held.before(window.end.saturating_add(self.lateness())));
        let in_window = move |slice: i64| window.start < slice && slice <= window.end;
        before.into_iter().flatten().filter(move |(slice, _)| in_window(*slice)).map(|(_, key)| key)
    }
}
