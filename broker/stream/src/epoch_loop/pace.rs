//! How large epochs are, between the limits and one record.

use super::EpochLimits;

/// So many epochs in a row must be far below their limits before they may be twice as large again.
const CALM_EPOCHS: u32 = 8;

/// How much smaller than their limits epochs are, because one was too large.
///
/// An epoch that gives more than [`EpochLimits::output_bytes`] lets the epochs behind it take only so much that they
/// would stay below: records, and bytes of them, if records gave most of it, else rows of closed windows. An epoch
/// whose input unpacks to more than [`EpochLimits::unpacked_bytes`] stops before, and those behind it take no more
/// records than had room. Eight full epochs in a row that are below a quarter of both bounds double what is taken.
///
/// It is no part of the state: whatever it decides is in the cuts, which are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    bytes: Option<usize>,
    records: Option<u64>,
    rows: Option<u32>,
    calm: u32,
}

/// What an epoch was.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    /// The size of the batches it covers.
    pub(super) bytes: usize,
    /// Its records, counted once for each source that reads them.
    pub(super) records: u64,
    /// What these unpack to.
    pub(super) unpacked: usize,
    /// Rows that time made due.
    pub(super) rows: u64,
    /// Its outputs and changes of state, in bytes.
    pub(super) output: usize,
    /// There was more to do than it did.
    pub(super) full: bool,
}

impl Pace {
    /// Whether epochs are as large as their limits allow.
    pub fn is_full(self) -> bool {
        Pace { calm: 0, ..self } == Pace::default()
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

    /// The epochs that come are a part of this one, one `parts`-th. False when it was one record, or one row, already.
    pub(super) fn shrink(&mut self, load: &Load, parts: u64) -> bool {
        self.calm = 0;
        // Of rows and records those are fewer that there are more of.
        if load.rows > load.records && load.rows > 1 {
            self.rows = Some(u32::try_from(load.rows / parts).unwrap_or(u32::MAX).max(1));
            return true;
        }
        self.bytes = Some((load.bytes / usize::try_from(parts).unwrap_or(usize::MAX)).max(1));
        self.records = Some((load.records / parts).max(1));
        load.records > 1
    }

    /// The epochs that come take no more records than this one.
    pub(super) fn hold(&mut self, load: &Load) {
        self.shrink(&Load { rows: 0, ..*load }, 1);
    }

    /// Takes note of an epoch.
    pub(super) fn note(&mut self, limits: &EpochLimits, load: &Load) {
        if load.output > limits.output_bytes {
            self.shrink(load, load.output.div_ceil(limits.output_bytes.max(1)) as u64);
        } else if load.output > limits.output_bytes / 4 || load.unpacked > limits.unpacked_bytes / 4 {
            self.calm = 0;
        } else if load.full && !self.is_full() {
            self.calm += 1;
            if self.calm == CALM_EPOCHS {
                *self = self.doubled(limits);
            }
        }
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
        emit_rows: 50,
    };

    fn load(records: u64, rows: u64, output: usize) -> Load {
        Load { bytes: 900, records, unpacked: 0, rows, output, full: true }
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
        assert!(pace.shrink(&load(0, 20, 0), 2));
        assert_eq!(limits_of(pace), (1_000, 64, 10));
        pace.hold(&load(7, 20, 0));
        assert_eq!(limits_of(pace), (900, 7, 10));
    }

    #[test]
    fn there_is_nothing_smaller_than_a_record_and_a_row() {
        let mut pace = Pace::default();
        assert!(pace.shrink(&load(2, 0, 0), 2));
        assert!(!pace.shrink(&load(1, 1, 0), 2));
        assert!(!pace.shrink(&load(0, 0, 0), 2));
        pace.note(&EpochLimits { output_bytes: 0, ..LIMITS }, &load(1, 9, usize::MAX));
        assert_eq!(limits_of(pace).1, 1);
        assert_eq!(limits_of(pace).2, 1);
    }
}
