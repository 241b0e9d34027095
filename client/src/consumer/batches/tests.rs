use bytes::{Bytes, BytesMut};
use logmill_record::control::marker_batch;
use logmill_record::{BatchBuilder, BatchError, BatchOptions, EndTxnMarker, ProducerStamp};

use super::*;

/// A log of one-record batches; offsets are the places in the list.
#[derive(Default)]
struct Log(Vec<Batch>);

impl Log {
    fn append(mut self, batch: Batch) -> Self {
        self.0.push(batch.stamped(self.0.len() as i64, 0));
        self
    }

    fn plain(self) -> Self {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(1, None, Some(b"x"), &[]);
        self.append(builder.build())
    }

    fn of(self, producer: i64) -> Self {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer: Some(ProducerStamp { id: producer, epoch: 0, sequence: 0 }),
            transactional: true,
            ..BatchOptions::default()
        });
        builder.push(1, None, Some(b"x"), &[]);
        self.append(builder.build())
    }

    fn end(self, producer: i64, commit: bool) -> Self {
        self.append(marker_batch(producer, 0, EndTxnMarker { commit, coordinator_epoch: 0 }, 1))
    }

    fn bytes(&self, range: std::ops::Range<usize>) -> Bytes {
        let mut bytes = BytesMut::new();
        self.0[range].iter().for_each(|batch| bytes.extend_from_slice(batch.bytes()));
        bytes.freeze()
    }
}

fn offsets(fetched: &FetchedBatches) -> Vec<i64> {
    fetched.batches.iter().map(|batch| batch.header().base_offset).collect()
}

fn committed(fetched: &FetchedBatches) -> Vec<i64> {
    fetched.committed().map(|batch| batch.header().base_offset).collect()
}

#[test]
fn batches_stay_until_somebody_begins_behind_them() {
    let log = Log::default().plain().plain().plain();
    let mut ahead = Ahead::new(0);
    assert_eq!(ahead.take(0, log.bytes(0..3), Vec::new()), Ok(true));
    assert_eq!(ahead.take(0, log.bytes(0..3), Vec::new()), Ok(false), "an answer to an older question");
    assert_eq!(offsets(&ahead.read(0, usize::MAX).expect("read")), [0, 1, 2]);
    assert_eq!(offsets(&ahead.read(0, 1).expect("read")), [0], "at least one");
    assert_eq!(offsets(&ahead.read(1, usize::MAX).expect("read")), [1, 2]);
    assert_eq!(ahead.bytes, log.bytes(1..3).len());
    assert_eq!(offsets(&ahead.read(3, usize::MAX).expect("read")), [0; 0]);
    assert_eq!((ahead.bytes, ahead.fetch), (0, 3));
}

#[test]
fn an_aborted_transaction_is_known_over_several_fetches() {
    // 0, 1 of producer 5 are aborted at 3; 2 is of nobody; 4 of producer 5 is committed at 5.
    let log = Log::default().of(5).of(5).plain().end(5, false).of(5).end(5, true);
    let mut ahead = Ahead::new(0);
    ahead.take(0, log.bytes(0..1), vec![(5, 0)]).expect("taken");
    let first = ahead.read(0, usize::MAX).expect("read");
    assert_eq!(first.aborted[0].last_offset, i64::MAX, "its end is not known yet");
    assert_eq!(committed(&first), [0; 0]);
    ahead.take(1, log.bytes(1..4), vec![(5, 0)]).expect("taken");
    ahead.take(4, log.bytes(4..6), Vec::new()).expect("taken");
    let all = ahead.read(0, usize::MAX).expect("read");
    assert_eq!(
        all.aborted,
        [AbortedTransaction { producer_id: 5, first_offset: 0, last_offset: 3 }],
        "listed twice, known once"
    );
    assert_eq!((offsets(&all).len(), committed(&all)), (6, vec![2, 4]));
    assert_eq!(ahead.read(4, usize::MAX).expect("read").aborted, [], "it is behind");
}

#[test]
fn a_failure_is_told_when_nothing_is_left_before_it() {
    let log = Log::default().plain();
    let mut ahead = Ahead::new(0);
    ahead.take(0, log.bytes(0..1), Vec::new()).expect("taken");
    ahead.failed = Some(Error::Closed);
    assert_eq!(offsets(&ahead.read(0, usize::MAX).expect("read")), [0]);
    assert!(matches!(ahead.read(1, usize::MAX), Err(Error::Closed)));
}

#[test]
fn a_batch_cut_off_is_left_for_the_next_fetch_and_damage_is_an_error() {
    let log = Log::default().plain().plain();
    let whole = log.bytes(0..2);
    let mut ahead = Ahead::new(0);
    assert_eq!(ahead.take(0, whole.slice(..whole.len() - 1), Vec::new()), Ok(true));
    assert_eq!(ahead.fetch, 1);
    let mut damaged = BytesMut::from(&log.bytes(1..2)[..]);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(matches!(ahead.take(1, damaged.freeze(), Vec::new()), Err(BatchError::Checksum { .. })));
}

#[test]
fn a_fetch_may_begin_inside_a_batch() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    (0..3).for_each(|_| builder.push(1, None, Some(b"x"), &[]));
    let batch = builder.build().stamped(10, 0);
    let mut ahead = Ahead::new(11);
    assert_eq!(ahead.take(11, batch.into_bytes(), Vec::new()), Ok(true));
    assert_eq!((offsets(&ahead.read(11, 0).expect("read")), ahead.fetch), (vec![10], 13));
}

#[test]
fn nothing_is_held_behind_the_end_of_a_part() {
    let log = Log::default().plain().plain().plain().plain();
    // Said before anything is fetched.
    let mut ahead = Ahead::new(0);
    ahead.read_to(2);
    assert_eq!(ahead.take(0, log.bytes(0..4), Vec::new()), Ok(true));
    assert_eq!(offsets(&ahead.read(0, usize::MAX).expect("read")), [0, 1]);
    assert!(ahead.is_at_end());
    // Said when there is more already.
    let mut ahead = Ahead::new(0);
    assert_eq!(ahead.take(0, log.bytes(0..4), Vec::new()), Ok(true));
    let whole = ahead.bytes;
    ahead.read_to(2);
    assert_eq!((ahead.bytes, ahead.fetch), (whole / 2, 2));
    assert_eq!(offsets(&ahead.read(0, usize::MAX).expect("read")), [0, 1]);
    // The records before the end are gone: only what begins behind it shows that there are none.
    let mut ahead = Ahead::new(0);
    ahead.read_to(2);
    assert_eq!(ahead.take(0, log.bytes(3..4), Vec::new()), Ok(true));
    assert_eq!(offsets(&ahead.read(0, usize::MAX).expect("read")), [3]);
    // A part that is empty.
    let mut ahead = Ahead::new(2);
    ahead.read_to(2);
    assert!(ahead.is_at_end());
}

#[test]
fn what_is_held_of_a_part_that_is_fetched_leaves_the_others_their_room() {
    let log = Log::default().plain().plain().plain();
    let mut all: BTreeMap<Key, Ahead> = BTreeMap::new();
    for partition in 0..2 {
        let mut ahead = Ahead::new(0);
        assert_eq!(ahead.take(0, log.bytes(0..3), Vec::new()), Ok(true));
        all.insert((Arc::from("t"), partition), ahead);
    }
    let both = held(&all);
    all.values_mut().next().expect("a partition").read_to(2);
    assert_eq!(held(&all), both / 2);
}

/// Partitions of which everything is held that a fetch gave: this log.
fn fetched(log: &Log, partitions: i32) -> BTreeMap<Key, Ahead> {
    let ahead = |partition| {
        let mut ahead = Ahead::new(0);
        assert_eq!(ahead.take(0, log.bytes(0..log.0.len()), Vec::new()), Ok(true));
        ((Arc::from("t"), partition), ahead)
    };
    (0..partitions).map(ahead).collect()
}

fn asked(fetch: &ToFetch) -> Vec<i32> {
    fetch.partitions.iter().map(|wanted| wanted.key.1).collect()
}

#[test]
fn those_of_which_nothing_is_held_are_fetched_where_there_is_no_room() {
    let log = Log::default().plain().plain();
    let mut all = fetched(&log, 4);
    let one = log.bytes(0..2).len();
    let settings =
        FetchSettings { buffer_bytes: 3 * one, partition_bytes: 2 * one, ..FetchSettings::default() };
    let now = Instant::now();
    let full = to_fetch(&all, settings, now);
    assert_eq!((asked(&full), full.look_at), (Vec::new(), None), "something is held of each");
    // Two are read, and the others wait: of one there is more, and of the other nothing is known.
    for partition in [1, 2] {
        let ahead = all.get_mut(&(Arc::from("t"), partition)).expect("a partition");
        ahead.read(2, usize::MAX).expect("read");
    }
    let wait = settings.max_wait;
    all.get_mut(&(Arc::from("t"), 1)).expect("a partition").answered((9, 9), false, wait, now);
    let settings = FetchSettings { buffer_bytes: 2 * one, ..settings };
    let fetch = to_fetch(&all, settings, now);
    assert_eq!(asked(&fetch), [1, 2]);
    assert_eq!((fetch.settings.partition_bytes, fetch.settings.max_wait), (one / 2, Duration::ZERO));
    // One that is at its end is asked for now and then, for who wants to know whether it still is.
    all.get_mut(&(Arc::from("t"), 1)).expect("a partition").answered((2, 2), true, wait, now);
    let fetch = to_fetch(&all, settings, now);
    assert_eq!((asked(&fetch), fetch.look_at), (vec![2], Some(now + wait)));
    assert_eq!(asked(&to_fetch(&all, settings, now + wait)), [1, 2]);
    // What is left has no room in an answer: not at once again.
    all.get_mut(&(Arc::from("t"), 1)).expect("a partition").answered((9, 9), true, wait, now);
    let fetch = to_fetch(&all, settings, now);
    assert!(asked(&fetch) == [2] && fetch.look_at.is_some_and(|at| at > now && at < now + wait), "{fetch:?}");
    // With room again it is those of which not enough is held.
    let settings = FetchSettings { buffer_bytes: 3 * one, partition_bytes: one, ..settings };
    assert_eq!(asked(&to_fetch(&all, settings, now)), [1, 2]);
}

#[test]
fn an_end_is_told_for_as_long_as_answers_come() {
    let (wait, begin) = (Duration::from_millis(500), Instant::now());
    let mut ahead = Ahead::new(5);
    assert_eq!(ahead.told(wait, begin), None);
    let mut answer = |ends: (i64, i64), after: u64| {
        let now = begin + Duration::from_millis(after);
        ahead.answered(ends, true, wait, now);
        ahead.told(wait, now + Duration::from_millis(100)).expect("told")
    };
    let first = answer((5, 5), 0);
    assert_eq!((first.steady, first.age), (Duration::ZERO, Some(Duration::from_millis(100))));
    assert_eq!(answer((5, 5), 1_500).steady, Duration::from_millis(1_500));
    assert_eq!(answer((5, 5), 3_001).steady, Duration::ZERO, "what was between is not known");
    assert_eq!(answer((5, 5), 4_000).steady, Duration::from_millis(999));
    let open = answer((5, 6), 4_100);
    assert_eq!((open.readable, open.log_end, open.steady), (5, 6, Duration::ZERO), "a transaction begins");
    let late = begin + Duration::from_millis(5_601);
    assert_eq!(ahead.told(wait, late).expect("told").age, None, "nobody answers");
}

#[test]
fn who_goes_back_has_it_fetched_anew() {
    let log = Log::default().plain().plain().plain();
    let mut ahead = Ahead::new(0);
    ahead.take(0, log.bytes(0..3), Vec::new()).expect("taken");
    assert_eq!(ahead.at_time(0, 1), Some(0));
    assert_eq!(ahead.at_time(2, 1), Some(2));
    assert_eq!(ahead.at_time(0, 2), None, "all are earlier");
    assert_eq!(offsets(&ahead.read(0, usize::MAX).expect("read")), [0, 1, 2], "nothing is let go by looking");
    assert_eq!(offsets(&ahead.read(2, usize::MAX).expect("read")), [2]);
    assert_eq!(ahead.at_time(1, 2), Some(1), "what is between is not known");
    assert_eq!(offsets(&ahead.read(1, usize::MAX).expect("read")), [0; 0]);
    assert_eq!((ahead.fetch, ahead.bytes), (1, 0));
    ahead.take(1, log.bytes(1..3), Vec::new()).expect("taken");
    assert_eq!(offsets(&ahead.read(1, usize::MAX).expect("read")), [1, 2]);
}
