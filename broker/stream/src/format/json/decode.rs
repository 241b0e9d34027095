//! JSON objects into rows, one pass, no tree of the record.
//!
//! Only the wanted fields are looked at, everything else is passed over. The records of a topic look alike: what stood
//! in front of each value of an earlier record is compared first, comma, name and colon at once, and a name is read sign
//! by sign only where that does not fit. This decides how fast a record is read, never what is read.

use std::borrow::Cow;

use super::scan::{Fault, Number, Scanner};
use crate::format::cell::{Brief, Cell, Slot};
use crate::value::DataType;

/// Longer ones are not remembered.
const MAX_PREFIX_BYTES: usize = 128;
/// Fields of an object further behind are not remembered.
const MAX_PREFIXES: usize = 512;
/// So many records in a row that do not fit, and the memory begins anew.
const MAX_MISFITS: u32 = 8;

/// Decodes objects.
#[derive(Debug, Clone)]
pub(crate) struct JsonDecoder {
    /// The objects with wanted fields; the first is the record's own.
    nodes: Vec<Node>,
    /// By slot, the object of the record whose field filled it; empty where there is only the record's own.
    filled_by: Vec<Option<usize>>,
}

/// An object with wanted fields.
#[derive(Debug, Clone, Default)]
struct Node {
    wanted: Vec<Wanted>,
    prefixes: Vec<Prefix>,
    misfits: u32,
}

/// A wanted field: a column, an object with wanted fields, or both.
#[derive(Debug, Clone)]
struct Wanted {
    name: String,
    target: Target,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Target {
    slot: Option<usize>,
    node: Option<usize>,
}

/// What stood in front of a value, from the end of the value before.
#[derive(Debug, Clone)]
struct Prefix {
    bytes: Box<[u8]>,
    /// What to do with the value; `None` is to pass over it.
    target: Option<Target>,
}

impl JsonDecoder {
    /// For fields by path, each with the slot it fills. With `nested`, a dot in a path is also read as a step into an
    /// object.
    pub(crate) fn new<'a>(fields: impl IntoIterator<Item = (usize, &'a str)>, nested: bool) -> Self {
        let mut decoder = Self { nodes: vec![Node::default()], filled_by: Vec::new() };
        for (slot, name) in fields {
            decoder.want(0, name).slot = Some(slot);
            if nested && name.contains('.') {
                decoder.want_path(0, name.split('.')).slot = Some(slot);
            }
        }
        decoder
    }

    /// For fields inside of an object of the record: `path` are the names of the objects around it.
    pub(crate) fn add_inside<'a>(
        &mut self,
        path: &[&str],
        fields: impl IntoIterator<Item = (usize, &'a str)>,
        nested: bool,
    ) {
        for (slot, name) in fields {
            self.want_path(0, path.iter().copied().chain([name])).slot = Some(slot);
            if nested && name.contains('.') {
                self.want_path(0, path.iter().copied().chain(name.split('.'))).slot = Some(slot);
            }
        }
    }

    fn want_path<'a>(&mut self, from: usize, path: impl Iterator<Item = &'a str>) -> &mut Target {
        let mut path = path.peekable();
        let mut node = from;
        loop {
            let name = path.next().unwrap_or_default();
            if path.peek().is_none() {
                return self.want(node, name);
            }
            let fresh = self.nodes.len();
            let inner = *self.want(node, name).node.get_or_insert(fresh);
            if inner == fresh {
                self.nodes.push(Node::default());
            }
            node = inner;
        }
    }

    fn want(&mut self, node: usize, name: &str) -> &mut Target {
        let wanted = &mut self.nodes[node].wanted;
        let index = wanted.iter().position(|field| field.name == name).unwrap_or_else(|| {
            wanted.push(Wanted { name: name.to_owned(), target: Target::default() });
            wanted.len() - 1
        });
        &mut wanted[index].target
    }

    /// Fills the cells of the object that `input` is. Cells of absent fields stay as they are.
    pub(crate) fn decode<'r>(
        &mut self,
        input: &'r [u8],
        slots: &[Slot],
        cells: &mut [Cell<'r>],
    ) -> Result<(), String> {
        // Checked once as a whole: every quote is then a boundary between characters.
        let text = std::str::from_utf8(input).map_err(|error| format!("not UTF-8: {error}"))?;
        let mut scanner = Scanner::new(text);
        if self.nodes.len() > 1 {
            self.filled_by.clear();
            self.filled_by.resize(slots.len(), None);
        }
        let mut reader = Reader { nodes: &mut self.nodes, filled_by: &mut self.filled_by, slots, cells };
        reader.record(&mut scanner).map_err(|fault| fault.describe(text))
    }
}

struct Reader<'d, 'r> {
    nodes: &'d mut [Node],
    filled_by: &'d mut [Option<usize>],
    slots: &'d [Slot],
    cells: &'d mut [Cell<'r>],
}

impl<'r> Reader<'_, 'r> {
    fn record(&mut self, scanner: &mut Scanner<'r>) -> Result<(), Fault> {
        scanner.space();
        match scanner.peek() {
            Some(b'{') => self.object(scanner, 0, 1)?,
            _ => return Err(scanner.unexpected("a JSON object")),
        }
        scanner.end()
    }

    /// Reads an object with wanted fields; its bracket is next.
    fn object(&mut self, scanner: &mut Scanner<'r>, node: usize, depth: u32) -> Result<(), Fault> {
        scanner.enter(depth)?;
        let mut fits = true;
        let mut first = true;
        let mut index = 0;
        loop {
            let target = match self.remembered(scanner, node, first, &mut index) {
                Some(target) => target,
                None => {
                    let start = scanner.at();
                    let Some(target) = self.name(scanner, node, first)? else { break };
                    fits &= self.remember(scanner.since(start), node, &mut index, target);
                    // Only what comes first may stand without a comma.
                    index = index.max(1);
                    target
                }
            };
            first = false;
            match target {
                Some(target) => self.value(scanner, node, target, depth)?,
                None => scanner.skip(depth)?,
            }
        }
        let memory = &mut self.nodes[node];
        memory.misfits = if fits { 0 } else { memory.misfits + 1 };
        if memory.misfits > MAX_MISFITS {
            memory.prefixes.clear();
            memory.misfits = 0;
        }
        Ok(())
    }

    /// What is to be done with the next value, if what stands in front of it did so in an earlier record: at this place,
    /// or at the next one, where a field was left out.
    fn remembered(
        &self,
        scanner: &mut Scanner<'r>,
        node: usize,
        first: bool,
        index: &mut usize,
    ) -> Option<Option<Target>> {
        let prefixes = &self.nodes[node].prefixes;
        let last = if first { *index } else { *index + 1 };
        for place in *index..=last {
            let prefix = prefixes.get(place)?;
            if scanner.take_words(&prefix.bytes) {
                scanner.space();
                *index = place + 1;
                return Some(prefix.target);
            }
        }
        None
    }

    /// Keeps what stands in front of a value, if it is behind all that is kept. Returns whether it is, or may not be.
    fn remember(&mut self, before: &str, node: usize, index: &mut usize, target: Option<Target>) -> bool {
        let prefixes = &mut self.nodes[node].prefixes;
        if *index < prefixes.len() {
            return false;
        }
        if *index == prefixes.len() && *index < MAX_PREFIXES && before.len() <= MAX_PREFIX_BYTES {
            prefixes.push(Prefix { bytes: before.as_bytes().into(), target });
            *index += 1;
        }
        true
    }

    /// Reads a field's name, up to its value; `None` behind the last field.
    fn name(
        &mut self,
        scanner: &mut Scanner<'r>,
        node: usize,
        first: bool,
    ) -> Result<Option<Option<Target>>, Fault> {
        scanner.space();
        match first {
            true if scanner.peek() == Some(b'}') => {
                scanner.sign(b'}', "`}`")?;
                return Ok(None);
            }
            true => {}
            false => {
                if !scanner.goes_on(b'}', "`,` or `}`")? {
                    return Ok(None);
                }
                scanner.space();
            }
        }
        scanner.key_quote()?;
        let name = scanner.string()?;
        scanner.sign(b':', "`:`")?;
        scanner.space();
        let wanted = self.nodes[node].wanted.iter().find(|wanted| *wanted.name == *name);
        Ok(Some(wanted.map(|wanted| wanted.target)))
    }

    /// Reads a wanted value of an object. Of a field written twice the last one counts.
    fn value(
        &mut self,
        scanner: &mut Scanner<'r>,
        of: usize,
        target: Target,
        depth: u32,
    ) -> Result<(), Fault> {
        let start = scanner.at();
        if let Some(node) = target.node {
            self.forget(node);
            match scanner.peek() {
                Some(b'{') => self.object(scanner, node, depth + 1)?,
                Some(b'n') => scanner.literal("null")?,
                _ if target.slot.is_some() => scanner.skip(depth)?,
                _ => {
                    scanner.skip(depth)?;
                    let found = Brief(scanner.since(start));
                    let name = self.field_inside(node);
                    return Err(Fault::Field(format!(
                        "field `{name}` is inside of {found}, which is no object"
                    )));
                }
            }
            let Some(_) = target.slot else { return Ok(()) };
        }
        let Some(index) = target.slot else { return Ok(()) };
        let slot = &self.slots[index];
        let cell = match (target.node, scanner.since(start).as_bytes().first()) {
            // Read already, as an object with wanted fields.
            (Some(_), Some(b'{')) => json_text(slot, scanner.since(start), "an object"),
            (Some(_), _) => {
                let mut again = Scanner::new(scanner.since(start));
                read_cell(&mut again, slot, depth)?
            }
            (None, _) => read_cell(scanner, slot, depth)?,
        };
        self.cells[index] = cell.map_err(Fault::Field)?;
        if let Some(by) = self.filled_by.get_mut(index) {
            *by = Some(of);
        }
        Ok(())
    }

    /// Empties the cells that an object's fields have filled, if it was written before. Those that a field with a dot in its
    /// own name has filled stay.
    fn forget(&mut self, node: usize) {
        for index in 0..self.nodes[node].wanted.len() {
            let target = self.nodes[node].wanted[index].target;
            if let Some(slot) = target.slot.filter(|slot| self.filled_by[*slot] == Some(node)) {
                self.cells[slot] = Cell::Null;
            }
            if let Some(inner) = target.node {
                self.forget(inner);
            }
        }
    }

    /// The name of a column in or below an object.
    fn field_inside(&self, node: usize) -> &str {
        let mut node = node;
        loop {
            let target = match self.nodes[node].wanted.first() {
                Some(wanted) => wanted.target,
                None => return "",
            };
            match (target.slot, target.node) {
                (Some(slot), _) => return &self.slots[slot].name,
                (None, Some(inner)) => node = inner,
                (None, None) => return "",
            }
        }
    }
}

/// Reads a value into a column. The outer error is one of JSON, the inner one of the column.
fn read_cell<'r>(
    scanner: &mut Scanner<'r>,
    slot: &Slot,
    depth: u32,
) -> Result<Result<Cell<'r>, String>, Fault> {
    let start = scanner.at();
    Ok(match scanner.peek() {
        Some(b'"') => slot.text(scanner.string()?),
        Some(b'-' | b'0'..=b'9') => match scanner.number()? {
            Number::Integer(value) => slot.integer(value),
            Number::Text(text) => slot.number(text),
        },
        Some(b't') => {
            scanner.literal("true")?;
            slot.boolean(true)
        }
        Some(b'f') => {
            scanner.literal("false")?;
            slot.boolean(false)
        }
        Some(b'n') => {
            scanner.literal("null")?;
            Ok(Cell::Null)
        }
        Some(open) => {
            scanner.skip(depth)?;
            let what = if open == b'{' { "an object" } else { "an array" };
            json_text(slot, scanner.since(start), what)
        }
        None => return Err(scanner.unexpected("a value")),
    })
}

/// An object or an array: a `STRING` takes it as the text that it is, for the functions that look into JSON.
fn json_text<'r>(slot: &Slot, text: &'r str, what: &str) -> Result<Cell<'r>, String> {
    match slot.data_type {
        DataType::String => Ok(Cell::String(Cow::Borrowed(text))),
        _ => Err(slot.mismatch(what)),
    }
}

#[cfg(test)]
mod tests;
