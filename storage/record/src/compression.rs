//! The codecs of Kafka's batches, with bounded output.
//!
//! Frames are the ones Kafka's Java client reads and writes: gzip; snappy in xerial framing (raw snappy is read too);
//! LZ4 frames with independent 64 KiB blocks; zstd.

use std::fmt;
use std::io::{Read, Write};

use bytes::Bytes;

use crate::error::BatchError;

/// Level of gzip, as in Kafka's default.
const GZIP_LEVEL: u32 = 6;
/// Level of zstd, as in Kafka's default.
const ZSTD_LEVEL: i32 = 3;
/// A zstd frame may ask for a window of this many bits whatever the budget is: what ordinary levels use.
const ZSTD_WINDOW_LOG_MIN: u32 = 23;
/// And never for more than this, the limit that zstd itself has without being asked for more.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version, compatible version.
const XERIAL_HEADER_LEN: usize = 16;
/// Input bytes per snappy block.
const XERIAL_BLOCK_LEN: usize = 32 * 1024;
/// One snappy element of 3 bytes yields at most 64; a length that claims more than this factor is a lie.
const SNAPPY_MAX_EXPANSION: usize = 22;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy in xerial framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// From the three attribute bits.
    pub fn from_id(id: u8) -> Result<Codec, BatchError> {
        Codec::ALL.get(usize::from(id)).copied().ok_or(BatchError::UnknownCodec { id })
    }

    /// The three attribute bits.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// From Kafka's configuration name (`none`, `gzip`, `snappy`, `lz4`, `zstd`); `uncompressed` is `none` too.
    pub fn from_name(name: &str) -> Option<Codec> {
        match name {
            "uncompressed" => Some(Codec::None),
            _ => Codec::ALL.into_iter().find(|codec| codec.name() == name),
        }
    }

    /// Kafka's configuration name.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Anything but [`Codec::None`].
    pub fn is_compressed(self) -> bool {
        self != Codec::None
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Compresses; keeps the codecs' working memory between calls.
#[derive(Default)]
pub struct Compressor {
    level: Option<i32>,
    snappy: Option<snap::raw::Encoder>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
    scratch: Vec<u8>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    /// Compresses at this level where the codec has levels: gzip 1 to 9, zstd -131072 to 22. `None` is Kafka's
    /// default of the codec. Levels out of the codec's range become its nearest.
    pub fn with_level(level: Option<i32>) -> Compressor {
        Compressor { level, ..Compressor::default() }
    }

    /// Appends `input`, compressed with `codec`, to `out`.
    pub fn compress(&mut self, codec: Codec, input: &[u8], out: &mut Vec<u8>) -> Result<(), BatchError> {
        let failed = |reason: String| BatchError::Compress { codec, reason };
        match codec {
            Codec::None => out.extend_from_slice(input),
            Codec::Gzip => {
                let level = self.level.map_or(GZIP_LEVEL, |level| level.clamp(1, 9) as u32);
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
                encoder.write_all(input).map_err(|e| failed(e.to_string()))?;
                encoder.finish().map_err(|e| failed(e.to_string()))?;
            }
            Codec::Snappy => self.compress_xerial(input, out).map_err(|e| failed(e.to_string()))?,
            Codec::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max64KB)
                    .block_mode(lz4_flex::frame::BlockMode::Independent);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
                encoder.write_all(input).map_err(|e| failed(e.to_string()))?;
                encoder.finish().map_err(|e| failed(e.to_string()))?;
            }
            Codec::Zstd => {
                let level = self.level.unwrap_or(ZSTD_LEVEL);
                let encoder = match &mut self.zstd {
                    Some(encoder) => encoder,
                    none => {
                        none.insert(zstd::bulk::Compressor::new(level).map_err(|e| failed(e.to_string()))?)
                    }
                };
                self.scratch.clear();
                self.scratch.resize(zstd::zstd_safe::compress_bound(input.len()), 0);
                let length = encoder
                    .compress_to_buffer(input, &mut self.scratch[..])
                    .map_err(|e| failed(e.to_string()))?;
                out.extend_from_slice(&self.scratch[..length]);
            }
        }
        Ok(())
    }

    fn compress_xerial(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), snap::Error> {
        let encoder = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
        out.extend_from_slice(&XERIAL_MAGIC);
        out.extend_from_slice(&1i32.to_be_bytes());
        out.extend_from_slice(&1i32.to_be_bytes());
        for block in input.chunks(XERIAL_BLOCK_LEN) {
            let start = out.len() + 4;
            out.resize(start + snap::raw::max_compress_len(block.len()), 0);
            let length = encoder.compress(block, &mut out[start..])?;
            out.truncate(start + length);
            out[start - 4..start].copy_from_slice(&(length as u32).to_be_bytes());
        }
        Ok(())
    }
}

/// Compresses `input` with `codec`. For many calls, a [`Compressor`] is cheaper.
pub fn compress(codec: Codec, input: &[u8]) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    Compressor::default().compress(codec, input, &mut out)?;
    Ok(out)
}

/// Decompresses `input` into at most `budget` bytes. [`Codec::None`] gives back the same bytes, whatever the budget.
///
/// Memory grows with what really comes out, never with what the input claims.
pub fn decompress(codec: Codec, input: &Bytes, budget: usize) -> Result<Bytes, BatchError> {
    let out = match codec {
        Codec::None => return Ok(input.clone()),
        Codec::Gzip => {
            read_bounded(codec, flate2::read::MultiGzDecoder::new(&input[..]), input.len(), budget)?
        }
        Codec::Snappy => decompress_snappy(input, budget)?,
        Codec::Lz4 => {
            read_bounded(codec, lz4_flex::frame::FrameDecoder::new(&input[..]), input.len(), budget)?
        }
        Codec::Zstd => {
            let failed = |e: std::io::Error| BatchError::Decompress { codec, reason: e.to_string() };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&input[..]).map_err(failed)?;
            let wanted = usize::BITS - budget.leading_zeros();
            decoder.window_log_max(wanted.clamp(ZSTD_WINDOW_LOG_MIN, ZSTD_WINDOW_LOG_MAX)).map_err(failed)?;
            read_bounded(codec, decoder, input.len(), budget)?
        }
    };
    Ok(Bytes::from(out))
}

fn read_bounded(codec: Codec, reader: impl Read, input: usize, budget: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::with_capacity(input.saturating_mul(4).min(budget));
    let limit = (budget as u64).saturating_add(1);
    reader
        .take(limit)
        .read_to_end(&mut out)
        .map_err(|e| BatchError::Decompress { codec, reason: e.to_string() })?;
    if out.len() > budget {
        return Err(BatchError::OverBudget { codec, budget });
    }
    Ok(out)
}

fn decompress_snappy(input: &[u8], budget: usize) -> Result<Vec<u8>, BatchError> {
    let mut out = Vec::new();
    if !input.starts_with(&XERIAL_MAGIC) {
        snappy_block(input, &mut out, budget)?;
        return Ok(out);
    }
    let failed = |reason: &str| BatchError::Decompress { codec: Codec::Snappy, reason: reason.to_owned() };
    // Both version fields are 1 in every writer; readers ignore them.
    let mut rest = input.get(XERIAL_HEADER_LEN..).ok_or_else(|| failed("xerial header is cut off"))?;
    while !rest.is_empty() {
        let (length, after) =
            rest.split_first_chunk::<4>().ok_or_else(|| failed("block length is cut off"))?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > after.len() {
            return Err(failed("block is longer than the data"));
        }
        let (block, after) = after.split_at(length);
        snappy_block(block, &mut out, budget)?;
        rest = after;
    }
    Ok(out)
}

fn snappy_block(block: &[u8], out: &mut Vec<u8>, budget: usize) -> Result<(), BatchError> {
    let codec = Codec::Snappy;
    let failed = |e: snap::Error| BatchError::Decompress { codec, reason: e.to_string() };
    let length = snap::raw::decompress_len(block).map_err(failed)?;
    if length > budget - out.len() {
        return Err(BatchError::OverBudget { codec, budget });
    }
    if length > block.len().saturating_mul(SNAPPY_MAX_EXPANSION) {
        let reason = format!("a block of {} bytes claims to hold {length}", block.len());
        return Err(BatchError::Decompress { codec, reason });
    }
    let start = out.len();
    out.resize(start + length, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut out[start..]).map_err(failed)?;
    out.truncate(start + written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn ids_and_names() {
        for (id, codec) in Codec::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(codec.id()), id);
            assert_eq!(Codec::from_id(id as u8), Ok(codec));
            assert_eq!(Codec::from_name(codec.name()), Some(codec));
        }
        assert_eq!(Codec::from_id(5), Err(BatchError::UnknownCodec { id: 5 }));
        assert_eq!(Codec::from_name("brotli"), None);
    }

    #[test]
    fn output_is_bounded_by_the_budget() {
        let zeros = vec![0u8; 10 << 20];
        for codec in COMPRESSED {
            let bomb = Bytes::from(compress(codec, &zeros).unwrap());
            let error = decompress(codec, &bomb, 1 << 20).unwrap_err();
            assert_eq!(error, BatchError::OverBudget { codec, budget: 1 << 20 });
            assert_eq!(decompress(codec, &bomb, zeros.len()).unwrap(), zeros, "{codec}");
        }
    }

    #[test]
    fn snappy_block_that_lies_about_its_length_allocates_nothing() {
        // Raw snappy that claims 2^31 bytes in six.
        let lie = Bytes::from_static(&[0x80, 0x80, 0x80, 0x80, 0x08, 0x00]);
        let error = decompress(Codec::Snappy, &lie, usize::MAX).unwrap_err();
        assert!(error.to_string().contains("claims to hold 2147483648"), "{error}");
    }

    #[test]
    fn raw_snappy_is_read() {
        let raw = snap::raw::Encoder::new().compress_vec(b"hello hello hello hello").unwrap();
        let out = decompress(Codec::Snappy, &Bytes::from(raw), 100).unwrap();
        assert_eq!(&out[..], b"hello hello hello hello");
    }

    #[test]
    fn xerial_framing_is_what_java_writes() {
        let out = compress(Codec::Snappy, b"aaaa").unwrap();
        assert_eq!(&out[..8], b"\x82SNAPPY\0");
        assert_eq!(&out[8..16], [0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!(out[16..20], ((out.len() - 20) as u32).to_be_bytes());
        assert_eq!(out[20], 4, "uncompressed length as a varint");
    }

    #[test]
    fn lz4_blocks_are_independent_and_small() {
        // Kafka's Java reader refuses dependent blocks. Flag byte: version 01, independence bit set; block size id 4.
        let out = compress(Codec::Lz4, b"abcabcabc").unwrap();
        assert_eq!(&out[..4], [0x04, 0x22, 0x4d, 0x18]);
        assert_eq!(out[4] & 0b1110_0000, 0b0110_0000);
        assert_eq!(out[5], 4 << 4);
    }

    #[test]
    fn a_higher_level_packs_tighter() {
        let text: Vec<u8> = (0..60_000u32).flat_map(|n| (n % 977 * 31).to_string().into_bytes()).collect();
        for (codec, low, high) in [(Codec::Gzip, 1, 9), (Codec::Zstd, -5, 19)] {
            let packed = |level| {
                let mut out = Vec::new();
                Compressor::with_level(Some(level)).compress(codec, &text, &mut out).unwrap();
                assert_eq!(decompress(codec, &Bytes::from(out.clone()), text.len()).unwrap(), text);
                out.len()
            };
            assert!(packed(high) < packed(low), "{codec}");
        }
    }

    #[test]
    fn a_compressor_can_be_used_again() {
        let mut compressor = Compressor::default();
        for codec in Codec::ALL {
            for text in [&b"first text text text"[..], b"", b"second, longer text text text text text"] {
                let mut out = Vec::new();
                compressor.compress(codec, text, &mut out).unwrap();
                assert_eq!(decompress(codec, &Bytes::from(out), 1000).unwrap(), text, "{codec}");
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(text in proptest::collection::vec(any::<u8>(), 0..200), times in 1..600usize) {
            let input = text.repeat(times);
            for codec in Codec::ALL {
                let packed = Bytes::from(compress(codec, &input).unwrap());
                prop_assert_eq!(&decompress(codec, &packed, input.len()).unwrap()[..], &input[..]);
            }
        }

        #[test]
        fn garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 0..300), id in 1..5u8, cut in 0..300usize) {
            let codec = Codec::from_id(id).unwrap();
            let _ = decompress(codec, &Bytes::from(garbage.clone()), 1 << 16);
            // Good data, damaged: anything may come out, but never more than the budget.
            let mut packed = compress(codec, &garbage.repeat(10)).unwrap();
            let at = cut % packed.len();
            packed[at] ^= 0x55;
            if let Ok(out) = decompress(codec, &Bytes::from(packed), 1 << 16) {
                prop_assert!(out.len() <= 1 << 16);
            }
        }
    }
}
