//! What is left of a window that is given in part.

use std::sync::Arc;

use super::super::Place;
use super::windows::Window;

/// The window that is given in part, and the keys of its slices that are left, the first one last: so that each part costs
/// what it gives, and not what is left. Derived, and made when a window is first given in part.
#[derive(Debug, Default)]
pub(super) struct Left(Option<(Window, Vec<Arc<[u8]>>)>);

impl Left {
    /// A slice has changed: its window's keys may be others.
    pub(super) fn changed(&mut self, slice_end: i64) {
        self.0.take_if(|(window, _)| slice_end <= window.end);
    }

    /// A window is given.
    pub(super) fn is_over(&mut self, window: Window) {
        self.0.take_if(|(of, _)| *of == window);
    }

    /// The first keys of a window, if they are known.
    pub(super) fn first(&self, window: Window, most: usize) -> Option<impl Iterator<Item = &Arc<[u8]>>> {
        let (of, left) = self.0.as_ref()?;
        (*of == window).then(|| left.iter().rev().take(most))
    }

    /// Takes the keys of a window that are given before a place in it, in their order; `keys` are those of its slices, for
    /// when they are not known.
    pub(super) fn take<'k>(
        &mut self,
        window: Window,
        to: &Place,
        keys: impl Iterator<Item = &'k Arc<[u8]>>,
    ) -> Vec<Arc<[u8]>> {
        let mut left = match self.0.take() {
            Some((of, left)) if of == window => left,
            _ => {
                let mut left: Vec<_> = keys.cloned().collect();
                left.sort_unstable_by(|left, right| right[1..].cmp(&left[1..]));
                left.dedup();
                left
            }
        };
        let given = left.partition_point(|key| !to.is_given(window.end, key));
        let mut taken = left.split_off(given);
        taken.reverse();
        self.0 = Some((window, left));
        taken
    }
}
