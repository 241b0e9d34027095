//! Results on standard output.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

/// Whether something was printed. A document that comes behind it would be none any more.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Whether there are results on standard output already.
pub(crate) fn has_begun() -> bool {
    BEGUN.load(Ordering::Relaxed)
}

/// Prints a JSON document that says which command it is from; `body` must be an object.
pub(crate) fn json(command: &str, body: Value) -> io::Result<()> {
    let mut document = json!({ "_command": command, "_version": 1 });
    if let (Some(document), Value::Object(body)) = (document.as_object_mut(), body) {
        document.extend(body);
    }
    BEGUN.store(true, Ordering::Relaxed);
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &document)?;
    writeln!(out)
}

/// Prints lines.
pub(crate) fn lines<I: AsRef<str>>(lines: impl IntoIterator<Item = I>) -> io::Result<()> {
    BEGUN.store(true, Ordering::Relaxed);
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{}", line.as_ref())?;
    }
    Ok(())
}

/// Prints a table: headings in capitals, numbers to the right.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    lines(table_lines(headings, rows))
}

pub(crate) fn table_lines(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let headings: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&headings).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let numeric: Vec<bool> = (0..headings.len())
        .map(|column| {
            let mut cells =
                rows.iter().filter_map(|row| row.get(column)).filter(|cell| *cell != "-").peekable();
            cells.peek().is_some() && cells.all(|cell| cell.parse::<f64>().is_ok())
        })
        .collect();
    std::iter::once(&headings)
        .chain(rows)
        .map(|row| {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = widths.get(column).copied().unwrap_or(0);
                if numeric.get(column).copied().unwrap_or(false) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

/// Tells the user something that is not a result, on standard error.
pub(crate) fn note(text: impl AsRef<str>) {
    // Nobody to tell that standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}

/// A number or a dash.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let rows = [vec!["a".to_owned(), "5".to_owned()], vec!["longer".to_owned(), "-".to_owned()]];
        assert_eq!(
            table_lines(&["name", "count"], &rows),
            ["NAME    COUNT", "a           5", "longer      -"]
        );
    }

    #[test]
    fn an_empty_table_has_its_headings() {
        assert_eq!(table_lines(&["name", "count"], &[]), ["NAME  COUNT"]);
    }
}
