//! One file of tests per command, and what they share.

mod commit;
mod expire;
mod join;
mod leave;
mod manage;
mod own;
mod schema;
mod statics;
mod sync;

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::testing::Driven;
use crate::{ErrorCode, Machine, RequestId, Str};

pub(super) type Broker = Driven<GroupMachine>;

pub(super) const SESSION: i64 = 10_000;
pub(super) const REBALANCE: i64 = 60_000;

pub(super) fn broker() -> Broker {
    with(Settings::default())
}

pub(super) fn with(settings: Settings) -> Broker {
    Driven::new(GroupMachine::new(settings))
}

/// A join as a current consumer makes it, of the group `g`.
pub(super) fn join(member_id: &str, fresh: u128) -> Join {
    Join {
        version: 9,
        group: "g".into(),
        member_id: member_id.into(),
        instance_id: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: SESSION as i32,
        rebalance_timeout_ms: REBALANCE as i32,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"metadata"))],
        fresh: Uuid::from_u128(fresh),
    }
}

/// A join that needs no member id first, as version 3 clients make it.
pub(super) fn old_join(fresh: u128) -> Join {
    Join { version: 3, ..join("", fresh) }
}

pub(super) fn static_join(instance: &str, member_id: &str, fresh: u128) -> Join {
    Join { instance_id: Some(instance.into()), ..join(member_id, fresh) }
}

pub(super) fn sync(member_id: &str, generation: i32, assignments: &[(&str, &'static [u8])]) -> Sync {
    Sync {
        group: "g".into(),
        generation,
        member_id: member_id.into(),
        instance_id: None,
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments
            .iter()
            .map(|(member, bytes)| (Str::from(*member), Bytes::from_static(bytes)))
            .collect(),
    }
}

pub(super) fn topic_offsets(topic: &str, offsets: &[(i32, i64)]) -> Vec<TopicOffsets> {
    let partitions = offsets
        .iter()
        .map(|&(partition, offset)| PartitionOffset {
            partition,
            offset,
            leader_epoch: -1,
            metadata: None,
            refused: None,
        })
        .collect();
    vec![TopicOffsets { topic: topic.into(), topic_id: None, partitions }]
}

impl Broker {
    pub(super) fn join(&mut self, join: Join) -> RequestId {
        self.send(Command::Join(join))
    }

    /// The join's answer, `None` while it is parked.
    pub(super) fn joined(&self, request: RequestId) -> Option<Joined> {
        self.answer(request).map(|reply| match reply {
            Reply::Joined(joined) => joined,
            other => panic!("not a join's answer: {other:?}"),
        })
    }

    /// Both trips of a dynamic member that joins for the first time; the second may be parked.
    pub(super) fn join_twice(&mut self, fresh: u128) -> (Str, RequestId) {
        let first = self.join(join("", fresh));
        let first = self.joined(first).unwrap();
        assert_eq!(first.error, ErrorCode::MEMBER_ID_REQUIRED);
        let request = self.join(join(&first.member_id, 0));
        (first.member_id, request)
    }

    pub(super) fn sync(&mut self, sync: Sync) -> RequestId {
        self.send(Command::Sync(sync))
    }

    pub(super) fn synced(&self, request: RequestId) -> Option<Synced> {
        self.answer(request).map(|reply| match reply {
            Reply::Synced(synced) => synced,
            other => panic!("not a sync's answer: {other:?}"),
        })
    }

    pub(super) fn heartbeat(&mut self, member_id: &str, generation: i32) -> ErrorCode {
        self.heartbeat_as(member_id, None, generation)
    }

    pub(super) fn heartbeat_as(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> ErrorCode {
        let heartbeat = Heartbeat {
            group: "g".into(),
            generation,
            member_id: member_id.into(),
            instance_id: instance.map(Str::from),
        };
        match self.ask(Command::Heartbeat(heartbeat)) {
            Reply::Heartbeat(error) => error,
            other => panic!("not a heartbeat's answer: {other:?}"),
        }
    }

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let members = members
            .iter()
            .map(|(id, instance)| LeavingMember {
                member_id: (*id).into(),
                instance_id: instance.map(Str::from),
            })
            .collect();
        match self.ask(Command::Leave(Leave { group: "g".into(), members })) {
            Reply::Left(left) => left.members.into_iter().map(|member| member.error).collect(),
            other => panic!("not a leave's answer: {other:?}"),
        }
    }

    pub(super) fn describe(&mut self) -> Description {
        match self.ask(Command::Describe(Describe { groups: vec!["g".into()] })) {
            Reply::Described(mut groups) => groups.remove(0),
            other => panic!("not a description: {other:?}"),
        }
    }

    pub(super) fn state(&mut self) -> GroupState {
        self.describe().state
    }

    /// A plain commit of offsets in topic `t`; all partitions get the same answer.
    pub(super) fn commit(&mut self, member_id: &str, generation: i32, offsets: &[(i32, i64)]) -> ErrorCode {
        self.commit_with(CommitOffsets {
            version: 8,
            group: "g".into(),
            generation,
            member_id: member_id.into(),
            instance_id: None,
            retention_ms: -1,
            offsets: topic_offsets("t", offsets),
        })
    }

    pub(super) fn commit_with(&mut self, commit: CommitOffsets) -> ErrorCode {
        let reply = self.ask(Command::CommitOffsets(commit));
        one_error(reply)
    }

    pub(super) fn commit_in_transaction(
        &mut self,
        producer_id: i64,
        member_id: &str,
        generation: i32,
        offsets: &[(i32, i64)],
    ) -> ErrorCode {
        let reply = self.ask(Command::CommitTransactionalOffsets(CommitTransactionalOffsets {
            version: 5,
            group: "g".into(),
            producer_id,
            producer_epoch: 0,
            generation,
            member_id: member_id.into(),
            instance_id: None,
            offsets: topic_offsets("t", offsets),
        }));
        one_error(reply)
    }

    /// What is stored for a partition of topic `t`: its offset or an error.
    pub(super) fn fetch(&mut self, partition: i32, require_stable: bool) -> Result<Option<i64>, ErrorCode> {
        let fetch = FetchOffsets {
            group: "g".into(),
            member_id: None,
            member_epoch: -1,
            topics: Some(vec![("t".into(), vec![partition])]),
            require_stable,
        };
        let Reply::Fetched(mut fetched) = self.ask(Command::FetchOffsets(fetch)) else {
            panic!("not offsets")
        };
        let offset = fetched.topics.remove(0).1.remove(0);
        assert_eq!(offset.partition, partition);
        match offset.error {
            ErrorCode::NONE => Ok(offset.stored.map(|stored| stored.offset)),
            error => Err(error),
        }
    }

    /// A stable group of so many dynamic members, the first one its leader; returns their ids and the
    /// generation.
    pub(super) fn stable(&mut self, count: usize) -> (Vec<Str>, i32) {
        let (leader, first) = self.join_twice(1);
        let mut joins = vec![(leader.clone(), first)];
        for fresh in 2..=count {
            joins.push(self.join_twice(fresh as u128));
        }
        if count > 1 {
            // The first one was alone in the first generation; with its second join the others are in too.
            joins[0].1 = self.join(join(&leader, 0));
        }
        let generation = self.joined(joins[0].1).unwrap().generation;
        let ids: Vec<Str> = joins.iter().map(|(id, _)| id.clone()).collect();
        for (id, request) in &joins {
            let joined = self.joined(*request).unwrap();
            assert_eq!((joined.error, joined.generation), (ErrorCode::NONE, generation));
            assert_eq!((&joined.member_id, &joined.leader), (id, &leader));
        }
        let assignments: Vec<(&str, &'static [u8])> = ids.iter().map(|id| (&**id, &b"part"[..])).collect();
        for id in ids.iter().rev() {
            let brings = if *id == leader { &assignments[..] } else { &[] };
            let request = self.sync(sync(id, generation, brings));
            assert!(self.synced(request).is_some() == (*id == leader));
        }
        assert_eq!(self.state(), GroupState::Stable);
        (ids, generation)
    }

    pub(super) fn restart(&mut self) {
        self.reload(GroupMachine::new(Settings::default()));
    }
}

pub(super) fn one_error(reply: Reply) -> ErrorCode {
    let Reply::Committed(committed) = reply else { panic!("not a commit's answer: {reply:?}") };
    let mut errors = committed.topics.iter().flat_map(|(_, partitions)| partitions.iter().map(|(_, e)| *e));
    let first = errors.next().unwrap();
    assert!(errors.all(|error| error == first));
    first
}
