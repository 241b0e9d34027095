//! Aggregates without a window: one row for each group, changed whenever its rows change.
//!
//! The changes of one group within an epoch are folded into one: the row it had before the epoch is taken back, the
//! row it has behind it is given. So the output after an epoch is the query over one prefix of the input.

use std::sync::Arc;

use super::aggregated::{Accumulators, Aggregates, ValueChanges, check_key, key_text, key_values};
use super::spilling::{FORGOTTEN_AT_ONCE, Spilling, missing};
use super::touched::Touched;
use super::{EpochTime, Keyed, Operator, OperatorFault, Output, StateSize};
use crate::plan;
use crate::rows::{Mark, RowsBuilder};
use crate::state::{ChangelogSink, ColdError, ColdTables, Growth, HashMap, Table, key_length};
use crate::value::{DataType, Value};

/// The table of groups.
pub(super) const GROUPS: u8 = 0;
/// The table of the values that groups keep one by one.
pub(super) const VALUES: u8 = 1;

#[derive(Debug)]
struct Group {
    /// How many rows it has; without one it has no row to give.
    rows: i64,
    /// Frozen processing time when it was last touched.
    touched: i64,
    accumulators: Accumulators,
}

#[derive(Debug)]
pub(crate) struct GroupAggregate {
    aggregates: Aggregates,
    key_types: Vec<DataType>,
    row_types: Vec<DataType>,
    groups: Table<Group>,
    /// When groups were last touched, if they are to be forgotten; derived from them.
    touched: Touched,
    values: ValueChanges,
}

/// A group that the epoch has changed.
#[derive(Debug)]
struct Changed {
    key: Arc<[u8]>,
    /// The row that caused the last change.
    mark: Mark,
    /// The row the group had before the epoch.
    before: Option<Vec<Value>>,
}

impl GroupAggregate {
    pub(crate) fn new(
        grouping: &plan::Grouping,
        input: &[DataType],
        row: &[DataType],
        input_changes: bool,
    ) -> Self {
        Self {
            aggregates: Aggregates::new(&grouping.aggregates, input_changes).with_values_apart(),
            key_types: grouping.keys.iter().map(|key| input[*key]).collect(),
            row_types: row.to_vec(),
            groups: Table::default(),
            touched: Touched::new(grouping.bound.lives_ms()),
            values: ValueChanges::default(),
        }
    }

    /// The group's row; `None` when it has no rows.
    fn row(&self, key: &[u8], group: &Group) -> Result<Option<Vec<Value>>, OperatorFault> {
        if group.rows <= 0 {
            return Ok(None);
        }
        let mut values = key_values(key, &self.key_types);
        let name = key_text(&values);
        self.aggregates.finish(&group.accumulators, &mut values, || format!("key {name}"))?;
        Ok(Some(values))
    }

    /// Forgets groups that were not touched for the time the plan gives them, of those that have their turn. Their rows stay
    /// what they were.
    fn forget(&mut self, time: EpochTime) {
        self.touched.expired(time).iter().for_each(|key| self.remove(key));
    }

    /// Forgets what rows come for, whosever turn it is.
    fn forget_met(&mut self, time: EpochTime, inputs: &[Vec<Keyed>]) {
        if !self.touched.forgets() {
            return;
        }
        for Keyed { rows, keys } in inputs.iter().flatten() {
            for key in (0..rows.len()).map(|row| keys.get(row)) {
                let last = self.groups.get(key).map(|group| group.touched);
                if let Some(last) = last.filter(|last| self.touched.is_over(*last, time.now)) {
                    self.touched.remove(last, key);
                    self.remove(key);
                }
            }
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(group) = self.groups.remove(key) {
            self.values.drop_group(key, &group.accumulators);
        }
    }
}

impl GroupAggregate {
    /// Puts a value back that a group keeps. The group's own entry may come later.
    fn restore_value(&mut self, key: &[u8], count: Option<&[u8]>) -> Result<(), String> {
        let length = key.get(1..).and_then(|key| key_length(key, &self.key_types)).ok_or("a damaged key")?;
        let (group, rest) = key.split_at(1 + length);
        if count.is_none() && self.groups.get(group).is_none() {
            return Ok(());
        }
        let empty = || Group { rows: 0, touched: 0, accumulators: self.aggregates.empty() };
        let group = self.groups.restored(group, empty);
        self.aggregates.restore_value(&mut group.accumulators, rest, count)
    }

    /// Reads a group back, if there is one; tells when it was last touched.
    fn read_group(&mut self, key: &[u8], cold: &ColdTables) -> Result<Option<i64>, ColdError> {
        let Some((group, mut size)) = cold.get(GROUPS, key)? else { return Ok(None) };
        self.restore(GROUPS, key, Some(&group)).map_err(ColdError::damaged)?;
        if self.aggregates.keeps_values() {
            cold.scan(VALUES, key, |entry, count, of_value| {
                size = size.saturating_add(of_value);
                self.restore(VALUES, entry, Some(count)).map_err(ColdError::damaged)
            })?;
        }
        self.groups.read_back(key, size);
        Ok(self.groups.get(key).map(|group| group.touched))
    }
}

/// What the record of a group begins with: how many rows it has, when it was last touched; and what is behind.
fn decode_group(bytes: &[u8]) -> Result<(i64, i64, &[u8]), String> {
    let (rows, rest) = bytes.split_first_chunk().ok_or("a damaged group")?;
    let (touched, rest) = rest.split_first_chunk().ok_or("a damaged group")?;
    Ok((i64::from_be_bytes(*rows), i64::from_be_bytes(*touched), rest))
}

impl Operator for GroupAggregate {
    fn process(&mut self, time: EpochTime, inputs: Vec<Vec<Keyed>>, out: &mut Output) {
        self.forget(time);
        self.forget_met(time, &inputs);
        let mut changed: Vec<Changed> = Vec::new();
        let mut places: HashMap<Arc<[u8]>, usize> = HashMap::new();
        for Keyed { rows, keys } in inputs.into_iter().flatten() {
            for row in 0..rows.len() {
                let key = keys.get(row);
                let mark = rows.marks[row];
                // The group is forgotten: what was given of it stays, and nothing is owed.
                if mark.back && self.touched.forgets() && self.groups.get(key).is_none() {
                    continue;
                }
                match places.get(key) {
                    Some(place) => changed[*place].mark = mark,
                    None => {
                        let known = self.groups.get(key);
                        let touched = known.map(|group| group.touched);
                        // A row that could not be made then was not given either.
                        let before = known.and_then(|group| self.row(key, group).ok().flatten());
                        self.touched.touch(key, touched, time.now);
                        let key: Arc<[u8]> = key.into();
                        places.insert(Arc::clone(&key), changed.len());
                        changed.push(Changed { key, mark, before });
                    }
                }
                let aggregates = &self.aggregates;
                let group = self.groups.entry(key, || Group {
                    rows: 0,
                    touched: time.now,
                    accumulators: aggregates.empty(),
                });
                group.rows += if mark.back { -1 } else { 1 };
                group.touched = time.now;
                aggregates.add(&mut group.accumulators, &rows, row);
            }
        }
        let mut given = RowsBuilder::new(&self.row_types);
        // However many shards there are, groups come in the order of what changed them last.
        changed.sort_by_key(|changed| changed.mark.order);
        for Changed { key, mark, before } in changed {
            let Some(group) = self.groups.get(&key) else { continue };
            let after = self.row(&key, group).unwrap_or_else(|fault| {
                out.faults.push(fault);
                None
            });
            if group.rows == 0 {
                let touched = group.touched;
                self.remove(&key);
                self.touched.remove(touched, &key);
            }
            if before == after {
                continue;
            }
            before.iter().for_each(|row| given.push(Mark { back: true, ..mark }, row));
            after.iter().for_each(|row| given.push(Mark { back: false, ..mark }, row));
        }
        out.push(given.finish());
    }

    fn drain_changes(&mut self, log: &mut dyn ChangelogSink) {
        let values = &mut self.values;
        self.groups.drain_with_parts(GROUPS, log, |key, group, out| {
            out.extend_from_slice(&group.rows.to_be_bytes());
            out.extend_from_slice(&group.touched.to_be_bytes());
            Aggregates::encode(&group.accumulators, out);
            values.take_group(key, &mut group.accumulators);
            Aggregates::values_size(key.len(), &group.accumulators)
        });
        values.drain(VALUES, log);
    }

    fn restore(&mut self, table: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        match table {
            GROUPS => {}
            VALUES => return self.restore_value(key, value),
            other => return Err(format!("there is no table {other}")),
        }
        check_key(key, &self.key_types)?;
        let before = self.groups.get_restored(key);
        if let Some(known) = &before {
            self.touched.remove(known.touched, key);
        }
        let group = match value {
            None => None,
            Some(bytes) => {
                let (rows, touched, mut rest) = decode_group(bytes)?;
                let accumulators = self.aggregates.decode(&mut rest).filter(|_| rest.is_empty());
                let mut accumulators = accumulators.ok_or("a damaged group")?;
                if let Some(before) = before {
                    Aggregates::move_values(before.accumulators, &mut accumulators);
                }
                self.touched.touch(key, None, touched);
                Some(Group { rows, touched, accumulators })
            }
        };
        self.groups.restore(key, group);
        Ok(())
    }

    fn size(&self) -> StateSize {
        StateSize { entries: self.groups.len() as u64, sessions: 0 }
    }

    fn spilling(&mut self) -> Option<&mut dyn Spilling> {
        Some(self)
    }
}

impl Spilling for GroupAggregate {
    fn read_back(
        &mut self,
        time: EpochTime,
        inputs: &[Vec<Keyed>],
        cold: &ColdTables,
    ) -> Result<(), ColdError> {
        for key in missing(inputs.iter().flatten(), |key| self.groups.holds(key)) {
            let touched = self.read_group(key, cold)?;
            touched.into_iter().for_each(|touched| self.touched.is_back(touched, key));
        }
        // Only now: the store has what the epoch forgets, until it is over.
        let Some(due) = self.touched.due(time) else { return Ok(()) };
        let passing = cold.passing();
        for (place, key) in (1..).zip(due.iter()) {
            self.read_group(key, &passing)?;
            if place % FORGOTTEN_AT_ONCE == 0 {
                self.forget(time);
            }
        }
        Ok(())
    }

    fn held(&self) -> u64 {
        self.groups.held() + self.touched.away_bytes()
    }

    fn let_go(&mut self, keep: u64) {
        let Self { groups, touched, .. } = self;
        groups.let_go(keep.saturating_sub(touched.away_bytes()), |key, group| {
            touched.leaves(group.touched, key);
            true
        });
    }

    fn take_growth(&mut self) -> Growth {
        self.groups.take_growth()
    }

    fn shown_tables(&self) -> &'static [u8] {
        if self.touched.forgets() { &[GROUPS] } else { &[] }
    }

    fn show(&mut self, _table: u8, key: &[u8], value: &[u8], _size: u32) -> Result<(), ColdError> {
        let (_, touched, _) = decode_group(value).map_err(ColdError::damaged)?;
        self.touched.is_away(touched, key);
        Ok(())
    }

    fn counts(&self, table: u8) -> bool {
        table == GROUPS
    }
}
