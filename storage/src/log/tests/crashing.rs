//! The machine goes down at every call that changes the disk, also while recovering from having gone down.

use super::*;
use crate::disk::sim::Random;

/// How recovery gets back what the segments lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// The journal has every batch since the last flush.
    Journal,
    /// Nobody has: what was not flushed may be gone, from some point on.
    PageCache,
}

/// A partition as a store drives it: what it was told, and what it may rely on.
struct Driver {
    bench: Bench,
    mode: Mode,
    random: Random,
    log: Option<PartitionLog>,
    /// Every batch that was handed over and must be there, in the order of offsets.
    batches: Vec<Batch>,
    /// Offset up to which a flush was reported as done.
    recovery_point: i64,
    maker: Maker,
    epochs: [i16; 3],
    sequences: [i32; 3],
}

impl Driver {
    fn new(seed: u64, mode: Mode) -> Driver {
        let bench = Bench::new(seed);
        let log = bench.create();
        let maker = Maker::new();
        let random = Random::new(seed);
        let (batches, epochs, sequences) = (Vec::new(), [0; 3], [0; 3]);
        Driver { bench, mode, random, log: Some(log), batches, recovery_point: 0, maker, epochs, sequences }
    }

    fn next_batch(&mut self) -> Batch {
        let id = self.random.below(3);
        let i = id as usize;
        if self.random.one_in(4) {
            (self.epochs[i], self.sequences[i]) = (self.epochs[i] + 1, 0);
            let commit = self.random.one_in(2);
            return self.maker.marker(id as i64, self.epochs[i], commit);
        }
        let count = 1 + self.random.below(3) as usize;
        let batch = self.maker.data(Some((id as i64, self.epochs[i], self.sequences[i])), true, count);
        self.sequences[i] += count as i32;
        batch
    }

    /// Some appends and flushes. `Err` when the machine went down.
    fn work(&mut self, steps: usize) -> Result<(), LogError> {
        for _ in 0..steps {
            let count = 1 + self.random.below(4);
            let some: Vec<Batch> = (0..count).map(|_| self.next_batch()).collect();
            self.batches.extend_from_slice(&some);
            let log = self.log.as_ref().expect("it is open");
            log.append(&some)?;
            if self.random.one_in(3) {
                self.recovery_point = log.flush()?.end_offset;
            }
        }
        Ok(())
    }

    fn recover(&mut self) -> Result<(), LogError> {
        self.log = None;
        let (log, recovered) = self.bench.open(self.recovery_point)?;
        assert!(recovered.valid_end >= self.recovery_point);
        assert!(recovered.damaged.is_empty(), "a crash is no damage: {:?}", recovered.damaged);
        match self.mode {
            Mode::Journal => {
                for batch in self.batches.iter().filter(|b| b.header().base_offset >= self.recovery_point) {
                    log.replay(batch)?;
                }
                log.cut(self.maker.next_offset)?;
            }
            Mode::PageCache => {
                log.cut(recovered.valid_end)?;
                self.batches.retain(|batch| batch.header().next_offset() <= recovered.valid_end);
                self.maker = Maker { next_offset: recovered.valid_end, epoch: self.maker.epoch + 1 };
                // Producers whose batches are lost begin again with a newer epoch.
                for i in 0..3 {
                    (self.epochs[i], self.sequences[i]) = (self.epochs[i] + 1, 0);
                }
            }
        }
        self.log = Some(log);
        Ok(())
    }

    /// Whether the log is what it would be if nothing had happened.
    fn check(&self) {
        let log = self.log.as_ref().expect("it is open");
        assert_eq!(read_all(log, 0), self.batches);
        let model = Bench::new(1);
        let expected = model.create();
        expected.append(&self.batches).unwrap();
        assert_eq!(log.producers(), expected.producers());
        assert_eq!(log.open_transactions(), expected.open_transactions());
        let aborted = |log: &PartitionLog| log.aborted_transactions(0, i64::MAX).unwrap();
        assert_eq!(aborted(log), aborted(&expected));
        assert_eq!(log.last_leader_epoch(), expected.last_leader_epoch());
        for batch in &self.batches {
            let last = batch.header().last_offset();
            let read = log.read(last, 1, i64::MAX, true).unwrap();
            assert_eq!(&whole_batches(read)[..], std::slice::from_ref(batch));
            assert_eq!(log.leader_epoch_at(last), expected.leader_epoch_at(last));
        }
    }
}

fn crash_at_every_call(mode: Mode, seed: u64, steps: usize) {
    let calls = {
        let mut driver = Driver::new(seed, mode);
        let before = driver.bench.disk.calls();
        driver.work(steps).unwrap();
        driver.check();
        before + 1..=driver.bench.disk.calls()
    };
    for call in calls {
        let mut driver = Driver::new(seed, mode);
        driver.bench.disk.crash_at(call);
        driver.work(steps).unwrap_err();
        assert!(driver.bench.disk.crashed());
        driver.bench.disk.restart();
        // Every third time it goes down once more, on the way up.
        if call % 3 == 0 {
            driver.bench.disk.crash_at(driver.bench.disk.calls() + 1 + driver.random.below(12));
        }
        if driver.recover().is_err() {
            assert!(driver.bench.disk.crashed(), "{mode:?} seed {seed} call {call}");
            driver.bench.disk.restart();
            driver.recover().unwrap();
        }
        driver.bench.disk.crash_at(u64::MAX);
        driver.check();
        driver.work(4).unwrap();
        driver.check();
        driver.recovery_point = driver.log.as_ref().unwrap().flush().unwrap().end_offset;
        driver.bench.disk.restart();
        driver.recover().unwrap();
        driver.check();
    }
}

#[test]
fn with_a_journal() {
    for seed in 0..12 {
        crash_at_every_call(Mode::Journal, seed, 14);
    }
}

#[test]
fn in_the_page_cache() {
    for seed in 0..12 {
        crash_at_every_call(Mode::PageCache, seed, 14);
    }
}
