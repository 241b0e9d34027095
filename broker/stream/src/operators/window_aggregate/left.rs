//! What is left of a window that is given in part.

use super::super::Place;
use super::windows::Window;
use crate::state::TableKey;

/// The window that is given in part, and keys of its slices that are left: so that each part costs what it gives, and not
/// what is left. Derived, and made when a window is first given in part.
#[derive(Debug, Default)]
pub(super) struct Left(Option<Keys>);

#[derive(Debug)]
struct Keys {
    window: Window,
    /// No slice they are of ends behind.
    last_slice: i64,
    /// The first keys that are left, the first one last.
    keys: Vec<TableKey>,
    /// They are all that are left.
    all: bool,
}

impl Left {
    /// A slice has changed: its window's keys may be others.
    pub(super) fn changed(&mut self, slice_end: i64) {
        self.0.take_if(|left| slice_end <= left.last_slice);
    }

    /// A window is given.
    pub(super) fn is_over(&mut self, window: Window) {
        self.0.take_if(|left| left.window == window);
    }

    /// What is due at a time and before is over.
    pub(super) fn are_over(&mut self, watermark: i64) {
        self.0.take_if(|left| left.window.end <= watermark);
    }

    /// Not known any more.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// Whether so many of the first keys of a window are known, or all.
    pub(super) fn knows(&self, window: Window, most: usize) -> bool {
        self.0.as_ref().is_some_and(|left| left.window == window && (left.all || left.keys.len() >= most))
    }

    /// The first keys of a window, in their order, of slices up to the last one; whether they are all that are left.
    pub(super) fn set(&mut self, window: Window, last_slice: i64, mut keys: Vec<TableKey>, all: bool) {
        keys.reverse();
        self.0 = Some(Keys { window, last_slice, keys, all });
    }

    /// The first keys of a window, if they are known.
    pub(super) fn first(&self, window: Window, most: usize) -> Option<impl Iterator<Item = &TableKey>> {
        let left = self.0.as_ref()?;
        (left.window == window).then(|| left.keys.iter().rev().take(most))
    }

    /// Takes the keys of a window that are given before a place in it, in their order; `keys` are those of its slices, for
    /// when they are not known, and `all` says whether they are the ones beyond the place, too.
    pub(super) fn take<'k>(
        &mut self,
        (window, last_slice): (Window, i64),
        to: &Place,
        keys: impl Iterator<Item = &'k TableKey>,
        all: bool,
    ) -> Vec<TableKey> {
        let known = self.0.take().filter(|left| left.window == window);
        let is_known = known.is_some() || all;
        let mut left = known.unwrap_or_else(|| {
            let mut keys: Vec<_> = keys.cloned().collect();
            keys.sort_unstable_by(|left, right| right[1..].cmp(&left[1..]));
            keys.dedup();
            Keys { window, last_slice, keys, all }
        });
        let given = left.keys.partition_point(|key| !to.is_given(window.end, key));
        let mut taken = left.keys.split_off(given);
        taken.reverse();
        // If not, there may be others between those that are left.
        self.0 = is_known.then_some(left);
        taken
    }
}
