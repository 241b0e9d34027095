//! Lengths of time as people write them.

use std::fmt;

/// A length of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) ms: i64,
    /// In milliseconds, whatever they are.
    pub(super) exact: bool,
}

impl Span {
    /// For people.
    pub(super) fn readable(ms: i64) -> Span {
        Span { ms, exact: false }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 5] =
            [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
        if self.exact {
            return write!(f, "{}ms", self.ms);
        }
        if self.ms == 0 {
            return f.write_str("0 s");
        }
        let mut left = self.ms.unsigned_abs();
        let mut gap = if self.ms < 0 { "-" } else { "" };
        for (length, unit) in UNITS {
            let count = left / length;
            left %= length;
            if count > 0 {
                write!(f, "{gap}{count} {unit}")?;
                gap = " ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_the_units_that_it_needs() {
        let texts = [0, 1, 1_500, 5_000, 60_000, 5_400_000, 86_400_000, 90_061_001, -10_000]
            .map(|ms| Span::readable(ms).to_string());
        let expected = [
            "0 s",
            "1 ms",
            "1 s 500 ms",
            "5 s",
            "1 min",
            "1 h 30 min",
            "1 d",
            "1 d 1 h 1 min 1 s 1 ms",
            "-10 s",
        ];
        assert_eq!(texts, expected);
        assert_eq!(Span { ms: 5_000, exact: true }.to_string(), "5000ms");
    }
}
