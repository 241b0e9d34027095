//! Rows to messages, fields by number.

use super::decode::wire_type;
use super::schema::{Field, Kind, Rule, Schema};
use super::wire::{WireType, write_bytes, write_tag, write_varint, zigzag};
use crate::column::Column;
use crate::format::csv::write_plain;
use crate::format::error::FormatError;
use crate::plan::{self, ProtobufFormat};

/// Encodes rows as messages of one type.
#[derive(Debug)]
pub(crate) struct ProtobufEncoder {
    schema: Schema,
    fields: Vec<Written>,
}

/// A field to be written.
#[derive(Debug)]
struct Written {
    field: Field,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Column(usize),
    /// Its message's fields.
    Fields(Vec<Written>),
}

impl ProtobufEncoder {
    /// For the columns at these indexes, of those that rows have.
    pub(crate) fn new(
        format: &ProtobufFormat,
        columns: &[plan::Column],
        which: &[usize],
    ) -> Result<Self, FormatError> {
        let schema = Schema::new(format)?;
        let mut left: Vec<usize> = which.to_vec();
        for index in which {
            let plan::Column { name, data_type, .. } = &columns[*index];
            schema.check(name, schema.field(name)?, *data_type)?;
        }
        let fields = written(&schema, schema.root(), "", columns, &mut left)?;
        match left.first() {
            None => Ok(Self { schema, fields }),
            Some(column) => Err(FormatError::new(
                format!("column `{}` is inside of another column", columns[*column].name),
                "leave one of them out",
            )),
        }
    }

    /// Appends one row of the columns.
    pub(crate) fn encode(&self, columns: &[Column], row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        self.write(&self.fields, columns, row, out)
    }

    fn write(
        &self,
        fields: &[Written],
        columns: &[Column],
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        for (index, Written { field, source }) in fields.iter().enumerate() {
            if is_absent(source, columns, row) {
                if field.rule == Rule::Required {
                    return Err(format!("field `{}` is required, and NULL", field.name));
                }
                continue;
            }
            let rival = fields[index + 1..].iter().find(|other| {
                field.oneof.is_some()
                    && other.field.oneof == field.oneof
                    && !is_absent(&other.source, columns, row)
            });
            if let Some(rival) = rival {
                return Err(format!(
                    "fields `{}` and `{}` are of one oneof, and both have a value",
                    field.name, rival.field.name
                ));
            }
            match source {
                Source::Column(column) => {
                    self.write_field(field, &columns[*column], row, out)
                        .map_err(|reason| format!("field `{}` {reason}", field.name))?;
                }
                Source::Fields(inner) => {
                    let mut message = Vec::new();
                    self.write(inner, columns, row, &mut message)?;
                    write_tag(out, field.number, WireType::Length);
                    write_bytes(out, &message);
                }
            }
        }
        Ok(())
    }

    /// Writes a value that is not `NULL`; a default only where it could be told from nothing.
    fn write_field(
        &self,
        field: &Field,
        column: &Column,
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let start = out.len();
        write_tag(out, field.number, wire_type(field.kind));
        let value_at = out.len();
        self.write_value(field.kind, column, row, out)?;
        if field.rule == Rule::Implicit && out[value_at..].iter().all(|byte| *byte == 0) {
            // A default is zero in every type: no bits, or no length. -0.0 has a bit.
            out.truncate(start);
        }
        Ok(())
    }

    fn write_value(&self, kind: Kind, column: &Column, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        let misfit = || {
            let mut text = Vec::new();
            write_plain(column, row, &mut text);
            format!("cannot be {}", String::from_utf8_lossy(&text))
        };
        match (kind, column) {
            (Kind::Double, Column::Double(array)) => out.extend_from_slice(&array.value(row).to_le_bytes()),
            (Kind::Float, Column::Double(array)) => {
                let value = array.value(row) as f32;
                if !value.is_finite() {
                    return Err(misfit());
                }
                out.extend_from_slice(&value.to_le_bytes());
            }
            (Kind::Bool, Column::Boolean(array)) => out.push(u8::from(array.value(row))),
            (Kind::String | Kind::Bytes, Column::String(array)) => {
                write_bytes(out, array.value(row).as_bytes());
            }
            (Kind::Bytes, Column::Bytes(array)) => write_bytes(out, array.value(row)),
            (Kind::Enum(index), Column::String(array)) => {
                let name = array.value(row);
                let values = &self.schema.enumeration(index).values;
                let number = values.iter().find(|(value, _)| value == name).map(|(_, number)| *number);
                // What a newer writer knew was read as its number.
                let number = number.or_else(|| name.parse().ok()).ok_or_else(misfit)?;
                write_varint(out, i64::from(number) as u64);
            }
            (Kind::Message(index), Column::Timestamp(array)) if self.schema.is_timestamp(index) => {
                let ms = array.value(row);
                let mut message = Vec::new();
                let (seconds, nanos) = (ms.div_euclid(1000), ms.rem_euclid(1000) * 1_000_000);
                for (number, value) in [(1, seconds), (2, nanos)] {
                    if value != 0 {
                        write_tag(&mut message, number, WireType::Varint);
                        write_varint(&mut message, value as u64);
                    }
                }
                write_bytes(out, &message);
            }
            (Kind::Message(index), column) => {
                let wrapped = self.schema.wrapped(index).ok_or_else(misfit)?;
                let mut message = Vec::new();
                self.write_field(wrapped, column, row, &mut message)?;
                write_bytes(out, &message);
            }
            (kind, Column::BigInt(array)) => write_integer(kind, array.value(row), out).ok_or_else(misfit)?,
            (kind, Column::Timestamp(array)) => {
                write_integer(kind, array.value(row), out).ok_or_else(misfit)?;
            }
            _ => return Err(misfit()),
        }
        Ok(())
    }
}

fn write_integer(kind: Kind, value: i64, out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Kind::Int32 | Kind::Enum(_) => write_varint(out, i64::from(i32::try_from(value).ok()?) as u64),
        Kind::Int64 => write_varint(out, value as u64),
        Kind::Uint32 => write_varint(out, u64::from(u32::try_from(value).ok()?)),
        Kind::Uint64 => write_varint(out, u64::try_from(value).ok()?),
        Kind::Sint32 => write_varint(out, zigzag(i64::from(i32::try_from(value).ok()?)) & 0xFFFF_FFFF),
        Kind::Sint64 => write_varint(out, zigzag(value)),
        Kind::Fixed32 => out.extend_from_slice(&u32::try_from(value).ok()?.to_le_bytes()),
        Kind::Fixed64 => out.extend_from_slice(&u64::try_from(value).ok()?.to_le_bytes()),
        Kind::Sfixed32 => out.extend_from_slice(&i32::try_from(value).ok()?.to_le_bytes()),
        Kind::Sfixed64 => out.extend_from_slice(&value.to_le_bytes()),
        _ => return None,
    }
    Some(())
}

/// The fields of a message that columns are written into. Columns that are used are taken out of `left`.
fn written(
    schema: &Schema,
    message: usize,
    path: &str,
    columns: &[plan::Column],
    left: &mut Vec<usize>,
) -> Result<Vec<Written>, FormatError> {
    let mut found = Vec::new();
    for field in &schema.message(message).fields {
        let name = if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
        let below = format!("{name}.");
        let place = left.iter().position(|column| columns[*column].name == name);
        let source = match (place, field.kind) {
            (Some(place), _) => Source::Column(left.remove(place)),
            (None, Kind::Message(inner))
                if left.iter().any(|column| columns[*column].name.starts_with(&below)) =>
            {
                Source::Fields(written(schema, inner, &name, columns, left)?)
            }
            _ if field.rule == Rule::Required => {
                return Err(FormatError::new(
                    format!("field `{name}` of the message is required, and has no column"),
                    format!("declare a column `{name}`"),
                ));
            }
            _ => continue,
        };
        found.push(Written { field: field.clone(), source });
    }
    Ok(found)
}

/// Whether there is nothing to be written: `NULL`, or a message of nothing but `NULL`.
fn is_absent(source: &Source, columns: &[Column], row: usize) -> bool {
    match source {
        Source::Column(column) => columns[*column].is_null(row),
        Source::Fields(inner) => inner.iter().all(|written| is_absent(&written.source, columns, row)),
    }
}
