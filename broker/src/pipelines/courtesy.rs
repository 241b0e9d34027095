//! How pipelines that work off a backlog leave the device to those who produce.
//!
//! Whoever produces waits until the device has written what came before. A pipeline with a backlog brings a frame as soon as
//! the last one is written, for as long as that takes; so while others produce, all such pipelines together rest behind each
//! frame for a multiple of the time that it takes, and their epochs are small. Without others they use the whole device.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// Somebody produces who did so a time ago.
const PRODUCES_FOR: Duration = Duration::from_secs(1);

/// No frame counts for more: however slow the device is, pipelines get on.
const LONGEST: Duration = Duration::from_millis(100);

/// Bytes of output and changes of state that an epoch gives, about, while others produce: so few that its frame is not much to
/// whoever waits behind it, nor, where it gives about as much as it reads, what it computes without a pause.
pub(super) fn steady_bytes(input_partitions: usize) -> usize {
    STEADY_BYTES.max(input_partitions.saturating_mul(STEADY_BYTES_OF_PARTITION))
}

const STEADY_BYTES: usize = 32 << 10;
/// Each epoch says how far it is in each partition, which takes about a hundred bytes: that is not to be most of it.
const STEADY_BYTES_OF_PARTITION: usize = 1 << 10;

/// How often the bytes of a frame are written: to the journal and to the segments.
pub(super) const WRITES: u64 = 2;

/// The same where the state is on disk. Tables are written, and about three times written anew as they are merged: six in all.
/// Four times that, since meanwhile the store's thread computes beside the pipeline's, and who wakes up finds no processor idle.
pub(super) const WRITES_SPILT: u64 = 24;

/// The device's time, as all pipelines of a broker share it; cheap to clone. Times are those of a clock that only goes forward.
#[derive(Clone, Debug)]
pub(super) struct Courtesy(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Frames may take so many hundredths of the time.
    share: u32,
    produced: u64,
    /// When `produced` was looked at last, and when it had grown since the look before.
    looked: Option<Duration>,
    heard: Option<Duration>,
    /// Until then the device is left to others.
    until: Duration,
}

impl Courtesy {
    /// Frames may take so many hundredths of the time, from 1 to 100.
    pub(super) fn new(hundredths: u32) -> Courtesy {
        let share = hundredths.clamp(1, 100);
        let state = State { share, produced: 0, looked: None, heard: None, until: Duration::ZERO };
        Courtesy(Arc::new(Mutex::new(state)))
    }

    /// How long a pipeline with a backlog rests now, where `produced` counts what others produced so far. `None` when nobody
    /// does, or pipelines need not rest.
    pub(super) fn rest(&self, produced: u64, now: Duration) -> Option<Duration> {
        let mut state = self.0.lock();
        // What was produced since a look long ago may have been so as long ago.
        let is_news = state.looked.is_some_and(|looked| now.saturating_sub(looked) < PRODUCES_FOR);
        if produced != state.produced && is_news {
            state.heard = Some(now);
        }
        state.produced = produced;
        state.looked = Some(now);
        state.others_produce(now).then(|| state.until.saturating_sub(now))
    }

    /// A frame was brought that takes the device so long.
    pub(super) fn brought(&self, takes: Duration, now: Duration) {
        let mut state = self.0.lock();
        // Frames that are brought while nobody produces are not made up for.
        if state.others_produce(now) {
            let rest = takes.min(LONGEST) * 100 / state.share;
            state.until = state.until.max(now) + rest;
        }
    }
}

impl State {
    fn others_produce(&self, now: Duration) -> bool {
        self.share < 100 && self.heard.is_some_and(|heard| now.saturating_sub(heard) < PRODUCES_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn while_others_produce(hundredths: u32) -> Courtesy {
        let courtesy = Courtesy::new(hundredths);
        courtesy.rest(0, MS);
        courtesy.rest(1, 2 * MS);
        courtesy
    }

    #[test]
    fn a_frame_is_followed_by_a_rest_while_others_produce() {
        let courtesy = Courtesy::new(25);
        assert_eq!(courtesy.rest(0, MS), None, "nobody has produced");
        assert_eq!(courtesy.rest(1, 2 * MS), Some(Duration::ZERO));
        courtesy.brought(5 * MS, 10 * MS);
        assert_eq!(courtesy.rest(1, 12 * MS), Some(18 * MS), "its own time, and three times as long");
        // Of another pipeline: they share the time.
        courtesy.clone().brought(MS, 12 * MS);
        assert_eq!(courtesy.rest(2, 30 * MS), Some(4 * MS));
        assert_eq!(courtesy.rest(2, 40 * MS), Some(Duration::ZERO));
        // What was not used is not owed.
        courtesy.brought(MS, 500 * MS);
        assert_eq!(courtesy.rest(2, 500 * MS), Some(4 * MS));
        assert_eq!(courtesy.rest(2, 1_030 * MS), None, "nothing was produced for a second");
        assert_eq!(courtesy.rest(3, 1_031 * MS), Some(Duration::ZERO));
    }

    #[test]
    fn however_many_pipelines_have_a_share_of_it_together() {
        let courtesy = while_others_produce(20);
        for _ in 0..8 {
            courtesy.brought(50 * MS, 2 * MS);
        }
        assert_eq!(courtesy.rest(2, 2 * MS), Some(2_000 * MS));
    }

    #[test]
    fn a_device_that_stood_still_does_not_stop_pipelines() {
        let courtesy = while_others_produce(10);
        courtesy.brought(Duration::MAX, 2 * MS);
        assert_eq!(courtesy.rest(2, 2 * MS), Some(1_000 * MS));
    }

    #[test]
    fn what_was_produced_long_ago_is_nobody_who_produces() {
        let courtesy = Courtesy::new(25);
        assert_eq!(courtesy.rest(1_000, MS), None, "before the first look");
        assert_eq!(courtesy.rest(1_000, 2 * MS), None);
        assert_eq!(courtesy.rest(2_000, 5_000 * MS), None, "at some time since the last look");
        assert_eq!(courtesy.rest(2_001, 5_001 * MS), Some(Duration::ZERO));
    }

    #[test]
    fn what_was_brought_while_nobody_produced_is_not_made_up_for() {
        let courtesy = Courtesy::new(25);
        courtesy.rest(0, MS);
        courtesy.brought(90 * MS, MS);
        assert_eq!(courtesy.rest(1, 2 * MS), Some(Duration::ZERO));
    }

    #[test]
    fn who_may_have_the_whole_device_never_rests() {
        let courtesy = while_others_produce(100);
        courtesy.brought(90 * MS, 2 * MS);
        assert_eq!(courtesy.rest(2, 3 * MS), None);
    }
}
