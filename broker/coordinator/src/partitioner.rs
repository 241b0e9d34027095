//! Which partition of an internal topic an id lives in.

/// The partition of a group id in `__consumer_offsets`, or of a transactional id in `__transaction_state`,
/// when the topic has `count` partitions. The same as Kafka's, so that imported topics can be used.
///
/// # Panics
/// When `count` is not positive.
pub fn partition_for(id: &str, count: i32) -> i32 {
    assert!(count > 0, "a topic has at least one partition");
    // The sign bit is cleared, not negated: Kafka's `Utils.abs`, which has no exception for i32::MIN.
    (java_string_hash(id) & 0x7fff_ffff) % count
}

/// `String.hashCode()`: over UTF-16 code units, wrapping.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // From the Java language: the first three by hand, "polygenelubricants" famously is i32::MIN, and a
        // character outside the basic plane counts as its two surrogates.
        for (text, hash) in [
            ("", 0),
            ("a", 97),
            ("ab", 97 * 31 + 98),
            ("hello", 99_162_322),
            ("polygenelubricants", i32::MIN),
            ("é", 0xe9),
            ("😀", 0xd83d * 31 + 0xde00),
        ] {
            assert_eq!(java_string_hash(text), hash, "{text:?}");
        }
    }

    #[test]
    fn partitions_are_never_negative() {
        assert_eq!(partition_for("polygenelubricants", 50), 0);
        assert_eq!(partition_for("hello", 50), 22);
        assert_eq!(partition_for("", 50), 0);
        // A negative hash has its sign bit cleared, which is not the same as its absolute value.
        let negative = "consumer-group";
        assert!(java_string_hash(negative) < 0);
        assert_eq!(
            i64::from(partition_for(negative, 50)),
            (i64::from(java_string_hash(negative)) + (1 << 31)) % 50
        );
    }
}
