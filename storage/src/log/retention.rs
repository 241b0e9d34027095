//! Which segments are too old, or too many.
//!
//! ```text
//! oldest segment ───────────────────────────────────────────► active segment
//! │ expired, or more than `retention.bytes` follow │ kept, whatever lies behind it
//!                                                  └── the new start
//! ```
//!
//! Kafka's rules: whole segments, oldest first, up to the first that is kept. A segment is expired when its largest
//! timestamp is, or, where no batch has one, when its file was last written to so long ago. The active segment goes too when
//! everything in it is expired.

use std::sync::Arc;

use super::error::ReadError;
use super::partition_log::PartitionLog;
use super::segment::Segment;

/// How long and how much a log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Milliseconds after its largest timestamp for which a segment is kept (`retention.ms`); none: for ever.
    pub ms: Option<i64>,
    /// Bytes of batches that are kept at least (`retention.bytes`); none: any number.
    pub bytes: Option<u64>,
}

/// What retention says about a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// First offset that is kept.
    pub start: i64,
    /// Nothing of the active segment is kept: it has to be closed before it can go.
    pub closes_active: bool,
}

/// One segment, as retention sees it. The timestamp is asked for only when it matters: it may have to be read.
struct Facts<T> {
    end_offset: i64,
    size_bytes: u64,
    youngest: T,
}

impl Retention {
    /// Nothing is ever removed.
    pub fn is_unlimited(&self) -> bool {
        self.ms.is_none() && self.bytes.is_none()
    }

    /// The first offset that is kept, and whether that is the end of the last segment. `start` is the log's start now;
    /// nothing at or behind `upper` goes. Without a `now`, time does not count.
    fn apply<T: FnOnce() -> Result<i64, ReadError>>(
        &self,
        segments: Vec<Facts<T>>,
        start: i64,
        upper: i64,
        now: Option<i64>,
    ) -> Result<Retained, ReadError> {
        let mut left: u64 = segments.iter().map(|segment| segment.size_bytes).sum();
        let mut retained = Retained { start, closes_active: false };
        let mut segments = segments.into_iter().peekable();
        while let Some(segment) = segments.next() {
            let is_active = segments.peek().is_none();
            if segment.end_offset > upper || (segment.size_bytes == 0 && is_active) {
                break;
            }
            if segment.size_bytes == 0 {
                // Nothing is left in it.
                retained.start = segment.end_offset;
                continue;
            }
            let too_much = self.bytes.is_some_and(|kept| left - segment.size_bytes >= kept);
            let expired = || -> Result<bool, ReadError> {
                let (Some(ms), Some(now)) = (self.ms, now) else { return Ok(false) };
                Ok(now.saturating_sub((segment.youngest)()?) > ms)
            };
            if !too_much && !expired()? {
                break;
            }
            left -= segment.size_bytes;
            retained = Retained { start: segment.end_offset, closes_active: is_active };
        }
        Ok(retained)
    }
}

impl PartitionLog {
    /// What of the log is kept, of what lies before `upper`. Changes nothing. Without a `now` (ms), time does not count.
    pub fn retained(
        &self,
        retention: &Retention,
        upper: i64,
        now: Option<i64>,
    ) -> Result<Retained, ReadError> {
        let start = self.log_start_offset();
        let (_swapping, view) = self.reading();
        let segments = view.holding(start);
        let facts = segments.iter().enumerate().map(|(at, segment)| Facts {
            end_offset: segment.end_offset(),
            size_bytes: segment.size(),
            youngest: move || youngest(&segments[at..]),
        });
        retention.apply(facts.collect(), start, upper, now)
    }

    /// Whether the active segment is as old as one may become, when none of its batches has a timestamp to measure that by:
    /// its time began when it was first looked at, as in Kafka it does when a segment is made or opened.
    pub fn is_aged(&self, now: i64) -> bool {
        let mut writer = self.lock_writer();
        let active = self.active();
        if active.size() == 0 || writer.first_timestamp.is_some() {
            return false;
        }
        let since = *writer.untimed_since.get_or_insert(now);
        now.saturating_sub(since) > writer.longest_ms(active.base_offset())
    }
}

/// How young the first of these segments is. One whose file was lost is as old as the next one, or its partition would keep
/// everything for ever.
fn youngest(segments: &[Arc<Segment>]) -> Result<i64, ReadError> {
    let mut answer = Ok(i64::MAX);
    for segment in segments {
        answer = segment.youngest();
        if !matches!(answer, Err(ReadError::Corrupt(_))) {
            break;
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments of (end offset, bytes, how young).
    fn apply(
        retention: Retention,
        segments: &[(i64, u64, i64)],
        upper: i64,
        now: Option<i64>,
    ) -> (i64, bool) {
        let facts = segments.iter().map(|&(end_offset, size_bytes, youngest)| Facts {
            end_offset,
            size_bytes,
            youngest: move || Ok(youngest),
        });
        let Retained { start, closes_active } = retention.apply(facts.collect(), 0, upper, now).unwrap();
        (start, closes_active)
    }

    const SEGMENTS: [(i64, u64, i64); 4] =
        [(10, 100, 1000), (20, 100, 5000), (30, 100, 2000), (40, 50, 6000)];

    #[test]
    fn by_time_up_to_the_first_that_is_young() {
        let week = Retention { ms: Some(1000), bytes: None };
        assert_eq!(apply(week, &SEGMENTS, 40, Some(2000)), (0, false), "not older than");
        assert_eq!(apply(week, &SEGMENTS, 40, Some(2001)), (10, false));
        assert_eq!(apply(week, &SEGMENTS, 40, Some(5500)), (10, false), "the third waits for the second");
        assert_eq!(apply(week, &SEGMENTS, 40, Some(6500)), (30, false));
        assert_eq!(apply(week, &SEGMENTS, 40, Some(7001)), (40, true), "the active one too");
        assert_eq!(apply(week, &SEGMENTS, 29, Some(9999)), (20, false), "not beyond the last stable offset");
        assert_eq!(
            apply(week, &SEGMENTS, 40, None),
            (0, false),
            "a clock that is not trusted removes nothing"
        );
        assert_eq!(apply(Retention::default(), &SEGMENTS, 40, Some(i64::MAX)), (0, false));
        assert_eq!(apply(week, &[(10, 100, i64::MAX), (20, 100, 0)], 20, Some(9999)), (0, false));
        assert_eq!(apply(week, &[(10, 100, 0), (10, 0, 0)], 10, Some(9999)), (10, false));
    }

    #[test]
    fn by_size_as_long_as_enough_is_left() {
        let keep = |bytes| Retention { ms: None, bytes: Some(bytes) };
        assert_eq!(apply(keep(350), &SEGMENTS, 40, None), (0, false));
        assert_eq!(apply(keep(251), &SEGMENTS, 40, None), (0, false));
        assert_eq!(apply(keep(250), &SEGMENTS, 40, None), (10, false));
        assert_eq!(apply(keep(1), &SEGMENTS, 40, None), (30, false));
        assert_eq!(apply(keep(0), &SEGMENTS, 40, None), (40, true));
        let both = Retention { ms: Some(1000), bytes: Some(250) };
        assert_eq!(
            apply(both, &SEGMENTS, 40, Some(6001)),
            (30, false),
            "size takes the first, time the others"
        );
    }
}
