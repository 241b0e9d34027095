use logmill_record::control::marker_batch;
use logmill_record::{Batch, BatchBuilder, BatchOptions, ProducerStamp};
use proptest::prelude::*;

use super::snapshot::Lookback;
use super::*;

const V1: bool = false;
const V2: bool = true;

/// Header of a batch of `count` records.
fn data(id: i64, epoch: i16, sequence: i32, count: usize, offset: i64, transactional: bool) -> BatchHeader {
    let producer = Some(ProducerStamp { id, epoch, sequence });
    let mut builder = BatchBuilder::new(BatchOptions { producer, transactional, ..BatchOptions::default() });
    for i in 0..count {
        builder.push(1000 + offset + i as i64, None, Some(b"v"), &[]);
    }
    *builder.build().stamped(offset, 0).header()
}

fn marker(id: i64, epoch: i16, commit: bool, offset: i64) -> (BatchHeader, Option<EndTxnMarker>) {
    let marker = EndTxnMarker { commit, coordinator_epoch: 3 };
    let batch: Batch = marker_batch(id, epoch, marker, 1000 + offset).stamped(offset, 0);
    (*batch.header(), Some(marker))
}

/// What became of a client's plain idempotent batch.
fn offer(producers: &mut Producers, header: &BatchHeader) -> Verdict {
    let verdict = producers.check_client(header, false, V1);
    if verdict == Verdict::Accept {
        producers.apply(header, None);
    }
    verdict
}

fn rejected(verdict: Verdict) -> Reject {
    match verdict {
        Verdict::Reject(reject) => reject,
        other => panic!("not rejected: {other:?}"),
    }
}

#[test]
fn sequences_follow_each_other() {
    let mut all = Producers::default();
    assert_eq!(offer(&mut all, &data(1, 0, 0, 3, 0, false)), Verdict::Accept);
    assert_eq!(offer(&mut all, &data(1, 0, 3, 2, 3, false)), Verdict::Accept);
    let gap = rejected(offer(&mut all, &data(1, 0, 6, 1, 5, false)));
    assert!(matches!(gap, Reject::OutOfOrderSequence { first_sequence: 6, last_sequence: 4, .. }), "{gap}");
    assert_eq!(offer(&mut all, &data(2, 0, 9, 1, 5, false)), Verdict::Accept, "unknown: any sequence");
    assert_eq!(
        all.check_client(&data(3, 0, 9, 1, 6, false), false, V2),
        Verdict::Reject(Reject::OutOfOrderSequence {
            producer_id: 3,
            producer_epoch: 0,
            first_sequence: 9,
            last_sequence: -1
        }),
        "unknown under version 2: only 0"
    );
    assert_eq!(all.check_client(&data(3, 0, 0, 1, 6, false), false, V2), Verdict::Accept);
}

#[test]
fn sequences_wrap_after_the_largest() {
    let mut all = Producers::default();
    assert_eq!(offer(&mut all, &data(1, 0, i32::MAX - 1, 2, 0, false)), Verdict::Accept);
    assert_eq!(offer(&mut all, &data(1, 0, 0, 1, 2, false)), Verdict::Accept);

    let mut all = Producers::default();
    let across = data(1, 0, i32::MAX - 1, 4, 0, false);
    assert_eq!(offer(&mut all, &across), Verdict::Accept);
    assert_eq!(offer(&mut all, &data(1, 0, 2, 1, 4, false)), Verdict::Accept);
    assert!(matches!(offer(&mut all, &across), Verdict::Duplicate(Remembered { last_sequence: 1, .. })));
}

#[test]
fn the_last_five_batches_are_recognised() {
    let mut all = Producers::default();
    for i in 0..7 {
        assert_eq!(offer(&mut all, &data(1, 0, i * 2, 2, i64::from(i) * 2, false)), Verdict::Accept);
    }
    for i in 2..7 {
        let offset = i64::from(i) * 2;
        match offer(&mut all, &data(1, 0, i * 2, 2, 99, false)) {
            Verdict::Duplicate(batch) => {
                assert_eq!(
                    (batch.base_offset, batch.last_offset, batch.timestamp),
                    (offset, offset + 1, 1001 + offset)
                );
            }
            other => panic!("batch {i}: {other:?}"),
        }
    }
    let old = rejected(offer(&mut all, &data(1, 0, 2, 2, 99, false)));
    assert!(matches!(old, Reject::OutOfOrderSequence { .. }), "what is not remembered may be new: {old}");
    let other_cut = rejected(offer(&mut all, &data(1, 0, 12, 1, 99, false)));
    assert!(matches!(other_cut, Reject::OutOfOrderSequence { .. }), "same start, other end: {other_cut}");
    let across = rejected(offer(&mut all, &data(1, 0, 3, 2, 99, false)));
    assert!(matches!(across, Reject::OutOfOrderSequence { .. }), "reaches into the remembered: {across}");
}

/// A first batch that was refused for another reason comes again after the second, which was not.
#[test]
fn what_was_never_appended_is_no_duplicate() {
    let mut all = Producers::default();
    assert_eq!(offer(&mut all, &data(1, 0, 10, 10, 0, false)), Verdict::Accept);
    for header in [data(1, 0, 0, 10, 10, false), data(1, 0, 9, 1, 10, false)] {
        let refused = rejected(offer(&mut all, &header));
        assert!(matches!(refused, Reject::OutOfOrderSequence { .. }), "{refused}");
    }
    let mut again = Producers::decode_snapshot(&all.encode_snapshot()).unwrap();
    assert!(matches!(
        rejected(offer(&mut again, &data(1, 0, 0, 10, 10, false))),
        Reject::OutOfOrderSequence { .. }
    ));
}

#[test]
fn epochs_only_grow_and_begin_at_zero() {
    let mut all = Producers::default();
    offer(&mut all, &data(1, 5, 0, 3, 0, false));
    let older = rejected(offer(&mut all, &data(1, 4, 3, 1, 3, false)));
    assert_eq!(older, Reject::InvalidEpoch { producer_id: 1, producer_epoch: 4, current_epoch: 5 });
    let not_zero = rejected(offer(&mut all, &data(1, 6, 3, 1, 3, false)));
    assert!(matches!(not_zero, Reject::OutOfOrderSequence { .. }), "{not_zero}");
    assert_eq!(offer(&mut all, &data(1, 6, 0, 1, 3, false)), Verdict::Accept);
    assert_eq!(offer(&mut all, &data(1, 6, 1, 1, 4, false)), Verdict::Accept, "old sequences are forgotten");
}

#[test]
fn a_transaction_in_a_partition() {
    let mut all = Producers::default();
    let first = data(1, 0, 0, 2, 10, true);
    assert_eq!(
        rejected(all.check_client(&first, false, V2)),
        Reject::TransactionNotOpen { producer_id: 1, producer_epoch: 0 }
    );
    assert_eq!(all.check_client(&first, true, V2), Verdict::Accept);
    let began = all.apply(&first, None);
    assert_eq!(began, Some(TransactionEvent::Began { producer_id: 1, first_offset: 10 }));
    let second = data(1, 0, 2, 1, 12, true);
    assert_eq!(all.check_client(&second, false, V2), Verdict::Accept);
    assert_eq!(all.apply(&second, None), None);

    let plain = rejected(all.check_client(&data(1, 0, 3, 1, 13, false), false, V2));
    assert!(matches!(plain, Reject::OutsideOpenTransaction { first_offset: 10, .. }), "{plain}");
    let newer = rejected(all.check_client(&data(1, 1, 0, 1, 13, true), true, V2));
    assert!(matches!(newer, Reject::OutsideOpenTransaction { open_epoch: 0, .. }), "{newer}");

    let other = data(2, 0, 0, 1, 13, true);
    all.apply(&other, None);
    assert_eq!(all.open_transactions().first_offset(), Some(10));

    let (header, end) = marker(1, 1, false, 14);
    let ended = all.apply(&header, end);
    let expected = EndedTransaction {
        producer_id: 1,
        first_offset: 10,
        last_offset: 14,
        committed: false,
        last_stable_offset: 13,
    };
    assert_eq!(ended, Some(TransactionEvent::Ended(expected)));
    let (header, end) = marker(2, 1, true, 15);
    let Some(TransactionEvent::Ended(ended)) = all.apply(&header, end) else { panic!("it was open") };
    assert_eq!((ended.committed, ended.last_stable_offset), (true, 16));
    let (header, end) = marker(2, 2, true, 16);
    assert_eq!(all.apply(&header, end), None, "a transaction without data here");
    assert!(all.open_transactions().is_empty());
}

#[test]
fn after_a_marker_of_version_2_the_producer_goes_on_in_its_epoch_at_zero() {
    let mut all = Producers::default();
    all.apply(&data(1, 0, 0, 2, 0, true), None);
    let (header, end) = marker(1, 1, true, 2);
    all.apply(&header, end);
    let late = rejected(all.check_client(&data(1, 0, 2, 1, 3, true), true, V2));
    assert!(matches!(late, Reject::InvalidEpoch { current_epoch: 1, .. }), "{late}");
    assert!(matches!(all.check_client(&data(1, 1, 2, 1, 3, true), true, V2), Verdict::Reject(_)));
    assert_eq!(all.check_client(&data(1, 1, 0, 1, 3, true), true, V2), Verdict::Accept);
}

#[test]
fn epochs_of_markers() {
    let mut all = Producers::default();
    assert_eq!(all.check_marker(1, 0, 0, V2), Verdict::Accept, "unknown producer");
    all.apply(&data(1, 4, 0, 2, 0, true), None);
    let invalid =
        Verdict::Reject(Reject::InvalidEpoch { producer_id: 1, producer_epoch: 4, current_epoch: 4 });
    assert_eq!(
        all.check_marker(1, 4, 3, V2),
        invalid,
        "version 2 needs a newer epoch while a transaction is open"
    );
    assert_eq!(all.check_marker(1, 4, 3, V1), Verdict::Accept);
    assert_eq!(all.check_marker(1, 5, 3, V2), Verdict::Accept);
    assert!(matches!(all.check_marker(1, 3, 3, V1), Verdict::Reject(Reject::InvalidEpoch { .. })));
    let (header, end) = marker(1, 5, true, 2);
    all.apply(&header, end);
    assert_eq!(all.check_marker(1, 5, 3, V2), Verdict::Accept, "the coordinator tries again");
    assert_eq!(
        all.check_marker(1, 5, 2, V2),
        Verdict::Reject(Reject::CoordinatorFenced { producer_id: 1, found: 2, current: 3 })
    );
}

#[test]
fn the_broker_s_own_batches_have_no_sequences() {
    let mut all = Producers::default();
    let first = data(1, 0, -1, 1, 0, true);
    assert_eq!(all.check_internal(&first), Verdict::Accept);
    all.apply(&first, None);
    assert_eq!(all.check_internal(&data(1, 0, -1, 1, 1, true)), Verdict::Accept);
    assert!(matches!(all.check_internal(&data(1, 0, -1, 1, 1, false)), Verdict::Reject(_)));
    let (header, end) = marker(1, 1, true, 1);
    all.apply(&header, end);
    assert!(matches!(all.check_internal(&first), Verdict::Reject(Reject::InvalidEpoch { .. })));
}

#[test]
fn a_rejected_frame_is_taken_back() {
    let mut all = Producers::default();
    all.apply(&data(1, 0, 0, 2, 0, true), None);
    let before = all.clone();
    let saved = [all.save(1), all.save(2)];
    let (header, end) = marker(1, 1, true, 2);
    all.apply(&header, end);
    all.apply(&data(1, 1, 0, 2, 3, true), None);
    all.apply(&data(2, 0, 0, 2, 5, true), None);
    assert_ne!(all, before);
    for saved in saved.into_iter().rev() {
        all.restore(saved);
    }
    assert_eq!(all, before);
}

#[test]
fn expiry_spares_open_transactions() {
    let mut all = Producers::default();
    all.apply(&data(1, 0, 0, 1, 0, false), None);
    all.apply(&data(2, 0, 0, 1, 1, true), None);
    all.apply(&data(3, 0, 0, 1, 2, false), None);
    assert_eq!(all.expire(500, 100), 0);
    all.apply(&data(3, 0, 1, 1, 3, false), None);
    let (header, end) = marker(4, 0, true, 4);
    all.apply(&header, end);
    assert_eq!(all.expire(599, 100), 0);
    assert_eq!(all.expire(600, 100), 1);
    assert_eq!(all.views().map(|p| p.producer_id).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(all.expire(i64::MIN, 1), 0);
    assert_eq!(all.expire(699, 100), 2, "3 and 4 were found silent at 599");
    let (header, end) = marker(2, 1, true, 5);
    all.apply(&header, end);
    assert_eq!((all.expire(700, 100), all.expire(800, 100)), (0, 1), "counted from the transaction's end");
}

/// Events of 2013 are written today.
#[test]
fn old_timestamps_do_not_make_a_producer_old() {
    const DAY: i64 = 24 * 3600 * 1000;
    let now = 1_764_000_000_000;
    let mut all = Producers::default();
    let (first, second) = (data(1, 0, 0, 1, 0, false), data(1, 0, 1, 1, 1, false));
    assert!(first.max_timestamp < now - DAY);
    all.apply(&first, None);
    assert_eq!(all.expire(now, DAY), 0);
    all.apply(&second, None);
    assert_eq!(all.expire(now + 60_000, DAY), 0);
    assert!(matches!(offer(&mut all, &second), Verdict::Duplicate(_)), "its answer was lost");
}

#[test]
fn snapshot_bytes() {
    let mut all = Producers::default();
    all.apply(&data(258, 7, 40, 3, 90, true), None);
    let bytes = all.encode_snapshot();
    let expected: &[&[u8]] = &[
        &1i16.to_be_bytes(),
        &crc_fast::crc32_iscsi(&bytes[6..]).to_be_bytes(),
        &1i32.to_be_bytes(),
        &258i64.to_be_bytes(),
        &7i16.to_be_bytes(),
        &42i32.to_be_bytes(),   // last sequence
        &92i64.to_be_bytes(),   // last offset
        &2i32.to_be_bytes(),    // offset delta
        &1092i64.to_be_bytes(), // timestamp
        &(-1i32).to_be_bytes(), // coordinator epoch
        &90i64.to_be_bytes(),   // first offset of the transaction
    ];
    assert_eq!(bytes, expected.concat());
    assert_eq!(Producers::decode_snapshot(&bytes), Ok(all));
    assert_eq!(Producers::default().encode_snapshot().len(), 10);
}

#[test]
fn damaged_snapshots_are_refused() {
    let mut all = Producers::default();
    all.apply(&data(1, 0, 0, 3, 0, true), None);
    all.apply(&data(2, 0, 0, 3, 3, false), None);
    let good = all.encode_snapshot();
    for cut in 0..good.len() {
        assert!(Producers::decode_snapshot(&good[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..good.len() * 8 {
        let mut flipped = good.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Producers::decode_snapshot(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn a_producer_without_batches_survives_a_snapshot() {
    let mut all = Producers::default();
    let (header, end) = marker(1, 3, true, 0);
    all.apply(&header, end);
    let again = Producers::decode_snapshot(&all.encode_snapshot()).unwrap();
    assert_eq!(again, all);
    assert_eq!(again.views().next().unwrap().coordinator_epoch, 3);
}

#[test]
fn looking_back_finds_the_batches_a_snapshot_has_no_room_for() {
    let mut all = Producers::default();
    let mut lookback = Lookback::default();
    // An older epoch first, which counts no more.
    let mut headers = vec![data(1, 0, 0, 2, 0, false)];
    headers.extend((0..7).map(|i| data(1, 1, i * 2, 2, 2 + i64::from(i) * 2, false)));
    for header in &headers {
        all.apply(header, None);
        lookback.observe(header);
    }
    let mut again = Producers::decode_snapshot(&all.encode_snapshot()).unwrap();
    assert_ne!(again, all);
    lookback.complete(&mut again);
    assert_eq!(again, all);

    // A row that does not end with the snapshot's batch says nothing.
    let mut broken = Lookback::default();
    broken.observe(&headers[3]);
    let mut again = Producers::decode_snapshot(&all.encode_snapshot()).unwrap();
    let before = again.clone();
    broken.complete(&mut again);
    assert_eq!(again, before);
}

/// Steps of a few producers, as a partition would see them after its checks.
#[derive(Debug, Clone)]
enum StepOf {
    Data { id: i64, count: usize, transactional: bool },
    Marker { id: i64, commit: bool },
}

fn steps() -> impl Strategy<Value = Vec<StepOf>> {
    let step = prop_oneof![
        3 => (0..4i64, 1..4usize, any::<bool>())
            .prop_map(|(id, count, transactional)| StepOf::Data { id, count, transactional }),
        1 => (0..4i64, any::<bool>()).prop_map(|(id, commit)| StepOf::Marker { id, commit }),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever happened, a snapshot and the last stable offset tell the same as a plain model.
    #[test]
    fn snapshots_and_open_transactions_agree_with_a_model(steps in steps()) {
        let mut all = Producers::default();
        let mut open = std::collections::BTreeMap::new();
        let (mut epochs, mut sequences) = ([0i16; 4], [0i32; 4]);
        let mut offset = 0;
        for step in steps {
            match step {
                StepOf::Data { id, count, transactional } => {
                    let i = id as usize;
                    let header = data(id, epochs[i], sequences[i], count, offset, transactional);
                    let accepted = all.check_client(&header, true, V2) == Verdict::Accept;
                    prop_assert_eq!(accepted, transactional || !open.contains_key(&id));
                    if accepted {
                        all.apply(&header, None);
                        sequences[i] += count as i32;
                        offset += count as i64;
                        if transactional {
                            open.entry(id).or_insert(header.base_offset);
                        }
                    }
                }
                StepOf::Marker { id, commit } => {
                    let i = id as usize;
                    epochs[i] += 1;
                    sequences[i] = 0;
                    prop_assert_eq!(all.check_marker(id, epochs[i], 3, V2), Verdict::Accept);
                    let (header, end) = marker(id, epochs[i], commit, offset);
                    let event = all.apply(&header, end);
                    let ended = open.remove(&id);
                    let lso = open.values().min().copied().unwrap_or(offset + 1);
                    let expected = ended.map(|first_offset| TransactionEvent::Ended(EndedTransaction {
                        producer_id: id, first_offset, last_offset: offset, committed: commit, last_stable_offset: lso,
                    }));
                    prop_assert_eq!(event, expected);
                    offset += 1;
                }
            }
            prop_assert_eq!(all.open_transactions().first_offset(), open.values().min().copied());
        }
        let again = Producers::decode_snapshot(&all.encode_snapshot()).unwrap();
        prop_assert_eq!(again.open_transactions(), all.open_transactions());
        prop_assert_eq!(again.views().collect::<Vec<_>>(), all.views().collect::<Vec<_>>());
    }

    #[test]
    fn garbage_snapshots_never_panic(mut garbage in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Producers::decode_snapshot(&garbage);
        // With version and checksum right, the entries themselves are judged.
        if garbage.len() >= 10 {
            garbage[..2].copy_from_slice(&1i16.to_be_bytes());
            let count = ((garbage.len() - 10) / 46) as i32;
            garbage.truncate(10 + count as usize * 46);
            garbage[6..10].copy_from_slice(&count.to_be_bytes());
            let crc = crc_fast::crc32_iscsi(&garbage[6..]);
            garbage[2..6].copy_from_slice(&crc.to_be_bytes());
            let _ = Producers::decode_snapshot(&garbage);
        }
    }
}
