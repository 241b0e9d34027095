//! Regular expressions, constant in a query and compiled once.

use std::borrow::Cow;
use std::str::Chars;

use arrow_buffer::BooleanBuffer;
use regex::{Captures, Regex};

use super::operand::Operand;
use super::room::check_length;
use super::{Evaluator, logic};
use crate::column::Column;
use crate::plan::{Expression, Pattern, RegexOperation};

/// A regular expression with what it is asked, and of what.
#[derive(Debug, Clone, Copy)]
pub(super) struct RegexCall<'c> {
    pub(super) expression: &'c Expression,
    pub(super) operation: RegexOperation,
    pub(super) pattern: &'c Pattern,
    pub(super) arguments: &'c [Expression],
    pub(super) active: &'c BooleanBuffer,
}

/// The text with matches replaced: `\1` to `\9` stand for groups, `\&` for the whole match, `\\` for a backslash, which
/// stands for itself before every other sign.
///
/// # Errors
/// The text would be too long; no more of it is made.
fn replace<'t>(regex: &Regex, text: &'t str, replacement: &str, all: bool) -> Result<Cow<'t, str>, String> {
    let limit = if all { usize::MAX } else { 1 };
    let mut out = String::new();
    let mut end = 0;
    let mut found_any = false;
    if replacement.contains('\\') {
        for captures in regex.captures_iter(text).take(limit) {
            let found = captures.get_match();
            push(&mut out, &text[end..found.start()])?;
            expand(&captures, replacement, &mut out)?;
            (end, found_any) = (found.end(), true);
        }
    } else {
        for found in regex.find_iter(text).take(limit) {
            push(&mut out, &text[end..found.start()])?;
            push(&mut out, replacement)?;
            (end, found_any) = (found.end(), true);
        }
    }
    if !found_any {
        return Ok(Cow::Borrowed(text));
    }
    push(&mut out, &text[end..])?;
    Ok(Cow::Owned(out))
}

fn push(out: &mut String, part: &str) -> Result<(), String> {
    check_length(out.len() + part.len())?;
    out.push_str(part);
    Ok(())
}

fn expand(captures: &Captures<'_>, replacement: &str, out: &mut String) -> Result<(), String> {
    let mut rest = replacement;
    while let Some((plain, after)) = rest.split_once('\\') {
        push(out, plain)?;
        let mut characters = after.chars();
        let group = |number: usize| captures.get(number).map_or("", |found| found.as_str());
        match characters.next() {
            Some('&') => push(out, group(0))?,
            Some(digit @ '1'..='9') => push(out, group(digit as usize - '0' as usize))?,
            Some('\\') => push(out, "\\")?,
            Some(other) => {
                push(out, "\\")?;
                push(out, other.encode_utf8(&mut [0; 4]))?;
            }
            None => push(out, "\\")?,
        }
        rest = characters.as_str();
    }
    push(out, rest)
}

impl Evaluator<'_> {
    pub(super) fn regex(&mut self, call: &RegexCall<'_>) -> Column {
        let RegexCall { expression, operation, pattern, arguments, active } = *call;
        let arguments: Vec<Operand> =
            arguments.iter().map(|argument| self.operand(argument, active)).collect();
        let regex = pattern.regex();
        // A text that nobody asks for may take long.
        let too_much = self.is_too_much();
        let is_wanted = |row: usize| !too_much && active.value(row) && !arguments[0].is_null(row);
        let text = |row: usize| is_wanted(row).then(|| arguments[0].text(row));
        match operation {
            RegexOperation::Matches => {
                Column::Boolean(logic::each(self.rows, |row| text(row).map(|text| regex.is_match(text))))
            }
            RegexOperation::Count => {
                let count = |text: &str| regex.find_iter(text).count() as i64;
                Column::BigInt((0..self.rows).map(|row| text(row).map(count)).collect())
            }
            RegexOperation::Extract { group } => {
                let found = |text| match group {
                    0 => regex.find(text).map(|found| found.as_str()),
                    _ => regex.captures(text).and_then(|found| found.get(group)).map(|found| found.as_str()),
                };
                let rows = (0..self.rows).map(|row| {
                    if self.is_too_much() {
                        return None;
                    }
                    let found = text(row).and_then(found)?;
                    self.take_room(found.len()).then_some(found)
                });
                Column::String(rows.collect())
            }
            RegexOperation::Replace { all } => {
                let replacement = &arguments[1];
                let rows = (0..self.rows).map(|row| {
                    if self.is_too_much() || replacement.is_null(row) {
                        return None;
                    }
                    let replaced = replace(regex, text(row)?, replacement.text(row), all);
                    let replaced = self.keep(replaced, expression, row, active)?;
                    self.take_room(replaced.len()).then_some(replaced)
                });
                Column::String(rows.collect())
            }
        }
    }
}

/// The regular expression that a pattern of `SIMILAR TO` is: the whole text, `%` and `_` as in `LIKE`, and of regular
/// expressions `| * + ? { } ( ) [ ]`.
pub(crate) fn of_similar(pattern: &str, escape: Option<char>) -> String {
    let mut out = String::from("^(?s:");
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        match character {
            _ if Some(character) == escape => {
                if let Some(plain) = characters.next() {
                    out.push_str(&regex::escape(&plain.to_string()));
                }
            }
            '[' => push_class(&mut characters, escape, &mut out),
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '|' | '*' | '+' | '?' | '{' | '}' | '(' | ')' => out.push(character),
            _ => out.push_str(&regex::escape(&character.to_string())),
        }
    }
    out.push_str(")$");
    out
}

/// A class of characters, of which the `[` was read.
fn push_class(characters: &mut Chars<'_>, escape: Option<char>, out: &mut String) {
    out.push('[');
    if let Some(behind) = characters.as_str().strip_prefix('^') {
        out.push('^');
        *characters = behind.chars();
    }
    // The first sign is one of the class, whatever it is.
    let mut first = true;
    while let Some(character) = characters.next() {
        match character {
            _ if Some(character) == escape => {
                if let Some(plain) = characters.next() {
                    out.push_str(&regex::escape(&plain.to_string()));
                }
            }
            ']' if !first => {
                out.push(']');
                return;
            }
            '[' => match in_brackets(characters.as_str()) {
                Some((inner, behind)) => {
                    // `[.x.]` and `[=x=]` are one sign, in other words.
                    match inner.strip_prefix(['.', '=']).filter(|inner| inner.chars().count() == 2) {
                        Some(sign) => {
                            out.extend(sign.chars().next().map(|sign| regex::escape(&sign.to_string())))
                        }
                        None => out.extend(["[", inner, "]"]),
                    }
                    *characters = behind.chars();
                }
                None => out.push_str(r"\["),
            },
            ']' | '\\' | '&' | '~' => out.extend(['\\', character]),
            _ => out.push(character),
        }
        first = false;
    }
}

/// Of `[:alpha:]`, `[.x.]` or `[=x=]` behind the first bracket what is in the brackets, and what is behind them.
fn in_brackets(text: &str) -> Option<(&str, &str)> {
    let sign = text.chars().next().filter(|sign| matches!(sign, ':' | '.' | '='))?;
    let end = text[1..].find(&format!("{sign}]"))? + 2;
    Some((&text[..end], &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{DataType, Value};

    #[test]
    fn replacements_name_groups() {
        let regex = Regex::new("(a)(b)?").unwrap();
        let replace = |text, replacement, all| replace(&regex, text, replacement, all).unwrap().into_owned();
        assert_eq!(replace("ab a", r"[\1\2]", true), "[ab] [a]");
        assert_eq!(replace("ab a", r"<\&>", false), "<ab> a");
        assert_eq!(replace("ab", r"$1\\", true), r"$1\");
        assert_eq!(replace("ab", "$1", true), "$1");
        assert_eq!(replace("ab", r"x\", true), r"x\");
        // As PostgreSQL: a backslash before anything else is one.
        assert_eq!(replace("ab", r"\.\0\é", true), r"\.\0\é");
    }

    #[test]
    fn similar_to_is_the_whole_text() {
        let similar =
            |text: &str, pattern: &str| Regex::new(&of_similar(pattern, Some('\\'))).unwrap().is_match(text);
        assert!(similar("abc", "a%"));
        assert!(similar("abc", "(a|b)b_"));
        assert!(!similar("abc", "ab"));
        assert!(similar("a.c", "a.c"));
        assert!(!similar("abc", "a.c"));
        assert!(similar("a%", r"a\%"));
        assert!(!similar("ab", r"a\%"));
        assert!(similar("aaab", "a+[b-c]"));
        assert!(similar("a\nb", "a%"));
        assert!(!similar("ab\n", "ab"));
        // Classes of characters have brackets of their own.
        assert!(similar("a_b", "[[:alpha:]_]+"));
        assert!(!similar("a.b", "[[:alpha:]_]+"));
        assert!(similar("1.", "[^[:alpha:]_][[:punct:]]"));
        assert!(similar("a-]", "[[.a.][.-.]][[=-=]][]x]"));
        assert!(!similar("b", "[[.a.][.-.]]"));
        assert!(similar("[%", "[[x]%"));
        assert!(similar("]%_", "[]%_]+") && !similar("x]", "[^]]+") && similar("xy", "[^]]+"));
        assert!(similar("]x", r"[a\]]x"));
        // Whatever is in a class, it ends or is an error.
        for pattern in ["[", "[[", "[[:", "[[:alpha", "[[.", "[^", "[]", "[[:alpha:]"] {
            assert!(Regex::new(&of_similar(pattern, None)).is_err(), "{pattern}");
        }
    }

    #[test]
    fn rows_that_are_not_asked_for_are_not_looked_at() {
        let texts = Column::String(["a1", "a2", "a3"].into_iter().map(Some).collect());
        let columns = [texts];
        let active = BooleanBuffer::from_iter([true, false, true]);
        let operations =
            [RegexOperation::Matches, RegexOperation::Count, RegexOperation::Extract { group: 1 }];
        for operation in operations {
            let text = Expression::Column { index: 0, name: "s".to_owned(), data_type: DataType::String };
            let pattern = Pattern::new("([0-9])", false).unwrap();
            let expression = Expression::Regex { operation, pattern, arguments: vec![text] };
            let found = Evaluator::new(&columns, 3).evaluate(&expression, &active);
            let nulls = (0..3).map(|row| found.value(row) == Value::Null).collect::<Vec<_>>();
            assert_eq!(nulls, [false, true, false], "{expression}");
        }
    }
}
