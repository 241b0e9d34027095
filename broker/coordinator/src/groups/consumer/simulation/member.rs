//! A client of the new protocol: what it believes, and what it does about it.

use crate::groups::consumer::partitions::Partitions;
use crate::groups::consumer::{ConsumerBeat, ConsumerHeartbeat};
use crate::random::Random;
use crate::{ErrorCode, Str};

use super::world::GROUP;

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    index: usize,
    lives: u32,
    pub(super) id: Str,
    pub(super) instance: Option<Str>,
    pub(super) epoch: i32,
    /// What it reads.
    pub(super) held: Partitions,
    /// What it was told to have, and has not got to yet.
    told: Option<Partitions>,
    topics: Option<Vec<Str>>,
    regex: Option<Str>,
    rebalance_timeout_ms: i32,
    assignor: Option<Str>,
    pub(super) leaves: Option<i32>,
    /// What it says next has to be said in full.
    full: bool,
    pub(super) wishes_changed: bool,
    /// Which of its requests it waits for.
    pub(super) attempt: u64,
    pub(super) waits: bool,
}

const TOPICS: [&str; 4] = ["t0", "t1", "t2", "u"];

impl Client {
    pub(super) fn new(index: usize, random: &mut Random) -> Client {
        let mut client = Client {
            index,
            lives: 0,
            id: Str::default(),
            instance: random.permille(350).then(|| Str::from(format!("i{}", index % 3))),
            epoch: 0,
            held: Partitions::new(),
            told: None,
            topics: None,
            regex: None,
            rebalance_timeout_ms: *random.pick(&[10_000, 30_000]),
            assignor: random.permille(300).then(|| "range".into()),
            leaves: None,
            full: true,
            wishes_changed: false,
            attempt: 0,
            waits: false,
        };
        client.wish(random);
        client.begin_anew(true);
        client
    }

    /// Wants other topics.
    pub(super) fn wish(&mut self, random: &mut Random) {
        self.topics = None;
        self.regex = None;
        if random.permille(300) {
            self.regex = Some((*random.pick(&["t.*", "u|t0", ".*"])).into());
        } else {
            let wanted = TOPICS.iter().filter(|_| random.permille(600)).map(|topic| Str::from(*topic));
            self.topics = Some(wanted.collect());
        }
        self.wishes_changed = true;
    }

    /// Lets go of everything and joins again, as another member or as the same.
    pub(super) fn begin_anew(&mut self, other_id: bool) {
        if other_id {
            self.lives += 1;
            self.id = Str::from(format!("m{}-{}", self.index, self.lives));
        }
        self.epoch = 0;
        self.held = Partitions::new();
        self.told = None;
        self.leaves = None;
        self.full = true;
    }

    pub(super) fn says(&mut self, random: &mut Random) -> ConsumerHeartbeat {
        let full = self.full || self.epoch == 0 || random.permille(50);
        let wishes = full || self.wishes_changed;
        let names = self.topics.clone().unwrap_or_default();
        ConsumerHeartbeat {
            version: 1,
            group: GROUP.into(),
            member_id: self.id.clone(),
            member_epoch: self.leaves.unwrap_or(self.epoch),
            instance_id: self.instance.clone(),
            rack_id: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: if full { self.rebalance_timeout_ms } else { -1 },
            topic_names: wishes.then_some(names),
            topic_regex: wishes.then(|| self.regex.clone().unwrap_or_default()),
            assignor: self.assignor.clone(),
            owned: (full || random.permille(700)).then(|| self.held.clone()),
            fresh: uuid::Uuid::nil(),
        }
    }

    /// Does what it was told some time ago: gives up first, then takes.
    pub(super) fn follow(&mut self) {
        if let Some(told) = self.told.take() {
            self.held = told;
        }
    }

    /// An answer, or none in time.
    pub(super) fn hears(&mut self, answer: Option<&ConsumerBeat>) {
        self.waits = false;
        let Some(answer) = answer else {
            self.full = true;
            return;
        };
        match answer.error {
            ErrorCode::NONE => {
                self.full = false;
                self.wishes_changed = false;
                self.epoch = answer.member_epoch;
                if let Some(told) = &answer.assignment {
                    // What it is not to have any more it gives up later; it takes nothing new before.
                    let keeps = self.held.filtered(|topic, partition| told.contains(topic, partition));
                    if keeps == self.held {
                        self.held = told.clone();
                        self.told = None;
                    } else {
                        self.told = Some(told.clone());
                    }
                }
            }
            ErrorCode::FENCED_INSTANCE_ID | ErrorCode::UNRELEASED_INSTANCE_ID => self.begin_anew(true),
            _ => self.begin_anew(false),
        }
    }
}
