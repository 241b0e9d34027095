//! The operators, as plain data.

use serde::{Deserialize, Serialize};

use super::{Aggregate, Collect, Contenders, Expression, Join, Over, Rank, TemporalJoin, Upsert};

/// What a node does with its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Operator {
    /// The rows of a source; no input.
    Source {
        /// Its index in [`Plan::sources`](super::Plan::sources).
        source: usize,
    },
    /// Each row for which the filter is true becomes a row of these expressions. No state.
    Map {
        /// Only rows for which this is true go on.
        filter: Option<Expression>,
        /// One expression for each column, over the input's columns.
        outputs: Vec<Expression>,
    },
    /// Each row once for every window it lies in, with `window_start` and `window_end` behind its columns. No state.
    AssignWindows {
        /// The windows.
        kind: WindowKind,
        /// The `TIMESTAMP` column of the input that says when.
        time: usize,
    },
    /// The rows of all inputs. No state.
    Union,
    /// The same rows, whose time is from here on the frozen processing time: it passes an epoch's time when the epoch
    /// ends. No state.
    ProcessingTime,
    /// Only rows that may be the extreme of a window.
    Contenders(Contenders),
    /// One row for each group of each window.
    WindowAggregate(WindowAggregate),
    /// One row for each session of each group.
    SessionAggregate(SessionAggregate),
    /// One row for each group, changed whenever the group's rows change.
    GroupAggregate(Grouping),
    /// The first rows of each partition in an order.
    Rank(Rank),
    /// Functions over the rows around each row.
    Over(Over),
    /// The pairs of rows of two inputs that belong together.
    Join(Join),
    /// Each row of the first input with the row a table, the second, has for it.
    TemporalJoin(TemporalJoin),
    /// The rows of a source that replace one another, as changes.
    Upsert(Upsert),
    /// All rows of a table after every epoch that changed it.
    Collect(Collect),
}

/// A `GROUP BY` over windows. Its row: `window_start`, `window_end`, the keys, the aggregates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowAggregate {
    /// Which windows a row belongs to.
    pub window: WindowOf,
    /// The group's columns beside the window, by their index in the input.
    pub keys: Vec<usize>,
    /// The aggregates, each computed once however often it is written.
    pub aggregates: Vec<Aggregate>,
    /// When rows are given.
    pub emit: Emit,
}

/// When the rows of windows are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Emit {
    /// Once, when the window closes.
    OnClose,
    /// When the window closes, and changed by rows that come within a time behind it, in milliseconds.
    OnCloseAndLate {
        /// For how long.
        ms: i64,
    },
    /// Whenever the rows of the window change, until it closes.
    Changes,
    /// Once, when the first row of the group comes: of groups without aggregates, which nothing changes any more. Only
    /// where each row is in one window, and rows are only added.
    AtOnce,
}

/// How a row's window is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowOf {
    /// From its time.
    Assigned {
        /// The windows.
        kind: WindowKind,
        /// The `TIMESTAMP` column of the input that says when.
        time: usize,
    },
    /// From columns that an operator before has written.
    Given {
        /// The column of the window's start.
        start: usize,
        /// The column of the window's end.
        end: usize,
    },
}

/// Windows of fixed length, aligned to the epoch, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowKind {
    /// One after the other.
    Tumble {
        /// The length.
        size_ms: i64,
        /// How far the first window's start is from the epoch.
        offset_ms: i64,
    },
    /// Of one length, a new one after each slide.
    Hop {
        /// The length.
        size_ms: i64,
        /// The distance between two starts.
        slide_ms: i64,
        /// How far the first window's start is from the epoch.
        offset_ms: i64,
    },
    /// Windows that share a start and grow by a step up to a greatest length.
    Cumulate {
        /// The greatest length.
        size_ms: i64,
        /// By how much they grow.
        step_ms: i64,
        /// How far the first window's start is from the epoch.
        offset_ms: i64,
    },
}

/// A `GROUP BY` over sessions: windows that end when a group has had no row for a while. Its row: `window_start`,
/// `window_end`, the keys, the aggregates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionAggregate {
    /// The `TIMESTAMP` column of the input that says when.
    pub time: usize,
    /// For how long nothing must come, in milliseconds.
    pub gap_ms: i64,
    /// The group's columns beside the window, by their index in the input.
    pub keys: Vec<usize>,
    /// The aggregates.
    pub aggregates: Vec<Aggregate>,
    /// When rows are given; nothing changes a session that is over.
    pub emit: Emit,
}

/// A `GROUP BY` without a window. Its row: the keys, the aggregates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grouping {
    /// The group's columns, by their index in the input.
    pub keys: Vec<usize>,
    /// The aggregates.
    pub aggregates: Vec<Aggregate>,
    /// What keeps the state from growing for ever.
    pub bound: StateBound,
}

/// What keeps an operator's state from growing for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateBound {
    /// Nothing: the script says `UNBOUNDED`.
    Unbounded,
    /// What was not touched for so long, in milliseconds of the frozen processing time, is forgotten.
    TimeToLive {
        /// How long.
        ms: i64,
    },
}

impl StateBound {
    /// After how long something is forgotten that was not touched, in milliseconds; `None`: never.
    pub(crate) fn lives_ms(self) -> Option<i64> {
        match self {
            StateBound::TimeToLive { ms } => Some(ms),
            StateBound::Unbounded => None,
        }
    }
}

impl Operator {
    /// Makes an aggregate read the columns of its input elsewhere; false, and nothing changed, for other operators.
    pub(crate) fn read_columns_at(&mut self, at: impl Fn(usize) -> usize) -> bool {
        let (keys, aggregates) = match self {
            Operator::WindowAggregate(window) => {
                match &mut window.window {
                    WindowOf::Assigned { time, .. } => *time = at(*time),
                    WindowOf::Given { start, end } => (*start, *end) = (at(*start), at(*end)),
                }
                (&mut window.keys, &mut window.aggregates)
            }
            Operator::SessionAggregate(session) => {
                session.time = at(session.time);
                (&mut session.keys, &mut session.aggregates)
            }
            Operator::GroupAggregate(grouping) => (&mut grouping.keys, &mut grouping.aggregates),
            _ => return false,
        };
        keys.iter_mut().for_each(|key| *key = at(*key));
        aggregates.iter_mut().for_each(|aggregate| aggregate.remap_columns(&at));
        true
    }
}

impl WindowKind {
    /// The length of the longest window.
    pub fn size_ms(self) -> i64 {
        match self {
            WindowKind::Tumble { size_ms, .. }
            | WindowKind::Hop { size_ms, .. }
            | WindowKind::Cumulate { size_ms, .. } => size_ms,
        }
    }

    fn offset_ms(self) -> i64 {
        match self {
            WindowKind::Tumble { offset_ms, .. }
            | WindowKind::Hop { offset_ms, .. }
            | WindowKind::Cumulate { offset_ms, .. } => offset_ms,
        }
    }

    /// The length of a slice: every window consists of whole slices.
    pub fn slice_ms(self) -> i64 {
        match self {
            WindowKind::Tumble { size_ms, .. } => size_ms,
            WindowKind::Hop { size_ms, slide_ms, .. } => greatest_common_divisor(size_ms, slide_ms),
            WindowKind::Cumulate { step_ms, .. } => step_ms,
        }
    }

    /// The end of the slice an instant lies in.
    pub fn slice_end(self, time: i64) -> i64 {
        let (slice, offset) = (self.slice_ms(), self.offset_ms());
        (time - offset).div_euclid(slice) * slice + slice + offset
    }

    /// The windows a slice belongs to, as start and end, in the order of their ends.
    pub fn windows_of(self, slice_end: i64) -> impl Iterator<Item = (i64, i64)> {
        self.windows_between(slice_end, i64::MIN, i64::MAX)
    }

    /// Of the windows a slice belongs to, those that end behind `after` and not behind `through`.
    pub fn windows_between(
        self,
        slice_end: i64,
        after: i64,
        through: i64,
    ) -> impl Iterator<Item = (i64, i64)> {
        let (first, step, count) = self.ends_of(slice_end);
        let until = |instant: i64| match instant < first {
            true => 0,
            false => (instant.saturating_sub(first) / step).saturating_add(1).min(count),
        };
        let ends = (until(after)..until(through)).map(move |index| first + index * step);
        ends.map(move |end| (self.start_of(end), end))
    }

    /// The end of the last window a slice belongs to: when a watermark has passed it, nothing needs the slice.
    pub fn last_end(self, slice_end: i64) -> i64 {
        let (first, step, count) = self.ends_of(slice_end);
        if count == 0 { slice_end } else { first + (count - 1) * step }
    }

    /// The first end of a window behind an instant, whichever slices there are.
    pub fn next_end(self, after: i64) -> i64 {
        let (anchor, step) = match self {
            WindowKind::Tumble { size_ms, offset_ms } => (offset_ms, size_ms),
            WindowKind::Hop { size_ms, slide_ms, offset_ms } => (offset_ms + size_ms, slide_ms),
            WindowKind::Cumulate { step_ms, offset_ms, .. } => (offset_ms, step_ms),
        };
        after + 1 + (anchor - after - 1).rem_euclid(step)
    }

    /// The start of the window that ends there.
    pub fn start_of(self, end: i64) -> i64 {
        match self {
            WindowKind::Tumble { size_ms, .. } | WindowKind::Hop { size_ms, .. } => end - size_ms,
            WindowKind::Cumulate { size_ms, offset_ms, .. } => {
                (end - 1 - offset_ms).div_euclid(size_ms) * size_ms + offset_ms
            }
        }
    }

    /// How many windows an instant lies in at most.
    pub fn overlap(self) -> i64 {
        match self {
            WindowKind::Tumble { .. } => 1,
            WindowKind::Hop { size_ms, slide_ms, .. } => (size_ms + slide_ms - 1) / slide_ms,
            WindowKind::Cumulate { size_ms, step_ms, .. } => size_ms / step_ms,
        }
    }

    /// The ends of the windows a slice belongs to: the first, the distance between two, and how many there are.
    fn ends_of(self, slice_end: i64) -> (i64, i64, i64) {
        let offset = self.offset_ms();
        match self {
            WindowKind::Tumble { size_ms, .. } => (slice_end, size_ms, 1),
            WindowKind::Hop { size_ms, slide_ms, .. } => {
                // Ends are at size + k * slide from the offset; the first that is not before the slice's.
                let past = (slice_end - offset - size_ms).rem_euclid(slide_ms);
                let first = if past == 0 { slice_end } else { slice_end + slide_ms - past };
                let last_start = slice_end - self.slice_ms();
                let count = (last_start + size_ms - first).div_euclid(slide_ms) + 1;
                (first, slide_ms, count.max(0))
            }
            WindowKind::Cumulate { size_ms, step_ms, .. } => {
                let start = (slice_end - 1 - offset).div_euclid(size_ms) * size_ms + offset;
                (slice_end, step_ms, (start + size_ms - slice_end) / step_ms + 1)
            }
        }
    }
}

fn greatest_common_divisor(left: i64, right: i64) -> i64 {
    if right == 0 { left } else { greatest_common_divisor(right, left % right) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the definition: every window of the kind near the instant.
    fn by_definition(kind: WindowKind, time: i64) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        let (size, offset) = (kind.size_ms(), kind.offset_ms());
        match kind {
            WindowKind::Tumble { .. } => {
                let start = (time - offset).div_euclid(size) * size + offset;
                found.push((start, start + size));
            }
            WindowKind::Hop { slide_ms, .. } => {
                for k in (time - offset - size).div_euclid(slide_ms) - 1..=(time - offset) / slide_ms + 1 {
                    let start = k * slide_ms + offset;
                    if start <= time && time < start + size {
                        found.push((start, start + size));
                    }
                }
            }
            WindowKind::Cumulate { step_ms, .. } => {
                let start = (time - offset).div_euclid(size) * size + offset;
                let ends = (1..=size / step_ms).map(|k| start + k * step_ms);
                found.extend(ends.filter(|end| time < *end).map(|end| (start, end)));
            }
        }
        found
    }

    fn kinds() -> impl Strategy<Value = WindowKind> {
        prop_oneof![
            (1_i64..50, -20_i64..20)
                .prop_map(|(size_ms, offset_ms)| WindowKind::Tumble { size_ms, offset_ms }),
            (1_i64..50, 1_i64..70, -20_i64..20).prop_map(|(size_ms, slide_ms, offset_ms)| {
                WindowKind::Hop { size_ms, slide_ms, offset_ms }
            }),
            (1_i64..10, 1_i64..8, -20_i64..20).prop_map(|(step_ms, steps, offset_ms)| {
                WindowKind::Cumulate { size_ms: step_ms * steps, step_ms, offset_ms }
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_slice_knows_the_windows_of_its_instants(kind in kinds(), time in -500_i64..500) {
            let slice_end = kind.slice_end(time);
            prop_assert!(slice_end - kind.slice_ms() <= time && time < slice_end);
            let found: Vec<_> = kind.windows_of(slice_end).collect();
            prop_assert!(found.len() as i64 <= kind.overlap());
            prop_assert_eq!(kind.last_end(slice_end), found.last().map_or(slice_end, |(_, end)| *end));
            prop_assert_eq!(found, by_definition(kind, time));
        }

        #[test]
        fn windows_are_found_by_their_ends(
            kind in kinds(),
            time in -500_i64..500,
            after in -600_i64..600,
            length in 0_i64..100,
        ) {
            let slice_end = kind.slice_end(time);
            let through = after + length;
            let found: Vec<_> = kind.windows_between(slice_end, after, through).collect();
            let expected = kind.windows_of(slice_end).filter(|(_, end)| after < *end && *end <= through);
            prop_assert_eq!(found, expected.collect::<Vec<_>>());
            for (start, end) in kind.windows_of(slice_end) {
                prop_assert_eq!(kind.start_of(end), start);
                prop_assert_eq!(kind.next_end(end - 1), end);
            }
        }
    }
}
