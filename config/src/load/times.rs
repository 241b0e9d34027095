//! Times of groups that belong together.

use std::time::Duration;

use crate::settings::Config;
use crate::value::Value as _;

/// A time as it is written in the file.
pub(super) struct Written(pub(super) Duration);

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.to_toml().trim_matches('"'))
    }
}

/// A time that cannot be.
pub(super) struct Wrong {
    pub(super) key: &'static str,
    pub(super) time: Duration,
    pub(super) problem: String,
}

/// What must not be longer than what, and that Kafka's protocol has 31 bits for a time in ms.
pub(super) fn in_order(config: &Config, is_set: impl Fn(&str) -> bool) -> Result<(), Wrong> {
    let wrong = |key, time, problem| Err(Wrong { key, time, problem });
    let (classic, consumer) = (&config.groups, &config.consumer_groups);
    macro_rules! key {
        ($section:ident . $name:ident) => {
            (concat!(stringify!($section), ".", stringify!($name)), config.$section.$name)
        };
    }
    let pairs = [
        (key!(groups.min_session_timeout), key!(groups.max_session_timeout)),
        (key!(consumer_groups.min_session_timeout), key!(consumer_groups.session_timeout)),
        (key!(consumer_groups.session_timeout), key!(consumer_groups.max_session_timeout)),
        (key!(consumer_groups.min_heartbeat_interval), key!(consumer_groups.heartbeat_interval)),
        (key!(consumer_groups.heartbeat_interval), key!(consumer_groups.max_heartbeat_interval)),
        (key!(consumer_groups.min_assignment_interval), key!(consumer_groups.assignment_interval)),
        (key!(consumer_groups.assignment_interval), key!(consumer_groups.max_assignment_interval)),
    ];
    for ((shorter, short), (longer, long)) in pairs {
        if short > long {
            // Whoever was given by somebody is to blame.
            return match is_set(longer) && !is_set(shorter) {
                true => wrong(longer, long, format!("is less than `{shorter}`, which is {}", Written(short))),
                false => {
                    wrong(shorter, short, format!("is more than `{longer}`, which is {}", Written(long)))
                }
            };
        }
    }
    let (heartbeat, interval) = key!(consumer_groups.heartbeat_interval);
    if interval >= consumer.session_timeout {
        let session = Written(consumer.session_timeout);
        let problem = format!(
            "is not less than `consumer_groups.session_timeout`, which is {session}: members that keep to it \
             would be taken for gone"
        );
        return wrong(heartbeat, interval, problem);
    }
    for (key, shortest) in
        [key!(consumer_groups.min_session_timeout), key!(consumer_groups.min_heartbeat_interval)]
    {
        if shortest.is_zero() {
            return wrong(key, shortest, "is nothing; write at least 1 ms".to_owned());
        }
    }
    let longest = [
        ("groups.max_session_timeout", classic.max_session_timeout),
        key!(consumer_groups.max_session_timeout),
        key!(consumer_groups.max_heartbeat_interval),
        key!(consumer_groups.max_assignment_interval),
    ];
    match longest.into_iter().find(|(_, time)| time.as_millis() > i32::MAX as u128) {
        Some((key, time)) => wrong(key, time, "is more than the protocol can express (24 days)".to_owned()),
        None => Ok(()),
    }
}
