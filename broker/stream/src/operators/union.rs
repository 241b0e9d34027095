//! `UNION ALL`: the rows of all inputs, one input after the other. Also rows whose time is the processing time from
//! here on: the operator's watermark is then the clock's.
//!
//! Rows that one source's clock judged when they came are late where they were; elsewhere each input has a time of its
//! own, and a row is late only behind the least of them.

use super::{EpochTime, Keyed, Operator, Output, StateSize};
use crate::rows::Mark;
use crate::state::ChangelogSink;

#[derive(Debug)]
pub(crate) struct Union {
    /// Whether rows keep the watermark they came with.
    one_clock: bool,
}

impl Union {
    /// Of inputs that one source's clock has judged.
    pub(crate) fn of_one_clock() -> Union {
        Union { one_clock: true }
    }

    /// By the operator's own time.
    pub(crate) fn by_own_time() -> Union {
        Union { one_clock: false }
    }
}

impl Operator for Union {
    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        for Keyed { mut rows, .. } in inputs.into_iter().flatten() {
            if !self.one_clock {
                rows.marks.iter_mut().for_each(|mark| *mark = Mark { watermark: time.before, ..*mark });
            }
            out.push(rows);
        }
    }

    fn drain_changes(&mut self, _log: &mut dyn ChangelogSink) {}

    fn restore(&mut self, _table: u8, _key: &[u8], _value: Option<&[u8]>) -> Result<(), String> {
        Err("the operator keeps no state".to_owned())
    }

    fn size(&self) -> StateSize {
        StateSize::default()
    }
}
