//! Slices that are over: no window needs them any more.
//!
//! ```text
//! watermark ─► slices that are over ─► gone                    a window that is given in part ─► the keys that are given, gone
//! ```
//!
//! What goes is written to the changelog, entry by entry: so a slice that is large goes in parts, key by key with the rows of
//! its last window, or where none are given then, as if each of its entries were one.

use super::{Accumulator, Due, Part, Place, ValueChanges, WindowAggregate, WindowOf};
use crate::plan::Emit;
use crate::state::{TableKey, TimeTable};

impl WindowAggregate {
    /// When a slice is over.
    pub(super) fn over(&self, slice_end: i64) -> i64 {
        let last_end = match self.window {
            WindowOf::Given { .. } => slice_end,
            WindowOf::Assigned { kind, .. } => kind.last_end(slice_end),
        };
        last_end.saturating_add(self.lateness())
    }

    /// How many entries are over at which time, of slices that do not go with the rows of a window.
    pub(super) fn over_between(&self, from: &Place, watermark: i64) -> Due {
        let mut due = Due::new();
        for slice in self.slices.times() {
            let over = self.over(slice);
            if over > watermark {
                break;
            }
            let goes_with_rows = self.emit == Emit::OnClose && self.gives_at(over);
            if over > from.watermark && !goes_with_rows {
                *due.entry(over).or_default() += self.slices.len_at(slice);
            }
        }
        due
    }

    /// Lets go of some keys of the slices that are over at a time.
    pub(super) fn drop_part(&mut self, over: i64, keys: &[TableKey]) {
        let slices: Vec<i64> = self.slices.times().take_while(|slice| self.over(*slice) <= over).collect();
        for slice in slices {
            for key in keys {
                if let Some(part) = self.slices.remove(slice, key) {
                    forget_values(&mut self.values, slice, key, &part);
                }
            }
        }
    }

    /// Lets go of what is due between two places, and not given then.
    pub(super) fn drop_between(&mut self, from: &Place, to: &Place, given: Option<i64>) {
        if let Some((end, _)) = &to.partial
            && given != Some(*end)
        {
            let keys = self.take_part(self.window_at(*end), from, to);
            self.drop_part(*end, &keys);
        }
    }

    /// Lets go of every slice that is over.
    pub(super) fn drop_through(&mut self, watermark: i64) {
        self.left.are_over(watermark);
        while let Some(slice) = self.slices.first_time()
            && self.over(slice) <= watermark
        {
            let Self { slices, values, .. } = self;
            slices.drop_time(slice, |key, part| forget_values(values, slice, key, &part));
        }
    }
}

fn forget_values(values: &mut ValueChanges, slice: i64, key: &[u8], part: &Part) {
    if part.accumulators.iter().any(|state| matches!(state, Accumulator::Values(_))) {
        values.drop_group(&TimeTable::<Part>::record_key(slice, key), &part.accumulators);
    }
}
