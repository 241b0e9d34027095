//! Asking for leaders that are not known: one question at a time, with pauses that grow while the answers help nobody. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use logmill_wire::ErrorCode;
use logmill_wire::messages::metadata::MetadataResponse;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::transport::backoff::pause;

/// When somebody who reads or writes topics asks for their leaders.
#[derive(Debug, Default)]
pub(crate) struct Refreshing {
    under_way: bool,
    /// Answers since everything was known.
    answers: u32,
    not_before: Option<Instant>,
}

/// What to do about leaders that are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// They are asked for already, or all are known.
    Nothing,
    /// To be asked for now: the answer is awaited from here on.
    Now,
    /// Not before this time.
    At(Instant),
}

impl Refreshing {
    /// Whether leaders are asked for, of which some are needed that are not known, or none.
    pub(crate) fn look(&mut self, is_missing: bool, now: Instant) -> Refresh {
        if self.under_way {
            return Refresh::Nothing;
        }
        if !is_missing {
            *self = Self::default();
            return Refresh::Nothing;
        }
        match self.not_before {
            Some(at) if at > now => Refresh::At(at),
            _ => {
                self.under_way = true;
                Refresh::Now
            }
        }
    }

    /// There is an answer, or none to be had. `chance` is as for [`pause`].
    pub(crate) fn answered(&mut self, now: Instant, chance: u32) {
        self.under_way = false;
        self.answers = self.answers.saturating_add(1);
        self.not_before = Some(now + pause(self.answers, chance));
    }
}

/// What an answer says of each of the topics that were asked for: why a leader is not known, or nothing.
pub(crate) fn obstacles(
    topics: BTreeSet<Arc<str>>,
    answer: &Result<MetadataResponse>,
) -> Vec<(Arc<str>, Option<Error>)> {
    let of = |topic: &Arc<str>| match answer {
        Err(error) => Some(error.clone()),
        Ok(answer) => {
            let described =
                answer.topics.iter().find(|described| described.name.as_deref() == Some(&**topic));
            let code = described.map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.error_code);
            let has_no_leader = described
                .is_some_and(|topic| topic.partitions.iter().any(|partition| partition.leader_id < 0));
            let code = if code.is_ok() && has_no_leader { ErrorCode::LEADER_NOT_AVAILABLE } else { code };
            Error::check(code, None, || format!("describing topic {topic}")).err()
        }
    };
    topics.into_iter().map(|topic| (Arc::clone(&topic), of(&topic))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use logmill_wire::Str;
    use logmill_wire::messages::metadata::{MetadataResponsePartition, MetadataResponseTopic};

    use super::*;

    #[test]
    fn pauses_grow_until_everything_is_known() {
        let mut refreshing = Refreshing::default();
        let mut now = Instant::now();
        for pause in [20, 40, 80, 160, 320, 640, 1_000, 1_000] {
            assert_eq!(refreshing.look(true, now), Refresh::Now);
            assert_eq!(refreshing.look(true, now), Refresh::Nothing, "it is asked");
            refreshing.answered(now, 0);
            let next = now + Duration::from_millis(pause);
            assert_eq!(refreshing.look(true, now), Refresh::At(next));
            now = next;
        }
        assert_eq!(refreshing.look(false, now), Refresh::Nothing);
        assert_eq!(refreshing.look(true, now), Refresh::Now);
        refreshing.answered(now, 0);
        assert_eq!(refreshing.look(true, now), Refresh::At(now + Duration::from_millis(20)));
    }

    #[test]
    fn an_answer_says_why_of_each_topic() {
        let topic = |name: &str, error_code, leader_id| MetadataResponseTopic {
            name: Some(Str::from(name)),
            error_code,
            partitions: vec![MetadataResponsePartition { leader_id, ..Default::default() }],
            ..Default::default()
        };
        let answer = MetadataResponse {
            topics: vec![
                topic("fine", ErrorCode::NONE, 1),
                topic("leaderless", ErrorCode::NONE, -1),
                topic("secret", ErrorCode::TOPIC_AUTHORIZATION_FAILED, 1),
            ],
            ..Default::default()
        };
        let names = ["fine", "gone", "leaderless", "secret"];
        let told = |answer: &Result<MetadataResponse>| {
            let told = obstacles(names.into_iter().map(Arc::from).collect(), answer);
            assert!(told.iter().map(|(name, _)| &**name).eq(names));
            told.into_iter().map(|(_, error)| error)
        };
        let codes: Vec<_> = told(&Ok(answer)).map(|error| error.and_then(|error| error.code())).collect();
        assert_eq!(
            codes,
            [
                None,
                Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                Some(ErrorCode::LEADER_NOT_AVAILABLE),
                Some(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            ]
        );
        assert!(told(&Err(Error::Closed)).all(|error| matches!(error, Some(Error::Closed))));
    }
}
