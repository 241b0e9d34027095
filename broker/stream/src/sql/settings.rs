//! `SET 'option' = 'value'` at the head of a script: what a pipeline has, where nobody says otherwise.

use sqlparser::tokenizer::{Location, Token};

use super::error::{SqlError, suggest};
use super::script::Statements;

/// The options, and what their values look like.
const OPTIONS: [(&str, &str); 3] = [
    ("pipeline.name", "SET 'pipeline.name' = 'report'"),
    ("pipeline.memory", "SET 'pipeline.memory' = '2 GiB'"),
    ("pipeline.shards", "SET 'pipeline.shards' = '4', from 1 to 256"),
];

/// What of Flink's options is said elsewhere, and how.
const ELSEWHERE: [(&str, &str); 5] = [
    ("parallelism.default", "write SET 'pipeline.shards' = '4'"),
    ("table.exec.resource.default-parallelism", "write SET 'pipeline.shards' = '4'"),
    ("table.exec.state.ttl", "write STATE TTL INTERVAL '1' DAY behind the query of the INSERT"),
    ("table.exec.source.idle-timeout", "write 'idle-timeout' = '30 s' in the options of the table"),
    (
        "execution.runtime-mode",
        "a pipeline whose input ends is one that is told so: `logmill pipeline run FILE --bounded`, or `pipeline finish NAME`",
    ),
];

const UNITS: [(&str, u64); 5] =
    [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1)];

const MAX_NAME: usize = 200;
const MAX_SHARDS: u32 = 256;

/// What a script says of the pipeline that runs it. Each is nothing where the script does not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Its name, where it is not given beside the script.
    pub name: Option<String>,
    /// The most bytes that its state may have, at least 1.
    pub memory: Option<u64>,
    /// Into how many shards its work is split, 1 to 256.
    pub shards: Option<u32>,
}

impl Settings {
    fn set(
        &mut self,
        (key, key_at): (&str, Location),
        (value, at): (&str, Location),
    ) -> Result<(), SqlError> {
        let help = |key: &str| {
            let option = OPTIONS.iter().find(|(option, _)| *option == key);
            option.map_or_else(String::new, |(_, help)| format!("write {help}"))
        };
        let wrong = |what: &str| SqlError::at(at, format!("`{value}` is {what}"), help(key));
        let twice = |is_set: bool| match is_set {
            true => Err(SqlError::at(key_at, format!("'{key}' is set twice"), "set it once")),
            false => Ok(()),
        };
        match key {
            "pipeline.name" => {
                twice(self.name.is_some())?;
                let is_name = (1..=MAX_NAME).contains(&value.len())
                    && value.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter));
                self.name = Some(value.to_owned()).filter(|_| is_name);
                let what = "no name: 1 to 200 letters, digits, `.`, `_` and `-`";
                self.name.is_some().then_some(()).ok_or_else(|| wrong(what))
            }
            "pipeline.memory" => {
                twice(self.memory.is_some())?;
                self.memory = size(value);
                let what = "no size with its unit (B, KiB, MiB, GiB, TiB)";
                self.memory.map(drop).ok_or_else(|| wrong(what))
            }
            "pipeline.shards" => {
                twice(self.shards.is_some())?;
                self.shards = value.trim().parse().ok().filter(|shards| (1..=MAX_SHARDS).contains(shards));
                self.shards.map(drop).ok_or_else(|| wrong("no number of shards"))
            }
            _ => {
                let elsewhere = ELSEWHERE.iter().find(|(option, _)| *option == key);
                let help = elsewhere.map_or_else(
                    || suggest(key, OPTIONS.iter().map(|(option, _)| *option)),
                    |(_, help)| (*help).to_owned(),
                );
                Err(SqlError::at(key_at, format!("there is no option '{key}' to set"), help))
            }
        }
    }
}

/// Bytes with their unit, as the configuration writes them.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, name) = text.split_at(text.find(|letter: char| !letter.is_ascii_digit())?);
    let (_, unit) = UNITS.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(name.trim_start()))?;
    let bytes = number.parse::<u64>().ok()?.checked_mul(*unit)?;
    (bytes > 0).then_some(bytes)
}

impl Statements<'_> {
    /// The rest of `SET 'option' = 'value'`.
    pub(super) fn setting(&mut self, settings: &mut Settings) -> Result<(), SqlError> {
        let help = "write SET 'option' = 'value', with both in quotes";
        let (key, key_at) = self.text(help)?;
        self.sign(&Token::Eq, help)?;
        let (value, value_at) = self.text(help)?;
        settings.set((&key, key_at), (&value, value_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        let sizes = ["64 MiB", "2GiB", " 1 b ", "1 TiB"].map(size);
        assert_eq!(sizes, [64 << 20, 2 << 30, 1, 1 << 40].map(Some));
        for wrong in ["64", "MiB", "-1 MiB", "0 B", "1.5 GiB", "+1 B", "99999999999 TiB", "1 GB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
