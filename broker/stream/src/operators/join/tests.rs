//! The algebra of joins: what was given and not taken back is, after every epoch, the join of what came in so far.

mod forgetting;
mod room;
mod windows;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{EpochTime, Keyed, Operator, Output, Place};
use super::joined::{LEFT, RIGHT};
use super::{LookupJoin, RegularJoin, TemporalJoin, TimedJoin};
use crate::plan::{self, BinaryOperator, Expression, JoinBound, JoinKind, JoinSide, StateBound, Versions};
use crate::rows::{END_OF_TIME, Mark, NO_TIME, Rows, RowsBuilder};
use crate::state::{Appended, ChangelogSink, KeyGroups, Keys};
use crate::value::{DataType, Value};

/// A key, which may be missing, and a value.
type Row = (Option<i64>, i64);
/// A joined row: either side may be missing.
type Pair = (Option<Row>, Option<Row>);

const TYPES: [DataType; 2] = [DataType::BigInt, DataType::BigInt];

fn value(number: Option<i64>) -> Value {
    number.map_or(Value::Null, Value::BigInt)
}

fn number(value: Value) -> Option<i64> {
    match value {
        Value::BigInt(number) | Value::Timestamp(number) => Some(number),
        _ => None,
    }
}

fn rows(types: &[DataType], of: &[(Vec<Value>, Mark)]) -> Keyed {
    let mut builder = RowsBuilder::new(types);
    of.iter().for_each(|(values, mark)| builder.push(*mark, values));
    let rows = builder.finish();
    let keys = Keys::of(&rows, &[0], KeyGroups::DEFAULT);
    Keyed { rows, keys }
}

fn mark(order: usize, back: bool) -> Mark {
    Mark { order: order as u64, origin: order as u64, timestamp: 0, watermark: NO_TIME, partition: 0, back }
}

fn side(columns: usize) -> JoinSide {
    JoinSide { keys: vec![0], columns: (0..columns).collect() }
}

/// The left value is less than the right one.
fn less(left: usize, right: usize, data_type: DataType) -> Expression {
    let column = |index: usize| Box::new(Expression::Column { index, data_type, name: format!("c{index}") });
    Expression::Binary { operator: BinaryOperator::Less, left: column(left), right: column(right) }
}

/// A key, and what its row holds.
type LoggedRow = (Vec<u8>, Vec<u8>);

/// The changelog as its topic is once it is compacted.
#[derive(Default)]
struct Changelog {
    entries: BTreeMap<(u8, Vec<u8>), Vec<u8>>,
    /// The rows of each span of the logs: key and row.
    logs: BTreeMap<(u8, i64), Vec<LoggedRow>>,
}

impl ChangelogSink for Changelog {
    fn put(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.entries.insert((table, key.to_vec()), value.to_vec()),
            None => self.entries.remove(&(table, key.to_vec())),
        };
    }

    fn append(&mut self, Appended { table, span, key, row, .. }: Appended<'_>) {
        self.logs.entry((table, span)).or_default().push((key.to_vec(), row.to_vec()));
    }

    fn forget(&mut self, table: u8, span: i64) {
        assert!(self.logs.remove(&(table, span)).is_some(), "nothing goes that was not there");
    }
}

impl Changelog {
    /// Takes an epoch's changes, and puts the state into a fresh operator.
    fn move_to(&mut self, mut from: impl Operator, mut to: impl Operator + 'static) -> Box<dyn Operator> {
        from.drain_changes(self);
        for ((table, key), value) in &self.entries {
            to.restore(*table, key, Some(value)).unwrap();
        }
        for ((table, span), rows) in &self.logs {
            rows.iter().for_each(|(key, row)| to.restore_row(*table, *span, key, row).unwrap());
        }
        assert_eq!(from.size().entries, to.size().entries);
        Box::new(to)
    }
}

impl Operator for Box<dyn Operator> {
    fn stands_at(&mut self, place: &Place) {
        (**self).stands_at(place);
    }
    fn hears_of(&mut self, rows: &[usize]) {
        (**self).hears_of(rows);
    }
    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        (**self).process(time, inputs, out);
    }
    fn due(&self, from: &Place, watermark: i64) -> super::super::Due {
        (**self).due(from, watermark)
    }
    fn due_rows(&self, from: &Place, end: i64, most: usize) -> Vec<(std::sync::Arc<[u8]>, usize)> {
        (**self).due_rows(from, end, most)
    }
    fn advance(&mut self, time: EpochTime, from: &Place, to: &Place, out: &mut Output) {
        (**self).advance(time, from, to, out);
    }
    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        (**self).drain_changes(log);
    }
    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        (**self).restore(table, key, value)
    }
    fn restore_row(&mut self, table: u8, span: i64, key: &[u8], row: &[u8]) -> Result<(), String> {
        (**self).restore_row(table, span, key, row)
    }
    fn next_due(&self, from: &Place) -> Option<i64> {
        (**self).next_due(from)
    }
    fn forget(&mut self, table: u8, span: i64) {
        (**self).forget(table, span);
    }
    fn size(&self) -> super::super::StateSize {
        (**self).size()
    }
    fn log_bytes(&self) -> u64 {
        (**self).log_bytes()
    }
    fn window_ends(&self) -> std::collections::BTreeSet<i64> {
        (**self).window_ends()
    }
    // Nothing is left to the trait: in tests every operator in a box is called by way of this.
    fn spilling(&mut self) -> Option<&mut dyn super::super::Spilling> {
        (**self).spilling()
    }
}

fn given(mut out: Output) -> Vec<Rows> {
    assert_eq!(out.faults.take(), None);
    out.rows.into_iter().chain(out.timed.into_iter().map(|timed| timed.rows)).collect()
}

/// Gives some of the first rows that are due, in parts, and never the last of an end: with that an end is whole. Tells how far.
fn give_in_parts(
    operator: &mut dyn Operator,
    time: EpochTime,
    mut place: Place,
    watermark: i64,
    out: &mut Output,
) -> Result<Place, TestCaseError> {
    let Some((end, rows)) = operator.due(&place, watermark).pop_first() else { return Ok(place) };
    let keys = operator.due_rows(&place, end, usize::MAX);
    prop_assert_eq!(rows, keys.iter().map(|(_, rows)| rows).sum::<usize>());
    for first in [keys.len() / 3, keys.len() / 2] {
        let Some((last, _)) = keys.get(first).filter(|_| first + 1 < keys.len()) else { continue };
        let part = Place { watermark: place.watermark, partial: Some((end, last.clone())) };
        operator.advance(time, &place, &part, out);
        let left = &keys[first + 1..];
        prop_assert_eq!(&operator.due_rows(&part, end, usize::MAX), left);
        let some = operator.due_rows(&part, end, 1);
        // Of each side it is the first ones: which of them all come behind these two, nobody asks.
        prop_assert!(
            some.iter().take(2).eq(left.iter().take(2)) && some.iter().all(|row| left.contains(row))
        );
        let due = operator.due(&part, watermark).remove(&end).unwrap_or(0);
        prop_assert_eq!(due, left.iter().map(|(_, rows)| rows).sum::<usize>());
        place = part;
    }
    Ok(place)
}

fn pairs(kind: JoinKind, condition: bool, left: &[Row], right: &[Row]) -> BTreeMap<Pair, i64> {
    let mut joined = BTreeMap::new();
    let mut add = |pair: Pair| *joined.entry(pair).or_insert(0) += 1;
    let is_pair =
        |left: &Row, right: &Row| left.0.is_some() && left.0 == right.0 && (!condition || left.1 < right.1);
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

/// Near on both sides, on one, on one and far, and never at the same time.
fn intervals() -> impl Strategy<Value = (i64, i64)> {
    prop_oneof![
        (-6_i64..6, 0_i64..6).prop_map(|(least, length)| (least, least + length)),
        (0_i64..60).prop_map(|most| (0, most)),
        (0_i64..60).prop_map(|least| (-least, 0)),
        (-60_i64..60, 0_i64..2).prop_map(|(least, length)| (least, least + length)),
    ]
}

fn kinds() -> impl Strategy<Value = JoinKind> {
    prop_oneof![Just(JoinKind::Inner), Just(JoinKind::Left), Just(JoinKind::Right), Just(JoinKind::Full)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// I12, and I1 for joins: the sum of the changes is the table, on every prefix; nothing is taken back that is not
    /// there.
    #[test]
    fn changes_sum_to_the_join_of_every_prefix(
        kind in kinds(),
        condition in any::<bool>(),
        ttl in any::<bool>(),
        epochs in prop::collection::vec(
            prop::collection::vec((any::<bool>(), prop::option::weighted(0.9, 0_i64..3), 0_i64..4, 0_u8..3), 0..12),
            1..8,
        ),
    ) {
        // A time to live that nothing reaches changes nothing.
        let bound = if ttl { StateBound::TimeToLive { ms: 1_000 } } else { StateBound::Unbounded };
        let join = plan::Join {
            kind,
            left: side(2),
            right: side(2),
            condition: condition.then(|| less(1, 3, DataType::BigInt)),
            bound: JoinBound::State(bound),
        };
        let fresh = || RegularJoin::new(&join, bound, [&TYPES, &TYPES]);
        let mut operator: Box<dyn Operator> = Box::new(fresh());
        let mut changelog = Changelog::default();
        let mut sides: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let mut table: BTreeMap<Pair, i64> = BTreeMap::new();
        for (epoch, steps) in epochs.into_iter().enumerate() {
            let mut inputs: [Vec<(Vec<Value>, Mark)>; 2] = [Vec::new(), Vec::new()];
            for (of_right, key, number, step) in steps {
                let of = usize::from(of_right);
                let row = (key, number);
                let known = sides[of].iter().position(|known| *known == row);
                let back = step == 0 && known.is_some();
                match known.filter(|_| back) {
                    Some(at) => drop(sides[of].remove(at)),
                    None => sides[of].push(row),
                }
                let order = inputs[of].len();
                inputs[of].push((vec![value(key), Value::BigInt(number)], mark(order, back)));
            }
            let mut out = Output::new();
            let time = EpochTime { now: epoch as i64, before: NO_TIME, epoch: 0 };
            let inputs = inputs.iter().map(|input| vec![rows(&TYPES, input)]).collect();
            operator.process(time, inputs, &mut out);
            let mut last = 0;
            for rows in given(out) {
                for row in 0..rows.len() {
                    let mark = rows.marks[row];
                    prop_assert!(mark.order >= last, "rows are in the order of their causes");
                    last = mark.order;
                    let mut values = rows.values(row).into_iter().map(number);
                    let mut one = || (values.next().unwrap(), values.next().unwrap());
                    let (left, right) = (one(), one());
                    let there = |(key, number): (Option<i64>, Option<i64>)| number.map(|number| (key, number));
                    let count = table.entry((there(left), there(right))).or_insert(0);
                    *count += if mark.back { -1 } else { 1 };
                    prop_assert!(*count >= 0, "a row is taken back that is not there");
                }
            }
            table.retain(|_, count| *count != 0);
            prop_assert_eq!(&table, &pairs(kind, condition, &sides[LEFT], &sides[RIGHT]));
            operator = changelog.move_to(operator, fresh());
        }
    }

    /// Rows of an interval join, in any order that their watermarks allow, make the pairs and the rows without a
    /// partner that a join of everything makes; and at the end of time there is no state.
    #[test]
    fn an_interval_join_is_the_join_of_everything(
        kind in kinds(),
        condition in any::<bool>(),
        (least, most) in intervals(),
        steps in prop::collection::vec((any::<bool>(), 0_i64..2, 0_i64..4, 0_i64..3), 0..60),
        rows_in_epoch in 1_usize..10,
        in_parts in any::<bool>(),
    ) {
        const TYPES: [DataType; 2] = [DataType::BigInt, DataType::Timestamp];
        let join = plan::Join {
            kind,
            left: side(2),
            right: side(2),
            condition: condition.then(|| less(1, 3, DataType::Timestamp)),
            bound: JoinBound::Interval { left: 1, right: 1, least_ms: least, most_ms: most },
        };
        let fresh = || TimedJoin::in_interval(&join, [1, 1], least..=most, [&TYPES, &TYPES]);
        let mut operator: Box<dyn Operator> = Box::new(fresh());
        let mut changelog = Changelog::default();
        let mut sides: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let mut table: BTreeMap<Pair, i64> = BTreeMap::new();
        let mut place = Place::behind(NO_TIME);
        // Both sides' time goes on by up to 3 at a step; a row is up to 2 behind it.
        let mut now = 0;
        let mut epochs: Vec<(Vec<(usize, Row)>, i64)> = Vec::new();
        for chunk in steps.chunks(rows_in_epoch) {
            let mut taken = Vec::new();
            for (of_right, key, behind, forward) in chunk {
                taken.push((usize::from(*of_right), (Some(*key), now + 2 - behind.min(&2))));
                now += forward;
            }
            // No row behind it comes later.
            epochs.push((taken, now));
        }
        epochs.push((Vec::new(), END_OF_TIME));
        for (taken, watermark) in epochs {
            let mut inputs: [Vec<(Vec<Value>, Mark)>; 2] = [Vec::new(), Vec::new()];
            for (of, row) in taken {
                sides[of].push(row);
                let order = inputs[of].len();
                let mark = Mark { watermark: place.watermark, ..mark(order, false) };
                inputs[of].push((vec![value(row.0), Value::Timestamp(row.1)], mark));
            }
            let mut out = Output::new();
            let time = EpochTime { now: 0, before: place.watermark, epoch: 0 };
            let inputs = inputs.iter().map(|input| vec![rows(&TYPES, input)]).collect();
            operator.process(time, inputs, &mut out);
            if in_parts {
                place = give_in_parts(&mut *operator, time, place, watermark, &mut out)?;
            }
            operator.advance(time, &place, &Place::behind(watermark), &mut out);
            place = Place::behind(watermark);
            prop_assert!(out.late.is_empty());
            for rows in given(out) {
                for row in 0..rows.len() {
                    let mut values = rows.values(row).into_iter().map(number);
                    let mut one = || (values.next().unwrap(), values.next().unwrap());
                    let (left, right) = (one(), one());
                    let there = |(key, number): (Option<i64>, Option<i64>)| number.map(|number| (key, number));
                    *table.entry((there(left), there(right))).or_insert(0) += 1;
                    for at in [left.1, right.1].into_iter().flatten() {
                        let held = super::super::held_back(time.before, join.delay_ms());
                        prop_assert!(at >= held, "{at} is behind {held}");
                        prop_assert_eq!(rows.marks[row].watermark, held);
                    }
                }
            }
            operator = changelog.move_to(operator, fresh());
        }
        let mut expected = BTreeMap::new();
        let near = |left: &Row, right: &Row| {
            left.0 == right.0 && (least..=most).contains(&(left.1 - right.1)) && (!condition || left.1 < right.1)
        };
        for l in &sides[LEFT] {
            for r in sides[RIGHT].iter().filter(|r| near(l, r)) {
                *expected.entry((Some(*l), Some(*r))).or_insert(0) += 1;
            }
            if kind.keeps_left() && !sides[RIGHT].iter().any(|r| near(l, r)) {
                *expected.entry((Some(*l), None)).or_insert(0) += 1;
            }
        }
        for r in &sides[RIGHT] {
            if kind.keeps_right() && !sides[LEFT].iter().any(|l| near(l, r)) {
                *expected.entry((None, Some(*r))).or_insert(0) += 1;
            }
        }
        prop_assert_eq!(table, expected);
        prop_assert_eq!(operator.size(), super::super::StateSize::default());
        prop_assert!(changelog.entries.is_empty() && changelog.logs.is_empty());
    }

    /// Whatever the order in which the rows of both sides come, a row finds the version of its time.
    #[test]
    fn a_temporal_join_finds_the_version_of_the_time(
        keeps_left in any::<bool>(),
        asks in prop::collection::vec((0_i64..2, 0_i64..20), 0..30),
        versions in prop::collection::btree_map((0_i64..2, 0_i64..20), prop::option::weighted(0.8, 0_i64..100), 0..20),
        order in prop::collection::vec(any::<prop::sample::Index>(), 60),
        rows_in_epoch in 1_usize..10,
    ) {
        const TABLE: [DataType; 3] = [DataType::BigInt, DataType::Timestamp, DataType::BigInt];
        const ASKS: [DataType; 2] = [DataType::BigInt, DataType::Timestamp];
        let join = plan::TemporalJoin {
            keeps_left,
            left: side(2),
            right: side(3),
            condition: None,
            versions: Versions::AsOf { left: 1, right: 1 },
        };
        let fresh = || TemporalJoin::new(&join, [1, 1], [&ASKS, &TABLE]);
        let mut operator: Box<dyn Operator> = Box::new(fresh());
        let mut changelog = Changelog::default();
        // Any order, but by steps of 5 in time, so that the watermark can follow.
        let mut steps: Vec<(i64, usize, usize, Vec<Value>, Mark)> = Vec::new();
        for (index, (key, at)) in asks.iter().enumerate() {
            let values = vec![Value::BigInt(*key), Value::Timestamp(*at)];
            steps.push((at / 5, order[index].index(100), LEFT, values, mark(0, false)));
        }
        for (index, ((key, at), row)) in versions.iter().enumerate() {
            let values = vec![Value::BigInt(*key), row.map_or(Value::Null, |_| Value::Timestamp(*at)), value(*row)];
            let mark = Mark { timestamp: *at, ..mark(0, row.is_none()) };
            steps.push((at / 5, order[30 + index].index(100), RIGHT, values, mark));
        }
        steps.sort_by_key(|(time, order, _, _, _)| (*time, *order));
        let mut found: Vec<(i64, i64, Option<i64>)> = Vec::new();
        let mut place = Place::behind(NO_TIME);
        let mut chunks: Vec<_> = steps.chunks(rows_in_epoch).map(<[_]>::to_vec).collect();
        chunks.push(Vec::new());
        for (index, chunk) in chunks.iter().enumerate() {
            let watermark = match chunks[index + 1..].iter().flatten().next() {
                Some((time, _, _, _, _)) => time * 5,
                None => END_OF_TIME,
            };
            let mut inputs: [Vec<(Vec<Value>, Mark)>; 2] = [Vec::new(), Vec::new()];
            for (_, _, of, values, mark) in chunk {
                inputs[*of].push((values.clone(), Mark { order: inputs[*of].len() as u64, ..*mark }));
            }
            let mut out = Output::new();
            let time = EpochTime { now: 0, before: place.watermark, epoch: 0 };
            operator.process(time, vec![vec![rows(&ASKS, &inputs[0])], vec![rows(&TABLE, &inputs[1])]], &mut out);
            operator.advance(time, &place, &Place::behind(watermark), &mut out);
            place = Place::behind(watermark);
            prop_assert!(out.late.is_empty());
            for rows in given(out) {
                for row in 0..rows.len() {
                    let mut values = rows.values(row).into_iter().map(number);
                    let (key, at) = (values.next().unwrap().unwrap(), values.next().unwrap().unwrap());
                    prop_assert_eq!(rows.marks[row].timestamp, at);
                    found.push((at, key, values.nth(2).unwrap()));
                }
            }
            operator = changelog.move_to(operator, fresh());
        }
        let mut expected: Vec<(i64, i64, Option<i64>)> = Vec::new();
        for (key, at) in &asks {
            let version = versions.range((*key, 0)..=(*key, *at)).next_back().and_then(|(_, row)| *row);
            if version.is_some() || keeps_left {
                expected.push((*at, *key, version));
            }
        }
        // At any one end of time rows come in the order of time, then key.
        expected.sort_unstable();
        prop_assert_eq!(found, expected);
        let newest: usize = (0..2)
            .filter(|key| versions.range((*key, 0)..=(*key, 20)).next_back().is_some_and(|(_, row)| row.is_some()))
            .count();
        prop_assert_eq!(operator.size().entries, newest as u64, "of each key the newest version is left");
    }
}
