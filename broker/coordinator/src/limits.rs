//! How long texts may be that end up in records. Kafka's encoding of an internal topic's keys has 16 bits
//! for a length; newer requests can carry more.

/// Longest group id, instance id, client id, protocol name or kind, transactional id. Leaves room for what a
/// member id adds to a client id.
pub(crate) const MAX_NAME_BYTES: usize = i16::MAX as usize - 64;

/// Longest topic name.
pub(crate) const MAX_TOPIC_BYTES: usize = 249;
