use std::time::Duration;

use super::*;

const GIVE_UP: Duration = Duration::from_secs(60);

fn queue(transactional: bool) -> PartitionQueue {
    let settings = BatchSettings { codec: Codec::None, batch_bytes: 200, transactional };
    PartitionQueue::new(settings, Some(ProducerIdentity { id: 7, epoch: 0 }))
}

/// One batch per call: each record fills one.
fn push(queue: &mut PartitionQueue, name: &str) -> OutcomeHandle {
    let record = ProducerRecord::to("t").key(name.to_owned()).value(vec![b'x'; 120]);
    queue.push(&record, 1, Instant::now()).0
}

fn take(queue: &mut PartitionQueue) -> (u64, String) {
    let outgoing = queue.take().0.expect("a batch to send");
    (outgoing.number, shown(&outgoing.bytes))
}

/// Key of the first record, epoch and sequence.
fn shown(bytes: &Bytes) -> String {
    let batch = Batch::validate(bytes.clone()).expect("a valid batch");
    let key = batch.records(0).expect("records")[0].key.clone().expect("a key");
    let header = batch.header();
    format!("{} e{} s{}", String::from_utf8_lossy(&key), header.producer_epoch, header.base_sequence)
}

fn fail(code: ErrorCode) -> Answer {
    Answer::Failed(Error::Broker { operation: "test".into(), code, message: None })
}

fn answer(queue: &mut PartitionQueue, number: u64, answer: Answer) -> Option<ErrorCode> {
    let failed = queue.answered(number, answer, Instant::now(), GIVE_UP, |_| Duration::ZERO).1;
    failed.map(|error| error.code().expect("a code"))
}

fn poll(handle: &OutcomeHandle) -> Option<Result<i64, Option<ErrorCode>>> {
    let outcome = handle.clone().known().now_or_never()?;
    Some(outcome.map_err(|error| error.code()))
}

fn can_send(queue: &PartitionQueue) -> bool {
    queue.due(false, Duration::ZERO).is_some()
}

#[tokio::test]
async fn records_share_a_batch_until_it_is_full() {
    let mut queue = queue(false);
    let small = ProducerRecord::to("t").key("a").value("b");
    let places: Vec<i32> = (0..4).map(|_| queue.push(&small, 1, Instant::now()).1).collect();
    assert_eq!(places, [0, 1, 2, 3]);
    let outgoing = queue.take().0.expect("a batch");
    assert_eq!(Batch::validate(outgoing.bytes).expect("valid").header().count, 4);
    assert!(queue.take().0.is_none());
}

#[tokio::test]
async fn sequences_count_records_not_batches() {
    let mut queue = queue(false);
    let small = ProducerRecord::to("t").key("a").value("b");
    for _ in 0..3 {
        queue.push(&small, 1, Instant::now());
    }
    assert_eq!(take(&mut queue).1, "a e0 s0");
    push(&mut queue, "b");
    assert_eq!(take(&mut queue).1, "b e0 s3");
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(sequence_after(i32::MAX, 1), 0);
    assert_eq!(sequence_after(i32::MAX - 1, 3), 1);
    assert_eq!(sequence_after(5, 2), 7);
}

#[tokio::test]
async fn five_are_in_flight_and_no_more() {
    let mut queue = queue(false);
    for n in 0..7 {
        push(&mut queue, &n.to_string());
    }
    for n in 0..5 {
        assert!(can_send(&queue));
        assert_eq!(take(&mut queue).1, format!("{n} e0 s{n}"));
    }
    assert!(!can_send(&queue));
    assert_eq!(answer(&mut queue, 0, Answer::Written(10)), None);
    assert!(can_send(&queue));
}

#[tokio::test]
async fn outcomes_reach_their_waiters() {
    let mut queue = queue(false);
    let (a, b) = (push(&mut queue, "a"), push(&mut queue, "b"));
    let (first, _) = take(&mut queue);
    let (second, _) = take(&mut queue);
    answer(&mut queue, first, Answer::Written(40));
    assert_eq!(
        answer(&mut queue, second, fail(ErrorCode::MESSAGE_TOO_LARGE)),
        Some(ErrorCode::MESSAGE_TOO_LARGE)
    );
    assert_eq!(poll(&a), Some(Ok(40)));
    assert_eq!(poll(&b), Some(Err(Some(ErrorCode::MESSAGE_TOO_LARGE))));
    assert!(queue.is_idle());
}

#[tokio::test]
async fn a_failed_batch_goes_again_first_with_its_sequence_once_all_are_answered() {
    let mut queue = queue(false);
    let handles: Vec<_> = ["a", "b", "c"].iter().map(|name| push(&mut queue, name)).collect();
    let numbers: Vec<u64> = (0..3).map(|_| take(&mut queue).0).collect();
    push(&mut queue, "d");

    answer(&mut queue, numbers[0], fail(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert!(!can_send(&queue), "b and c are still in flight");
    answer(&mut queue, numbers[1], fail(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    answer(&mut queue, numbers[2], fail(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));

    let again: Vec<String> = (0..4).map(|_| take(&mut queue).1).collect();
    assert_eq!(again, ["a e0 s0", "b e0 s1", "c e0 s2", "d e0 s3"]);
    for (number, handle) in numbers.iter().zip(&handles) {
        answer(&mut queue, *number, Answer::Written(5));
        assert_eq!(poll(handle), Some(Ok(5)));
    }
}

#[tokio::test]
async fn a_duplicate_counts_as_written() {
    let mut queue = queue(false);
    let handle = push(&mut queue, "a");
    let (number, _) = take(&mut queue);
    answer(&mut queue, number, fail(ErrorCode::DUPLICATE_SEQUENCE_NUMBER));
    assert_eq!(poll(&handle), Some(Ok(-1)));
}

#[tokio::test]
async fn a_refused_sequence_starts_a_new_epoch_from_zero() {
    let mut queue = queue(false);
    for name in ["a", "b", "c"] {
        push(&mut queue, name);
    }
    let numbers: Vec<u64> = (0..3).map(|_| take(&mut queue).0).collect();
    // The first is too large for the topic: those behind it do not continue the broker's sequence.
    answer(&mut queue, numbers[0], fail(ErrorCode::MESSAGE_TOO_LARGE));
    answer(&mut queue, numbers[1], fail(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert!(!can_send(&queue));
    answer(&mut queue, numbers[2], fail(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    push(&mut queue, "d");
    let again: Vec<String> = (0..3).map(|_| take(&mut queue).1).collect();
    assert_eq!(again, ["b e1 s0", "c e1 s1", "d e1 s2"]);
}

#[tokio::test]
async fn a_lost_answer_keeps_the_sequence() {
    let mut queue = queue(false);
    push(&mut queue, "a");
    let (number, first) = take(&mut queue);
    let lost = Error::ConnectionLost { address: "x:1".into(), reason: "test".into() };
    answer(&mut queue, number, Answer::Failed(lost));
    assert_eq!(take(&mut queue).1, first);
}

#[tokio::test]
async fn in_a_transaction_a_refused_sequence_is_final() {
    let mut queue = queue(true);
    push(&mut queue, "a");
    let (number, _) = take(&mut queue);
    let failed = answer(&mut queue, number, fail(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
    assert_eq!(failed, Some(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
}

#[tokio::test]
async fn retries_end_when_the_time_is_over() {
    let mut queue = queue(false);
    let handle = push(&mut queue, "a");
    let (number, _) = take(&mut queue);
    let later = Instant::now() + GIVE_UP;
    let (_, failed) =
        queue.answered(number, fail(ErrorCode::NOT_LEADER_OR_FOLLOWER), later, GIVE_UP, |_| GIVE_UP);
    assert!(failed.is_some());
    assert_eq!(poll(&handle), Some(Err(Some(ErrorCode::NOT_LEADER_OR_FOLLOWER))));
}

#[tokio::test]
async fn a_pause_holds_the_next_attempt_back() {
    let mut queue = queue(false);
    push(&mut queue, "a");
    let (number, _) = take(&mut queue);
    let now = Instant::now();
    queue.answered(number, fail(ErrorCode::NOT_LEADER_OR_FOLLOWER), now, GIVE_UP, |attempt| {
        assert_eq!(attempt, 1);
        Duration::from_secs(3)
    });
    assert_eq!(queue.due(false, Duration::ZERO), Some(now + Duration::from_secs(3)));
}

#[tokio::test]
async fn an_open_batch_lingers_only_while_the_leader_is_busy() {
    let mut queue = queue(false);
    let linger = Duration::from_millis(5);
    let start = Instant::now();
    queue.push(&ProducerRecord::to("t").value("v"), 1, start);
    assert_eq!(queue.due(false, linger), Some(start));
    assert_eq!(queue.due(true, linger), Some(start + linger));
    queue.flush();
    assert_eq!(queue.due(true, linger), Some(start));
}

#[tokio::test]
async fn dropping_gives_room_back_and_tells_the_waiters() {
    let mut queue = queue(true);
    let (a, b) = (push(&mut queue, "a"), push(&mut queue, "b"));
    let (number, _) = take(&mut queue);
    let freed = queue.drop_waiting(&Arc::new(Error::NotSent { reason: "test".into() }));
    assert!(freed.0 > 120 && freed.0 < 200, "{freed:?}");
    assert_eq!(poll(&b), Some(Err(None)));
    assert_eq!(poll(&a), None);
    answer(&mut queue, number, Answer::Written(0));
    queue.set_identity(ProducerIdentity { id: 7, epoch: 1 });
    push(&mut queue, "c");
    assert_eq!(take(&mut queue).1, "c e1 s0");
}

/// A transaction must not commit without a record that was given up before it was ever sent.
#[tokio::test]
async fn batches_that_were_never_sent_in_time_are_lost_with_a_reason() {
    let mut queue = queue(true);
    let (first, second) = (push(&mut queue, "a"), push(&mut queue, "b"));
    let now = Instant::now();
    let late = || Error::Timeout { operation: "test".into(), after: GIVE_UP, last: None };
    assert!(queue.expire(now, GIVE_UP, late).error.is_none(), "there is time");
    assert!(queue.gives_up(GIVE_UP).is_some_and(|at| at <= now + GIVE_UP));
    // The second one is not full yet.
    let lost = queue.expire(now + GIVE_UP * 2, GIVE_UP, late);
    assert!(queue.is_idle() && queue.gives_up(GIVE_UP).is_none());
    assert!(lost.freed.0 > 0);
    assert!(matches!(lost.error.as_deref(), Some(Error::Timeout { .. })));
    assert!(matches!(poll(&first), Some(Err(None))) && matches!(poll(&second), Some(Err(None))));
}

#[tokio::test]
async fn what_no_attempt_helps_fails_and_what_was_sent_is_not_taken_for_unwritten() {
    let mut queue = queue(false);
    let (sent, full) = (push(&mut queue, "a"), push(&mut queue, "b"));
    let (number, _) = take(&mut queue);
    answer(&mut queue, number, fail(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    let open = push(&mut queue, "c");
    let refused = Error::Security { address: "x:1".into(), reason: "no".into() };
    let lost = queue.fail_waiting(&Arc::new(refused));
    assert!(lost.freed.0 > 3 * 120 && queue.is_idle());
    assert!(matches!(lost.error.as_deref(), Some(Error::OutcomeUnknown { .. })));
    let sent = sent.known().await.unwrap_err();
    assert!(matches!(&*sent, Error::OutcomeUnknown { .. }) && sent.is_fatal() && !sent.is_retriable());
    assert!(sent.to_string().contains("may have been written or not"), "{sent}");
    for never in [full, open] {
        assert!(matches!(&*never.known().await.unwrap_err(), Error::Security { .. }));
    }
    let nothing = queue.fail_waiting(&Arc::new(Error::Closed));
    assert!(nothing.error.is_none() && nothing.freed == Freed(0));
}

/// A batch made elsewhere, of records with these keys.
fn made(names: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    names.iter().for_each(|name| builder.push(5, Some(name.as_bytes()), Some(b"x"), &[]));
    builder.build()
}

#[tokio::test]
async fn batches_made_elsewhere_go_out_in_their_turn_with_sequences_of_their_own() {
    let mut queue = queue(true);
    push(&mut queue, "a");
    let outcome = queue.push_batch(made(&["b", "c", "d"]), Instant::now());
    push(&mut queue, "e");
    assert_eq!(queue.flush().len(), 3);
    let (first, shown) = take(&mut queue);
    assert_eq!(shown, "a e0 s0");
    let outgoing = queue.take().0.expect("a batch");
    let header = *Batch::validate(outgoing.bytes.clone()).expect("valid").header();
    assert_eq!((self::shown(&outgoing.bytes), header.count), ("b e0 s1".to_owned(), 3));
    assert!(header.is_transactional());
    assert_eq!(take(&mut queue).1, "e e0 s4");
    answer(&mut queue, first, Answer::Written(10));
    let (freed, _) =
        queue.answered(outgoing.number, Answer::Written(11), Instant::now(), GIVE_UP, |_| Duration::ZERO);
    assert_eq!(freed, Freed(made(&["b", "c", "d"]).size()));
    assert_eq!(poll(&outcome), Some(Ok(11)));
}

#[tokio::test]
async fn a_batch_made_elsewhere_waits_and_is_dropped_as_others_are() {
    let mut queue = queue(true);
    let outcome = queue.push_batch(made(&["a"]), Instant::now());
    assert!(can_send(&queue) && !queue.is_idle());
    let freed = queue.drop_waiting(&Arc::new(Error::Closed));
    assert_eq!(freed, Freed(made(&["a"]).size()));
    assert!(queue.is_idle());
    assert_eq!(poll(&outcome), Some(Err(None)));

    let outcome = queue.push_batch(made(&["a"]), Instant::now());
    let lost = queue.expire(Instant::now(), Duration::ZERO, || Error::Closed);
    assert!(lost.error.is_some());
    assert_eq!(poll(&outcome), Some(Err(None)));
}
