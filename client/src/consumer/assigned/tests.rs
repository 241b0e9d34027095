use logmill_wire::ErrorCode;

use super::*;

fn key(partition: i32) -> Key {
    (Arc::from("t"), partition)
}

fn records(offsets: &[i64], next: i64) -> Decoded {
    let records = offsets.iter().map(|offset| Record { offset: *offset, ..Record::default() });
    Decoded { records: records.collect(), next }
}

fn fetch(assigned: &mut AssignedPartitions, partition: i32, decoded: Decoded) -> bool {
    let wanted = assigned.wanted(1000, 1000).into_iter().find(|wanted| wanted.key.1 == partition);
    assigned.fetched(&wanted.expect("wanted"), decoded, 10)
}

/// Some error that is no refusal.
fn unknown() -> Error {
    Error::UnknownTopic { topic: "t".to_owned() }
}

fn next(assigned: &mut AssignedPartitions) -> Option<(i32, i64)> {
    assigned.next().0.map(|record| record.expect("a record")).map(|record| (record.partition, record.offset))
}

#[test]
fn records_come_in_order_and_move_the_position() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Offset(5))]);
    assert!(fetch(&mut assigned, 0, records(&[5, 7], 9)));
    assert_eq!(assigned.position(&key(0)), Some(5));
    assert_eq!(next(&mut assigned), Some((0, 5)));
    assert_eq!(assigned.position(&key(0)), Some(6));
    assert_eq!(next(&mut assigned), Some((0, 7)));
    // The chunk ended with something this reader does not see.
    assert_eq!(assigned.position(&key(0)), Some(9));
    assert_eq!(next(&mut assigned), None);
}

#[test]
fn only_finished_records_are_done() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Offset(0))]);
    fetch(&mut assigned, 0, records(&[0, 1], 2));
    assigned.finish_given();
    assert_eq!(next(&mut assigned), Some((0, 0)));
    assert_eq!(assigned.done(), [(key(0), 0)]);
    assigned.finish_given();
    assert_eq!(assigned.done(), [(key(0), 1)]);
    assert_eq!(next(&mut assigned), Some((0, 1)));
    assert_eq!(assigned.done(), [(key(0), 1)]);
}

#[test]
fn a_chunk_without_records_is_done_at_once() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Offset(0))]);
    fetch(&mut assigned, 0, records(&[], 4));
    assert_eq!(next(&mut assigned), None);
    assert_eq!(assigned.done(), [(key(0), 4)]);
}

#[test]
fn a_seek_drops_what_was_fetched_before() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Offset(0)), (key(1), Start::Offset(0))]);
    fetch(&mut assigned, 0, records(&[0, 1], 2));
    fetch(&mut assigned, 1, records(&[0], 1));
    let late = assigned.wanted(1000, 1000).remove(0);
    assert!(assigned.seek(&key(0), Start::Offset(50)));
    assert!(!assigned.fetched(&late, records(&[2], 3), 10), "fetched before the seek");
    assert_eq!(next(&mut assigned), Some((1, 0)));
    assert_eq!(next(&mut assigned), None);
    fetch(&mut assigned, 0, records(&[50], 51));
    assert_eq!(next(&mut assigned), Some((0, 50)));
    assert!(!assigned.seek(&key(9), Start::Offset(0)));
}

#[test]
fn records_can_be_read_again_unless_the_partition_was_assigned_anew() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Offset(3)), (key(1), Start::Offset(3))]);
    fetch(&mut assigned, 0, records(&[3, 4], 5));
    fetch(&mut assigned, 1, records(&[3], 4));
    let mut given = Vec::new();
    while let Some(record) = assigned.next().0 {
        given.push(record.expect("a record"));
    }
    let marks = assigned.mark(&given);
    assigned.rewind(&marks);
    assert_eq!(assigned.positions(), [(key(0), 3), (key(1), 3)]);

    let marks = assigned.mark(&given);
    assigned.assign([(key(0), Start::Offset(5))]);
    assigned.rewind(&marks);
    assert_eq!(assigned.positions(), [(key(0), 5)]);
}

#[test]
fn full_buffers_stop_fetching_and_reading_frees_them() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Offset(0)), (key(1), Start::Offset(0))]);
    fetch(&mut assigned, 0, records(&[0], 1));
    assert_eq!(assigned.wanted(1000, 10).len(), 1, "partition 0 has its share");
    assert_eq!(assigned.wanted(10, 1000).len(), 0, "all together are full");
    assert!(assigned.next().1);
    assert_eq!(assigned.wanted(10, 10).len(), 2);
}

#[test]
fn a_start_is_asked_for_once_resolved_it_is_fetched() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Spec(OffsetSpec::Earliest))]);
    assert_eq!(assigned.wanted(10, 10), []);
    let (key, epoch, spec) = assigned.unresolved().remove(0);
    assert_eq!(spec, OffsetSpec::Earliest);
    assigned.resolved(&key, epoch + 1, 3);
    assert_eq!(assigned.position(&key), None, "an answer to an older question");
    assigned.resolved(&key, epoch, 3);
    assert_eq!(assigned.wanted(10, 10)[0].offset, 3);
}

#[test]
fn a_failure_is_told_after_the_records_before_it_and_only_then_is_the_partition_gone() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Offset(0)), (key(1), Start::Offset(0))]);
    fetch(&mut assigned, 0, records(&[0, 1], 3));
    let (of_0, epoch) = (key(0), assigned.wanted(1000, 1000)[0].epoch);
    assigned.stop(&of_0, epoch, unknown());
    assigned.stop(&of_0, epoch, unknown());
    fetch(&mut assigned, 1, records(&[0], 1));
    assert_eq!(next(&mut assigned), Some((0, 0)));
    assert!(!assigned.has_error(), "a record comes first");
    assert_eq!(next(&mut assigned), Some((0, 1)));
    assert!(assigned.has_error());
    assert_eq!(assigned.keys(), [key(0), key(1)], "nobody was told");
    assert_eq!(assigned.position(&key(0)), Some(3));
    let wanted = assigned.wanted(1000, 1000);
    assert_eq!(wanted.iter().map(|w| w.key.1).collect::<Vec<_>>(), [1], "it is not fetched any more");
    assert!(matches!(assigned.next().0, Some(Err(Error::UnknownTopic { .. }))));
    assert_eq!(assigned.keys(), [key(1)]);
    assert_eq!(next(&mut assigned), Some((1, 0)));
    assert_eq!(next(&mut assigned), None, "told once");
}

#[test]
fn a_failure_of_records_without_any_for_this_reader_is_told() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Offset(0))]);
    fetch(&mut assigned, 0, records(&[0], 1));
    fetch(&mut assigned, 0, records(&[], 4));
    let epoch = assigned.wanted(1000, 1000)[0].epoch;
    assigned.stop(&key(0), epoch, unknown());
    assert_eq!(next(&mut assigned), Some((0, 0)));
    assert!(assigned.has_error(), "nothing to give comes before it");
    assert!(matches!(assigned.next().0, Some(Err(Error::UnknownTopic { .. }))));
}

#[test]
fn a_topic_that_cannot_be_read_stops_its_partitions_and_no_others() {
    let mut assigned = AssignedPartitions::default();
    let other = (Arc::from("other"), 0);
    assigned.assign([key(0), key(1), other.clone()].map(|key| (key, Start::Offset(0))));
    for _ in 0..2 {
        assigned.stop_topic("t", &Error::UnknownTopic { topic: "t".to_owned() });
        assert!(assigned.wanted(1000, 1000).iter().all(|wanted| wanted.key == other));
    }
    for _ in 0..2 {
        assert!(matches!(assigned.next().0, Some(Err(Error::UnknownTopic { .. }))));
    }
    assert!(assigned.next().0.is_none());
    assert_eq!(assigned.keys(), [other]);
}

#[test]
fn what_is_met_again_and_again_is_told_once_each_time_the_program_comes() {
    let mut assigned = AssignedPartitions::default();
    for _ in 0..2 {
        (0..9).for_each(|_| assigned.fail_again(Error::Closed));
        assert!(assigned.next().0.is_some_and(|next| next.is_err()));
        assert!(assigned.next().0.is_none());
    }
}

#[test]
fn who_goes_elsewhere_is_not_told_of_a_failure() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Spec(OffsetSpec::Earliest))]);
    let (of_0, epoch, _) = assigned.unresolved().remove(0);
    assigned.stop(&of_0, epoch, Error::Closed);
    assert!(assigned.unresolved().is_empty(), "not asked again");
    assert!(assigned.seek(&of_0, Start::Offset(7)));
    assert!(!assigned.has_error());
    assert_eq!(assigned.wanted(10, 10)[0].offset, 7);
    let epoch = assigned.wanted(10, 10)[0].epoch;
    assigned.stop(&of_0, epoch, Error::Closed);
    assigned.assign([(key(1), Start::Offset(0))]);
    assert_eq!(next(&mut assigned), None);
    assert_eq!(assigned.keys(), [key(1)]);
}

#[test]
fn an_offset_out_of_range_resets_or_fails() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Offset(100))]);
    let wanted = assigned.wanted(10, 10).remove(0);
    assigned.out_of_range(&wanted, Some(OffsetSpec::Latest), unknown);
    assert_eq!(assigned.unresolved()[0].2, OffsetSpec::Latest);

    assigned.assign([(key(0), Start::Offset(100))]);
    let wanted = assigned.wanted(10, 10).remove(0);
    assigned.out_of_range(&wanted, None, unknown);
    assert!(matches!(assigned.next().0, Some(Err(Error::UnknownTopic { .. }))));
    assert_eq!(assigned.keys(), []);
}

/// Kafka's code of a password that is wrong, met at some broker.
fn refused(node: i32) -> Error {
    let operation = format!("fetching from broker {node}");
    Error::Broker { operation, code: ErrorCode::SASL_AUTHENTICATION_FAILED, message: None }
}

fn of(partitions: &[i32]) -> Vec<Key> {
    partitions.iter().copied().map(key).collect()
}

#[test]
fn what_is_refused_for_good_is_told_once_for_all_partitions_whose_records_were_given() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign((0..5).map(|partition| (key(partition), Start::Offset(0))));
    let wanted = assigned.wanted(1000, 1000);
    let stop = |assigned: &mut AssignedPartitions, partition: usize, error: Error| {
        assigned.stop(&wanted[partition].key, wanted[partition].epoch, error);
    };
    stop(&mut assigned, 0, refused(1));
    fetch(&mut assigned, 1, records(&[7], 8));
    stop(&mut assigned, 1, refused(1));
    stop(&mut assigned, 2, refused(2));
    stop(&mut assigned, 3, Error::Security { address: "x:1".into(), reason: "no".into() });
    let Some(Err(Error::Unreadable { partitions, source })) = assigned.next().0 else { panic!("refused") };
    assert_eq!(partitions, of(&[0, 2]), "there are records of 1 still");
    assert_eq!(source.code(), Some(ErrorCode::SASL_AUTHENTICATION_FAILED));
    assert_eq!(assigned.keys(), of(&[1, 3, 4]));
    assert_eq!(next(&mut assigned), Some((1, 7)));
    for (partition, text) in [
        (1, "t-1 cannot be read: fetching from broker 1: SASL_AUTHENTICATION_FAILED"),
        (3, "t-3 cannot be read: x:1: no"),
    ] {
        let told = assigned.next().0.expect("told").expect_err("refused");
        assert!(matches!(&told, Error::Unreadable { partitions, .. } if *partitions == of(&[partition])));
        assert!(told.to_string().starts_with(text), "{told}");
        assert!(told.is_fatal() && !told.is_retriable());
    }
    assert_eq!(next(&mut assigned), None, "there is one partition");
}

#[test]
fn who_comes_again_when_all_partitions_have_stopped_is_told_so_each_time() {
    let mut assigned = AssignedPartitions::default();
    assert_eq!(next(&mut assigned), None, "nothing was assigned yet");
    assigned.assign([(key(0), Start::Offset(0)), (key(1), Start::Offset(0))]);
    let wanted = assigned.wanted(1000, 1000);
    assigned.stop(&wanted[0].key, wanted[0].epoch, refused(1));
    assert!(matches!(assigned.next().0, Some(Err(Error::Unreadable { .. }))));
    assert_eq!(next(&mut assigned), None, "the other one may give something");
    let topic = || "t".to_owned();
    assigned.stop(
        &wanted[1].key,
        wanted[1].epoch,
        Error::NoOffset { topic: topic(), partition: 1, offset: None },
    );
    assert!(matches!(assigned.next().0, Some(Err(Error::NoOffset { .. }))));
    for _ in 0..2 {
        let told = assigned.next().0.expect("told").expect_err("the end");
        assert!(
            matches!(&told, Error::AllStopped { partitions, .. } if *partitions == of(&[0, 1])),
            "{told}"
        );
        assert!(
            told.to_string().starts_with("all partitions have stopped: t-0, t-1; last: t-1 has no usable")
        );
        assert!(told.is_fatal() && !told.is_retriable());
    }
    assigned.assign([]);
    assert_eq!(next(&mut assigned), None, "there may be others soon");
}

#[test]
fn a_partition_without_an_offset_to_begin_with_has_stopped() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([]);
    let error = Error::NoOffset { topic: "t".to_owned(), partition: 0, offset: None };
    assigned.assign_unreadable(key(0), error);
    assert!(assigned.unresolved().is_empty() && assigned.wanted(1000, 1000).is_empty());
    assert!(matches!(assigned.next().0, Some(Err(Error::NoOffset { .. }))));
    assert!(matches!(assigned.next().0, Some(Err(Error::AllStopped { .. }))));
}

#[test]
fn whoever_is_out_of_his_group_for_good_is_told_so_each_time() {
    let mut assigned = AssignedPartitions::default();
    assigned.assign([(key(0), Start::Offset(0))]);
    assigned.assign([]);
    assigned.end(refused(1));
    for _ in 0..3 {
        let told = assigned.next().0.expect("told").expect_err("the end");
        assert_eq!(told.code(), Some(ErrorCode::SASL_AUTHENTICATION_FAILED));
    }
}
