//! What is printed: a Markdown table, and lines about what goes on.

use std::io::{self, Write as _};
use std::time::Duration;

/// One line on standard error.
pub(crate) fn say(line: &str) -> io::Result<()> {
    writeln!(io::stderr().lock(), "{line}")
}

/// One line of the report, on standard output.
pub(crate) fn print(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// The same figure of several runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(Vec<f64>);

impl Runs {
    /// What is not a number was not to be had.
    pub(crate) fn push(&mut self, value: f64) {
        if !value.is_nan() {
            self.0.push(value);
        }
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => sorted[count / 2],
            count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2.0,
        }
    }

    /// Median, and the least and the most when there are several.
    pub(crate) fn show(&self, digits: usize) -> String {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let median = self.median();
        match self.0.len() {
            0 => "–".to_owned(),
            1 => format!("{median:.digits$}"),
            _ => format!("{median:.digits$} [{least:.digits$}–{most:.digits$}]"),
        }
    }
}

/// A table in Markdown, columns as wide as they must be.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self { rows: vec![columns.iter().map(|&column| column.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.rows[0].len(), "a cell for each column");
        self.rows.push(cells);
    }

    pub(crate) fn print(&self, title: &str) -> io::Result<()> {
        print(&format!("\n{title}\n"))?;
        self.lines().iter().try_for_each(|line| print(line))
    }

    fn lines(&self) -> Vec<String> {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.rows[0].len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, &width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
                .collect();
            format!("| {} |", cells.join(" | "))
        };
        let mut lines = vec![line(&self.rows[0])];
        lines.push(format!(
            "|{}|",
            widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|")
        ));
        lines.extend(self.rows[1..].iter().map(line));
        lines
    }
}

/// Microseconds, without a fraction.
pub(crate) fn micros(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round()
}

/// Mebibytes.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

/// Gibibytes.
pub(crate) fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 30) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        let mut runs = Runs::default();
        assert_eq!(runs.show(1), "–");
        runs.push(f64::NAN);
        assert_eq!(runs.show(1), "–");
        runs.push(3.0);
        assert_eq!(runs.show(1), "3.0");
        runs.push(1.0);
        assert_eq!(runs.show(1), "2.0 [1.0–3.0]");
        runs.push(9.0);
        assert_eq!(runs.show(0), "3 [1–9]");
    }

    #[test]
    fn a_table_is_aligned() {
        let mut table = Table::new(&["a", "µs"]);
        table.row(vec!["long".to_owned(), "1".to_owned()]);
        assert_eq!(table.lines(), ["| a    | µs |", "|------|----|", "| long | 1  |"]);
    }
}
