//! Reads the sources, one over the other, and checks the result.

mod times;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, Origin};
use crate::schema::{Refused, path, variable};
use crate::settings::Config;
use crate::value::Raw;

/// Where to look for values.
#[derive(Debug, Default)]
pub struct Sources {
    /// The configuration file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment: names and values. Only names that begin with `LOGMILL_` are looked at.
    pub environment: Vec<(String, String)>,
    /// Variables that begin with `LOGMILL_` and are not settings, such as the one that names the file.
    pub not_settings: Vec<&'static str>,
    /// Flags: the flag as the user wrote it, the key it sets (`section.name` or `name`), the value.
    pub flags: Vec<(String, String, String)>,
}

/// A configuration and where each of its values came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where the value of a key (`limits.max_request`) came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// Puts the sources together: flags over environment over file over defaults.
///
/// # Errors
/// The first problem found: a file that cannot be read or is not TOML, a key that does not exist, a value
/// of the wrong kind, or two values that contradict each other.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut loader = Loader { config: Config::default(), origins: BTreeMap::new() };
    if let Some(file) = &sources.file {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Read { path: file.clone(), source })?;
        loader.file(file, &text)?;
    }
    let mut environment: Vec<_> = sources.environment.iter().collect();
    environment.sort();
    for (name, value) in environment {
        if name.starts_with("LOGMILL_") && !sources.not_settings.contains(&name.as_str()) {
            loader.variable(name, value)?;
        }
    }
    for (flag, key, value) in &sources.flags {
        let (section, name) = key.split_once('.').unwrap_or(("", key));
        loader.set(section, name, Raw::Text(value), Origin::Flag { flag: flag.clone() }, Form::File)?;
    }
    let loaded = Loaded { config: loader.config, origins: loader.origins };
    check(&loaded)?;
    Ok(loaded)
}

/// How a suggested key is written.
#[derive(Clone, Copy)]
enum Form {
    File,
    Variable,
}

struct Loader {
    config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Loader {
    fn file(&mut self, file: &Path, text: &str) -> Result<(), ConfigError> {
        let line_of = |offset: usize| 1 + text.as_bytes()[..offset].iter().filter(|b| **b == b'\n').count();
        let origin = |offset: usize| Origin::File { path: file.to_owned(), line: line_of(offset) };
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: file.to_owned(),
            line: error.span().map_or(1, |span| line_of(span.start.min(text.len()))),
            message: error.message().replace('\n', ", "),
        })?;
        for (name, value) in in_order(table.get_ref()) {
            let at = origin(name.span().start);
            match value.get_ref() {
                DeValue::Table(section) => {
                    for (key, value) in in_order(section) {
                        let at = origin(key.span().start);
                        self.set(name.get_ref(), key.get_ref(), raw(value.get_ref()), at, Form::File)?;
                    }
                    if section.is_empty()
                        && !Config::SECTIONS.iter().any(|(known, _)| known == name.get_ref())
                    {
                        return Err(self.unknown(name.get_ref(), "", at, Form::File));
                    }
                }
                scalar => self.set("", name.get_ref(), raw(scalar), at, Form::File)?,
            }
        }
        Ok(())
    }

    fn variable(&mut self, variable_name: &str, value: &str) -> Result<(), ConfigError> {
        let origin = Origin::Environment { variable: variable_name.to_owned() };
        let lower = variable_name["LOGMILL_".len()..].to_ascii_lowercase();
        let (section, name) = lower.split_once("__").unwrap_or(("", &lower));
        self.set(section, name, Raw::Text(value), origin, Form::Variable)
    }

    fn set(
        &mut self,
        section: &str,
        name: &str,
        raw: Raw<'_>,
        origin: Origin,
        form: Form,
    ) -> Result<(), ConfigError> {
        match self.config.set(section, name, raw) {
            Ok(()) => {
                self.origins.insert(path(section, name), origin);
                Ok(())
            }
            Err(Refused::NoSuchKey) => Err(self.unknown(section, name, origin, form)),
            Err(Refused::NotThisKind { expected }) => Err(ConfigError::InvalidValue {
                origin,
                key: path(section, name),
                value: raw.to_string(),
                expected: expected.to_owned(),
            }),
        }
    }

    fn unknown(&self, section: &str, name: &str, origin: Origin, form: Form) -> ConfigError {
        let key = if name.is_empty() { section.to_owned() } else { path(section, name) };
        let mut known: Vec<(&str, &str)> = self.config.keys().iter().map(|k| (k.section, k.name)).collect();
        if name.is_empty() {
            known = Config::SECTIONS.iter().map(|(section, _)| (*section, "")).collect();
        }
        let suggestion = known
            .into_iter()
            .map(|(section, name)| {
                let whole = if name.is_empty() { section.to_owned() } else { path(section, name) };
                // The right name in the wrong section counts as near.
                let similar = strsim::jaro_winkler(&whole, &key);
                let last = key.rsplit('.').next().unwrap_or(&key);
                let by_name = if name.is_empty() { 0.0 } else { strsim::jaro_winkler(name, last) };
                (similar.max(by_name), section, name, whole)
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .filter(|(score, ..)| *score > 0.8)
            .map(|(_, section, name, whole)| match form {
                Form::File => whole,
                Form::Variable => variable(section, name),
            });
        let key = match &origin {
            Origin::Environment { variable } => variable.clone(),
            _ => key,
        };
        ConfigError::UnknownKey { origin, key, suggestion }
    }
}

/// A TOML table is kept sorted by name; problems are reported in the order of the file.
fn in_order<'a, 'i>(
    table: &'a DeTable<'i>,
) -> Vec<(&'a Spanned<toml::de::DeString<'i>>, &'a Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

fn raw<'a>(value: &'a DeValue<'_>) -> Raw<'a> {
    match value {
        DeValue::String(text) => Raw::Text(text),
        DeValue::Boolean(flag) => Raw::Boolean(*flag),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("integer outside 64 bits"), Raw::Integer),
        other => Raw::Other(other.type_str()),
    }
}

/// The most shards of a pipeline. It is the engine's number, which this crate does not know; the broker, which knows both,
/// is not built when they differ.
pub const MAX_SHARDS: u32 = 256;

/// What the type of one value alone cannot say.
fn check(loaded: &Loaded) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let contradiction = |key: &str, value: &dyn std::fmt::Display, problem: &str| {
        Err(ConfigError::Contradiction {
            origin: loaded.origin(key),
            key: key.to_owned(),
            value: value.to_string(),
            problem: problem.to_owned(),
        })
    };
    let (limits, journal, topics) = (&config.limits, &config.journal, &config.topics);
    if topics.max_message > limits.max_request {
        let problem =
            "is more than `limits.max_request`: no such batch could be received; raise that or lower this";
        return contradiction("topics.max_message", &topics.max_message, problem);
    }
    if limits.max_request > limits.request_memory {
        let problem =
            "is more than `limits.request_memory`: no such request could be held; raise that or lower this";
        return contradiction("limits.max_request", &limits.max_request, problem);
    }
    if limits.max_request.get() > i32::MAX as u64 {
        let problem = "is more than the protocol can express (2 GiB)";
        return contradiction("limits.max_request", &limits.max_request, problem);
    }
    if journal.max_size.get() / 2 < journal.file_size.get() {
        let problem = "is less than two files of `journal.file_size`; raise this or lower that";
        return contradiction("journal.max_size", &journal.max_size, problem);
    }
    if !(1 << 20..=i32::MAX as u64).contains(&topics.segment.get()) {
        return contradiction("topics.segment", &topics.segment, "is outside 1 MiB to 2 GiB");
    }
    if !(1..=1 << 30).contains(&topics.index_interval.get()) {
        return contradiction("topics.index_interval", &topics.index_interval, "is outside 1 B to 1 GiB");
    }
    if topics.partitions > 10_000 {
        return contradiction("topics.partitions", &topics.partitions, "is more than 10000");
    }
    if !(1..=100).contains(&config.pipelines.backlog_share) {
        return contradiction(
            "pipelines.backlog_share",
            &config.pipelines.backlog_share,
            "is outside 1 to 100",
        );
    }
    if let Some(shards) = config.pipelines.shards.filter(|shards| *shards > MAX_SHARDS) {
        let problem =
            format!("is more than {MAX_SHARDS}: a shard has one of {MAX_SHARDS} groups of keys at least");
        return contradiction("pipelines.shards", &shards, &problem);
    }
    times::in_order(config, |key| loaded.origins.contains_key(key))
        .or_else(|wrong| contradiction(wrong.key, &times::Written(wrong.time), &wrong.problem))
}

#[cfg(test)]
mod tests;
