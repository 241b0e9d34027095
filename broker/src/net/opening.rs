//! What the first four bytes of a connection tell about its peer.

/// Who is calling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A length that a Kafka request may have.
    Kafka,
    /// `PRI `: as a Kafka length it would be 1.3 GB, which is never legal.
    Http2,
    /// Not for us; the text says what it looks like, for one log line.
    Stranger(&'static str),
}

impl Opening {
    pub(super) fn of(first: [u8; 4], max_request_bytes: usize) -> Self {
        if &first == b"PRI " {
            return Self::Http2;
        }
        if usize::try_from(i32::from_be_bytes(first)).is_ok_and(|length| length <= max_request_bytes) {
            return Self::Kafka;
        }
        Self::Stranger(match &first {
            b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"CONN" => {
                "an HTTP/1 request; this port speaks Kafka's protocol and gRPC"
            }
            [0x16, 3, _, _] => "a TLS handshake; this listener is not encrypted",
            b"SSH-" => "an SSH client",
            _ => "a request length beyond the limit",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_are_told_apart() {
        let of = |first: &[u8; 4]| Opening::of(*first, 1000);
        assert_eq!(of(b"PRI "), Opening::Http2);
        assert_eq!(of(&[0, 0, 0, 40]), Opening::Kafka);
        assert_eq!(of(&1000_i32.to_be_bytes()), Opening::Kafka);
        assert!(matches!(of(&1001_i32.to_be_bytes()), Opening::Stranger(_)));
        assert!(matches!(of(&(-1_i32).to_be_bytes()), Opening::Stranger(_)));
        assert!(matches!(of(b"GET "), Opening::Stranger(what) if what.contains("HTTP/1")));
        assert!(matches!(of(&[0x16, 3, 1, 2]), Opening::Stranger(what) if what.contains("TLS")));
    }
}
