//! Changing what is set: the operations of IncrementalAlterConfigs.

use super::ConfigSet;
use super::definition::{ConfigDefinition, words};
use super::error::ConfigError;
use super::kind::ConfigType;

/// What happens to one config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It gets this value.
    Set(String),
    /// It goes back to its default.
    Delete,
    /// These words are added to its list, which begins as its default.
    Append(String),
    /// These words are taken out of its list.
    Subtract(String),
}

/// What is set after the changes; nothing is checked but that lists are lists.
///
/// # Errors
/// [`ConfigError::NotAList`]; [`ConfigError::Unknown`] for an append to a name that does not exist.
pub(super) fn apply(
    before: &ConfigSet,
    changes: &[(String, Change)],
    definition: impl Fn(&str) -> Result<&'static ConfigDefinition, ConfigError>,
) -> Result<ConfigSet, ConfigError> {
    let mut after = before.clone();
    for (name, change) in changes {
        let list = |operation| {
            let found = definition(name)?;
            if found.kind != ConfigType::List {
                return Err(ConfigError::NotAList { operation, name: name.clone() });
            }
            let value = after.get(name).map_or(found.default.unwrap_or_default(), String::as_str);
            Ok(words(value).map(str::to_owned).collect::<Vec<_>>())
        };
        let value = match change {
            Change::Set(value) => value.clone(),
            Change::Delete => {
                after.remove(name);
                continue;
            }
            Change::Append(more) => {
                let mut list = list("APPEND")?;
                for word in words(more) {
                    if !list.iter().any(|known| known == word) {
                        list.push(word.to_owned());
                    }
                }
                list.join(",")
            }
            Change::Subtract(less) => {
                let mut list = list("SUBTRACT")?;
                list.retain(|known| !words(less).any(|word| word == known));
                list.join(",")
            }
        };
        after.insert(name.clone(), value);
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::super::known_topic_config;
    use super::*;

    fn changed(before: &[(&str, &str)], name: &str, change: Change) -> Result<Vec<(String, String)>, String> {
        let before = before.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        apply(&before, &[(name.to_owned(), change)], known_topic_config)
            .map(|after| after.into_iter().collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn lists_grow_from_their_default_and_shrink_to_nothing() {
        let policy = |value: &str| Ok(vec![("cleanup.policy".to_owned(), value.to_owned())]);
        let append = |word: &str| Change::Append(word.to_owned());
        let subtract = |word: &str| Change::Subtract(word.to_owned());
        assert_eq!(changed(&[], "cleanup.policy", append("compact")), policy("delete,compact"));
        let both = [("cleanup.policy", "delete,compact")];
        assert_eq!(changed(&both, "cleanup.policy", append("compact")), policy("delete,compact"));
        assert_eq!(changed(&both, "cleanup.policy", subtract("delete")), policy("compact"));
        assert_eq!(changed(&both, "cleanup.policy", subtract("delete,compact")), policy(""));
        assert_eq!(changed(&both, "cleanup.policy", Change::Delete), Ok(Vec::new()));
        assert_eq!(
            changed(&[], "retention.ms", append("5")),
            Err("Can't APPEND to key retention.ms because its type is not LIST.".to_owned())
        );
        assert_eq!(changed(&[], "nope", append("5")), Err("Unknown topic config name: nope".to_owned()));
        assert_eq!(changed(&[], "nope", Change::Delete), Ok(Vec::new()), "as Kafka has it");
    }
}
