//! Avro's binary encoding to cells.
//!
//! A length is held against the bytes that are left before anything is done with it; what is not wanted is passed over,
//! but walked.

use std::sync::Arc;

use super::schema::{Kind, Logical, Schema, TypeId};
use crate::decimal::Decimal;
use crate::format::cell::{Cell, Slot};
use crate::format::error::FormatError;
use crate::plan::AvroFormat;

/// Values inside one another; a schema that refers to itself makes any number of them.
const MAX_DEPTH: u32 = 128;

/// Decodes data of one schema.
#[derive(Debug, Clone)]
pub(crate) struct AvroDecoder {
    schema: Arc<Schema>,
    confluent: bool,
    schema_id: Option<u32>,
    root: Wanted,
}

/// What of a value is wanted.
#[derive(Debug, Clone)]
enum Wanted {
    Nothing,
    /// The value itself.
    Cell(usize),
    /// Fields of the record that it is, one entry for each.
    Fields(Vec<Wanted>),
}

impl Wanted {
    fn clear(&self, cells: &mut [Cell<'_>]) {
        match self {
            Wanted::Nothing => {}
            Wanted::Cell(slot) => cells[*slot] = Cell::Null,
            Wanted::Fields(inner) => inner.iter().for_each(|wanted| wanted.clear(cells)),
        }
    }
}

impl AvroDecoder {
    /// For fields by path, each with the slot it fills.
    pub(crate) fn new<'a>(
        format: &AvroFormat,
        fields: impl IntoIterator<Item = (usize, &'a str)>,
        slots: &[Slot],
    ) -> Result<Self, FormatError> {
        let schema = Schema::parse(&format.schema)?;
        let mut root = Wanted::Nothing;
        for (slot, name) in fields {
            let id = want(&schema, &mut root, slot, name)?;
            let column = slots[slot].data_type;
            if !schema.fits(id, column) {
                let help = match (schema.column_type(id), schema.fields(id)) {
                    (Some(better), _) => format!("declare it as {better}"),
                    (None, Some(_)) => format!("name its fields: `{name}.<field>`"),
                    (None, None) => "leave it out".to_owned(),
                };
                let found = schema.describe(id);
                return Err(FormatError::new(
                    format!("column `{name}` is a {column}, the Avro schema has {found} there"),
                    help,
                ));
            }
        }
        Ok(Self { schema: Arc::new(schema), confluent: format.confluent, schema_id: format.schema_id, root })
    }

    pub(crate) fn decode<'r>(
        &mut self,
        input: &'r [u8],
        slots: &[Slot],
        cells: &mut [Cell<'r>],
    ) -> Result<(), String> {
        let datum = if self.confluent { self.unwrap(input)? } else { input };
        let mut reader =
            Reader { schema: &self.schema, input: datum, at: 0, shift: input.len() - datum.len() };
        reader.read(self.schema.root(), &self.root, slots, cells, 0)?;
        match reader.left() {
            0 => Ok(()),
            left => Err(reader.wrong(format_args!("{left} bytes are left over behind the datum"))),
        }
    }

    /// What is behind Confluent's header.
    fn unwrap<'r>(&self, input: &'r [u8]) -> Result<&'r [u8], String> {
        let Some(([0, id @ ..], datum)) = input.split_first_chunk::<5>() else {
            return Err("no Confluent header: a zero byte and four bytes of the schema's number".to_owned());
        };
        let id = u32::from_be_bytes(*id);
        match self.schema_id {
            Some(wanted) if wanted != id => Err(format!("it is of schema {id}, the table's is {wanted}")),
            _ => Ok(datum),
        }
    }
}

/// Marks the value at a path as wanted, and returns its type.
fn want(schema: &Schema, root: &mut Wanted, slot: usize, name: &str) -> Result<TypeId, FormatError> {
    let mut id = schema.root();
    let mut wanted = root;
    let mut path = name.split('.').peekable();
    // A schema that is no record is the one column, whatever its name.
    while schema.fields(schema.root()).is_some() && path.peek().is_some() {
        let part = path.next().unwrap_or_default();
        let fields = schema.fields(id).unwrap_or_default();
        let Some(index) = fields.iter().position(|field| field.name == part) else {
            let known: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            return Err(FormatError::new(
                format!("the Avro schema has no field `{name}`"),
                match known.is_empty() {
                    true => "name a field of a record".to_owned(),
                    false => format!("known are: {}", known.join(", ")),
                },
            ));
        };
        id = fields[index].data;
        if let Wanted::Nothing = wanted {
            *wanted = Wanted::Fields(vec![Wanted::Nothing; fields.len()]);
        }
        wanted = match wanted {
            Wanted::Fields(inner) => &mut inner[index],
            _ => return Err(twice(name)),
        };
    }
    match wanted {
        Wanted::Nothing => {
            *wanted = Wanted::Cell(slot);
            Ok(id)
        }
        _ => Err(twice(name)),
    }
}

fn twice(name: &str) -> FormatError {
    FormatError::new(format!("`{name}` is read by two columns"), "leave one of them out")
}

struct Reader<'d, 'r> {
    schema: &'d Schema,
    input: &'r [u8],
    at: usize,
    /// Bytes of the value in front of `input`.
    shift: usize,
}

impl<'r> Reader<'_, 'r> {
    fn left(&self) -> usize {
        self.input.len() - self.at
    }

    fn wrong(&self, what: impl std::fmt::Display) -> String {
        format!("at byte {}: {what}", self.shift + self.at)
    }

    fn deeper(&self, depth: u32) -> Result<u32, String> {
        match depth < MAX_DEPTH {
            true => Ok(depth + 1),
            false => Err(self.wrong("too many values inside one another")),
        }
    }

    fn read(
        &mut self,
        id: TypeId,
        wanted: &Wanted,
        slots: &[Slot],
        cells: &mut [Cell<'r>],
        depth: u32,
    ) -> Result<(), String> {
        let depth = self.deeper(depth)?;
        let found = self.schema.get(id);
        match (&found.kind, wanted) {
            (_, Wanted::Nothing) => self.skip(id, depth),
            (Kind::Union(branches), wanted) => {
                let branch = self.branch(branches.len())?;
                self.read(branches[branch], wanted, slots, cells, depth)
            }
            // The fields of a record that is not there are NULL, whatever the key said of them.
            (Kind::Null, wanted) => {
                wanted.clear(cells);
                Ok(())
            }
            (Kind::Record(fields), Wanted::Fields(inner)) => {
                for (field, wanted) in fields.iter().zip(inner) {
                    self.read(field.data, wanted, slots, cells, depth)?;
                }
                Ok(())
            }
            (_, Wanted::Cell(slot)) => {
                cells[*slot] = self.cell(id, &slots[*slot])?;
                Ok(())
            }
            (_, Wanted::Fields(_)) => {
                let found = self.schema.describe(id);
                Err(self.wrong(format_args!("a {found} in place of the record")))
            }
        }
    }

    fn cell(&mut self, id: TypeId, slot: &Slot) -> Result<Cell<'r>, String> {
        let found = self.schema.get(id);
        match &found.kind {
            Kind::Null => Ok(Cell::Null),
            Kind::Boolean => {
                let value = self.boolean()?;
                slot.boolean(value)
            }
            Kind::Int | Kind::Long => {
                let value = if let Kind::Int = found.kind { i64::from(self.int()?) } else { self.long()? };
                match found.logical {
                    Logical::Date => slot.day(value),
                    Logical::Timestamp { per_second } => slot.instant(value.div_euclid(per_second / 1_000)),
                    _ => slot.integer(value),
                }
            }
            Kind::Float => {
                let value = f32::from_le_bytes(self.array()?);
                slot.float(f64::from(value))
            }
            Kind::Double => {
                let value = f64::from_le_bytes(self.array()?);
                slot.float(value)
            }
            Kind::Bytes | Kind::Fixed(_) => {
                let bytes = match found.kind {
                    Kind::Fixed(size) => self.take(size)?,
                    _ => self.prefixed()?,
                };
                match found.logical {
                    Logical::Decimal { scale, .. } => match unscaled(bytes) {
                        Some(unscaled) => slot.decimal(Decimal { unscaled, scale }),
                        None => Err(slot.mismatch(format_args!("a decimal of {} bytes", bytes.len()))),
                    },
                    _ => slot.bytes(bytes),
                }
            }
            Kind::String => {
                let bytes = self.prefixed()?;
                match std::str::from_utf8(bytes) {
                    Ok(text) => slot.text(text),
                    Err(error) => Err(slot.mismatch(format_args!("not UTF-8 ({error})"))),
                }
            }
            Kind::Enum(symbols) => {
                let index = self.branch(symbols.len())?;
                slot.text(symbols[index].clone())
            }
            Kind::Array(_) | Kind::Map(_) | Kind::Record(_) | Kind::Union(_) => {
                unreachable!("no column fits a composed type, and unions are read by `read`")
            }
        }
    }

    fn skip(&mut self, id: TypeId, depth: u32) -> Result<(), String> {
        // However many values without bytes it is made of.
        if self.schema.is_empty(id) {
            return Ok(());
        }
        match &self.schema.get(id).kind {
            Kind::Null => Ok(()),
            Kind::Boolean => self.boolean().map(|_| ()),
            Kind::Int => self.int().map(|_| ()),
            Kind::Long => self.long().map(|_| ()),
            Kind::Float => self.take(4).map(|_| ()),
            Kind::Double => self.take(8).map(|_| ()),
            Kind::Bytes | Kind::String => self.prefixed().map(|_| ()),
            Kind::Fixed(size) => self.take(*size).map(|_| ()),
            Kind::Enum(symbols) => self.branch(symbols.len()).map(|_| ()),
            Kind::Union(branches) => {
                let branch = self.branch(branches.len())?;
                let depth = self.deeper(depth)?;
                self.skip(branches[branch], depth)
            }
            Kind::Record(fields) => {
                let depth = self.deeper(depth)?;
                fields.iter().try_for_each(|field| self.skip(field.data, depth))
            }
            Kind::Array(items) => self.skip_blocks(*items, false, depth),
            Kind::Map(values) => self.skip_blocks(*values, true, depth),
        }
    }

    fn skip_blocks(&mut self, id: TypeId, keys: bool, depth: u32) -> Result<(), String> {
        let depth = self.deeper(depth)?;
        let empty = !keys && self.schema.is_empty(id);
        loop {
            let mut count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                count = count.checked_neg().ok_or_else(|| self.wrong("a block of too many items"))?;
                self.prefix_length()?;
            }
            if empty {
                continue;
            }
            // Every item has at least one byte.
            if !usize::try_from(count).is_ok_and(|count| count <= self.left()) {
                return Err(
                    self.wrong(format_args!("a block of {count} items, {} bytes are left", self.left()))
                );
            }
            for _ in 0..count {
                if keys {
                    self.prefixed()?;
                }
                self.skip(id, depth)?;
            }
        }
    }

    fn boolean(&mut self) -> Result<bool, String> {
        match self.take(1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(self.wrong(format_args!("{other:?} in place of a boolean"))),
        }
    }

    fn long(&mut self) -> Result<i64, String> {
        let mut value = 0_u64;
        for (index, byte) in self.input[self.at..].iter().take(10).enumerate() {
            // The tenth byte has one bit left to give.
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                self.at += index + 1;
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(self.wrong("a number that does not end, or has more than 64 bits"))
    }

    fn int(&mut self) -> Result<i32, String> {
        let value = self.long()?;
        i32::try_from(value).map_err(|_| self.wrong(format_args!("{value} in place of an int")))
    }

    /// The index of a union's branch or of an enum's symbol.
    fn branch(&mut self, count: usize) -> Result<usize, String> {
        let index = self.long()?;
        match usize::try_from(index) {
            Ok(index) if index < count => Ok(index),
            _ => Err(self.wrong(format_args!("branch or symbol {index} of {count}"))),
        }
    }

    fn prefix_length(&mut self) -> Result<usize, String> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.left() => Ok(length),
            _ => Err(self.wrong(format_args!("a length of {length}, {} bytes are left", self.left()))),
        }
    }

    fn prefixed(&mut self) -> Result<&'r [u8], String> {
        let length = self.prefix_length()?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&'r [u8], String> {
        match self.input[self.at..].get(..length) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => Err(self.wrong(format_args!("{length} bytes are wanted, {} are left", self.left()))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("as many were taken"))
    }
}

/// A number in two's complement, the highest byte first.
fn unscaled(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xFF } else { 0 };
    let spare = bytes.len().saturating_sub(16);
    let (front, bytes) = bytes.split_at(spare);
    let mut value = [fill; 16];
    value[16 - bytes.len()..].copy_from_slice(bytes);
    let value = i128::from_be_bytes(value);
    (front.iter().all(|byte| *byte == fill) && (value < 0) == negative).then_some(value)
}
