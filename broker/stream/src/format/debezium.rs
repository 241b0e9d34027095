//! Changes of rows as Debezium writes them in JSON: `{"before": {…}, "after": {…}, "op": "u"}`.
//!
//! `op` is `c` (created), `r` (read from a snapshot), `u` (updated) or `d` (deleted). An update needs its `before`: the
//! row that is taken back is not looked up anywhere.

use serde_json::value::RawValue;

use super::cell::{Brief, Cell, Slot};
use super::error::FormatError;
use super::json::{JsonDecoder, JsonEncoder};
use super::record::Landed;
use crate::column::Column;
use crate::plan::{self, DebeziumFormat};
use crate::value::DataType;

/// Decodes changes. It fills the cells of the new row, then those of the row taken back, then three of its own.
#[derive(Debug, Clone)]
pub(crate) struct DebeziumDecoder {
    json: JsonDecoder,
    /// How many slots a row has.
    width: usize,
}

impl DebeziumDecoder {
    /// For rows of `slots`, of which those in `fields` are in the value. Adds the slots of the row taken back, and its
    /// own.
    pub(crate) fn new(format: DebeziumFormat, slots: &mut Vec<Slot>, fields: &[usize]) -> Self {
        let width = slots.len();
        let around: &[&str] = if format.schema_include { &["payload"] } else { &[] };
        let mut json = JsonDecoder::new([], false);
        for (name, first) in [("after", 0), ("before", width)] {
            let path = [around, &[name]].concat();
            let inside = fields.iter().map(|index| (first + index, slots[*index].name.as_str()));
            json.add_inside(&path, inside, format.json.nested);
        }
        json.add_inside(
            around,
            [(2 * width, "op"), (2 * width + 1, "before"), (2 * width + 2, "after")],
            false,
        );
        slots.extend_from_within(..);
        slots.extend(
            ["op", "before", "after"].map(|name| Slot::new(&plan::Column::of_value(name, DataType::String))),
        );
        Self { json, width }
    }

    /// Reads a change. `slots` and `cells` are those of both rows and its own. Of a table with a primary key (`keyed`) an update
    /// that says nothing of the row before is one of the same key: so PostgreSQL's usual replica identity has it.
    pub(crate) fn decode<'r>(
        &mut self,
        input: &'r [u8],
        keyed: bool,
        slots: &[Slot],
        cells: &mut [Cell<'r>],
    ) -> Result<Landed, String> {
        self.json.decode(input, slots, cells)?;
        let [op, before, after] = &cells[2 * self.width..] else {
            unreachable!("the slots were added by `new`")
        };
        let Cell::String(op) = op else {
            return Err("field `op` is null or missing: this is no change as Debezium writes it".to_owned());
        };
        let needs = |name: &str, cell: &Cell<'_>| match cell {
            Cell::Null => Err(format!("field `{name}` is null or missing, but `op` is {op:?}")),
            _ => Ok(()),
        };
        match op.as_ref() {
            "c" | "r" => {
                needs("after", after)?;
                Ok(Landed::Row)
            }
            "u" => {
                if !keyed {
                    needs("before", before)?;
                }
                needs("after", after)?;
                Ok(Landed::Replaced)
            }
            "d" => {
                needs("before", before)?;
                Ok(Landed::TakenBack)
            }
            other => {
                Err(format!("field `op` is {:?}, known are \"c\", \"r\", \"u\" and \"d\"", Brief(other)))
            }
        }
    }
}

/// The row that there is behind a change of our own, as what creates it; `None` if it is gone.
///
/// # Errors
/// What is no such change.
pub(crate) fn created(change: &[u8]) -> Result<Option<Vec<u8>>, String> {
    #[derive(serde::Deserialize)]
    struct Change<'a> {
        #[serde(borrow)]
        after: Option<&'a RawValue>,
    }
    let change: Change<'_> = serde_json::from_slice(change).map_err(|error| error.to_string())?;
    Ok(change.after.map(|after| format!("{{\"before\":null,\"after\":{after},\"op\":\"c\"}}").into_bytes()))
}

/// A row of the columns given.
pub(crate) type Row<'a> = (&'a [Column], usize);

/// Encodes changes.
#[derive(Debug)]
pub(crate) struct DebeziumEncoder {
    row: JsonEncoder,
}

impl DebeziumEncoder {
    pub(crate) fn new(
        format: DebeziumFormat,
        columns: &[plan::Column],
        which: &[usize],
    ) -> Result<Self, FormatError> {
        if format.schema_include {
            return Err(FormatError::new(
                "changes are written without a schema",
                "leave 'debezium-json.schema-include' out",
            ));
        }
        Ok(Self { row: JsonEncoder::new(format.json, columns, which)? })
    }

    /// Appends the change from one row to another: created without a `before`, deleted without an `after`.
    pub(crate) fn encode(&self, before: Option<Row<'_>>, after: Option<Row<'_>>, out: &mut Vec<u8>) {
        let op: &[u8] = match (before, after) {
            (None, _) => b"c",
            (Some(_), Some(_)) => b"u",
            (Some(_), None) => b"d",
        };
        for (name, row) in [(&b"{\"before\":"[..], before), (b",\"after\":", after)] {
            out.extend_from_slice(name);
            match row {
                Some((columns, row)) => self.row.encode(columns, row, out),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(b",\"op\":\"");
        out.extend_from_slice(op);
        out.extend_from_slice(b"\"}");
    }
}
