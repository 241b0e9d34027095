//! Configs of groups: what may be set, and what the coordinator makes of it.

use std::collections::BTreeMap;

use logmill_coordinator::groups::{ConsumerTimes, GroupTimes};

use super::{BrokerConfigs, Change, ConfigDefinition, ConfigError, ConfigSet, GROUP_CONFIGS, change};

fn group_definition(name: &str) -> Result<&'static ConfigDefinition, ConfigError> {
    let found = GROUP_CONFIGS.binary_search_by(|definition| definition.name.cmp(name));
    let unknown = |_| ConfigError::Unknown { resource: "group", name: name.to_owned() };
    found.map(|at| &GROUP_CONFIGS[at]).map_err(unknown)
}

/// What is set for a group after the changes, checked in Kafka's words: each value, the bounds that the
/// broker has for it, and that a session is longer than the interval of its heartbeats.
///
/// # Errors
/// Why it cannot be set so.
pub(crate) fn change_group(
    before: &ConfigSet,
    changes: &[(String, Change)],
    broker: &BrokerConfigs,
) -> Result<ConfigSet, ConfigError> {
    let after = change::apply(before, changes, group_definition)?;
    for (name, value) in &after {
        group_definition(name)?.check(value)?;
    }
    for (name, value) in &after {
        let definition = group_definition(name)?;
        let Ok(number) = value.trim().parse::<i64>() else { continue };
        let must = match bounds(definition.name, broker) {
            (Some(least), Some(most)) if !(least..=most).contains(&number) => {
                format!("in the range {least} to {most} inclusive.")
            }
            (Some(least), None) if number < least => format!("greater than or equal to {least}"),
            (None, Some(most)) if number > most => format!("less than or equal to {most}"),
            _ => continue,
        };
        return Err(ConfigError::OutOfBounds { name: definition.name, must });
    }
    for (session, heartbeat) in [
        ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"),
        ("share.session.timeout.ms", "share.heartbeat.interval.ms"),
        ("streams.session.timeout.ms", "streams.heartbeat.interval.ms"),
    ] {
        let number =
            |name| broker.group_value(&after, name).and_then(|value| value.trim().parse::<i64>().ok());
        let any_set = after.contains_key(session) || after.contains_key(heartbeat);
        if any_set && number(session) <= number(heartbeat) {
            return Err(ConfigError::OutOfBounds {
                name: session,
                must: format!("greater than {heartbeat}"),
            });
        }
    }
    Ok(after)
}

/// The bounds the broker has for a group's config: `group.consumer.min.session.timeout.ms` and its likes.
fn bounds(name: &str, broker: &BrokerConfigs) -> (Option<i64>, Option<i64>) {
    let Some((kind, what)) = name.split_once('.') else { return (None, None) };
    // The bound of `num.standby.replicas` is that of `standby.replicas`.
    let what = what.strip_prefix("num.").unwrap_or(what);
    let bound = |side| broker.number(&format!("group.{kind}.{side}.{what}"));
    (bound("min"), bound("max"))
}

/// What the broker's value for all groups must be, which is within the bounds for each of them; `None` when it is.
pub(super) fn out_of_bounds(name: &str, value: &str, broker: &BrokerConfigs) -> Option<String> {
    let (kind, what) = name.strip_prefix("group.")?.split_once('.')?;
    let number = value.trim().parse::<i64>().ok()?;
    let [least, most] = ["min", "max"].map(|side| format!("group.{kind}.{side}.{what}"));
    if broker.number(&least).is_some_and(|bound| number < bound) {
        Some(format!("greater than or equal to {least}"))
    } else if broker.number(&most).is_some_and(|bound| number > bound) {
        Some(format!("less than or equal to {most}"))
    } else {
        None
    }
}

/// The times of all consumer groups. What was set when the broker's bounds were others is kept within those
/// of now, as with Kafka.
#[must_use]
pub(crate) fn group_times(groups: &BTreeMap<String, ConfigSet>, broker: &BrokerConfigs) -> GroupTimes {
    let times = |set: &ConfigSet| {
        let time = |name: &str| {
            let number = broker.group_value(set, name)?.trim().parse::<i64>().ok()?;
            let (least, most) = bounds(name, broker);
            let kept = number.max(least.unwrap_or(i64::MIN)).min(most.unwrap_or(i64::MAX));
            i32::try_from(kept).ok()
        };
        let otherwise = ConsumerTimes::default();
        ConsumerTimes {
            heartbeat_interval_ms: time("consumer.heartbeat.interval.ms")
                .unwrap_or(otherwise.heartbeat_interval_ms),
            session_timeout_ms: time("consumer.session.timeout.ms").unwrap_or(otherwise.session_timeout_ms),
            assignment_interval_ms: time("consumer.assignment.interval.ms")
                .unwrap_or(otherwise.assignment_interval_ms),
        }
    };
    GroupTimes {
        default: times(&ConfigSet::new()),
        own: groups.iter().map(|(group, set)| (group.clone(), times(set))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[(&str, &str)], broker: &BrokerConfigs) -> Result<(), String> {
        let change = |(name, value): &(&str, &str)| ((*name).to_owned(), Change::Set((*value).to_owned()));
        let changes: Vec<_> = values.iter().map(change).collect();
        change_group(&ConfigSet::new(), &changes, broker).map(drop).map_err(|error| error.to_string())
    }

    /// The words are those of Apache Kafka 4.4.0, asked with the same values.
    #[test]
    fn a_groups_configs_keep_the_brokers_bounds() {
        let broker = BrokerConfigs::default();
        for (name, value, why) in [
            ("consumer.session.timeout.ms", "44999", "must be in the range 45000 to 60000 inclusive."),
            ("consumer.session.timeout.ms", "60001", "must be in the range 45000 to 60000 inclusive."),
            ("consumer.heartbeat.interval.ms", "15001", "must be in the range 5000 to 15000 inclusive."),
            ("consumer.assignment.interval.ms", "15001", "must be in the range 0 to 15000 inclusive."),
            ("streams.num.standby.replicas", "3", "must be less than or equal to 2"),
        ] {
            assert_eq!(set(&[(name, value)], &broker), Err(format!("{name} {why}")), "{name}={value}");
        }
        let at_least =
            "Invalid value 0 for configuration consumer.session.timeout.ms: Value must be at least 1";
        assert_eq!(set(&[("consumer.session.timeout.ms", "0")], &broker), Err(at_least.to_owned()));
        assert_eq!(set(&[("nope", "1")], &broker), Err("Unknown group config name: nope".to_owned()));
        assert_eq!(set(&[("consumer.session.timeout.ms", "60000")], &broker), Ok(()));

        let wide = BrokerConfigs::new([
            ("group.consumer.min.session.timeout.ms", "1".to_owned()),
            ("group.consumer.min.heartbeat.interval.ms", "1".to_owned()),
        ]);
        let session = "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms";
        assert_eq!(set(&[("consumer.session.timeout.ms", "5000")], &wide), Err(session.to_owned()));
        let both = [("consumer.session.timeout.ms", "5000"), ("consumer.heartbeat.interval.ms", "4999")];
        assert_eq!(set(&both, &wide), Ok(()));
    }

    #[test]
    fn times_come_from_the_group_the_broker_and_the_defaults_within_the_bounds() {
        let own = |values: &[(&str, &str)]| -> ConfigSet {
            values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let mut broker = BrokerConfigs::default();
        broker.cluster = own(&[("group.consumer.assignment.interval.ms", "700")]);
        let groups = BTreeMap::from([
            ("g".to_owned(), own(&[("consumer.session.timeout.ms", "50000")])),
            ("old".to_owned(), own(&[("consumer.heartbeat.interval.ms", "99000")])),
        ]);
        let times = group_times(&groups, &broker);
        let everybodys = ConsumerTimes {
            heartbeat_interval_ms: 5000,
            session_timeout_ms: 45_000,
            assignment_interval_ms: 700,
        };
        assert_eq!(times.default, everybodys);
        assert_eq!(times.own["g"], ConsumerTimes { session_timeout_ms: 50_000, ..everybodys });
        assert_eq!(times.own["old"], ConsumerTimes { heartbeat_interval_ms: 15_000, ..everybodys });
    }

    #[test]
    fn names_are_in_order_and_defaults_are_values_they_may_have() {
        assert!(GROUP_CONFIGS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for definition in GROUP_CONFIGS {
            assert_eq!(definition.default.map_or(Ok(()), |value| definition.check(value)), Ok(()));
        }
    }
}
