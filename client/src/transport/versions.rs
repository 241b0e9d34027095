//! Which version of each API to speak with one broker.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use logmill_wire::messages::api_versions::ApiVersionsResponse;
use logmill_wire::{ApiKey, Request};

/// What one broker told about itself when the connection was opened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions {
    ranges: BTreeMap<i16, RangeInclusive<i16>>,
    transaction_version: i16,
}

impl Versions {
    pub(crate) fn new(response: &ApiVersionsResponse) -> Self {
        let ranges =
            response.api_keys.iter().map(|api| (api.api_key, api.min_version..=api.max_version)).collect();
        let transaction = response.finalized_features.iter().find(|f| &*f.name == "transaction.version");
        Self { ranges, transaction_version: transaction.map_or(0, |feature| feature.max_version_level) }
    }

    /// Whether transactions follow KIP-890: implicit partitions and a new epoch for each transaction.
    pub(crate) fn transactions_v2(&self) -> bool {
        self.transaction_version >= 2
    }

    /// The newest version both sides speak, at most `highest`.
    pub(crate) fn choose<R: Request>(&self, highest: i16) -> Option<i16> {
        let theirs = self.ranges.get(&R::KEY.code())?;
        newest(R::VERSIONS, theirs, highest)
    }

    /// The versions the broker has of an API.
    pub(crate) fn offered(&self, api: ApiKey) -> Option<&RangeInclusive<i16>> {
        self.ranges.get(&api.code())
    }
}

fn newest(ours: RangeInclusive<i16>, theirs: &RangeInclusive<i16>, highest: i16) -> Option<i16> {
    let version = (*ours.end()).min(*theirs.end()).min(highest);
    (version >= *ours.start() && version >= *theirs.start()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_version_is_chosen() {
        assert_eq!(newest(3..=12, &(0..=9), i16::MAX), Some(9));
        assert_eq!(newest(3..=12, &(5..=20), i16::MAX), Some(12));
        assert_eq!(newest(3..=12, &(5..=20), 11), Some(11));
        assert_eq!(newest(3..=12, &(0..=2), i16::MAX), None);
        assert_eq!(newest(3..=12, &(13..=14), i16::MAX), None);
        assert_eq!(newest(3..=12, &(5..=9), 4), None);
    }
}
