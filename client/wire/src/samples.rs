//! Random messages for tests: content that a version can say, the same for the same seed.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::DecodeError;
use crate::schema::Message;
use crate::text::Str;

/// A random instance of a message, as one of its versions can say it.
pub fn sample<M: Message>(seed: u64, version: i16) -> M {
    M::sample(&mut Sampler { state: seed, version, allow_null: true })
}

/// A message of some type, for tests that go over all of them.
#[derive(Debug, Clone, Copy)]
pub struct Sampled {
    /// The struct's name.
    pub name: &'static str,
    /// First and last version.
    pub versions: (i16, i16),
    /// The bytes of a random instance: seed, version.
    pub sample: fn(u64, i16) -> Bytes,
    /// Reads bytes to the last one, in a version.
    pub decode: fn(Bytes, i16) -> Result<(), DecodeError>,
}

impl Sampled {
    pub(crate) const fn of<M: Message>() -> Sampled {
        Sampled {
            name: M::NAME,
            versions: (*M::VERSIONS.start(), *M::VERSIONS.end()),
            sample: |seed, version| {
                let mut encoder = Encoder::new();
                sample::<M>(seed, version)
                    .encode(&mut encoder, version)
                    .expect("a sample is made of what the version can say");
                encoder.into_segments().into_bytes()
            },
            decode: |bytes, version| {
                let mut decoder = Decoder::new(bytes);
                M::decode(&mut decoder, version)?;
                decoder.finish()
            },
        }
    }

    /// All its versions.
    pub fn versions(&self) -> RangeInclusive<i16> {
        self.versions.0..=self.versions.1
    }
}

/// The source of the randomness.
#[derive(Debug)]
pub struct Sampler {
    state: u64,
    version: i16,
    allow_null: bool,
}

impl Sampler {
    /// 64 random bits (splitmix64). One time in eight they are an edge: zero, all ones, the largest
    /// and the smallest number.
    pub(crate) fn bits(&mut self) -> u64 {
        match self.next() % 32 {
            0 => 0,
            1 => u64::MAX,
            2 => i64::MAX as u64,
            3 => i64::MIN as u64,
            _ => self.next(),
        }
    }

    pub(crate) fn version(&self) -> i16 {
        self.version
    }

    /// Whether the next value may be null.
    pub(crate) fn allow_null(&mut self, allowed: bool) {
        self.allow_null = allowed;
    }

    pub(crate) fn picks_null(&mut self) -> bool {
        self.allow_null && self.next().is_multiple_of(4)
    }

    /// How many elements: few.
    pub(crate) fn count(&mut self) -> usize {
        (self.next() % 4) as usize
    }

    pub(crate) fn text(&mut self) -> Str {
        let length = match self.next() % 16 {
            0 => 0,
            1 => 130,
            more => more,
        };
        let letters = ['a', 'Z', '0', '.', '-', 'ä', '漢', '🦀'];
        Str::from((0..length).map(|_| letters[(self.next() % 8) as usize]).collect::<String>())
    }

    pub(crate) fn bytes(&mut self) -> Bytes {
        let length = match self.next() % 16 {
            0 => 0,
            1 => 3000,
            more => more as usize,
        };
        (0..length).map(|_| self.next() as u8).collect()
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
