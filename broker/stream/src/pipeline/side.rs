//! Records that did not become rows, sent to topics of their own: dead letters, late records, and what is shed.
//!
//! They are looked up in the epoch's batches again, each batch once: they are few, and keeping every record for their
//! sake would be dear.

use logmill_record::{Codec, Record};

use super::cut::{Input, TopicPartition};
use super::errors::{EpochError, RecordError};
use super::output::OutputBatch;
use super::prepare::{DECOMPRESSED_BATCH_BYTES, Prepared};
use super::sinks::TopicWriter;
use super::spec::PipelineSpec;
use crate::plan::{ErrorPolicy, Plan};

/// The batches of dead letters, of late records (source, input and offset of each), and of what is shed.
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
            let refused = prepared.refused.iter().filter(|refused| refused.source == index);
            let mut refused: Vec<_> =
                refused.map(|refused| (refused.input, refused.offset, &refused.error)).collect();
            refused.sort_by_key(|(input, offset, _)| (*input, *offset));
            for same in refused.chunk_by(|(one, _, _), (other, _, _)| one == other) {
                let partition = &spec.inputs[same[0].0].partition;
                let offsets: Vec<i64> = same.iter().map(|(_, offset, _)| *offset).collect();
                let mut errors = same.iter().map(|(_, _, error)| *error);
                for_each(given[same[0].0], &offsets, |record| {
                    let error = errors.next().expect("there is one for each record");
                    write_dead(partition, record, error, spec.partitions(topic), &mut writer);
                })?;
            }
            outputs.extend(writer.finish());
        }
        if let Some(topic) = &source.late_topic {
            let mut writer = TopicWriter::new(topic, Codec::None);
            write_records(index, late, spec, given, &[], &mut writer)?;
            outputs.extend(writer.finish());
        }
        if let Some(shed) = &source.shed
            && let Some(topic) = &shed.topic
        {
            let mut writer = TopicWriter::new(topic, Codec::None);
            let reasons = [(&b"logmill.shed"[..], shed.policy.name().as_bytes())];
            write_records(index, &prepared.shed, spec, given, &reasons, &mut writer)?;
            outputs.extend(writer.finish());
        }
    }
    Ok(outputs)
}

/// Writes those of the records that are of a source: source, input and offset of each.
fn write_records(
    index: usize,
    records: &[(usize, usize, i64)],
    spec: &PipelineSpec,
    given: &[Option<&Input>],
    reasons: &[(&[u8], &[u8])],
    writer: &mut TopicWriter,
) -> Result<(), EpochError> {
    let mut records: Vec<_> = records.iter().filter(|(source, _, _)| *source == index).collect();
    records.sort_unstable();
    let partitions = spec.partitions(writer.topic());
    for same in records.chunk_by(|(_, one, _), (_, other, _)| one == other) {
        let partition = &spec.inputs[same[0].1].partition;
        let offsets: Vec<i64> = same.iter().map(|(_, _, offset)| *offset).collect();
        for_each(given[same[0].1], &offsets, |record| {
            write_record(partition, record, reasons, partitions, writer);
        })?;
    }
    Ok(())
}

/// Hands over the records at offsets of the epoch, which ascend. Says how many batches it has opened.
fn for_each(
    input: Option<&Input>,
    offsets: &[i64],
    mut take: impl FnMut(&Record),
) -> Result<usize, EpochError> {
    let input = input.expect("the records were read from it");
    let mut wanted = offsets.iter().copied().peekable();
    let mut opened = 0;
    for batch in input.batches.iter().filter(|batch| !batch.header().is_control()) {
        let header = batch.header();
        let covered = header.base_offset..header.next_offset();
        let Some(first) = wanted.peek().copied().filter(|offset| covered.contains(offset)) else { continue };
        let damaged = |error| EpochError::DamagedBatch {
            partition: input.partition.clone(),
            base_offset: header.base_offset,
            error,
        };
        let open = batch.open(DECOMPRESSED_BATCH_BYTES).map_err(damaged)?;
        opened += 1;
        for view in open.records_from(first) {
            let view = view.map_err(damaged)?;
            if wanted.peek().is_none_or(|offset| !covered.contains(offset)) {
                break;
            }
            if wanted.next_if_eq(&view.offset).is_some() {
                take(&open.own(&view).map_err(damaged)?);
            }
        }
    }
    assert_eq!(wanted.next(), None, "{}: the record was read from these batches", input.partition);
    Ok(opened)
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

#[cfg(test)]
mod tests {
    use logmill_record::{Batch, BatchBuilder, BatchOptions};

    use super::*;

    fn batch(base_offset: i64, records: i64) -> Batch {
        let mut builder = BatchBuilder::new(BatchOptions { codec: Codec::Lz4, ..BatchOptions::default() });
        (0..records).for_each(|record| builder.push(record, None, Some(b"x"), &[]));
        builder.build().stamped(base_offset, 0)
    }

    #[test]
    fn each_batch_is_opened_once_however_many_of_its_records_are_wanted() {
        let batches = vec![batch(0, 100), batch(100, 100), batch(200, 100)];
        let input = Input { partition: TopicPartition::new("t", 0), batches, aborted: Vec::new() };
        let offsets: Vec<i64> = (0..100).step_by(3).chain([250, 251, 299]).collect();
        let mut found = Vec::new();
        let opened = for_each(Some(&input), &offsets, |record| found.push(record.offset)).unwrap();
        assert_eq!((found, opened), (offsets, 2));
    }
}
