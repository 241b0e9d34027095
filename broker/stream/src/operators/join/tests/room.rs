//! Equal rows are kept as one: what comes of them is looked at before it is made.

use super::*;
use crate::operators::{Due, Timed};
use crate::rows::PIECE_BYTES;

const ROOM: usize = 64 << 10;
const STREAM: [DataType; 2] = [DataType::BigInt, DataType::Timestamp];

fn equal(types: &[DataType], values: &[Value], count: usize) -> Keyed {
    let of: Vec<_> = (0..count).map(|order| (values.to_vec(), mark(order, false))).collect();
    rows(types, &of)
}

fn join(kind: JoinKind, bound: JoinBound) -> plan::Join {
    plan::Join { kind, left: side(2), right: side(2), condition: None, bound }
}

/// A thousand equal rows on each side would be a million pairs.
fn check_pairs(mut operator: impl Operator, types: &[DataType], values: &[Value]) {
    let time = EpochTime { now: 0, before: NO_TIME, epoch: 0 };
    for side in [RIGHT, LEFT] {
        let mut inputs = vec![Vec::new(), Vec::new()];
        inputs[side].push(equal(types, values, 1_000));
        let mut out = if side == LEFT { Output::within(ROOM) } else { Output::new() };
        operator.process(time, inputs, &mut out);
        if side == RIGHT {
            continue;
        }
        assert!(!out.has_room(), "the epoch is given up");
        assert!(out.bytes() < 3 * ROOM, "{} bytes", out.bytes());
        let made: usize = out.rows.iter().map(Rows::len).sum();
        assert!(made <= 2_000, "{made} rows are made");
    }
}

#[test]
fn pairs_of_equal_rows_are_not_made_beyond_the_room() {
    let values = [Value::BigInt(1), Value::BigInt(5)];
    for kind in [JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full] {
        for bound in [StateBound::Unbounded, StateBound::TimeToLive { ms: 10 }] {
            let join = join(kind, JoinBound::State(bound));
            check_pairs(RegularJoin::new(&join, bound, [&TYPES, &TYPES]), &TYPES, &values);
        }
        let join = join(kind, JoinBound::Window { left: 1, right: 1 });
        let operator = TimedJoin::in_windows(&join, [1, 1], [&STREAM, &STREAM]);
        check_pairs(operator, &STREAM, &[Value::BigInt(1), Value::Timestamp(10)]);
    }
}

/// Nothing is given of pairs whose condition fails: there is no room for it that would be counted.
#[test]
fn of_conditions_that_fail_the_first_is_told() {
    let column = |index: usize| {
        Box::new(Expression::Column { index, data_type: DataType::BigInt, name: format!("c{index}") })
    };
    let by_zero = Expression::Binary { operator: BinaryOperator::Divide, left: column(1), right: column(3) };
    let one = Expression::Literal { value: Value::BigInt(1), data_type: DataType::BigInt };
    let condition =
        Expression::Binary { operator: BinaryOperator::Less, left: Box::new(by_zero), right: Box::new(one) };
    let join = plan::Join {
        condition: Some(condition),
        ..join(JoinKind::Inner, JoinBound::State(StateBound::Unbounded))
    };
    let mut operator = RegularJoin::new(&join, StateBound::Unbounded, [&TYPES, &TYPES]);
    let time = EpochTime { now: 0, before: NO_TIME, epoch: 0 };
    let different: Vec<_> =
        (0..300).map(|row| (vec![Value::BigInt(1), Value::BigInt(row)], mark(row as usize, false))).collect();
    let zeros = equal(&TYPES, &[Value::BigInt(1), Value::BigInt(0)], 1);
    operator.process(time, vec![Vec::new(), vec![zeros]], &mut Output::new());
    let mut out = Output::within(ROOM);
    operator.process(time, vec![vec![rows(&TYPES, &different)], Vec::new()], &mut out);
    let (first, count) = out.faults.take().expect("none can be computed");
    assert_eq!((count, out.rows.len()), (300, 0));
    assert!(first.reason.contains("zero"), "{first:?}");
    assert_eq!(out.faults.take(), None);
}

#[test]
fn a_long_row_of_a_table_is_looked_up_in_pieces() {
    const COUNT: usize = 2_000;
    const TABLE: [DataType; 2] = [DataType::BigInt, DataType::String];
    let join = plan::TemporalJoin {
        keeps_left: true,
        left: side(2),
        right: side(2),
        condition: None,
        versions: Versions::Latest,
    };
    let row = [Value::BigInt(1), Value::String("x".repeat(100_000))];
    for room in [ROOM, usize::MAX] {
        let mut operator = LookupJoin::new(&join, [&TYPES, &TABLE]);
        let time = EpochTime { now: 0, before: NO_TIME, epoch: 0 };
        let asks = equal(&TYPES, &[Value::BigInt(1), Value::BigInt(2)], COUNT);
        let mut out = Output::within(room);
        operator.process(time, vec![vec![asks], vec![equal(&TABLE, &row, 1)]], &mut out);
        for rows in &out.rows {
            assert!(rows.bytes() < 2 * PIECE_BYTES, "{} bytes in one piece", rows.bytes());
        }
        let given: usize = out.rows.iter().map(Rows::len).sum();
        match room {
            ROOM => assert!(!out.has_room() && given < COUNT),
            _ => assert_eq!(given, COUNT),
        }
    }
}

#[test]
fn equal_rows_without_a_partner_are_given_in_pieces() {
    const COUNT: usize = 800_000;
    let join = join(JoinKind::Left, JoinBound::Window { left: 1, right: 1 });
    for room in [ROOM, usize::MAX] {
        let mut operator = TimedJoin::in_windows(&join, [1, 1], [&STREAM, &STREAM]);
        let time = EpochTime { now: 0, before: NO_TIME, epoch: 0 };
        let values = [Value::BigInt(1), Value::Timestamp(10)];
        let inputs = vec![vec![equal(&STREAM, &values, COUNT)], Vec::new()];
        operator.process(time, inputs, &mut Output::new());
        let from = Place::behind(NO_TIME);
        assert_eq!(operator.due(&from, 10), Due::from([(10, COUNT)]));
        let due = operator.due_rows(&from, 10, 1);
        assert!(matches!(&due[..], [(_, COUNT)]), "{due:?}");
        let mut out = Output::within(room);
        operator.advance(time, &from, &Place::behind(10), &mut out);
        let given: usize = out.timed.iter().map(|timed| timed.rows.len()).sum();
        match room {
            ROOM => assert!(!out.has_room() && out.timed.len() == 1 && given < COUNT),
            _ => assert!(out.timed.len() > 1 && given == COUNT),
        }
        for timed in &out.timed {
            assert_eq!(timed.rows.len(), timed.sort.len());
            assert!(timed.rows.bytes() <= PIECE_BYTES);
        }
    }
}

#[test]
fn a_long_version_that_equal_rows_ask_for_is_given_in_pieces() {
    const COUNT: usize = 2_000;
    const TABLE: [DataType; 3] = [DataType::BigInt, DataType::Timestamp, DataType::String];
    let join = plan::TemporalJoin {
        keeps_left: false,
        left: side(2),
        right: side(3),
        condition: None,
        versions: Versions::AsOf { left: 1, right: 1 },
    };
    let mut operator = TemporalJoin::new(&join, [1, 1], [&STREAM, &TABLE]);
    let time = EpochTime { now: 0, before: NO_TIME, epoch: 0 };
    let asks = equal(&STREAM, &[Value::BigInt(1), Value::Timestamp(10)], COUNT);
    let version = [Value::BigInt(1), Value::Timestamp(5), Value::String("x".repeat(100_000))];
    operator.process(time, vec![vec![asks], vec![equal(&TABLE, &version, 1)]], &mut Output::new());
    let from = Place::behind(NO_TIME);
    assert_eq!(operator.due(&from, 11), Due::from([(11, COUNT)]));
    let mut out = Output::new();
    operator.advance(time, &from, &Place::behind(11), &mut out);
    assert_eq!(out.timed.iter().map(|timed| timed.rows.len()).sum::<usize>(), COUNT);
    for timed in &out.timed {
        assert_eq!(timed.rows.len(), timed.sort.len());
        assert!(timed.rows.bytes() < 2 * PIECE_BYTES, "{} bytes in one piece", timed.rows.bytes());
    }
}

/// Rows that wait are given in parts, each the first that are left.
#[test]
fn rows_that_wait_are_given_in_parts() {
    const TABLE: [DataType; 3] = [DataType::BigInt, DataType::Timestamp, DataType::BigInt];
    let join = plan::TemporalJoin {
        keeps_left: true,
        left: side(2),
        right: side(3),
        condition: None,
        versions: Versions::AsOf { left: 1, right: 1 },
    };
    let mut operator = TemporalJoin::new(&join, [1, 1], [&STREAM, &TABLE]);
    let time = EpochTime { now: 0, before: NO_TIME, epoch: 0 };
    // Key 0 waits once, key 1 twice, and so on.
    let asks: Vec<_> = (0..40_i64)
        .flat_map(|key| (0..=key).map(move |_| key))
        .enumerate()
        .map(|(order, key)| (vec![Value::BigInt(key), Value::Timestamp(10)], mark(order, false)))
        .collect();
    operator.process(time, vec![vec![rows(&STREAM, &asks)], Vec::new()], &mut Output::new());
    let mut place = Place::behind(NO_TIME);
    let mut given = Vec::new();
    loop {
        let due = operator.due(&place, 11).remove(&11).unwrap_or(0);
        assert_eq!(due, asks.len() - given.len());
        let all = operator.due_rows(&place, 11, usize::MAX);
        assert_eq!(all.iter().map(|(_, rows)| rows).sum::<usize>(), due);
        let first = operator.due_rows(&place, 11, 20);
        assert!(all.starts_with(&first) && first.len() >= all.len().min(2));
        let Some((last, _)) = first.get(first.len() / 2) else { break };
        let to = Place { watermark: NO_TIME, partial: Some((11, last.clone())) };
        let mut out = Output::new();
        operator.advance(time, &place, &to, &mut out);
        place = to;
        let keys = |timed: Timed| timed.sort.iter().map(|(end, key)| (end, key.to_vec())).collect::<Vec<_>>();
        given.extend(out.timed.into_iter().flat_map(keys));
    }
    assert_eq!(given.len(), asks.len());
    assert!(given.is_sorted());
    assert_eq!(operator.size().entries, 0);
}
