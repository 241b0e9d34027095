//! When sources shed, and how much: decided here, between epochs, from how far behind the pipeline is. What is decided is
//! in the cut.

use std::collections::BTreeMap;

use crate::logs::{Logs, LogsError};
use crate::pipeline::{Pipeline, Shedding, TopicPartition, WHOLE_LEVEL};
use crate::plan::{LagMeasure, Shed, ShedPolicy};

/// Of 10,000 records so many are shed at first.
const FIRST_LEVEL: u32 = 2_500;
/// Some of every ten thousand are always kept, so that event time goes on.
const MOST_LEVEL: u32 = 9_500;
/// More is shed at most this often, in milliseconds: what was decided must have had time to show.
const STEP_MS: i64 = 1_000;

/// How it is decided what is shed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ShedControl {
    /// By how far behind the pipeline is.
    #[default]
    ByLag,
    /// Nothing is shed, however far behind it is.
    Never,
    /// These tables shed in every epoch, this many of 10,000 records. A table that sheds its oldest passes over
    /// none: it goes by lag alone.
    Always(BTreeMap<String, u32>),
}

/// A partition with something to read: where the pipeline is in it, and where its part of the epoch must end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unread {
    pub(super) position: i64,
    pub(super) end: i64,
}

/// Watches the sources that may shed.
#[derive(Debug)]
pub(super) struct Shedder {
    control: ShedControl,
    sources: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    source: usize,
    table: String,
    topic: String,
    shed: Shed,
    controller: Controller,
}

impl Shedder {
    /// Whether there is a table that sheds.
    pub(super) fn watches(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Goes on where a pipeline is: what was shed at last is shed until it is less behind.
    pub(super) fn new(pipeline: &Pipeline) -> Shedder {
        let watched = |(source, of): (usize, &crate::plan::Source)| {
            let shed = of.shed.clone()?;
            let level = pipeline.shedding().levels.get(&source).copied().unwrap_or(0);
            Some(Watched {
                source,
                table: of.table.clone(),
                topic: of.topic.clone(),
                controller: Controller::new(&shed, level),
                shed,
            })
        };
        let sources = pipeline.plan().sources.iter().enumerate().filter_map(watched).collect();
        Shedder { control: ShedControl::default(), sources }
    }

    pub(super) fn set_control(&mut self, control: ShedControl) {
        self.control = control;
    }

    /// What the next epoch sheds. `unread` are the partitions that have something to read.
    pub(super) fn decide<L: Logs>(
        &mut self,
        unread: &BTreeMap<TopicPartition, Unread>,
        logs: &mut L,
        now: i64,
    ) -> Result<Shedding, LogsError> {
        let mut shedding = Shedding::default();
        for watched in &mut self.sources {
            let level = match &self.control {
                ShedControl::Never => 0,
                ShedControl::Always(tables) => match (&watched.shed.policy, tables.get(&watched.table)) {
                    (ShedPolicy::Oldest, _) | (_, None) => 0,
                    (policy, Some(level)) if policy.has_level() => (*level).min(WHOLE_LEVEL),
                    (_, Some(level)) => {
                        if *level > 0 {
                            WHOLE_LEVEL
                        } else {
                            0
                        }
                    }
                },
                ShedControl::ByLag => {
                    let mut most = 0;
                    for (partition, Unread { position, end }) in
                        unread.iter().filter(|(partition, _)| partition.topic == watched.topic)
                    {
                        let lag = watched.lag(partition, *position, logs, now)?;
                        most = most.max(lag);
                        if watched.shed.policy == ShedPolicy::Oldest && lag > watched.shed.above {
                            let to = watched.passed_over(partition, *position, *end, logs, now)?;
                            if to > *position {
                                shedding.passed_over.insert(partition.clone(), to);
                            }
                        }
                    }
                    watched.controller.look(most, now)
                }
            };
            if level > 0 && watched.shed.policy != ShedPolicy::Oldest {
                shedding.levels.insert(watched.source, level);
            }
        }
        Ok(shedding)
    }
}

impl Watched {
    /// How far behind a partition is, of which something is left to read.
    fn lag<L: Logs>(
        &self,
        partition: &TopicPartition,
        position: i64,
        logs: &mut L,
        now: i64,
    ) -> Result<i64, LogsError> {
        match self.shed.measure {
            LagMeasure::Records => Ok(logs.committed_end(partition)?.saturating_sub(position).max(0)),
            LagMeasure::Time => {
                let oldest = logs.time_at(partition, position)?;
                // A record without a timestamp says nothing of how long it has waited.
                Ok(oldest.filter(|time| *time >= 0).map_or(0, |time| now.saturating_sub(time).max(0)))
            }
        }
    }

    /// From where on a partition is so little behind that it needs to shed no more; at most its end.
    fn passed_over<L: Logs>(
        &self,
        partition: &TopicPartition,
        position: i64,
        end: i64,
        logs: &mut L,
        now: i64,
    ) -> Result<i64, LogsError> {
        let to = match self.shed.measure {
            LagMeasure::Records => logs.committed_end(partition)?.saturating_sub(self.shed.below),
            LagMeasure::Time => {
                let since = now.saturating_sub(self.shed.below);
                logs.offset_at(partition, position, since)?.unwrap_or(end)
            }
        };
        Ok(to.min(end))
    }
}

/// How much is shed as the lag comes and goes, with room between the lag at which it begins and the one at which it ends.
///
/// It begins with a quarter. While the lag is above the upper bound and does not fall, half of what is still kept goes, too,
/// once a second. Between the bounds, and while the lag falls, it stays. Below the lower bound it ends.
#[derive(Debug, Clone)]
struct Controller {
    above: i64,
    below: i64,
    /// Whether it is a matter of how much, or of all that can go.
    by_share: bool,
    level: u32,
    /// The lag when the level was last looked at, and when that was.
    stepped: Option<(i64, i64)>,
}

impl Controller {
    fn new(shed: &Shed, level: u32) -> Controller {
        let by_share = shed.policy.has_level();
        Controller { above: shed.above, below: shed.below, by_share, level, stepped: None }
    }

    /// The level of the next epoch, with the lag there is now.
    fn look(&mut self, lag: i64, now: i64) -> u32 {
        if self.level == 0 && lag <= self.above || lag < self.below {
            (self.level, self.stepped) = (0, None);
        } else if !self.by_share {
            self.level = WHOLE_LEVEL;
        } else if self.level == 0 {
            (self.level, self.stepped) = (FIRST_LEVEL, Some((lag, now)));
        } else {
            let (before, at) = *self.stepped.get_or_insert((lag, now));
            if now.saturating_sub(at) >= STEP_MS {
                if lag > self.above && lag >= before {
                    self.level = (self.level + (WHOLE_LEVEL - self.level) / 2).min(MOST_LEVEL);
                }
                self.stepped = Some((lag, now));
            }
        }
        self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller(policy: ShedPolicy) -> Controller {
        let shed = Shed { measure: LagMeasure::Time, above: 30_000, below: 10_000, policy, topic: None };
        Controller::new(&shed, 0)
    }

    #[test]
    fn nothing_is_shed_up_to_the_bound_and_it_ends_at_the_lower_one() {
        let mut controller = controller(ShedPolicy::Random);
        let lags = [0, 29_999, 30_000, 15_000, 30_000];
        assert!((0..).zip(lags).all(|(second, lag)| controller.look(lag, second * 1_000) == 0));
        assert_eq!(controller.look(30_001, 6_000), FIRST_LEVEL);
        assert_eq!(controller.look(20_000, 7_000), FIRST_LEVEL, "it is less behind, and not enough");
        assert_eq!(controller.look(10_000, 8_000), FIRST_LEVEL);
        assert_eq!(controller.look(9_999, 9_000), 0);
        assert_eq!(controller.look(30_000, 10_000), 0, "the upper bound begins it, not the lower one");
    }

    #[test]
    fn more_is_shed_while_the_lag_does_not_fall_and_some_is_always_kept() {
        let mut controller = controller(ShedPolicy::Random);
        assert_eq!(controller.look(40_000, 0), 2_500);
        assert_eq!(controller.look(60_000, 999), 2_500, "it has had no time to show");
        assert_eq!(controller.look(50_000, 1_000), 6_250);
        assert_eq!(controller.look(49_000, 2_000), 6_250, "it falls");
        assert_eq!(controller.look(49_000, 3_000), 8_125, "it does not fall any more");
        assert_eq!(controller.look(30_000, 4_000), 8_125, "between the bounds it stays");
        let last = (5..20).map(|second| controller.look(50_000, second * 1_000)).last();
        assert_eq!(last, Some(MOST_LEVEL));
    }

    #[test]
    fn what_is_no_share_is_all_or_nothing() {
        let mut controller = controller(ShedPolicy::Conflate { key: Vec::new() });
        assert_eq!(controller.look(30_000, 0), 0);
        assert_eq!(controller.look(30_001, 0), WHOLE_LEVEL);
        assert_eq!(controller.look(10_000, 5_000), WHOLE_LEVEL);
        assert_eq!(controller.look(9_999, 5_000), 0);
    }

    #[test]
    fn a_restart_goes_on_shedding() {
        let shed = Shed {
            measure: LagMeasure::Records,
            above: 100,
            below: 50,
            policy: ShedPolicy::Random,
            topic: None,
        };
        let mut controller = Controller::new(&shed, 6_250);
        assert_eq!(controller.look(70, 0), 6_250);
        assert_eq!(controller.look(49, 10), 0);
    }
}
