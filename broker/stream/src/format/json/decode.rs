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
        let mut decoder = Self { nodes: vec![Node::default()] };
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
        let mut reader = Reader { nodes: &mut self.nodes, slots, cells };
        reader.record(&mut scanner).map_err(|fault| fault.describe(text))
    }
}

struct Reader<'d, 'r> {
    nodes: &'d mut [Node],
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
                Some(target) => self.value(scanner, target, depth)?,
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

    /// Reads a wanted value. Of a field written twice the last one counts.
    fn value(&mut self, scanner: &mut Scanner<'r>, target: Target, depth: u32) -> Result<(), Fault> {
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
        Ok(())
    }

    /// Empties the cells of an object's fields.
    fn forget(&mut self, node: usize) {
        for index in 0..self.nodes[node].wanted.len() {
            let target = self.nodes[node].wanted[index].target;
            if let Some(slot) = target.slot {
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan;

    fn column(name: &str, data_type: DataType) -> plan::Column {
        plan::Column::of_value(name, data_type)
    }

    fn fields() -> Vec<plan::Column> {
        vec![
            column("b", DataType::Boolean),
            column("i", DataType::BigInt),
            column("d", DataType::Double),
            column("s", DataType::String),
            column("t", DataType::Timestamp),
            column("n", DataType::Decimal { precision: 20, scale: 2 }),
            column("day", DataType::Date),
            column("raw", DataType::Bytes),
        ]
    }

    fn decoder(columns: &[plan::Column]) -> (JsonDecoder, Vec<Slot>) {
        let names = columns.iter().map(|column| column.name.as_str()).enumerate();
        (JsonDecoder::new(names, true), columns.iter().map(Slot::new).collect())
    }

    fn decode_into<'r>(columns: &[plan::Column], text: &'r [u8]) -> Result<Vec<Cell<'r>>, String> {
        let (mut decoder, slots) = decoder(columns);
        let mut cells = vec![Cell::Null; slots.len()];
        decoder.decode(text, &slots, &mut cells)?;
        Ok(cells)
    }

    fn decode(text: &str) -> Result<Vec<Cell<'_>>, String> {
        decode_into(&fields(), text.as_bytes())
    }

    #[test]
    fn reads_every_type_and_passes_over_the_rest() {
        let row = r#" {"x": [1, {"i": 7}], "b": true, "i": -5, "d": 2, "s": "é\n\u0041\ud83d\ude00/\/", "t": "1970-01-01T00:00:01Z",
            "n": 123456789012345678.905, "day": "1970-01-03", "raw": "AP8="} "#;
        assert_eq!(
            decode(row).unwrap(),
            [
                Cell::Boolean(true),
                Cell::BigInt(-5),
                Cell::Double(2.0),
                Cell::String("é\nA😀//".into()),
                Cell::Timestamp(1000),
                Cell::Decimal(12_345_678_901_234_567_891),
                Cell::Date(2),
                Cell::Bytes(vec![0, 255].into()),
            ]
        );
    }

    #[test]
    fn missing_and_null_are_the_same_and_the_last_of_two_counts() {
        let row =
            decode(r#"{"i": null, "s": "a", "s": "b", "t": 5, "d": 1.5, "i": 3.0, "n": "-1e1"}"#).unwrap();
        let expected =
            [Cell::Null, Cell::BigInt(3), Cell::Double(1.5), Cell::String("b".into()), Cell::Timestamp(5)];
        assert_eq!(row[..5], expected);
        assert_eq!(row[5..], [Cell::Decimal(-1_000), Cell::Null, Cell::Null]);
    }

    #[test]
    fn fields_of_objects_are_named_by_path() {
        let columns = [
            column("a.b", DataType::BigInt),
            column("a.c.d", DataType::String),
            column("a", DataType::String),
            column("l", DataType::String),
        ];
        let row = |text| decode_into(&columns, text).unwrap();
        assert_eq!(
            row(br#"{"a": {"b": 1, "c": {"d": "x"}}, "l": [1, "2"]}"#),
            [
                Cell::BigInt(1),
                Cell::String("x".into()),
                Cell::String(r#"{"b": 1, "c": {"d": "x"}}"#.into()),
                Cell::String(r#"[1, "2"]"#.into()),
            ]
        );
        // The dot may be the name's own; an object written twice is the second one; null has no fields.
        assert_eq!(row(br#"{"a.b": 7}"#)[0], Cell::BigInt(7));
        assert_eq!(row(br#"{"a": {"b": 1}, "a": {"c": {}}}"#)[0], Cell::Null);
        assert_eq!(row(br#"{"a": {"b": 1}, "a": null}"#)[..3], [Cell::Null, Cell::Null, Cell::Null]);
        let error = decode_into(&columns[..2], br#"{"a": 5}"#).unwrap_err();
        assert_eq!(error, "field `a.b` is inside of 5, which is no object");
        let (mut flat, slots) = (JsonDecoder::new([(0, "a.b")], false), [Slot::new(&columns[0])]);
        let mut cells = [Cell::Null];
        flat.decode(br#"{"a": {"b": 1}}"#, &slots, &mut cells).unwrap();
        assert_eq!(cells, [Cell::Null]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (row, part) in [
            (r#"{"i": "12"}"#, "field `i` is the text \"12\", the column is a BIGINT"),
            (r#"{"i": 1.5}"#, "field `i` is 1.5"),
            (r#"{"i": 9223372036854775808}"#, "field `i` is 9223372036854775808"),
            (r#"{"b": 1}"#, "field `b` is 1, the column is a BOOLEAN"),
            (r#"{"s": 1}"#, "field `s` is 1, the column is a STRING"),
            (r#"{"i": {}}"#, "field `i` is an object"),
            (r#"{"i": []}"#, "field `i` is an array"),
            (r#"{"t": "yesterday"}"#, "no ISO-8601 instant"),
            (r#"{"t": 999999999999999999}"#, "outside the years 1 to 9999"),
            (r#"{"d": 1e999}"#, "number out of range"),
            (r#"{"n": 1e18}"#, "field `n` is 1e18, the column is a DECIMAL(20, 2)"),
            (r#"{"n": true}"#, "field `n` is true"),
            (r#"{"n": {"a": 1}}"#, "field `n` is an object"),
            (r#"{"day": "1970-02-30"}"#, "no day of the calendar"),
            (r#"{"day": 5}"#, "field `day` is 5, the column is a DATE"),
            (r#"{"raw": "a"}"#, "no base64"),
            (r#"{"s": "\ud800"}"#, "surrogate pair"),
            (r#"{"s": "\x"}"#, "expected an escape, found 'x' at byte 8"),
            ("{\"s\": \"a\nb\"}", "control character"),
            (r#"{"x": 01}"#, "leading zeros"),
            (r#"{"x": 1,}"#, "a field's name in quotes, found '}'"),
            (r#"{"x" 1}"#, "expected `:`, found '1' at byte 5"),
            (r#"{"x": tru}"#, "expected a value"),
            ("[1]", "a JSON object"),
            ("{} {}", "trailing characters"),
            ("{", "EOF"),
            ("", "EOF"),
        ] {
            let error = decode(row).unwrap_err();
            assert!(error.contains(part), "{row}: {error}");
        }
        assert!(decode_into(&fields(), b"{\"x\": \"\xff\"}").unwrap_err().contains("not UTF-8"));
        let deep = format!("{{\"x\": {}{}}}", "[".repeat(200), "]".repeat(200));
        assert!(decode(&deep).unwrap_err().contains("inside one another"));
    }

    #[test]
    fn records_that_look_alike_and_those_that_do_not_are_read_the_same() {
        let (mut decoder, slots) = decoder(&fields());
        let records = [
            r#"{"i":1,"x":"a","s":"one"}"#,
            r#"{"i":2,"x":"a","s":"two"}"#,
            r#"{"i":3,"s":"three"}"#,
            r#"{"s":"four","i":4}"#,
            r#"{ "i": 5 , "s": "five" }"#,
            r#"{"x":{"i":9},"i":6,"y":0,"s":"six"}"#,
            r#"{"i":7,"x":"a","s":"seven","i":7}"#,
        ];
        for _ in 0..20 {
            for (index, record) in records.iter().enumerate() {
                let mut cells = vec![Cell::Null; slots.len()];
                decoder.decode(record.as_bytes(), &slots, &mut cells).unwrap();
                assert_eq!(cells[1], Cell::BigInt(index as i64 + 1), "{record}");
                assert!(record.contains(&match &cells[3] {
                    Cell::String(text) => format!("\"{text}\""),
                    other => panic!("{other:?}"),
                }));
            }
        }
    }

    /// JSON values, shallow ones.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_filter("finite", |float| float.is_finite()).prop_map(Into::into),
            "\\PC{0,12}|[\\\\\"\u{0}-\u{20}é]{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-d]|\\PC{0,3}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// A JSON text with a byte changed, or none.
    fn almost_json() -> impl Strategy<Value = Vec<u8>> {
        let change = (any::<prop::sample::Index>(), "[\\[\\]{}\",:0-9eE.+\\-tfnu\\\\ x]");
        (json(), any::<bool>(), prop::option::of(change)).prop_map(|(value, pretty, change)| {
            let inner = serde_json::json!({ "x": value });
            let text = match pretty {
                true => serde_json::to_string_pretty(&inner),
                false => serde_json::to_string(&inner),
            };
            let mut bytes = text.unwrap().into_bytes();
            if let Some((index, with)) = change {
                let at = index.index(bytes.len());
                bytes[at] = with.as_bytes()[0];
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode_into(&fields(), &bytes);
        }

        #[test]
        fn what_is_json_is_the_same_as_for_another_parser(bytes in almost_json()) {
            let theirs = serde_json::from_slice::<serde_json::Value>(&bytes);
            // Their numbers have a range where nothing is asked of them here.
            let theirs = theirs.map_err(|error| error.to_string());
            let ours = decode_into(&[], &bytes);
            match theirs {
                Ok(value) => prop_assert_eq!(ours.is_ok(), value.is_object(), "{:?}", ours),
                Err(error) if error.contains("out of range") => {}
                Err(error) => prop_assert!(ours.is_err(), "{}", error),
            }
        }

        #[test]
        fn texts_are_the_same_as_for_another_parser(text in "\\PC{0,20}|[\\\\\"/\u{0}-\u{20}é😀]{0,20}") {
            let record = serde_json::json!({ "s": text }).to_string();
            prop_assert_eq!(decode(&record).unwrap()[3].clone(), Cell::String(text.into()));
        }

        #[test]
        fn numbers_survive(i in any::<i64>(), d in any::<f64>().prop_filter("finite", |d| d.is_finite())) {
            let record = serde_json::json!({ "i": i, "d": d }).to_string();
            let row = decode(&record).unwrap();
            prop_assert_eq!(&row[1], &Cell::BigInt(i));
            let Cell::Double(read) = row[2] else { panic!("a DOUBLE") };
            // By their bits: -0.0 is not 0.0.
            prop_assert_eq!(read.to_bits(), d.to_bits());
        }
    }
}
