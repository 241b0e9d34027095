//! Event time: a watermark for each input partition, and the pipeline's, which follows the slowest.

use super::graph::Reached;

/// A partition's watermark before its first record.
const NONE: i64 = i64::MIN;
/// The watermark when event time has ended.
pub(super) const END_OF_TIME: i64 = i64::MAX;

/// The watermarks. None of them ever goes back.
#[derive(Debug, Clone)]
pub(super) struct EventClock {
    delay_ms: i64,
    partitions: Vec<i64>,
    /// Partitions whose declared end is reached: they hold nothing back.
    ended: Vec<bool>,
    /// Partitions that have shown nothing for long: they hold nothing back until they do.
    idle: Vec<bool>,
    /// Where another run has come to over the same records, behind which this one follows, and whether it is idle there.
    bound: Option<Reached>,
    pipeline: i64,
}

impl EventClock {
    pub(super) fn new(delay_ms: i64, partitions: usize) -> Self {
        Self {
            delay_ms,
            partitions: vec![NONE; partitions],
            ended: vec![false; partitions],
            idle: vec![false; partitions],
            bound: None,
            pipeline: NONE,
        }
    }

    /// Takes up where an earlier run was.
    pub(super) fn restore(&mut self, pipeline: Option<i64>) {
        self.pipeline = pipeline.unwrap_or(NONE);
    }

    /// Takes up where an earlier run of one partition was.
    pub(super) fn restore_partition(&mut self, partition: usize, watermark: Option<i64>) {
        self.partitions[partition] = watermark.unwrap_or(NONE);
    }

    /// Takes up which partitions were idle.
    pub(super) fn restore_idle(&mut self, idle: impl Iterator<Item = bool>) {
        self.idle.iter_mut().zip(idle).for_each(|(known, idle)| *known = idle);
    }

    /// Follows another run over the same records: no further than to here, and as far as here once no partition holds it
    /// back; then it is idle if that one is. Without a bound it is on its own again.
    pub(super) fn follow(&mut self, bound: Option<Reached>) {
        self.bound = bound;
    }

    fn bound(&self) -> i64 {
        self.bound.map_or(END_OF_TIME, |bound| bound.watermark)
    }

    /// Whether all partitions are idle that have not ended: whoever waits for several clocks does not wait for this one.
    pub(super) fn is_idle(&self) -> bool {
        let mut open = self.ended.iter().zip(&self.idle).filter(|(ended, _)| !**ended).peekable();
        open.peek().is_some() && open.all(|(_, idle)| *idle) && self.bound.is_none_or(|bound| bound.idle)
    }

    /// Whether it follows another run.
    pub(super) fn follows(&self) -> bool {
        self.bound.is_some()
    }

    /// Where time stands before some records of a partition.
    pub(super) fn standing(&self, partition: usize) -> Standing {
        Standing {
            delay_ms: self.delay_ms,
            partition: self.partitions[partition],
            others: self.others(partition),
            pipeline: self.pipeline,
        }
    }

    /// The least watermark of all partitions but one.
    fn others(&self, partition: usize) -> i64 {
        self.least(partition).unwrap_or(END_OF_TIME).min(self.bound())
    }

    /// The least watermark of the partitions but one that hold time back; `None` if there are none.
    fn least(&self, but: usize) -> Option<i64> {
        let holds = |index: &usize| *index != but && !self.ended[*index] && !self.idle[*index];
        (0..self.partitions.len()).filter(holds).map(|index| self.partitions[index]).min()
    }

    /// Lets time go on as far as no partition holds it back. Where all are idle it is that of the newest, or of the run that
    /// it follows: that one may have been further ahead than any partition is now.
    fn go_on(&mut self) {
        let idle = (0..self.partitions.len()).filter(|index| self.idle[*index] && !self.ended[*index]);
        let newest =
            self.bound.map(|bound| bound.watermark).or(idle.map(|index| self.partitions[index]).max());
        let reached = self.least(usize::MAX).or(newest).unwrap_or(END_OF_TIME);
        self.pipeline = self.pipeline.max(reached.min(self.bound()));
    }

    /// Says of each partition whether it is idle in an epoch.
    pub(super) fn set_idle(&mut self, idle: impl Iterator<Item = bool>) {
        self.idle.iter_mut().zip(idle).for_each(|(known, idle)| *known = idle);
        if self.idle.contains(&true) {
            self.go_on();
        }
    }

    /// Records are seen of which the newest has this event time. Returns the pipeline's watermark.
    pub(super) fn advance(&mut self, partition: usize, newest: i64) -> i64 {
        let standing = self.standing(partition);
        self.partitions[partition] = standing.of_partition(newest);
        self.pipeline = standing.watermark(newest);
        self.pipeline
    }

    /// A partition's declared end is reached.
    pub(super) fn end(&mut self, partition: usize) {
        self.ended[partition] = true;
        // With nothing left to wait for, time ends.
        self.go_on();
    }

    /// The pipeline's watermark.
    pub(super) fn watermark(&self) -> Option<i64> {
        (self.pipeline != NONE).then_some(self.pipeline)
    }

    /// A partition's watermark.
    pub(super) fn partition_watermark(&self, partition: usize) -> Option<i64> {
        (self.partitions[partition] != NONE).then_some(self.partitions[partition])
    }
}

/// Where time stands before some records of one partition: while these come no other one moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    delay_ms: i64,
    partition: i64,
    others: i64,
    pipeline: i64,
}

impl Standing {
    /// The partition's watermark when the newest of its records has this event time.
    fn of_partition(self, newest: i64) -> i64 {
        self.partition.max(newest.saturating_sub(self.delay_ms))
    }

    /// The pipeline's watermark then.
    pub(super) fn watermark(self, newest: i64) -> i64 {
        self.pipeline.max(self.others.min(self.of_partition(newest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_partition_holds_the_pipeline_back() {
        let mut clock = EventClock::new(10, 3);
        assert_eq!(clock.watermark(), None);
        clock.advance(0, 100);
        clock.advance(1, 50);
        assert_eq!(clock.watermark(), None, "partition 2 has shown nothing");
        clock.advance(2, 70);
        assert_eq!(clock.watermark(), Some(40));
        clock.advance(1, 45);
        assert_eq!(clock.watermark(), Some(40), "an older record moves nothing");
        clock.end(1);
        assert_eq!(clock.watermark(), Some(60), "an ended partition holds nothing back");
        clock.end(0);
        clock.end(2);
        assert_eq!(clock.watermark(), Some(END_OF_TIME));
    }

    #[test]
    fn an_idle_partition_holds_nothing_back_until_it_wakes() {
        let mut clock = EventClock::new(0, 3);
        clock.advance(0, 100);
        clock.advance(1, 50);
        clock.set_idle([false, false, true].into_iter());
        assert_eq!(clock.watermark(), Some(50), "the third never had a record");
        clock.set_idle([false, true, true].into_iter());
        assert_eq!(clock.advance(0, 120), 120);
        clock.set_idle([true, true, true].into_iter());
        assert_eq!(clock.watermark(), Some(120), "nobody is ahead of the newest");
        assert!(clock.is_idle());
        clock.set_idle([true, false, true].into_iter());
        assert!(!clock.is_idle());
        assert_eq!(clock.advance(1, 60), 120, "time never goes back");
        clock.end(1);
        assert!(clock.is_idle(), "what has ended is not waited for either");
        (0..3).for_each(|partition| clock.end(partition));
        assert_eq!(clock.watermark(), Some(END_OF_TIME));
        assert!(!clock.is_idle(), "time has ended");
    }

    #[test]
    fn who_follows_another_run_comes_to_where_it_is_and_no_further() {
        let mut clock = EventClock::new(0, 3);
        clock.follow(Some(Reached { watermark: 70, idle: false }));
        clock.advance(0, 100);
        clock.advance(1, 50);
        assert_eq!(clock.watermark(), None, "the third may still have records that the other run has seen");
        clock.set_idle([false, false, true].into_iter());
        assert_eq!(clock.watermark(), Some(50));
        assert_eq!(clock.advance(1, 90), 70, "the other run was held back by the third");
        for idle in [false, true] {
            clock.follow(Some(Reached { watermark: 200, idle }));
            clock.set_idle([true, true, true].into_iter());
            assert_eq!(clock.watermark(), Some(200), "it was ahead once, of what woke late");
            assert_eq!(clock.is_idle(), idle, "that all is read says nothing of how long nothing came");
        }
        clock.follow(None);
        assert_eq!(clock.advance(0, 300), 300);
    }

    #[test]
    fn a_new_partition_does_not_turn_the_pipeline_back() {
        let mut clock = EventClock::new(0, 2);
        clock.restore(Some(500));
        clock.restore_partition(0, Some(500));
        assert_eq!(clock.advance(1, 100), 500);
    }
}
