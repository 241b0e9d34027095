//! What the coordinator has to know of topics: which there are, and how many partitions each has.

use std::fmt::Debug;

use uuid::Uuid;

use crate::Str;

/// A topic as consumers subscribe to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

/// All topics at one moment. What one of these says never changes; a change is another one.
pub trait TopicView: Debug + Send + Sync {
    /// The topic of this name.
    fn topic(&self, name: &str) -> Option<TopicInfo>;
    /// The name of the topic with this id.
    fn name(&self, id: Uuid) -> Option<Str>;
    /// Every topic's name, sorted.
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;
}

/// No topics: what a machine knows before it is told.
#[derive(Debug)]
pub(super) struct NoTopics;

impl TopicView for NoTopics {
    fn topic(&self, _name: &str) -> Option<TopicInfo> {
        None
    }

    fn name(&self, _id: Uuid) -> Option<Str> {
        None
    }

    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(std::iter::empty())
    }
}
