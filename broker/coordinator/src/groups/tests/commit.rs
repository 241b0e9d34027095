use super::*;

#[test]
fn a_consumer_without_a_group_commits_and_reads_back() {
    let mut broker = broker();
    assert_eq!(broker.commit("", -1, &[(0, 42), (1, 7)]), ErrorCode::NONE);
    assert_eq!((broker.fetch(0, true), broker.fetch(2, false)), (Ok(Some(42)), Ok(None)));
    let description = broker.describe();
    assert_eq!((description.state, &*description.protocol_type), (GroupState::Empty, ""));
    broker.restart();
    assert_eq!(broker.fetch(1, false), Ok(Some(7)));
}

#[test]
fn everything_about_an_offset_comes_back() {
    let mut broker = broker();
    let offset = PartitionOffset {
        partition: 3,
        offset: 9,
        leader_epoch: 4,
        metadata: Some("note".into()),
        refused: None,
    };
    let topic_id = Some(Uuid::from_u128(77));
    let offsets = vec![TopicOffsets { topic: "t".into(), topic_id, partitions: vec![offset] }];
    let commit = CommitOffsets {
        version: 10,
        group: "g".into(),
        generation: -1,
        member_id: "".into(),
        instance_id: None,
        retention_ms: -1,
        offsets,
    };
    assert_eq!(broker.commit_with(commit), ErrorCode::NONE);
    let fetch = FetchOffsets {
        group: "g".into(),
        member_id: None,
        member_epoch: -1,
        topics: None,
        require_stable: false,
    };
    let Reply::Fetched(fetched) = broker.ask(Command::FetchOffsets(fetch)) else { panic!() };
    let stored = fetched.topics[0].1[0].stored.clone().unwrap();
    assert_eq!((stored.offset, stored.leader_epoch, &*stored.metadata), (9, 4, "note"));
    assert_eq!((stored.topic_id, stored.commit_timestamp), (topic_id, broker.now));
}

#[test]
fn partitions_are_refused_one_by_one() {
    let mut broker = broker();
    let mut offsets = topic_offsets("t", &[(0, 1), (1, 2), (2, 3)]);
    offsets[0].partitions[1].refused = Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    offsets[0].partitions[2].metadata = Some("x".repeat(4097).into());
    offsets.extend(topic_offsets(&"x".repeat(250), &[(0, 1)]));
    let commit = CommitOffsets {
        version: 8,
        group: "g".into(),
        generation: -1,
        member_id: "".into(),
        instance_id: None,
        retention_ms: -1,
        offsets,
    };
    let Reply::Committed(committed) = broker.ask(Command::CommitOffsets(commit)) else { panic!() };
    let errors: Vec<ErrorCode> =
        committed.topics.iter().flat_map(|(_, answers)| answers.iter().map(|(_, error)| *error)).collect();
    assert_eq!(
        errors,
        [
            ErrorCode::NONE,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::OFFSET_METADATA_TOO_LARGE,
            ErrorCode::INVALID_TOPIC_EXCEPTION
        ]
    );
    assert_eq!(broker.log.len(), 1);
}

#[test]
fn members_commit_in_their_generation_and_nobody_else_does() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(2);
    assert_eq!(broker.commit(&ids[1], generation, &[(0, 5)]), ErrorCode::NONE);
    for (member, in_generation, error) in [
        (&*ids[1], generation - 1, ErrorCode::ILLEGAL_GENERATION),
        ("stranger", generation, ErrorCode::UNKNOWN_MEMBER_ID),
        ("", -1, ErrorCode::UNKNOWN_MEMBER_ID),
        ("", generation, ErrorCode::UNKNOWN_MEMBER_ID),
        (&*ids[1], -1, ErrorCode::ILLEGAL_GENERATION),
    ] {
        assert_eq!(broker.commit(member, in_generation, &[(0, 6)]), error, "{member} {in_generation}");
    }
    // While the others are joining again, what was read may be committed; once told the new generation, not
    // before the assignment.
    let leader = broker.join(join(&ids[0], 0));
    assert_eq!(broker.commit(&ids[1], generation, &[(0, 7)]), ErrorCode::NONE);
    broker.join(join(&ids[1], 0));
    assert!(broker.joined(leader).is_some());
    assert_eq!(broker.commit(&ids[1], generation + 1, &[(0, 8)]), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(broker.commit(&ids[1], generation, &[(0, 8)]), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(broker.fetch(0, true), Ok(Some(7)));
}

#[test]
fn an_unknown_group_is_called_as_the_version_knows_it() {
    let mut broker = broker();
    let commit = |version| CommitOffsets {
        version,
        group: "g".into(),
        generation: 3,
        member_id: "m".into(),
        instance_id: None,
        retention_ms: -1,
        offsets: topic_offsets("t", &[(0, 1)]),
    };
    assert_eq!(broker.commit_with(commit(8)), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(broker.commit_with(commit(9)), ErrorCode::GROUP_ID_NOT_FOUND);
    assert_eq!(
        broker.commit_with(CommitOffsets { group: "x".repeat(40_000).into(), ..commit(9) }),
        ErrorCode::INVALID_GROUP_ID
    );
    // The name that no member can join under holds offsets all the same.
    let nameless = CommitOffsets { group: "".into(), generation: -1, member_id: "".into(), ..commit(8) };
    assert_eq!(broker.commit_with(nameless), ErrorCode::NONE);
    assert_eq!(broker.commit_in_transaction(1, "m", 3, &[(0, 1)]), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(broker.state(), GroupState::Dead);
}

#[test]
fn a_commit_keeps_the_session() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(1);
    for offset in 0..3 {
        broker.wait(SESSION - 1);
        assert_eq!(broker.commit(&ids[0], generation, &[(0, offset)]), ErrorCode::NONE);
    }
    assert_eq!(broker.state(), GroupState::Stable);
}

#[test]
fn a_transactions_offset_is_unstable_until_its_marker() {
    let mut broker = broker();
    broker.commit("", -1, &[(0, 1)]);
    assert_eq!(broker.commit_in_transaction(9, "", -1, &[(0, 10), (1, 11)]), ErrorCode::NONE);
    assert_eq!(broker.fetch(0, false), Ok(Some(1)));
    assert_eq!(broker.fetch(1, false), Ok(None));
    assert_eq!(broker.fetch(0, true), Err(ErrorCode::UNSTABLE_OFFSET_COMMIT));
    assert_eq!(broker.fetch(1, true), Err(ErrorCode::UNSTABLE_OFFSET_COMMIT));
    // Another producer's marker is not this one's.
    broker.machine.apply_marker(8, 0, true);
    assert_eq!(broker.fetch(0, true), Err(ErrorCode::UNSTABLE_OFFSET_COMMIT));
    broker.machine.apply_marker(9, 1, true);
    assert_eq!((broker.fetch(0, true), broker.fetch(1, true)), (Ok(Some(10)), Ok(Some(11))));
}

#[test]
fn an_aborted_transaction_leaves_nothing() {
    let mut broker = broker();
    broker.commit_in_transaction(9, "", -1, &[(0, 10)]);
    broker.machine.apply_marker(9, 1, false);
    assert_eq!(broker.fetch(0, true), Ok(None));
    assert_eq!(broker.state(), GroupState::Dead);
    // Nor does it leak into the next one of the same producer.
    broker.commit_in_transaction(9, "", -1, &[(1, 20)]);
    broker.machine.apply_marker(9, 2, true);
    assert_eq!((broker.fetch(0, true), broker.fetch(1, true)), (Ok(None), Ok(Some(20))));
}

/// Compaction keeps the last record of a partition's offset, whenever its transaction ended (KAFKA-5247).
#[test]
fn the_record_decides_which_commit_is_last() {
    let mut broker = broker();
    broker.commit_in_transaction(1, "", -1, &[(0, 10)]);
    broker.commit_in_transaction(2, "", -1, &[(0, 20)]);
    broker.commit("", -1, &[(0, 15)]);
    broker.commit_in_transaction(3, "", -1, &[(0, 30)]);
    broker.machine.apply_marker(2, 0, true);
    assert_eq!(broker.fetch(0, false), Ok(Some(15)));
    assert_eq!(broker.fetch(0, true), Err(ErrorCode::UNSTABLE_OFFSET_COMMIT));
    broker.machine.apply_marker(3, 0, true);
    broker.machine.apply_marker(1, 0, true);
    assert_eq!(broker.fetch(0, true), Ok(Some(30)));
}

#[test]
fn a_compacted_log_tells_the_same_offsets() {
    let mut broker = broker();
    broker.commit_in_transaction(1, "", -1, &[(0, 5), (1, 5)]);
    broker.commit("", -1, &[(0, 10)]);
    broker.machine.apply_marker(1, 0, true);
    let told = (broker.fetch(0, true), broker.fetch(1, true));
    assert_eq!(told, (Ok(Some(10)), Ok(Some(5))));
    // The first record is superseded by the last, which has its key.
    broker.log.remove(0);
    broker.reload(GroupMachine::new(Settings::default()));
    broker.machine.apply_marker(1, 0, true);
    assert_eq!((broker.fetch(0, true), broker.fetch(1, true)), told);
}

#[test]
fn transactional_commits_are_fenced_by_generation_but_pass_during_a_rebalance() {
    let mut broker = broker();
    let (ids, generation) = broker.stable(1);
    for (member, in_generation, error) in [
        (&*ids[0], generation, ErrorCode::NONE),
        (&*ids[0], generation - 1, ErrorCode::ILLEGAL_GENERATION),
        ("stranger", generation, ErrorCode::UNKNOWN_MEMBER_ID),
        ("", -1, ErrorCode::NONE),
    ] {
        assert_eq!(broker.commit_in_transaction(1, member, in_generation, &[(0, 1)]), error);
    }
    let again = broker.join(join(&ids[0], 0));
    assert!(broker.joined(again).is_some());
    assert_eq!(broker.state(), GroupState::CompletingRebalance);
    assert_eq!(broker.commit_in_transaction(1, &ids[0], generation + 1, &[(0, 1)]), ErrorCode::NONE);
    let stale = broker.commit_in_transaction(1, &ids[0], generation, &[(0, 1)]);
    assert_eq!(stale, ErrorCode::ILLEGAL_GENERATION);
}

#[test]
fn reading_all_shows_what_is_committed_and_to_those_who_wait_what_is_pending() {
    let mut broker = broker();
    broker.commit("", -1, &[(1, 1), (0, 2)]);
    broker.commit_in_transaction(1, "", -1, &[(1, 3), (2, 4)]);
    let mut all = |require_stable| {
        let fetch = FetchOffsets {
            group: "g".into(),
            member_id: None,
            member_epoch: -1,
            topics: None,
            require_stable,
        };
        let Reply::Fetched(fetched) = broker.ask(Command::FetchOffsets(fetch)) else { panic!() };
        assert_eq!((fetched.error, fetched.topics.len()), (ErrorCode::NONE, 1));
        let partitions = fetched.topics[0].1.iter();
        partitions.map(|p| (p.partition, p.stored.as_ref().map(|s| s.offset), p.error)).collect::<Vec<_>>()
    };
    let (none, unstable) = (ErrorCode::NONE, ErrorCode::UNSTABLE_OFFSET_COMMIT);
    assert_eq!(all(false), [(0, Some(2), none), (1, Some(1), none)]);
    assert_eq!(all(true), [(0, Some(2), none), (1, None, unstable), (2, None, unstable)]);
}
