//! Which windows there are.

use std::ops::Bound;

use crate::plan::WindowKind;
use crate::rows::NO_TIME;

/// One window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Window {
    pub(super) end: i64,
    pub(super) start: i64,
}

/// The first window behind an instant, and not behind `last`, that has a slice; `first_in` finds the first slice there.
pub(super) fn next_window(
    kind: WindowKind,
    after: i64,
    last: i64,
    first_in: impl Fn(Bound<i64>, i64) -> Option<i64>,
) -> Option<Window> {
    let mut none_through = Bound::Unbounded;
    if after != NO_TIME {
        if after >= last {
            return None;
        }
        // A slice that is there already, or the next one.
        let end = kind.next_end(after);
        let start = kind.start_of(end);
        if end <= last && first_in(Bound::Excluded(start), end).is_some() {
            return Some(Window { end, start });
        }
        none_through = Bound::Excluded(end);
    }
    loop {
        let slice = first_in(none_through, last)?;
        if let Some((start, end)) = kind.windows_between(slice, after, i64::MAX).next() {
            return (end <= last).then_some(Window { end, start });
        }
        // It lies between two windows.
        none_through = Bound::Excluded(slice);
    }
}
