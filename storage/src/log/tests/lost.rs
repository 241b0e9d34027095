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
