//! Answers of the oracle that are kept in this crate: tables where they are short, digests where they are long.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::{Map, Value};

use crate::canonical::{Column, Row};
use crate::compare::compare;
use crate::digest::Digest;
use crate::expected::{Expected, read_columns};

/// A longer table is kept as a digest.
const ROWS_KEPT: usize = 300;

/// Keeps an answer: `<name>.columns`, and `<name>.jsonl` or `<name>.digest`.
pub fn write(folder: &Path, name: &str, expected: &Expected) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut columns = String::new();
    for Column { name, kind } in &expected.columns {
        writeln!(columns, "{name} {}", kind.name())?;
    }
    std::fs::write(folder.join(format!("{name}.columns")), columns)?;
    let (table, digest) = (folder.join(format!("{name}.jsonl")), folder.join(format!("{name}.digest")));
    for path in [&table, &digest] {
        if path.exists() {
            std::fs::remove_file(path)?;
        }
    }
    if expected.rows.len() > ROWS_KEPT {
        std::fs::write(digest, digests(&expected.columns, &expected.rows)?)?;
        return Ok(());
    }
    let mut lines: Vec<&[u8]> = expected.rows.iter().map(|row| row.as_ref()).collect();
    lines.sort_unstable();
    let text: Vec<u8> = lines.iter().flat_map(|line| line.iter().chain(b"\n")).copied().collect();
    std::fs::write(table, text)?;
    Ok(())
}

/// Checks rows against the answer that is kept.
pub fn check(folder: &Path, name: &str, found: &[Bytes]) -> Result<()> {
    let digest = folder.join(format!("{name}.digest"));
    if !digest.exists() {
        let expected = Expected::read(folder, name)?;
        let differences = compare(&expected.columns, &expected.rows, found);
        ensure!(differences.is_empty(), "{name}: {differences}");
        return Ok(());
    }
    let columns = read_columns(&folder.join(format!("{name}.columns")))?;
    let expected = std::fs::read_to_string(&digest).with_context(|| digest.display().to_string())?;
    let found = digests(&columns, found)?;
    let differing: Vec<String> = expected
        .lines()
        .zip(found.lines())
        .filter(|(expected, found)| expected != found)
        .map(|(expected, found)| format!("  expected {expected}, found {found}"))
        .collect();
    ensure!(
        expected == found,
        "{name} has other rows than DuckDB has:\n{}\n  `.ci/pipelines/run` shows which rows they are",
        differing.join("\n")
    );
    Ok(())
}

/// The number of rows, a digest of each column, and one of the rows, a line each; whatever the rows' order is.
fn digests(columns: &[Column], rows: &[Bytes]) -> Result<String> {
    let mut cells = Vec::with_capacity(rows.len());
    for row in rows {
        let fields: Map<String, Value> = serde_json::from_slice(row)?;
        let row = Row::new(columns, &fields).map_err(anyhow::Error::msg)?;
        cells.push(row.cells());
    }
    let mut text = format!("rows {}\n", rows.len());
    for (index, column) in columns.iter().enumerate() {
        let mut column_cells: Vec<&str> = cells.iter().map(|row| row[index].as_str()).collect();
        column_cells.sort_unstable();
        writeln!(text, "{} {:032x}", column.name, of_lines(column_cells.into_iter()))?;
    }
    let mut lines: Vec<String> = cells.iter().map(|row| row.join("\t")).collect();
    lines.sort_unstable();
    writeln!(text, "all {:032x}", of_lines(lines.iter().map(String::as_str)))?;
    Ok(text)
}

fn of_lines<'t>(lines: impl Iterator<Item = &'t str>) -> u128 {
    let mut digest = Digest::default();
    for line in lines {
        digest.update(line.as_bytes());
        digest.update(b"\n");
    }
    digest.value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::Kind;

    fn rows(count: usize) -> Vec<Bytes> {
        let row = |number| format!("{{\"n\":{number},\"d\":{:?}}}", 1.0 / (number as f64 + 3.0));
        (0..count).map(|number| Bytes::from(row(number))).collect()
    }

    /// Long tables and short ones: what is kept is found again, in any order, and a changed row is not.
    #[test]
    fn what_is_kept_is_found_again_and_nothing_else() {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind };
        let columns = vec![column("n", Kind::Integer), column("d", Kind::Double)];
        let folder = std::env::temp_dir().join(format!("logmill-golden-{}", std::process::id()));
        for count in [0, 7, ROWS_KEPT + 1] {
            let expected = Expected { columns: columns.clone(), rows: rows(count) };
            write(&folder, "case", &expected).unwrap();
            let mut found = rows(count);
            found.reverse();
            check(&folder, "case", &found).unwrap();
            found.push(Bytes::from_static(b"{\"n\":0,\"d\":1}"));
            assert!(check(&folder, "case", &found).is_err());
        }
        let mut found = rows(ROWS_KEPT + 1);
        found[9] = Bytes::from_static(b"{\"n\":9,\"d\":0.1}");
        let error = check(&folder, "case", &found).unwrap_err().to_string();
        assert!(error.contains("  expected d ") && !error.contains("  expected n "), "{error}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
