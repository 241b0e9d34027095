//! `UNION ALL`: the rows of all inputs, one input after the other. Also rows whose time is the processing time from
//! here on: the operator's watermark is then the clock's.

use super::{EpochTime, Keyed, Operator, Output, StateSize};
use crate::rows::Mark;
use crate::state::ChangelogSink;

#[derive(Debug)]
pub(crate) struct Union;

impl Operator for Union {
    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        for Keyed { mut rows, .. } in inputs.into_iter().flatten() {
            // Each input has a time of its own: a row is late only behind the least of them.
            rows.marks.iter_mut().for_each(|mark| *mark = Mark { watermark: time.before, ..*mark });
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
