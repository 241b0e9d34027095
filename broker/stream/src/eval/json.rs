//! Functions of JSON texts. A text is walked as far as a path goes, and no tree of it is built; parts of it keep the
//! spelling they have, numbers every digit.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::Evaluator;
use super::call::{Call, RowResult};
use super::operand::Operand;
use super::room::check_length;
use crate::column::Column;
use crate::format::write_cell;
use crate::plan::{Function, JsonKind, JsonResult, TimestampText};

/// A path of more steps is refused.
const MAX_STEPS: usize = 100;

/// One step into a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    /// From 0, or from -1 at the end.
    Index(i64),
    /// A key of an object or, if it is a number, a place of an array.
    Either(String),
}

/// Where in a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonPath {
    steps: Vec<Step>,
    /// A member of an array is that of each of its elements, and what is no array is one of one element.
    lax: bool,
}

impl JsonPath {
    /// Reads `$.a[0]."b c"['d']`, with `lax`, which is also meant by nothing, or `strict` before it.
    ///
    /// # Errors
    /// What is not understood, in words.
    pub(crate) fn read(text: &str) -> Result<JsonPath, String> {
        let text = text.trim();
        let strict = text.strip_prefix("strict ");
        let text = strict.or_else(|| text.strip_prefix("lax ")).unwrap_or(text).trim();
        let mut rest = text.strip_prefix('$').ok_or("a path begins with `$`")?;
        let mut steps = Vec::new();
        while let Some(sign) = rest.chars().next() {
            let (step, after) = match sign {
                '.' => member(&rest[1..])?,
                '[' => subscript(&rest[1..])?,
                _ => return Err(format!("`{}` is not understood", shown(rest))),
            };
            if steps.len() == MAX_STEPS {
                return Err(format!("a path of more than {MAX_STEPS} steps"));
            }
            steps.push(step);
            rest = after;
        }
        Ok(JsonPath { steps, lax: strict.is_none() })
    }

    /// Reads PostgreSQL's `{a,0,"b c"}`: what stands between double quotes may have commas and braces in it, and a
    /// backslash before a quote or a backslash.
    ///
    /// # Errors
    /// What is not understood, in words.
    pub(crate) fn read_array(text: &str) -> Result<JsonPath, String> {
        let inside = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let mut rest = inside.ok_or("a path stands between { and }")?.trim();
        let mut steps = Vec::new();
        while !rest.is_empty() || !steps.is_empty() {
            let (key, after) = element(rest)?;
            if steps.len() == MAX_STEPS {
                return Err(format!("a path of more than {MAX_STEPS} steps"));
            }
            steps.push(Step::Either(key));
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None if after.is_empty() => break,
                None => return Err(format!("`{}` stands behind a double quote", shown(after))),
            }
        }
        Ok(JsonPath { steps, lax: false })
    }
}

/// The element at the beginning of a list, and what follows it.
fn element(text: &str) -> Result<(String, &str), String> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let (element, _) = text.split_once(',').unwrap_or((text, ""));
        let key = element.trim_end();
        return match key.is_empty() || key.contains(['"', '{', '}']) {
            true => Err(format!("`{}` is not a name; unusual ones stand in double quotes", shown(key))),
            false => Ok((key.to_owned(), &text[element.len()..])),
        };
    };
    let mut key = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next().ok_or("a double quote is not closed")? {
            '"' => return Ok((key, characters.as_str().trim_start())),
            '\\' => key.extend(characters.next()),
            character => key.push(character),
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(20).collect()
}

/// The step after a `.`, and what follows it.
fn member(text: &str) -> Result<(Step, &str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (key, after) = quoted.split_once('"').ok_or("a double quote is not closed")?;
        return Ok((Step::Key(key.to_owned()), after));
    }
    let length = text.find(['.', '[']).unwrap_or(text.len());
    let key = &text[..length];
    let plain = |character: char| character.is_alphanumeric() || matches!(character, '_' | '$' | '-' | '@');
    match !key.is_empty() && key.chars().all(plain) {
        true => Ok((Step::Key(key.to_owned()), &text[length..])),
        false => Err(format!("`.{}` names no member; unusual names stand in double quotes", shown(key))),
    }
}

/// The step after a `[`, and what follows the `]`.
fn subscript(text: &str) -> Result<(Step, &str), String> {
    for quote in ['\'', '"'] {
        if let Some(quoted) = text.strip_prefix(quote) {
            let (key, after) = quoted.split_once(quote).ok_or("a quote is not closed")?;
            let after = after.strip_prefix(']').ok_or("a bracket is not closed")?;
            return Ok((Step::Key(key.to_owned()), after));
        }
    }
    let (index, after) = text.split_once(']').ok_or("a bracket is not closed")?;
    match index.trim().parse::<u32>() {
        Ok(index) => Ok((Step::Index(i64::from(index)), after)),
        Err(_) => Err(format!("`[{}]` is not one place of an array", shown(index))),
    }
}

/// Takes one step; `None` where there is nothing.
fn step<'t>(json: &'t str, step: &Step) -> Result<Option<&'t str>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let found = deserializer.deserialize_any(StepVisitor(step))?;
    deserializer.end()?;
    Ok(found)
}

struct StepVisitor<'s>(&'s Step);

macro_rules! nothing_in {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok(None)
        })*
    };
}

impl<'de> Visitor<'de> for StepVisitor<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    nothing_in!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let wanted = match self.0 {
            Step::Key(key) | Step::Either(key) => Some(key.as_str()),
            Step::Index(_) => None,
        };
        let mut found = None;
        while let Some(is_wanted) = map.next_key_seed(KeySeed(wanted))? {
            match is_wanted {
                // Of a member written twice the last one counts.
                true => found = Some(map.next_value::<&RawValue>()?.get()),
                false => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let wanted = match self.0 {
            Step::Index(index) => Some(*index),
            Step::Either(text) => text.parse().ok(),
            Step::Key(_) => None,
        };
        if wanted.is_some_and(|wanted| wanted < 0) {
            let mut all = Vec::new();
            while let Some(element) = seq.next_element::<&RawValue>()? {
                all.push(element.get());
            }
            let from_end = wanted.and_then(|wanted| usize::try_from(wanted.unsigned_abs()).ok());
            return Ok(from_end.and_then(|from_end| all.len().checked_sub(from_end)).map(|at| all[at]));
        }
        let mut found = None;
        let mut index = 0;
        loop {
            if Some(index) == wanted {
                match seq.next_element::<&RawValue>()? {
                    Some(element) => found = Some(element.get()),
                    None => return Ok(None),
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            index += 1;
        }
    }
}

struct KeySeed<'s>(Option<&'s str>);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(self.0 == Some(key))
    }
}

/// Parts of a JSON text, mostly one.
type Parts<'t> = SmallVec<[&'t str; 1]>;

/// Follows a path to all that is there.
fn follow<'t>(json: &'t str, path: &JsonPath) -> Result<Parts<'t>, serde_json::Error> {
    let mut found = Parts::new();
    found.push(whole(json)?);
    for next in &path.steps {
        let mut parts = Parts::new();
        for part in found {
            match (path.lax, next, kind(part)) {
                (true, Step::Key(_), JsonKind::Array) => {
                    for element in serde_json::from_str::<Vec<&RawValue>>(part)? {
                        parts.extend(step(element.get(), next)?);
                    }
                }
                (true, Step::Index(index), JsonKind::Object | JsonKind::Scalar) => {
                    parts.extend((*index == 0).then_some(part));
                }
                _ => parts.extend(step(part, next)?),
            }
        }
        found = parts;
    }
    Ok(found)
}

/// The text as one JSON value, without the blanks around it.
fn whole(json: &str) -> Result<&str, serde_json::Error> {
    serde_json::from_str::<&RawValue>(json).map(RawValue::get)
}

fn kind(json: &str) -> JsonKind {
    match json.as_bytes().first() {
        Some(b'{') => JsonKind::Object,
        Some(b'[') => JsonKind::Array,
        _ => JsonKind::Scalar,
    }
}

/// A value as text: a text without its quotes; `None` for null.
fn as_text(json: &str) -> Result<Option<Cow<'_, str>>, serde_json::Error> {
    match json.as_bytes().first() {
        Some(b'n') => Ok(None),
        Some(b'"') if !json.contains('\\') => Ok(Some(Cow::Borrowed(&json[1..json.len() - 1]))),
        Some(b'"') => serde_json::from_str::<String>(json).map(|text| Some(Cow::Owned(text))),
        _ => Ok(Some(Cow::Borrowed(json))),
    }
}

fn array_length(json: &str) -> Result<i64, String> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| {
        let shown: String = json.chars().take(40).collect();
        format!("'{shown}' is not a JSON array")
    })?;
    Ok(elements.len() as i64)
}

fn not_json(json: &str, error: &serde_json::Error) -> String {
    let shown: String = json.chars().take(40).collect();
    format!("'{shown}' is not JSON: {error}")
}

/// The path last used, so that a constant one is read once.
struct LastPath<'t>(Option<(&'t str, JsonPath)>);

impl<'t> LastPath<'t> {
    fn read(
        &mut self,
        text: &'t str,
        read: fn(&str) -> Result<JsonPath, String>,
    ) -> Result<&JsonPath, String> {
        if self.0.as_ref().is_none_or(|(last, _)| *last != text) {
            let path = read(text).map_err(|error| format!("'{}' is not a path: {error}", shown(text)))?;
            self.0 = Some((text, path));
        }
        match &self.0 {
            Some((_, path)) => Ok(path),
            None => unreachable!("it was read above"),
        }
    }
}

impl Evaluator<'_> {
    pub(super) fn call_json(&mut self, call: &Call<'_>) -> Column {
        let arguments = call.arguments;
        let json = |row: usize| arguments[0].text(row);
        match call.function {
            // What is no JSON has no value at any path, and several values are none: NULL ON ERROR is SQL's default.
            Function::JsonValue | Function::JsonQuery => {
                let mut last = LastPath(None);
                self.texts(call, |row| {
                    let path = last.read(arguments[1].text(row), JsonPath::read)?;
                    let found = follow(json(row), path).unwrap_or_default();
                    let &[found] = found.as_slice() else { return Ok(None) };
                    let scalar = kind(found) == JsonKind::Scalar;
                    Ok(match call.function {
                        Function::JsonValue if scalar => as_text(found).unwrap_or(None),
                        Function::JsonQuery if !scalar => Some(Cow::Borrowed(found)),
                        _ => None,
                    })
                })
            }
            Function::JsonExists => {
                let mut last = LastPath(None);
                Column::Boolean(self.each(call, |row| {
                    let path = last.read(arguments[1].text(row), JsonPath::read)?;
                    Ok(Some(follow(json(row), path).is_ok_and(|found| !found.is_empty())))
                }))
            }
            Function::JsonGet(result) => self.texts(call, |row| {
                let wanted = match &arguments[1].column {
                    Column::BigInt(_) => Step::Index(arguments[1].integer(row)),
                    _ => Step::Key(arguments[1].text(row).to_owned()),
                };
                let found = step(json(row), &wanted).map_err(|error| not_json(json(row), &error))?;
                part(found, result)
            }),
            Function::JsonGetPath(result) => {
                let mut last = LastPath(None);
                self.texts(call, |row| {
                    let path = last.read(arguments[1].text(row), JsonPath::read_array)?;
                    let found = follow(json(row), path).map_err(|error| not_json(json(row), &error))?;
                    part(found.first().copied(), result)
                })
            }
            Function::JsonArrayLength => self.integers(call, |row| array_length(json(row)).map(Some)),
            Function::IsJson(wanted) => self.truths(call, |row| match whole(json(row)) {
                Ok(found) => wanted == JsonKind::Value || kind(found) == wanted,
                Err(_) => false,
            }),
            Function::JsonArray | Function::JsonBuildArray => {
                let with_nulls = call.function == Function::JsonBuildArray;
                let rows = (0..self.rows).map(|row| self.one(call, row, || array(call, row, with_nulls)));
                Column::String(rows.collect())
            }
            Function::JsonObject => {
                let rows = (0..self.rows).map(|row| self.one(call, row, || object(call, row)));
                Column::String(rows.collect())
            }
            other => unreachable!("{} is not a function of JSON", other.name()),
        }
    }
}

fn part(found: Option<&str>, result: JsonResult) -> Result<Option<Cow<'_, str>>, String> {
    let Some(found) = found else { return Ok(None) };
    match result {
        JsonResult::Json => Ok(Some(Cow::Borrowed(found))),
        JsonResult::Text => as_text(found).map_err(|error| not_json(found, &error)),
    }
}

/// An array of the arguments.
fn array(call: &Call<'_>, row: usize, with_nulls: bool) -> RowResult<Cow<'static, str>> {
    let mut out = vec![b'['];
    for argument in call.arguments.iter().filter(|argument| with_nulls || !argument.is_null(row)) {
        if out.len() > 1 {
            out.push(b',');
        }
        write(&mut out, argument, row)?;
    }
    out.push(b']');
    Ok(Some(Cow::Owned(String::from_utf8_lossy(&out).into_owned())))
}

/// An object of key after value after key; a key is not `NULL`, a value may be.
fn object(call: &Call<'_>, row: usize) -> RowResult<Cow<'static, str>> {
    let mut out = vec![b'{'];
    for (index, pair) in call.arguments.chunks(2).enumerate() {
        let [key, value] = pair else {
            unreachable!("the binder gives keys and values: {}", call.expression)
        };
        if key.is_null(row) {
            return Err("a key of a JSON object is NULL".to_owned());
        }
        if index > 0 {
            out.push(b',');
        }
        write(&mut out, key, row)?;
        out.push(b':');
        write(&mut out, value, row)?;
    }
    out.push(b'}');
    Ok(Some(Cow::Owned(String::from_utf8_lossy(&out).into_owned())))
}

/// Appends a value, if there is room for it.
fn write(out: &mut Vec<u8>, value: &Operand, row: usize) -> Result<(), String> {
    if let (Column::String(_) | Column::Bytes(_), false) = (&value.column, value.is_null(row)) {
        check_length(out.len() + value.octets(row).len())?;
    }
    write_cell(out, &value.column, value.at(row), TimestampText::Iso8601);
    // Signs may have been escaped.
    check_length(out.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all<'t>(json: &'t str, path: &str) -> Vec<&'t str> {
        follow(json, &JsonPath::read(path).unwrap()).unwrap().to_vec()
    }

    fn at(json: &str, path: &str) -> Option<String> {
        let found = all(json, path);
        assert!(found.len() <= 1, "{found:?}");
        found.first().map(|found| (*found).to_owned())
    }

    #[test]
    fn paths_lead_to_parts_as_they_are_written() {
        let json = r#" {"a": [10, {"b c": "x\ny"}, 1.50], "a.b": {"d": null}, "é": 1e400} "#;
        assert_eq!(at(json, "$.a[0]").as_deref(), Some("10"));
        assert_eq!(at(json, "$.a[1].\"b c\"").as_deref(), Some(r#""x\ny""#));
        assert_eq!(at(json, "lax $['a'][2]").as_deref(), Some("1.50"));
        assert_eq!(at(json, "$['a.b'].d").as_deref(), Some("null"));
        assert_eq!(at(json, "$.a[9]"), None);
        assert_eq!(at(json, "$.a.b"), None);
        assert_eq!(at(json, "$.a[0].x"), None);
        assert_eq!(at("[1]", "$").as_deref(), Some("[1]"));
        assert_eq!(as_text(r#""x\n\u00e9""#).unwrap().as_deref(), Some("x\né"));
        let array = |path: &str| follow(json, &JsonPath::read_array(path).unwrap()).unwrap().first().copied();
        assert_eq!(array("{a,2}"), Some("1.50"));
        assert_eq!(array("{a,-1}"), Some("1.50"));
        assert_eq!(array("{a,x}"), None);
        assert_eq!(array("{}").map(str::len), Some(json.trim().len()));
        for path in ["", "a", "$a", "$.", "$..a", "$[*]", "$[", "$['a", "$.a b", "$[-1]"] {
            assert!(JsonPath::read(path).is_err(), "{path}");
        }
        assert!(JsonPath::read_array("a,b").is_err());
    }

    #[test]
    fn a_lax_path_goes_on_in_the_elements_of_an_array() {
        let json = r#"{"a": [{"b": 1}, {"c": 2}, [{"b": 3}], {"b": [4, 5]}], "d": {"e": 6}}"#;
        for lax in ["$", "lax $"] {
            let all = |path: &str| all(json, &format!("{lax}{path}"));
            assert_eq!(all(".a.b"), ["1", "[4, 5]"], "of one level");
            assert_eq!(all(".a.b[1]"), ["5"]);
            assert_eq!(all(".a.c"), ["2"]);
            assert_eq!(all(".a[2].b"), ["3"]);
            assert_eq!(all(".d[0].e[0]"), ["6"], "what is no array has one element");
            assert_eq!((all(".d[1]").len(), all(".a.x").len()), (0, 0));
        }
        for path in ["strict $.a.b", "strict $.d[0].e"] {
            assert_eq!(all(json, path).len(), 0, "{path}");
        }
        assert_eq!(all(json, "strict $.a[3].b[0]"), ["4"]);
        assert_eq!(follow(json, &JsonPath::read_array("{a,b}").unwrap()).unwrap().len(), 0);
    }

    proptest! {
        #[test]
        fn any_text_and_path_are_read_without_a_panic(json in "[\\[\\]{}\",:a1 .é\\\\]{0,20}", path in "[$.\\[\\]a0'\"{},é-]{0,10}") {
            for path in [JsonPath::read(&path), JsonPath::read_array(&path)].into_iter().flatten() {
                for found in follow(&json, &path).unwrap_or_default() {
                    let _ = as_text(found);
                }
            }
        }
    }
}
