//! The shape of a scenario: sizes so small that everything happens within a few dozen frames.

use std::path::PathBuf;

use logmill_storage::disk::sim::{Faults, Random};
use logmill_storage::journal::JournalOptions;
use logmill_storage::log::{Durability, LogOptions};
use logmill_storage::store::StoreOptions;
use uuid::Uuid;

/// Where the store lives.
pub(crate) const DATA_DIR: &str = "/data";
/// The topic of coordinators' and pipelines' records: always through the journal.
pub(crate) const STATE: &str = "__state";
/// The topic that is deleted and made again under the same name.
pub(crate) const PASSING: &str = "passing";

/// A topic of the scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topic {
    pub name: &'static str,
    pub partitions: i32,
    pub durability: Durability,
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
        let no_whole_flush = options.tail_bytes == 0 && options.applier_shards == 3;
        let durability =
            |random: &mut Random| if random.one_in(2) { Durability::PageCache } else { Durability::Disk };
        let mut topics = vec![
            Topic { name: STATE, partitions: 1, durability: Durability::Disk },
            Topic { name: "orders", partitions: 2, durability: Durability::Disk },
        ];
        if !small || random.one_in(2) {
            topics.push(Topic { name: "clicks-2", partitions: 1, durability: durability(random) });
        }
        if !small || random.one_in(2) {
            topics.push(Topic { name: PASSING, partitions: 1, durability: durability(random) });
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
