//! The driver's loop, for tests: apply what a step records, remember what it answers, and let time pass.

use std::collections::BTreeMap;

use crate::{Machine, RequestId, Step};

pub(crate) struct Driven<M: Machine> {
    pub(crate) machine: M,
    pub(crate) now: i64,
    pub(crate) log: Vec<M::Record>,
    answers: BTreeMap<RequestId, M::Reply>,
    requests: u64,
}

impl<M: Machine> Driven<M>
where
    M::Record: Clone,
    M::Reply: Clone,
{
    pub(crate) fn new(machine: M) -> Self {
        Driven { machine, now: 1_000_000, log: Vec::new(), answers: BTreeMap::new(), requests: 0 }
    }

    /// Gives the machine a command; its answer may come now or later.
    pub(crate) fn send(&mut self, command: M::Command) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        let step = self.machine.handle(self.now, request, command);
        self.take(step);
        request
    }

    /// The answer, which must have come.
    pub(crate) fn ask(&mut self, command: M::Command) -> M::Reply {
        let request = self.send(command);
        self.answer(request).expect("answered at once")
    }

    pub(crate) fn answer(&self, request: RequestId) -> Option<M::Reply> {
        self.answers.get(&request).cloned()
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn wait(&mut self, ms: i64) {
        let until = self.now + ms;
        while let Some(at) = self.machine.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let step = self.machine.on_deadline(self.now);
            self.take(step);
        }
        self.now = until;
    }

    /// Puts a new machine in the place of this one and gives it the log.
    pub(crate) fn reload(&mut self, machine: M) {
        self.machine = machine;
        for record in &self.log {
            self.machine.apply(record);
        }
        let step = self.machine.loaded(self.now);
        self.take(step);
    }

    pub(crate) fn take(&mut self, step: Step<M::Record, M::Reply>) {
        for record in step.records {
            self.machine.apply(&record);
            self.log.push(record);
        }
        for (request, reply) in step.replies {
            assert!(self.answers.insert(request, reply).is_none(), "{request:?} is answered once");
        }
    }
}
