use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn aborted(
    producer_id: i64,
    first_offset: i64,
    last_offset: i64,
    last_stable_offset: i64,
) -> AbortedTransaction {
    AbortedTransaction { producer_id, first_offset, last_offset, last_stable_offset }
}

#[test]
fn aborted_transactions_have_an_entry_where_they_end() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let all = [
        maker.data(Some((1, 0, 0)), true, 2), // 0, 1
        maker.data(Some((2, 0, 0)), true, 2), // 2, 3
        maker.marker(1, 1, false),            // 4: aborts 0..4, producer 2 is open from 2
        maker.data(Some((3, 0, 0)), true, 1), // 5
        maker.marker(2, 1, true),             // 6: commits
        maker.marker(3, 1, false),            // 7: aborts 5..7
        maker.marker(4, 0, false),            // 8: nothing here
    ];
    log.append(&all).unwrap();
    log.flush().unwrap();
    let [first, second] = [aborted(1, 0, 4, 2), aborted(3, 5, 7, 8)];
    let expected = [first.encode(), second.encode()].concat();
    assert_eq!(bench.file(FileKind::TransactionIndex, 0), expected);

    let check = |log: &PartitionLog| {
        assert_eq!(log.aborted_transactions(0, 9).unwrap(), [first, second]);
        assert_eq!(log.aborted_transactions(5, 9).unwrap(), [second]);
        assert_eq!(log.aborted_transactions(4, 5).unwrap(), [first]);
        assert_eq!(log.aborted_transactions(8, 9).unwrap(), []);
        assert!(log.open_transactions().is_empty());
    };
    check(&log);
    check(&bench.reopen(9));
    check(&bench.reopen(5));
    check(&bench.reopen(0));
}

#[test]
fn a_log_without_aborted_transactions_has_no_index_of_them() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    log.append(&[maker.data(Some((1, 0, 0)), true, 2), maker.marker(1, 1, true)]).unwrap();
    log.flush().unwrap();
    drop(log);
    let log = bench.reopen(3);
    assert_eq!(log.aborted_transactions(0, 3).unwrap(), []);
    assert!(!bench.names().iter().any(|name| name.ends_with(".txnindex")));
}

#[test]
fn a_damaged_index_of_aborted_transactions_is_made_again() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let mut all = Vec::new();
    for i in 0..12 {
        all.push(maker.data(Some((i % 3, i as i16, 0)), true, 2));
        all.push(maker.marker(i % 3, i as i16 + 1, i % 2 == 0));
    }
    log.append(&all).unwrap();
    log.flush().unwrap();
    let end = log.end_offset();
    let expected = log.aborted_transactions(0, end).unwrap();
    assert_eq!(expected.len(), 6);
    let files: Vec<i64> = bench
        .names()
        .iter()
        .filter_map(|name| FileKind::parse(name))
        .filter_map(|(kind, base)| (kind == FileKind::TransactionIndex).then_some(base))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    let good: Vec<Vec<u8>> = files.iter().map(|base| bench.file(FileKind::TransactionIndex, *base)).collect();
    drop(log);
    for (base, good) in files.iter().zip(&good) {
        let path = bench.path(FileKind::TransactionIndex, *base);
        let mut flipped = good.clone();
        flipped[9] ^= 1;
        let one_less = &good[..good.len() - 34];
        let damages =
            [one_less, &good[..good.len() - 1], &[0; 34], &flipped, &[&good[..], &good[..]].concat(), &[]];
        for damaged in damages {
            match damaged {
                [] => bench.disk.remove_file(&path).unwrap(),
                bytes => bench.disk.plant(&path, bytes).unwrap(),
            }
            let log = bench.reopen(end);
            assert_eq!(log.aborted_transactions(0, end).unwrap(), expected, "segment {base}");
            log.flush().unwrap();
            assert_eq!(&bench.file(FileKind::TransactionIndex, *base), good);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Aborted transactions, open ones and producers are the same as in a plain model, across segments and restarts from
    /// any recovery point.
    #[test]
    fn transactions_agree_with_a_model(
        steps in proptest::collection::vec((0..4i64, 0..5u8, 1..4usize), 1..80),
        restart in 0..80usize,
        flush in 0..80usize,
    ) {
        let bench = Bench::new(1);
        let mut log = bench.create();
        let mut maker = Maker::new();
        let mut epochs = [0i16; 4];
        let mut sequences = [0i32; 4];
        let mut open: BTreeMap<i64, i64> = BTreeMap::new();
        let mut ended: Vec<AbortedTransaction> = Vec::new();
        let mut recovery_point = 0;
        for (at, (id, what, count)) in steps.into_iter().enumerate() {
            let i = id as usize;
            let batch = if what < 3 {
                let batch = maker.data(Some((id, epochs[i], sequences[i])), true, count);
                sequences[i] += count as i32;
                open.entry(id).or_insert(batch.header().base_offset);
                batch
            } else {
                (epochs[i], sequences[i]) = (epochs[i] + 1, 0);
                let batch = maker.marker(id, epochs[i], what == 3);
                if let Some(first) = open.remove(&id) && what == 4 {
                    let last = batch.header().base_offset;
                    let stable = open.values().min().copied().unwrap_or(last + 1);
                    ended.push(aborted(id, first, last, stable));
                }
                batch
            };
            log.append(&[batch]).unwrap();
            if at == flush {
                recovery_point = log.flush().unwrap().end_offset;
            }
            if at == restart {
                // Indexes and a snapshot are written, and nobody knows.
                drop(log.prepare_flush().unwrap());
                log = bench.reopen(recovery_point);
            }
        }
        let end = log.end_offset();
        for log in [&log, &bench.reopen(recovery_point)] {
            let first_open = open.values().min().copied();
            prop_assert_eq!(log.open_transactions().first_offset(), first_open);
            prop_assert_eq!(log.open_transactions().iter().count(), open.len());
            for from in (0..end).step_by(7) {
                for upper in (from..=end).step_by(5) {
                    let found = log.aborted_transactions(from, upper).unwrap();
                    let expected: Vec<_> = ended.iter().filter(|t| t.overlaps(from, upper)).copied().collect();
                    prop_assert_eq!(found, expected, "from {} to {}", from, upper);
                }
            }
            for view in log.producers() {
                let i = view.producer_id as usize;
                prop_assert_eq!((view.producer_epoch, view.last_sequence), (epochs[i], sequences[i] - 1));
            }
        }
    }
}
