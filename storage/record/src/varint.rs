//! Zig-zag variable-length integers, as records use them.
//!
//! Reading is strict: at most 5 bytes for 32 bits and 10 for 64, and no bits beyond the width. Encodings padded with
//! empty groups inside that length are accepted, as Kafka's own reader does.

use bytes::BufMut;

/// A variable-length integer that is cut off, too long, or too wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end inside the integer.
    #[error("variable-length integer is cut off")]
    Truncated,
    /// More bytes or bits than the width allows.
    #[error("variable-length integer is wider than its type")]
    TooWide,
}

/// Reads an unsigned 32-bit varint at the front of `input` and moves `input` behind it.
pub fn read_u32(input: &mut &[u8]) -> Result<u32, VarintError> {
    let mut value: u32 = 0;
    for (i, &byte) in input.iter().take(5).enumerate() {
        let bits = u32::from(byte & 0x7f);
        if i == 4 && byte > 0x0f {
            return Err(VarintError::TooWide);
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            *input = &input[i + 1..];
            return Ok(value);
        }
    }
    Err(VarintError::Truncated)
}

/// Reads an unsigned 64-bit varint at the front of `input` and moves `input` behind it.
pub fn read_u64(input: &mut &[u8]) -> Result<u64, VarintError> {
    let mut value: u64 = 0;
    for (i, &byte) in input.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == 9 && byte > 0x01 {
            return Err(VarintError::TooWide);
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            *input = &input[i + 1..];
            return Ok(value);
        }
    }
    Err(VarintError::Truncated)
}

/// Reads a zig-zag 32-bit varint at the front of `input` and moves `input` behind it.
#[inline]
pub fn read_i32(input: &mut &[u8]) -> Result<i32, VarintError> {
    // The lengths and deltas of ordinary records fit one byte.
    if let [byte, rest @ ..] = *input
        && byte & 0x80 == 0
    {
        *input = rest;
        return Ok(unzigzag32(u32::from(*byte)));
    }
    read_u32(input).map(unzigzag32)
}

/// Reads a zig-zag 64-bit varint at the front of `input` and moves `input` behind it.
#[inline]
pub fn read_i64(input: &mut &[u8]) -> Result<i64, VarintError> {
    read_u64(input).map(unzigzag64)
}

/// Writes an unsigned 32-bit varint.
pub fn write_u32(out: &mut impl BufMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes an unsigned 64-bit varint.
pub fn write_u64(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes a zig-zag 32-bit varint.
#[inline]
pub fn write_i32(out: &mut impl BufMut, value: i32) {
    write_u32(out, zigzag32(value));
}

/// Writes a zig-zag 64-bit varint.
#[inline]
pub fn write_i64(out: &mut impl BufMut, value: i64) {
    write_u64(out, zigzag64(value));
}

/// Bytes that [`write_i32`] takes for `value`.
#[inline]
pub fn size_i32(value: i32) -> usize {
    (38 - zigzag32(value).leading_zeros() as usize) / 7 + usize::from(value == 0)
}

/// Bytes that [`write_i64`] takes for `value`.
#[inline]
pub fn size_i64(value: i64) -> usize {
    (70 - zigzag64(value).leading_zeros() as usize) / 7 + usize::from(value == 0)
}

fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

pub(crate) fn unzigzag32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_i32(value: i32, expected: &[u8]) {
        let mut out = Vec::new();
        write_i32(&mut out, value);
        assert_eq!(out, expected);
        assert_eq!(size_i32(value), expected.len(), "size of {value}");
        assert_eq!(read_i32(&mut &out[..]), Ok(value));
    }

    #[test]
    fn known_encodings() {
        check_i32(0, &[0]);
        check_i32(-1, &[1]);
        check_i32(1, &[2]);
        check_i32(63, &[126]);
        check_i32(-64, &[127]);
        check_i32(64, &[0x80, 1]);
        check_i32(300, &[0xd8, 0x04]);
        check_i32(i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check_i32(i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn too_wide_and_truncated_are_refused() {
        assert_eq!(read_u32(&mut &[0xff, 0xff, 0xff, 0xff, 0x1f][..]), Err(VarintError::TooWide));
        assert_eq!(read_u32(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..]), Err(VarintError::TooWide));
        assert_eq!(read_i32(&mut &[0x80, 0x80][..]), Err(VarintError::Truncated));
        assert_eq!(read_i32(&mut &[][..]), Err(VarintError::Truncated));
        let ten = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(read_u64(&mut &ten[..]), Err(VarintError::TooWide));
    }

    #[test]
    fn padding_inside_the_width_is_accepted() {
        let mut input = &[0x82, 0x80, 0x00, 7][..];
        assert_eq!(read_i32(&mut input), Ok(1));
        assert_eq!(input, [7]);
    }

    proptest! {
        #[test]
        fn round_trip(a: i32, b: i64, shift in 0..63u32) {
            let b = b >> shift;
            let mut out = Vec::new();
            write_i32(&mut out, a);
            prop_assert_eq!(out.len(), size_i32(a));
            write_i64(&mut out, b);
            prop_assert_eq!(out.len(), size_i32(a) + size_i64(b));
            let mut input = &out[..];
            prop_assert_eq!(read_i32(&mut input), Ok(a));
            prop_assert_eq!(read_i64(&mut input), Ok(b));
            prop_assert!(input.is_empty());
        }
    }
}
