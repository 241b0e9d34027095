//! A table of figures by server, with their ratios to the first of them.

use crate::procfs;
use crate::report::{Runs, Table};
use crate::server::Subject;

/// One figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) digits: usize,
    /// Its ratio to the first server's is a column of its own.
    pub(crate) ratio: bool,
}

pub(crate) const fn plain(title: &'static str, digits: usize) -> Column {
    Column { title, digits, ratio: false }
}

pub(crate) const fn with_ratio(title: &'static str, digits: usize) -> Column {
    Column { title, digits, ratio: true }
}

/// The figures of several servers over several runs.
#[derive(Clone, Debug)]
pub(crate) struct Grid<'a> {
    subjects: &'a [Subject],
    columns: &'a [Column],
    figures: Vec<Vec<Runs>>,
    load: Vec<Runs>,
}

impl<'a> Grid<'a> {
    pub(crate) fn new(subjects: &'a [Subject], columns: &'a [Column]) -> Self {
        Self {
            subjects,
            columns,
            figures: vec![vec![Runs::default(); columns.len()]; subjects.len()],
            load: vec![Runs::default(); subjects.len()],
        }
    }

    /// The figures of one run of one server.
    pub(crate) fn add(&mut self, server: usize, figures: &[f64]) {
        debug_assert_eq!(figures.len(), self.columns.len(), "a figure for each column");
        self.figures[server].iter_mut().zip(figures).for_each(|(runs, figure)| runs.push(*figure));
        self.load[server].push(procfs::load());
    }

    pub(crate) fn print(&self, title: &str) -> anyhow::Result<()> {
        let mut titles = vec!["date", "server", "acknowledged from"];
        for column in self.columns {
            titles.push(column.title);
            titles.extend(column.ratio.then_some("× first"));
        }
        titles.push("load");
        let mut table = Table::new(&titles);
        let date = jiff::Zoned::now().date().to_string();
        for (server, subject) in self.subjects.iter().enumerate() {
            let mut cells = vec![date.clone(), subject.name().to_owned(), subject.durability().to_owned()];
            for (at, column) in self.columns.iter().enumerate() {
                let runs = &self.figures[server][at];
                cells.push(runs.show(column.digits));
                if column.ratio {
                    cells.push(format!("{:.2}", runs.median() / self.figures[0][at].median()));
                }
            }
            cells.push(self.load[server].show(1));
            table.row(cells);
        }
        table.print(title)?;
        Ok(())
    }
}
