//! Texts, counted in characters.

use arrow_array::{Array, Int64Array, StringArray};
use arrow_buffer::BooleanBuffer;

use super::Evaluator;
use crate::column::Column;
use crate::plan::Expression;

pub(super) fn concat(left: &StringArray, right: &StringArray) -> StringArray {
    left.iter().zip(right).map(|(left, right)| Some([left?, right?].concat())).collect()
}

pub(super) fn map(texts: &StringArray, map: impl Fn(&str) -> String) -> StringArray {
    texts.iter().map(|text| text.map(&map)).collect()
}

pub(super) fn char_length(texts: &StringArray) -> Int64Array {
    texts.iter().map(|text| text.map(|text| text.chars().count() as i64)).collect()
}

pub(super) fn replace(texts: &StringArray, from: &StringArray, to: &StringArray) -> StringArray {
    let replace = |((text, from), to): ((Option<&str>, Option<&str>), Option<&str>)| {
        let (text, from, to) = (text?, from?, to?);
        // Nothing stands between the characters of a text.
        Some(if from.is_empty() { text.to_owned() } else { text.replace(from, to) })
    };
    texts.iter().zip(from).zip(to).map(replace).collect()
}

/// Characters `start` to `start + length - 1`, counted from 1; places before the first are counted but empty.
fn substring(text: &str, start: i64, length: Option<i64>) -> Result<&str, String> {
    let end = match length {
        Some(length) if length < 0 => return Err(format!("a length of {length} characters")),
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let place = |number: i64| {
        let skipped = usize::try_from(number - 1).unwrap_or(0);
        text.char_indices().nth(skipped).map_or(text.len(), |(at, _)| at)
    };
    let (start, end) = (start.max(1), end.max(1));
    Ok(if start < end { &text[place(start)..place(end)] } else { "" })
}

impl Evaluator<'_> {
    pub(super) fn substring(
        &mut self,
        expression: &Expression,
        arguments: &[Column],
        active: &BooleanBuffer,
    ) -> Column {
        let (texts, starts) = (arguments[0].string(), arguments[1].bigint());
        let lengths = arguments.get(2).map(Column::bigint);
        let cut = |row: usize| {
            let missing_length = lengths.is_some_and(|lengths| lengths.is_null(row));
            if texts.is_null(row) || starts.is_null(row) || missing_length {
                return None;
            }
            let length = lengths.map(|lengths| lengths.value(row));
            let part = substring(texts.value(row), starts.value(row), length);
            self.keep(part, expression, row, active)
        };
        Column::String((0..texts.len()).map(cut).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::substring;

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
}
