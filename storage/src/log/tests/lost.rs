//! Files that are shorter than they were, or gone: what is left of them looks whole.

use super::*;

/// A flushed log over several segments, and where they begin.
struct Flushed {
    bench: Bench,
    batches: Vec<Batch>,
    end: i64,
    bases: Vec<i64>,
}

fn flushed() -> Flushed {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let batches: Vec<Batch> = (0..40).map(|_| maker.plain(2)).collect();
    log.append(&batches).unwrap();
    let end = log.flush().unwrap().end_offset;
    let mut bases: Vec<i64> =
        log.closed_segments().unwrap().iter().map(|closed| closed.base_offset).collect();
    bases.push(log.active().base_offset());
    assert!(bases.len() > 3, "{bases:?}");
    Flushed { bench, batches, end, bases }
}

impl Flushed {
    /// Batches that the segment of that number begins with.
    fn of(&self, segment: usize) -> &[Batch] {
        let at = |base: i64| self.batches.partition_point(|batch| batch.header().base_offset < base);
        let end = self.bases.get(segment + 1).copied().unwrap_or(self.end);
        &self.batches[at(self.bases[segment])..at(end)]
    }
}

#[test]
fn a_segment_cut_between_two_batches_is_damage() {
    let flushed = flushed();
    for segment in 0..flushed.bases.len() - 1 {
        let (base, next) = (flushed.bases[segment], flushed.bases[segment + 1]);
        let good = flushed.bench.file(FileKind::Log, base);
        let batches = flushed.of(segment);
        let mut left = good.len();
        for lost in batches.iter().rev() {
            left -= lost.size();
            let offset = lost.header().base_offset;
            flushed.bench.disk.plant(&flushed.bench.path(FileKind::Log, base), &good[..left]).unwrap();
            let (log, recovered) = flushed.bench.open(flushed.end).unwrap();
            log.cut(recovered.valid_end).unwrap();
            let [damage] = &recovered.damaged[..] else { panic!("{:?}", recovered.damaged) };
            assert_eq!(
                (&damage.file, damage.position),
                (&flushed.bench.path(FileKind::Log, base), left as u64)
            );
            for at in [offset, next - 1] {
                let error = log.read(at, usize::MAX, i64::MAX, true).unwrap_err();
                assert!(matches!(error, ReadError::Corrupt(_)), "{error}");
            }
            assert_eq!(read_all(&log, next)[0].header().base_offset, next, "what lies behind it is read");
            if offset > base {
                assert_eq!(
                    read_all(&log, base).last().unwrap().header().next_offset(),
                    offset,
                    "and before it"
                );
            }
        }
        flushed.bench.disk.plant(&flushed.bench.path(FileKind::Log, base), &good).unwrap();
    }
}

#[test]
fn a_segment_that_is_gone_is_damage() {
    let flushed = flushed();
    for segment in 0..flushed.bases.len() - 1 {
        let (base, next) = (flushed.bases[segment], flushed.bases[segment + 1]);
        let path = flushed.bench.path(FileKind::Log, base);
        let good = flushed.bench.file(FileKind::Log, base);
        flushed.bench.disk.remove_file(&path).unwrap();
        let (log, recovered) = flushed.bench.open(flushed.end).unwrap();
        log.cut(recovered.valid_end).unwrap();
        assert_eq!(recovered.damaged.len(), 1, "{:?}", recovered.damaged);
        assert_eq!(log.log_start_offset(), 0, "also the first");
        for at in base..next {
            let error = log.read(at, usize::MAX, i64::MAX, true).unwrap_err();
            assert!(matches!(&error, ReadError::Corrupt(damage) if damage.file == path), "{error}");
        }
        assert_eq!(read_all(&log, next)[0].header().base_offset, next);
        // The flush of another run does not make it right.
        log.append(&[Maker { next_offset: flushed.end, epoch: 0 }.plain(1)]).unwrap();
        log.flush().unwrap();
        assert_eq!(flushed.bench.open(flushed.end).unwrap().1.damaged.len(), 1);
        flushed.bench.reopen(flushed.end).cut(flushed.end).unwrap();
        flushed.bench.disk.plant(&path, &good).unwrap();
        assert!(flushed.bench.open(flushed.end).unwrap().1.damaged.is_empty());
    }
}

#[test]
fn a_segment_closed_right_behind_a_flush_is_held_against_the_next_one() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let batches: Vec<Batch> = (0..40).map(|_| maker.plain(2)).collect();
    log.append(&batches).unwrap();
    let end = log.flush().unwrap().end_offset;
    // Nothing flushes the manifest again before the machine goes down; the new name got to the device by itself.
    log.close_active().unwrap();
    bench.disk.sync_dir(directory()).unwrap();
    let closed = *log.closed_segments().unwrap().last().unwrap();
    drop(log);
    assert!(bench.open(end).unwrap().1.damaged.is_empty());
    let good = bench.file(FileKind::Log, closed.base_offset);
    let left = good.len() - batches.last().unwrap().size();
    bench.disk.plant(&bench.path(FileKind::Log, closed.base_offset), &good[..left]).unwrap();
    let (log, recovered) = bench.open(end).unwrap();
    assert_eq!(recovered.damaged.len(), 1);
    assert!(matches!(log.read(end - 1, 1, i64::MAX, true), Err(ReadError::Corrupt(_))));
}

#[test]
fn retention_is_no_damage_wherever_a_crash_comes() {
    let flushed = flushed();
    let log = flushed.bench.reopen(flushed.end);
    let kept = flushed.bases[2];
    log.advance_log_start(kept);
    log.remove_segments_before_start(flushed.end).unwrap();
    drop(log);
    // The checkpoint may be older than the start that the journal has.
    let (log, recovered) = flushed.bench.open(flushed.end).unwrap();
    assert!(recovered.damaged.is_empty(), "{:?}", recovered.damaged);
    assert_eq!(log.log_start_offset(), kept);
    assert_eq!(read_all(&log, kept)[0].header().base_offset, kept);
}

#[test]
fn without_the_manifest_what_is_there_is_believed() {
    let flushed = flushed();
    let path = directory().join(SEGMENT_MANIFEST);
    flushed.bench.disk.rot(&path, 3, 1).unwrap();
    let (log, recovered) = flushed.bench.open(flushed.end).unwrap();
    assert!(recovered.damaged.is_empty());
    assert_eq!(recovered.rebuilt, [path.as_path()]);
    log.cut(recovered.valid_end).unwrap();
    assert_eq!(read_all(&log, 0), flushed.batches);
    log.append(&[Maker { next_offset: flushed.end, epoch: 0 }.plain(1)]).unwrap();
    log.flush().unwrap();
    drop(log);
    let (_, recovered) = flushed.bench.open(flushed.end).unwrap();
    assert!(recovered.rebuilt.is_empty(), "the next flush wrote it again");
    let good = flushed.bench.file(FileKind::Log, 0);
    flushed
        .bench
        .disk
        .plant(&flushed.bench.path(FileKind::Log, 0), &good[..flushed.batches[0].size()])
        .unwrap();
    assert_eq!(flushed.bench.open(flushed.end).unwrap().1.damaged.len(), 1);
}

/// One large segment, flushed up to an offset, with batches behind that.
fn unflushed_behind() -> (Bench, Vec<Batch>, i64) {
    let bench = Bench { options: LogOptions { segment_bytes: 1 << 20, ..small_segments() }, ..Bench::new(1) };
    let log = bench.create();
    let mut maker = Maker::new();
    let batches: Vec<Batch> = (0..20).map(|_| maker.plain(2)).collect();
    log.append(&batches[..10]).unwrap();
    let end = log.flush().unwrap().end_offset;
    log.append(&batches[10..]).unwrap();
    (bench, batches, end)
}

#[test]
fn damage_right_before_the_recovery_point_costs_nothing_behind_it() {
    let (bench, batches, end) = unflushed_behind();
    // Its length: no walk by headers gets over it.
    let position: usize = batches[..9].iter().map(Batch::size).sum();
    bench.disk.rot(&bench.path(FileKind::Log, 0), position as u64 + 11, 0x7f).unwrap();
    for unjournaled in [false, true] {
        let at = OpenAt { recovery_point: end, unjournaled, ..OpenAt::default() };
        let (log, recovered) =
            PartitionLog::open(&bench.environment, directory(), bench.options, at).unwrap();
        assert_eq!(recovered.damaged.len(), 1, "{:?}", recovered.damaged);
        log.cut(recovered.valid_end).unwrap();
        assert!(matches!(log.read(end - 1, 1, i64::MAX, true), Err(ReadError::Corrupt(_))));
        assert_eq!(read_all(&log, end), batches[10..]);
        assert_eq!(read_all(&log, 0), batches[..9]);
    }
}

#[test]
fn what_is_in_no_journal_is_not_given_up_behind_a_loss() {
    let (bench, batches, end) = unflushed_behind();
    for number in [9, 10] {
        let position: usize = batches[..number].iter().map(Batch::size).sum();
        bench.disk.rot(&bench.path(FileKind::Log, 0), position as u64 + 11, 0x7f).unwrap();
    }
    let open = |unjournaled| {
        let at = OpenAt { recovery_point: end, unjournaled, ..OpenAt::default() };
        PartitionLog::open(&bench.environment, directory(), bench.options, at)
    };
    let before = bench.disk.files();
    assert!(matches!(open(true), Err(LogError::LostBelowRecoveryPoint { .. })));
    assert_eq!(bench.disk.files(), before, "nothing was changed");
    // With a journal that has it all it costs what was flushed only.
    let (log, _) = open(false).unwrap();
    log.replay_run(&batches[10..]).unwrap();
    log.cut(40).unwrap();
    assert_eq!(read_all(&log, end), batches[10..]);
}

#[test]
fn aborted_transactions_are_known_when_the_segment_of_their_markers_is_lost() {
    let bench = Bench::new(1);
    let log = bench.create();
    let mut maker = Maker::new();
    let mut all: Vec<Batch> = (0..12).map(|number| maker.data(Some((5, 0, 2 * number)), true, 2)).collect();
    all.push(maker.marker(5, 1, false));
    log.append(&all).unwrap();
    let end = log.flush().unwrap().end_offset;
    let last = log.active().base_offset();
    let expected = log.aborted_transactions(0, end).unwrap();
    assert!(last > 0 && expected.len() == 1 && expected[0].last_offset >= last);
    drop(log);
    bench.disk.remove_file(&bench.path(FileKind::Log, last)).unwrap();
    for _ in 0..2 {
        let (log, recovered) = bench.open(end).unwrap();
        log.cut(recovered.valid_end).unwrap();
        assert_eq!(log.aborted_transactions(0, end).unwrap(), expected);
        assert!(matches!(log.read(last, 1, i64::MAX, true), Err(ReadError::Corrupt(_))));
    }
}

#[test]
fn a_lost_segment_hides_no_time_and_no_age_of_others() {
    let flushed = flushed();
    flushed.bench.disk.remove_file(&flushed.bench.path(FileKind::Log, 0)).unwrap();
    let log = flushed.bench.reopen(flushed.end);
    let next = flushed.bases[1];
    let found = log.offset_for_timestamp(0, i64::MAX).unwrap().unwrap();
    assert_eq!(found.offset, next, "the first that is there");
    let week = Retention { ms: Some(1), bytes: None };
    let young = 1000 + (flushed.bases[2] - 1) * 10;
    assert_eq!(log.retained(&week, flushed.end, Some(young)).unwrap().start, 0, "as old as the next one");
    assert_eq!(log.retained(&week, flushed.end, Some(young + 2)).unwrap().start, flushed.bases[2]);
}
