//! `segment-manifest`: what the segments of a partition must hold, as of a flush.
//!
//! ```text
//! 0                        version
//! 3                        segments
//! 0 1048301 2 8d1f03a7     base offset, bytes of batches, aborted transactions, CRC-32 of their entries
//! 5120 1048288 0 00000000
//! 10240 - 1 77e0c5b2       the segment that was written to: its bytes grow, its aborted transactions get more
//! 5c8b1a02                 CRC-32 of the lines before
//! ```
//!
//! Batches and index entries check themselves, but not that they are all there: a file that was cut between two of them,
//! or is gone, looks like a shorter one. This file is what tells. It is written when a flush finds that a line changed,
//! before that flush counts as a recovery point; removing segments and compaction write it before files go. So what it says
//! of segments before the recovery point holds. Apache Kafka has no such file and takes no notice of it.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Disk, Replacement, read_file, replace_file};

use super::error::LogError;
use super::segment::Segment;
use super::transactions::AbortedTransaction;

/// Name of the file in a partition's directory.
pub(crate) const SEGMENT_MANIFEST: &str = "segment-manifest";
const VERSION: &str = "0";

/// How many aborted transactions a `.txnindex` file holds, and a checksum: its entries have none of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AbortedSum {
    pub(crate) entries: u64,
    pub(crate) crc: u32,
}

/// What one segment must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ManifestLine {
    pub(crate) base_offset: i64,
    /// Bytes of batches; none for the segment that was written to.
    pub(crate) size: Option<u64>,
    pub(crate) aborted: AbortedSum,
}

/// The segments, in the order of their offsets. Empty: nothing is said of any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SegmentManifest {
    lines: Vec<ManifestLine>,
}

impl AbortedSum {
    pub(crate) fn of(entries: &[u8]) -> AbortedSum {
        AbortedSum::default().and(entries)
    }

    /// With these entries behind.
    pub(crate) fn and(self, entries: &[u8]) -> AbortedSum {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.crc);
        hasher.update(entries);
        let count = (entries.len() / AbortedTransaction::ENCODED_LEN) as u64;
        AbortedSum { entries: self.entries + count, crc: hasher.finalize() }
    }

    /// Whether a file begins with the entries summed up here.
    pub(crate) fn begins(&self, file: &[u8]) -> bool {
        let length =
            usize::try_from(self.entries).ok().and_then(|n| n.checked_mul(AbortedTransaction::ENCODED_LEN));
        length.and_then(|length| file.get(..length)).is_some_and(|entries| AbortedSum::of(entries) == *self)
    }
}

impl SegmentManifest {
    /// What the segments of a log hold. The last is the one that is written to.
    pub(crate) fn of(segments: &[Arc<Segment>]) -> SegmentManifest {
        let line = |(at, segment): (usize, &Arc<Segment>)| ManifestLine {
            base_offset: segment.base_offset(),
            size: (at + 1 < segments.len()).then(|| segment.size()),
            aborted: segment.aborted_sum(),
        };
        SegmentManifest { lines: segments.iter().enumerate().map(line).collect() }
    }

    /// Whether this has to be written where `written` is what the file says: a log of one segment, without aborted
    /// transactions, needs no file.
    pub(crate) fn replaces(&self, written: &SegmentManifest) -> bool {
        let says_nothing =
            matches!(&self.lines[..], [only] if only.size.is_none() && only.aborted.entries == 0);
        self != written && !(says_nothing && written.lines.is_empty())
    }

    pub(crate) fn lines(&self) -> &[ManifestLine] {
        &self.lines
    }

    pub(crate) fn line(&self, base_offset: i64) -> Option<&ManifestLine> {
        let at = self.lines.binary_search_by_key(&base_offset, |line| line.base_offset).ok()?;
        Some(&self.lines[at])
    }

    /// Puts a compacted segment in the place of those it was made from.
    pub(crate) fn swap(&mut self, replaced: &[i64], size: u64, aborted: AbortedSum) {
        let Some(&base_offset) = replaced.first() else { return };
        self.lines.retain(|line| replaced.binary_search(&line.base_offset).is_err());
        let at = self.lines.partition_point(|line| line.base_offset < base_offset);
        self.lines.insert(at, ManifestLine { base_offset, size: Some(size), aborted });
    }

    /// The segments before an offset go. True when there was one.
    pub(crate) fn cut_front(&mut self, first_kept: i64) -> bool {
        let before = self.lines.len();
        self.lines.retain(|line| line.base_offset >= first_kept);
        self.lines.len() < before
    }

    /// The log ends at an offset from here on: the last segment before it is written to again. True when that changes
    /// anything.
    pub(crate) fn cut_end(&mut self, end_offset: i64) -> bool {
        let before = self.clone();
        self.lines.retain(|line| line.base_offset < end_offset);
        if self.lines.len() < before.lines.len()
            && let Some(last) = self.lines.last_mut()
        {
            (last.size, last.aborted) = (None, AbortedSum::default());
        }
        *self != before
    }

    /// Writes the file beside the one that it is to replace.
    pub(crate) fn replacement(&self, disk: &dyn Disk, directory: &Path) -> Result<Replacement, LogError> {
        let path = directory.join(SEGMENT_MANIFEST);
        Replacement::write(disk, &path, self.encode().as_bytes()).map_err(LogError::io("write", &path))
    }

    /// Writes the file, durable on return.
    pub(crate) fn write(&self, disk: &dyn Disk, directory: &Path) -> Result<(), LogError> {
        self.write_as(disk, directory, SEGMENT_MANIFEST)
    }

    /// The same by another name.
    pub(crate) fn write_as(&self, disk: &dyn Disk, directory: &Path, name: &str) -> Result<(), LogError> {
        let path = directory.join(name);
        replace_file(disk, &path, self.encode().as_bytes()).map_err(LogError::io("write", &path))
    }

    /// Reads the file; none when it is not there. The inner error says what is wrong with it.
    pub(crate) fn read(
        disk: &dyn Disk,
        directory: &Path,
    ) -> Result<Result<Option<SegmentManifest>, &'static str>, LogError> {
        let path = directory.join(SEGMENT_MANIFEST);
        match read_file(disk, &path) {
            Ok(bytes) => Ok(SegmentManifest::decode(&bytes).map(Some)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(None)),
            Err(error) => Err(LogError::io("read", &path)(error)),
        }
    }

    fn encode(&self) -> String {
        let mut text = format!("{VERSION}\n{}\n", self.lines.len());
        for ManifestLine { base_offset, size, aborted } in &self.lines {
            let size = size.map_or("-".to_owned(), |size| size.to_string());
            // Writing to a string does not fail.
            let _ = writeln!(text, "{base_offset} {size} {} {:08x}", aborted.entries, aborted.crc);
        }
        let crc = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "{crc:08x}");
        text
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SegmentManifest, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
        let without_end = text.strip_suffix('\n').ok_or("its end is missing")?;
        let crc_at = without_end.rfind('\n').ok_or("it is too short")? + 1;
        let stored =
            u32::from_str_radix(&without_end[crc_at..], 16).map_err(|_| "its checksum does not parse")?;
        if stored != crc32fast::hash(&bytes[..crc_at]) {
            return Err("its checksum does not match");
        }
        let mut lines = text[..crc_at].lines();
        if lines.next() != Some(VERSION) {
            return Err("its version is not known");
        }
        let count = lines.next().and_then(|count| count.parse::<usize>().ok());
        let lines = lines.map(parse_line).collect::<Option<Vec<_>>>().ok_or("a line does not parse")?;
        let grows = lines.windows(2).all(|pair| pair[0].base_offset < pair[1].base_offset);
        if count != Some(lines.len()) || !grows {
            return Err("its lines are not in order, or not all there");
        }
        Ok(SegmentManifest { lines })
    }
}

fn parse_line(line: &str) -> Option<ManifestLine> {
    let mut words = line.split(' ');
    let base_offset = words.next()?.parse().ok().filter(|base| *base >= 0)?;
    let size = match words.next()? {
        "-" => None,
        size => Some(size.parse().ok()?),
    };
    let entries = words.next()?.parse().ok()?;
    let crc = u32::from_str_radix(words.next()?, 16).ok()?;
    words.next().is_none().then_some(ManifestLine { base_offset, size, aborted: AbortedSum { entries, crc } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> SegmentManifest {
        let line = |base_offset, size, entries: &[u8]| ManifestLine {
            base_offset,
            size,
            aborted: AbortedSum::of(entries),
        };
        let lines = vec![line(0, Some(9000), &[7; 68]), line(50, Some(800), &[]), line(90, None, &[1; 34])];
        SegmentManifest { lines }
    }

    fn bases(manifest: &SegmentManifest) -> Vec<i64> {
        manifest.lines.iter().map(|line| line.base_offset).collect()
    }

    #[test]
    fn comes_back_as_written_and_damage_at_any_byte_is_found() {
        for manifest in [SegmentManifest::default(), example()] {
            let bytes = manifest.encode().into_bytes();
            assert_eq!(SegmentManifest::decode(&bytes), Ok(manifest));
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 1;
                assert!(SegmentManifest::decode(&bad).is_err(), "byte {at}");
                assert!(SegmentManifest::decode(&bytes[..at]).is_err(), "cut at {at}");
            }
        }
    }

    #[test]
    fn a_sum_goes_on_and_knows_its_file() {
        let file: Vec<u8> = (0..102).collect();
        let sum = AbortedSum::of(&file[..34]).and(&file[34..68]);
        assert_eq!(sum, AbortedSum::of(&file[..68]));
        assert!(
            sum.begins(&file)
                && sum.begins(&file[..68])
                && !sum.begins(&file[..67])
                && !sum.begins(&file[1..])
        );
        assert!(AbortedSum::default().begins(&[]));
    }

    #[test]
    fn follows_compaction_retention_and_cuts() {
        let mut manifest = example();
        manifest.swap(&[0, 50], 4000, AbortedSum::default());
        assert_eq!(bases(&manifest), [0, 90]);
        assert_eq!(manifest.line(0).unwrap().size, Some(4000));

        let mut manifest = example();
        assert!(!manifest.cut_front(0));
        assert!(manifest.cut_front(50));
        assert_eq!(bases(&manifest), [50, 90]);

        let mut manifest = example();
        assert!(!manifest.cut_end(91), "the segment that is written to says less than its end");
        assert!(manifest.cut_end(70));
        assert_eq!((bases(&manifest), manifest.line(50).unwrap().size), (vec![0, 50], None));
    }

    #[test]
    fn one_segment_without_aborted_transactions_needs_no_file() {
        let active = |aborted| ManifestLine { base_offset: 5, size: None, aborted };
        let quiet = SegmentManifest { lines: vec![active(AbortedSum::default())] };
        assert!(!quiet.replaces(&SegmentManifest::default()));
        assert!(quiet.replaces(&example()), "what the file says must not stay");
        let aborted = SegmentManifest { lines: vec![active(AbortedSum::of(&[1; 34]))] };
        assert!(aborted.replaces(&SegmentManifest::default()));
    }
}
