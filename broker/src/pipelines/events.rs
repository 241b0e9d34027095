//! What happened to a pipeline, the newest events of it: in memory and in a file, beside the broker's own log.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::event_log::EventLog;

/// Events that are kept of a pipeline.
pub(super) const EVENTS: usize = 500;

/// The longest text of an event, in bytes.
const TEXT_BYTES: usize = 2_000;

/// What kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A run of it began.
    Started,
    /// Its state is restored, and it goes on.
    Restored,
    /// An epoch took long.
    SlowEpoch,
    /// Epochs are smaller from here on, or larger again.
    Pace,
    /// Records are skipped or sent to a dead-letter topic: when that begins, and then once a minute.
    Rejecting,
    /// Records come too late for their windows: when that begins, and then once a minute.
    Late,
    /// It goes on without records that were deleted before it read them.
    Gap,
    /// A table begins to shed records, or ends it.
    Shedding,
    /// It cannot go on until something is done.
    Blocked,
    /// It goes on by itself: the reason is gone.
    Unblocked,
    /// Somebody changed it: its memory, the end of its input, the partitions of a source.
    Changed,
    /// It met an error it must not pass over.
    Failed,
    /// Somebody stopped it, or the broker stops.
    Stopped,
    /// Its declared input is read.
    Finished,
}

impl EventKind {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Restored => "restored",
            Self::SlowEpoch => "slow-epoch",
            Self::Pace => "pace",
            Self::Rejecting => "rejecting",
            Self::Late => "late",
            Self::Gap => "gap",
            Self::Shedding => "shedding",
            Self::Blocked => "blocked",
            Self::Unblocked => "unblocked",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
        }
    }

    /// The kind of a name.
    pub(super) fn of(name: &str) -> Option<EventKind> {
        const ALL: [EventKind; 14] = [
            EventKind::Started,
            EventKind::Restored,
            EventKind::SlowEpoch,
            EventKind::Pace,
            EventKind::Rejecting,
            EventKind::Late,
            EventKind::Gap,
            EventKind::Shedding,
            EventKind::Blocked,
            EventKind::Unblocked,
            EventKind::Changed,
            EventKind::Failed,
            EventKind::Stopped,
            EventKind::Finished,
        ];
        ALL.into_iter().find(|kind| kind.name() == name)
    }

    const fn is_bad(self) -> bool {
        matches!(
            self,
            Self::SlowEpoch
                | Self::Rejecting
                | Self::Late
                | Self::Gap
                | Self::Shedding
                | Self::Blocked
                | Self::Failed
        )
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number, counted from 1.
    pub number: u64,
    /// When, ms since the epoch.
    pub at_ms: i64,
    /// What kind.
    pub kind: EventKind,
    /// What happened.
    pub text: String,
}

/// The newest events of one pipeline; cheap to clone.
#[derive(Clone)]
pub(super) struct Events {
    pipeline: Arc<str>,
    kept: Arc<Mutex<Kept>>,
    /// Where they are written down.
    log: Option<EventLog>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    last: u64,
}

impl Events {
    pub(super) fn new(pipeline: &str) -> Events {
        Events { pipeline: Arc::from(pipeline), kept: Arc::default(), log: None }
    }

    /// Behind those that are known already; what follows is written down.
    pub(super) fn written_to(self, log: EventLog, earlier: Vec<Event>) -> Events {
        let last = earlier.last().map_or(0, |event| event.number);
        Events { kept: Arc::new(Mutex::new(Kept { events: earlier.into(), last })), log: Some(log), ..self }
    }

    /// Writes an event down, here and in the broker's log.
    pub(super) fn say(&self, at_ms: i64, kind: EventKind, text: impl Into<String>) {
        let mut text = text.into();
        let pipeline = &*self.pipeline;
        match kind {
            EventKind::Failed => tracing::error!(pipeline, event = kind.name(), "{text}"),
            kind if kind.is_bad() => tracing::warn!(pipeline, event = kind.name(), "{text}"),
            kind => tracing::info!(pipeline, event = kind.name(), "{text}"),
        }
        if text.len() > TEXT_BYTES {
            let end = (0..=TEXT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
        }
        let mut kept = self.kept.lock();
        kept.last += 1;
        let number = kept.last;
        if kept.events.len() == EVENTS {
            kept.events.pop_front();
        }
        let event = Event { number, at_ms, kind, text };
        // Under the lock: in their order.
        if let Some(log) = &self.log {
            log.write(&self.pipeline, event.clone());
        }
        kept.events.push_back(event);
    }

    /// Those behind a number, oldest first; 0 gives all that are kept.
    pub(super) fn after(&self, number: u64) -> Vec<Event> {
        let kept = self.kept.lock();
        let from = kept.events.partition_point(|event| event.number <= number);
        kept.events.range(from..).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_events_are_kept_and_long_texts_are_cut() {
        let events = Events::new("p");
        (0..EVENTS as i64 + 10).for_each(|at| events.say(at, EventKind::Started, format!("{at}")));
        let all = events.after(0);
        assert_eq!((all.len(), all[0].number, all[0].at_ms), (EVENTS, 11, 10));
        assert_eq!(events.after(EVENTS as u64 + 9).len(), 1);
        assert!(events.after(EVENTS as u64 + 10).is_empty());
        events.say(0, EventKind::Failed, "ä".repeat(TEXT_BYTES));
        let last = &events.after(EVENTS as u64 + 10)[0];
        assert!(
            last.text.len() <= TEXT_BYTES + '…'.len_utf8() && last.text.ends_with('…'),
            "{}",
            last.text.len()
        );
    }
}
