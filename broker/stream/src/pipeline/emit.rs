//! Output rows: closed groups and projected records, evaluated, encoded and sent to their partitions.

use logmill_record::Batch;

use super::errors::EpochError;
use super::output::OutputBatch;
use super::prepare::Position;
use super::progress::Counters;
use super::sinks::{TopicWriter, codec};
use crate::column::{Column, ColumnBuilder};
use crate::eval::{Evaluator, Fault};
use crate::format::{RecordEncoder, encode_key};
use crate::murmur2::partition_for_key;
use crate::plan::{Plan, SinkErrorPolicy, WindowAggregate};
use crate::time::Iso;
use crate::value::{DataType, Value};
use crate::window::{ClosedGroup, decode_key};

/// Writes the sink's records of one epoch.
#[derive(Debug)]
pub(super) struct SinkWriter<'p> {
    plan: &'p Plan,
    partitions: i32,
    encoder: RecordEncoder,
    writer: TopicWriter,
    value: Vec<u8>,
    key: Vec<u8>,
}

impl<'p> SinkWriter<'p> {
    pub(super) fn new(plan: &'p Plan, partitions: i32) -> Self {
        Self {
            plan,
            partitions,
            encoder: RecordEncoder::new(&plan.sink.format, &plan.sink.columns)
                .expect("the pipeline was built with the same encoder"),
            writer: TopicWriter::new(&plan.sink.topic, codec(plan.sink.compression)),
            value: Vec::new(),
            key: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Vec<OutputBatch> {
        self.writer.finish()
    }

    /// Writes one row of a projection: to the partition of the same number as its record's, without a key, with its
    /// event time or else its record's timestamp.
    pub(super) fn write_projected(
        &mut self,
        columns: &[Column],
        row: usize,
        time: Option<i64>,
        position: Position,
        source_partition: i32,
        counters: &mut Counters,
    ) -> Result<(), EpochError> {
        if let Some(fault) = self.missing_value(columns, row) {
            return self.refuse(fault, counters, || {
                format!("partition {source_partition}, offset {}", position.offset)
            });
        }
        let partition = source_partition % self.partitions;
        let written = self.write(columns, row, |_| (partition, time.unwrap_or(position.timestamp)), None);
        self.count(written, counters, || format!("partition {source_partition}, offset {}", position.offset))
    }

    /// Writes the rows of closed groups, in their order.
    pub(super) fn write_groups(
        &mut self,
        window: &WindowAggregate,
        groups: &[ClosedGroup],
        counters: &mut Counters,
    ) -> Result<(), EpochError> {
        if groups.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = window.keys.iter().map(|key| key.name.clone()).collect();
        let key_types: Vec<DataType> = window.keys.iter().map(|key| key.expression.data_type()).collect();
        let keys: Vec<Vec<Value>> = groups
            .iter()
            .map(|group| decode_key(&group.key, &key_types).expect("the engine encoded the key itself"))
            .collect();
        let (columns, finish_faults) = group_rows(window, groups, &keys);
        let mut evaluator = Evaluator::new(&columns, groups.len());
        finish_faults.into_iter().for_each(|(row, fault)| evaluator.add_fault(row, fault));
        let all = evaluator.all_rows();
        let kept = match &window.having {
            Some(having) => evaluator.evaluate_mask(having, &all),
            None => all,
        };
        let outputs: Vec<Column> =
            window.outputs.iter().map(|output| evaluator.evaluate(output, &kept)).collect();
        let mut faults = evaluator.into_faults();
        for (row, group) in groups.iter().enumerate() {
            let fault = faults
                .remove(&row)
                .or_else(|| kept.value(row).then(|| self.missing_value(&outputs, row)).flatten());
            let key = encode_key(&names, &keys[row]);
            if let Some(fault) = fault {
                self.refuse(fault, counters, || {
                    let key = key.as_deref().map_or("none".into(), String::from_utf8_lossy);
                    format!("the window that ends {}, key {key}", Iso(group.window_end))
                })?;
            } else if kept.value(row) {
                let partitions = self.partitions;
                let place = |key: Option<&[u8]>| {
                    let partition = key.map_or(0, |key| partition_for_key(key, partitions));
                    (partition, group.window_end - 1)
                };
                let written = self.write(&outputs, row, place, key.as_deref());
                self.count(written, counters, || {
                    let key = key.as_deref().map_or("none".into(), String::from_utf8_lossy);
                    format!("the window that ends {}, key {key}", Iso(group.window_end))
                })?;
            }
        }
        Ok(())
    }

    /// Writes a row that may be written. Its key is what the table's columns say, else the one given; `place` says
    /// partition and timestamp by it.
    fn write(
        &mut self,
        columns: &[Column],
        row: usize,
        place: impl FnOnce(Option<&[u8]>) -> (i32, i64),
        key: Option<&[u8]>,
    ) -> Result<(), Fault> {
        let Self { encoder, writer, value, key: own_key, .. } = self;
        value.clear();
        own_key.clear();
        let fault = |reason| Fault { expression: self.plan.sink.format.to_string(), reason };
        let has_value = encoder.value(columns, row, value).map_err(fault)?;
        let has_key = encoder.key(columns, row, own_key).map_err(fault)?;
        let key = if has_key { Some(own_key.as_slice()) } else { key };
        let (partition, timestamp) = place(key);
        let timestamp = encoder.timestamp(columns, row).unwrap_or(timestamp);
        let headers = encoder.headers(columns, row);
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            headers.iter().map(|(name, value)| (*name, Some(value.as_slice()))).collect();
        writer.push(partition, timestamp, key, has_value.then_some(value.as_slice()), &headers);
        Ok(())
    }

    fn count(
        &self,
        written: Result<(), Fault>,
        counters: &mut Counters,
        row: impl FnOnce() -> String,
    ) -> Result<(), EpochError> {
        match written {
            Ok(()) => {
                counters.written += 1;
                Ok(())
            }
            Err(fault) => self.refuse(fault, counters, row),
        }
    }

    /// A `NOT NULL` column of the sink that the row has no value for.
    fn missing_value(&self, columns: &[Column], row: usize) -> Option<Fault> {
        let declared = self.plan.sink.columns.iter().zip(columns);
        let missing =
            declared.into_iter().find(|(declared, column)| declared.required && column.is_null(row));
        missing.map(|(declared, _)| Fault {
            expression: declared.name.clone(),
            reason: "it is NULL, but the column is NOT NULL".to_owned(),
        })
    }

    fn refuse(
        &self,
        fault: Fault,
        counters: &mut Counters,
        row: impl FnOnce() -> String,
    ) -> Result<(), EpochError> {
        match self.plan.sink.on_error {
            SinkErrorPolicy::Skip => {
                counters.unwritten += 1;
                Ok(())
            }
            SinkErrorPolicy::Fail => {
                Err(EpochError::OutputRow { row: row(), expression: fault.expression, reason: fault.reason })
            }
        }
    }
}

/// The columns of closed groups: window start, window end, keys, aggregates; and the aggregates without a result.
fn group_rows(
    window: &WindowAggregate,
    groups: &[ClosedGroup],
    keys: &[Vec<Value>],
) -> (Vec<Column>, Vec<(usize, Fault)>) {
    let mut builders: Vec<ColumnBuilder> =
        window.row().into_iter().map(|data_type| ColumnBuilder::new(data_type, groups.len())).collect();
    let mut faults = Vec::new();
    for (row, (group, key)) in groups.iter().zip(keys).enumerate() {
        let bounds =
            [Value::Timestamp(group.window_end - window.size_ms), Value::Timestamp(group.window_end)];
        let aggregates = window.aggregates.iter().zip(&group.accumulators).map(|(aggregate, accumulator)| {
            accumulator.finish(aggregate.data_type()).unwrap_or_else(|reason| {
                faults.push((row, Fault { expression: aggregate.to_string(), reason }));
                Value::Null
            })
        });
        let values = bounds.into_iter().chain(key.iter().cloned()).chain(aggregates);
        for (builder, value) in builders.iter_mut().zip(values) {
            builder.append(&value);
        }
    }
    (builders.iter_mut().map(ColumnBuilder::finish).collect(), faults)
}

/// CRC-32 over batches, in order.
pub(super) fn digest<'b>(batches: impl Iterator<Item = &'b Batch>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    batches.for_each(|batch| hasher.update(batch.bytes()));
    hasher.finalize()
}
