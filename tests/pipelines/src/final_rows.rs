//! The table that a topic stands for, once everything is written.

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use logmill_record::Record;
use serde_json::{Map, Value};

/// What the records of a topic mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each record is a row.
    Append,
    /// The last record of each key is a row; one without a value deletes it.
    Upsert,
    /// The last record of each key is a row; nothing is ever deleted.
    Changes,
    /// Each record takes the row `before` away and adds the row `after`. Without a key a row may be taken back in another
    /// partition than it was added to: only at the end everything has to add up.
    Retract,
}

/// The rows, each a JSON object, in no order.
pub fn final_rows(mode: Mode, records: &[(i32, Record)]) -> Result<Vec<Bytes>> {
    let mut rows = Rows::new(mode);
    for (partition, record) in records {
        rows.apply(*partition, record)
            .with_context(|| format!("partition {partition}, offset {}", record.offset))?;
    }
    rows.finish()
}

#[derive(Debug)]
enum Rows {
    Append(Vec<Bytes>),
    /// By partition and key: a key in two partitions is two rows, and a difference.
    Keyed {
        rows: HashMap<(i32, Bytes), Bytes>,
        deletes: bool,
    },
    Counted(HashMap<Bytes, i64>),
}

impl Rows {
    fn new(mode: Mode) -> Rows {
        match mode {
            Mode::Append => Rows::Append(Vec::new()),
            Mode::Upsert => Rows::Keyed { rows: HashMap::new(), deletes: true },
            Mode::Changes => Rows::Keyed { rows: HashMap::new(), deletes: false },
            Mode::Retract => Rows::Counted(HashMap::new()),
        }
    }

    fn apply(&mut self, partition: i32, record: &Record) -> Result<()> {
        match self {
            Rows::Append(rows) => rows.push(record.value.clone().context("a record without a value")?),
            Rows::Keyed { rows, deletes } => {
                let key = (partition, record.key.clone().context("a record without a key")?);
                match record.value.clone() {
                    Some(value) => {
                        rows.insert(key, value);
                    }
                    None if *deletes => {
                        rows.remove(&key).context("deletes a key that is not there")?;
                    }
                    None => bail!("a record without a value"),
                }
            }
            Rows::Counted(counts) => {
                let value = record.value.as_ref().context("a record without a value")?;
                let change: Map<String, Value> = serde_json::from_slice(value)?;
                let row = |field: &str| change.get(field).filter(|row| !row.is_null());
                if row("before").is_none() && row("after").is_none() {
                    bail!("changes nothing: {}", String::from_utf8_lossy(value));
                }
                let mut count = |row: &Value, by: i64| {
                    *counts.entry(Bytes::from(row.to_string())).or_default() += by;
                };
                row("before").into_iter().for_each(|before| count(before, -1));
                row("after").into_iter().for_each(|after| count(after, 1));
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Bytes>> {
        match self {
            Rows::Append(rows) => Ok(rows),
            Rows::Keyed { rows, .. } => Ok(rows.into_values().collect()),
            Rows::Counted(counts) => {
                let mut rows = Vec::new();
                for (row, count) in counts {
                    let count = usize::try_from(count).ok().with_context(|| {
                        format!(
                            "{} times more taken back than added: {}",
                            -count,
                            String::from_utf8_lossy(&row)
                        )
                    })?;
                    rows.extend(std::iter::repeat_n(row, count));
                }
                Ok(rows)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use logmill_record::{BatchBuilder, BatchOptions};

    use super::*;

    fn records(records: &[(Option<&str>, Option<&str>)]) -> Vec<(i32, Record)> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for (key, value) in records {
            builder.push(0, key.map(str::as_bytes), value.map(str::as_bytes), &[]);
        }
        let records = builder.build().records(1 << 20).unwrap();
        records.into_iter().map(|record| (0, record)).collect()
    }

    fn table(mode: Mode, written: &[(Option<&str>, Option<&str>)]) -> Result<Vec<String>> {
        let rows = final_rows(mode, &records(written))?;
        let mut rows: Vec<String> =
            rows.iter().map(|row| String::from_utf8_lossy(row).into_owned()).collect();
        rows.sort();
        Ok(rows)
    }

    #[test]
    fn each_mode_has_its_meaning() {
        let (a, b) = (Some(r#"{"a":1}"#), Some(r#"{"a":2}"#));
        assert_eq!(table(Mode::Append, &[(None, a), (None, a)]).unwrap(), [r#"{"a":1}"#, r#"{"a":1}"#]);
        let keyed = [(Some("k"), a), (Some("l"), a), (Some("k"), b)];
        assert_eq!(table(Mode::Upsert, &keyed).unwrap(), [r#"{"a":1}"#, r#"{"a":2}"#]);
        assert_eq!(table(Mode::Changes, &keyed).unwrap(), [r#"{"a":1}"#, r#"{"a":2}"#]);
        assert_eq!(table(Mode::Upsert, &[(Some("k"), a), (Some("k"), None)]).unwrap(), [""; 0]);
        let changes = [
            (None, Some(r#"{"before":null,"after":{"a":1},"op":"c"}"#)),
            (None, Some(r#"{"before":null,"after":{"a":1},"op":"c"}"#)),
            (None, Some(r#"{"before":{"a":1},"after":{"a":2},"op":"u"}"#)),
            (None, Some(r#"{"before":{"a":2},"after":null,"op":"d"}"#)),
        ];
        assert_eq!(table(Mode::Retract, &changes).unwrap(), [r#"{"a":1}"#]);
    }

    #[test]
    fn what_has_no_meaning_is_an_error() {
        let row = Some(r#"{"a":1}"#);
        for (mode, written, error) in [
            (Mode::Append, &[(Some("k"), None)][..], "a record without a value"),
            (Mode::Upsert, &[(None, row)], "a record without a key"),
            (Mode::Upsert, &[(Some("k"), None)], "deletes a key that is not there"),
            (Mode::Changes, &[(Some("k"), row), (Some("k"), None)], "a record without a value"),
            (Mode::Retract, &[(None, row)], "changes nothing: {\"a\":1}"),
            (
                Mode::Retract,
                &[(None, Some(r#"{"before":{"a":1},"after":null}"#))],
                "1 times more taken back than added: {\"a\":1}",
            ),
        ] {
            let found = table(mode, written).unwrap_err();
            assert_eq!(found.root_cause().to_string(), error);
        }
    }
}
