//! A pipeline's own logs: what its epochs have left.

use logmill_record::Batch;
use logmill_storage::{Isolation, ReadRequest};
use logmill_stream::{ColdPosition, Progress, SnapshotCut as Cut, SnapshotHeader, SnapshotLogs};

use crate::partitions::Partition;

/// About this much of a log is read at a time, and at least a batch.
const READ_BYTES: usize = 4 << 20;

/// What the one batch of a progress record may unpack to.
const PROGRESS_BYTES: usize = 64 << 20;

/// The changelog and the progress log of a pipeline.
#[derive(Clone, Debug)]
pub(in crate::pipelines) struct OwnLogs {
    pub(in crate::pipelines) changelog: Partition,
    pub(in crate::pipelines) progress: Partition,
}

impl OwnLogs {
    /// Where the pipeline stands, if nothing runs it; `None` when it has committed nothing.
    pub(in crate::pipelines) fn standing(&self) -> Result<Option<Cut>, String> {
        let end = self.progress.published().high_watermark;
        let start = self.progress.published().log_start_offset;
        if end <= start {
            return Ok(None);
        }
        let Some((progress, progress_offset)) = self.progress_from(end - 1)? else {
            return Err(format!("{:?} has no record at its end", self.progress));
        };
        let changelog_end = self.changelog.published().high_watermark;
        Ok(Some(Cut { progress, progress_offset, changelog_end }))
    }

    /// The last progress record of the batch that has an offset, and where it is.
    fn progress_from(&self, offset: i64) -> Result<Option<(Progress, i64)>, String> {
        let mut found = None;
        for_each_batch(&self.progress, offset, offset + 1, |batch| {
            let records = batch.records(PROGRESS_BYTES).map_err(|error| error.to_string())?;
            if let Some(value) = records.last().and_then(|record| record.value.as_ref()) {
                let progress = Progress::decode(value).map_err(|error| error.to_string())?;
                found = Some((progress, batch.header().next_offset() - 1));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Whether an epoch is where it is said to be; the log must go back so far.
    pub(in crate::pipelines) fn vouches_for(&self, at: &ColdPosition) -> bool {
        let published = self.progress.published();
        let is_there = (published.log_start_offset..published.high_watermark).contains(&at.progress_offset);
        let found = is_there.then(|| self.progress_from(at.progress_offset));
        matches!(found, Some(Ok(Some((found, offset)))) if at.is_of(&found) && offset == at.progress_offset)
    }
}

impl SnapshotLogs for OwnLogs {
    fn id(&self) -> String {
        self.changelog.id().topic.to_string()
    }

    fn changelog_start(&self) -> i64 {
        self.changelog.published().log_start_offset
    }

    fn lacks(&self, header: &SnapshotHeader) -> Option<String> {
        let (end, start) = (header.changelog_end, self.changelog_start());
        (end < start).then(|| format!("it ends at offset {end} of the changelog, which begins at {start}"))
    }

    fn is_whole(&self, progress: &Progress) -> bool {
        progress.state_from.is_none() && self.changelog_start() == 0
    }

    /// As far as the log goes back.
    fn vouches(&self, progress: &Progress, offset: i64) -> Result<bool, String> {
        let published = self.progress.published();
        if offset < published.log_start_offset {
            return Ok(true);
        }
        if offset >= published.high_watermark {
            return Ok(false);
        }
        let found = self.progress_from(offset)?;
        Ok(found.is_some_and(|(found, at)| found == *progress && at == offset))
    }

    fn each_batch(
        &self,
        from: i64,
        to: i64,
        take: &mut dyn FnMut(&Batch) -> Result<(), String>,
    ) -> Result<(), String> {
        for_each_batch(&self.changelog, from, to, take).map(drop)
    }
}

/// Hands over every batch of a log from an offset on and before another one, oldest first. Gives the offset behind the
/// last one.
pub(in crate::pipelines) fn for_each_batch(
    log: &Partition,
    from: i64,
    to: i64,
    mut take: impl FnMut(&Batch) -> Result<(), String>,
) -> Result<i64, String> {
    let mut offset = from;
    while offset < to {
        let request = ReadRequest {
            offset,
            max_bytes: READ_BYTES,
            isolation: Isolation::Uncommitted,
            min_one_batch: true,
        };
        let before = offset;
        let at = |what: String| format!("{log:?} at offset {before}: {what}");
        let read = log.read(request).map_err(|error| at(error.to_string()))?;
        for chunk in read.chunks {
            for batch in logmill_record::batch::batches(chunk) {
                let batch = batch.map_err(|error| at(error.to_string()))?;
                if batch.header().base_offset >= to {
                    return Ok(offset);
                }
                take(&batch)?;
                offset = batch.header().next_offset();
            }
        }
        if offset == before {
            return Err(at("there is a gap".to_owned()));
        }
    }
    Ok(offset)
}
