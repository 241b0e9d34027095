//! When to tell of what happens again and again: at once when it begins, and then how often it happened, once in a while.

/// So long, in milliseconds, between two events of one kind.
const EVERY_MS: i64 = 60_000;

/// What was told of something that epochs count.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// The processing time of the epoch that was told of last.
    told_ms: Option<i64>,
    /// How many came since that are not told of.
    untold: u64,
}

impl Telling {
    /// An epoch of this processing time counted so many. Gives how many to tell of, and since when they came if there was
    /// another event before.
    pub(super) fn note(&mut self, now_ms: i64, count: u64) -> Option<(u64, Option<i64>)> {
        self.untold += count;
        let is_due = self.told_ms.is_none_or(|told| now_ms.saturating_sub(told) >= EVERY_MS);
        if self.untold == 0 || !is_due {
            return None;
        }
        let since = self.told_ms.replace(now_ms);
        // After a time without, it begins anew.
        let since = since.filter(|_| self.untold > count);
        Some((std::mem::take(&mut self.untold), since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_told_at_once_and_the_others_with_their_count_once_in_a_while() {
        let mut telling = Telling::default();
        let mut told = Vec::new();
        for (now, count) in
            [(0, 0), (1_000, 3), (2_000, 5), (60_999, 1), (61_000, 0), (200_000, 0), (300_000, 2)]
        {
            told.extend(telling.note(now, count).map(|(count, since)| (now, count, since)));
        }
        assert_eq!(told, [(1_000, 3, None), (61_000, 6, Some(1_000)), (300_000, 2, None)]);
    }
}
