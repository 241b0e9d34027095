//! The one error of the language: where, what, and what to write instead.

use sqlparser::tokenizer::Location;
use thiserror::Error;

/// How the message begins where a function is called that there is not.
pub(super) const NO_FUNCTION: &str = "there is no function";
/// So many characters of a line are shown.
const MAX_EXCERPT: usize = 200;

/// A script that cannot be run. It points at the text and says what to write.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}, column {column}: {message}\n  help: {help}")]
pub struct SqlError {
    /// The line, from 1.
    pub line: u64,
    /// The column, in characters from 1.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl SqlError {
    pub(crate) fn at(location: Location, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            line: location.line.max(1),
            column: location.column.max(1),
            message: message.into(),
            help: help.into(),
        }
    }

    /// Whether all that is wrong may be that a function is not known here: another program may have it.
    pub fn is_unknown_function(&self) -> bool {
        self.message.starts_with(NO_FUNCTION)
    }

    /// The script's line with a caret under the place, for a terminal; of a long line what is around the place.
    pub fn excerpt(&self, script: &str) -> String {
        let line = script.lines().nth((self.line - 1) as usize).unwrap_or_default();
        let column = (self.column - 1) as usize;
        let length = line.chars().count();
        let skipped = match length > MAX_EXCERPT {
            true => column.min(length).saturating_sub(MAX_EXCERPT / 2),
            false => 0,
        };
        let mut shown: String = line.chars().skip(skipped).take(MAX_EXCERPT).collect();
        let mut column = column - skipped;
        if skipped > 0 {
            shown.insert(0, '…');
            column += 1;
        }
        if skipped + MAX_EXCERPT < length {
            shown.push('…');
        }
        let gutter = self.line.to_string();
        let before: String = shown
            .chars()
            .chain(std::iter::repeat(' '))
            .take(column)
            .map(|character| if character == '\t' { '\t' } else { ' ' })
            .collect();
        format!("{gutter} | {shown}\n{:width$} | {before}^", "", width = gutter.len())
    }
}

/// The known name that a misspelt one was likely to be, or nothing: a third of the letters may be wrong, one always, and all
/// of them never.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .filter_map(|name| {
            let distance = strsim::damerau_levenshtein(&word.to_lowercase(), &name.to_lowercase());
            let letters = name.chars().count().max(word.chars().count());
            (distance <= (letters / 3).max(1) && distance < letters).then_some((distance, name))
        })
        .min()
        .map(|(_, name)| name)
}

/// The help for an unknown name: the likely one, or all of them.
pub(crate) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match did_you_mean(word, known.clone()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let names: Vec<&str> = known.into_iter().collect();
            match names.is_empty() {
                true => "there is none to choose from".to_owned(),
                false => format!("known are: {}", names.join(", ")),
            }
        }
    }
}

/// Takes the position off the end of a message of the parser: `..., found: x at Line: 3, Column: 7`.
pub(super) fn split_location(text: &str) -> (&str, Option<Location>) {
    let located = text.rsplit_once(" at Line: ").and_then(|(message, position)| {
        let (line, column) = position.split_once(", Column: ")?;
        Some((message, Location { line: line.parse().ok()?, column: column.parse().ok()? }))
    });
    match located {
        Some((message, location)) => (message, Some(location)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_meant_when_most_of_it_is_there() {
        let known = ["och", "b", "amount", "LENGTH", "id"];
        let meant = |word| did_you_mean(word, known);
        assert_eq!(["amuont", "lenght", "ids", "bb"].map(meant), ["amount", "LENGTH", "id", "b"].map(Some));
        assert_eq!(["nosuch", "a", "xy", "ammunition"].map(meant), [None; 4]);
        assert_eq!(suggest("nosuch", known), "known are: och, b, amount, LENGTH, id");
    }
}
