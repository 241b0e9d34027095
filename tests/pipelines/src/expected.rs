//! What the oracle wrote: columns and rows.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;

use crate::canonical::{Column, Kind};

/// A result that must come out.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, each a JSON object, in no order.
    pub rows: Vec<Bytes>,
}

impl Expected {
    /// Reads `<name>.columns` and `<name>.jsonl` of a folder.
    pub fn read(folder: &Path, name: &str) -> Result<Expected> {
        let columns = read_columns(&folder.join(format!("{name}.columns")))?;
        Ok(Expected { columns, rows: read_rows(&folder.join(format!("{name}.jsonl")))? })
    }
}

/// Reads a file of columns: a name and a kind a line.
pub fn read_columns(path: &Path) -> Result<Vec<Column>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let columns = text.lines().map(|line| {
        let (name, kind) = line.rsplit_once(' ').with_context(|| format!("`{line}` has no kind"))?;
        let kind = Kind::from_name(kind).with_context(|| format!("there is no kind `{kind}`"))?;
        Ok(Column { name: name.to_owned(), kind })
    });
    columns.collect()
}

/// Reads a file of rows: a JSON object a line.
pub fn read_rows(path: &Path) -> Result<Vec<Bytes>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    BufReader::with_capacity(1 << 20, file).split(b'\n').map(|line| Ok(Bytes::from(line?))).collect()
}
