//! The hash map of state.

/// A map whose hash is foldhash's, with a seed by chance for each map: whoever chooses keys does not know where they meet. No
/// order of a hash map decides anything.
pub(crate) type HashMap<K, V> = hashbrown::HashMap<K, V, HashBuilder>;

/// Hashes keys for a map, or for several.
pub(crate) type HashBuilder = hashbrown::DefaultHashBuilder;
