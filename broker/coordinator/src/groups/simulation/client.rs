//! A member as a client library makes it, with the habits that hurt.

use bytes::Bytes;

use crate::groups::{
    Command, CommitOffsets, Heartbeat, Join, Joined, Leave, LeavingMember, PartitionOffset, Reply, Sync,
    Synced, TopicOffsets,
};
use crate::random::Random;
use crate::{ErrorCode, Str};

pub(super) const SESSION_MS: i32 = 10_000;
pub(super) const REBALANCE_MS: i32 = 20_000;
/// How long a client waits for an answer.
const PATIENCE_MS: i64 = 45_000;

#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) group: Str,
    pub(super) instance: Option<Str>,
    pub(super) phase: Phase,
    pub(super) member_id: Str,
    pub(super) generation: i32,
    version: i16,
    protocol_type: Str,
    protocols: Vec<(Str, Bytes)>,
    /// The group as the leader was told; empty for followers.
    roster: Vec<(Str, Option<Str>)>,
    /// Number of the request it waits for.
    attempt: u64,
    asked_at: i64,
    committed: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Wants to be a member.
    Out,
    Joining,
    Syncing,
    In,
    /// Does not want to any more.
    Gone,
}

impl Client {
    pub(super) fn new(index: usize, random: &mut Random) -> Client {
        let protocol = |name: &str| (Str::from(name), Bytes::from(name.to_owned()));
        let all = ["range", "sticky"].map(protocol);
        Client {
            group: Str::from(*random.pick(&["g", "g", "h"])),
            instance: random.permille(350).then(|| format!("i{}", index % 3).into()),
            phase: Phase::Out,
            member_id: Str::default(),
            generation: -1,
            version: *random.pick(&[3, 5, 9, 9]),
            protocol_type: if random.permille(20) { "connect".into() } else { "consumer".into() },
            protocols: if random.permille(100) { vec![all[1].clone()] } else { all.to_vec() },
            roster: Vec::new(),
            attempt: 0,
            asked_at: 0,
            committed: 0,
        }
    }

    /// What it does next, by itself. The number tells the answer it will listen to from others.
    pub(super) fn act(&mut self, now: i64, calm: bool, random: &mut Random) -> Option<(u64, Command)> {
        let waits = matches!(self.phase, Phase::Joining | Phase::Syncing);
        if waits && now - self.asked_at < PATIENCE_MS && (calm || !random.permille(20)) {
            return None;
        }
        let command = match self.phase {
            Phase::Gone => return None,
            // It was not answered, and begins again.
            Phase::Out | Phase::Joining | Phase::Syncing => self.join(),
            Phase::In if calm => self.heartbeat(),
            Phase::In => match random.below(100) {
                0..=54 => self.heartbeat(),
                55..=79 => self.commit(random),
                80..=84 => {
                    let changed = Bytes::from(random.below(3).to_string());
                    self.protocols.iter_mut().for_each(|(_, metadata)| *metadata = changed.clone());
                    self.join()
                }
                85..=88 => self.leave(),
                89..=92 => {
                    // It crashes; a static member comes back under its instance.
                    self.forget_member();
                    return None;
                }
                93..=94 => self.sync(),
                _ => return None,
            },
        };
        if matches!(self.phase, Phase::Joining | Phase::Syncing) {
            self.asked_at = now;
        }
        self.attempt += 1;
        Some((self.attempt, command))
    }

    /// Hears an answer. Returns what it sends at once.
    pub(super) fn hear(&mut self, attempt: u64, reply: &Reply, now: i64) -> Option<(u64, Command)> {
        if attempt != self.attempt {
            return None;
        }
        let command = match reply {
            Reply::Joined(joined) => self.heard_joined(joined)?,
            Reply::Synced(synced) => {
                self.heard_synced(synced);
                return None;
            }
            Reply::Heartbeat(error) => {
                self.heard_error(*error);
                return None;
            }
            Reply::Committed(committed) => {
                self.heard_error(committed.topics[0].1[0].1);
                return None;
            }
            _ => return None,
        };
        self.asked_at = now;
        self.attempt += 1;
        Some((self.attempt, command))
    }

    /// The connection broke.
    pub(super) fn lose_connection(&mut self) {
        if matches!(self.phase, Phase::Joining | Phase::Syncing) {
            self.phase = Phase::Out;
        }
    }

    fn heard_joined(&mut self, joined: &Joined) -> Option<Command> {
        if joined.error == ErrorCode::MEMBER_ID_REQUIRED {
            self.member_id = joined.member_id.clone();
            return Some(self.join());
        }
        if joined.error != ErrorCode::NONE {
            self.phase = Phase::Out;
            self.heard_error(joined.error);
            return None;
        }
        self.member_id = joined.member_id.clone();
        self.generation = joined.generation;
        self.roster.clear();
        if !joined.skip_assignment {
            let members = joined.members.iter();
            self.roster =
                members.map(|member| (member.member_id.clone(), member.instance_id.clone())).collect();
        }
        Some(self.sync())
    }

    fn heard_synced(&mut self, synced: &Synced) {
        self.phase = if synced.error == ErrorCode::NONE { Phase::In } else { Phase::Out };
        self.heard_error(synced.error);
    }

    fn heard_error(&mut self, error: ErrorCode) {
        match error {
            ErrorCode::NONE => {}
            ErrorCode::FENCED_INSTANCE_ID => {
                self.forget_member();
                self.phase = Phase::Gone;
            }
            ErrorCode::UNKNOWN_MEMBER_ID => self.forget_member(),
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL => self.phase = Phase::Gone,
            _ => self.phase = Phase::Out,
        }
    }

    fn forget_member(&mut self) {
        self.member_id = Str::default();
        self.generation = -1;
        self.phase = Phase::Out;
    }

    /// A member that gave up tries again.
    pub(super) fn revive(&mut self) {
        if self.phase == Phase::Gone {
            self.forget_member();
        }
    }

    fn join(&mut self) -> Command {
        self.phase = Phase::Joining;
        Command::Join(Join {
            version: self.version,
            group: self.group.clone(),
            member_id: self.member_id.clone(),
            instance_id: self.instance.clone(),
            client_id: "c".into(),
            client_host: "/h".into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            protocol_type: self.protocol_type.clone(),
            protocols: self.protocols.clone(),
            fresh: uuid::Uuid::nil(), // chosen where it arrives
        })
    }

    fn sync(&mut self) -> Command {
        self.phase = Phase::Syncing;
        let assignments = self
            .roster
            .iter()
            .map(|(member_id, instance)| {
                let to = instance.as_ref().unwrap_or(member_id);
                (member_id.clone(), Bytes::from(format!("{} {to}", self.generation)))
            })
            .collect();
        Command::Sync(Sync {
            group: self.group.clone(),
            generation: self.generation,
            member_id: self.member_id.clone(),
            instance_id: self.instance.clone(),
            protocol_type: None,
            protocol_name: None,
            assignments,
        })
    }

    fn heartbeat(&self) -> Command {
        Command::Heartbeat(Heartbeat {
            group: self.group.clone(),
            generation: self.generation,
            member_id: self.member_id.clone(),
            instance_id: self.instance.clone(),
        })
    }

    pub(super) fn commit(&mut self, random: &mut Random) -> Command {
        self.committed += 1;
        Command::CommitOffsets(CommitOffsets {
            version: 9,
            group: self.group.clone(),
            generation: self.generation,
            member_id: self.member_id.clone(),
            instance_id: self.instance.clone(),
            retention_ms: -1,
            offsets: offsets(random, self.committed),
        })
    }

    fn leave(&mut self) -> Command {
        let member_id = std::mem::take(&mut self.member_id);
        self.forget_member();
        self.phase = Phase::Gone;
        let members = vec![LeavingMember { member_id, instance_id: self.instance.clone() }];
        Command::Leave(Leave { group: self.group.clone(), members })
    }
}

/// Some offsets of few partitions, so that commits meet.
pub(super) fn offsets(random: &mut Random, offset: i64) -> Vec<TopicOffsets> {
    let partitions = (0..1 + random.below(2))
        .map(|_| PartitionOffset {
            partition: random.below(3) as i32,
            offset,
            leader_epoch: random.between(-1, 3) as i32,
            metadata: None,
            refused: None,
        })
        .collect();
    vec![TopicOffsets { topic: Str::from(*random.pick(&["t", "u"])), topic_id: None, partitions }]
}
