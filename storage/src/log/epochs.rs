//! Where each leader epoch begins: the answer to a client that asks how far its history is ours (KIP-320).

use std::fmt::Write as _;

/// The leader epochs of a log, in order, each with its first offset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaderEpochs {
    /// (epoch, first offset); both grow.
    entries: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    /// A batch of this epoch lies at this offset. True when that begins a new epoch.
    ///
    /// Batches without an epoch (-1) and of an epoch already passed change nothing.
    pub fn observe(&mut self, epoch: i32, base_offset: i64) -> bool {
        let newer = match self.entries.last() {
            Some(&(last, _)) => epoch > last,
            None => epoch >= 0,
        };
        if newer {
            // An epoch that began here and got no batch leaves no trace.
            while self.entries.last().is_some_and(|&(_, start)| start >= base_offset) {
                self.entries.pop();
            }
            self.entries.push((epoch, base_offset));
        }
        newer
    }

    /// The newest epoch.
    pub fn last_epoch(&self) -> Option<i32> {
        self.entries.last().map(|&(epoch, _)| epoch)
    }

    /// The epoch in which the batch at `offset` was appended.
    pub fn epoch_at(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|&(_, start)| start <= offset);
        after.checked_sub(1).map(|i| self.entries[i].0)
    }

    /// The largest epoch that is not above `epoch`, and the offset at which it ended: where the next one begins, or
    /// `log_end` for the newest. `None` when the log has no epoch so old, or none at all, or `epoch` is from the future.
    pub fn end_offset_for(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if epoch < 0 || self.last_epoch()? < epoch {
            return None;
        }
        let after = self.entries.partition_point(|&(e, _)| e <= epoch);
        let found = after.checked_sub(1);
        let end = self.entries.get(after).map_or(log_end, |&(_, start)| start);
        match found {
            Some(i) => Some((self.entries[i].0, end)),
            // The epoch asked for is older than the log: it ended, for this log, before the first entry.
            None => Some((epoch, end)),
        }
    }

    /// Forgets epochs that begin at or behind the new end of the log. True when there were some.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let kept = self.entries.partition_point(|&(_, start)| start < end_offset);
        let changed = kept < self.entries.len();
        self.entries.truncate(kept);
        changed
    }

    /// Forgets epochs that ended before the new start of the log; the one in force there begins there. True when
    /// something changed.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let after = self.entries.partition_point(|&(_, start)| start <= start_offset);
        let Some(current) = after.checked_sub(1) else { return false };
        let changed = current > 0 || self.entries[current].1 < start_offset;
        self.entries.drain(..current);
        self.entries[0].1 = start_offset;
        changed
    }

    /// (epoch, first offset), in order.
    pub fn entries(&self) -> &[(i32, i64)] {
        &self.entries
    }

    /// The text of `leader-epoch-checkpoint`: version 0, number of entries, `epoch offset` per line.
    pub fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, start) in &self.entries {
            let _ = writeln!(text, "{epoch} {start}");
        }
        text
    }

    /// Reads the text. The error says what is wrong with it.
    pub fn decode(text: &str) -> Result<LeaderEpochs, &'static str> {
        let mut lines = text.lines();
        if lines.next().map(str::trim) != Some("0") {
            return Err("version is not 0");
        }
        let count: usize =
            lines.next().and_then(|line| line.trim().parse().ok()).ok_or("number of entries is missing")?;
        let mut entries: Vec<(i32, i64)> = Vec::new();
        for line in lines {
            let (epoch, start) = line.trim().split_once(' ').ok_or("entry is not `epoch offset`")?;
            let entry = (
                epoch.parse().map_err(|_| "epoch is not a number")?,
                start.parse().map_err(|_| "offset is not a number")?,
            );
            if entry.0 < 0
                || entry.1 < 0
                || entries.last().is_some_and(|last| last.0 >= entry.0 || last.1 >= entry.1)
            {
                return Err("epochs and offsets do not grow");
            }
            entries.push(entry);
        }
        if entries.len() != count {
            return Err("number of entries is wrong");
        }
        Ok(LeaderEpochs { entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> LeaderEpochs {
        LeaderEpochs { entries: entries.to_vec() }
    }

    #[test]
    fn observing_batches() {
        let mut all = LeaderEpochs::default();
        assert!(!all.observe(-1, 0), "a batch without an epoch");
        assert!(all.observe(0, 0) && !all.observe(0, 5) && all.observe(3, 10) && !all.observe(2, 12));
        assert_eq!(all.entries(), [(0, 0), (3, 10)]);
        assert!(all.observe(4, 10), "epoch 3 never had a batch");
        assert_eq!(all.entries(), [(0, 0), (4, 10)]);
        assert_eq!([all.epoch_at(9), all.epoch_at(10), all.epoch_at(-1)], [Some(0), Some(4), None]);
    }

    #[test]
    fn end_offset_of_an_epoch() {
        let all = epochs(&[(1, 10), (4, 40), (6, 60)]);
        assert_eq!(all.end_offset_for(6, 99), Some((6, 99)));
        assert_eq!(all.end_offset_for(5, 99), Some((4, 60)), "the largest epoch below");
        assert_eq!(all.end_offset_for(1, 99), Some((1, 40)));
        assert_eq!(all.end_offset_for(0, 99), Some((0, 10)), "older than the log");
        assert_eq!(all.end_offset_for(7, 99), None, "from the future");
        assert_eq!(all.end_offset_for(-1, 99), None);
        assert_eq!(LeaderEpochs::default().end_offset_for(0, 99), None);
    }

    #[test]
    fn truncating_both_ends() {
        let mut all = epochs(&[(1, 10), (4, 40), (6, 60)]);
        assert!(!all.truncate_from_end(61));
        assert!(all.truncate_from_end(60));
        assert_eq!(all.entries(), [(1, 10), (4, 40)]);
        assert!(!all.truncate_from_start(5) && !all.truncate_from_start(10));
        assert!(all.truncate_from_start(45));
        assert_eq!(all.entries(), [(4, 45)]);
    }

    #[test]
    fn text_as_kafka_writes_it() {
        let all = epochs(&[(0, 0), (3, 1200)]);
        assert_eq!(all.encode(), "0\n2\n0 0\n3 1200\n");
        assert_eq!(LeaderEpochs::decode(&all.encode()), Ok(all));
        assert_eq!(LeaderEpochs::decode("0\n0\n"), Ok(LeaderEpochs::default()));
        for bad in ["", "1\n0\n", "0\n1\n", "0\n1\n0\n", "0\n2\n1 5\n1 6\n", "0\n1\nx 5\n", "0\n1\n1 -5\n"] {
            assert!(LeaderEpochs::decode(bad).is_err(), "{bad:?}");
        }
    }
}
