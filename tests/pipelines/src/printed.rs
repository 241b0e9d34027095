//! Records as `logmill consume --output json` prints them.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use logmill_record::Record;
use serde_json::Value;

/// Reads such a file: the records and their partitions, by partition and offset.
pub fn read(path: &Path) -> Result<Vec<(i32, Record)>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut records = Vec::new();
    for line in BufReader::with_capacity(1 << 20, file).split(b'\n') {
        let line = line?;
        let record = record(&line).with_context(|| String::from_utf8_lossy(&line).into_owned())?;
        records.push(record);
    }
    records.sort_by_key(|(partition, record)| (*partition, record.offset));
    Ok(records)
}

fn record(line: &[u8]) -> Result<(i32, Record)> {
    let fields: Value = serde_json::from_slice(line)?;
    let number = |name: &str| fields[name].as_i64().with_context(|| format!("no number `{name}`"));
    let bytes = |name: &str| fields[name].as_str().map(|text| Bytes::copy_from_slice(text.as_bytes()));
    let record = Record {
        offset: number("offset")?,
        timestamp: number("timestamp")?,
        key: bytes("key"),
        value: bytes("value"),
        headers: Vec::new(),
    };
    Ok((i32::try_from(number("partition")?)?, record))
}
