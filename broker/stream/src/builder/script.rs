//! A pipeline: queries, and the tables that they read and write.

use super::{Table, quoted};
use crate::functions::Functions;
use crate::plan::Plan;
use crate::sql::{SqlError, compile_with};

/// One pipeline: all that its queries write in an epoch is committed together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    tables: Vec<Table>,
    views: Vec<(String, String)>,
    inserts: Vec<String>,
}

impl Script {
    pub(super) fn add_table(&mut self, table: Table) {
        if !self.tables.contains(&table) {
            self.tables.push(table);
        }
    }

    pub(super) fn add_view(&mut self, view: (String, String)) {
        if !self.views.contains(&view) {
            self.views.push(view);
        }
    }

    pub(super) fn add_insert(&mut self, insert: String) {
        self.inserts.push(insert);
    }

    /// Both in one pipeline: tables they share are read once.
    pub fn and(mut self, other: Script) -> Script {
        other.tables.into_iter().for_each(|table| self.add_table(table));
        other.views.into_iter().for_each(|view| self.add_view(view));
        self.inserts.extend(other.inserts);
        self
    }

    /// The script as text: what a broker is given, and what errors speak of.
    pub fn sql(&self) -> String {
        let tables = self.tables.iter().map(Table::sql);
        let views =
            self.views.iter().map(|(name, query)| format!("CREATE VIEW {} AS {query};\n", quoted(name)));
        tables.chain(views).chain(self.inserts.iter().cloned()).collect()
    }

    /// The plan.
    ///
    /// # Errors
    /// What is wrong; line and column are those of [`Script::sql`].
    pub fn plan(&self) -> Result<Plan, SqlError> {
        self.plan_with(&Functions::new())
    }

    /// The plan, with functions of the program's own.
    ///
    /// # Errors
    /// What is wrong; line and column are those of [`Script::sql`].
    pub fn plan_with(&self, functions: &Functions) -> Result<Plan, SqlError> {
        compile_with(&self.sql(), functions)
    }
}
