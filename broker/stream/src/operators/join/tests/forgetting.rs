//! Rows that are forgotten, and what was given of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TTL: i64 = 10;

/// What an epoch of one row gives, as texts, and how many rows are kept behind it.
type Step<'s> = &'s mut dyn FnMut(i64, usize, i64, bool) -> (Vec<String>, u64);

fn left_join(steps: impl FnOnce(Step<'_>)) {
    let bound = StateBound::TimeToLive { ms: TTL };
    let join = plan::Join {
        kind: JoinKind::Left,
        left: side(2),
        right: side(2),
        condition: None,
        bound: JoinBound::State(bound),
    };
    let mut operator = RegularJoin::new(&join, bound, [&TYPES, &TYPES]);
    steps(&mut |now, of, number, back| {
        let mut inputs = vec![Vec::new(), Vec::new()];
        inputs[of].push(rows(&TYPES, &[(vec![Value::BigInt(1), Value::BigInt(number)], mark(0, back))]));
        let mut out = Output::new();
        operator.process(EpochTime { now, before: NO_TIME, epoch: 0 }, inputs, &mut out);
        let text = |rows: &Rows, row: usize| {
            let sign = if rows.marks[row].back { '-' } else { '+' };
            let values: Vec<String> = rows.values(row).iter().map(ToString::to_string).collect();
            format!("{sign}{}", values.join(","))
        };
        let given = given(out);
        let text = given.iter().flat_map(|rows| (0..rows.len()).map(|row| text(rows, row)));
        (text.collect::<Vec<String>>(), operator.size().entries)
    });
}

#[test]
fn what_is_forgotten_is_as_if_it_had_never_come() {
    left_join(|step| {
        assert_eq!(step(0, LEFT, 1, false), (vec!["+1,1,NULL,NULL".to_owned()], 1));
        assert_eq!(step(9, LEFT, 2, false), (vec!["+1,2,NULL,NULL".to_owned()], 2));
        assert_eq!(
            step(10, RIGHT, 5, false),
            (vec!["-1,2,NULL,NULL".to_owned(), "+1,2,1,5".to_owned()], 2),
            "the first row is forgotten, what was given of it stays"
        );
        assert_eq!(step(11, LEFT, 1, true), (vec![], 2), "nothing happens when it is taken back");
        assert_eq!(step(19, RIGHT, 5, false).1, 1, "a row that is given again lives on");
        assert_eq!(step(25, LEFT, 3, false).0, ["+1,3,1,5", "+1,3,1,5"]);
        assert_eq!(step(100, LEFT, 4, false), (vec!["+1,4,NULL,NULL".to_owned()], 1));
    });
}

#[test]
fn a_row_whose_partner_is_forgotten_was_not_given_without_one() {
    left_join(|step| {
        step(0, RIGHT, 7, false);
        assert_eq!(step(5, LEFT, 1, false).0, ["+1,1,1,7"]);
        assert_eq!(step(12, LEFT, 1, true), (vec![], 0), "what was given of it is not known any more");
    });
}

#[test]
fn of_equal_rows_one_is_given_without_a_partner_and_taken_back() {
    left_join(|step| {
        step(0, RIGHT, 7, false);
        assert_eq!(step(5, LEFT, 1, false).0, ["+1,1,1,7"]);
        assert_eq!(step(12, LEFT, 1, false).0, ["+1,1,NULL,NULL"], "now it has no partner");
        assert_eq!(step(13, RIGHT, 8, false).0, ["-1,1,NULL,NULL", "+1,1,1,8", "+1,1,1,8"]);
        assert_eq!(step(14, RIGHT, 8, true).0, ["-1,1,1,8", "-1,1,1,8", "+1,1,NULL,NULL", "+1,1,NULL,NULL"]);
        assert_eq!(step(15, LEFT, 1, true).0, ["-1,1,NULL,NULL"]);
        assert_eq!(step(16, LEFT, 1, true), (vec!["-1,1,NULL,NULL".to_owned()], 0));
    });
}

#[test]
fn a_row_of_an_earlier_build_is_refused() {
    let bound = StateBound::TimeToLive { ms: TTL };
    let join = plan::Join {
        kind: JoinKind::Left,
        left: side(2),
        right: side(2),
        condition: None,
        bound: JoinBound::State(bound),
    };
    let mut operator = RegularJoin::new(&join, bound, [&TYPES, &TYPES]);
    let error =
        operator.restore(0, &[], Some(&[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5])).unwrap_err();
    assert!(error.contains("as earlier builds kept it"), "{error}");
}

/// What is known of a side's rows: how often each is there, and when it was last touched.
type Known = BTreeMap<Row, (i64, i64)>;

/// Forgets what was not touched for too long; tells what that is.
fn forget(known: &mut Known, now: i64) -> Vec<Row> {
    let gone: Vec<Row> =
        known.iter().filter(|(_, (_, touched))| *touched <= now - TTL).map(|(row, _)| *row).collect();
    gone.iter().for_each(|row| _ = known.remove(row));
    gone
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// I12 under a time to live. Of rows that are known, the pairs are exactly those of a join; a row is out without a
    /// partner only if it has none, and as often as it is there, but for what was given with a partner that is forgotten;
    /// nothing is taken back that is not out, nor anything that was given of forgotten rows.
    #[test]
    fn only_what_was_given_is_taken_back(
        kind in kinds(),
        condition in any::<bool>(),
        epochs in prop::collection::vec(
            (0_i64..8, prop::collection::vec((any::<bool>(), 0_i64..2, 0_i64..3, 0_u8..3), 0..4)),
            1..30,
        ),
    ) {
        let bound = StateBound::TimeToLive { ms: TTL };
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
        // All rows that are there, known or not, and what is out of known ones.
        let mut there: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let mut known: [Known; 2] = [Known::new(), Known::new()];
        let mut out_of_known: BTreeMap<Pair, i64> = BTreeMap::new();
        // Rows of which something was given with a partner that is forgotten.
        let mut bereft: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
        let mut now = 0;
        for (forward, steps) in epochs {
            now += forward;
            for of in [LEFT, RIGHT] {
                for row in forget(&mut known[of], now) {
                    bereft[of].retain(|known| *known != row);
                    out_of_known.retain(|(left, right), _| {
                        let (own, other) = if of == LEFT { (*left, *right) } else { (*right, *left) };
                        let goes = own == Some(row);
                        bereft[RIGHT - of].extend(other.filter(|_| goes));
                        !goes
                    });
                }
            }
            let mut inputs: [Vec<(Vec<Value>, Mark)>; 2] = [Vec::new(), Vec::new()];
            for (of_right, key, number, step) in steps {
                let of = usize::from(of_right);
                let row = (Some(key), number);
                let at = there[of].iter().position(|known| *known == row);
                let back = step == 0 && at.is_some();
                match at.filter(|_| back) {
                    Some(at) => drop(there[of].remove(at)),
                    None => there[of].push(row),
                }
                let order = inputs[of].len();
                inputs[of].push((vec![value(row.0), Value::BigInt(number)], mark(order, back)));
            }
            // The left side's rows are taken before those of the right one.
            for (of, input) in inputs.iter().enumerate() {
                for (values, mark) in input {
                    let row = (number(values[0].clone()), number(values[1].clone()).unwrap());
                    match (known[of].get_mut(&row), mark.back) {
                        (None, true) => {}
                        (None, false) => drop(known[of].insert(row, (1, now))),
                        (Some((count, touched)), back) => {
                            *count += if back { -1 } else { 1 };
                            *touched = now;
                        }
                    }
                    if known[of].get(&row).is_some_and(|(count, _)| *count == 0) {
                        known[of].remove(&row);
                        bereft[of].retain(|known| *known != row);
                    }
                }
            }
            let mut out = Output::new();
            let time = EpochTime { now, before: NO_TIME, epoch: now as u64 };
            let inputs = inputs.iter().map(|input| vec![rows(&TYPES, input)]).collect();
            operator.process(time, inputs, &mut out);
            for rows in given(out) {
                for row in 0..rows.len() {
                    let mut values = rows.values(row).into_iter().map(number);
                    let mut one = || (values.next().unwrap(), values.next().unwrap());
                    let (left, right) = (one(), one());
                    let there = |(key, number): (Option<i64>, Option<i64>)| number.map(|number| (key, number));
                    let count = out_of_known.entry((there(left), there(right))).or_insert(0);
                    *count += if rows.marks[row].back { -1 } else { 1 };
                    prop_assert!(*count >= 0, "a row is taken back that is not there: {left:?} {right:?}");
                }
            }
            out_of_known.retain(|_, count| *count != 0);
            let list = |known: &Known| -> Vec<Row> {
                known.iter().flat_map(|(row, (count, _))| vec![*row; *count as usize]).collect()
            };
            let (left, right) = (list(&known[LEFT]), list(&known[RIGHT]));
            let joined = pairs(kind, condition, &left, &right);
            for pair in joined.keys().chain(out_of_known.keys()).copied().collect::<Vec<Pair>>() {
                let of = |pairs: &BTreeMap<Pair, i64>| pairs.get(&pair).copied().unwrap_or(0);
                let (found, expected) = (of(&out_of_known), of(&joined));
                let is_bereft = match pair {
                    (Some(row), None) => bereft[LEFT].contains(&row),
                    (None, Some(row)) => bereft[RIGHT].contains(&row),
                    _ => false,
                };
                let right = if is_bereft { found <= expected } else { found == expected };
                prop_assert!(right, "at {now} {pair:?} is out {found} times, not {expected}");
            }
            operator = changelog.move_to(operator, fresh());
        }
    }
}
