//! How far a pipeline may read while the end of its input is being written down.
//!
//! The end is where the committed records end now, or an offset that somebody names, and writing that down takes a while. What
//! runs would read on meanwhile, and be beyond its own end.

use std::sync::Arc;

use logmill_stream::TopicPartition;
use parking_lot::Mutex;

use super::control::InputEnds;

/// Shared by whoever declares an end and by the runner's logs; cheap to clone. Without a bound everything may be read.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadBound(Arc<Mutex<Option<InputEnds>>>);

impl ReadBound {
    /// Nothing is read beyond these ends from here on. Nor has anything been, where they are those of what can be read: `find`
    /// runs while nobody looks for how far he may read, and what somebody has found before ends no later than what it finds now.
    ///
    /// # Errors
    /// Those of `find`; the bound is what it was then.
    pub(super) fn set<E>(&self, find: impl FnOnce() -> Result<InputEnds, E>) -> Result<InputEnds, E> {
        let mut bound = self.0.lock();
        let ends = find()?;
        *bound = Some(ends.clone());
        Ok(ends)
    }

    /// Everything may be read again.
    pub(super) fn lift(&self) {
        *self.0.lock() = None;
    }

    pub(super) fn ends(&self) -> Option<InputEnds> {
        self.0.lock().clone()
    }

    /// What `find` finds to be the end of what can be read of a partition, or the bound.
    pub(super) fn end_of(&self, partition: &TopicPartition, find: impl FnOnce() -> i64) -> i64 {
        let bound = self.0.lock();
        let end = find();
        let ends = bound.as_ref().and_then(|ends| ends.get(&partition.topic));
        let index = usize::try_from(partition.partition).ok();
        let bound = ends.zip(index).and_then(|(ends, index)| ends.get(index).copied());
        bound.map_or(end, |bound| end.min(bound))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn nothing_is_read_beyond_a_bound_until_it_is_lifted() {
        let (bound, second) = (ReadBound::default(), TopicPartition::new("in", 1));
        assert_eq!(bound.end_of(&second, || 20), 20);
        let ends = BTreeMap::from([("in".to_owned(), vec![5, 7])]);
        bound.set(|| Ok::<_, Infallible>(ends.clone())).unwrap();
        assert_eq!(bound.set(|| Err("the topic is gone")), Err("the topic is gone"));
        assert_eq!(bound.ends(), Some(ends), "what cannot be found changes nothing");
        for (partition, found, end) in
            [(second.clone(), 20, 7), (second.clone(), 6, 6), (TopicPartition::new("in", 2), 9, 9)]
        {
            assert_eq!(bound.end_of(&partition, || found), end, "{partition}");
        }
        bound.lift();
        assert_eq!(bound.end_of(&second, || 20), 20);
    }
}
