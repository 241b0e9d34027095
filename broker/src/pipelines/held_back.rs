//! Which partitions hold event time back while others are ahead: why windows do not close.

use logmill_stream::{InputProgress, Plan, Progress};

/// A partition that had nothing for so long, or is so far behind in event time, is worth a word.
const NOTEWORTHY_MS: i64 = 10_000;

/// A partition that holds event time back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// The topic's name.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
    /// The table that reads it.
    pub table: String,
    /// Why it does.
    pub why: Why,
    /// Since when its watermark has not moved, as far as it was seen since the broker started, ms since the epoch.
    pub since_ms: i64,
    /// Its watermark, ms since the epoch; `None` before its first record.
    pub watermark: Option<i64>,
    /// What to do.
    pub hint: String,
}

/// Why a partition holds event time back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has had no record yet.
    Empty,
    /// All of it is read, and nothing has come for a while.
    Quiet,
    /// It is behind the others in event time, and has records that are not read yet.
    Slow,
}

impl Why {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Quiet => "quiet",
            Self::Slow => "slow",
        }
    }
}

/// Since when the watermarks of partitions are what they are.
#[derive(Default)]
pub(super) struct Moves(Vec<Moved>);

struct Moved {
    topic: String,
    partition: i32,
    watermarks: Vec<Option<i64>>,
    since_ms: i64,
}

impl Moves {
    /// An epoch is durable.
    pub(super) fn note(&mut self, progress: &Progress) {
        let is_of = |known: &Moved, input: &InputProgress| {
            known.partition == input.partition && known.topic == input.topic
        };
        let same_inputs = self.0.len() == progress.inputs.len()
            && self.0.iter().zip(&progress.inputs).all(|(known, input)| is_of(known, input));
        if !same_inputs {
            let mut before = std::mem::take(&mut self.0);
            let known = |input: &InputProgress| {
                let at = before.iter().position(|known| is_of(known, input));
                at.map_or_else(
                    || Moved {
                        topic: input.topic.clone(),
                        partition: input.partition,
                        watermarks: input.watermarks.clone(),
                        since_ms: progress.now,
                    },
                    |at| before.swap_remove(at),
                )
            };
            self.0 = progress.inputs.iter().map(known).collect();
        }
        for (known, input) in self.0.iter_mut().zip(&progress.inputs) {
            if known.watermarks != input.watermarks {
                known.watermarks.clone_from(&input.watermarks);
                known.since_ms = progress.now;
            }
        }
    }

    /// Since when each input of the last epoch that was noted has not moved, in its order.
    pub(super) fn since(&self) -> Vec<i64> {
        self.0.iter().map(|known| known.since_ms).collect()
    }
}

/// The partitions that hold event time back after an epoch, while another is ahead. `since` says of each input when its
/// watermark moved last, `unread` how many of its records are not read.
pub(super) fn held_back(
    pipeline: &str,
    plan: &Plan,
    progress: &Progress,
    since: &[i64],
    unread: impl Fn(&InputProgress) -> u64,
    now_ms: i64,
) -> Vec<HeldBack> {
    let mut furthest = None;
    let mut behind = Vec::new();
    for (index, source) in plan.sources.iter().enumerate().filter(|(_, source)| source.event_time.is_some()) {
        // Its place among the tables that read the topic.
        let slot = plan.sources[..index].iter().filter(|other| other.topic == source.topic).count();
        for (place, input) in progress.inputs.iter().enumerate() {
            if input.topic != source.topic {
                continue;
            }
            let watermark = input.watermarks.get(slot).copied().flatten();
            furthest = furthest.max(watermark);
            let has_ended = watermark == Some(i64::MAX);
            let is_left_out = input.idle && source.idle_ms.is_some();
            if !has_ended && !is_left_out {
                behind.push((watermark, place, input, source));
            }
        }
    }
    let least = behind.iter().map(|(watermark, ..)| *watermark).min();
    let (Some(least), Some(furthest), false) = (least, furthest, progress.finished) else {
        return Vec::new();
    };
    if least == Some(furthest) {
        return Vec::new();
    }
    let holds = |(watermark, place, input, source): (
        Option<i64>,
        usize,
        &InputProgress,
        &logmill_stream::plan::Source,
    )| {
        let since_ms = since.get(place).copied().unwrap_or(progress.now);
        let unread = unread(input);
        let why = match watermark {
            _ if unread > 0 => Why::Slow,
            None => Why::Empty,
            Some(_) => Why::Quiet,
        };
        let is_noteworthy = match (why, watermark) {
            (Why::Slow, Some(watermark)) => furthest.saturating_sub(watermark) >= NOTEWORTHY_MS,
            (Why::Quiet, _) => now_ms.saturating_sub(since_ms) >= NOTEWORTHY_MS,
            (Why::Empty | Why::Slow, _) => true,
        };
        let hint = match (why, source.idle_ms) {
            (Why::Slow, _) => format!("{unread} records of it are still to be read"),
            (_, Some(ms)) => {
                format!("it is left out once it had nothing for {ms} ms ('idle-timeout' of {})", source.table)
            }
            (_, None) => format!(
                "if it is meant to have none, say 'idle-timeout' = '30 s' in the options of {} (`logmill pipeline upgrade \
                 {pipeline} FILE`); what comes to it after that may be late",
                source.table
            ),
        };
        is_noteworthy.then(|| HeldBack {
            topic: input.topic.clone(),
            partition: input.partition,
            table: source.table.clone(),
            why,
            since_ms,
            watermark,
            hint,
        })
    };
    behind.into_iter().filter(|(watermark, ..)| *watermark == least).filter_map(holds).collect()
}

#[cfg(test)]
mod tests {
    use logmill_stream::{Counters, PROGRESS_VERSION, compile};

    use super::*;

    fn plan(options: &str) -> Plan {
        let script = format!(
            "CREATE TABLE a (ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND)
             WITH ('topic' = 'in', 'format' = 'json'{options});
             CREATE TABLE b (s TIMESTAMP(3), e TIMESTAMP(3), n BIGINT) WITH ('topic' = 'out', 'format' = 'json');
             INSERT INTO b SELECT window_start, window_end, COUNT(*)
             FROM TABLE(TUMBLE(TABLE a, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end"
        );
        compile(&script).unwrap()
    }

    fn progress(now: i64, watermarks: &[Option<i64>]) -> Progress {
        let input = |(partition, watermark): (i32, &Option<i64>)| InputProgress {
            topic: "in".to_owned(),
            partition,
            from: 0,
            to: 7,
            passed_over: None,
            end: None,
            idle: false,
            watermarks: vec![*watermark],
            gap: None,
            pending_end: None,
        };
        Progress {
            version: PROGRESS_VERSION,
            key_groups: logmill_stream::KeyGroups::DEFAULT,
            pipeline: "p".to_owned(),
            generation: 1,
            epoch: 1,
            plan: 0,
            now,
            seed: 0,
            emit_rows: 1,
            inputs: (0..).zip(watermarks).map(input).collect(),
            watermark: None,
            sources: vec![None],
            operators: Vec::new(),
            shedding: Vec::new(),
            counters: Counters::default(),
            totals: Counters::default(),
            digest: 0,
            finished: false,
            state_from: None,
            last_rejected: None,
            topic_ids: Default::default(),
        }
    }

    /// Which partitions hold back, and why, at a time.
    fn shown(
        plan: &Plan,
        moves: &Moves,
        progress: &Progress,
        unread: &[u64],
        now: i64,
    ) -> Vec<(i32, &'static str, i64)> {
        let unread = |input: &InputProgress| unread[input.partition as usize];
        let held = held_back("p", plan, progress, &moves.since(), unread, now);
        held.iter().map(|held| (held.partition, held.why.name(), held.since_ms)).collect()
    }

    #[test]
    fn the_partitions_that_are_furthest_back_hold_the_others_and_it_is_said_since_when() {
        let plan = plan("");
        let mut moves = Moves::default();
        let first = progress(1_000, &[Some(50_000), None, None]);
        moves.note(&first);
        let later = progress(9_000, &[Some(60_000), None, None]);
        moves.note(&later);
        assert_eq!(
            shown(&plan, &moves, &later, &[0, 0, 3], 9_000),
            [(1, "empty", 1_000), (2, "slow", 1_000)]
        );
        let held = held_back("p", &plan, &later, &moves.since(), |_| 0, 9_000);
        assert!(held[0].hint.contains("'idle-timeout' = '30 s' in the options of a"), "{}", held[0].hint);
        assert!(held[0].hint.contains("`logmill pipeline upgrade p FILE`"), "{}", held[0].hint);
        // It had some, and has none any more: that is said when it lasts.
        let quiet = progress(20_000, &[Some(90_000), Some(40_000), Some(80_000)]);
        moves.note(&quiet);
        assert_eq!(shown(&plan, &moves, &quiet, &[0; 3], 29_999), []);
        assert_eq!(shown(&plan, &moves, &quiet, &[0; 3], 30_000), [(1, "quiet", 20_000)]);
        // Or it is behind.
        assert_eq!(shown(&plan, &moves, &quiet, &[0, 5, 0], 20_000), [(1, "slow", 20_000)]);
        let near = progress(20_000, &[Some(90_000), Some(80_001), Some(90_000)]);
        assert_eq!(shown(&plan, &moves, &near, &[0, 5, 0], 20_000), []);
    }

    #[test]
    fn nobody_is_held_back_where_nobody_is_ahead_or_time_has_ended() {
        let plain = plan("");
        let moves = Moves::default();
        for watermarks in
            [&[None, None][..], &[Some(5), Some(5)], &[Some(5)], &[Some(i64::MAX), Some(i64::MAX)]]
        {
            assert_eq!(
                shown(&plain, &moves, &progress(0, watermarks), &[0, 0], 99_000),
                [],
                "{watermarks:?}"
            );
        }
        let finished = Progress { finished: true, ..progress(0, &[Some(5), None]) };
        assert_eq!(shown(&plain, &moves, &finished, &[0, 0], 99_000), []);
        // One that is idle is left out; one that is about to be needs no advice.
        let declared = plan(", 'idle-timeout' = '20 s'");
        let mut idle = progress(0, &[Some(5), None]);
        let held = held_back("p", &declared, &idle, &[0, 0], |_| 0, 0);
        assert!(held[0].hint.contains("once it had nothing for 20000 ms"), "{}", held[0].hint);
        idle.inputs[1].idle = true;
        assert_eq!(shown(&declared, &moves, &idle, &[0, 0], 99_000), []);
        assert_eq!(shown(&plain, &moves, &idle, &[0, 0], 99_000).len(), 1, "this one holds it back for ever");
    }

    #[test]
    fn partitions_that_come_are_seen_from_then_on() {
        let mut moves = Moves::default();
        moves.note(&progress(1, &[Some(1)]));
        moves.note(&progress(2, &[Some(1), None]));
        assert_eq!(moves.since(), [1, 2]);
        moves.note(&progress(3, &[Some(2), None]));
        assert_eq!(moves.since(), [3, 2]);
    }
}
