//! Messages to cells.

use std::borrow::Cow;
use std::sync::Arc;

use super::schema::{Field, Kind, Rule, Schema};
use super::wire::{Reader, WireType, unzigzag};
use crate::format::cell::{Cell, Slot};
use crate::format::error::FormatError;
use crate::plan::ProtobufFormat;
use crate::value::DataType;

/// Decodes messages of one type.
#[derive(Debug, Clone)]
pub(crate) struct ProtobufDecoder {
    schema: Arc<Schema>,
    /// The messages with wanted fields, inside one another as paths say; the first is the record's own.
    nodes: Vec<Node>,
}

/// A message with wanted fields, by number.
#[derive(Debug, Clone, Default)]
struct Node {
    wanted: Vec<Wanted>,
}

#[derive(Debug, Clone)]
struct Wanted {
    field: Field,
    target: Target,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    /// Nothing but to know that it is there: another field of its `oneof` is wanted.
    Nothing,
    Slot(usize),
    Node(usize),
}

impl ProtobufDecoder {
    /// For fields by path, each with the slot it fills.
    pub(crate) fn new<'a>(
        format: &ProtobufFormat,
        fields: impl IntoIterator<Item = (usize, &'a str)>,
        slots: &[Slot],
    ) -> Result<Self, FormatError> {
        let mut decoder = Self { schema: Arc::new(Schema::new(format)?), nodes: vec![Node::default()] };
        let mut message_of = vec![decoder.schema.root()];
        for (slot, name) in fields {
            let last = decoder.schema.field(name)?;
            decoder.schema.check(name, last, slots[slot].data_type)?;
            let (mut node, mut message) = (0, decoder.schema.root());
            let mut path: Vec<&str> = name.split('.').collect();
            // A wrapper's column is its one field.
            if let Kind::Message(index) = last.kind
                && decoder.schema.wrapped(index).is_some()
            {
                path.push("value");
            }
            let last = path.len() - 1;
            for (step, part) in path.into_iter().enumerate() {
                let twice =
                    || FormatError::new(format!("`{name}` is read by two columns"), "leave one of them out");
                let field = decoder.schema.message(message).fields.iter().find(|field| field.name == part);
                let field = field.expect("the path was walked before").clone();
                let wanted = &mut decoder.nodes[node].wanted;
                let known = wanted.iter().find(|wanted| wanted.field.number == field.number);
                let known = known.map(|wanted| wanted.target);
                match (known, field.kind) {
                    (None, _) if step == last => wanted.push(Wanted { field, target: Target::Slot(slot) }),
                    (None, Kind::Message(inner)) => {
                        let fresh = decoder.nodes.len();
                        decoder.nodes[node].wanted.push(Wanted { field, target: Target::Node(fresh) });
                        decoder.nodes.push(Node::default());
                        message_of.push(inner);
                        (node, message) = (fresh, inner);
                    }
                    (Some(Target::Node(known)), Kind::Message(inner)) if step < last => {
                        (node, message) = (known, inner);
                    }
                    _ => return Err(twice()),
                }
            }
        }
        for (node, message) in decoder.nodes.iter_mut().zip(message_of) {
            node.complete(&decoder.schema.message(message).fields);
        }
        Ok(decoder)
    }

    pub(crate) fn decode<'r>(
        &mut self,
        input: &'r [u8],
        slots: &[Slot],
        cells: &mut [Cell<'r>],
    ) -> Result<(), String> {
        // A message has no other way to say NULL, or a default, than to leave a field out, whatever the key said of it.
        self.clear(Target::Node(0), cells);
        self.message(input, 0, slots, cells)
    }

    /// Reads a message into a node's cells. Its depth is that of the columns' paths.
    fn message<'r>(
        &self,
        input: &'r [u8],
        node: usize,
        slots: &[Slot],
        cells: &mut [Cell<'r>],
    ) -> Result<(), String> {
        let wanted = &self.nodes[node].wanted;
        for wanted in wanted.iter().filter(|wanted| wanted.field.rule == Rule::Implicit) {
            // A message written in two parts has both.
            if let Target::Slot(slot) = wanted.target
                && cells[slot] == Cell::Null
            {
                cells[slot] = self.default(&wanted.field, &slots[slot])?;
            }
        }
        let mut reader = Reader::new(input);
        // Writers write fields in order, so the next one is most often the next one wanted.
        let mut next = 0;
        while let Some((number, wire_type)) = reader.tag()? {
            let found = match wanted.get(next) {
                Some(field) if field.field.number == number => Some(next),
                _ => wanted.iter().position(|wanted| wanted.field.number == number),
            };
            let Some(index) = found else {
                reader.skip(number, wire_type)?;
                continue;
            };
            next = index + 1;
            let Wanted { field, target } = &wanted[index];
            if field.oneof.is_some() {
                self.clear_oneof(node, index, cells);
            }
            match *target {
                Target::Nothing => reader.skip(number, wire_type)?,
                Target::Slot(slot) => {
                    let cell = self.value(&mut reader, field, wire_type, &slots[slot], &cells[slot])?;
                    cells[slot] = cell;
                }
                Target::Node(inner) => {
                    self.expect(&reader, field, wire_type, WireType::Length)?;
                    let inside = reader.bytes()?;
                    self.message(inside, inner, slots, cells)
                        .map_err(|error| format!("in field `{}`: {error}", field.name))?;
                }
            }
        }
        Ok(())
    }

    /// Of a `oneof` the last field counts; the others are as if they were not there.
    fn clear_oneof(&self, node: usize, index: usize, cells: &mut [Cell<'_>]) {
        let wanted = &self.nodes[node].wanted;
        for (other, wanted_other) in wanted.iter().enumerate() {
            if other != index && wanted_other.field.oneof == wanted[index].field.oneof {
                self.clear(wanted_other.target, cells);
            }
        }
    }

    fn clear(&self, target: Target, cells: &mut [Cell<'_>]) {
        match target {
            Target::Nothing => {}
            Target::Slot(slot) => cells[slot] = Cell::Null,
            Target::Node(node) => {
                self.nodes[node].wanted.iter().for_each(|wanted| self.clear(wanted.target, cells));
            }
        }
    }

    fn expect(
        &self,
        reader: &Reader<'_>,
        field: &Field,
        found: WireType,
        wanted: WireType,
    ) -> Result<(), String> {
        match found == wanted {
            true => Ok(()),
            false => Err(reader.wrong(format_args!(
                "field `{}` is written as {found:?}, its type as {wanted:?}",
                field.name
            ))),
        }
    }

    /// Reads a field's value; `before` is what the message has said of the field so far.
    fn value<'r>(
        &self,
        reader: &mut Reader<'r>,
        field: &Field,
        found: WireType,
        slot: &Slot,
        before: &Cell<'_>,
    ) -> Result<Cell<'r>, String> {
        self.expect(reader, field, found, wire_type(field.kind))?;
        match field.kind {
            Kind::Double => slot.float(f64::from_le_bytes(reader.fixed()?)),
            Kind::Float => slot.float(f64::from(f32::from_le_bytes(reader.fixed()?))),
            // Of a number with more bits than its type has, the lower ones count.
            Kind::Int32 => slot.integer(i64::from(reader.varint()? as i32)),
            Kind::Int64 => slot.integer(reader.varint()? as i64),
            Kind::Uint32 => slot.integer(i64::from(reader.varint()? as u32)),
            Kind::Uint64 => slot.unsigned(reader.varint()?),
            Kind::Sint32 => slot.integer(i64::from(unzigzag(reader.varint()?) as i32)),
            Kind::Sint64 => slot.integer(unzigzag(reader.varint()?)),
            Kind::Fixed32 => slot.integer(i64::from(u32::from_le_bytes(reader.fixed()?))),
            Kind::Fixed64 => slot.unsigned(u64::from_le_bytes(reader.fixed()?)),
            Kind::Sfixed32 => slot.integer(i64::from(i32::from_le_bytes(reader.fixed()?))),
            Kind::Sfixed64 => slot.integer(i64::from_le_bytes(reader.fixed()?)),
            Kind::Bool => slot.boolean(reader.varint()? != 0),
            Kind::String => {
                let bytes = reader.bytes()?;
                match std::str::from_utf8(bytes) {
                    Ok(text) => slot.text(text),
                    Err(error) => Err(slot.mismatch(format_args!("not UTF-8 ({error})"))),
                }
            }
            Kind::Bytes => slot.bytes(reader.bytes()?),
            Kind::Enum(index) => {
                let number = reader.varint()? as i32;
                self.enum_cell(index, number, slot)
            }
            Kind::Message(_) => timestamp(reader.bytes()?, slot, before),
        }
    }

    fn enum_cell<'r>(&self, index: usize, number: i32, slot: &Slot) -> Result<Cell<'r>, String> {
        if slot.data_type == DataType::BigInt {
            return slot.integer(i64::from(number));
        }
        let values = &self.schema.enumeration(index).values;
        let name = values.iter().find(|(_, value)| *value == number).map(|(name, _)| name.clone());
        // A newer writer may know more values.
        slot.text(Cow::Owned(name.unwrap_or_else(|| number.to_string())))
    }

    fn default<'r>(&self, field: &Field, slot: &Slot) -> Result<Cell<'r>, String> {
        match field.kind {
            Kind::Double | Kind::Float => slot.float(0.0),
            Kind::Bool => slot.boolean(false),
            Kind::String => slot.text(""),
            Kind::Bytes => slot.bytes(&[]),
            Kind::Enum(index) => self.enum_cell(index, 0, slot),
            Kind::Message(_) => Ok(Cell::Null),
            _ => slot.integer(0),
        }
    }
}

impl Node {
    /// Adds what must be known beside the wanted fields, and sorts them.
    fn complete(&mut self, fields: &[Field]) {
        for field in fields.iter().filter(|field| field.oneof.is_some()) {
            let known = self.wanted.iter().any(|wanted| wanted.field.number == field.number);
            let beside = self.wanted.iter().any(|wanted| wanted.field.oneof == field.oneof);
            if beside && !known {
                self.wanted.push(Wanted { field: field.clone(), target: Target::Nothing });
            }
        }
        self.wanted.sort_by_key(|wanted| wanted.field.number);
    }
}

/// How a single value of a kind is written.
pub(super) fn wire_type(kind: Kind) -> WireType {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => WireType::Fixed64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => WireType::Fixed32,
        Kind::String | Kind::Bytes | Kind::Message(_) => WireType::Length,
        _ => WireType::Varint,
    }
}

/// A `google.protobuf.Timestamp`, cut to milliseconds. It is a message, too: written in two parts it has both.
fn timestamp<'r>(input: &[u8], slot: &Slot, before: &Cell<'_>) -> Result<Cell<'r>, String> {
    let (mut seconds, mut nanos) = match before {
        Cell::Timestamp(ms) => (ms.div_euclid(1_000), ms.rem_euclid(1_000) * 1_000_000),
        _ => (0, 0),
    };
    let mut reader = Reader::new(input);
    while let Some((number, wire_type)) = reader.tag()? {
        match (number, wire_type) {
            (1, WireType::Varint) => seconds = reader.varint()? as i64,
            (2, WireType::Varint) => nanos = reader.varint()? as i64,
            (number, wire_type) => reader.skip(number, wire_type)?,
        }
    }
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(slot.mismatch(format_args!("an instant with {nanos} ns")));
    }
    match seconds.checked_mul(1000) {
        Some(ms) => slot.instant(ms.saturating_add(nanos / 1_000_000)),
        None => Err(slot.mismatch(format_args!("an instant {seconds} s from the epoch"))),
    }
}
