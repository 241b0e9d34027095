//! The records of `__logmill_metadata`, version 1.
//!
//! Keys are text (`topic/<id>`, `pipeline/<name>`, `producer-ids`, `broker-configs/<scope>`, `group-configs/<group>`, `features`), values are JSON with a `version`
//! field, so that any Kafka client can read what the broker knows. The last record of a key counts; a
//! null value (tombstone) says that the thing is gone. A newer version is refused, never guessed at.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The version this binary writes, and the newest it reads.
const VERSION: u32 = 1;

/// One fact about the broker.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataRecord {
    /// A topic exists, with these partitions and configs.
    Topic(TopicRecord),
    /// The topic is gone; so are its records.
    TopicDeleted(Uuid),
    /// A pipeline exists.
    Pipeline(PipelineRecord),
    /// The pipeline was removed.
    PipelineDeleted(String),
    /// Producer ids that may have been handed out.
    ProducerIds(ReservedIds),
    /// Everything that is set for the broker while it runs, in one scope.
    BrokerConfigs {
        /// For whom.
        scope: ConfigScope,
        /// The configs, by Kafka's names for a broker.
        configs: BTreeMap<String, String>,
    },
    /// Everything that is set for a group; nothing when it was all taken back.
    GroupConfigs {
        /// The group.
        group: String,
        /// The configs, by Kafka's names for a group.
        configs: BTreeMap<String, String>,
    },
    /// The levels that features were raised or lowered to.
    Features {
        /// Counts the changes.
        epoch: i64,
        /// The level of each feature.
        levels: BTreeMap<String, i16>,
    },
    /// Who this data directory is. Written once, when the directory is first used.
    Cluster {
        /// Kafka's cluster id: 22 characters of base64url.
        id: String,
    },
}

/// For which brokers something is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigScope {
    /// For all brokers together.
    Cluster,
    /// For this one.
    Node,
}

impl ConfigScope {
    const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
        }
    }
}

/// Producer ids that nobody may be given any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedIds {
    /// The first id that was never reserved.
    pub next: i64,
    /// Ids below it that were passed over because imported logs may have them, each range from its first to the one behind its
    /// last. All others may be those of this broker's own producers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imported: Vec<(i64, i64)>,
}

impl ReservedIds {
    /// What the newest record says.
    pub(crate) fn of(records: &[MetadataRecord]) -> ReservedIds {
        let ids = records.iter().filter_map(|record| match record {
            MetadataRecord::ProducerIds(ids) => Some(ids),
            _ => None,
        });
        ids.max_by_key(|ids| ids.next).cloned().unwrap_or_default()
    }

    /// Whether a producer of this broker may have the id.
    pub(crate) fn may_be_ours(&self, id: i64) -> bool {
        let imported = self.imported.iter().any(|(first, behind)| (*first..*behind).contains(&id));
        (0..self.next).contains(&id) && !imported
    }

    /// Passes over the ids up to one that an imported log has; whether anything changed.
    pub(crate) fn pass_over(&mut self, largest: i64) -> bool {
        if largest < self.next {
            return false;
        }
        let behind = largest.saturating_add(1);
        self.imported.push((self.next, behind));
        self.next = behind;
        true
    }
}

/// A topic as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// The topic's name.
    pub name: String,
    /// The topic's id; never used again after deletion.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
    /// The configs that were set for it; all others have the broker's defaults.
    pub configs: BTreeMap<String, String>,
    /// The pipeline that alone may write to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The partitions that have been made, where each is made when it is first used; `None`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<BTreeSet<i32>>,
}

impl TopicRecord {
    /// The partitions that have a directory.
    pub(super) fn made(&self) -> Vec<i32> {
        match &self.made {
            Some(made) => made.iter().copied().collect(),
            None => (0..self.partitions).collect(),
        }
    }
}

/// A pipeline as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineRecord {
    /// The pipeline's name.
    pub name: String,
    /// The SQL script, as it was given.
    pub script: String,
    /// Counts starts of the pipeline: an older generation can commit nothing.
    pub generation: u32,
    /// Whether the pipeline is meant to run.
    pub running: bool,
    /// Set when the input was declared finished: for each source topic, the end offset of each partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_ends: Option<BTreeMap<String, Vec<i64>>>,
    /// The most bytes that its state may have, where it is not the broker's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Into how many shards its work is split, where it is not the broker's default. Its state is the same in any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    /// When it was created, ms since the epoch.
    pub created_ms: i64,
}

/// A metadata record that this binary cannot read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// A newer broker wrote it.
    #[error(
        "metadata record {key:?} has version {version}, this binary reads up to {VERSION}; \
         start the newer binary that wrote it"
    )]
    Newer {
        /// The record's key.
        key: String,
        /// The version found.
        version: u64,
    },
    /// Not a key of ours.
    #[error("metadata record {key:?} has a key that this binary does not know")]
    UnknownKey {
        /// The record's key.
        key: String,
    },
    /// The value does not have the shape its key promises.
    #[error("metadata record {key:?} cannot be read: {detail}")]
    Malformed {
        /// The record's key.
        key: String,
        /// What is wrong.
        detail: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    value: T,
}

#[derive(Serialize, Deserialize)]
struct BrokerConfigs {
    configs: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Features {
    epoch: i64,
    levels: BTreeMap<String, i16>,
}

#[derive(Serialize, Deserialize)]
struct Cluster {
    id: String,
}

impl MetadataRecord {
    /// The record's key and value; a null value deletes.
    #[must_use]
    pub fn encode(&self) -> (Bytes, Option<Bytes>) {
        let (key, value) = match self {
            Self::Topic(topic) => (format!("topic/{}", topic.id), Some(json(topic))),
            Self::TopicDeleted(id) => (format!("topic/{id}"), None),
            Self::Pipeline(pipeline) => (format!("pipeline/{}", pipeline.name), Some(json(pipeline))),
            Self::PipelineDeleted(name) => (format!("pipeline/{name}"), None),
            Self::ProducerIds(ids) => ("producer-ids".to_owned(), Some(json(ids))),
            Self::BrokerConfigs { scope, configs } => {
                let value = BrokerConfigs { configs: configs.clone() };
                (format!("broker-configs/{}", scope.name()), Some(json(&value)))
            }
            Self::GroupConfigs { group, configs } => {
                let value = (!configs.is_empty()).then(|| json(&BrokerConfigs { configs: configs.clone() }));
                (format!("group-configs/{group}"), value)
            }
            Self::Features { epoch, levels } => {
                let value = Features { epoch: *epoch, levels: levels.clone() };
                ("features".to_owned(), Some(json(&value)))
            }
            Self::Cluster { id } => ("cluster".to_owned(), Some(json(&Cluster { id: id.clone() }))),
        };
        (Bytes::from(key), value)
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// [`SchemaError`] for anything this binary did not or could not have written.
    pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Self, SchemaError> {
        let key = String::from_utf8_lossy(key).into_owned();
        match (key.split_once('/'), value) {
            (Some(("topic", id)), None) => Ok(Self::TopicDeleted(uuid(&key, id)?)),
            (Some(("topic", id)), Some(value)) => {
                let topic: TopicRecord = parse(&key, value)?;
                if uuid(&key, id)? != topic.id || !(1..=1_000_000).contains(&topic.partitions) {
                    let detail =
                        format!("it describes topic {} with {} partitions", topic.id, topic.partitions);
                    return Err(SchemaError::Malformed { key, detail });
                }
                Ok(Self::Topic(topic))
            }
            (Some(("pipeline", name)), None) => Ok(Self::PipelineDeleted(name.to_owned())),
            (Some(("pipeline", _)), Some(value)) => Ok(Self::Pipeline(parse(&key, value)?)),
            (Some(("group-configs", group)), value) => {
                let group = group.to_owned();
                let configs = match value {
                    None => BTreeMap::new(),
                    Some(value) => parse::<BrokerConfigs>(&key, value)?.configs,
                };
                Ok(Self::GroupConfigs { group, configs })
            }
            (Some(("broker-configs", name)), Some(value)) => {
                let scopes = [ConfigScope::Cluster, ConfigScope::Node];
                let Some(scope) = scopes.into_iter().find(|scope| scope.name() == name) else {
                    return Err(SchemaError::UnknownKey { key });
                };
                let BrokerConfigs { configs } = parse(&key, value)?;
                Ok(Self::BrokerConfigs { scope, configs })
            }
            (None, Some(value)) if key == "producer-ids" => Ok(Self::ProducerIds(parse(&key, value)?)),
            (None, Some(value)) if key == "features" => {
                let Features { epoch, levels } = parse(&key, value)?;
                Ok(Self::Features { epoch, levels })
            }
            (None, Some(value)) if key == "cluster" => {
                let cluster: Cluster = parse(&key, value)?;
                Ok(Self::Cluster { id: cluster.id })
            }
            _ => Err(SchemaError::UnknownKey { key }),
        }
    }
}

fn json<T: Serialize>(value: &T) -> Bytes {
    let text = serde_json::to_vec(&Versioned { version: VERSION, value });
    Bytes::from(text.expect("maps with text keys always serialise"))
}

fn parse<T: for<'de> Deserialize<'de>>(key: &str, value: &[u8]) -> Result<T, SchemaError> {
    let malformed =
        |error: serde_json::Error| SchemaError::Malformed { key: key.to_owned(), detail: error.to_string() };
    let value: serde_json::Value = serde_json::from_slice(value).map_err(malformed)?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(version) if version > u64::from(VERSION) => {
            Err(SchemaError::Newer { key: key.to_owned(), version })
        }
        Some(_) => serde_json::from_value::<Versioned<T>>(value).map(|v| v.value).map_err(malformed),
        None => Err(SchemaError::Malformed { key: key.to_owned(), detail: "it has no version".into() }),
    }
}

fn uuid(key: &str, text: &str) -> Result<Uuid, SchemaError> {
    Uuid::parse_str(text)
        .map_err(|error| SchemaError::Malformed { key: key.to_owned(), detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    #[test]
    fn imported_producer_ids_are_nobodys_here() {
        let mut ids = ReservedIds { next: 1000, imported: Vec::new() };
        assert!(!ids.pass_over(999));
        assert!(ids.pass_over(1500) && ids.pass_over(1501));
        ids.next += 1000;
        assert_eq!(ids.next, 2502);
        for (id, ours) in
            [(-1, false), (0, true), (999, true), (1000, false), (1501, false), (1502, true), (2502, false)]
        {
            assert_eq!(ids.may_be_ours(id), ours, "{id}");
        }
    }

    use super::*;

    fn round_trip(record: MetadataRecord) {
        let (key, value) = record.encode();
        assert_eq!(MetadataRecord::decode(&key, value.as_deref()).expect("our own record"), record);
    }

    #[test]
    fn records_come_back_as_they_were() {
        let id = Uuid::from_u128(7);
        round_trip(MetadataRecord::Topic(TopicRecord {
            name: "flights".into(),
            id,
            partitions: 3,
            configs: BTreeMap::from([("retention.ms".into(), "-1".into())]),
            owner: Some("p".into()),
            made: Some(BTreeSet::from([0, 2])),
        }));
        round_trip(MetadataRecord::TopicDeleted(id));
        round_trip(MetadataRecord::Pipeline(PipelineRecord {
            name: "carrier-hourly".into(),
            script: "INSERT INTO ...".into(),
            generation: 4,
            running: true,
            input_ends: Some(BTreeMap::from([("flights".into(), vec![1, 2])])),
            memory: None,
            shards: Some(3),
            created_ms: 5,
        }));
        round_trip(MetadataRecord::PipelineDeleted("x".into()));
        round_trip(MetadataRecord::ProducerIds(ReservedIds { next: 2000, imported: Vec::new() }));
        round_trip(MetadataRecord::ProducerIds(ReservedIds { next: 9000, imported: vec![(1000, 8000)] }));
        round_trip(MetadataRecord::Cluster { id: "abc".into() });
        let configs = BTreeMap::from([("consumer.session.timeout.ms".into(), "50000".into())]);
        round_trip(MetadataRecord::GroupConfigs { group: "a/b".into(), configs });
        round_trip(MetadataRecord::GroupConfigs { group: "g".into(), configs: BTreeMap::new() });
        let levels = BTreeMap::from([("transaction.version".into(), 1)]);
        round_trip(MetadataRecord::Features { epoch: 3, levels });
        for scope in [ConfigScope::Cluster, ConfigScope::Node] {
            let configs = BTreeMap::from([("log.retention.ms".into(), "-1".into())]);
            round_trip(MetadataRecord::BrokerConfigs { scope, configs });
        }
    }

    #[test]
    fn a_newer_version_and_strange_keys_are_refused() {
        let newer = MetadataRecord::decode(b"producer-ids", Some(br#"{"version":2,"next":1}"#));
        assert!(matches!(newer, Err(SchemaError::Newer { version: 2, .. })));
        assert!(matches!(MetadataRecord::decode(b"acl/x", None), Err(SchemaError::UnknownKey { .. })));
        let bad = MetadataRecord::decode(b"producer-ids", Some(br#"{"version":1}"#));
        assert!(matches!(bad, Err(SchemaError::Malformed { .. })));
    }
}
