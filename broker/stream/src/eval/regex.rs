//! Regular expressions, constant in a query and compiled once.

use std::borrow::Cow;

use arrow_array::{Array, StringArray};
use arrow_buffer::BooleanBuffer;
use regex::{Captures, Regex};

use super::operand::Operand;
use super::{Evaluator, logic};
use crate::column::Column;
use crate::plan::{Expression, Pattern, RegexOperation};

/// The text with matches replaced: `\1` to `\9` stand for groups, `\&` for the whole match, `\\` for a backslash.
fn replace<'t>(regex: &Regex, text: &'t str, replacement: &str, all: bool) -> Cow<'t, str> {
    let limit = if all { 0 } else { 1 };
    if !replacement.contains('\\') {
        return regex.replacen(text, limit, regex::NoExpand(replacement));
    }
    regex.replacen(text, limit, |captures: &Captures<'_>| expand(captures, replacement))
}

fn expand(captures: &Captures<'_>, replacement: &str) -> String {
    let mut out = String::new();
    let mut characters = replacement.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        let group = |number: usize| captures.get(number).map_or("", |found| found.as_str());
        match characters.next() {
            Some('&') => out.push_str(group(0)),
            Some(digit @ '1'..='9') => out.push_str(group(digit as usize - '0' as usize)),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

impl Evaluator<'_> {
    pub(super) fn regex(
        &mut self,
        operation: RegexOperation,
        pattern: &Pattern,
        arguments: &[Expression],
        active: &BooleanBuffer,
    ) -> Column {
        let arguments: Vec<Operand> =
            arguments.iter().map(|argument| self.operand(argument, active)).collect();
        let regex = pattern.regex();
        let texts = arguments[0].spread();
        let texts = texts.string();
        match operation {
            RegexOperation::Matches => Column::Boolean(logic::each(texts.len(), |row| {
                texts.is_valid(row).then(|| regex.is_match(texts.value(row)))
            })),
            RegexOperation::Count => {
                let count = |text: &str| regex.find_iter(text).count() as i64;
                Column::BigInt(texts.iter().map(|text| text.map(count)).collect())
            }
            RegexOperation::Extract { group: 0 } => {
                let found = |text| regex.find(text).map(|found| found.as_str());
                Column::String(texts.iter().map(|text| text.and_then(found)).collect())
            }
            RegexOperation::Extract { group } => {
                let found = |text| {
                    regex.captures(text).and_then(|found| found.get(group)).map(|found| found.as_str())
                };
                Column::String(texts.iter().map(|text| text.and_then(found)).collect())
            }
            RegexOperation::Replace { all } => {
                let replacement = &arguments[1];
                let replaced: StringArray = (0..texts.len())
                    .map(|row| match texts.is_null(row) || replacement.is_null(row) {
                        true => None,
                        false => Some(replace(regex, texts.value(row), replacement.text(row), all)),
                    })
                    .collect();
                Column::String(replaced)
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
        let replace = |text, replacement, all| replace(&regex, text, replacement, all).into_owned();
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
