//! Which sections a module has.

/// The sections that hold what a call can change: tables, memories and global variables.
const WITH_STATE: [u8; 3] = [4, 5, 6];
/// The magic number and the version before the first section.
const HEADER_BYTES: usize = 8;

/// Whether a module has nothing that a call could leave behind. A module that cannot be read has.
pub(super) fn is_stateless(module: &[u8]) -> bool {
    let mut rest = module.get(HEADER_BYTES..).unwrap_or_default();
    while let Some((id, behind)) = rest.split_first() {
        let Some((length, behind)) = length(behind) else { return false };
        if WITH_STATE.contains(id) || behind.len() < length {
            return false;
        }
        rest = &behind[length..];
    }
    true
}

/// An unsigned number of up to 32 bits in LEB128, and what is behind it.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value: u64 = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_could_change_is_seen() {
        let of = |text: &str| is_stateless(&wat::parse_str(text).unwrap());
        assert!(of("(module (func (export \"f\") (result i64) (i64.const 1)))"));
        assert!(!of("(module (memory 1) (func (export \"f\") (result i64) (i64.const 1)))"));
        assert!(!of("(module (global (mut i32) (i32.const 0)))"));
        assert!(!of("(module (table 1 funcref))"));
        assert!(!is_stateless(b"\0asm\x01\0\0\0\x01\xff"));
    }
}
