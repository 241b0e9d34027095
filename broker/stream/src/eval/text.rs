//! Functions of texts, which are counted in characters.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use arrow_array::builder::StringBuilder;
use arrow_buffer::BooleanBuffer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Evaluator;
use super::call::Call;
use super::operand::Operand;
use super::room::check_length;
use crate::column::Column;
use crate::plan::{Expression, Function, Side};

/// The place of a character counted from 0, or the end.
fn place(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}

fn count(text: &str) -> i64 {
    text.chars().count() as i64
}

/// Characters `start` to `start + length - 1`, counted from 1; places before the first are counted but empty.
fn substring(text: &str, start: i64, length: Option<i64>) -> Result<&str, String> {
    let end = match length {
        Some(length) if length < 0 => return Err(format!("a length of {length} characters")),
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let place = |number: i64| place(text, usize::try_from(number - 1).unwrap_or(0));
    let (start, end) = (start.max(1), end.max(1));
    Ok(if start < end { &text[place(start)..place(end)] } else { "" })
}

/// The first `n` characters, or all but the last `-n`.
fn left(text: &str, n: i64) -> &str {
    let kept = if n < 0 { count(text).saturating_add(n) } else { n };
    &text[..place(text, usize::try_from(kept).unwrap_or(0))]
}

/// The last `n` characters, or all but the first `-n`.
fn right(text: &str, n: i64) -> &str {
    let left_out = if n < 0 { n.saturating_neg() } else { count(text).saturating_sub(n) };
    &text[place(text, usize::try_from(left_out).unwrap_or(0))..]
}

fn trim(text: &str, side: Side, is_trimmed: impl Fn(char) -> bool) -> &str {
    let text = if side == Side::Right { text } else { text.trim_start_matches(&is_trimmed) };
    if side == Side::Left { text } else { text.trim_end_matches(&is_trimmed) }
}

/// A text of exactly `length` characters: cut at the end, or filled at one.
fn pad(text: &str, length: i64, fill: &str, at_the_left: bool) -> Result<String, String> {
    let length = usize::try_from(length.max(0)).unwrap_or(usize::MAX);
    let missing = length.saturating_sub(text.chars().count());
    if missing == 0 || fill.is_empty() {
        return Ok(text[..place(text, length)].to_owned());
    }
    let longest = fill.chars().map(char::len_utf8).max().unwrap_or(1);
    check_length(missing.saturating_mul(longest).saturating_add(text.len()))?;
    let filling: String = fill.chars().cycle().take(missing).collect();
    Ok(if at_the_left { filling + text } else { text.to_owned() + &filling })
}

fn repeat(text: &str, times: i64) -> Result<String, String> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    check_length(text.len().saturating_mul(times))?;
    Ok(text.repeat(times))
}

fn replace<'t>(text: &'t str, from: &str, to: &str) -> Result<Cow<'t, str>, String> {
    // Nothing stands between the characters of a text.
    if from.is_empty() || !text.contains(from) {
        return Ok(Cow::Borrowed(text));
    }
    if to.len() > from.len() {
        let longer = text.matches(from).count().saturating_mul(to.len() - from.len());
        check_length(text.len().saturating_add(longer))?;
    }
    Ok(Cow::Owned(text.replace(from, to)))
}

fn overlay(text: &str, part: &str, start: i64, length: i64) -> Result<String, String> {
    if start < 1 {
        return Err(format!("place {start} is before the first, which is 1"));
    }
    let end = start.checked_add(length).ok_or_else(|| format!("a length of {length} characters"))?;
    let (before, after) = (substring(text, 1, Some(start - 1))?, substring(text, end, None)?);
    check_length(before.len() + part.len() + after.len())?;
    Ok([before, part, after].concat())
}

fn translate(text: &str, from: &str, to: &str) -> String {
    // Of a character that stands there twice the first counts.
    let mut new = BTreeMap::new();
    let mut to = to.chars();
    for character in from.chars() {
        let becomes = to.next();
        new.entry(character).or_insert(becomes);
    }
    text.chars().filter_map(|character| new.get(&character).copied().unwrap_or(Some(character))).collect()
}

fn init_cap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for character in text.chars() {
        match inside {
            true => out.extend(character.to_lowercase()),
            false => out.extend(character.to_uppercase()),
        }
        inside = character.is_alphanumeric();
    }
    out
}

/// Part `number` of a text, from 1, or from -1 at the end; empty beyond. Separators are found from the left, however parts
/// are counted.
fn split_part<'t>(text: &'t str, separator: &str, number: i64) -> Result<&'t str, String> {
    let at = match number {
        0 => return Err("the number of a part is not 0: the first is 1, the last -1".to_owned()),
        number => usize::try_from(number.unsigned_abs() - 1).unwrap_or(usize::MAX),
    };
    let part = match (separator.is_empty(), number > 0) {
        (true, _) => (at == 0).then_some(text),
        (false, true) => text.split(separator).nth(at),
        (false, false) => {
            let last = text.matches(separator).count();
            last.checked_sub(at).and_then(|part| text.split(separator).nth(part))
        }
    };
    Ok(part.unwrap_or_default())
}

/// Part `number` of a text, from 0; `None` beyond.
fn split_index<'t>(text: &'t str, separator: &str, number: i64) -> Option<&'t str> {
    let at = usize::try_from(number).ok()?;
    match separator.is_empty() {
        true => (at == 0).then_some(text),
        false => text.split(separator).nth(at),
    }
}

fn position(text: &str, part: &str) -> i64 {
    text.find(part).map_or(0, |at| count(&text[..at]) + 1)
}

fn chr(code: i64) -> Result<String, String> {
    let character = u32::try_from(code).ok().filter(|code| *code != 0).and_then(char::from_u32);
    character.map(String::from).ok_or_else(|| format!("{code} is not the code of a character"))
}

fn unknown_encoding(name: &str) -> String {
    let shown: String = name.chars().take(40).collect();
    format!("'{shown}' is not an encoding; they are 'hex' and 'base64'")
}

fn encode(bytes: &[u8], encoding: &str) -> Result<String, String> {
    match encoding.to_ascii_lowercase().as_str() {
        "hex" => Ok(super::hash::hex(bytes)),
        "base64" => Ok(BASE64.encode(bytes)),
        _ => Err(unknown_encoding(encoding)),
    }
}

fn decode(text: &str, encoding: &str) -> Result<Vec<u8>, String> {
    let not = |name: &str| {
        let shown: String = text.chars().take(40).collect();
        format!("'{shown}' is not {name}")
    };
    match encoding.to_ascii_lowercase().as_str() {
        "hex" => unhex(text).ok_or_else(|| not("hexadecimal")),
        "base64" => {
            let dense = match text.contains(WHITE_SPACE) {
                true => Cow::Owned(text.replace(WHITE_SPACE, "")),
                false => Cow::Borrowed(text),
            };
            BASE64.decode(dense.as_bytes()).map_err(|_| not("base64"))
        }
        _ => Err(unknown_encoding(encoding)),
    }
}

/// What PostgreSQL passes over in base64, and between the bytes of hexadecimal text.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |character: char| character.to_digit(16).map(|digit| digit as u8);
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut characters = text.chars();
    while let Some(high) = characters.next() {
        if !WHITE_SPACE.contains(&high) {
            bytes.push(digit(high)? * 16 + digit(characters.next()?)?);
        }
    }
    Some(bytes)
}

/// A text in which capitals and small letters are the same, for `ILIKE`. Each character by itself: what comes of one does not
/// depend on those around it, which a pattern does not know. `LOWER` makes another sigma at the end of a word.
pub(crate) fn fold_case(text: &str) -> String {
    let small = |character: char| character.to_lowercase();
    text.chars().flat_map(small).map(|small| if small == 'ς' { 'σ' } else { small }).collect()
}

/// Of the values that are not `NULL` what comes of putting them together.
fn join(
    call: &Call<'_>,
    row: usize,
    separator: &str,
    from: usize,
) -> Result<Option<Cow<'static, str>>, String> {
    let mut joined = String::new();
    let mut first = true;
    for argument in call.arguments[from..].iter().filter(|argument| !argument.is_null(row)) {
        let separator = if first { "" } else { separator };
        let part = argument.text(row);
        check_length(joined.len() + separator.len() + part.len())?;
        joined.push_str(separator);
        joined.push_str(part);
        first = false;
    }
    Ok(Some(Cow::Owned(joined)))
}

impl Evaluator<'_> {
    /// `left || right`.
    pub(super) fn concat(
        &mut self,
        expression: &Expression,
        left: &Operand,
        right: &Operand,
        active: &BooleanBuffer,
    ) -> Column {
        let mut builder = StringBuilder::with_capacity(self.rows, self.rows * 16);
        for row in 0..self.rows {
            let is_wanted = active.value(row) && !self.is_too_much();
            if !is_wanted || left.is_null(row) || right.is_null(row) {
                builder.append_null();
                continue;
            }
            let (left, right) = (left.text(row), right.text(row));
            let bytes = left.len() + right.len();
            match self.keep(check_length(bytes), expression, row, active) {
                Some(()) if self.take_room(bytes) => {
                    builder.write_str(left).expect("memory takes every byte");
                    builder.append_value(right);
                }
                _ => builder.append_null(),
            }
        }
        Column::String(builder.finish())
    }

    pub(super) fn call_text(&mut self, call: &Call<'_>) -> Column {
        let arguments = call.arguments;
        let text = |row: usize| arguments[0].text(row);
        let second = |row: usize| arguments[1].text(row);
        let number = |at: usize, row: usize| arguments[at].integer(row);
        let owned = |text: String| Ok(Some(Cow::Owned(text)));
        let part = |text| Ok(Some(Cow::Borrowed(text)));
        match call.function {
            Function::Concat => {
                let joined = (0..self.rows).map(|row| self.one(call, row, || join(call, row, "", 0)));
                Column::String(joined.collect())
            }
            Function::ConcatWs => {
                let joined = (0..self.rows).map(|row| {
                    if arguments[0].is_null(row) {
                        return None;
                    }
                    self.one(call, row, || join(call, row, text(row), 1))
                });
                Column::String(joined.collect())
            }
            Function::Upper => self.texts(call, |row| owned(text(row).to_uppercase())),
            Function::Lower => self.texts(call, |row| owned(text(row).to_lowercase())),
            Function::FoldCase => self.texts(call, |row| owned(fold_case(text(row)))),
            Function::InitCap => self.texts(call, |row| owned(init_cap(text(row)))),
            Function::Trim(side) => match arguments.len() {
                1 => self.texts(call, |row| part(trim(text(row), side, |character| character == ' '))),
                _ => self.texts(call, |row| {
                    part(trim(text(row), side, |character| second(row).contains(character)))
                }),
            },
            Function::PadLeft | Function::PadRight => self.texts(call, |row| {
                let fill = arguments.get(2).map_or(" ", |fill| fill.text(row));
                pad(text(row), number(1, row), fill, call.function == Function::PadLeft).and_then(owned)
            }),
            Function::Left => self.texts(call, |row| part(left(text(row), number(1, row)))),
            Function::Right => self.texts(call, |row| part(right(text(row), number(1, row)))),
            Function::CharLength => self.integers(call, |row| Ok(Some(count(text(row))))),
            Function::OctetLength => {
                self.integers(call, |row| Ok(Some(arguments[0].octets(row).len() as i64)))
            }
            Function::Substring => self.texts(call, |row| {
                let length = arguments.get(2).map(|length| length.integer(row));
                substring(text(row), number(1, row), length).and_then(part)
            }),
            Function::Position => self.integers(call, |row| Ok(Some(position(text(row), second(row))))),
            Function::Replace => {
                self.texts(call, |row| replace(text(row), second(row), arguments[2].text(row)).map(Some))
            }
            Function::Overlay => self.texts(call, |row| {
                let length =
                    arguments.get(3).map_or_else(|| count(second(row)), |length| length.integer(row));
                overlay(text(row), second(row), number(2, row), length).and_then(owned)
            }),
            Function::Translate => {
                self.texts(call, |row| owned(translate(text(row), second(row), arguments[2].text(row))))
            }
            Function::Reverse => self.texts(call, |row| owned(text(row).chars().rev().collect())),
            Function::Repeat => self.texts(call, |row| repeat(text(row), number(1, row)).and_then(owned)),
            Function::SplitPart => {
                self.texts(call, |row| split_part(text(row), second(row), number(2, row)).and_then(part))
            }
            Function::SplitIndex => self.texts(call, |row| {
                Ok(split_index(text(row), second(row), number(2, row)).map(Cow::Borrowed))
            }),
            Function::StartsWith => self.truths(call, |row| text(row).starts_with(second(row))),
            Function::EndsWith => self.truths(call, |row| text(row).ends_with(second(row))),
            Function::Ascii => self.integers(call, |row| {
                Ok(Some(text(row).chars().next().map_or(0, |character| i64::from(u32::from(character)))))
            }),
            Function::Chr => self.texts(call, |row| chr(number(0, row)).and_then(owned)),
            Function::ToHex => self.texts(call, |row| owned(format!("{:x}", number(0, row)))),
            Function::Encode => {
                self.texts(call, |row| encode(arguments[0].octets(row), second(row)).and_then(owned))
            }
            Function::Decode => {
                Column::Bytes(self.each(call, |row| decode(text(row), second(row)).map(Some)))
            }
            other => unreachable!("{} is not a function of texts", other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_text_is_counted_in_characters_from_one() {
        assert_eq!(substring("zürich", 2, Some(2)), Ok("ür"));
        assert_eq!(substring("zürich", 3, None), Ok("rich"));
        assert_eq!(substring("zürich", -1, Some(3)), Ok("z"));
        assert_eq!(substring("zürich", 7, Some(3)), Ok(""));
        assert_eq!(substring("zürich", 6, Some(i64::MAX)), Ok("h"));
        assert_eq!(substring("zürich", i64::MIN, Some(i64::MAX)), Ok(""));
        assert!(substring("zürich", 1, Some(-1)).is_err());
    }

    #[test]
    fn ends_of_a_text() {
        assert_eq!((left("zürich", 2), left("zürich", -2), left("zürich", 99)), ("zü", "züri", "zürich"));
        assert_eq!((right("zürich", 2), right("zürich", -2), right("zürich", 99)), ("ch", "rich", "zürich"));
        assert_eq!((left("é", i64::MIN), right("é", i64::MIN)), ("", ""));
        assert_eq!((left("é", 0), right("é", 0)), ("", ""));
        assert_eq!(pad("hi", 5, "xy", true).unwrap(), "xyxhi");
        assert_eq!(pad("hi", 5, "é", false).unwrap(), "hiééé");
        assert_eq!(pad("hello", 2, " ", true).unwrap(), "he");
        assert_eq!(pad("hi", 5, "", true).unwrap(), "hi");
        assert_eq!(pad("hi", -1, " ", true).unwrap(), "");
        assert!(pad("hi", i64::MAX, " ", true).is_err());
        assert!(repeat("hi", i64::MAX).is_err());
    }

    #[test]
    fn parts_between_separators() {
        assert_eq!(split_part("a~~b~~c", "~~", 2), Ok("b"));
        assert_eq!(split_part("a~~b~~c", "~~", -1), Ok("c"));
        assert_eq!(split_part("a,b", ",", 3), Ok(""));
        assert_eq!(split_part("a,b", ",", -3), Ok(""));
        assert_eq!(split_part("a,b", ",", i64::MIN), Ok(""));
        // As PostgreSQL: the separator is the first that is found.
        for (number, part) in [(-1, "~b"), (-2, "a"), (1, "a"), (2, "~b"), (-3, "")] {
            assert_eq!(split_part("a~~~b", "~~", number), Ok(part));
        }
        assert_eq!(split_part("a,b", "", 1), Ok("a,b"));
        assert!(split_part("a,b", ",", 0).is_err());
        assert_eq!(split_index("a/b/c", "/", 0), Some("a"));
        assert_eq!(split_index("a/b/c", "/", 3), None);
        assert_eq!(split_index("a/b/c", "/", -1), None);
    }
}
