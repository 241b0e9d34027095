//! A snapshot, entry by entry.

use std::io::Write;

use super::{
    CHUNK_BYTES, END, ENTRIES, FRAME_BYTES, HEADER, MAGIC, MAX_FRAME_BYTES, SnapshotError, SnapshotHeader,
    crc_of,
};

/// How large a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotSize {
    /// How many entries it has.
    pub entries: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// Writes a snapshot. It is one only once it is finished.
#[derive(Debug)]
pub struct SnapshotWriter<W> {
    out: W,
    chunk: Vec<u8>,
    last_key: Vec<u8>,
    entries: u64,
    chunks: u32,
    bytes: u64,
    /// Over the CRCs of all frames.
    digest: crc32fast::Hasher,
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins one. Few and long writes reach `out`.
    pub fn new(mut out: W, header: &SnapshotHeader) -> Result<SnapshotWriter<W>, SnapshotError> {
        out.write_all(&MAGIC)?;
        let mut writer = SnapshotWriter {
            out,
            chunk: Vec::with_capacity(CHUNK_BYTES),
            last_key: Vec::new(),
            entries: 0,
            chunks: 0,
            bytes: MAGIC.len() as u64,
            digest: crc32fast::Hasher::new(),
        };
        let header = serde_json::to_vec(header).expect("a header is plain data");
        writer.frame(HEADER, &header)?;
        Ok(writer)
    }

    /// Adds an entry. Keys come in ascending order, each once.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        let too_long = SnapshotError::EntryTooLong { bytes: key.len() + value.len() };
        let room = MAX_FRAME_BYTES as usize - FRAME_BYTES - 2 * size_of::<u32>();
        if key.len().saturating_add(value.len()) > room {
            return Err(too_long);
        }
        if self.entries > 0 && *key <= *self.last_key {
            return Err(SnapshotError::Misfit {
                reason: "its entries are not in the order of their keys".to_owned(),
            });
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        let length = 2 * size_of::<u32>() + key.len() + value.len();
        if !self.chunk.is_empty() && self.chunk.len() + length > CHUNK_BYTES {
            self.close_chunk()?;
        }
        self.chunk.extend_from_slice(&(key.len() as u32).to_be_bytes());
        self.chunk.extend_from_slice(&(value.len() as u32).to_be_bytes());
        self.chunk.extend_from_slice(key);
        self.chunk.extend_from_slice(value);
        self.entries += 1;
        Ok(())
    }

    /// Ends it, and gives back what it was written to.
    pub fn finish(mut self) -> Result<(W, SnapshotSize), SnapshotError> {
        self.close_chunk()?;
        let mut end = Vec::with_capacity(16);
        end.extend_from_slice(&self.entries.to_be_bytes());
        end.extend_from_slice(&self.chunks.to_be_bytes());
        end.extend_from_slice(&self.digest.clone().finalize().to_be_bytes());
        self.frame(END, &end)?;
        self.out.flush()?;
        Ok((self.out, SnapshotSize { entries: self.entries, bytes: self.bytes }))
    }

    fn close_chunk(&mut self) -> Result<(), SnapshotError> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        self.frame(ENTRIES, &chunk)?;
        self.chunks += 1;
        chunk.clear();
        self.chunk = chunk;
        Ok(())
    }

    fn frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), SnapshotError> {
        let crc = crc_of(kind, payload).to_be_bytes();
        let mut head = [0; FRAME_BYTES + 1];
        head[..4].copy_from_slice(&(payload.len() as u32 + 1).to_be_bytes());
        head[4..8].copy_from_slice(&crc);
        head[8] = kind;
        self.digest.update(&crc);
        self.out.write_all(&head)?;
        self.out.write_all(payload)?;
        self.bytes += (head.len() + payload.len()) as u64;
        Ok(())
    }
}
