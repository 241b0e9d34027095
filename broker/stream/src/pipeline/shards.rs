//! The operators of one node, one for each shard: rows are dealt out to them by key group, and what they give is merged.
//!
//! ```text
//! rows ─► keys ─┬─► shard 0: takes its rows, process ─┐             ┌─► shard 0: advance ─┐
//!               └─► shard 1: takes its rows, process ─┴─► how far? ─┴─► shard 1: advance ─┴─► merged in serial order
//! ```
//!
//! A shard owns whole key groups. What the shards give is merged in the order of the rows that caused it, or of time
//! and key, so that neither their number nor which is done first changes anything.

use std::sync::Arc;

use crate::column::Column;
use crate::executor::{Executor, each};
use crate::operators::{self, Due, EpochTime, Keyed, Operator, Output, Place, Spilling, Timed};
use crate::plan::Plan;
use crate::rows::{Mark, NO_ORIGIN, Rows};
use crate::state::{ChangelogSink, ColdError, ColdTables, KeyGroups, Keys};

/// The operators of a node; none for nodes that are evaluated in place, one where rows have no keys.
#[derive(Debug)]
pub(super) struct Shards {
    operators: Vec<Box<dyn Operator>>,
    /// Into how many groups keys are cut.
    groups: KeyGroups,
}

/// Rows of one input, and the places of those of each shard.
struct Dealt {
    input: usize,
    rows: Rows,
    keys: Keys,
    places: Vec<Vec<u32>>,
}

impl Shards {
    pub(super) fn build(plan: &Plan, node: usize, count: usize, groups: KeyGroups) -> Shards {
        Shards { operators: (0..count).filter_map(|_| operators::build(plan, node)).collect(), groups }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.operators.is_empty()
    }

    /// Puts something else in the place of each operator.
    #[cfg(test)]
    pub(super) fn replace(&mut self, by: impl FnMut(Box<dyn Operator>) -> Box<dyn Operator>) {
        self.operators = std::mem::take(&mut self.operators).into_iter().map(by).collect();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn Operator> {
        self.operators.iter().map(|operator| &**operator)
    }

    /// Those whose entries need not be in memory.
    pub(super) fn spilling(&mut self) -> impl Iterator<Item = &mut dyn Spilling> {
        self.operators.iter_mut().filter_map(|operator| operator.spilling())
    }

    /// The operator that has a key group, if there is such a group.
    pub(super) fn of_group(&mut self, group: u8) -> Result<&mut dyn Operator, String> {
        self.groups.check(group)?;
        let shard = self.groups.shard_of(group, self.operators.len());
        Ok(&mut *self.operators[shard])
    }

    /// Tells each operator how far it has given what time made due.
    pub(super) fn stand_at(&mut self, place: &Place) {
        self.operators.iter_mut().for_each(|operator| operator.stands_at(place));
    }

    /// Gives each operator its rows of each input, of which these columns are the keys, and room for what it gives. Entries
    /// that are not here are read back from `cold` first, if there is one.
    #[expect(clippy::too_many_arguments, reason = "what an epoch is for one node, and where its entries are")]
    pub(super) fn process(
        &mut self,
        executor: &dyn Executor,
        rows: usize,
        time: EpochTime,
        room: usize,
        keys: Option<Vec<Vec<usize>>>,
        inputs: Vec<Vec<Rows>>,
        cold: Option<ColdTables>,
    ) -> Result<Vec<Output>, ColdError> {
        let rows_of: Vec<usize> = inputs.iter().map(|chunks| chunks.iter().map(Rows::len).sum()).collect();
        self.operators.iter_mut().for_each(|operator| operator.hears_of(&rows_of));
        let process =
            move |operator: &mut dyn Operator, inputs: Vec<Vec<Keyed>>| -> Result<Output, ColdError> {
                if let (Some(cold), Some(operator)) = (&cold, operator.spilling()) {
                    operator.read_back(time, &inputs, cold)?;
                }
                let mut given = Output::within(room);
                operator.process(time, inputs, &mut given);
                Ok(given)
            };
        if let [operator] = &mut *self.operators {
            return Ok(vec![process(&mut **operator, keyed(keys, inputs, self.groups))?]);
        }
        let keys = keys.expect("without keys there is one operator");
        let (count, shards, groups) = (inputs.len(), self.operators.len(), self.groups);
        let chunks = inputs.into_iter().enumerate();
        let chunks = chunks.flat_map(|(input, chunks)| chunks.into_iter().map(move |rows| (input, rows)));
        let deal = move |(input, rows): (usize, Rows)| {
            let keys = Keys::of(&rows, &keys[input], groups);
            let mut places: Vec<Vec<u32>> = vec![Vec::new(); shards];
            (0..rows.len())
                .for_each(|row| places[groups.shard_of(keys.get(row)[0], shards)].push(row as u32));
            Dealt { input, rows, keys, places }
        };
        let dealt = Arc::new(each(executor, rows, chunks.collect(), deal));
        let own = move |shard: usize| {
            let mut own: Vec<Vec<Keyed>> = (0..count).map(|_| Vec::new()).collect();
            for Dealt { input, rows, keys, places } in &*dealt {
                let places = &places[shard];
                if !places.is_empty() {
                    own[*input].push(Keyed { rows: rows.take(places), keys: keys.take(places) });
                }
            }
            own
        };
        let pieces = (0..shards).map(|_| ()).collect();
        let outputs =
            self.each(executor, rows, pieces, move |shard, operator, ()| process(operator, own(shard)));
        outputs.into_iter().collect()
    }

    /// How far the node may go in one epoch: as far as the watermark, or as many rows allow; and about how many that are. What
    /// is due may be in `cold`, if there is one.
    pub(super) fn reach(
        &mut self,
        from: &Place,
        watermark: i64,
        emit_rows: usize,
        cold: Option<&ColdTables>,
    ) -> Result<(Place, usize), ColdError> {
        let mut windows = Due::new();
        for (end, rows) in self.iter().flat_map(|operator| operator.due(from, watermark)) {
            *windows.entry(end).or_default() += rows;
        }
        let mut rows = 0;
        let mut reached = from.watermark;
        for (end, window) in windows {
            if rows + window <= emit_rows {
                rows += window;
                reached = end;
                continue;
            }
            if rows > 0 {
                return Ok((Place::behind(reached), rows));
            }
            // One window alone may have too many: as many of its keys as fit, and one at least.
            if let Some(cold) = cold {
                let shards = self.operators.len();
                for (shard, operator) in self.operators.iter_mut().enumerate() {
                    if let Some(operator) = operator.spilling() {
                        let groups = self.groups.of_shard(shard, shards);
                        operator.find_due(from, end, emit_rows, groups, cold)?;
                    }
                }
            }
            let due = |operator: &dyn Operator| operator.due_rows(from, end, emit_rows);
            let mut keys: Vec<_> = self.iter().flat_map(due).collect();
            keys.sort_unstable();
            let mut last = None;
            for (key, of_key) in keys {
                if let Some(last) = last.take_if(|_| rows + of_key > emit_rows) {
                    return Ok((Place { watermark: reached, partial: Some((end, last)) }, rows));
                }
                rows += of_key;
                last = Some(key);
            }
            reached = end;
        }
        Ok((Place::behind(watermark), rows))
    }

    /// Lets each operator give what is due between two places, behind what it has given. What is not here is read back from
    /// `cold` first, if there is one.
    pub(super) fn advance(
        &mut self,
        executor: &dyn Executor,
        rows: usize,
        time: EpochTime,
        (from, to): (&Place, &Place),
        outputs: Vec<Output>,
        cold: Option<ColdTables>,
    ) -> Result<Vec<Output>, ColdError> {
        let (from, to) = (from.clone(), to.clone());
        let (groups, shards) = (self.groups, self.operators.len());
        let advance = move |shard: usize,
                            operator: &mut dyn Operator,
                            mut given: Output|
              -> Result<Output, ColdError> {
            if let (Some(cold), Some(operator)) = (&cold, operator.spilling()) {
                operator.read_due(&from, &to, groups.of_shard(shard, shards), cold)?;
            }
            operator.advance(time, &from, &to, &mut given);
            Ok(given)
        };
        self.each(executor, rows, outputs, advance).into_iter().collect()
    }

    /// Hands over what the epoch has changed, shard by shard.
    pub(super) fn drain_changes(&mut self, sink: &mut dyn ChangelogSink) {
        self.operators.iter_mut().for_each(|operator| operator.drain_changes(sink));
    }

    /// Lets go of a span of a table that is a log.
    pub(super) fn forget(&mut self, table: u8, span: i64) {
        self.operators.iter_mut().for_each(|operator| operator.forget(table, span));
    }

    /// Lets each operator do something with a piece of its own, and gives what comes of it in the order of the shards.
    fn each<P, T>(
        &mut self,
        executor: &dyn Executor,
        rows: usize,
        pieces: Vec<P>,
        work: impl Fn(usize, &mut dyn Operator, P) -> T + Send + Sync + 'static,
    ) -> Vec<T>
    where
        P: Send + 'static,
        T: Send + 'static,
    {
        let operators = std::mem::take(&mut self.operators).into_iter().zip(pieces).enumerate();
        let work = move |(shard, (mut operator, piece)): (usize, (Box<dyn Operator>, P))| {
            let given = work(shard, &mut *operator, piece);
            (operator, given)
        };
        let done = each(executor, rows, operators.collect(), work);
        let (operators, given) = done.into_iter().unzip();
        self.operators = operators;
        given
    }
}

/// The rows of the only shard, with their keys.
fn keyed(keys: Option<Vec<Vec<usize>>>, inputs: Vec<Vec<Rows>>, groups: KeyGroups) -> Vec<Vec<Keyed>> {
    let of_input = |(input, chunks): (usize, Vec<Rows>)| -> Vec<Keyed> {
        let keyed = |rows: Rows| {
            let keys = keys.as_ref().map_or_else(Keys::default, |keys| Keys::of(&rows, &keys[input], groups));
            Keyed { rows, keys }
        };
        chunks.into_iter().map(keyed).collect()
    };
    inputs.into_iter().enumerate().map(of_input).collect()
}

/// What all shards give, in serial order; numbered anew.
pub(super) fn merge(executor: &dyn Executor, mut outputs: Vec<Output>, keeps_rows: bool) -> Vec<Rows> {
    let rows = outputs.iter_mut().flat_map(|given| std::mem::take(&mut given.rows)).collect();
    let mut merged = in_order(executor, rows);
    let timed: Vec<Timed> = outputs.into_iter().flat_map(|given| given.timed).collect();
    merged.extend(merge_timed(executor, timed));
    for (order, mark) in merged.iter_mut().flat_map(|rows| &mut rows.marks).enumerate() {
        mark.order = order as u64;
        if !keeps_rows {
            mark.origin = NO_ORIGIN;
        }
    }
    merged
}

/// The rows in the order of what caused them. An operator gives them as it likes, and one shard like several.
fn in_order(executor: &dyn Executor, given: Vec<Rows>) -> Vec<Rows> {
    let orders = || given.iter().flat_map(|rows| &rows.marks).map(|mark| mark.order);
    if orders().is_sorted() {
        return given;
    }
    let orders: Vec<u64> = orders().collect();
    let mut places: Vec<u32> = (0..orders.len() as u32).collect();
    // Rows of one cause come from one shard, and stay in the order it gave them.
    places.sort_by_key(|place| orders[*place as usize]);
    vec![gather(executor, given, places)]
}

fn merge_timed(executor: &dyn Executor, timed: Vec<Timed>) -> Vec<Rows> {
    if timed.windows(2).all(|pair| pair[0].sort.last() <= pair[1].sort.first()) {
        return timed.into_iter().map(|timed| timed.rows).collect();
    }
    let sort: Vec<(i64, &[u8])> = timed.iter().flat_map(|timed| timed.sort.iter()).collect();
    let mut places: Vec<u32> = (0..sort.len() as u32).collect();
    places.sort_by(|left, right| sort[*left as usize].cmp(&sort[*right as usize]));
    vec![gather(executor, timed.into_iter().map(|timed| timed.rows).collect(), places)]
}

/// The rows of all chunks, of which there is one at least, in the order in which their places are named.
fn gather(executor: &dyn Executor, chunks: Vec<Rows>, places: Vec<u32>) -> Rows {
    let mut columns: Vec<Vec<Column>> = (0..chunks[0].columns.len()).map(|_| Vec::new()).collect();
    let mut marks: Vec<Mark> = Vec::with_capacity(places.len());
    for rows in chunks {
        columns.iter_mut().zip(rows.columns).for_each(|(parts, column)| parts.push(column));
        marks.extend(rows.marks);
    }
    let marks = places.iter().map(|place| marks[*place as usize]).collect();
    let rows = places.len();
    let columns =
        each(executor, rows, columns, move |parts: Vec<Column>| Column::concat(&parts).take(&places));
    Rows { columns, marks }
}
