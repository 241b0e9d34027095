//! Digests and hashes: the same on every machine and in every release.

use std::borrow::Cow;
use std::hash::Hasher;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};
use twox_hash::XxHash64;

use super::Evaluator;
use super::call::Call;
use crate::column::Column;
use crate::plan::{Digest, Function};

/// Bytes as hexadecimal text in small letters.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn digest(digest: Digest, bytes: &[u8]) -> String {
    match digest {
        Digest::Md5 => hex(&Md5::digest(bytes)),
        Digest::Sha1 => hex(&Sha1::digest(bytes)),
        Digest::Sha224 => hex(&Sha224::digest(bytes)),
        Digest::Sha256 => hex(&Sha256::digest(bytes)),
        Digest::Sha384 => hex(&Sha384::digest(bytes)),
        Digest::Sha512 => hex(&Sha512::digest(bytes)),
    }
}

fn xx_hash(bytes: &[u8]) -> i64 {
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(bytes);
    hasher.finish() as i64
}

impl Evaluator<'_> {
    pub(super) fn call_hash(&mut self, call: &Call<'_>) -> Column {
        let bytes = |row: usize| call.arguments[0].octets(row);
        match call.function {
            Function::Digest(which) => {
                self.texts(call, |row| Ok(Some(Cow::Owned(digest(which, bytes(row))))))
            }
            Function::Crc32 => self.integers(call, |row| Ok(Some(i64::from(crc32fast::hash(bytes(row)))))),
            Function::XxHash64 => self.integers(call, |row| Ok(Some(xx_hash(bytes(row))))),
            other => unreachable!("{} is not a hash", other.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published values.
    #[test]
    fn hashes_are_what_others_compute() {
        assert_eq!(digest(Digest::Md5, b"abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(digest(Digest::Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            digest(Digest::Sha256, b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(digest(Digest::Sha224, b"abc").starts_with("23097d223405d8228642a477bda255b3"));
        assert!(digest(Digest::Sha384, b"abc").starts_with("cb00753f45a35e8bb5a03d699ac65007"));
        assert!(digest(Digest::Sha512, b"abc").starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(xx_hash(b"") as u64, 0xef46_db37_51d8_e999);
        assert_eq!(xx_hash(b"abc") as u64, 0x44bc_2cf5_ad77_0999);
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
    }
}
