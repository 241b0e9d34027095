//! Whether two results hold the same rows as often, in whatever order.

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::canonical::{Column, Row};
use crate::digest::digest;

/// How far two floats may be apart, as a part of the larger one.
pub const TOLERANCE: f64 = 1e-9;
/// How many differences are shown.
const SHOWN: usize = 5;
/// How many rows of each side are looked at to find those to show.
const LOOKED_AT: usize = 1_000;

/// What differs; empty if nothing does.
#[derive(Debug, Clone, Default)]
pub struct Differences {
    /// Rows that are expected and not found, and those found and not expected.
    pub missing: usize,
    /// See `missing`.
    pub extra: usize,
    /// The first of them, for people.
    pub shown: Vec<String>,
}

impl Differences {
    /// Whether the results are the same.
    pub fn is_empty(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.shown.is_empty()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows are missing, {} are too many", self.missing, self.extra)?;
        self.shown.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Rows that are the same but for their floats.
#[derive(Debug, Default)]
struct Group {
    expected: usize,
    found: usize,
    expected_floats: Vec<Vec<f64>>,
    found_floats: Vec<Vec<f64>>,
}

impl Group {
    /// Whether one side has more of its rows, or other floats in them.
    fn differs(&mut self) -> bool {
        if self.expected != self.found {
            return true;
        }
        let order = |left: &Vec<f64>, right: &Vec<f64>| {
            let cells = left.iter().zip(right).map(|(left, right)| left.total_cmp(right));
            cells.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        };
        self.expected_floats.sort_by(order);
        self.found_floats.sort_by(order);
        let pairs = self.expected_floats.iter().flatten().zip(self.found_floats.iter().flatten());
        pairs.into_iter().any(|(expected, found)| !nearly_equal(*expected, *found))
    }
}

fn nearly_equal(left: f64, right: f64) -> bool {
    left == right || (left - right).abs() <= TOLERANCE * left.abs().max(right.abs())
}

/// Compares rows, each a JSON object, as multisets.
pub fn compare(columns: &[Column], expected: &[Bytes], found: &[Bytes]) -> Differences {
    let mut differences = Differences::default();
    let mut groups: HashMap<u128, Group> = HashMap::new();
    let mut add = |rows: &[Bytes], side: &str, take: fn(&mut Group, Vec<f64>)| {
        for row in rows {
            match parse(columns, row) {
                Ok(row) => take(groups.entry(digest(row.exact.as_bytes())).or_default(), row.floats),
                Err(error) if differences.shown.len() < SHOWN => {
                    differences.shown.push(format!("{side}: {error}: {}", String::from_utf8_lossy(row)));
                }
                Err(_) => {}
            }
        }
    };
    add(expected, "expected", |group, floats| {
        group.expected += 1;
        group.expected_floats.extend((!floats.is_empty()).then_some(floats));
    });
    add(found, "found", |group, floats| {
        group.found += 1;
        group.found_floats.extend((!floats.is_empty()).then_some(floats));
    });
    groups.retain(|_, group| group.differs());
    if groups.is_empty() {
        return differences;
    }
    for group in groups.values() {
        let both = group.expected.min(group.found);
        // As many on both sides, but with other floats: all of them are shown as different.
        let same = if group.expected == group.found { 0 } else { both };
        differences.missing += group.expected - same;
        differences.extra += group.found - same;
    }
    // As many of each row as one side has more of; all of them where only the floats differ.
    let surplus = |more: fn(&Group) -> (usize, usize)| -> HashMap<u128, usize> {
        let count = |group: &Group| match more(group) {
            (this, other) if this == other => this,
            (this, other) => this.saturating_sub(other),
        };
        groups.iter().map(|(digest, group)| (*digest, count(group))).collect()
    };
    let missing = first(columns, expected, surplus(|group| (group.expected, group.found)));
    let extra = first(columns, found, surplus(|group| (group.found, group.expected)));
    differences.shown.extend(describe(columns, missing, extra));
    differences
}

/// The first rows of those whose digests are given, each as often as is said.
fn first(columns: &[Column], rows: &[Bytes], mut counts: HashMap<u128, usize>) -> Vec<Row> {
    let parsed = rows.iter().filter_map(|row| parse(columns, row).ok());
    let wanted = parsed.filter(|row| {
        let count = counts.get_mut(&digest(row.exact.as_bytes()));
        count.is_some_and(|count| {
            let wanted = *count > 0;
            *count = count.saturating_sub(1);
            wanted
        })
    });
    wanted.take(LOOKED_AT).collect()
}

fn parse(columns: &[Column], row: &[u8]) -> Result<Row, String> {
    let fields: Map<String, Value> = serde_json::from_slice(row).map_err(|error| error.to_string())?;
    Row::new(columns, &fields)
}

/// The first rows that differ. A missing row and one too many that differ the least are shown as one, with the cells
/// that differ.
fn describe(columns: &[Column], missing: Vec<Row>, extra: Vec<Row>) -> Vec<String> {
    let mut extra: Vec<Vec<String>> = extra.iter().map(Row::cells).collect();
    let mut lines = Vec::new();
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let text = |cells: &[String]| -> String {
        let fields: Vec<String> =
            names.iter().zip(cells).map(|(name, cell)| format!("{name}={cell}")).collect();
        fields.join(" ")
    };
    for row in missing.iter().map(Row::cells).take(SHOWN) {
        let same = |other: &Vec<String>| row.iter().zip(other).filter(|(left, right)| left == right).count();
        let nearest = (0..extra.len()).max_by_key(|index| same(&extra[*index]));
        // Rows that share less than half of their cells are not one row that went wrong.
        match nearest.filter(|index| same(&extra[*index]) * 2 >= row.len()) {
            Some(index) => {
                let other = extra.swap_remove(index);
                let cells =
                    names.iter().zip(row.iter().zip(&other)).filter(|(_, (left, right))| left != right);
                let cells: Vec<String> = cells
                    .map(|(name, (left, right))| format!("{name}: expected {left}, found {right}"))
                    .collect();
                lines.push(format!("{}; in {}", cells.join(", "), text(&row)));
            }
            None => lines.push(format!("missing: {}", text(&row))),
        }
    }
    lines.extend(extra.iter().take(SHOWN).map(|cells| format!("too many: {}", text(cells))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::Kind;

    fn columns() -> Vec<Column> {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        vec![column("k", Kind::Text), column("n", Kind::Integer), column("d", Kind::Double)]
    }

    fn rows(lines: &[&str]) -> Vec<Bytes> {
        lines.iter().map(|line| Bytes::copy_from_slice(line.as_bytes())).collect()
    }

    #[track_caller]
    fn same(expected: &[&str], found: &[&str]) {
        let differences = compare(&columns(), &rows(expected), &rows(found));
        assert!(differences.is_empty(), "{differences}");
    }

    #[track_caller]
    fn differ(expected: &[&str], found: &[&str], text: &str) {
        let differences = compare(&columns(), &rows(expected), &rows(found));
        assert!(!differences.is_empty());
        assert_eq!(differences.to_string(), text);
    }

    const A: &str = r#"{"k":"a","n":1,"d":2.5}"#;
    const B: &str = r#"{"k":"b","n":2,"d":null}"#;

    #[test]
    fn order_and_the_last_digits_do_not_matter() {
        same(&[], &[]);
        same(&[A, B, A], &[B, A, A]);
        same(&[A], &[r#"{"d":2.5000000000001,"n":1,"k":"a"}"#]);
        // Several rows that are the same but for their floats find each other.
        let near = r#"{"k":"a","n":1,"d":7}"#;
        same(&[A, near], &[near, A]);
    }

    #[test]
    fn planted_differences_are_found_and_shown() {
        differ(&[A, B], &[A], "1 rows are missing, 0 are too many\n  missing: k=\"b\" n=2 d=null");
        differ(&[A], &[A, A], "0 rows are missing, 1 are too many\n  too many: k=\"a\" n=1 d=2.500000000e0");
        differ(
            &[A, B],
            &[r#"{"k":"a","n":3,"d":2.5}"#, B],
            "1 rows are missing, 1 are too many\n  \
             n: expected 1, found 3; in k=\"a\" n=1 d=2.500000000e0",
        );
        differ(
            &[A],
            &[r#"{"k":"a","n":1,"d":2.50001}"#],
            "1 rows are missing, 1 are too many\n  \
             d: expected 2.500000000e0, found 2.500010000e0; in k=\"a\" n=1 d=2.500000000e0",
        );
        differ(
            &[B],
            &[r#"{"k":"b","n":2,"d":0}"#],
            "1 rows are missing, 1 are too many\n  \
             d: expected null, found 0.000000000e0; in k=\"b\" n=2 d=null",
        );
        // A row of one side as often as another's: the multiset differs though the set does not.
        differ(
            &[A, A, B],
            &[A, B, B],
            "1 rows are missing, 1 are too many\n  missing: k=\"a\" n=1 d=2.500000000e0\n  \
             too many: k=\"b\" n=2 d=null",
        );
        differ(
            &[A],
            &[r#"{"k":"a","n":"1","d":2.5}"#],
            "1 rows are missing, 0 are too many\n  \
             found: field `n` is \"1\", not a integer: {\"k\":\"a\",\"n\":\"1\",\"d\":2.5}\n  \
             missing: k=\"a\" n=1 d=2.500000000e0",
        );
        differ(
            &[],
            &["nonsense"],
            "0 rows are missing, 0 are too many\n  found: expected ident at line 1 column 2: nonsense",
        );
    }
}
