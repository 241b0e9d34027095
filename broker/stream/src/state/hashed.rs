//! The hash map of tables.

use std::hash::RandomState;

/// A map with the hash that the standard library's has by itself: whoever chooses keys must not choose where they meet. Chance
/// decides the order of entries as there, and no order of a hash map decides anything.
pub(super) type HashMap<K, V> = hashbrown::HashMap<K, V, RandomState>;
