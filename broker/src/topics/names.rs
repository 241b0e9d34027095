//! Which names a topic may have.

/// The longest topic name, in bytes: with a partition number it must still fit a directory name.
pub const MAX_TOPIC_NAME: usize = 249;

/// Why a name is refused. Kafka's rule and ours are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No name at all.
    #[error("the topic name is empty")]
    Empty,
    /// `.` and `..` are directories of the file system.
    #[error("the topic name cannot be \".\" or \"..\"")]
    Dots,
    /// Too long for a directory name.
    #[error("the topic name is longer than {MAX_TOPIC_NAME} bytes")]
    TooLong,
    /// Something other than ASCII letters, digits, `.`, `_` and `-`.
    #[error("the topic name may hold only ASCII letters, digits, '.', '_' and '-'")]
    Characters,
}

/// Checks a topic's name.
///
/// # Errors
/// [`NameError`] says which rule is broken.
pub fn check_name(name: &str) -> Result<(), NameError> {
    match name {
        "" => Err(NameError::Empty),
        "." | ".." => Err(NameError::Dots),
        _ if name.len() > MAX_TOPIC_NAME => Err(NameError::TooLong),
        _ if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) => {
            Err(NameError::Characters)
        }
        _ => Ok(()),
    }
}

/// Whether two topics would be one in the names of metrics, where `.` and `_` are the same.
pub(super) fn is_one_metric(one: &str, other: &str) -> bool {
    let unified = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one.len() == other.len() && one.bytes().map(unified).eq(other.bytes().map(unified))
}

/// Whether clients may read but not write the topic.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    name == super::OFFSETS_TOPIC || name == super::TRANSACTIONS_TOPIC || name.starts_with("__logmill_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rule() {
        assert_eq!(check_name("carrier-hourly_2.v1"), Ok(()));
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert_eq!(check_name(".."), Err(NameError::Dots));
        assert_eq!(check_name("a/b"), Err(NameError::Characters));
        assert_eq!(check_name("caf\u{e9}"), Err(NameError::Characters));
        assert_eq!(check_name(&"x".repeat(249)), Ok(()));
        assert_eq!(check_name(&"x".repeat(250)), Err(NameError::TooLong));
    }

    #[test]
    fn dots_and_underscores_are_one_to_metrics() {
        assert!(is_one_metric("a.b_c", "a_b.c"));
        assert!(is_one_metric("a.b", "a.b"));
        assert!(!is_one_metric("a.b", "a-b"));
        assert!(!is_one_metric("a.b", "a.b."));
    }

    #[test]
    fn internal_topics_are_known_by_name() {
        assert!(is_internal("__consumer_offsets"));
        assert!(is_internal("__logmill_changelog.x"));
        assert!(!is_internal("__mine"));
    }
}
