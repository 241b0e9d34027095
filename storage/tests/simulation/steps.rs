//! What one step does to the store, and what it must answer.

use std::collections::BTreeMap;

use logmill_storage::PartitionId;
use logmill_storage::store::Rejection;

use crate::check;
use crate::coverage::During;
use crate::generator::Step;
use crate::machine::{Machine, Stop, refusal};
use crate::model::{PartitionModel, PlannedFrame, Presence, Refusal, Verdict};
use crate::profile::PASSING;
use crate::run::World;
use crate::trace::{Violation, ensure, ensure_stop};

/// A commit that is not done.
pub(crate) enum Ticket {
    Frame(usize),
    Duplicate(PartitionId, i64),
}

/// One run of the store.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) machine: Option<Machine>,
    pub(crate) tickets: BTreeMap<u64, Ticket>,
    pub(crate) last_sequence: u64,
}

impl Life {
    pub(crate) fn machine(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("the machine runs")
    }
}

impl World<'_> {
    pub(crate) fn take_steps(&mut self, life: &mut Life, steps: usize) -> Result<(), Stop> {
        for _ in 0..steps {
            let step = self.generator.step(&self.model);
            self.coverage.steps += 1;
            let outcome = self.step(life, step);
            self.judge_failure(life, outcome)?;
            if self.disk.crashed() {
                return Err(Stop::Failed("went on after a crash".to_owned()));
            }
            self.harvest(life)?;
        }
        self.free();
        Ok(())
    }

    fn step(&mut self, life: &mut Life, step: Step) -> Result<(), Stop> {
        self.now(During::Else);
        if matches!(step, Step::Reopen | Step::Delete(_) | Step::Create) {
            // These may fail on a full disk, and then have to be asked for again.
            self.free();
        }
        match step {
            Step::Fill(room) => {
                self.trace.note(format_args!("the disk has room for {room} bytes"));
                self.fill(room);
            }
            Step::Free => {
                self.trace.note(format_args!("the disk has room again"));
                self.free();
            }
            Step::Fail(what, path) => self.arm(what, path),
            Step::Commit(planned) => self.commit(life, &planned)?,
            Step::Journal => {
                self.trace.note(format_args!("journal"));
                self.now(During::Journal);
                life.machine().journal()?;
                self.coverage.full += u64::from(life.machine().takes_disk_for_full());
                for _ in 0..self.random.below(4) {
                    life.machine().prepare()?;
                }
                if life.machine().store.checkpoint_due() && self.random.one_in(2) {
                    self.checkpoint(life)?;
                }
            }
            Step::Apply(shard) => {
                self.trace.note(format_args!("apply {shard}"));
                self.now(During::Apply);
                let full = life.machine().apply(shard)?;
                self.is_full(full)?;
            }
            Step::Checkpoint => self.checkpoint(life)?,
            Step::Reopen => {
                self.close(life)?;
                self.stopped = true;
                *life = Life { machine: None, ..Life::default() };
                life.machine = Some(self.start()?);
                self.new_failure();
            }
            Step::Delete(id) => {
                self.trace.note(format_args!("delete {id}"));
                self.now(During::Delete);
                self.set_presence(id, Presence::Possible);
                life.machine().store.delete_partition(id)?;
                self.set_presence(id, Presence::Deleted);
            }
            Step::Create => {
                let passing = self.profile.topics.iter().find(|topic| topic.name == PASSING).copied();
                if let Some(topic) = passing {
                    self.make_topic(life.machine(), topic)?;
                }
            }
            Step::SetOptions(id, options) => {
                self.trace.note(format_args!("options of {id}: {options:?}"));
                life.machine().store.set_options(id, options)?;
            }
            Step::Clean => {
                self.now(During::Clean);
                let removed = life.machine().store.remove_trimmed()?;
                self.trace.note(format_args!("clean: {removed:?}"));
                self.coverage.trimmed_bytes += removed.bytes;
            }
            Step::Retain(now) => self.retain(life, now)?,
            Step::Compact(now, map_bytes) => self.compact(life, now, map_bytes)?,
            Step::Rot => self.rot()?,
            Step::Look => {
                self.trace.note(format_args!("look"));
                self.harvest(life)?;
                check::while_running(life.machine(), &mut self.model, &mut self.random)?;
            }
        }
        Ok(())
    }

    /// Work was left for later because the disk is full.
    fn is_full(&mut self, full: bool) -> Result<(), Violation> {
        ensure!(!full || self.full, "there is room, and something took the disk for full");
        self.coverage.full += u64::from(full);
        Ok(())
    }

    fn set_presence(&mut self, id: PartitionId, presence: Presence) {
        if let Some(partition) = self.model.partitions.get_mut(&id) {
            partition.presence = presence;
        }
    }

    /// Commits a frame, and holds the answer against the rules.
    fn commit(&mut self, life: &mut Life, planned: &PlannedFrame) -> Result<(), Stop> {
        let expected = self.model.judge(planned);
        let answer = life.machine().commit(planned);
        self.trace.note(format_args!(
            "commit {} ({} appends): {answer:?}",
            planned.what,
            planned.appends.len()
        ));
        match (answer, expected) {
            (Ok((ticket, committed)), Verdict::Accept(places)) => {
                let found: Vec<_> =
                    committed.appends.iter().map(|append| (append.base_offset, append.last_offset)).collect();
                ensure_stop!(
                    found == places,
                    "{}: got offsets {found:?}, should be {places:?}",
                    planned.what
                );
                let new = committed.appends.iter().all(|append| !append.duplicate);
                ensure_stop!(new, "{}: taken for a duplicate", planned.what);
                let before = life.last_sequence;
                ensure_stop!(
                    committed.sequence > before,
                    "{}: commit sequence {} after {before}",
                    planned.what,
                    committed.sequence
                );
                life.last_sequence = committed.sequence;
                let number = self.model.append(planned);
                self.coverage.frames += 1;
                life.tickets.insert(ticket, Ticket::Frame(number));
            }
            (Ok((ticket, committed)), Verdict::Duplicate(original)) => {
                let (base, last) = (original.base_offset, original.last_offset);
                let append = committed.appends[0];
                let found = (append.duplicate, append.base_offset, append.last_offset);
                ensure_stop!(
                    found == (true, base, last),
                    "{}: got (duplicate, first, last offset) {found:?}, should be {:?}",
                    planned.what,
                    (true, base, last)
                );
                self.coverage.duplicates += 1;
                life.tickets.insert(ticket, Ticket::Duplicate(planned.appends[0].partition, last));
            }
            (Err(Rejection::FrameTooLarge { bytes, limit }), _) => {
                let size: usize = planned.appends.iter().map(|append| append.batch.size()).sum();
                ensure_stop!(bytes > limit && bytes >= size as u64, "{size} bytes are not too many");
            }
            // It is found to have room again by the next round.
            (Err(Rejection::StorageFull), _) if life.machine().takes_disk_for_full() => {
                self.coverage.refused_full += 1;
            }
            (Err(rejection), Verdict::Duplicate(original)) if !original.certain => {
                let refused = refusal(&rejection);
                let transactional = planned.appends[0].batch.header().is_transactional();
                ensure_stop!(
                    refused == Some(Refusal::OutOfOrderSequence)
                        || (transactional && refused == Some(Refusal::TransactionNotOpen)),
                    "{}: a duplicate of {original:?} is refused as {rejection:?}",
                    planned.what
                );
                self.coverage.forgotten_duplicates += 1;
            }
            (Err(rejection), Verdict::Refuse(refused)) if refusal(&rejection) == Some(refused) => {
                self.coverage.refusals += 1;
            }
            (answer, expected) => {
                return Err(
                    Violation(format!("{}: got {answer:?}, should be {expected:?}", planned.what)).into()
                );
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, life: &mut Life) -> Result<(), Stop> {
        self.harvest(life)?;
        self.trace.note(format_args!("checkpoint"));
        self.now(During::Checkpoint);
        let done = self.done_batches();
        let checkpointed = life.machine().checkpoint()?;
        self.trace.note(format_args!("{checkpointed:?}"));
        self.is_full(checkpointed.full)?;
        if checkpointed.full {
            return Ok(());
        }
        self.coverage.checkpoints += 1;
        self.coverage.recycled += checkpointed.recycled_files as u64;
        self.flushed(done);
        Ok(())
    }

    pub(crate) fn close(&mut self, life: &mut Life) -> Result<(), Stop> {
        self.trace.note(format_args!("close"));
        self.now(During::Close);
        life.machine().drain()?;
        self.harvest(life)?;
        let pending = life.tickets.len();
        ensure_stop!(pending == 0, "{pending} commits are not done after all work was");
        ensure_stop!(!life.machine().takes_disk_for_full(), "the disk has room, and is taken for full");
        let done = self.done_batches();
        life.machine().store.close()?;
        self.flushed(done);
        life.machine = None;
        Ok(())
    }

    /// How many batches of each partition are done: written, if not durable.
    fn done_batches(&self) -> Vec<(PartitionId, usize)> {
        let done = |partition: &PartitionModel| {
            partition.batches.iter().rposition(|placed| self.model.frames[placed.frame].done)
        };
        self.model.live().map(|(id, partition)| (id, done(partition).map_or(0, |last| last + 1))).collect()
    }

    /// What was done before a flush has to stay.
    fn flushed(&mut self, done: impl IntoIterator<Item = (PartitionId, usize)>) {
        for (id, batches) in done {
            if let Some(partition) = self.model.partitions.get_mut(&id) {
                partition.flushed = partition.flushed.max(batches);
            }
        }
    }

    /// Notes what was called since: those frames are acknowledged.
    pub(crate) fn harvest(&mut self, life: &mut Life) -> Result<(), Violation> {
        let Some(machine) = &mut life.machine else { return Ok(()) };
        for ticket in machine.take_done() {
            match life.tickets.remove(&ticket) {
                Some(Ticket::Frame(number)) => {
                    self.trace.note(format_args!("frame {number} is done"));
                    let frame = &mut self.model.frames[number];
                    frame.done = true;
                    frame.must_stay |= frame.journaled;
                    for (id, offset) in frame.trims.clone() {
                        if let Some(partition) = self.model.partitions.get_mut(&id) {
                            partition.start = partition.start.max(offset);
                        }
                    }
                }
                Some(Ticket::Duplicate(id, last)) => {
                    self.trace.note(format_args!("duplicate up to {last} in {id} is done"));
                    let batches = self.model.partitions.get(&id).map(|found| &found.batches);
                    let original = batches.into_iter().flatten().find(|p| p.header.last_offset() == last);
                    let number = original.map(|placed| placed.frame);
                    // The frame may wait for its other appends.
                    if let Some(number) = number {
                        self.model.frames[number].must_stay |= self.model.frames[number].journaled;
                    }
                }
                None => return Err(Violation(format!("commit {ticket} is done twice"))),
            }
        }
        Ok(())
    }
}
