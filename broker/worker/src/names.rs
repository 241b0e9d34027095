//! What a pipeline's topics, group and transactional ids are called.

use crate::error::WorkerError;

/// The longest name: its topics carry it between a prefix and a suffix.
const MAX_NAME: usize = 200;

/// The names that belong to one pipeline. All begin with `logmill-NAME`, one prefix for ACLs.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// The pipeline.
    pub(crate) pipeline: String,
    /// The group its workers share partitions in, and whose offsets show how far it is.
    pub(crate) group: String,
    /// The topic of its state's changes.
    pub(crate) changelog: String,
    /// The topic of its progress records.
    pub(crate) progress: String,
}

impl Names {
    pub(crate) fn new(pipeline: &str) -> Result<Self, WorkerError> {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if pipeline.is_empty() || pipeline.len() > MAX_NAME || !pipeline.bytes().all(sound) {
            return Err(WorkerError::Name { name: pipeline.to_owned(), longest: MAX_NAME });
        }
        Ok(Self {
            pipeline: pipeline.to_owned(),
            group: format!("logmill-{pipeline}"),
            changelog: format!("logmill-{pipeline}-changelog"),
            progress: format!("logmill-{pipeline}-progress"),
        })
    }

    /// Whoever starts a producer with this id is the task's owner.
    pub(crate) fn transactional_id(&self, task: i32) -> String {
        format!("logmill-{}-{task}", self.pipeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_be_one_of_topics() {
        for name in ["", "a b", "a/b", "ä", &"x".repeat(201)] {
            assert!(matches!(Names::new(name), Err(WorkerError::Name { .. })), "{name:?}");
        }
        let names = Names::new("late.flights_2-b").expect("a name");
        assert_eq!(names.transactional_id(7), "logmill-late.flights_2-b-7");
    }
}
