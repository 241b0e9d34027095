//! A snapshot read again, and checked on the way.

use std::io::{self, Read};

use super::{
    END, ENTRIES, FRAME_BYTES, HEADER, MAGIC, MAX_FRAME_BYTES, SNAPSHOT_VERSION, SnapshotError,
    SnapshotHeader, crc_of,
};

/// Reads a snapshot. An entry was checked when it is given; that all are there is known only once
/// [`SnapshotReader::next_entry`] has given `None`.
#[derive(Debug)]
pub struct SnapshotReader<R> {
    input: R,
    header: SnapshotHeader,
    /// The frame that is being read, without its kind.
    chunk: Vec<u8>,
    /// How far it is read.
    place: usize,
    last_key: Vec<u8>,
    /// The bytes read before the frame.
    at: u64,
    read: u64,
    entries: u64,
    chunks: u32,
    digest: crc32fast::Hasher,
    ended: bool,
}

/// An entry's key and value.
type Entry<'r> = (&'r [u8], &'r [u8]);

/// The version alone, so that a header of another one is told from a damaged one.
#[derive(serde::Deserialize)]
struct Version {
    version: u16,
}

impl<R: Read> SnapshotReader<R> {
    /// Reads the header.
    pub fn open(input: R) -> Result<SnapshotReader<R>, SnapshotError> {
        let mut frames = Frames { input, read: 0 };
        let mut magic = [0; MAGIC.len()];
        frames.exact(&mut magic)?;
        let damaged = |what: &str| SnapshotError::Damaged { at: 0, what: what.to_owned() };
        if magic != MAGIC {
            return Err(damaged("it does not begin like a snapshot"));
        }
        let mut chunk = Vec::new();
        let (kind, crc) = frames.next(&mut chunk)?;
        if kind != HEADER {
            return Err(damaged("it has no header"));
        }
        let unreadable = |error: serde_json::Error| damaged(&format!("its header: {error}"));
        let Version { version } = serde_json::from_slice(&chunk).map_err(unreadable)?;
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::OtherVersion { found: version });
        }
        let header = serde_json::from_slice(&chunk).map_err(unreadable)?;
        let mut digest = crc32fast::Hasher::new();
        digest.update(&crc.to_be_bytes());
        chunk.clear();
        let Frames { input, read } = frames;
        Ok(SnapshotReader {
            input,
            header,
            chunk,
            place: 0,
            last_key: Vec::new(),
            at: read,
            read,
            entries: 0,
            chunks: 0,
            digest,
            ended: false,
        })
    }

    /// What it is of.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// The next entry, key and value; `None` behind the last one, when the snapshot is found to be whole.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, SnapshotError> {
        while self.place == self.chunk.len() {
            if self.ended || !self.next_chunk()? {
                return Ok(None);
            }
        }
        let at = self.at;
        let damaged = |what: &str| SnapshotError::Damaged { at, what: what.to_owned() };
        let too_short = || damaged("an entry is longer than its frame");
        let rest = &self.chunk[self.place..];
        let (key, rest) = rest.split_first_chunk().ok_or_else(too_short)?;
        let (value, rest) = rest.split_first_chunk().ok_or_else(too_short)?;
        let (key, value) = (u32::from_be_bytes(*key) as usize, u32::from_be_bytes(*value) as usize);
        if key.saturating_add(value) > rest.len() {
            return Err(too_short());
        }
        let start = self.chunk.len() - rest.len();
        self.place = start + key + value;
        let (key, value) = self.chunk[start..self.place].split_at(key);
        if self.entries > 0 && *key <= *self.last_key {
            return Err(damaged("its entries are not in order"));
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.entries += 1;
        Ok(Some((key, value)))
    }

    /// Reads the next frame of entries; false at the end.
    fn next_chunk(&mut self) -> Result<bool, SnapshotError> {
        self.at = self.read;
        let mut frames = Frames { input: &mut self.input, read: self.read };
        let (kind, crc) = frames.next(&mut self.chunk)?;
        self.read = frames.read;
        self.place = 0;
        let damaged = |what: &str| SnapshotError::Damaged { at: self.at, what: what.to_owned() };
        match kind {
            ENTRIES => {
                self.chunks += 1;
                self.digest.update(&crc.to_be_bytes());
                Ok(true)
            }
            END => {
                let mut expected = Vec::with_capacity(16);
                expected.extend_from_slice(&self.entries.to_be_bytes());
                expected.extend_from_slice(&self.chunks.to_be_bytes());
                expected.extend_from_slice(&self.digest.clone().finalize().to_be_bytes());
                if self.chunk != expected {
                    return Err(damaged("its end mark counts other entries"));
                }
                self.chunk.clear();
                self.ended = true;
                Ok(false)
            }
            _ => Err(damaged("a frame of a kind that there is not")),
        }
    }
}

struct Frames<R> {
    input: R,
    read: u64,
}

impl<R: Read> Frames<R> {
    fn exact(&mut self, buffer: &mut [u8]) -> Result<(), SnapshotError> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => SnapshotError::Truncated { at: self.read },
            _ => SnapshotError::Io(error),
        })?;
        self.read += buffer.len() as u64;
        Ok(())
    }

    /// Reads a frame and checks it; gives its kind and its CRC.
    fn next(&mut self, payload: &mut Vec<u8>) -> Result<(u8, u32), SnapshotError> {
        let at = self.read;
        let damaged = |what: String| SnapshotError::Damaged { at, what };
        let mut head = [0; FRAME_BYTES + 1];
        self.exact(&mut head)?;
        let [a, b, c, d, rest @ ..] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        let [a, b, c, d, kind] = rest;
        let crc = u32::from_be_bytes([a, b, c, d]);
        if length == 0 || length > MAX_FRAME_BYTES {
            return Err(damaged(format!("a frame of {length} bytes")));
        }
        payload.clear();
        // Memory grows with what is there, not with what a damaged length says.
        let wanted = u64::from(length - 1);
        let found = self.input.by_ref().take(wanted).read_to_end(payload)? as u64;
        self.read += found;
        if found < wanted {
            return Err(SnapshotError::Truncated { at: self.read });
        }
        if crc_of(kind, payload) != crc {
            return Err(damaged("its checksum is another one".to_owned()));
        }
        Ok((kind, crc))
    }
}
