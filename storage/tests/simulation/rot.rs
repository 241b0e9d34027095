//! Bits that flip on the medium, below what a checkpoint vouches for: in batches, which then read as damaged and cost nothing
//! else, and in what is derived from batches, which is made again.

use std::path::{Path, PathBuf};

use logmill_storage::PartitionId;
use logmill_storage::disk::read_file;

use crate::profile::{DATA_DIR, Policy};
use crate::run::World;
use crate::trace::{Violation, ensure};

/// Files that can be made again from the batches.
const DERIVED: [&str; 6] =
    [".index", ".timeindex", ".txnindex", ".snapshot", "leader-epoch-checkpoint", "segment-manifest"];
const CHECKPOINTS: [&str; 2] = ["logmill.checkpoint", "logmill.checkpoint.copy"];
/// Bytes of a batch that nothing covers: the leader epoch.
const UNCOVERED: std::ops::Range<usize> = 12..16;

impl World<'_> {
    /// Flips one bit somewhere.
    pub(crate) fn rot(&mut self) -> Result<(), Violation> {
        if !self.checkpoint_rotten && self.random.one_in(8) {
            return self.rot_checkpoint();
        }
        let derived = self.random.one_in(2);
        // Both in one partition may be more than can be made good.
        let fits = |damaged: bool, rotten: bool, policy| {
            if derived { !damaged && !rotten } else { !rotten && policy != Policy::Compact }
        };
        let ids: Vec<PartitionId> = self
            .model
            .live()
            .filter(|(_, p)| fits(!p.damaged.is_empty(), p.rotten, p.policy))
            .map(|(id, _)| id)
            .collect();
        if ids.is_empty() {
            return Ok(());
        }
        let id = ids[self.random.below(ids.len() as u64) as usize];
        if derived { self.rot_derived(id) } else { self.rot_batch(id) }
    }

    fn rot_checkpoint(&mut self) -> Result<(), Violation> {
        let path = Path::new(DATA_DIR).join(CHECKPOINTS[self.random.below(2) as usize]);
        self.checkpoint_rotten = self.flip(&path, None)?;
        Ok(())
    }

    fn rot_derived(&mut self, id: PartitionId) -> Result<(), Violation> {
        let partition = &self.model.partitions[&id];
        let directory = partition.directory(id.partition);
        // What a snapshot says of batches that were removed is written nowhere else.
        let trimmed = partition.start > 0;
        let all = self.disk.files();
        let inside = || {
            let files = all.iter().filter(|(path, length)| *length > 0 && path.parent() == Some(&directory));
            files.map(|(path, _)| path)
        };
        let flushed_end =
            partition.flushed.checked_sub(1).map_or(0, |last| partition.batches[last].header.next_offset());
        let base_of = |path: &Path, kind: &str| -> Option<i64> {
            path.file_name()?.to_str()?.strip_suffix(kind)?.parse().ok()
        };
        let bases: Vec<i64> = inside().filter_map(|path| base_of(path, ".log")).collect();
        // The log may begin with that segment later, and then nothing else knows what was before.
        let begins_a_segment = |path: &Path| base_of(path, ".snapshot").is_some_and(|at| bases.contains(&at));
        // Behind the recovery point entries may be anything: there, one that rotted cannot be told from one that was torn.
        let settled = |base: i64| bases.iter().any(|next| *next > base && *next <= flushed_end);
        let fits = |path: &Path| {
            let name = path.to_string_lossy();
            base_of(path, ".timeindex").is_none_or(settled)
                && !begins_a_segment(path)
                && DERIVED.iter().any(|kind| name.ends_with(kind) && !(trimmed && *kind == ".snapshot"))
        };
        let files: Vec<PathBuf> = inside().filter(|path| fits(path)).cloned().collect();
        if files.is_empty() {
            return Ok(());
        }
        let path = files[self.random.below(files.len() as u64) as usize].clone();
        let flipped = self.flip(&path, None)?;
        self.coverage.rotten_files += u64::from(flipped);
        if let Some(partition) = self.model.partitions.get_mut(&id) {
            partition.rotten |= flipped;
        }
        Ok(())
    }

    fn rot_batch(&mut self, id: PartitionId) -> Result<(), Violation> {
        let partition = &self.model.partitions[&id];
        let first = partition.before(partition.start);
        if partition.flushed <= first {
            return Ok(());
        }
        let mut place = first + self.random.below((partition.flushed - first) as u64) as usize;
        if partition.page_cache && place + 1 == partition.flushed {
            // With its flushed end, a start that finds more behind it is refused in this mode: no journal has that.
            let Some(before) = place.checked_sub(1).filter(|before| *before >= first) else { return Ok(()) };
            place = before;
        }
        let placed = &partition.batches[place];
        let (base, bytes) = (placed.header.base_offset, placed.bytes.clone());
        // No checksum covers a batch's offset, its neighbours tell. With one of them damaged, too, who reads what lies behind
        // may be refused.
        let beside = place.saturating_sub(1)..=place + 1;
        if beside.into_iter().any(|near| partition.damaged.contains(&near)) {
            return Ok(());
        }
        let directory = partition.directory(id.partition);
        let segment_of = |path: &Path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
            (path.parent() == Some(&directory)).then(|| name.parse::<i64>().ok())?
        };
        let files = self.disk.files();
        let bases = files.iter().filter_map(|(path, _)| Some((segment_of(path)?, path)));
        // Removed, when nobody has looked since.
        let Some((_, path)) = bases.filter(|(first, _)| *first <= base).max() else { return Ok(()) };
        let content = read_file(&self.disk, path).map_err(|error| Violation(format!("{error}")))?;
        let found = content.windows(bytes.len()).position(|window| *window == bytes[..]);
        ensure!(found.is_some(), "{id}: the batch at {base} is not in {}", path.display());
        let within = loop {
            let within = self.random.below(bytes.len() as u64) as usize;
            if !UNCOVERED.contains(&within) {
                break within;
            }
        };
        let path = path.clone();
        let position = found.unwrap_or(0) + within;
        self.trace.note(format_args!("the batch at {base} of {id} rots at its byte {within}"));
        self.flip(&path, Some(position as u64))?;
        self.coverage.rotten_batches += 1;
        if let Some(partition) = self.model.partitions.get_mut(&id) {
            partition.damaged.insert(place);
        }
        Ok(())
    }

    /// Flips a bit of a file, at that byte or at any. False when there is none.
    fn flip(&mut self, path: &Path, position: Option<u64>) -> Result<bool, Violation> {
        let files = self.disk.files();
        let length = files.iter().find(|(found, _)| found == path).map_or(0, |(_, length)| *length);
        if length == 0 {
            return Ok(false);
        }
        let position = position.unwrap_or_else(|| self.random.below(length));
        let mask = 1 << self.random.below(8);
        self.trace.note(format_args!("byte {position} of {} rots: {mask:02x}", path.display()));
        self.disk.rot(path, position, mask).map_err(|error| Violation(format!("{error}")))?;
        Ok(true)
    }
}
