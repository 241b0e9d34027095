//! The shape of a scenario: sizes so small that everything happens within a few dozen frames.

use std::path::PathBuf;

use logmill_storage::disk::sim::{Faults, Random};
use logmill_storage::journal::JournalOptions;
use logmill_storage::log::{Cleanup, Compaction, Durability, LogOptions, Retention};
use logmill_storage::store::StoreOptions;
use uuid::Uuid;

/// Where the store lives.
pub(crate) const DATA_DIR: &str = "/data";
/// The topic of coordinators' and pipelines' records: always through the journal.
pub(crate) const STATE: &str = "__state";
/// The topic that is deleted and made again under the same name.
pub(crate) const PASSING: &str = "passing";

/// The topic that is compacted.
pub(crate) const TABLE: &str = "table";
/// How long tombstones and markers stay after a pass has met them, ms.
pub(crate) const DELETE_RETENTION_MS: i64 = 300;

/// What becomes of a topic's old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// They go when somebody trims them.
    Keep,
    /// They go by age, or when there are too many.
    Retain(Retention),
    /// Of each key the last is kept.
    Compact,
}

/// A topic of the scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topic {
    pub name: &'static str,
    pub partitions: i32,
    pub durability: Durability,
    pub policy: Policy,
}

impl Policy {
    /// These settings, with what the policy says.
    pub(crate) fn of(self, options: LogOptions) -> LogOptions {
        let kept = LogOptions { cleanup: Cleanup { delete: false, compact: false }, ..options };
        match self {
            Policy::Keep => kept,
            Policy::Retain(retention) => {
                LogOptions { cleanup: Cleanup { delete: true, compact: false }, retention, ..options }
            }
            Policy::Compact => LogOptions {
                cleanup: Cleanup { delete: false, compact: true },
                compaction: Compaction {
                    min_dirty_ratio: 0.0,
                    min_lag_ms: 0,
                    max_lag_ms: i64::MAX,
                    delete_retention_ms: DELETE_RETENTION_MS,
                },
                ..options
            },
        }
    }

    fn retaining(random: &mut Random) -> Policy {
        let ms = random.one_in(2).then(|| 100 + random.below(1500) as i64);
        let bytes = (ms.is_none() || random.one_in(2)).then(|| 500 + random.below(8000));
        if random.one_in(2) { Policy::Retain(Retention { ms, bytes }) } else { Policy::Keep }
    }
}

/// What a seed decides once and for all.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    pub options: StoreOptions,
    pub faults: Faults,
    pub topics: Vec<Topic>,
    /// Steps of the first life.
    pub steps: usize,
    /// Largest value of an ordinary record, in bytes.
    pub value_bytes: u64,
    /// One in so many steps is a round of the journal.
    pub journal_every: u64,
    /// One in so many steps is a checkpoint that nobody asked for.
    pub checkpoint_every: u64,
    /// One in so many steps fills the disk, for a while.
    pub fill_every: Option<u64>,
    /// One in so many steps lets a write or a flush that comes later fail.
    pub fail_every: Option<u64>,
    /// One in so many steps flips a bit of a file.
    pub rot_every: Option<u64>,
}

impl Profile {
    /// The profile of a seed. `small`: few enough calls to crash at each of them.
    pub(crate) fn new(random: &mut Random, small: bool) -> Profile {
        let blocks = |random: &mut Random, from: u64, count: u64| (from + random.below(count)) << 12;
        let mut options = StoreOptions {
            journal: JournalOptions {
                first_file_bytes: blocks(random, 4, 2),
                file_bytes: blocks(random, 4, 5),
                max_bytes: blocks(random, 16, 17),
                max_frame_bytes: 24 << 10,
                direct: !random.one_in(3),
            },
            tail_bytes: [0, 2 << 10, 1 << 20][random.below(3) as usize],
            applier_shards: 1 + random.below(3) as usize,
            log: log_options(random, Durability::Disk),
            ..StoreOptions::new(PathBuf::from(DATA_DIR), Uuid::from_u128(0xd1))
        };
        options.whole_flush_files = [1, 5, 1000][(options.journal.max_bytes >> 12) as usize % 3];
        options.flush_ahead_bytes = [1, 2 << 10, 1 << 20][(options.journal.max_bytes >> 13) as usize % 3];
        let no_whole_flush = options.tail_bytes == 0 && options.applier_shards == 3;
        let durability =
            |random: &mut Random| if random.one_in(2) { Durability::PageCache } else { Durability::Disk };
        let mut topics = vec![
            Topic { name: STATE, partitions: 1, durability: Durability::Disk, policy: Policy::Keep },
            Topic {
                name: "orders",
                partitions: 2,
                durability: Durability::Disk,
                policy: Policy::retaining(random),
            },
        ];
        if !small || random.one_in(2) {
            let durability = Durability::Disk;
            topics.push(Topic { name: TABLE, partitions: 1, durability, policy: Policy::Compact });
        }
        if !small || random.one_in(2) {
            let (durability, policy) = (durability(random), Policy::retaining(random));
            topics.push(Topic { name: "clicks-2", partitions: 1, durability, policy });
        }
        if !small || random.one_in(2) {
            let durability = durability(random);
            topics.push(Topic { name: PASSING, partitions: 1, durability, policy: Policy::Keep });
        }
        Profile {
            options,
            faults: Faults {
                no_direct: random.one_in(4),
                short_reads: random.one_in(3),
                no_whole_flush,
                ..Faults::default()
            },
            topics,
            steps: if small { 20 + random.below(20) } else { 30 + random.below(120) } as usize,
            value_bytes: [40, 300, 1500][random.below(3) as usize],
            journal_every: 2 + random.below(6),
            checkpoint_every: 12 + random.below(60),
            fill_every: if random.one_in(3) { Some(10 + random.below(30)) } else { None },
            rot_every: if random.one_in(3) { Some(10 + random.below(40)) } else { None },
            fail_every: if random.one_in(3) { Some(10 + random.below(40)) } else { None },
        }
    }
}

/// Settings with which a handful of batches rolls a segment.
pub(crate) fn log_options(random: &mut Random, durability: Durability) -> LogOptions {
    LogOptions {
        segment_bytes: 300 + random.below(4000) as u32,
        index_interval_bytes: [1, 128, 1024][random.below(3) as usize],
        index_max_bytes: 48 + random.below(300) as u32,
        durability,
        ..LogOptions::default()
    }
}
