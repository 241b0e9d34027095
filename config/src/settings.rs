//! Every setting there is.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::schema::{Key, Refused, settings};
use crate::value::{
    Assignor, Assignors, ByteSize, DirectIo, Durability, GroupMigration, HostPort, LogFormat, Raw, Value,
};

settings! {
    /// The whole configuration of a Logmill process.
    Config {
        /// The directory that holds everything Logmill keeps. One process at a time.
        data_dir: PathBuf = PathBuf::from("logmill-data"),
        /// Where clients connect. Kafka's protocol and gRPC share this port; port 0 lets the system choose.
        listen: HostPort = HostPort { host: "127.0.0.1".to_owned(), port: 9092 },
        /// The address told to clients, when it is not the one listened on ("" = the same).
        advertised: Option<HostPort> = None,
        /// How long a stop waits for requests under way before it closes their connections.
        shutdown_drain: Duration = Duration::from_secs(10),
    }

    /// What no client may exceed.
    limits: Limits {
        /// The largest request; a longer one costs its sender the connection.
        max_request: ByteSize = ByteSize::mib(100),
        /// Memory for requests being received and handled, over all connections; beyond it reading waits.
        request_memory: ByteSize = ByteSize::mib(256),
        /// Memory for records on their way to consumers; one response takes a quarter of what is free at most.
        response_memory: ByteSize = ByteSize::mib(256),
        /// Connections at one time; further ones are closed at once.
        max_connections: u32 = 10_000,
        /// A connection without a request for this long is closed.
        idle_timeout: Duration = Duration::from_secs(600),
        /// A client that takes no byte of its response for this long is closed: it holds memory that others want.
        write_timeout: Duration = Duration::from_secs(60),
        /// Memory for the newest records of all partitions, from which consumers at the end are served.
        tail_memory: ByteSize = ByteSize::mib(64),
    }

    /// The commit journal, through which everything becomes durable.
    journal: Journal {
        /// Size of one journal file; files are recycled.
        file_size: ByteSize = ByteSize::mib(32),
        /// All journal files together; bounds the time a start after a crash takes.
        max_size: ByteSize = ByteSize::gib(1),
        /// Whether writes go past the page cache: "auto" where the file system can, "on", "off".
        direct: DirectIo = DirectIo::Auto,
    }

    /// What a topic has unless it says otherwise.
    topics: Topics {
        /// Whether asking for a topic that does not exist creates it, as Kafka does.
        auto_create: bool = true,
        /// Partitions of a topic created without a number.
        partitions: u32 = 1,
        /// When a produce is acknowledged: "disk" (bytes on the device) or "page-cache" (as Apache Kafka does).
        durability: Durability = Durability::Disk,
        /// A partition's log starts a new segment file at this size.
        segment: ByteSize = ByteSize::gib(1),
        /// One index entry per so many bytes of log.
        index_interval: ByteSize = ByteSize::kib(4),
        /// How long records are kept; whole segments go when their newest record is older.
        retention: Duration = Duration::from_secs(7 * 24 * 3600),
        /// The largest record batch a producer may send.
        max_message: ByteSize = ByteSize::bytes(1_048_588),
    }

    /// Removing what is old: retention, deleted records, compaction.
    cleaning: Cleaning {
        /// How often the broker looks for what may go.
        interval: Duration = Duration::from_secs(60),
        /// Memory for the keys of a log that is being compacted; more keys than it holds (32 bytes each) take several passes.
        compaction_memory: ByteSize = ByteSize::mib(64),
        /// A clock that jumps by more than this deletes nothing by age for a day, unless it is set back or the broker restarted.
        max_clock_jump: Duration = Duration::from_secs(3600),
    }

    /// Groups of the classic protocol.
    groups: Groups {
        /// How long a new group waits for more members before its first assignment.
        initial_rebalance_delay: Duration = Duration::from_millis(500),
        /// The shortest session timeout a member may ask for.
        min_session_timeout: Duration = Duration::from_secs(6),
        /// The longest session timeout a member may ask for.
        max_session_timeout: Duration = Duration::from_secs(30 * 60),
        /// The most members of a group.
        max_members: u32 = i32::MAX as u32,
        /// How long the offsets of a group without members are kept ("0 ms" = as long as their topics; Kafka: 7 days).
        offsets_retention: Duration = Duration::ZERO,
    }

    /// Consumer groups of the new protocol (KIP-848). Times that a group has of its own (configs of the group) are kept within the bounds.
    consumer_groups: ConsumerGroups {
        /// How long a member may be silent.
        session_timeout: Duration = Duration::from_secs(45),
        /// The shortest session timeout a group may have of its own.
        min_session_timeout: Duration = Duration::from_secs(45),
        /// The longest session timeout a group may have of its own.
        max_session_timeout: Duration = Duration::from_secs(60),
        /// How often members are told to send a heartbeat.
        heartbeat_interval: Duration = Duration::from_secs(5),
        /// The shortest heartbeat interval a group may have of its own.
        min_heartbeat_interval: Duration = Duration::from_secs(5),
        /// The longest heartbeat interval a group may have of its own.
        max_heartbeat_interval: Duration = Duration::from_secs(15),
        /// The least time between two assignments of a group; changes that come in between wait for the first heartbeat after it.
        assignment_interval: Duration = Duration::ZERO,
        /// The shortest assignment interval a group may have of its own.
        min_assignment_interval: Duration = Duration::ZERO,
        /// The longest assignment interval a group may have of its own.
        max_assignment_interval: Duration = Duration::from_secs(15),
        /// The most members of a group.
        max_members: u32 = i32::MAX as u32,
        /// What members may ask to be assigned by, separated by commas; the first serves those who do not ask: "uniform", "range".
        assignors: Assignors = Assignors(vec![Assignor::Uniform, Assignor::Range]),
        /// How groups with members may change their protocol: "bidirectional", "upgrade" (to the new one), "downgrade", "disabled".
        migration: GroupMigration = GroupMigration::Bidirectional,
    }

    /// Transactions and idempotent producers.
    transactions: Transactions {
        /// The longest transaction timeout a producer may ask for.
        max_timeout: Duration = Duration::from_secs(15 * 60),
        /// A transactional id unused for this long is forgotten.
        expiry: Duration = Duration::from_secs(7 * 24 * 3600),
        /// An idempotent producer unused for this long is forgotten.
        producer_expiry: Duration = Duration::from_secs(24 * 3600),
    }

    /// Stream pipelines. An epoch closes when its input is used up, or at these limits. They are lower for a while, down to one record and one row, when the input unpacks to much more than it is, or much comes out of it.
    pipelines: Pipelines {
        /// Bytes of record batches one epoch takes in, about.
        epoch_bytes: ByteSize = ByteSize::mib(8),
        /// Records one epoch takes in, about.
        epoch_records: u32 = 65_536,
        /// Bytes of output and changes of state one epoch gives, about: whoever produces waits while they are written. Windows that close may give more.
        epoch_output: ByteSize = ByteSize::kib(512),
        /// While others produce, pipelines that work off a backlog take at most so many hundredths of the device's time, all together and in small epochs: what is produced waits for the same device (100 = as much as they can get).
        backlog_share: u32 = 25,
        /// Pipelines wait, and say so, while the file system of the data directory has less room than that: it is left to those who produce ("0 B" = they go on until it is full).
        disk_reserve: ByteSize = ByteSize::mib(128),
        /// Rows of closed windows one epoch writes at most; what is left comes in the next.
        emit_rows: u32 = 50_000,
        /// Memory for the state of each pipeline that has none of its own. With `spill`, what is not used goes to disk from half of it on, where the query allows it; where it does not, the pipeline waits beyond it, and says so.
        memory: ByteSize = ByteSize::gib(1),
        /// Into how many shards the work of each pipeline is split that has no number of its own, at most 256; they are computed at the same time, as far as there are processors ("auto" = one fewer than those, from 1 to 8).
        shards: Option<u32> = None,
        /// Whether state of pipelines goes to disk when memory is short; if not, a pipeline waits that has no more.
        spill: bool = true,
        /// Where state goes that is not in memory, in a directory of this broker's that may be lost at any time ("" = in the data directory). After a change what was spilt to the one before is removed at the next start.
        spill_dir: Option<PathBuf> = None,
        /// After so many bytes of changes and progress, and at least as many as its state has, a pipeline's state is written to a file, and older changes may go.
        snapshot_interval: ByteSize = ByteSize::mib(64),
    }

    /// What the broker tells of itself: log lines on standard error, and metrics.
    telemetry: Telemetry {
        /// The least level written: "error", "warn", "info", "debug", "trace", or directives such as "info,logmill_broker=debug".
        level: String = "info".to_owned(),
        /// "text" for people, "json" for machines.
        format: LogFormat = LogFormat::Text,
        /// Where metrics (GET /metrics, Prometheus' text) and health (/livez, /readyz) can be read over HTTP, such as "127.0.0.1:9644" ("" = nowhere).
        metrics: Option<HostPort> = None,
    }
}

impl Config {
    /// The configuration as a file: every key with its line of meaning.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# Logmill's configuration: every key, its default and one line of meaning.\n\
             #\n\
             # A flag of the command goes before the environment, the environment before this file.\n\
             # The variable of a key is LOGMILL_KEY or LOGMILL_SECTION__KEY: LOGMILL_LIMITS__MAX_REQUEST=\"64 MiB\".\n\
             # Sizes have the units B, KiB, MiB, GiB, TiB; times have ms, s, min, h, d.\n",
        );
        let mut section = "";
        for key in self.keys() {
            if key.section != section {
                section = key.section;
                let meaning =
                    Self::SECTIONS.iter().find(|(name, _)| *name == section).map_or("", |(_, doc)| doc);
                // Writing to a String cannot fail.
                let _ = write!(text, "\n#{meaning}\n[{section}]\n");
            }
            let _ = write!(text, "\n#{}\n{} = {}\n", key.meaning, key.name, key.value);
        }
        text
    }
}
