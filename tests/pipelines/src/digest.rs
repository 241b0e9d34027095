//! A digest of text: 128-bit FNV-1a. Nobody attacks it; it only has to tell rows apart.

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// A digest that grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u128);

impl Default for Digest {
    fn default() -> Self {
        Self(OFFSET)
    }
}

impl Digest {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }

    /// The digest of all bytes so far.
    pub fn value(self) -> u128 {
        self.0
    }
}

/// The digest of some bytes.
pub fn digest(bytes: &[u8]) -> u128 {
    let mut digest = Digest::default();
    digest.update(bytes);
    digest.value()
}

#[cfg(test)]
mod tests {
    use super::digest;

    #[test]
    fn it_is_the_published_function() {
        assert_eq!(digest(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(digest(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
    }
}
