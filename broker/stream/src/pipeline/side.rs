//! Records that did not become rows, sent to topics of their own: dead letters and late records.
//!
//! They are looked up in the epoch's batches again: they are few, and keeping every record for their sake would be
//! dear.

use logmill_record::{Codec, Record};

use super::cut::{Input, TopicPartition};
use super::errors::{EpochError, RecordError};
use super::output::OutputBatch;
use super::prepare::{DECOMPRESSED_BATCH_BYTES, Prepared};
use super::sinks::TopicWriter;
use super::spec::PipelineSpec;
use crate::plan::{ErrorPolicy, Plan};

/// The batches of dead letters, and of late records: source, input and offset of each.
pub(super) fn write(
    plan: &Plan,
    spec: &PipelineSpec,
    given: &[Option<&Input>],
    prepared: &Prepared,
    late: &[(usize, usize, i64)],
) -> Result<Vec<OutputBatch>, EpochError> {
    let mut outputs = Vec::new();
    for (index, source) in plan.sources.iter().enumerate() {
        if let ErrorPolicy::DeadLetter { topic } = &source.on_error {
            let mut writer = TopicWriter::new(topic, Codec::None);
            for refused in prepared.refused.iter().filter(|refused| refused.source == index) {
                let record = find(given, refused.input, refused.offset)?;
                let partition = &spec.inputs[refused.input].partition;
                write_dead(partition, &record, &refused.error, spec.partitions(topic), &mut writer);
            }
            outputs.extend(writer.finish());
        }
        if let Some(topic) = &source.late_topic {
            let mut writer = TopicWriter::new(topic, Codec::None);
            for (_, input, offset) in late.iter().filter(|(source, _, _)| *source == index) {
                let record = find(given, *input, *offset)?;
                let partition = &spec.inputs[*input].partition;
                write_record(partition, &record, &[], spec.partitions(topic), &mut writer);
            }
            outputs.extend(writer.finish());
        }
    }
    Ok(outputs)
}

/// The record at an offset of the epoch.
fn find(given: &[Option<&Input>], input: usize, offset: i64) -> Result<Record, EpochError> {
    let input = given[input].expect("the record was read from it");
    let covers = |header: &logmill_record::BatchHeader| {
        (header.base_offset..header.next_offset()).contains(&offset) && !header.is_control()
    };
    for batch in input.batches.iter().filter(|batch| covers(batch.header())) {
        let damaged = |error| EpochError::DamagedBatch {
            partition: input.partition.clone(),
            base_offset: batch.header().base_offset,
            error,
        };
        let open = batch.open(DECOMPRESSED_BATCH_BYTES).map_err(damaged)?;
        for view in open.records() {
            let view = view.map_err(damaged)?;
            if view.offset == offset {
                return open.own(&view).map_err(damaged);
            }
        }
    }
    unreachable!("{}: the record at offset {offset} was read from these batches", input.partition)
}

/// Writes the record as it came, with headers that say why and from where.
fn write_dead(
    source: &TopicPartition,
    record: &Record,
    error: &RecordError,
    partitions: i32,
    writer: &mut TopicWriter,
) {
    let text = error.to_string();
    let reasons =
        [(&b"logmill.error"[..], text.as_bytes()), (b"logmill.operator", error.operator().as_bytes())];
    write_record(source, record, &reasons, partitions, writer);
}

fn write_record(
    source: &TopicPartition,
    record: &Record,
    reasons: &[(&[u8], &[u8])],
    partitions: i32,
    writer: &mut TopicWriter,
) {
    let partition = source.partition.to_string();
    let offset = record.offset.to_string();
    let mut headers: Vec<(&[u8], Option<&[u8]>)> =
        record.headers.iter().map(|header| (&*header.key, header.value.as_deref())).collect();
    headers.extend(reasons.iter().map(|(key, value)| (*key, Some(*value))));
    headers.extend([
        (&b"logmill.topic"[..], Some(source.topic.as_bytes())),
        (b"logmill.partition", Some(partition.as_bytes())),
        (b"logmill.offset", Some(offset.as_bytes())),
    ]);
    writer.push(
        source.partition % partitions,
        record.timestamp,
        record.key.as_deref(),
        record.value.as_deref(),
        &headers,
    );
}
