//! What consumers tell each other inside a group's opaque bytes, as far as a coordinator needs it.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Str;

/// The kind of group consumers form.
pub(super) const PROTOCOL_TYPE: &str = "consumer";

/// The topics of a `ConsumerProtocolSubscription`, whose every version begins alike; `None` when the bytes
/// are something else.
pub(super) fn subscribed_topics(mut subscription: &[u8]) -> Option<Vec<String>> {
    subscription.try_get_i16().ok().filter(|version| *version >= 0)?;
    let count = usize::try_from(subscription.try_get_i32().ok()?).ok()?;
    let mut topics = Vec::new();
    for _ in 0..count {
        let length = usize::from(u16::try_from(subscription.try_get_i16().ok()?).ok()?);
        let (name, rest) = subscription.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.to_owned());
        subscription = rest;
    }
    Some(topics)
}

/// A `ConsumerProtocolSubscription` version 0.
pub(super) fn subscription(assigned: &[(Str, Vec<i32>)]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    put_count(&mut bytes, assigned.len());
    for (topic, _) in assigned {
        put_text(&mut bytes, topic);
    }
    put_no_user_data(&mut bytes);
    bytes.freeze()
}

/// A `ConsumerProtocolAssignment` version 0.
pub(super) fn assignment(assigned: &[(Str, Vec<i32>)]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    put_count(&mut bytes, assigned.len());
    for (topic, partitions) in assigned {
        put_text(&mut bytes, topic);
        put_count(&mut bytes, partitions.len());
        for partition in partitions {
            bytes.put_i32(*partition);
        }
    }
    put_no_user_data(&mut bytes);
    bytes.freeze()
}

fn put_no_user_data(bytes: &mut BytesMut) {
    bytes.put_i32(-1);
}

fn put_count(bytes: &mut BytesMut, count: usize) {
    bytes.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
}

/// Topic names have at most 249 bytes.
fn put_text(bytes: &mut BytesMut, text: &str) {
    bytes.put_i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
    bytes.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_a_subscription_are_read_whatever_follows_them() {
        let assigned = vec![(Str::from("flights"), vec![0, 1]), (Str::from("carriers"), vec![7])];
        let bytes = subscription(&assigned);
        assert_eq!(subscribed_topics(&bytes).unwrap(), ["flights", "carriers"]);
        for cut in 0..bytes.len() - 4 {
            assert_eq!(subscribed_topics(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(subscribed_topics(&[0, 0, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(subscribed_topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn an_assignment_is_kafkas_bytes() {
        let bytes = assignment(&[(Str::from("t"), vec![3])]);
        assert_eq!(
            &bytes[..],
            [0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff]
        );
    }
}
