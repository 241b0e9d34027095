//! Rows to Avro's binary encoding.

use std::io::Write;

use super::schema::{Kind, Logical, Schema, TypeId};
use crate::column::{Column, decimal_at};
use crate::format::csv::write_plain;
use crate::format::error::FormatError;
use crate::plan::{self, AvroFormat};
use crate::value::DataType;

/// Encodes rows as data of one schema.
#[derive(Debug)]
pub(crate) struct AvroEncoder {
    schema: Schema,
    /// What comes before each datum.
    header: Vec<u8>,
    root: Source,
}

/// Where a value comes from.
#[derive(Debug)]
enum Source {
    /// Nowhere: it is null.
    Nothing,
    /// A column.
    Column { column: usize, name: String },
    /// It is a record; one entry for each of its fields.
    Fields(Vec<Source>),
}

impl AvroEncoder {
    /// For the columns at these indexes, of those that rows have.
    pub(crate) fn new(
        format: &AvroFormat,
        columns: &[plan::Column],
        which: &[usize],
    ) -> Result<Self, FormatError> {
        let schema = Schema::parse(&format.schema)?;
        let mut header = Vec::new();
        if format.confluent {
            let id = format.schema_id.ok_or_else(|| {
                FormatError::new(
                    "what is written with Confluent's header needs the schema's number",
                    "add 'avro.schema-id' = '<number>'",
                )
            })?;
            header.push(0);
            header.extend_from_slice(&id.to_be_bytes());
        }
        let mut left: Vec<usize> = which.to_vec();
        let root = match (schema.fields(schema.root()), which) {
            (None, [column]) => {
                left.clear();
                column_source(&schema, schema.root(), columns, *column)?
            }
            (None, _) => {
                return Err(FormatError::new(
                    "the Avro schema is no record, and has room for one column",
                    "declare one column, or give the schema of a record",
                ));
            }
            (Some(_), _) => sources(&schema, schema.root(), "", columns, &mut left)?,
        };
        match left.first() {
            None => Ok(Self { schema, header, root }),
            Some(column) => Err(FormatError::new(
                format!("the Avro schema has no field `{}`", columns[*column].name),
                "leave the column out, or add the field to the schema",
            )),
        }
    }

    /// Appends one row of the columns.
    pub(crate) fn encode(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(&self.header);
        self.write(self.schema.root(), &self.root, columns, row, out)
    }

    fn write(
        &self,
        id: TypeId,
        source: &Source,
        columns: &[Column],
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        match (&self.schema.get(id).kind, source) {
            (Kind::Union(branches), source) => {
                let wanted = |branch: &TypeId| match (&self.schema.get(*branch).kind, source) {
                    (Kind::Null, source) => is_null(source, columns, row),
                    (Kind::Record(_), Source::Fields(_)) => true,
                    (_, Source::Column { column, .. }) => {
                        takes(&self.schema, *branch, type_of(&columns[*column]))
                    }
                    _ => false,
                };
                // Null where it is, whichever branch that is.
                let null = branches
                    .iter()
                    .position(|branch| matches!(self.schema.get(*branch).kind, Kind::Null) && wanted(branch));
                if let Some(null) = null {
                    write_long(out, null as i64);
                    return Ok(());
                }
                // A column's type may fit several, and a value only one of them: 5,000,000,000 is a long, and no int.
                let start = out.len();
                let mut misfit = None;
                for (index, branch) in branches.iter().enumerate().filter(|(_, branch)| wanted(branch)) {
                    write_long(out, index as i64);
                    match self.write(*branch, source, columns, row, out) {
                        Ok(()) => return Ok(()),
                        Err(error) => misfit.get_or_insert(error),
                    };
                    out.truncate(start);
                }
                Err(misfit.unwrap_or_else(|| format!("{} fits no type of its union", name_of(source))))
            }
            (Kind::Null, _) => Ok(()),
            (Kind::Record(fields), Source::Fields(inner)) => fields
                .iter()
                .zip(inner)
                .try_for_each(|(field, source)| self.write(field.data, source, columns, row, out)),
            (_, Source::Column { column, name }) => {
                let column = &columns[*column];
                if column.is_null(row) {
                    return Err(format!("column `{name}` is NULL, which its Avro type is not"));
                }
                self.write_cell(id, column, row, out).map_err(|reason| format!("column `{name}` {reason}"))
            }
            (_, source) => Err(format!("{} has no value", name_of(source))),
        }
    }

    /// Writes a value that is not `NULL` as a type that it fits.
    fn write_cell(&self, id: TypeId, column: &Column, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let wanted = self.schema.get(id);
        let misfit = || {
            let mut text = Vec::new();
            write_plain(column, row, &mut text);
            format!("is {}, the schema has {}", String::from_utf8_lossy(&text), self.schema.describe(id))
        };
        match (&wanted.kind, column) {
            (Kind::Boolean, Column::Boolean(array)) => out.push(u8::from(array.value(row))),
            (Kind::Int, Column::BigInt(array)) => {
                let value = i32::try_from(array.value(row)).map_err(|_| misfit())?;
                write_long(out, i64::from(value));
            }
            (Kind::Int, Column::Date(array)) => write_long(out, i64::from(array.value(row))),
            (Kind::Long, Column::BigInt(array)) => write_long(out, array.value(row)),
            (Kind::Long, Column::Timestamp(array)) => {
                let factor = match wanted.logical {
                    Logical::Timestamp { per_second } => per_second / 1_000,
                    _ => 1,
                };
                write_long(out, array.value(row).checked_mul(factor).ok_or_else(misfit)?);
            }
            (Kind::Float, Column::Double(array)) => {
                let value = array.value(row) as f32;
                if !value.is_finite() {
                    return Err(misfit());
                }
                out.extend_from_slice(&value.to_le_bytes());
            }
            (Kind::Double, Column::Double(array)) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            (Kind::Bytes, Column::Decimal(_)) | (Kind::Fixed(_), Column::Decimal(_)) => {
                let bytes = decimal_bytes(wanted.logical, column, row).ok_or_else(misfit)?;
                match wanted.kind {
                    Kind::Fixed(size) if size < bytes.len() => return Err(misfit()),
                    Kind::Fixed(size) => {
                        let fill = if bytes[0] & 0x80 == 0 { 0 } else { 0xFF };
                        out.extend(std::iter::repeat_n(fill, size - bytes.len()));
                        out.extend_from_slice(&bytes);
                    }
                    _ => write_prefixed(out, &bytes),
                }
            }
            (Kind::Bytes, Column::Bytes(array)) => write_prefixed(out, array.value(row)),
            (Kind::Bytes, Column::String(array)) => write_prefixed(out, array.value(row).as_bytes()),
            (Kind::Fixed(size), Column::Bytes(array)) if array.value(row).len() == *size => {
                out.extend_from_slice(array.value(row));
            }
            (Kind::Fixed(size), Column::String(array)) if array.value(row).len() == *size => {
                out.extend_from_slice(array.value(row).as_bytes());
            }
            (Kind::String, Column::String(array)) => write_prefixed(out, array.value(row).as_bytes()),
            (Kind::String, Column::Timestamp(_) | Column::Date(_)) => {
                let mut text = Vec::new();
                write_plain(column, row, &mut text);
                write_prefixed(out, &text);
            }
            (Kind::Enum(symbols), Column::String(array)) => {
                let symbol = symbols.iter().position(|symbol| symbol == array.value(row));
                write_long(out, symbol.ok_or_else(misfit)? as i64);
            }
            _ => return Err(misfit()),
        }
        Ok(())
    }
}

fn column_source(
    schema: &Schema,
    id: TypeId,
    columns: &[plan::Column],
    column: usize,
) -> Result<Source, FormatError> {
    let plan::Column { name, data_type, .. } = &columns[column];
    match takes(schema, id, *data_type) {
        true => Ok(Source::Column { column, name: name.clone() }),
        false => Err(FormatError::new(
            format!("column `{name}` is a {data_type}, the Avro schema has {} there", schema.describe(id)),
            match schema.column_type(id) {
                Some(better) => format!("declare it as {better}"),
                None => "leave it out".to_owned(),
            },
        )),
    }
}

/// Whether values of a column can be written as a type.
fn takes(schema: &Schema, id: TypeId, column: DataType) -> bool {
    match &schema.get(id).kind {
        Kind::Union(branches) => branches.iter().any(|branch| takes(schema, *branch, column)),
        // What is read into a DOUBLE may be an integer; a DOUBLE is none.
        Kind::Int | Kind::Long if column == DataType::Double => false,
        Kind::Int if column == DataType::Timestamp => false,
        Kind::Null => false,
        _ => schema.fits(id, column),
    }
}

/// Where the fields of a record come from. Columns that are used are taken out of `left`.
fn sources(
    schema: &Schema,
    id: TypeId,
    path: &str,
    columns: &[plan::Column],
    left: &mut Vec<usize>,
) -> Result<Source, FormatError> {
    let mut found = Vec::new();
    for field in schema.fields(id).unwrap_or_default() {
        let name = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
        let below = format!("{name}.");
        if let Some(place) = left.iter().position(|column| columns[*column].name == name) {
            let column = left.remove(place);
            found.push(column_source(schema, field.data, columns, column)?);
        } else if left.iter().any(|column| columns[*column].name.starts_with(&below)) {
            found.push(sources(schema, field.data, &name, columns, left)?);
        } else if may_be_null(schema, field.data) {
            found.push(Source::Nothing);
        } else {
            return Err(FormatError::new(
                format!("field `{name}` of the Avro schema has no column, and cannot be null"),
                format!("declare a column `{name}`"),
            ));
        }
    }
    Ok(Source::Fields(found))
}

fn may_be_null(schema: &Schema, id: TypeId) -> bool {
    match &schema.get(id).kind {
        Kind::Null => true,
        Kind::Union(branches) => branches.iter().any(|branch| matches!(schema.get(*branch).kind, Kind::Null)),
        _ => false,
    }
}

/// Whether there is nothing to be written; a record of nothing but `NULL` is null itself where it may be.
fn is_null(source: &Source, columns: &[Column], row: usize) -> bool {
    match source {
        Source::Nothing => true,
        Source::Column { column, .. } => columns[*column].is_null(row),
        Source::Fields(inner) => inner.iter().all(|source| is_null(source, columns, row)),
    }
}

fn name_of(source: &Source) -> String {
    match source {
        Source::Column { name, .. } => format!("column `{name}`"),
        Source::Nothing => "a field without a column".to_owned(),
        Source::Fields(inner) => inner.first().map_or("a record".to_owned(), name_of),
    }
}

/// The type of a column, as far as Avro's types are chosen by it.
fn type_of(column: &Column) -> DataType {
    match column {
        Column::Boolean(_) => DataType::Boolean,
        Column::BigInt(_) => DataType::BigInt,
        Column::Double(_) => DataType::Double,
        Column::String(_) => DataType::String,
        Column::Timestamp(_) => DataType::Timestamp,
        Column::Decimal(array) => {
            DataType::Decimal { precision: array.precision(), scale: array.scale() as u8 }
        }
        Column::Date(_) => DataType::Date,
        Column::Bytes(_) => DataType::Bytes,
    }
}

/// A decimal in the schema's scale as two's complement, the highest byte first, in as few bytes as it needs.
fn decimal_bytes(logical: Logical, column: &Column, row: usize) -> Option<Vec<u8>> {
    let (Column::Decimal(array), Logical::Decimal { precision, scale }) = (column, logical) else {
        return None;
    };
    let value = decimal_at(array, row);
    let scaled = value.rescale(scale).filter(|scaled| scaled.fits(precision))?;
    // Digits beyond the schema's scale would be lost.
    if scaled.rescale(value.scale) != Some(value) {
        return None;
    }
    let bytes = scaled.unscaled.to_be_bytes();
    let fill = if scaled.unscaled < 0 { 0xFF } else { 0 };
    let needed = |start: &usize| (bytes[*start] ^ fill) & 0x80 == 0;
    let spare = bytes.iter().take_while(|byte| **byte == fill).count().min(15);
    let start = (0..=spare).rev().find(needed).unwrap_or(0);
    Some(bytes[start..].to_vec())
}

fn write_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest > 0x7F {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn write_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    write_long(out, bytes.len() as i64);
    out.write_all(bytes).expect("writing to memory cannot fail");
}
