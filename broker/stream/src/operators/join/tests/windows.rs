//! Joins of windows: whichever side comes first, and whenever its rows come, the sum is the join of all that were in time.

use std::collections::BTreeSet;

use super::*;
use crate::rows::PIECE_BYTES;

const WINDOWED: [DataType; 3] = [DataType::BigInt, DataType::Timestamp, DataType::String];

/// A key, which may be missing, the end of a window, and a value.
type Row = (Option<i64>, i64, i64);
type Pair = (Option<Row>, Option<Row>);

/// Rows of one key and window that follow each other.
#[derive(Debug, Clone)]
struct Run {
    key: Option<i64>,
    /// How far its window's end is from the time of the epoch.
    ahead: i64,
    /// How far the source's time is ahead of the epoch's when they come.
    watermark: i64,
    values: Vec<i64>,
}

#[derive(Debug, Clone)]
struct Epoch {
    sides: [Vec<Run>; 2],
    /// Rows of a chunk.
    cut: usize,
    /// How far time goes on behind it, if it does.
    step: i64,
    in_parts: bool,
    restore: bool,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let key = prop::option::weighted(0.9, 0_i64..2);
    // Most rows are in time, many of them in windows that stay open for some epochs.
    let watermark = prop_oneof![4 => Just(0), 1 => 0_i64..4];
    let run = (key, 0_i64..6, watermark, prop::collection::vec(0_i64..3, 1..5))
        .prop_map(|(key, ahead, watermark, values)| Run { key, ahead, watermark, values });
    prop_oneof![1 => Just(Vec::new()), 4 => prop::collection::vec(run, 0..5)]
}

fn epochs() -> impl Strategy<Value = Vec<Epoch>> {
    let step = prop_oneof![2 => Just(0), 3 => 1_i64..4];
    let epoch = (runs(), runs(), 1_usize..12, step, any::<bool>(), any::<bool>()).prop_map(
        |(left, right, cut, step, in_parts, restore)| Epoch {
            sides: [left, right],
            cut,
            step,
            in_parts,
            restore,
        },
    );
    prop::collection::vec(epoch, 1..8)
}

fn text(value: i64) -> Value {
    Value::String(value.to_string())
}

fn columns((key, end, of_row): Row) -> Vec<Value> {
    vec![value(key), Value::Timestamp(end), text(of_row)]
}

/// The row that a side of a joined row is.
fn row_of(values: &[Value]) -> Option<Row> {
    let [key, Value::Timestamp(end), Value::String(text)] = values else {
        assert!(values.iter().all(|value| *value == Value::Null), "{values:?}");
        return None;
    };
    Some((number(key.clone()), *end, text.parse().unwrap()))
}

fn pair_of(rows: &Rows, row: usize) -> Pair {
    let values = rows.values(row);
    let (left, right) = values.split_at(WINDOWED.len());
    (row_of(left), row_of(right))
}

fn windows(kind: JoinKind, condition: bool) -> plan::Join {
    plan::Join {
        kind,
        left: side(WINDOWED.len()),
        right: side(WINDOWED.len()),
        condition: condition.then(|| less(2, 5, DataType::String)),
        bound: JoinBound::Window { left: 1, right: 1 },
    }
}

fn joined(kind: JoinKind, condition: bool, left: &[Row], right: &[Row]) -> BTreeMap<Pair, i64> {
    let is_pair = |left: &Row, right: &Row| {
        left.0.is_some() && (left.0, left.1) == (right.0, right.1) && (!condition || left.2 < right.2)
    };
    let mut joined = BTreeMap::new();
    let mut add = |pair: Pair| *joined.entry(pair).or_insert(0) += 1;
    for l in left {
        right.iter().filter(|r| is_pair(l, r)).for_each(|r| add((Some(*l), Some(*r))));
        if kind.keeps_left() && !right.iter().any(|r| is_pair(l, r)) {
            add((Some(*l), None));
        }
    }
    for r in right {
        if kind.keeps_right() && !left.iter().any(|l| is_pair(l, r)) {
            add((None, Some(*r)));
        }
    }
    joined
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Rows of either side come in any epoch in which their window is open, the many or the few first: pairs are given at
    /// once, a row without a partner when its window closes, and nothing is kept of a window that has.
    #[test]
    fn a_window_join_is_the_join_of_all_rows_in_time(
        kind in kinds(),
        condition in any::<bool>(),
        on_close in any::<bool>(),
        piece_bytes in prop_oneof![1_usize..10, Just(PIECE_BYTES)],
        epochs in epochs(),
        last in prop_oneof![Just(END_OF_TIME), Just(1_000)],
    ) {
        let join = windows(kind, condition);
        let fresh = || {
            let join = TimedJoin::in_windows(&join, [1, 1], [&WINDOWED, &WINDOWED]);
            let join = join.copying_in_pieces_of(piece_bytes);
            if on_close { join.on_close() } else { join }
        };
        let mut operator: Box<dyn Operator> = Box::new(fresh());
        let mut changelog = Changelog::default();
        let mut sides: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let mut table: BTreeMap<Pair, i64> = BTreeMap::new();
        let mut open: BTreeSet<i64> = BTreeSet::new();
        let mut place = Place::behind(NO_TIME);
        let mut now = 0;
        let end = Epoch { sides: [Vec::new(), Vec::new()], cut: 1, step: last, in_parts: false, restore: true };
        for epoch in epochs.into_iter().chain([end]) {
            let mut late = Vec::new();
            let mut inputs: Vec<Vec<Keyed>> = Vec::new();
            let mut counts = Vec::new();
            for (of, runs) in epoch.sides.iter().enumerate() {
                let mut input: Vec<(Vec<Value>, Mark)> = Vec::new();
                for Run { key, ahead, watermark, values } in runs {
                    // Before time goes on for the first time, nothing is late.
                    let watermark = if place.watermark == NO_TIME { NO_TIME } else { now + watermark };
                    for value in values {
                        let row = (*key, now + ahead, *value);
                        let order = input.len();
                        let origin = (order + 1_000 * of) as u64;
                        input.push((columns(row), Mark { watermark, origin, ..mark(order, false) }));
                        if row.1 <= watermark {
                            late.push(origin);
                            continue;
                        }
                        sides[of].push(row);
                        open.extend(key.map(|_| row.1));
                    }
                }
                counts.push(input.len());
                inputs.push(input.chunks(epoch.cut).map(|chunk| rows(&WINDOWED, chunk)).collect());
            }
            let mut out = Output::new();
            let time = EpochTime { now: 0, before: place.watermark, epoch: 0 };
            operator.stands_at(&place);
            operator.hears_of(&counts);
            operator.process(time, inputs, &mut out);
            if epoch.step > 0 {
                now = now.saturating_add(epoch.step);
                if epoch.in_parts {
                    place = give_in_parts(&mut *operator, time, place, now, &mut out)?;
                }
                operator.advance(time, &place, &Place::behind(now), &mut out);
                place = Place::behind(now);
            }
            let closed: BTreeSet<i64> = open.extract_if(..=place.watermark, |_| true).collect();
            prop_assert_eq!(std::mem::take(&mut out.closed), closed, "each window is counted when it closes");
            out.late.sort_unstable();
            prop_assert_eq!(std::mem::take(&mut out.late), late);
            for rows in given(out) {
                for row in 0..rows.len() {
                    prop_assert_eq!(rows.marks[row].watermark, time.before);
                    *table.entry(pair_of(&rows, row)).or_insert(0) += 1;
                }
            }
            // Pairs are given at once, and a row without a partner when its window closes, or it has no key.
            let mut expected = joined(kind, condition, &sides[LEFT], &sides[RIGHT]);
            expected.retain(|pair, _| match pair {
                (Some(_), Some(_)) | (None, None) => true,
                (Some((key, end, _)), None) | (None, Some((key, end, _))) => {
                    key.is_none() || *end <= place.watermark
                }
            });
            prop_assert_eq!(&table, &expected);
            operator = if epoch.restore {
                changelog.move_to(operator, fresh())
            } else {
                operator.drain_changes(&mut changelog);
                operator
            };
            let is_kept = |row: &&Row| row.0.is_some() && row.1 > place.watermark;
            let kept = |of: usize, noted: bool| {
                let rows: Vec<&Row> = sides[of].iter().filter(is_kept).collect();
                // Rows on which something is noted are kept once if they are equal.
                if noted { rows.into_iter().collect::<BTreeSet<_>>().len() } else { rows.len() }
            };
            let entries = kept(LEFT, kind.keeps_left()) + kept(RIGHT, kind.keeps_right());
            prop_assert_eq!(operator.size().entries, entries as u64);
            prop_assert_eq!(operator.window_ends().len(), open.len());
        }
        prop_assert_eq!((operator.size(), operator.log_bytes()), Default::default());
        prop_assert!(changelog.entries.is_empty() && changelog.logs.is_empty());
    }
}

/// Rows of one window, of both sides, and what they give; each side's rows come from a partition of its own.
fn partitions_of_pairs(mut operator: TimedJoin, counts: [usize; 2]) -> Vec<i32> {
    let of_side = |of: usize| {
        let mark = |order| Mark { partition: of as i32, ..mark(order, false) };
        let input: Vec<_> = (0..counts[of]).map(|order| (columns((Some(1), 10, 0)), mark(order))).collect();
        vec![rows(&WINDOWED, &input)]
    };
    let mut out = Output::new();
    operator.hears_of(&counts);
    operator.process(
        EpochTime { now: 0, before: NO_TIME, epoch: 0 },
        vec![of_side(LEFT), of_side(RIGHT)],
        &mut out,
    );
    given(out).iter().flat_map(|rows| &rows.marks).map(|mark| mark.partition).collect()
}

/// The rows that come last stand for the pairs: the many, if both sides come when the window closes, and else the right ones.
#[test]
fn the_few_come_first_where_both_sides_come_when_the_window_closes() {
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full] {
        let join = windows(kind, false);
        let operator = || TimedJoin::in_windows(&join, [1, 1], [&WINDOWED, &WINDOWED]);
        for (counts, last) in [([3, 2], LEFT), ([2, 3], RIGHT), ([2, 2], RIGHT)] {
            let pairs = counts[LEFT] * counts[RIGHT];
            let on_close = partitions_of_pairs(operator().on_close(), counts);
            assert_eq!(on_close, vec![last as i32; pairs], "{kind:?}, {counts:?}");
            let as_they_come = partitions_of_pairs(operator(), counts);
            assert_eq!(as_they_come, vec![RIGHT as i32; pairs], "{kind:?}, {counts:?}");
        }
    }
}

/// What comes last and goes with the epoch is never put among the rows of its side: only where they go is told.
#[test]
fn rows_whose_window_closes_with_the_epoch_are_not_stored() {
    let join = windows(JoinKind::Inner, false);
    for few in [LEFT, RIGHT] {
        let mut operator = TimedJoin::in_windows(&join, [1, 1], [&WINDOWED, &WINDOWED]).on_close();
        let of_side = |rows_of_window: i64| {
            let ends = (0..rows_of_window).flat_map(|_| [10, 20]).enumerate();
            let input: Vec<_> =
                ends.map(|(order, end)| (columns((Some(1), end, 0)), mark(order, false))).collect();
            vec![rows(&WINDOWED, &input)]
        };
        let inputs = [LEFT, RIGHT].map(|side| of_side(if side == few { 1 } else { 3 }));
        operator.hears_of(&[LEFT, RIGHT].map(|side| inputs[side][0].rows.len()));
        operator.process(EpochTime { now: 0, before: NO_TIME, epoch: 0 }, inputs.into(), &mut Output::new());
        assert_eq!(operator.size().entries, 2, "the few of both windows");
        assert_eq!(operator.settle(10), BTreeSet::from([10]));
        assert_eq!(operator.size().entries, 2 + 3, "the many of the window that is open");
        assert_eq!(operator.settle(20), BTreeSet::new(), "nothing is left for later");
    }
}

/// Two rows share a stored one, so that the first piece has as many candidates as there are stored rows: they are not the
/// same ones.
#[test]
fn a_piece_of_the_candidates_is_judged_by_its_own_stored_rows() {
    let join = windows(JoinKind::Inner, true);
    let operator = TimedJoin::in_windows(&join, [1, 1], [&WINDOWED, &WINDOWED]);
    // Each candidate is a byte of the left rows' text.
    let mut operator = operator.copying_in_pieces_of(4);
    let (u, v) = (Some(1), Some(2));
    let stored = [(u, 10, 5), (v, 10, 1), (v, 10, 2), (v, 10, 3)];
    let probing = [(u, 10, 4), (u, 10, 4), (v, 10, 2)];
    let mut given_of = |of: usize, side: &[Row]| {
        let input: Vec<_> =
            side.iter().enumerate().map(|(order, row)| (columns(*row), mark(order, false))).collect();
        let mut inputs = vec![Vec::new(), Vec::new()];
        inputs[of].push(rows(&WINDOWED, &input));
        let mut out = Output::new();
        operator.process(EpochTime { now: 0, before: NO_TIME, epoch: 0 }, inputs, &mut out);
        let pairs = |rows: Rows| (0..rows.len()).map(|row| pair_of(&rows, row)).collect::<Vec<_>>();
        given(out).into_iter().flat_map(pairs).collect::<Vec<_>>()
    };
    assert_eq!(given_of(RIGHT, &stored), []);
    let pair = |left: usize, right: usize| (Some(probing[left]), Some(stored[right]));
    assert_eq!(given_of(LEFT, &probing), [pair(0, 0), pair(1, 0), pair(2, 3)]);
}
