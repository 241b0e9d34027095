//! What no pipeline shows: rows that come between two parts of a window; and rows that are alike are folded in as if they came
//! one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{EpochTime, Keyed, Operator, Output, Place};
use super::WindowAggregate;
use crate::plan::{self, Aggregate, AggregateFunction, Emit, WindowKind, WindowOf};
use crate::rows::{Mark, RowsBuilder};
use crate::state::{Appended, ChangelogSink, KeyGroups, Keys};
use crate::value::{DataType, Value};

const INPUT: [DataType; 2] = [DataType::BigInt, DataType::Timestamp];
const ROW: [DataType; 4] = [DataType::Timestamp, DataType::Timestamp, DataType::BigInt, DataType::BigInt];

/// How many rows a key has in each second.
fn counting(emit: Emit) -> WindowAggregate {
    let count = Aggregate {
        function: AggregateFunction::Count,
        user: None,
        argument: None,
        argument_type: DataType::BigInt,
        parameter: Value::Null,
        filter: None,
        distinct: false,
        text: "COUNT(*)".to_owned(),
    };
    let plan = plan::WindowAggregate {
        window: WindowOf::Assigned { kind: WindowKind::Tumble { size_ms: 1_000, offset_ms: 0 }, time: 1 },
        keys: vec![0],
        aggregates: vec![count],
        emit,
    };
    WindowAggregate::new(&plan, &INPUT, &ROW, false)
}

/// Rows of keys at times, which come at a watermark.
fn rows(watermark: i64, of: &[(i64, i64)]) -> Vec<Vec<Keyed>> {
    let mut rows = RowsBuilder::new(&INPUT);
    for (order, (key, time)) in (0..).zip(of) {
        let mark = Mark { order, origin: order, timestamp: *time, watermark, partition: 0, back: false };
        rows.push(mark, &[Value::BigInt(*key), Value::Timestamp(*time)]);
    }
    let rows = rows.finish();
    let keys = Keys::of(&rows, &[0], KeyGroups::DEFAULT);
    vec![vec![Keyed { rows, keys }]]
}

/// Whether each row given is taken back, its key and its count.
fn given(out: Output) -> Vec<(bool, i64, i64)> {
    let timed = out.timed.into_iter().map(|timed| timed.rows);
    let mut given = Vec::new();
    for rows in out.rows.into_iter().chain(timed) {
        for row in 0..rows.len() {
            let [.., Value::BigInt(key), Value::BigInt(count)] = rows.values(row)[..] else {
                panic!("{rows:?}")
            };
            given.push((rows.marks[row].back, key, count));
        }
    }
    given
}

#[test]
fn a_row_of_a_key_that_is_given_already_changes_what_was_given() {
    let mut operator = counting(Emit::OnCloseAndLate { ms: 5_000 });
    let time = |before: i64| EpochTime { now: 0, before, epoch: 0 };
    let start = Place::behind(0);
    operator.stands_at(&start);
    operator.process(time(0), rows(0, &[(2, 100), (4, 100), (6, 100)]), &mut Output::new());
    // Of the window that ends at 1 s keys 2 and 4 are given.
    let [_, (last, 1)] = &operator.due_rows(&start, 1_000, 1)[..] else { panic!() };
    let part = Place { watermark: 0, partial: Some((1_000, last.clone())) };
    let mut out = Output::new();
    operator.advance(time(0), &start, &part, &mut out);
    assert_eq!(given(out), [(false, 2, 1), (false, 4, 1)]);

    // Rows of a key that is given, of one that is not, of a new one on either side of the place, and too late for the window
    // before.
    operator.stands_at(&part);
    let mut out = Output::new();
    operator.process(time(0), rows(1_500, &[(4, 200), (6, 200), (3, 200), (5, 200)]), &mut out);
    assert_eq!(given(out), [(true, 4, 1), (false, 4, 2), (false, 3, 1)]);
    let mut out = Output::new();
    operator.advance(time(0), &part, &Place::behind(1_000), &mut out);
    assert_eq!(given(out), [(false, 5, 1), (false, 6, 2)]);

    // Then all of them are.
    operator.stands_at(&Place::behind(1_000));
    let mut out = Output::new();
    operator.process(time(1_000), rows(1_500, &[(5, 300)]), &mut out);
    assert_eq!(given(out), [(true, 5, 1), (false, 5, 2)]);
}

/// What an epoch has changed.
#[derive(Debug, Default, PartialEq)]
struct Changes(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl ChangelogSink for Changes {
    fn put(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) {
        let before = self.0.insert([&[table], key].concat(), value.map(<[u8]>::to_vec));
        assert_eq!(before, None, "each once");
    }

    fn append(&mut self, _row: Appended<'_>) {
        unreachable!("windows have no log");
    }

    fn forget(&mut self, _table: u8, _span: i64) {
        unreachable!("windows have no log");
    }
}

proptest! {
    #[test]
    fn rows_that_are_alike_are_folded_in_as_if_they_came_one_by_one(
        of in prop::collection::vec((0_i64..2, prop_oneof![4 => Just(0_i64), 1 => 0_i64..400], 0_i64..1_500, any::<bool>()), 1..40),
    ) {
        let (mut watermark, mut key, mut time) = (0, 0, 0);
        let mut builder = RowsBuilder::new(&INPUT);
        let mut alone = counting(Emit::OnClose);
        let (mut late, mut order) = (Vec::new(), 0);
        let start = EpochTime { now: 0, before: 0, epoch: 0 };
        for (other, passes, behind, again) in of {
            watermark += passes;
            if !again {
                (key, time) = (other, (watermark + 1_000 - behind).max(0));
            }
            let mark = Mark { order, origin: order, timestamp: time, watermark, partition: 0, back: false };
            order += 1;
            let values = [Value::BigInt(key), Value::Timestamp(time)];
            builder.push(mark, &values);
            let mut one = RowsBuilder::new(&INPUT);
            one.push(mark, &values);
            let rows = one.finish();
            let keys = Keys::of(&rows, &[0], KeyGroups::DEFAULT);
            let mut out = Output::new();
            alone.process(start, vec![vec![Keyed { rows, keys }]], &mut out);
            late.append(&mut out.late);
        }
        let mut together = counting(Emit::OnClose);
        let rows = builder.finish();
        let keys = Keys::of(&rows, &[0], KeyGroups::DEFAULT);
        let mut out = Output::new();
        together.process(start, vec![vec![Keyed { rows, keys }]], &mut out);
        prop_assert_eq!(out.late, late);
        let changes = |operator: &mut WindowAggregate| {
            let mut changes = Changes::default();
            operator.drain_changes(&mut changes);
            changes
        };
        prop_assert_eq!(changes(&mut together), changes(&mut alone));
    }
}
