//! What a network does to requests by chance.

use std::time::Duration;

use crate::process::Chance;

use super::request::Request;

/// How often, and how badly.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// One in so many requests waits before it goes on, with all behind it on its connection; 0: none.
    pub delays: u64,
    /// One in so many answers waits in the same way; 0: none. What was asked for has happened then, and nobody knows.
    pub answers: u64,
    /// The longest such wait, of a request or of an answer.
    pub delay: Duration,
    /// One in so many requests that can be repeated comes a second time, on a connection of its own; 0: none.
    pub repeats: u64,
    /// The longest time from a request to its copy.
    pub late: Duration,
}

impl Weather {
    /// Everything passes at once, and once.
    pub const CALM: Weather =
        Weather { delays: 0, answers: 0, delay: Duration::ZERO, repeats: 0, late: Duration::ZERO };
    /// Some wait for longer than a transaction takes, and copies come when the next ones are on their way.
    pub const ROUGH: Weather = Weather {
        delays: 20,
        answers: 20,
        delay: Duration::from_millis(60),
        repeats: 4,
        late: Duration::from_millis(400),
    };

    /// How long the next request waits, if it does.
    pub fn delay(&self, chance: &mut Chance) -> Option<Duration> {
        hits(self.delays, chance).then(|| self.delay.mul_f64(chance.fraction()))
    }

    /// How long the next answer waits, if it does.
    pub fn answer(&self, chance: &mut Chance) -> Option<Duration> {
        hits(self.answers, chance).then(|| self.delay.mul_f64(chance.fraction()))
    }

    /// After how long a copy of a request comes, if one does.
    pub fn repeat(&self, request: &Request, chance: &mut Chance) -> Option<Duration> {
        let repeats = request.is_repeatable() && hits(self.repeats, chance);
        repeats.then(|| self.late.mul_f64(chance.fraction()))
    }
}

fn hits(one_in: u64, chance: &mut Chance) -> bool {
    one_in > 0 && chance.below(one_in) == 0
}
