//! Topics as tables.

use std::time::Duration;

use super::{Expr, interval, quoted, text};
use crate::value::DataType;

/// A topic as a table, to be read or to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub(super) name: String,
    items: Vec<String>,
    options: Vec<(String, String)>,
}

impl Table {
    /// A table over a topic of JSON objects. [`Table::option`] says otherwise.
    pub fn new(name: &str, topic: &str) -> Table {
        let options = vec![("topic".to_owned(), topic.to_owned()), ("format".to_owned(), "json".to_owned())];
        Table { name: name.to_owned(), items: Vec::new(), options }
    }

    /// An option, such as `format`, `on-error` or `output`; the last value counts.
    pub fn option(mut self, key: &str, value: &str) -> Table {
        self.options.retain(|(known, _)| known != key);
        self.options.push((key.to_owned(), value.to_owned()));
        self
    }

    fn item(mut self, item: String) -> Table {
        self.items.push(item);
        self
    }

    /// A field of the value.
    pub fn column(self, name: &str, data_type: DataType) -> Table {
        let item = format!("{} {data_type}", quoted(name));
        self.item(item)
    }

    /// A field of the value that must be there.
    pub fn required(self, name: &str, data_type: DataType) -> Table {
        let item = format!("{} {data_type} NOT NULL", quoted(name));
        self.item(item)
    }

    /// Something else of the record: `offset`, `partition`, `timestamp`, `key`, `header:<name>`.
    pub fn metadata(self, name: &str, data_type: DataType, what: &str) -> Table {
        let item = format!("{} {data_type} METADATA FROM {}", quoted(name), text(what));
        self.item(item)
    }

    /// A column that is computed from those before it.
    pub fn computed(self, name: &str, expression: Expr) -> Table {
        let item = format!("{} AS {expression}", quoted(name));
        self.item(item)
    }

    /// The event time, and how far a record may be behind the newest of its partition.
    pub fn watermark(self, column: &str, delay: Duration) -> Table {
        let column = quoted(column);
        let behind = if delay.is_zero() { String::new() } else { format!(" - {}", interval(delay)) };
        let item = format!("WATERMARK FOR {column} AS {column}{behind}");
        self.item(item)
    }

    /// The columns of the key: of a table that is read, a record replaces the one before it of its key.
    pub fn primary_key<'n>(self, columns: impl IntoIterator<Item = &'n str>) -> Table {
        let columns: Vec<String> = columns.into_iter().map(quoted).collect();
        let item = format!("PRIMARY KEY ({}) NOT ENFORCED", columns.join(", "));
        self.item(item)
    }

    pub(super) fn sql(&self) -> String {
        let options: Vec<String> =
            self.options.iter().map(|(key, value)| format!("{} = {}", text(key), text(value))).collect();
        format!(
            "CREATE TABLE {} (\n  {}\n) WITH ({});\n",
            quoted(&self.name),
            self.items.join(",\n  "),
            options.join(", ")
        )
    }
}
