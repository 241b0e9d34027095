//! Regular expressions, constant in a query and compiled once.

use std::borrow::Cow;

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
        let text = |row: usize| (!arguments[0].is_null(row)).then(|| arguments[0].text(row));
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
                    let found = text(row).and_then(found)?;
                    self.take_room(found.len()).then_some(found)
                });
                Column::String(rows.collect())
            }
            RegexOperation::Replace { all } => {
                let replacement = &arguments[1];
                let rows = (0..self.rows).map(|row| {
                    let is_wanted = active.value(row) && !self.is_too_much();
                    if !is_wanted || replacement.is_null(row) {
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
    let mut in_class = false;
    while let Some(character) = characters.next() {
        match character {
            _ if Some(character) == escape => {
                if let Some(plain) = characters.next() {
                    out.push_str(&regex::escape(&plain.to_string()));
                }
            }
            '[' => {
                in_class = true;
                out.push('[');
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            _ if in_class => match character {
                '\\' | '&' | '~' => out.extend(['\\', character]),
                _ => out.push(character),
            },
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '|' | '*' | '+' | '?' | '{' | '}' | '(' | ')' => out.push(character),
            _ => out.push_str(&regex::escape(&character.to_string())),
        }
    }
    out.push_str(")$");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_name_groups() {
        let regex = Regex::new("(a)(b)?").unwrap();
        let replace = |text, replacement, all| replace(&regex, text, replacement, all).unwrap().into_owned();
        assert_eq!(replace("ab a", r"[\1\2]", true), "[ab] [a]");
        assert_eq!(replace("ab a", r"<\&>", false), "<ab> a");
        assert_eq!(replace("ab", r"$1\\", true), r"$1\");
        assert_eq!(replace("ab", "$1", true), "$1");
        assert_eq!(replace("ab", r"x\", true), r"x\");
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
    }
}
        // As PostgreSQL: a backslash before anything else is one.
        assert_eq!(replace("ab", r"\.\0\é", true), r"\.\0\é");
