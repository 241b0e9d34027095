//! How large epochs are, between the limits and one record.

use super::EpochLimits;

/// So many epochs in a row must be far below their limits before they may be twice as large again.
const CALM_EPOCHS: u32 = 8;

/// How much smaller than their limits epochs are, because one was too large.
///
/// An epoch that gives too much lets the epochs behind it take only so much that they would stay below: records, and
/// bytes of them, if records gave most of it, else rows of closed windows. Too much is more than
/// [`EpochLimits::output_bytes`], and for records more than [`EpochLimits::steady_bytes`]. An epoch
/// whose input unpacks to more than [`EpochLimits::unpacked_bytes`] stops before, and those behind it take no more
/// records than had room. Where half of the records gave more than half as much, the larger bound holds. Eight full
/// epochs in a row that are below a quarter of both bounds double what is taken.
///
/// It is no part of the state: whatever it decides is in the cuts, which are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    bytes: Option<usize>,
    records: Option<u64>,
    rows: Option<u32>,
    calm: u32,
    /// Behind which epoch records were last made fewer: how many it had, and what it gave.
    cut: Option<(u64, usize)>,
    /// What is given does not follow from the records: fewer of them gave about as much.
    uneven: bool,
}

/// What an epoch was.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    /// The size of the batches it covers.
    pub(super) bytes: usize,
    /// Its records, each counted once however many sources read it, as the limit does.
    pub(super) records: u64,
    /// What these unpack to.
    pub(super) unpacked: usize,
    /// Rows that time made due.
    pub(super) rows: u64,
    /// It was rather these rows that gave what it gave than the records.
    pub(super) by_time: bool,
    /// Its outputs and changes of state, in bytes.
    pub(super) output: usize,
    /// There was more to do than it did.
    pub(super) full: bool,
}

impl Pace {
    /// Whether epochs are as large as their limits allow.
    pub fn is_full(self) -> bool {
        Pace { calm: 0, cut: None, uneven: false, ..self } == Pace::default()
    }

    /// Whether there is a bound of records below the limit, which holds within a batch, too.
    pub(super) fn bounds_records(self) -> bool {
        self.records.is_some()
    }

    /// The limits of the next epoch.
    pub(super) fn of(self, limits: &EpochLimits) -> EpochLimits {
        EpochLimits {
            input_bytes: limits.input_bytes.min(self.bytes.unwrap_or(usize::MAX)),
            input_records: limits.input_records.min(self.records.unwrap_or(u64::MAX)),
            emit_rows: limits.emit_rows.min(self.rows.unwrap_or(u32::MAX)),
            ..*limits
        }
    }

    /// The epochs that come take half of what this one took. False when that makes none of them smaller.
    pub(super) fn shrink(&mut self, limits: &EpochLimits, load: &Load) -> bool {
        self.calm = 0;
        // All rows of a key come at once, however few may come. What the records gave beside them can still be less.
        load.by_time && self.take_fewer_rows(limits, load, 2) || self.take_fewer_records(limits, load, 2)
    }

    /// The epochs that come take no more records than this one.
    pub(super) fn hold(&mut self, limits: &EpochLimits, load: &Load) {
        self.calm = 0;
        self.take_fewer_records(limits, load, 1);
    }

    /// Epochs take one `parts`-th of the records that this one took, or was allowed; false when it was one already.
    fn take_fewer_records(&mut self, limits: &EpochLimits, load: &Load, parts: u64) -> bool {
        if load.records == 0 {
            return false;
        }
        // Without a bound of its own it had its first batches whole.
        let most = self.records.map_or(u64::MAX, |records| records.min(limits.input_records));
        let records = (load.records.min(most) / parts).max(1);
        // What is covered are whole batches: halving it again and again would say nothing.
        let bytes = (load.bytes / usize::try_from(parts).unwrap_or(usize::MAX)).max(1);
        self.records = Some(records);
        self.bytes = Some(self.bytes.unwrap_or(usize::MAX).min(bytes));
        load.records > 1 && records < most
    }

    /// Epochs take one `parts`-th of the rows that this one took, or was allowed; false when it may be no less.
    fn take_fewer_rows(&mut self, limits: &EpochLimits, load: &Load, parts: u64) -> bool {
        let most = self.rows.unwrap_or(u32::MAX).min(limits.emit_rows);
        let rows = (load.rows.min(u64::from(most)) / parts).max(1);
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        if load.rows <= 1 || rows >= most {
            return false;
        }
        self.rows = Some(rows);
        true
    }

    /// Takes note of an epoch.
    pub(super) fn note(&mut self, limits: &EpochLimits, load: &Load) {
        let steady = limits.output_bytes.min(limits.steady_bytes);
        if load.output <= steady / 4 {
            self.uneven = false;
        }
        let most = if load.by_time || self.uneven { limits.output_bytes } else { steady };
        if load.output <= most {
            // It helped: what comes to be too much later is so for another reason.
            self.cut = None;
        }
        if load.output > most {
            self.calm = 0;
            if !load.by_time && load.output <= limits.output_bytes && self.has_cut_in_vain(load) {
                *self = Pace { rows: self.rows, uneven: true, ..Pace::default() };
                return;
            }
            let parts = load.output.div_ceil(most.max(1)) as u64;
            match load.by_time {
                true => self.take_fewer_rows(limits, load, parts),
                false => {
                    self.cut = Some((load.records, load.output));
                    self.take_fewer_records(limits, load, parts)
                }
            };
        } else if load.output > most / 4 || load.unpacked > limits.unpacked_bytes / 4 {
            self.calm = 0;
        } else if load.full && !self.is_full() {
            self.calm += 1;
            if self.calm == CALM_EPOCHS {
                *self = self.doubled(limits);
            }
        }
    }

    /// Half of the records or fewer gave more than half as much: a whole table again, or the same keys as many times more.
    fn has_cut_in_vain(&self, load: &Load) -> bool {
        self.cut.is_some_and(|(records, output)| load.records <= records / 2 && load.output > output / 2)
    }

    fn doubled(self, limits: &EpochLimits) -> Pace {
        Pace {
            bytes: self.bytes.map(|most| most.saturating_mul(2)).filter(|most| *most < limits.input_bytes),
            records: self
                .records
                .map(|most| most.saturating_mul(2))
                .filter(|most| *most < limits.input_records),
            rows: self.rows.map(|most| most.saturating_mul(2)).filter(|most| *most < limits.emit_rows),
            calm: 0,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: EpochLimits = EpochLimits {
        input_bytes: 1_000,
        input_records: 64,
        unpacked_bytes: 8_000,
        output_bytes: 1_000,
        steady_bytes: usize::MAX,
        emit_rows: 50,
    };

    fn load(records: u64, rows: u64, output: usize) -> Load {
        Load { bytes: 900, records, unpacked: 0, rows, by_time: rows > records, output, full: true }
    }

    fn limits_of(pace: Pace) -> (usize, u64, u32) {
        let limits = pace.of(&LIMITS);
        (limits.input_bytes, limits.input_records, limits.emit_rows)
    }

    #[test]
    fn an_epoch_that_was_too_large_makes_those_behind_it_smaller_until_they_are_calm() {
        let mut pace = Pace::default();
        pace.note(&LIMITS, &load(40, 0, 1_000));
        assert!(pace.is_full(), "as large as allowed");
        pace.note(&LIMITS, &load(40, 10, 3_900));
        assert_eq!(limits_of(pace), (225, 10, 50), "four times too large by its records");
        let calm = load(10, 0, 250);
        (1..CALM_EPOCHS).for_each(|_| pace.note(&LIMITS, &calm));
        pace.note(&LIMITS, &Load { full: false, ..calm });
        assert_eq!(limits_of(pace), (225, 10, 50), "an epoch that could not be larger says nothing");
        pace.note(&LIMITS, &calm);
        assert_eq!(limits_of(pace), (450, 20, 50));
        (1..CALM_EPOCHS).for_each(|_| pace.note(&LIMITS, &calm));
        pace.note(&LIMITS, &Load { unpacked: 2_001, ..calm });
        pace.note(&LIMITS, &calm);
        assert_eq!(limits_of(pace), (450, 20, 50), "calm epochs come in a row");
        (0..2 * CALM_EPOCHS).for_each(|_| pace.note(&LIMITS, &calm));
        assert!(pace.is_full());
    }

    #[test]
    fn what_gave_most_of_it_is_made_smaller() {
        let mut pace = Pace::default();
        pace.note(&LIMITS, &load(1, 40, 1_001));
        assert_eq!(limits_of(pace), (1_000, 64, 20), "one record closed the windows");
        assert!(pace.shrink(&LIMITS, &load(0, 20, 0)));
        assert_eq!(limits_of(pace), (1_000, 64, 10));
        pace.hold(&LIMITS, &load(7, 20, 0));
        assert_eq!(limits_of(pace), (900, 7, 10));
    }

    #[test]
    fn epochs_of_records_are_steady_while_windows_that_close_may_give_more() {
        let limits = EpochLimits { steady_bytes: 250, ..LIMITS };
        let mut pace = Pace::default();
        pace.note(&limits, &load(10, 40, 1_000));
        assert!(pace.is_full(), "windows closed");
        pace.note(&limits, &load(40, 10, 1_000));
        assert_eq!(limits_of(pace), (225, 10, 50));
        // It stays there, as it gives more than a quarter of what is steady.
        (0..2 * CALM_EPOCHS).for_each(|_| pace.note(&limits, &load(10, 0, 200)));
        assert_eq!(limits_of(pace), (225, 10, 50));
    }

    #[test]
    fn records_are_not_made_fewer_where_that_makes_nothing_smaller() {
        let limits = EpochLimits { steady_bytes: 100, ..LIMITS };
        let mut pace = Pace::default();
        // A table that is written whole for each epoch.
        pace.note(&limits, &load(40, 0, 800));
        assert_eq!(limits_of(pace).1, 5);
        pace.note(&limits, &load(5, 0, 790));
        assert_eq!(limits_of(pace), (1_000, 64, 50), "as large as before");
        pace.note(&limits, &load(64, 0, 800));
        assert!(pace.is_full());
        pace.note(&limits, &load(64, 0, 2_000));
        assert_eq!(limits_of(pace).1, 32, "what is too large for a frame is parted all the same");
        // Records that come to give more were not made fewer in vain.
        let mut pace = Pace::default();
        pace.note(&limits, &load(40, 0, 800));
        pace.note(&limits, &load(5, 0, 100));
        pace.note(&limits, &load(5, 0, 500));
        assert_eq!(limits_of(pace).1, 1);
        // Once it gives little, it is as any other.
        let mut pace = Pace { uneven: true, ..Pace::default() };
        pace.note(&limits, &load(64, 0, 20));
        pace.note(&limits, &load(64, 0, 200));
        assert_eq!(limits_of(pace).1, 32);
    }

    #[test]
    fn there_is_nothing_smaller_than_a_record_and_a_row() {
        let mut pace = Pace::default();
        assert!(pace.shrink(&LIMITS, &load(2, 0, 0)));
        assert!(!pace.shrink(&LIMITS, &load(1, 1, 0)));
        assert!(!pace.shrink(&LIMITS, &load(0, 0, 0)));
        pace.note(&EpochLimits { output_bytes: 0, ..LIMITS }, &load(1, 9, usize::MAX));
        assert_eq!(limits_of(pace).1, 1);
        assert_eq!(limits_of(pace).2, 1);
    }

    #[test]
    fn rows_that_come_together_are_no_fewer_for_ever() {
        // One key has 40 rows, and always gives all of them.
        let mut pace = Pace::default();
        let mut rows = Vec::new();
        while pace.shrink(&LIMITS, &load(0, 40, 0)) {
            rows.push(limits_of(pace).2);
        }
        assert_eq!(rows, [20, 10, 5, 2, 1]);
        // Then what the records gave beside them is less, down to one.
        let (mut records, mut left) = (Vec::new(), 12);
        while pace.shrink(&LIMITS, &load(left, 40, 0)) {
            left = limits_of(pace).1;
            records.push(left);
        }
        assert_eq!((records, limits_of(pace).2), (vec![6, 3, 1], 1));
        // An epoch that was committed makes the records no fewer: they were not it.
        let mut pace = Pace { rows: Some(1), ..Pace::default() };
        pace.note(&LIMITS, &load(12, 40, 5_000));
        assert_eq!(limits_of(pace), (1_000, 64, 1));
    }

    #[test]
    fn a_batch_beyond_the_limit_is_parted_at_last() {
        // Without a bound of its own an epoch has its first batch whole, however small the limit.
        let limits = EpochLimits { input_records: 1, ..LIMITS };
        let mut pace = Pace::default();
        assert!(pace.shrink(&limits, &load(100, 0, 0)) && pace.bounds_records());
        assert!(!pace.shrink(&limits, &load(1, 0, 0)));
    }
}
