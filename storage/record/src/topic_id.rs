//! Topic ids as text, in the form that Kafka's files and tools use: URL-safe base64 without padding, 22 characters.

use uuid::Uuid;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const TEXT_LEN: usize = 22;

/// Not a topic id in text form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a topic id: it must be 22 characters of URL-safe base64, for example {example}", example = to_base64(Uuid::from_u128(0x11)))]
pub struct InvalidTopicId {
    /// What was given, shortened.
    pub text: String,
}

/// The 22-character form of a topic id.
pub fn to_base64(id: Uuid) -> String {
    let mut text = String::with_capacity(TEXT_LEN);
    let value = id.as_u128();
    // 21 characters of 6 bits, then 2 bits followed by four zero bits.
    for i in 0..21 {
        let index = (value >> (122 - 6 * i)) & 0x3f;
        text.push(ALPHABET[index as usize] as char);
    }
    text.push(ALPHABET[((value & 0x3) << 4) as usize] as char);
    text
}

/// Reads the 22-character form. Padding and non-canonical last characters are refused.
pub fn from_base64(text: &str) -> Result<Uuid, InvalidTopicId> {
    let invalid = || InvalidTopicId { text: text.chars().take(40).collect() };
    let bytes: &[u8; TEXT_LEN] = text.as_bytes().try_into().map_err(|_| invalid())?;
    let mut value: u128 = 0;
    for (i, byte) in bytes.iter().enumerate() {
        let digit = ALPHABET.iter().position(|c| c == byte).ok_or_else(invalid)? as u128;
        if i < TEXT_LEN - 1 {
            value = value << 6 | digit;
        } else if digit & 0xf == 0 {
            value = value << 2 | digit >> 4;
        } else {
            return Err(invalid());
        }
    }
    Ok(Uuid::from_u128(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_ids() {
        // Kafka's reserved ids: zero, and one for the metadata topic.
        assert_eq!(to_base64(Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(to_base64(Uuid::from_u128(1)), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(to_base64(Uuid::max()), "_____________________w");
        // Bytes 00 01 02 … 0f.
        let counting = Uuid::from_bytes(std::array::from_fn(|i| i as u8));
        assert_eq!(to_base64(counting), "AAECAwQFBgcICQoLDA0ODw");
    }

    #[test]
    fn bad_text_is_refused() {
        for text in ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB"] {
            assert!(from_base64(text).is_err(), "{text}");
        }
        let error = from_base64("AAAAAAAAAA+AAAAAAAAAAA").unwrap_err();
        assert!(error.to_string().contains("AAAAAAAAAA+AAAAAAAAAAA"), "{error}");
    }

    proptest! {
        #[test]
        fn round_trip(value: u128) {
            let id = Uuid::from_u128(value);
            prop_assert_eq!(from_base64(&to_base64(id)), Ok(id));
        }
    }
}
