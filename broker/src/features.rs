//! Finalised features: which levels of the protocol's features clients may count on (KIP-584).
//!
//! What a data directory was raised or lowered to is a record of the metadata log; a fresh one has every
//! feature at its highest level.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::topics::{MetadataError, MetadataLog, MetadataRecord};

/// The feature whose finalised level lets producers use KIP-890's transactions: at 2 they add partitions
/// implicitly, and every transaction has an epoch of its own. At 0 the log of transactions is written in
/// the form that brokers before Kafka 4 read.
pub const TRANSACTION_VERSION: &str = "transaction.version";

/// The feature whose finalised level lets clients use groups of the new protocol (KIP-848): at 1 they may.
pub const GROUP_VERSION: &str = "group.version";

/// Every feature with the levels that are supported.
pub const SUPPORTED: &[(&str, RangeInclusive<i16>)] = &[(GROUP_VERSION, 0..=1), (TRANSACTION_VERSION, 0..=2)];

/// The levels that hold, and how often they were changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finalized {
    /// Counts changes: a client takes the levels with the highest epoch it has seen.
    pub epoch: i64,
    /// The level of each supported feature; 0 for one that is not finalised.
    pub levels: BTreeMap<String, i16>,
}

impl Default for Finalized {
    fn default() -> Self {
        let highest = |(name, levels): &(&str, RangeInclusive<i16>)| ((*name).to_owned(), *levels.end());
        Self { epoch: 0, levels: SUPPORTED.iter().map(highest).collect() }
    }
}

impl Finalized {
    /// The level of a feature; 0 for one that there is not.
    #[must_use]
    pub fn level(&self, feature: &str) -> i16 {
        self.levels.get(feature).copied().unwrap_or(0)
    }
}

/// A level that somebody wants for a feature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// The feature.
    pub feature: String,
    /// The level it is to have.
    pub level: i16,
    /// Which way it may go.
    pub direction: Direction,
}

/// Which way a feature's level may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Only up.
    Up,
    /// Also down.
    UpOrDown,
}

/// Why no feature was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateFeaturesError {
    /// The level cannot be had. The words are Kafka's.
    #[error(
        "The update failed for all features since the following feature had an error: \
         Invalid update version {level} for feature {feature}. {reason}"
    )]
    Version {
        /// The feature.
        feature: String,
        /// The level asked for.
        level: i16,
        /// Why not.
        reason: String,
    },
    /// The metadata log.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// The finalised features of the broker; cheap to clone.
#[derive(Clone)]
pub struct Features(Arc<Shared>);

struct Shared {
    finalized: ArcSwap<Finalized>,
    metadata: Arc<Mutex<MetadataLog>>,
    clock: Clock,
}

impl Features {
    /// What the metadata says; features it does not speak of have their highest level.
    #[must_use]
    pub fn load(metadata: Arc<Mutex<MetadataLog>>, records: &[MetadataRecord], clock: Clock) -> Self {
        let mut finalized = Finalized::default();
        for record in records {
            if let MetadataRecord::Features { epoch, levels } = record {
                finalized.epoch = *epoch;
                finalized.levels.extend(levels.iter().map(|(name, level)| (name.clone(), *level)));
            }
        }
        Self(Arc::new(Shared { finalized: ArcSwap::from_pointee(finalized), metadata, clock }))
    }

    /// What holds now.
    #[must_use]
    pub fn finalized(&self) -> Arc<Finalized> {
        self.0.finalized.load_full()
    }

    /// Changes all of these or none, or only checks whether they could be changed.
    ///
    /// # Errors
    /// [`UpdateFeaturesError`] for the first that cannot be; nothing was changed.
    pub async fn update(
        &self,
        node_id: i32,
        updates: &[FeatureUpdate],
        validate_only: bool,
    ) -> Result<(), UpdateFeaturesError> {
        let mut metadata = self.0.metadata.lock().await;
        let before = self.finalized();
        let after = updated(&before, updates, node_id)?;
        if validate_only || after.levels == before.levels {
            return Ok(());
        }
        let record = MetadataRecord::Features { epoch: after.epoch, levels: after.levels.clone() };
        metadata.append(self.0.clock.now_ms(), &[record]).await?;
        tracing::info!(levels = ?after.levels, "features changed");
        self.0.finalized.store(Arc::new(after));
        Ok(())
    }
}

fn updated(
    before: &Finalized,
    updates: &[FeatureUpdate],
    node_id: i32,
) -> Result<Finalized, UpdateFeaturesError> {
    let mut after = Finalized { epoch: before.epoch + 1, levels: before.levels.clone() };
    for FeatureUpdate { feature, level, direction } in updates {
        let refused =
            |reason: String| UpdateFeaturesError::Version { feature: feature.clone(), level: *level, reason };
        let Some((_, levels)) = SUPPORTED.iter().find(|(name, _)| name == feature) else {
            return Err(refused(format!("Local controller {node_id} does not support this feature.")));
        };
        if !levels.contains(level) {
            let (lowest, highest) = (levels.start(), levels.end());
            let reason = format!("Local controller {node_id} only supports versions {lowest}-{highest}");
            return Err(refused(reason));
        }
        if *level < before.level(feature) && *direction == Direction::Up {
            let reason = "Can't downgrade the version of this feature without setting the upgrade type to \
                          either safe or unsafe downgrade.";
            return Err(refused(reason.to_owned()));
        }
        after.levels.insert(feature.clone(), *level);
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(feature: &str, level: i16, direction: Direction) -> FeatureUpdate {
        FeatureUpdate { feature: feature.to_owned(), level, direction }
    }

    #[test]
    fn levels_go_down_only_when_asked_to_and_never_out_of_their_range() {
        use Direction::{Up, UpOrDown};
        let fresh = Finalized::default();
        assert_eq!(fresh.level(TRANSACTION_VERSION), 2);
        let try_one = |update: FeatureUpdate| {
            let after = updated(&fresh, std::slice::from_ref(&update), 1);
            after.map(|after| after.level(&update.feature)).map_err(|error| error.to_string())
        };
        assert_eq!(try_one(update(TRANSACTION_VERSION, 0, UpOrDown)), Ok(0));
        assert_eq!(try_one(update(TRANSACTION_VERSION, 2, Up)), Ok(2));
        for (feature, level, direction, reason) in [
            (TRANSACTION_VERSION, 1, Up, "either safe or unsafe downgrade."),
            (TRANSACTION_VERSION, 3, Up, "Local controller 1 only supports versions 0-2"),
            (TRANSACTION_VERSION, -1, UpOrDown, "Local controller 1 only supports versions 0-2"),
            ("nope.version", 1, Up, "Local controller 1 does not support this feature."),
        ] {
            let error = try_one(update(feature, level, direction)).unwrap_err();
            assert!(error.ends_with(reason), "{error}");
        }
        let both = [update(TRANSACTION_VERSION, 1, UpOrDown), update("nope.version", 1, Up)];
        assert!(updated(&fresh, &both, 1).is_err(), "all or none");
    }
}
