//! What the configuration file and this broker's nature say, under Kafka's names.

use logmill_config::{Config, Durability};

use super::BrokerConfigs;

/// Offsets of an empty group are kept as long as their topics: the longest time Kafka's config can say, 4,000 years.
const FOR_EVER: i32 = i32::MAX;

/// A time in minutes, of which a begun one is one; no time is for ever.
fn minutes(time: std::time::Duration) -> i32 {
    match i32::try_from(time.as_millis().div_ceil(60_000)) {
        Ok(0) | Err(_) => FOR_EVER,
        Ok(minutes) => minutes,
    }
}

/// Kafka's default for how long records are kept (`log.retention.hours` = 168).
const WEEK: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

impl BrokerConfigs {
    /// The lowest layers of a broker with this configuration file.
    #[must_use]
    pub fn of_file(config: &Config, node_id: i32, fetch_bytes: usize, page_partitions: usize) -> Self {
        let topics = &config.topics;
        let groups = &config.groups;
        let consumers = &config.consumer_groups;
        let transactions = &config.transactions;
        let limits = &config.limits;
        let size = |count: u32| count.min(i32::MAX as u32).to_string();
        let ms = |time: std::time::Duration| time.as_millis().to_string();
        let durability = match topics.durability {
            Durability::Disk => "disk",
            Durability::PageCache => "page-cache",
        };
        let data_dir = std::path::absolute(&config.data_dir).unwrap_or_else(|_| config.data_dir.clone());
        // Under Kafka's name for the default, when it is that.
        let retention = (topics.retention != WEEK).then(|| ("log.retention.ms", ms(topics.retention)));
        let fixed = [
            ("auto.create.topics.enable", topics.auto_create.to_string()),
            ("broker.id", node_id.to_string()),
            ("connections.max.idle.ms", ms(limits.idle_timeout)),
            ("fetch.max.bytes", fetch_bytes.to_string()),
            ("group.consumer.assignment.interval.ms", ms(consumers.assignment_interval)),
            ("group.consumer.assignors", consumers.assignors.to_string()),
            ("group.consumer.heartbeat.interval.ms", ms(consumers.heartbeat_interval)),
            ("group.consumer.max.assignment.interval.ms", ms(consumers.max_assignment_interval)),
            ("group.consumer.max.heartbeat.interval.ms", ms(consumers.max_heartbeat_interval)),
            ("group.consumer.max.session.timeout.ms", ms(consumers.max_session_timeout)),
            ("group.consumer.max.size", size(consumers.max_members)),
            ("group.consumer.migration.policy", consumers.migration.as_str().to_owned()),
            ("group.consumer.min.assignment.interval.ms", ms(consumers.min_assignment_interval)),
            ("group.consumer.min.heartbeat.interval.ms", ms(consumers.min_heartbeat_interval)),
            ("group.consumer.min.session.timeout.ms", ms(consumers.min_session_timeout)),
            ("group.consumer.session.timeout.ms", ms(consumers.session_timeout)),
            ("group.coordinator.rebalance.protocols", "classic,consumer".to_owned()),
            ("group.initial.rebalance.delay.ms", ms(groups.initial_rebalance_delay)),
            ("group.max.size", size(groups.max_members)),
            ("group.max.session.timeout.ms", ms(groups.max_session_timeout)),
            ("group.min.session.timeout.ms", ms(groups.min_session_timeout)),
            ("log.dirs", data_dir.display().to_string()),
            ("log.index.interval.bytes", topics.index_interval.get().to_string()),
            ("log.segment.bytes", topics.segment.get().min(i32::MAX as u64).to_string()),
            ("logmill.durability", durability.to_owned()),
            ("max.connections", limits.max_connections.to_string()),
            ("max.request.partition.size.limit", page_partitions.to_string()),
            ("message.max.bytes", topics.max_message.get().to_string()),
            ("node.id", node_id.to_string()),
            ("num.partitions", topics.partitions.to_string()),
            ("offsets.retention.minutes", minutes(groups.offsets_retention).to_string()),
            ("offsets.topic.replication.factor", "1".to_owned()),
            ("process.roles", "broker,controller".to_owned()),
            ("producer.id.expiration.ms", ms(transactions.producer_expiry)),
            ("queued.max.request.bytes", limits.request_memory.get().to_string()),
            ("sasl.enabled.mechanisms", String::new()),
            ("socket.request.max.bytes", limits.max_request.get().to_string()),
            ("transaction.max.timeout.ms", ms(transactions.max_timeout)),
            ("transaction.state.log.min.isr", "1".to_owned()),
            ("transaction.state.log.replication.factor", "1".to_owned()),
            ("transactional.id.expiration.ms", ms(transactions.expiry)),
        ];
        Self::new(fixed.into_iter().chain(retention))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Role, broker_definition};
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_shown_as_fixed_is_what_the_file_says() {
        let mut config = Config::default();
        config.topics.partitions = 7;
        config.topics.durability = Durability::PageCache;
        config.groups.offsets_retention = Duration::from_secs(90);
        let configs = BrokerConfigs::of_file(&config, 3, 1024, 10);
        let entries = configs.describe_broker();
        let value = |name: &str| {
            let entry = entries.iter().find(|entry| entry.definition.name == name).unwrap();
            (entry.value.clone().unwrap(), entry.source as i8)
        };
        assert_eq!(value("num.partitions"), ("7".to_owned(), 4));
        assert_eq!(value("node.id"), ("3".to_owned(), 4));
        assert_eq!(value("fetch.max.bytes"), ("1024".to_owned(), 4));
        assert_eq!(value("logmill.durability"), ("page-cache".to_owned(), 4));
        assert_eq!(value("offsets.retention.minutes"), ("2".to_owned(), 4));
        assert_eq!(minutes(Duration::ZERO), i32::MAX);
        assert_eq!(value("log.segment.bytes"), ("1073741824".to_owned(), 5), "Kafka's default too");
        for name in ["offsets.retention.minutes", "sasl.enabled.mechanisms", "process.roles"] {
            assert_eq!(broker_definition(name).unwrap().role, Role::Fixed, "{name}");
        }
    }
}
