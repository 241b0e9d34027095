//! What the metadata log adds up to: an immutable picture of all topics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use logmill_coordinator::Str;
use logmill_coordinator::groups::{TopicInfo, TopicView};
use uuid::Uuid;

use crate::configs::{ConfigSet, TopicRules};
use crate::partitions::Partition;

/// One topic, as it is at one moment.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The topic's name.
    pub name: Arc<str>,
    /// The topic's id.
    pub id: Uuid,
    /// Whether clients may only read it.
    pub internal: bool,
    /// How many partitions it has.
    pub count: i32,
    /// Those that have been made, by index: all of them, but for the broker's own topics whose partitions are made when
    /// they are first used.
    pub partitions: Vec<Partition>,
    /// Whether partitions are made when they are first used.
    pub on_demand: bool,
    /// The configs set for it.
    pub configs: ConfigSet,
    /// What they and the broker's say about batches.
    pub rules: TopicRules,
    /// The pipeline that alone may write to it.
    pub owner: Option<Arc<str>>,
}

impl Topic {
    /// The partition of this index, if it has been made.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&Partition> {
        let at = self.partitions.binary_search_by_key(&index, Partition::index).ok()?;
        self.partitions.get(at)
    }

    /// Whether there is a partition of this index that has not been made yet.
    #[must_use]
    pub fn awaits(&self, index: i32) -> bool {
        self.on_demand && (0..self.count).contains(&index) && self.partition(index).is_none()
    }
}

/// All topics at one moment.
#[derive(Clone, Debug, Default)]
pub struct Image {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
}

/// All at once: adding them one by one with `Image::with` would copy the picture for each.
impl FromIterator<Topic> for Image {
    fn from_iter<T: IntoIterator<Item = Topic>>(topics: T) -> Self {
        let mut image = Self::default();
        for topic in topics {
            let topic = Arc::new(topic);
            image.by_id.insert(topic.id, Arc::clone(&topic));
            image.by_name.insert(Arc::clone(&topic.name), topic);
        }
        image
    }
}

impl Image {
    /// The topic of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic of this id.
    #[must_use]
    pub fn by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    pub(super) fn with(&self, topic: Topic) -> Self {
        let mut next = self.clone();
        let topic = Arc::new(topic);
        next.by_id.insert(topic.id, Arc::clone(&topic));
        next.by_name.insert(Arc::clone(&topic.name), topic);
        next
    }

    pub(super) fn without(&self, id: Uuid) -> Self {
        let mut next = self.clone();
        if let Some(topic) = next.by_id.remove(&id) {
            next.by_name.remove(&topic.name);
        }
        next
    }
}

impl TopicView for Image {
    fn topic(&self, name: &str) -> Option<TopicInfo> {
        let topic = self.get(name)?;
        // Also those that are made only when somebody reads them: a member is given all that clients see.
        Some(TopicInfo { id: topic.id, partitions: topic.count })
    }

    fn name(&self, id: Uuid) -> Option<Str> {
        self.by_id(id).map(|topic| Str::from(&*topic.name))
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(self.by_name.keys().map(|name| &**name))
    }
}
