//! Batches to rows: everything an epoch does that needs no state.
//!
//! It runs before the state is touched, so that a record that fails under `'on-error' = 'fail'` leaves the pipeline
//! as it was. Each partition is cut into stretches, which are decoded, and the computed columns and stateless nodes right
//! behind their source evaluated, any of them at a time. Then they are taken in serial order: each row gets its place, and
//! the watermark it is judged by.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::chunk::Chunk;
use super::clock::EventClock;
use super::cut::{AheadStop, Input, OffsetRange, TopicPartition};
use super::errors::{EpochError, RecordError};
use super::progress::Counters;
use super::shed::Sieve;
use super::spec::PipelineSpec;
use super::stretch::{CHUNK_ROWS, Room, Stretch, Stretched, Workshop};
use crate::executor::{Executor, each, is_worth_it};
use crate::format::{FormatError, RowDecoder};
use crate::plan::{Operator, Plan, Source};
use crate::rows::{NO_TIME, Rows};

/// A batch that decompresses to more is refused.
pub(crate) const DECOMPRESSED_BATCH_BYTES: usize = 256 * 1024 * 1024;

/// A record that did not become a row, and why.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) source: usize,
    /// The input's index.
    pub(super) input: usize,
    pub(super) offset: i64,
    pub(super) error: RecordError,
}

/// Where the rows of one chunk came from.
#[derive(Debug)]
struct ChunkOrigin {
    first_order: u64,
    source: usize,
    input: usize,
    offsets: Vec<i64>,
}

/// Everything an epoch does that needs no state.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The rows of each stateless node that something with state, or a sink, reads.
    pub(super) rows: BTreeMap<usize, Vec<Rows>>,
    /// Records that become dead letters, in serial order; and the last of those that are skipped.
    pub(super) refused: Vec<Refused>,
    pub(super) skipped: Option<Refused>,
    /// Records that are shed and written to a topic, in serial order: the source, the input and the offset.
    pub(super) shed: Vec<(usize, usize, i64)>,
    pub(super) counters: Counters,
    /// The sources' clocks behind the epoch's records.
    pub(super) clocks: Vec<EventClock>,
    /// About how many bytes the records unpacked to, with the texts that were made of them.
    pub(super) unpacked: usize,
    /// The place of the next row.
    next_order: u64,
    origins: Vec<ChunkOrigin>,
}

impl Prepared {
    fn new(clocks: Vec<EventClock>) -> Prepared {
        Prepared {
            rows: BTreeMap::new(),
            refused: Vec::new(),
            skipped: None,
            shed: Vec::new(),
            counters: Counters::default(),
            clocks,
            unpacked: 0,
            next_order: 0,
            origins: Vec::new(),
        }
    }

    /// Takes what a stretch gives behind those before it. Event time goes on with its rows.
    fn take(&mut self, stretch: &Stretch, stretched: Stretched) {
        let Stretched { chunks, refused, skipped, shed, counters, unpacked, .. } = stretched;
        let clock = &mut self.clocks[stretch.source];
        for chunk in chunks {
            let first_order = self.next_order;
            let standing = clock.standing(stretch.slot);
            for (node, mut rows) in chunk.rows {
                for mark in &mut rows.marks {
                    mark.order += first_order;
                    mark.origin += first_order;
                    if mark.watermark != NO_TIME {
                        mark.watermark = standing.watermark(mark.watermark);
                    }
                }
                self.rows.entry(node).or_default().push(rows);
            }
            if let Some(reached) = chunk.reached {
                clock.advance(stretch.slot, reached);
            }
            self.next_order += chunk.offsets.len() as u64;
            let (source, input, offsets) = (stretch.source, stretch.input, chunk.offsets);
            self.origins.push(ChunkOrigin { first_order, source, input, offsets });
        }
        self.refused.extend(refused);
        self.skipped = skipped.or(self.skipped.take());
        self.shed.extend(shed.into_iter().map(|offset| (stretch.source, stretch.input, offset)));
        self.counters.add(&counters);
        self.unpacked += unpacked;
    }

    /// The last record that was skipped or became a dead letter, in serial order.
    pub(super) fn last_rejected(&self) -> Option<&Refused> {
        let rejected = self.skipped.iter().chain(self.refused.last());
        rejected.max_by_key(|rejected| (rejected.source, rejected.input, rejected.offset))
    }

    /// The records whose rows have these origins, each once, in serial order: the source, the input and the offset.
    pub(super) fn records(&self, mut origins: Vec<u64>) -> Vec<(usize, usize, i64)> {
        origins.sort_unstable();
        let mut records: Vec<_> = origins.into_iter().filter_map(|origin| self.origin(origin)).collect();
        // A record may be several rows, and a row may be late for several operators.
        records.dedup();
        records
    }

    /// The source, the input and the offset of a row.
    pub(super) fn origin(&self, order: u64) -> Option<(usize, usize, i64)> {
        let chunk = self.origins.partition_point(|chunk| chunk.first_order <= order).checked_sub(1)?;
        let chunk = &self.origins[chunk];
        let row = usize::try_from(order - chunk.first_order).ok()?;
        Some((chunk.source, chunk.input, *chunk.offsets.get(row)?))
    }
}

/// The plan as preparation needs it.
#[derive(Debug)]
pub(super) struct Early {
    /// For each source the stateless nodes behind it, inputs first.
    pub(super) nodes: Vec<Vec<usize>>,
    /// Whether a node's rows are wanted outside.
    pub(super) wanted: Vec<bool>,
    /// For each source a decoder without rows.
    decoders: Vec<RowDecoder>,
    pub(super) longest_window_ms: i64,
}

impl Early {
    pub(super) fn new(plan: &Plan) -> Result<Early, FormatError> {
        let decoder = |source: &Source| {
            let decoder = RowDecoder::new(&source.format, &source.columns, CHUNK_ROWS)?;
            Ok(decoder.with_primary_key(&source.upsert_key))
        };
        let decoders = plan.sources.iter().map(decoder).collect::<Result<_, _>>()?;
        let early = super::graph::early_nodes(plan);
        let mut wanted = vec![false; plan.nodes.len()];
        for (node, _) in plan.nodes.iter().zip(&early).filter(|(_, early)| !**early) {
            node.inputs.iter().for_each(|input| wanted[*input] |= early[*input]);
        }
        plan.sinks.iter().for_each(|sink| wanted[sink.input] |= early[sink.input]);
        let mut source_of = vec![None; plan.nodes.len()];
        let mut nodes = vec![Vec::new(); plan.sources.len()];
        for (index, node) in plan.nodes.iter().enumerate().filter(|(index, _)| early[*index]) {
            source_of[index] = match &node.operator {
                Operator::Source { source } => Some(*source),
                _ => node.inputs.first().and_then(|input| source_of[*input]),
            };
            if let Some(source) = source_of[index] {
                nodes[source].push(index);
            }
        }
        Ok(Early { nodes, wanted, decoders, longest_window_ms: plan.longest_window_ms() })
    }

    /// A decoder for the records of a source, without rows.
    pub(super) fn decoder(&self, source: usize) -> RowDecoder {
        self.decoders[source].fresh()
    }
}

/// Prepares an epoch.
#[derive(Debug)]
pub(super) struct Preparation<'p> {
    pub(super) workshop: Arc<Workshop>,
    pub(super) spec: &'p PipelineSpec,
    /// The records may unpack to so many bytes.
    pub(super) budget: usize,
    pub(super) executor: &'p dyn Executor,
}

impl Preparation<'_> {
    /// Takes the records that lie in the ranges of the inputs: source by source, and of each partition by partition.
    pub(super) fn run(
        self,
        ranges: &[OffsetRange],
        given: &[Option<&Input>],
        clocks: Vec<EventClock>,
    ) -> Result<Prepared, EpochError> {
        let stretches = self.stretches(ranges, given);
        let spec = self.spec;
        let plan = Arc::clone(&self.workshop.plan);
        let stretched = self.compute(&stretches);
        let stretched = stretched.and_then(|stretched| self.evaluate_held(&stretches, stretched));
        let stretched = stretched.map_err(|(at, mut error)| {
            if let EpochError::OverBudget { rest, .. } = &mut error {
                *rest = behind(&plan, spec, stretches[at].source, stretches[at].input);
            }
            error
        })?;
        let mut stops: BTreeMap<TopicPartition, AheadStop> = BTreeMap::new();
        for (stretch, stretched) in stretches.iter().zip(&stretched) {
            if let Some(stop) = stretched.ahead {
                let known = stops.entry(spec.inputs[stretch.input].partition.clone()).or_insert(stop);
                *known = if stop.offset < known.offset { stop } else { *known };
            }
        }
        if !stops.is_empty() {
            return Err(EpochError::Ahead { stops });
        }
        let mut prepared = Prepared::new(clocks);
        for (stretch, stretched) in stretches.iter().zip(stretched) {
            prepared.take(stretch, stretched);
        }
        Ok(prepared)
    }

    fn stretches(&self, ranges: &[OffsetRange], given: &[Option<&Input>]) -> Vec<Arc<Stretch>> {
        let mut stretches = Vec::new();
        for (source, Source { topic, .. }) in self.workshop.plan.sources.iter().enumerate() {
            let inputs = self.spec.inputs.iter().enumerate();
            let inputs = inputs.filter(|(_, input)| input.partition.topic == *topic);
            for (slot, (input, _)) in inputs.enumerate() {
                if let Some(batches) = given[input] {
                    stretches.extend(Stretch::cut((source, input, slot), batches, ranges[input]));
                }
            }
        }
        stretches.into_iter().map(Arc::new).collect()
    }

    /// What each stretch gives; or the first error in serial order, and of which stretch it is.
    fn compute(&self, stretches: &[Arc<Stretch>]) -> Result<Vec<Stretched>, (usize, EpochError)> {
        let Preparation { workshop, budget, executor, .. } = self;
        let (budget, executor) = (*budget, *executor);
        let records = stretches.iter().map(|stretch| stretch.records).sum();
        if is_worth_it(executor, records, stretches.len()) {
            let room = Room { budget, before: 0, together: Some(Arc::new(AtomicUsize::new(0))) };
            let workshop = Arc::clone(workshop);
            let work = move |stretch: Arc<Stretch>| workshop.compute(&stretch, room.clone());
            let given = each(executor, records, stretches.to_vec(), work);
            let given: Result<Vec<Stretched>, EpochError> = given.into_iter().collect();
            // Where anything is wrong, what comes first is found one after the other: how far the others had come by then
            // must not show.
            if let Ok(given) = given
                && given.iter().map(|stretched| stretched.unpacked).sum::<usize>() <= budget
            {
                return Ok(given);
            }
        }
        let mut given = Vec::with_capacity(stretches.len());
        let mut before = 0;
        for (index, stretch) in stretches.iter().enumerate() {
            let room = Room { budget, before, together: None };
            let stretched = workshop.compute(stretch, room).map_err(|error| (index, error))?;
            before += stretched.unpacked;
            given.push(stretched);
        }
        Ok(given)
    }
}

impl Preparation<'_> {
    /// Evaluates the chunks that waited until all of their source were decoded, once it is known which of their rows are
    /// shed. What is made of them needs room, too: of all stretches together.
    fn evaluate_held(
        &self,
        stretches: &[Arc<Stretch>],
        mut stretched: Vec<Stretched>,
    ) -> Result<Vec<Stretched>, (usize, EpochError)> {
        if stretched.iter().all(|stretched| stretched.held.is_empty()) {
            return Ok(stretched);
        }
        let workshop = &self.workshop;
        let mut before = 0;
        for source in 0..workshop.plan.sources.len() {
            let own: Vec<usize> =
                (0..stretches.len()).filter(|index| stretches[*index].source == source).collect();
            let mut chosen = self.choose_held(source, &own, &mut stretched);
            for index in own {
                let stretch = &stretches[index];
                let room = Room { budget: self.budget, before, together: None };
                let given = match chosen.remove(&index) {
                    Some(chunks) => {
                        let begun = std::mem::take(&mut stretched[index]);
                        Some(workshop.go_on(stretch, room, begun, chunks))
                    }
                    // What was made before it has taken some of its room: which record has none is found once more.
                    None if before > 0 && before + stretched[index].unpacked > self.budget => {
                        Some(workshop.compute(stretch, room))
                    }
                    None => None,
                };
                if let Some(given) = given {
                    stretched[index] = given.map_err(|error| (index, error))?;
                }
                before += stretched[index].unpacked;
            }
        }
        Ok(stretched)
    }

    /// The chunks of a source that waited, by their stretches, with the rows marked that are shed.
    fn choose_held(
        &self,
        source: usize,
        own: &[usize],
        stretched: &mut [Stretched],
    ) -> BTreeMap<usize, Vec<Chunk>> {
        let mut chosen: BTreeMap<usize, Vec<Chunk>> = BTreeMap::new();
        let Some(sieve) = self.workshop.sieve(source).filter(Sieve::holds) else { return chosen };
        let mut held = Vec::new();
        for index in own {
            let chunks = std::mem::take(&mut stretched[*index].held);
            held.extend(chunks.into_iter().map(|chunk| (*index, chunk)));
        }
        let computed = &self.workshop.plan.sources[source].computed;
        for (index, chunk) in sieve.choose(held, computed, self.workshop.now) {
            chosen.entry(index).or_default().push(chunk);
        }
        chosen
    }
}

/// The partitions whose turn comes after that of a source's input.
fn behind(plan: &Plan, spec: &PipelineSpec, source: usize, input: usize) -> Vec<TopicPartition> {
    let topics: Vec<&str> = plan.sources[source..].iter().map(|source| &*source.topic).collect();
    let is_behind = |index: usize, topic: &str| {
        index != input && (topics[1..].contains(&topic) || topics[0] == topic && index > input)
    };
    let inputs = spec.inputs.iter().enumerate();
    let behind = inputs.filter(|(index, other)| is_behind(*index, &other.partition.topic));
    behind.map(|(_, other)| other.partition.clone()).collect()
}
