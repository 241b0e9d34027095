//! Transactions: what is open, what is stable, what was aborted.

use super::*;

const V2: Check = Check::Marker { coordinator_epoch: 1, transaction_v2: true };

fn begin(store: &Store, state: PartitionId, data: PartitionId, producer: i64, epoch: i16) {
    let frame = vec![
        append(state, batch("state", 1), INTERNAL),
        append(
            data,
            produced(producer, epoch, 0, true),
            Check::Client { begins: true, transaction_v2: true },
        ),
    ];
    store.commit(Frame::from(frame), None).unwrap();
}

#[test]
fn the_last_stable_offset_waits_for_the_end_of_the_transaction() {
    let disk = SimDisk::new(1);
    let (mut store, _) = open(&disk);
    let (state, data) = (id(1, 0), id(2, 0));
    create(&store, 1, 0, Durability::Disk);
    create(&store, 2, 0, Durability::Disk);
    let refused = commit_one(&store, data, produced(9, 0, 0, true), PLAIN).unwrap_err();
    assert!(matches!(refused, Rejection::TransactionNotOpen { .. }));
    begin(&store, state, data, 9, 0);
    commit_one(&store, data, produced(9, 0, 2, true), PLAIN).unwrap();
    commit_one(&store, data, batch("plain", 1), PLAIN).unwrap();
    assert!(matches!(
        commit_one(&store, data, produced(9, 0, 0, false), PLAIN),
        Err(Rejection::DuplicateSequence { .. } | Rejection::OutsideOpenTransaction { .. })
            | Ok(Appended { duplicate: true, .. })
    ));
    settle(&store);
    for round in 0..2 {
        let partition = store.partition(data).unwrap();
        assert_eq!(
            partition.published(),
            Published { log_start_offset: 0, high_watermark: 5, last_stable_offset: 0 },
            "round {round}"
        );
        assert!(offsets(&read(&partition, 0, Isolation::Committed)).is_empty());
        assert_eq!(offsets(&read(&partition, 0, Isolation::Uncommitted)), [0, 2, 4]);
        drop((store, partition));
        disk.restart();
        store = open(&disk).0;
    }

    // The end is one frame: state record and marker.
    let end = vec![append(state, batch("ended", 1), INTERNAL), append(data, marker(9, 1, false), V2)];
    store.commit(Frame::from(end), None).unwrap();
    let partition = store.partition(data).unwrap();
    assert_eq!(partition.published().last_stable_offset, 0, "not durable yet");
    store.journal_round().unwrap();
    for step in 0..4 {
        let partition = store.partition(data).unwrap();
        assert_eq!(partition.published().last_stable_offset, 6, "step {step}");
        let committed = read(&partition, 0, Isolation::Committed);
        // What is in files and what is in memory may come with two reads.
        assert!([0, 2, 4, 5].starts_with(&offsets(&committed)), "step {step}");
        assert_eq!(committed.aborted.len(), 1, "step {step}");
        let aborted = committed.aborted[0];
        assert_eq!((aborted.producer_id, aborted.first_offset, aborted.last_offset), (9, 0, 5));
        assert!(read(&partition, 0, Isolation::Uncommitted).aborted.is_empty());
        match step {
            0 => settle(&store),
            1 => {
                store.checkpoint().unwrap();
            }
            _ => {
                drop((store, partition));
                disk.restart();
                store = open(&disk).0;
            }
        }
    }
}

#[test]
fn markers_have_their_own_epoch_rules() {
    let (store, _) = open(&SimDisk::new(1));
    let (state, data) = (id(1, 0), id(2, 0));
    create(&store, 1, 0, Durability::Disk);
    create(&store, 2, 0, Durability::Disk);
    begin(&store, state, data, 9, 4);
    let late = commit_one(&store, data, marker(9, 3, true), MARKER).unwrap_err();
    assert!(matches!(late, Rejection::InvalidProducerEpoch { .. }));
    let same_epoch = commit_one(&store, data, marker(9, 4, true), V2).unwrap_err();
    assert!(matches!(same_epoch, Rejection::InvalidProducerEpoch { .. }), "version 2 wants a higher one");
    commit_one(&store, data, marker(9, 5, true), V2).unwrap();
    commit_one(&store, data, marker(9, 5, true), V2).unwrap();
    let old = Check::Marker { coordinator_epoch: 0, transaction_v2: true };
    let old_marker = marker_batch(9, 6, EndTxnMarker { commit: true, coordinator_epoch: 0 }, 5);
    let fenced = commit_one(&store, data, old_marker, old).unwrap_err();
    assert!(matches!(fenced, Rejection::CoordinatorFenced { .. }));
    let zombie = commit_one(&store, data, produced(9, 4, 2, true), PLAIN).unwrap_err();
    assert!(matches!(zombie, Rejection::InvalidProducerEpoch { .. }));
}

#[test]
fn interleaved_transactions_each_keep_their_place() {
    let (store, _) = open(&SimDisk::new(1));
    let (state, data) = (id(1, 0), id(2, 0));
    create(&store, 1, 0, Durability::Disk);
    let partition = create(&store, 2, 0, Durability::Disk);
    begin(&store, state, data, 8, 0);
    begin(&store, state, data, 9, 0);
    let lso = || partition.published().last_stable_offset;
    settle(&store);
    assert_eq!(lso(), 0);
    commit_one(&store, data, marker(8, 0, false), MARKER).unwrap();
    store.journal_round().unwrap();
    assert_eq!(lso(), 2);
    commit_one(&store, data, marker(9, 0, true), MARKER).unwrap();
    store.journal_round().unwrap();
    assert_eq!(lso(), 6);
    let aborted = read(&partition, 0, Isolation::Committed).aborted;
    assert_eq!(aborted.iter().map(|aborted| aborted.producer_id).collect::<Vec<_>>(), [8]);
    assert_eq!(partition.producers().len(), 2);
    assert_eq!(store.expire_producers(1_000_000, 10), 0, "silent from now on");
    assert_eq!(store.expire_producers(1_000_010, 10), 2);
}
