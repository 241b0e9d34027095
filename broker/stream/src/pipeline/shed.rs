//! What an epoch leaves out because its cut says so. Everything is decided by the cut and the records: running it again
//! sheds the same ones.

use std::collections::HashMap;
use std::hash::Hasher as _;

use arrow_buffer::BooleanBuffer;
use twox_hash::XxHash64;

use super::chunk::Chunk;
use super::cut::{Cut, OffsetRange, WHOLE_LEVEL};
use super::errors::EpochError;
use super::machine::Pipeline;
use super::progress::Counters;
use super::stretch::Landing;
use crate::column::Column;
use crate::eval::Evaluator;
use crate::plan::{Computed, Expression, Shed, ShedPolicy, Source};
use crate::state::encode_key_part;
use crate::value::Value;

/// What one source sheds in one epoch.
#[derive(Debug)]
pub(super) struct Sieve<'p> {
    shed: &'p Shed,
    level: u32,
    seed: u64,
}

impl<'p> Sieve<'p> {
    /// The source's, if it sheds in this epoch.
    pub(super) fn of(source: &'p Source, level: u32, seed: u64) -> Option<Sieve<'p>> {
        Some(Sieve { shed: source.shed.as_ref()?, level, seed })
    }

    /// The share of the records that it sheds; 0 where the policy takes no share.
    pub(super) fn fraction(&self) -> f64 {
        match self.shed.policy.has_level() {
            true => f64::from(self.level) / f64::from(WHOLE_LEVEL),
            false => 0.0,
        }
    }

    /// Whether what is shed goes to a topic.
    pub(super) fn writes(&self) -> bool {
        self.shed.topic.is_some()
    }

    /// Whether a record goes before it is decoded.
    pub(super) fn drops(&self, partition: i32, offset: i64) -> bool {
        if self.shed.policy != ShedPolicy::Random {
            return false;
        }
        let mut hasher = XxHash64::with_seed(self.seed);
        hasher.write(&partition.to_le_bytes());
        hasher.write(&offset.to_le_bytes());
        self.is_below(hasher.finish())
    }

    fn is_below(&self, hash: u64) -> bool {
        hash % u64::from(WHOLE_LEVEL) < u64::from(self.level)
    }

    /// Whether rows wait until all of the epoch are decoded.
    pub(super) fn holds(&self) -> bool {
        !self.shed.policy.expressions().is_empty()
    }

    /// Marks the rows that are shed of all that waited, each chunk with the number of what it is of.
    pub(super) fn choose(
        &self,
        held: Vec<(usize, Chunk)>,
        computed: &[Computed],
        now: i64,
    ) -> Vec<(usize, Chunk)> {
        let mut chunks = Vec::with_capacity(held.len());
        let mut values = Vec::with_capacity(held.len());
        for (of, chunk) in held {
            self.add_values(of, chunk, computed, now, &mut chunks, &mut values);
        }
        let rows = values.iter().enumerate().flat_map(|(chunk, columns)| {
            let rows = columns.first().map_or(0, Column::len);
            (0..rows).map(move |row| (chunk, row))
        });
        let mut leave_out = |(chunk, row): (usize, usize)| chunks[chunk].1.landings[row] = Landing::Shed;
        match &self.shed.policy {
            ShedPolicy::Random | ShedPolicy::Oldest => {}
            ShedPolicy::Hash { .. } => {
                for (chunk, row) in rows {
                    let mut hasher = XxHash64::with_seed(0);
                    hasher.write(&key(&values[chunk], row));
                    if self.is_below(hasher.finish()) {
                        leave_out((chunk, row));
                    }
                }
            }
            ShedPolicy::Conflate { .. } => {
                let mut last: HashMap<Vec<u8>, (usize, usize)> = HashMap::new();
                for (chunk, row) in rows {
                    if let Some(before) = last.insert(key(&values[chunk], row), (chunk, row)) {
                        leave_out(before);
                    }
                }
            }
            ShedPolicy::Priority { .. } => {
                let priority = |(chunk, row): &(usize, usize)| {
                    let column = &values[*chunk][0];
                    (!column.is_null(*row)).then(|| column.double().value(*row))
                };
                let mut rows: Vec<_> = rows.collect();
                rows.sort_by(|left, right| match (priority(left), priority(right)) {
                    (Some(left), Some(right)) => left.total_cmp(&right),
                    (left, right) => left.is_some().cmp(&right.is_some()),
                });
                let share = rows.len() as u64 * u64::from(self.level) / u64::from(WHOLE_LEVEL);
                let share = usize::try_from(share).unwrap_or(rows.len());
                rows.into_iter().take(share).for_each(leave_out);
            }
        }
        chunks
    }

    /// What the policy computes of a chunk's rows; where that is too much at once, of parts of it. What fails is `NULL`.
    fn add_values(
        &self,
        of: usize,
        chunk: Chunk,
        computed: &[Computed],
        now: i64,
        chunks: &mut Vec<(usize, Chunk)>,
        values: &mut Vec<Vec<Column>>,
    ) {
        let expressions = self.shed.policy.expressions();
        let rows = chunk.offsets.len();
        let columns = match values_of(&chunk.columns, computed, expressions, rows, now) {
            Some(columns) => columns,
            None => match chunk.halves() {
                Some([first, second]) => {
                    self.add_values(of, first, computed, now, chunks, values);
                    return self.add_values(of, second, computed, now, chunks, values);
                }
                None => {
                    let null = |of: &Expression| Column::repeat(&Value::Null, of.data_type(), rows);
                    expressions.iter().map(null).collect()
                }
            },
        };
        values.push(columns);
        chunks.push((of, chunk));
    }
}

/// `None` where the texts made of it are too much.
fn values_of(
    decoded: &[Column],
    computed: &[Computed],
    expressions: &[Expression],
    rows: usize,
    now: i64,
) -> Option<Vec<Column>> {
    let all = BooleanBuffer::new_set(rows);
    let mut columns = decoded.to_vec();
    let mut made = 0;
    for computed in computed {
        let mut evaluator = Evaluator::new(&columns, rows).with_now(now).with_made(made);
        let column = evaluator.evaluate(&computed.expression, &all);
        made = evaluator.made_within_bounds()?;
        columns.push(column);
    }
    let mut evaluator = Evaluator::new(&columns, rows).with_now(now).with_made(made);
    let values = expressions.iter().map(|expression| evaluator.evaluate(expression, &all)).collect();
    evaluator.made_within_bounds()?;
    Some(values)
}

fn key(columns: &[Column], row: usize) -> Vec<u8> {
    let mut key = Vec::new();
    columns.iter().for_each(|column| encode_key_part(column, row, &mut key));
    key
}

impl Pipeline {
    /// That the cut sheds only what is declared. Gives what of the ranges is read.
    pub(super) fn check_shedding(
        &self,
        cut: &Cut,
        ranges: &[OffsetRange],
    ) -> Result<Vec<OffsetRange>, EpochError> {
        for (index, level) in &cut.shedding.levels {
            let declares = self.plan.sources.get(*index).is_some_and(|source| source.shed.is_some());
            if !declares || !(1..=WHOLE_LEVEL).contains(level) {
                return Err(self.wrong_cut(format!("source {index} does not shed {level} of {WHOLE_LEVEL}")));
            }
        }
        let mut read = ranges.to_vec();
        for (partition, to) in &cut.shedding.passed_over {
            let wrong =
                |why: &str| Err(self.wrong_cut(format!("{partition}: passed over up to {to}, {why}")));
            let Some(index) = self.spec.index_of(&partition.topic, partition.partition) else {
                return wrong("and it is no input");
            };
            let sources = self.plan.sources.iter().filter(|source| source.topic == partition.topic);
            let is_oldest =
                |source: &Source| source.shed.as_ref().is_some_and(|shed| shed.policy == ShedPolicy::Oldest);
            if !sources.into_iter().all(is_oldest) {
                return wrong("and its table does not shed the oldest");
            }
            if !(ranges[index].from + 1..=ranges[index].to).contains(to) {
                return wrong("which is outside of its range");
            }
            read[index].from = *to;
        }
        Ok(read)
    }

    /// Accounts for what is not read, once for each source that would have.
    pub(super) fn count_passed_over(
        &self,
        ranges: &[OffsetRange],
        read: &[OffsetRange],
        counters: &mut Counters,
    ) {
        for ((input, range), read) in self.spec.inputs.iter().zip(ranges).zip(read) {
            let readers = self.plan.sources.iter().filter(|source| source.topic == input.partition.topic);
            let offsets = u64::try_from(read.from - range.from).unwrap_or(0) * readers.count() as u64;
            counters.read += offsets;
            counters.shed += offsets;
        }
    }
}
