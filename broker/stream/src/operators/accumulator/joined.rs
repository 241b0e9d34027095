//! Texts end to end, as long as a text may become.

use crate::eval::check_length;

/// The texts so far. What would become too long is not kept: there is no way back, since none of them is taken away.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Joined {
    #[default]
    Nothing,
    Text(String),
    TooLong,
}

impl Joined {
    /// Appends a text behind a separator.
    pub(super) fn push(&mut self, text: &str, separator: &str) {
        match self {
            Joined::Nothing => *self = Joined::Text(text.to_owned()),
            Joined::Text(joined) => match check_length(joined.len() + separator.len() + text.len()) {
                Ok(()) => {
                    joined.push_str(separator);
                    joined.push_str(text);
                }
                Err(_) => *self = Joined::TooLong,
            },
            Joined::TooLong => {}
        }
    }

    /// Appends what another one has.
    pub(super) fn merge(&mut self, other: &Joined, separator: &str) {
        match other {
            Joined::Nothing => {}
            Joined::Text(text) => self.push(text, separator),
            Joined::TooLong => *self = Joined::TooLong,
        }
    }

    /// The text, if there was one; an error where it would be too long.
    pub(super) fn text(&self) -> Result<Option<&str>, String> {
        match self {
            Joined::Nothing => Ok(None),
            Joined::Text(text) => Ok(Some(text)),
            Joined::TooLong => check_length(usize::MAX).map(|()| None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_stays_so() {
        let mut joined = Joined::default();
        assert_eq!(joined.text(), Ok(None));
        joined.push("", ",");
        joined.push("a", ",");
        assert_eq!(joined.text(), Ok(Some(",a")));
        let half = "x".repeat(8 << 20);
        joined.push(&half, "");
        let mut other = Joined::default();
        other.push(&half, "");
        other.merge(&joined, "");
        assert_eq!(other, Joined::TooLong);
        assert!(other.text().unwrap_err().contains("more than 16 MiB"));
        other.push("a", ",");
        joined.merge(&other, ",");
        assert_eq!(joined, Joined::TooLong);
        joined.merge(&Joined::default(), ",");
        assert_eq!(joined, Joined::TooLong);
    }
}
