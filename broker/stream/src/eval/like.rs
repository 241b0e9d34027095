//! `LIKE`.

use arrow_array::{BooleanArray, StringArray};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// `%`
    AnyText,
    /// `_`
    AnyOne,
    Exactly(char),
}

fn parts(pattern: &str, escape: Option<char>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        parts.push(match character {
            _ if Some(character) == escape => Part::Exactly(characters.next().unwrap_or(character)),
            '%' => Part::AnyText,
            '_' => Part::AnyOne,
            _ => Part::Exactly(character),
        });
    }
    parts
}

/// In time of at most text times pattern: on a mismatch only the last `%` is tried one character further on.
fn matches(text: &[char], parts: &[Part]) -> bool {
    let (mut at, mut part) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match parts.get(part) {
            Some(Part::AnyText) => {
                retry = Some((part + 1, at));
                part += 1;
                continue;
            }
            Some(Part::AnyOne) => {
                at += 1;
                part += 1;
                continue;
            }
            Some(Part::Exactly(character)) if *character == text[at] => {
                at += 1;
                part += 1;
                continue;
            }
            _ => {}
        }
        let Some((after, from)) = retry else { return false };
        retry = Some((after, from + 1));
        (part, at) = (after, from + 1);
    }
    parts[part..].iter().all(|part| *part == Part::AnyText)
}

/// A pattern with a text and at most a `%` at either end, which is most of them.
#[derive(Debug, PartialEq, Eq)]
enum Simple {
    Whole(String),
    Beginning(String),
    End(String),
    Anywhere(String),
}

impl Simple {
    fn of(parts: &[Part]) -> Option<Simple> {
        let (from_start, parts) = match parts {
            [Part::AnyText, rest @ ..] => (false, rest),
            parts => (true, parts),
        };
        let (to_end, parts) = match parts {
            [rest @ .., Part::AnyText] => (false, rest),
            parts => (true, parts),
        };
        let plain = |part: &Part| match part {
            Part::Exactly(character) => Some(*character),
            Part::AnyText | Part::AnyOne => None,
        };
        let text = parts.iter().map(plain).collect::<Option<String>>()?;
        Some(match (from_start, to_end) {
            (true, true) => Simple::Whole(text),
            (true, false) => Simple::Beginning(text),
            (false, true) => Simple::End(text),
            (false, false) => Simple::Anywhere(text),
        })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Simple::Whole(whole) => text == whole,
            Simple::Beginning(beginning) => text.starts_with(beginning.as_str()),
            Simple::End(end) => text.ends_with(end.as_str()),
            Simple::Anywhere(part) => text.contains(part.as_str()),
        }
    }
}

pub(super) fn like(texts: &StringArray, pattern: &str, escape: Option<char>) -> BooleanArray {
    let parts = parts(pattern, escape);
    if let Some(simple) = Simple::of(&parts) {
        return texts.iter().map(|text| text.map(|text| simple.matches(text))).collect();
    }
    let mut characters = Vec::new();
    texts
        .iter()
        .map(|text| {
            characters.clear();
            characters.extend(text?.chars());
            Some(matches(&characters, &parts))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word for word.
    fn by_definition(text: &[char], parts: &[Part]) -> bool {
        match parts.split_first() {
            None => text.is_empty(),
            Some((Part::AnyText, rest)) => (0..=text.len()).any(|from| by_definition(&text[from..], rest)),
            Some((Part::AnyOne, rest)) => !text.is_empty() && by_definition(&text[1..], rest),
            Some((Part::Exactly(character), rest)) => {
                text.first() == Some(character) && by_definition(&text[1..], rest)
            }
        }
    }

    #[test]
    fn an_escaped_sign_is_plain() {
        let matches = |text: &str, pattern: &str| {
            matches(&text.chars().collect::<Vec<_>>(), &parts(pattern, Some('!')))
        };
        assert!(matches("50%", "50!%"));
        assert!(!matches("500", "50!%"));
        assert!(matches("a!b", "a!!b"));
        assert!(matches("", "%"));
        assert!(!matches("", "_"));
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(text in "[ab]{0,8}", pattern in "[ab%_]{0,6}|%?[ab]{0,3}%?") {
            let characters: Vec<char> = text.chars().collect();
            let parts = parts(&pattern, None);
            let expected = by_definition(&characters, &parts);
            prop_assert_eq!(matches(&characters, &parts), expected);
            prop_assert_eq!(like(&StringArray::from(vec![text]), &pattern, None).value(0), expected);
        }
    }
}
